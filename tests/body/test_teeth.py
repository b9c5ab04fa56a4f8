"""Teeth in mouths that have none: where they sit, what carries them, and that shut lips hide them.

The truth is the default head: written as a SMPL-X file without its teeth, it must get them back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.body import has_teeth, landmark_points, load_head_model, pose_vertices, with_teeth
from expportrait_core.body.regions import LOWER_TEETH, UPPER_TEETH
from expportrait_core.render import orbit, visible_triangles
from expportrait_core.types import HEAD, JAW, HeadModel

from ..render.meshes import look
from .smplx_file import write_bare_head, write_random_smplx

MILLIMETRE = 1e-3


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    return write_bare_head(tmp_path_factory.mktemp("bare") / "SMPLX_NEUTRAL.npz")


@pytest.fixture(scope="module")
def model(bare: tuple[Path, np.ndarray]) -> HeadModel:
    return load_head_model(bare[0], level=0)


def random_mouth(path: Path) -> Path:
    """The random file of SMPL-X's size with its lip landmarks on a patch of the tube's front, so that the mouth is
    where the head was kept."""
    with np.load(write_random_smplx(path)) as file:
        arrays = dict(file)
    middle = arrays["v_template"][arrays["f"].astype(int)].mean(1)
    turn = np.pi * (1 - np.concatenate([np.arange(12) / 6, np.arange(8) / 4]))  # outer lips, inner lips
    neck = arrays["J_regressor"][12] @ arrays["v_template"]
    ring = np.stack([0.06 * np.cos(turn), neck[1] + 0.1 + 0.02 * np.sin(turn), np.full(20, 0.2)], 1)
    arrays["lmk_faces_idx"][31:] = np.linalg.norm(middle - ring[:, None], axis=2).argmin(1)
    np.savez(path, **arrays)
    return path


def test_a_head_without_teeth_gets_them_back(
    bare: tuple[Path, np.ndarray], model: HeadModel, coarse_head: HeadModel
) -> None:
    truth = coarse_head.template[bare[1]]
    assert not has_teeth(load_head_model(bare[0], level=0, teeth=False)) and has_teeth(model)
    assert torch.allclose(model.template[-len(truth) :], truth, atol=1e-5)
    assert torch.equal(model.parts[-len(truth) :], coarse_head.parts[bare[1]])
    assert len(model.faces) == len(coarse_head.faces) and (model.source_vertices[-len(truth) :] == -1).all()
    assert with_teeth(model, coarse_head) is model and with_teeth(coarse_head, coarse_head) is coarse_head


def test_teeth_follow_the_identity(bare: tuple[Path, np.ndarray], model: HeadModel, coarse_head: HeadModel) -> None:
    """People's own teeth vary by millimetres beside their lips; the lips tell most of where they are."""
    generator = torch.Generator().manual_seed(0)
    nothing = torch.zeros(1, 0), torch.zeros(1, 55, 3), torch.zeros(1, 3)
    ours, unmoved = [], []
    for _ in range(12):
        betas = torch.randn(100, generator=generator)
        truth = pose_vertices(coarse_head, betas, *nothing)[0, bare[1]]
        given = pose_vertices(model, betas, *nothing)[0, -len(truth) :]
        ours.append((given - truth).norm(dim=1).mean())
        unmoved.append((coarse_head.template[bare[1]] - truth).norm(dim=1).mean())
    ours, unmoved = torch.stack(ours).mean(), torch.stack(unmoved).mean()
    assert ours < 5 * MILLIMETRE and ours < 0.6 * unmoved


def test_the_upper_row_is_the_heads_and_the_lower_one_the_jaws(tmp_path: Path, model: HeadModel) -> None:
    for each in (model, load_head_model(random_mouth(tmp_path / "SMPLX_NEUTRAL.npz"), level=1)):
        assert has_teeth(each)
        generator = torch.Generator().manual_seed(0)
        poses, betas = torch.zeros(2, 55, 3), torch.randn(10, generator=generator)
        poses[1, JAW] = torch.tensor([0.3, 0.1, 0.0])
        expression = torch.randn(2, each.expression_basis.shape[2], generator=generator)
        expression[1] = 0 if each is model else expression[0]  # the random file's move joints, so the same twice
        count = len(each.template)
        posed = pose_vertices(each, betas, expression, poses, torch.zeros(2, 3))
        upper, lower = (posed[:, :count][:, each.parts == part] for part in (UPPER_TEETH, LOWER_TEETH))
        assert len(each.parts) == count and (upper[0] - upper[1]).norm(dim=1).max() < 1e-5
        moved = (lower[0] - lower[1]).norm(dim=1)
        assert moved.min() > 1 * MILLIMETRE
        before, after = ((row[:, None] - row).norm(dim=-1) for row in lower)
        assert torch.allclose(before, after, atol=1e-5)  # rigid: distances stay
        assert each.expression_basis[each.parts == UPPER_TEETH].abs().max() == 0
        assert (each.skin_weights[each.parts == UPPER_TEETH, HEAD] == 1).all()


def test_teeth_are_scaled_to_the_mouth(tmp_path: Path, coarse_head: HeadModel) -> None:
    each = load_head_model(random_mouth(tmp_path / "SMPLX_NEUTRAL.npz"), level=0)

    def sizes(model: HeadModel, scheme: str, first: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        lips = landmark_points(model.template[None], model.faces, model.landmarks[scheme])[0, first : first + 8]
        teeth = model.template[(model.parts == UPPER_TEETH) | (model.parts == LOWER_TEETH)]
        return (lips[0] - lips[4]).norm(), teeth[:, 0].max() - teeth[:, 0].min(), teeth.mean(0) - lips.mean(0)

    (width, row, away), (our_width, our_row, our_away) = sizes(coarse_head, "ibug68", 60), sizes(each, "ibug51", 43)
    scale = our_row / row
    assert abs(float(scale / (our_width / width)) - 1) < 0.15
    assert torch.allclose(our_away, scale * away, atol=1e-4) and our_away[2] < 0


@pytest.mark.parametrize("level", [0, 1])
def test_shut_lips_hide_the_teeth(bare: tuple[Path, np.ndarray], level: int) -> None:
    """From the front, the sides, below and above, of people at random: nothing pokes through. An opened mouth shows
    them, so that the test can fail."""
    model = load_head_model(bare[0], level=level)
    tooth = ((model.parts == UPPER_TEETH) | (model.parts == LOWER_TEETH))[model.faces].all(1)
    tooth = tooth[torch.arange(len(model.fine_faces)) % len(tooth)]
    names = load_head_model("default", level=0).expression_names
    raised, generator = torch.zeros(1, 100), torch.Generator().manual_seed(1)
    raised[0, [names.index(name) for name in ("mouthUpperUpLeft", "mouthUpperUpRight")]] = 1
    poses = torch.zeros(2, 55, 3)
    # the neutral lips stand 3 mm apart: shut is a little beyond the neutral jaw
    poses[:, JAW, 0] = torch.tensor([-0.08, 0.15])
    for person in range(6):
        betas = torch.randn(100, generator=generator) if person else torch.zeros(100)
        vertices = pose_vertices(model, betas, torch.cat([0 * raised, raised]), poses, torch.zeros(2, 3))
        lips = landmark_points(vertices, model.faces, model.landmarks["ibug51"])[:, 31:]
        assert (lips[0, 13:16, 1].mean() < lips[0, 17:, 1].mean()) and (lips[1, 14, 1] > lips[1, 18, 1] + 0.01)
        for frame, middle in enumerate(lips.mean(1)):
            front = look((256, 256), 0.5, 4.0)
            front.world_to_camera[:, :3, 3] -= front.world_to_camera[0, :3, :3] @ middle
            yaw, pitch = torch.tensor([[0.0, 0.7, -0.7, 0.0, 0.0], [0.0, 0.0, 0.0, -0.4, 0.4]])
            corners = orbit(front, middle, yaw, pitch).project(vertices[frame].expand(5, -1, -1))
            ids = visible_triangles(corners, model.fine_faces, 256, 256)
            shown = (tooth[ids.clamp(min=0).long()] & (ids >= 0)).sum((1, 2))
            assert shown.max() == 0 if frame == 0 else shown[0] > 100


def test_a_model_without_lip_landmarks_gets_none(coarse_head: HeadModel, caplog: pytest.LogCaptureFixture) -> None:
    without = coarse_head.replace(landmarks={}, parts=torch.zeros_like(coarse_head.parts))
    with caplog.at_level("INFO"):
        assert with_teeth(without, coarse_head) is without
        turned = coarse_head.replace(parts=without.parts, template=coarse_head.template * torch.tensor([-1, -1, 1]))
        assert with_teeth(turned, coarse_head) is turned
    assert "no lip landmarks" in caplog.text and "do not lie like a mouth" in caplog.text
