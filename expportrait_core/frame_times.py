"""When a clip's frames are shown: at even steps, or not, as phones, screen recorders and video calls write them.

All that comes after takes a clip's frames to be evenly spread. So a clip whose frames are not is read at the instants
of an even grid, each time the frame that is nearest: some are left out then, others come more than once, and nothing
moves too early or too late.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

OFF = 0.5  # frames that one may be away from its place in an even clip; our choice
USUAL = 0.25  # share by which steps between frames may differ from the middle one and count as the usual ones; ours
MOST_REPEATED = 10  # times as many frames as the clip has: beyond that its times are wrong; our choice


@dataclass(frozen=True)
class EvenGrid:
    """How a clip of uneven times is read at even ones."""

    fps: float
    times_shown: dict[int, int]  # by the time stamp of a frame, 0 where it is left out

    @property
    def num_frames(self) -> int:
        return sum(self.times_shown.values())

    @property
    def left_out(self) -> int:
        return sum(times == 0 for times in self.times_shown.values())

    @property
    def repeats(self) -> int:
        return sum(max(times - 1, 0) for times in self.times_shown.values())


def are_even(
    stamps: Sequence[int],  # of the frames, ascending
) -> bool:
    """Whether no frame is more than half a frame, and the rounding to whole stamps, away from its place."""
    if len(stamps) < 3:
        return True
    first, last = stamps[0], stamps[-1]
    step = (last - first) / (len(stamps) - 1)
    return all(abs(stamp - (first + i * step)) <= OFF * step + 1 for i, stamp in enumerate(stamps))


def even_rate(
    stamps: Sequence[int],  # of the frames of an even clip, ascending
    time_base: Fraction,  # seconds of one stamp
    said: float,  # frames per second, by the file's header
) -> float:
    """The frames per second: the header's, unless it moves the last frame away from its time (a GIF's is a guess)."""
    seconds = float((stamps[-1] - stamps[0]) * time_base) if stamps else 0.0
    if seconds <= 0 or abs((len(stamps) - 1) / said - seconds) <= OFF / said + float(time_base):
        return said
    return (len(stamps) - 1) / seconds


def even_grid(
    stamps: Sequence[int],  # of the frames, ascending
    time_base: Fraction,  # seconds of one stamp
) -> EvenGrid | None:
    """The grid for such a clip, as fine as the clip's usual step between frames.

    None if the stamps are wrong: they stand still, or jump so far that most of the clip would be one frame.
    """
    steps = sorted(b - a for a, b in zip(stamps, stamps[1:]))
    middle = steps[len(steps) // 2]
    usual = [step for step in steps if abs(step - middle) <= USUAL * middle]
    step = sum(usual) / len(usual)
    if step <= 0 or (stamps[-1] - stamps[0]) / step > MOST_REPEATED * len(stamps):
        return None
    count = int((stamps[-1] - stamps[0]) / step + 0.5) + 1
    shown = Counter(_nearest(stamps, stamps[0] + i * step) for i in range(count))
    return EvenGrid(float(1 / (Fraction(step) * time_base)), {stamp: shown[stamp] for stamp in stamps})


def about_grid(grid: EvenGrid | None, num_frames: int) -> str:
    """What is said of a clip of so many frames that is read like that, after its name."""
    if grid is None:
        read = f"Its times jump too far to be right, so its {num_frames} frames are taken to be evenly spread."
    else:
        read = (
            f"It is read at an even one of {grid.fps:.4g} frames per second, so that it keeps its timing: of its "
            f"{num_frames} frames {grid.left_out} are left out, and {grid.repeats} copies fill its gaps."
        )
    return f"has a variable frame rate. {read} Export it at a constant one for even motion."


def _nearest(stamps: Sequence[int], instant: float) -> int:
    after = min(bisect_left(stamps, instant), len(stamps) - 1)
    return min(stamps[max(after - 1, 0)], stamps[after], key=lambda stamp: abs(stamp - instant))
