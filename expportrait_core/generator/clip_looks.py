"""What the rendered training heads look like: textures from natural pictures and from noise, hair, clothes, light.

Natural pictures are those inside the scikit-image wheel. The astronaut is never among them: that photo is what the
tests look at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ..body.landmarks import landmark_points
from ..body.regions import MOUTH, SKIN, TONGUE
from ..types import HEAD, HeadModel

TRAINING_PICTURES = (
    "coffee.png", "rocket.jpg", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "brick.png", "grass.png",
    "gravel.png", "camera.png", "coins.png", "moon.png", "color.png", "clock_motion.png",
)  # fmt: skip
HELD_OUT_PICTURES = ("chelsea.png", "retina.jpg", "text.png", "cell.png")
TEXTURE = 192  # side of a texture, texels
Random = np.random.Generator


@dataclass(frozen=True)
class HeadAtlas:
    """Per-vertex attributes of a head model, coarse mesh, from which looks are made. Metres about the head joint."""

    centred: np.ndarray  # [V, 3] template minus head joint
    azimuth: np.ndarray  # [V] about the vertical axis through the head, 0 in front
    lips: np.ndarray  # [V] 0..1
    brows: np.ndarray  # [V] 0..1
    gaze: np.ndarray  # [V] cosine to the eyeball's axis, 0 outside the eyes
    head_weight: np.ndarray  # [V] 1 on the scalp, 0 on shoulders, mouth interior, eyes and teeth
    face_parts: np.ndarray  # [T] part of each triangle
    chin: float  # height of the chin

    @classmethod
    def of(cls, model: HeadModel) -> HeadAtlas:
        template, joint = model.template.numpy(), model.joint_template[HEAD].numpy()
        parts, faces = model.parts.numpy(), model.faces.numpy()
        centred = template - joint
        skin = parts <= 2
        marks = landmark_points(model.template[None], model.faces, model.landmarks["ibug68"])[0, 17:].numpy() - joint
        brow_line = np.concatenate([marks[:10], (marks[:9] + marks[1:10])[[0, 1, 2, 3, 5, 6, 7, 8]] / 2])
        to_brow = np.linalg.norm(centred[:, None] - brow_line[None], axis=2).min(1)
        gaze = np.zeros(len(template))
        for part in (4, 5):
            ball = parts == part
            direction = centred[ball] - centred[ball].mean(0)
            gaze[ball] = direction[:, 2] / np.linalg.norm(direction, axis=1)
        weight = model.skin_weights[:, [HEAD, 22]].sum(1).numpy() * ((parts == SKIN) | (parts == 2))
        mouth = marks[31:]
        return cls(
            centred=centred,
            azimuth=np.arctan2(centred[:, 0], centred[:, 2] - 0.02),
            lips=(parts == 1) * 1.0,
            brows=skin * np.exp(-((to_brow / 0.0055) ** 2)),
            gaze=gaze,
            head_weight=weight,
            face_parts=np.median(parts[faces], axis=1).astype(np.int64),
            chin=float(mouth[:, 1].mean() - 0.045),
        )


@dataclass(frozen=True)
class Look:
    """One random person's surface, and the light on it."""

    hair: np.ndarray  # [V] 0..1
    hair_offsets: np.ndarray  # [V, 3] metres, canonical: volume that the normal map does not have
    cloth: np.ndarray  # [V] 0..1
    lips: np.ndarray  # [V]
    brows: np.ndarray  # [V]
    textures: Tensor  # [3, 3, N, N] skin, hair, cloth
    lip: Tensor  # [3] colours
    brow: Tensor
    iris: Tensor
    sclera: Tensor
    mouth: Tensor
    teeth: Tensor
    light: Tensor  # [3] direction, camera space, y up, z to the viewer
    light_colour: Tensor  # [3]
    ambient: Tensor  # [3]
    gloss: float
    gamma: float


def natural_pictures(held_out: bool = False) -> list[np.ndarray]:
    """The pictures [H, W, 3] in 0..1 that textures and backgrounds are cut from, about 420 pixels on the short side."""
    try:
        import skimage
    except ImportError as error:
        raise ImportError(
            "Training and evaluation clips are made from the pictures inside scikit-image, which is not installed. "
            "Install it: pip install scikit-image"
        ) from error
    folder, pictures = Path(skimage.__file__).parent / "data", []
    for name in HELD_OUT_PICTURES if held_out else TRAINING_PICTURES:
        picture = cv2.imdecode(np.fromfile(folder / name, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        scale = 420 / min(picture.shape[:2])
        size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
        pictures.append(cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255)
    return pictures


def noise_picture(rng: Random, height: int, width: int, octaves: int, roughness: float) -> np.ndarray:
    """Smooth coloured noise [height, width, 3], about unit variance."""
    total, amplitude, out = 0.0, 1.0, np.zeros((height, width, 3), np.float32)
    for octave in range(octaves):
        cells = 2 ** (octave + 1)
        grid = rng.normal(size=(min(cells, height), min(cells, width), 3)).astype(np.float32)
        out += amplitude * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        total, amplitude = total + amplitude, amplitude * roughness
    return out / total


def natural_crop(rng: Random, pictures: list[np.ndarray], size: int) -> np.ndarray:
    """A random square of a random picture [size, size, 3], with changed contrast and colours."""
    picture = pictures[rng.integers(len(pictures))]
    side = int(min(picture.shape[:2]) * rng.uniform(0.15, 1.0))
    y, x = (rng.integers(n - side + 1) for n in picture.shape[:2])
    crop = cv2.resize(picture[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if rng.random() < 0.3:
        crop = crop[..., rng.permutation(3)]
    if rng.random() < 0.15:
        crop = 1 - crop
    mean = crop.mean()
    return np.clip((crop - mean) * rng.uniform(0.7, 1.4) + mean + rng.normal(0, 0.06, 3), 0, 1).astype(np.float32)


def background(rng: Random, pictures: list[np.ndarray], size: int) -> Tensor:  # [size, size, 3]
    """A natural picture or noise."""
    if rng.random() < 0.6:
        return torch.from_numpy(np.ascontiguousarray(natural_crop(rng, pictures, size)))
    plain = rng.random(3) + noise_picture(rng, size, size, int(rng.integers(1, 6)), 0.7) * rng.uniform(0, 0.4)
    return torch.from_numpy(np.clip(plain, 0, 1).astype(np.float32))


SKIN_TONES = np.array(
    [[0.93, 0.76, 0.66], [0.84, 0.62, 0.49], [0.68, 0.46, 0.33], [0.45, 0.29, 0.2], [0.97, 0.84, 0.76]]
)
HAIR_TONES = np.array(
    [[0.08, 0.06, 0.05], [0.25, 0.16, 0.1], [0.5, 0.36, 0.22], [0.78, 0.63, 0.4], [0.55, 0.25, 0.12], [0.75] * 3]
)


def _skin(rng: Random, pictures: list[np.ndarray]) -> np.ndarray:
    kind, n = rng.random(), TEXTURE
    tone = SKIN_TONES[rng.integers(len(SKIN_TONES))] + rng.normal(0, 0.05, 3)
    skin = tone + noise_picture(rng, n, n, 5, rng.uniform(0.4, 0.8)) * rng.uniform(0.03, 0.2) * np.array([1, 0.9, 0.8])
    if kind < 0.4:
        share = rng.uniform(0.15, 0.5)
        skin = skin * (1 - share) + natural_crop(rng, pictures, n) * share
    elif kind < 0.6:
        skin = natural_crop(rng, pictures, n)
    elif kind > 0.9:
        skin = rng.random(3) + noise_picture(rng, n, n, 6, rng.uniform(0.5, 1)) * rng.uniform(0.2, 0.8)
    return skin


def _hair(rng: Random, pictures: list[np.ndarray]) -> np.ndarray:
    n = TEXTURE
    if rng.random() < 0.25:
        return natural_crop(rng, pictures, n)
    tone = HAIR_TONES[rng.integers(len(HAIR_TONES))] * rng.uniform(0.7, 1.3)
    strands = cv2.resize(noise_picture(rng, 24, n, 4, 0.9).mean(-1), (n, n))[..., None]
    return tone * (1 + strands * rng.uniform(0.3, 1.2)) + noise_picture(rng, n, n, 5, 0.8) * rng.uniform(0.02, 0.12)


def _cloth(rng: Random, pictures: list[np.ndarray]) -> np.ndarray:
    if rng.random() < 0.5:
        return natural_crop(rng, pictures, TEXTURE)
    return rng.random(3) * rng.uniform(0.2, 1) + noise_picture(rng, TEXTURE, TEXTURE, 6, 0.8) * rng.uniform(0.02, 0.5)


def _hair_field(rng: Random, atlas: HeadAtlas) -> tuple[np.ndarray, np.ndarray]:
    """Where hair grows, and how far it stands off the head."""
    if rng.random() < 0.12:
        return np.zeros(len(atlas.azimuth)), np.zeros((len(atlas.azimuth), 3))
    turn, y = np.abs(atlas.azimuth), atlas.centred[:, 1]
    front = atlas.chin + rng.uniform(0.165, 0.205)
    side, back = atlas.chin + rng.uniform(-0.02, 0.11), atlas.chin + rng.uniform(-0.06, 0.06)
    to_side = 1 / (1 + np.exp(-(turn - rng.uniform(0.9, 1.35)) * 9))
    to_back = 1 / (1 + np.exp(-(turn - 2.1) * 6))
    line = front * (1 - to_side) + (side * (1 - to_back) + back * to_back) * to_side
    line = line + 0.012 * rng.random() * np.sin(atlas.azimuth * rng.uniform(1, 4) + rng.uniform(0, 6))
    hair = np.clip(atlas.head_weight * 1.5 - 0.3, 0, 1) / (1 + np.exp(-np.clip((y - line) / 0.006, -60, 60)))
    waves = 1 + 0.35 * np.sin(atlas.azimuth * rng.uniform(1, 3) + rng.uniform(0, 6))
    waves = waves * (1 + 0.3 * np.sin(y * rng.uniform(20, 60) + rng.uniform(0, 6)))
    outward = (atlas.centred - [0, atlas.chin + 0.14, 0.01]) * [1, 0.8, 1]
    outward = outward / (np.linalg.norm(outward, axis=1, keepdims=True) + 1e-6)
    volume = rng.uniform(0, 0.045) * waves * np.clip((y - line) / 0.03, 0, 1) * hair
    return hair, outward * volume[:, None]


def random_look(rng: Random, atlas: HeadAtlas, pictures: list[np.ndarray]) -> Look:
    """Hair, clothes, colours and light of one person."""
    hair, offsets = _hair_field(rng, atlas)
    textures = [np.clip(make(rng, pictures), 0.01, 1).astype(np.float32) for make in (_skin, _hair, _cloth)]
    neckline = atlas.chin - rng.uniform(0.03, 0.1) - rng.uniform(0, 0.05) * np.cos(atlas.azimuth).clip(0)
    cloth = (1 - atlas.head_weight) / (1 + np.exp(-np.clip((neckline - atlas.centred[:, 1]) / 0.004, -60, 60)))
    makeup = rng.uniform(0.3, 1, 2) * (rng.uniform(0, 0.5) if rng.random() < 0.3 else 1)
    light = np.array([rng.normal(0, 0.6), rng.normal(0.35, 0.4), rng.uniform(0.4, 1.2)])
    exposure, ambient = rng.uniform(0.9, 1.25), rng.uniform(0.3, 0.75)

    def colour(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.broadcast_to(values, 3).astype(np.float32).copy())

    return Look(
        hair=hair, hair_offsets=offsets, cloth=cloth, lips=atlas.lips * makeup[0], brows=atlas.brows * makeup[1],
        textures=torch.from_numpy(np.stack(textures)).permute(0, 3, 1, 2).contiguous(),
        lip=colour([rng.uniform(0.5, 0.85), rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.5)]),
        brow=colour(textures[1].mean((0, 1)) * rng.uniform(0.5, 1)),
        iris=colour(rng.uniform(0, 0.5, 3)),
        sclera=colour(rng.uniform(0.7, 0.95)),
        mouth=colour([rng.uniform(0.1, 0.35), 0.06, 0.07]),
        teeth=colour(np.array([0.95, 0.92, 0.86]) * rng.uniform(0.7, 1)),
        light=colour(light / np.linalg.norm(light)),
        light_colour=colour((1 - ambient) * 1.25 * exposure * (1 + rng.normal(0, 0.05, 3))),
        ambient=colour(ambient * exposure * (1 + rng.normal(0, 0.05, 3))),
        gloss=float(rng.uniform(0, 0.25) * (rng.random() < 0.6)),
        gamma=float(rng.uniform(0.8, 1.25)),
    )  # fmt: skip


def vertex_attributes(atlas: HeadAtlas, look: Look) -> Tensor:  # [V, 7]
    """What `shade` reads at every pixel: texture x, y in -1..1, hair, cloth, lips, brows, gaze."""
    v = np.clip((atlas.chin + 0.24 - atlas.centred[:, 1]) / 0.42, 0, 1) * 2 - 1
    columns = [atlas.azimuth / np.pi, v, look.hair, look.cloth, look.lips, look.brows, atlas.gaze]
    return torch.from_numpy(np.stack(columns, 1).astype(np.float32))


def shade(
    attributes: Tensor,  # [F, H, W, 7] of `vertex_attributes`
    normals: Tensor,  # [F, H, W, 3] camera space
    parts: Tensor,  # [F, H, W] int64, -1 in the background
    look: Look,
    behind: Tensor,  # [H, W, 3]
) -> Tensor:  # [F, H, W, 3] in 0..1
    """Colours of every sample under one light."""
    grid = attributes[..., :2]
    skin, hair, cloth = (
        torch.nn.functional.grid_sample(
            texture.expand(len(grid), -1, -1, -1), grid, padding_mode="border", align_corners=False
        ).movedim(1, -1)
        for texture in look.textures[:, None]
    )
    hairy = torch.sigmoid((attributes[..., 2:3] - 0.5) * 14)
    clothed, lips, brows, gaze = (attributes[..., i : i + 1] for i in range(3, 7))
    colour = skin.lerp(look.lip, lips.clamp(0, 1)).lerp(look.brow, brows.clamp(0, 1))
    colour = colour * (1 - hairy) + hair * hairy
    colour = colour * (1 - clothed) + cloth * clothed
    iris, pupil = torch.sigmoid((gaze - 0.84) * 60), torch.sigmoid((gaze - 0.965) * 90)
    eye = look.sclera.lerp(look.iris, iris) * (1 - pupil) + 0.03 * pupil
    part = parts[..., None]
    colour = torch.where((part == 4) | (part == 5), eye, colour)
    colour = torch.where((part == 6) | (part == 7), look.teeth, colour)
    colour = torch.where((part == MOUTH) | (part == TONGUE), look.mouth, colour)
    facing = (normals * look.light).sum(-1, keepdim=True)
    mirrored = (2 * facing * normals[..., 2:] - look.light[2]).clamp(0) ** 12
    lit = look.ambient * (0.75 + 0.25 * normals[..., 1:2]) + look.light_colour * facing.clamp(0)
    colour = colour * lit + look.gloss * mirrored * look.light_colour
    return torch.where(part < 0, behind, colour).clamp(0, 1) ** look.gamma
