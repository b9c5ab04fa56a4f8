"""How alike two faces look, without a recognition network: the colours at their landmarks and the shape these make.

No face recogniser has a licence that lets it ship, so this is a plain comparison. The landmarks say where the same spot
of two faces is, whatever the pose; colour there (beard, brows, glasses, skin) is compared after light and contrast are
taken out. It tells a few people in one clip apart and finds the one in a similar picture of the same day; it does not
recognise a person across years, make-up or hard light.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...body.landmark_groups import EYELIDS, FACE_OVAL, INNER_LIPS, NUM_MESH
from .cutouts import Regions

SIDE = 64  # pixels of the small picture that the colours are read from: its pixels are what is averaged; our choice
CHROMA = 2.0  # weight of colour beside brightness: skin is brighter or darker by light, redder by nature; our choice


def face_colours(
    picture: Tensor,  # [H, W, 3] 0..1 or bytes
    landmarks: Tensor,  # [L, 3] x, y, confidence
) -> Tensor:  # [n]
    """What a face looks like: two faces are as alike as the product of these is near 1."""
    points = landmarks[: NUM_MESH if len(landmarks) > 68 else 68, :2].to(picture.device)
    low, high = points.amin(0), points.amax(0)
    square = Regions(((low + high) / 2)[None], (high - low).max().expand(1, 2) * 1.1, points.new_zeros(1))
    small = square.cut(picture.permute(2, 0, 1)[None], SIDE, beyond="border")
    grid = (points - square.centre) / square.size * 2
    colours = F.grid_sample(small, grid[None, None], align_corners=False)[0, :, 0].T  # [L, 3]
    colours = colours[_steady(len(landmarks)).to(colours.device)]
    bright = colours.mean(1)
    chroma = (colours - bright[:, None]) / bright.mean().clamp(min=1e-3)
    # light from a side is a slope over the face
    place = F.pad(points[_steady(len(landmarks)).to(points.device)] - square.centre, (0, 1), value=1.0)
    place = place / torch.cat([square.size[0], points.new_ones(1)])
    bright = bright - place @ torch.linalg.lstsq(place, bright[:, None]).solution[:, 0]
    joined = torch.cat([F.normalize(bright, dim=0), CHROMA * chroma.flatten() / len(chroma) ** 0.5])
    return F.normalize(joined, dim=0).cpu()


def _steady(count: int) -> Tensor:
    """The landmarks whose colour says something of a person: not the edge, not the lids, not the mouth's inside."""
    if count == 68:  # iBUG
        return torch.tensor([*range(17, 36), *range(48, 60)])
    left_out = {*FACE_OVAL, *EYELIDS, *INNER_LIPS}
    return torch.tensor([k for k in range(NUM_MESH) if k not in left_out])


def alike(one: Tensor, other: Tensor) -> float:
    """-1 to 1."""
    return float(one @ other)


