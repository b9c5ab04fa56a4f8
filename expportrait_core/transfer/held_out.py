"""How well a transfer model does on people and expressions that it has not seen, beside doing nothing and copying."""

from __future__ import annotations

import torch
from torch import Tensor

from .model import TransferModel, seen_by_encoder
from .population import People, Population, draw_expressions, draw_people, features_of, true_offsets

HELD_OUT_SEED = 20260219  # training draws with smaller numbers
WRINKLED = 1e-4  # metres; an offset larger than this is a wrinkle


@torch.no_grad()
def held_out_errors(
    model: TransferModel,
    population: Population,
    num_people: int = 12,
    num_expressions: int = 16,
    seed: int = HELD_OUT_SEED,
) -> dict[str, float]:
    """Mean absolute errors per coordinate in millimetres, over all facial vertices and over the wrinkled ones.

    Returns:
        `ours`, `zero` (no offsets at all) and `copied` (the next person's true offsets for the same expression, which
        is what copying the driver's offsets does), each also as `..._wrinkled`.
    """
    random = torch.Generator().manual_seed(seed)
    people = draw_people(population, num_people, random)
    expressions = draw_expressions(population, num_expressions, random)
    truth = true_offsets(population, people, expressions)
    wrinkled = truth.norm(dim=-1) > WRINKLED
    found = {
        "ours": predicted_offsets(model, population, people, expressions.expression, expressions.jaw_pose) - truth,
        "zero": -truth,
        "copied": truth.roll(1, 0) - truth,
    }
    errors = {name: _millimetres(error) for name, error in found.items()}
    return errors | {f"{name}_wrinkled": _millimetres(error[wrinkled]) for name, error in found.items()}


def _millimetres(error: Tensor) -> float:
    return round(error.abs().mean().item() * 1000, 6)


def predicted_offsets(
    model: TransferModel,
    population: Population,
    people: People,
    expression: Tensor,  # [K, E]
    jaw_pose: Tensor,  # [K, 3]
) -> Tensor:
    """G's Δf [H, K, n, 3] at the facial vertices, person by person to bound the memory."""
    networks = model.networks
    seen = seen_by_encoder(model.config, networks.points, population.coarse, expression, jaw_pose)
    codes = networks.encoder(seen)
    decoder = networks.decoder
    each = [decoder(decoder.prepare(features_of(population, people[h : h + 1])), codes) for h in range(len(people))]
    return torch.cat(each)
