"""Reports: the right pictures in the right sizes, and words that hold the figures; heads changed by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from expportrait_core import crop_portrait, load_fit, personalize, track
from expportrait_core.assets import PERFORMANCE
from expportrait_core.head import PersonalizeSettings, with_portrait, with_strength
from expportrait_core.reports import fit_overlay, head_report, head_summary


@pytest.fixture(scope="module")
def portrait(astronaut, coarse_head):
    pictures, fit, _ = crop_portrait(astronaut, track(astronaut, coarse_head), size=192)
    return pictures, fit, personalize(coarse_head, fit, pictures, settings=PersonalizeSettings(steps=20))


def test_overlay_draws_the_head_where_there_is_a_face(portrait, coarse_head) -> None:
    pictures, fit, _ = portrait
    drawn = fit_overlay(pictures, fit, coarse_head)
    assert drawn.shape == pictures.shape
    assert (drawn[0, 96, 96] - pictures[0, 96, 96]).abs().max() > 0.05
    assert torch.equal(drawn[0, :8, :8], pictures[0, :8, :8])
    unseen = fit_overlay(pictures, fit.replace(valid=torch.tensor([False])), coarse_head)
    assert torch.equal(unseen, pictures)


def test_overlay_is_drawn_on_pictures_of_the_fits_shape_alone(portrait, coarse_head) -> None:
    """On others the head would be stretched. 192×192 are the fit's."""
    _, fit, _ = portrait
    for size in ((384, 384), (96, 96), (17, 16), (193, 192), (1080, 1088)):  # some a little, as scaling rounds
        assert fit_overlay(torch.zeros(1, *size, 3), fit, coarse_head).shape[0] == 1
    for width, height in ((256, 192), (192, 256), (200, 192), (20, 17)):
        sentence = f"The pictures are {width}×{height} and those of the fit 192×192 .*, which have different shapes"
        with pytest.raises(ValueError, match=sentence):
            fit_overlay(torch.zeros(1, height, width, 3), fit, coarse_head)


def test_report_shows_and_says_what_was_reached(portrait) -> None:
    pictures, fit, head = portrait
    sheet = head_report(pictures, fit, head)
    assert sheet.ndim == 3 and sheet.std() > 0.1
    # the rows: before the refined head, the refined head, its normals. Each shows what it says
    other = head.fit.replace(translation=head.fit.translation + torch.tensor([0.1, 0, 0]))
    rows = {
        "before": (sheet - head_report(pictures, other, head)).abs().amax((1, 2)) > 0.1,
        "after": (sheet - head_report(pictures, fit, dataclasses.replace(head, fit=other))).abs().amax((1, 2)) > 0.1,
    }
    before, after = (rows[name].nonzero()[:, 0] for name in ("before", "after"))
    assert len(before) and len(after) and before.max() < after.min()
    text = head_summary(head)
    assert f"{head.report['landmark_error']['after']:.2f} after" in text and "default-head" in text


def test_strength_scales_and_another_portrait_takes_over(portrait, coarse_head) -> None:
    head = portrait[2]
    assert with_strength(head) is head
    assert torch.equal(with_strength(head, identity=0.5).static_offsets, 0.5 * head.static_offsets)
    assert with_strength(head, wrinkles=0).dynamic_offsets.abs().max() == 0
    other = load_fit(PERFORMANCE, coarse_head).frames([5, 6])
    seen = with_portrait(head, other)
    assert torch.equal(seen.fit.poses, other.poses[:1]) and torch.equal(seen.fit.betas, head.betas)
    with pytest.raises(ValueError, match="another"):
        with_portrait(head, other.replace(model_id="another"))
