"""Personalising the built-in photo: from the tracked face to the head."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from expportrait_core.fit import crop_portrait, segment_person, track
from expportrait_core.head import load_head, personalize
from expportrait_core.head.settings import STANDARD
from expportrait_core.types import HeadModel, SMPLXFit

SHORT = dataclasses.replace(STANDARD, steps=25)


@pytest.fixture(scope="module")
def portrait(astronaut: Tensor, head_model: HeadModel) -> tuple[Tensor, SMPLXFit]:
    pictures, fit, _ = crop_portrait(astronaut, track(astronaut, head_model), size=256)
    return pictures, fit


def test_landmarks_come_closer_and_the_head_is_saved(
    portrait: tuple[Tensor, SMPLXFit], head_model: HeadModel, tmp_path: Path
) -> None:
    pictures, fit = portrait
    head = personalize(head_model, fit, pictures, mask=segment_person(pictures), settings=SHORT)
    error = head.report["landmark_error"]
    assert error["after"] < error["before"] < 3
    facial = head_model.facial_weight == 0
    assert head.dynamic_offsets[:, : len(facial)][:, facial].abs().max() == 0
    back = load_head(head.save(tmp_path / "head.safetensors"))
    assert torch.equal(back.static_offsets, head.static_offsets) and back.model.model_id == "default-head"


def test_raising_from_progress_cancels(portrait: tuple[Tensor, SMPLXFit], head_model: HeadModel) -> None:
    pictures, fit = portrait
    seen: list[int] = []

    def stop(done: int, total: int, preview: Tensor | None) -> None:
        seen.append(done)
        if done >= 3:
            raise InterruptedError

    before = fit.betas.clone()
    with pytest.raises(InterruptedError):
        personalize(head_model, fit, pictures, settings=SHORT, progress=stop)
    assert max(seen) == 3 and torch.equal(fit.betas, before)


def test_pictures_of_another_size_are_refused(portrait: tuple[Tensor, SMPLXFit], head_model: HeadModel) -> None:
    pictures, fit = portrait
    with pytest.raises(ValueError, match="the picture size of the fit"):
        personalize(head_model, fit, pictures[:, :100], settings=SHORT)
