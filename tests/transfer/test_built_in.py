"""The checkpoint that ships: what it says of itself, and what it reaches on people it has not seen."""

from __future__ import annotations

import pytest
import torch

from expportrait_core.body import load_head_model, upsample
from expportrait_core.body.upsampling import build_upsampling
from expportrait_core.transfer import load_transfer_model, transfer
from expportrait_core.transfer.held_out import held_out_errors, predicted_offsets
from expportrait_core.transfer.model import BUILT_IN
from expportrait_core.transfer.population import draw_expressions, draw_people, make_expressions, make_population
from expportrait_core.types import HeadModel

from .people import make_fit, make_head


@pytest.fixture(scope="module")
def built_in():
    return load_transfer_model()


@pytest.fixture(scope="module")
def population(built_in):
    return make_population(load_head_model("default", 1), built_in.networks.decoder.head_points)


def test_it_is_small_and_labelled_synthetic(built_in) -> None:
    assert BUILT_IN.stat().st_size <= 4_000_000
    assert built_in.training == "synthetic population of the default head"
    assert built_in.config.mode == "displacements"
    assert built_in is load_transfer_model("built-in")
    assert not any(p.requires_grad for p in built_in.networks.parameters())


def test_it_beats_no_wrinkles_and_copied_wrinkles_on_unseen_people(built_in, population) -> None:
    found = held_out_errors(built_in, population, num_people=8, num_expressions=10, seed=777)
    # over the whole face most of the truth is no wrinkle at all, which predicting none gets right for nothing
    assert found["ours"] < 0.75 * min(found["zero"], found["copied"])
    assert found["ours_wrinkled"] < 0.55 * min(found["zero_wrinkled"], found["copied_wrinkled"])


def test_its_report_is_what_the_shipped_half_precision_file_reaches(built_in, population) -> None:
    found = held_out_errors(built_in, population)
    for name, value in found.items():
        assert value == pytest.approx(built_in.report[name], rel=0.05), name


def test_a_child_does_not_get_the_wrinkles_of_the_old(built_in, population) -> None:
    people = draw_people(population, 40, torch.Generator().manual_seed(5))
    order = people.tissue.argsort()
    expressions = draw_expressions(population, 8, torch.Generator().manual_seed(6))
    young, old = (
        predicted_offsets(built_in, population, people[some], expressions.expression, expressions.jaw_pose)
        for some in (order[:4], order[-4:])
    )
    assert people.tissue[order[3]] < 0.1 < 0.8 < people.tissue[order[-4]]
    # the deepest hundredth, per person: wrinkles, not the noise between them
    depth = [p.norm(dim=-1).flatten(1).quantile(0.99, dim=1) for p in (young[:, 1:, ::8], old[:, 1:, ::8])]
    assert depth[0].max() < 0.35 * depth[1].min()


def test_a_face_at_rest_stays_smooth(built_in, population) -> None:
    people = draw_people(population, 4, torch.Generator().manual_seed(7))
    rest = make_expressions(population, torch.zeros(1, 100), torch.zeros(1, 3))
    found = predicted_offsets(built_in, population, people, rest.expression, rest.jaw_pose)
    assert found.norm(dim=-1).quantile(0.99) < 5e-5


def refined(model: HeadModel) -> tuple[HeadModel, torch.Tensor]:
    """The same head as a coarse mesh of another topology, with four times the triangles and its vertices in another
    order; and the new number of each vertex of the original's level 1."""
    fine = build_upsampling(model.faces, len(model.template), 1)
    order = torch.randperm(fine.num_vertices, generator=torch.Generator().manual_seed(0))
    number = order.argsort()

    def up(values: torch.Tensor) -> torch.Tensor:
        return upsample(values.flatten(1), model.faces, fine)[order].unflatten(1, values.shape[1:])

    faces = number[fine.faces]
    part = model.parts[model.faces[fine.triangles, fine.barycentric.argmax(1)]]
    return model.replace(
        template=up(model.template),
        shape_basis=up(model.shape_basis[..., :60]),
        expression_basis=up(model.expression_basis),
        joint_shape_basis=model.joint_shape_basis[..., :60],
        skin_weights=up(model.skin_weights),
        facial_weight=up(model.facial_weight[:, None])[:, 0],
        parts=part[order],
        faces=faces,
        upsampling=build_upsampling(faces, fine.num_vertices, 0),
        landmarks={},
        source_vertices=order,
    ), number


def test_one_checkpoint_serves_another_topology(built_in) -> None:
    model = load_head_model("default", 1)
    other, number = refined(load_head_model("default", 0))
    fit = make_fit(model, 1, seed=1)
    driver = make_fit(model, 6, seed=2)
    age = torch.zeros(20)
    expected = transfer(make_head(model, fit, age), driver).offsets(0, 6)
    found = transfer(make_head(other, fit, age), driver).offsets(0, 6)[:, number]
    error = (found - expected).norm(dim=-1).mean() / expected.norm(dim=-1).mean()
    assert error < 0.12
