"""Faces that the picture's edge cuts: found where enough is left, fitted by that, and otherwise said to be cut."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from expportrait_core.fit import detect_faces, detect_landmarks, require_face, track
from expportrait_core.fit.detect.face_detector import leaves, search_at_edges
from expportrait_core.fit.detect.face_mesh import cut_out, squares_around_boxes
from expportrait_core.fit.detect.pictures import channels_first
from expportrait_core.types import HeadModel

from .test_tracking import projected

MESH, RIGHT, LEFT = 468, 33, 263


def cut(pictures: Tensor, landmarks: Tensor, side: str, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """The pictures [F, H, W, 3] without so much of the face at one side, by the landmarks [478, 3] of the first; the
    place of their corner [2], and which landmarks are left [468]."""
    points = landmarks[:MESH, :2]
    low, high = points.amin(0), points.amax(0)
    size = high - low
    left, top, right, bottom = 0, 0, pictures.shape[2], pictures.shape[1]
    match side:
        case "left":
            left = round(float(low[0] + share * size[0]))
        case "right":
            right = round(float(high[0] - share * size[0]))
        case "top":
            top = round(float(low[1] + share * size[1]))
        case "bottom":
            bottom = round(float(high[1] - share * size[1]))
    corner = torch.tensor([left, top])
    inside = ((points >= corner) & (points <= torch.tensor([right, bottom]))).all(-1)
    return pictures[:, top:bottom, left:right].contiguous(), corner.float(), inside


FOUND = [("left", 0.2), ("left", 0.3), ("left", 0.4), ("right", 0.2), ("right", 0.25), ("right", 0.35), ("top", 0.2),
         ("top", 0.3), ("bottom", 0.2), ("bottom", 0.3), ("bottom", 0.4), ("bottom", 0.5)]  # fmt: skip


@pytest.fixture(scope="module")
def whole(astronaut: Tensor) -> Tensor:
    return detect_landmarks(astronaut)[0]


@pytest.mark.parametrize(("side", "share"), FOUND)
def test_a_cut_face_is_found_and_what_is_left_of_it_is_right(
    astronaut: Tensor, whole: Tensor, side: str, share: float
) -> None:
    picture, corner, inside = cut(astronaut, whole, side, share)
    found = detect_landmarks(picture)[0]
    assert found[0, 2] > 0.8
    off = (found[:MESH, :2] + corner - whole[:MESH, :2]).norm(dim=1) / (whole[RIGHT, :2] - whole[LEFT, :2]).norm()
    assert off[inside].mean() < 0.03 and off[~inside].mean() < 0.09


@pytest.mark.parametrize(("side", "share"), [("left", 0.4), ("right", 0.35), ("top", 0.3), ("bottom", 0.4)])
def test_the_head_fits_what_is_left_and_the_cut_is_said(
    astronaut: Tensor, whole: Tensor, coarse_head: HeadModel, caplog: pytest.LogCaptureFixture, side: str, share: float
) -> None:
    picture, corner, inside = cut(astronaut, whole, side, share)
    with caplog.at_level(logging.WARNING):
        fit = track(picture, coarse_head, focal=900.0)
    assert "The picture's edge cuts the face: " in caplog.text and "lies outside and is a guess" in caplog.text
    off = (projected(fit, coarse_head)[0, :MESH] + corner - whole[:MESH, :2]).norm(dim=1)
    assert off[inside].mean() / (whole[RIGHT, :2] - whole[LEFT, :2]).norm() < 0.05


@pytest.mark.parametrize(("side", "share"), [("right", 0.4), ("top", 0.4), ("top", 0.5), ("left", 0.5)])
def test_a_face_of_which_too_little_is_left_is_said_to_be_cut(
    astronaut: Tensor, whole: Tensor, coarse_head: HeadModel, side: str, share: float
) -> None:
    picture, *_ = cut(astronaut, whole, side, share)
    sentence = "^The picture's edge seems to cut the face in the picture, and too little of it is left"
    for images in (picture, picture.half(), iter([(picture * 255).byte()])):
        with pytest.raises(ValueError, match=sentence):
            track(images, coarse_head)
    with pytest.raises(ValueError, match=r"seems to cut the face in any of the 3 frames, .* shows the whole face\.$"):
        track(picture.repeat(3, 1, 1, 1), coarse_head)
    with pytest.raises(ValueError, match=r"seems to cut the face in photo\.png"):
        require_face(picture, "photo.png")


def test_where_there_is_no_face_none_is_cut(coarse_head: HeadModel) -> None:
    noise = torch.rand(1, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    cloud = F.interpolate(noise.permute(0, 3, 1, 2), size=(200, 300), mode="bicubic").permute(0, 2, 3, 1).clamp(0, 1)
    with pytest.raises(ValueError, match="^No face was found in the picture"):
        track(cloud, coarse_head)


def test_a_clip_of_a_cut_face_is_followed(single_face: tuple[Tensor, float]) -> None:
    clip = single_face[0][:30]
    whole = detect_landmarks(clip)
    pictures, corner, inside = cut(clip, whole[0], "right", 0.4)
    assert sum(map(bool, detect_faces(pictures[::4], search_edges=False))) <= 1, "what looks for whole faces sees none"
    found = detect_landmarks(pictures)
    assert (found[:, 0, 2] > 0.8).all()
    off = (found[:, :MESH, :2] + corner - whole[:, :MESH, :2]).norm(dim=-1)
    eyes = (whole[:, RIGHT, :2] - whole[:, LEFT, :2]).norm(dim=-1)
    assert (off[:, inside].mean(1) / eyes).max() < 0.05


# ---- whole faces are found as they were


def test_whole_faces_come_first(astronaut: Tensor, whole: Tensor) -> None:
    """A small whole face beside a large one that is cut: only the whole one counts."""
    picture, *_ = cut(astronaut, whole, "left", 0.4)
    (large,) = search_at_edges(channels_first(picture))
    assert leaves(channels_first(picture), large) and detect_faces(picture)[0][0].score == large.score
    small = F.interpolate(astronaut.permute(0, 3, 1, 2), size=(150, 150), mode="area").permute(0, 2, 3, 1)
    both = torch.full((1, 512, picture.shape[2] + 200, 3), 0.4)
    both[:, :, : picture.shape[2]] = picture
    both[:, 300:450, -170:-20] = small
    (faces,) = detect_faces(both)
    assert len(faces) == 1 and float(faces[0].box[0]) > picture.shape[2]
    assert faces[0].score == detect_faces(both, search_edges=False)[0][0].score


def test_around_whole_faces_nothing_is_grey(astronaut: Tensor, whole: Tensor) -> None:
    for side, share, same in (("left", -0.5, True), ("left", 0.0, True), ("left", 0.35, False)):
        picture, *_ = cut(astronaut, whole, side, share)
        pictures = channels_first(picture)
        squares = squares_around_boxes(detect_faces(picture)[0], picture.device)
        plain = squares.cut(pictures, 192, beyond="border")
        assert torch.equal(cut_out(pictures, squares, 192), plain) == same
