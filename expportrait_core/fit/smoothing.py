"""Motion over time: what a clip shows is smoothed, and frames without a face are filled in."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..body import axis_angle_to_matrix, matrix_to_axis_angle
from ..types import SMPLXFit

STRONGEST = 0.25  # seconds of standard deviation at strength 1, our choice: more blurs speech away
REACH = 3  # standard deviations that are looked at

GAPS = ("interpolate", "previous")


def smooth_fit(
    fit: SMPLXFit,
    strength: float,  # 0 changes nothing, 1 blurs over a quarter of a second
) -> SMPLXFit:
    """Expression, poses and translation blurred over time with a Gaussian. Frames without a face count as nothing.

    Raises:
        ValueError: a negative strength.
    """
    if strength < 0:
        raise ValueError(f"The smoothing is {strength}, expected 0 or more.")
    deviation = strength * STRONGEST * fit.fps
    if deviation == 0 or fit.num_frames < 2:
        return fit
    weight = fit.valid.to(fit.expression)
    rotations = _blur(axis_angle_to_matrix(fit.poses).flatten(1), weight, deviation)
    return fit.replace(
        expression=_blur(fit.expression, weight, deviation),
        poses=matrix_to_axis_angle(_nearest_rotation(rotations.view(fit.num_frames, -1, 3, 3))),
        translation=_blur(fit.translation, weight, deviation),
    )


def fill_gaps(fit: SMPLXFit, how: str) -> SMPLXFit:
    """What a frame without a face shows: "interpolate" follows its neighbours, as the tracker leaves it, "previous"
    holds the last frame with a face (the first one before that). Such frames stay marked as not valid.

    Raises:
        ValueError: an unknown choice.
    """
    if how not in GAPS:
        raise ValueError(f"Missing frames are to be filled by '{how}', expected one of {', '.join(GAPS)}.")
    if how == "interpolate" or fit.valid.all():
        return fit
    frames = torch.arange(fit.num_frames, device=fit.valid.device)
    last = torch.where(fit.valid, frames, -1).cummax(0).values
    source = torch.where(last < 0, fit.valid.nonzero()[0, 0], last)
    return fit.replace(expression=fit.expression[source], poses=fit.poses[source], translation=fit.translation[source])


def _blur(
    values: Tensor,  # [F, C]
    weight: Tensor,  # [F]
    deviation: float,  # frames
) -> Tensor:
    """Weighted Gaussian mean around every frame [F, C]; a frame far from any with weight keeps its value."""
    reach = min(max(1, round(REACH * deviation)), len(values) - 1)
    offsets = torch.arange(-reach, reach + 1, device=values.device, dtype=values.dtype)
    kernel = torch.exp(-0.5 * (offsets / deviation) ** 2)[None, None]
    rows = torch.cat([values * weight[:, None], weight[:, None]], 1).T[:, None]  # [C + 1, 1, F]
    *sums, total = F.conv1d(rows, kernel, padding=reach)[:, 0]
    mean = torch.stack(sums, 1) / total.clamp(min=1e-6)[:, None]
    return torch.where((total > 1e-6)[:, None], mean, values)


def _nearest_rotation(matrices: Tensor) -> Tensor:  # [..., 3, 3]
    """The rotations closest to averages of rotations."""
    left, _, right = torch.linalg.svd(matrices)
    sign = torch.det(left @ right)
    fixed = torch.cat([left[..., :2], left[..., 2:] * sign[..., None, None]], -1)
    return fixed @ right
