"""The shared conversions: rotations, cameras and numbered frames, each held to its definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from expportrait_core.fit.formats import cameras, rotations
from expportrait_core.fit.formats.frames import choose_person, in_order, numbered
from expportrait_core.fit.refusal import InRow

POINTS = np.array([[0.1, 0.05, 0.02], [-0.08, 0.1, -0.03], [0.02, -0.12, 0.04]])


def pixels(camera, points: np.ndarray = POINTS) -> np.ndarray:
    projected = camera.project(torch.from_numpy(points).float().expand(len(camera), -1, -1)).numpy()
    return projected[..., :2] / projected[..., 2:]


@pytest.mark.parametrize("angle", [0.0, 1e-7, 0.3, 2.0, 3.1])
def test_rotations_come_back_from_every_form(angle: float) -> None:
    axes = np.random.default_rng(0).normal(size=(20, 3))
    vectors = angle * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    matrices = rotations.to_matrix(vectors)
    assert np.allclose(rotations.from_matrix(matrices), vectors, atol=1e-6)
    assert np.allclose(rotations.from_6d(matrices[:, :2].reshape(-1, 6)), vectors, atol=1e-6)
    # a network's six numbers are neither unit nor orthogonal; only their span and order count
    loose = np.concatenate([2 * matrices[:, 0], 0.5 * matrices[:, 1] + 0.3 * matrices[:, 0]], 1)
    assert np.allclose(rotations.from_6d(loose), vectors, atol=1e-6)


def test_euler_angles_are_yaw_then_pitch_then_roll() -> None:
    yaw, pitch, roll = 0.4, -0.2, 0.3
    first, second, third = (Rotation.from_rotvec(v) for v in ([0, yaw, 0], [pitch, 0, 0], [0, 0, roll]))
    expected = first * second * third
    assert np.allclose(rotations.from_euler("YXZ", np.array([[yaw, pitch, roll]])), expected.as_rotvec())


def test_what_is_no_rotation_is_refused() -> None:
    for matrix, sentence in ((np.diag([1.0, 1, -1]), "mirror image"), (np.zeros((3, 3)), "no rotation"),
                             (np.full((3, 3), np.nan), "NaN"), (np.eye(4), "expected")):  # fmt: skip
        with pytest.raises(ValueError, match=sentence):
            rotations.from_matrix(matrix)


def test_the_row_that_is_no_rotation_is_known() -> None:
    matrices = np.tile(np.eye(3), (5, 4, 1, 1))
    matrices[3, 1, 0, 0] = np.nan
    sixes = np.ones((5, 4, 6)) * [1, 0, 0, 0, 1, 0]
    sixes[2, 3, 3:] = 0
    for convert, values, row in ((rotations.from_matrix, matrices, 3), (rotations.from_6d, sixes, 2),
                                 (rotations.from_6d, np.zeros(6), 0)):  # fmt: skip
        with pytest.raises(InRow, match=rf"^frame {row + 1} of {5 if row else 1}: A ") as error:
            convert(values)
        assert error.value.row == row


@pytest.mark.parametrize("turned", [0.0, 0.7, -2.5])
def test_a_crop_leads_to_the_same_points_of_the_full_picture(turned: float) -> None:
    k = cameras.intrinsics(np.array([[800.0, 800.0]]), np.array([[250.0, 260.0]]))
    w2c = cameras.extrinsics(rotations.to_matrix(np.array([[0.1, 0.2, 0.3]])), np.array([[0.0, 0.1, 2.0]]))
    crop = cameras.opencv(k, w2c, (512, 512))
    cos, sin = 1.7 * np.cos(turned), 1.7 * np.sin(turned)
    to_full = np.array([[[cos, -sin, 300.0], [sin, cos, 40.0], [0, 0, 1]]])
    full = cameras.from_crop(crop, to_full, (1080, 1920))
    expected = pixels(crop) @ to_full[0, :2, :2].T + to_full[0, :2, 2]
    assert np.allclose(pixels(full), expected, atol=1e-2)
    assert full.intrinsics[0, 1, 0].abs() < 1e-3, "what turns the picture belongs to the camera's rotation"
    rotation = full.world_to_camera[0, :3, :3]
    assert torch.allclose(rotation @ rotation.T, torch.eye(3), atol=1e-5)


def test_frontal_camera_sees_the_target_in_the_middle() -> None:
    camera = cameras.frontal(2, np.array([0.0, 1.5, 0.1]), (480, 640))
    seen = pixels(camera, np.array([[0.0, 1.5, 0.1], [0.1, 1.5, 0.1], [0, 1.6, 0.1]]))
    assert np.allclose(seen[:, 0], [320, 240], atol=1e-2)
    assert (seen[:, 1, 0] > 330).all() and (seen[:, 2, 1] < 230).all()


def test_frames_are_in_the_order_of_their_numbers(caplog: pytest.LogCaptureFixture) -> None:
    names = ["10.json", "9.json", "2.json", "notes.json", "3.json"]
    frames = numbered(Path("clip"), names, r"(\d+)\.json")
    assert [frame.number for frame in frames] == [2, 3, 9, 10]
    assert "clip lacks 5 of its frames, the first is 4" in caplog.text
    with pytest.raises(ValueError, match="clip has no frames"):
        numbered(Path("clip"), ["notes.json"], r"(\d+)\.json")
    with pytest.raises(ValueError, match="both frame 1"):
        in_order(Path("clip"), [(1, "1.json"), (1, "01.json")])


def test_person_of_a_tie_is_the_first() -> None:
    assert choose_person([(0, 2), (0, 1), (1, 1), (1, 2)], None, "clip") == 1
