"""Frames in which no face was seen, and frames that are missing altogether."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from ..types import SMPLXFit
from .sampling import blend_fits

MOST_INSERTED = 100_000  # frames; a numbering with larger holes is no clip's

log = logging.getLogger(__name__)


def interpolate_gaps(fit: SMPLXFit) -> SMPLXFit:
    """The fit with frames without a face on the way between their neighbours; before the first and after the last
    face the nearest one is held. They stay marked as not valid, and keep their cameras and landmarks.

    Raises:
        ValueError: no frame shows a face.
    """
    _ = fit.first_valid
    if fit.valid.all():
        return fit
    before, after, share = _neighbours(fit.valid)
    between = blend_fits(fit.frames(before), fit.frames(after), share)
    return fit.replace(expression=between.expression, poses=between.poses, translation=between.translation)


def insert_missing_frames(fit: SMPLXFit) -> SMPLXFit:
    """A frame for every number between the first and the last of `frame_ids`: those that the source has not are on the
    way between their neighbours and marked as not valid, so that motion keeps its speed.

    Raises:
        ValueError: the numbers do not rise, or the holes are larger than any clip.
    """
    ids = fit.frame_ids
    if fit.num_frames < 2 or bool((ids.diff() == 1).all()):
        return fit
    if not bool((ids.diff() > 0).all()):
        raise ValueError(
            "The fit's frame numbers do not rise from frame to frame (it was looped or joined), so nothing tells which "
            "frames are missing. Fill gaps before looping or joining."
        )
    count = int(ids[-1] - ids[0]) + 1
    if count > MOST_INSERTED + fit.num_frames:
        raise ValueError(
            f"The fit's frame numbers run from {int(ids[0])} to {int(ids[-1])} for {fit.num_frames} frames. Its "
            f"numbering is damaged; trim it, or track the clip again."
        )
    wanted = torch.arange(int(ids[0]), int(ids[-1]) + 1, device=ids.device)
    after = torch.searchsorted(ids, wanted)
    there = ids[after] == wanted
    before = torch.where(there, after, after - 1)
    share = (wanted - ids[before]) / (ids[after] - ids[before]).clamp(min=1)
    filled = blend_fits(fit.frames(before), fit.frames(after), share)
    log.info("%d missing frames were inserted.", count - fit.num_frames)
    return filled.replace(frame_ids=wanted, valid=filled.valid & there)


def _neighbours(valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Valid frame at or before, valid frame at or after, and how far between them each frame lies, [F] each."""
    seen = valid.nonzero()[:, 0]
    frames = torch.arange(len(valid), device=valid.device)
    right = torch.searchsorted(seen, frames).clamp(max=len(seen) - 1)
    left = torch.where(seen[right] > frames, (right - 1).clamp(min=0), right)
    before, after = seen[left], seen[right]
    share = ((frames - before) / (after - before).clamp(min=1)).clamp(0, 1)
    return before, after, share
