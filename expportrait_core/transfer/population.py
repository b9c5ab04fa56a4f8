"""A made-up population of the default head: people, expressions, and the wrinkles that these give them.

Nothing here is measured on anybody. A model trained on it learns that wrinkles follow movement, anatomy and age; what
real skin does, it can only learn from `expportrait train transfer` on heads personalised from real clips.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..body import pose_vertices, with_level
from ..types import JAW, NUM_JOINTS, HeadModel
from . import wrinkles
from .decoder import FaceLayout, NeutralFeatures, eyes_of, face_layout, neutral_features
from .face import surface_detail, vertex_normals

# all our choice, not from the paper
USED_BETAS = 60
LARGEST_BETA = 2.5  # standard deviations
STATIC_METRES = 0.002  # typical size of the random Δg away from the face
STATIC_BUMPS, STATIC_WIDTH = 24, 0.03  # how many, and how wide in metres
JAW_OPEN = 0.45  # radians
LEAST_FACIAL_WEIGHT = 0.15  # of Δg on the face, as in the personalised heads


@dataclass(frozen=True)
class Population:
    """The model that people are made from, and what is computed once for all of them."""

    model: HeadModel
    coarse: HeadModel  # the same at level 0
    layout: FaceLayout
    field: wrinkles.WrinkleField
    actions: tuple[tuple[int, ...], ...]  # columns of ψ that move together: left and right of one unit


@dataclass(frozen=True)
class People:
    """Some people of the population."""

    betas: Tensor  # [H, B]
    static_offsets: Tensor  # [H, V, 3] Δg at the coarse vertices, metres
    coarse: Tensor  # [H, V, 3] V_neutral at the coarse vertices, metres
    normals: Tensor  # [H, V, 3]
    tissue: Tensor  # [H] 0..1, see wrinkles.tissue_of


@dataclass(frozen=True)
class Expressions:
    """Some expressions."""

    expression: Tensor  # [K, E] ψ
    jaw_pose: Tensor  # [K, 3] ω
    displacement: Tensor  # [K, V, 3] of the average face's coarse vertices, metres


def make_population(model: HeadModel) -> Population:
    """A population of a model with named expressions, at the model's upsampling level.

    Raises:
        ValueError: the model's expressions have no names (SMPL-X): which of them raise a brow cannot be known.
    """
    if model.expression_space != "arkit":
        raise ValueError(
            f"The population needs named expressions, the head model '{model.model_id}' has the space "
            f"'{model.expression_space}'. Train on the default head: its checkpoint serves every head model."
        )
    layout = face_layout(model)
    field = wrinkles.wrinkle_field(model, layout.vertices)
    return Population(model, with_level(model, 0), layout, field, _actions(model.expression_names))


def _actions(names: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """Columns grouped by name without its side; gaze moves no skin that creases."""
    groups: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        if name and not name.startswith("eyeLook") and name != "tongueOut":
            key = name.replace("Left", "").replace("Right", "").replace("-left", "").replace("-right", "")
            groups.setdefault(key, []).append(column)
    return tuple(tuple(columns) for columns in groups.values())


def draw_people(population: Population, count: int, random: torch.Generator) -> People:
    """People with betas ~ N(0, 1) and a small smooth Δg, mostly off the face."""
    model = population.coarse
    betas = torch.randn(count, USED_BETAS, generator=random).clamp(-LARGEST_BETA, LARGEST_BETA)
    static = torch.stack([_smooth_offsets(model, random) for _ in range(count)])
    basis = model.shape_basis[..., :USED_BETAS].flatten(0, 1)
    device = model.template.device
    betas, static = betas.to(device), static.to(device)
    neutral = model.template + (betas @ basis.T).unflatten(1, (-1, 3)) + static
    normals = vertex_normals(neutral, population.layout.operators)
    detail = surface_detail(neutral, normals, population.layout.operators)
    return People(betas, static, neutral, normals, wrinkles.tissue_of(detail, model))


def _smooth_offsets(model: HeadModel, random: torch.Generator) -> Tensor:
    """Δg [V, 3]: a few wide bumps in random directions."""
    template = model.template.cpu()
    centres = template[torch.randint(len(template), (STATIC_BUMPS,), generator=random)]
    heights = torch.randn(STATIC_BUMPS, 3, generator=random) * STATIC_METRES
    near = torch.exp(-0.5 * (torch.cdist(template, centres) / STATIC_WIDTH) ** 2)
    facial = model.facial_weight.cpu()[:, None]
    return near @ heights * (1 - facial * (1 - LEAST_FACIAL_WEIGHT))


def draw_expressions(population: Population, count: int, random: torch.Generator) -> Expressions:
    """Sparse combinations of one to five units, left and right nearly alike, often with an open jaw."""
    size = population.coarse.expression_basis.shape[2]
    expression, jaw = torch.zeros(count, size), torch.zeros(count, 3)
    for row in range(count):
        if row == 0 and count > 4:
            continue  # one face at rest, so that rest is known to have no wrinkles
        for _ in range(int(torch.randint(1, 6, (), generator=random))):
            columns = population.actions[int(torch.randint(len(population.actions), (), generator=random))]
            strength = torch.rand((), generator=random) ** 0.7
            for column in columns:
                side = 1 - 0.5 * torch.rand((), generator=random) ** 3
                expression[row, column] = (expression[row, column] + strength * side).clamp(max=1)
        if torch.rand((), generator=random) < 0.4:
            jaw[row, 0] = torch.rand((), generator=random) * JAW_OPEN
            jaw[row, 1:] = torch.randn(2, generator=random) * 0.03
    device = population.model.template.device
    return make_expressions(population, expression.to(device), jaw.to(device))


def make_expressions(
    population: Population,
    expression: Tensor,  # [K, E]
    jaw_pose: Tensor,  # [K, 3]
) -> Expressions:
    """Given expressions, with the movement of the average face. On other faces ψ moves the skin by the very same
    vectors and the jaw by nearly the same, so that one movement serves everybody."""
    model, frames = population.coarse, len(expression) + 1
    poses = expression.new_zeros(frames, NUM_JOINTS, 3)
    poses[1:, JAW] = jaw_pose
    with_neutral = torch.cat([torch.zeros_like(expression[:1]), expression])
    posed = pose_vertices(model, expression.new_zeros(0), with_neutral, poses, expression.new_zeros(frames, 3))
    return Expressions(expression, jaw_pose, posed[1:] - posed[:1])


def true_offsets(
    population: Population,
    people: People,
    expressions: Expressions,
    chosen: Tensor | None = None,  # [n] numbers into layout.vertices; None takes all of them
) -> Tensor:
    """The population's Δf [H, K, n, 3] at facial vertices, metres."""
    layout = _chosen(population.layout, chosen)
    profile = population.field.profile if chosen is None else population.field.profile[:, chosen]
    shorter = wrinkles.compression(
        population.field, population.model.faces, people.coarse, expressions.displacement, population.layout.operators
    )
    amplitude = wrinkles.amplitudes(shorter, people.tissue[:, None])  # [H, K, C, V]
    at = sum(amplitude[..., layout.corners[:, k]] * layout.barycentric[:, k] for k in range(3))
    height = wrinkles.wrinkle_heights(at, profile)
    normals = sum(people.normals[:, layout.corners[:, k]] * layout.barycentric[:, k, None] for k in range(3))
    return height[..., None] * torch.nn.functional.normalize(normals, dim=-1)[:, None]


def features_of(population: Population, people: People, chosen: Tensor | None = None) -> NeutralFeatures:
    """What G sees of these people."""
    eyes = eyes_of(population.coarse, people.betas)
    return neutral_features(_chosen(population.layout, chosen), eyes, people.coarse)


def _chosen(layout: FaceLayout, chosen: Tensor | None) -> FaceLayout:
    return layout if chosen is None else layout.at(chosen)
