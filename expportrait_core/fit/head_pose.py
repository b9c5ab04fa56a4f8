"""Where the head looks: its rotation in the camera, whatever joints a tracker wrote it into."""

from __future__ import annotations

import torch
from torch import Tensor

from ..body import axis_angle_to_matrix, matrix_to_axis_angle
from ..body.posing import joint_transforms
from ..types import HEAD, NECK, HeadModel, SMPLXFit
from .tracker.landmark_rig import NECK_SHARE


def _ancestors(model: HeadModel, joint: int) -> list[int]:
    """The joints above one, root first."""
    parents, chain = model.parents.tolist(), []
    while parents[joint] >= 0:
        joint = parents[joint]
        chain.insert(0, joint)
    return chain


def body_rotation(model: HeadModel, fit: SMPLXFit) -> Tensor:
    """Rotation [F, 3, 3] from the frame that the neck turns in to the camera: camera, global_orient and spine."""
    rotation = fit.camera.world_to_camera[:, :3, :3]
    for joint in _ancestors(model, NECK):
        rotation = rotation @ axis_angle_to_matrix(fit.poses[:, joint])
    return rotation


def _neck_and_head(fit: SMPLXFit) -> tuple[Tensor, Tensor]:
    neck, head = axis_angle_to_matrix(fit.poses[:, [NECK, HEAD]]).unbind(1)
    return neck, head


def skull_rotation(model: HeadModel, fit: SMPLXFit) -> Tensor:
    """Rotation [F, 3, 3] of the skull in the camera: whatever joint or camera a tracker wrote it into."""
    neck, head = _neck_and_head(fit)
    return body_rotation(model, fit) @ neck @ head


def neck_position(
    model: HeadModel,
    betas: Tensor,  # [B] of the body that is posed, which need not be the fit's own
    fit: SMPLXFit,
) -> Tensor:
    """The neck joint [F, 3] in the world, before the translation."""
    joints = model.joint_template + model.joint_shape_basis[..., : len(betas)] @ betas
    basis = model.joint_expression_basis[..., : fit.expression.shape[1]]
    joints = joints + torch.einsum("fe,jce->fjc", fit.expression, basis)
    moved = joint_transforms(axis_angle_to_matrix(fit.poses), joints, model.parents, [NECK])[:, 0]  # [F, 4, 3]
    return (joints[:, NECK, None] @ moved[:, :3])[:, 0] + moved[:, 3]


def split_rotation(model: HeadModel, base: SMPLXFit, target: Tensor) -> tuple[Tensor, Tensor]:
    """Neck and head poses [F, 3] under the base's body and camera, such that the skull has the target rotation.

    The neck takes NECK_SHARE of it. What the base's own neck does beside that (another tracker splits otherwise) is
    kept, so that the base's own rotation gives back its own poses exactly.
    """
    neck, head = _neck_and_head(base)
    usual = _share(neck @ head)
    new = body_rotation(model, base).transpose(1, 2) @ target
    new_neck = _share(new) @ usual.transpose(1, 2) @ neck
    return matrix_to_axis_angle(new_neck), matrix_to_axis_angle(new_neck.transpose(1, 2) @ new)


def _share(rotation: Tensor) -> Tensor:
    return axis_angle_to_matrix(NECK_SHARE * matrix_to_axis_angle(rotation))
