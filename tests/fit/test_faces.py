"""Which of several faces is taken."""

from __future__ import annotations

import pytest
import torch

from expportrait_core.fit import FaceBox, choose_face, detect_landmarks, faces_in

SMALL_LEFT, LARGE_MIDDLE, SMALL_RIGHT = (
    FaceBox(torch.tensor(box, dtype=torch.float32), 0.9, torch.zeros(6, 2))
    for box in ([0, 0, 10, 10], [20, 0, 60, 40], [70, 10, 80, 20])
)
FACES = [LARGE_MIDDLE, SMALL_RIGHT, SMALL_LEFT]


@pytest.mark.parametrize(("which", "expected"), [
    ("largest", LARGE_MIDDLE), ("leftmost", SMALL_LEFT), ("second from left", LARGE_MIDDLE),
    ("third from left", SMALL_RIGHT), ("fourth from left", None), ("rightmost", SMALL_RIGHT),
])  # fmt: skip
def test_every_choice(which: str, expected: FaceBox | None) -> None:
    assert choose_face(FACES, which) is expected
    assert choose_face([], which) is None


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="prettiest"):
        choose_face(FACES, "prettiest")


def test_a_mask_leaves_out_the_other_faces(astronaut) -> None:
    mask = torch.zeros(50, 90)
    mask[:, 65:] = 1
    assert faces_in(FACES, mask) == [SMALL_RIGHT]
    assert detect_landmarks(astronaut, mask=torch.zeros(1, 512, 512)).max() == 0
    with pytest.raises(ValueError, match="mask"):
        detect_landmarks(astronaut, mask=torch.zeros(1, 64, 64))
