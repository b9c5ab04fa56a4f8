"""Interpolation on the CPU, compiled: forwards pixel by pixel, backwards by the formulas of `interpolate`."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .kernels import interpolate_rows, spread_rows
from .workers import bands, in_threads

STRIPS = 2  # of a lone picture, backwards. A fixed number, so that sums do not depend on the number of threads


def interpolate_numba(
    corners: Tensor,  # [F, V, 3]
    attributes: Tensor,  # [F, V, C]
    faces: Tensor,  # [T, 3]
    ids: Tensor,  # [F, H, W] int32
) -> Tensor:  # [F, H, W, C]
    picture = attributes.new_empty(*ids.shape, attributes.shape[-1])
    c, a, t, n, out = _arrays(corners, attributes, faces, ids, picture)
    numbers = _numbers(c, n)
    in_threads(
        interpolate_rows, ((c[f], a[f], t, n[f], *numbers, out[f], *rows) for f, *rows in bands(*ids.shape[:2]))
    )
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
    spread = corners.new_zeros(strips, *corners.shape[:2], 3 + attributes.shape[-1])
    c, a, t, n, g, sums = _arrays(corners, attributes, faces, ids, gradient, spread)
    numbers = _numbers(c, n)
    cuts = [height * i // strips for i in range(strips + 1)]
    jobs = [(f, strip) for f in range(frames) for strip in range(strips)]
    in_threads(
        spread_rows, ((c[f], a[f], t, n[f], *numbers, g[f], sums[s, f], cuts[s], cuts[s + 1]) for f, s in jobs)
    )
    total = spread[0] if strips == 1 else spread[0].add_(spread[1])
    return total[..., :3], total[..., 3:]


def _numbers(corners: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.floating]:
    """Pixel centres and 1/3 in the precision of the corners."""
    kind = corners.dtype.type
    return np.arange(max(ids.shape[1:]), dtype=kind) + kind(0.5), kind(1 / 3)


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
