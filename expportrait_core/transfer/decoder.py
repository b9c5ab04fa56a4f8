"""G of the paper: Δf(i) = G(V_neutral, q_i), a perceptron over the vertices of the target's own neutral head.

A vertex knows its place on this head and on the face as such, how the surface turns and folds there, and a pooled
code of the whole neutral, without which a network could tell neither age nor build. What does not depend on the frame
is computed once per head: the first layers, and the vertex's part of the layer that the frame's code joins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..body import upsample
from ..types import LEFT_EYE, RIGHT_EYE, HeadModel
from .face import (
    CoarseOperators,
    coarse_operators,
    face_coordinates,
    face_frame,
    head_vertices,
    surface_detail,
    vertex_normals,
)

POSITION_UNIT = 0.1  # metres
ANATOMY_UNIT = 0.6  # face coordinates per unit: an eye distance is about 0.06 m, so both encodings have one scale
POOL_OCTAVES = 5
OWN_UNITS = (0.005,) * 3 + (0.2,) * 3 + (0.2, 0.5, 1.0)
"""How far people typically differ from the average face: metres, parts of a unit normal, millimetres at each of
DETAIL_METRES. Without this the fold under an eye would drown in the height of the nose."""
LARGEST_OWN = 4.0


@dataclass(frozen=True)
class NeutralFeatures:
    """What G sees of neutral heads: at the vertices that may move, and of the whole head on its coarse vertices."""

    position: Tensor  # [H, n, 3] units of 0.1 m from between the eyes
    anatomy: Tensor  # [n, 3] place on the model's average face, the same for everybody
    normal: Tensor  # [H, n, 3]
    own: Tensor  # [H, n, 9] what is this person's own: position, normal and detail less the average face's, about 1
    weight: Tensor  # [n] facial weight, > 0
    whole: Tensor  # [H, p, 12] anatomy and `own` of the head's coarse vertices


@dataclass(frozen=True)
class FaceLayout:
    """What the features of every head of one model share: which vertices, where they lie, and the sparse matrices."""

    vertices: Tensor  # [n] numbers of the facial vertices
    anatomy: Tensor  # [V, 3] coarse
    average: Tensor  # [V, 9] position from between the eyes, normal and detail of the average face, coarse
    corners: Tensor  # [n, 3] coarse vertices around each facial vertex
    barycentric: Tensor  # [n, 3]
    weight: Tensor  # [n]
    head: Tensor  # [p] coarse vertices of the head
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


def face_layout(model: HeadModel) -> FaceLayout:
    """The facial vertices of a model at its upsampling level."""
    weight = upsample(model.facial_weight[:, None], model.faces, model.upsampling)[:, 0]
    vertices = (weight > 0).nonzero()[:, 0]
    frame, operators = face_frame(model), coarse_operators(model)
    anatomy = face_coordinates(model.template, frame) * ANATOMY_UNIT
    return FaceLayout(
        vertices=vertices,
        anatomy=anatomy,
        average=_shape(model.template[None], frame.origin[None], operators)[0],
        corners=model.faces[model.upsampling.triangles[vertices]],
        barycentric=model.upsampling.barycentric[vertices],
        weight=weight[vertices],
        head=head_vertices(model),
        operators=operators,
    )


def neutral_features(
    layout: FaceLayout,
    eyes: Tensor,  # [H, 3] metres, between the eye joints of each person
    coarse: Tensor,  # [H, V, 3] metres, V_neutral at the coarse vertices
    positions: Tensor | None = None,  # [H, n, 3] metres, V_neutral at the facial vertices; None interpolates `coarse`
) -> NeutralFeatures:
    """Features of one or more neutral heads of the same model.

    Normals and detail are taken on the coarse mesh and interpolated, so that a head looks the same to G at every
    upsampling level, and the midpoint subdivision's flat facets do not show in what it predicts.
    """
    shape = _shape(coarse, eyes, layout.operators)
    own = ((shape - layout.average) / torch.tensor(OWN_UNITS).to(shape)).clamp(-LARGEST_OWN, LARGEST_OWN)
    position = _at(layout, coarse) if positions is None else positions
    anatomy = layout.anatomy[layout.head].expand(len(coarse), -1, -1)
    return NeutralFeatures(
        position=(position - eyes[:, None]) / POSITION_UNIT,
        anatomy=_at(layout, layout.anatomy),
        normal=nn.functional.normalize(_at(layout, shape[..., 3:6]), dim=-1),
        own=_at(layout, own),
        weight=layout.weight,
        whole=torch.cat([anatomy, own[:, layout.head]], -1),
    )


def _shape(coarse: Tensor, eyes: Tensor, operators: CoarseOperators) -> Tensor:
    """Position in metres, normal and detail in millimetres of coarse vertices [H, V, 9]."""
    normals = vertex_normals(coarse, operators)
    return torch.cat([coarse - eyes[:, None], normals, surface_detail(coarse, normals, operators)], -1)


def _at(layout: FaceLayout, values: Tensor) -> Tensor:
    """Coarse values [..., V, C] at the facial vertices [..., n, C]."""
    return sum(values[..., layout.corners[:, k], :] * layout.barycentric[:, k, None] for k in range(3))


def eyes_of(
    model: HeadModel,
    betas: Tensor,  # [..., B]
) -> Tensor:
    """The point between the eye joints of people with these betas [..., 3], metres."""
    basis = model.joint_shape_basis[[LEFT_EYE, RIGHT_EYE], :, : betas.shape[-1]].mean(0)
    return model.joint_template[[LEFT_EYE, RIGHT_EYE]].mean(0) + betas @ basis.T


def octaves(
    values: Tensor,  # [..., C]
    count: int,
) -> Tensor:
    """Values with sine and cosine of π·2^k times them, k < count: [..., C·(1 + 2·count)]."""
    turns = values[..., None] * (math.pi * 2.0 ** torch.arange(count, device=values.device))
    waves = torch.cat([turns.sin(), turns.cos()], -1).flatten(-2)
    return torch.cat([values, waves], -1)


@dataclass(frozen=True)
class PreparedHead:
    """A head as far as G can be evaluated without knowing the frame."""

    joined: Tensor  # [H, n, width] the vertex's part of the layer that the frame's code joins
    normal: Tensor  # [H, n, 3]
    weight: Tensor  # [n]


class Decoder(nn.Module):
    """The perceptron; sizes as in model.TransferConfig."""

    def __init__(
        self,
        code: int,
        width: int,
        layers: int,
        joins_at: int,
        position_octaves: int,
        anatomy_octaves: int,
        pooled: int,
        largest: float,
    ) -> None:
        super().__init__()
        self.position_octaves, self.anatomy_octaves, self.largest = position_octaves, anatomy_octaves, largest
        whole = 3 * (1 + 2 * POOL_OCTAVES) + len(OWN_UNITS)
        self.pool = nn.Sequential(nn.Linear(whole, 64), nn.ReLU(), nn.Linear(64, pooled))
        inputs = 3 * (2 + 2 * position_octaves + 2 * anatomy_octaves) + 3 + len(OWN_UNITS)
        sizes = [inputs] + [width] * layers
        self.first = nn.ModuleList(nn.Linear(sizes[k], sizes[k + 1]) for k in range(joins_at + 1))
        self.from_pool = nn.Linear(2 * pooled, width, bias=False)
        self.from_code = nn.Linear(code, width, bias=False)
        self.then = nn.ModuleList(nn.Linear(width, width) for _ in range(joins_at + 1, layers))
        self.last = nn.Linear(width, 4)
        nn.init.normal_(self.last.weight, std=1e-3)
        nn.init.zeros_(self.last.bias)

    def pooled_code(self, whole: Tensor) -> Tensor:
        """Mean and maximum over the whole neutral [H, 2P]."""
        anatomy, own = whole[..., :3], whole[..., 3:]
        values = self.pool(torch.cat([octaves(anatomy, POOL_OCTAVES), own], -1))
        return torch.cat([values.mean(1), values.amax(1)], -1)

    def prepare(self, features: NeutralFeatures) -> PreparedHead:
        """Everything that does not depend on the frame, once per head."""
        heads = len(features.position)
        anatomy = octaves(features.anatomy, self.anatomy_octaves).expand(heads, -1, -1)
        seen = [octaves(features.position, self.position_octaves), anatomy, features.normal]
        hidden = torch.cat([*seen, features.own], -1)
        for number, layer in enumerate(self.first):
            hidden = layer(hidden)
            if number == 0:
                hidden = hidden + self.from_pool(self.pooled_code(features.whole))[:, None]
            if number < len(self.first) - 1:
                hidden = hidden.relu()
        return PreparedHead(hidden, features.normal, features.weight)

    def forward(
        self,
        prepared: PreparedHead,
        codes: Tensor,  # [F, D]
    ) -> Tensor:  # [H, F, n, 3] metres
        hidden = (prepared.joined[:, None] + self.from_code(codes)[:, None]).relu()
        for layer in self.then:
            hidden = layer(hidden).relu()
        out = self.last(hidden).tanh()
        moved = out[..., :3] + out[..., 3:] * prepared.normal[:, None]
        return moved * (self.largest * prepared.weight[:, None])
