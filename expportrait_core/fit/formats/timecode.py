"""The column of a recording that says when its rows were: timecodes, times of day, seconds, or numbers of frames.

Live Link Face writes `hours:minutes:seconds:frames.fraction`, at the rate of its timecode, which may be lower than the
rate at which the face is tracked: then two rows share a timecode. A semicolon before the frames means drop-frame time
(SMPTE 12M): at 30 frames a second the *numbers* 0 and 1 are left out at every minute but each tenth, so that the clock
keeps up with 29.97 pictures a second; no picture is dropped. Other apps write a plain number, of seconds or parts of
them, or the time of day.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

RATES = (24.0, 25.0, 30.0, 48.0, 50.0, 60.0)
USUAL = 60.0  # of the app
DROPPED = {30.0: 2, 60.0: 4}  # numbers left out at a minute
NTSC = 1000 / 1001
FASTEST, SLOWEST = 400.0, 4.0  # frames per second, by which a number's unit is told: they differ by a thousand
UNITS = (1.0, 1e-3, 1e-6, 1e-9)  # seconds
TIMECODE = re.compile(r"(\d{1,2})[:;]([0-5]?\d)[:;]([0-5]?\d)([:;])(\d{1,3}(?:\.\d*)?)")
CLOCK = re.compile(r"(?:\d{4}-\d\d-\d\d[T ])?(\d{1,2}):([0-5]?\d):([0-5]?\d(?:\.\d*)?)Z?")
NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")
COUNTERS = ("frame", "frames", "framenumber", "frameindex", "frameid", "frameno", "index")


class Times(NamedTuple):
    """When the rows were."""

    column: str
    cells: Sequence[str]
    kind: str  # "timecode" and "clock" begin again at midnight, "seconds" do not, "frames" count without a rate
    seconds: np.ndarray  # [F] of the day or since whenever, or frames; NaN where the cell cannot be read
    nominal: float | None = None  # at which a timecode counts
    known: bool = True  # whether that is what the timecode says
    drop_frame: bool = False
    unit: float = 1.0  # seconds of a plain number's 1


def read_times(columns: Mapping[str, Sequence[str]]) -> Times | None:
    """The first column of time, by its name, that tells rows apart; one that does not where there is no other."""
    found = [_of_column(key, columns[key]) for key in sorted(filter(_rank, columns), key=_rank)]
    found = [times for times in found if times is not None]
    apart = [times for times in found if len(np.unique(times.seconds[np.isfinite(times.seconds)])) > 1]
    return next(iter(apart or found), None)


def _rank(key: str) -> int:
    """The lower the better, and 0 for columns of other things."""
    plain = re.sub(r"[^a-z]", "", key.lower())
    if plain == "timecode":
        return 1
    if plain.startswith(("time", "elapsed", "seconds")):
        return 2
    return 3 if plain in COUNTERS else 0


def _of_column(key: str, cells: Sequence[str]) -> Times | None:
    """Cells of the kind that most of them are; the others cannot be read."""
    kinds = {"timecode": TIMECODE, "clock": CLOCK, "number": NUMBER}
    of_cells = [next((kind for kind, pattern in kinds.items() if pattern.fullmatch(cell)), "") for cell in cells]
    counts = Counter(kind for kind in of_cells if kind)
    if not counts:
        return None
    kind = max(counts, key=counts.get)
    read = np.array([of_cell == kind for of_cell in of_cells])
    parts = [kinds[kind].fullmatch(cell) for cell, taken in zip(cells, read, strict=True) if taken]
    seconds = np.full(len(cells), np.nan)
    if kind == "timecode":
        clock = np.array([[float(part[group]) for group in (1, 2, 3, 5)] for part in parts])
        drop_frame = any(part[4] == ";" for part in parts)
        nominal, known, sound = _nominal(clock)
        seconds[np.flatnonzero(read)[sound]] = _seconds(clock[sound], nominal, drop_frame)
        return Times(key, cells, kind, seconds, nominal, known, drop_frame)
    if kind == "clock":
        seconds[read] = [float(part[1]) * 3600 + float(part[2]) * 60 + float(part[3]) for part in parts]
        return Times(key, cells, kind, seconds)
    values = np.array([float(part[0]) for part in parts])
    unit = _unit(values)
    if unit is None:
        return None
    seconds[read] = values * (unit or 1.0)
    return Times(key, cells, "seconds" if unit else "frames", seconds, unit=unit)


def _nominal(clock: np.ndarray) -> tuple[float, bool, np.ndarray]:
    """The rate at which timecodes [F, 4] count, whether they show it, and which of them [F] are of that rate."""
    frames, sound = clock[:, 3], np.ones(len(clock), bool)
    moments = np.unique(clock[:, :3], axis=0)
    order = np.sort(np.floor(frames))
    if len(moments) > 2 and order[-1] >= 1.5 * _above(order[-2]):  # a single one that no other goes with
        sound = np.floor(frames) < order[-1]
    most = np.floor(frames[sound]).max()
    nominal = _above(most)
    if len(moments) > 1 or nominal >= USUAL:
        return nominal, len(moments) > 2 or most >= nominal - 1, sound
    # less than a second was recorded: at the app's usual rate
    rows = round(len(clock) / len(np.unique(frames)))
    return max(nominal, _above(USUAL / max(rows, 1) - 1)), False, sound


def _above(most: float) -> float:
    return next((rate for rate in RATES if rate > most), float(np.ceil(most + 1)))


def _seconds(clock: np.ndarray, nominal: float, drop_frame: bool) -> np.ndarray:
    """[F] seconds of hours, minutes, seconds and frames [F, 4]."""
    seconds = clock[:, :3] @ [3600, 60, 1]
    dropped = DROPPED.get(nominal, 0) if drop_frame else 0
    if not dropped:
        return seconds + clock[:, 3] / nominal
    minutes = clock[:, 0] * 60 + clock[:, 1]
    frames = seconds * nominal + clock[:, 3] - dropped * (minutes - minutes // 10)
    return frames / (nominal * NTSC)


def _unit(values: np.ndarray) -> float | None:
    """Seconds of 1, where the usual step is a frame of any camera's; 0 for numbers that count frames, and None for
    numbers of another meaning."""
    steps = np.abs(np.diff(values))
    steps = steps[steps > 0]
    if not len(steps):
        return 0.0
    step = float(np.median(steps))
    if step == 1 and (values == np.round(values)).all():
        return 0.0
    return next((unit for unit in UNITS if 1 / FASTEST <= step * unit <= 1 / SLOWEST), None)
