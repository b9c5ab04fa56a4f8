"""Blinks: what smoothing must not wash out, and what a lower frame rate must not skip.

Lids are told by the names of the expressions, in spaces that have names (the default head's), or are kept beside
them (`eyelids`).
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
    sampled: SMPLXFit,  # of F' frames there
) -> SMPLXFit:
    """The samples with every blink at its height: a peak or a trough of the lids that falls between two samples is
    moved to the nearer one, by less than half a new frame."""
    if columns := lid_columns(fit.expression_space, fit.expression.shape[1]):
        expression = sampled.expression.clone()
        expression[:, columns] = _with_peaks(fit.expression[:, columns], fit.fps, positions, expression[:, columns])
        sampled = sampled.replace(expression=expression)
    if fit.eyelids is not None and sampled.eyelids is not None:
        sampled = sampled.replace(eyelids=_with_peaks(fit.eyelids, fit.fps, positions, sampled.eyelids))
    return sampled


def _with_peaks(
    lids: Tensor,  # [F, C]
    fps: float,
    positions: Tensor,  # [F']
    sampled: Tensor,  # [F', C]
) -> Tensor:
    """[F', C]"""
    step = float(positions[1] - positions[0]) if len(positions) > 1 else 1.0
    if step <= 1:
        return sampled
    base = running_median(lids, BASE_SECONDS * fps)
    owner = ((torch.arange(len(lids), device=lids.device) - positions[0]) / step).round().long()
    owner = owner.clamp(0, len(positions) - 1)
    departure = lids - base
    # for every sample and column, the frame nearest to it that departs most
    strongest = torch.zeros(len(positions), lids.shape[1], dtype=lids.dtype, device=lids.device)
    strongest.scatter_reduce_(0, owner[:, None].expand_as(lids), departure.abs(), "amax")
    result = sampled.clone()
    for column in range(lids.shape[1]):
        is_peak = (departure[:, column].abs() == strongest[owner, column]) & (strongest[owner, column] > DEPARTURE)
        frames = is_peak.nonzero()[:, 0]
        # only what rises above both neighbours: a slope is sampled as it is
        left, right = (frames - 1).clamp(min=0), (frames + 1).clamp(max=len(lids) - 1)
        size = departure[:, column].abs()
        frames = frames[(size[frames] >= size[left]) & (size[frames] >= size[right])]
        result[owner[frames], column] = lids[frames, column]
    return result


def running_median(
    values: Tensor,  # [F, C]
    frames: float,
) -> Tensor:
    """Median of about so many frames around each [F, C]; the ends are held."""
    reach = max(1, round(frames / 2))
    padded = F.pad(values.T[:, None], (reach, reach), mode="replicate")[:, 0]
    return padded.unfold(1, 2 * reach + 1, 1).median(-1).values.T
