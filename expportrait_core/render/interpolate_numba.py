"""Interpolation on the CPU, compiled: forwards pixel by pixel, backwards by the formulas of `interpolate`.

The weights are computed in double precision from corners relative to the pixel, whatever the inputs' precision.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .kernels import interpolate_rows, spread_rows
from .workers import bands, in_threads

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
