"""Clips one after the other: loops without a seam, and two performances joined. Frames that the numbering leaves out
are put back first, not valid, so that every clip keeps its length."""

from __future__ import annotations

import math

import torch

from ...printable import printable
from ...types import HeadModel, SMPLXFit
from .. import quaternions
from .gaps import insert_missing_frames, interpolate_gaps, places_in_time
from .retime import MOST_FRAMES, resample_fit
from .sampling import blend_fits, both_eyelids, padded

OVER = (1.0, -1.0, -1.0)  # half a turn about x
LOOPS = ("once", "repeat", "seamless", "back and forth")
"""As it is; again from the start; the same with the end blended into the start; forwards and then backwards."""


def loop_fit(
    fit: SMPLXFit,
    times: int = 2,  # how often the clip is seen
    how: str = "seamless",  # see LOOPS
    blend: float = 0.4,  # seconds of the end that become the start, seamless only
) -> SMPLXFit:
    """The clip several times. A seamless loop may be repeated further by any player: its last frame leads to its first.

    Seamless, every round is shorter by the blend: its first frames are the frames after its end, gliding into the
    start. Frame numbers go on from the first one through all rounds: the source's own would leap, and a leap up (where
    what is played backwards was a loop itself) is a gap.

    Raises:
        ValueError: an unknown way, fewer than one round, more than a million frames, or a blend longer than half the
            clip.
    """
    if how not in LOOPS:
        raise ValueError(f"The loop is '{how}', expected one of {', '.join(LOOPS)}.")
    if not isinstance(times, int) or times < 1:
        raise ValueError(f"The clip is to be seen {times} times, expected a whole number of 1 or more.")
    length = int(places_in_time(fit)[-1]) + 1
    frames = times * (2 * length - 2 if how == "back and forth" and length > 1 else length)
    if how != "once" and frames > MOST_FRAMES:
        raise ValueError(
            f"{times} rounds of {length} frames are {frames:,} frames, expected at most {MOST_FRAMES:,}. Choose fewer "
            f"rounds."
        )
    if how == "once":
        return fit
    first = fit.frame_ids[0]
    fit = insert_missing_frames(fit)
    if how == "seamless":
        fit = _seamless(fit, blend)
    one_round = torch.arange(fit.num_frames)
    if how == "back and forth":  # neither end is seen twice
        one_round = torch.cat([one_round, one_round.flip(0)[1:-1]])
    looped = fit.frames(one_round.repeat(times).to(first.device))
    return looped.replace(frame_ids=first + torch.arange(looped.num_frames, device=first.device))


def join_fits(
    first: SMPLXFit,
    second: SMPLXFit,
    blend: float = 0.4,
    model: HeadModel | None = None,  # theirs; needed where the worlds of the two are upside down to each other
) -> SMPLXFit:
    """Two performances one after the other, the end of the first gliding into the start of the second over `blend`
    seconds. The person, the frame rate and the size of the pictures are the first's; frame numbers go on from its last
    one, because a leap to the second's own would be a gap.

    Some trackers write people who stand upright, some (SMPLer-X, LHM, GVHMR) who stand on their heads, as OpenCV's
    axes have them. The second's world is turned to be as the first's, which changes nothing that its camera sees.

    Raises:
        ValueError: they are of different head models or expression spaces, their pictures have different shapes, one
            is shorter than the blend, or their worlds differ and the head model is not known.
    """
    if (first.expression_space, first.model_id) != (second.expression_space, second.model_id):
        raise ValueError(
            f"The first fit is of '{printable(first.model_id)}' with expressions "
            f"'{printable(first.expression_space)}', the second of '{printable(second.model_id)}' with "
            f"'{printable(second.expression_space)}'. Load both with the same head model."
        )
    first = insert_missing_frames(first)
    second = _seen_as(first, insert_missing_frames(resample_fit(second, first.fps)))
    if _upside_down(first, second):
        second = _turned_over(second, model)
    count = _blended_frames(blend, first.fps)
    if count > min(first.num_frames, second.num_frames):
        raise ValueError(
            f"The fits have {first.num_frames} and {second.num_frames} frames, the blend is {count}. Choose a shorter "
            f"one."
        )
    numbers = first.frame_ids[-1] + 1 + torch.arange(second.num_frames - count, device=first.frame_ids.device)
    if count == 0:
        return _chained(first, second.replace(frame_ids=numbers))
    meeting = _glided(first.frames(slice(-count, None)), second.frames(slice(None, count)))
    parts = [first.frames(slice(None, -count))] if count < first.num_frames else []
    parts.append(meeting.replace(frame_ids=first.frame_ids[-count:]))
    parts += [second.frames(slice(count, None)).replace(frame_ids=numbers)] if count < second.num_frames else []
    joined = parts[0]
    for part in parts[1:]:
        joined = _chained(joined, part)
    return joined


def _seamless(fit: SMPLXFit, blend: float) -> SMPLXFit:
    count = _blended_frames(blend, fit.fps)
    if not 1 <= count <= fit.num_frames // 2:
        raise ValueError(
            f"A seamless loop blends {count} frames, the clip has {fit.num_frames}: expected at least 1 and at most "
            f"half of them. Change the blend of {blend:g} seconds."
        )
    seam = _glided(fit.frames(slice(-count, None)), fit.frames(slice(None, count)))
    return _chained(seam, fit.frames(slice(count, -count))) if 2 * count < fit.num_frames else seam


def _glided(leaving: SMPLXFit, arriving: SMPLXFit) -> SMPLXFit:
    """From one motion into the other, without a jolt at either end."""
    share = (torch.arange(leaving.num_frames) + 1) / (leaving.num_frames + 1)
    share = (share * share * (3 - 2 * share)).to(leaving.expression)
    return blend_fits(_filled(leaving), _filled(arriving), share)


def _filled(fit: SMPLXFit) -> SMPLXFit:
    """A part of a clip may show no face at all."""
    return interpolate_gaps(fit) if fit.valid.any() else fit


def _seen_as(first: SMPLXFit, second: SMPLXFit) -> SMPLXFit:
    """The second with the first's shape, picture size and number of columns."""
    height, width = first.image_size
    scale = height / second.image_size[0], width / second.image_size[1]
    if abs(scale[0] / scale[1] - 1) > 0.01:
        raise ValueError(
            f"The fits are of pictures of {width}×{height} and {second.image_size[1]}×{second.image_size[0]}, which "
            f"have different shapes. Crop one of the clips first."
        )
    landmarks = second.landmarks
    if landmarks is not None:
        landmarks = landmarks * landmarks.new_tensor([scale[1], scale[0], 1.0])
    return second.replace(
        betas=first.betas, camera=second.camera.resized(height, width), landmarks=landmarks,
    )  # fmt: skip


def _chained(first: SMPLXFit, second: SMPLXFit) -> SMPLXFit:
    columns = max(first.expression.shape[1], second.expression.shape[1])
    marked = (
        first.landmarks is not None
        and second.landmarks is not None
        and first.landmark_scheme == second.landmark_scheme
        and first.landmarks.shape[1:] == second.landmarks.shape[1:]
    )
    lids = both_eyelids(first, second)
    lenses = torch.cat([first.camera.intrinsics, second.camera.intrinsics])
    poses = torch.cat([first.camera.world_to_camera, second.camera.world_to_camera])
    return first.replace(
        expression=torch.cat([padded(part.expression, columns) for part in (first, second)]),
        poses=torch.cat([first.poses, second.poses]),
        translation=torch.cat([first.translation, second.translation]),
        camera=first.camera.replace(intrinsics=lenses, world_to_camera=poses),
        valid=torch.cat([first.valid, second.valid]),
        frame_ids=torch.cat([first.frame_ids, second.frame_ids]),
        landmarks=torch.cat([first.landmarks, second.landmarks]) if marked else None,
        landmark_scheme=first.landmark_scheme if marked else None,
        eyelids=None if lids is None else torch.cat(lids),
    )


def _upside_down(first: SMPLXFit, second: SMPLXFit) -> bool:
    """Whether the cameras where the two meet are nearer to each other with one world turned over."""
    before, after = first.camera.world_to_camera[-1, :3, :3], second.camera.world_to_camera[0, :3, :3]
    over = before.new_tensor(OVER)
    return float((before * after).sum()) < float((before * (after * over)).sum())  # traces: the cosines of the angles


def _turned_over(fit: SMPLXFit, model: HeadModel | None) -> SMPLXFit:
    """The same in front of the same cameras, in a world turned by half a circle about x."""
    if model is None:
        raise ValueError(
            "The fits' worlds are upside down to each other, as those of different trackers. Give the head model as "
            "well, so that the second can be turned about its pelvis."
        )
    over = fit.translation.new_tensor(OVER)
    pelvis = model.joint_template[0] + model.joint_shape_basis[0, :, : len(fit.betas)] @ fit.betas.to(model.template)
    pelvis = pelvis.to(fit.translation)
    half = quaternions.from_axis_angle(over.new_tensor([math.pi, 0.0, 0.0]))
    poses, view = fit.poses.clone(), fit.camera.world_to_camera.clone()
    root = quaternions.from_axis_angle(poses[:, 0])
    poses[:, 0] = quaternions.to_axis_angle(quaternions.multiply(half.expand_as(root), root))
    view[:, :3, :3] = view[:, :3, :3] * over
    return fit.replace(
        poses=poses, translation=(fit.translation + pelvis) * over - pelvis,
        camera=fit.camera.replace(world_to_camera=view),
    )  # fmt: skip


def _blended_frames(seconds: float, fps: float) -> int:
    if not 0 <= seconds < 3600:
        raise ValueError(f"The blend is {seconds} seconds, expected 0 or more.")
    return round(seconds * fps)
