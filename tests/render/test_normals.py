"""Vertex normals against the sphere, the plain sum and finite differences; normal pictures against their convention.

Vertex normals are tested with every back end that works on a CPU.
"""

from __future__ import annotations

import functools
import math
import sys

import pytest
import torch
from torch import Tensor

from expportrait_core.render import MeshTopology, decode_normals, encode_normals, vertex_normals
from expportrait_core.render.normals import unit

from .meshes import blob, icosphere, rotation


@pytest.fixture(autouse=True, params=["torch", "numba"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """`vertex_normals` of this file, bound to one back end."""
    if request.param == "numba":
        pytest.importorskip("numba")
    bound = functools.partial(vertex_normals, backend=request.param)
    monkeypatch.setattr(sys.modules[__name__], "vertex_normals", bound)
    return request.param


def plain(vertices: Tensor, faces: Tensor) -> Tensor:
    """The definition, by index_add and autograd."""
    a, b, c = (vertices[:, i] for i in faces.t())
    area = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for corner in faces.t():
        total = total.index_add(1, corner, area)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-30)


def test_normals_of_a_sphere_point_outwards() -> None:
    vertices, faces = icosphere(4)
    cosine = (vertex_normals(vertices[None], faces)[0] * vertices).sum(1)
    assert cosine.min() > math.cos(math.radians(0.5))


def test_equal_to_the_plain_sum_forwards_and_backwards() -> None:
    frames = torch.stack([blob(3, seed)[0] for seed in range(3)]).double()
    faces = blob(3)[1]
    weight = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    results = []
    for function in (vertex_normals, plain):
        vertices = frames.clone().requires_grad_()
        normals = function(vertices, faces)
        normals.backward(weight)
        results.append((normals.detach(), vertices.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_gradcheck() -> None:
    vertices, faces = icosphere(0, torch.float64)
    generator = torch.Generator().manual_seed(0)
    frames = vertices + 0.1 * torch.randn(2, *vertices.shape, generator=generator, dtype=torch.float64)
    topology = MeshTopology.of(faces, len(vertices))
    torch.autograd.gradcheck(lambda v: vertex_normals(v, faces, topology), frames.requires_grad_())


def test_a_rigid_motion_rotates_the_normals() -> None:
    vertices, faces = blob(4)
    turn = rotation(0.7, -0.4, 0.2)
    moved = vertices @ turn.T + torch.tensor([0.3, -1.0, 2.0])
    ours = vertex_normals(torch.stack([vertices, moved]), faces)
    torch.testing.assert_close(ours[1], ours[0] @ turn.T, rtol=0, atol=2e-4)
    torch.testing.assert_close(ours.norm(dim=-1), torch.ones(ours.shape[:2]))


@pytest.mark.parametrize("frames", [1, 3])
def test_back_ends_agree_in_float32(frames: int) -> None:
    """Forwards and backwards, frame by frame or in parts of the vertices, beside one vertex that no triangle uses."""
    vertices, faces = blob(4)
    vertices = torch.cat([vertices, torch.ones(1, 3)]) + 0.01 * torch.arange(frames)[:, None, None]
    weight = torch.randn(vertices.shape, generator=torch.Generator().manual_seed(0))
    results, before = [], torch.get_num_threads()
    for name, threads in (("torch", 1), ("numba", 1), ("numba", 2), ("numba", 5)):
        if name == "numba":
            pytest.importorskip("numba")
        torch.set_num_threads(threads)
        moving = vertices.clone().requires_grad_()
        normals = vertex_normals(moving, faces, backend=name)
        normals.backward(weight)
        results.append((normals.detach(), moving.grad))
    torch.set_num_threads(before)
    for other in results[1:]:
        torch.testing.assert_close(other[0], results[0][0], rtol=0, atol=1e-5)
        assert (other[1] - results[0][1]).norm() < 1e-5 * results[0][1].norm()
        assert torch.equal(other[1], results[1][1])


def test_the_weight_is_the_area() -> None:
    """Two triangles at a right angle share an edge, one twice as large: the normal leans towards it, 2 to 1."""
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, -1]]])
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [0, 3, 1]]))
    expected = torch.tensor([0.0, -1, 2]) / math.sqrt(5)
    torch.testing.assert_close(normals[0, 0], expected)
    torch.testing.assert_close(normals[0, 2], torch.tensor([0.0, 0, 1]))


def test_vertices_without_area_have_no_normal_and_no_gradient() -> None:
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 2, 2], [3, 3, 3], [3, 3, 3]]], requires_grad=True)
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [4, 5, 5]]))
    normals.sum().backward()
    assert (normals[0, 3:] == 0).all() and (normals[0, :3, 2] == 1).all()
    assert torch.isfinite(vertices.grad).all() and (vertices.grad[0, 3:] == 0).all()


def test_heads_are_small_but_not_too_small() -> None:
    """Sub-millimetre triangles in metres still have directions, in float32."""
    vertices, faces = icosphere(5)
    cosine = (vertex_normals(vertices[None] * 0.002, faces)[0] * vertices).sum(1)
    assert cosine.min() > math.cos(math.radians(0.5))


def test_topology_of_another_mesh_is_refused() -> None:
    vertices, faces = icosphere(1)
    with pytest.raises(ValueError, match="MeshTopology"):
        vertex_normals(vertices[None], faces, MeshTopology.of(faces, len(vertices) + 1))
    with pytest.raises(ValueError, match="MeshTopology"):
        vertex_normals(vertices[None], faces, MeshTopology.of(faces[1:], len(vertices)))
    with pytest.raises(ValueError, match="name vertices"):
        MeshTopology.of(faces, 3)
    with pytest.raises(ValueError, match="expected"):
        MeshTopology.of(faces[:0], 3)


def test_topology_moves_to_a_device() -> None:
    vertices, faces = icosphere(1)
    moved = MeshTopology.of(faces, len(vertices)).to("cpu")
    torch.testing.assert_close(vertex_normals(vertices[None], faces, moved), vertex_normals(vertices[None], faces))


def directions(count: int = 2000) -> Tensor:
    return unit(torch.randn(count, 3, generator=torch.Generator().manual_seed(0)))


def test_decoding_undoes_encoding() -> None:
    normals = directions()
    picture = encode_normals(normals, torch.ones(len(normals)))
    assert picture.min() >= 0 and picture.max() <= 1
    torch.testing.assert_close(decode_normals(picture), normals)
    eight_bits = (picture * 255).round() / 255
    assert (decode_normals(eight_bits) * normals).sum(1).min() > math.cos(math.radians(0.5))


def test_background_is_black_and_no_normal_is() -> None:
    normals = directions(50_000)
    picture = encode_normals(normals, torch.ones(len(normals)))
    assert picture.norm(dim=-1).min() > 0.36
    assert (encode_normals(normals, torch.zeros(len(normals))) == 0).all()
    assert (decode_normals(torch.zeros(4, 5, 3)) == 0).all()
    assert (decode_normals(torch.full((4, 5, 3), 0.03)) == 0).all()  # what a lossy codec leaves of black


def test_partly_covered_pixels_are_darker_and_come_back_with_their_mask() -> None:
    normals, mask = directions(), torch.linspace(0, 1, 2000)
    picture = encode_normals(normals, mask)
    torch.testing.assert_close(picture, encode_normals(normals, torch.ones(2000)) * mask[:, None])
    decoded = decode_normals(picture, mask)
    assert (decoded[0] == 0).all()
    torch.testing.assert_close(decoded[1:], normals[1:], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("normal", "colour"),
    [
        ((0, 0, 1), (0.5, 0.5, 1)),
        ((1, 0, 0), (1, 0.5, 0.5)),
        ((0, 1, 0), (0.5, 1, 0.5)),
        ((-1, 0, 0), (0, 0.5, 0.5)),
        ((0, -1, 0), (0.5, 0, 0.5)),
    ],
)
def test_colours_of_the_axes(normal: tuple, colour: tuple) -> None:
    normal = torch.tensor([normal], dtype=torch.float32)
    torch.testing.assert_close(encode_normals(normal, torch.ones(1, dtype=torch.bool)), torch.tensor([colour]).float())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_unit_vectors(backend: str, dtype: torch.dtype) -> None:
    """Against autograd; the short ones become 0 without a gradient."""
    generator = torch.Generator().manual_seed(0)
    vectors, weight = (torch.randn(5, 7, 3, generator=generator, dtype=dtype) for _ in range(2))
    vectors[0], vectors[1, 0] = vectors[0] * 1e-9, 0
    results = []
    for function in (lambda v: unit(v, 1e-6, backend), lambda v: v / v.norm(dim=-1, keepdim=True).clamp(min=1e-6)):
        moving = vectors.clone().requires_grad_()
        units = function(moving)
        units.backward(weight)
        results.append((units.detach(), moving.grad))
    (units, gradient), (expected, expected_gradient) = results
    short = vectors.norm(dim=-1) < 1e-6
    assert (units[short] == 0).all() and (gradient[short] == 0).all()
    torch.testing.assert_close(units[~short], expected[~short])
    torch.testing.assert_close(gradient[~short], expected_gradient[~short])
    if dtype == torch.float64:
        torch.autograd.gradcheck(lambda v: unit(v, 1e-6, backend), vectors[2:].clone().requires_grad_())
