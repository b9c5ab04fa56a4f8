"""The motion of a region made larger or smaller, and motion made relative to a frame at rest."""

from __future__ import annotations

import torch
from torch import Tensor

from ...body import axis_angle_to_matrix, matrix_to_axis_angle
from ...types import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, HeadModel, SMPLXFit
from .. import quaternions
from ..face_regions import expression_gains
from ..formats.arkit import JAW_OPEN, JAW_SIDE
from ..head_pose import body_rotation, neck_position, skull_rotation, split_rotation
from .controls import out_of_sight

JAW_RANGE = (0.0, -JAW_SIDE, -JAW_SIDE), (JAW_OPEN, JAW_SIDE, JAW_SIDE)  # no unit rolls it: no further than sideways
STILL = 1e-5  # radians that a body at rest turns by the rounding of its numbers


def scale_motion(
    fit: SMPLXFit,
    model: HeadModel,
    mouth: float = 1.0,  # lower face and jaw
    eyes: float = 1.0,  # lids and gaze
    brows: float = 1.0,
    pose: float = 1.0,  # the head's rotation away from the neutral frame's, and the body's where that turns
    neutral_frame: int | None = None,  # None takes the first with a face for the pose, and rest for the face
) -> SMPLXFit:
    """The motion of each region, larger or smaller. 1 leaves it exactly as it is.

    With a neutral frame the face moves relative to it: what it shows there becomes rest, so a face that was tracked
    with a smile that is its own shape comes out neutral. The head's pose is scaled about that frame, not moved.

    A gain above 1 exaggerates within what a face can do: expressions with names go up to 1, the jaw turns as far as
    its units at 1 turn it, the eyes as far as their irises stay in sight; what was past that already stays where it
    was. What is below zero (a unit that shows less than in the neutral frame, a jaw pressed shut) is not exaggerated.

    The head is scaled as the camera sees it. Where it turns because its body does (many trackers write all of it into
    the root or the camera), the body's rotation in the camera is scaled too, by its root: the camera stays, and so does
    the neck joint's place in it. Neck and head do the rest.

    Raises:
        ValueError: a frame that is not there or shows no face, a gain below 0, or a gain for a region of expressions
            without names.
    """
    fit.require_space(model)
    for name, gain in {"mouth": mouth, "eyes": eyes, "brows": brows, "pose": pose}.items():
        if not 0 <= gain < 100:
            raise ValueError(f"The gain for {name} is {gain}, expected 0 or more (1 leaves the motion as it is).")
    if neutral_frame is not None and not 0 <= neutral_frame < fit.num_frames:
        raise ValueError(
            f"The neutral frame is {neutral_frame}, the fit has the frames 0 to {fit.num_frames - 1}. Choose one of "
            f"them."
        )
    if neutral_frame is not None and not fit.valid[neutral_frame]:
        raise ValueError(
            f"No face was seen in the neutral frame, {neutral_frame}. Choose one that shows the face at rest; the "
            f"first with a face is {fit.first_valid}."
        )
    factors = expression_gains(model, mouth, eyes, brows).to(fit.expression)[: fit.expression.shape[1]]
    if neutral_frame is None and (mouth, eyes, brows, pose) == (1, 1, 1, 1):
        return fit
    shown = fit.expression if neutral_frame is None else fit.expression - fit.expression[neutral_frame]
    expression = possible_expression(shown * factors, shown, fit.expression_space)
    lids = fit.eyelids
    if lids is not None:
        lids = lids if neutral_frame is None else lids - lids[neutral_frame]
        lids = _within(eyes * lids, lids, (0.0, 1.0))
    poses = fit.poses.clone()
    for joint, gain in ((JAW, mouth), (LEFT_EYE, eyes), (RIGHT_EYE, eyes)):
        turned = quaternions.from_axis_angle(poses[:, joint])
        if neutral_frame is not None:
            turned = quaternions.multiply(quaternions.inverse(turned[neutral_frame]), turned)
        if neutral_frame is not None or gain != 1:
            poses[:, joint] = scaled_turn(joint, quaternions.to_axis_angle(turned), gain)
    moved = fit.replace(expression=expression, poses=poses, eyelids=lids, landmarks=None, landmark_scheme=None)
    if pose == 1:
        return moved
    return _with_pose(model, moved, pose, fit.first_valid if neutral_frame is None else neutral_frame)


def possible_expression(
    scaled: Tensor,  # [F, E] with a gain
    shown: Tensor,  # [F, E] without
    expression_space: str,
) -> Tensor:
    """What of a gain a face can do: units with names stay between 0 and 1, or where they are without it."""
    return _within(scaled, shown, (0.0, 1.0)) if expression_space == "arkit" else scaled


def scaled_turn(
    joint: int,  # JAW or an eye
    turn: Tensor,  # [F, 3] axis-angle
    gain: float,
) -> Tensor:
    """The turn with a gain, as far as the jaw opens and irises stay in sight, or where it is without it."""
    return _within(gain * turn, turn, JAW_RANGE) if joint == JAW else _in_sight(turn, gain)


def _within(scaled: Tensor, shown: Tensor, limits: tuple) -> Tensor:
    """The scaled values, kept between the limits, which are as wide as what was shown without a gain."""
    low, high = (shown.new_tensor(limit) for limit in limits)
    return torch.minimum(torch.maximum(scaled, torch.minimum(low, shown)), torch.maximum(high, shown))


def _in_sight(
    turn: Tensor,  # [F, 3] of an eye, axis-angle
    gain: float,
) -> Tensor:
    """The eye's turn [F, 3] scaled, but no further out of sight than it was. It keeps the way that it turns."""
    room = (1 / out_of_sight(turn).clamp(min=1e-6)).clamp(min=1)
    return turn * room.clamp(max=gain)


def _with_pose(model: HeadModel, fit: SMPLXFit, gain: float, frame: int) -> SMPLXFit:
    """The fit with body and skull that turn away from one of its frames further or less far, as the camera sees it."""
    target = _scaled(skull_rotation(model, fit), gain, frame)
    fit = _with_body(model, fit, gain, frame)
    poses = fit.poses.clone()
    poses[:, NECK], poses[:, HEAD] = split_rotation(model, fit, target)
    return fit.replace(poses=poses)


def _with_body(model: HeadModel, fit: SMPLXFit, gain: float, frame: int) -> SMPLXFit:
    """The same of the body alone, turned about the neck joint. Frames in which it has not turned stay exactly so."""
    body = body_rotation(model, fit)
    turns = matrix_to_axis_angle(body[frame].T @ body).norm(dim=-1) > STILL
    if not turns.any():
        return fit
    camera = fit.camera.world_to_camera[:, :3, :3]
    in_world = camera.transpose(1, 2) @ _scaled(body, gain, frame) @ body.transpose(1, 2) @ camera
    root = in_world @ axis_angle_to_matrix(fit.poses[:, 0])
    poses = fit.poses.clone()
    # by quaternions: bodies that are seen in OpenCV's axes stand on their heads, half a turn from their template
    poses[turns, 0] = quaternions.to_axis_angle(quaternions.from_matrix(root[turns]))
    turned = fit.replace(poses=poses)
    shift = neck_position(model, fit.betas, fit) - neck_position(model, fit.betas, turned)
    return turned.replace(translation=torch.where(turns[:, None], fit.translation + shift, fit.translation))


def _scaled(rotation: Tensor, gain: float, frame: int) -> Tensor:
    """Rotations [F, 3, 3] that turn away from one of them by more or less, in its own axes."""
    start = rotation[frame]
    return start @ axis_angle_to_matrix(gain * matrix_to_axis_angle(start.T @ rotation))
