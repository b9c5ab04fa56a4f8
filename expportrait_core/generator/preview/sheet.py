"""What the mesh has no vertex for: hair, hat, clothes, a cheek a little wider than the mesh.

The photo's person is a sheet that hangs at the depth of the mesh's outline. Its joints' weights and its depth are the
outline's, continued harmonically, so hair moves rigidly with the head, shoulders stay, and nothing tears between them.
Near the outline it also takes part in what expressions do there.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu
from torch import Tensor

from ...types import Camera
from .pyramid import distance_to, smoothstep
from .skeleton import Moves, carry

# our choices
NODES = 128  # along the picture's shorter side
SMOOTH = 2.0  # nodes over which weights and depth are averaged
BEHIND = 0.006  # metres that the sheet lies behind the outline, so that the mesh covers it
EXPRESSION_REACH = 0.020  # metres from the outline at which expressions no longer move the sheet
EXPRESSION_SPREAD = 0.006  # metres over which the outline's own motion is averaged
CLOTHES = (0.25, 0.85)  # share of neck and head up to which the sheet stays with the trunk, from which with the head
THICK = 0.012  # of the picture's shorter side: what is thinner beside the mesh is the mesh's own rim
ROUNDS = 6  # of the fixed-point inversion; the motion is smooth, four are enough to 0.1 pixel


@dataclass(frozen=True)
class Sheet:
    """A grid of nodes over the photo, one every `cell` pixels, in 3D and with skin weights."""

    cell: float  # pixels
    shape: tuple[int, int]  # rows and columns of nodes
    pixels: Tensor  # [N, 2] x, y in the photo
    points: Tensor  # [N, 3] world, metres
    weights: Tensor  # [N, J]
    near: Tensor  # [M] nodes that expressions reach
    anchors: Tensor  # [A] vertices of the outline
    blend: Tensor  # [M, A] share of the anchors' own motion
    thick: np.ndarray  # [H, W] 0..1 hair and clothes rather than the mere rim of the face

    @staticmethod
    def of(
        ids: Tensor,  # [H, W] triangle seen at each pixel of the photo, -1 beside the head
        corners: Tensor,  # [Vs, 3] homogeneous pixel corners in the photo
        faces: Tensor,  # [Ts, 3]
        weights: Tensor,  # [Vs, J] skin weights
        on_head: list[int],  # which of the J are neck and head
        camera: Camera,  # one, of the photo
        alpha: np.ndarray,  # [H, W] person
        ears: np.ndarray,  # [H, W] bool, where ears are
    ) -> Sheet:
        height, width = ids.shape
        cell = min(height, width) / NODES
        rows, columns = round(height / cell), round(width / cell)
        y, x = (torch.arange(rows) + 0.5) * cell, (torch.arange(columns) + 0.5) * cell
        seen = ids[y.long()][:, x.long()]  # [rows, columns]
        ring = outline_nodes(seen.numpy() >= 0)
        vertex = faces[seen[torch.from_numpy(ring)].long(), 0]  # [R] any corner of the small triangle will do
        known = torch.cat([weights[vertex], corners[vertex, 2:]], 1)
        values = harmonic(ring, known.numpy()).reshape(rows, columns, -1)
        # one triangle of the outline lies a little deeper than the next; the sheet need not follow that
        values = torch.from_numpy(blur_channels(values, SMOOTH).reshape(rows * columns, -1))
        weight = clothes_stay(values[:, :-1].clamp(min=0), on_head)
        pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
        anchors = torch.unique(vertex)
        near, blend = expression_blend(pixels, ring, corners, anchors, float(camera.intrinsics[0, 0, 0]))
        return Sheet(
            cell=cell,
            shape=(rows, columns),
            pixels=pixels,
            points=unproject(pixels, values[:, -1] + BEHIND, camera),
            weights=weight / weight.sum(1, keepdim=True),
            near=near,
            anchors=anchors,
            blend=blend,
            thick=thick_beside(ids.numpy() >= 0, alpha, ears),
        )

    def inverse_map(
        self,
        moves: Moves,  # of one frame, from the photo to it
        own_motion: Tensor,  # [A, 3] what the anchors do beyond their joints, world
        camera: Camera,  # one, of the frame
    ) -> tuple[np.ndarray, np.ndarray]:
        """For each pixel of the frame: where it is in the photo [H, W, 2], and the sheet's depth there [H, W]."""
        points = carry(self.points, self.weights, moves)
        points[self.near] += self.blend @ own_motion
        projected = camera.project(points[None])[0]
        shift = (projected[:, :2] / projected[:, 2:] - self.pixels).reshape(*self.shape, 2).numpy()
        depth = projected[:, 2].reshape(self.shape).numpy()
        column, row = np.meshgrid(
            np.arange(self.shape[1], dtype=np.float32), np.arange(self.shape[0], dtype=np.float32)
        )
        back = shift
        for _ in range(ROUNDS):
            back = sample(shift, column - back[..., 0] / self.cell, row - back[..., 1] / self.cell)
        depth = sample(depth, column - back[..., 0] / self.cell, row - back[..., 1] / self.cell)
        height, width = camera.image_size
        back = cv2.resize(back, (width, height), interpolation=cv2.INTER_CUBIC)
        return -back, cv2.resize(depth, (width, height), interpolation=cv2.INTER_LINEAR)


def clothes_stay(
    weights: Tensor,  # [N, J]
    on_head: list[int],
) -> Tensor:
    """The weights with what hangs mostly on the trunk left to it, and what hangs mostly on the head to the head:
    a collar does not swim along with the neck."""
    total = weights.sum(1, keepdim=True).clamp(min=1e-6)
    share = weights[:, on_head].sum(1, keepdim=True) / total
    t = ((share - CLOTHES[0]) / (CLOTHES[1] - CLOTHES[0])).clamp(0, 1)
    wanted = t * t * (3 - 2 * t)
    factor = ((1 - wanted) / (1 - share).clamp(min=1e-6)).expand_as(weights).clone()
    factor[:, on_head] = wanted / share.clamp(min=1e-6)
    return weights * factor


def thick_beside(mesh: np.ndarray, alpha: np.ndarray, ears: np.ndarray) -> np.ndarray:
    """[H, W] 0..1 where the person beside the mesh is more than a rim that the mesh missed, and a little around."""
    width = THICK * min(mesh.shape)
    beside = (alpha > 0.5) & ~mesh
    core = cv2.distanceTransform(beside.astype(np.uint8), cv2.DIST_L2, 5) > width / 2
    core |= beside & ears
    return smoothstep(distance_to(core), 1.6 * width, 0.9 * width).astype(np.float32)


def outline_nodes(covered: np.ndarray) -> np.ndarray:
    """[rows, columns] bool: covered nodes beside uncovered ones; the picture's edge is no outline."""
    inner = cv2.erode(covered.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    ring = covered & ~inner
    return ring if ring.any() else covered


def harmonic(
    known: np.ndarray,  # [rows, columns] bool
    values: np.ndarray,  # [K, C] at the known nodes, row by row
) -> np.ndarray:  # [rows·columns, C]
    """The smoothest continuation: every unknown node is the mean of its neighbours."""
    rows, columns = known.shape
    number = np.arange(rows * columns).reshape(rows, columns)
    pairs = np.concatenate([
        np.stack([number[:, 1:].ravel(), number[:, :-1].ravel()]),
        np.stack([number[1:].ravel(), number[:-1].ravel()]),
    ], 1)  # fmt: skip
    graph = coo_matrix((np.ones(pairs.shape[1]), pairs), shape=(number.size,) * 2).tocsr()
    graph = graph + graph.T
    laplacian = diags(np.asarray(graph.sum(1)).ravel()) - graph
    fixed = known.ravel()
    filled = np.empty((number.size, values.shape[1]), np.float32)
    filled[fixed] = values
    if not fixed.all():
        free = laplacian[~fixed]
        right = -(free[:, fixed] @ values.astype(np.float64))
        filled[~fixed] = splu(free[:, ~fixed].tocsc()).solve(np.ascontiguousarray(right))
    return filled


def blur_channels(field: np.ndarray, deviation: float) -> np.ndarray:
    """[rows, columns, C] blurred, however many channels there are."""
    return np.dstack([cv2.GaussianBlur(field[..., c], (0, 0), deviation) for c in range(field.shape[-1])])


def expression_blend(
    pixels: Tensor, ring: np.ndarray, corners: Tensor, anchors: Tensor, focal: float
) -> tuple[Tensor, Tensor]:
    """The nodes within reach of the outline [M], and what share of each anchor's own motion they take [M, A]."""
    at = corners[anchors]
    pixels_per_metre = focal / float(at[:, 2].mean())
    at = at[:, :2] / at[:, 2:]
    distance = torch.cdist(pixels, at) / pixels_per_metre  # metres in the picture's plane
    nearest = distance.amin(1)
    near = (nearest < EXPRESSION_REACH).nonzero()[:, 0]
    # relative to the nearest anchor, so that the weights do not vanish away from the outline
    gauss = torch.exp(-0.5 * ((distance[near] ** 2 - nearest[near, None] ** 2) / EXPRESSION_SPREAD**2))
    fade = 1 - (nearest[near] / EXPRESSION_REACH).clamp(0, 1)
    fade = fade * fade * (3 - 2 * fade)
    return near, gauss / gauss.sum(1, keepdim=True) * fade[:, None]


def unproject(
    pixels: Tensor,  # [N, 2]
    depth: Tensor,  # [N] metres
    camera: Camera,  # one
) -> Tensor:  # [N, 3] world
    """The points that a camera sees at these pixels and depths."""
    rays = torch.cat([pixels, torch.ones_like(pixels[:, :1])], 1) @ torch.linalg.inv(camera.intrinsics[0]).T
    in_camera = rays * depth[:, None]
    rotation, translation = camera.world_to_camera[0, :3, :3], camera.world_to_camera[0, :3, 3]
    return (in_camera - translation) @ rotation


def sample(field: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples; beyond the edge the border repeats."""
    return cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
