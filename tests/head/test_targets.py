"""Sampling the given maps: exact places, and what lies beyond the picture."""

from __future__ import annotations

import torch
from torch import Tensor

from expportrait_core.head.targets import dense_targets, eroded
from expportrait_core.render import encode_normals, render_mesh
from expportrait_core.types import HeadModel

from .people import make_camera, make_person


def boxes(*corners: tuple[float, float, float, float]) -> Tensor:
    """Two pixel positions per frame, [F, 2, 2], from left, top, right, bottom."""
    return torch.tensor(corners).view(-1, 2, 2)


def pixel_numbers(frames: int, size: int) -> Tensor:
    return 1 + torch.arange(frames * size * size, dtype=torch.float32).view(frames, size, size)


def test_the_samples_of_all_steps_are_the_pixels() -> None:
    depth, camera = pixel_numbers(2, 60), make_camera(2, 60)
    targets = dense_targets(None, depth, None, camera, boxes((10, 10, 50, 50), (12, 8, 52, 48)), 20, 0)
    assert targets.stride == 3
    views = [targets.view(torch.tensor([1]), (x, y)).depth for x in range(3) for y in range(3)]
    seen = torch.cat([v.flatten() for v in views])
    x, y = targets.corner[1].tolist()
    side = targets.size * targets.stride
    assert sorted(seen.tolist()) == sorted(depth[1, y : y + side, x : x + side].flatten().tolist())


def test_the_sampled_camera_sees_what_the_samples_show(coarse_head: HeadModel) -> None:
    person = make_person(coarse_head, frames=2)
    camera, faces = person.fit.camera, coarse_head.fine_faces
    corners = camera.project(person.vertices)
    targets = dense_targets(
        encode_normals(person.maps.normals, person.maps.mask), person.maps.depth, None, camera,
        corners[..., :2] / corners[..., 2:], 100, 0,
    )  # fmt: skip
    for first in ((0, 0), (2, 1)):
        view = targets.view(torch.tensor([1]), first)
        maps = render_mesh(person.vertices[1:], faces, view.camera)
        covered = (maps.mask > 0) & (view.depth_weight > 0)
        assert targets.stride == 3 and covered.float().mean() > 0.3
        same = (maps.depth - view.depth).abs()[covered] < 1e-4
        assert same.float().mean() > 0.999  # corners snap to 1/256 pixel of either picture
        assert (maps.normals - view.normals).abs()[covered][same].max() < 0.02


def test_beyond_the_picture_nothing_is_compared() -> None:
    mask = torch.ones(1, 40, 40)
    targets = dense_targets(None, None, mask, make_camera(1, 40), boxes((20, 30, 60, 70)), 64, 1)
    x, y = targets.corner[0].tolist()
    view = targets.view(torch.tensor([0]), (0, 0))
    rows = torch.arange(targets.size)
    inside = ((rows + y >= 0) & (rows + y < 40))[:, None] & ((rows + x >= 0) & (rows + x < 40))
    assert torch.equal(view.in_picture[0] > 0, inside) and not inside.all()


def test_the_distance_to_the_mask_is_signed_and_in_samples() -> None:
    mask = torch.zeros(1, 80, 80)
    mask[:, :, :40] = 1  # the border is the line x = 40
    targets = dense_targets(None, None, mask, make_camera(1, 80), boxes((0, 0, 80, 80)), 48, 0)
    assert targets.stride == 2
    camera = targets.outline_camera(torch.tensor([0]))
    whole = make_camera(1, 80)
    place = torch.arange(targets.size) + 0.5
    in_picture = (place - camera.intrinsics[0, 0, 2]) * 2 + whole.intrinsics[0, 0, 2]
    row = targets.outline_distance[0, targets.size // 2]
    near = (in_picture > 2) & (in_picture < 78)
    torch.testing.assert_close(row[near], ((in_picture - 40) / 2)[near])


def test_masks_without_a_border_keep_nothing_in() -> None:
    for mask in (torch.zeros(1, 30, 30), torch.ones(1, 30, 30)):
        targets = dense_targets(None, None, mask, make_camera(1, 30), boxes((5, 5, 25, 25)), 64, 0)
        assert (targets.outline_distance == 0).all()


def test_erosion_stays_within_and_keeps_the_edge_of_the_picture() -> None:
    mask = torch.zeros(1, 9, 9)
    mask[:, 3:] = 1
    assert torch.equal(eroded(mask, 2)[0, :, 4], torch.tensor([0.0, 0, 0, 0, 0, 1, 1, 1, 1]))
    assert torch.equal(eroded(mask, 0), mask)


def test_the_same_world_point_is_the_same_sample() -> None:
    """The sampled camera's pixel centres are the pictures' own: (i + 0.5) of the samples is a pixel's centre."""
    targets = dense_targets(None, pixel_numbers(1, 60), None, make_camera(1, 60), boxes((3, 5, 51, 47)), 16, 0)
    first, frame = (1, 2), torch.tensor([0])
    view = targets.view(frame, first)
    row, column = 4, 6
    ray = torch.linalg.solve(view.camera.intrinsics[0], torch.tensor([column + 0.5, row + 0.5, 1.0]))
    pixel = make_camera(1, 60).intrinsics[0] @ ray
    x, y = (pixel[:2] - 0.5).round().long().tolist()
    torch.testing.assert_close(pixel[:2], torch.tensor([x + 0.5, y + 0.5]), atol=1e-3, rtol=0)
    assert view.depth[0, row, column] == pixel_numbers(1, 60)[0, y, x]
