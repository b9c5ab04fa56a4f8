"""Ears of a model that names no parts (SMPL-X, FLAME), found by laying the ears of the default head on its own.

An ear of the default head and the skin around it are fitted to the side of the head by an affine map, point by point
in turn: each looks for the nearest point of the model that faces the same way, then the map follows (iterative closest
points, Besl and McKay 1992). Where that ends close, vertices take the name of what lies nearest to them; where it does
not, the head has no ears there. Both heads look along +z with +y up, and are measured in the distance of their eyes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..types import LEFT_EYE, RIGHT_EYE, HeadModel
from .regions import EARS, SKIN, connected_parts, vertex_areas

# our choices, tried on a thousand random people and an artist's head of another mesh; lengths in eye distances
AROUND = 0.5  # from the ear: the skin that is fitted along with it
EAR_CENTRE = (-0.37, -1.27)  # up and forward from the eyes
SIDE = (0.3, 1.8)  # where ears are looked for: so far beside the middle, and so far around their centre
FACING = 0.6  # of a turn by one radian beside a shift by one eye distance
STIFFNESS = 0.005  # with which the map stays near a shift
STEPS, FIRST_STEPS = 40, 15  # of which the first listen to far points too
FAR, NEAR = 0.3, 0.12
FITS = 0.27  # root mean square of what is left; people end below 0.26, eggs above 0.34
NAMED = 0.35  # a vertex further from all points than this has no name


def ears_of(
    template: Tensor,  # [V, 3]
    faces: Tensor,  # [T, 3]
    parts: Tensor,  # [V] what is known already
    joints: Tensor,  # [J, 3]
    source: HeadModel,  # which names its ears: the default head
) -> Tensor:
    """[V] bool the vertices of both ears; none where the head has nothing that looks like them."""
    found = torch.zeros(len(template), dtype=torch.bool)
    known = _in_eye_distances(source.template, source.joint_template)
    given = _in_eye_distances(template, joints)
    if given is None:
        return found
    ear = (source.parts == EARS).numpy()
    patch = _tree(known[ear]).query(known)[0] < AROUND
    patch &= ear | (source.parts == SKIN).numpy()
    away = np.hypot(given[:, 1] - EAR_CENTRE[0], given[:, 2] - EAR_CENTRE[1])
    skin = _largest(faces.numpy(), (parts == SKIN).numpy()) & (away < SIDE[1])
    known_normals, normals = _normals(known, source.faces.numpy()), _normals(given, faces.numpy())
    weight = vertex_areas(known, source.faces.numpy()) * np.where(ear, 1, 0.5)
    for side in (1, -1):
        here = np.flatnonzero(patch & (known[:, 0] * side > 0))
        there = np.flatnonzero(skin & (given[:, 0] * side > SIDE[0]))
        if len(there) < len(here) // 10:
            continue
        to = np.concatenate([given[there], FACING * normals[there]], 1)
        laid, left = _laid_on(known[here], known_normals[here], weight[here], to)
        if left < FITS:
            distance, nearest = _tree(laid).query(to)
            found[there[ear[here[nearest]] & (distance < NAMED)]] = True
    return found


def _laid_on(
    points: np.ndarray,  # [N, 3]
    normals: np.ndarray,  # [N, 3]
    weight: np.ndarray,  # [N]
    to: np.ndarray,  # [M, 6] points and weighted normals
) -> tuple[np.ndarray, float]:
    """The points and their weighted normals [N, 6] after the map, and the root of the mean square from `to`."""
    weight = weight / weight.sum()
    middle = weight @ points
    there, tree = np.concatenate([points - middle, np.ones((len(points), 1))], 1), _tree(to)
    start = np.concatenate([np.eye(3), middle[None]])
    stiff, linear = np.diag([STIFFNESS] * 3 + [0]), start
    for step in range(STEPS + 1):
        turned = normals @ np.linalg.inv(linear[:3]).T
        turned /= np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-9)
        laid = np.concatenate([there @ linear, FACING * turned], 1)
        distance, nearest = tree.query(laid)
        if step < STEPS:
            trust = weight / (1 + (distance / (FAR if step < FIRST_STEPS else NEAR)) ** 2)
            system = there.T @ (there * trust[:, None]) + stiff
            linear = np.linalg.solve(system, there.T @ (to[nearest, :3] * trust[:, None]) + stiff @ start)
    return laid, float(np.sqrt(weight @ distance**2))


def _in_eye_distances(points: Tensor, joints: Tensor) -> np.ndarray | None:
    """[V, 3] from the middle between the eyes; None where they are at one place."""
    left, right = joints[LEFT_EYE], joints[RIGHT_EYE]
    distance = float((left - right).norm())
    return ((points - (left + right) / 2) / distance).double().numpy() if distance > 1e-6 else None


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals of the vertices [V, 3]."""
    corners, sums = vertices[faces], np.zeros_like(vertices)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    np.add.at(sums, faces, cross[:, None])
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


def _largest(faces: np.ndarray, members: np.ndarray) -> np.ndarray:
    """[V] bool those members that hang together in the largest piece."""
    piece = connected_parts(len(members), faces[members[faces].all(1)])
    return members & (piece == np.bincount(piece).argmax())


def _tree(points: np.ndarray):
    from scipy.spatial import cKDTree  # takes a while to import

    return cKDTree(points)
