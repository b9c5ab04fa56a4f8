"""A fit between its frames: values at fractional frame numbers, and mixtures of two fits."""

from __future__ import annotations

import torch
from torch import Tensor

from ...types import Camera, SMPLXFit
from .. import quaternions
from .in_camera import rotated


def blend_fits(
    first: SMPLXFit,
    second: SMPLXFit,  # as many frames, of the same person and head model
    share: Tensor,  # [F] 0 is the first, 1 the second
) -> SMPLXFit:
    """Between two fits, frame by frame: rotations on the shortest way, the rest along straight lines. Where cameras
    differ, the body as they see it goes so, and the cameras follow: trackers write a head's motion into them, and what
    the one has in the camera, the other may have in the body.

    A frame that is a mixture is valid where both were, and its landmarks are as sure as the less sure of the two.
    Frame numbers are those of the nearer one.
    """
    share = share.to(first.expression)
    rows = share[:, None]
    nearer = share >= 0.5
    only_first, only_second = share == 0, share == 1
    valid = torch.where(only_first, first.valid, torch.where(only_second, second.valid, first.valid & second.valid))
    landmarks = _blend_landmarks(first, second, share)
    lids = both_eyelids(first, second)
    columns = max(first.expression.shape[1], second.expression.shape[1])
    poses = blend_rotations(first.poses, second.poses, rows[..., None])
    translation = torch.lerp(first.translation, second.translation, rows)
    return first.replace(
        expression=torch.lerp(padded(first.expression, columns), padded(second.expression, columns), rows),
        poses=poses,
        translation=translation,
        camera=_between_cameras(first, second, share, poses[:, 0], translation),
        valid=valid,
        frame_ids=torch.where(nearer, second.frame_ids, first.frame_ids),
        landmarks=landmarks,
        landmark_scheme=None if landmarks is None else first.landmark_scheme,
        eyelids=None if lids is None else torch.lerp(*lids, rows),
    )


def sample_fit(
    fit: SMPLXFit,
    positions: Tensor,  # [F'] frame numbers, counted from 0, also between two frames; the ends are held
) -> SMPLXFit:
    """The fit at other moments."""
    last = fit.num_frames - 1
    positions = positions.double().clamp(0, last)
    below = positions.floor().long()
    above = (below + 1).clamp(max=last)
    return blend_fits(fit.frames(below), fit.frames(above), positions - below)


def blend_rotations(
    first: Tensor,  # [..., 3] axis-angle
    second: Tensor,  # [..., 3]
    share: Tensor,  # [..., 1]
) -> Tensor:
    """[..., 3] axis-angle; where the share is 0 or 1, or nothing moves, exactly what was given."""
    start, stop = quaternions.from_axis_angle(first), quaternions.from_axis_angle(second)
    between = quaternions.to_axis_angle(quaternions.slerp(start, stop, share))
    kept = (share == 0) | (first == second).all(-1, keepdim=True)
    return torch.where(kept, first, torch.where(share == 1, second, between))


def both_eyelids(first: SMPLXFit, second: SMPLXFit) -> tuple[Tensor, Tensor] | None:
    """[F, 2] of each; open where only the other has any, because there the expressions alone close the eyes."""
    if first.eyelids is None and second.eyelids is None:
        return None
    lids = [fit.translation.new_zeros(fit.num_frames, 2) if fit.eyelids is None else fit.eyelids for fit in
            (first, second)]  # fmt: skip
    return lids[0], lids[1]


def padded(expression: Tensor, columns: int) -> Tensor:
    """[F, columns] what a fit has no numbers for is at rest."""
    return torch.nn.functional.pad(expression, (0, columns - expression.shape[1]))


def _between_cameras(first: SMPLXFit, second: SMPLXFit, share: Tensor, root: Tensor, translation: Tensor) -> Camera:
    """Cameras that see the body, which has come to `root` [F, 3] and `translation` [F, 3], on its way between what the
    two see: turning the shortest way, and along a straight line."""
    start, stop = first.camera.world_to_camera, second.camera.world_to_camera
    lens = torch.lerp(first.camera.intrinsics, second.camera.intrinsics, share[:, None, None])
    if torch.equal(start, stop):
        return first.camera.replace(intrinsics=lens, world_to_camera=start)
    seen = quaternions.slerp(_root_in_camera(first), _root_in_camera(second), share[:, None])
    turn = quaternions.to_matrix(quaternions.multiply(seen, quaternions.inverse(quaternions.from_axis_angle(root))))
    place = torch.lerp(_place_in_camera(first), _place_in_camera(second), share[:, None])
    between = start.clone()
    between[:, :3, :3] = turn
    between[:, :3, 3] = place - rotated(turn, translation)
    at = share[:, None, None]
    poses = torch.where(at == 0, start, torch.where(at == 1, stop, between))
    return first.camera.replace(intrinsics=lens, world_to_camera=poses)


def _root_in_camera(fit: SMPLXFit) -> Tensor:
    view = quaternions.from_matrix(fit.camera.world_to_camera[:, :3, :3])
    return quaternions.multiply(view, quaternions.from_axis_angle(fit.poses[:, 0]))


def _place_in_camera(fit: SMPLXFit) -> Tensor:
    view = fit.camera.world_to_camera
    return rotated(view[:, :3, :3], fit.translation) + view[:, :3, 3]


def _blend_landmarks(first: SMPLXFit, second: SMPLXFit, share: Tensor) -> Tensor | None:
    if first.landmarks is None or second.landmarks is None:
        return None
    if first.landmarks.shape != second.landmarks.shape or first.landmark_scheme != second.landmark_scheme:
        return None
    at = share[:, None, None]
    mixed = torch.lerp(first.landmarks, second.landmarks, at)
    surest = torch.minimum(first.landmarks[..., 2], second.landmarks[..., 2])
    mixed = torch.cat([mixed[..., :2], surest[..., None]], -1)
    return torch.where(at == 0, first.landmarks, torch.where(at == 1, second.landmarks, mixed))
