"""What is refused before anything is drawn, and what is drawn all the same: on any device, under
autocast, of no frames."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from expportrait_core.body import load_head_model
from expportrait_core.render import (
    MeshTopology,
    NormalPictures,
    PictureDrawer,
    RegionLayout,
    backend,
    depth_picture,
    entry,
    facing,
    interpolate,
    orbit,
    pictures,
    render_mesh,
    render_normals,
    vertex_normals,
    visible_triangles,
    wires,
)

from .meshes import look, views
from .test_regions import motion_of

BACKENDS = ["torch", "numba"]
VERTICES, FACES, CAMERA = views(3)
FRAMES, (HEIGHT, WIDTH), COUNT = 3, CAMERA.image_size, VERTICES.shape[1]
CORNERS = CAMERA.project(VERTICES)
IDS = visible_triangles(CORNERS, FACES, HEIGHT, WIDTH, "torch")


@pytest.fixture(params=BACKENDS)
def which(request: pytest.FixtureRequest) -> str:
    if request.param == "numba":
        pytest.importorskip("numba")
    return request.param


WRONG: dict[str, tuple[Callable[[str], object], str]] = {
    "half a sample": (lambda b: render_mesh(VERTICES, FACES, CAMERA, 1.5, backend=b), "supersampling is 1.5"),
    "half a sample of a drawer": (lambda b: PictureDrawer(FACES, COUNT, 1.5, b), "supersampling is 1.5"),
    "half a sample of wires": (lambda b: wires(VERTICES, FACES, CAMERA, supersampling=1.5), "supersampling is 1.5"),
    "not a number of samples": (lambda b: PictureDrawer(FACES, COUNT, float("nan"), b), "supersampling is nan"),
    "no rows": (lambda b: visible_triangles(CORNERS, FACES, 0, WIDTH, b), "height is 0"),
    "half precision": (lambda b: visible_triangles(CORNERS.half(), FACES, HEIGHT, WIDTH, b), "corners in torch.f"),
    "brain floats": (lambda b: vertex_normals(VERTICES.bfloat16(), FACES, backend=b), "vertices in torch.bfloat16"),
    "mixed": (lambda b: interpolate(CORNERS, VERTICES.double(), FACES, IDS, b), "corners in torch.float32 and attr"),
    "faces of floats": (lambda b: visible_triangles(CORNERS, FACES.float(), HEIGHT, WIDTH, b), "faces in torch.f"),
    "faces of bytes": (lambda b: render_mesh(VERTICES, FACES.to(torch.uint8), CAMERA, backend=b), "faces in torch.u"),
    "ids of floats": (lambda b: interpolate(CORNERS, VERTICES, FACES, IDS.float(), b), "ids in torch.float32"),
    "faces turned over": (
        lambda b: vertex_normals(VERTICES, FACES[:, [0, 2, 1]], MeshTopology.of(FACES, COUNT), b), "of other faces"
    ),
    "a span from far to near": (lambda b: depth_picture(VERTICES.new_ones(1, 2, 2), (1.0, 0.5)), "nearer end first"),
    "normals of another size": (lambda b: facing(VERTICES.new_zeros(3, 5, 5, 3), CAMERA), r"\[3, 5, 5, 3\], the cam"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_drawn_gets_a_sentence(case: str, which: str) -> None:
    function, sentence = WRONG[case]
    with pytest.raises(ValueError, match=sentence):
        function(which)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"normals": torch.empty(3, HEIGHT, WIDTH, 4)}, "room for normals"),
        ({"mask": torch.empty(3, 5, 5)}, r"room for mask of \[3, 5, 5\]"),
        ({"depth": torch.empty(2, HEIGHT, WIDTH)}, "room for depth"),
    ],
)
def test_no_room_is_written_over_its_end(changed: dict, sentence: str, which: str) -> None:
    values = {"normals": torch.zeros(3, HEIGHT, WIDTH, 3), "mask": torch.zeros(3, HEIGHT, WIDTH),
              "depth": torch.zeros(3, HEIGHT, WIDTH)}  # fmt: skip
    with pytest.raises(ValueError, match=sentence):
        PictureDrawer(FACES, COUNT, backend=which).draw(VERTICES, CAMERA, NormalPictures(**{**values, **changed}))


def test_regions_of_another_mesh_or_without_room_are_refused(which: str) -> None:
    coarse = load_head_model(level=0)
    layout, faces = RegionLayout.of(coarse), coarse.fine_faces
    with pytest.raises(ValueError, match="Make a RegionLayout of this model"):
        PictureDrawer(FACES, COUNT, backend=which, layout=layout)
    drawer = PictureDrawer(faces, coarse.num_vertices, backend=which, layout=layout)
    vertices, camera = coarse.template[None] - coarse.template.mean(0), look((30, 40), 0.6, 1.9)
    shape = 1, 30, 40
    rooms = torch.zeros(*shape, 3), torch.zeros(shape), torch.zeros(shape)
    with pytest.raises(ValueError, match="no room for regions"):
        drawer.draw(vertices, camera, NormalPictures(*rooms))
    with pytest.raises(ValueError, match=r"room for regions of \[1, 60, 80\]"):
        drawer.draw(vertices, camera, NormalPictures(*rooms, torch.zeros(1, 60, 80, dtype=torch.uint8)))
    with pytest.raises(ValueError, match=r"Found turns \[1, 3, 3\], expected \[3, 3, 3\]"):
        PictureDrawer(FACES, COUNT, backend=which).draw(VERTICES, CAMERA, turns=torch.eye(3)[None])


def test_sentences_name_the_frame_of_what_was_given(which: str) -> None:
    for bad, words in ((float("nan"), "has NaN"), (9.0, "comes to")):
        vertices = VERTICES.clone()
        vertices[2] *= bad
        for draw in (
            lambda v: render_mesh(v, FACES, CAMERA, backend=which),
            lambda v: PictureDrawer(FACES, COUNT, backend=which).draw(v, CAMERA),
            lambda v: wires(v, FACES, CAMERA, backend=which),
        ):
            with pytest.raises(ValueError, match=f"The mesh of frame 2 {words}"):
                draw(vertices)


def test_sentences_name_the_frame_of_the_clip(which: str) -> None:
    motion = motion_of(load_head_model(level=0), 64, tuple((0.0, 0.0) for _ in range(12)))
    translation = motion.translation.clone()
    translation[10, 2] = 0.65
    with pytest.raises(ValueError, match="The mesh of frame 10 comes to"):
        render_normals(motion.replace(translation=translation), 64, 1, backend=which)
    for size, chunk, words in ((64.5, 8, "size is 64.5"), ((64, 0), 8, "size is 0"), (64, 2.5, "chunk is 2.5")):
        with pytest.raises(ValueError, match=words):
            render_normals(motion, size, 1, chunk, backend=which)


def test_no_frames_give_no_pictures(which: str) -> None:
    none, cameras = VERTICES[:0], CAMERA[:0]
    assert vertex_normals(none, FACES, backend=which).shape == (0, COUNT, 3)
    assert interpolate(none, none, FACES, IDS[:0], which).shape == (0, HEIGHT, WIDTH, 3)
    assert visible_triangles(none, FACES, HEIGHT, WIDTH, which).shape == (0, HEIGHT, WIDTH)
    assert render_mesh(none, FACES, cameras, 2, backend=which).normals.shape == (0, HEIGHT, WIDTH, 3)
    assert PictureDrawer(FACES, COUNT, 2, which).draw(none, cameras).mask.shape == (0, HEIGHT, WIDTH)


def test_autocast_changes_nothing(which: str) -> None:
    vertices = VERTICES.clone().requires_grad_()
    plain = render_mesh(vertices, FACES, CAMERA, 2, backend=which)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16  # it is on
        cast = render_mesh(vertices, FACES, CAMERA, 2, backend=which)
        drawn = PictureDrawer(FACES, COUNT, 2, which).draw(VERTICES, CAMERA)
    assert torch.equal(cast.normals, plain.normals) and torch.equal(cast.ids, plain.ids)
    assert torch.equal(drawn.mask, plain.mask)
    cast.depth.sum().backward()
    assert vertices.grad.abs().sum() > 0


def test_what_lies_on_a_device_that_cannot_draw_is_drawn_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """No such device is at hand: the CPU plays it, and the copies are counted."""
    topology = MeshTopology.of(FACES, COUNT)
    vertices = VERTICES.clone().requires_grad_()
    expected = render_mesh(vertices, FACES, CAMERA, 2, topology)
    moves, move = [], entry.moved

    def counted(value: object, device: object) -> object:
        moves.append(device)
        return move(value, device)

    monkeypatch.setattr(entry, "DEVICES", ("cuda",))
    monkeypatch.setattr(entry, "moved", counted)
    drawn = render_mesh(vertices, FACES, CAMERA, 2, topology)
    assert moves[:5] == ["cpu"] * 5 and torch.device("cpu") in moves  # there, and back
    for name in ("normals", "depth", "mask", "ids"):
        assert torch.equal(getattr(drawn, name), getattr(expected, name))
    drawn.normals.sum().backward()
    assert vertices.grad.abs().sum() > 0
    assert backend.choose_backend(torch.device("xpu")) == backend.choose_backend(torch.device("cpu"))


def test_room_is_written_to_wherever_it_lies(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same play: vertices and camera are moved, the room is not."""
    expected = PictureDrawer(FACES, COUNT, 2, which).draw(VERTICES, CAMERA)
    moves: list[object] = []
    monkeypatch.setattr(pictures, "DEVICES", ("cuda",))
    monkeypatch.setattr(pictures, "moved", lambda value, device: moves.append(value) or entry.moved(value, device))
    drawer, room = PictureDrawer(FACES, COUNT, 2, which), NormalPictures.empty(len(VERTICES), HEIGHT, WIDTH, VERTICES)
    assert drawer.draw(VERTICES, CAMERA, room) is room
    for name in ("normals", "mask", "depth"):
        assert torch.equal(getattr(room, name), getattr(expected, name))
    assert any(value is VERTICES for value in moves) and not any(value is room for value in moves)


def test_orbits_take_any_numbers() -> None:
    camera = look((20, 20), 0.6, 1.9)
    yaw = torch.tensor([0, 1])
    assert torch.equal(orbit(camera, torch.zeros(3), yaw).world_to_camera,
                       orbit(camera, torch.zeros(3).double(), yaw.double()).world_to_camera)  # fmt: skip
