"""SMPTE timecodes of a recording, one a row, to frames per second and frame numbers.

Live Link Face writes `hours:minutes:seconds:frames.fraction`, at the rate of its timecode, which may be lower than the
rate at which the face is tracked: then two rows share a timecode. A semicolon before the frames means drop-frame time
(SMPTE 12M): at 30 frames a second the *numbers* 0 and 1 are left out at every minute but each tenth, so that the clock
keeps up with 29.97 pictures a second; no picture is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..refusal import Refusal
from .frames import warn_gaps

RATES = (24.0, 25.0, 30.0, 48.0, 50.0, 60.0)
USUAL = 60.0  # of the app
DAY, HALF_DAY = 86_400, 43_200  # seconds
DROPPED = {30.0: 2, 60.0: 4}  # numbers left out at a minute
NTSC = 1000 / 1001
NEAR = 0.04  # of a known rate, within which a measured one is meant to be it. Our choice
TIMECODE = re.compile(r"(\d{1,2})[:;](\d{1,2})[:;](\d{1,2})([:;])(\d{1,3}(?:\.\d*)?)")


def timing(cells: Sequence[str], name: str) -> tuple[float, np.ndarray]:
    """Frames per second, and the number of every frame, counted by its time; rows without a time are counted.

    Raises:
        Refusal: the times go back.
    """
    count = len(cells)
    parts = [TIMECODE.fullmatch(cell) for cell in cells]
    if not parts or not all(parts):
        return USUAL, np.arange(count)
    clock = np.array([[float(part[group]) for group in (1, 2, 3, 5)] for part in parts])
    drop_frame = any(part[4] == ";" for part in parts)
    times, nominal = _seconds(clock, drop_frame)
    times = times + DAY * np.cumsum(np.diff(times, prepend=times[0]) < -HALF_DAY)  # past midnight
    back = np.diff(times) < -1e-6
    if back.any():
        row = int(back.argmax()) + 1
        raise Refusal(
            f"{name} goes back in time: row {row + 2} is of {cells[row]}, after {cells[row - 1]}. Its rows are out of "
            f"order; export it again."
        )
    distinct, group = np.unique(np.round(times, 6), return_inverse=True)
    sharing = _sharing(group)
    if len(distinct) == 1:
        return nominal, np.arange(count)
    if sharing > 1:  # several rows share a timecode, which counts more slowly than the face was tracked
        rate = _rate(distinct, nominal, drop_frame)
        place = np.arange(count) - np.searchsorted(group, group)  # within the timecode
        numbers = np.round((distinct - distinct[0]) * rate).astype(np.int64)[group] * sharing + place
        # the first timecode may have begun before the recording: its rows are its last
        numbers[group == 0] += sharing - int((group == 0).sum())
        rate *= sharing
    else:
        rate = _rate(times, nominal, drop_frame)
        numbers = np.round((times - times[0]) * rate).astype(np.int64)
    numbers -= numbers[0]
    if (np.diff(numbers) < 1).any():  # more rows than frames of that rate: no times to go by
        return rate, np.arange(count)
    warn_gaps(name, numbers.tolist())
    return rate, numbers


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


def _rate(times: np.ndarray, nominal: float, drop_frame: bool) -> float:
    """Frames per second by the usual step between the times."""
    if len(times) < 2:
        return nominal
    step = np.median(np.diff(times))
    known = [rate * NTSC for rate in DROPPED] if drop_frame else RATES
    near = min(known, key=lambda rate: abs(rate - 1 / step))
    return near if abs(near * step - 1) < NEAR else float(1 / step)
