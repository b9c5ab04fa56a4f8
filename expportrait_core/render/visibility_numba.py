"""Visible triangles on the CPU, compiled: one loop over the triangles per frame or strip of rows.

Bit for bit the answer of the plain torch back end in `visibility`: the same integers, and 1/w by the same float32
operations in the same order.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .kernels import draw_triangles, snap_corners
from .workers import bands, in_threads


def visible_numba(
    snapped: Tensor,  # [F, V, 2] int32, 1/256 pixel
    inverse_depth: Tensor,  # [F, V] float32, 1/w
    faces: Tensor,  # [T, 3] int64
    height: int,
    width: int,
) -> Tensor:  # [F, H, W] int32
    ids = torch.empty(len(snapped), height, width, dtype=torch.int32)
    nearest, drawn = np.empty(ids.shape, np.float32), np.empty(inverse_depth.shape, np.uint8)
    xy, z, triangles, numbers = (t.contiguous().numpy() for t in (snapped, inverse_depth, faces, ids))
    in_threads(
        draw_triangles,
        (
            (xy[f], z[f], triangles, numbers[f, top:bottom], nearest[f, top:bottom], drawn[f], top)
            for f, top, bottom in bands(len(ids), height)
        ),
    )
    return ids


def snap(
    corners: Tensor,  # [F, V, 3] homogeneous pixel corners
    near: float,  # metres
    far_off: float,  # pixels
) -> tuple[Tensor, Tensor, bool]:
    """Corners in 1/256 pixel [F, V, 2], 1/w [F, V], and whether all of them can be drawn; the others are at 0."""
    snapped = torch.empty(*corners.shape[:2], 2, dtype=torch.int32)
    inverse_depth = torch.empty(corners.shape[:2], dtype=torch.float32)
    points = corners.detach().contiguous().numpy()
    xy, z = snapped.numpy(), inverse_depth.numpy()
    near = points.dtype.type(near)
    drawable = in_threads(snap_corners, ((points[f], near, far_off, xy[f], z[f]) for f in range(len(points))))
    return snapped, inverse_depth, all(drawable)
