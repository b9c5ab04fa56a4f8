"""A head where a fit of another model has it: models differ in origin, size and rest pose.

The points of the face that no expression moves, posed by the model that the fit was made with, and the same points of
the head that is to be moved, posed by the same rotations, differ by a rigid motion in each frame. It is folded into
the root joint's rotation and the translation, so that the head is seen at the same pixels by the same camera. Sizes
stay: the head is as large as its own model makes it.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from ...body import axis_angle_to_matrix, landmark_points, matrix_to_axis_angle, pose_vertices, with_level
from ...body.posing import shaped
from ...types import HeadModel, SMPLXFit

RIGID = (*range(10, 19), 19, 22, 25, 28)  # of the 51 inner iBUG points: nose, corners of the eyes
LEAST = 4  # points in common, our choice: three leave no freedom to be wrong

log = logging.getLogger(__name__)


def keep_in_place(fit: SMPLXFit, source: HeadModel, converted: SMPLXFit, head: HeadModel) -> tuple[SMPLXFit, float]:
    """The converted fit with the head where `fit` has it, and how far the points still lie apart, in metres.

    Args:
        fit: as it was read, for the model `source`.
        converted: the same for `head` but for its place.

    Raises:
        ValueError: the models have too few landmarks in common.
    """
    neutral = fit.replace(expression=fit.expression[:, :0])
    theirs = _rigid_points(source, neutral)
    resting = converted.replace(translation=torch.zeros_like(converted.translation))
    ours = _rigid_points(head, resting.replace(expression=converted.expression[:, :0]))
    both = torch.isfinite(theirs).all(-1).all(0) & torch.isfinite(ours).all(-1).all(0)
    if both.sum() < LEAST:
        raise ValueError(
            f"'{source.model_id}' and '{head.model_id}' share {int(both.sum())} landmarks of nose and eyes, expected "
            f"at least {LEAST}. Give the model file as its authors ship it, with its landmark embedding."
        )
    turn, shift = rigid_motion(ours[:, both], theirs[:, both])
    apart = ours[:, both] @ turn.mT + shift[:, None] - theirs[:, both]
    distance = float(apart.norm(dim=-1).mean())
    pivot = shaped(head, converted.betas, converted.expression)[1][:, 0]  # the root joint at rest
    poses = converted.poses.clone()
    poses[:, 0] = matrix_to_axis_angle(turn @ axis_angle_to_matrix(poses[:, 0]))
    translation = (turn @ pivot[..., None])[..., 0] + shift - pivot
    log.info("The head was put where '%s' had it: nose and eyes lie %.1f mm apart.", source.model_id, 1000 * distance)
    return converted.replace(poses=poses, translation=translation), distance


def rigid_motion(points: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations [F, 3, 3] and shifts [F, 3] that bring points [F, N, 3] nearest to the wanted ones (Kabsch 1976)."""
    middle, goal = points.mean(1, keepdim=True), wanted.mean(1, keepdim=True)
    u, _, v = torch.linalg.svd((wanted - goal).mT @ (points - middle))
    sign = torch.linalg.det(u @ v)  # a mirror image would fit better where the points are flat
    turn = (u * torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], -1)[:, None]) @ v
    return turn, (goal - middle @ turn.mT)[:, 0]


def _rigid_points(model: HeadModel, fit: SMPLXFit) -> Tensor:
    """[F, N, 3] world; NaN where the model has no such landmark."""
    scheme, first = ("ibug51", 0) if "ibug51" in model.landmarks else ("ibug68", 17)
    if scheme not in model.landmarks:
        return torch.full((fit.num_frames, len(RIGID), 3), torch.nan)
    model = with_level(model, 0)
    vertices = pose_vertices(model, fit.betas, fit.expression, fit.poses, fit.translation)
    return landmark_points(vertices, model.faces, model.landmarks[scheme])[:, [first + i for i in RIGID]]
