"""Expressions of one model as those of another, through what they do to the surface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.body import load_head_model
from expportrait_core.fit import load_fit, save_fit
from expportrait_core.fit.formats.expression import convert_expression, correspond
from expportrait_core.types import HEAD, JAW, LEFT_EYE, RIGHT_EYE, HeadModel, LandmarkEmbedding, SMPLXFit

from ...body.flame_file import write_flame, write_landmarks
from .tracker_files import write_beat2, write_vhap

MADE_OF = ("jawForward", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "eyeBlinkLeft", "eyeBlinkRight",
           "mouthPucker", "noseSneerLeft", "cheekPuff", "browDownRight")  # fmt: skip


@pytest.fixture(scope="module")
def stranger(coarse_head: HeadModel) -> tuple[HeadModel, torch.Tensor]:
    """A model like SMPL-X's: another size and place, 51 landmarks, expressions that are mixtures of the head's units.

    Also the mixture [100, 10] by which its coefficients are made from ten units.
    """
    generator = torch.Generator().manual_seed(0)
    units = [coarse_head.expression_names.index(name) for name in MADE_OF]
    basis = torch.zeros_like(coarse_head.expression_basis)
    mix, _ = torch.linalg.qr(torch.randn(10, 10, generator=generator))
    basis[..., :10] = coarse_head.expression_basis[..., units] @ mix * 1.2
    points = coarse_head.landmarks["ibug68"]
    model = coarse_head.replace(
        template=coarse_head.template * 1.2 + torch.tensor([0.01, 0.2, -0.03]), expression_basis=basis,
        landmarks={"ibug51": LandmarkEmbedding(points.triangles[17:], points.barycentric[17:])},
        expression_names=tuple(f"expression{i}" for i in range(100)), expression_space="smplx100",
        model_id="SMPLX_NEUTRAL",
    )  # fmt: skip
    return model, torch.linalg.inv(mix)


def strange_fit(path: Path, expression: torch.Tensor) -> SMPLXFit:
    write_beat2(path)
    return load_fit(path).replace(expression=expression)


def test_points_of_the_face_are_found_again(stranger, coarse_head: HeadModel) -> None:
    pairs = correspond(stranger[0], coarse_head)
    assert 380 <= len(pairs.source) <= 468 and pairs.scale == pytest.approx(1 / 1.2, rel=1e-3)
    on_head = torch.einsum("nk,nkc->nc", pairs.barycentric, coarse_head.template[pairs.target])
    assert (coarse_head.template[pairs.source] - on_head).norm(dim=1).median() < 0.003


def test_units_come_back_and_the_residual_is_small(
    stranger, coarse_head: HeadModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, unmix = stranger
    units = torch.zeros(4, 10)
    units[0, 1:3], units[1, 4], units[2, [3, 6]], units[3, 8] = 0.8, 1.0, 0.6, 0.7
    expression = torch.zeros(4, 100)
    expression[:, :10] = units @ unmix.T
    fit = strange_fit(tmp_path / "a.npz", expression)
    converted, residual = convert_expression(fit, model, coarse_head)
    columns = [coarse_head.expression_names.index(name) for name in MADE_OF]
    assert residual < 0.15 and "could not be expressed" in caplog.text
    assert (converted.expression[:, columns] - units).abs().max() < 0.1  # neighbouring units share a little
    assert converted.expression.min() >= 0 and converted.expression.max() <= 1
    assert torch.equal(converted.poses, fit.poses) and converted.expression_space == "arkit"
    assert load_fit(tmp_path / "a.npz", coarse_head, body_model=model).model_id == "default-head"


def test_flame_is_converted_through_its_own_file(
    stranger, coarse_head: HeadModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The stranger as a FLAME file: a tracker's hundred and another's first fifty become the same units."""
    model, unmix = stranger
    points, faces = model.template.numpy(), model.faces.numpy()
    shapedirs = np.zeros((len(points), 3, 400))
    shapedirs[..., 300:] = model.expression_basis.numpy()
    regressor, weights = np.zeros((5, len(points))), np.zeros((len(points), 5))
    for number, joint in enumerate((0, HEAD, JAW, LEFT_EYE, RIGHT_EYE)):
        regressor[number, (model.template - model.joint_template[joint]).norm(dim=1).argmin()] = 1
        weights[:, number] = model.skin_weights[:, joint].numpy()
    weights[:, 0] = 1 - weights[:, 1:].sum(1)
    path = write_flame(tmp_path / "generic_model.pkl", {
        "v_template": points, "f": faces, "shapedirs": shapedirs, "posedirs": np.zeros((len(points), 3, 36)),
        "J_regressor": regressor, "weights": weights,
        "kintree_table": np.array([[-1, 0, 1, 1, 1], range(5)]),
    })  # fmt: skip
    landmarks = model.landmarks["ibug51"]
    write_landmarks(tmp_path, landmarks.triangles.numpy(), landmarks.barycentric.numpy())
    flame = load_head_model(path, level=0)

    write_vhap(tmp_path / "tracked_flame_params_3.npz")
    fit = load_fit(tmp_path / "tracked_flame_params_3.npz")
    units = torch.zeros(fit.num_frames, 10)
    units[0, 1:3], units[1, 4], units[2, 8] = 0.8, 1.0, 0.6
    expression = torch.zeros(fit.num_frames, 100)
    expression[:, :10] = units @ unmix.T
    columns = [coarse_head.expression_names.index(name) for name in MADE_OF]
    for name, count in (("flame100", 100), ("flame50", 50)):
        save_fit(fit.replace(expression=expression[:, :count], expression_space=name), tmp_path / f"{name}.npz")
        converted = load_fit(tmp_path / f"{name}.npz", coarse_head, body_model=flame)
        assert (converted.expression[:, columns] - units).abs().max() < 0.1
        assert converted.expression_space == "arkit" and torch.equal(converted.poses, fit.poses)
    assert "from 'flame100' to 'arkit'" in caplog.text
    with pytest.raises(ValueError, match="or give your own FLAME file as `body_model`"):
        load_fit(tmp_path / "flame50.npz", coarse_head)
    on_its_own_head = load_fit(tmp_path / "tracked_flame_params_3.npz", flame)
    assert on_its_own_head.model_id == "generic_model" and torch.equal(on_its_own_head.expression, fit.expression)


def test_what_cannot_be_converted_says_what_to_do(stranger, coarse_head: HeadModel, tmp_path: Path) -> None:
    write_beat2(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="or give your own SMPL-X file as `body_model`"):
        load_fit(tmp_path / "a.npz", coarse_head)
    write_vhap(tmp_path / "tracked_flame_params_3.npz")
    with pytest.raises(ValueError, match="in the space 'flame100', the head model 'SMPLX_NEUTRAL' has 'smplx100'"):
        load_fit(tmp_path / "tracked_flame_params_3.npz", coarse_head, body_model=stranger[0])
    bare = stranger[0].replace(landmarks={})
    with pytest.raises(ValueError, match="share 0 landmarks"):
        load_fit(tmp_path / "a.npz", coarse_head, body_model=bare)
    faceless = stranger[0].replace(facial_weight=torch.zeros(len(stranger[0].template)))
    with pytest.raises(ValueError, match="Only 0 points of 'default-head' were found on 'SMPLX_NEUTRAL'"):
        load_fit(tmp_path / "a.npz", coarse_head, body_model=faceless)


def test_zero_stays_zero(stranger, coarse_head: HeadModel, tmp_path: Path) -> None:
    fit = strange_fit(tmp_path / "a.npz", torch.zeros(4, 100))
    converted, residual = convert_expression(fit, stranger[0], coarse_head)
    assert not converted.expression.any() and np.isfinite(residual)
