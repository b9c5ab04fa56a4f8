"""A demo generator small enough for tests, with random weights."""

from __future__ import annotations

import torch

from expportrait_core.generator.demo_model import DemoConfig, DemoGenerator, unread

TINY = DemoConfig(size=16, heads=1, layers=2, ffn_dim=64)


def tiny(seed: int = 0, spread: float = 0.02) -> DemoGenerator:
    torch.manual_seed(seed)
    model = DemoGenerator(TINY).eval()
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn_like(p) * spread
        for name in unread(TINY):
            model.transformer.get_parameter(name).zero_()
    return model.requires_grad_(False)
