"""Our posing against `smplx`, and the laws that posing keeps."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.body import axis_angle_to_matrix, load_head_model, matrix_to_axis_angle, pose_vertices, with_level
from expportrait_core.body.model import DEFAULT_HEAD
from expportrait_core.body.smplx_reference import smplx_vertices
from expportrait_core.types import HEAD, HeadModel

from .smplx_file import write_random_smplx

pytest.importorskip("smplx")
TOLERANCE = 1e-5  # metres


@pytest.fixture(scope="module")
def random_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_smplx(tmp_path_factory.mktemp("smplx") / "SMPLX_NEUTRAL.npz")


def random_motion(model: HeadModel, frames: int = 3) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(1)
    betas = torch.randn(300, generator=g)[: model.shape_basis.shape[2]]
    expression = torch.randn(frames, 100, generator=g)
    poses = 0.4 * torch.randn(frames, 55, 3, generator=g)
    return betas, expression, poses, torch.randn(frames, 3, generator=g)


@pytest.mark.parametrize("which", ["default", "smplx size"])
def test_every_kept_vertex_agrees_with_smplx(which: str, random_file: Path) -> None:
    path = DEFAULT_HEAD if which == "default" else random_file
    model = load_head_model("default" if which == "default" else path, level=0)
    motion = random_motion(model)
    with np.load(path) as file:
        reference = smplx_vertices(dict(file), *motion)[:, model.source_vertices]
    ours = pose_vertices(model, *motion)
    assert (ours - reference).norm(dim=-1).max() < TOLERANCE
    if which == "smplx size":  # the check has teeth: without pose corrections it would be millimetres
        bare = model.replace(pose_basis=model.pose_basis[:0])
        assert (pose_vertices(bare, *motion) - reference).norm(dim=-1).max() > 100 * TOLERANCE


def test_random_file_keeps_head_and_shoulders_and_its_landmarks(random_file: Path) -> None:
    model = load_head_model(random_file, level=1)
    assert 0 < len(model.template) < 10_475
    assert model.shape_basis.shape[2] == 300 and model.expression_basis.shape[2] == 100
    assert model.expression_space == "smplx100" and model.model_id == "SMPLX_NEUTRAL"
    assert len(model.pose_basis) == 486
    assert set(model.landmarks) == {"ibug51"}
    with np.load(random_file) as file:
        expected = file["v_template"][file["f"][file["lmk_faces_idx"]].astype(int)]
    kept = model.landmarks["ibug51"].triangles >= 0
    ours = model.template[model.faces[model.landmarks["ibug51"].triangles[kept]]]
    assert torch.equal(ours, torch.from_numpy(expected)[kept])


def test_joints_see_the_whole_body_before_the_crop(random_file: Path) -> None:
    model = load_head_model(random_file, level=0)
    with np.load(random_file) as file:
        joints = file["J_regressor"].astype(np.float64) @ file["v_template"]
    assert np.abs(model.joint_template.numpy() - joints).max() < 1e-6


@pytest.mark.parametrize("level", [1, 2])
def test_upsampled_head_passes_through_the_coarse_vertices(level: int, coarse_head: HeadModel) -> None:
    motion = random_motion(coarse_head, frames=2)
    fine = with_level(coarse_head, level)
    coarse, upsampled = pose_vertices(coarse_head, *motion), pose_vertices(fine, *motion)
    assert (upsampled[:, : coarse.shape[1]] - coarse).abs().max() < 1e-5
    assert len(fine.fine_faces) == 4**level * len(coarse_head.faces)


def test_offsets_are_added_before_skinning(head_model: HeadModel) -> None:
    betas, expression, poses, translation = random_motion(head_model, frames=1)
    offsets = torch.zeros(head_model.num_vertices, 3)
    cranium = int(head_model.template[:, 1].argmax())  # rides on the head joint alone
    offsets[cranium, 1] = 0.01
    plain = pose_vertices(head_model, betas, expression, poses, translation)
    moved = pose_vertices(head_model, betas, expression, poses, translation, offsets) - plain
    assert abs(float(moved[0, cranium].norm()) - 0.01) < 1e-5
    assert float(moved[0, cranium, 1]) < 0.0099  # the head is turned, so the offset turns with it
    assert moved[0].norm(dim=-1).count_nonzero() == 1


def test_one_frame_alone_equals_the_frame_in_a_clip(head_model: HeadModel) -> None:
    betas, expression, poses, translation = random_motion(head_model)
    together = pose_vertices(head_model, betas, expression, poses, translation)
    alone = pose_vertices(head_model, betas, expression[1:2], poses[1:2], translation[1:2])
    assert (together[1:2] - alone).abs().max() < 1e-6


def test_turning_the_head_keeps_lengths_on_the_skull(head_model: HeadModel) -> None:
    poses = torch.zeros(2, 55, 3)
    poses[1, HEAD] = torch.tensor([0.1, 0.5, -0.2])
    vertices = pose_vertices(head_model, torch.zeros(1), torch.zeros(2, 0), poses, torch.zeros(2, 3))
    skull = (head_model.skin_weights[:, HEAD] == 1).nonzero()[:, 0][::40]
    apart = [(v[skull][:, None] - v[skull]).norm(dim=-1) for v in vertices]
    assert (apart[0] - apart[1]).abs().max() < 1e-5
    assert (vertices[0] - vertices[1]).norm(dim=-1)[skull].max() > 0.02


@pytest.mark.parametrize("scale", [0.0, 1e-4, 0.7, 3.0])
def test_axis_angle_and_matrix_are_inverse(scale: float) -> None:
    direction = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    vector = scale * torch.nn.functional.normalize(direction, dim=1)
    matrix = axis_angle_to_matrix(vector)
    assert (matrix @ matrix.transpose(1, 2) - torch.eye(3)).abs().max() < 1e-5
    assert (matrix_to_axis_angle(matrix) - vector).abs().max() < 2e-5


def test_too_many_betas_are_refused(head_model: HeadModel) -> None:
    with pytest.raises(ValueError, match="301 shape"):
        pose_vertices(head_model, torch.zeros(301), torch.zeros(1, 0), torch.zeros(1, 55, 3), torch.zeros(1, 3))


def test_a_model_first_posed_in_inference_mode_can_be_optimised_with() -> None:
    """ComfyUI runs its nodes in inference mode; what posing keeps from there must not spoil later gradients."""
    model = load_head_model("default", level=1)
    betas, expression, poses, translation = random_motion(model)
    expression = expression[:, : model.expression_basis.shape[2]]
    with torch.inference_mode():
        pose_vertices(model, betas, expression, poses, translation)
    moving = poses.clone().requires_grad_()
    pose_vertices(model, betas, expression, moving, translation).square().sum().backward()
    assert torch.isfinite(moving.grad).all() and moving.grad.abs().max() > 0


class _Trap:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


def test_objects_in_a_smplx_file_are_never_unpickled(random_file: Path, tmp_path: Path) -> None:
    """The authors' own files hold some beside the arrays; `smplx`, which would load them, is shown the arrays alone."""
    with np.load(random_file) as file:
        arrays = dict(file)
    trap = np.empty(1, object)
    trap[0] = _Trap(tmp_path / "sprung")
    np.savez(tmp_path / "SMPLX_TRAP.npz", **arrays, part2num=trap)
    model = load_head_model(tmp_path / "SMPLX_TRAP.npz", 0)
    assert torch.equal(model.template, load_head_model(random_file, 0).template)
    assert not (tmp_path / "sprung").exists()


def test_what_smplx_cannot_pose_is_a_sentence(random_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("smplx")
    with np.load(random_file) as file:
        arrays = {name: array for name, array in file.items() if not name.startswith("hands")}
    np.savez(tmp_path / "SMPLX_NOHANDS.npz", **arrays)
    with pytest.raises(ValueError, match="smplx cannot pose this model: .*hands.*Give the file as the authors"):
        load_head_model(tmp_path / "SMPLX_NOHANDS.npz", 0)


def test_the_kept_identity_follows_the_betas() -> None:
    """Posing keeps the last person's neutral head: neither another person nor a gradient may meet it."""
    model = load_head_model("default", level=0)
    betas, *motion = random_motion(model)
    first, other = pose_vertices(model, betas, *motion), pose_vertices(model, -betas, *motion)
    assert (first - other).abs().max() > 1e-3
    torch.testing.assert_close(pose_vertices(model.replace(), betas, *motion), first, rtol=0, atol=0)
    changed = betas.clone()
    pose_vertices(model, changed, *motion)
    changed.neg_()  # in place, after it was kept
    torch.testing.assert_close(pose_vertices(model, changed, *motion), other, rtol=0, atol=0)
    wanted = betas.clone().requires_grad_()
    pose_vertices(model, wanted, *motion).sum().backward()
    assert (wanted.grad != 0).any()
    with torch.inference_mode():
        pose_vertices(model, 2 * betas, *motion)
    expression = motion[0].clone().requires_grad_()
    pose_vertices(model, 2 * betas, expression, *motion[1:]).square().sum().backward()
    assert (expression.grad != 0).any()
