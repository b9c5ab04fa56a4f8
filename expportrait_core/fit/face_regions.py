"""Which part of the face an expression moves, and how much of it is wanted."""

from __future__ import annotations

import torch
from torch import Tensor

from ..types import HeadModel

REGIONS = {
    "brows": ("brow", "mh:eyebrows"),
    "eyes": ("eye", "mh:eye-"),
    "mouth": ("mouth", "jaw", "cheek", "nose", "tongue", "mh:mouth", "mh:nose", "mh:neck"),
}
"""How the names of the expressions of each region begin. Cheeks, nose and neck move with the mouth."""


def expression_gains(model: HeadModel, mouth: float = 1.0, eyes: float = 1.0, brows: float = 1.0) -> Tensor:
    """The factor of every expression column [E].

    Raises:
        ValueError: a gain other than 1 for expressions that have no names.
    """
    gains = {"mouth": mouth, "eyes": eyes, "brows": brows}
    factors = torch.ones(len(model.expression_names), device=model.template.device)
    if (mouth, eyes, brows) == (1, 1, 1):
        return factors
    for column, name in enumerate(model.expression_names):
        region = next((r for r, starts in REGIONS.items() if name.startswith(starts)), None)
        if region is None and name:
            raise ValueError(
                f"Gains for mouth, eyes and brows need expressions with names. Those of '{model.model_id}' (space "
                f"'{model.expression_space}') act on the whole face; leave these gains at 1. The gains for pose and "
                f"wrinkles work with every model."
            )
        if region:
            factors[column] = gains[region]
    return factors
