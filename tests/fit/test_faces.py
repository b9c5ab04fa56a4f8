"""People are followed through a clip, and the one who is meant is chosen."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from expportrait_core.fit import BuiltInNetworks, choose_person, detect_landmarks, faces_in, follow_people, track
from expportrait_core.fit.detect.likeness import alike, face_colours
from expportrait_core.fit.detect.sources import SeenFace
from expportrait_core.types import HeadModel

WIDTH = 640


def face(x: float, side: float = 100.0, y: float = 200.0, looks: Tensor | None = None) -> SeenFace:
    corners = torch.tensor([[x - side / 2, y - side / 2, 1.0], [x + side / 2, y + side / 2, 1.0], [x, y, 1.0]])
    return SeenFace(corners, colours=looks)


PEOPLE = follow_people([[face(100, 80), face(300, 120), face(420, 60)]] * 4)


def centre(person) -> float:
    return float(person.centre[0])


@pytest.mark.parametrize(
    ("which", "x"),
    [("largest", 300), ("leftmost", 100), ("second from left", 300), ("third from left", 420), ("rightmost", 420),
     ("centre", 300)],
)  # fmt: skip
def test_the_face_is_chosen_by_size_or_place(which: str, x: float) -> None:
    assert centre(choose_person(PEOPLE, which, WIDTH)) == x
    assert choose_person([], which, WIDTH) is None


@pytest.mark.parametrize(("number", "x"), [(1, 300), (2, 100), (3, 420)])
def test_numbers_count_from_the_largest(number: int, x: float) -> None:
    assert centre(choose_person(PEOPLE, "by number", WIDTH, number=number)) == x


def test_bad_choices_get_a_sentence() -> None:
    with pytest.raises(ValueError, match="expected one of largest, leftmost"):
        choose_person(PEOPLE, "prettiest")
    with pytest.raises(ValueError, match="are 3 faces to be followed, and the fourth from left was asked for"):
        choose_person(PEOPLE, "fourth from left")
    with pytest.raises(ValueError, match="is one face to be followed, and number 2"):
        choose_person(PEOPLE[:1], "by number", number=2)
    with pytest.raises(ValueError, match="expected 1 for the largest"):
        choose_person(PEOPLE, "by number", number=0)
    with pytest.raises(ValueError, match="no picture of it"):
        choose_person(PEOPLE, "like the picture")


def test_people_are_told_apart_when_they_cross() -> None:
    """Two faces of one size walk through each other; looks differ, and places alone would be ambiguous."""
    one, two = F.normalize(torch.tensor([1.0, 0.2]), dim=0), F.normalize(torch.tensor([0.2, 1.0]), dim=0)
    frames = [[face(100 + 22 * t, looks=one), face(540 - 22 * t, y=206, looks=two)] for t in range(21)]
    people = follow_people([frame if t % 2 else frame[::-1] for t, frame in enumerate(frames)])
    assert len(people) == 2
    for person in people:
        assert len(person.frames) == 21
        assert len({round(float(f.colours[0]), 3) for f in person.faces}) == 1


def test_a_person_who_was_hidden_is_the_same_one() -> None:
    frames = [[face(200), face(500, 90)] if not 5 <= t < 15 else [face(200)] for t in range(20)]
    people = follow_people(frames)
    assert [len(person.frames) for person in people] == [20, 10]
    # somebody else, far from there, is not
    assert len(follow_people([[face(100)]] * 3 + [[face(600)]] * 3)) == 2


def test_passers_by_are_nobody() -> None:
    frames = [[face(300)] + ([face(50, 140)] if t == 7 else []) for t in range(40)]
    assert centre(choose_person(follow_people(frames), "leftmost")) == 300


def test_faces_of_a_mask() -> None:
    mask = torch.zeros(480, WIDTH)
    mask[:, 250:350] = 1
    assert [float(f.centre[0]) for f in faces_in([face(100), face(300)], mask)] == [300]


def test_a_masked_face_is_not_seen(astronaut: Tensor) -> None:
    assert detect_landmarks(astronaut, mask=torch.ones(1, 512, 512)).max() > 0
    assert detect_landmarks(astronaut, mask=torch.zeros(1, 512, 512)).max() == 0
    with pytest.raises(ValueError, match="expected"):
        detect_landmarks(astronaut, mask=torch.zeros(1, 64, 64))


# ---- pictures


def two_people(astronaut: Tensor, man: Tensor, frames: int = 12) -> Tensor:
    """A composed clip [F, 360, 880, 3]: the man left, the astronaut right; then they have changed places by and by."""
    large = F.interpolate(astronaut.permute(0, 3, 1, 2), size=(640, 640), mode="bicubic").clamp(0, 1)
    woman = large[0].permute(1, 2, 0)[:360, 130:450]
    clip = torch.full((frames, 360, 880, 3), 0.4)
    for t in range(frames):
        x = round(540 * t / (frames - 1))
        clip[t, :, 540 - x : 860 - x] = woman
        clip[t, :, x : x + 320] = man[t][:, 160:480]  # in front while they cross
    return clip


@pytest.fixture(scope="module")
def crossing(astronaut: Tensor, single_face: tuple[Tensor, float]) -> Tensor:
    return two_people(astronaut, single_face[0])


def test_the_identity_does_not_jump(crossing: Tensor, single_face: tuple[Tensor, float]) -> None:
    man, _ = single_face
    alone = detect_landmarks(man[:12])
    found = detect_landmarks(crossing, "largest")  # the man, whose face is the larger one
    seen = found[:, 0, 2] > 0
    assert seen.all()
    shift = torch.tensor([round(540 * t / 11) - 160.0 for t in range(12)])
    expected = alone[..., :2] + torch.stack([shift, torch.zeros(12)], 1)[:, None]
    assert (found[..., :2] - expected).norm(dim=-1).mean(1).max() < 3


def test_the_face_like_a_picture_is_followed(crossing: Tensor, astronaut: Tensor, coarse_head: HeadModel) -> None:
    darker = (astronaut * 0.7)[:, :400, 60:460]  # not the same pixels
    fit = track(crossing, coarse_head, face="like the picture", picture=darker)
    assert fit.landmarks[0, :, 0].mean() > 540 and fit.landmarks[-1, :, 0].mean() < 340
    with pytest.raises(ValueError, match="no face in the picture of the person"):
        track(crossing, coarse_head, face="like the picture", picture=torch.full((1, 64, 64, 3), 0.5))


def test_likeness_ignores_light_and_tells_two_people_apart(
    astronaut: Tensor, single_face: tuple[Tensor, float], caplog: pytest.LogCaptureFixture
) -> None:
    def looks(picture: Tensor) -> Tensor:
        ((seen,),) = BuiltInNetworks()(picture)
        return face_colours(picture[0], seen.landmarks)

    man = single_face[0]
    woman, neutral, smiling = looks(astronaut), looks(man[:1]), looks(man[60:61])
    lit = looks((astronaut * torch.linspace(0.5, 1.2, 512)[None, None, :, None]).clamp(0, 1))
    assert alike(woman, lit) > 0.9 and alike(neutral, smiling) > 0.85
    assert alike(woman, neutral) < 0.7
    with caplog.at_level(logging.WARNING):  # a person whom nobody is like
        one, two = SeenFace(face(100).landmarks, colours=neutral), SeenFace(face(400).landmarks, colours=smiling)
        choose_person(follow_people([[one, two]]), "like the picture", WIDTH, woman)
    assert "look whether it is the right one" in caplog.text
