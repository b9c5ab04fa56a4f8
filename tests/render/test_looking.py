"""Pictures for people: how a surface faces the camera, its wires, landmarks."""

from __future__ import annotations

import pytest
import torch

from expportrait_core.render import draw_landmarks, edge_distance, facing, render_mesh, shaded, wireframe, wires

from .meshes import blob, icosphere, look


def test_facing_is_the_cosine_to_the_camera() -> None:
    """On a sphere seen from distance d: with t along the ray, the cosine follows from the hit point alone."""
    vertices, faces = icosphere(5)
    camera = look((64, 80), 3.0, 1.2)
    maps = render_mesh(vertices[None], faces, camera)
    found = facing(maps.normals, camera)[0]
    y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(80) + 0.5, indexing="ij")
    ray = torch.stack([(x - 40) / 76.8, -(y - 32) / 76.8, -torch.ones_like(x)], -1)
    ray = ray / ray.norm(dim=-1, keepdim=True)
    along = -3.0 * ray[..., 2]
    inside = along**2 - 8 > 0
    hit = torch.tensor([0.0, 0, 3.0]) + (along - (along**2 - 8).clamp(min=0).sqrt())[..., None] * ray
    expected = -(hit * ray).sum(-1)
    sure = inside & (expected > 0.2)
    assert sure.sum() > 500 and (found - expected)[sure].abs().max() < 0.01
    assert (found[maps.mask[0] == 0] == 0).all() and found.max() > 0.999


def test_edge_distance_is_in_pixels() -> None:
    corners = torch.tensor([[[0.0, 0, 1], [0, 64, 2], [64, 0, 2]]])  # pixels (0, 0), (0, 32), (32, 0)
    ids = torch.full((1, 40, 40), -1, dtype=torch.int32)
    ids[0, 5, 8] = ids[0, 10, 2] = ids[0, 15, 15] = 0
    found = edge_distance(corners, torch.tensor([[0, 1, 2]]), ids)[0]
    assert torch.isclose(found[5, 8], torch.tensor(5.5)) and torch.isclose(found[10, 2], torch.tensor(2.5))
    assert torch.isclose(found[15, 15], torch.tensor((32 - 31) / 2**0.5))
    assert found[0, 0] == torch.inf


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_wires_are_the_visible_edges(backend: str) -> None:
    if backend == "numba":
        pytest.importorskip("numba")
    near, hidden = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [0, 1, 1]]), torch.tensor([[-0.3, -0.5, 0], [0.3, -0.5, 0],
                                                                                      [0, 0.1, 0]])  # fmt: skip
    faces, camera = torch.tensor([[0, 1, 2], [3, 4, 5]]), look((64, 64), 5.0, 1.5)
    both, alone = (wires(torch.cat([near, second])[None], faces, camera, backend=backend)
                   for second in (hidden, hidden - torch.tensor([0, 0, 3.0])))  # fmt: skip
    assert torch.equal(both, alone) and 0.01 < both.mean() < 0.1
    assert both[0, 40, 32] == 0 and both.max() > 0.6  # the hidden triangle crosses the middle
    shown = wires(torch.cat([near, hidden + torch.tensor([0, 0, 2.0])])[None], faces, camera, backend=backend)
    assert shown.sum() > 1.2 * both.sum()
    wide = wires(torch.cat([near, hidden])[None], faces, camera, width=1.6, backend=backend)
    assert 2.5 < float(wide.sum() / both.sum()) < 5


def test_a_wireframe_is_drawn_over_the_mesh_or_a_picture() -> None:
    vertices, faces = blob(2)
    camera = look((48, 48), 0.6, 2.0, 2)
    moving = torch.stack([vertices, vertices * 0.9])
    grey, drawn = shaded(moving, faces, camera), wireframe(moving, faces, camera)
    assert grey.shape == drawn.shape == (2, 48, 48, 3) and grey.min() > 0.2 and grey[0, 0, 0].tolist() == [1, 1, 1]
    line = wires(moving, faces, camera)
    assert (drawn - grey)[line == 0].abs().max() == 0 and (grey - drawn)[line > 0.5].min() > 0.05
    over = wireframe(moving, faces, camera, torch.zeros(1, 48, 48, 3) + 0.5)
    assert (over[line == 0] == 0.5).all()


def test_landmarks_are_dots_on_copies() -> None:
    pictures = torch.zeros(2, 32, 40, 3)
    points = torch.tensor([[[10.5, 20.5], [float("nan")] * 2, [1e9, 5.0]], [[30.0, 8.0], [-50.0, 3.0], [5.0, 5.0]]])
    drawn = draw_landmarks(pictures, points, (1.0, 0.5, 0.0), 2.0)
    assert pictures.max() == 0 and drawn.shape == pictures.shape
    assert drawn[0, 20, 10].tolist() == [1, 0.5, 0] and drawn[0, 20, 16].max() == 0
    for frame, x, y in ((0, 10.5, 20.5), (1, 30.0, 8.0)):
        weight = drawn[frame, ..., 0].clone()
        if frame:
            weight[:, :20] = 0
        row, column = weight.nonzero().t()
        mass = weight[row, column]
        assert abs(float((mass * (column + 0.5)).sum() / mass.sum()) - x) < 0.1
        assert abs(float((mass * (row + 0.5)).sum() / mass.sum()) - y) < 0.1


def test_counts_and_sizes_that_do_not_fit_give_a_sentence() -> None:
    vertices, faces = blob(2)
    camera, two = look((20, 24), 0.6, 1.8), vertices.expand(2, -1, -1)
    for draw in (shaded, wires, wireframe):
        with pytest.raises(ValueError, match="1 cameras"):
            draw(two, faces, camera)
        assert draw(two[:0], faces, camera[:0]).shape[:3] == (0, 20, 24)
    with pytest.raises(ValueError, match=r"Found pictures \[1, 24, 20, 3\], expected .* size \[20, 24, 3\]"):
        wireframe(vertices[None], faces, camera, torch.zeros(1, 24, 20, 3))
    with pytest.raises(ValueError, match="1 pictures"):
        draw_landmarks(torch.zeros(1, 20, 24, 3), torch.zeros(2, 5, 2))
