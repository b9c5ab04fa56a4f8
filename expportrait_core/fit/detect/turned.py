"""Pictures that lie on their side or stand on their head, as a phone's clips do whose turn was lost.

The solver is given an upright face: landmarks are turned back by quarter turns, and the camera is turned in their
stead. So the head sits straight on its neck, whatever way the picture lies, and what the fit says of nods and turns of
the head is the same as of the upright picture.
"""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor

TURNED = math.radians(60)  # a face that is tilted by more lies in a picture that is turned; our choice

log = logging.getLogger(__name__)


def quarter_turns(
    tilt: Tensor,  # [F] radians of faces in the picture, clockwise as one looks at it
) -> int:
    """By how many quarters, clockwise, the pictures of a clip are turned: 0 to 3."""
    whole = float(torch.atan2(tilt.sin().median(), tilt.cos().median()))
    return 0 if abs(whole) <= TURNED else round(whole / (math.pi / 2)) % 4


def turned_size(size: tuple[int, int], quarters: int) -> tuple[int, int]:
    """Height and width of a picture after so many quarters."""
    return size if quarters % 2 == 0 else (size[1], size[0])


def turned_back(
    landmarks: Tensor,  # [F, L, 3] x, y in pixels and confidence
    size: tuple[int, int],  # height, width
    quarters: int,
) -> Tensor:
    """The landmarks in the picture that is turned back by so many quarters."""
    height, width = turned_size(size, quarters)
    here, there = landmarks.new_tensor([size[1] / 2, size[0] / 2]), landmarks.new_tensor([width / 2, height / 2])
    pixels = (landmarks[..., :2] - here) @ _clockwise(quarters).to(landmarks) + there
    return torch.cat([torch.where(landmarks[..., 2:] > 0, pixels, 0.0), landmarks[..., 2:]], -1)


def turned_camera(
    world_to_camera: Tensor,  # [F, 4, 4] of a camera whose axis goes through the middle of the picture
    quarters: int,
) -> Tensor:
    """The camera that sees the picture turned by so many quarters, clockwise."""
    turn = torch.eye(4)
    turn[:2, :2] = _clockwise(quarters)
    return turn.to(world_to_camera) @ world_to_camera


def warn_of_turn(quarters: int) -> None:
    """Say in a sentence that the picture lies the wrong way, and what that means."""
    if quarters:
        degrees, way = {1: (90, " clockwise"), 2: (180, ""), 3: (90, " counter-clockwise")}[quarters]
        log.warning(
            "The picture seems to be turned by %d degrees%s. The head is fitted as it lies; turn the picture upright "
            "first if what is made of it is to be upright.", degrees, way,
        )  # fmt: skip


def _clockwise(quarters: int) -> Tensor:
    """[2, 2] rotation of columns (x, y), y down."""
    cos, sin = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[quarters]
    return torch.tensor([[cos, -sin], [sin, cos]])
