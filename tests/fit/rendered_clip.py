"""A rendered clip whose every number is known: a textured default head that turns, talks, blinks and looks around.

Synthetic, and no stranger to the tracker: the head model is the one that it fits. What it measures is how much of a
known pose, gaze, jaw and blink comes back through camera, networks and solver.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from expportrait_core.body import landmark_points, load_head_model, pose_vertices
from expportrait_core.body.regions import SKIN
from expportrait_core.fit.tracker.landmark_fit import pinhole
from expportrait_core.fit.tracker.landmark_rig import NECK_SHARE
from expportrait_core.generator.clip_looks import HeadAtlas, Look, random_look, shade, vertex_attributes
from expportrait_core.generator.clips import NEVER
from expportrait_core.render import MeshTopology, interpolate, vertex_normals, visible_triangles
from expportrait_core.types import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, Camera, HeadModel, SMPLXFit

HEIGHT, WIDTH, FPS = 360, 640, 30.0
FOCAL = 900.0
SUPERSAMPLING = 2
BLINK_EVERY = 17  # frames
BLINK = (0.3, 0.75, 0.8, 0.75, 0.45, 0.2)  # 0.7 closes the default head's eye
CLOSED = 0.6
LOOK = 0.5  # radians up or down at which ARKit's unit for the lids is full
STILL = 40  # frames at the end in which only the camera's noise moves
NOISE = 3 / 255  # of a sensor, standard deviation


@dataclass(frozen=True)
class RenderedClip:
    pictures: Tensor  # [F, H, W, 3] bytes
    truth: SMPLXFit
    blinks: list[range]  # the frames in which each blink's eyes are closed


def rendered_clip(seed: int = 1, frames: int = 300, still: int = STILL) -> RenderedClip:
    """The clip of a seed; `frames` includes the still end."""
    rng = np.random.default_rng(seed)
    model = load_head_model("default", level=0)
    truth, blinks = _motion(rng, model, frames - still, frames)
    atlas = HeadAtlas.of(model)
    look = _plain(random_look(rng, atlas, [np.full((96, 96, 3), 0.5, np.float32)]), rng, model)
    noise = torch.Generator().manual_seed(seed)
    topology = MeshTopology.of(model.fine_faces, model.num_vertices)
    pictures = []
    for frame in range(frames):  # one at a time: larger arrays do not stay in the cache
        drawn = _draw(model, truth.frames([frame]), atlas, look, topology)
        drawn = drawn + NOISE * torch.randn(drawn.shape, generator=noise)
        pictures.append((drawn.clamp(0, 1) * 255).round().to(torch.uint8))
    return RenderedClip(torch.cat(pictures), truth, blinks)


def _motion(rng: np.random.Generator, model: HeadModel, moving: int, frames: int) -> tuple[SMPLXFit, list[range]]:
    time = np.arange(moving) / FPS

    def wave(size: float, *hertz: float) -> np.ndarray:
        phases = rng.uniform(0, 2 * np.pi, len(hertz))
        return size * sum(np.sin(2 * np.pi * h * time + p) for h, p in zip(hertz, phases)) / len(hertz)

    turn = np.stack([wave(0.2, 0.31, 0.83), wave(0.5, 0.23, 0.57), wave(0.14, 0.41)], 1)
    poses = torch.zeros(frames, 55, 3)
    turn = _held(torch.from_numpy(turn).float(), frames)
    poses[:, NECK], poses[:, HEAD] = NECK_SHARE * turn, (1 - NECK_SHARE) * turn
    talking = np.clip(wave(0.16, 1.7, 2.9) + 0.06, 0, None)
    poses[:, JAW, 0] = _held(torch.from_numpy(talking).float()[:, None], frames)[:, 0]
    gaze = np.zeros((moving, 2))
    for start in range(0, moving, 13):  # the eyes jump, and rest in between
        gaze[start:] = rng.uniform([-0.16, -0.34], [0.16, 0.34])
    eyes = torch.nn.functional.pad(_held(torch.from_numpy(gaze).float(), frames), (0, 1))
    poses[:, LEFT_EYE] = poses[:, RIGHT_EYE] = eyes
    names = model.expression_names
    expression = torch.zeros(moving, len(names))
    for prefix, size, hertz in (("mouthSmile", 0.7, 0.37), ("browInnerUp", 0.6, 0.29), ("mouthPucker", 0.4, 0.47),
                                ("mouthLowerDown", 0.4, 1.3)):  # fmt: skip
        amount = np.clip(wave(size, hertz), 0, None)
        for i in (i for i, name in enumerate(names) if name.startswith(prefix) and name not in NEVER):
            expression[:, i] = torch.from_numpy(amount)
    for prefix, way in (("eyeLookDown", 1.0), ("eyeLookUp", -1.0)):  # lids go with the eyes
        amount = np.clip(way * gaze[:, 0] / LOOK, 0, 1)
        for i in (i for i, name in enumerate(names) if name.startswith(prefix)):
            expression[:, i] = torch.from_numpy(amount)
    lids = [i for i, name in enumerate(names) if name.startswith("eyeBlink")]
    blinks = []
    for start in range(8, moving - len(BLINK), BLINK_EVERY):
        start += int(rng.integers(0, 5))
        expression[start : start + len(BLINK), lids] = torch.tensor(BLINK)[: moving - start, None]
        shut = [start + k for k, amount in enumerate(BLINK) if amount > CLOSED]
        blinks.append(range(shut[0], shut[-1] + 1))
    betas = torch.from_numpy(rng.normal(0, 0.6, 60)).float()
    joint = model.joint_template[HEAD] + model.joint_shape_basis[HEAD, :, :60] @ betas
    place = np.stack([wave(0.03, 0.2), wave(0.015, 0.5), wave(0.05, 0.17)], 1)
    translation = _held(torch.from_numpy(place).float(), frames) - joint - torch.tensor([0.0, 0.04, 0.85])
    world_to_camera = torch.diag(torch.tensor([1.0, -1, -1, 1])).repeat(frames, 1, 1)
    camera = Camera(pinhole(FOCAL, HEIGHT, WIDTH).repeat(frames, 1, 1), world_to_camera, (HEIGHT, WIDTH))
    fit = SMPLXFit(betas, _held(expression, frames), poses, translation, camera, model.expression_space,
                   model.model_id, fps=FPS)  # fmt: skip
    return fit, blinks


def _held(values: Tensor, frames: int) -> Tensor:
    """The last row repeated up to that many."""
    return torch.cat([values, values[-1:].expand(frames - len(values), -1)])


def _plain(look: Look, rng: np.random.Generator, model: HeadModel) -> Look:
    """The random hair, half as thick, with even skin, dark brows, a brown iris on white, and light from the front."""
    grain = torch.from_numpy(rng.normal(size=(192, 192))).float()
    skin = torch.tensor([0.84, 0.64, 0.53])[:, None, None] + 0.015 * grain
    light = torch.nn.functional.normalize(torch.tensor([0.3, 0.4, 0.8]), dim=0)
    return replace(
        look,
        textures=torch.cat([skin.clamp(0, 1)[None], look.textures[1:]]),
        hair_offsets=0.5 * look.hair_offsets,
        brows=_brows(model),
        iris=torch.tensor([0.25, 0.16, 0.1]), sclera=torch.tensor([0.9, 0.88, 0.86]),
        lip=torch.tensor([0.7, 0.38, 0.36]), brow=torch.tensor([0.18, 0.12, 0.09]),
        light=light, light_colour=torch.full((3,), 0.6), ambient=torch.full((3,), 0.55), gloss=0.05, gamma=1.0,
    )  # fmt: skip


def _brows(model: HeadModel) -> np.ndarray:  # [V]
    """Where brows grow: iBUG's points are their upper edge, so their middle lies below."""
    line = landmark_points(model.template[None], model.faces, model.landmarks["ibug68"])[0, 17:27]
    line = torch.cat([line, 0.5 * (line[:4] + line[1:5]), 0.5 * (line[5:9] + line[6:10])])
    off = torch.cdist(model.template, line - torch.tensor([0.0, 0.004, 0.0])).min(1).values
    return (torch.exp(-((off / 0.0045) ** 2)) * (model.parts == SKIN)).numpy()


def _draw(model: HeadModel, fit: SMPLXFit, atlas: HeadAtlas, look: Look, topology: MeshTopology) -> Tensor:
    """One frame [1, H, W, 3]."""
    height, width = HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING
    hair = torch.from_numpy(look.hair_offsets.astype(np.float32))
    vertices = pose_vertices(model, fit.betas, fit.expression, fit.poses, fit.translation, hair)
    camera = fit.camera.resized(height, width)
    corners = camera.project(vertices)
    ids = visible_triangles(corners, model.fine_faces, height, width)
    columns = (ids[0] >= 0).any(0).nonzero()[:, 0]
    seen = slice(int(columns[0]), int(columns[-1]) + 1)
    turned = vertex_normals(vertices, model.fine_faces, topology) @ camera.world_to_camera[:, :3, :3].mT
    normals = turned * turned.new_tensor([1.0, -1.0, -1.0])
    attributes = torch.cat([vertex_attributes(atlas, look).expand(len(vertices), -1, -1), normals], -1)
    corners = corners - torch.tensor([seen.start, 0.0, 0.0]) * corners[..., 2:]
    at = interpolate(corners, attributes, model.fine_faces, ids[..., seen].contiguous())
    parts = torch.from_numpy(atlas.face_parts)[ids[..., seen].long().clamp(min=0)]
    parts = torch.where(ids[..., seen] >= 0, parts, -1)
    picture = torch.linspace(0.35, 0.6, width)[:, None].expand(1, height, -1, 3).clone()
    facing = torch.nn.functional.normalize(at[..., 7:], dim=-1)
    picture[:, :, seen] = shade(at[..., :7], facing, parts, look, picture[0, :, seen])
    s = SUPERSAMPLING
    return picture.reshape(1, HEIGHT, s, WIDTH, s, 3).mean((2, 4))
