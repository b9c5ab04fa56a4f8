"""A head as one would model it in clay, with skin, lips, teeth and eyes told apart: for looking at edits and presets.

Normal maps are what the generator reads; people see an expression, and above all a gaze, in a shaded head.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .body import pose_vertices
from .body.regions import (
    LEFT_EYEBALL,
    LIPS,
    LOWER_TEETH,
    MOUTH,
    PARTS,
    RIGHT_EYEBALL,
    TONGUE,
    UPPER_TEETH,
)
from .body.upsampling import upsample
from .render import MeshTopology, render_mesh
from .render.interpolate import interpolate
from .types import HeadModel, Progress, SMPLXFit, no_progress

__all__ = ["shaded_heads"]

PAPER = (0.086, 0.094, 0.114)
SKIN, WHITE, IRIS, PUPIL = (0.80, 0.65, 0.56), (0.93, 0.92, 0.90), (0.30, 0.40, 0.46), (0.05, 0.05, 0.06)
COLOURS = {LIPS: (0.74, 0.43, 0.40), MOUTH: (0.42, 0.17, 0.16), TONGUE: (0.68, 0.36, 0.35),
           UPPER_TEETH: (0.90, 0.88, 0.82), LOWER_TEETH: (0.88, 0.86, 0.80)}  # fmt: skip
IRIS_RADIUS, PUPIL_RADIUS, SMALLEST_EYE = 0.0059, 0.0023, 0.004  # metres
LIGHTS = (((-0.5, 0.55, 0.67), 0.75), ((0.75, 0.1, 0.65), 0.25))  # direction in the camera (y up), strength
AMBIENT = 0.22
SAMPLES = 2  # along each side of a pixel


@torch.no_grad()
def shaded_heads(
    fit: SMPLXFit,
    model: HeadModel,
    size: int = 384,  # pixels of the longer side
    progress: Progress = no_progress,
) -> Tensor:
    """A picture [F, h, w, 3] of every frame of the fit, seen by its own camera, on dark paper."""
    camera = fit.camera.scaled_to(size)
    topology, attributes = MeshTopology.of(model.fine_faces, model.num_vertices), _attributes(model)
    pictures = []
    for frame in range(fit.num_frames):
        part, seen = fit.frames([frame]), camera[[frame]]
        vertices = pose_vertices(model, fit.betas, part.expression, part.poses, part.translation)
        maps = render_mesh(vertices, model.fine_faces, seen, SAMPLES, topology)
        fine = seen.resized(*(SAMPLES * side for side in seen.image_size))
        surface = interpolate(fine.project(vertices), attributes[None], model.fine_faces, maps.ids)
        colour = _pooled(_with_irises(surface)) / maps.mask[..., None].clamp(min=1e-6)
        lit = colour * _light(maps.normals)[..., None]
        pictures.append(torch.lerp(lit.new_tensor(PAPER).expand_as(lit), lit, maps.mask[..., None]).clamp(0, 1)[0])
        progress(frame + 1, fit.num_frames, pictures[-1])
    return torch.stack(pictures)


def _attributes(model: HeadModel) -> Tensor:
    """Colour and place from the eye's centre in metres (zero elsewhere) of every fine vertex [Vs, 6]."""
    like = model.template
    colours = like.new_tensor([COLOURS.get(part, SKIN) for part in range(len(PARTS))])[model.parts]
    directions = torch.zeros_like(like)
    for part in (LEFT_EYEBALL, RIGHT_EYEBALL):
        ball = model.parts == part
        if ball.any():
            low, high = like[ball].amin(0), like[ball].amax(0)
            directions[ball] = like[ball] - (low + high) / 2
    return upsample(torch.cat([colours, directions], 1), model.faces, model.upsampling)


def _with_irises(
    surface: Tensor,  # [1, H, W, 6]
) -> Tensor:  # [1, H, W, 3]
    colour, direction = surface[..., :3], surface[..., 3:]
    across = direction[..., :2].norm(dim=-1, keepdim=True)
    forward = direction[..., 2:] > 0
    eye = torch.where(forward & (across < IRIS_RADIUS), colour.new_tensor(IRIS), colour.new_tensor(WHITE))
    eye = torch.where(forward & (across < PUPIL_RADIUS), colour.new_tensor(PUPIL), eye)
    return torch.where(direction.norm(dim=-1, keepdim=True) > SMALLEST_EYE, eye, colour)


def _light(normals: Tensor) -> Tensor:  # [1, H, W, 3] to [1, H, W]
    light = normals.new_full(normals.shape[:-1], AMBIENT)
    for direction, strength in LIGHTS:
        towards = torch.nn.functional.normalize(normals.new_tensor(direction), dim=0)
        light = light + strength * (normals @ towards).clamp(min=0)
    return light


def _pooled(samples: Tensor) -> Tensor:
    pooled = torch.nn.functional.avg_pool2d(samples.movedim(-1, 1), SAMPLES)
    return pooled.movedim(1, -1)
