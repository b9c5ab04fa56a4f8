"""Pictures drawn in one compiled call, against the same made step by step with plain torch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from expportrait_core.render import NormalPictures, PictureDrawer, encode_normals, pictures_numba, render_mesh
from expportrait_core.render.workers import bands
from expportrait_core.types import Camera

from .meshes import views

BACKENDS = ["torch", "numba"]


@pytest.fixture(autouse=True, params=[1, 2, 5])
def threads(request: pytest.FixtureRequest):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("supersampling", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_to_the_same_step_by_step(backend: str, supersampling: int, dtype: torch.dtype) -> None:
    if backend == "numba":
        pytest.importorskip("numba")
    vertices, faces, camera = views(3)
    vertices = vertices.to(dtype)
    camera = Camera(camera.intrinsics.to(dtype), camera.world_to_camera.to(dtype), camera.image_size)
    ours = PictureDrawer(faces, vertices.shape[1], supersampling, backend).draw(vertices, camera)
    maps = render_mesh(vertices, faces, camera, supersampling, backend="torch")
    assert torch.equal(ours.mask, maps.mask) and 0.2 < ours.mask.mean() < 0.6
    assert ours.normals.dtype == dtype
    # the plain twin interpolates in float32, which a few slivers of the outline show
    expected = encode_normals(maps.normals, maps.mask)
    assert ((ours.normals - expected).abs().amax(-1) > 1e-4).float().mean() < 1e-3
    assert (ours.normals - expected).abs().max() < 2e-2
    assert ((ours.depth - maps.depth).abs() > 1e-5).float().mean() < 1e-3
    assert (ours.normals[ours.mask == 0] == 0).all() and (ours.depth[ours.mask == 0] == 0).all()


def test_memory_of_one_call_does_not_show_in_the_next() -> None:
    """Other numbers of frames, another size, into given room."""
    vertices, faces, camera = views(5)
    drawer = PictureDrawer(faces, vertices.shape[1], 2)
    whole = drawer.draw(vertices, camera)
    small = drawer.draw(vertices, camera.resized(30, 35))
    room = NormalPictures.empty(5, 60, 70, vertices)
    for part in (slice(0, 1), slice(1, 5)):
        drawer.draw(vertices[part], camera[part], room[part])
    for name in ("normals", "mask", "depth"):
        assert torch.equal(getattr(room, name), getattr(whole, name))
    again = PictureDrawer(faces, vertices.shape[1], 2).draw(vertices, camera.resized(30, 35))
    assert torch.equal(small.normals, again.normals)


def test_large_pictures_are_drawn_in_bands(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads' samples stay within the bound, and no pixel changes; the last band is lower than the others."""
    pytest.importorskip("numba")
    vertices, faces, camera = views(3)
    whole = PictureDrawer(faces, vertices.shape[1], 3).draw(vertices, camera)
    row = 8 * 3**2 * 70  # bytes of the samples of a row of pixels
    for rows in (13, 1):
        monkeypatch.setattr(pictures_numba, "CANVAS_BYTES", threads * (rows * row + row // 2))
        drawer = PictureDrawer(faces, vertices.shape[1], 3)
        banded = drawer.draw(vertices, camera)
        for name in ("normals", "mask", "depth"):
            assert torch.equal(getattr(banded, name), getattr(whole, name))
        kept = [canvas.ids.nbytes + canvas.nearest.nbytes for canvas in drawer.canvases]
        assert kept == [rows * row] * threads and sum(kept) <= pictures_numba.CANVAS_BYTES
    monkeypatch.setattr(pictures_numba, "CANVAS_BYTES", 1)  # less than a row: it is drawn all the same
    assert torch.equal(PictureDrawer(faces, vertices.shape[1], 3).draw(vertices, camera).normals, whole.normals)


@pytest.mark.parametrize(("frames", "most"), [(1, None), (3, None), (8, None), (2, 7), (8, 1)])
def test_every_row_is_drawn_once_and_the_last_frames_in_strips(threads: int, frames: int, most: int | None) -> None:
    parts = bands(frames, 40, most)
    rows = [(frame, row) for frame, top, bottom in parts for row in range(top, bottom)]
    assert rows == [(frame, row) for frame in range(frames) for row in range(40)]
    assert max(bottom - top for _, top, bottom in parts) <= (most or 40)
    last = [bottom - top for frame, top, bottom in parts if frame == frames - 1]
    assert len(last) >= threads and max(last) <= -(-40 // threads)


def test_vertices_that_no_triangle_uses_may_be_anything() -> None:
    vertices, faces, camera = views(2)
    junk = torch.tensor([[float("nan")] * 3, [0, 0, 9.0], [1e30, 0, 0]]).expand(2, -1, -1)
    plain = PictureDrawer(faces, vertices.shape[1]).draw(vertices, camera)
    ours = PictureDrawer(faces, vertices.shape[1] + 3).draw(torch.cat([vertices, junk], 1), camera)
    assert torch.equal(ours.normals, plain.normals) and torch.equal(ours.depth, plain.depth)


def test_what_cannot_be_drawn_is_refused() -> None:
    vertices, faces, camera = views(2)
    drawer = PictureDrawer(faces, vertices.shape[1])
    with pytest.raises(ValueError, match="camera's plane"):
        drawer.draw(vertices + torch.tensor([0, 0, 0.6]), camera)
    with pytest.raises(ValueError, match="NaN"):
        drawer.draw(vertices * float("nan"), camera)
    with pytest.raises(ValueError, match="expected"):
        drawer.draw(vertices[:1], camera)
    with pytest.raises(ValueError, match="expected"):
        drawer.draw(vertices, camera, NormalPictures.empty(2, 60, 71, vertices))
    with pytest.raises(ValueError, match="supersampling"):
        PictureDrawer(faces, vertices.shape[1], 0)


def test_two_threads_draw_at_once() -> None:
    vertices, faces, camera = views(3)
    expected = PictureDrawer(faces, vertices.shape[1]).draw(vertices, camera).normals

    def draw(_: int) -> torch.Tensor:
        return PictureDrawer(faces, vertices.shape[1]).draw(vertices, camera).normals

    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(found, expected) for found in pool.map(draw, range(24)))
