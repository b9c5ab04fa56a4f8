"""Pictures of fits: curves that show every value where it is, and heads that look where they look."""

from __future__ import annotations

import pytest
import torch

from expportrait_core.assets import PERFORMANCE
from expportrait_core.curves import _axis, _panels, _runs, _spread, fit_curves
from expportrait_core.fit import edit_fit, load_fit, neutral_fit
from expportrait_core.shaded import shaded_heads
from expportrait_core.types import HeadModel, SMPLXFit


@pytest.fixture(scope="module")
def performance(coarse_head: HeadModel) -> SMPLXFit:
    return load_fit(PERFORMANCE, coarse_head)


def curves_of(fit: SMPLXFit, model: HeadModel) -> dict[str, torch.Tensor]:
    return {name: curve for panel in _panels(fit, model) for name, curve in panel.curves.items()}


def test_curves_have_the_names_and_signs_of_the_controls(coarse_head: HeadModel) -> None:
    values = {"head_turn": 12.0, "gaze_x": -0.5, "gaze_y": 0.4, "jaw_open": 0.3, "blink_left": 0.8, "brow_lower": 0.6}
    shown = curves_of(edit_fit(neutral_fit(coarse_head), coarse_head, values), coarse_head)
    expected = {"turn": 12, "nod": 0, "tilt": 0, "gaze x": -0.5, "gaze y": 0.4, "jaw open": 0.3, "eyeBlinkLeft": 0.8,
                "eyeBlinkRight": 0, "browDown": 0.6}  # fmt: skip
    assert {name: float(shown[name]) for name in expected} == pytest.approx(expected, abs=0.02)
    turned = curves_of(edit_fit(neutral_fit(coarse_head), coarse_head, {"head_tilt": 9.0}), coarse_head)
    assert float(turned["tilt"]) == pytest.approx(9, abs=1e-3)


def test_the_picture_shows_unseen_frames_and_any_length(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    whole = fit_curves(performance, coarse_head)
    assert whole.shape[1:] == (1400, 3) and whole.min() >= 0 and whole.max() <= 1
    valid = performance.valid.clone()
    valid[10:20] = False
    shaded = fit_curves(performance.replace(valid=valid), coarse_head)
    red = (shaded[..., 0] - shaded[..., 1] > 0.1).float().mean()
    assert red > (whole[..., 0] - whole[..., 1] > 0.1).float().mean() + 0.05
    for fit in (performance.frames([0]), performance.frames([0, 1]), performance.frames(list(range(72)) * 40)):
        assert fit_curves(fit, coarse_head).std() > 0.03
    still = performance.replace(expression=torch.zeros_like(performance.expression))
    assert fit_curves(still, coarse_head).std() > 0.03


def test_spaces_without_names_are_drawn_by_number(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    nameless = coarse_head.replace(expression_space="smplx100")
    fit = performance.replace(expression_space="smplx100")
    assert any(name.startswith("expression ") for name in curves_of(fit, nameless))
    assert fit_curves(fit, nameless).std() > 0.03
    with pytest.raises(ValueError, match="in the space 'smplx100'"):
        fit_curves(fit, coarse_head)


def test_names_never_lie_on_each_other() -> None:
    for wanted in ([50.0] * 6, [0.0, 1, 2, 3, 4, 5], [200.0] * 6, [90.0, 10, 50], [5.0]):
        placed = _spread(wanted, 14, 194)
        assert all(14 <= y <= 194 for y in placed)
        assert all(b - a > 20.9 for a, b in zip(sorted(placed), sorted(placed)[1:]))
        assert sorted(range(len(wanted)), key=wanted.__getitem__) == sorted(range(len(placed)), key=placed.__getitem__)


@pytest.mark.parametrize(("low", "high", "least"), [(0, 0, 1), (-12, 14, 10), (0, 1, 1), (-40, 0.1, 10), (0, 1e-9, 1)])
def test_axes_hold_the_curves_and_a_few_lines(low: float, high: float, least: float) -> None:
    bottom, top, step = _axis(low, high, least)
    assert bottom <= low and top >= high and 2 <= (top - bottom) / step <= 8


def test_runs_are_found() -> None:
    marked = torch.tensor([True, False, True, True, False, True]).numpy()
    assert _runs(marked) == [(0, 1), (2, 4), (5, 6)] and _runs(marked[1:2]) == []


def test_irises_follow_the_gaze(head_model: HeadModel) -> None:
    rest = neutral_fit(head_model)
    places = []
    for gaze in (-0.8, 0.0, 0.8):
        picture = shaded_heads(edit_fit(rest, head_model, {"gaze_x": gaze}), head_model, 512)[0]
        blue = (picture[..., 2] - picture[..., 0]) > 0.03  # the iris: skin is red, white and pupil are grey
        blue[:200], blue[320:] = False, False
        assert blue.sum() > 40
        places.append(float(blue.nonzero()[:, 1].float().mean()))
    assert places[0] + 2 < places[1] < places[2] - 2, "towards the right of the picture"


def test_heads_are_lit_and_the_rest_is_paper(head_model: HeadModel) -> None:
    picture = shaded_heads(neutral_fit(head_model), head_model, 128)
    assert picture.shape == (1, 128, 128, 3)
    assert torch.allclose(picture[0, 0, 0], torch.tensor([0.086, 0.094, 0.114]))
    assert picture[0, 60:80, 50:78].mean() > 0.3
