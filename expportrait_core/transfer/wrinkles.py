"""Synthetic wrinkles: what a face of the made-up population does when it moves. Not measured on any person.

Skin creases at places that anatomy fixes (Langer's lines: across the forehead, fanning out of the eye's corner, from
nostril to mouth, ...) and only where the movement compresses it *across* the crease. An outer layer that does not get
shorter buckles: a sine of wavelength λ and amplitude A takes up the compression c = (πA/λ)², so A = λ/π·√c. How much
of that shows depends on the tissue, and the tissue on the person: it is read off the resting face, from the fold
under the outer corner of the eye, so that a network that sees only the neutral can know it.
All lengths below are millimetres on a standard face with its eyes 57.7 apart and its mouth 66.6 below them; on
other faces the creases stretch with the anatomy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..body import upsample
from ..types import HeadModel
from .face import CoarseOperators, FaceFrame, csr, face_coordinates, face_frame

STANDARD_FACE = (57.7, 66.6, 57.7)  # millimetres per unit of `face_coordinates`
SLACK = 0.02  # compression that the skin takes up without buckling
LEAST_PLACE = 0.01  # a family is not looked for where its place is less
SMOOTHING = 2  # averaging steps over the measured compression
LARGEST = 1.6  # millimetres; deeper folds are the coarse model's business
UNDER_EYE, EYE_SOCKET = (0.702, -0.216, 0.167), (0.525, 0.113, -0.226)
"""Face coordinates of the outer end of the fold under the eye, and of the upper lid's skin deep in the socket."""
AGE_FROM_FOLDS = (-1.221, 1.616, -2.939)  # constant, and per millimetre of the two folds' detail at 6 mm
"""-0.6 a small child, 0 a youth, 1 old: MakeHuman's own age slider, fitted by least squares on 600 of the 800
identities that the default head was made from. On the other 200 the correlation is 0.95, somewhat flattered: the two
places were picked with all 800 in view."""
TISSUE_MIDDLE, TISSUE_SLOPE = 0.2, 4.5  # children about 0.1, the average face 0.24, the old 0.95; our choice


@dataclass(frozen=True)
class Crease:
    """One family of creases on the standard face; x is the distance from the midline, y goes up from the eyes."""

    name: str
    wavelength: float  # millimetres
    phase: Callable[[Tensor, Tensor], Tensor]  # (x, y) → distance across the creases, millimetres; valleys at 0, ±λ, …
    place: Callable[[Tensor, Tensor], Tensor]  # (x, y) → 0..1
    lines: bool = True  # many parallel lines, or one fold with a bulge beside it


def _bump(value: Tensor, low: float, high: float, soft: float) -> Tensor:
    """1 between low and high, falling smoothly to 0 over `soft` on either side."""
    return torch.sigmoid((value - low) * 4 / soft) * torch.sigmoid((high - value) * 4 / soft)


def _fold_distance(x: Tensor, y: Tensor) -> Tensor:
    """Distance outwards from the curve that runs from the nostril's wing around the corner of the mouth."""
    return x - (18.5 + 0.34 * (-y - 36) - 0.0016 * (-y - 36) ** 2)


CREASES = (
    Crease(
        "forehead", 8.5,
        lambda x, y: y - 30 - 3.5 * torch.cos(x / 11) + 0.9 * torch.sin(x / 6.1 + y / 9) + 0.004 * x**2,
        lambda x, y: _bump(y, 27, 64, 8) * _bump(x, -99, 40, 14),
    ),
    Crease(
        "between the brows", 10.0,
        lambda x, y: x - 5.5 - 0.12 * (y - 15) + 0.5 * torch.sin(y / 5),
        lambda x, y: _bump(y, 6, 30, 9) * _bump(x, -99, 12, 6),
    ),
    Crease(
        "crow's feet", 6.0,
        lambda x, y: torch.atan2(y - 1, (x - 36).clamp(min=1)) * 17 + 0.5 * torch.sin(x / 3.3),
        lambda x, y: _bump(x, 49, 66, 5) * _bump(y, -20, 17, 8),
    ),
    Crease(
        "under the eye", 5.5,
        lambda x, y: ((x - 29) ** 2 * 0.45 + (y - 6) ** 2 + 1e-6).sqrt() - 18 + 0.4 * torch.sin(x / 4.2),
        lambda x, y: _bump(y, -27, -12, 4) * _bump(x, 14, 48, 7),
    ),
    Crease(
        "nasolabial", 14.0, _fold_distance,
        lambda x, y: _bump(y, -80, -40, 12) * _bump(_fold_distance(x, y), -6, 15, 7), lines=False,
    ),
    Crease(
        "beside the mouth", 8.0,
        lambda x, y: _fold_distance(x, y) - 11 + 0.5 * torch.sin(y / 5.3),
        lambda x, y: _bump(y, -84, -52, 12) * _bump(_fold_distance(x, y), 8, 26, 6),
    ),
    Crease(
        "bridge of the nose", 5.5,
        lambda x, y: y + 0.6 * x + 8,
        lambda x, y: _bump(y, -20, 2, 6) * _bump(x, 4, 13, 4),
    ),
    Crease(
        "around the lips", 5.0,
        lambda x, y: x - 2.5 + 0.05 * (x - 10) * (y + 66).abs() / 10,
        lambda x, y: (_bump(y, -59, -48, 4) + _bump(y, -88, -79, 4)) * _bump(x, -99, 20, 6),
    ),
    Crease(
        "chin", 7.5,
        lambda x, y: y + 89 + 0.012 * x**2 + 0.6 * torch.sin(x / 3.7),
        lambda x, y: _bump(y, -106, -84, 7) * _bump(x, -99, 18, 7),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class WrinkleField:
    """The creases of a head model. A row is a coarse vertex as part of one family: few of all pairs matter."""

    triangles: Tensor  # [P] coarse triangles, family after family
    across: Tensor  # [P, 2] unit direction across the family's creases, as a sum of the triangle's two edges
    spread: Tensor  # [R, P] sparse, smoothed mean over the family's triangles around each row's vertex
    wavelength: Tensor  # [R] millimetres
    rows: Tensor  # [n, S] the rows that each fine vertex takes its height from
    heights: Tensor  # [n, S] its height for an amplitude of 1 in each of them


def wrinkle_field(
    model: HeadModel,
    vertices: Tensor,  # [n] numbers of the fine vertices that may move
    operators: CoarseOperators,
) -> WrinkleField:
    """Lay the creases on a model's template, at its upsampling level."""
    frame, total = face_frame(model), len(model.template)
    phase, place = _families(model.template, frame)
    touched = (place * model.facial_weight)[:, model.faces].amax(-1) > LEAST_PLACE  # [C, T]
    family, triangles = touched.nonzero().unbind(1)
    corners = model.faces[triangles]  # [P, 3]
    across = _gradient(model.template[corners], phase[family[:, None], corners])
    row_of, pairs = torch.unique(corners + family[:, None] * total, return_inverse=True)  # row_of: c·V + v, [R]
    spread = _spread(pairs, row_of, total, operators)
    wavelength = torch.tensor([c.wavelength for c in CREASES]).to(place)[row_of // total]
    rows, heights = _fine_heights(model, frame, vertices, row_of)
    return WrinkleField(triangles, across, spread, wavelength, rows, heights)


def _spread(pairs: Tensor, row_of: Tensor, total: int, operators: CoarseOperators) -> Tensor:
    """Mean of each row's triangles, then SMOOTHING steps along the mesh within the family, as one matrix [R, P]."""
    rows, count = pairs.T.flatten(), len(row_of)
    columns = torch.arange(len(pairs), device=rows.device).repeat(3)
    share = 1 / torch.bincount(rows, minlength=count)[rows]
    # sparse times sparse in coordinates: in compressed rows not every build of torch has it
    matrix = csr(rows, columns, share, (count, len(pairs))).to_sparse_coo()
    average = operators.average.to_sparse_coo().coalesce()
    (to, source), values = average.indices(), average.values()
    blocks = [
        (_row_number(row_of, to + c * total), _row_number(row_of, source + c * total)) for c in range(len(CREASES))
    ]
    ends = torch.stack([torch.cat(side) for side in zip(*blocks, strict=True)])
    inside = (ends >= 0).all(0)
    weights = values.repeat(len(CREASES))[inside]
    smooth = csr(*ends[:, inside], weights, (count, count)).to_sparse_coo()
    for _ in range(SMOOTHING):
        matrix = smooth @ matrix
    matrix = matrix.coalesce()
    return csr(*matrix.indices(), matrix.values(), (count, len(pairs)))


def _row_number(
    row_of: Tensor,  # [R] sorted
    wanted: Tensor,  # [...]
) -> Tensor:
    """Where the wanted values stand in row_of, -1 where they do not."""
    found = torch.searchsorted(row_of, wanted).clamp(max=len(row_of) - 1)
    return torch.where(row_of[found] == wanted, found, -1)


def _fine_heights(model: HeadModel, frame: FaceFrame, vertices: Tensor, row_of: Tensor) -> tuple[Tensor, Tensor]:
    """`rows` and `heights` of WrinkleField: profile × place × facial weight × barycentric weight."""
    total, upsampling = len(model.template), model.upsampling
    fine = upsample(model.template, model.faces, upsampling)[vertices]
    facial = upsample(model.facial_weight[:, None], model.faces, upsampling)[vertices, 0]
    phase, place = _families(fine, frame)
    profile = torch.stack([_height(c, p) for c, p in zip(CREASES, phase, strict=True)]) * place * facial  # [C, n]
    corners = model.faces[upsampling.triangles[vertices]]  # [n, 3]
    families = torch.arange(len(CREASES), device=corners.device)[:, None]
    number = _row_number(row_of, corners[:, None] + families * total)  # [n, C, 3]
    heights = profile.T[..., None] * upsampling.barycentric[vertices][:, None]  # [n, C, 3]
    heights = torch.where(number >= 0, heights, 0.0).flatten(1)
    most = max(1, int((heights != 0).sum(1).max()))
    kept = heights.abs().topk(most, dim=1).indices
    return number.flatten(1).clamp(min=0).gather(1, kept), heights.gather(1, kept)


def _families(points: Tensor, frame: FaceFrame) -> tuple[Tensor, Tensor]:
    """Distance across the creases and place of every family at points of the template, [C, n] each."""
    standard = face_coordinates(points, frame) * torch.tensor(STANDARD_FACE).to(points)
    x, y = standard[:, 0].abs(), standard[:, 1]
    front = torch.sigmoid((standard[:, 2] + 35) / 4)  # the same x, y on the back of the head is no face
    phase = torch.stack([c.phase(x, y) for c in CREASES])
    return phase, torch.stack([c.place(x, y) for c in CREASES]) * front


def _height(crease: Crease, distance: Tensor) -> Tensor:
    """Profile across the crease, about -1..1: narrow valleys between broad ridges, or one fold and its bulge."""
    if not crease.lines:
        return 0.9 * torch.exp(-(((distance - 5.5) / 4) ** 2)) - torch.exp(-((distance / 1.9) ** 2))
    valley = torch.exp(1.6 * (torch.cos(distance * (2 * math.pi / crease.wavelength)) - 1))
    return 0.8 - 1.8 * valley


def _gradient(
    corners: Tensor,  # [P, 3, 3]
    values: Tensor,  # [P, 3]
) -> Tensor:
    """Unit gradient of corner values on triangles, in the basis of the two edges from the first corner [P, 2]."""
    edges = _edges(corners)
    metric = edges @ edges.transpose(1, 2) + 1e-12 * torch.eye(2).to(edges)
    direction = torch.linalg.solve(metric, values[:, 1:] - values[:, :1])
    return direction / _combine(direction, edges).norm(dim=-1, keepdim=True).clamp(min=1e-9)


def _edges(corners: Tensor) -> Tensor:
    return corners[..., 1:, :] - corners[..., :1, :]


def _combine(direction: Tensor, edges: Tensor) -> Tensor:
    return direction[..., :1] * edges[..., 0, :] + direction[..., 1:] * edges[..., 1, :]


def amplitudes(
    field: WrinkleField,
    faces: Tensor,  # [T, 3] coarse
    neutral: Tensor,  # [H, V, 3] coarse
    displacement: Tensor,  # [K, V, 3] coarse, of K expressions
    tissue: Tensor,  # [H] 0..1
) -> Tensor:
    """Amplitude of the creases in every row [H, K, R], millimetres; 0 where the skin stretches across them."""
    corners = faces[field.triangles]
    rest = _combine(field.across, _edges(neutral[:, corners]))  # [H, P, 3]
    change = _combine(field.across, _edges(displacement[:, corners]))  # [K, P, 3]
    moved = (rest[:, None] + change).norm(dim=-1)  # [H, K, P]
    shorter = 1 - moved / rest.norm(dim=-1)[:, None].clamp(min=1e-9)
    compressed = (field.spread @ shorter.flatten(0, 1).T).T.unflatten(0, moved.shape[:2]).clamp(min=0)  # c, [H, K, R]
    buckled = compressed / (compressed + SLACK).sqrt()  # √c, but without its infinite slope at 0
    return tissue[:, None, None] * field.wavelength / math.pi * buckled


def wrinkle_heights(
    field: WrinkleField,
    amplitude: Tensor,  # [H, K, R] millimetres
    chosen: Tensor | None = None,  # [m] of the field's fine vertices; None takes all n
) -> Tensor:
    """Height over the smooth surface [H, K, m], metres, softly limited to LARGEST."""
    rows, heights = field.rows, field.heights
    if chosen is not None:
        rows, heights = rows[chosen], heights[chosen]
    total = sum(amplitude[..., rows[:, k]] * heights[:, k] for k in range(rows.shape[1]))
    return LARGEST / 1000 * torch.tanh(total / LARGEST)


def tissue_of(
    detail: Tensor,  # [H, V, 3] of `surface_detail`
    model: HeadModel,
) -> Tensor:
    """How much of the buckling shows [H]: near 0 on a child's taut skin, near 1 on an old person's."""
    place = face_coordinates(model.template, face_frame(model))
    constant, per_eye, per_socket = AGE_FROM_FOLDS
    eye, socket = _both_sides(detail, place, UNDER_EYE), _both_sides(detail, place, EYE_SOCKET)
    age = constant + per_eye * eye + per_socket * socket
    return torch.sigmoid((age - TISSUE_MIDDLE) * TISSUE_SLOPE)


def _both_sides(detail: Tensor, place: Tensor, spot: tuple[float, float, float]) -> Tensor:
    """The finest detail at the vertices nearest to a spot and to its mirror image, mean of the two [H]."""
    sides = torch.tensor([spot, (-spot[0], *spot[1:])]).to(place)
    return detail[:, torch.cdist(sides, place).argmin(1), 0].mean(1)
