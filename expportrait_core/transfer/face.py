"""Coordinates on the face that mean the same on every head model, and what a neutral face looks like locally.

Eye joints and the line between the lips exist in every model in SMPL-X layout, whatever its topology; they make a
frame in which a place on one head names a place on another. No landmark file is needed.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from ..body import regions
from ..types import HEAD, JAW, LEFT_EYE, RIGHT_EYE, HeadModel, LandmarkEmbedding

DETAIL_METRES = (0.006, 0.012, 0.024)
"""Widths at which the neutral is compared with its smoothed self. Our choice, not from the paper."""


@dataclass(frozen=True)
class FaceFrame:
    """Where the face of a model's average person lies, canonical space."""

    origin: Tensor  # [3] metres, between the eye joints
    eye_distance: Tensor  # [] metres, between the eye joints
    mouth_drop: Tensor  # [] metres, from the eyes down to the line between the lips


def face_frame(model: HeadModel) -> FaceFrame:
    """The frame of the model's template.

    Raises:
        ValueError: there is no lower lip below the eyes: the model is not in SMPL-X layout, or not a whole face.
    """
    eyes = model.joint_template[[LEFT_EYE, RIGHT_EYE]]
    origin, eye_distance = eyes.mean(0), (eyes[0] - eyes[1]).norm()
    x, y, z = (model.template - origin).unbind(1)
    # the lower lip's upper edge is the highest skin near the middle and before the eyes that the jaw carries
    lower_lip = (x.abs() < 0.2 * eye_distance) & (z > 0) & (y < 0) & (model.skin_weights[:, JAW] > 0.5) & _skin(model)
    if not lower_lip.any() or eye_distance < 1e-3:
        raise ValueError(
            f"The head model '{model.model_id}' has no lower lip that the jaw joint carries in front of its eyes. "
            f"Transfer needs a head in SMPL-X layout, in metres, that looks along +z."
        )
    return FaceFrame(origin, eye_distance, -y[lower_lip].max())


def face_coordinates(
    points: Tensor,  # [..., 3] metres, canonical space of the template
    frame: FaceFrame,
) -> Tensor:
    """Coordinates [..., 3]: the eyes are at (±0.5, 0), the mouth at (0, -1), +z is forward in eye distances."""
    unit = torch.stack([frame.eye_distance, frame.mouth_drop, frame.eye_distance])
    return (points - frame.origin) / unit


def points_on_face(
    model: HeadModel,
    coordinates: Tensor,  # [n, 2] u, v of `face_coordinates`
) -> LandmarkEmbedding:
    """The surface points of the face that lie straight behind the given coordinates, seen from the front.

    Where nothing lies behind a point (beside a narrow face), the nearest facial triangle's middle stands in.
    """
    place = face_coordinates(model.template, face_frame(model))
    allowed = ((model.facial_weight > 0) & _skin(model))[model.faces].all(1)
    a, b, c = place[model.faces].unbind(1)  # [T, 3] each
    area = _cross2(b - a, c - a)  # twice the area seen from the front; negative where turned away
    candidates = (allowed & (area > 1e-9)).nonzero()[:, 0]
    a, b, c, area = a[candidates], b[candidates], c[candidates], area[candidates]
    point = coordinates.to(place)[:, None]  # [n, 1, 2]
    second = _cross2(point - a[None, :, :2], (c - a)[None]) / area
    third = _cross2((b - a)[None], point - a[None, :, :2]) / area
    barycentric = torch.stack([1 - second - third, second, third], -1)  # [n, T', 3]
    depth = (barycentric * torch.stack([a[:, 2], b[:, 2], c[:, 2]], -1)).sum(-1)
    depth = torch.where((barycentric >= -1e-5).all(-1), depth, -torch.inf)
    best = depth.max(1)
    chosen, weights = best.indices, barycentric[torch.arange(len(point)), best.indices]
    missed = best.values == -torch.inf
    if missed.any():
        middle = ((a + b + c) / 3)[None, :, :2]
        chosen = torch.where(missed, (point - middle).square().sum(-1).argmin(1), chosen)
        weights = torch.where(missed[:, None], torch.full_like(weights, 1 / 3), weights)
    return LandmarkEmbedding(candidates[chosen], weights.clamp(min=0))


def _skin(model: HeadModel) -> Tensor:
    return (model.parts == regions.SKIN) | (model.parts == regions.LIPS)


def _cross2(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def head_vertices(model: HeadModel) -> Tensor:
    """Numbers of the coarse vertices of skull and face [n]: what a person's age and build are read from."""
    rigid = model.skin_weights[:, HEAD] + model.skin_weights[:, JAW] > 0.5
    return (rigid & _skin(model)).nonzero()[:, 0]


@dataclass(frozen=True)
class CoarseOperators:
    """Sparse matrices of the coarse mesh: normals and smoothing of many heads at once."""

    incidence: Tensor  # [V, T] sparse, sums triangles into their corners
    average: Tensor  # [V, V] sparse, half a vertex and half the mean of its neighbours
    steps: tuple[int, ...]  # smoothing steps that spread by each of DETAIL_METRES
    faces: Tensor  # [T, 3]


def coarse_operators(model: HeadModel) -> CoarseOperators:
    """The operators of a model's coarse mesh, on the model's device."""
    faces, vertices, device = model.faces, len(model.template), model.template.device
    triangle = torch.arange(len(faces), device=device).repeat(3)
    ones = torch.ones(len(triangle), device=device)
    incidence = csr(faces.T.flatten(), triangle, ones, (vertices, len(faces)))
    edges = torch.from_numpy(regions.edges_of(faces.cpu().numpy())).to(device)
    both = torch.cat([edges, edges.flip(1)])
    degree = torch.bincount(both[:, 0], minlength=vertices).clamp(min=1)
    itself = torch.arange(vertices, device=device)
    values = torch.cat([0.5 / degree[both[:, 0]], torch.full((vertices,), 0.5, device=device)])
    rows, columns = torch.cat([both[:, 0], itself]), torch.cat([both[:, 1], itself])
    average = csr(rows, columns, values, (vertices, vertices))
    facial = (model.facial_weight > 0)[edges].all(1)
    length = (model.template[edges[:, 0]] - model.template[edges[:, 1]]).norm(dim=1)[facial].median().item()
    # one averaging step spreads by about one edge length, n steps by sqrt(n) of it
    steps = tuple(max(1, round((metres / length) ** 2)) for metres in DETAIL_METRES)
    return CoarseOperators(incidence, average, steps, faces)


def csr(
    rows: Tensor,  # [n]
    columns: Tensor,  # [n]
    values: Tensor,  # [n]
    size: tuple[int, int],
) -> Tensor:
    """A sparse matrix in compressed rows: its products are many times faster than scattered sums."""
    entries = torch.sparse_coo_tensor(torch.stack([rows, columns]), values, size, check_invariants=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return entries.to_sparse_csr()


def vertex_normals(
    vertices: Tensor,  # [H, V, 3]
    operators: CoarseOperators,
) -> Tensor:
    """Unit normals of the coarse vertices [H, V, 3], weighted by area."""
    a, b, c = vertices[:, operators.faces].unbind(2)
    area = torch.linalg.cross(b - a, c - a)  # [H, T, 3]
    return torch.nn.functional.normalize(_apply(operators.incidence, area), dim=-1)


def surface_detail(
    vertices: Tensor,  # [H, V, 3] metres
    normals: Tensor,  # [H, V, 3]
    operators: CoarseOperators,
) -> Tensor:
    """How far the surface stands out from its smoothed self at each width of DETAIL_METRES [H, V, 3], millimetres.

    A multi-scale Laplacian along the normal: folds, bags and hollows that age leaves in a resting face.
    """
    detail, smooth, done = [], vertices, 0
    for steps in operators.steps:
        for _ in range(steps - done):
            smooth = _apply(operators.average, smooth)
        done = steps
        detail.append(((vertices - smooth) * normals).sum(-1) * 1000)
    return torch.stack(detail, -1)


def _apply(matrix: Tensor, values: Tensor) -> Tensor:
    """A sparse [A, B] matrix on [H, B, C] values."""
    heads, _, channels = values.shape
    product = matrix @ values.transpose(0, 1).reshape(len(values[0]), heads * channels)
    return product.reshape(-1, heads, channels).transpose(0, 1)
