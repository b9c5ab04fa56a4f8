"""Heads on disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from expportrait_core.body import load_head_model
from expportrait_core.head import STANDARD, load_head, personalize
from expportrait_core.types import HeadModel, PersonalizedHead

from .people import make_person, tracked


@pytest.fixture(scope="module")
def head(head_model: HeadModel) -> PersonalizedHead:
    fit = tracked(make_person(head_model, frames=2).fit)
    return personalize(head_model, fit, settings=dataclasses.replace(STANDARD, steps=3, passes=1, offsets_after=0.0))


def test_writing_and_reading_is_the_identity(head: PersonalizedHead, tmp_path: Path) -> None:
    back = load_head(head.save(tmp_path / "head.safetensors"))
    for name in ("betas", "static_offsets", "dynamic_offsets"):
        assert torch.equal(getattr(back, name), getattr(head, name))
    for name in ("expression", "poses", "translation", "landmarks"):
        assert torch.equal(getattr(back.fit, name), getattr(head.fit, name))
    assert back.report == {**head.report, "settings": back.report["settings"]} and back.level == 1
    assert back.report["settings"]["steps"] == 3 and head.dynamic_offsets.abs().max() > 0


def test_a_model_at_another_level_is_brought_to_the_head_s(head: PersonalizedHead, tmp_path: Path) -> None:
    path = head.save(tmp_path / "head.safetensors")
    assert load_head(path, load_head_model("default", level=0)).model.upsampling.level == 1


def test_the_wrong_model_is_refused(head: PersonalizedHead, head_model: HeadModel, tmp_path: Path) -> None:
    path = head.save(tmp_path / "head.safetensors")
    with pytest.raises(ValueError, match=r"head.safetensors was made with .*'default-head'.*'SMPLX_MALE'"):
        load_head(path, head_model.replace(model_id="SMPLX_MALE"))
    other = head_model.replace(model_id="SMPLX_MALE")
    foreign = head.replace(model=other, model_id="SMPLX_MALE").save(tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match=r"'SMPLX_MALE', which is not the default head"):
        load_head(foreign)
    assert load_head(foreign, other).model_id == "SMPLX_MALE"


def test_other_files_are_refused(head: PersonalizedHead, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no file"):
        load_head(tmp_path / "missing.safetensors")
    with pytest.raises(ValueError, match=r"expportrait.fit"):
        load_head(head.fit.save(tmp_path / "fit.safetensors"))
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(ValueError, match=r"not a readable"):
        load_head(tmp_path / "text.safetensors")
