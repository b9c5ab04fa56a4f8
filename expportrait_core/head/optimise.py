"""The Adam loop: a few frames a step, every frame with a state of its own, rates that fall to zero."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..types import Progress, no_progress
from .problem import JOINTS, SHARED, Neighbourhood, Parameters, Problem, evaluate, preview, rows_of
from .settings import PersonalizeSettings

FIRST_MOMENT, SECOND_MOMENT = 0.9, 0.99  # a shorter memory than Adam's 0.999: there are only some hundred steps
SMALLEST_GRADIENT = 1e-7  # of terms in the objective's units: below it is rounding noise, not a direction
WARM_UP = 20  # steps until the rates are at their full height; our choice
OF_THE_FIT, OF_THE_OFFSETS = ("betas", "expression", "rotations", "translation"), ("static", "dynamic")


@dataclass
class Adam:
    """Adam for the rows of one tensor, of which a step may visit only some. The one mutable thing in this loop."""

    values: Tensor  # [F, ...]
    rate: float | Tensor  # [n, 1] for values [F, n, 3]

    def __post_init__(self) -> None:
        self.first, self.second = torch.zeros_like(self.values), torch.zeros_like(self.values)
        self.visits = torch.zeros(len(self.values), device=self.values.device)

    def step(self, rows: Tensor, gradient: Tensor, factor: float) -> None:
        """One step of the given rows, at `factor` of the learning rate."""
        visits = self.visits[rows] + 1
        first = torch.lerp(gradient, self.first[rows], FIRST_MOMENT)
        second = torch.lerp(gradient * gradient, self.second[rows], SECOND_MOMENT)
        self.visits[rows], self.first[rows], self.second[rows] = visits, first, second
        count = visits.view(-1, *[1] * (gradient.dim() - 1))
        size = (second / (1 - SECOND_MOMENT**count)).sqrt() + SMALLEST_GRADIENT
        self.values[rows] -= factor * self.rate * (first / (1 - FIRST_MOMENT**count)) / size


def optimise(problem: Problem, start: Parameters, progress: Progress) -> Parameters:
    """Minimise the objective from `start`. Neither the problem nor `start` is changed, also when `progress` raises."""
    settings, fit = problem.settings, problem.fit
    solvers = _solvers(problem, start)
    valid = fit.valid.nonzero()[:, 0]
    total = number_of_steps(settings, len(valid))
    generator = torch.Generator().manual_seed(settings.seed)
    batches = _batches(valid, settings.frames_per_step, generator)
    lower, upper = _expression_bounds(problem)
    clip_sum = solvers["dynamic"].values[valid].sum(0, keepdim=True)
    progress(0, total, None)
    for step in range(total):
        frames = next(batches)
        parameters = _leaves(solvers, frames)
        around = neighbourhood(solvers["dynamic"].values, clip_sum / len(valid), frames, fit.valid)
        first = first_sample(problem, generator)
        loss = evaluate(problem, parameters, frames, around, first).total(settings)
        before = parameters.dynamic.detach()
        _step(solvers, parameters, loss, frames, _factors(step, total, settings))
        expression = solvers["expression"].values
        expression[frames] = torch.minimum(torch.maximum(expression[frames], lower[frames]), upper[frames])
        clip_sum += (solvers["dynamic"].values[frames] - before).sum(0, keepdim=True)
        _report(problem, solvers, valid[:1], step + 1, total, progress)
    return _values(solvers)


def number_of_steps(settings: PersonalizeSettings, num_frames: int) -> int:
    """`steps`, or more for a clip, so that every frame is visited often enough."""
    if settings.steps == 0:
        return 0
    return max(settings.steps, math.ceil(settings.passes * num_frames / settings.frames_per_step))


def start_parameters(problem: Problem) -> Parameters:
    """The tracker's fit, without offsets."""
    fit = problem.fit
    return Parameters(
        betas=fit.betas[None],
        static=fit.betas.new_zeros(1, problem.static.num_controls, 3),
        expression=fit.expression,
        rotations=fit.poses[:, JOINTS],
        translation=fit.translation,
        dynamic=fit.betas.new_zeros(fit.num_frames, problem.dynamic.num_controls, 3),
    )


def _solvers(problem: Problem, start: Parameters) -> dict[str, Adam]:
    settings = problem.settings
    rates = {
        "betas": settings.betas_rate, "static": problem.static.rates, "expression": settings.expression_rate,
        "rotations": settings.rotation_rate, "translation": settings.translation_rate,
        "dynamic": problem.dynamic.rates,
    }  # fmt: skip
    return {name: Adam(getattr(start, name).clone(), rate) for name, rate in rates.items()}


def _values(solvers: dict[str, Adam]) -> Parameters:
    return Parameters(**{name: solver.values for name, solver in solvers.items()})


def _leaves(solvers: dict[str, Adam], frames: Tensor) -> Parameters:
    now = rows_of(_values(solvers), frames)
    return Parameters(**{f.name: getattr(now, f.name).clone().requires_grad_() for f in fields(now)})


def _factors(step: int, total: int, settings: PersonalizeSettings) -> dict[str, float]:
    """Share of the learning rates at a step: rising at first, because Adam's first steps are of full length however
    small the gradient, then falling to zero. Offsets begin later."""
    falling = 0.5 + 0.5 * math.cos(math.pi * step / total)
    since = dict.fromkeys(OF_THE_FIT, step if settings.refine_fit else -1)
    alone = math.ceil(settings.offsets_after * total) if settings.refine_fit else 0
    since |= dict.fromkeys(OF_THE_OFFSETS, step - alone)
    return {name: falling * min(max(n + 1, 0) / WARM_UP, 1) for name, n in since.items()}


def _step(
    solvers: dict[str, Adam], parameters: Parameters, loss: Tensor, frames: Tensor, factors: dict[str, float]
) -> None:
    moving = {name: getattr(parameters, name) for name, factor in factors.items() if factor > 0}
    gradients = torch.autograd.grad(loss, list(moving.values()))
    shared = torch.zeros(1, dtype=torch.int64, device=frames.device)
    for name, gradient in zip(moving, gradients, strict=True):
        solvers[name].step(shared if name in SHARED else frames, gradient, factors[name])


def _batches(valid: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Frame numbers, a few at a time, every frame once before any comes again."""
    waiting = valid[:0]
    while True:
        while len(waiting) < min(size, len(valid)):
            order = torch.randperm(len(valid), generator=generator).to(valid.device)
            # a frame must not stand twice in one step
            fresh = valid[order]
            fresh = fresh[~torch.isin(fresh, waiting)]
            waiting = torch.cat([waiting, fresh])
        yield waiting[:size]
        waiting = waiting[size:]


def first_sample(problem: Problem, generator: torch.Generator | None) -> tuple[int, int]:
    """Where the samples of the dense targets begin: anywhere, or in the middle without a generator."""
    if problem.targets is None:
        return 0, 0
    stride = problem.targets.stride
    if generator is None:
        return stride // 2, stride // 2
    x, y = torch.randint(stride, (2,), generator=generator).tolist()
    return x, y


def neighbourhood(
    controls: Tensor,  # [F, m, 3] of Δf, all frames
    clip_mean: Tensor,  # [1, m, 3]
    frames: Tensor,  # [b]
    valid: Tensor,  # [F] bool
) -> Neighbourhood | None:
    """What the temporal terms need beside the frames looked at; None where there is only one frame."""
    if int(valid.sum()) < 2:
        return None
    pairs, neighbours = [], []
    for side in (-1, 1):
        beside = frames + side
        there = (beside >= 0) & (beside < len(valid)) & valid[beside.clamp(0, len(valid) - 1)]
        pairs.append(there.nonzero()[:, 0])
        neighbours.append(beside[there])
    return Neighbourhood(torch.cat(pairs), controls[torch.cat(neighbours)], clip_mean)


def _expression_bounds(problem: Problem) -> tuple[Tensor, Tensor]:
    """The tracker's bounds, or what the fit holds where that is wider."""
    expression, prior = problem.fit.expression, problem.expression_prior
    lower, upper = (bound[: expression.shape[1]] for bound in (prior.lower, prior.upper))
    return torch.minimum(expression, lower), torch.maximum(expression, upper)


def _report(
    problem: Problem, solvers: dict[str, Adam], frame: Tensor, done: int, total: int, progress: Progress
) -> None:
    every = problem.settings.preview_every
    looked_at = progress is not no_progress and every > 0
    if looked_at and (done % every == 0 or done == total):
        progress(done, total, preview(problem, rows_of(_values(solvers), frame), frame))
    else:
        progress(done, total, None)
