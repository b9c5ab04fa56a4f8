"""Normals, depth and coverage of a mesh on the CPU, compiled: one call per frame forwards, and one back.

Each frame is one thread's work from its vertices to its maps, and from their gradients to those of its vertices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .kernels import draw_maps, spread_maps
from .pictures_numba import Canvas
from .workers import in_threads, num_workers


class DrawnMaps(NamedTuple):
    """What a camera sees, and what the way back needs of it."""

    normals: Tensor  # [F, H, W, 3]
    depth: Tensor  # [F, H, W]
    mask: Tensor  # [F, H, W]
    ids: Tensor  # [F, s·H, s·W] int32
    scales: Tensor  # [F, H, W] what the sums of each pixel's normals were multiplied with
    points: Tensor  # [F, V, 8], see `turn_normals`


def draw_maps_numba(
    vertices: Tensor,  # [F, V, 3] float32, world
    projections: Tensor,  # [F, 3, 4] float32, from the world to homogeneous pixel corners of the samples
    turns: Tensor,  # [F, 3, 3] float32, from the world to the camera space of normals
    faces: Tensor,  # [T, 3]
    fans: tuple[Tensor, Tensor],  # of the faces, see `normals_numba`
    limits: tuple[float, float],  # metres, pixels: nearest and farthest corners that can be drawn
    size: tuple[int, int],  # height and width in pixels
    supersampling: int,
) -> tuple[DrawnMaps, bool]:
    """And whether all corners could be drawn; those that could not were put at 0."""
    (height, width), (frames, count) = size, vertices.shape[:2]
    maps = DrawnMaps(
        *(vertices.new_empty(frames, height, width, *channels) for channels in ((3,), (), ())),
        vertices.new_empty(frames, height * supersampling, width * supersampling, dtype=torch.int32),
        vertices.new_empty(frames, height, width),
        vertices.new_empty(frames, count, 8),
    )
    v, p, r, *mesh = _arrays(vertices, projections, turns, faces, *fans)
    normals, depth, mask, ids, scales, points = _arrays(*maps)
    near, far_off = np.float32(limits[0]), limits[1]

    def draw(frames: Iterator[int]) -> bool:
        canvas, drawn = Canvas.of(count, height, width, supersampling), True
        for f in frames:
            own = canvas._replace(points=points[f], ids=ids[f])
            room = normals[f], mask[f], depth[f], scales[f]
            drawn &= draw_maps(v[f], p[f], r[f], *mesh, near, far_off, *own, 0, False, *room)
        return drawn

    return maps, all(_shared(draw, frames))


def draw_maps_numba_backward(
    vertices: Tensor,  # [F, V, 3]
    projections: Tensor,  # [F, 3, 4]
    turns: Tensor,  # [F, 3, 3]
    faces: Tensor,  # [T, 3]
    fans: tuple[Tensor, Tensor],
    maps: DrawnMaps,
    normals_gradient: Tensor,  # [F, H, W, 3]
    depth_gradient: Tensor,  # [F, H, W]
    of_camera: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The gradients of the vertices, and where wanted of the projections and of the turns, in their shapes."""
    frames, count = vertices.shape[:2]
    result = torch.empty_like(vertices, memory_format=torch.contiguous_format)
    matrices = [torch.zeros(frames, 3, columns, dtype=torch.float64) for columns in (4, 3)]
    v, p, r, *mesh = _arrays(vertices, projections, turns, faces, *fans)
    back = np.linalg.inv(r)  # torch's would start threads, which go on waiting on the cores that draw
    drawn = _arrays(maps.ids, maps.normals, maps.mask, maps.scales, normals_gradient, depth_gradient)
    points, out, for_p, for_r = _arrays(maps.points, result, *matrices)

    def spread(frames: Iterator[int]) -> None:
        room = np.empty((count, 6), np.float32), np.empty((count, 3), np.float32)
        for f in frames:
            of_frame = (array[f] for array in drawn)
            into = out[f], of_camera, for_p[f], for_r[f]
            spread_maps(v[f], points[f], p[f], r[f], back[f], *mesh, *of_frame, *room, *into)

    _shared(spread, frames)
    return (result, *(matrix.float() if of_camera else None for matrix in matrices))


def _shared(job: Callable[[Iterator[int]], Any], frames: int) -> list:
    """What `job` returns in each thread; they take the frames from one iterator, so that a thread that is held up by
    another program leaves the rest to the others."""
    left = iter(range(frames))
    return in_threads(job, [(left,)] * min(frames, num_workers()))


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
