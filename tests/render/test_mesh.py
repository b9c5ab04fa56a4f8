"""Rendered meshes: a sphere against its formula, signs of the normals, rigid motions, gradients, supersampling."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from expportrait_core.render import encode_normals, render_mesh
from expportrait_core.types import Camera

from .meshes import blob, icosphere, look, rotation


def rays(camera: Camera) -> Tensor:
    """Directions [H, W, 3] through the pixel centres of the first frame, z = 1, camera space of OpenCV."""
    height, width = camera.image_size
    row, column = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([column, row, torch.ones_like(row)], -1) @ torch.linalg.inv(camera.intrinsics[0]).T


def test_sphere_against_its_formula() -> None:
    """Normals within half a degree, depth within 0.1 % of the radius, the outline at the right pixels."""
    radius, distance = 0.12, 0.6
    vertices, faces = icosphere(6)
    camera = look((200, 240), distance, 1.9)
    camera = camera.replace(intrinsics=camera.intrinsics + torch.tensor([[0, 0, 17.3], [0, 0, -8.9], [0, 0, 0]]))
    maps = render_mesh(vertices[None] * radius, faces, camera)

    direction, centre = rays(camera), torch.tensor([0, 0, distance])
    half, squared = direction @ centre, (direction * direction).sum(-1)
    discriminant = half**2 - squared * (distance**2 - radius**2)
    hit = discriminant > 0
    depth = (half - discriminant.clamp_min(0).sqrt()) / squared
    normals = (direction * depth[..., None] - centre) / radius * torch.tensor([1.0, -1, -1])

    mask = maps.mask[0] > 0
    assert (mask != hit).sum() < 0.002 * hit.sum()
    facing = -(normals * torch.tensor([1.0, -1, -1]) * direction).sum(-1) / squared.sqrt()
    inside = mask & hit & (facing > 0.15)  # at the very outline facets are seen edge on
    assert inside.sum() > 0.9 * hit.sum()
    cosine = (maps.normals[0] * normals).sum(-1)[inside]
    assert cosine.min() > math.cos(math.radians(0.5))
    assert (maps.depth[0] - depth)[inside].abs().max() < 1e-3 * radius
    assert (maps.depth[0][~mask] == 0).all() and (maps.normals[0][~mask] == 0).all()
    torch.testing.assert_close(maps.normals[0][mask].norm(dim=-1), torch.ones(int(mask.sum())))


@pytest.mark.parametrize(
    ("towards", "colour"),
    [
        ((0, 0, 1), (0.5, 0.5, 1.0)),
        ((-1, 1, 1), (0.211, 0.789, 0.789)),  # up and to the left of the picture
        ((1, 0, 1), (0.854, 0.5, 0.854)),
        ((0, -1, 1), (0.5, 0.146, 0.854)),
    ],
)
def test_signs_of_a_slanted_plane(towards: tuple, colour: tuple) -> None:
    """The viewer at +z sees world x to the right and world y upwards, and so are the colours."""
    normal = torch.nn.functional.normalize(torch.tensor(towards, dtype=torch.float32), dim=0)
    across = torch.linalg.cross(torch.tensor([0.0, 1, 0]), normal)
    across = across / across.norm()
    up = torch.linalg.cross(normal, across)
    square = torch.stack([-across - up, across - up, across + up, -across + up])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    maps = render_mesh(square[None], faces, look((32, 32), 4.0, 1.5))
    picture = encode_normals(maps.normals, maps.mask)[0]
    torch.testing.assert_close(picture[16, 16], torch.tensor(colour), rtol=0, atol=2e-3)
    assert (picture[0, 0] == 0).all()


def test_up_in_the_world_is_up_in_the_picture() -> None:
    vertices, faces = icosphere(2)
    camera = look((40, 40), 6.0, 1.5)
    above = render_mesh(vertices[None] * 0.3 + torch.tensor([0.6, 1.0, 0]), faces, camera).mask[0]
    assert above[:20, 20:].sum() == above.sum() > 0


def test_turning_the_mesh_about_the_optical_axis_turns_picture_and_normals() -> None:
    vertices, faces = blob(5)
    camera = look((128, 128), 0.7, 2.0)
    straight = render_mesh(vertices[None], faces, camera)
    turned = render_mesh(vertices[None] @ rotation(roll=math.pi / 2).T, faces, camera)
    expected = torch.rot90(straight.normals[0], 1) @ rotation(roll=math.pi / 2).T  # both counter-clockwise
    both = (turned.mask[0] > 0) & (torch.rot90(straight.mask[0], 1) > 0)
    assert both.sum() > 0.99 * (turned.mask > 0).sum() > 1000
    assert ((turned.normals[0] - expected)[both].norm(dim=-1) < 0.01).float().mean() > 0.99


def test_moving_mesh_and_camera_together_changes_nothing() -> None:
    vertices, faces = blob(4)
    camera = look((96, 80), 0.7, 1.6)
    turn, shift = rotation(0.5, 0.3, -0.2), torch.tensor([0.2, -0.4, 0.9])
    moved = camera.world_to_camera.clone()
    moved[:, :3, :3] = moved[:, :3, :3] @ turn.T
    moved[:, :3, 3] -= moved[0, :3, :3] @ shift
    ours = render_mesh(vertices[None], faces, camera)
    theirs = render_mesh(vertices[None] @ turn.T + shift, faces, camera.replace(world_to_camera=moved))
    same = (ours.ids == theirs.ids) & (ours.ids >= 0)
    assert same.sum() > 0.99 * (ours.ids >= 0).sum() > 1000
    torch.testing.assert_close(ours.normals[same], theirs.normals[same], rtol=0, atol=1e-3)
    torch.testing.assert_close(ours.depth[same], theirs.depth[same], rtol=0, atol=1e-5)


@pytest.mark.parametrize("supersampling", [1, 2])
def test_gradient_of_a_picture_against_finite_differences(supersampling: int) -> None:
    """Loss over normals and depth, vertices moved in random directions by so little that visibility stays."""
    vertices, faces = blob(3, dtype=torch.float64)
    camera = look((40, 40), 0.6, 1.9, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(1, 40, 40, 4, generator=generator, dtype=torch.float64)

    def loss(v: Tensor) -> tuple[Tensor, Tensor]:
        maps = render_mesh(v[None], faces, camera, supersampling)
        return (torch.cat([maps.normals, maps.depth[..., None]], -1) * target).sum(), maps.ids

    moving = vertices.clone().requires_grad_()
    value, ids = loss(moving)
    value.backward()
    checked = 0
    for _ in range(12):
        step = torch.randn(vertices.shape, generator=generator, dtype=torch.float64) * 1e-9
        (above, ids_above), (below, ids_below) = loss(vertices + step), loss(vertices - step)
        if torch.equal(ids_above, ids) and torch.equal(ids_below, ids):
            checked += 1
            expected = (moving.grad * step).sum()
            assert abs((above - below) / 2 - expected) < 1e-4 * abs(expected) + 1e-12
    assert checked >= 6


def test_a_normal_loss_can_be_descended() -> None:
    """Some steps down the gradient of normals and depth smooth a dent out of a sphere."""
    sphere, faces = icosphere(3)
    camera = look((64, 64), 5.0, 2.0)
    with torch.no_grad():
        target = render_mesh(sphere[None], faces, camera)
    dent = 1 - 0.15 * torch.exp(-(((sphere - torch.tensor([0.2, 0.1, 0.97])).norm(dim=1) / 0.4) ** 2))
    vertices = (sphere * dent[:, None]).requires_grad_()
    optimizer, losses = torch.optim.Adam([vertices], lr=2e-3), []
    for _ in range(40):
        maps = render_mesh(vertices[None], faces, camera)
        both = (maps.mask > 0) & (target.mask > 0)
        loss = (maps.normals - target.normals)[both].square().mean() + (maps.depth - target.depth)[both].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]


def test_supersampling_gives_fractional_coverage_and_a_better_area() -> None:
    vertices, faces = icosphere(5)
    camera = look((24, 24), 5.0, 1.7)
    camera = camera.replace(intrinsics=camera.intrinsics + torch.tensor([[0, 0, 0.37], [0, 0, -0.21], [0, 0, 0]]))
    rough, fine = (render_mesh(vertices[None], faces, camera, s) for s in (1, 4))
    assert set(rough.mask.unique().tolist()) == {0.0, 1.0}
    levels = fine.mask.unique()
    assert len(levels) > 8 and torch.equal(levels * 16, (levels * 16).round()) and levels[0] == 0 and levels[-1] == 1
    area = math.pi * (1.7 * 24) ** 2 / (5.0**2 - 1)  # of the outline's circle, in pixels
    assert abs(fine.mask.sum() - area) < 0.005 * area
    edge = (fine.mask > 0) & (fine.mask < 1)
    assert edge.any()
    torch.testing.assert_close(fine.normals[edge].norm(dim=-1), torch.ones(int(edge.sum())))
    assert fine.depth[edge].min() > 4.0  # not mixed with the background's 0
    assert fine.ids.shape == (1, 96, 96) and rough.ids.shape == (1, 24, 24)


def test_resized_camera_gives_the_same_picture() -> None:
    """512 and 256 agree: averaging the large picture's samples is what supersampling the small one means."""
    vertices, faces = blob(5)
    large = look((512, 512), 0.7, 1.9)
    small = large.resized(256, 256)
    samples, maps = render_mesh(vertices[None], faces, large), render_mesh(vertices[None], faces, small, 2)
    assert torch.equal(samples.ids, maps.ids)
    quartered = samples.mask.view(1, 256, 2, 256, 2).mean((2, 4))
    torch.testing.assert_close(maps.mask, quartered)
    single = render_mesh(vertices[None], faces, small)
    inside = (maps.mask == 1) & (single.mask == 1)
    assert inside.sum() > 0.95 * (single.mask > 0).sum()
    assert (single.depth - maps.depth)[inside].abs().median() < 1e-4
    assert (single.normals * maps.normals).sum(-1)[inside].median() > math.cos(math.radians(0.5))


def test_picture_of_another_shape() -> None:
    vertices, faces = blob(3)
    maps = render_mesh(vertices[None].repeat(2, 1, 1), faces, look((30, 50), 0.7, 1.9, frames=2), 3)
    assert maps.normals.shape == (2, 30, 50, 3) and maps.depth.shape == maps.mask.shape == (2, 30, 50)
    assert torch.equal(maps.normals[0], maps.normals[1])
    assert maps.mask[:, :, 10:40].sum() == maps.mask.sum() > 0


def test_what_cannot_be_drawn_is_refused() -> None:
    vertices, faces = blob(2)
    camera = look((16, 16), 0.7, 1.9)
    with pytest.raises(ValueError, match="camera's plane"):
        render_mesh(vertices[None] + torch.tensor([0, 0, 0.6]), faces, camera)
    with pytest.raises(ValueError, match="cameras"):
        render_mesh(vertices[None].repeat(2, 1, 1), faces, camera)
    with pytest.raises(ValueError, match="supersampling"):
        render_mesh(vertices[None], faces, camera, 0)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_no_frames_are_no_pictures(backend: str) -> None:
    if backend == "numba":
        pytest.importorskip("numba")
    vertices, faces = icosphere(2)
    camera = look((12, 16), 3.0, 1.0)
    maps = render_mesh(vertices[None][:0], faces, camera[:0], 2, backend=backend)
    assert maps.normals.shape == (0, 12, 16, 3) and maps.depth.shape == maps.mask.shape == (0, 12, 16)
    assert maps.ids.shape == (0, 24, 32) and maps.ids.dtype == torch.int32


def test_what_fits_not_together_gives_a_sentence() -> None:
    vertices, faces = icosphere(2)
    camera = look((12, 16), 3.0, 1.0)
    with pytest.raises(ValueError, match="vertices in torch.float64 and intrinsics in torch.float32"):
        render_mesh(vertices[None].double(), faces, camera)
    with pytest.raises(ValueError, match="float16"):
        render_mesh(vertices[None].half(), faces, camera)
    with pytest.raises(ValueError, match="whole number"):
        render_mesh(vertices[None], faces, camera, 1.5)
    small = render_mesh(vertices[None], faces.int(), camera)
    assert torch.equal(small.normals, render_mesh(vertices[None], faces, camera).normals)
