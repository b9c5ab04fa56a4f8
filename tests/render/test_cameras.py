"""Cameras: crops and sizes that stay on the source's pixels, weak perspective, orbits, and what is too near to draw."""

from __future__ import annotations

import math

import pytest
import torch

from expportrait_core.fit.crop import cut_square, fit_in_crop
from expportrait_core.render import (
    PictureDrawer,
    encode_normals,
    orbit,
    render_mesh,
    visible_triangles,
    weak_perspective,
    wires,
)
from expportrait_core.types import Camera, HeadCrop, SMPLXFit

from .meshes import blob, look, rotation


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_a_crop_is_cut_out_of_the_picture(backend: str) -> None:
    if backend == "numba":
        pytest.importorskip("numba")
    vertices, faces = blob(4)
    camera = look((100, 120), 0.6, 2.0)
    whole = render_mesh(vertices[None], faces, camera, 2, backend=backend)
    part = render_mesh(vertices[None], faces, camera.cropped(33, 20, 56, 48), 2, backend=backend)
    # corners are rounded to 1/256 pixel after the shift, so that a triangle in ten thousand may round the other way
    same = (part.ids == whole.ids[:, 40:152, 66:162]).float().mean()
    assert same > 0.9995 and (part.ids >= 0).float().mean() > 0.5
    inner = whole.normals[:, 20:76, 33:81]
    assert ((part.normals - inner).abs().amax(-1) > 1e-3).float().mean() < 2e-3
    assert (part.normals - inner.roll(1, 2)).abs().mean() > 10 * (part.normals - inner).abs().mean()


def test_a_crop_beyond_the_edge_is_background_there() -> None:
    vertices, faces = blob(3)
    camera = look((40, 40), 0.6, 2.0)
    whole = render_mesh(vertices[None], faces, camera).mask
    part = render_mesh(vertices[None], faces, camera.cropped(torch.tensor([-10.0]), -5.0, 50, 60)).mask
    assert torch.equal(part[:, 5:45, 10:50], whole) and part[:, :5].sum() == part[:, :, 50:].sum() == 0


def test_a_resized_camera_stays_on_the_pixels_of_the_square_that_was_cut() -> None:
    """Draw, then cut and shrink the picture; or move the camera into the square and draw: the same to the pixel."""
    vertices, faces = blob(5)
    camera = look((240, 320), 0.6, 2.0)
    crop = HeadCrop(torch.tensor([[70.4, 10.8]]), torch.tensor([192.0]), 64, (240, 320))
    zeros = torch.zeros(1, 55, 3)
    fit = SMPLXFit(torch.zeros(1), torch.zeros(1, 1), zeros, torch.zeros(1, 3), camera, "arkit", "none")
    drawn = render_mesh(vertices[None], faces, camera, 3)
    cut = cut_square(encode_normals(drawn.normals, drawn.mask), crop)
    ours = render_mesh(vertices[None], faces, fit_in_crop(fit, crop).camera, 4)
    ours = encode_normals(ours.normals, ours.mask)
    error = (cut - ours).abs().mean()
    assert error < 0.004
    for shift in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        assert (cut - ours.roll(shift, (1, 2))).abs().mean() > 5 * error


def test_weak_perspective_has_no_perspective() -> None:
    points = torch.rand(1, 500, 3, generator=torch.Generator().manual_seed(0)) * 0.2 - 0.1
    scale, centre = torch.tensor([1500.0]), torch.tensor([[130.0, 120.0]])
    camera = weak_perspective(scale, centre, (256, 256))
    corners = camera.project(points)
    expected = centre + 1500 * points[0, :, :2] * torch.tensor([1, -1])
    assert (corners[0, :, :2] / corners[0, :, 2:] - expected).norm(dim=1).max() < 0.12  # 0.05 % of 200 pixels
    turned = weak_perspective(scale, centre, (256, 256), rotation(roll=math.pi)[None])
    corners = turned.project(points)  # x and y both turned about, z forward
    expected = centre - 1500 * points[0, :, :2]
    assert (corners[0, :, :2] / corners[0, :, 2:] - expected).norm(dim=1).max() < 0.12
    with pytest.raises(ValueError, match="above 0"):
        weak_perspective(torch.tensor([0.0]), centre, (256, 256))


def test_weak_perspective_still_tells_near_from_far() -> None:
    """200 metres away, a sheet 0.1 mm before another one is the one that is seen."""
    square = torch.tensor([[-0.1, -0.1, 0.0], [0.1, -0.1, 0], [0.1, 0.1, 0], [-0.1, 0.1, 0]])
    vertices = torch.cat([square, square + torch.tensor([0, 0, 1e-4])])[None]
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    camera = weak_perspective(torch.tensor([200.0]), torch.tensor([[32.0, 32.0]]), (64, 64))
    ids = visible_triangles(camera.project(vertices), faces, 64, 64)
    assert set(ids.unique().tolist()) == {-1, 2, 3}


def position(camera: Camera) -> torch.Tensor:
    """[F, 3] where the cameras stand in the world."""
    pose = camera.world_to_camera
    return -(pose[:, :3, 3, None] * pose[:, :3, :3]).sum(1)


def test_orbit_goes_around_what_it_looks_at() -> None:
    camera, target = look((64, 80), 0.7, 1.5), torch.tensor([0.02, -0.03, 0.05])
    around = orbit(camera, target, torch.tensor([0.0, 0.6, 0.0, -2.0]), torch.tensor([0.0, 0.0, 0.4, 0.2]))
    assert torch.allclose(around.world_to_camera[0], camera.world_to_camera[0], atol=1e-6)
    seen = around.project(target.expand(4, 1, 3))
    assert torch.allclose(seen, camera.project(target[None, None]).expand(4, 1, 3), atol=1e-4)
    stands, before = position(around), position(camera)[0]
    assert torch.allclose((stands - target).norm(dim=1), (before - target).norm(), atol=1e-5)
    assert stands[1, 0] > before[0] + 0.2 and abs(float(stands[1, 1] - before[1])) < 1e-5  # to its right
    assert stands[2, 1] > before[1] + 0.2  # above
    rotations = around.world_to_camera[:, :3, :3]
    assert torch.allclose(rotations @ rotations.transpose(1, 2), torch.eye(3).expand(4, 3, 3), atol=1e-5)


@pytest.mark.parametrize("depth", [0.009, 0.0, -0.02, -3.0], ids=["near", "on", "behind", "far behind"])
def test_triangles_that_cross_the_near_plane_are_refused_alike_everywhere(depth: float) -> None:
    """One corner of one triangle at or behind the camera: every way of drawing says the same sentence."""
    pytest.importorskip("numba")
    vertices, faces = blob(3)
    camera = look((32, 32), 0.6, 1.5)
    vertices[faces[7, 1]] = torch.tensor([0.01, 0.01, 0.6 - depth])
    corners, said = camera.project(vertices[None]), set()
    for backend in ("torch", "numba"):
        for draw in (
            lambda name: visible_triangles(corners, faces, 32, 32, name),
            lambda name: render_mesh(vertices[None], faces, camera, backend=name),
            lambda name: PictureDrawer(faces, len(vertices), backend=name).draw(vertices[None], camera),
            lambda name: wires(vertices[None], faces, camera, supersampling=1, backend=name),
        ):
            with pytest.raises(ValueError, match="camera's plane") as refused:
                draw(backend)
            said.add(str(refused.value))
    assert len(said) == 1 and f"to {depth:.3f} m" in said.pop()


@pytest.mark.parametrize(("size", "corners"), [
    ((300, 300), [[0, 75], [300, 225]]),  # a picture of twice the width, in the middle of a square
    ((600, 300), [[0, 225], [300, 375]]),
    ((150, 900), [[300, 0], [600, 150]]),
])  # fmt: skip
def test_a_view_within_a_picture_of_another_shape(size: tuple[int, int], corners: list[list[float]]) -> None:
    """What lay in the corners of the picture lies where the picture now begins and ends."""
    camera = look((400, 800), 1.0, 1.5)
    ends = torch.tensor([[0.0, 0, 1], [800, 400, 1]])
    points = (ends @ torch.linalg.inv(camera.intrinsics[0]).T)[None]
    points = points @ torch.linalg.inv(camera.world_to_camera[:, :3, :3]).transpose(1, 2) + (
        torch.linalg.inv(camera.world_to_camera)[:, None, :3, 3]
    )
    within = camera.within(*size)
    seen = within.project(points)[0]
    assert within.image_size == size
    torch.testing.assert_close(seen[:, :2] / seen[:, 2:], torch.tensor(corners, dtype=torch.float32), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("before", "after"), [((400, 800), (100, 400)), ((640, 480), (1280, 240))])
def test_a_resized_picture_keeps_every_point_at_its_share(before: tuple[int, int], after: tuple[int, int]) -> None:
    camera = look(before, 1.0, 1.5)
    points = torch.randn(1, 50, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    shares = []
    for view in (camera, camera.resized(*after)):
        seen = view.project(points)[0]
        height, width = view.image_size
        shares.append(seen[:, :2] / seen[:, 2:] / torch.tensor([width, height]))
    torch.testing.assert_close(shares[1], shares[0])


def test_the_longer_side_of_a_picture() -> None:
    assert look((400, 800), 1.0, 1.5).scaled_to(100).image_size == (50, 100)
    assert look((900, 600), 1.0, 1.5).scaled_to(300).image_size == (300, 200)
