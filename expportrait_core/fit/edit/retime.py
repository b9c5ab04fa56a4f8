"""Another frame rate, and a part of a clip."""

from __future__ import annotations

import math

import torch

from ...types import SMPLXFit
from .blinks import sampled_lids
from .gaps import interpolate_gaps
from .sampling import sample_fit

MOST_FRAMES = 1_000_000


def resample_fit(fit: SMPLXFit, fps: float) -> SMPLXFit:
    """The same motion at another frame rate and the same speed: the first frame stays, the last one is at most half a
    new frame away from where it was.

    Rotations are taken on the shortest way between frames, the rest along straight lines. Going down, a blink whose
    height would fall between two frames is moved to the nearer one, so none is lost (where expressions have names).
    A new frame is valid where the frames that it lies between are. Frame numbers count in the new rate.

    Raises:
        ValueError: a rate that is no number above 0, or far more frames than a clip has.
    """
    if not 0 < fps < math.inf:
        raise ValueError(f"The new frame rate is {fps}, expected a number above 0.")
    if fps == fit.fps:
        return fit
    count = max(1, round((fit.num_frames - 1) * fps / fit.fps) + 1)
    if count > MOST_FRAMES:
        raise ValueError(f"{fit.num_frames} frames at {fit.fps:g} would become {count} at {fps:g} frames per second.")
    positions = torch.arange(count, dtype=torch.float64, device=fit.expression.device) * fit.fps / fps
    filled = interpolate_gaps(fit)  # the lids of frames without a face, too, are not what they say
    sampled = sample_fit(filled, positions)
    first = round(int(fit.frame_ids[0]) * fps / fit.fps)
    return sampled.replace(
        expression=sampled_lids(filled, positions, sampled.expression),
        frame_ids=first + torch.arange(count, device=fit.frame_ids.device),
        fps=float(fps),
    )


def trim_fit(
    fit: SMPLXFit,
    start: int = 0,  # first frame that is kept, counted from 0
    stop: int | None = None,  # first frame that is not; None keeps the rest
) -> SMPLXFit:
    """Some of the frames, one after the other.

    Raises:
        ValueError: nothing would be left.
    """
    stop = fit.num_frames if stop is None else min(stop, fit.num_frames)
    if not 0 <= start < stop:
        raise ValueError(
            f"Frames {start} up to {stop} were asked for, the fit has the frames 0 to {fit.num_frames - 1}. Let the "
            f"start lie before the end."
        )
    return fit.frames(slice(start, stop))
