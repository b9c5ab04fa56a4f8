"""Which part of the head each vertex belongs to, and where expressions deform the skin."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..types import JAW, LEFT_EYE, RIGHT_EYE

PARTS = (
    "skin", "lips", "ears", "mouth interior", "left eye", "right eye", "upper teeth", "lower teeth", "tongue",
)  # fmt: skip
SKIN, LIPS, EARS, MOUTH, LEFT_EYEBALL, RIGHT_EYEBALL, UPPER_TEETH, LOWER_TEETH, TONGUE = range(len(PARTS))

# our choice, not from the paper: a vertex is fully facial where expressions move it 3 mm (root of the summed squares
# of the columns), and the border is softened over 8 mm so that no offset field ends in a step
FACIAL_FULL_METRES = 0.003
FACIAL_SMOOTHING_METRES = 0.008


def edges_of(faces: np.ndarray) -> np.ndarray:
    """Undirected edges [E, 2] of triangles [T, 3], each once, smaller index first."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def connected_parts(num_vertices: int, faces: np.ndarray) -> np.ndarray:
    """Number of the connected component of each vertex [V]."""
    from scipy.sparse import coo_matrix  # takes a while to import
    from scipy.sparse.csgraph import connected_components

    edges = edges_of(faces)
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(num_vertices, num_vertices))
    return connected_components(graph, directed=False)[1]


def parts_from_skinning(
    skin_weights: Tensor,  # [V, 55]
) -> Tensor:
    """Parts [V] of a model that names none (SMPL-X): the eyeballs are what the eye joints carry."""
    parts = torch.zeros(len(skin_weights), dtype=torch.int64)
    parts[skin_weights[:, LEFT_EYE] > 0.5] = LEFT_EYEBALL
    parts[skin_weights[:, RIGHT_EYE] > 0.5] = RIGHT_EYEBALL
    return parts


def vertex_areas(
    vertices: np.ndarray,  # [V, 3]
    faces: np.ndarray,  # [T, 3]
) -> np.ndarray:
    """[V] a third of the area of the triangles around each vertex."""
    corners = vertices[faces]
    doubled = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return np.bincount(faces.ravel(), np.repeat(doubled / 6, 3), len(vertices))


def smooth_in_space(
    values: np.ndarray,  # [V, C]
    vertices: np.ndarray,  # [V, 3] metres
    faces: np.ndarray,  # [T, 3]
    metres: float,
) -> np.ndarray:
    """The mean by area of what lies around each vertex, under a Gaussian of that standard deviation. It costs more than
    `smooth_over_mesh`, but follows the surface alone and not how fine its mesh is here and there."""
    from scipy.spatial import cKDTree  # takes a while to import

    tree, area = cKDTree(vertices), vertex_areas(vertices, faces)
    near = tree.sparse_distance_matrix(tree, 3 * metres, output_type="coo_matrix")
    near.data = np.exp(-0.5 * (near.data / metres) ** 2) * area[near.col]
    total = np.asarray(near.sum(axis=1))
    return np.where(total > 0, (near.tocsr() @ values) / np.where(total > 0, total, 1), values)


def smooth_over_mesh(
    values: np.ndarray,  # [V] or [V, C]
    vertices: np.ndarray,  # [V, 3] metres
    faces: np.ndarray,  # [T, 3]
    metres: float,
) -> np.ndarray:
    """Diffuse values along the surface with a standard deviation of about `metres`."""
    from scipy.sparse import coo_matrix  # takes a while to import

    edges = edges_of(faces)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    typical = max(float(np.median(length)), 1e-6)
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(vertices),) * 2).tocsr()
    graph = graph + graph.T
    degree = np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1)
    isolated = np.asarray(graph.sum(axis=1)).ravel() == 0
    smooth = values.astype(np.float64)
    # one averaging step spreads by about one edge length, n steps by sqrt(n) of it
    for _ in range(max(1, round((metres / typical) ** 2))):
        mean = (graph @ smooth) / (degree if smooth.ndim == 1 else degree[:, None])
        mean[isolated] = smooth[isolated]
        smooth = 0.5 * smooth + 0.5 * mean
    return smooth


def facial_weight(
    template: Tensor,  # [V, 3]
    expression_basis: Tensor,  # [V, 3, E]
    skin_weights: Tensor,  # [V, 55]
    faces: Tensor,  # [T, 3]
    parts: Tensor,  # [V]
) -> Tensor:
    """Where the dynamic offsets Δf may act [V], 0..1: where the expression columns and the jaw move the skin.

    It is derived from the model itself, so that it exists for any model in SMPL-X layout without a mask file.
    Eyeballs, teeth, tongue, ears and the inside of the mouth are rigid or unseen: 0.
    """
    moved = expression_basis.pow(2).sum(dim=(1, 2)).sqrt() / FACIAL_FULL_METRES
    # half the jaw's weight alone already means skin that stretches; the far neck has little of it
    raw = torch.maximum(moved, 2 * skin_weights[:, JAW]).clamp(0, 1)
    raw = raw * ((parts == SKIN) | (parts == LIPS))
    smooth = smooth_over_mesh(raw.numpy(), template.numpy(), faces.numpy(), FACIAL_SMOOTHING_METRES)
    weight = torch.from_numpy(smooth).to(template.dtype)
    return weight.clamp(0, 1) * ((parts == SKIN) | (parts == LIPS))
