"""Blinks: what smoothing must not wash out, and what a lower frame rate must not skip.

Lids are told by the names of the expressions, so this is for spaces that have names (the default head's).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...types import SMPLXFit
from .expression_names import lid_columns

# our choices
BASE_SECONDS = 0.8  # the lids' usual opening is the median over so long; blinks are shorter than half of it
DEPARTURE = 0.2  # from there, as a share of a closed eye, that is a movement of the lids and no jitter
MARGIN_SECONDS = 0.08  # before and after it that belong to it, and over which it is blended out


def quick_lids(fit: SMPLXFit) -> Tensor:
    """The blinks alone [F, E]: how far lids that move quickly are from their usual opening, 0 everywhere else.

    Smoothing sets them aside and adds them again, so that a blink neither loses height nor spreads.
    """
    quick = torch.zeros_like(fit.expression)
    if columns := lid_columns(fit.expression_space, fit.expression.shape[1]):
        quick[:, columns] = quick_movement(fit.expression[:, columns], fit.fps)
    return quick


def quick_movement(
    lids: Tensor,  # [F, C]
    fps: float,
) -> Tensor:
    """[F, C] how far they are from their usual opening while they move quickly."""
    departure = lids - running_median(lids, BASE_SECONDS * fps)
    return departure * lid_movement(departure, fps)


def lid_movement(
    departure: Tensor,  # [F, C] of lids from their usual opening
    fps: float,
) -> Tensor:
    """[F, C] 1 where they move quickly, falling to 0 beside it."""
    moving = (departure.abs() > DEPARTURE).to(departure)
    margin = max(1, round(MARGIN_SECONDS * fps))
    rows = moving.T[:, None]
    reached = F.max_pool1d(rows, 2 * margin + 1, 1, margin)  # a blink begins below the threshold
    feathered = F.avg_pool1d(F.pad(reached, (margin, margin), mode="replicate"), 2 * margin + 1, 1)
    return torch.maximum(feathered, rows)[:, 0].T


def sampled_lids(
    fit: SMPLXFit,
    positions: Tensor,  # [F'] frame numbers of the samples, evenly spaced and more than a frame apart
    sampled: Tensor,  # [F', E] expressions there
) -> Tensor:
    """The samples with every blink at its height: a peak or a trough of the lids that falls between two samples is
    moved to the nearer one, by less than half a new frame."""
    columns = lid_columns(fit.expression_space, fit.expression.shape[1])
    step = float(positions[1] - positions[0]) if len(positions) > 1 else 1.0
    if not columns or step <= 1:
        return sampled
    lids = fit.expression[:, columns]
    base = running_median(lids, BASE_SECONDS * fit.fps)
    owner = ((torch.arange(len(lids), device=lids.device) - positions[0]) / step).round().long()
    owner = owner.clamp(0, len(positions) - 1)
    departure = lids - base
    # for every sample and column, the frame nearest to it that departs most
    strongest = torch.zeros(len(positions), len(columns), dtype=lids.dtype, device=lids.device)
    strongest.scatter_reduce_(0, owner[:, None].expand_as(lids), departure.abs(), "amax")
    result = sampled.clone()
    for place, column in enumerate(columns):
        is_peak = (departure[:, place].abs() == strongest[owner, place]) & (strongest[owner, place] > DEPARTURE)
        frames = is_peak.nonzero()[:, 0]
        # only what rises above both neighbours: a slope is sampled as it is
        left, right = (frames - 1).clamp(min=0), (frames + 1).clamp(max=len(lids) - 1)
        size = departure[:, place].abs()
        frames = frames[(size[frames] >= size[left]) & (size[frames] >= size[right])]
        result[owner[frames], column] = lids[frames, place]
    return result


def running_median(
    values: Tensor,  # [F, C]
    frames: float,
) -> Tensor:
    """Median of about so many frames around each [F, C]; the ends are held."""
    reach = max(1, round(frames / 2))
    padded = F.pad(values.T[:, None], (reach, reach), mode="replicate")[:, 0]
    return padded.unfold(1, 2 * reach + 1, 1).median(-1).values.T
