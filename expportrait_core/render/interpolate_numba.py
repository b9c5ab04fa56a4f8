"""Interpolation on the CPU, compiled: forwards pixel by pixel, backwards by the formulas of `interpolate`.

The weights are computed in double precision from corners relative to the pixel, whatever the inputs' precision.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .compiled import compiled
from .workers import bands, in_threads

MAX_EXTRAPOLATION = 0.25
"""Visibility snaps corners to 1/256 pixel, so a pixel's centre may lie just outside of the unsnapped triangle, and the
weights extrapolate. Where they would by more than this, the triangle is thinner than about 1/90 pixel and its weights
are noise: it takes the plain mean of its corners, and no gradient of position. Our choice, not from the paper."""
STRIPS = 2  # of a picture that is alone, for its backward. A fixed number: sums do not depend on the number of threads


def interpolate_numba(
    corners: Tensor,  # [F, V, 3]
    attributes: Tensor,  # [F, V, C]
    faces: Tensor,  # [T, 3]
    ids: Tensor,  # [F, H, W] int32
) -> Tensor:  # [F, H, W, C]
    picture = attributes.new_empty(*ids.shape, attributes.shape[-1])
    c, a, t, n, out = _arrays(corners, attributes, faces, ids, picture)
    in_threads(interpolate_rows, ((c[f], a[f], t, n[f], out[f], *rows) for f, *rows in bands(*ids.shape[:2])))
    return picture


def interpolate_numba_backward(
    corners: Tensor,  # [F, V, 3]
    attributes: Tensor,  # [F, V, C]
    faces: Tensor,  # [T, 3]
    ids: Tensor,  # [F, H, W] int32
    gradient: Tensor,  # [F, H, W, C]
) -> tuple[Tensor, Tensor]:
    """The gradients of the corners and of the attributes, in their shapes."""
    frames, height = ids.shape[:2]
    strips = STRIPS if frames == 1 else 1
    for_corners = corners.new_zeros(strips, *corners.shape)
    for_attributes = attributes.new_zeros(strips, *attributes.shape)
    c, a, t, n, g, gc, ga = _arrays(corners, attributes, faces, ids, gradient, for_corners, for_attributes)
    cuts = [height * i // strips for i in range(strips + 1)]
    jobs = [(f, strip) for f in range(frames) for strip in range(strips)]
    in_threads(
        spread_rows, ((c[f], a[f], t, n[f], g[f], gc[s, f], ga[s, f], cuts[s], cuts[s + 1]) for f, s in jobs)
    )
    return sum(for_corners), sum(for_attributes)


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


@compiled
def weights_at(
    corners: np.ndarray,  # [V, 3]
    i: int,
    j: int,
    k: int,
    px: float,
    py: float,
) -> tuple:
    """b_0..2, 1/Σu (0 where the triangle is too thin), and the corners relative to the pixel x_0, y_0 … y_2."""
    wi, wj, wk = np.float64(corners[i, 2]), np.float64(corners[j, 2]), np.float64(corners[k, 2])
    x0, y0 = corners[i, 0] - px * wi, corners[i, 1] - py * wi
    x1, y1 = corners[j, 0] - px * wj, corners[j, 1] - py * wj
    x2, y2 = corners[k, 0] - px * wk, corners[k, 1] - py * wk
    u0, u1, u2 = x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1
    inverse = 1.0 / (u0 + u1 + u2)
    b0, b1, b2 = u0 * inverse, u1 * inverse, u2 * inverse
    if not min(b0, b1, b2) >= -MAX_EXTRAPOLATION:  # so that NaN counts as thin
        b0, b1, b2, inverse = 1 / 3, 1 / 3, 1 / 3, 0.0
    return b0, b1, b2, inverse, x0, y0, x1, y1, x2, y2


@compiled
def interpolate_rows(
    corners: np.ndarray,  # [V, 3]
    attributes: np.ndarray,  # [V, C]
    faces: np.ndarray,  # [T, 3]
    ids: np.ndarray,  # [H, W]
    picture: np.ndarray,  # [H, W, C], rows top..bottom - 1 written
    top: int,
    bottom: int,
) -> None:
    channels = attributes.shape[1]
    for row in range(top, bottom):
        for column in range(ids.shape[1]):
            triangle = ids[row, column]
            if triangle < 0:
                for channel in range(channels):
                    picture[row, column, channel] = 0
                continue
            i, j, k = faces[triangle, 0], faces[triangle, 1], faces[triangle, 2]
            b = weights_at(corners, i, j, k, column + 0.5, row + 0.5)
            for channel in range(channels):
                value = b[0] * attributes[i, channel] + b[1] * attributes[j, channel] + b[2] * attributes[k, channel]
                picture[row, column, channel] = value


@compiled
def spread_rows(
    corners: np.ndarray,  # [V, 3]
    attributes: np.ndarray,  # [V, C]
    faces: np.ndarray,  # [T, 3]
    ids: np.ndarray,  # [H, W]
    gradient: np.ndarray,  # [H, W, C]
    for_corners: np.ndarray,  # [V, 3], added to
    for_attributes: np.ndarray,  # [V, C], added to
    top: int,
    bottom: int,
) -> None:
    channels = attributes.shape[1]
    for row in range(top, bottom):
        py = row + 0.5
        for column in range(ids.shape[1]):
            triangle = ids[row, column]
            if triangle < 0:
                continue
            px = column + 0.5
            i, j, k = faces[triangle, 0], faces[triangle, 1], faces[triangle, 2]
            b0, b1, b2, inverse, x0, y0, x1, y1, x2, y2 = weights_at(corners, i, j, k, px, py)
            g0, g1, g2 = 0.0, 0.0, 0.0
            for channel in range(channels):
                g = np.float64(gradient[row, column, channel])
                g0 += g * attributes[i, channel]
                g1 += g * attributes[j, channel]
                g2 += g * attributes[k, channel]
                for_attributes[i, channel] += b0 * g
                for_attributes[j, channel] += b1 * g
                for_attributes[k, channel] += b2 * g
            mean = g0 * b0 + g1 * b1 + g2 * b2
            h0, h1, h2 = (g0 - mean) * inverse, (g1 - mean) * inverse, (g2 - mean) * inverse
            add_corner(for_corners, i, h2 * y1 - h1 * y2, h1 * x2 - h2 * x1, px, py)
            add_corner(for_corners, j, h0 * y2 - h2 * y0, h2 * x0 - h0 * x2, px, py)
            add_corner(for_corners, k, h1 * y0 - h0 * y1, h0 * x1 - h1 * x0, px, py)


@compiled
def add_corner(for_corners: np.ndarray, corner: int, along_x: float, along_y: float, px: float, py: float) -> None:
    for_corners[corner, 0] += along_x
    for_corners[corner, 1] += along_y
    for_corners[corner, 2] -= px * along_x + py * along_y
