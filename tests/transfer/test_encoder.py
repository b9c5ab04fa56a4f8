"""E: what it sees of an expression, and what it must not see."""

from __future__ import annotations

import pytest
import torch

from expportrait_core.body import load_head_model
from expportrait_core.transfer.encoder import Standardise, choose_points, point_displacements
from expportrait_core.transfer.face import face_coordinates, face_frame, points_on_face
from expportrait_core.transfer.model import seen_by_encoder
from expportrait_core.types import HeadModel

from .people import untrained, untrained_raw


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model("default", 0)


@pytest.fixture(scope="module")
def performance(model: HeadModel) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    expression = torch.rand(5, model.expression_basis.shape[2], generator=random) ** 4
    jaw = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0.3, 0.05, 0], [0.2, 0, 0.02], [0.4, 0, 0]])
    return expression, jaw


def scaled(model: HeadModel, scale: float) -> HeadModel:
    """The same person, all lengths multiplied."""
    names = ("template", "shape_basis", "expression_basis", "joint_template", "joint_shape_basis",
             "joint_expression_basis")  # fmt: skip
    return model.replace(**{name: getattr(model, name) * scale for name in names})


def test_face_coordinates_put_eyes_and_mouth_where_they_are_named(model: HeadModel) -> None:
    frame = face_frame(model)
    eyes = face_coordinates(model.joint_template[[23, 24]], frame)
    torch.testing.assert_close(eyes, torch.tensor([[0.5, 0, 0], [-0.5, 0, 0]]), atol=1e-4, rtol=0)
    # the default head's lips part at 6.66 cm below the eyes
    assert frame.mouth_drop.item() == pytest.approx(0.0666, abs=0.002)


def test_points_lie_behind_their_coordinates_on_the_front_of_the_face(model: HeadModel) -> None:
    wanted = torch.tensor([[0.0, -0.5], [0.3, -1.3], [-0.5, 0.6], [0.7, -0.6]])
    found = points_on_face(model, wanted)
    place = face_coordinates(model.template, face_frame(model))[model.faces[found.triangles]]
    at = (place * found.barycentric[..., None]).sum(1)
    torch.testing.assert_close(at[:, :2], wanted, atol=1e-4, rtol=0)
    assert (at[:, 2] > -0.5).all()
    torch.testing.assert_close(found.barycentric.sum(1), torch.ones(4))


def test_a_point_beside_the_face_finds_the_nearest_skin(model: HeadModel) -> None:
    found = points_on_face(model, torch.tensor([[5.0, 0.0]]))
    at = face_coordinates(model.template, face_frame(model))[model.faces[found.triangles[0]]].mean(0)
    assert at[0] > 0.9


def test_chosen_points_are_symmetric_distinct_and_repeatable(model: HeadModel) -> None:
    points = choose_points(model, 128)
    assert points.shape == (128, 2)
    assert torch.equal(points, choose_points(model, 128))
    torch.testing.assert_close(points[64:] * torch.tensor([-1.0, 1]), points[:64])
    assert torch.cdist(points, points).fill_diagonal_(9).min() > 0.02


def test_rest_is_no_displacement_at_all(model: HeadModel) -> None:
    seen = point_displacements(model, choose_points(model, 32), torch.zeros(2, 100), torch.zeros(2, 3))
    assert not seen.any()


def test_rest_has_the_code_of_no_displacement(model: HeadModel, performance) -> None:
    transfer = untrained()
    rest = transfer.encode(model, torch.zeros(1, 100), torch.zeros(1, 3))
    assert torch.equal(rest, transfer.networks.encoder(torch.zeros(1, transfer.config.encoder_inputs)))
    assert (transfer.encode(model, *performance) - rest).abs().max() > 0.1


def test_displacements_are_in_face_units(model: HeadModel, performance) -> None:
    points = choose_points(model, 64)
    child = scaled(model, 0.7)
    torch.testing.assert_close(
        point_displacements(child, points, *performance), point_displacements(model, points, *performance),
        atol=2e-6, rtol=1e-4,
    )  # fmt: skip


def test_another_basis_with_the_same_movement_has_the_same_code(model: HeadModel, performance) -> None:
    expression, jaw = performance
    mixing = torch.randn(100, 100, generator=torch.Generator().manual_seed(1)) / 10 + torch.eye(100)
    other = model.replace(
        expression_basis=model.expression_basis @ mixing,
        joint_expression_basis=model.joint_expression_basis @ mixing,
        expression_space="other",
    )
    psi = torch.linalg.solve(mixing, expression.T).T
    transfer = untrained()
    torch.testing.assert_close(
        transfer.encode(other, psi, jaw), transfer.encode(model, expression, jaw), atol=1e-3, rtol=1e-3
    )


def test_the_jaw_is_seen_and_the_heads_rotation_is_not_asked_for(model: HeadModel) -> None:
    points = torch.tensor([[0.0, -1.4], [0.0, 0.5]])  # chin and forehead
    seen = point_displacements(model, points, torch.zeros(1, 100), torch.tensor([[0.3, 0, 0]]))[0]
    assert seen[0, 1] < -0.2
    assert seen[1].norm() < 0.01


def test_fewer_expression_values_are_the_first_ones(model: HeadModel, performance) -> None:
    expression, jaw = performance
    points, first = choose_points(model, 16), expression.clone()
    first[:, 30:] = 0
    torch.testing.assert_close(
        point_displacements(model, points, expression[:, :30], jaw), point_displacements(model, points, first, jaw)
    )


def test_raw_mode_sees_the_numbers_and_refuses_another_space(model: HeadModel, performance) -> None:
    transfer = untrained_raw("smplx100", 100)
    with pytest.raises(ValueError, match="space 'smplx100' as they are.*'default-head' has 'arkit'"):
        transfer.encode(model, *performance)
    other = model.replace(expression_space="smplx100")
    expression, jaw = performance
    seen = seen_by_encoder(transfer.config, transfer.networks.points, other, expression[:, :40], jaw)
    assert torch.equal(seen[:, :40], expression[:, :40])
    assert not seen[:, 40:100].any()
    assert torch.equal(seen[:, 100:], jaw)
    assert transfer.encode(other, expression, jaw).shape == (5, 128)


def test_standardised_samples_have_unit_spread_and_no_correlation() -> None:
    random = torch.Generator().manual_seed(0)
    samples = torch.randn(400, 6, generator=random) @ torch.randn(6, 20, generator=random) + 3
    standardise = Standardise(20, 6)
    standardise.fit(samples)
    found = standardise(samples)
    covariance = found.T @ found / len(found)
    torch.testing.assert_close(covariance, torch.eye(6), atol=0.08, rtol=0)
    assert standardise(samples * 1000).abs().max() <= 4
