"""Numbered frames: which there are, who is in them, and their values as one array over time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...printable import log_of
from ...types import LAST_NUMBER
from ..refusal import InRow, Refusal, of_file
from .values import HUGE, kind_of, numbers, require_finite, value_of

MOST_COEFFICIENTS = 1000  # of shape or expression; SMPL-X and FLAME have 400 in all

log = log_of(__name__)


@dataclass(frozen=True)
class Frame:
    """One file of one frame."""

    number: int
    path: Path


def numbered(folder: Path, names: Iterable[str], pattern: str) -> list[Frame]:
    """The names that match `pattern` (its first group is the number), in the order of their numbers.

    Raises:
        ValueError: none matches, or two files are the same frame.
    """
    return in_order(folder, [(int(m[1]), m[0]) for m in map(re.compile(pattern).fullmatch, names) if m])


def in_order(folder: Path, found: Iterable[tuple[int, str]]) -> list[Frame]:
    """Frames by number. Gaps keep the frames that exist, and are logged."""
    frames = sorted((Frame(number, folder / name) for number, name in found), key=lambda frame: frame.number)
    if not frames:
        raise Refusal(f"{folder.name} has no frames. Track the clip again, or choose another folder.")
    if frames[-1].number > LAST_NUMBER:
        raise Refusal(
            f"{frames[-1].path.name} is called frame {frames[-1].number}, which no clip has. Rename it, or remove it "
            f"from {folder.name}."
        )
    for before, after in zip(frames, frames[1:]):
        if before.number == after.number:
            raise Refusal(
                f"{before.path.name} and {after.path.name} are both frame {after.number}: {folder.name} is mixed from "
                f"two clips. Give each its own folder."
            )
    warn_gaps(folder.name, [frame.number for frame in frames])
    return frames


def warn_gaps(name: str, numbers: Sequence[int]) -> None:
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if missing > 0:
        first = next(a for a, b in zip(numbers, numbers[1:]) if b != a + 1) + 1
        log.warning("%s lacks %d of its frames, the first is %d. The others keep their numbers.", name, missing, first)


def read_all(frames: Sequence[Frame], read: Callable[[Path], Any]) -> list[Any]:
    """The content of every frame, each a dictionary."""
    contents = [of_file(read, frame.path) for frame in frames]
    for frame, content in zip(frames, contents, strict=True):
        if not isinstance(content, dict):
            raise Refusal(
                f"{frame.path.name} holds {kind_of(content)}, expected one frame's named values. "
                "It is damaged; track the clip again."
            )
    return contents


def choose_person(people: Sequence[tuple[int, int]], person: int | None, name: str) -> int:
    """The person to read out of (frame, person) pairs: the given one, or the one in most frames."""
    counts = Counter(who for _, who in people)
    if not counts:
        raise Refusal(f"{name} has no frames. Track the clip again, or choose another folder.")
    if person is None:
        # of two in equally many frames the first, so that the choice does not depend on the order of files
        person = min(counts, key=lambda who: (-counts[who], who))
        if len(counts) > 1:
            found = ", ".join(f"{who} in {counts[who]}" for who in sorted(counts))
            log.warning("%s has several people (frames: %s). Person %d is read; choose with `person`.",
                        name, found, person)  # fmt: skip
    if person not in counts:
        raise Refusal(f"{name} has no person {person}. It has {', '.join(map(str, sorted(counts)))}.")
    return person


def stack(
    contents: Sequence[Any],
    frames: Sequence[Frame],
    key: str,  # "flame.exp" is a value within a value
    *shape: int,  # of one frame; extra axes of length 1 are dropped
) -> np.ndarray:
    """[F, *shape] of one value of every frame, in double precision and finite."""
    rows = np.empty((len(contents), *shape))
    size = rows[0].size
    for row, content, frame in zip(rows, contents, frames, strict=True):
        value = numbers(value_of(content, key, frame.path.name), f"{frame.path.name}: {key}")
        if value.size != size:
            raise Refusal(
                f"{frame.path.name}: {key} has shape {list(value.shape)}, expected {list(shape)}. The file is damaged, "
                f"or the folder is mixed from two trackers."
            )
        row[...] = value.reshape(shape)
    wrong = ~(np.abs(rows.reshape(len(rows), size)) < HUGE).all(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        require_finite(rows[row], f"{frames[row].path.name}: {key}")
    return rows


def how_many(contents: Sequence[Any], frames: Sequence[Frame], key: str) -> int:
    """How many coefficients trackers write that let the user choose: as many as the first frame has."""
    what = f"{frames[0].path.name}: {key}"
    count = numbers(value_of(contents[0], key, frames[0].path.name), what).size
    if count > MOST_COEFFICIENTS:
        raise Refusal(
            f"{what} holds {count:,} values, expected at most {MOST_COEFFICIENTS:,} coefficients. The file is damaged."
        )
    return count


def stacked_turns(
    convert: Callable[[np.ndarray], np.ndarray],  # from [F, *shape], see `rotations.py`
    contents: Sequence[Any],
    frames: Sequence[Frame],
    key: str,
    *shape: int,
) -> np.ndarray:
    """[F, ..., 3] axis-angle of one value of every frame. What is no rotation is refused by the name of its file."""
    try:
        return convert(stack(contents, frames, key, *shape))
    except InRow as error:
        raise Refusal(f"{frames[error.row].path.name}: {key}: {error.said}") from error


def eyelids_of(contents: Sequence[Any], frames: Sequence[Frame], key: str) -> np.ndarray | None:
    """[F, 2] how far the person's left and right eye are closed, None where the tracker's version writes none.

    metrical-tracker's `l_eyelid` and `r_eyelid` shapes, which Pixel3DMM and EHM-Tracker took over: they are added to
    FLAME's surface beside the expressions, the first value is of the eye at +x, and 1 brings the upper lid 9.3 mm
    down, which closes it. The trackers do not bound them; below 0 the eye is wider open.
    """
    part, _, name = key.partition(".")
    group = contents[0].get(part, {})
    if isinstance(group, dict) and name not in group:
        return None
    return stack(contents, frames, key, 2)


def picture_numbers(names: Sequence[str]) -> list[int]:
    """Frame numbers out of the names of pictures: the last digits in each, or their order where those do not differ."""
    found = [re.search(r"(\d+)(?!.*\d)", name) for name in names]
    numbers_ = [int(match[1]) for match in found if match]
    return numbers_ if len(set(numbers_)) == len(names) else list(range(len(names)))
