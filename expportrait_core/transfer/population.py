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
from .neutral import FaceLayout, NeutralFeatures, coarse_shape, eyes_of, face_layout, neutral_features

# all our choice, not from the paper
USED_BETAS = 60
LARGEST_BETA = 2.5  # standard deviations
STATIC_METRES = 0.002  # typical size of the random Δg away from the face
STATIC_BUMPS, STATIC_WIDTH = 24, 0.03  # how many, and how wide in metres
JAW_OPEN = 0.45  # radians
# units that faces use together; the rest of an expression is drawn at random
GESTURES = (
    ("mouthSmile", "cheekSquint", "eyeSquint"),
    ("browInnerUp", "browOuterUp", "eyeWide"),
    ("browDown", "eyeSquint", "noseSneer"),
    ("mouthFrown", "mouthShrugLower", "browInnerUp"),
    ("mouthPucker", "mouthFunnel"),
    ("mouthUpperUp", "noseSneer", "cheekSquint"),
    ("mouthPress", "mouthShrugLower", "mouthShrugUpper"),
    ("eyeBlink", "eyeSquint", "browDown"),
    ("mouthStretch", "mh:neck-platysma"),
    ("mh:mouth-corner-puller", "cheekSquint"),
)
LEAST_FACIAL_WEIGHT = 0.15  # of Δg on the face, as in the personalised heads


@dataclass(frozen=True)
class Population:
    """The model that people are made from, and what is computed once for all of them."""

    model: HeadModel
    coarse: HeadModel  # the same at level 0
    layout: FaceLayout
    field: wrinkles.WrinkleField
    actions: dict[str, tuple[int, ...]]  # columns of ψ that move together: left and right of one unit


@dataclass(frozen=True)
class People:
    """Some people of the population."""

    betas: Tensor  # [H, B]
    static_offsets: Tensor  # [H, V, 3] Δg at the coarse vertices, metres
    shape: Tensor  # [H, V, 9] of V_neutral, see neutral.coarse_shape
    tissue: Tensor  # [H] 0..1, see wrinkles.tissue_of

    def __len__(self) -> int:
        return len(self.betas)

    def __getitem__(self, index: slice | Tensor) -> People:
        return People(self.betas[index], self.static_offsets[index], self.shape[index], self.tissue[index])


@dataclass(frozen=True)
class Expressions:
    """Some expressions."""

    expression: Tensor  # [K, E] ψ
    jaw_pose: Tensor  # [K, 3] ω
    displacement: Tensor  # [K, V, 3] of the average face's coarse vertices, metres

    def __len__(self) -> int:
        return len(self.expression)

    def __getitem__(self, index: slice | Tensor) -> Expressions:
        return Expressions(self.expression[index], self.jaw_pose[index], self.displacement[index])


def make_population(
    model: HeadModel,
    head_points: Tensor,  # [p, 3] of the transfer model that is trained, see neutral.choose_head_points
) -> Population:
    """A population of a model with named expressions, at the model's upsampling level.

    Raises:
        ValueError: the model's expressions have no names (SMPL-X): which of them raise a brow cannot be known.
    """
    if model.expression_space != "arkit":
        raise ValueError(
            f"The population needs named expressions, the head model '{model.model_id}' has the space "
            f"'{model.expression_space}'. Train on the default head: its checkpoint serves every head model."
        )
    layout = face_layout(model, head_points)
    field = wrinkles.wrinkle_field(model, layout.vertices, layout.operators)
    return Population(model, with_level(model, 0), layout, field, _actions(model.expression_names))


def _actions(names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Columns grouped by name without its side; gaze moves no skin that creases."""
    groups: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        if name and not name.startswith("eyeLook") and name != "tongueOut":
            key = name.replace("Left", "").replace("Right", "").replace("-left", "").replace("-right", "")
            groups.setdefault(key, []).append(column)
    return {name: tuple(columns) for name, columns in groups.items()}


def draw_people(population: Population, count: int, random: torch.Generator) -> People:
    """People with betas ~ N(0, 1) and a small smooth Δg, mostly off the face."""
    model = population.coarse
    betas = torch.randn(count, USED_BETAS, generator=random).clamp(-LARGEST_BETA, LARGEST_BETA)
    static = torch.stack([_smooth_offsets(model, random) for _ in range(count)])
    basis = model.shape_basis[..., :USED_BETAS].flatten(0, 1)
    device = model.template.device
    betas, static = betas.to(device), static.to(device)
    neutral = model.template + (betas @ basis.T).unflatten(1, (-1, 3)) + static
    shape = coarse_shape(neutral, eyes_of(model, betas), population.layout.operators)
    return People(betas, static, shape, wrinkles.tissue_of(shape[..., 6:], model))


def _smooth_offsets(model: HeadModel, random: torch.Generator) -> Tensor:
    """Δg [V, 3]: a few wide bumps in random directions."""
    template = model.template.cpu()
    centres = template[torch.randint(len(template), (STATIC_BUMPS,), generator=random)]
    heights = torch.randn(STATIC_BUMPS, 3, generator=random) * STATIC_METRES
    near = torch.exp(-0.5 * (torch.cdist(template, centres) / STATIC_WIDTH) ** 2)
    facial = model.facial_weight.cpu()[:, None]
    return near @ heights * (1 - facial * (1 - LEAST_FACIAL_WEIGHT))


def draw_expressions(population: Population, count: int, random: torch.Generator) -> Expressions:
    """Gestures and single units in random strength, left and right nearly alike, often with an open jaw."""
    size, names = population.coarse.expression_basis.shape[2], list(population.actions)
    expression, jaw = torch.zeros(count, size), torch.zeros(count, 3)

    def uniform(low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(torch.rand((), generator=random))

    def whole(high: int) -> int:
        return int(torch.randint(high, (), generator=random))

    for row in range(1 if count > 4 else 0, count):  # one face at rest, so that rest is known to have no wrinkles
        used = [(names[whole(len(names))], uniform() ** 0.7) for _ in range(whole(4))]
        for _ in range(1 + whole(2)):
            strength = uniform() ** 0.5
            used += [(name, strength * uniform(0.5)) for name in GESTURES[whole(len(GESTURES))]]
        for name, strength in used:
            for column in population.actions[name]:
                value = expression[row, column] + strength * (1 - 0.5 * uniform() ** 3)
                expression[row, column] = value.clamp(max=1)
        if uniform() < 0.4:
            jaw[row, 0] = uniform(0, JAW_OPEN)
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


def true_amplitudes(population: Population, people: People, expressions: Expressions) -> Tensor:
    """Amplitude of the creases [H, K, R], millimetres, see wrinkles.amplitudes."""
    return wrinkles.amplitudes(
        population.field, population.model.faces, people.shape[..., :3], expressions.displacement, people.tissue
    )


def true_offsets(
    population: Population,
    people: People,
    expressions: Expressions,
    chosen: Tensor | None = None,  # [m] numbers into layout.vertices; None takes all n
) -> Tensor:
    """The population's Δf [H, K, m, 3] at facial vertices, metres: along the skin's normal."""
    height = wrinkles.wrinkle_heights(population.field, true_amplitudes(population, people, expressions), chosen)
    return height[..., None] * features_of(population, people, chosen).normal[:, None]


def features_of(population: Population, people: People, chosen: Tensor | None = None) -> NeutralFeatures:
    """What G sees of these people."""
    layout = population.layout if chosen is None else population.layout.at(chosen)
    return neutral_features(layout, people.shape)
