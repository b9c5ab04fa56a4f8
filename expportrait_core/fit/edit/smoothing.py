"""Motion over time: what a clip shows is smoothed, and frames without a face are filled in."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...types import SMPLXFit
from .. import quaternions
from .blinks import quick_lids, quick_movement
from .filters import OneEuro, gaussian, savitzky_golay
from .gaps import has_clips_numbering, insert_missing_frames, interpolate_gaps, places_in_time
from .in_camera import camera_moves, camera_that_sees, in_camera

METHODS = ("one euro", "savitzky-golay", "gaussian")
"""A low pass that opens when things move; cubics through the neighbours, which keep peaks; a plain blur."""

# our choices
STRONGEST = 0.25  # seconds of standard deviation at strength 1: more blurs speech away
POLYNOMIAL_SECONDS = 0.4  # to both sides that the cubics of strength 1 run through
SLOWEST_CUTOFF = 0.5  # Hz at rest, One Euro at strength 1
OPENING_NUMBERS, OPENING_ROTATION, OPENING_VECTORS = 1.0, 4.0, 20.0  # Hz per unit, radian, metre a second
GUARD = 3.0  # standard deviations of the jitter that smoothing may move a value by, where fast motion is kept
WEAKER = 5  # strengths that the guard tries, each half of the one before
BESIDE_SECONDS = 0.1  # to both sides of what moves that a weaker one holds
FLOOR_NUMBERS, FLOOR_ROTATION, FLOOR_VECTORS = 0.01, math.radians(0.15), 0.0005  # it may always move these


def require_strength(strength: float) -> None:
    """Raise a sentence for a strength that no smoothing has."""
    if not 0 <= strength < math.inf:
        raise ValueError(f"The smoothing is {strength}, expected 0 or more.")


def smooth_fit(
    fit: SMPLXFit,
    strength: float,  # 0 changes nothing, 1 is the strongest that leaves speech recognisable
    method: str = "gaussian",  # see METHODS
    keep_blinks: bool = False,  # lids that move quickly stay as they are (where it is known which numbers they are)
    keep_fast: bool = False,  # nothing is moved further than the clip's own jitter explains
) -> SMPLXFit:
    """Expression, lids, poses, translation and a camera that moves, smoothed over time: trackers write the motion of a
    head into any of them. Such a camera is smoothed as it sees the body, so that what trembles in the picture is taken
    away, and what trembles in both and is not seen does not come to light. Frames without a face count as nothing; they
    get what lies between their neighbours, and stay marked as not valid. Frames that the numbering leaves out are times
    like the others, and stay left out.

    `keep_fast` measures the jitter of every number and joint over the clip. Where smoothing changes more than three
    times that, it is weaker there: trembling is taken away, a shake of the head or a word keeps its height and its
    moment.

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
    quick = _quick(fit) if keep_blinks else None
    motion = _motion_of(fit)
    steady = motion if quick is None else replace(motion, numbers=motion.numbers - quick)
    smooth = _guarded(steady, method, strength, fit) if keep_fast else _smoothed(steady, method, strength, fit.fps)
    return _with_motion(fit, smooth if quick is None else replace(smooth, numbers=smooth.numbers + quick))


@dataclass(frozen=True)
class _Motion:
    """All that moves in a fit, by how it is filtered."""

    numbers: Tensor  # [F, C] each for itself: expressions, lids, and the lens of a camera that moves
    vectors: Tensor  # [F, V, 3] metres: the translation, and where such a camera sees the body
    rotations: Tensor  # [F, J, 4] of joints that move, and of the body in such a camera


def _joints_that_move(fit: SMPLXFit) -> Tensor:
    """Most of a body never does, and is left out."""
    return (fit.poses != fit.poses[:1]).any(-1).any(0).nonzero()[:, 0]


def _motion_of(fit: SMPLXFit) -> _Motion:
    numbers = [fit.expression] if fit.eyelids is None else [fit.expression, fit.eyelids]
    vectors = [fit.translation]
    rotations = [quaternions.from_axis_angle(fit.poses[:, _joints_that_move(fit)])]
    if camera_moves(fit.camera):
        seen = in_camera(fit, quaternions.from_axis_angle(fit.poses[:, 0]))
        numbers.append(seen.lens)
        vectors.append(seen.position)
        rotations.append(seen.rotation[:, None])
    return _Motion(torch.cat(numbers, 1), torch.stack(vectors, 1), torch.cat(rotations, 1))


def _with_motion(fit: SMPLXFit, motion: _Motion) -> SMPLXFit:
    """Undoes `_motion_of`."""
    moving = _joints_that_move(fit)
    poses = fit.poses.clone()
    poses[:, moving] = quaternions.to_axis_angle(motion.rotations[:, : len(moving)])
    translation, camera, width = motion.vectors[:, 0], fit.camera, fit.expression.shape[1]
    if camera_moves(camera):
        root = quaternions.from_axis_angle(poses[:, 0])
        seen = in_camera(fit, quaternions.from_axis_angle(fit.poses[:, 0]))
        smooth = replace(
            seen, rotation=motion.rotations[:, -1], position=motion.vectors[:, 1], lens=motion.numbers[:, -4:]
        )
        camera = camera_that_sees(smooth, camera, root, translation)
    return fit.replace(
        expression=motion.numbers[:, :width],
        poses=poses,
        translation=translation,
        camera=camera,
        eyelids=None if fit.eyelids is None else motion.numbers[:, width : width + 2],
    )


def _quick(fit: SMPLXFit) -> Tensor:
    """The blinks [F, C] among the numbers of `_motion_of`."""
    quick = quick_lids(fit)
    if fit.eyelids is not None:
        quick = torch.cat([quick, quick_movement(fit.eyelids, fit.fps)], 1)
    return F.pad(quick, (0, 4)) if camera_moves(fit.camera) else quick


def _smoothed(motion: _Motion, method: str, strength: float, fps: float) -> _Motion:
    if method == "one euro":
        numbers, rotations, vectors = (
            OneEuro(fps, SLOWEST_CUTOFF / strength, opening / strength)
            for opening in (OPENING_NUMBERS, OPENING_ROTATION, OPENING_VECTORS)
        )
        return _Motion(
            numbers.numbers(motion.numbers), vectors.vectors(motion.vectors), rotations.rotations(motion.rotations)
        )
    frames = len(motion.numbers)
    if method == "gaussian":
        kernel = gaussian(frames, strength * STRONGEST * fps)
    else:
        kernel = savitzky_golay(frames, max(2, round(strength * POLYNOMIAL_SECONDS * fps)))
    kernel = kernel.to(motion.numbers)
    vectors = kernel.numbers(motion.vectors.flatten(1)).unflatten(1, (-1, 3))
    return _Motion(kernel.numbers(motion.numbers), vectors, kernel.rotations(motion.rotations))


def _guarded(motion: _Motion, method: str, strength: float, fit: SMPLXFit) -> _Motion:
    """Smoothed as strongly as the jitter explains what that changes: where the strongest would blur what moves, a
    weaker one is taken, over some frames (after Lepski 1991). What even the weakest changes too much is cut."""
    limits = _limits(motion, fit.valid)
    kept: tuple[Tensor, Tensor, Tensor] | None = None
    for half in reversed(range(WEAKER)):
        changes = _changes(motion, _smoothed(motion, method, strength / 2**half, fit.fps))
        if kept is None:
            kept = changes[0].clamp(-limits[0], limits[0]), _cut(changes[1], limits[1]), _cut(changes[2], limits[2])
            continue
        kept = tuple(
            torch.lerp(change, weaker, _beside(_size(change) > limit, fit.fps))
            for change, weaker, limit in zip(changes, kept, limits, strict=True)
        )
    numbers, vectors, turns = kept
    return _Motion(
        motion.numbers + numbers[..., 0], motion.vectors + vectors, quaternions.turned(motion.rotations, turns)
    )


def _changes(motion: _Motion, smooth: _Motion) -> tuple[Tensor, Tensor, Tensor]:
    """What smoothing does to numbers [F, C, 1], vectors [F, V, 3] and rotations [F, J, 3]."""
    return (
        (smooth.numbers - motion.numbers)[..., None],
        smooth.vectors - motion.vectors,
        quaternions.difference(motion.rotations, smooth.rotations),
    )


def _limits(motion: _Motion, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How far the jitter explains such changes [C, 1], [V, 1] and [J, 1]."""
    steps = quaternions.difference(motion.rotations[:-1], motion.rotations[1:])
    return (
        GUARD * jitter(motion.numbers.diff(dim=0), valid)[:, None] + FLOOR_NUMBERS,
        GUARD * _joint_jitter(motion.vectors.diff(dim=0), valid) + FLOOR_VECTORS,
        GUARD * _joint_jitter(steps, valid) + FLOOR_ROTATION,
    )


def _size(change: Tensor) -> Tensor:
    return change.norm(dim=-1, keepdim=True)


def _beside(
    moving: Tensor,  # [F, N, 1]
    fps: float,
) -> Tensor:
    """[F, N, 1] 1 where it is true, falling to 0 beside it."""
    margin = max(1, round(BESIDE_SECONDS * fps))
    rows = moving[..., 0].T[:, None].float()
    reached = F.max_pool1d(rows, 2 * margin + 1, 1, margin)
    feathered = F.avg_pool1d(F.pad(reached, (margin, margin), mode="replicate"), 2 * margin + 1, 1)
    return torch.maximum(feathered, rows)[:, 0].T[..., None].to(moving.device)


def _joint_jitter(steps: Tensor, valid: Tensor) -> Tensor:
    """Of vectors [F - 1, N, 3], their length [N, 1]."""
    return jitter(steps.flatten(1), valid).unflatten(0, (-1, 3)).norm(dim=-1, keepdim=True)


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
