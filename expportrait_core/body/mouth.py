"""Lips and the inside of the mouth of a model that names no parts (SMPL-X, FLAME), by its lip landmarks.

The landmarks of a lip's border are joined along the mesh's edges to a closed line. What the line of the outer border
cuts off from the rest of the skin are lips and mouth, what the line of the inner border cuts off is the mouth. Pieces
of their own behind the lips, a tongue for example, are in the mouth too.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..types import LandmarkEmbedding
from .landmarks import landmark_points
from .regions import connected_parts, edges_of

BORDERS = {  # outer and inner border of the lips, each around the mouth
    "ibug68": (range(48, 60), range(60, 68)),
    "ibug51": (range(31, 43), range(43, 51)),
}
# a piece in the mouth: how far its middle may be beside, above and below, and behind that of the lips, and how wide it
# may be, in the width of the mouth. Our choice
PIECE_AWAY, PIECE_WIDTH = (0.5, 0.75, 1.75), 2.0
MOST = 0.25  # of the skin's vertices: a line that cuts off more went astray. Our choice


def mouth_of(
    template: Tensor,  # [V, 3]
    faces: Tensor,  # [T, 3]
    landmarks: dict[str, LandmarkEmbedding],
) -> tuple[Tensor, Tensor] | None:
    """[V] bool each: the lips, and the inside of the mouth. None where the landmarks do not lie around a mouth."""
    scheme = next((name for name in BORDERS if name in landmarks), None)
    if scheme is None:
        return None
    points = landmark_points(template[None], faces, landmarks[scheme])[0].numpy()
    vertices, triangles = template.numpy(), faces.numpy()
    within = [_within(vertices, triangles, points[list(border)]) for border in BORDERS[scheme]]
    if within[0] is None or within[1] is None:
        return None
    outer, inner = within
    inner = inner | _pieces_behind(vertices, triangles, points[list(BORDERS[scheme][1])])
    return torch.from_numpy(outer & ~inner), torch.from_numpy(inner)


def _within(vertices: np.ndarray, faces: np.ndarray, border: np.ndarray) -> np.ndarray | None:
    """[V] bool what the closed line through the border's points [L, 3] cuts off from the rest of their surface."""
    from scipy.sparse.csgraph import connected_components, dijkstra  # takes a while to import

    if not np.isfinite(border).all():
        return None
    part = connected_parts(len(vertices), faces)
    nearest = np.linalg.norm(vertices - border[:, None], axis=2).argmin(1)
    skin = part == np.bincount(part[nearest]).argmax()
    nearest = np.where(skin, np.linalg.norm(vertices - border[:, None], axis=2), np.inf).argmin(1)
    graph = _graph(vertices, faces)
    _, before = dijkstra(graph, directed=False, indices=nearest, return_predecessors=True)
    line = set()
    for number, end in enumerate(np.roll(nearest, -1)):
        while end != nearest[number]:
            line.add(int(end))
            end = before[number, end]
            if end < 0:
                return None
    kept = skin.copy()
    kept[list(line)] = False
    rest = np.flatnonzero(kept)
    if len(rest) == 0:
        return None
    piece = connected_components(graph[rest][:, rest], directed=False)[1]
    cut = np.zeros(len(vertices), bool)
    cut[rest[piece != np.bincount(piece).argmax()]] = True
    return cut if 0 < cut.sum() < MOST * skin.sum() else None


def _pieces_behind(vertices: np.ndarray, faces: np.ndarray, lips: np.ndarray) -> np.ndarray:
    """[V] bool the pieces of the mesh, other than the lips' own, that lie behind the inner lips [8, 3], which begin at
    a corner of the mouth. The head looks along +z."""
    piece, middle, width = connected_parts(len(vertices), faces), lips.mean(0), np.linalg.norm(lips[0] - lips[4])
    own = piece[np.linalg.norm(vertices - lips[:, None], axis=2).argmin(1)]
    members = np.zeros(len(vertices), bool)
    for number in np.setdiff1d(piece[np.unique(faces)], own):
        points = (vertices[piece == number] - middle) / width
        beside, above, before = points.mean(0)
        near = abs(beside) < PIECE_AWAY[0] and abs(above) < PIECE_AWAY[1] and -PIECE_AWAY[2] < before < 0
        members[piece == number] = near and np.ptp(points[:, 0]) < PIECE_WIDTH
    return members


def _graph(vertices: np.ndarray, faces: np.ndarray):
    from scipy.sparse import coo_matrix

    edges = edges_of(faces)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    graph = coo_matrix((length, (edges[:, 0], edges[:, 1])), shape=(len(vertices),) * 2).tocsr()
    return graph + graph.T
