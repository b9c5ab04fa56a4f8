"""Lips and mouth of a model that names no parts, found by its lip landmarks, against the default head's own names."""

from __future__ import annotations

from pathlib import Path

import torch

from expportrait_core.body import load_head_model, regions
from expportrait_core.body.mouth import mouth_of
from expportrait_core.types import LandmarkEmbedding

from .smplx_file import write_bare_head, write_random_smplx


def test_the_mouth_of_a_smplx_file_is_that_of_the_head_it_was_made_from(tmp_path: Path) -> None:
    path, _ = write_bare_head(tmp_path / "SMPLX_NEUTRAL.npz")
    found, truth = load_head_model(path, level=0, teeth=False), load_head_model("default", level=0)
    teeth = (truth.parts == regions.UPPER_TEETH) | (truth.parts == regions.LOWER_TEETH)
    parts = truth.parts[~teeth]
    mouth, lips = found.parts == regions.MOUTH, found.parts == regions.LIPS
    assert mouth[(parts == regions.MOUTH) | (parts == regions.TONGUE)].all()  # the tongue is a piece of its own
    beside = mouth & (parts != regions.MOUTH) & (parts != regions.TONGUE)
    assert (parts[beside] == regions.LIPS).all()  # the inner border of the lips is drawn elsewhere by a few millimetres
    assert lips.sum() > 60 and (parts[lips] == regions.LIPS).float().mean() > 0.9
    eyes = (parts == regions.LEFT_EYEBALL) | (parts == regions.RIGHT_EYEBALL)
    assert torch.equal(found.parts[eyes], parts[eyes])


def test_landmarks_that_do_not_lie_around_a_mouth_give_none(tmp_path: Path) -> None:
    random = load_head_model(write_random_smplx(tmp_path / "SMPLX_NEUTRAL.npz"), level=0)
    assert not ((random.parts == regions.MOUTH) | (random.parts == regions.LIPS)).any()
    head = load_head_model("default", level=0)
    embedding = head.landmarks["ibug68"]
    nowhere = LandmarkEmbedding(torch.full_like(embedding.triangles, -1), embedding.barycentric)
    assert mouth_of(head.template, head.faces, {"ibug68": nowhere}) is None
    one_point = LandmarkEmbedding(embedding.triangles[:1].expand(68).clone(), embedding.barycentric[:1].repeat(68, 1))
    assert mouth_of(head.template, head.faces, {"ibug68": one_point}) is None
    assert mouth_of(head.template, head.faces, {}) is None


def test_pieces_elsewhere_are_not_in_the_mouth() -> None:
    """A tongue put before the lips, beside the head, or onto the crown is none."""
    head = load_head_model("default", level=0)
    tongue, teeth = head.parts == regions.TONGUE, head.parts == regions.UPPER_TEETH
    _, inside = mouth_of(head.template, head.faces, head.landmarks)
    assert inside[tongue].all() and inside[teeth].all()
    for shift in ((0, 0, 0.1), (0.1, 0, 0), (0, 0.15, 0), (0, 0, -0.2)):
        moved = head.template + tongue[:, None] * torch.tensor(shift)
        _, inside = mouth_of(moved, head.faces, head.landmarks)
        assert not inside[tongue].any() and inside[teeth].all()
