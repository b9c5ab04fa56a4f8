"""A fit for a head that it was not made with: its expressions, its place in the picture, its eyelids, its shape.

Expressions and place are two questions: ExAvatar and EHM-Tracker pose SMPL-X's body with FLAME's expressions. Each is
answered through the user's own model file, or refused, or said in a warning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from ...printable import log_of, printable
from ...types import HeadModel, SMPLXFit

FAMILIES = {"smplx": "SMPL-X", "flame": "FLAME"}
LEGACY = "smplx10"  # ten expressions of SMPL-X's old file, which are not the first ten of the hundred
BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")

log = log_of(__name__)


def for_head(fit: SMPLXFit, head: HeadModel, bodies: Sequence[HeadModel] = ()) -> SMPLXFit:
    """The fit as one of `head`.

    Args:
        bodies: the user's own SMPL-X and FLAME models, one or both of them.

    Raises:
        ValueError: its expressions are not the head's, and no body has them.
    """
    fit = _of_whole_space(fit, (*bodies, head))
    converted = _expressions(fit, head, bodies)
    converted = _blinks(converted, head)
    if fit.model_id == head.model_id or family(fit) == family(head):
        # trackers do not write which file they used
        model_id = head.model_id if fit.model_id in FAMILIES else fit.model_id
        converted = converted.replace(betas=fit.betas, model_id=model_id)
        converted.require_space(head)
        return converted
    converted = converted.replace(betas=torch.zeros(min(10, head.shape_basis.shape[2])), model_id=head.model_id)
    converted.require_space(head)
    source = next((body for body in bodies if fit.model_id == body.model_id or family(fit) == family(body)), None)
    if source is None:
        made_with = FAMILIES.get(family(fit), f"'{printable(fit.model_id)}'")
        place = "a second `body_model`" if bodies else "`body_model`"
        log.warning("The head's place in the picture cannot be kept on '%s' without the model that the fit was made "
                    "with: only its motion relative to the first frame can be used. Give your own %s file as %s to "
                    "keep it.", head.model_id, made_with, place)  # fmt: skip
        return converted
    from .retarget import keep_place

    return keep_place(converted, fit, source, head)[0]


def family(owner: SMPLXFit | HeadModel) -> str:
    """Whose mesh it is: "smplx", "flame", or the expression space of another. Readers write it as the model's name."""
    if owner.model_id in FAMILIES:
        return owner.model_id
    return next((name for name in FAMILIES if owner.expression_space.startswith(name)), owner.expression_space)


def _of_whole_space(fit: SMPLXFit, models: Sequence[HeadModel]) -> SMPLXFit:
    """Trackers that write fewer of a model's expressions write the first of them: "flame50" is of "flame100"."""
    for model in models:
        some, whole = (re.fullmatch(r"(smplx|flame)(\d+)", space) for space in
                       (fit.expression_space, model.expression_space))  # fmt: skip
        if some and whole and some[1] == whole[1] and int(some[2]) < int(whole[2]) and some[0] != LEGACY:
            return fit.replace(expression_space=model.expression_space)
    return fit


def _expressions(fit: SMPLXFit, head: HeadModel, bodies: Sequence[HeadModel]) -> SMPLXFit:
    """The fit with expressions of the head."""
    if fit.expression_space == head.expression_space:
        return fit
    if not fit.expression.any():
        # trackers of bodies see no face, and a neutral face is neutral in every space
        neutral = fit.expression.new_zeros(fit.num_frames, head.expression_basis.shape[2])
        return fit.replace(expression=neutral, expression_space=head.expression_space)
    source = next((body for body in bodies if body.expression_space == fit.expression_space), None)
    if fit.expression_space == LEGACY and bodies and source is None:
        raise ValueError(
            f"The fit's expressions are the ten of SMPL-X's old file ('{LEGACY}'), which are not the first ten of "
            f"'{bodies[0].model_id}' with '{bodies[0].expression_space}'. Give the old file of 10 + 10 values as "
            f"`body_model`, or read the tracker's own files without `legacy10`."
        )
    if bodies:
        from .expression import convert_expression  # scipy's interpolation takes a while to import

        return convert_expression(fit, source or bodies[0], head)[0]
    space = next((name for name in FAMILIES if fit.expression_space.startswith(name)), None)
    if space is None:
        fit.require_space(head)
    place = family(fit)  # of the mesh that was posed, which need not be that of the expressions
    also = ""
    if place != space:
        mesh = FAMILIES.get(place, printable(place))
        also = f", and your {mesh} file as a second `body_model` to keep the head in its place"
    raise ValueError(
        f"The fit's expressions are in the space '{printable(fit.expression_space)}', the head model '{head.model_id}' "
        f"has '{head.expression_space}'. Track the clip with this head model, or load the head model that the fit was "
        f"made with, or give your own {FAMILIES[space]} file as `body_model` to convert{also}."
    )


def _blinks(fit: SMPLXFit, head: HeadModel) -> SMPLXFit:
    """Eyelids that the tracker kept beside the expressions, as the head's blinks, to which the expressions add."""
    if fit.eyelids is None:
        return fit
    if not all(name in head.expression_names for name in BLINKS):
        if fit.eyelids.any():
            log.warning("The tracker's eyelids are left out: '%s' has no %s and %s. Use the default head to keep the "
                        "blinks.", head.model_id, *BLINKS)  # fmt: skip
        return fit.replace(eyelids=None)
    columns = [head.expression_names.index(name) for name in BLINKS]
    expression = fit.expression.clone()
    expression[:, columns] = (expression[:, columns] + fit.eyelids).clamp(0, 1)
    return fit.replace(expression=expression, eyelids=None)
