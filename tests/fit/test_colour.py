"""Matching the colours of a pasted square."""

from __future__ import annotations

import torch

from expportrait_core.fit import match_colours
from expportrait_core.fit.crop import cut_square
from expportrait_core.types import HeadCrop

CROP = HeadCrop(torch.tensor([[40.0, 30.0]]), torch.tensor([96.0]), 96, (200, 220))


def test_a_tinted_square_gets_the_pictures_colours_back() -> None:
    blobs = torch.rand(1, 3, 10, 11, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    source = torch.nn.functional.interpolate(blobs, (200, 220), mode="bilinear").movedim(1, -1)
    square = cut_square(source, CROP)
    tinted = (square * torch.tensor([0.8, 1.0, 0.9]) + torch.tensor([0.15, 0.0, 0.1])).expand(3, -1, -1, -1)
    assert match_colours(tinted, CROP, source, 0) is tinted
    matched = match_colours(tinted, CROP, source, 1)
    assert matched.shape == tinted.shape
    assert (matched.mean((0, 1, 2)) - square.mean((0, 1, 2))).abs().max() < 0.01
    assert (matched - square).abs().max() < 0.02, "contrast too"
    assert torch.allclose(match_colours(tinted, CROP, source, 0.25), torch.lerp(tinted, matched, 0.25), atol=1e-5)
    assert (tinted.mean((0, 1, 2)) - square.mean((0, 1, 2))).abs().max() > 0.01
