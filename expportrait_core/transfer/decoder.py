"""G of the paper: Δf(i) = G(V_neutral, q_i), a perceptron over the vertices of the target's own neutral head.

Its first layers see the vertex: its place on this head and on the face as such, how the surface lies and folds there,
and a code of the whole neutral, without which a network could tell neither age nor build. They run once per head. The
frame's code joins in the last, narrow layers, which say how strongly each of a few movements of the vertex shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .encoder import Standardise
from .neutral import OWN_UNITS, NeutralFeatures

MOVES = 4  # along x, y, z and along the normal


def octaves(
    values: Tensor,  # [..., C]
    count: int,
) -> Tensor:
    """Values with sine and cosine of π·2^k times them, k < count: [..., C·(1 + 2·count)]."""
    turns = values[..., None] * (math.pi * 2.0 ** torch.arange(count, device=values.device))
    waves = torch.cat([turns.sin(), turns.cos()], -1).flatten(-2)
    return torch.cat([values, waves], -1)


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of G. Our choice where the paper is silent."""

    width: int = 128
    vertex_layers: int = 4  # do not see the frame: once per head
    frame_width: int = 64
    frame_layers: int = 2
    basis: int = 32  # movements of each vertex that the frame mixes
    position_octaves: int = 4  # the person's: finer than a centimetre, a place on one face is none on another
    anatomy_octaves: int = 8  # the average face's: down to 1.6 mm
    head_points: int = 192
    person_components: int = 64
    person_width: int = 64
    person_code: int = 32
    largest: float = 0.004  # metres


@dataclass(frozen=True)
class PreparedHead:
    """Heads as far as G can be evaluated without knowing the frame."""

    joined: Tensor  # [H, n, frame_width] the vertex's part of the layer that the frame's code joins
    basis: Tensor  # [H, n, MOVES, basis]
    normal: Tensor  # [H, n, 3]
    weight: Tensor  # [n]

    def at(self, index: slice) -> PreparedHead:
        """Some of the vertices."""
        return PreparedHead(self.joined[:, index], self.basis[:, index], self.normal[:, index], self.weight[index])

    def to(self, device: torch.device | str) -> PreparedHead:
        """The same on another device."""
        return PreparedHead(*(t.to(device) for t in (self.joined, self.basis, self.normal, self.weight)))


class Decoder(nn.Module):
    """G. `prepare` once per head, `forward` for any frames of it."""

    def __init__(self, config: DecoderConfig, code: int) -> None:
        super().__init__()
        self.config = c = config
        self.register_buffer("head_points", torch.zeros(c.head_points, 3))
        self.standardise = Standardise(c.head_points * len(OWN_UNITS), c.person_components)
        self.person = nn.Sequential(
            nn.Linear(c.person_components, c.person_width), nn.ReLU(), nn.Linear(c.person_width, c.person_code)
        )
        inputs = 3 * (2 + 2 * c.position_octaves + 2 * c.anatomy_octaves) + 3 + len(OWN_UNITS)
        self.first = nn.Linear(inputs, c.width)
        self.from_person = nn.Linear(c.person_code, c.width, bias=False)
        self.vertex = nn.ModuleList(nn.Linear(c.width, c.width) for _ in range(c.vertex_layers - 1))
        self.basis = nn.Linear(c.width, MOVES * c.basis)
        self.strength = nn.Linear(c.person_code, MOVES * c.basis)
        self.join = nn.Linear(c.width, c.frame_width)
        self.from_code = nn.Linear(code, c.frame_width, bias=False)
        self.frame = nn.ModuleList(nn.Linear(c.frame_width, c.frame_width) for _ in range(c.frame_layers - 1))
        self.mix = nn.Linear(c.frame_width, c.basis)
        nn.init.normal_(self.mix.weight, std=0.02)
        nn.init.zeros_(self.strength.weight)

    def prepare(self, features: NeutralFeatures) -> PreparedHead:
        """Everything that does not depend on the frame."""
        c, heads = self.config, len(features.position)
        person = self.person(self.standardise(features.whole))  # [H, person_code]
        place = octaves(features.position, c.position_octaves)
        anatomy = octaves(features.anatomy, c.anatomy_octaves).expand(heads, -1, -1)
        hidden = self.first(torch.cat([place, anatomy, features.normal, features.own], -1))
        hidden = (hidden + self.from_person(person)[:, None]).relu()
        for layer in self.vertex:
            hidden = layer(hidden).relu()
        basis = self.basis(hidden) * (1 + self.strength(person))[:, None]
        return PreparedHead(self.join(hidden), basis.unflatten(-1, (MOVES, c.basis)), features.normal, features.weight)

    def forward(
        self,
        prepared: PreparedHead,
        codes: Tensor,  # [F, D]
    ) -> Tensor:  # [H, F, n, 3] metres
        hidden = (prepared.joined[:, None] + self.from_code(codes)[:, None]).relu()
        for layer in self.frame:
            hidden = layer(hidden).relu()
        moves = torch.einsum("hnmb,hfnb->hfnm", prepared.basis, self.mix(hidden)).tanh()
        offsets = moves[..., :3] + moves[..., 3:] * prepared.normal[:, None]
        return offsets * (self.config.largest * prepared.weight[:, None])
