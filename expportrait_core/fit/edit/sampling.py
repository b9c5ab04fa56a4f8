"""A fit between its frames: values at fractional frame numbers, and mixtures of two fits."""

from __future__ import annotations

import torch
from torch import Tensor

from ...types import Camera, SMPLXFit
from .. import quaternions


def blend_fits(
    first: SMPLXFit,
    second: SMPLXFit,  # as many frames, of the same person and head model
    share: Tensor,  # [F] 0 is the first, 1 the second
) -> SMPLXFit:
    """Between two fits, frame by frame: rotations on the shortest way, the rest along straight lines.

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
    return first.replace(
        expression=torch.lerp(first.expression, second.expression, rows),
        poses=blend_rotations(first.poses, second.poses, rows[..., None]),
        translation=torch.lerp(first.translation, second.translation, rows),
        camera=_blend_cameras(first.camera, second.camera, share),
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


def _blend_cameras(first: Camera, second: Camera, share: Tensor) -> Camera:
    """Cameras that turn on the shortest way and fly along a straight line."""
    if torch.equal(first.world_to_camera, second.world_to_camera):
        poses = first.world_to_camera
    else:
        start, stop = first.world_to_camera, second.world_to_camera
        turn = quaternions.to_matrix(
            quaternions.slerp(
                quaternions.from_matrix(start[:, :3, :3]), quaternions.from_matrix(stop[:, :3, :3]), share[:, None]
            )
        )
        place = torch.lerp(_place(start), _place(stop), share[:, None])
        between = start.clone()
        between[:, :3, :3] = turn
        between[:, :3, 3] = -(turn @ place[..., None])[..., 0]
        at = share[:, None, None]
        poses = torch.where(at == 0, start, torch.where(at == 1, stop, between))
    lens = torch.lerp(first.intrinsics, second.intrinsics, share[:, None, None])
    return first.replace(intrinsics=lens, world_to_camera=poses)


def _place(world_to_camera: Tensor) -> Tensor:
    """Where the cameras stand [F, 3]."""
    return -(world_to_camera[:, :3, :3].transpose(1, 2) @ world_to_camera[:, :3, 3:])[..., 0]


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
