"""What the rendering benchmark draws: lumpy icospheres, and the default head."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from expportrait_core.body import load_head_model, pose_motion
from expportrait_core.types import HEAD, JAW, NUM_JOINTS, Camera, HeadMotion, PersonalizedHead, SMPLXFit

SIZE, FRAMES = 512, 16


class Scene(NamedTuple):
    vertices: Tensor  # [F, V, 3] world
    faces: Tensor  # [T, 3]
    camera: Camera


def sphere(levels: int) -> Scene:
    """A lumpy sphere, 20 · 4^levels faces, that turns before a camera."""
    vertices, faces = icosphere(levels)
    draw, lumps = np.random.default_rng(0), np.zeros(len(vertices))
    for k in range(40):
        wave = draw.normal(size=3) * (2 + 0.4 * k)
        lumps += np.sin(vertices @ wave + draw.uniform(0, 6.28)) * 0.08 / (1 + 0.25 * k)
    vertices = vertices * (1 + 0.35 * lumps[:, None]) * np.array([0.75, 1.0, 0.85])
    yaw = 0.6 * np.sin(2 * np.pi * np.arange(FRAMES) / FRAMES + 0.3)
    turn = np.stack([[[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]] for a in yaw])
    return Scene(torch.from_numpy(vertices @ turn).float(), torch.from_numpy(faces), look(4.2, 1.75, FRAMES))


def icosphere(levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit sphere: vertices [V, 3] and faces [T, 3], counter-clockwise seen from outside."""
    golden = (1 + 5**0.5) / 2
    corners = [[s * 1, t * golden, 0] for t in (1, -1) for s in (-1, 1)]
    vertices = np.array([np.roll(corner, shift) for shift in (0, 1, 2) for corner in corners], float)
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    # three corners that are one edge apart from each other make a face; its order follows from the outside
    near = np.abs(np.linalg.norm(vertices[:, None] - vertices, axis=-1) - 2 / math.sqrt(1 + golden**2)) < 1e-6
    triples = [(a, b, c) for a in range(12) for b in range(a) for c in range(b)]
    faces = [f for f in triples if near[f[0], f[1]] and near[f[1], f[2]] and near[f[2], f[0]]]
    faces = np.array([f if np.linalg.det(vertices[list(f)]) > 0 else f[::-1] for f in faces])
    for _ in range(levels):
        pairs = np.sort(np.stack([faces, np.roll(faces, -1, 1)], -1), -1)
        edges, which = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
        middle = len(vertices) + which.reshape(-1, 3)
        added = vertices[edges].mean(1)
        vertices = np.concatenate([vertices, added / np.linalg.norm(added, axis=1, keepdims=True)])
        tips = [np.stack([faces[:, k], middle[:, k], middle[:, k - 1]], 1) for k in range(3)]
        faces = np.concatenate([*tips, middle])
    return vertices, faces


def look(distance: float, focal: float, frames: int) -> Camera:
    """Cameras that look along -z at the origin; focal length in picture heights."""
    intrinsics = torch.tensor([[focal * SIZE, 0, SIZE / 2], [0, focal * SIZE, SIZE / 2], [0, 0, 1]])
    world_to_camera = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    world_to_camera[2, 3] = distance
    return Camera(intrinsics.repeat(frames, 1, 1), world_to_camera.repeat(frames, 1, 1), (SIZE, SIZE))


def head(level: int) -> Scene:
    motion = motion_of(level, FRAMES)
    return Scene(pose_motion(motion, 0, FRAMES), motion.head.model.fine_faces, motion.camera)


def motion_of(level: int, frames: int) -> HeadMotion:
    """The default head that nods, turns and opens its mouth."""
    model = load_head_model("default", level=level)
    time_ = torch.linspace(0, 6.28, frames)
    poses = torch.zeros(frames, NUM_JOINTS, 3)
    poses[:, JAW, 0], poses[:, HEAD, 1] = 0.15 + 0.15 * time_.sin(), 0.4 * time_.cos()
    expression, betas = torch.zeros(frames, model.expression_basis.shape[2]), torch.zeros(model.shape_basis.shape[2])
    camera = look(0.7, 1.3, frames)
    camera.world_to_camera[:, :3, 3] -= camera.world_to_camera[0, :3, :3] @ model.template[
        model.facial_weight > 0.5
    ].mean(0)
    fit = SMPLXFit(betas, expression[:1], poses[:1], torch.zeros(1, 3), camera[:1], model.expression_space,
                   model.model_id)  # fmt: skip
    static = torch.zeros(model.num_vertices, 3)
    person = PersonalizedHead(model, betas, static, static[None], fit, level, model.model_id)
    return HeadMotion(person, expression, poses, torch.zeros(frames, 3), camera)
