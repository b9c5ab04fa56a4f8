"""Where landmarks come from: the built-in networks, MediaPipe, ComfyUI's nodes, arrays of one's own."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import expportrait_core.fit.detect.face_detector as finding
from expportrait_core.body.landmark_groups import IBUG68_FROM_MEDIAPIPE
from expportrait_core.fit import (
    BuiltInNetworks,
    CoreLandmarks,
    MediaPipeMesh,
    MediaPipeTask,
    detect_landmarks,
    fit_landmarks,
    landmark_error_percent,
    track,
)
from expportrait_core.fit.detect.cutouts import Regions
from expportrait_core.fit.detect.landmark_scheme import check_landmarks
from expportrait_core.fit.detect.sources import SeenFace
from expportrait_core.types import HEAD, NECK, HeadModel

TASK_FILE = os.environ.get("EXPPORTRAIT_FACE_LANDMARKER", "")


# ---- the built-in networks


def test_pieces_threads_and_bytes_give_what_the_whole_gives(single_face: tuple[Tensor, float]) -> None:
    images = single_face[0][:30]
    whole = detect_landmarks(images)
    asked: list[int] = []

    def pieces() -> Iterator[Tensor]:
        for piece in images.split(24):
            asked.append(len(piece))
            yield (piece * 255).round().to(torch.uint8)

    assert (detect_landmarks(pieces()) - whole)[..., :2].norm(dim=-1).mean() < 0.1  # other key frames
    assert asked == [24, 6] and whole[:, 468:, 2].min() > 0.8  # irises are seen


def test_a_long_clip_is_never_in_memory_as_a_whole(single_face: tuple[Tensor, float]) -> None:
    """Pieces are asked for as they are looked at, and let go of when they have been."""
    images, alive, most = single_face[0][:2], 0, 0

    def let_go() -> None:
        nonlocal alive
        alive -= 1

    def pieces() -> Iterator[Tensor]:
        nonlocal alive, most
        for _ in range(12):
            alive += 1
            most = max(most, alive)
            piece = images.clone()
            # of its memory: views of a piece keep that, and not the piece
            weakref.finalize(piece.untyped_storage(), let_go)
            yield piece

    assert len(detect_landmarks(pieces())) == 24
    assert most <= 7


def test_a_face_between_key_frames_is_followed(astronaut: Tensor) -> None:
    """She moves by a sixth of her face a frame, and turns: the network is asked where she is, not where she was."""
    large = F.pad(astronaut.permute(0, 3, 1, 2), (0, 128, 0, 0), value=0.4).permute(0, 2, 3, 1)
    clip = torch.cat([torch.roll(large, 16 * t, dims=2) for t in range(8)])
    (first,), *_, (last,) = BuiltInNetworks()(clip)
    for t, faces in enumerate(BuiltInNetworks()(clip)):
        (face,) = faces
        moved = face.landmarks[:, :2] - torch.tensor([16.0 * t, 0.0])
        assert (moved - first.landmarks[:, :2]).norm(dim=-1).mean() < 1.5
    assert last.landmarks[0, 0] - first.landmarks[0, 0] == pytest.approx(112, abs=2)


def test_a_face_that_comes_and_goes_is_seen_where_it_is(astronaut: Tensor) -> None:
    clip = astronaut[:, 20:276, 100:356].repeat(10, 1, 1, 1)
    clip[:3] = 0.5
    clip[6:] = 0.5
    assert [len(faces) for faces in BuiltInNetworks()(clip)] == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0]
    assert detect_landmarks(clip)[:, 0, 2].gt(0).tolist() == [False] * 3 + [True] * 3 + [False] * 4


def test_small_faces_are_looked_for_in_few_of_the_frames_and_found_in_all(
    astronaut: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles are what costs: of the key frames without a face three are searched, all where one of them shows one."""
    small = F.interpolate(astronaut.permute(0, 3, 1, 2), size=(205, 205), mode="area")
    shown = F.pad(small, (300, 135, 100, 55), value=0.4).permute(0, 2, 3, 1)
    looked, plain = 0, finding.run_detector

    def counted(pictures: Tensor, squares: Regions, *how: str) -> tuple[Tensor, Tensor]:
        nonlocal looked
        looked += len(squares)
        return plain(pictures, squares, *how)

    monkeypatch.setattr(finding, "run_detector", counted)
    empty = torch.full_like(shown, 0.4).repeat(24, 1, 1, 1)
    assert BuiltInNetworks()(empty) == [[]] * 24
    assert looked < 7 * 36  # what the seven key frames cost when they were looked at only upright
    for first in (3, 9, 14):
        clip = torch.cat([empty[:first], shown.repeat(24 - first, 1, 1, 1)])
        assert [len(faces) for faces in BuiltInNetworks()(clip)] == [0] * first + [1] * (24 - first)


def test_bad_clips_get_a_sentence() -> None:
    with pytest.raises(ValueError, match="There are no frames"):
        detect_landmarks(iter([]))
    with pytest.raises(ValueError, match="expected one size"):
        detect_landmarks(iter([torch.zeros(1, 64, 64, 3), torch.zeros(1, 64, 80, 3)]))
    with pytest.raises(ValueError, match="expected \\[frames, height, width, 3\\]"):
        detect_landmarks(torch.zeros(64, 64, 3))


# ---- arrays of one's own


def test_an_array_of_ibug_points_is_fitted(astronaut: Tensor, coarse_head: HeadModel) -> None:
    dense = detect_landmarks(astronaut)
    ours = fit_landmarks(dense, (512, 512), coarse_head, focal=900.0)
    sparse = fit_landmarks(dense[:, list(IBUG68_FROM_MEDIAPIPE)], (512, 512), coarse_head, focal=900.0, scheme="ibug68")
    assert sparse.landmark_scheme == "ibug68" and float(landmark_error_percent(sparse, coarse_head)) < 2.5
    turn = [fit.poses[0, NECK] + fit.poses[0, HEAD] for fit in (ours, sparse)]
    assert (turn[0] - turn[1]).norm() < 0.1
    # of 468 points there are no irises, so the eyes look ahead; a head without MediaPipe's points takes iBUG's
    bare = fit_landmarks(dense[:, :468], (512, 512), coarse_head, focal=900.0)
    assert not bare.poses[:, 23:25].any() and ours.poses[:, 23:25].abs().max() > 0.01
    ibug = coarse_head.replace(landmarks={"ibug68": coarse_head.landmarks["ibug68"]})
    assert float(landmark_error_percent(fit_landmarks(dense, (512, 512), ibug), ibug)) < 2.5


def test_bad_arrays_get_a_sentence(coarse_head: HeadModel) -> None:
    good = torch.ones(2, 478, 3)
    for landmarks, scheme, words in (
        (good, "dlib5", "expected one of mediapipe478, ibug68"),
        (good[:, :5], "mediapipe478", r"expected \[frames, 478 or 468, 3\]"),
        (good[..., :2], "mediapipe478", "a confidence of 0 to 1"),
        (good, "ibug68", r"expected \[frames, 68, 3\]"),
        (good * torch.nan, "mediapipe478", "NaN or infinite"),
        (good * 7, "mediapipe478", "It is not the depth"),
    ):
        with pytest.raises(ValueError, match=words):
            check_landmarks(landmarks, scheme)
    for focal in (0.0, -5.0, float("nan")):
        with pytest.raises(ValueError, match="focal length"):
            fit_landmarks(good, (64, 64), coarse_head, focal=focal)
    # what was not seen may hold anything
    good[1] = torch.tensor([torch.nan, torch.nan, 0.0])
    assert not check_landmarks(good, "mediapipe478")[1].any()


def test_points_that_were_not_seen_do_not_count(astronaut: Tensor, coarse_head: HeadModel) -> None:
    """Half of the face is hidden: its points are nowhere, and the other half is fitted as before."""
    whole = detect_landmarks(astronaut)
    half = whole.clone()
    half[:, whole[0, :, 0] > whole[0, 1, 0] + 8] = torch.tensor([0.0, 0.0, 0.0])
    ours, theirs = (fit_landmarks(points, (512, 512), coarse_head, focal=900.0) for points in (whole, half))
    assert float(landmark_error_percent(theirs, coarse_head)) < 1.5
    assert (ours.poses - theirs.poses)[:, HEAD].norm() < 0.12
    assert (ours.translation - theirs.translation).norm() < 0.12


# ---- ComfyUI's own nodes


def core_value(landmarks: Tensor, size: tuple[int, int] = (512, 512)) -> dict:
    def face(points: Tensor) -> dict:
        return {"landmarks_xy": points[:, :2].numpy(), "blendshapes": {"jawOpen": 0.1, "mouthSmileLeft": 0.4},
                "presence": 12.0, "score": 0.9}  # fmt: skip

    frames = [[face(points)] if points[0, 2] > 0 else [] for points in landmarks]
    return {"frames": frames, "image_size": size, "connection_sets": {}}


def test_core_landmarks_give_the_fit_of_the_same_points(astronaut: Tensor, coarse_head: HeadModel) -> None:
    clip = astronaut.repeat(3, 1, 1, 1)
    landmarks = detect_landmarks(clip)
    landmarks[1] = 0
    fit = track(clip, coarse_head, focal=900.0, source=CoreLandmarks(core_value(landmarks)))
    assert fit.valid.tolist() == [True, False, True]
    ours = fit_landmarks(landmarks, (512, 512), coarse_head, focal=900.0)
    assert (fit.poses - ours.poses)[:, HEAD].norm(dim=-1).max() < 0.02  # the confidence differs a little
    assert (fit.poses - ours.poses).norm(dim=-1).max() < 0.1
    assert torch.equal(fit.landmarks[..., :2], landmarks[..., :2])


def test_core_landmarks_of_other_pictures_get_a_sentence(astronaut: Tensor, coarse_head: HeadModel) -> None:
    landmarks = detect_landmarks(astronaut)
    for value, words in (
        (core_value(landmarks, (100, 100)), "pictures of 100x100 pixels, these are of 512x512"),
        (core_value(landmarks[:0]), "landmarks of 0 frames"),
        (core_value(landmarks[:, :20]), "expected 478 finite points"),
        ({"boxes": []}, "a dictionary of boxes, expected what MediaPipe Face Landmarker gives"),
        ([1, 2], "a list, expected what MediaPipe"),
    ):
        with pytest.raises(ValueError, match=words):
            track(astronaut, coarse_head, source=CoreLandmarks(value))


class Blendshapes:
    """A source that knows the landmarks and claims these blendshapes."""

    scheme, threads = "mediapipe478", False

    def __init__(self, landmarks: Tensor, units: dict[str, float]) -> None:
        self.landmarks, self.units = landmarks, units

    def __call__(self, images: Tensor) -> list[list[SeenFace]]:
        return [[SeenFace(points, self.units)] for points in self.landmarks[: len(images)]]


def test_blendshapes_are_where_the_fit_begins_not_where_it_ends(astronaut: Tensor, coarse_head: HeadModel) -> None:
    clip = astronaut.repeat(3, 1, 1, 1)
    landmarks = detect_landmarks(clip)
    plain = track(clip, coarse_head, focal=900.0, source=Blendshapes(landmarks, {}))
    units = {"mouthPucker": 0.9, "jawOpen": 1.0, "_neutral": 0.3}
    wrong = track(clip, coarse_head, focal=900.0, source=Blendshapes(landmarks, units))
    assert float((landmark_error_percent(wrong, coarse_head) - landmark_error_percent(plain, coarse_head)).max()) < 0.1
    assert not torch.equal(wrong.expression, plain.expression)


# ---- MediaPipe


def test_without_mediapipe_a_sentence_says_what_to_install() -> None:
    if find_spec("mediapipe"):
        pytest.skip("mediapipe is installed")
    with pytest.raises(ImportError, match="pip install mediapipe"):
        MediaPipeMesh()


def test_a_task_file_that_is_not_there_gets_a_sentence(tmp_path) -> None:
    with pytest.raises(ValueError, match="There is no file .*face_landmarker.task"):
        MediaPipeTask(tmp_path / "face_landmarker.task")


def test_a_task_file_of_something_else_gets_a_sentence(tmp_path) -> None:
    pytest.importorskip("mediapipe", reason="mediapipe is not installed")
    path = tmp_path / "a.task"
    path.write_bytes(b"no model")
    with pytest.raises(ValueError, match="not a face landmarker"):
        MediaPipeTask(path)


def test_the_legacy_api_agrees_with_the_built_in_networks(astronaut: Tensor, coarse_head: HeadModel) -> None:
    mediapipe = pytest.importorskip("mediapipe", reason="mediapipe is not installed")
    if not hasattr(mediapipe, "solutions"):
        pytest.skip("this mediapipe has no legacy API (mediapipe.solutions)")
    theirs, ours = detect_landmarks(astronaut, source=MediaPipeMesh()), detect_landmarks(astronaut)
    assert (theirs - ours)[..., :2].norm(dim=-1).mean() < 1.5
    assert float(landmark_error_percent(track(astronaut, coarse_head, source=MediaPipeMesh()), coarse_head)) < 2.5


def test_the_task_api_agrees_with_the_built_in_networks(astronaut: Tensor, coarse_head: HeadModel) -> None:
    pytest.importorskip("mediapipe", reason="mediapipe is not installed")
    if not TASK_FILE:
        pytest.skip("EXPPORTRAIT_FACE_LANDMARKER names no face_landmarker.task")
    ((face,),) = MediaPipeTask(TASK_FILE)(astronaut)
    assert len(face.units) == 52 and face.units["mouthSmileLeft"] > 0.2
    assert (face.landmarks - detect_landmarks(astronaut)[0])[:, :2].norm(dim=-1).mean() < 2.5
