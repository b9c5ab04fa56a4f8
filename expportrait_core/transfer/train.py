"""`expportrait train transfer`: E and G on the made-up population, in pieces. A run may stop after any step and goes
on as if it had not: everything random is drawn from the seed and the number of the step."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..body import load_head_model, regions, with_level
from ..portable import read_safetensors, write_safetensors
from ..types import HeadModel, Progress, no_progress
from . import wrinkles
from .encoder import choose_points
from .held_out import held_out_errors
from .model import Networks, TransferConfig, TransferModel, seen_by_encoder
from .neutral import choose_head_points
from .population import (
    Expressions,
    People,
    Population,
    draw_expressions,
    draw_people,
    features_of,
    make_population,
    true_amplitudes,
)

log = logging.getLogger(__name__)

FORMAT = "expportrait.transfer_training"
TRAINING = "synthetic population of the default head"
LEVEL = 2  # of the training vertices; those of the levels below are among them
EVALUATION_LEVEL = 1


@dataclass(frozen=True)
class TrainSettings:
    """All our choice, not from the paper."""

    people_per_step: int = 8
    expressions_per_step: int = 8
    edges_per_step: int = 320  # two vertices each
    pool: int = 256  # people and expressions that are drawn at once
    steps_per_pool: int = 250
    fitted_on: int = 512  # people and expressions that the standardisation is fitted on
    learning_rate: float = 3e-3
    warmup: int = 50
    weight_decay: float = 1e-3
    # L1 rewards the middle value, and most of a face has no wrinkle most of the time, so that a young network learns
    # to predict none. The loss is therefore squared below this error, which shrinks after a first share of the steps.
    first_softness: float = 0.3  # millimetres
    last_softness: float = 0.004
    softening: float = 0.3  # share of the steps at the first softness
    detail_weight: float = 0.5  # of the difference along edges: the high frequencies, where wrinkles live
    still: float = 0.1  # chance of an edge without any crease, relative to one with a crease of a millimetre


@dataclass(frozen=True)
class Run:
    """What a training is told; a resumed one must be told the same."""

    config: TransferConfig
    settings: TrainSettings
    seed: int


@dataclass(frozen=True)
class Batch:
    """One step's data."""

    people: People
    seen: Tensor  # [K, inputs] what E sees of the expressions
    chosen: Tensor  # [2·edges] facial vertices: the first ends of the edges, then the second ends
    height: Tensor  # [H, K, 2·edges] metres along the normal


@dataclass(frozen=True)
class Pool:
    """People and expressions to draw batches from, and the edges of the facial mesh."""

    population: Population
    edges: Tensor  # [e, 2] numbers of facial vertices
    people: People
    expressions: Expressions
    seen: Tensor  # [pool, inputs] what E sees of the expressions


def facial_edges(population: Population) -> Tensor:
    """Edges of the fine mesh between facial vertices [e, 2], as numbers into layout.vertices."""
    model, layout = population.model, population.layout
    number = torch.full((model.num_vertices,), -1, device=layout.vertices.device)
    number[layout.vertices] = torch.arange(len(layout.vertices), device=number.device)
    edges = number[torch.from_numpy(regions.edges_of(model.fine_faces.cpu().numpy())).to(number.device)]
    return edges[(edges >= 0).all(1)]


def draw_pool(population: Population, edges: Tensor, networks: Networks, run: Run, number: int) -> Pool:
    """The pool of the steps number·steps_per_pool and following."""
    random = torch.Generator().manual_seed(run.seed * 1_000_003 + number)
    people = draw_people(population, run.settings.pool, random)
    expressions = draw_expressions(population, run.settings.pool, random)
    return Pool(population, edges, people, expressions, seen_of(population, run.config, networks, expressions))


def seen_of(population: Population, config: TransferConfig, networks: Networks, expressions: Expressions) -> Tensor:
    """What E sees of some expressions [K, inputs]."""
    return seen_by_encoder(config, networks.points, population.coarse, expressions.expression, expressions.jaw_pose)


def draw_batch(pool: Pool, run: Run, step: int) -> Batch:
    """People, expressions, and edges, drawn more often where somebody's skin creases."""
    random = torch.Generator().manual_seed(run.seed * 1_000_003 + 500_009 + step)
    population, settings, device = pool.population, run.settings, pool.edges.device

    def some(high: int, count: int) -> Tensor:
        return torch.randint(high, (count,), generator=random).to(device)

    people = pool.people[some(settings.pool, settings.people_per_step)]
    which = some(settings.pool, settings.expressions_per_step)
    amplitude = true_amplitudes(population, people, pool.expressions[which])
    # weighing every edge of the face would cost more than the step itself
    candidates = pool.edges[some(len(pool.edges), 32 * settings.edges_per_step)]
    rows, heights = population.field.rows[candidates[:, 0]], population.field.heights[candidates[:, 0]]
    creased = (amplitude.amax((0, 1))[rows] * heights.abs()).sum(1) + settings.still
    taken = torch.multinomial(creased.cpu(), settings.edges_per_step, generator=random).to(device)
    chosen = candidates[taken].T.flatten()
    return Batch(people, pool.seen[which], chosen, wrinkles.wrinkle_heights(population.field, amplitude, chosen))


def batch_loss(
    networks: Networks,
    population: Population,
    batch: Batch,
    softness: float,  # millimetres
    detail_weight: float,
) -> Tensor:
    """Softened L1 of the offsets and of their differences along edges, in millimetres."""
    features = features_of(population, batch.people, batch.chosen)
    truth = batch.height[..., None] * features.normal[:, None]
    found = networks.decoder(networks.decoder.prepare(features), networks.encoder(batch.seen))
    error = (found - truth) * 1000
    first, second = error.chunk(2, dim=2)
    return _soft_l1(error, softness) + detail_weight * _soft_l1(first - second, softness)


def _soft_l1(error: Tensor, softness: float) -> Tensor:
    return ((error.square() + softness**2).sqrt() - softness).mean()


def softness_at(done: float, settings: TrainSettings) -> float:
    """The loss is squared below this error (millimetres) after a share `done` of the steps."""
    late = max(0.0, (done - settings.softening) / (1 - settings.softening))
    return settings.first_softness * (settings.last_softness / settings.first_softness) ** late


def rate_at(done: float, step: int, settings: TrainSettings) -> float:
    """Learning rate: a warm-up, then half a cosine down to 2 %."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return settings.learning_rate * min(1.0, (step + 1) / settings.warmup) * (0.98 * cosine + 0.02)


def new_networks(run: Run, model: HeadModel) -> Networks:
    """Untrained networks with their points chosen and their inputs standardised on the population."""
    config, settings = run.config, run.settings
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        networks = Networks(config)
    if config.mode == "displacements":
        networks.points.copy_(choose_points(model, config.num_points))
    networks.decoder.head_points.copy_(choose_head_points(model, config.decoder.head_points))
    population = make_population(with_level(model, 0), networks.decoder.head_points)
    random = torch.Generator().manual_seed(run.seed)
    people = draw_people(population, settings.fitted_on, random)
    expressions = draw_expressions(population, settings.fitted_on, random)
    networks.decoder.standardise.fit(features_of(population, people).whole)
    seen = seen_of(population, config, networks, expressions)
    networks.encoder.standardise.fit(seen, centred=False)  # a face at rest is all zeros to E
    return networks


def train_transfer(
    output: str | Path,
    steps: int = 6000,
    minutes: float | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress = no_progress,
    resume: bool = False,
    config: TransferConfig | None = None,
    settings: TrainSettings | None = None,
) -> TransferModel:
    """Train E and G on a population made from the default head, and write the checkpoint to `output`.

    Beside it lies `<name>.training.safetensors`, from which `resume` goes on: after a stop, or to more steps.

    Args:
        steps: of the whole training, also when it is resumed; the schedules follow from it.
        minutes: stop earlier; the checkpoint is written, and `resume` goes on.

    Returns:
        the model; its report holds the held-out errors in millimetres beside those of predicting nothing and of
        copying another person's offsets.

    Raises:
        ValueError: no steps, nothing to resume, or a training of another configuration, settings or seed.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, expected at least 1: an untrained model would spoil what it predicts.")
    run, output = Run(config or TransferConfig(), settings or TrainSettings(), seed), Path(output)
    state = output.with_name(output.stem + ".training.safetensors")
    before = _read_state(state, run) if resume else None
    model = load_head_model("default", LEVEL)
    networks = Networks(run.config) if before else new_networks(run, model)
    networks.to(device)
    optimizer = torch.optim.AdamW(networks.parameters(), weight_decay=run.settings.weight_decay)
    step = _restore(networks, optimizer, before) if before else 0
    population = make_population(model.to(device), networks.decoder.head_points)
    edges, pool, started = facial_edges(population), None, time.monotonic()

    while step < steps and (minutes is None or time.monotonic() - started < 60 * minutes):
        if pool is None or step % run.settings.steps_per_pool == 0:
            pool = draw_pool(population, edges, networks, run, step // run.settings.steps_per_pool)
        loss = _step(networks, optimizer, pool, run, step, steps)
        step += 1
        if step % run.settings.steps_per_pool == 0:
            log.info("step %d of %d, loss %.4f", step, steps, loss)
            _write_state(state, networks, optimizer, step, run)
        progress(step, steps, None)

    _write_state(state, networks, optimizer, step, run)
    trained = TransferModel(run.config, networks.eval().requires_grad_(False).to("cpu"), TRAINING)
    evaluated = make_population(with_level(model.to("cpu"), EVALUATION_LEVEL), networks.decoder.head_points)
    report = {"steps": step, "seed": seed, "level": EVALUATION_LEVEL, **held_out_errors(trained, evaluated)}
    trained = replace(trained, report=report)
    trained.save(output)
    return trained


def _step(networks: Networks, optimizer: torch.optim.Optimizer, pool: Pool, run: Run, step: int, steps: int) -> float:
    done, settings = step / max(1, steps), run.settings
    for group in optimizer.param_groups:
        group["lr"] = rate_at(done, step, settings)
    batch = draw_batch(pool, run, step)
    loss = batch_loss(networks, pool.population, batch, softness_at(done, settings), settings.detail_weight)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def _write_state(path: Path, networks: Networks, optimizer: torch.optim.Optimizer, step: int, run: Run) -> None:
    tensors = {f"networks.{k}": v for k, v in networks.state_dict().items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{k}": v for k, v in moments.items()}
    write_safetensors(path, FORMAT, tensors, asdict(run) | {"step": step})


def _read_state(path: Path, run: Run) -> tuple[dict[str, Tensor], int]:
    tensors, values = read_safetensors(path, FORMAT)
    for key, asked in asdict(run).items():
        if values.get(key) != json.loads(json.dumps(asked)):
            raise ValueError(
                f"{path.name} is a training with another {key} ({values.get(key)}), asked for was {asked}. Go on with "
                f"the same {key}, or start anew without resuming."
            )
    return tensors, int(values["step"])


def _restore(networks: Networks, optimizer: torch.optim.Optimizer, before: tuple[dict[str, Tensor], int]) -> int:
    tensors, step = before
    networks.load_state_dict({k.removeprefix("networks."): v for k, v in tensors.items() if k.startswith("networks.")})
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".")
            moments.setdefault(int(number), {})[name] = value
    state = optimizer.state_dict()
    optimizer.load_state_dict({"state": moments, "param_groups": state["param_groups"]})
    return step
