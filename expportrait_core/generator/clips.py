"""Rendered clips of random textured heads: the demo generator's training and evaluation data.

A clip is one person in a reference frame and some driving frames. The pictures show hair volume and clothes, the
normals do not, as in real use: they come from the pipeline's own `render_normals` on the bare head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..body import load_head_model, pose_vertices
from ..render import MeshTopology, interpolate, render_normals, vertex_normals, visible_triangles
from ..types import (
    HEAD,
    JAW,
    LEFT_EYE,
    NECK,
    NUM_JOINTS,
    RIGHT_EYE,
    Camera,
    HeadModel,
    HeadMotion,
    PersonalizedHead,
    SMPLXFit,
)  # fmt: skip
from .clip_looks import HeadAtlas, Look, Random, background, natural_pictures, random_look, shade, vertex_attributes

SUPERSAMPLING = 2
FRAMES = 8  # driving frames of a clip
EVALUATION_SEED = 10_000_000  # clips from here on are never trained on
COMMON_EXPRESSIONS = (
    ("mouthSmile", 0.35), ("eyeBlink", 0.3), ("browInnerUp", 0.2), ("mouthPucker", 0.12), ("browDown", 0.15),
)  # fmt: skip
NEVER = ("tongueOut", "mouthClose", "")  # the mouth closes only a jaw that is open


@dataclass(frozen=True)
class ClipSource:
    """What all clips are made from; load it once."""

    model: HeadModel  # level 0
    atlas: HeadAtlas
    topology: MeshTopology
    pictures: list[np.ndarray]
    size: int

    @classmethod
    def load(cls, size: int, held_out: bool = False) -> ClipSource:
        model = load_head_model("default", level=0)
        topology = MeshTopology.of(model.fine_faces, model.num_vertices)
        return cls(model, HeadAtlas.of(model), topology, natural_pictures(held_out), size)


@dataclass(frozen=True)
class Clip:
    """Frame 0 is the reference, the rest are driven."""

    pictures: Tensor  # [1 + F, S, S, 3] in 0..1
    normals: Tensor  # [1 + F, S, S, 3] encoded
    coverage: Tensor  # [1 + F, S, S] of the normals
    person: Tensor  # [1 + F, S, S] coverage with hair
    motion: HeadMotion  # the F driving frames
    photo: Tensor  # [2S, 2S, 3] frame 0 before it was shrunk
    photo_mask: Tensor  # [2S, 2S]

    def preview(self) -> Tensor:  # [F, S, S, 3] in 0..1
        """The photo preview of the driving frames, made large and then shrunk, as it is in use."""
        from .preview import photo_preview  # it draws on the fit step, which reading a pool does not need

        pictures, _ = photo_preview(self.photo, self.motion, self.photo_mask, size=len(self.photo))
        return _shrink(pictures)


def random_clip(seed: int, source: ClipSource, frames: int = FRAMES) -> Clip:
    """The clip of a seed."""
    rng = np.random.default_rng(seed)
    motion = _random_motion(rng, source.model, frames, source.size)
    look = random_look(rng, source.atlas, source.pictures)
    behind = background(rng, source.pictures, source.size * SUPERSAMPLING)
    everything = _with_reference(motion)
    maps = render_normals(everything, source.size, SUPERSAMPLING, chunk=frames + 1)
    samples, covered = _draw(everything, look, behind, source)
    pictures, person = _shrink(samples), _shrink(covered[..., None])[..., 0]
    return Clip(pictures, maps.normals, maps.mask, person, motion, samples[0], covered[0])


def _draw(motion: HeadMotion, look: Look, behind: Tensor, source: ClipSource) -> tuple[Tensor, Tensor]:
    """Samples [F, 2S, 2S, 3] and coverage [F, 2S, 2S] of the person with hair and clothes."""
    model, side = source.model, source.size * SUPERSAMPLING
    vertices = pose_vertices(
        model, motion.head.betas, motion.expression, motion.poses, motion.translation,
        torch.from_numpy(look.hair_offsets.astype(np.float32)),
    )  # fmt: skip
    camera = motion.camera.resized(side, side)
    corners = camera.project(vertices)
    ids = visible_triangles(corners, model.fine_faces, side, side)
    turned = vertex_normals(vertices, model.fine_faces, source.topology) @ camera.world_to_camera[:, :3, :3].mT
    normals = turned * turned.new_tensor([1.0, -1.0, -1.0])
    attributes = vertex_attributes(source.atlas, look).expand(len(vertices), -1, -1)
    seen = interpolate(corners, torch.cat([attributes, normals], -1), model.fine_faces, ids)
    face_parts = torch.from_numpy(source.atlas.face_parts)
    parts = torch.where(ids >= 0, face_parts[ids.long().clamp(min=0)], -1)
    colours = shade(seen[..., :7], torch.nn.functional.normalize(seen[..., 7:], dim=-1), parts, look, behind)
    return colours, (ids >= 0).float()


def _shrink(samples: Tensor) -> Tensor:
    frames, height, width, channels = samples.shape
    s = SUPERSAMPLING
    return samples.reshape(frames, height // s, s, width // s, s, channels).mean((2, 4))


def _random_motion(rng: Random, model: HeadModel, frames: int, size: int) -> HeadMotion:
    """A random head, its portrait pose, and F frames between two other poses."""
    betas = torch.from_numpy(rng.normal(size=100) * rng.uniform(0.3, 1.1)).float()
    camera = _random_camera(rng, model, betas, size)
    portrait = _expression(rng, model) * rng.uniform(0, 0.8), _random_poses(rng, calm=True)
    start = _expression(rng, model), _random_poses(rng)
    end = _expression(rng, model), _random_poses(rng)
    ease = torch.from_numpy(0.5 - 0.5 * np.cos(np.pi * np.linspace(0, 1, frames))).float()
    expression = start[0] + ease[:, None] * (end[0] - start[0])
    poses = start[1] + ease[:, None, None] * (end[1] - start[1])
    moved = torch.from_numpy(rng.normal(0, 0.007, (2, 3)) * (rng.random() < 0.5)).float()
    translation = moved[:1] + ease[:, None] * (moved[1:] - moved[:1])
    fit = SMPLXFit(
        betas, portrait[0][None], portrait[1][None], torch.zeros(1, 3), camera, model.expression_space, model.model_id
    )
    zeros = torch.zeros(model.num_vertices, 3)
    head = PersonalizedHead(model, betas, zeros, zeros[None], fit, model.upsampling.level, model.model_id, {})
    return HeadMotion(head, expression, poses, translation, camera.repeat(frames))


def _with_reference(motion: HeadMotion) -> HeadMotion:
    """The motion with the portrait's own frame in front."""
    fit = motion.head.fit
    return motion.replace(
        expression=torch.cat([fit.expression, motion.expression]),
        poses=torch.cat([fit.poses, motion.poses]),
        translation=torch.cat([fit.translation, motion.translation]),
        camera=fit.camera.repeat(1 + motion.num_frames),
    )


def _expression(rng: Random, model: HeadModel) -> Tensor:  # [E]
    names = model.expression_names
    allowed = [i for i, name in enumerate(names) if name not in NEVER]
    values = torch.zeros(len(names))
    for i in rng.choice(allowed, int(rng.integers(1, 6)), replace=False):
        values[i] = rng.uniform(0.2, 1)
    for prefix, probability in COMMON_EXPRESSIONS:
        if rng.random() < probability:
            amount = rng.uniform(0.3, 1)
            for i in [i for i in allowed if names[i].startswith(prefix)]:
                values[i] = amount
    return values


def _random_poses(rng: Random, calm: bool = False) -> Tensor:  # [55, 3]
    poses = torch.zeros(NUM_JOINTS, 3)
    spread = np.array([0.1, 0.16, 0.08]) if calm else np.array([0.2, 0.38, 0.15])
    turn = torch.from_numpy(rng.normal(0, 1, 3) * spread).float()
    poses[NECK], poses[HEAD] = turn * 0.4, turn * 0.6
    opened = rng.uniform(0, 0.12) * (rng.random() < 0.5) if calm else rng.uniform(0.05, 0.42) * (rng.random() < 0.55)
    poses[JAW, 0] = float(opened)
    gaze = torch.from_numpy(rng.normal(0, 0.15, 3) * np.array([1, 1.4, 0])).float()
    poses[LEFT_EYE] = poses[RIGHT_EYE] = gaze
    return poses


def _random_camera(rng: Random, model: HeadModel, betas: Tensor, size: int) -> Camera:
    """A camera in front of the head; the picture is 0.23 to 0.38 m high, around what `crop_portrait` cuts."""
    joint = model.joint_template[HEAD] + model.joint_shape_basis[HEAD, :, : len(betas)] @ betas
    centre = joint + torch.tensor([0.0, 0.03, 0.08])
    high, distance = math.exp(rng.uniform(math.log(0.23), math.log(0.38))), rng.uniform(0.6, 2.5)
    angles = rng.normal(0, 0.07, 3)
    rotation = torch.from_numpy(_rotation(angles)).float() @ torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    world_to_camera = torch.eye(4)[None].clone()
    world_to_camera[0, :3, :3] = rotation
    world_to_camera[0, :3, 3] = -rotation @ centre + torch.tensor([0.0, 0.0, distance])
    focal = size * distance / high
    shift = size * (0.5 + rng.normal(0, 0.04, 2))
    intrinsics = torch.tensor([[[focal, 0, shift[0]], [0, focal, shift[1]], [0, 0, 1]]], dtype=torch.float32)
    return Camera(intrinsics, world_to_camera, (size, size))


def _rotation(angles: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.Rodrigues(angles)[0]
