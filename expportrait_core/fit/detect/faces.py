"""Which of a clip's faces is meant: faces are followed from frame to frame first, and one person is chosen then."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .likeness import alike
from .sources import SeenFace

logger = logging.getLogger(__name__)

FROM_LEFT = ("leftmost", "second from left", "third from left", "fourth from left")
FACES = ("largest", *FROM_LEFT, "rightmost", "centre", "like the picture", "by number")
REACH = 0.8  # sides of a face that it may move between frames and be the same one; our choice
GROWTH = 0.04  # by how much that reach grows with every frame in which it is not seen, up to the whole picture
UNLIKE = 0.5  # sides of a face that a different look counts for: people who cross are told apart by it; our choice
PASSING = 0.1  # people seen in less than this share of the frames of the one seen most are passers-by; our choice
SAME_LOOKS, FAR = 0.85, 10.0  # likeness of a person who comes back, and what that costs beside any that is in reach
SIMILAR = 0.75  # likeness of pictures of one person, see `likeness.py`


@dataclass
class Person:
    """One face followed through a clip."""

    frames: list[int] = field(default_factory=list)
    faces: list[SeenFace] = field(default_factory=list)

    def add(self, frame: int, face: SeenFace) -> None:
        self.frames.append(frame)
        self.faces.append(face)

    @property
    def looks(self) -> list[Tensor]:
        return [face.colours for face in self.faces if face.colours is not None]

    @property
    def side(self) -> float:
        return sum(face.side for face in self.faces) / len(self.faces)

    @property
    def centre(self) -> Tensor:  # [2]
        return torch.stack([face.centre for face in self.faces]).mean(0)


def follow_people(
    seen: Sequence[list[SeenFace]],  # of every frame
) -> list[Person]:
    """The people of a clip, the one with the most of the pictures first: no face is in two, no frame twice in one.

    A face goes to the person who was last seen nearest to it, looks counted in where there are any; one out of
    everybody's reach begins a new person.
    """
    people: list[Person] = []
    for frame, faces in enumerate(seen):
        options = sorted(
            (distance, p, f)
            for p, person in enumerate(people)
            for f, face in enumerate(faces)
            if (distance := _distance(person, face, frame)) is not None
        )
        taken: set[int] = set()
        followed: set[int] = set()
        for _, p, f in options:
            if p not in followed and f not in taken:
                people[p].add(frame, faces[f])
                followed.add(p)
                taken.add(f)
        for f, face in enumerate(faces):
            if f not in taken:
                people.append(Person())
                people[-1].add(frame, face)
    return sorted(people, key=lambda person: -sum(face.side for face in person.faces))


def _distance(person: Person, face: SeenFace, frame: int) -> float | None:
    """Between a face and where its person was last seen, in sides of it; None if that is out of reach."""
    last, gap = person.faces[-1], frame - person.frames[-1]
    before = person.faces[-2] if len(person.faces) > 1 and gap == 1 and person.frames[-2] == frame - 2 else None
    expected = last.centre if before is None else 2 * last.centre - before.centre  # as fast as it was going
    side = max(last.side, face.side)
    distance = float(torch.minimum((face.centre - expected).norm(), (face.centre - last.centre).norm())) / side
    looks = person.looks
    likeness = None
    if face.colours is not None and looks:
        likeness = max(alike(face.colours, look) for look in (looks[0], looks[len(looks) // 2], looks[-1]))
    if distance > REACH + GROWTH * (gap - 1) or min(last.side, face.side) < 0.4 * side:
        # who was hidden for a while may come out elsewhere, and is known by the looks
        return FAR + 1 - likeness if gap > 1 and likeness is not None and likeness > SAME_LOOKS else None
    return distance + (0.0 if likeness is None else UNLIKE * (1 - likeness))


def choose_person(
    people: list[Person],
    which: str = "largest",  # one of FACES
    width: float = 0.0,  # of the picture, for "centre"
    picture: Tensor | None = None,  # [n] `face_colours` of the person meant, for "like the picture"
    number: int = 1,  # for "by number": 1 is the largest face
) -> Person | None:
    """One of a clip's people, None if there are none.

    Raises:
        ValueError: an unknown choice, one that asks for more people than there are, or no picture to compare with.
    """
    if which not in FACES:
        raise ValueError(f"The face is '{which}', expected one of {', '.join(FACES)}.")
    if which == "like the picture" and picture is None:
        raise ValueError("The face is to be like a picture, and there is no picture of it. Give one with a face in it.")
    if which == "by number" and number < 1:
        raise ValueError(f"The face's number is {number}, expected 1 for the largest, 2 for the next, and so on.")
    if not people:
        return None
    most = max(len(person.frames) for person in people)
    people = [person for person in people if len(person.frames) >= PASSING * most]
    if which == "like the picture":
        return _most_alike(people, picture)
    if which == "centre":
        return min(people, key=lambda person: abs(float(person.centre[0]) - width / 2))
    if which == "rightmost":
        return max(people, key=lambda person: float(person.centre[0]))
    by_size = which in ("largest", "by number")
    index = {"largest": 0, "by number": number - 1}[which] if by_size else FROM_LEFT.index(which)
    if index >= len(people):
        wanted = f"number {number}" if which == "by number" else f"the {which}"
        raise ValueError(
            f"There {'is one face' if len(people) == 1 else f'are {len(people)} faces'} to be followed, and {wanted} "
            f"was asked for. Choose another face."
        )
    return people[index] if by_size else sorted(people, key=lambda person: float(person.centre[0]))[index]


def wants_every_face(which: str, number: int = 1, masked: bool = False) -> bool:
    """Whether more than the largest face must be known to choose this one of FACES, or for a mask to hide others."""
    return masked or not (which == "largest" or (which == "by number" and number == 1))


def _most_alike(people: list[Person], picture: Tensor) -> Person:
    def likeness(person: Person) -> float:
        found = sorted(alike(look, picture) for look in person.looks)
        return found[(9 * len(found)) // 10] if found else -1.0  # at its best, but for flukes

    best = max(people, key=likeness)
    others = [likeness(person) for person in people if person is not best]
    if others and (likeness(best) < SIMILAR or likeness(best) - max(others) < 0.1):
        logger.warning(
            "The face most like the picture is %.2f alike, the next %.2f (1 is the same): look whether it is the right "
            "one, or choose it by its place.", likeness(best), max(others),
        )  # fmt: skip
    return best


def faces_in(
    faces: list[SeenFace],
    mask: Tensor,  # [H, W] 0..1
) -> list[SeenFace]:
    """The faces whose middle the mask covers."""
    height, width = mask.shape
    kept = []
    for face in faces:
        x, y = (int(v) for v in face.centre)
        if 0 <= x < width and 0 <= y < height and mask[y, x] > 0.5:
            kept.append(face)
    return kept
