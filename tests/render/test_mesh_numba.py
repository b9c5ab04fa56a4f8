"""`render_mesh` in one compiled call per frame, forwards and back, against the same step by step in plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from expportrait_core.render import MeshTopology, mesh, render_mesh
from expportrait_core.render.kernels import project_points
from expportrait_core.render.mesh import MeshMaps
from expportrait_core.types import Camera

from .meshes import views

pytest.importorskip("numba")


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def drawn_with_gradients(backend: str, supersampling: int, dtype: torch.dtype) -> tuple[MeshMaps, tuple[Tensor, ...]]:
    """The maps of three frames, and the gradients of the vertices, K and world-to-camera for a random loss."""
    vertices, faces, camera = views(3)
    inputs = [v.to(dtype).requires_grad_() for v in (vertices, camera.intrinsics, camera.world_to_camera)]
    maps = render_mesh(inputs[0], faces, Camera(*inputs[1:], camera.image_size), supersampling, backend=backend)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(m.shape, generator=generator).to(dtype) for m in (maps.normals, maps.depth)]
    # the outline's slivers, of a corner's weight of thousands, would be all that is compared
    inside = (maps.mask == 1) & (maps.normals[..., 2] > 0.1)
    loss = (maps.normals * weights[0] * inside[..., None]).sum() + (maps.depth * weights[1] * inside).sum()
    return maps, torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize("supersampling", [1, 2, 3])
def test_equal_to_the_same_step_by_step(supersampling: int, threads: int) -> None:
    ours, our_gradients = drawn_with_gradients("numba", supersampling, torch.float32)
    plain, _ = drawn_with_gradients("torch", supersampling, torch.float32)
    assert torch.equal(ours.ids, plain.ids) and torch.equal(ours.mask, plain.mask)
    assert ((ours.normals - plain.normals).abs().amax(-1) > 1e-4).float().mean() < 1e-3
    torch.testing.assert_close(ours.depth, plain.depth, rtol=0, atol=2e-6)
    exact, exact_gradients = drawn_with_gradients("torch", supersampling, torch.float64)
    assert (exact.ids == ours.ids).float().mean() > 0.999
    for found, truth in zip(our_gradients, exact_gradients, strict=True):
        assert (found - truth).norm() < 2e-3 * truth.norm()


def test_the_depth_of_an_outline_has_its_own_gradient() -> None:
    """Pixels that are covered in part hold the mean of their covered samples, and share the gradient among these."""
    vertices, faces, camera = views(2)
    gradients = []
    for backend, dtype in (("numba", torch.float32), ("torch", torch.float64)):
        moving = vertices.to(dtype).requires_grad_()
        maps = render_mesh(moving, faces, camera.replace(intrinsics=camera.intrinsics.to(dtype),
                           world_to_camera=camera.world_to_camera.to(dtype)), 2, backend=backend)  # fmt: skip
        partly = (maps.mask > 0) & (maps.mask < 1)
        assert partly.sum() > 50
        gradients.append(torch.autograd.grad((maps.depth * partly).sum(), moving)[0])
    assert (gradients[0] - gradients[1]).norm() < 2e-3 * gradients[1].norm()


def test_every_number_of_threads_gives_the_same(threads: int) -> None:
    maps, gradients = drawn_with_gradients("numba", 2, torch.float32)
    torch.set_num_threads(3)
    again, more = drawn_with_gradients("numba", 2, torch.float32)
    assert torch.equal(maps.normals, again.normals) and torch.equal(maps.depth, again.depth)
    assert all(torch.equal(a, b) for a, b in zip(gradients, more, strict=True))


def test_the_compiled_loop_is_the_one_that_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces, camera = views(1)
    monkeypatch.setattr(mesh, "draw_plainly", None)
    render_mesh(vertices, faces, camera, backend="numba")
    with pytest.raises(TypeError):
        render_mesh(vertices, faces, camera, backend="torch")


def test_corners_are_those_of_the_camera_to_the_bit() -> None:
    vertices, _, camera = views(2, (480, 640))
    for frame in range(2):
        found = torch.empty_like(vertices[frame])
        project_points(vertices[frame].numpy(), camera.projection[frame].numpy(), found.numpy())
        assert torch.equal(found, camera.project(vertices)[frame])


@pytest.mark.parametrize("name", ["normals", "depth"])
def test_one_map_alone_has_its_own_gradient(name: str) -> None:
    vertices, faces, camera = views(2)
    found = []
    for backend in ("numba", "torch"):
        moving = vertices.clone().requires_grad_()
        maps = render_mesh(moving, faces, camera, backend=backend)
        inside = (maps.normals[..., 2] > 0.1).float()
        value = maps.normals[..., 0] if name == "normals" else maps.depth
        (value * inside).square().sum().backward()
        found.append(moving.grad)
    assert (found[0] - found[1]).norm() < 2e-3 * found[1].norm()
    assert (found[1] != 0).any()


def test_vertices_that_no_triangle_uses_may_be_anything_and_have_no_gradient() -> None:
    vertices, faces, camera = views(1)
    junk = torch.tensor([[[0, 0, 9.0], [1e30, 0, 0]]])
    more = torch.cat([vertices, junk], 1).requires_grad_()
    maps = render_mesh(more, faces, camera, topology=MeshTopology.of(faces, more.shape[1]))
    (maps.normals.sum() + maps.depth.sum()).backward()
    assert torch.equal(maps.ids, render_mesh(vertices, faces, camera).ids)
    assert (more.grad[:, -2:] == 0).all() and torch.isfinite(more.grad).all()


def test_what_no_triangle_uses_may_be_nan() -> None:
    vertices, faces, camera = views(1)
    more = torch.cat([vertices, torch.full((1, 1, 3), torch.nan)], 1).requires_grad_()
    cameras = camera.replace(world_to_camera=camera.world_to_camera.clone().requires_grad_())
    maps = render_mesh(more, faces, cameras, topology=MeshTopology.of(faces, more.shape[1]))
    (maps.normals.sum() + maps.depth.sum()).backward()
    assert torch.isfinite(more.grad).all() and torch.isfinite(cameras.world_to_camera.grad).all()


def test_checkpointed_and_with_a_topology_of_inference_mode() -> None:
    """torch's checkpointing draws again on the way back; ComfyUI makes everything in inference mode."""
    vertices, faces, camera = views(1)
    with torch.inference_mode():
        topology = MeshTopology.of(faces, vertices.shape[1])
    found = []
    for checkpointed in (False, True):
        moving = vertices.clone().requires_grad_()

        def draw(v: Tensor) -> Tensor:
            return render_mesh(v, faces, camera, topology=topology).depth

        drawn = checkpoint(draw, moving, use_reentrant=False) if checkpointed else draw(moving)
        drawn.sum().backward()
        found.append(moving.grad)
    assert torch.equal(*found) and (found[0] != 0).any()
