"""Which of a picture's faces is meant."""

from __future__ import annotations

from torch import Tensor

from .landmarks import FaceBox, largest_face

FACES = ("largest", "leftmost", "second from left", "third from left", "fourth from left", "rightmost")


def choose_face(faces: list[FaceBox], which: str = "largest") -> FaceBox | None:
    """One of a picture's faces, None if there is no such face.

    Raises:
        ValueError: an unknown choice.
    """
    if which not in FACES:
        raise ValueError(f"The face is '{which}', expected one of {', '.join(FACES)}.")
    if which == "largest" or not faces:
        return largest_face(faces)
    from_left = sorted(faces, key=lambda face: float(face.box[0] + face.box[2]))
    if which == "rightmost":
        return from_left[-1]
    number = FACES.index(which) - FACES.index("leftmost")
    return from_left[number] if number < len(from_left) else None


def faces_in(
    faces: list[FaceBox],
    mask: Tensor,  # [H, W] 0..1
) -> list[FaceBox]:
    """The faces whose middle the mask covers."""
    height, width = mask.shape
    kept = []
    for face in faces:
        x, y = (int(v) for v in (face.box[:2] + face.box[2:]) / 2)
        if 0 <= x < width and 0 <= y < height and mask[y, x] > 0.5:
            kept.append(face)
    return kept
