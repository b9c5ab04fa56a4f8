"""A rendered clip whose every number is known: a textured default head that turns, talks, blinks and looks around.

Synthetic, and no stranger to the tracker: the head model is the one that it fits. What it measures is how much of a
known pose, gaze, jaw and blink comes back through camera, networks and solver.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from expportrait_core.body import load_head_model
from expportrait_core.fit.landmark_fit import pinhole
from expportrait_core.fit.landmark_rig import NECK_SHARE
from expportrait_core.generator.clip_looks import HeadAtlas, random_look, shade, vertex_attributes
from expportrait_core.generator.clips import NEVER
from expportrait_core.body import pose_vertices
from expportrait_core.render import MeshTopology, interpolate, vertex_normals, visible_triangles
from expportrait_core.types import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, Camera, SMPLXFit

HEIGHT, WIDTH, FPS = 360, 640, 30.0
FOCAL = 900.0
SUPERSAMPLING = 2
BLINK_EVERY, BLINK = 17, (0.3, 0.75, 0.8, 0.75, 0.45, 0.2)  # frames; amounts, of which 0.7 closes the default head's eye
CLOSED = 0.6
STILL = 40  # frames at the end in which only the camera's noise moves
NOISE = 3 / 255  # of a sensor, standard deviation


@dataclass(frozen=True)
class RenderedClip:
    pictures: Tensor  # [F, H, W, 3] bytes
    truth: SMPLXFit
    blinks: list[range]  # the frames in which each blink's eyes are closed


def rendered_clip(seed: int = 1, frames: int = 300, look_seed: int | None = None) -> RenderedClip:
    """The clip of a seed; `frames` includes the still end."""
    rng = np.random.default_rng(seed)
    model = load_head_model("default", level=0)
    moving = frames - STILL
    truth, blinks = _motion(rng, model, moving, frames)
    atlas, look_rng = HeadAtlas.of(model), np.random.default_rng(seed if look_seed is None else look_seed)
    # a plain skin: patches of natural pictures on it would be nobody's
    texture = np.clip(np.full((96, 96, 3), (0.84, 0.64, 0.53)) + look_rng.normal(0, 0.02, (96, 96, 1)), 0, 1)
    look = random_look(look_rng, atlas, [texture])
    look = _plain(look, look_rng)
    behind = torch.from_numpy(np.linspace(0.35, 0.6, WIDTH * SUPERSAMPLING)).float()[None, :, None]
    behind = behind.expand(HEIGHT * SUPERSAMPLING, -1, 3)
    noise = torch.Generator().manual_seed(seed)
    topology = MeshTopology.of(model.fine_faces, model.num_vertices)
    pictures = []
    for start in range(0, frames, 8):
        drawn = _draw(model, truth.frames(slice(start, start + 8)), atlas, look, behind, topology)
        drawn = drawn + NOISE * torch.randn(drawn.shape, generator=noise)
        pictures.append((drawn.clamp(0, 1) * 255).round().to(torch.uint8))
    return RenderedClip(torch.cat(pictures), truth, blinks)


def _motion(rng: np.random.Generator, model, moving: int, frames: int) -> tuple[SMPLXFit, list[range]]:
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
                                ("mouthLowerDown", 0.4, 1.3), ("eyeSquint", 0.3, 0.33)):  # fmt: skip
        amount = np.clip(wave(size, hertz), 0, None)
        for i in (i for i, name in enumerate(names) if name.startswith(prefix) and name not in NEVER):
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


def _plain(look, rng: np.random.Generator):
    """The random look with even skin, a brown iris on white, and light from the front: a person as cameras see them."""
    from dataclasses import replace

    tone = torch.tensor([0.84, 0.64, 0.53])[:, None, None]
    skin = (tone + 0.015 * torch.from_numpy(rng.normal(size=look.textures.shape[2:])).float()).clamp(0, 1)
    textures = look.textures.clone()
    textures[0] = skin
    return replace(
        look, textures=textures, iris=torch.tensor([0.25, 0.16, 0.1]), sclera=torch.tensor([0.9, 0.88, 0.86]),
        lip=torch.tensor([0.7, 0.38, 0.36]), brow=torch.tensor([0.18, 0.12, 0.09]), brows=look.brows.clip(0, 1) * 0 + 1 *
        (look.brows / max(look.brows.max(), 1e-6)), light=torch.nn.functional.normalize(torch.tensor([0.3, 0.4, 0.8]), dim=0),
        light_colour=torch.tensor([0.6, 0.6, 0.6]), ambient=torch.tensor([0.55, 0.55, 0.55]), gloss=0.05, gamma=1.0,
    )  # fmt: skip


def _draw(model, fit: SMPLXFit, atlas: HeadAtlas, look, behind: Tensor, topology: MeshTopology) -> Tensor:
    height, width = HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING
    hair = torch.from_numpy(look.hair_offsets.astype(np.float32))
    vertices = pose_vertices(model, fit.betas, fit.expression, fit.poses, fit.translation, hair)
    camera = fit.camera.resized(height, width)
    corners = camera.project(vertices)
    ids = visible_triangles(corners, model.fine_faces, height, width)
    turned = vertex_normals(vertices, model.fine_faces, topology) @ camera.world_to_camera[:, :3, :3].mT
    normals = turned * turned.new_tensor([1.0, -1.0, -1.0])
    attributes = vertex_attributes(atlas, look).expand(len(vertices), -1, -1)
    seen = interpolate(corners, torch.cat([attributes, normals], -1), model.fine_faces, ids)
    parts = torch.where(ids >= 0, torch.from_numpy(atlas.face_parts)[ids.long().clamp(min=0)], -1)
    facing = torch.nn.functional.normalize(seen[..., 7:], dim=-1)
    drawn = shade(seen[..., :7], facing, parts, look, behind)
    frames, s = len(drawn), SUPERSAMPLING
    return drawn.reshape(frames, HEIGHT, s, WIDTH, s, 3).mean((2, 4))
