"""Smoothing of fits whose tracker wrote the head's motion into the camera: what counts is what the picture shows."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from expportrait_core.assets import PERFORMANCE
from expportrait_core.fit import interpolate_gaps, load_fit, quaternions, smooth_fit
from expportrait_core.fit.edit.smoothing import METHODS
from expportrait_core.types import Camera, SMPLXFit

FRAMES, SIDE, FOCAL = 120, 512, 1500.0
CORNERS = torch.tensor([[x, y, z] for x in (-0.08, 0.08) for y in (-0.1, 0.1) for z in (-0.08, 0.08)])


@pytest.fixture(scope="module")
def still():
    fit = load_fit(PERFORMANCE).frames([0] * FRAMES)
    return fit.replace(
        poses=torch.zeros(FRAMES, 55, 3), translation=torch.zeros(FRAMES, 3), camera=camera(frontal(), distance())
    )


def frontal() -> Tensor:
    """OpenCV's camera before a face: x to the right, y down."""
    return quaternions.from_axis_angle(torch.tensor([math.pi, 0.0, 0.0])).expand(FRAMES, 4)


def distance(metres: float = 1.2) -> Tensor:
    return torch.tensor([0.0, 0.0, metres]).expand(FRAMES, 3)


def camera(turn: Tensor, place: Tensor, focal: Tensor | float = FOCAL, centre: Tensor | float = SIDE / 2) -> Camera:
    view = torch.eye(4).repeat(FRAMES, 1, 1)
    view[:, :3, :3], view[:, :3, 3] = quaternions.to_matrix(turn), place
    lens = torch.eye(3).repeat(FRAMES, 1, 1)
    lens[:, 0, 0] = lens[:, 1, 1] = torch.as_tensor(focal)
    lens[:, :2, 2] = torch.as_tensor(centre)
    return Camera(lens, view, (SIDE, SIDE))


def noise(seed: int, size: float, columns: int = 3) -> Tensor:
    return size * torch.randn(FRAMES, columns, generator=torch.Generator().manual_seed(seed))


def nodding(degrees: float = 0.6, metres: float = 0.001) -> tuple[Tensor, Tensor]:
    """A head that turns and sways slowly, and trembles."""
    time = torch.arange(FRAMES) / 25
    turn = torch.stack([torch.zeros_like(time), 0.3 * torch.sin(1.5 * time), torch.zeros_like(time)], 1)
    sway = torch.stack([0.05 * torch.sin(time), torch.zeros_like(time), torch.zeros_like(time)], 1)
    trembling = quaternions.from_axis_angle(noise(1, math.radians(degrees)))
    return quaternions.multiply(quaternions.from_axis_angle(turn), trembling), sway + noise(2, metres)


def pixels(fit: SMPLXFit) -> Tensor:
    """Where the corners of a box around the head are seen [F, 8, 2]."""
    root = quaternions.to_matrix(quaternions.from_axis_angle(fit.poses[:, 0]))
    points = (root[:, None] @ CORNERS[None, :, :, None])[..., 0] + fit.translation[:, None]
    seen = fit.camera.project(points)
    return seen[..., :2] / seen[..., 2:]


def tremor(fit: SMPLXFit) -> float:
    """Pixels, as third differences, in which slow motion vanishes."""
    return float(pixels(fit).diff(n=3, dim=0).square().mean().sqrt())


def by_body(still: SMPLXFit, turn: Tensor, place: Tensor) -> SMPLXFit:
    poses = still.poses.clone()
    poses[:, 0] = quaternions.to_axis_angle(turn)
    return still.replace(poses=poses, translation=place)


def by_camera(still: SMPLXFit, turn: Tensor, place: Tensor) -> SMPLXFit:
    return still.replace(
        camera=camera(
            quaternions.multiply(frontal(), turn),
            (quaternions.to_matrix(frontal()) @ place[..., None])[..., 0] + distance(),
        )
    )


@pytest.mark.parametrize("keep_fast", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_motion_is_smoothed_alike_in_body_and_camera(still, method: str, keep_fast: bool) -> None:
    body, seen = by_body(still, *nodding()), by_camera(still, *nodding())
    assert (pixels(body) - pixels(seen)).abs().max() < 0.05, "both show the same"
    smooth = [smooth_fit(fit, 0.6, method, keep_fast=keep_fast) for fit in (body, seen)]
    assert tremor(smooth[1]) < 0.35 * tremor(seen)
    assert (pixels(smooth[0]) - pixels(smooth[1])).abs().max() < 0.05


@pytest.mark.parametrize("method", METHODS)
def test_what_trembles_in_body_and_camera_alike_is_not_seen_afterwards_either(still, method: str) -> None:
    """The body does the camera's trembling, far from the world's origin: the picture stands still."""
    turn, place = quaternions.from_axis_angle(noise(3, math.radians(2))), noise(4, 0.02) + torch.tensor([3.0, 1, 0])
    poses = still.poses.clone()
    poses[:, 0] = quaternions.to_axis_angle(turn)
    view = quaternions.multiply(frontal(), quaternions.inverse(turn))
    back = -(quaternions.to_matrix(view) @ place[..., None])[..., 0] + distance()
    both = still.replace(poses=poses, translation=place, camera=camera(view, back))
    assert pixels(both).diff(dim=0).abs().max() < 0.05
    smooth = smooth_fit(both, 0.6, method)
    assert pixels(smooth).diff(dim=0).abs().max() < 0.05
    assert smooth.poses[:, 0].diff(dim=0).norm() < 0.7 * both.poses[:, 0].diff(dim=0).norm(), "and the world is smooth"


@pytest.mark.parametrize("method", METHODS)
def test_a_lens_that_follows_the_distance_does_not_make_heads_breathe(still, method: str) -> None:
    """As trackers that look at a crop of every frame: the lens and the place of the body tremble together."""
    focal = FOCAL * (1 + noise(5, 0.05, 1)[:, 0])
    centre = SIDE / 2 + noise(6, 10.0, 2)
    place = distance().clone()
    place[:, 2] *= focal / FOCAL
    place[:, :2] = -(centre - SIDE / 2) * place[:, 2:] / focal[:, None]
    crops = still.replace(camera=camera(frontal(), place, focal, centre))

    def size_and_place(fit):
        seen = pixels(fit)
        return torch.cat([seen.mean(1), (seen[:, 6] - seen[:, 0]).norm(dim=1, keepdim=True)], 1)

    smooth = smooth_fit(crops, 0.6, method)
    assert smooth.camera.intrinsics.diff(dim=0).norm() < 0.6 * crops.camera.intrinsics.diff(dim=0).norm()
    # a head at another distance has another perspective, so it cannot stand quite still
    assert size_and_place(smooth).std(0).max() < 0.8


def test_a_camera_that_stands_stays_to_the_bit(still) -> None:
    smooth = smooth_fit(by_body(still, *nodding()), 1.0)
    assert torch.equal(smooth.camera.world_to_camera, still.camera.world_to_camera)
    assert torch.equal(smooth.camera.intrinsics, still.camera.intrinsics)


@pytest.mark.parametrize("method", METHODS)
def test_fast_motion_in_the_camera_keeps_its_height(still, method: str) -> None:
    time = torch.arange(FRAMES) / 25
    yaw = math.radians(20) * torch.sin(4 * math.pi * time) * ((time > 1.5) & (time < 3.5))
    turn = quaternions.from_axis_angle(torch.stack([0 * yaw, yaw, 0 * yaw], 1))
    shaken = quaternions.multiply(turn, quaternions.from_axis_angle(noise(7, math.radians(0.3))))
    fit = by_camera(still, shaken, torch.zeros(FRAMES, 3))
    clean = pixels(by_camera(still, turn, torch.zeros(FRAMES, 3)))
    kept, blurred = (pixels(smooth_fit(fit, 1, method, keep_fast=keep)) for keep in (True, False))
    assert (kept - clean)[30:95].abs().max() < 6
    if method == "gaussian":
        assert (blurred - clean)[30:95].abs().max() > 20, "without the guard it is gone, so the guard is what keeps it"


def test_frames_without_a_face_get_the_camera_between(still) -> None:
    """A tracker that keeps the head in the camera knows no camera where it saw no head."""
    turn, place = nodding(0.0, 0.0)
    fit = by_camera(still, turn, place)
    view, valid = fit.camera.world_to_camera.clone(), fit.valid.clone()
    view[50:55], valid[50:55] = view[0], False
    lost = fit.replace(camera=fit.camera.replace(world_to_camera=view), valid=valid)
    expected = pixels(fit)
    assert (pixels(lost) - expected)[50:55].abs().max() > 10
    assert (pixels(interpolate_gaps(lost)) - expected)[50:55].abs().max() < 2
    assert (pixels(smooth_fit(lost, 0.2)) - pixels(smooth_fit(fit, 0.2))).abs().max() < 2


def test_lids_beside_the_expression_are_smoothed_and_keep_their_blinks(still) -> None:
    lids = 0.1 + noise(8, 0.02, 2)
    lids[60:64] = torch.tensor([0.6, 1.0, 1.0, 0.5])[:, None]
    fit = still.replace(eyelids=lids)
    kept, lost = (smooth_fit(fit, 0.6, keep_blinks=keep).eyelids for keep in (True, False))
    assert kept.max() > 0.95 > 0.7 > lost.max()
    for smooth in (kept, lost):
        assert smooth[:45].std() < 0.6 * lids[:45].std()
