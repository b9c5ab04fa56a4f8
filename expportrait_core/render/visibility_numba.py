"""Visible triangles on the CPU, compiled: one loop over the triangles per frame or strip of rows.

Bit for bit the answer of the plain torch back end in `visibility`: the same integers, and 1/w by the same float32
operations in the same order.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .compiled import compiled
from .workers import bands, in_threads

ONE = np.float32(1)
ZERO = np.float32(0)


def visible_numba(
    snapped: Tensor,  # [F, V, 2] int32, 1/256 pixel
    inverse_depth: Tensor,  # [F, V] float32, 1/w
    faces: Tensor,  # [T, 3] int64
    height: int,
    width: int,
) -> Tensor:  # [F, H, W] int32
    ids = torch.empty(len(snapped), height, width, dtype=torch.int32)
    nearest = np.empty(ids.shape, np.float32)
    xy, z, triangles, numbers = (t.contiguous().numpy() for t in (snapped, inverse_depth, faces, ids))
    in_threads(
        draw_triangles,
        ((xy[f], z[f], triangles, numbers[f], nearest[f], a, b) for f, a, b in bands(len(ids), height)),
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


@compiled
def snap_corners(
    corners: np.ndarray,  # [V, 3]
    near: float,
    far_off: float,
    snapped: np.ndarray,  # [V, 2] int32, written
    inverse_depth: np.ndarray,  # [V] float32, written
) -> bool:
    drawable = True
    for v in range(len(corners)):
        w = corners[v, 2]
        x, y = corners[v, 0] / w, corners[v, 1] / w
        if w >= near and abs(x) <= far_off and abs(y) <= far_off:  # False for NaN
            snapped[v, 0], snapped[v, 1] = np.int32(np.rint(x * 256)), np.int32(np.rint(y * 256))
            inverse_depth[v] = ONE / np.float32(w)
        else:
            drawable = False
            snapped[v, 0], snapped[v, 1], inverse_depth[v] = 0, 0, ONE
    return drawable


@compiled
def draw_triangles(
    snapped: np.ndarray,  # [V, 2] int32
    inverse_depth: np.ndarray,  # [V] float32
    faces: np.ndarray,  # [T, 3]
    ids: np.ndarray,  # [H, W] int32, rows top..bottom - 1 written
    nearest: np.ndarray,  # [H, W] float32, room for the nearest 1/w
    top: int,
    bottom: int,
) -> None:
    ids[top:bottom] = -1
    nearest[top:bottom] = -ONE
    last_column = ids.shape[1] - 1
    for t in range(len(faces)):
        # the exchange of two corners makes front faces positive; names as in `visibility`
        a, b, c = faces[t, 0], faces[t, 2], faces[t, 1]
        x0, y0 = np.int64(snapped[a, 0]), np.int64(snapped[a, 1])
        x1, y1 = np.int64(snapped[b, 0]), np.int64(snapped[b, 1])
        x2, y2 = np.int64(snapped[c, 0]), np.int64(snapped[c, 1])
        area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
        if area <= 0:
            continue
        first_row = max((min(y0, y1, y2) + 127) >> 8, top)
        last_row = min((max(y0, y1, y2) - 129) >> 8, bottom - 1)
        left = max((min(x0, x1, x2) + 127) >> 8, 0)
        right = min((max(x0, x1, x2) - 129) >> 8, last_column)
        if first_row > last_row or left > right:
            continue
        dx0, dx1, dx2 = x2 - x1, x0 - x2, x1 - x0  # along the edge opposite to each corner
        dy0, dy1, dy2 = y2 - y1, y0 - y2, y1 - y0
        excluded0 = np.int64(dy0 > 0 or (dy0 == 0 and dx0 <= 0))  # all but left and top edges
        excluded1 = np.int64(dy1 > 0 or (dy1 == 0 and dx1 <= 0))
        excluded2 = np.int64(dy2 > 0 or (dy2 == 0 and dx2 <= 0))
        x, y = (left << 8) + 128, (first_row << 8) + 128
        row0 = dy0 * (x1 - x) - dx0 * (y1 - y) - excluded0
        row1 = dy1 * (x2 - x) - dx1 * (y2 - y) - excluded1
        row2 = dy2 * (x0 - x) - dx2 * (y0 - y) - excluded2
        z0 = inverse_depth[a]
        change1 = (inverse_depth[b] - z0) / np.float32(area)
        change2 = (inverse_depth[c] - z0) / np.float32(area)
        slope = np.float32(-(dy1 << 8)) * change1 + np.float32(-(dy2 << 8)) * change2
        for row in range(first_row, last_row + 1):
            e0, e1, e2 = row0, row1, row2
            first, at_first = np.int64(-1), ZERO
            for column in range(left, right + 1):
                if (e0 | e1 | e2) >= 0:
                    if first < 0:
                        first = column
                        at_first = z0 + np.float32(e1 + excluded1) * change1
                        at_first = at_first + np.float32(e2 + excluded2) * change2
                    z = max(at_first + np.float32(column - first) * slope, ZERO)
                    if z > nearest[row, column]:
                        nearest[row, column] = z
                        ids[row, column] = t
                elif first >= 0:
                    break
                e0 -= dy0 << 8
                e1 -= dy1 << 8
                e2 -= dy2 << 8
            row0 += dx0 << 8
            row1 += dx1 << 8
            row2 += dx2 << 8
