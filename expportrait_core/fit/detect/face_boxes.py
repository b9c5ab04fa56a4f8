"""Where faces are in a picture: boxes with a score and six points, and which of many guesses are one face.

Everything is in pixels from the top left corner: (0.5, 0.5) is the centre of the first pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

OVERLAP = 0.3  # of two boxes of one face, MediaPipe's value


@dataclass(frozen=True)
class FaceBox:
    """A face in a picture, pixels. Its tensors are on the CPU."""

    box: Tensor  # [4] x0, y0, x1, y1: forehead to chin; may reach beyond the picture
    score: float  # 0..1
    keypoints: Tensor  # [6, 2] right eye, left eye, nose tip, mouth, right ear, left ear; the person's right and left

    @property
    def side(self) -> float:
        """The longer side in pixels."""
        return float((self.box[2:] - self.box[:2]).max())


def largest_face(boxes: list[FaceBox]) -> FaceBox | None:
    """The face with the longest side, None if there is none."""
    return max(boxes, key=lambda face: face.side, default=None)


def require_boxes(boxes: list[FaceBox | None], num_frames: int) -> None:
    if len(boxes) != num_frames:
        raise ValueError(f"There are {num_frames} pictures and {len(boxes)} face boxes. Give one box, or None, each.")


def merge_overlapping(
    points: Tensor,  # [K, 8, 2]
    scores: Tensor,  # [K]
) -> list[FaceBox]:
    """MediaPipe's weighted non-maximum suppression: guesses that overlap the best one are averaged by their score."""
    faces = []
    while len(scores):
        best = int(scores.argmax())
        same = intersection_over_union(points[:, :2], points[best, :2]) > OVERLAP
        same[best] = True  # also if its box is empty
        weight = scores[same] / scores[same].sum()
        mean = (points[same] * weight[:, None, None]).sum(dim=0)
        faces.append(FaceBox(mean[:2].reshape(4), float(scores[best]), mean[2:]))
        points, scores = points[~same], scores[~same]
    return faces


def beside(faces: list[FaceBox], known: Sequence[FaceBox]) -> list[FaceBox]:
    """The faces that are none of those known: the middle of neither lies in the other's box."""
    return [face for face in faces if not any(_holds(face, other) or _holds(other, face) for other in known)]


def _holds(face: FaceBox, other: FaceBox) -> bool:
    centre = (other.box[:2] + other.box[2:]) / 2
    return bool(((centre > face.box[:2]) & (centre < face.box[2:])).all())


def intersection_over_union(
    boxes: Tensor,  # [K, 2, 2] corners
    other: Tensor,  # [2, 2]
) -> Tensor:  # [K]
    shared = (torch.minimum(boxes[:, 1], other[1]) - torch.maximum(boxes[:, 0], other[0])).clamp(min=0).prod(dim=-1)
    areas = (boxes[:, 1] - boxes[:, 0]).prod(dim=-1) + (other[1] - other[0]).prod()
    return shared / (areas - shared).clamp(min=1e-9)
