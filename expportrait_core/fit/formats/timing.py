"""From the times of a recording's rows to its frame rate and the number of every row's frame.

Rates, gaps, rows that go back and rows that are there twice are judged by the rows whose times can be read; the others
lie between those around them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...printable import log_of
from ..refusal import Refusal
from .frames import warn_gaps
from .timecode import DROPPED, NTSC, RATES, USUAL, Times, read_times

DAY, HALF_DAY, LONGEST_STEP = 86_400, 43_200, 3_600  # seconds; no take pauses for an hour
NEAR = 0.04  # of a known rate, within which a timecode's steps are meant to be it. Our choice
EXACT = 0.005  # the same of times that were measured. Our choice
SAME = 0.25  # of a frame, within which two rows are of one. Our choice
FORGOTTEN = 0.9  # of a row's deviation that the next one still knows: clocks drift
OUT = np.iinfo(np.int64).min  # instead of the number of a row that is left out
FEWEST_GROUPS = 8  # timecodes, from which on their mean number of rows counts

log = log_of(__name__)


class Timing(NamedTuple):
    """When the frames are."""

    fps: float
    frame_ids: np.ndarray  # [K] of the rows that are kept, from 0
    kept: np.ndarray  # [F] False for rows that are there twice


def timing(
    columns: Mapping[str, Sequence[str]],
    repeated: np.ndarray,  # [F] whether a row holds the same face as the one before
    name: str,
    fps: float | None = None,  # where the user says it
) -> Timing:
    """Rate and numbers, and which rows to leave out. Whatever is not as it should be is logged by its row.

    Raises:
        Refusal: the times go back, or on by hours.
    """
    count = len(repeated)
    times = read_times(columns)
    if times is None:
        return _by_order(count, name, fps, "it has no times")
    rows = np.flatnonzero(np.isfinite(times.seconds))
    if len(rows) < count and len(rows):
        lost = np.flatnonzero(~np.isfinite(times.seconds))
        log.warning("%s: %s cannot be read in %s ('%s'): the time follows from the rows around.", name, times.column,
                    _rows(lost), times.cells[lost[0]])  # fmt: skip
    moments = _in_order(times, rows, name)
    if len(np.unique(moments)) < 2:
        return _by_order(count, name, fps, f"{times.column} is {times.cells[rows[0]]} in all rows" if len(rows) > 1
                         else "it has one time")  # fmt: skip
    rate, share = _rates(moments, rows, times)
    numbers = np.full(count, OUT)
    if share > 1:
        whole = _with_unread(moments, rows, count, rate, share)
        numbers = _shared(whole, rate, share, repeated)
    else:
        numbers[rows] = _counted(moments, rate, repeated[rows])
        numbers = _between(numbers, rows)
    kept = numbers != OUT
    if not kept.all():
        log.warning("%s: %s of the same time as the rows before, and left out.", name,
                    _rows(np.flatnonzero(~kept), True))  # fmt: skip
    ids = numbers[kept] - numbers[kept][0]
    measured = kept[rows]
    found, ids = _measured(moments[measured], numbers[rows][measured], ids, (rate, share), times, name)
    if fps is None and (times.kind == "frames" or not times.known):
        found = USUAL if times.kind == "frames" else found
        log.warning("%s does not say its frame rate: %g frames per second are taken. Give `fps` where it was another.",
                    name, found)  # fmt: skip
    warn_gaps(name, ids.tolist())
    return Timing(found, ids, kept)


def _by_order(count: int, name: str, fps: float | None, why: str) -> Timing:
    if fps is None:
        log.warning("%s does not say its frame rate, for %s: its rows are counted, and %g frames per second are taken. "
                    "Give `fps` where it was another.", name, why, USUAL)  # fmt: skip
    return Timing(USUAL, np.arange(count), np.ones(count, bool))


def _rows(rows: np.ndarray, verb: bool = False) -> str:
    """"row 4", "rows 4, 7 and 12 others", as people count them under the header."""
    shown = ", ".join(str(row + 2) for row in rows[:4])
    others = f" and {len(rows) - 4} others" if len(rows) > 4 else ""
    one = len(rows) == 1
    return f"row{'' if one else 's'} {shown}{others}" + (f" {'is' if one else 'are'}" if verb else "")


def _in_order(times: Times, rows: np.ndarray, name: str) -> np.ndarray:
    """[R] seconds of the rows that can be read, on past midnight."""
    moments = times.seconds[rows].copy()
    if times.kind in ("timecode", "clock"):
        steps = np.diff(moments, prepend=moments[:1])
        moments += DAY * np.cumsum((steps < -HALF_DAY) & (steps + DAY < LONGEST_STEP))
    steps = np.diff(moments)
    wrong = steps < -1e-6
    if times.kind != "frames":
        wrong |= steps > LONGEST_STEP
    if not wrong.any():
        return moments
    at = int(wrong.argmax())
    before, after = rows[at], rows[at + 1]
    how = "goes back in time" if steps[at] < 0 else f"leaps on by {steps[at] / 3600:.1f} hours"
    raise Refusal(
        f"{name} {how}: row {after + 2} is of {times.cells[after]}, after {times.cells[before]} in row {before + 2}, "
        f"expected rows in the order of their times. Export it again, or correct the row."
    )


# --------------------------------------------------------------------------------------------------------------- rates


def _rates(moments: np.ndarray, rows: np.ndarray, times: Times) -> tuple[float, float]:
    """Distinct times per second, and how many rows share each."""
    distinct, first = np.unique(np.round(moments, 6), return_index=True)
    rate = 1.0 if times.kind == "frames" else _rate(moments, rows, times.drop_frame)
    # rows from a time to the next, for each time that the clock went on; the first one may be cut
    on = np.maximum(np.round(np.diff(distinct) * rate), 1)[1:]
    each = np.diff(rows[first])[1:] / on
    usual = max(int(np.median(each)), 1) if len(each) else 1
    next_ones = each[on == 1]
    if times.kind == "frames" or len(next_ones) < FEWEST_GROUPS:
        return rate, usual
    mean = next_ones.mean()
    known = min(RATES, key=lambda known: abs(known - mean * rate))
    if mean > 1.1 and abs(known / (mean * rate) - 1) < NEAR and np.ptp(np.cumsum(next_ones - mean)) < 1.5:
        return rate, round(known / rate, 2)  # also of the rates of television
    return rate, usual


def _rate(moments: np.ndarray, rows: np.ndarray, drop_frame: bool) -> float:
    """Different times per second, by the usual step from row to row."""
    steps = np.diff(moments)
    further = steps > 1e-6
    beside = further & (np.diff(rows) == 1)
    step = float(np.median(steps[beside if beside.any() else further]))
    known = [rate * NTSC for rate in DROPPED] if drop_frame else RATES
    near = min(known, key=lambda rate: abs(rate - 1 / step))
    return near if abs(near * step - 1) < NEAR else 1 / step


def _measured(
    moments: np.ndarray, numbers: np.ndarray, ids: np.ndarray, rates: tuple[float, float], times: Times, name: str
) -> tuple[float, np.ndarray]:
    """The rate, more exactly where times were measured, and the frames' numbers, which are counted where no rate goes
    with their times."""
    rate, share = rates[0] * rates[1], rates[1]
    rate = next((known for known in RATES if abs(known / rate - 1) < 1e-6), rate)  # but for rounding
    if times.kind == "frames" or len(moments) < 2:
        return rate, ids
    length, frames = moments[-1] - moments[0], numbers[-1] - numbers[0]
    if frames > share + 0.5 + 1.02 * length * rate:
        rate = frames / length
        log.warning("%s has its rows at uneven times: they are counted, and their mean rate of %.2f frames per second "
                    "is taken.", name, rate)  # fmt: skip
        return rate, np.arange(len(ids))
    if times.kind == "timecode" or share > 1:
        return rate, ids
    measured = 1 / np.polyfit(numbers - numbers[0], moments - moments[0], 1)[0]
    fuzzy = EXACT + _resolution(times) / length
    # the rates of television lie so near to the whole ones that it takes a longer clip to tell them
    known = [*RATES, *(r * NTSC for r in (24.0, 30.0, 60.0))] if len(moments) > 100 else RATES
    near = min(known, key=lambda known: abs(known - measured))
    return (near if abs(near / measured - 1) < fuzzy else float(measured)), ids


def _resolution(times: Times) -> float:
    """Seconds that times are rounded to."""
    places = max(len(cell.partition(".")[2].rstrip("Zz")) for cell in times.cells[:100])
    return max(times.unit * 10.0**-places, 1e-3)


# ------------------------------------------------------------------------------------------------------------- numbers


def _counted(moments: np.ndarray, rate: float, repeated: np.ndarray) -> np.ndarray:
    """[R] numbers of rows with times of their own, OUT for those that are there twice.

    Each step is rounded, and what is left of it goes on to the next, so that neither jitter nor drift loses a frame.
    """
    moments = _moved_into_gaps(moments.copy(), rate, repeated)
    numbers = np.full(len(moments), OUT)
    numbers[0], last, left = 0, 0, 0.0
    for row in range(1, len(moments)):
        step = (moments[row] - moments[last]) * rate
        if step < SAME:
            continue
        whole = max(1, round(step + left))
        left = FORGOTTEN * (step + left - whole)
        numbers[row], last = numbers[last] + whole, row
    return numbers


def _moved_into_gaps(moments: np.ndarray, rate: float, repeated: np.ndarray) -> np.ndarray:
    """Rows of one time that hold two faces, with a frame missing just before or after: a time was rounded too far."""
    steps = np.diff(moments) * rate
    for row in np.flatnonzero((steps < SAME) & ~repeated[1:]) + 1:
        if row < len(steps) and steps[row] >= 2 - SAME:
            moments[row] = moments[row - 1] + 1 / rate
        elif row > 1 and steps[row - 2] >= 2 - SAME:
            moments[row - 1] -= 1 / rate
    return moments


def _between(numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[F] numbers, also of rows without a time, evenly between those around; OUT for more of them than there is room.
    """
    placed = rows[numbers[rows] != OUT]
    unread = np.setdiff1d(np.arange(len(numbers)), rows)
    made = numbers.copy()
    for at in np.flatnonzero(np.diff(placed) > 1):
        before, after = placed[at], placed[at + 1]
        room = numbers[after] - numbers[before]
        inside = unread[(unread > before) & (unread < after)][: room - 1]
        for place, row in enumerate(inside, 1):
            made[row] = numbers[before] + int(place * room / (len(inside) + 1) + 0.5)
    early, late = unread[unread < placed[0]], unread[unread > placed[-1]]
    made[early] = numbers[placed[0]] - np.arange(len(early), 0, -1)
    made[late] = numbers[placed[-1]] + np.arange(1, len(late) + 1)
    return made


def _with_unread(moments: np.ndarray, rows: np.ndarray, count: int, rate: float, share: float) -> np.ndarray:
    """[F] times of all rows where several share a timecode: a row without one belongs to the one before, if that lacks
    a row, or else to the next."""
    whole = np.full(count, np.nan)
    whole[rows] = np.round(moments, 6)
    sizes = dict(zip(*(part.tolist() for part in np.unique(whole[rows], return_counts=True)), strict=True))
    full = int(np.ceil(share))
    for row in np.setdiff1d(np.arange(count), rows):
        later = rows[rows > row]
        before = whole[row - 1] if row else np.nan
        after = whole[later[0]] if len(later) else np.inf
        chosen = before
        if np.isnan(before):
            chosen = after if sizes[after] < full else after - 1 / rate
        elif sizes.get(before, 0) >= full or (before == whole[rows[0]] and sizes.get(after, full) < full):
            chosen = min(round(before + 1 / rate, 6), after)
        if after - chosen < 1e-4:  # the same one, but for rounding
            chosen = after
        whole[row] = chosen
        sizes[chosen] = sizes.get(chosen, 0) + 1
    return whole


def _shared(moments: np.ndarray, rate: float, share: float, repeated: np.ndarray) -> np.ndarray:
    """[F] numbers of rows of which several share a timecode, OUT for those that are too many."""
    distinct, first, counts = np.unique(np.round(moments, 6), return_index=True, return_counts=True)
    codes = np.round((distinct - distinct[0]) * rate).astype(np.int64)
    starts = np.ceil(codes * share - 1e-9).astype(np.int64)
    ends = np.ceil((codes + 1) * share - 1e-9).astype(np.int64) - 1
    starts[0] = max(starts[0], ends[0] - counts[0] + 1)  # it may have begun before the recording
    slack = 0 if float(share).is_integer() else 1  # where a timecode begins is not known then
    numbers, last = np.full(len(moments), OUT), -1
    for index, start in enumerate(starts):
        rows = np.arange(first[index], first[index] + counts[index])
        more = len(rows) - (ends[index] - start + 1)
        lacks_before = index and codes[index] == codes[index - 1] + 1 and last < start - 1
        if more > 0 and lacks_before:  # the clock went on while a frame was written
            start = max(last + 1, start - more)
        elif more > 0 and repeated[rows].any():
            rows = np.setdiff1d(rows, rows[repeated[rows]][-more:])
        following = index + 1 < len(codes) and codes[index + 1] == codes[index] + 1
        room = max(ends[index + 1] - starts[index + 1] + 1 - counts[index + 1], 0) if following else 0
        for row in rows:
            number = max(start, last + 1)
            if number > ends[index] + max(slack, room):
                break
            numbers[row] = last = number
    return numbers
