"""Another frame rate, and a part of a clip. Frames that the numbering leaves out are times like the others."""

from __future__ import annotations

import math

import torch

from ...types import HIGHEST_FPS, LAST_NUMBER, LOWEST_FPS, SMPLXFit
from .blinks import sampled_lids
from .gaps import insert_missing_frames, interpolate_gaps, places_in_time
from .sampling import sample_fit

MOST_FRAMES = 1_000_000


def resample_fit(fit: SMPLXFit, fps: float) -> SMPLXFit:
    """The same motion at another frame rate and the same speed: the first frame stays, the last one is at most half a
    new frame away from where it was.

    Rotations are taken on the shortest way between frames, the rest along straight lines. Going down, a blink whose
    height would fall between two frames is moved to the nearer one, so none is lost (where it is known which numbers
    are lids). A new frame is valid where the frames that it lies between are, and not in a gap of the numbering. Frame
    numbers count in the new rate.

    Raises:
        ValueError: a rate that no clip has, or far more frames or higher frame numbers than a clip has.
    """
    if not 0 < fps < math.inf:
        raise ValueError(f"The new frame rate is {fps}, expected a number above 0.")
    if not LOWEST_FPS <= fps <= HIGHEST_FPS:
        raise ValueError(f"The new frame rate is {fps:g}, expected {LOWEST_FPS:g} to {HIGHEST_FPS:,.0f} per second.")
    if fps == fit.fps:
        return fit
    whole = insert_missing_frames(fit)
    count = max(1, round((whole.num_frames - 1) * fps / fit.fps) + 1)
    if count > MOST_FRAMES:
        raise ValueError(f"{whole.num_frames} frames at {fit.fps:g} would become {count} at {fps:g} frames per second.")
    first = round(int(fit.frame_ids[0]) * fps / fit.fps)
    if first + count > LAST_NUMBER:
        raise ValueError(
            f"Frame {int(fit.frame_ids[0])} at {fit.fps:g} frames per second would become frame {first} at {fps:g}, "
            f"expected at most {LAST_NUMBER}. Its numbering counts something else; keep the rate."
        )
    positions = torch.arange(count, dtype=torch.float64, device=fit.expression.device) * fit.fps / fps
    # what frames without a face say does not count, the lids neither
    filled = interpolate_gaps(whole) if whole.valid.any() else whole
    sampled = sampled_lids(filled, positions, sample_fit(filled, positions))
    return sampled.replace(frame_ids=first + torch.arange(count, device=fit.frame_ids.device), fps=float(fps))


def trim_fit(
    fit: SMPLXFit,
    start: int = 0,  # first frame that is kept, counted from 0
    stop: int | None = None,  # first frame that is not; None keeps the rest
) -> SMPLXFit:
    """Some of the frames, one after the other. Those that the numbering leaves out count, too, and are put back, not
    valid, on the way between their neighbours.

    Raises:
        ValueError: nothing would be left.
    """
    places = places_in_time(fit)
    count = int(places[-1]) + 1
    stop = count if stop is None else min(stop, count)
    if not 0 <= start < stop:
        raise ValueError(
            f"Frames {start} up to {stop} were asked for, the fit has the frames 0 to {count - 1}. Let the start lie "
            f"before the end."
        )
    # no more is put back than is kept: the rest of the numbering may be damaged
    first = int(torch.searchsorted(places, start, right=True)) - 1
    last = int(torch.searchsorted(places, stop - 1))
    part = insert_missing_frames(fit.frames(slice(first, last + 1)))
    begin = start - int(places[first])
    return part.frames(slice(begin, begin + stop - start))
