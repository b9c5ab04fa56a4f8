"""Interpolation: the Functions against their autograd twin and finite differences, and against projective geometry.

Every test here runs with every back end that works on a CPU.
"""

from __future__ import annotations

import functools
import sys

import pytest
import torch
from torch import Tensor

from expportrait_core.render import interpolate, interpolate_reference, visible_triangles

from .meshes import blob, icosphere, look, rotation


@pytest.fixture(autouse=True, params=["torch", "numba"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """`interpolate` of this file, bound to one back end."""
    if request.param == "numba":
        pytest.importorskip("numba")
    bound = functools.partial(interpolate, backend=request.param)
    monkeypatch.setattr(sys.modules[__name__], "interpolate", bound)
    return request.param


def scene(
    levels: int = 1, size: int = 14, dtype: torch.dtype = torch.float64, frames: int = 2
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A tumbling sphere close to the camera: vertices [F, V, 3], corners, faces, ids."""
    vertices, faces = icosphere(levels, torch.float64)
    turned = torch.stack([vertices @ rotation(0.3 + f, 0.2 * f, dtype=torch.float64).T for f in range(frames)])
    turned = turned.to(dtype)
    corners = look((size, size + 3), 2.2, 0.9, frames, dtype).project(turned)
    return turned, corners, faces, visible_triangles(corners, faces, size, size + 3)


def test_gradcheck() -> None:
    _, corners, faces, ids = scene(levels=0, size=8)
    generator = torch.Generator().manual_seed(0)
    attributes = torch.randn(*corners.shape[:2], 2, generator=generator, dtype=torch.float64)
    assert (ids >= 0).sum() > 40
    torch.autograd.gradcheck(
        lambda c, a: interpolate(c, a, faces, ids), (corners.requires_grad_(), attributes.requires_grad_())
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-3)])
@pytest.mark.parametrize("needs", [(True, True), (True, False), (False, True)])
def test_function_equals_its_twin(dtype: torch.dtype, tolerance: float, needs: tuple[bool, bool]) -> None:
    _, corners, faces, ids = scene(levels=3, size=40, dtype=dtype)
    generator = torch.Generator().manual_seed(1)
    attributes = torch.randn(*corners.shape[:2], 5, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(*ids.shape, 5, generator=generator, dtype=torch.float64).to(dtype)
    pictures, gradients = [], []
    for function in (interpolate, interpolate_reference):
        inputs = [t.clone().requires_grad_(n) for t, n in zip((corners, attributes), needs, strict=True)]
        pictures.append(function(*inputs, faces, ids))
        pictures[-1].backward(weight)
        gradients.append([t.grad for t in inputs])
    assert pictures[0].dtype == dtype
    torch.testing.assert_close(*pictures, rtol=tolerance, atol=tolerance)
    for ours, theirs, needed in zip(*gradients, needs, strict=True):
        assert (ours is not None) == needed == (theirs is not None)
        if needed:
            assert (ours - theirs).norm() <= tolerance * theirs.norm()


def test_interpolated_positions_project_back_onto_their_pixels() -> None:
    """The definition of perspective-correct: what is seen at a pixel lies on the ray through its centre."""
    vertices, _, faces, ids = scene(levels=2, size=30)
    camera = look((30, 33), 2.2, 0.9, 2, torch.float64)
    seen = interpolate(camera.project(vertices), vertices, faces, ids)
    corners = camera.project(seen.view(2, -1, 3)).view_as(seen)
    frame, row, column = (ids >= 0).nonzero(as_tuple=True)
    found = corners[frame, row, column]
    expected = torch.stack([column + 0.5, row + 0.5], 1).double()
    assert (found[:, :2] / found[:, 2:] - expected).abs().max() < 1e-9


def test_constants_stay_constant_and_the_background_is_zero() -> None:
    _, corners, faces, ids = scene(levels=2, size=30, dtype=torch.float32)
    picture = interpolate(corners, torch.full_like(corners, 3.0), faces, ids)
    assert (picture[ids < 0] == 0).all() and (ids < 0).any()
    torch.testing.assert_close(picture[ids >= 0], torch.full((int((ids >= 0).sum()), 3), 3.0), rtol=1e-5, atol=0)


def test_nothing_seen_gives_zero_and_no_gradient() -> None:
    _, corners, faces, ids = scene()
    picture = interpolate(corners.requires_grad_(), corners.detach(), faces, torch.full_like(ids, -1))
    picture.sum().backward()
    assert (picture == 0).all() and (corners.grad == 0).all()


@pytest.mark.parametrize("twin", [False, True])
def test_triangles_thinner_than_the_snapping_give_no_wild_values(twin: bool) -> None:
    """The centre of pixel 2 lies on the snapped sliver but tens of widths outside of the real one, or that has no
    area at all: the mean of the corners, no gradient of position, never NaN."""
    function = interpolate_reference if twin else interpolate
    for thickness in (0.0, 1e-7, 1e-4):
        xy = torch.tensor([[0.5, 2.503], [4.5, 2.503], [4.5, 2.503 - thickness]], dtype=torch.float64)
        corners = torch.cat([xy, torch.ones(3, 1)], 1)[None].requires_grad_()
        attributes = torch.tensor([[[0.0], [3.0], [6.0]]], dtype=torch.float64, requires_grad=True)
        ids = torch.full((1, 5, 5), -1, dtype=torch.int32)
        ids[0, 2, 2] = 0
        picture = function(corners, attributes, torch.tensor([[0, 1, 2]]), ids)
        picture.sum().backward()
        assert picture[0, 2, 2, 0].item() == pytest.approx(3.0)
        assert (corners.grad == 0).all()
        torch.testing.assert_close(attributes.grad, torch.full_like(attributes, 1 / 3))


def test_needles_have_no_wild_gradients_in_float32() -> None:
    """Two corners a micrometre apart: what the area is divided by is rounding noise, thousands of times too small."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(1, 300, 3, generator=generator) * 0.1
    points[:, 1::3] = points[:, ::3] + torch.randn(1, 100, 3, generator=generator) * 1e-6
    faces = torch.arange(300).view(-1, 3)
    faces = torch.cat([faces, faces[:, [0, 2, 1]]])
    corners = look((600, 600), 0.6, 1.9).project(points)
    ids = visible_triangles(corners, faces, 600, 600)
    assert (ids >= 0).sum() > 5
    largest = []
    for dtype in (torch.float32, torch.float64):
        moving = corners.to(dtype).clone().requires_grad_()
        interpolate(moving, moving.detach()[..., 2:], faces, ids).sum().backward()
        largest.append(float(moving.grad.abs().max()))
    assert largest[0] < 10 and largest[1] < 10


def test_gradients_in_float32_at_full_size() -> None:
    """Triangles of about a pixel, as in a head at 512: float32 stays close to the same computed in float64.

    What differs are the slivers of the outline, whose weights are differences of large numbers.
    """
    vertices, faces = blob(6)
    camera = look((512, 512), 0.7, 1.9)
    corners = camera.project(vertices[None])
    ids = visible_triangles(corners, faces, 512, 512)
    weight = torch.randn(*ids.shape, 3, generator=torch.Generator().manual_seed(0))
    results = []
    for dtype in (torch.float32, torch.float64):
        c, a = (t.to(dtype).detach().requires_grad_() for t in (corners, vertices[None].clone()))
        picture = interpolate(c, a, faces, ids)
        picture.backward(weight.to(dtype))
        results.append((picture.detach().double(), c.grad.double(), a.grad.double()))
    for ours, exact in zip(*results, strict=True):
        assert torch.isfinite(ours).all()
        assert (ours - exact).norm() < 1e-2 * exact.norm()


def test_what_does_not_fit_is_refused() -> None:
    _, corners, faces, ids = scene()
    with pytest.raises(ValueError, match="expected"):
        interpolate(corners, corners[:, :-1], faces, ids)
    with pytest.raises(ValueError, match="expected"):
        interpolate(corners, corners, faces, ids[:1])
    with pytest.raises(ValueError, match="Convert"):
        interpolate(corners, corners.float(), faces, ids)
    with pytest.raises(ValueError, match="name vertices"):
        interpolate(corners, corners, faces + len(corners[0]), ids)
    with pytest.raises(ValueError, match="name triangle"):
        interpolate(corners, corners, faces, ids + len(faces))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("frames", [1, 3])
def test_repeats_and_threads_give_the_same_gradients_to_the_bit(frames: int, dtype: torch.dtype) -> None:
    _, corners, faces, ids = scene(levels=3, size=60, dtype=dtype, frames=frames)
    weight = torch.randn(*ids.shape, 3, generator=torch.Generator().manual_seed(0), dtype=dtype)
    found, before = [], torch.get_num_threads()
    for threads in (1, 1, 2, 3):
        torch.set_num_threads(threads)
        inputs = [corners.clone().requires_grad_() for _ in range(2)]
        picture = interpolate(*inputs, faces, ids)
        picture.backward(weight)
        found.append([picture.detach(), *(t.grad for t in inputs)])
    torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found[0], other, strict=True))
