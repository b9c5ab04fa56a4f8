"""ARKit's units on any head model: by name where it has them, else by what they do to the surface.

For a SMPL-X head, the coefficients are found whose displacement of about 400 points of the face is nearest to that of
the default head's unit (see formats/expression.py). What is left over is reported, and a unit that the head cannot
make is refused.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Container, Iterable

import torch
from torch import Tensor

from ...types import HeadModel

REFUSED = 0.8  # share of a unit's motion that is left over, from which on it is another motion. Our choice
PARTLY = 0.4  # from which on it is worth a warning

log = logging.getLogger(__name__)


def unit_coefficients(
    model: HeadModel,
    units: Iterable[str],
    needed: Container[str],  # of the units; the others are left out where the head cannot make them
) -> dict[str, Tensor]:
    """Expression coefficients [E] of the model for each unit at 1.

    Raises:
        ValueError: a needed unit that this head cannot express, or a head on which the units cannot be found at all.
    """
    units = list(units)
    if not units:
        return {}
    if all(unit in model.expression_names for unit in units):
        identity = torch.eye(len(model.expression_names))
        return {unit: identity[model.expression_names.index(unit)] for unit in units}
    found, residuals = mapped_units(model)
    for unit in units:
        left_over = residuals[unit]
        if left_over > REFUSED and unit not in needed:
            log.warning("'%s' is left out: '%s' cannot make it.", unit, model.model_id)
            found = found | {unit: torch.zeros_like(found[unit])}
        elif left_over > REFUSED:
            raise ValueError(
                f"The head model '{model.model_id}' cannot make '{unit}': {100 * left_over:.0f} % of the motion would "
                f"be left over. Use another control, or the default head."
            )
        elif left_over > PARTLY:
            log.warning("'%s' is made by '%s' only in part: %.0f %% of the motion is left over.", unit, model.model_id,
                        100 * left_over)  # fmt: skip
    return {unit: found[unit] for unit in units}


def mapped_units(model: HeadModel) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The default head's units as coefficients of a model without names, and the share of each unit's motion that
    these leave over, 0..1. Made once per model and kept beside its fields.

    Raises:
        ValueError: the model has no landmarks in common with the default head.
    """
    kept = vars(model).get("_mapped_units")
    if kept is None:
        kept = vars(model)["_mapped_units"] = _mapped(model)
    return kept


def _mapped(model: HeadModel) -> tuple[dict[str, Tensor], dict[str, float]]:
    from ..formats.expression import BOUND, bounded_least_squares, correspond, displacements

    head = _default_head()
    there = model.to("cpu")
    pairs = correspond(there, head)
    design = displacements(there.expression_basis, pairs, of_source=True)  # [N·3, E], metres on the default head
    wanted = displacements(head.expression_basis, pairs, of_source=False)  # [N·3, units]
    coefficients = torch.from_numpy(bounded_least_squares(design.numpy(), wanted.numpy(), -BOUND, BOUND))  # [E, units]
    left_over = (wanted - design @ coefficients).norm(dim=0) / wanted.norm(dim=0).clamp(min=1e-12)
    names = [(column, name) for column, name in enumerate(head.expression_names) if name]
    return (
        {name: coefficients[:, column].float() for column, name in names},
        {name: float(left_over[column]) for column, name in names},
    )


@functools.cache
def _default_head() -> HeadModel:
    from ...body import load_head_model

    return load_head_model("default", 0)
