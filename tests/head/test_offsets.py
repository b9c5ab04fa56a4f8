"""The offset fields: where they act, and how their roughness is measured."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from expportrait_core.body import load_head_model, regions, upsample
from expportrait_core.head import offsets
from expportrait_core.head.settings import STANDARD, PersonalizeSettings
from expportrait_core.types import HeadModel


@pytest.fixture(scope="module", params=[0, 1])
def model(request: pytest.FixtureRequest) -> HeadModel:
    return load_head_model("default", level=request.param)


def random_field(field: offsets.OffsetField, frames: int = 1) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return field.weight * field.raw(torch.randn(frames, field.num_controls, 3, generator=draw))


def test_dynamic_offsets_are_zero_off_the_face(model: HeadModel) -> None:
    facial = offsets.facial_weights(model)[:, 0]
    moved = random_field(offsets.dynamic_field(model, STANDARD, detail=True), 2)
    assert (moved[:, facial == 0] == 0).all() and (moved[:, facial > 0.5] != 0).all()


def test_static_offsets_keep_a_little_of_the_face_and_none_where_the_paper_is_followed(model: HeadModel) -> None:
    facial = offsets.facial_weights(model)[:, 0]
    assert torch.allclose(offsets.static_weights(model, 0.2)[facial == 1], torch.tensor(0.2))
    strict = offsets.static_field(model, dataclasses.replace(STANDARD, paper_strict=True), detail=True)
    moved = random_field(strict)
    assert (moved[:, facial == 1] == 0).all()
    hair_and_neck = upsample((model.parts == regions.SKIN)[:, None].float(), model.faces, model.upsampling)[:, 0] == 1
    assert (moved[:, hair_and_neck & (facial == 0)] != 0).all()


def test_eyes_and_mouth_are_rigid(model: HeadModel) -> None:
    still = torch.isin(model.parts, torch.tensor(offsets.STILL_PARTS))
    moved = random_field(offsets.static_field(model, STANDARD, detail=True))
    assert (moved[:, : len(still)][:, still] == 0).all()


def test_bumps_of_every_width_are_a_partition_of_unity(model: HeadModel) -> None:
    settings = PersonalizeSettings()
    field = offsets.static_field(model, settings, detail=True)
    acting = field.weight[:, 0] > 0
    assert set(settings.static_rates[: 3 + (model.upsampling.level > 0)]) == {
        round(float(rate), 9) for rate in field.rates.unique()
    }
    for rate in field.rates.unique():
        same_width = (field.rates == rate).float().expand(-1, 3)[None]
        inside = field.raw(same_width)[0, acting, 0]
        assert inside.max() < 1 + 1e-5 and inside.median() > 1 - 1e-5


def test_detail_is_left_out_where_only_landmarks_tell(model: HeadModel) -> None:
    plain, detailed = (offsets.static_field(model, STANDARD, detail) for detail in (False, True))
    assert plain.num_controls < 1000 < detailed.num_controls


def test_the_laplacian_knows_a_translation_and_a_spike(model: HeadModel) -> None:
    laplacian = offsets.laplacian(model)
    same = torch.ones(1, model.num_vertices, 3)
    assert laplacian.apply(same).abs().max() < 1e-4
    spike = torch.zeros(1, model.num_vertices, 3)
    spike[0, 100] = 1
    assert laplacian.apply(spike)[0, 100].abs().min() > 0.1


def test_the_ears_are_on_their_sides(model: HeadModel) -> None:
    left, right = offsets.ear_masks(model).bool()
    surface = upsample(model.template, model.faces, model.upsampling)
    assert left.any() and (surface[left, 0] > 0.05).all()
    assert right.any() and (surface[right, 0] < -0.05).all()
