"""The travelling dataclasses: what they check, and that writing and reading them is the identity."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from expportrait_core.portable import Portable, atomic_path, read_safetensors, write_safetensors
from expportrait_core.types import (
    Camera,
    HeadCrop,
    HeadModel,
    HeadMotion,
    PersonalizedHead,
    RenderedHead,
    SMPLXFit,
    StoredOffsets,
)


def a_camera(frames: int = 2) -> Camera:
    intrinsics = torch.tensor([[700.0, 0, 320], [0, 700, 180], [0, 0, 1]]).repeat(frames, 1, 1)
    return Camera(intrinsics, torch.diag(torch.tensor([1.0, -1, -1, 1])).repeat(frames, 1, 1), (360, 640))


def a_fit(frames: int = 2, **changes: object) -> SMPLXFit:
    values = {
        "betas": torch.randn(10), "expression": torch.rand(frames, 100), "poses": torch.randn(frames, 55, 3),
        "translation": torch.randn(frames, 3), "camera": a_camera(frames), "expression_space": "arkit",
        "model_id": "default-head", "landmarks": torch.rand(frames, 478, 3), "landmark_scheme": "mediapipe478",
    }  # fmt: skip
    return SMPLXFit(**{**values, **changes})


def a_head(model: HeadModel) -> PersonalizedHead:
    zeros = torch.zeros(model.num_vertices, 3)
    return PersonalizedHead(model, torch.randn(10), zeros + 0.001, zeros.repeat(2, 1, 1), a_fit(), 1, "default-head",
                            {"landmark_error_percent": 1.5})  # fmt: skip


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, Portable):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


def test_safetensors_are_read_back_and_are_as_open_to_others_as_any_file(tmp_path: Path) -> None:
    tensors, values = {"a": torch.randn(3, 2).T, "b": torch.arange(4)}, {"step": 3, "names": ["x"]}
    path = write_safetensors(tmp_path / "file.safetensors", "expportrait.test", tensors, values, "made by a test")
    read, found = read_safetensors(path, "expportrait.test")
    assert found == values and all(torch.equal(read[name], tensors[name]) for name in tensors)
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    with pytest.raises(ValueError, match="has expportrait.test, expected 'expportrait.other'"):
        read_safetensors(path, "expportrait.other")


def test_writing_and_reading_is_the_identity(tmp_path: Path, head_model: HeadModel) -> None:
    head = a_head(head_model)
    motion = HeadMotion(head, torch.rand(2, 100), torch.randn(2, 55, 3), torch.randn(2, 3), a_camera(), 30.0, 1)
    picture = torch.rand(2, 4, 4, 3)
    things: list[tuple[Portable, dict]] = [
        (a_camera(), {}), (a_fit(), {}), (a_fit(landmarks=None, landmark_scheme=None), {}), (head_model, {}),
        (head, {"model": head_model}), (motion, {"head": head}),
        (RenderedHead(picture, picture[:1], picture[..., 0], picture[..., 0], "camera"), {}),
        (HeadCrop(torch.rand(2, 2), torch.rand(2), 512, (360, 640)), {}),
        (StoredOffsets(torch.tensor([3, 5]), torch.rand(2, 2, 3), 9), {}),
    ]  # fmt: skip
    for number, (thing, given) in enumerate(things):
        path = thing.save(tmp_path / f"{number}.safetensors")
        assert same(thing, type(thing).load(path, **given)), type(thing).__name__


def test_stored_offsets_are_dense_on_demand() -> None:
    stored = StoredOffsets(torch.tensor([1, 3]), torch.ones(4, 2, 3), 5)
    assert torch.equal(stored(1, 3).sum(-1), torch.tensor([[0.0, 3, 0, 3, 0]] * 2))


def test_reading_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    path = a_camera().save(tmp_path / "camera.safetensors")
    with pytest.raises(ValueError, match=r"expportrait\.camera, expected 'expportrait\.fit'"):
        SMPLXFit.load(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        Camera.load(path)
    with pytest.raises(ValueError, match="There is no file"):
        Camera.load(tmp_path / "missing.safetensors")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"poses": torch.zeros(2, 54, 3)}, r"poses has shape \[2, 54, 3\], expected \[2, 55, 3\]"),
        ({"camera": a_camera(3)}, "2 frames and 3 cameras"),
        ({"translation": torch.full((2, 3), torch.nan)}, "translation holds NaN"),
        ({"expression": torch.zeros(0, 100), "poses": torch.zeros(0, 55, 3)}, "has no frames"),
    ],
)
def test_a_fit_checks_itself(changes: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        a_fit(**changes)


def test_a_head_of_another_model_is_refused(head_model: HeadModel, tmp_path: Path) -> None:
    path = a_head(head_model).save(tmp_path / "head.safetensors")
    with pytest.raises(ValueError, match="made with 'default-head' at level 1, the loaded head model is 'other'"):
        PersonalizedHead.load(path, model=head_model.replace(model_id="other"))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_resized_camera_sees_the_same_view() -> None:
    points = torch.tensor([[[0.1, 0.05, -1.0]]])
    camera = a_camera(1)
    x, y, w = camera.project(points)[0, 0]
    half = camera.resized(180, 320).project(points)[0, 0]
    assert torch.allclose(half[:2] / half[2], torch.stack([x, y]) / w / 2)
    assert x / w > 320 and y / w < 180 and w == 1  # to the right, upwards, one metre in front


def test_spaces_must_agree(head_model: HeadModel) -> None:
    a_fit().require_space(head_model)
    with pytest.raises(ValueError, match="in the space 'flame50'"):
        a_fit(expression_space="flame50").require_space(head_model)


@pytest.mark.parametrize("fps", [0.0, -5.0, float("nan"), float("inf"), 5e-324])
def test_a_frame_rate_that_is_none_is_refused(fps: float) -> None:
    with pytest.raises(ValueError, match="expected 0.001 to 100,000"):
        a_fit(fps=fps)


def test_first_valid_frame() -> None:
    assert a_fit(3, valid=torch.tensor([False, True, True])).first_valid == 1
    with pytest.raises(ValueError, match="no frame in which a face was seen"):
        _ = a_fit(2, valid=torch.zeros(2, dtype=torch.bool)).first_valid
    with pytest.raises(ValueError, match="expected true or false"):
        a_fit(2, valid=torch.ones(2))


def test_a_saved_motion_keeps_its_wrinkles(tmp_path: Path, head_model: HeadModel) -> None:
    """Whatever computes them when frames are asked for; more frames than are evaluated at once."""
    frames, head = 11, a_head(head_model)
    wrinkles = torch.zeros(frames, head_model.num_vertices, 3)
    wrinkles[:, 40:90] = 0.002 * torch.randn(frames, 50, 3)
    motion = HeadMotion(head, torch.rand(frames, 100), torch.randn(frames, 55, 3), torch.randn(frames, 3),
                        a_camera(frames), offsets=lambda start, stop: wrinkles[start:stop])  # fmt: skip
    path = motion.save(tmp_path / "motion.safetensors")
    read = HeadMotion.load(path, head=head)
    assert torch.allclose(read.offsets(3, 9), wrinkles[3:9], atol=4e-6)
    assert (read.offsets(0, frames)[:, :40] == 0).all()
    assert same(read, HeadMotion.load(read.save(tmp_path / "again.safetensors"), head=head))


def test_a_motion_is_of_its_own_head(tmp_path: Path, head_model: HeadModel, coarse_head: HeadModel) -> None:
    head = a_head(head_model)
    fields = {"expression": torch.rand(2, 100), "poses": torch.randn(2, 55, 3), "translation": torch.randn(2, 3),
              "camera": a_camera()}  # fmt: skip
    path = HeadMotion(head, **fields).save(tmp_path / "motion.safetensors")
    zeros = torch.zeros(coarse_head.num_vertices, 3)
    coarse = PersonalizedHead(coarse_head, torch.zeros(10), zeros, zeros.repeat(2, 1, 1), a_fit(), 0, "default-head")
    with pytest.raises(ValueError, match="made for a head of 'default-head' at level 1, this head is of .* level 0"):
        HeadMotion.load(path, head=coarse)
    with pytest.raises(ValueError, match=r"holds a HeadMotion without its head. Give it: load\(path, head=...\)"):
        HeadMotion.load(path)
    vertices = head_model.num_vertices
    for changes, sentence in (
        ({"expression": torch.full((2, 100), torch.nan)}, "expression holds NaN"),
        ({"expression": torch.rand(2, 101)}, "has 101 expression values, the head model 100"),
        ({"fps": 0.0}, "fps is 0.0"),
        ({"offsets": StoredOffsets(torch.tensor([1]), torch.ones(1, 1, 3), vertices)}, "offsets are of 1 frames"),
        ({"offsets": StoredOffsets(torch.tensor([1]), torch.ones(2, 1, 3), 9)}, "frames and 9 vertices"),
    ):
        with pytest.raises(ValueError, match=sentence):
            HeadMotion(head, **{**fields, **changes})
    with pytest.raises(ValueError, match="are of vertices 3 to 9 of 9"):
        StoredOffsets(torch.tensor([3, 9]), torch.ones(2, 2, 3), 9)
    with pytest.raises(ValueError, match=r"normals has shape \[2, 4\]"):
        RenderedHead(torch.rand(2, 4), torch.rand(1, 4), torch.rand(2), torch.rand(2), "camera")


def changed(tensor: torch.Tensor, index: tuple, value: float) -> torch.Tensor:
    tensor = tensor.clone()
    tensor[index] = value
    return tensor


@pytest.mark.parametrize(
    ("intrinsics", "pose", "sentence"),
    [
        (((1, 0, 0), -700.0), None, "frame 1 is no pinhole .* focal lengths are -700 and 700 pixels"),
        (((1, 2, 2), 2.0), None, "frame 1 .* last row of its intrinsics is 0, 0, 2, expected 0, 0, 1"),
        (None, ((0, 0, 0), -1.0), "frame 0 .* mirror image, or holds a scale"),
        (None, ((1, 2, 2), -2.0), "frame 1 .* mirror image, or holds a scale"),
        (None, ((0, 3, 3), 2.0), "frame 0 .* last row of its world_to_camera is 0, 0, 0, 2"),
    ],
)
def test_what_is_no_pinhole_camera_is_refused(intrinsics, pose, sentence: str) -> None:
    """Each of them would be drawn: mirrored, or at a depth that is not in metres."""
    camera = a_camera()
    changes = {}
    if intrinsics:
        changes["intrinsics"] = changed(camera.intrinsics, *intrinsics)
    if pose:
        changes["world_to_camera"] = changed(camera.world_to_camera, *pose)
    with pytest.raises(ValueError, match=sentence):
        camera.replace(**changes)


def test_what_lies_on_the_device_already_is_not_copied(head_model: HeadModel) -> None:
    head = a_head(head_model)
    assert head.to("cpu") is head and head_model.to(torch.device("cpu")) is head_model
