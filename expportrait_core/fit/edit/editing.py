"""Edits of a fit: named controls added to what it shows, or set in its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ...body import axis_angle_to_matrix
from ...types import HEAD, JAW, LEFT_EYE, NECK, NUM_JOINTS, RIGHT_EYE, HeadModel, SMPLXFit
from .. import quaternions
from ..formats import cameras
from ..head_pose import skull_rotation, split_rotation
from .controls import TURNED, Deltas, control_deltas, controls, gaze_together, require_controls, taken_back
from .sampling import blend_rotations

MODES = ("add", "replace")
OVERSHOOT = 0.11  # share of its range that a curve may swing past it, as keyframes that overshoot do by a tenth
SIZE = 512  # pixels of the picture that a fit without a clip is seen in
FOCAL, FACE_DISTANCE = 3.0, 1.2  # picture sides; metres from the camera to the eyes: a portrait lens

Values = Mapping[str, float | Tensor]


def neutral_fit(model: HeadModel, num_frames: int = 1, fps: float = 25.0, size: int = SIZE) -> SMPLXFit:
    """The model's average head at rest, seen from the front: what edits and keyframes begin with.

    Raises:
        ValueError: fewer frames than one.
    """
    if num_frames < 1:
        raise ValueError(f"{num_frames} frames were asked for, expected at least 1.")
    eyes = model.joint_template[[LEFT_EYE, RIGHT_EYE]].mean(0).cpu().numpy().astype(np.float64)
    like = model.template
    camera = cameras.frontal(num_frames, eyes, (size, size), FACE_DISTANCE)
    intrinsics = torch.tensor([[FOCAL * size, 0, size / 2], [0, FOCAL * size, size / 2], [0, 0, 1.0]])
    return SMPLXFit(
        betas=like.new_zeros(10),
        expression=like.new_zeros(num_frames, model.expression_basis.shape[2]),
        poses=like.new_zeros(num_frames, NUM_JOINTS, 3),
        translation=like.new_zeros(num_frames, 3),
        camera=camera.replace(intrinsics=intrinsics.repeat(num_frames, 1, 1)).to(like.device),
        expression_space=model.expression_space,
        model_id=model.model_id,
        fps=fps,
    )


def edit_fit(
    fit: SMPLXFit,
    model: HeadModel,
    values: Values,  # by control (see `controls`): one number, or one per frame [F]
    mode: str = "add",
    start: int = 0,  # first frame that is edited
    stop: int | None = None,  # first frame that is not; None edits up to the end
    fade: float = 0.0,  # seconds over which an edit in the middle of a clip comes and goes
    whole: bool = False,  # replace the whole face: what no value names is at rest, as a preset means it
) -> SMPLXFit:
    """The fit with controls added to what it shows, or set to these values whatever it showed.

    Adding never pushes a unit over 1, unless it was there already or the value itself is larger. A control with two
    sides (smile, gaze_x, gaze_y) first takes back what the other side shows, and then adds its own: -0.4 on a smile
    of 0.4 is a face at rest, and a value and then its opposite give back the face, as long as no unit came to its end
    on the way (1, or 0 of those that only go along) or was below zero.

    Replacing sets the controls that are named and leaves the others as they are. Of the whole face it also sets
    expression, jaw, eyes and eyelids to rest where nothing is named (no values at all make a face at rest); the head
    keeps turning unless one of its controls is named.

    Where expressions have no names (SMPL-X, FLAME), a control acts on all columns, so replacing one replaces the
    whole expression, and adding is linear: the two sides of a control do not take back one another. The head turns in
    its own axes; replacing sets it relative to the body. The landmarks of an edited fit no longer lie on the face and
    are left out.

    Raises:
        ValueError: another expression space than the model's, an unknown control, mode or range of frames, a whole
            face that is to be added, a curve of another length or with values far outside of the control's range, or
            a control that the model cannot express.
    """
    if mode not in MODES:
        raise ValueError(f"The edit is to '{mode}', expected one of {', '.join(MODES)}.")
    if whole and mode != "replace":
        raise ValueError(f"The whole face is to be edited by '{mode}', expected 'replace'. Leave whole off to add.")
    fit.require_space(model)
    require_controls({name: value for name, value in values.items() if not isinstance(value, Tensor)})
    weight = _weight(fit, start, stop, fade)
    if not values and not whole:
        return fit
    _require_curves(values, fit.num_frames)
    curves = {name: torch.as_tensor(value).to(fit.expression).expand(fit.num_frames) for name, value in values.items()}
    curves = gaze_together(curves)
    if mode == "replace":
        deltas = control_deltas(model, curves, fit.num_frames)
        edited = _set(fit, model, _with_rest(deltas) if whole else deltas)
        if whole and fit.eyelids is not None:
            edited = edited.replace(eyelids=fit.eyelids * (1 - weight[:, None]))
        return _between(fit, edited, weight, model)
    curves = {name: curve * weight for name, curve in curves.items()}
    deltas = control_deltas(model, curves, fit.num_frames)
    if fit.expression_space == "arkit":
        back = taken_back(model.expression_names, _widened(fit.expression, model), curves)
        deltas = dataclasses.replace(deltas, expression=deltas.expression + back)
    return _added(fit, model, deltas)


def most_changed(before: SMPLXFit, after: SMPLXFit) -> int:
    """The frame in which an edit shows most; without one, the first with a face."""
    wider = after.expression.shape[1] - before.expression.shape[1]
    expression = after.expression - torch.nn.functional.pad(before.expression, (0, wider))
    # as rotations: the vectors of a body that stands half a turn from its template change their sign for nothing
    turns = quaternions.difference(*(quaternions.from_axis_angle(fit.poses) for fit in (before, after))).norm(dim=-1)
    change = (expression.abs().sum(1) + turns.sum(1)) * after.valid
    if change.max() > 0:
        return int(change.argmax())
    return after.first_valid if after.valid.any() else 0


def _require_curves(values: Values, num_frames: int) -> None:
    """Raise a sentence for a curve of another length than the clip, or with a value far outside of its range."""
    for name, curve in values.items():
        if not isinstance(curve, Tensor):
            continue
        if curve.ndim > 1 or curve.numel() not in (1, num_frames) or curve.is_complex():
            raise ValueError(
                f"The curve of '{name}' has the shape {list(curve.shape)}, expected one number or [{num_frames}], "
                f"one a frame."
            )
        require_controls({name: 0.0})
        control = controls()[name]
        lowest, highest = control.limits
        past = OVERSHOOT * (highest - lowest)
        wrong = curve[~((curve >= lowest - past) & (curve <= highest + past))]  # which finds NaN too
        if wrong.numel():
            raise ValueError(
                f"The curve of '{name}' holds {float(wrong.reshape(-1)[0]):g}, expected {control.low:g} to "
                f"{control.high:g} (or up to twice as far, to exaggerate)."
            )


def _weight(fit: SMPLXFit, start: int, stop: int | None, fade: float) -> Tensor:
    """How much of the edit each frame gets [F]: 1 inside, easing to 0 over the fade outside."""
    stop = fit.num_frames if stop is None else min(stop, fit.num_frames)
    if not 0 <= start < stop:
        raise ValueError(
            f"Frames {start} up to {stop} are to be edited, the fit has the frames 0 to {fit.num_frames - 1}. Let the "
            f"start lie before the end."
        )
    if not 0 <= fade < 3600:
        raise ValueError(f"The fade is {fade} seconds, expected 0 or more.")
    frames = torch.arange(fit.num_frames, device=fit.expression.device)
    outside = torch.maximum(start - frames, frames - (stop - 1)).clamp(min=0)
    share = (1 - outside / (fade * fit.fps + 1)).clamp(min=0)
    return (share * share * (3 - 2 * share)).to(fit.expression)


def _added(fit: SMPLXFit, model: HeadModel, deltas: Deltas) -> SMPLXFit:
    expression = _widened(fit.expression, model)
    added = expression + deltas.expression
    if fit.expression_space == "arkit":
        low = torch.minimum(expression, deltas.expression).clamp(max=0)
        high = torch.maximum(expression, deltas.expression).clamp(min=1)
        added = torch.minimum(torch.maximum(added, low), high)
    poses = fit.poses.clone()
    for joint in deltas.joints:
        turn = deltas.turns[:, TURNED.index(joint)]
        if joint == HEAD:
            target = skull_rotation(model, fit) @ axis_angle_to_matrix(turn)
            poses[:, NECK], poses[:, HEAD] = split_rotation(model, fit, target)
            still = (turn == 0).all(-1)  # exactly as they were
            poses[still] = _with_head_of(poses[still], fit.poses[still])
        else:
            turned = quaternions.turned(quaternions.from_axis_angle(fit.poses[:, joint]), turn)
            poses[:, joint] = quaternions.to_axis_angle(turned)
    return _without_landmarks(fit.replace(expression=added, poses=poses))


def _set(fit: SMPLXFit, model: HeadModel, deltas: Deltas) -> SMPLXFit:
    expression = torch.where(deltas.columns, deltas.expression, _widened(fit.expression, model))
    poses = fit.poses.clone()
    for joint in deltas.joints:
        turn = deltas.turns[:, TURNED.index(joint)]
        if joint == HEAD:
            upright = fit.replace(poses=_zeroed(poses, NECK, HEAD))
            target = skull_rotation(model, upright) @ axis_angle_to_matrix(turn)
            poses[:, NECK], poses[:, HEAD] = split_rotation(model, upright, target)
        else:
            poses[:, joint] = turn
    return _without_landmarks(fit.replace(expression=expression, poses=poses))


def _with_rest(deltas: Deltas) -> Deltas:
    """The same that also act on whatever else a face does, which they leave at rest."""
    joints = dict.fromkeys((JAW, LEFT_EYE, RIGHT_EYE, *deltas.joints))
    return dataclasses.replace(deltas, columns=torch.ones_like(deltas.columns), joints=tuple(joints))


def _between(fit: SMPLXFit, edited: SMPLXFit, weight: Tensor, model: HeadModel) -> SMPLXFit:
    """The edit where it has full weight, the fit where it has none."""
    expression = torch.lerp(_widened(fit.expression, model), edited.expression, weight[:, None])
    return edited.replace(expression=expression, poses=blend_rotations(fit.poses, edited.poses, weight[:, None, None]))


def _widened(expression: Tensor, model: HeadModel) -> Tensor:
    """With a column for every expression of the model."""
    return torch.nn.functional.pad(expression, (0, model.expression_basis.shape[2] - expression.shape[1]))


def _zeroed(poses: Tensor, *joints: int) -> Tensor:
    result = poses.clone()
    result[:, list(joints)] = 0
    return result


def _with_head_of(poses: Tensor, other: Tensor) -> Tensor:
    result = poses.clone()
    result[:, [NECK, HEAD]] = other[:, [NECK, HEAD]]
    return result


def _without_landmarks(fit: SMPLXFit) -> SMPLXFit:
    return fit.replace(landmarks=None, landmark_scheme=None)
