"""Region maps: which region of the head every pixel shows, as numbers and as a picture of fixed colours.

A pixel belongs to the region that most of its samples show and is never a mixture: a blend of two labels would be a
third one. The regions of a sample compete by their shares, interpolated from the vertices, so that borders run across
triangles and are as smooth as the mesh. Iris and pupil are no vertices' business: they are told by the angle from the
eye's optical axis at each sample, so that they are round and sharp at any level, and turn with the eye.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..body import regions as parts
from ..body.upsampling import upsample
from ..types import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, HeadModel
from .regions_numba import UNSURE

REGIONS = {
    "background": (0, 0, 0), "face": (255, 192, 128), "scalp": (128, 64, 0), "neck": (192, 128, 255),
    "shoulders": (0, 96, 192), "eyes": (255, 255, 255), "irises": (0, 192, 64), "pupils": (0, 64, 0),
    "lips": (255, 0, 64), "ears": (255, 255, 0), "mouth interior": (96, 0, 64), "teeth": (192, 255, 255),
    "tongue": (255, 96, 255),
}  # fmt: skip
"""The palette in bytes; a region's number is its place, counted from 0. Part of every graph: colours never change."""

COARSE = {"irises": "eyes", "pupils": "eyes", "lips": "face", "ears": "face", "teeth": "mouth interior",
          "tongue": "mouth interior"}  # fmt: skip
"""What becomes of the finer regions where only the six of a bust are wanted."""

DETAILS = ("fine", "coarse")
NAMES = tuple(REGIONS)
SKIN = NAMES.index("background")  # whose place holds all that is no part of its own, until it is told apart
FACE, SCALP, EYES, IRISES, PUPILS = (NAMES.index(name) for name in ("face", "scalp", "eyes", "irises", "pupils"))
OF_PART = {
    parts.LIPS: "lips", parts.EARS: "ears", parts.MOUTH: "mouth interior", parts.LEFT_EYEBALL: "eyes",
    parts.RIGHT_EYEBALL: "eyes", parts.UPPER_TEETH: "teeth", parts.LOWER_TEETH: "teeth", parts.TONGUE: "tongue",
}  # fmt: skip
# our choices; lengths in the distance between the eyes' centres, up and forward from their middle
HAIRLINE = ((-1.2, -1.15), (-0.3, -1.15), (0.5, -0.85), (1.0, -0.35), (1.35, 0.45))
HAIRLINE_WIDTH = 0.4  # over which face gives way to scalp
SOFT = 0.006  # metres along the surface over which the shares of parts are averaged
BODY_SOFT = 0.012  # and those of head, neck and shoulders, whose skinning alone would draw the mesh's edges
RINGS = ((IRISES, 0.0059), (PUPILS, 0.0021))
"""Regions of the eye with their radii in metres, people's, from the outer one to the inner one."""
LARGEST_RING = 0.9  # radii of the eyeball; our choice


@dataclass(frozen=True)
class RegionLayout:
    """Where the regions of a head model lie, made by `of` once per model."""

    faces: Tensor  # [Ts, 3]
    alone: Tensor  # [Ts] uint8 the region of a triangle that shows no other, UNSURE elsewhere
    share: Tensor  # [Vs, R] 0..1, sum 1
    eye: Tensor  # [Vs, 3] from the eyeball's centre along its own axes, the third is the optical one; 0 elsewhere
    rings: Tensor  # [n, 2] float32, a region of the eye and the cosine of its angle; later ones lie within earlier ones

    @staticmethod
    def of(model: HeadModel) -> RegionLayout:
        """The layout of a model, which keeps it beside its fields: it takes as long as drawing a hundred frames."""
        kept = vars(model)
        if "_region_layout" not in kept:
            with torch.inference_mode(False), torch.no_grad():  # it outlives ComfyUI's inference mode
                kept["_region_layout"] = RegionLayout._made(model)
        return kept["_region_layout"]

    @staticmethod
    def _made(model: HeadModel) -> RegionLayout:
        share = upsample(shares(model), model.faces, model.upsampling)
        eye = upsample(eye_directions(model), model.faces, model.upsampling)
        faces, best = model.fine_faces, share.argmax(1)
        first, second, third = (best[corner] for corner in faces.t())
        same = (first == second) & (second == third) & (first != EYES)
        return RegionLayout(faces, torch.where(same, first, UNSURE).to(torch.uint8), share, eye, rings(model))

    def seen(
        self,
        ids: Tensor,  # [F, H, W] triangle seen by each sample, -1 in the background
        corners: Tensor,  # [F, Vs, 3] homogeneous pixel corners of the samples
    ) -> Tensor:
        """[F, H, W] uint8 number of the region that each sample shows."""
        found = torch.where(ids >= 0, self.alone[ids.clamp(min=0).long()], 0)
        frame, row, column = (found == UNSURE).nonzero(as_tuple=True)
        triangle = self.faces[ids[frame, row, column].long()]  # [K, 3]
        weights = weights_at(corners[frame[:, None], triangle], column + 0.5, row + 0.5)[..., None]
        region = (self.share[triangle] * weights).sum(1).argmax(1)
        direction = (self.eye[triangle] * weights).sum(1)
        forward = torch.nn.functional.normalize(direction, dim=1)[:, 2]
        for number, cosine in self.rings.tolist():
            region[forward > cosine] = int(number)
        found[frame, row, column] = region.to(torch.uint8)
        return found


def shares(model: HeadModel) -> Tensor:
    """[V, R] how much of each coarse vertex belongs to each region: by the model's parts where it names them, else by
    the joints that carry it, and on the head by a hairline in the profile."""
    weights, place = model.skin_weights, NAMES.index
    points, faces = model.template.cpu().numpy(), model.faces.cpu().numpy()
    share = weights.new_zeros(len(weights), len(NAMES))
    share[:, SKIN] = 1
    for part, name in OF_PART.items():
        members = model.parts == part
        share[members] = 0
        share[members, place(name)] = 1
    # a border that follows the coarse triangles' edges is a saw
    share = torch.from_numpy(parts.smooth_over_mesh(share.cpu().numpy(), points, faces, SOFT)).to(weights)

    head, neck = weights[:, [HEAD, JAW, LEFT_EYE, RIGHT_EYE]].sum(1), weights[:, NECK]
    body = torch.stack([head, neck, (1 - head - neck).clamp(min=0)], 1).cpu().numpy()
    body = torch.from_numpy(parts.smooth_in_space(body, points, faces, BODY_SOFT)).to(weights)
    head, neck, shoulders = (body * share[:, SKIN, None]).unbind(1)
    face = face_share(model)
    share[:, SKIN] = 0
    share[:, FACE], share[:, SCALP] = head * face, head * (1 - face)
    share[:, place("neck")], share[:, place("shoulders")] = neck, shoulders
    return share


def face_share(model: HeadModel) -> Tensor:
    """[V] 1 before the hairline, 0 behind it."""
    left, right = model.joint_template[LEFT_EYE], model.joint_template[RIGHT_EYE]
    between = (left - right).norm()
    up, forward = ((model.template - (left + right) / 2) / between)[:, 1:].unbind(1)
    heights, borders = model.template.new_tensor(HAIRLINE).t().contiguous()
    after = torch.searchsorted(heights, up.contiguous()).clamp(1, len(heights) - 1)
    slope = (borders[after] - borders[after - 1]) / (heights[after] - heights[after - 1])
    border = borders[after - 1] + slope * (up - heights[after - 1]).clamp(min=0)  # goes on above, stays below
    return (0.5 + (forward - border) / HAIRLINE_WIDTH).clamp(0, 1)


def eye_directions(model: HeadModel) -> Tensor:
    """[V, 3] see RegionLayout.eye. In the template, which looks along +z, so that gaze and identity need no thought."""
    directions = torch.zeros_like(model.template)
    for part in (parts.LEFT_EYEBALL, parts.RIGHT_EYEBALL):
        ball = model.parts == part
        if ball.any():
            low, high = model.template[ball].aminmax(dim=0)
            directions[ball] = model.template[ball] - (low + high) / 2
    return directions


def rings(model: HeadModel) -> Tensor:
    """[n, 2] see RegionLayout.rings: eyes of all sizes have irises of one size."""
    balls = [model.template[model.parts == part] for part in (parts.LEFT_EYEBALL, parts.RIGHT_EYEBALL)]
    sides = [ball.amax(0) - ball.amin(0) for ball in balls if len(ball)]
    radius = float(torch.stack(sides).mean()) / 2 if sides else math.inf
    sines = [(number, min(size / radius, LARGEST_RING)) for number, size in RINGS]
    return model.template.new_tensor([(number, (1 - sine**2) ** 0.5) for number, sine in sines], dtype=torch.float32)


def weights_at(
    corners: Tensor,  # [K, 3, 3] homogeneous pixel corners of the triangle that each sample shows
    x: Tensor,  # [K] sample centres
    y: Tensor,
) -> Tensor:
    """Perspective-correct weights [K, 3] of the corners, by the formula of `interpolate`."""
    (x0, x1, x2), (y0, y1, y2) = (
        (corners[..., axis] - at[:, None] * corners[..., 2]).unbind(1) for axis, at in ((0, x), (1, y))
    )
    areas = torch.stack([x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1], 1)
    return torch.nan_to_num(areas / areas.sum(1, keepdim=True), nan=1 / 3).clamp(0, 1)


def most_seen(
    samples: Tensor,  # [F, s·H, s·W] uint8
    size: int,  # s
) -> Tensor:
    """[F, H, W] the number that most of a pixel's samples have; of equally many, the lowest."""
    if size == 1:
        return samples
    samples = samples.unflatten(1, (-1, size)).unflatten(3, (-1, size)).permute(0, 1, 3, 2, 4).flatten(3)
    low, high = samples.aminmax(dim=3)
    mixed = low != high
    low[mixed] = samples[mixed].mode(dim=1).values
    return low


def region_picture(
    regions: Tensor,  # [F, H, W] numbers
    detail: str = "fine",  # or "coarse": face, eyes, mouth interior, scalp, neck and shoulders alone
    into: Tensor | None = None,  # [F, H, W, 3] written and returned
) -> Tensor:
    """[F, H, W, 3] in 0..1: every region in its colour of REGIONS.

    Raises:
        ValueError: an unknown detail.
    """
    require_detail(detail)
    names = NAMES if detail == "fine" else [COARSE.get(name, name) for name in NAMES]
    palette = torch.tensor([REGIONS[name] for name in names], device=regions.device) / 255
    into = palette.new_empty(*regions.shape, 3) if into is None else into
    for i, numbers in enumerate(regions):  # one by one: as indices they are several times as large
        into[i] = palette.index_select(0, numbers.flatten().int()).view(*numbers.shape, 3)
    return into


def require_detail(detail: str) -> None:
    """Raise a sentence if there is no such region map."""
    if detail not in DETAILS:
        raise ValueError(f"The detail of the region map is '{detail}', expected one of {', '.join(DETAILS)}.")
