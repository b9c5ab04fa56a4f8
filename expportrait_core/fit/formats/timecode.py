"""The times of a recording, one a row, to frames per second and frame numbers.

Live Link Face writes `hours:minutes:seconds:frames.fraction`, at the rate of its timecode, which may be lower than the
rate at which the face is tracked: then two rows share a timecode. A semicolon before the frames means drop-frame time
(SMPTE 12M): at 30 frames a second the *numbers* 0 and 1 are left out at every minute but each tenth, so that the clock
keeps up with 29.97 pictures a second; no picture is dropped. Other apps write seconds or milliseconds.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..refusal import Refusal
from .frames import warn_gaps

RATES = (24.0, 25.0, 30.0, 48.0, 50.0, 60.0)
USUAL = 60.0  # of the app
DAY, HALF_DAY = 86_400, 43_200  # seconds
DROPPED = {30.0: 2, 60.0: 4}  # numbers left out at a minute
NTSC = 1000 / 1001
NEAR = 0.04  # of a known rate, within which a measured one is meant to be it. Our choice
UNITS_OF_TIME = (1.0, 1000.0)  # of a second: seconds and milliseconds
SHORTEST, LONGEST = 1 / 250, 1 / 2  # seconds between two frames. Our choice
MOST_TREMBLING = 2  # frames by which a time may be behind the row's place. Our choice
NUMBER = re.compile(r"\d+(\.\d*)?([eE][+-]?\d+)?")
TIMECODE = re.compile(r"(\d{1,2})[:;](\d{1,2})[:;](\d{1,2})([:;])(\d{1,3}(?:\.\d*)?)")

log = logging.getLogger(__name__)


class Timing(NamedTuple):
    """When the rows of a table were recorded."""

    fps: float
    numbers: np.ndarray  # [F'] of the frames, rising, the first is 0
    kept: np.ndarray  # [F'] the rows that are frames: all but those that were written twice


def timing(
    cells: Sequence[str],  # F times, "" where a row has none
    repeated: np.ndarray,  # [F] whether a row is, cell for cell, the one before it
    name: str,  # of the file
) -> Timing:
    """Frames per second, and the number of every frame, counted by its time.

    The times are timecodes, seconds or milliseconds. One that cannot be read lies between those of its neighbours;
    without any the rows are counted. Whatever is not as it should be is told in a warning.

    Raises:
        Refusal: the times go back.
    """
    rows = np.arange(len(cells))
    counted = Timing(USUAL, rows, rows)
    if not any(cells):
        log.warning("%s has no times. 60 frames a second are taken, as Live Link Face writes; give `fps` if it has "
                    "others.", name)  # fmt: skip
        return counted
    times, nominal, drop_frame = _times(cells)
    read = np.isfinite(times)
    if nominal is None or 2 * read.sum() < len(cells):
        log.warning("%s: the times of its rows, such as '%s', are neither timecodes nor seconds. 60 frames a second "
                    "are taken; give `fps` if it has others.", name, next(filter(None, cells)))  # fmt: skip
        return counted
    _require_rising(times, cells, name)
    distinct = np.unique(np.round(times[read], 6))
    if len(distinct) == 1:
        return counted._replace(fps=nominal)
    sharing = _sharing(np.unique(np.round(times[read], 6), return_inverse=True)[1])
    if not read.all():
        first = int(read.argmin())
        log.warning("%s: the times of %d rows cannot be read, the first is row %d ('%s'). They are taken to lie "
                    "between those beside them.", name, (~read).sum(), first + 2, cells[first])  # fmt: skip
        times = _with_neighbours(times, sharing)
    kept = rows
    if sharing == 1 and repeated.any():
        kept = rows[~repeated]
        log.warning("%s holds %d rows twice, the first is row %d. Each is taken once.",
                    name, repeated.sum(), repeated.argmax() + 2)  # fmt: skip
    rate, numbers = _numbered(times[kept], sharing, nominal, drop_frame)
    if numbers is None:  # more rows than frames of that rate: no times to go by
        log.warning("%s has more rows than its times have room for at %g frames per second. They are counted.",
                    name, rate)  # fmt: skip
        return Timing(rate, np.arange(len(kept)), kept)
    warn_gaps(name, numbers.tolist())
    return Timing(rate, numbers, kept)


def _times(cells: Sequence[str]) -> tuple[np.ndarray, float | None, bool | None]:
    """[F] seconds, NaN where a cell cannot be read; how many are counted in a second, None where that is not known; and
    whether they are drop-frame timecodes, None where they are no timecodes."""
    times = np.full(len(cells), np.nan)
    parts = [TIMECODE.fullmatch(cell) for cell in cells]
    if any(parts):
        read = np.array([part is not None for part in parts])
        clock = np.array([[float(part[group]) for group in (1, 2, 3, 5)] for part in parts if part])
        drop_frame = any(part[4] == ";" for part in parts if part)
        seconds, nominal = _seconds(clock, drop_frame)
        times[read] = seconds + DAY * np.cumsum(np.diff(seconds, prepend=seconds[0]) < -HALF_DAY)  # past midnight
        return times, nominal, drop_frame
    for row, cell in enumerate(cells):
        if NUMBER.fullmatch(cell):
            times[row] = float(cell)
    steps = np.diff(times[np.isfinite(times)])
    step = np.median(steps[steps > 0]) if (steps > 0).any() else 0.0
    unit = next((unit for unit in UNITS_OF_TIME if SHORTEST <= step / unit <= LONGEST), None)
    return (times, None, None) if unit is None else (times / unit, unit / step, None)


def _require_rising(times: np.ndarray, cells: Sequence[str], name: str) -> None:
    rows = np.isfinite(times).nonzero()[0]
    back = np.diff(times[rows]) < -1e-6
    if back.any():
        before, row = rows[int(back.argmax())], rows[int(back.argmax()) + 1]
        raise Refusal(
            f"{name} goes back in time: row {row + 2} is of {cells[row]}, after {cells[before]}. Its rows are out of "
            f"order; export it again."
        )


def _with_neighbours(times: np.ndarray, sharing: int) -> np.ndarray:
    """Times for the rows that have none: evenly between the neighbours', or, where rows share a time, that of the row
    before while it has not been shared as often as is usual, and else that of the row after."""
    rows = np.arange(len(times))
    read = np.isfinite(times)
    if sharing == 1:
        step = np.median(np.diff(times[read]) / np.diff(rows[read]))
        filled = np.interp(rows, rows[read], times[read])
        first, last = rows[read][0], rows[read][-1]
        return filled + step * (np.minimum(rows - first, 0) + np.maximum(rows - last, 0))
    filled = times.copy()
    for row in rows[~read]:
        before = filled[row - 1] if row else np.nan
        after = next((time for time in times[row:] if np.isfinite(time)), before)
        full = np.isnan(before) or (np.abs(filled[:row] - before) < 1e-6).sum() >= sharing
        filled[row] = after if full else before
    return filled


def _numbered(
    times: np.ndarray,  # [F] seconds, none before the one before it
    sharing: int,
    nominal: float,
    drop_frame: bool | None,
) -> tuple[float, np.ndarray | None]:
    """Frames per second, and frame numbers [F] from 0, None where the times have no room for so many."""
    distinct, group = np.unique(np.round(times, 6), return_inverse=True)
    rate, counted = _rate(distinct if sharing > 1 else times, nominal, drop_frame)
    numbers = np.round((distinct - distinct[0]) * counted).astype(np.int64)[group]
    if sharing > 1:  # several rows share a timecode, which counts more slowly than the face was tracked
        numbers = numbers * sharing + np.arange(len(times)) - np.searchsorted(group, group)  # its place in the timecode
        # the first timecode may have begun before the recording: its rows are its last
        numbers[group == 0] += sharing - int((group == 0).sum())
        rate *= sharing
    ahead = np.arange(len(numbers))
    rising = np.maximum.accumulate(numbers - ahead) + ahead  # times tremble: two may fall on one number
    if (rising - numbers).max() > MOST_TREMBLING:
        return rate, None
    return rate, rising - rising[0]


def _seconds(clock: np.ndarray, drop_frame: bool) -> tuple[np.ndarray, float]:
    """[F] seconds of hours, minutes, seconds and frames [F, 4], and the rate at which they count."""
    most = clock[:, 3].max()
    nominal = next((rate for rate in RATES if rate > np.floor(most)), float(np.ceil(most + 1)))
    if len(np.unique(clock[:, 2])) == 1 and len(np.unique(clock[:, 3])) == len(clock):
        nominal = max(nominal, USUAL)  # less than a second was recorded: the app's usual rate
    seconds = clock[:, :3] @ [3600, 60, 1]
    dropped = DROPPED.get(nominal, 0) if drop_frame else 0
    if not dropped:
        return seconds + clock[:, 3] / nominal, nominal
    minutes = clock[:, 0] * 60 + clock[:, 1]
    frames = seconds * nominal + clock[:, 3] - dropped * (minutes - minutes // 10)
    return frames / (nominal * NTSC), nominal


def _sharing(group: np.ndarray) -> int:
    """How many rows share a timecode, where most of them do. The first and last may be cut."""
    counts = np.bincount(group)
    inner = counts[1:-1] if len(counts) > 2 else counts
    return max(int(np.median(inner)), 1)


def _rate(times: np.ndarray, nominal: float, drop_frame: bool | None) -> tuple[float, float]:
    """Frames per second by the usual step between the times: the known rate that is meant, and the one to count by,
    which is another where the times are no timecodes, because these keep to their rate."""
    if len(times) < 2:
        return nominal, nominal
    steps = np.diff(times)
    step = np.median(steps)
    if drop_frame is None:
        step = steps[np.abs(steps / step - 1) < 0.5].mean() if step > 0 else 1 / nominal
    known = [rate * NTSC for rate in DROPPED] if drop_frame else RATES
    near = min(known, key=lambda rate: abs(rate - 1 / step))
    meant = near if abs(near * step - 1) < NEAR else float(1 / step)
    return meant, float(1 / step) if drop_frame is None else meant
