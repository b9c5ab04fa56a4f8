"""transfer(): the driver's performance on a personalised head, with offsets that fit that head's own face."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..body import axis_angle_to_matrix, matrix_to_axis_angle
from ..fit.edit.gains import possible_expression, scaled_turn
from ..fit.face_regions import expression_gains
from ..fit.head_pose import neck_position, skull_rotation, split_rotation
from ..types import (
    HEAD,
    JAW,
    LEFT_EYE,
    NECK,
    RIGHT_EYE,
    HeadModel,
    HeadMotion,
    PersonalizedHead,
    SMPLXFit,
    StoredOffsets,
)
from .model import TransferModel, load_transfer_model

CHOICES = {
    "head_pose": ("driver", "portrait", "relative"),
    "camera": ("portrait", "driver"),
    "expression": ("absolute", "relative"),
}


@dataclass(frozen=True)
class Gains:
    """How much of the driver's performance is taken over, 1 = all of it, more within what a face can do."""

    mouth: float = 1.0  # lower face and jaw
    eyes: float = 1.0  # lids and gaze
    brows: float = 1.0
    pose: float = 1.0  # the head's rotation away from the portrait's
    wrinkles: float = 1.0  # the dynamic offsets Δf


def transfer(
    head: PersonalizedHead,
    driver: SMPLXFit,
    model: TransferModel | None = None,
    head_pose: str = "driver",
    camera: str = "portrait",
    expression: str = "absolute",
    neutral_frame: int = 0,
    gains: Gains | None = None,
    portrait_frame: int | None = None,
) -> HeadMotion:
    """The driver's performance on the head. By default camera, scale and translation are the portrait's, rotation
    and expression the driver's.

    Args:
        model: predicts the dynamic offsets Δf; None loads the built-in one.
        head_pose: "driver" looks where the driver looks, as seen by its camera; "relative" turns from the portrait's
            own pose as the driver turns from its neutral frame; "portrait" keeps still.
        camera: "portrait" leaves body and camera as they are in the portrait: the head turns about its neck and stays
            where it is in the picture. "driver" takes over camera, body and place in the driver's picture, in the
            middle of one of the portrait's size.
        expression: "absolute", or "relative": the portrait's own plus what the driver changed since its neutral frame.
        neutral_frame: the driver's frame that both "relative" choices start from.
        gains: by region; None takes over everything as it is.
        portrait_frame: the frame of the head's own clip that the portrait picture shows; None takes the first one in
            which a face was seen.

    Raises:
        ValueError: another expression space than the head's, an unknown choice, a frame that is not there or shows no
            face, or a gain for a region of expressions that have no names.
    """
    portrait_frame = head.fit.first_valid if portrait_frame is None else portrait_frame
    gains = gains or Gains()
    _check(head, driver, neutral_frame, portrait_frame, head_pose=head_pose, camera=camera, expression=expression)
    by_region = expression_gains(head.model, gains.mouth, gains.eyes, gains.brows)
    if gains.wrinkles != 0:
        model = load_transfer_model() if model is None else model
        model.require(head.model)
    driver = driver.to(head.betas.device)
    portrait = head.fit.frames(slice(portrait_frame, portrait_frame + 1))
    relative = expression == "relative"

    psi = _transferred_expression(portrait, driver, by_region, neutral_frame if relative else None)
    base = driver if camera == "driver" else portrait
    poses = base.poses.expand(driver.num_frames, -1, -1).clone()
    for joint, gain in ((JAW, gains.mouth), (LEFT_EYE, gains.eyes), (RIGHT_EYE, gains.eyes)):
        poses[:, joint] = _joint_pose(portrait, driver, joint, gain, neutral_frame if relative else None)
    target = _head_rotation(head.model, portrait, driver, head_pose, neutral_frame, gains.pose)
    poses[:, NECK], poses[:, HEAD] = split_rotation(head.model, base, target)

    translation = base.translation.expand(driver.num_frames, -1)
    seen_by = portrait.camera.repeat(driver.num_frames)
    if camera == "driver":
        translation = translation + _neck_shift(head, driver)
        seen_by = driver.camera.within(*portrait.image_size)
    offsets = None
    if gains.wrinkles != 0:
        offsets = model.predict(head, psi, poses[:, JAW], gains.wrinkles)
    return HeadMotion(
        head=head,
        expression=psi,
        poses=poses,
        translation=translation.contiguous(),
        camera=seen_by,
        fps=driver.fps,
        portrait_frame=portrait_frame,
        offsets=offsets,
    )


def copy_offsets(motion: HeadMotion, source: PersonalizedHead) -> HeadMotion:
    """The paper's ablation: the motion with the driver's *own* offsets instead of ones that fit the target.

    Args:
        source: the driver's personalised head, whose clip the motion was driven by.

    Raises:
        ValueError: the two heads differ in model or level, or the clip in its length.
    """
    target, frames = motion.head, motion.num_frames
    if (source.model_id, source.level) != (target.model_id, target.level) or source.fit.num_frames != frames:
        raise ValueError(
            f"Offsets can only be copied between heads of one model and level, frame by frame. The driver's head is "
            f"'{source.model_id}' at level {source.level} with {source.fit.num_frames} frames, the target "
            f"'{target.model_id}' at level {target.level} with {frames}."
        )
    moving = source.dynamic_offsets.abs().amax((0, 2)).nonzero()[:, 0]
    stored = StoredOffsets(moving, source.dynamic_offsets[:, moving], target.model.num_vertices)
    return motion.replace(offsets=stored.to(target.betas.device))


def _check(head: PersonalizedHead, driver: SMPLXFit, neutral_frame: int, portrait_frame: int, **choices: str) -> None:
    for name, value in choices.items():
        if value not in CHOICES[name]:
            raise ValueError(f"{name} is '{value}', expected one of: {', '.join(CHOICES[name])}.")
    driver.require_space(head.model)
    for name, frame, count in (
        ("neutral_frame", neutral_frame, driver.num_frames),
        ("portrait_frame", portrait_frame, head.fit.num_frames),
    ):
        if not 0 <= frame < count:
            whose = "driver" if name == "neutral_frame" else "portrait"
            raise ValueError(f"{name} is {frame}, the {whose} has the frames 0 to {count - 1}. Choose one of them.")
    if not head.fit.valid[portrait_frame]:
        raise ValueError(f"No face was seen in frame {portrait_frame} of the portrait. Choose a frame that shows one.")
    _ = driver.first_valid  # refuses a driver whose face was never seen


def _transferred_expression(portrait: SMPLXFit, driver: SMPLXFit, factors: Tensor, neutral_frame: int | None) -> Tensor:
    """ψ of the motion [F, E]."""
    factors = factors[: driver.expression.shape[1]]
    if neutral_frame is None:
        return possible_expression(driver.expression * factors, driver.expression, driver.expression_space)
    change = driver.expression - driver.expression[neutral_frame]
    width = max(portrait.expression.shape[1], change.shape[1])
    own = _padded(portrait.expression, width)
    scaled, shown = (own + _padded(moved, width) for moved in (change * factors, change))
    return possible_expression(scaled, shown, driver.expression_space)


def _padded(expression: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(expression, (0, width - expression.shape[1]))


def _joint_pose(portrait: SMPLXFit, driver: SMPLXFit, joint: int, gain: float, neutral_frame: int | None) -> Tensor:
    """A joint that only the face moves (jaw, eyes), [F, 3]."""
    if neutral_frame is None:
        return scaled_turn(joint, driver.poses[:, joint], gain)
    moved = axis_angle_to_matrix(driver.poses[:, joint])
    change = matrix_to_axis_angle(moved[neutral_frame].T @ moved)
    change = axis_angle_to_matrix(scaled_turn(joint, change, gain))
    return matrix_to_axis_angle(axis_angle_to_matrix(portrait.poses[:, joint]) @ change)


def _head_rotation(
    model: HeadModel, portrait: SMPLXFit, driver: SMPLXFit, head_pose: str, neutral_frame: int, gain: float
) -> Tensor:
    """The skull's rotation in the camera [F, 3, 3]."""
    own, driven = skull_rotation(model, portrait), skull_rotation(model, driver)
    if head_pose == "portrait":
        return own.expand_as(driven)
    # in the head's own axes: a nod stays a nod, also where the portrait looks to the side and the driver does not
    start = driven[neutral_frame] if head_pose == "relative" else own[0]
    change = start.T @ driven
    if gain != 1:
        change = axis_angle_to_matrix(matrix_to_axis_angle(change) * gain)
    return own @ change


def _neck_shift(head: PersonalizedHead, driver: SMPLXFit) -> Tensor:
    """What brings the target's neck joint to where the driver's is [F, 3]: two bodies differ in the length of their
    backs. Nothing where the driver's betas belong to another model, whose body is not known here."""
    if driver.model_id != head.model_id:
        return torch.zeros_like(driver.translation)
    return neck_position(head.model, driver.betas, driver) - neck_position(head.model, head.betas, driver)
