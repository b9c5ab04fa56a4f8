"""Frames in which no face was seen, and frames that are missing altogether.

A fit may leave frames out: `frame_ids` then leaps from one number to a later one, and the time between is as long. What
works on time (`retime.py`, `joining.py`, `smoothing.py`) puts them back first, marked as not valid.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from ...types import SMPLXFit
from .sampling import blend_fits

MOST_INSERTED = 100_000  # frames; a numbering with larger holes is no clip's
LONGEST_STEP = 1 << 40  # of frame numbers: a quarter of an hour in nanoseconds. Millions of them still add up

log = logging.getLogger(__name__)


def interpolate_gaps(fit: SMPLXFit) -> SMPLXFit:
    """The fit with frames without a face on the way between their neighbours; before the first and after the last
    face the nearest one is held. Cameras too, in which a tracker may have written the head's motion. They stay marked
    as not valid, and keep their landmarks.

    Raises:
        ValueError: no frame shows a face.
    """
    _ = fit.first_valid
    if fit.valid.all():
        return fit
    before, after, share = _neighbours(fit.valid, places_in_time(fit))
    between = blend_fits(fit.frames(before), fit.frames(after), share)
    return fit.replace(
        expression=between.expression,
        poses=between.poses,
        translation=between.translation,
        camera=between.camera,
        eyelids=between.eyelids,
    )


def places_in_time(fit: SMPLXFit) -> Tensor:
    """[F] where the frames lie in the whole clip, counted from 0 with those that `frame_ids` leaves out."""
    steps = fit.frame_ids.diff().clamp(1, LONGEST_STEP)
    return torch.cat([steps.new_zeros(1), steps.cumsum(0)])


def has_clips_numbering(fit: SMPLXFit) -> bool:
    """Whether the frames that `frame_ids` leaves out may be put back: numbers that count something else leave out more
    than any clip has."""
    return int(places_in_time(fit)[-1]) < MOST_INSERTED + fit.num_frames


def insert_missing_frames(fit: SMPLXFit) -> SMPLXFit:
    """A frame for every number that `frame_ids` leaves out: it is on the way between its neighbours and marked as not
    valid, so that motion keeps its speed. Where numbers do not rise a clip begins again (it was looped or joined), and
    nothing is missing.

    Raises:
        ValueError: the holes are larger than any clip.
    """
    places = places_in_time(fit)
    count = int(places[-1]) + 1
    if count == fit.num_frames:
        return fit
    if not has_clips_numbering(fit):
        raise ValueError(
            f"The fit's frame numbers leave out {count - fit.num_frames} frames beside its {fit.num_frames}. Its "
            f"numbering is damaged; keep the part before the hole, or track the clip again."
        )
    wanted = torch.arange(count, device=places.device)
    after = torch.searchsorted(places, wanted)
    there = places[after] == wanted
    before = torch.where(there, after, after - 1)
    since = wanted - places[before]
    filled = blend_fits(fit.frames(before), fit.frames(after), since / (places[after] - places[before]).clamp(min=1))
    log.info("%d missing frames were inserted.", count - fit.num_frames)
    return filled.replace(frame_ids=fit.frame_ids[before] + since, valid=filled.valid & there)


def _neighbours(
    valid: Tensor,  # [F]
    places: Tensor,  # [F] in time
) -> tuple[Tensor, Tensor, Tensor]:
    """Valid frame at or before, valid frame at or after, and how far between them each frame lies, [F] each."""
    seen = valid.nonzero()[:, 0]
    frames = torch.arange(len(valid), device=valid.device)
    right = torch.searchsorted(seen, frames).clamp(max=len(seen) - 1)
    left = torch.where(seen[right] > frames, (right - 1).clamp(min=0), right)
    before, after = seen[left], seen[right]
    share = ((places - places[before]) / (places[after] - places[before]).clamp(min=1)).clamp(0, 1)
    return before, after, share
