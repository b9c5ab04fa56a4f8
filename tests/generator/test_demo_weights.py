"""What the shipped demo generator reaches on the fixed evaluation set: each condition must do its work."""

from __future__ import annotations

import pytest

from expportrait_core.generator.demo_model import WEIGHTS
from expportrait_core.generator.evaluate import evaluate_demo


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    return evaluate_demo()


def test_photo_mode_beats_copying_the_photo(figures) -> None:
    assert figures["psnr"] >= figures["psnr_copy"] + 2


def test_normals_and_picture_are_both_needed(figures) -> None:
    assert figures["psnr_no_normals"] <= figures["psnr"] - 1
    assert figures["psnr_no_reference"] <= figures["psnr"] - 6


def test_preview_mode_beats_the_preview(figures) -> None:
    assert figures["psnr_preview_mode"] >= figures["psnr_preview"] + 0.8


def test_weights_stay_small() -> None:
    assert WEIGHTS.stat().st_size <= 16e6
