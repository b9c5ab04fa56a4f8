"""The made-up population: wrinkles where skin is compressed, on those who are old enough."""

from __future__ import annotations

import pytest
import torch

from expportrait_core.body import load_head_model
from expportrait_core.transfer import wrinkles
from expportrait_core.transfer.face import face_coordinates, face_frame
from expportrait_core.transfer.neutral import choose_head_points
from expportrait_core.transfer.population import (
    draw_expressions,
    draw_people,
    features_of,
    make_expressions,
    make_population,
    true_amplitudes,
    true_offsets,
)


@pytest.fixture(scope="module")
def population():
    model = load_head_model("default", 1)
    return make_population(model, choose_head_points(model, 64))


@pytest.fixture(scope="module")
def people(population):
    return draw_people(population, 24, torch.Generator().manual_seed(0))


def expression(population, **values: float):
    """Named units, both sides."""
    names = population.model.expression_names
    psi = torch.zeros(1, len(names))
    for unit, value in values.items():
        for column, name in enumerate(names):
            if name in (unit, unit + "Left", unit + "Right"):
                psi[0, column] = value
    return make_expressions(population, psi, torch.zeros(1, 3))


def facial_places(population):
    """Face coordinates [n, 3] of the facial vertices."""
    model, layout = population.model, population.layout
    corners = face_coordinates(model.template, face_frame(model))[layout.corners]
    return (corners * layout.barycentric[..., None]).sum(1)


def test_a_face_at_rest_has_no_wrinkles(population, people) -> None:
    assert not true_offsets(population, people[:4], expression(population)).any()


@pytest.mark.parametrize(
    ("units", "where"),
    [
        ({"browInnerUp": 1, "browOuterUp": 1}, lambda u, v: v > 0.05),
        ({"browDown": 1}, lambda u, v: (v > -0.3) & (v < 0.6)),
        ({"mouthSmile": 1, "cheekSquint": 1}, lambda u, v: (v < 0.3) & (u.abs() > 0.2)),
        ({"mouthPucker": 1}, lambda u, v: v < -0.5),
    ],
)
def test_wrinkles_come_where_the_expression_compresses(population, people, units: dict, where) -> None:
    old = people[people.tissue.topk(4).indices]
    depth = true_offsets(population, old, expression(population, **units)).norm(dim=-1).mean((0, 1))
    place = facial_places(population)
    inside = where(place[:, 0], place[:, 1])
    assert depth.max() > 1e-4
    assert depth[inside].sum() > 0.7 * depth.sum()


def test_stretched_skin_does_not_wrinkle(population, people) -> None:
    """Brows that go down stretch the forehead that they crease when they go up."""
    up, down = (true_amplitudes(population, people[:4], expression(population, **{unit: 1.0})).amax((0, 1))
                for unit in ("browInnerUp", "browDown"))  # fmt: skip
    forehead = population.field.wavelength == wrinkles.CREASES[0].wavelength
    assert wrinkles.CREASES[0].name == "forehead"
    assert up[forehead].max() > 0.2
    assert down[forehead].sum() < 0.15 * up[forehead].sum()


def test_wrinkles_grow_with_the_expression(population, people) -> None:
    half, full = (true_offsets(population, people[:4], expression(population, mouthSmile=s)).abs().sum()
                  for s in (0.4, 0.8))  # fmt: skip
    assert full > 1.15 * half > 0


def test_depth_follows_a_tissue_that_the_neutral_shows(population, people) -> None:
    expressions = draw_expressions(population, 8, torch.Generator().manual_seed(1))
    depth = true_offsets(population, people, expressions).norm(dim=-1).mean((1, 2))
    order = people.tissue.argsort()
    assert people.tissue.min() < 0.1
    assert people.tissue.max() > 0.7
    assert depth[order[:4]].max() < 0.35 * depth[order[-4:]].min()
    # the same tissue can be read from what G sees: a linear fit on other people's features predicts it
    many = draw_people(population, 260, torch.Generator().manual_seed(2))
    seen = features_of(population, many).whole
    seen = torch.cat([seen, torch.ones(len(seen), 1)], 1)
    weights = torch.linalg.lstsq(seen[:210].double(), torch.logit(many.tissue[:210])[:, None].double(), driver="gelsd")
    found = (seen[210:].double() @ weights.solution)[:, 0]
    assert torch.corrcoef(torch.stack([found, torch.logit(many.tissue[210:]).double()]))[0, 1] > 0.85


def test_wrinkles_are_small_and_stand_on_the_skin(population, people) -> None:
    expressions = draw_expressions(population, 8, torch.Generator().manual_seed(3))
    offsets, normals = true_offsets(population, people[:6], expressions), features_of(population, people[:6]).normal
    assert 0.3e-3 < offsets.norm(dim=-1).max() <= wrinkles.LARGEST / 1000
    across = offsets - (offsets * normals[:, None]).sum(-1, keepdim=True) * normals[:, None]
    assert across.abs().max() < 1e-7


def test_chosen_vertices_are_those_of_all(population, people) -> None:
    expressions = draw_expressions(population, 2, torch.Generator().manual_seed(4))
    chosen = torch.tensor([5, 900, 7000])
    some, whole = (true_offsets(population, people[:2], expressions, which) for which in (chosen, None))
    torch.testing.assert_close(some, whole[:, :, chosen])


def test_a_child_of_the_same_shape_family_differs_from_the_old(population, people) -> None:
    """Copying offsets must be a mistake here, or the population could not teach anything."""
    expressions = draw_expressions(population, 6, torch.Generator().manual_seed(5))
    truth = true_offsets(population, people, expressions)
    assert (truth.roll(1, 0) - truth).abs().mean() > 0.4 * truth.abs().mean()


def test_unnamed_expressions_are_refused(population) -> None:
    other = population.model.replace(expression_space="smplx100")
    with pytest.raises(ValueError, match="needs named expressions"):
        make_population(other, torch.zeros(1, 3))
