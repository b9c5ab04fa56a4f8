"""Area vectors of vertices on the CPU, compiled: each vertex gathers from its triangles, forwards and backwards.

No two vertices write to the same place, so the sums need neither locks nor copies, and have one order.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .compiled import compiled
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


@compiled
def sum_areas(
    vertices: np.ndarray,  # [V, 3]
    starts: np.ndarray,  # [V + 1]
    corners: np.ndarray,  # [3·T, 2]
    areas: np.ndarray,  # [V, 3], written at first..last - 1
    first: int,
    last: int,
) -> None:
    """Σ (b - a) × (c - a) over the triangles of each vertex a."""
    for a in range(first, last):
        ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        nx, ny, nz = ax * 0, ay * 0, az * 0
        for k in range(starts[a], starts[a + 1]):
            b, c = corners[k, 0], corners[k, 1]
            ux, uy, uz = vertices[b, 0] - ax, vertices[b, 1] - ay, vertices[b, 2] - az
            vx, vy, vz = vertices[c, 0] - ax, vertices[c, 1] - ay, vertices[c, 2] - az
            nx += uy * vz - uz * vy
            ny += uz * vx - ux * vz
            nz += ux * vy - uy * vx
        areas[a, 0], areas[a, 1], areas[a, 2] = nx, ny, nz


@compiled
def sum_area_gradients(
    vertices: np.ndarray,  # [V, 3]
    gradient: np.ndarray,  # [V, 3]
    starts: np.ndarray,  # [V + 1]
    corners: np.ndarray,  # [3·T, 2]
    result: np.ndarray,  # [V, 3], written at first..last - 1
    first: int,
    last: int,
) -> None:
    """Σ (b - c) × (g_a + g_b + g_c): the area vector is a × b + b × c + c × a, and counts at all three corners."""
    for a in range(first, last):
        rx, ry, rz = vertices[a, 0] * 0, vertices[a, 0] * 0, vertices[a, 0] * 0
        for k in range(starts[a], starts[a + 1]):
            b, c = corners[k, 0], corners[k, 1]
            ux = vertices[b, 0] - vertices[c, 0]
            uy = vertices[b, 1] - vertices[c, 1]
            uz = vertices[b, 2] - vertices[c, 2]
            gx = gradient[a, 0] + gradient[b, 0] + gradient[c, 0]
            gy = gradient[a, 1] + gradient[b, 1] + gradient[c, 1]
            gz = gradient[a, 2] + gradient[b, 2] + gradient[c, 2]
            rx += uy * gz - uz * gy
            ry += uz * gx - ux * gz
            rz += ux * gy - uy * gx
        result[a, 0], result[a, 1], result[a, 2] = rx, ry, rz
