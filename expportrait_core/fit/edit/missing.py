"""What the frames of a fit show in which no face was seen. They stay marked as not valid, whatever is chosen."""

from __future__ import annotations

import torch
from torch import Tensor

from ...types import SMPLXFit
from .gaps import interpolate_gaps

MISSING = ("interpolate", "previous", "empty")


def fill_missing(fit: SMPLXFit, how: str = "interpolate") -> SMPLXFit:
    """Fill the frames without a face.

    Args:
        how: "interpolate" goes evenly from the frame before to the frame after, rotations the shortest way; "previous"
            holds the last frame with a face (the first one before that); "empty" shows a resting face that looks
            straight ahead, where the last one was.

    Raises:
        ValueError: an unknown choice, or no frame with a face.
    """
    if how not in MISSING:
        raise ValueError(f"Missing frames are to be filled by '{how}', expected one of {', '.join(MISSING)}.")
    if fit.valid.all():
        return fit
    if not fit.valid.any():
        raise ValueError("The fit has no frame in which a face was seen. Track a clip that shows one.")
    gap = ~fit.valid
    if how == "interpolate":
        return interpolate_gaps(fit)
    frames = torch.arange(fit.num_frames, device=fit.valid.device)
    last = torch.where(fit.valid, frames, -1).cummax(0).values
    source = torch.where(last < 0, fit.first_valid, last)
    rest = 0.0 if how == "empty" else 1.0
    return fit.replace(
        expression=_where(gap, rest * fit.expression[source], fit.expression),
        poses=_where(gap, rest * fit.poses[source], fit.poses),
        translation=_where(gap, fit.translation[source], fit.translation),
        camera=fit.camera[torch.where(gap, source, frames)],
        eyelids=None if fit.eyelids is None else _where(gap, rest * fit.eyelids[source], fit.eyelids),
    )


def _where(frames: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(frames.view(-1, *[1] * (old.ndim - 1)), new, old)
