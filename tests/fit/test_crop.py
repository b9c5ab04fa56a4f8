"""The portrait square: stable, with the camera adjusted, and invertible."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from expportrait_core.body import landmark_points, pose_vertices
from expportrait_core.fit import (
    crop_mask,
    crop_portrait,
    fit_in_crop,
    landmark_error_percent,
    match_colours,
    paste_back,
    plan_crop,
    track,
)
from expportrait_core.fit.crop import FACE_CENTRE, cut_square
from expportrait_core.types import HeadModel, SMPLXFit


@pytest.fixture(scope="module")
def fit(astronaut: Tensor, coarse_head: HeadModel) -> SMPLXFit:
    return track(astronaut, coarse_head)


def test_face_takes_its_share_and_the_camera_follows(astronaut: Tensor, fit: SMPLXFit, coarse_head: HeadModel) -> None:
    images, cropped, crop = crop_portrait(astronaut, fit, size=384)
    assert images.shape == (1, 384, 384, 3) and cropped.image_size == (384, 384)
    points = cropped.landmarks[0, :468, :2]
    extent = (points.amax(0) - points.amin(0)).max() / 384
    assert abs(float(extent) - 0.55) < 0.01
    before, after = (landmark_error_percent(f, coarse_head) for f in (fit, cropped))
    assert torch.allclose(before, after, atol=1e-3)
    again = track(images, coarse_head)  # the tracker finds in the crop what the crop's landmarks say
    assert (again.landmarks[0, :468, :2] - points).norm(dim=-1).mean() < 4
    assert 0 < float(crop.side) < 512


def test_pasting_back_is_the_inverse(astronaut: Tensor, fit: SMPLXFit) -> None:
    images, _, crop = crop_portrait(astronaut, fit, size=512)
    back = paste_back(images, crop, astronaut)
    assert (back - astronaut).abs().mean() < 1e-3 and (back - astronaut).abs().max() < 0.08
    inverted = paste_back(1 - images, crop, astronaut[0])
    x, y, side = *crop.corner[0].tolist(), float(crop.side[0])
    centre = inverted[0, int(y + side / 2), int(x + side / 2)]
    assert torch.allclose(centre, 1 - astronaut[0, int(y + side / 2), int(x + side / 2)], atol=0.05)
    outside = torch.ones(512, 512, dtype=torch.bool)
    outside[int(y) - 1 : int(y + side) + 2, int(x) - 1 : int(x + side) + 2] = False
    assert torch.equal(inverted[0][outside], astronaut[0][outside])


def test_one_square_serves_a_whole_video(astronaut: Tensor, fit: SMPLXFit) -> None:
    images, _, crop = crop_portrait(astronaut, fit, size=128)
    video = torch.stack([torch.full_like(images[0], grey) for grey in (0.2, 0.5, 0.8)])
    pasted = paste_back(video, crop, astronaut[0])
    x, y = (int(c + float(crop.side[0]) / 2) for c in crop.corner[0].tolist())
    assert pasted.shape == (3, 512, 512, 3)
    assert pasted[:, y, x, 0].tolist() == pytest.approx([0.2, 0.5, 0.8], abs=1e-3), "every frame its own"
    with pytest.raises(ValueError, match="3 new frames and 2 full pictures"):
        paste_back(video, crop, astronaut.repeat(2, 1, 1, 1))
    with pytest.raises(ValueError, match="cut out of 512x512"):
        paste_back(video, crop, astronaut[0, :100])


def test_every_frame_goes_back_to_its_own_place_and_picture(astronaut: Tensor, fit: SMPLXFit) -> None:
    whole = torch.stack([astronaut[0], 1 - astronaut[0], 0.5 * astronaut[0]])
    many = moving(fit, 3)
    crop = plan_crop(many, size=256, stability=0.0)
    crop = crop.replace(corner=crop.corner + torch.tensor([[0.0, 0.0], [20.0, 10.0], [-15.0, 25.0]]))
    back = paste_back(cut_square(whole, crop), crop, whole)
    assert (back - whole).abs().mean(dim=(1, 2, 3)).max() < 3e-3
    squares = torch.ones(3, 64, 64, 3)
    white = paste_back(squares, crop, whole, feather=0.0)
    half = torch.ones(3, 64, 64)
    half[1, :, 32:] = 0
    masked = paste_back(squares, crop, whole, feather=0.0, mask=half)
    for frame, ((left, top), side) in enumerate(zip(crop.corner.tolist(), crop.side.tolist())):
        changed = (white[frame] != whole[frame]).any(-1).nonzero()
        assert changed.amin(0).tolist() == pytest.approx([top, left], abs=1.5)
        assert changed.amax(0).tolist() == pytest.approx([top + side, left + side], abs=1.5)
        middle = int(top + side / 2)
        right = masked[frame, middle, int(left + 0.75 * side)]
        assert torch.allclose(right, whole[frame, middle, int(left + 0.75 * side)] if frame == 1 else torch.ones(3))
        assert torch.allclose(masked[frame, middle, int(left + 0.25 * side)], torch.ones(3))


def test_camera_and_landmarks_follow_every_frames_own_square(fit: SMPLXFit, coarse_head: HeadModel) -> None:
    many = moving(fit, 3)
    crop = plan_crop(many, size=256, stability=0.0)
    crop = crop.replace(corner=crop.corner + torch.tensor([[0.0, 0.0], [20.0, 10.0], [-15.0, 25.0]]))
    within = fit_in_crop(many, crop)
    points = landmark_points(
        pose_vertices(coarse_head, many.betas, many.expression, many.poses, many.translation),
        coarse_head.faces, coarse_head.landmarks["ibug68"],
    )  # fmt: skip
    full, small = (camera.project(points) for camera in (many.camera, within.camera))
    scale = 256 / crop.side[:, None, None]
    expected = (full[..., :2] / full[..., 2:] - crop.corner[:, None]) * scale
    assert torch.allclose(small[..., :2] / small[..., 2:], expected, atol=1e-2)
    moved = (many.landmarks[..., :2] - crop.corner[:, None]) * scale
    assert torch.allclose(within.landmarks[..., :2], moved, atol=1e-3)


def moving(fit: SMPLXFit, frames: int) -> SMPLXFit:
    """The face wanders to the right by 2 pixels a frame and trembles."""
    many = fit.frames([0] * frames)
    shift = torch.arange(frames)[:, None, None] * torch.tensor([2.0, 0.0])
    tremble = 3 * torch.randn(frames, 1, 2, generator=torch.Generator().manual_seed(0))
    pixels = many.landmarks[..., :2] + shift + tremble
    return many.replace(landmarks=torch.cat([pixels, many.landmarks[..., 2:]], -1))


def test_stability(fit: SMPLXFit) -> None:
    clip = moving(fit, 40)
    fixed, loose = plan_crop(clip, stability=1.0), plan_crop(clip, stability=0.0)
    assert (fixed.corner == fixed.corner[0]).all() and (loose.side == loose.side[0]).all()
    centre = clip.landmarks[..., :2].amax(1).add(clip.landmarks[..., :2].amin(1)) / 2
    middle = fixed.corner[0] + fixed.side[0] * torch.tensor([0.5, FACE_CENTRE])
    assert torch.allclose(middle, centre.mean(0), atol=1e-3), "of the whole clip"
    lost = clip.landmarks.clone()
    lost[30:, :, :2] += 500
    valid = torch.arange(40) < 30
    part = plan_crop(clip.replace(landmarks=lost, valid=valid), stability=1.0)
    assert torch.allclose(part.corner, plan_crop(clip.frames(slice(0, 30)), stability=1.0).corner[:1], atol=1e-3)
    assert 30 < float(loose.corner[-1, 0] - loose.corner[0, 0]) < 80
    assert (loose.corner[1:] - loose.corner[:-1])[:, 1].abs().max() < 1  # it does not tremble with the face


def test_mesh_tells_where_the_face_is_without_landmarks(fit: SMPLXFit, coarse_head: HeadModel) -> None:
    bare = fit.replace(landmarks=None, landmark_scheme=None)
    with pytest.raises(ValueError, match="nothing tells where the face is"):
        plan_crop(bare)
    of_mesh, of_landmarks = plan_crop(bare, coarse_head), plan_crop(fit)
    assert (of_mesh.corner - of_landmarks.corner).norm() < 8
    assert abs(float(of_mesh.side - of_landmarks.side)) < 10


def test_mesh_lands_on_the_same_place_in_the_crop(fit: SMPLXFit, coarse_head: HeadModel) -> None:
    crop = plan_crop(fit, size=256)
    vertices = pose_vertices(coarse_head, fit.betas, fit.expression, fit.poses, fit.translation)
    points = landmark_points(vertices, coarse_head.faces, coarse_head.landmarks["ibug68"])
    full, small = (c.project(points)[0] for c in (fit.camera, fit_in_crop(fit, crop).camera))
    full, small = full[:, :2] / full[:, 2:], small[:, :2] / small[:, 2:]
    assert torch.allclose(small, (full - crop.corner[0]) * 256 / crop.side[0], atol=1e-3)


def test_a_mask_is_cropped_as_the_pictures_are(astronaut: Tensor, fit: SMPLXFit) -> None:
    whole = astronaut.repeat(2, 1, 1, 1)
    squares, _, crop = crop_portrait(whole, fit.frames([0, 0]), size=96)
    for mask in (whole[..., 1], whole[:1, ..., 1]):
        assert torch.allclose(crop_mask(mask, crop), squares[..., 1], atol=1e-6)
    for wrong in (torch.zeros(1, 64, 64), torch.zeros(3, 512, 512), torch.zeros(512, 512)):
        with pytest.raises(ValueError, match=r"The mask has the shape \[.*expected \[1 or 2, 512, 512\]"):
            crop_mask(wrong, crop)


def test_every_frame_is_told_and_can_be_the_last(astronaut: Tensor, fit: SMPLXFit) -> None:
    """Cropping, matching colours and pasting back: one call a frame with its picture, and what it raises ends them."""
    heard: list[tuple[int, int, tuple[int, ...]]] = []

    def listen(done: int, total: int, picture: Tensor) -> None:
        heard.append((done, total, tuple(picture.shape)))

    def stop(done: int, total: int, picture: Tensor) -> None:
        raise InterruptedError

    many = fit.frames([0, 0, 0])
    whole = astronaut.repeat(3, 1, 1, 1)
    squares, _, crop = crop_portrait(whole, many, size=64, progress=listen)
    match_colours(squares, crop, whole, 0.5, progress=listen)
    paste_back(squares, crop, whole, progress=listen)
    numbers = [(n, 3) for n in (1, 2, 3)]
    assert heard == [(*n, (side, side, 3)) for side in (64, 64, 512) for n in numbers]
    for step in (
        lambda: crop_portrait(whole, many, size=64, progress=stop),
        lambda: match_colours(squares, crop, whole, 0.5, progress=stop),
        lambda: paste_back(squares, crop, whole, progress=stop),
    ):
        with pytest.raises(InterruptedError):
            step()


def test_wrong_pictures_are_refused(astronaut: Tensor, fit: SMPLXFit) -> None:
    with pytest.raises(ValueError, match="Give the pictures that were tracked"):
        crop_portrait(astronaut[:, :100], fit)


@pytest.mark.parametrize("value", [0.0, -0.5, 1.01, math.nan, math.inf])
def test_squares_that_cannot_be_are_refused(astronaut: Tensor, fit: SMPLXFit, value: float) -> None:
    with pytest.raises(ValueError, match=f"take {value} of the crop's side, expected more than 0 and at most 1"):
        crop_portrait(astronaut, fit, face_share=value)
    if value:
        with pytest.raises(ValueError, match=f"stability is {value}, expected 0 .* to 1"):
            crop_portrait(astronaut, fit, stability=value)
    with pytest.raises(ValueError, match="expected at least 1"):
        crop_portrait(astronaut, fit, size=0)
    unseen = fit.replace(valid=torch.zeros_like(fit.valid))
    with pytest.raises(ValueError, match="no frame in which a face was seen"):
        crop_portrait(astronaut, unseen)
