"""Motion over time: what a clip shows is smoothed, and frames without a face are filled in."""

from __future__ import annotations

import math

from torch import Tensor

from ...types import SMPLXFit
from .. import quaternions
from .blinks import quick_lids
from .filters import OneEuro, gaussian, savitzky_golay
from .gaps import has_clips_numbering, insert_missing_frames, interpolate_gaps, places_in_time

METHODS = ("one euro", "savitzky-golay", "gaussian")
"""A low pass that opens when things move; cubics through the neighbours, which keep peaks; a plain blur."""

# our choices
STRONGEST = 0.25  # seconds of standard deviation at strength 1: more blurs speech away
POLYNOMIAL_SECONDS = 0.4  # to both sides that the cubics of strength 1 run through
SLOWEST_CUTOFF = 0.5  # Hz at rest, One Euro at strength 1
OPENING_EXPRESSION, OPENING_ROTATION, OPENING_TRANSLATION = 1.0, 4.0, 20.0  # Hz per unit, radian, metre a second
GUARD = 3.0  # standard deviations of the jitter that smoothing may move a value by, where fast motion is kept
FLOOR_EXPRESSION, FLOOR_ROTATION, FLOOR_TRANSLATION = 0.01, math.radians(0.15), 0.0005  # it may always move these


def require_strength(strength: float) -> None:
    """Raise a sentence for a strength that no smoothing has."""
    if not 0 <= strength < math.inf:
        raise ValueError(f"The smoothing is {strength}, expected 0 or more.")


def smooth_fit(
    fit: SMPLXFit,
    strength: float,  # 0 changes nothing, 1 is the strongest that leaves speech recognisable
    method: str = "gaussian",  # see METHODS
    keep_blinks: bool = False,  # lids that move quickly stay as they are (spaces whose expressions have names)
    keep_fast: bool = False,  # nothing is moved further than the clip's own jitter explains
) -> SMPLXFit:
    """Expression, poses and translation smoothed over time. Frames without a face count as nothing; they get what lies
    between their neighbours, and stay marked as not valid. Frames that the numbering leaves out are times like the
    others, and stay left out.

    `keep_fast` measures the jitter of every number and joint over the clip, and limits what smoothing changes to
    three times that: trembling is taken away, a shake of the head or a word keeps its height and its moment.

    Raises:
        ValueError: a negative strength, an unknown method, or no frame with a face.
    """
    require_strength(strength)
    if method not in METHODS:
        raise ValueError(f"The smoothing method is '{method}', expected one of {', '.join(METHODS)}.")
    if strength == 0 or fit.num_frames < 2:
        return fit
    places = places_in_time(fit)
    if int(places[-1]) >= fit.num_frames and has_clips_numbering(fit):
        return smooth_fit(insert_missing_frames(fit), strength, method, keep_blinks, keep_fast).frames(places)
    fit = interpolate_gaps(fit)
    quick = quick_lids(fit) if keep_blinks else None
    if quick is not None:
        fit = fit.replace(expression=fit.expression - quick)
    expression, rotations, translation = _filters(method, strength, fit)
    # joints that never move, most of a body, are left out
    moving = (fit.poses != fit.poses[:1]).any(-1).any(0).nonzero()[:, 0]
    poses, turns = fit.poses.clone(), quaternions.from_axis_angle(fit.poses[:, moving])
    smooth = fit.replace(expression=expression(fit.expression), translation=translation(fit.translation))
    turned = rotations(turns)
    if keep_fast:
        smooth, turned = _limited(fit, smooth, turns, turned)
    poses[:, moving] = quaternions.to_axis_angle(turned)
    if quick is not None:
        smooth = smooth.replace(expression=smooth.expression + quick)
    return smooth.replace(poses=poses)


def _filters(method: str, strength: float, fit: SMPLXFit):
    """What is applied to expressions [F, E], rotations [F, J, 4] and translations [F, 3]."""
    if method == "one euro":
        one_euro = [OneEuro(fit.fps, SLOWEST_CUTOFF / strength, opening / strength) for opening in
                    (OPENING_EXPRESSION, OPENING_ROTATION, OPENING_TRANSLATION)]  # fmt: skip
        return one_euro[0].numbers, one_euro[1].rotations, one_euro[2].vectors
    if method == "gaussian":
        kernel = gaussian(fit.num_frames, strength * STRONGEST * fit.fps)
    else:
        kernel = savitzky_golay(fit.num_frames, max(2, round(strength * POLYNOMIAL_SECONDS * fit.fps)))
    kernel = kernel.to(fit.expression)
    return kernel.numbers, kernel.rotations, kernel.numbers


def _limited(fit: SMPLXFit, smooth: SMPLXFit, turns: Tensor, turned: Tensor) -> tuple[SMPLXFit, Tensor]:
    """What smoothing changed, cut to what the jitter explains."""
    change = smooth.expression - fit.expression
    limit = GUARD * jitter(fit.expression.diff(dim=0), fit.valid) + FLOOR_EXPRESSION
    expression = fit.expression + change.clamp(-limit, limit)

    change = smooth.translation - fit.translation
    limit = GUARD * jitter(fit.translation.diff(dim=0), fit.valid).norm() + FLOOR_TRANSLATION
    translation = fit.translation + _cut(change, limit)

    change = quaternions.difference(turns, turned)  # [F, J, 3]
    steps = quaternions.difference(turns[:-1], turns[1:])
    limit = GUARD * jitter(steps.flatten(1), fit.valid).unflatten(0, (-1, 3)).norm(dim=-1) + FLOOR_ROTATION
    turned = quaternions.turned(turns, _cut(change, limit[:, None]))
    return smooth.replace(expression=expression, translation=translation), turned


def jitter(
    steps: Tensor,  # [F - 1, C] from frame to frame
    valid: Tensor,  # [F]
) -> Tensor:
    """Standard deviation of the noise of every channel [C]: from third differences of the steps, in which motion below
    a few hertz vanishes, and their median, to which fast moments are exceptions. 0 where the clip is too short."""
    if len(steps) < 8:
        return steps.new_zeros(steps.shape[1])
    rough = steps.diff(n=3, dim=0)
    seen = valid.unfold(0, 5, 1).all(-1)  # all five frames that a difference is made of
    if seen.sum() < 4:
        return steps.new_zeros(steps.shape[1])
    return rough[seen].abs().median(0).values / (0.6745 * math.sqrt(70))  # of a normal distribution; 1 4 6 4 1 squared


def _cut(vectors: Tensor, limit: Tensor) -> Tensor:
    """Vectors [..., 3] no longer than the limit."""
    length = vectors.norm(dim=-1, keepdim=True)
    return vectors * (limit / length.clamp(min=1e-12)).clamp(max=1)
