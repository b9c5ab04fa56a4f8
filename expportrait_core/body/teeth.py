"""Teeth for head models that have none: those of the default head (CC0), set into the mouth by its lip landmarks.

The upper row moves with the head, the lower one with the jaw. Both are scaled to the mouth of the model and follow the
identity with the skin around them, see `seating`.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from ..types import HEAD, JAW, HeadModel
from .landmark_groups import LIP_RING
from .landmarks import landmark_points
from .regions import LIPS, LOWER_TEETH, SKIN, UPPER_TEETH
from .seating import REACH, with_skin
from .upsampling import build_upsampling

log = logging.getLogger(__name__)

MOST_SCALE = 4.0  # of a mouth beside the source's, our choice


def has_teeth(model: HeadModel) -> bool:
    return bool(((model.parts == UPPER_TEETH) | (model.parts == LOWER_TEETH)).any())


def with_teeth(
    model: HeadModel,
    source: HeadModel,  # whose teeth: the default head, at any level
) -> HeadModel:
    """The model with the source's teeth as its last vertices and triangles; itself if it has teeth already, and, with
    a log line, if its lip landmarks are missing or no mouth. Vertices that are no teeth keep their coarse numbers."""
    if has_teeth(model):
        return model
    lips = _inner_lips(model)
    if lips is None:
        log.info("The head model %s has no lip landmarks, so it gets no teeth.", model.model_id)
        return model
    here = _inner_lips(source)
    scale = _scale(here, lips)
    if not 1 / MOST_SCALE < scale < MOST_SCALE:
        log.info("The lip landmarks of %s do not lie like a mouth, so it gets no teeth.", model.model_id)
        return model
    rows = ((source.parts == UPPER_TEETH) | (source.parts == LOWER_TEETH)).nonzero()[:, 0]
    parts, count, added = source.parts[rows], len(model.template), len(rows)

    placed = lips.mean(0) + scale * (source.template[rows] - here.mean(0))
    skin = (model.parts == SKIN) | (model.parts == LIPS)
    columns = with_skin(placed, model.template, model.faces, skin, model.shape_basis, float(scale) * REACH)
    carried = torch.zeros(added, model.skin_weights.shape[1])
    carried[torch.arange(added), torch.where(parts == UPPER_TEETH, HEAD, JAW)] = 1
    number = torch.full((len(source.template),), -1)
    number[rows] = count + torch.arange(added)
    faces = torch.cat([model.faces, number[source.faces[(number[source.faces] >= 0).all(1)]]])

    def longer(values: Tensor, more: Tensor | None = None) -> Tensor:
        return torch.cat([values, values.new_zeros(added, *values.shape[1:]) if more is None else more.to(values)])

    return model.replace(
        template=longer(model.template, placed),
        shape_basis=longer(model.shape_basis, columns),
        expression_basis=longer(model.expression_basis),
        pose_basis=torch.cat([model.pose_basis, model.pose_basis.new_zeros(len(model.pose_basis), 3 * added)], 1),
        skin_weights=longer(model.skin_weights, carried),
        faces=faces,
        parts=longer(model.parts, parts),
        facial_weight=longer(model.facial_weight),
        upsampling=build_upsampling(faces, count + added, model.upsampling.level),
        source_vertices=longer(model.source_vertices, torch.full((added,), -1)),
    )


def _inner_lips(model: HeadModel) -> Tensor | None:
    """The landmarks of LIP_RING on the template [8, 3]."""
    for scheme, numbers in LIP_RING.items():
        if scheme in model.landmarks:
            embedding, index = model.landmarks[scheme], torch.tensor(numbers)
            if (embedding.triangles[index] >= 0).all():
                return landmark_points(model.template[None], model.faces, embedding)[0, index]
    return None


def _scale(before: Tensor, after: Tensor) -> Tensor:
    """Least squares for after = scale · before + shift; heads look the same way, so there is no rotation."""
    before, after = before - before.mean(0), after - after.mean(0)
    return (before * after).sum() / before.square().sum()
