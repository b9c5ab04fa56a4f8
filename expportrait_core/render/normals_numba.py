"""Area vectors of vertices, and unit vectors, on the CPU, compiled: each vertex gathers from its triangles.

No two vertices write to the same place, so the sums need neither locks nor copies, and have one order.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .kernels import sum_area_gradients, sum_areas, unit_gradients, units
from .workers import in_threads, num_workers


def fans_of(
    faces: Tensor,  # [T, 3] int64
    num_vertices: int,
) -> tuple[Tensor, Tensor]:
    """Each vertex's triangles as their two other corners in order: starts [V + 1] and corners [3·T, 2], int32."""
    own = faces.reshape(-1)
    others = torch.stack([faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]], 1).reshape(-1, 2)
    order = torch.sort(own, stable=True).indices
    starts = torch.zeros(num_vertices + 1, dtype=torch.int32, device=faces.device)
    starts[1:] = torch.bincount(own, minlength=num_vertices).cumsum(0)
    return starts, others[order].int()


def area_vectors_numba(
    vertices: Tensor,  # [F, V, 3]
    fans: tuple[Tensor, Tensor],
) -> Tensor:  # [F, V, 3]
    return _gather(sum_areas, (vertices,), fans)


def area_vectors_numba_backward(
    vertices: Tensor,  # [F, V, 3]
    gradient: Tensor,  # [F, V, 3]
    fans: tuple[Tensor, Tensor],
) -> Tensor:  # [F, V, 3]
    return _gather(sum_area_gradients, (vertices, gradient.to(vertices.dtype)), fans)


def _gather(kernel, fields: tuple[Tensor, ...], fans: tuple[Tensor, Tensor]) -> Tensor:
    """`kernel` for every frame, and for parts of its vertices where there are fewer frames than threads."""
    result = torch.empty_like(fields[0], memory_format=torch.contiguous_format)
    arrays = [field.detach().contiguous().numpy() for field in fields]
    starts, corners, out = (tensor.numpy() for tensor in (*fans, result))
    frames, count = out.shape[:2]
    parts = -(-num_workers() // max(frames, 1))
    cuts = [count * i // parts for i in range(parts + 1)]
    jobs = ((frame, *cut) for frame in range(frames) for cut in zip(cuts, cuts[1:]))
    in_threads(kernel, ((*(a[f] for a in arrays), starts, corners, out[f], *cut) for f, *cut in jobs))
    return result


def unit_numba(
    vectors: Tensor,  # [..., 3]
    shortest: float,
) -> tuple[Tensor, Tensor]:
    """Unit vectors [..., 3], and what the vectors were multiplied with [..., 1]."""
    result = torch.empty_like(vectors, memory_format=torch.contiguous_format)
    scale = vectors.new_empty(*vectors.shape[:-1], 1)
    _in_parts(units, _rows(vectors), (result.numpy().reshape(-1, 3), scale.numpy().reshape(-1)), shortest)
    return result, scale


def unit_numba_backward(
    result: Tensor,  # [..., 3]
    scale: Tensor,  # [..., 1]
    gradient: Tensor,  # [..., 3]
) -> Tensor:  # [..., 3]
    spread = torch.empty_like(result)
    _in_parts(unit_gradients, _rows(result), (scale.numpy().reshape(-1), _rows(gradient), _rows(spread)))
    return spread


def _rows(vectors: Tensor) -> np.ndarray:  # [n, 3]
    return vectors.detach().contiguous().numpy().reshape(-1, 3)


def _in_parts(kernel, vectors: np.ndarray, others: tuple[np.ndarray, ...], *settings: float) -> None:
    cuts = [len(vectors) * i // num_workers() for i in range(num_workers() + 1)]
    in_threads(kernel, ((vectors[a:b], *(o[a:b] for o in others), *settings) for a, b in zip(cuts, cuts[1:])))
