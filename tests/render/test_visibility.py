"""Visibility: pixel by pixel against exact integers, seams without holes or overlaps, and what it refuses to draw.

Every test here runs with every back end that works on a CPU; test_backends.py holds them together to the pixel.
"""

from __future__ import annotations

import functools
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from expportrait_core.render import visibility, visible_triangles

from .meshes import blob, look


@pytest.fixture(autouse=True, params=["torch", "numba"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """`visible_triangles` of this file, bound to one back end."""
    if request.param == "numba":
        pytest.importorskip("numba")
    bound = functools.partial(visible_triangles, backend=request.param)
    monkeypatch.setattr(sys.modules[__name__], "visible_triangles", bound)
    return request.param


def soup(seed: int, height: int, width: int, triangles: int, spread: float, near: float = 0.5) -> tuple[Tensor, Tensor]:
    """Loose triangles of both orientations, in and around the picture. Corners [1, V, 3], faces [T, 3]."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(triangles, 1, 2, generator=generator) * torch.tensor([width * 1.4, height * 1.4])
    centre -= torch.tensor([width * 0.2, height * 0.2])
    xy = centre + spread * torch.randn(triangles, 3, 2, generator=generator)
    w = near + 3 * torch.rand(triangles, 3, 1, generator=generator)
    corners = torch.cat([xy * w, w], -1).reshape(1, -1, 3)
    return corners, torch.arange(3 * triangles).view(-1, 3)


def oracle(corners: Tensor, faces: Tensor, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pixel against every triangle in unbounded integers: the ids [H, W], and 1/w of the nearest and the next."""
    w = corners[0, :, 2]
    snapped = torch.round(corners[0, :, :2] / w[:, None] * 256).to(torch.int64).numpy().astype(object)
    py, px = np.meshgrid(256 * np.arange(height).astype(object) + 128, 256 * np.arange(width).astype(object) + 128,
                         indexing="ij")  # fmt: skip
    ids, first, second = np.full((height, width), -1), np.zeros((height, width)), np.zeros((height, width))
    for number, (a, b, c) in enumerate(faces.tolist()):
        loop = (a, c, b)  # clockwise where y points down
        inside, weights = np.ones((height, width), bool), []
        for start, end in ((1, 2), (2, 0), (0, 1)):
            (x0, y0), (x1, y1) = snapped[loop[start]], snapped[loop[end]]
            value = (x1 - x0) * (py - y0) - (y1 - y0) * (px - x0)
            top_or_left = y1 < y0 or (y1 == y0 and x1 > x0)
            inside &= (value >= 0 if top_or_left else value > 0).astype(bool)
            weights.append(value)
        if not inside.any():
            continue
        area = float(sum(weights)[0, 0])
        z = sum(v.astype(float) / area / float(w[i]) for v, i in zip(weights, loop, strict=True))
        z = np.where(inside, z, 0)
        second = np.maximum(second, np.minimum(first, z))
        ids = np.where(z > first, number, ids)
        first = np.maximum(first, z)
    return ids, first, second


def assert_exact(corners: Tensor, faces: Tensor, height: int, width: int, unclear: float = 0.05) -> None:
    found = visible_triangles(corners, faces, height, width)[0].numpy()
    expected, first, second = oracle(corners, faces, height, width)
    assert ((found >= 0) == (expected >= 0)).all()
    clear = first - second > 1e-5 * first  # elsewhere float32 may see the other one
    assert (clear | (expected < 0)).mean() >= 1 - unclear
    assert (found == expected)[clear].all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("spread", "triangles"), [(0.7, 300), (4.0, 120), (40.0, 40), (3000.0, 30)], ids=["tiny", "small", "large", "vast"]
)
def test_soup_against_every_pixel_and_triangle(seed: int, spread: float, triangles: int) -> None:
    height, width = 19, 26
    corners, faces = soup(seed, height, width, triangles, spread)
    assert_exact(corners, faces, height, width)


@pytest.mark.parametrize("seed", range(4))
def test_slivers_against_every_pixel_and_triangle(seed: int) -> None:
    """Triangles thinner than a pixel, some of no area at all, many with corners on pixel centres."""
    height, width = 24, 24
    generator = torch.Generator().manual_seed(seed)
    a = torch.randint(0, 48, (80, 2), generator=generator) / 2
    b = torch.randint(0, 48, (80, 2), generator=generator) / 2
    c = a + (b - a) * torch.rand(80, 1, generator=generator) + torch.randint(-3, 4, (80, 2), generator=generator) / 128
    w = 1 + torch.rand(80, 3, 1, generator=generator)
    corners = torch.cat([torch.stack([a, b, c], 1) * w, w], -1).view(1, -1, 3)
    assert_exact(corners, torch.arange(240).view(-1, 3), height, width)


@pytest.mark.parametrize("seed", range(4))
def test_specks_against_every_pixel_and_triangle(seed: int) -> None:
    """Many triangles of a few 1/256 pixels around each pixel centre, steep in depth: every unit of area counts."""
    height, width, triangles = 6, 7, 600
    generator = torch.Generator().manual_seed(seed)
    centre = torch.stack([torch.randint(0, side, (triangles, 1), generator=generator) for side in (width, height)], -1)
    xy = centre + 0.5 + torch.randint(-3, 4, (triangles, 3, 2), generator=generator) / 256
    w = 2.0 ** torch.randint(0, 4, (triangles, 3, 1), generator=generator)
    corners = torch.cat([xy * w, w], -1).view(1, -1, 3)
    assert_exact(corners, torch.arange(3 * triangles).view(-1, 3), height, width, unclear=0.5)


def grid(cells: int, size: float, seed: int, step: float) -> tuple[Tensor, Tensor]:
    """A square of `size` pixels cut into triangles whose inner corners lie anywhere on a raster of `step`."""
    generator = torch.Generator().manual_seed(seed)
    line = torch.linspace(0, size, cells + 1)
    y, x = torch.meshgrid(line, line, indexing="ij")
    xy = torch.stack([x, y], -1)
    move = (torch.rand(cells - 1, cells - 1, 2, generator=generator) - 0.5) * (size / cells * 0.4)
    xy[1:-1, 1:-1] = torch.round((xy[1:-1, 1:-1] + move) / step) * step
    number = torch.arange((cells + 1) ** 2).view(cells + 1, cells + 1)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]
    faces = torch.cat([torch.stack([a, c, b], -1).view(-1, 3), torch.stack([b, c, d], -1).view(-1, 3)])
    return torch.cat([xy.reshape(-1, 2), torch.ones(number.numel(), 1)], 1)[None], faces


@pytest.mark.parametrize("step", [1.0, 0.5, 1 / 64])
def test_shared_edges_are_drawn_exactly_once(step: float) -> None:
    """Corners on pixel centres and pixel borders, edges through both: no pixel is left out, none drawn twice."""
    corners, faces = grid(cells=6, size=24, seed=3, step=step)
    if step == 1:
        corners[:, :, :2] += 0.5  # corners on the very centres
    drawn = sum((visible_triangles(corners, face[None], 24, 24)[0] >= 0).long() for face in faces)
    assert (drawn == 1).all()
    assert (visible_triangles(corners, faces, 24, 24) >= 0).all()


def test_back_faces_are_not_drawn() -> None:
    corners, faces = grid(cells=4, size=16, seed=0, step=1 / 64)
    assert (visible_triangles(corners, faces, 16, 16) >= 0).all()
    assert (visible_triangles(corners, faces[:, [0, 2, 1]], 16, 16) == -1).all()


def test_front_is_counter_clockwise_in_the_world() -> None:
    vertices = torch.tensor([[[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]]])  # counter-clockwise for an eye at +z
    ids = visible_triangles(look((8, 8), 5.0, 1.5).project(vertices), torch.tensor([[0, 1, 2]]), 8, 8)
    assert (ids == 0).any()


def test_corners_far_outside_do_not_overflow() -> None:
    """A diagonal edge from two million pixels on one side to two million on the other."""
    reach = 2_000_000.0
    xy = torch.tensor([[-reach, -reach + 7], [reach, reach + 7], [reach, -reach], [-reach, reach]])
    corners = torch.cat([xy, torch.ones(4, 1)], 1)[None]
    for face in ([0, 1, 2], [1, 0, 2], [0, 3, 1], [3, 0, 1]):
        assert_exact(corners, torch.tensor([face]), 20, 30)
    above, below = visible_triangles(corners, torch.tensor([[0, 1, 2], [0, 3, 1]]), 20, 30)[0] == torch.tensor(
        [0, 1]
    ).view(2, 1, 1)
    row, column = torch.arange(20)[:, None], torch.arange(30)
    assert (above ^ below).all()
    assert above[row < column + 7].all() and below[row > column + 7].all()


def test_outside_of_the_picture_nothing_is_drawn() -> None:
    corners, faces = grid(cells=3, size=12, seed=1, step=1 / 64)
    for shift in ([-12.0, 0, 0], [12.0, 0, 0], [0, -12.0, 0], [0, 12.0, 0], [5000.0, -5000.0, 0]):
        assert (visible_triangles(corners + torch.tensor(shift), faces, 12, 12) == -1).all()
    half = visible_triangles(corners + torch.tensor([-5.0, 0, 0]), faces, 12, 12)
    assert torch.equal(half[0] >= 0, (torch.arange(12) < 7).expand(12, 12))


def test_of_equal_triangles_the_first_is_seen() -> None:
    corners, faces = grid(cells=3, size=12, seed=1, step=1 / 64)
    once = visible_triangles(corners, faces, 12, 12)
    assert torch.equal(visible_triangles(corners, torch.cat([faces, faces, faces]), 12, 12), once)


def test_order_of_the_triangles_does_not_matter() -> None:
    vertices, faces = blob(4)
    corners = look((96, 96), 0.6, 2.0).project(vertices[None])
    order = torch.randperm(len(faces), generator=torch.Generator().manual_seed(0))
    ids, shuffled = visible_triangles(corners, faces, 96, 96), visible_triangles(corners, faces[order], 96, 96)
    assert (ids >= 0).sum() > 2000
    assert torch.equal(torch.where(shuffled >= 0, order[shuffled.long()], -1), ids.long())


def test_crossing_triangles_hide_each_other_in_perspective() -> None:
    """Two slanted planes through the axis: left of it the one is nearer, right of it the other."""
    vertices = torch.tensor([[[-9.0, -9, 1], [9, -9, -1], [9, 9, -1], [-9, 9, 1],
                              [-9, -9, -1], [9, -9, 1], [9, 9, 1], [-9, 9, -1]]])  # fmt: skip
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    ids = visible_triangles(look((32, 32), 5.0, 2.0).project(vertices), faces, 32, 32)[0]
    assert (ids[:, :16] // 2 == 0).all() and (ids[:, 16:] // 2 == 1).all()


def test_memory_is_bounded_without_changing_the_answer(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    if backend != "torch":
        pytest.skip("only plain torch writes lists of pixels")
    corners, faces = soup(5, 40, 50, 200, 20.0)
    ids = visible_triangles(corners, faces, 40, 50)
    sizes, expand = [], visibility._expand
    monkeypatch.setattr(visibility, "_expand", lambda n: (lambda r: (sizes.append(len(r[0])), r)[1])(expand(n)))
    for pixels in (1, 700, 5000):
        monkeypatch.setattr(visibility, "PIXELS_AT_ONCE", pixels)
        sizes.clear()
        assert torch.equal(visible_triangles(corners, faces, 40, 50), ids)
        assert max(sizes) <= pixels + 40 * 50


def test_frames_are_independent_and_sizes_free() -> None:
    pairs = [soup(seed, 33, 21, 60, 5.0) for seed in range(3)]
    corners, faces = torch.cat([c for c, _ in pairs]), pairs[0][1]
    ids = visible_triangles(corners, faces, 33, 21)
    assert ids.dtype == torch.int32 and ids.shape == (3, 33, 21)
    for frame in range(3):
        assert torch.equal(ids[frame], visible_triangles(corners[frame : frame + 1], faces, 33, 21)[0])
    assert torch.equal(visible_triangles(corners, faces, 1, 1)[:, 0, 0], ids[:, 0, 0])
    assert (visible_triangles(corners, faces[:0], 5, 4) == -1).all()
    assert visible_triangles(corners[:0], faces, 5, 4).shape == (0, 5, 4)


def test_what_comes_too_close_is_refused() -> None:
    corners, faces = grid(cells=2, size=8, seed=0, step=1 / 64)
    for w in (0.0, 0.0099, -1.0):
        bad = corners.clone()
        bad[0, 4] = torch.tensor([1.0, 1.0, w])
        with pytest.raises(ValueError, match="camera's plane"):
            visible_triangles(bad, faces, 8, 8)
    with pytest.raises(ValueError, match="frame 1 .* camera's plane"):
        visible_triangles(torch.cat([corners, bad]), faces, 8, 8)
    bad[0, 4] = torch.tensor([0.04, 0.04, 0.0101])
    assert (visible_triangles(bad, faces, 8, 8) >= 0).any()


@pytest.mark.parametrize(
    ("value", "sentence"), [(float("nan"), "NaN"), (float("inf"), "NaN or infinite"), (3e6, "pixels from")]
)
def test_what_is_not_finite_or_too_far_is_refused(value: float, sentence: str) -> None:
    corners, faces = grid(cells=2, size=8, seed=0, step=1 / 64)
    corners[0, 4, 0] = value
    with pytest.raises(ValueError, match=sentence):
        visible_triangles(corners, faces, 8, 8)


def test_unused_vertices_may_be_anything() -> None:
    corners, faces = grid(cells=2, size=8, seed=0, step=1 / 64)
    junk = torch.tensor([[[float("nan")] * 3, [1.0, 1.0, -1.0], [1.0, 1.0, 0.0], [1e30, 0.0, 1.0]]])
    assert torch.equal(
        visible_triangles(torch.cat([corners, junk], 1), faces, 8, 8), visible_triangles(corners, faces, 8, 8)
    )


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        visible_triangles(torch.ones(4, 3), torch.zeros(1, 3, dtype=torch.int64), 8, 8)
    corners, faces = grid(cells=2, size=8, seed=0, step=1 / 64)
    for wrong in (faces + 1, faces - 1):
        with pytest.raises(ValueError, match="name vertices"):
            visible_triangles(corners, wrong, 8, 8)
