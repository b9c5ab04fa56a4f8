"""What G sees of a head at rest: V_neutral at the vertices that may move, and the person's own shape as a whole."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..body import neutral_vertices, upsample
from ..types import LEFT_EYE, RIGHT_EYE, HeadModel, PersonalizedHead
from .face import (
    CoarseOperators,
    coarse_operators,
    face_coordinates,
    face_frame,
    head_vertices,
    surface_detail,
    vertex_normals,
)

# all our choice, not from the paper
POSITION_UNIT = 0.1  # metres
ANATOMY_UNIT = 0.6  # times face coordinates: an eye distance is about 0.06 m, so that both encodings have one scale
OWN_UNITS = (0.005,) * 3 + (0.2,) * 3 + (0.2, 0.5, 1.0)
"""How far people typically differ from the average face: metres, parts of a unit normal, millimetres at each of
face.DETAIL_METRES. Without this the fold under an eye would drown in the height of the nose."""
LARGEST_OWN = 4.0


@dataclass(frozen=True)
class FaceLayout:
    """What the features of every head of one model share: which vertices, where they lie, and the sparse matrices."""

    vertices: Tensor  # [n] numbers of the facial vertices
    corners: Tensor  # [n, 3] coarse vertices around each
    barycentric: Tensor  # [n, 3]
    weight: Tensor  # [n] facial weight, > 0
    anatomy: Tensor  # [V, 3] place on the average face, coarse
    average: Tensor  # [V, 9] coarse_shape of the average face
    head: Tensor  # [p] the coarse vertices that stand for the whole head
    operators: CoarseOperators

    def at(self, chosen: Tensor) -> FaceLayout:
        """The layout of some of the facial vertices, by their numbers in `vertices`."""
        return replace(
            self,
            vertices=self.vertices[chosen],
            corners=self.corners[chosen],
            barycentric=self.barycentric[chosen],
            weight=self.weight[chosen],
        )


@dataclass(frozen=True)
class NeutralFeatures:
    """What G sees of H neutral heads of one model."""

    position: Tensor  # [H, n, 3] units of 0.1 m from between the eyes
    anatomy: Tensor  # [n, 3] place on the model's average face, the same for everybody
    normal: Tensor  # [H, n, 3]
    own: Tensor  # [H, n, 9] the person's position, normal and detail less the average face's, about 1
    weight: Tensor  # [n] facial weight, > 0
    whole: Tensor  # [H, p·9] `own` at the points that stand for the whole head


def choose_head_points(model: HeadModel, count: int) -> Tensor:
    """Face coordinates [count, 3] of points spread evenly over skull and face by farthest point sampling.

    They are stored in the checkpoint; on another model the nearest vertices stand for the same places.
    """
    place = face_coordinates(model.template, face_frame(model))[head_vertices(model)]
    chosen = [int(place[:, 2].argmax())]  # starts at the tip of the nose
    distance = torch.full_like(place[:, 0], torch.inf)
    while len(chosen) < count:
        distance = torch.minimum(distance, (place - place[chosen[-1]]).norm(dim=1))
        chosen.append(int(distance.argmax()))
    return place[chosen]


def face_layout(
    model: HeadModel,
    head_points: Tensor,  # [p, 3] face coordinates
) -> FaceLayout:
    """The facial vertices of a model at its upsampling level, on the model's device."""
    weight = upsample(model.facial_weight[:, None], model.faces, model.upsampling)[:, 0]
    vertices = (weight > 0).nonzero()[:, 0]
    frame, operators = face_frame(model), coarse_operators(model)
    place, head = face_coordinates(model.template, frame), head_vertices(model)
    return FaceLayout(
        vertices=vertices,
        corners=model.faces[model.upsampling.triangles[vertices]],
        barycentric=model.upsampling.barycentric[vertices],
        weight=weight[vertices],
        anatomy=place * ANATOMY_UNIT,
        average=coarse_shape(model.template[None], frame.origin[None], operators)[0],
        head=head[torch.cdist(head_points.to(place), place[head]).argmin(1)],
        operators=operators,
    )


def eyes_of(
    model: HeadModel,
    betas: Tensor,  # [H, B]
) -> Tensor:
    """The point between the eye joints of people with these betas [H, 3], metres."""
    basis = model.joint_shape_basis[[LEFT_EYE, RIGHT_EYE], :, : betas.shape[-1]].mean(0)
    return model.joint_template[[LEFT_EYE, RIGHT_EYE]].mean(0) + betas @ basis.T


def coarse_shape(
    coarse: Tensor,  # [H, V, 3] V_neutral at the coarse vertices, metres
    eyes: Tensor,  # [H, 3] between the eye joints
    operators: CoarseOperators,
) -> Tensor:
    """Position from between the eyes (metres), normal and detail (millimetres) of the coarse vertices [H, V, 9]."""
    normals = vertex_normals(coarse, operators)
    return torch.cat([coarse - eyes[:, None], normals, surface_detail(coarse, normals, operators)], -1)


def neutral_features(
    layout: FaceLayout,
    shape: Tensor,  # [H, V, 9] of coarse_shape
    positions: Tensor | None = None,  # [H, n, 3] of the facial vertices, metres from between the eyes
) -> NeutralFeatures:
    """Features of one or more neutral heads of the same model; without positions, the coarse ones are interpolated.

    Normals and detail are taken on the coarse mesh and interpolated, so that a head looks the same to G at every
    upsampling level, and the midpoint subdivision's flat facets do not show in what G predicts.
    """
    own = ((shape - layout.average) / torch.tensor(OWN_UNITS).to(shape)).clamp(-LARGEST_OWN, LARGEST_OWN)
    position = _at(layout, shape[..., :3]) if positions is None else positions
    return NeutralFeatures(
        position=position / POSITION_UNIT,
        anatomy=_at(layout, layout.anatomy),
        normal=torch.nn.functional.normalize(_at(layout, shape[..., 3:6]), dim=-1),
        own=_at(layout, own),
        weight=layout.weight,
        whole=own[:, layout.head].flatten(1),
    )


def features_of_head(head: PersonalizedHead, layout: FaceLayout) -> NeutralFeatures:
    """What G sees of a personalised head: V_neutral = V^s + Δg."""
    neutral, eyes = neutral_vertices(head)[None], eyes_of(head.model, head.betas[None])
    # upsampling appends its vertices, so the coarse ones come first
    shape = coarse_shape(neutral[:, : len(head.model.template)], eyes, layout.operators)
    return neutral_features(layout, shape, neutral[:, layout.vertices] - eyes[:, None])


def _at(layout: FaceLayout, values: Tensor) -> Tensor:
    """Coarse values [..., V, C] at the facial vertices [..., n, C]."""
    return sum(values[..., layout.corners[:, k], :] * layout.barycentric[:, k, None] for k in range(3))
