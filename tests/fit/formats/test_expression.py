"""Expressions of one model as those of another, through what they do to the surface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.body import load_head_model
from expportrait_core.fit import load_fit, save_fit
from expportrait_core.fit.formats.expression import convert_expression, correspond
from expportrait_core.types import HeadModel, SMPLXFit

from .strangers import MADE_OF, smplx_like, write_as_flame
from .tracker_files import write_beat2, write_vhap


@pytest.fixture(scope="module")
def stranger(coarse_head: HeadModel) -> tuple[HeadModel, torch.Tensor]:
    return smplx_like(coarse_head)


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
    flame = load_head_model(write_as_flame(tmp_path, model), level=0)

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
        assert converted.expression_space == "arkit" and torch.equal(converted.poses[:, 1:], fit.poses[:, 1:])
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
