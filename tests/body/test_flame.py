"""FLAME's files as heads in SMPL-X layout."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.body import load_head_model, pose_vertices
from expportrait_core.types import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, HeadModel

from .flame_file import random_flame, write_flame, write_landmarks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random FLAME model and its landmarks."""
    folder, rng = tmp_path_factory.mktemp("flame"), np.random.default_rng(1)
    arrays = random_flame()
    write_flame(folder / "FLAME_NEUTRAL.pkl", arrays)
    write_landmarks(folder, rng.choice(len(arrays["f"]), 51), rng.dirichlet(np.ones(3), 51))
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> HeadModel:
    return load_head_model(folder / "FLAME_NEUTRAL.pkl", level=0)


def test_posing_agrees_with_smplx(folder: Path, model: HeadModel) -> None:
    bodies = pytest.importorskip("smplx").body_models
    g = torch.Generator().manual_seed(1)
    betas, expression = torch.randn(1, 300, generator=g), torch.randn(3, 100, generator=g)
    turns = dict(zip((0, NECK, JAW, LEFT_EYE, RIGHT_EYE), 0.4 * torch.randn(5, 3, 3, generator=g), strict=True))
    translation = torch.randn(3, 3, generator=g)
    with contextlib.redirect_stdout(io.StringIO()):
        # the files are the tests' own, so smplx may unpickle them
        flame = bodies.FLAME(str(folder), num_betas=300, num_expression_coeffs=100, batch_size=3)
        with torch.no_grad():
            reference = flame(
                betas=betas.expand(3, -1), expression=expression, transl=translation, global_orient=turns[0],
                neck_pose=turns[NECK], jaw_pose=turns[JAW], leye_pose=turns[LEFT_EYE], reye_pose=turns[RIGHT_EYE],
            ).vertices  # fmt: skip
    poses = torch.zeros(3, 55, 3)
    for joint, turn in turns.items():
        poses[:, joint] = turn
    ours = pose_vertices(model, betas[0], expression, poses, translation)
    assert (ours - reference[:, model.source_vertices]).norm(dim=-1).max() < 1e-5
    assert len(model.source_vertices) == len(reference[0])  # nothing is cropped from a head


def test_the_head_joint_turns_what_the_neck_turns(model: HeadModel) -> None:
    bare = model.replace(pose_basis=model.pose_basis[:0])
    poses = torch.zeros(2, 55, 3)
    poses[0, NECK, 1] = poses[1, HEAD, 1] = 0.5
    by_neck, by_head = pose_vertices(bare, torch.zeros(1), torch.zeros(2, 1), poses, torch.zeros(2, 3))
    assert torch.allclose(by_neck, by_head, atol=1e-6)


def test_names_and_landmarks(folder: Path, model: HeadModel, tmp_path: Path) -> None:
    assert (model.model_id, model.expression_space) == ("FLAME_NEUTRAL", "flame100")
    assert model.shape_basis.shape[2] == 300 and model.expression_basis.shape[2] == 100
    arrays, rng = random_flame(), np.random.default_rng(1)
    triangles, barycentric = rng.choice(len(arrays["f"]), 51), rng.dirichlet(np.ones(3), 51)
    points = (arrays["v_template"][arrays["f"][triangles]] * barycentric[..., None]).sum(1)
    write_flame(tmp_path / "FLAME_NEUTRAL.pkl", arrays)
    write_landmarks(tmp_path, triangles, barycentric, "of DECA")
    for found in (model, load_head_model(tmp_path / "FLAME_NEUTRAL.pkl", level=0)):
        landmarks = found.landmarks["ibug51"]
        corners = found.template[found.faces[landmarks.triangles]]
        ours = torch.einsum("nk,nkc->nc", landmarks.barycentric, corners)
        assert np.allclose(ours.numpy(), points, atol=1e-6)


def test_without_its_landmark_file_it_says_what_to_put_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_flame(tmp_path / "flame.pkl", random_flame())
    with caplog.at_level(logging.WARNING):
        assert load_head_model(path, level=0).landmarks == {}
    assert "put flame_static_embedding.pkl or landmark_embedding.npy beside it" in caplog.text


class Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"static_lmk_faces_idx": Runs}, "asks for"),
        ({"something": np.zeros(3)}, "is no landmark file of FLAME"),
        ({"static_lmk_faces_idx": np.zeros(68), "static_lmk_bary_coords": np.zeros((68, 3))}, "holds 68 landmarks"),
        (b"\x93NUMPY\x01\x00", "is no readable .npy file"),
    ],
)
def test_landmark_files_run_nothing_and_are_checked(content: object, sentence: str, tmp_path: Path) -> None:
    path, marker = tmp_path / "landmark_embedding.npy", tmp_path / "ran"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content = {key: Runs(marker) if value is Runs else value for key, value in content.items()}
        np.save(path, np.array(content, dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=sentence):
        load_head_model(write_flame(tmp_path / "flame.pkl", random_flame()), level=0)
    assert not marker.exists()
