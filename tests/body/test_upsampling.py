"""Midpoint subdivision as a barycentric table."""

from __future__ import annotations

import pytest
import torch

from expportrait_core.body.upsampling import build_upsampling, upsample, upsampling_matrix

TETRAHEDRON = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
POINTS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize(("level", "vertices"), [(0, 4), (1, 10), (2, 34)])
def test_counts_of_a_closed_mesh(level: int, vertices: int) -> None:
    table = build_upsampling(TETRAHEDRON, 4, level)
    assert table.num_vertices == vertices and len(table.faces) == 4 * 4**level
    edges = torch.cat([table.faces[:, [0, 1]], table.faces[:, [1, 2]], table.faces[:, [2, 0]]])
    forward = {tuple(e) for e in edges.tolist()}
    assert len(forward) == len(edges) and all((b, a) in forward for a, b in forward)  # closed, consistently oriented


@pytest.mark.parametrize("level", [1, 2])
def test_area_and_orientation_are_kept(level: int) -> None:
    table = build_upsampling(TETRAHEDRON, 4, level)
    fine = upsample(POINTS, TETRAHEDRON, table)

    def total(points: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
        a, b, c = points[faces].unbind(1)
        return torch.linalg.cross(b - a, c - a)

    per_face = total(fine, table.faces).view(4**level, 4, 3).sum(0)  # triangle t comes from coarse triangle t mod T
    assert torch.allclose(per_face, total(POINTS, TETRAHEDRON), atol=1e-6)


def test_new_vertices_of_level_one_are_edge_midpoints() -> None:
    fine = upsample(POINTS, TETRAHEDRON, build_upsampling(TETRAHEDRON, 4, 1))
    midpoints = {tuple(((POINTS[a] + POINTS[b]) / 2).tolist()) for a in range(4) for b in range(a)}
    assert {tuple(p) for p in fine[4:].tolist()} == midpoints


def test_linear_fields_are_reproduced_exactly() -> None:
    table = build_upsampling(TETRAHEDRON, 4, 2)
    field = POINTS @ torch.tensor([[2.0, 1.0], [-1.0, 0.5], [3.0, -2.0]])
    fine_points = upsample(POINTS, TETRAHEDRON, table)
    fine_field = upsample(field, TETRAHEDRON, table)
    assert torch.allclose(fine_field, fine_points @ torch.tensor([[2.0, 1.0], [-1.0, 0.5], [3.0, -2.0]]), atol=1e-6)


def test_a_vertex_without_a_triangle_is_refused() -> None:
    with pytest.raises(ValueError, match="belong to no triangle"):
        build_upsampling(TETRAHEDRON, 5, 1)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_sparse_table_is_the_same_map(level: int, dtype: torch.dtype) -> None:
    table = build_upsampling(TETRAHEDRON, 4, level)
    frames = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    matrix = upsampling_matrix(TETRAHEDRON, table, frames[0])
    torch.testing.assert_close(matrix.apply(frames), upsample(frames, TETRAHEDRON, table))
    if dtype == torch.float64:
        torch.autograd.gradcheck(matrix.apply, frames.requires_grad_())
