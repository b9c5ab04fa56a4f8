"""Vertex attributes at the pixels of a visibility buffer: perspective-correct, and differentiable by our own formula.

For a pixel centre p and the homogeneous corners c_i = (x_i w_i, y_i w_i, w_i) of the triangle seen there, the corners
relative to the pixel are q_i = (c_i.x - p.x w_i, c_i.y - p.y w_i). The areas u_0 = q_1 × q_2 (and cyclic) give the
perspective-correct weights b = u / Σu. Which triangle is seen is taken as fixed: changes of visibility (outlines,
self-occlusion) have no gradient here.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .backend import Backend, choose_backend
from .checks import require_faces_of, require_floats, require_ids_of
from .entry import drawing
from .interpolate_numba import interpolate_numba, interpolate_numba_backward
from .kernels import MAX_EXTRAPOLATION, THINNEST


@drawing
def interpolate(
    corners: Tensor,  # [F, V, 3] homogeneous pixel corners (x·w, y·w, w), from Camera.project
    attributes: Tensor,  # [F, V, C] same dtype
    faces: Tensor,  # [T, 3] int64
    ids: Tensor,  # [F, H, W] int32, from visible_triangles
    backend: Backend | None = None,  # None: the fastest that works, see `choose_backend`
) -> Tensor:
    """The attributes at every pixel centre, [F, H, W, C], 0 in the background.

    Differentiable once, with respect to `corners` and `attributes`. The same inputs give the same values and gradients
    on every run.
    """
    _require_matching(corners, attributes, faces, ids)
    function = _InterpolateNumba if choose_backend(corners.device, backend) == "numba" else _Interpolate
    return function.apply(corners, attributes, faces, ids)


def interpolate_reference(corners: Tensor, attributes: Tensor, faces: Tensor, ids: Tensor) -> Tensor:
    """`interpolate` in a few lines of autograd: slower, and less exact in float32. The tests hold the two together."""
    _require_matching(corners, attributes, faces, ids)
    frame, row, column = (ids >= 0).nonzero(as_tuple=True)
    triangle = faces[ids[frame, row, column].long()]  # [K, 3]
    c = corners[frame[:, None], triangle]  # [K, 3, 3]
    p = torch.stack([column + 0.5, row + 0.5, torch.ones_like(row)], -1).to(c)
    # p is the sum of k_i c_i, by Cramer's rule up to a common factor, which the division by the sum removes.
    k = (torch.linalg.cross(c[:, [1, 2, 0]], c[:, [2, 0, 1]]) * p[:, None]).sum(-1)
    with torch.no_grad():
        usable = ((k / k.sum(-1, keepdim=True)) >= -float(MAX_EXTRAPOLATION)).all(-1, keepdim=True)
    k = torch.where(usable, k, 1.0)
    barycentric = k / k.sum(-1, keepdim=True)
    values = (barycentric[..., None] * attributes[frame[:, None], triangle]).sum(1)
    picture = values.new_zeros(*ids.shape, values.shape[-1])
    return picture.index_put((frame, row, column), values)


def _require_matching(corners: Tensor, attributes: Tensor, faces: Tensor, ids: Tensor) -> None:
    same_mesh = corners.dim() == attributes.dim() == 3 and corners.shape[:2] == attributes.shape[:2]
    if not same_mesh or corners.shape[-1] != 3 or faces.shape[-1] != 3 or ids.shape[:-2] != corners.shape[:1]:
        raise ValueError(
            f"Found corners {list(corners.shape)}, attributes {list(attributes.shape)}, faces {list(faces.shape)} and "
            f"ids {list(ids.shape)}, expected [F, V, 3], [F, V, C], [T, 3] and [F, H, W]."
        )
    require_floats(corners=corners, attributes=attributes)
    require_faces_of(corners.shape[1], faces)
    require_ids_of(faces, ids)


class _Hits(NamedTuple):
    """The K covered pixels."""

    pixel: Tensor  # [K] number of the pixel among all F·H·W
    x: Tensor  # [K] pixel centres
    y: Tensor
    corners: list[Tensor]  # three of [K] number of the vertex among all F·V

    @staticmethod
    def of(ids: Tensor, faces: Tensor, num_vertices: int, dtype: torch.dtype) -> _Hits:
        height, width = ids.shape[1:]
        flat = ids.reshape(-1)
        pixel = (flat >= 0).nonzero().squeeze(1)
        line = torch.div(pixel, width, rounding_mode="floor")
        frame = torch.div(line, height, rounding_mode="floor")
        x, y = (pixel - line * width).to(dtype) + 0.5, (line - frame * height).to(dtype) + 0.5
        triangle, offset = flat.index_select(0, pixel), frame * num_vertices
        return _Hits(pixel, x, y, [corner.index_select(0, triangle) + offset for corner in faces.t()])


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, corners: Tensor, attributes: Tensor, faces: Tensor, ids: Tensor) -> Tensor:
        hits = _Hits.of(ids, faces, corners.shape[1], corners.dtype)
        points, values = corners.reshape(-1, 3), attributes.reshape(-1, attributes.shape[-1])
        x, y = [], []  # q
        for corner in hits.corners:
            c = points.index_select(0, corner)
            x.append(c[:, 0] - hits.x * c[:, 2])
            y.append(c[:, 1] - hits.y * c[:, 2])
        areas = [x[1] * y[2] - y[1] * x[2], x[2] * y[0] - y[2] * x[0], x[0] * y[1] - y[0] * x[1]]
        total = areas[0] + areas[1] + areas[2]
        inverse_sum = 1 / total
        weights = [area * inverse_sum for area in areas]
        limit = float(MAX_EXTRAPOLATION)
        usable = torch.minimum(torch.minimum(weights[0], weights[1]), weights[2]) >= -limit  # NaN: False
        weights = [torch.where(usable, weight, 1 / 3) for weight in weights]
        longest = torch.stack([(x[j] - x[i]) ** 2 + (y[j] - y[i]) ** 2 for i, j in ((0, 1), (1, 2), (2, 0))]).amax(0)
        least = float(THINNEST) * points.index_select(0, hits.corners[0])[:, 2]
        inverse_sum = torch.where(usable & (total * total > least * least * longest), inverse_sum, 0)

        picture = values.new_zeros(ids.numel(), values.shape[-1])
        seen = values.index_select(0, hits.corners[0]) * weights[0][:, None]
        for corner, weight in zip(hits.corners[1:], weights[1:], strict=True):
            seen.addcmul_(values.index_select(0, corner), weight[:, None])
        picture.index_copy_(0, hits.pixel, seen)
        ctx.save_for_backward(attributes, hits.pixel, hits.x, hits.y, *hits.corners, *x, *y, *weights, inverse_sum)
        return picture.view(*ids.shape, values.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        """With g_i = ∂L/∂b_i and h = (g - Σ g_i b_i) / Σu: ∂L/∂q_0 = (h_2 y_1 - h_1 y_2, h_1 x_2 - h_2 x_1), cyclic."""
        attributes, pixel, px, py, *saved, inverse_sum = ctx.saved_tensors
        corners, x, y, weights = (saved[i : i + 3] for i in (0, 3, 6, 9))
        frames, num_vertices, channels = attributes.shape
        values = attributes.reshape(-1, channels)
        gradient = gradient.reshape(-1, channels).index_select(0, pixel)
        g = [(gradient * values.index_select(0, corner)).sum(1) for corner in corners]
        mean = g[0] * weights[0] + g[1] * weights[1] + g[2] * weights[2]
        h = [(each - mean) * inverse_sum for each in g]
        parts = []
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            along_x = h[k] * y[j] - h[j] * y[k]
            along_y = h[j] * x[k] - h[k] * x[j]
            along_w = -(px * along_x + py * along_y)
            parts.append(torch.cat([torch.stack([along_x, along_y, along_w], 1), gradient * weights[i][:, None]], 1))
        total = _sum_by_vertex(torch.cat(parts), torch.cat(corners), len(values)).view(frames, num_vertices, -1)
        return total[..., :3], total[..., 3:], None, None


def _sum_by_vertex(
    parts: Tensor,  # [n, C]
    vertices: Tensor,  # [n] whose
    count: int,
) -> Tensor:  # [count, C]
    """The sums of each vertex's parts, always in the same order: `index_add` on CUDA adds in another on every run."""
    order = torch.sort(vertices.int(), stable=True).indices
    lengths = torch.bincount(vertices, minlength=count)
    return torch.segment_reduce(parts.index_select(0, order), "sum", lengths=lengths, axis=0, unsafe=True)


class _InterpolateNumba(torch.autograd.Function):
    @staticmethod
    def forward(ctx, corners: Tensor, attributes: Tensor, faces: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(corners, attributes, faces, ids)
        return interpolate_numba(corners, attributes, faces, ids)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        return *interpolate_numba_backward(*ctx.saved_tensors, gradient), None, None
