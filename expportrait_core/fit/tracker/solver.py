"""Landmarks to head parameters: a bounded Gauss-Newton that solves identity and all frames together.

Every frame has its own pose and expression, all share the betas (and, where it is not given, the focal length). Two
kinds of problem are solved exactly in every step:
- few frames with free identity: the normal equations have an arrow's shape, so each frame is eliminated on its own and
  only a small system in the shared values is left (Schur complement);
- all frames of a stretch of a clip with known identity: each frame is tied to the next, so the equations are banded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .landmark_rig import RIGID, LandmarkRig

BLOCK = 8  # frames whose Jacobians are in memory at once: what stays in a CPU's cache
DAMPING = 1e-4  # of the diagonal, Levenberg and Marquardt's
EYE_DISTANCE = 0.088  # metres between the outer corners of the average adult's eyes (default head: 0.0886)


@dataclass(frozen=True)
class Priors:
    """Standard deviations that the solver believes in. Our choices, not from the paper."""

    landmark: float = 0.02  # of the outer-eye-corner distance; landmarks of one face err together, hence not smaller
    landmark_count: float = 120.0  # the 468 landmarks count as so many independent ones
    betas: float = 1.0  # the columns are in standard deviations already
    focal: float = 0.3  # of the logarithm of the focal length, about the one guessed from the picture's size
    jaw_open: float = 0.35  # radians
    jaw_side: float = 0.06
    temporal_rotation: float = 0.02  # radians, distance of a frame from the mean of its neighbours
    temporal_translation: float = 0.004  # metres
    temporal_expression: float = 1.0  # multiplies ExpressionPrior.temporal
    still_rotation: float = 0.004  # the same three where the face rests
    still_translation: float = 0.0008
    still_expression: float = 0.2
    outlier: float = 3.0  # residuals beyond this many standard deviations lose weight (Huber)


@dataclass(frozen=True)
class ExpressionPrior:
    """How far every expression column goes, and how fast, as the head model's space wants them."""

    deviation: Tensor  # [E] standard deviation
    temporal: Tensor  # [E] standard deviation of a frame from the mean of its neighbours
    lower: Tensor  # [E]
    upper: Tensor  # [E]

    def __getitem__(self, columns: Tensor) -> ExpressionPrior:
        return ExpressionPrior(*(getattr(self, n)[columns] for n in ("deviation", "temporal", "lower", "upper")))


@dataclass(frozen=True)
class Solution:
    betas: Tensor  # [B]
    expression: Tensor  # [F, E]
    rigid: Tensor  # [F, 8]
    focal: float  # pixels


@dataclass(frozen=True)
class Observation:
    """What was seen of the frames, and what is believed of them."""

    rig: LandmarkRig
    landmarks: Tensor  # [F, L, 2] pixels, the rig's landmarks
    weights: Tensor  # [F, L] confidence, 0 where a landmark is to be ignored
    centre: Tensor  # [2] principal point, pixels
    expression_prior: ExpressionPrior
    priors: Priors = Priors()

    def scale(self) -> Tensor:
        """[F] size of the face in pixels that stands for the outer-eye-corner distance, whatever the scheme."""
        seen = (self.weights > 0).to(self.landmarks)[..., None]  # [F, L, 1]
        share = seen / seen.sum(1, keepdim=True).clamp(min=1)

        def spread(points: Tensor) -> Tensor:  # of the same points on both, [F, L, 2] to [F]
            off = points - (points * share).sum(1, keepdim=True)
            return (off**2 * share).sum((1, 2)).sqrt()

        template = self.rig.template[:, :2].expand(len(seen), -1, -1)
        ratio = spread(self.landmarks) / spread(template).clamp(min=1e-6)  # pixels per metre
        return (EYE_DISTANCE * ratio).clamp(min=1e-3)

    def frames(self, index: slice | Tensor) -> Observation:
        return replace(self, landmarks=self.landmarks[index], weights=self.weights[index])


@dataclass(frozen=True)
class Equations:
    """Gauss-Newton's normal equations: frames, what they share, and between them. D = 8 + E."""

    hessian: Tensor  # [F, D, D]
    gradient: Tensor  # [F, D]
    coupling: Tensor | None = None  # [F, D, S]
    shared_hessian: Tensor | None = None  # [S, S], S = B betas and the focal length's logarithm
    shared_gradient: Tensor | None = None  # [S]


def solve_identity(
    seen: Observation,
    start: Solution,
    free_focal: bool = False,
    iterations: int = 12,
) -> Solution:
    """Identity, pose and expression of frames that need not follow each other. Robust and deterministic."""
    seen, start, columns = _used_columns(seen, start)
    guess = start.focal
    for step in range(iterations):
        # pose and jaw alone settle first, otherwise expressions explain a wrong pose
        free = step >= 2
        if not free:
            start = _frame_step(seen, start, free_expression=False, temporal=False)
        else:
            start = _shared_step(seen, start, guess, free_focal)
    return _all_columns(start, columns)


def solve_motion(
    seen: Observation,
    start: Solution,
    iterations: int = 6,
    settled: float = 2e-3,  # radians or expression units: below this change a further step shows nothing
) -> Solution:
    """Pose and expression of the consecutive frames of a clip for a known identity and focal length, all at once.

    Frames without weight follow their neighbours.
    """
    seen, start, columns = _used_columns(seen, start)
    start = _frame_step(seen, start, free_expression=False, temporal=True)
    for _ in range(iterations):
        before = start
        start = _frame_step(seen, start, free_expression=True, temporal=True)
        if float((start.rigid - before.rigid)[:, :3].abs().max()) < settled / 4 and (
            float((start.expression - before.expression).abs().max()) < settled
        ):
            break
    return _all_columns(start, columns)


# ------------------------------------------------------------------------------------------------------------- steps


def _frame_step(seen: Observation, state: Solution, free_expression: bool, temporal: bool) -> Solution:
    """One step with identity and focal length held: banded in time, or every frame on its own."""
    equations = _equations(seen, state, shared=False)
    precision, gradient, ties = _frame_priors(seen, state, temporal)
    hessian = equations.hessian + torch.diag_embed(precision)
    gradient = equations.gradient + gradient
    fixed = _fixed(state, gradient, seen.expression_prior, free_expression)
    hessian, gradient = _pin(hessian, gradient, fixed)
    if temporal and len(hessian) > 1:
        step = -solve_banded(hessian, gradient, ties, fixed)
    else:
        step = -torch.linalg.solve(hessian, gradient)
    return _moved(state, step, seen.expression_prior)


def _shared_step(seen: Observation, state: Solution, guess: float, free_focal: bool) -> Solution:
    """One step of all values; the frames are not tied to each other."""
    equations = _equations(seen, state, shared=True)
    precision, gradient, _ = _frame_priors(seen, state, temporal=False)
    hessian, gradient = equations.hessian + torch.diag_embed(precision), equations.gradient + gradient
    fixed = _fixed(state, gradient, seen.expression_prior, free_expression=True)
    hessian, gradient = _pin(hessian, gradient, fixed)
    coupling = equations.coupling.masked_fill(fixed[..., None], 0.0)

    # a landmark errs alike in all frames of a clip, so more frames are no reason to believe the prior less
    frames, count = len(seen.landmarks), len(state.betas)
    off_guess = torch.log(state.betas.new_tensor(state.focal / guess))
    values = torch.cat([state.betas, off_guess[None]])
    deviation = torch.full_like(values, seen.priors.betas)
    deviation[-1] = seen.priors.focal if free_focal else 1e-6
    shared_hessian = equations.shared_hessian + torch.diag(frames / deviation**2)
    shared_gradient = equations.shared_gradient + frames * values / deviation**2
    # both right-hand sides at once; LU, because torch's batched cholesky_solve is twenty times slower on a CPU
    eliminated = torch.linalg.solve(hessian, torch.cat([coupling, gradient[..., None]], -1))  # H_ff⁻¹ [H_fs | g]
    reduced = torch.einsum("fxs,fxt->st", coupling, eliminated)
    shared_step = -torch.linalg.solve(shared_hessian - reduced[:, :-1], shared_gradient - reduced[:, -1])
    step = -(eliminated[..., -1] + eliminated[..., :-1] @ shared_step)
    moved = _moved(state, step, seen.expression_prior)
    betas = (state.betas + shared_step[:count].clamp(-2, 2)).clamp(-3.5, 3.5)
    by = float(shared_step[-1].clamp(-0.2, 0.2)) if free_focal else 0.0
    rigid = moved.rigid.clone()
    rigid[:, 3:6] += by * _middle(seen.rig, state)  # as the derivative by the focal length takes it
    return replace(moved, betas=betas, rigid=rigid, focal=state.focal * float(torch.exp(torch.tensor(by))))


def solve_banded(hessian: Tensor, gradient: Tensor, ties: Tensor, fixed: Tensor) -> Tensor:
    """[F, D] solution of the frames' equations, every value of a frame tied to the next frame's by -ties [F - 1, D].

    Block elimination from the first frame to the last and back, in double precision: of a long still stretch all that
    is known of a frame may be its neighbour.
    """
    frames, size = gradient.shape
    blocks, values = hessian.double().cpu(), gradient.double().cpu()
    tied = (ties.expand(frames - 1, size) * ~(fixed[1:] | fixed[:-1])).double().cpu()
    inverse = torch.empty_like(blocks)
    for frame in range(frames):
        block = blocks[frame]
        if frame:
            tie = tied[frame - 1]
            block = block - tie[:, None] * inverse[frame - 1] * tie
            values[frame] += tie * (inverse[frame - 1] @ values[frame - 1])
        inverse[frame] = torch.cholesky_inverse(torch.linalg.cholesky(block))
    solution = torch.empty_like(values)
    solution[-1] = inverse[-1] @ values[-1]
    for frame in range(frames - 2, -1, -1):
        solution[frame] = inverse[frame] @ (values[frame] + tied[frame] * solution[frame + 1])
    return solution.to(gradient)


# --------------------------------------------------------------------------------------------------------- equations


def _equations(seen: Observation, state: Solution, shared: bool) -> Equations:
    """The landmarks' part, a few frames at a time: their Jacobians are a hundred times larger than the result."""
    count, scale = len(seen.rig.numbers), seen.scale()
    per_landmark = (count / seen.priors.landmark_count) ** 0.5
    intrinsics = _intrinsics(state.focal, seen.centre)
    joints = seen.rig.joints_and_derivatives(state.betas, state.rigid)
    parts = []
    for first in range(0, len(state.rigid), BLOCK):
        block = slice(first, first + BLOCK)
        pixels, by_rigid, by_expression, by_betas, points, by_point = seen.rig.pixels_and_jacobians(
            state.betas, state.expression[block], intrinsics, (joints[0][block], joints[1][block]), shared
        )
        deviation = (seen.priors.landmark * scale[block])[:, None, None] * per_landmark
        residual = (pixels - seen.landmarks[block]) / deviation
        distance = residual.norm(dim=-1) * per_landmark
        robust = (seen.priors.outlier / distance.clamp(min=1e-9)).clamp(max=1.0)
        root = (seen.weights[block] * robust).sqrt()[..., None]
        error = (residual * root).flatten(1)
        per_pixel = (root / deviation)[..., None]
        local = (torch.cat([by_rigid, by_expression], -1) * per_pixel).flatten(1, 2)  # [f, 2 L, D]
        transposed = local.transpose(1, 2)
        hessian, gradient = transposed @ local, (transposed @ error[..., None])[..., 0]
        if not shared:
            parts.append((hessian, gradient))
            continue
        # a longer lens and a head that stands as much further away: only the perspective changes
        away = (by_point * points.mean(1)[:, None, None]).sum(-1, keepdim=True)
        by_focal = (pixels - seen.centre)[..., None] + away
        of_all = (torch.cat([by_betas, by_focal], -1) * per_pixel).flatten(1, 2)  # [f, 2 L, S]
        parts.append((
            hessian, gradient, transposed @ of_all, (of_all.transpose(1, 2) @ of_all).sum(0, keepdim=True),
            (of_all.transpose(1, 2) @ error[..., None]).sum(0)[None, :, 0],
        ))  # fmt: skip
    joined = [torch.cat(column) for column in zip(*parts)]
    return Equations(*joined[:3], *(part.sum(0) for part in joined[3:]))


def _intrinsics(focal: float, centre: Tensor) -> Tensor:  # [3, 3]
    matrix = torch.diag(centre.new_tensor([focal, focal, 1.0]))
    matrix[:2, 2] = centre
    return matrix


def _middle(rig: LandmarkRig, state: Solution) -> Tensor:
    """[F, 3] the middle of the landmarks in the world."""
    return rig.points(state.betas, state.expression, state.rigid).mean(1)


def _frame_priors(seen: Observation, state: Solution, temporal: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Diagonal and gradient [F, 8 + E] of what is believed before a landmark is seen, and ties [F - 1, 8 + E]."""
    prior, priors = seen.expression_prior, seen.priors
    values = torch.cat([state.rigid, state.expression], 1)
    deviation = torch.full((RIGID,), torch.inf).to(values)
    deviation[6], deviation[7] = priors.jaw_open, priors.jaw_side
    deviation = torch.cat([deviation, prior.deviation])
    precision = (1 / deviation**2).expand_as(values).clone()
    precision[:, :RIGID] += 1e-6  # keeps the equations defined for a frame without landmarks
    gradient = values / deviation**2
    if not temporal or len(values) == 1:
        return precision, gradient, values.new_zeros(0)
    step = values[1:] - values[:-1]
    ties = 0.5 / _step_deviations(step, prior, priors) ** 2
    pull = step * ties
    gradient[1:] += pull
    gradient[:-1] -= pull
    precision[1:] += ties
    precision[:-1] += ties
    return precision, gradient, ties


def _step_deviations(step: Tensor, prior: ExpressionPrior, priors: Priors) -> Tensor:
    """[F - 1, 8 + E] how far a value is believed to go from one frame to the next, over the root of two.

    A face rests or moves: where the last steps around were small, the next is believed to be as small.
    """
    def deviations(rotation: float, translation: float, expression: float) -> Tensor:
        rigid = torch.tensor([rotation] * 3 + [translation] * 3 + [rotation * 4] * 2)
        return torch.cat([rigid.to(step), expression * prior.temporal.to(step)])

    most = deviations(priors.temporal_rotation, priors.temporal_translation, priors.temporal_expression)
    least = deviations(priors.still_rotation, priors.still_translation, priors.still_expression)
    around = torch.nn.functional.avg_pool1d(step.T[None].abs(), 3, 1, padding=1, count_include_pad=False)[0].T
    return torch.minimum((least**2 + around**2).sqrt(), most)


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
    # a little damping: single precision cannot tell a flat direction from a rising one
    hessian = hessian + torch.diag_embed(DAMPING * hessian.diagonal(0, 1, 2))
    free = (~fixed).to(hessian)
    pinned = hessian * free[:, :, None] * free[:, None, :] + torch.diag_embed(1 - free)
    return pinned, gradient * free


def _moved(state: Solution, step: Tensor, prior: ExpressionPrior) -> Solution:
    # a Gauss-Newton step far from the solution may be wild: at most a tenth of a turn and sixty centimetres
    rigid = state.rigid + step[:, :RIGID].clamp(-0.6, 0.6)
    rigid = torch.cat([rigid[:, :6], rigid[:, 6:7].clamp(0.0, 0.7), rigid[:, 7:].clamp(-0.2, 0.2)], 1)
    expression = torch.minimum(torch.maximum(state.expression + step[:, RIGID:], prior.lower), prior.upper)
    return replace(state, expression=expression, rigid=rigid)


def _used_columns(seen: Observation, start: Solution) -> tuple[Observation, Solution, tuple[Tensor, int]]:
    """The problem in the expression columns that may move at all, which are three in four."""
    prior = seen.expression_prior
    columns = (prior.upper > prior.lower).nonzero()[:, 0]
    rig = replace(seen.rig, expression_basis=seen.rig.expression_basis[..., columns].contiguous())
    seen = replace(seen, rig=rig, expression_prior=prior[columns])
    total = start.expression.shape[1]
    return seen, replace(start, expression=start.expression[:, columns]), (columns, total)


def _all_columns(state: Solution, columns: tuple[Tensor, int]) -> Solution:
    used, total = columns
    expression = state.expression.new_zeros(len(state.expression), total)
    expression[:, used] = state.expression
    return replace(state, expression=expression)
