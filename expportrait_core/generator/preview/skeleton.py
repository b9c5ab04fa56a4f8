"""How the joints carry what is no vertex: hair, clothes, and the rigid share of a vertex's own motion."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...body import axis_angle_to_matrix, upsample
from ...body.posing import joint_transforms
from ...types import HEAD, JAW, LEFT_EYE, RIGHT_EYE, HeadModel

ON_HEAD = (JAW, LEFT_EYE, RIGHT_EYE)  # joints whose vertices move with the head before they move by themselves


@dataclass(frozen=True)
class Moves:
    """Rigid motions, one per joint: x' = x @ turn + shift. World space, metres."""

    turn: Tensor  # [F, J, 3, 3]
    shift: Tensor  # [F, J, 3]

    def frame(self, number: int) -> Moves:
        """The motions of one frame, [J, 3, 3] and [J, 3]."""
        return Moves(self.turn[number], self.shift[number])

    def after(self, first: Moves) -> Moves:
        """The motion that leads from where `first` leads to where this one leads."""
        turn = first.turn.transpose(-1, -2) @ self.turn
        return Moves(turn, self.shift - (first.shift[..., None, :] @ turn)[..., 0, :])


def carriers(model: HeadModel) -> list[int]:
    """Joints that carry any vertex, the head always among them."""
    used = set(model.skin_weights.any(dim=0).nonzero()[:, 0].tolist())
    return sorted(used | {HEAD})


def rigid_weights(model: HeadModel) -> Tensor:
    """[Vs, J] skin weights over `carriers`, with jaw and eyes counted as head."""
    used = carriers(model)
    weights = model.skin_weights[:, used].clone()
    for joint in ON_HEAD:
        if joint in used:
            weights[:, used.index(HEAD)] += weights[:, used.index(joint)]
            weights[:, used.index(joint)] = 0
    return upsample(weights, model.faces, model.upsampling)


def joint_moves(
    model: HeadModel,
    betas: Tensor,  # [B]
    expression: Tensor,  # [F, E]
    poses: Tensor,  # [F, 55, 3]
    translation: Tensor,  # [F, 3]
) -> Moves:
    """From the canonical pose to the posed one, for every joint of `carriers`."""
    joints = model.joint_template + model.joint_shape_basis[..., : len(betas)] @ betas
    basis = model.joint_expression_basis[..., : expression.shape[1]]
    joints = joints + torch.einsum("fe,jce->fjc", expression, basis)
    transforms = joint_transforms(axis_angle_to_matrix(poses), joints, model.parents, carriers(model))
    return Moves(transforms[..., :3, :], transforms[..., 3, :] + translation[:, None])


def carry(
    points: Tensor,  # [N, 3] world, where the photo shows them
    weights: Tensor,  # [N, J] sum 1
    moves: Moves,  # of one frame
) -> Tensor:  # [N, 3]
    """Points moved by blended rigid motions (linear blend skinning)."""
    moved = weights @ moves.shift
    for axis in range(3):
        moved = moved + points[:, axis, None] * (weights @ moves.turn[:, axis])
    return moved
