"""Landmarks to head parameters: a bounded Gauss-Newton that solves identity and all frames together.

Every frame has its own pose and expression, all share the betas. The normal equations have an arrow's shape, so each
frame is eliminated on its own and only a small system in the betas is left (Schur complement).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .landmark_rig import RIGID, LandmarkRig


@dataclass(frozen=True)
class Priors:
    """Standard deviations that the solver believes in. Our choices, not from the paper."""

    landmark: float = 0.02  # of the outer-eye-corner distance; landmarks of one face err together, hence not smaller
    landmark_count: float = 120.0  # the 468 landmarks count as so many independent ones
    betas: float = 1.0  # the columns are in standard deviations already
    jaw_open: float = 0.35  # radians
    jaw_side: float = 0.06
    temporal_rotation: float = 0.02  # radians, distance of a frame from the mean of its neighbours
    temporal_translation: float = 0.004  # metres
    temporal_expression: float = 1.0  # multiplies ExpressionPrior.temporal
    outlier: float = 3.0  # residuals beyond this many standard deviations lose weight (Huber)


@dataclass(frozen=True)
class ExpressionPrior:
    """How far every expression column goes, and how fast, as the head model's space wants them."""

    deviation: Tensor  # [E] standard deviation
    temporal: Tensor  # [E] standard deviation of a frame from the mean of its neighbours
    lower: Tensor  # [E]
    upper: Tensor  # [E]


@dataclass(frozen=True)
class Solution:
    betas: Tensor  # [B]
    expression: Tensor  # [F, E]
    rigid: Tensor  # [F, 8]


def solve(
    rig: LandmarkRig,
    landmarks: Tensor,  # [F, L, 2] pixels, the rig's landmarks
    weights: Tensor,  # [F, L] confidence, 0 where a landmark is to be ignored
    intrinsics: Tensor,  # [3, 3]
    start: Solution,
    expression_prior: ExpressionPrior,
    priors: Priors = Priors(),
    iterations: int = 12,
    free_betas: bool = True,
) -> Solution:
    """Minimise robust reprojection error plus priors. Deterministic; frames without weight follow their neighbours."""
    state = start
    scale = _eye_scale(rig, landmarks)
    for step in range(iterations):
        # pose and jaw alone settle first, otherwise expressions explain a wrong pose
        state = _step(rig, landmarks, weights, intrinsics, state, expression_prior, priors, scale,
                      free_betas=free_betas and step >= 2, free_expression=step >= 2)  # fmt: skip
    return state


def _eye_scale(rig: LandmarkRig, landmarks: Tensor) -> Tensor:
    """[F] size of the face in pixels that stands for the outer-eye-corner distance, whatever the scheme."""
    spread = landmarks.std(dim=1).norm(dim=-1)
    model_spread = rig.template.std(dim=0)[:2].norm()
    eye_distance = 0.088  # metres between the outer corners of the average adult (default head: 0.0886)
    return (spread * eye_distance / model_spread).clamp(min=1e-3)


def _step(
    rig: LandmarkRig, landmarks: Tensor, weights: Tensor, intrinsics: Tensor, state: Solution,
    expression_prior: ExpressionPrior, priors: Priors, scale: Tensor, free_betas: bool, free_expression: bool,
) -> Solution:  # fmt: skip
    pixels, by_rigid, by_expression, by_betas = rig.pixels_and_jacobians(
        state.betas, state.expression, state.rigid, intrinsics
    )
    deviation = (priors.landmark * scale)[:, None, None] * (len(rig.numbers) / priors.landmark_count) ** 0.5
    residual = (pixels - landmarks) / deviation
    distance = residual.norm(dim=-1) * (len(rig.numbers) / priors.landmark_count) ** 0.5
    robust = (priors.outlier / distance.clamp(min=1e-9)).clamp(max=1.0)
    root = (weights * robust).sqrt()[..., None, None] / deviation[..., None]

    local = torch.cat([by_rigid, by_expression], -1) * root  # [F, L, 2, 8 + E]
    local = local.flatten(1, 2)
    shared = (by_betas * root).flatten(1, 2)
    error = (residual * (weights * robust).sqrt()[..., None]).flatten(1)

    hessian = local.transpose(1, 2) @ local
    gradient = (local.transpose(1, 2) @ error[..., None])[..., 0]
    precision, pull = _frame_priors(state, expression_prior, priors)
    hessian = hessian + torch.diag_embed(precision)
    gradient = gradient + pull
    fixed = _fixed(state, gradient, expression_prior, free_expression)
    hessian, gradient = _pin(hessian, gradient, fixed)
    coupling = (local.transpose(1, 2) @ shared).masked_fill(fixed[..., None], 0.0)  # [F, 8 + E, B]

    if free_betas:
        # a landmark errs alike in all frames of a clip, so more frames are no reason to believe the prior less
        precision = len(landmarks) / priors.betas**2
        beta_hessian = (shared.transpose(1, 2) @ shared).sum(0) + precision * torch.eye(len(state.betas)).to(shared)
        beta_gradient = (shared.transpose(1, 2) @ error[..., None]).sum(0)[:, 0] + precision * state.betas
        # both right-hand sides at once; LU, because torch's batched cholesky_solve is twenty times slower on a CPU
        eliminated = torch.linalg.solve(hessian, torch.cat([coupling, gradient[..., None]], -1))  # H_ff⁻¹ [H_fb | g]
        reduced = torch.einsum("fxb,fxc->bc", coupling, eliminated)
        beta_step = -torch.linalg.solve(beta_hessian - reduced[:, :-1], beta_gradient - reduced[:, -1])
        step = -(eliminated[..., -1] + eliminated[..., :-1] @ beta_step)
    else:
        beta_step = torch.zeros_like(state.betas)
        step = -torch.linalg.solve(hessian, gradient)
    return _moved(state, beta_step, step, expression_prior)


def _frame_priors(state: Solution, expression_prior: ExpressionPrior, priors: Priors) -> tuple[Tensor, Tensor]:
    """Diagonal [F, 8 + E] and gradient of everything that is believed before a landmark is seen.

    The temporal term pulls every frame to the mean of its neighbours as they were after the last step, which keeps
    frames apart in the equations and reaches the joint optimum all the same.
    """
    values = torch.cat([state.rigid, state.expression], 1)
    deviation = torch.full((RIGID,), torch.inf).to(values)
    deviation[6], deviation[7] = priors.jaw_open, priors.jaw_side
    deviation = torch.cat([deviation, expression_prior.deviation])
    precision = (1 / deviation**2).expand_as(values).clone()
    precision[:, :RIGID] += 1e-6  # keeps the Cholesky factor defined for a frame without landmarks
    gradient = values / deviation**2
    if len(values) > 2:
        neighbours = torch.cat([values[1:2], 0.5 * (values[:-2] + values[2:]), values[-2:-1]])
        temporal = torch.cat([
            torch.full((3,), priors.temporal_rotation), torch.full((3,), priors.temporal_translation),
            torch.full((2,), priors.temporal_rotation * 4),
            priors.temporal_expression * expression_prior.temporal,
        ]).to(values)  # fmt: skip
        precision = precision + 1 / temporal**2
        gradient = gradient + (values - neighbours) / temporal**2
    return precision, gradient


def _fixed(state: Solution, gradient: Tensor, prior: ExpressionPrior, free_expression: bool) -> Tensor:
    """[F, 8 + E] True where a value sits on its bound and the objective pushes it further out."""
    expression_gradient = gradient[:, RIGID:]
    if free_expression:
        low = (state.expression <= prior.lower) & (expression_gradient > 0)
        high = (state.expression >= prior.upper) & (expression_gradient < 0)
        fixed = low | high
    else:
        fixed = torch.ones_like(expression_gradient, dtype=torch.bool)
    rigid = torch.zeros(len(gradient), RIGID, dtype=torch.bool, device=gradient.device)
    rigid[:, 6] = (state.rigid[:, 6] <= 0) & (gradient[:, 6] > 0)  # a jaw does not close further than closed
    return torch.cat([rigid, fixed], 1)


def _pin(hessian: Tensor, gradient: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor]:
    free = (~fixed).to(hessian)
    pinned = hessian * free[:, :, None] * free[:, None, :] + torch.diag_embed(1 - free)
    return pinned, gradient * free


def _moved(state: Solution, beta_step: Tensor, step: Tensor, prior: ExpressionPrior) -> Solution:
    # a Gauss-Newton step far from the solution may be wild: at most a tenth of a turn and ten centimetres sideways
    rigid_step = step[:, :RIGID].clamp(-0.6, 0.6)
    rigid = state.rigid + rigid_step
    rigid = torch.cat([rigid[:, :6], rigid[:, 6:7].clamp(0.0, 0.7), rigid[:, 7:].clamp(-0.2, 0.2)], 1)
    expression = torch.minimum(torch.maximum(state.expression + step[:, RIGID:], prior.lower), prior.upper)
    betas = (state.betas + beta_step.clamp(-2, 2)).clamp(-3.5, 3.5)
    return Solution(betas, expression, rigid)
