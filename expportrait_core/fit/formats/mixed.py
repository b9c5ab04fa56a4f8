"""Folders that hold frames of two people, two clips or two picture sizes: refused by the frame that does not belong.

Only for what a tracker writes alike into every frame. Where it estimates a shape from each picture anew, frames differ
and the mean is taken.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...printable import log_of
from ..refusal import Refusal
from .frames import Frame, stack
from .values import SHAPE_JUMP, SMALLEST_JUMP, another_shape, picture_size, shape_values, value_of

STRANGER = 5  # times the usual distance of a shape from the median of all, beyond which it is another's. Our choice
FEWEST = 5  # frames that say what is usual

log = log_of(__name__)


def one_shape(contents: Sequence[Any], frames: Sequence[Frame], key: str, values: int | None = None) -> np.ndarray:
    """[B] the person's shape, which the tracker writes into every frame: the median, should it have refined it.

    Raises:
        Refusal: from one frame to the next it becomes another person's.
    """
    shapes = []
    for content, frame in zip(contents, frames, strict=True):
        what = f"{frame.path.name}: {key}"
        shapes.append(shape_values(value_of(content, key, frame.path.name), what))
        values = values or len(shapes[0])
        if len(shapes[-1]) != values:
            raise Refusal(
                f"{what} holds {len(shapes[-1])} values, expected {values}. The file is damaged, or the folder is "
                f"mixed from two clips; give each its own."
            )
    shapes = np.array(shapes)
    odd = another_shape(shapes)
    if odd is None:
        return np.median(shapes, axis=0)
    raise Refusal(
        f"{frames[odd].path.name}: {key} is another person's than in the other frames, expected one person in all. "
        f"{frames[odd].path.parent.name} is mixed from two clips; give each its own folder, or remove that file."
    )


def shapes_of(contents: Sequence[Any], frames: Sequence[Frame], key: str, values: int) -> np.ndarray:
    """[F, B] shapes of a tracker that estimates them from each picture anew; a frame that is far from all others is
    logged."""
    shapes = stack(contents, frames, key, values)
    usual = np.median(shapes, axis=0)
    away = np.linalg.norm(shapes - usual, axis=1)
    limit = max(STRANGER * np.median(away), SHAPE_JUMP * np.linalg.norm(usual), SMALLEST_JUMP)
    odd = int(away.argmax()) if len(shapes) >= FEWEST else 0
    if away[odd] > limit:
        path = frames[odd].path
        log.warning("%s/%s: %s differs from the other frames more than %d times as much as those do from each other. "
                    "Where it is of another person, remove that frame.", path.parent.name, path.name, key,
                    STRANGER)  # fmt: skip
    return shapes


def one_size(contents: Sequence[Any], frames: Sequence[Frame], key: str) -> tuple[int, int]:
    """The size of the pictures, in the order in which it is written, of all frames.

    Raises:
        Refusal: one frame's pictures are of another size: its camera would be that of another picture.
    """
    found = [picture_size(value_of(content, key, frame.path.name), f"{frame.path.name}: {key}")
             for content, frame in zip(contents, frames, strict=True)]  # fmt: skip
    return same_size(found, frames, key)


def same_size(sizes: Sequence[tuple[int, int]], frames: Sequence[Frame], what: str) -> tuple[int, int]:
    """The size that all frames have. Raises as `one_size`."""
    counts = Counter(sizes)
    usual = max(counts, key=counts.get)  # of two in equally many frames the first
    odd = next((row for row, size in enumerate(sizes) if size != usual), None)
    if odd is None:
        return usual
    raise Refusal(
        f"{frames[odd].path.name}: {what} is {sizes[odd][0]}×{sizes[odd][1]} in frame {frames[odd].number}, and "
        f"{usual[0]}×{usual[1]} in {counts[usual]} of {len(sizes)} frames, expected one size in all. Give the frames "
        f"of each size their own folder."
    )


def warn_names(names: Sequence[str], folder: str) -> None:
    """Frames whose names differ in more than their last number may be of several clips, whose numbers mix."""
    clips = Counter(re.sub(r"\d+\D*$", "", name) for name in names)
    if len(clips) > 1 and max(clips.values()) > 1:
        found = ", ".join(f"{clip or 'a number'}… ({count})" for clip, count in sorted(clips.items())[:4])
        log.warning("%s holds frames whose names begin differently: %s. Where they are of several clips, give each its "
                    "own folder.", folder, found)  # fmt: skip
