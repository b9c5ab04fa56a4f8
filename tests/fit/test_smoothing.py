"""Smoothing and gaps: what must not change does not, and what is smoothed stays a rotation."""

from __future__ import annotations

import pytest
import torch

from expportrait_core import demo
from expportrait_core.body import axis_angle_to_matrix
from expportrait_core.fit import fill_gaps, load_fit, smooth_fit


@pytest.fixture(scope="module")
def performance():
    return load_fit(demo.PERFORMANCE)


def test_no_strength_changes_nothing(performance) -> None:
    assert smooth_fit(performance, 0) is performance


def test_more_strength_moves_less(performance) -> None:
    def roughness(fit):
        return fit.expression.diff(dim=0).norm()

    half, whole = smooth_fit(performance, 0.5), smooth_fit(performance, 1)
    assert roughness(performance) > roughness(half) > roughness(whole)
    matrices = axis_angle_to_matrix(whole.poses)
    assert torch.allclose(matrices @ matrices.transpose(-1, -2), torch.eye(3).expand_as(matrices), atol=1e-5)


def test_a_still_clip_stays_still(performance) -> None:
    still = performance.frames([3] * 9)
    smoothed = smooth_fit(still, 1)
    for name in ("expression", "poses", "translation"):
        assert torch.allclose(getattr(smoothed, name), getattr(still, name), atol=1e-5)


def test_frames_without_a_face_count_as_nothing(performance) -> None:
    still = performance.frames([3] * 9)
    expression, valid = still.expression.clone(), still.valid.clone()
    expression[4], valid[4] = 100, False
    assert torch.allclose(
        smooth_fit(still.replace(expression=expression, valid=valid), 1).expression, still.expression, atol=1e-4
    )


def test_previous_holds_the_last_frame_with_a_face(performance) -> None:
    few = performance.frames(slice(0, 6))
    few = few.replace(valid=torch.tensor([False, True, False, False, True, False]))
    held = fill_gaps(few, "previous")
    assert torch.equal(held.expression, few.expression[[1, 1, 1, 1, 4, 4]])
    assert torch.equal(held.valid, few.valid)
    assert fill_gaps(few, "interpolate") is few
    with pytest.raises(ValueError, match="guess"):
        fill_gaps(few, "guess")
