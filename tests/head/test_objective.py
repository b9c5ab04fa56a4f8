"""Every term of the objective: its gradient against finite differences, and what it is zero or constant for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from expportrait_core.body.sparse import SparseMatrix
from expportrait_core.head import objective
from expportrait_core.head.settings import STANDARD

DRAW = torch.Generator().manual_seed(0)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=DRAW, dtype=torch.float64)


def weights(*shape: int) -> Tensor:
    return (torch.rand(*shape, generator=DRAW, dtype=torch.float64) > 0.3).double()


TARGET, CONFIDENCE, EYES = 40 * noise(2, 5, 2), weights(2, 5), torch.tensor([30.0, 50], dtype=torch.float64)
SEEN, GIVEN_DEPTH = weights(2, 6, 7), 1 + 0.1 * noise(2, 6, 7)
OUTLINE, FILLABLE, EARS = weights(2, 9), weights(9), weights(2, 9)

TERMS: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
    "landmarks": (lambda x: objective.landmark_term(x, TARGET, CONFIDENCE, EYES), 40 * noise(2, 5, 2)),
    "normals": (lambda x: objective.normal_term(x, SEEN), noise(2, 6, 7, 3)),
    "high_pass": (lambda x: objective.high_pass_term(x, SEEN, 1.5), noise(2, 6, 7, 3)),
    "depth": (lambda x: objective.depth_term(x, GIVEN_DEPTH, SEEN, "metric"), 1 + 0.1 * noise(2, 6, 7)),
    "outline": (lambda x: objective.outline_term(x, OUTLINE, FILLABLE, 0.1, 20.0), 8 * noise(2, 9)),
    "expression": (objective.expression_term, noise(2, 4)),
    "magnitude": (objective.magnitude_term, 3e-3 * noise(2, 5, 3)),
    "laplacian": (objective.laplacian_term, 3e-3 * noise(2, 5, 3)),
    "temporal": (objective.temporal_term, 3e-3 * noise(2, 5, 3)),
    "zero_mean": (objective.zero_mean_term, 3e-3 * noise(5, 3)),
    "rigid": (lambda x: objective.rigid_term(x, EARS), 3e-3 * noise(9, 3)),
    "stay": (lambda x: objective.stay_term({"betas": (x, 0.5), "pose": (2 * x, 0.1)}), noise(2, 3)),
}


@pytest.mark.parametrize("name", TERMS)
def test_gradients_are_right(name: str) -> None:
    term, point = TERMS[name]
    assert gradcheck(term, point.requires_grad_(), eps=1e-7, atol=1e-5, rtol=1e-4)


def test_sparse_products_are_differentiable() -> None:
    from scipy import sparse

    matrix = sparse.random(6, 4, 0.5, random_state=0)
    field = noise(2, 4, 3).requires_grad_()
    product = SparseMatrix.of(matrix, field)
    torch.testing.assert_close(product.apply(field), torch.from_numpy(matrix.toarray()) @ field)
    assert gradcheck(product.apply, field)


def test_every_term_has_a_weight_and_a_symbol() -> None:
    names = [f.name for f in dataclasses.fields(objective.Terms)]
    assert sorted(names) == sorted(objective.SYMBOLS)
    assert all(getattr(STANDARD, f"{name}_weight") > 0 for name in names)


def test_the_total_is_the_weighted_sum_of_what_is_given() -> None:
    terms = objective.Terms(normals=torch.tensor(2.0), stay=torch.tensor(3.0))
    settings = dataclasses.replace(STANDARD, normals_weight=5.0, stay_weight=7.0)
    assert float(terms.total(settings)) == 2 * 5 + 3 * 7


def test_landmark_errors_are_percents_of_the_face_whatever_the_picture() -> None:
    small = objective.landmark_term(TARGET + 1, TARGET, CONFIDENCE, EYES)
    large = objective.landmark_term(4 * (TARGET + 1), 4 * TARGET, CONFIDENCE, 4 * EYES)
    torch.testing.assert_close(small, large)
    one_percent = torch.tensor([0.3, 0.0], dtype=torch.float64)
    thirty = torch.full_like(EYES, 30.0)
    error = objective.landmark_term(TARGET + one_percent, TARGET, CONFIDENCE, thirty)
    torch.testing.assert_close(error, torch.ones_like(error))


def test_the_high_pass_ignores_a_slow_tilt_and_sees_a_wrinkle() -> None:
    seen = torch.ones(1, 64, 64)
    slow = torch.zeros(1, 64, 64, 3)
    slow[..., 0] = torch.linspace(-0.3, 0.3, 64)
    wrinkle = torch.zeros(1, 64, 64, 3)
    wrinkle[..., 0] = 0.2 * torch.sin(torch.arange(64) * 2.0)
    middle = torch.zeros_like(seen)
    middle[:, 16:48, 16:48] = 1  # away from the border, where a blur cannot see a slope
    assert objective.normal_term(slow - objective.blur_within(slow, seen, 3.0), middle) < 1e-3
    passed = objective.high_pass_term(wrinkle, seen, 3.0)
    assert passed > 0.9 * objective.normal_term(wrinkle, seen)


def test_a_blur_does_not_look_beyond_the_mask() -> None:
    seen = torch.zeros(1, 20, 20)
    seen[:, 5:15, 5:15] = 1
    values = torch.full((1, 20, 20, 2), 7.0)
    values[:, :5] = 1e3
    torch.testing.assert_close(objective.blur_within(values, seen, 2.0)[:, 5:15, 5:15], values[:, 5:15, 5:15])


@pytest.mark.parametrize(("alignment", "scale", "shift"), [("scale", 3.0, 0.0), ("scale_shift", 0.2, 5.0)])
def test_relative_depth_is_aligned_first(alignment: str, scale: float, shift: float) -> None:
    rendered = GIVEN_DEPTH * scale + shift
    assert objective.depth_term(rendered, GIVEN_DEPTH, SEEN, alignment) < 1e-9
    assert objective.depth_term(rendered, GIVEN_DEPTH, SEEN, "metric") > 100


def test_long_offsets_cost_their_length_and_short_ones_their_square() -> None:
    def cost(millimetres: float) -> float:
        return float(objective.magnitude_term(torch.tensor([[[millimetres / 1000, 0, 0]]], dtype=torch.float64)))

    assert cost(0.02) / cost(0.01) == pytest.approx(4, rel=1e-3)
    assert cost(200) / cost(100) == pytest.approx(2, rel=0.02)


def test_ears_that_move_as_one_cost_nothing() -> None:
    moved = torch.zeros(9, 3, dtype=torch.float64)
    groups = torch.zeros(2, 9, dtype=torch.float64)
    groups[0, :4], groups[1, 4:7] = 1, 1
    moved[:4], moved[4:7] = 0.003, -0.002
    assert objective.rigid_term(moved, groups) < 1e-20
    moved[0] += 0.001
    assert objective.rigid_term(moved, groups) > 0.1


def test_the_outline_pulls_in_everywhere_and_out_only_where_it_may_grow() -> None:
    # outside, inside twice, far away, and not on the outline
    distance = torch.tensor([[5.0, -5.0, -5.0, 80.0, 5.0]], requires_grad=True)
    outline = torch.tensor([[1.0, 1, 1, 1, 0]])
    fillable = torch.tensor([0.0, 0, 1, 1, 1])
    objective.outline_term(distance, outline, fillable, 0.1, 30.0).backward()
    torch.testing.assert_close(distance.grad * 4, torch.tensor([[1.0, 0, -0.1, 0, 0]]))
