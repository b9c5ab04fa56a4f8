"""Which of a picture's faces is meant."""

from __future__ import annotations

from torch import Tensor

from .landmarks import FaceBox, detect_faces, largest_face

FACES = ("largest", "leftmost", "second from left", "third from left", "fourth from left", "rightmost")

WANTED_FACE = (
    "Give a picture in which a face is seen from the front or half from the side, at least a twentieth of the picture "
    "wide."
)


def require_face(
    images: Tensor,  # [F, H, W, 3] 0..1
    name: str,  # of their file
) -> None:
    """Look for a face before long work begins: as many pictures as it takes to find one.

    Raises:
        ValueError: there is none.
    """
    if not any(detect_faces(image[None].float())[0] for image in images):
        raise ValueError(f"No face was found in {name}. {WANTED_FACE}")


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
