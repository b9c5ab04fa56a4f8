"""Ears of models that name no parts, found by their shape, against the default head's own names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.body import load_head_model, regions, with_level
from expportrait_core.body.ears import ears_of
from expportrait_core.types import LEFT_EYE, RIGHT_EYE, HeadModel

from .flame_file import flame_of_the_default_head, random_flame, write_flame
from .smplx_file import write_bare_head, write_random_smplx


def overlap(found: torch.Tensor, truth: torch.Tensor, template: torch.Tensor, faces: torch.Tensor) -> float:
    """Of the triangles that are ears in one of two namings, the share by area that are in both."""
    corners = template[faces]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    one, other = found[faces].all(1), truth[faces].all(1)
    return float(area[one & other].sum() / area[one | other].sum())


def test_ears_of_smplx_files_are_found_whoever_they_are_of(tmp_path: Path, coarse_head: HeadModel) -> None:
    teeth = torch.isin(coarse_head.parts, torch.tensor([regions.UPPER_TEETH, regions.LOWER_TEETH]))
    truth = coarse_head.parts[~teeth] == regions.EARS
    for person in range(3):
        betas = np.random.default_rng(person).normal(0, 1 if person else 0, 100).astype(np.float32)
        path, _ = write_bare_head(tmp_path / f"SMPLX_{person}.npz", betas)
        model = load_head_model(path, level=0, teeth=False)
        found = model.parts == regions.EARS
        assert overlap(found, truth, model.template, model.faces) > (0.7 if person else 0.95)
        assert model.facial_weight[found].max() == 0


def test_ears_of_random_people_are_found(coarse_head: HeadModel) -> None:
    """Their own shape, size and place, by the parts alone that skinning and lips give."""
    truth, generator = coarse_head.parts == regions.EARS, torch.Generator().manual_seed(0)
    unnamed = torch.where(truth, regions.SKIN, coarse_head.parts)
    found = []
    for _ in range(40):
        betas = torch.randn(100, generator=generator)
        template = coarse_head.template + coarse_head.shape_basis[..., :100] @ betas
        joints = coarse_head.joint_template + coarse_head.joint_shape_basis[..., :100] @ betas
        ears = ears_of(template, coarse_head.faces, unnamed, joints, coarse_head)
        found.append(overlap(ears, truth, template, coarse_head.faces))
    assert np.mean(found) > 0.9 and min(found) > 0.6


def test_ears_of_another_mesh_and_another_size_are_found(coarse_head: HeadModel) -> None:
    """Four times as many triangles with other vertices at their corners, of a head of twice the size that stands
    elsewhere."""
    fine = with_level(coarse_head, 1)
    points, shift = coarse_head.template[coarse_head.faces], torch.tensor([0.4, -1.0, 2.0])
    table = fine.upsampling
    template = (points[table.triangles] * table.barycentric[..., None]).sum(1)
    part = coarse_head.parts[coarse_head.faces[table.triangles, table.barycentric.argmax(1)]]
    order = torch.randperm(len(template), generator=torch.Generator().manual_seed(0))
    number = order.argsort()
    truth, faces = part == regions.EARS, number[fine.fine_faces]
    unnamed = torch.where(truth, regions.SKIN, part)[order]
    found = ears_of(template[order] * 2 + shift, faces, unnamed, coarse_head.joint_template * 2 + shift, coarse_head)
    assert overlap(found, truth[order], template[order], faces) > 0.85  # parts of new corners are rounded


def test_ears_of_flame_files_are_found(tmp_path: Path, coarse_head: HeadModel) -> None:
    model = load_head_model(write_flame(tmp_path / "FLAME_NEUTRAL.pkl", flame_of_the_default_head()), level=0)
    # its joints' anchors are in no triangle, and stay in a file that is not cropped
    truth = torch.zeros(len(model.parts), dtype=torch.bool)
    truth[: len(coarse_head.parts)] = coarse_head.parts == regions.EARS
    assert torch.equal(model.faces, coarse_head.faces)
    assert overlap(model.parts == regions.EARS, truth, model.template, model.faces) > 0.95


@pytest.mark.parametrize("seed", [0, 1])
def test_heads_without_ears_have_none(tmp_path: Path, seed: int, coarse_head: HeadModel) -> None:
    tube = load_head_model(write_random_smplx(tmp_path / "SMPLX_NEUTRAL.npz", seed), level=0)
    egg = load_head_model(write_flame(tmp_path / "FLAME_NEUTRAL.pkl", random_flame(seed)), level=0)
    joints = egg.joint_template.clone()
    joints[LEFT_EYE], joints[RIGHT_EYE] = torch.tensor([[0.03, 0.02, 0.06], [-0.03, 0.02, 0.06]])
    for model, where in ((tube, tube.joint_template), (egg, egg.joint_template), (egg, joints), (egg, 0 * joints)):
        unnamed = torch.zeros_like(model.parts)
        assert not ears_of(model.template, model.faces, unnamed, where, coarse_head).any()
        assert not (model.parts == regions.EARS).any()
    # a head whose ears were cut off has a hole there, and gets no ears made of its edges
    ears = coarse_head.parts == regions.EARS
    faces = coarse_head.faces[~ears[coarse_head.faces].any(1)]
    unnamed = torch.where(ears, regions.SKIN, coarse_head.parts)
    assert not ears_of(coarse_head.template, faces, unnamed, coarse_head.joint_template, coarse_head).any()
