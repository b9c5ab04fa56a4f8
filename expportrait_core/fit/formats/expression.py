"""From the expression numbers of one SMPL-X or FLAME file to those of another head, by what they do to the surface.

The user's own file says how its expressions move about 400 points of the face; the same points are known on the head
that is to be moved; bounded least squares finds the head's coefficients. What is left over is reported. The jaw is a
joint in both models and is not touched.

Our choices, not from the paper: the correspondence (a thin-plate spline through the 51 landmarks that both models have,
then the nearest vertex), the bounds, and the weight that keeps unneeded coefficients at zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from ...body import landmark_points
from ...body.landmark_groups import IBUG, IBUG51, JAW_LINE, MEDIAPIPE, NUM_MESH
from ...printable import log_of
from ...types import HeadModel, LandmarkEmbedding, SMPLXFit

BOUND = 4.0  # of coefficients that are no ARKit units, which run from 0 to 1
RIDGE = 1e-3  # of the mean square of the columns
STEPS = 400
FARTHEST = 0.012  # metres between a point and its partner after the spline; farther ones have none

log = log_of(__name__)


@dataclass(frozen=True)
class Correspondence:
    """The same points of two faces."""

    source: torch.Tensor  # [N] vertices of the source model
    target: torch.Tensor  # [N, 3] vertices of a triangle of the target model
    barycentric: torch.Tensor  # [N, 3]
    scale: float  # size of the target's face over the source's


def convert_expression(fit: SMPLXFit, source: HeadModel, head: HeadModel) -> tuple[SMPLXFit, float]:
    """The fit with expressions of `head`, and the share of the motion that they cannot express, 0..1.

    The person's shape stays with the source model: the new fit has none.

    Args:
        source: the SMPL-X or FLAME model whose numbers the fit's expressions are.

    Raises:
        ValueError: the fit's expressions are not the source's, or the models have no landmarks in common.
    """
    fit.require_space(source)
    pairs = correspond(source, head)
    basis = displacements(source.expression_basis[..., : fit.expression.shape[1]], pairs, of_source=True)
    moved = fit.expression.double() @ basis.T  # [F, N·3]
    design = displacements(head.expression_basis, pairs, of_source=False)  # [N·3, E]
    low, high = (0.0, 1.0) if head.expression_space == "arkit" else (-BOUND, BOUND)
    found = bounded_least_squares(design.numpy(), moved.numpy().T, low, high).T
    left_over = moved.numpy() - found @ design.numpy().T
    residual = float(np.sqrt((left_over**2).sum() / max((moved.numpy() ** 2).sum(), 1e-20)))
    millimetres = 1000 * float(np.sqrt((left_over**2).mean() * 3))
    log.warning("The expressions were converted from '%s' to '%s' over %d points of the face: %.2f mm (%.0f %% of the "
                "motion) could not be expressed.", fit.expression_space, head.expression_space, len(pairs.source),
                millimetres, 100 * residual)  # fmt: skip
    converted = fit.replace(
        expression=torch.from_numpy(found).float(),
        expression_space=head.expression_space,
        betas=torch.zeros(10),
        model_id=head.model_id,
    )
    return converted, residual


def correspond(source: HeadModel, head: HeadModel) -> Correspondence:
    """About 400 points of the face that both models have."""
    if MEDIAPIPE not in head.landmarks:
        raise ValueError(
            f"The head model '{head.model_id}' has no dense landmarks, so expressions cannot be converted to it. Use "
            f"the default head, or load the head model that the fit was made with."
        )
    both = require_common(source, head)
    ours, theirs = _template_points(head)[both], _template_points(source)[both]
    dense = head.landmarks[MEDIAPIPE]
    on_face = (dense.triangles[:NUM_MESH] >= 0).nonzero()[:, 0]  # the irises follow the gaze
    target, barycentric = head.faces[dense.triangles[on_face]], dense.barycentric[on_face]
    points = torch.einsum("nk,nkc->nc", barycentric, head.template[target]).numpy().astype(np.float64)
    warped = RBFInterpolator(ours, theirs, kernel="thin_plate_spline")(points)
    # only skin that expressions move: the backs of eyelids and lips are nearer than they are related
    skin = (source.facial_weight > 0.05).nonzero()[:, 0].numpy()
    distance, nearest = cKDTree(source.template[skin].numpy().astype(np.float64)).query(warped)
    near = torch.from_numpy(distance < FARTHEST)
    if near.sum() < 100:
        raise ValueError(
            f"Only {int(near.sum())} points of '{head.model_id}' were found on '{source.model_id}', expected about "
            f"400. Its landmarks do not lie on a face; give the SMPL-X or FLAME file as its authors ship it."
        )
    size = float(np.linalg.norm(ours - ours.mean(0)) / np.linalg.norm(theirs - theirs.mean(0)))
    return Correspondence(torch.from_numpy(skin[nearest])[near], target[near], barycentric[near], size)


def displacements(
    expression_basis: torch.Tensor,  # [V, 3, E] of either model
    pairs: Correspondence,
    of_source: bool,
) -> torch.Tensor:
    """How every expression moves the corresponding points [N·3, E], in metres of the target's face."""
    if of_source:
        return (expression_basis[pairs.source].double() * pairs.scale).flatten(0, 1)
    corners = expression_basis[pairs.target].double()  # [N, 3 corners, 3, E]
    return torch.einsum("nk,nkce->nce", pairs.barycentric.double(), corners).flatten(0, 1)


def require_common(source: HeadModel, head: HeadModel) -> torch.Tensor:
    """Which of the 51 landmarks without the jaw line lie on both meshes [51], or a sentence where too few do."""
    both = (inner_landmarks(source).triangles >= 0) & (inner_landmarks(head).triangles >= 0)
    if both.sum() < 20:
        raise ValueError(
            f"'{source.model_id}' and '{head.model_id}' share {int(both.sum())} landmarks, expected at least 20 of 51. "
            f"Give the SMPL-X file as its authors ship it (it has lmk_faces_idx and lmk_bary_coords), or FLAME's with "
            f"its landmark file beside it."
        )
    return both


def inner_landmarks(model: HeadModel) -> LandmarkEmbedding:
    """The 51 points of iBUG-68 without the jaw line; -1 for those that are not on the mesh."""
    scheme, first = (IBUG51, 0) if IBUG51 in model.landmarks else (IBUG, JAW_LINE)
    if scheme not in model.landmarks:
        return LandmarkEmbedding(torch.full((51,), -1), torch.zeros(51, 3))
    embedding = model.landmarks[scheme]
    return LandmarkEmbedding(embedding.triangles[first:], embedding.barycentric[first:])


def _template_points(model: HeadModel) -> np.ndarray:
    """[51, 3] metres."""
    points = landmark_points(model.template[None], model.faces, inner_landmarks(model))[0]
    return points.numpy().astype(np.float64)


def bounded_least_squares(
    design: np.ndarray,  # [R, E]
    wanted: np.ndarray,  # [R, F]
    low: float,
    high: float,
) -> np.ndarray:
    """[E, F] minimising |design·x - wanted|² + ridge within the bounds: FISTA, all frames at once."""
    gram = design.T @ design
    used = np.diag(gram) > 1e-14
    ridge = RIDGE * np.diag(gram)[used].mean() if used.any() else 1.0
    gram = gram + ridge * np.eye(len(gram))
    goal = design.T @ wanted
    step = 1 / np.linalg.eigvalsh(gram)[-1]
    x = previous = np.zeros_like(goal)
    momentum = 1.0
    for _ in range(STEPS):
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = x + (momentum - 1) / following * (x - previous)
        previous, momentum = x, following
        x = np.clip(ahead - step * (gram @ ahead - goal), low, high)
    return x * used[:, None]
