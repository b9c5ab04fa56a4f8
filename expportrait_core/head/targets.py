"""What the user gives beside landmarks (normals, depth, a mask), cut to the head and brought to the working size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from ..render import decode_normals
from ..types import Camera

MARGIN = 0.08  # of the head's size, around it; our choice


@dataclass(frozen=True)
class DenseTargets:
    """Maps of all frames in a square around the head, at the working size."""

    camera: Camera  # of the squares
    normals: Tensor | None  # [F, h, w, 3] unit, camera space
    normals_weight: Tensor | None  # [F, h, w] 1 where compared
    depth: Tensor | None  # [F, h, w] metres, or relative
    depth_weight: Tensor | None  # [F, h, w]
    outline_distance: Tensor | None  # [F, h, w] pixels beyond the mask's border, negative inside
    in_picture: Tensor  # [F, h, w] 0 in the part of the square that lies beyond the picture


def dense_targets(
    normals: Tensor | None,  # [F, H, W, 3] encoded to 0..1
    depth: Tensor | None,  # [F, H, W]
    mask: Tensor | None,  # [F, H, W] 0..1
    camera: Camera,
    pixels: Tensor,  # [F, V, 2] where the head's vertices are in the pictures
    dense_size: int,
    erosion: int,
) -> DenseTargets:
    """Cut, shrink by whole pixels, and erode. Whole pixels, so that the camera of the result is exact."""
    corner, size, shrink = _squares(pixels, camera.image_size, dense_size)

    def cut(maps: Tensor) -> Tensor:  # [F, H, W, C] → [F, h, w, C], mean of shrink² pixels, 0 beyond the picture
        return _cut(maps, corner, size, shrink)

    inside = torch.ones(*_frames_and_size(normals, depth, mask), 1, device=pixels.device)
    if mask is not None:
        inside = (mask[..., None] > 0.5).to(inside)
    encoded, covered = None, None
    if normals is not None:
        decoded = decode_normals(normals)
        covered = inside * (decoded.pow(2).sum(-1, keepdim=True) > 0.5)
        encoded = F.normalize(cut(decoded * covered), dim=-1)
    measured = None if depth is None else inside * (depth[..., None] > 0)
    return DenseTargets(
        camera=_cut_camera(camera, corner, size, shrink),
        normals=encoded,
        normals_weight=None if covered is None else eroded(_whole(cut(covered)), erosion),
        depth=None if depth is None else (cut(depth[..., None] * measured) / cut(measured).clamp(min=1e-6))[..., 0],
        depth_weight=None if measured is None else eroded(_whole(cut(measured)), erosion),
        outline_distance=None if mask is None else cut(_signed_distance(mask)[..., None])[..., 0] / shrink,
        in_picture=_whole(cut(torch.ones_like(inside))),
    )


def eroded(
    mask: Tensor,  # [F, H, W] 0 or 1
    pixels: int,
) -> Tensor:  # [F, H, W]
    """The mask without the pixels within that distance (of a square) from its border. The picture's edge is none."""
    if pixels == 0:
        return mask
    return 1 - F.max_pool2d((1 - mask)[:, None], 2 * pixels + 1, stride=1, padding=pixels)[:, 0]


def _whole(coverage: Tensor) -> Tensor:  # [F, h, w, 1] → [F, h, w]
    return (coverage[..., 0] > 0.999).to(coverage)


def _frames_and_size(*maps: Tensor | None) -> tuple[int, int, int]:
    return next(tuple(m.shape[:3]) for m in maps if m is not None)


def _squares(pixels: Tensor, image_size: tuple[int, int], dense_size: int) -> tuple[Tensor, int, int]:
    """First pixel (x, y) [F, 2] of the square around the head, its side after shrinking, and the shrinking factor."""
    height, width = image_size
    limit = torch.tensor([width, height], device=pixels.device, dtype=pixels.dtype)
    low, high = (torch.minimum(end.clamp(min=0), limit) for end in (pixels.amin(1), pixels.amax(1)))
    centre, extent = (low + high) / 2, (high - low).amax(1) * (1 + 2 * MARGIN)
    side = max(16.0, float(extent.max()))
    shrink = math.ceil(side / dense_size)
    size = math.ceil(side / shrink)
    return (centre - size * shrink / 2).round().long(), size, shrink


def _cut(maps: Tensor, corner: Tensor, size: int, shrink: int) -> Tensor:
    height, width = maps.shape[1:3]
    side = size * shrink
    cut = maps.new_zeros(len(maps), side, side, maps.shape[3])
    for frame, (x, y) in enumerate(corner.tolist()):
        top, left, bottom, right = max(y, 0), max(x, 0), min(y + side, height), min(x + side, width)
        if bottom > top and right > left:
            cut[frame, top - y : bottom - y, left - x : right - x] = maps[frame, top:bottom, left:right]
    return F.avg_pool2d(cut.permute(0, 3, 1, 2), shrink).permute(0, 2, 3, 1)


def _cut_camera(camera: Camera, corner: Tensor, size: int, shrink: int) -> Camera:
    intrinsics = camera.intrinsics.clone()
    intrinsics[:, :2, 2] -= corner.to(intrinsics)
    intrinsics[:, :2] /= shrink
    return camera.replace(intrinsics=intrinsics, image_size=(size, size))


def _signed_distance(mask: Tensor) -> Tensor:  # [F, H, W] pixels
    """Distance to the border of the mask, positive outside. Beyond the picture the person goes on as at its edge."""
    maps = []
    for frame in mask.cpu().numpy() > 0.5:
        if frame.all() or not frame.any():
            maps.append(np.zeros(frame.shape))  # no border to keep to
        else:
            outside, inside = ndimage.distance_transform_edt(~frame), ndimage.distance_transform_edt(frame)
            maps.append(np.where(frame, 0.5 - inside, outside - 0.5))  # pixel centres are half a pixel off the border
    return torch.from_numpy(np.stack(maps)).to(mask)
