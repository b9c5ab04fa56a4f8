"""Offset fields on the fine mesh: where they may act, what steers them, and how their roughness is measured.

A field is not optimised vertex by vertex: Adam would turn the noise of every vertex into a step of full length. It is a
sum of bumps of several widths, from half a decimetre down to single fine vertices, each with a learning rate of its
own, so that a nose or a hairline moves as a whole before its details do (the idea of hierarchical bases; our choice,
not from the paper). The sum over all widths still reaches every field that the mesh can hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from ..body import regions
from ..body.sparse import SparseMatrix
from ..body.upsampling import upsample
from ..types import HeadModel
from .settings import PersonalizeSettings

STILL_PARTS = (
    regions.MOUTH, regions.LEFT_EYEBALL, regions.RIGHT_EYEBALL, regions.UPPER_TEETH, regions.LOWER_TEETH,
    regions.TONGUE,
)  # fmt: skip
"""Rigid or unseen: they get no offsets at all."""
TYPICAL_EDGE, SHORTEST_EDGE = 2.5e-3, 2.5e-4  # metres; the first is the face's at level 1
BUMP_WIDTH, BUMP_REACH = 0.7, 2.0  # standard deviation and end of a bump, in units of the bumps' spacing


@dataclass(frozen=True)
class OffsetField:
    """A vector field on the fine mesh, Δ = weight · (bumps · controls), metres."""

    bumps: SparseMatrix  # [Vs, n], every width is a partition of unity
    weight: Tensor  # [Vs, 1] 0..1, where the field may act
    rates: Tensor  # [n, 1] learning rate of the controls, metres per step

    @property
    def num_controls(self) -> int:
        return len(self.rates)

    def raw(
        self,
        controls: Tensor,  # [F, n, 3] metres
    ) -> Tensor:  # [F, Vs, 3]
        """The field before its weight: what the magnitude penalty sees, so that a weak place costs more to move."""
        return self.bumps.apply(controls)


def facial_weights(model: HeadModel) -> Tensor:
    """The facial weight on the fine vertices [Vs, 1]."""
    return upsample(model.facial_weight[:, None], model.faces, model.upsampling)


def static_weights(model: HeadModel, leak: float) -> Tensor:
    """Where Δg may act [Vs, 1]: 1 away from the face, `leak` on it, 0 in eyes and mouth."""
    movable = torch.ones_like(model.facial_weight)
    for part in STILL_PARTS:
        movable[model.parts == part] = 0
    coarse = movable * (1 - (1 - leak) * model.facial_weight)
    return upsample(coarse[:, None], model.faces, model.upsampling)


def static_field(model: HeadModel, settings: PersonalizeSettings, detail: bool) -> OffsetField:
    """Δg: bumps of all widths, away from the face. Without `detail` only those that landmarks can tell apart."""
    weight = static_weights(model, 0.0 if settings.paper_strict else settings.facial_leak)
    return _field(model, weight, settings.static_spacings, settings.static_rates, detail)


def dynamic_field(model: HeadModel, settings: PersonalizeSettings, detail: bool) -> OffsetField:
    """Δf: only narrow bumps, on the face. What is wider than they are is expression or identity."""
    return _field(model, facial_weights(model), settings.dynamic_spacings, settings.dynamic_rates, detail)


def _field(
    model: HeadModel, weight: Tensor, spacings: tuple[float, ...], rates: tuple[float, ...], detail: bool
) -> OffsetField:
    """`rates` belong to the spacings, then to the coarse vertices, then (above level 0) to the fine ones."""
    fine = upsampling_matrix(model)
    movable = np.asarray(fine.T @ weight[:, 0].cpu().double().numpy()).ravel() > 0  # coarse vertices with influence
    blocks = [fine @ _bumps(model, movable, spacing) for spacing in spacings]
    if detail:
        blocks.append(fine.tocsc()[:, movable])
    if detail and model.upsampling.level > 0:
        acting = (weight[:, 0] > 0).cpu().numpy()
        blocks.append(sparse.identity(len(acting), format="csc")[:, acting])
    counts = [block.shape[1] for block in blocks]
    per_control = np.repeat(np.asarray(rates[: len(blocks)]), counts)[:, None]
    return OffsetField(
        bumps=SparseMatrix.of(sparse.hstack(blocks), weight),
        weight=weight,
        rates=torch.from_numpy(per_control).to(weight),
    )


def _bumps(model: HeadModel, movable: np.ndarray, spacing: float) -> sparse.csr_matrix:
    """Smooth bumps about `spacing` metres apart on the coarse mesh [V, n]; each row sums to one, or is empty.

    Their width is measured along the surface, so that a bump of the upper lip does not move the lower one.
    """
    template, edges = model.template.cpu().double().numpy(), regions.edges_of(model.faces.cpu().numpy())
    length = np.linalg.norm(template[edges[:, 0]] - template[edges[:, 1]], axis=1)
    graph = sparse.coo_matrix((length, (edges[:, 0], edges[:, 1])), shape=(len(template),) * 2).tocsr()
    centres = np.flatnonzero(movable)[_spread_points(template[movable], spacing)]
    distance = dijkstra(graph, directed=False, indices=centres, limit=BUMP_REACH * spacing)  # [n, V]
    height = np.where(np.isfinite(distance), np.exp(-0.5 * (distance / (BUMP_WIDTH * spacing)) ** 2), 0)
    total = height.sum(axis=0)
    return sparse.csr_matrix((height / np.where(total > 0, total, 1)).T)


def _spread_points(points: np.ndarray, spacing: float) -> list[int]:
    """Numbers of points that are at least `spacing` apart and leave no point farther than that (farthest first)."""
    chosen, nearest = [0], np.full(len(points), np.inf)
    while len(chosen) < len(points):
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
        if nearest.max() < spacing:
            break
        chosen.append(int(nearest.argmax()))
    return chosen


def upsampling_matrix(model: HeadModel) -> sparse.csr_matrix:
    """The barycentric table as a matrix [Vs, V]."""
    table = model.upsampling
    columns = model.faces[table.triangles].cpu().numpy().ravel()
    rows = np.repeat(np.arange(table.num_vertices), 3)
    values = table.barycentric.cpu().double().numpy().ravel()
    matrix = sparse.csr_matrix((values, (rows, columns)), shape=(table.num_vertices, len(model.template)))
    matrix.eliminate_zeros()
    return matrix


def laplacian(model: HeadModel) -> SparseMatrix:
    """Mean of the neighbours minus the vertex, on the fine mesh [Vs, Vs], for offsets.

    Rows are scaled by TYPICAL_EDGE over the vertex's own edge length. What is measured is then how much an offset
    bends the surface, which weighs the same spike more at the lids, where edges are short, than on the neck.
    """
    edges, size = regions.edges_of(model.fine_faces.cpu().numpy()), model.num_vertices
    vertices = upsample(model.template, model.faces, model.upsampling).cpu().double().numpy()
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)

    def symmetric(values: np.ndarray) -> sparse.csr_matrix:
        half = sparse.coo_matrix((values, (edges[:, 0], edges[:, 1])), shape=(size, size)).tocsr()
        return half + half.T

    graph, lengths = symmetric(np.ones(len(edges))), symmetric(length)
    degree = np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1)
    edge = np.asarray(lengths.sum(axis=1)).ravel() / degree
    scale = TYPICAL_EDGE / np.maximum(edge, SHORTEST_EDGE)
    mean_minus_self = sparse.diags(1 / degree) @ graph - sparse.identity(size)
    return SparseMatrix.of(sparse.diags(scale) @ mean_minus_self, model.template)


def ear_masks(model: HeadModel) -> Tensor:
    """Which fine vertices belong to the left and to the right ear [2, Vs], 0 or 1; each ear should move as one."""
    ears = (model.parts == regions.EARS).to(model.template)
    on_ears = upsample(ears[:, None], model.faces, model.upsampling)[:, 0] == 1
    left = upsample(model.template, model.faces, model.upsampling)[:, 0] > 0
    return torch.stack([on_ears & left, on_ears & ~left]).to(model.template)
