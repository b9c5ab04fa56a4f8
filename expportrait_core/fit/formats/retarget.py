"""The head where it was: a fit that was made with one model keeps its place in the picture on another.

SMPL-X, FLAME and the default head have different origins, root joints and lengths of neck, so the same pose and
translation put their faces decimetres apart. Every frame, both models are posed with a neutral face and a closed jaw,
which is the skull; the rigid motion that carries the one's landmarks onto the other's becomes part of the root's
orientation and of the translation. The size is kept: that is the shape's, which personalisation finds.

Our choices, not from the paper: the neutral face, so that what expressions cannot be converted moves no head, and the
landmarks' weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...body.landmarks import landmark_model
from ...body.posing import pose_vertices, shaped
from ...printable import log_of
from ...types import JAW, LEFT_EYE, RIGHT_EYE, Camera, HeadModel, LandmarkEmbedding, SMPLXFit
from .. import quaternions
from .expression import inner_landmarks, require_common

ROOT = 0
COMMON = "common"
FIRST_OF_MOUTH = 31  # of the 51 points: 10 brows, 9 nose and 12 eyes come before
MOUTH_WEIGHT = 0.5  # models differ most in how full their neutral lips are

log = log_of(__name__)


@dataclass(frozen=True)
class Landing:
    """How far the face's landmarks are from where they were: mean distances over the frames that show a face."""

    millimetres: float
    pixels: float


def keep_place(
    fit: SMPLXFit,  # expressions, betas and model of `head`; poses and translation still the source's
    before: SMPLXFit,  # as it was tracked
    source: HeadModel,  # what it was tracked with: its betas, poses and translation are this model's
    head: HeadModel,
) -> tuple[SMPLXFit, Landing]:
    """The fit with root orientation and translation that put the head where the source's was.

    The expressions of `before` count in the landing only, and only where they are the source's (ExAvatar poses SMPL-X
    with FLAME's).

    Raises:
        ValueError: the models have fewer than 20 landmarks in common, or the fit has more shape values than the source.
    """
    theirs, ours = _common_landmarks(source, head)
    wanted, found = theirs.points(_neutral(before)), ours.points(_neutral(fit))
    rotation, translation = rigid_motion(found, wanted, theirs.weights)
    moved = _moved(fit, head, rotation, translation)
    landing = _landing(moved, before, ours, theirs, before.expression_space == source.expression_space)
    log.warning("The head was put where '%s' had it: the landmarks of the face are %.1f mm (%.1f pixels) from theirs, "
                "the difference of the two faces. Personalisation finds the shape again.",
                source.model_id, landing.millimetres, landing.pixels)  # fmt: skip
    return moved, landing


def rigid_motion(
    points: Tensor,  # [F, N, 3]
    goal: Tensor,  # [F, N, 3]
    weights: Tensor,  # [N]
) -> tuple[Tensor, Tensor]:
    """Rotations [F, 3, 3] and translations [F, 3] that carry the points nearest to the goal: Kabsch (1976)."""
    share = (weights / weights.sum())[:, None]
    middle, goal_middle = (points * share).sum(1, keepdim=True), (goal * share).sum(1, keepdim=True)
    u, _, vt = torch.linalg.svd(((points - middle) * share).transpose(1, 2) @ (goal - goal_middle))
    # of the two orthogonal matrices, the one that does not mirror
    sign = torch.ones_like(middle[:, 0])
    sign[:, 2] = torch.linalg.det(u @ vt).sign()
    rotation = vt.transpose(1, 2) @ (sign[:, :, None] * u.transpose(1, 2))
    return rotation, (goal_middle - middle @ rotation.transpose(1, 2))[:, 0]


@dataclass(frozen=True)
class _Landmarks:
    """The points of a model that the other has too."""

    model: HeadModel  # only the vertices under them
    barycentric: Tensor  # [N, 3]
    weights: Tensor  # [N]

    def points(self, fit: SMPLXFit) -> Tensor:
        """[F, N, 3] world, in double precision, for what is solved from them."""
        vertices = pose_vertices(self.model, fit.betas, fit.expression, fit.poses, fit.translation)
        return (vertices[:, self.model.faces].double() * self.barycentric[..., None]).sum(2)


def _common_landmarks(source: HeadModel, head: HeadModel) -> tuple[_Landmarks, _Landmarks]:
    """The inner points of both, in the same order."""
    both = require_common(source, head)
    weights = torch.ones(len(both), dtype=torch.float64)
    weights[FIRST_OF_MOUTH:] = MOUTH_WEIGHT
    found = []
    for model in (source, head):
        points = inner_landmarks(model)
        embedding = LandmarkEmbedding(points.triangles[both], points.barycentric[both])
        small, barycentric, _ = landmark_model(model.replace(landmarks={COMMON: embedding}), COMMON)
        found.append(_Landmarks(small, barycentric.double(), weights[both]))
    return found[0], found[1]


def _neutral(fit: SMPLXFit) -> SMPLXFit:
    """The same head without an expression."""
    poses = fit.poses.clone()
    poses[:, [JAW, LEFT_EYE, RIGHT_EYE]] = 0
    return fit.replace(expression=fit.expression[:, :0], poses=poses)


def _moved(fit: SMPLXFit, head: HeadModel, rotation: Tensor, translation: Tensor) -> SMPLXFit:
    """The fit after a rigid motion of the world. The root turns about its joint and not about the origin."""
    pivot = shaped(head, fit.betas, fit.expression)[1][:, ROOT].double()
    turn = quaternions.multiply(
        quaternions.from_matrix(rotation), quaternions.from_axis_angle(fit.poses[:, ROOT].double())
    )
    poses = fit.poses.clone()
    poses[:, ROOT] = quaternions.to_axis_angle(turn).to(poses)
    place = (rotation @ (pivot + fit.translation.double())[..., None])[..., 0] + translation - pivot
    return fit.replace(poses=poses, translation=place.to(fit.translation))


def _landing(fit: SMPLXFit, before: SMPLXFit, ours: _Landmarks, theirs: _Landmarks, with_expressions: bool) -> Landing:
    seen = fit.valid if fit.valid.any() else torch.ones_like(fit.valid)
    camera = fit.camera[seen]
    if not with_expressions:
        fit, before = _neutral(fit), _neutral(before)
    now, then = ours.points(fit.frames(seen)), theirs.points(before.frames(seen))
    return Landing(
        1000 * float((now - then).norm(dim=-1).mean()),
        float((_pixels(camera, now) - _pixels(camera, then)).norm(dim=-1).mean()),
    )


def _pixels(camera: Camera, points: Tensor) -> Tensor:
    """[F, N, 2]"""
    projected = camera.project(points.to(camera.intrinsics))
    return projected[..., :2] / projected[..., 2:]
