"""Small corrections that lay the mesh exactly over the photo: its outline inside the person, its lids on the lids.

A fit is good to a pixel or two in the face, but the mesh's outline may lie beside the head's, and the rim of its lids
under the eye's. The corrections are offsets of the vertices parallel to the picture, which then turn with the head.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ...types import Camera
from .surface import LEFT_EYE, RIGHT_EYE

# our choices
OUTLINE_REACH = 0.035  # of the picture's side: a mesh further outside the person than that is left alone
OUTLINE_INSET = 0.004  # of the side: how far inside the person the mesh's outline is laid
OUTLINE_SPREAD = 0.012  # metres along the surface that follow the outline
LID_REACH = 0.012  # of the side: no rim of a lid is moved further
LID_SPREAD = 0.0025  # metres of lid that follow its rim
LASHES = 0.0008  # metres of lid beside its rim that carry a lash line
LID_TRUST = 0.65  # landmarks lie at the lashes, the rim a little inside


def outline_offsets(
    vertices: Tensor,  # [Vs, 3] world
    corners: Tensor,  # [Vs, 3] homogeneous pixel corners
    faces: Tensor,  # [Ts, 3]
    ids: Tensor,  # [H, W]
    alpha: np.ndarray,  # [H, W] person
    camera: Camera,  # one
) -> Tensor:
    """[Vs, 3] world offsets that draw the mesh's outline into the person where it lies a little outside."""
    side = min(alpha.shape)
    vertex, pixel = outline_vertices(ids.numpy(), faces.numpy())
    pull = inward(alpha, pixel, side)
    length = np.linalg.norm(pull, axis=1)
    # a mesh far outside of the person is another shape, an ear under hair for example: fade instead of folding it
    reach = OUTLINE_REACH * side
    pull = pull * np.clip(2 * (1 - length / reach), 0, 1)[:, None]
    offsets = to_world(pull, corners[vertex, 2].numpy(), camera)
    return spread(vertices, vertex, offsets, OUTLINE_SPREAD)


def outline_vertices(ids: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices on the mesh's outline [K] and pixels there [K, 2]; the picture's edge is no outline."""
    covered = ids >= 0
    ring = covered & ~(cv2.erode(covered.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0)
    row, column = np.nonzero(ring)
    vertex, first = np.unique(faces[ids[row, column], 0], return_index=True)
    return vertex, np.stack([column, row], 1)[first] + 0.5


def inward(alpha: np.ndarray, pixel: np.ndarray, side: int) -> np.ndarray:
    """[K, 2] the way from pixels outside the person to just inside, 0 for those inside."""
    inside = (alpha > 0.5).astype(np.uint8)
    if not inside.any():
        return np.zeros_like(pixel)
    outside = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    signed = outside - cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    signed = cv2.GaussianBlur(signed, (0, 0), 0.006 * side)
    column, row = (pixel - 0.5).astype(int).T
    slope = np.stack([cv2.Sobel(signed, cv2.CV_32F, *axis)[row, column] for axis in ((1, 0), (0, 1))], 1)
    slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-3)
    return -slope * np.maximum(signed[row, column] + OUTLINE_INSET * side, 0)[:, None]


def to_world(shift: np.ndarray, depth: np.ndarray, camera: Camera) -> np.ndarray:
    """[K, 3] offsets parallel to the picture that move points at `depth` by `shift` pixels."""
    metres = np.concatenate([shift, np.zeros_like(shift[:, :1])], 1)
    intrinsics = camera.intrinsics[0].numpy()
    metres[:, 0] /= intrinsics[0, 0]
    metres[:, 1] /= intrinsics[1, 1]
    return (metres * depth[:, None]) @ camera.world_to_camera[0, :3, :3].numpy()


def spread(
    vertices: Tensor,  # [Vs, 3]
    known: np.ndarray,  # [K] vertices
    offsets: np.ndarray,  # [K, 3]
    deviation: float,  # metres
    among: np.ndarray | None = None,  # [Vs] bool, which vertices may move
) -> Tensor:
    """[Vs, 3] the known offsets continued smoothly, fading with the distance from the nearest known vertex."""
    moved = np.zeros((len(vertices), 3), np.float32)
    count = min(16, len(known))
    if count:
        points = vertices.numpy()
        tree = cKDTree(points[known])
        near = np.flatnonzero(tree.query(points, distance_upper_bound=3 * deviation)[0] < np.inf)
        distance, index = tree.query(points[near], k=count)
        distance, index = distance.reshape(-1, count), index.reshape(-1, count)
        weight = np.exp(-0.5 * ((distance**2 - distance[:, :1] ** 2) / (deviation / 2) ** 2))
        mean = (weight[..., None] * offsets[index]).sum(1) / weight.sum(1, keepdims=True)
        moved[near] = mean * np.exp(-0.5 * (distance[:, :1] / deviation) ** 2)
    if among is not None:
        moved[~among] = 0
    return torch.from_numpy(moved)


@dataclass(frozen=True)
class LidRim:
    """The edge of the lids of one eye, and what lays it on the photo's lids while the eye is open."""

    upper: Tensor  # [U] vertices
    lower: Tensor  # [L]
    offsets: Tensor  # [Vs, 3] world, of the photo
    lashes: Tensor  # [Vs] 0..1 beside the upper rim
    opening: float  # metres between the lids in the photo

    def gap(self, vertices: Tensor, upright: Tensor) -> float:
        """Metres between the lids in some pose; `upright` is the head's up."""
        return float((vertices[self.upper].mean(0) - vertices[self.lower].mean(0)) @ upright)


def lid_rims(
    vertices: Tensor,  # [Vs, 3] world
    corners: Tensor,  # [Vs, 3] homogeneous pixel corners
    faces: Tensor,  # [T, 3]
    kinds: np.ndarray,  # [H, W] what each pixel of the photo shows
    ids: np.ndarray,  # [H, W]
    movable: np.ndarray,  # [Vs] bool skin
    contours: dict[int, np.ndarray],  # LEFT_EYE, RIGHT_EYE: [K, 2] outline of the eye in the photo, pixels
    upright: Tensor,  # [3] the head's up in the photo
    camera: Camera,
) -> dict[int, LidRim]:
    """The rim of the lids around every eyeball that the photo shows."""
    rims = {}
    for kind in (LEFT_EYE, RIGHT_EYE):
        ball = kinds == kind
        if ball.sum() < 12:
            continue
        border = (cv2.dilate(ball.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~ball & (ids >= 0)
        row, column = np.nonzero(border)
        vertex, first = np.unique(faces.numpy()[ids[row, column], 0], return_index=True)
        pixel = np.stack([column, row], 1)[first] + 0.5
        keep = movable[vertex]
        vertex, pixel = vertex[keep], pixel[keep]
        if len(vertex) < 6:
            continue
        middle = np.argwhere(ball).mean(0)[::-1] + 0.5
        height = (vertices[vertex] @ upright).numpy()
        # the corners of the eye belong to neither lid
        beside = np.abs(pixel[:, 0] - middle[0]) > 0.35 * np.ptp(pixel[:, 0])
        above = height > np.median(height)
        upper, lower = (torch.from_numpy(vertex[chosen & ~beside]) for chosen in (above, ~above))
        if len(upper) == 0 or len(lower) == 0:
            continue
        offsets = torch.zeros_like(vertices)
        if kind in contours:
            pull = towards_contour(pixel, contours[kind], middle) * LID_TRUST
            longest = LID_REACH * min(kinds.shape)
            pull *= np.minimum(1, longest / np.maximum(np.linalg.norm(pull, axis=1), 1e-6))[:, None]
            world = to_world(pull, corners[vertex, 2].numpy(), camera)
            offsets = spread(vertices, vertex, world, LID_SPREAD, movable)
        nearest = torch.cdist(vertices, vertices[upper]).amin(1)
        lashes = torch.exp(-0.5 * (nearest / LASHES) ** 2) * torch.from_numpy(movable)
        rim = LidRim(upper, lower, offsets, lashes, 0.0)
        rims[kind] = replace(rim, opening=max(rim.gap(vertices, upright), 1e-4))
    return rims


def towards_contour(pixel: np.ndarray, contour: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """[K, 2] the way from pixels, straight away from the middle or towards it, to a closed contour around it."""
    angle = np.arctan2(*(contour - middle).T[::-1])
    order = np.argsort(angle)
    distance = np.linalg.norm(contour - middle, axis=1)[order]
    away = pixel - middle
    wanted = np.interp(np.arctan2(away[:, 1], away[:, 0]), angle[order], distance, period=2 * np.pi)
    length = np.maximum(np.linalg.norm(away, axis=1), 1e-6)
    return away * (wanted / length - 1)[:, None]
