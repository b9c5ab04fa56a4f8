"""B of the paper: midpoint subdivision as a barycentric table, exact for positions, bases and skin weights alike."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..types import Upsampling
from .sparse import SparseMatrix

MAX_LEVEL = 2


def build_upsampling(
    faces: Tensor,  # [T, 3] int64
    num_vertices: int,
    level: int,
) -> Upsampling:
    """The table of a mesh after `level` midpoint subdivisions; each level quadruples the triangles.

    Every fine vertex is a point on one coarse triangle. Vertices that no triangle uses are refused: they have no
    triangle to lie on.

    Raises:
        ValueError: a level outside 0..2, or an unused vertex.
    """
    if level not in range(MAX_LEVEL + 1):
        raise ValueError(f"The upsampling level is {level}, expected 0, 1 or 2.")
    triangles, barycentric = _corners_as_points(faces, num_vertices)
    fine = faces
    for _ in range(level):
        triangles, barycentric, fine = _subdivide(faces, triangles, barycentric, fine)
    return Upsampling(level=level, triangles=triangles, barycentric=barycentric, faces=fine)


def _corners_as_points(faces: Tensor, num_vertices: int) -> tuple[Tensor, Tensor]:
    triangles = torch.full((num_vertices,), -1, dtype=torch.int64)
    corner = torch.zeros(num_vertices, dtype=torch.int64)
    order = torch.arange(len(faces))
    for k in (2, 1, 0):  # a vertex belongs to many triangles; which one is kept does not matter
        triangles[faces[:, k]] = order
        corner[faces[:, k]] = k
    if (triangles < 0).any():
        raise ValueError(f"{int((triangles < 0).sum())} vertices belong to no triangle; drop them before upsampling.")
    # the last write wins for `triangles` and `corner` alike only if both come from the same triangle
    corner = (faces[triangles] == torch.arange(num_vertices)[:, None]).long().argmax(dim=1)
    return triangles, torch.nn.functional.one_hot(corner, 3).float()


def _subdivide(coarse: Tensor, triangles: Tensor, barycentric: Tensor, fine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    count, total = len(triangles), len(fine)
    pairs = torch.cat([fine[:, [0, 1]], fine[:, [1, 2]], fine[:, [2, 0]]])
    edges, edge_of = torch.unique(pairs.sort(dim=1).values, dim=0, return_inverse=True)
    # both ends of an edge lie on one coarse triangle: the one that the edge's fine triangle came from
    owner = torch.empty(len(edges), dtype=torch.int64)
    owner[edge_of] = (torch.arange(total) % len(coarse)).repeat(3)
    ends = [_on_triangle(coarse, triangles[edges[:, k]], barycentric[edges[:, k]], owner) for k in (0, 1)]
    mid = (ends[0] + ends[1]) / 2
    ab, bc, ca = (count + edge_of.view(3, total)).unbind(0)
    a, b, c = fine.unbind(1)
    # stacked child by child, so that triangle t of any level comes from coarse triangle t mod T
    children = torch.cat([torch.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return torch.cat([triangles, owner]), torch.cat([barycentric, mid]), children


def _on_triangle(coarse: Tensor, triangle: Tensor, barycentric: Tensor, target: Tensor) -> Tensor:
    """Barycentric coordinates, re-expressed on another coarse triangle that holds the same point."""
    same = coarse[target][:, :, None] == coarse[triangle][:, None, :]  # [n, 3 target corners, 3 source corners]
    return (same * barycentric[:, None, :]).sum(2)


def upsample(
    values: Tensor,  # [..., V, C] on coarse vertices
    faces: Tensor,  # [T, 3] coarse
    upsampling: Upsampling,
) -> Tensor:
    """Coarse values on the fine vertices, [..., Vs, C]. For many frames `upsampling_matrix` is ten times faster."""
    if upsampling.level == 0:
        return values
    corners = faces[upsampling.triangles]  # [Vs, 3]
    weights = upsampling.barycentric.to(values.dtype)
    return sum(values[..., corners[:, k], :] * weights[:, k, None] for k in range(3))


def upsampling_matrix(
    faces: Tensor,  # [T, 3] coarse
    upsampling: Upsampling,
    coarse: Tensor,  # [V, ...] any values on the coarse vertices: their number, dtype and device
) -> SparseMatrix:
    """`upsample` as a sparse matrix [Vs, V]: make it once, apply it to many frames."""
    from scipy.sparse import csr_matrix  # takes a while to import

    columns = faces[upsampling.triangles].cpu().numpy()  # [Vs, 3]
    rows = np.repeat(np.arange(len(columns)), 3)
    entries = upsampling.barycentric.cpu().double().numpy().reshape(-1), (rows, columns.reshape(-1))
    matrix = csr_matrix(entries, (len(columns), len(coarse)))
    matrix.eliminate_zeros()  # a coarse vertex is its own fine vertex, with two corners of weight 0
    return SparseMatrix.of(matrix, coarse)
