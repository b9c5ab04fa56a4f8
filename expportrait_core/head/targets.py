"""What the user gives beside landmarks (normals, depth, a mask), as the square around the head at working size.

Pictures are not shrunk but sampled, every k-th pixel of every k-th row, from another first pixel on every step: a draw
at a fraction of the cost sees every pixel in turn, and compares single samples with single samples. (Averages would
differ from samples wherever one thing hides another, as at the lids and lips, even for a perfect head.)
"""

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
class View:
    """The maps of some frames, sampled; h = w."""

    camera: Camera
    normals: Tensor | None  # [b, h, w, 3] unit, camera space
    normals_weight: Tensor | None  # [b, h, w] 1 where compared
    depth: Tensor | None  # [b, h, w] metres, or relative
    depth_weight: Tensor | None  # [b, h, w]
    in_picture: Tensor  # [b, h, w] 0 in the part of the square that lies beyond the picture


@dataclass(frozen=True)
class DenseTargets:
    """The maps as given, and the square of each frame. `view` cuts and samples some of them."""

    normals: Tensor | None  # [F, H, W, 3] encoded to 0..1
    depth: Tensor | None  # [F, H, W]
    mask: Tensor | None  # [F, H, W]
    camera: Camera  # of the pictures
    corner: Tensor  # [F, 2] x, y of the square's first pixel
    size: int  # of the sampled square
    stride: int  # pixels from sample to sample
    erosion: int  # samples that the comparison stays away from borders
    outline_distance: Tensor | None  # [F, h, w] samples beyond the mask's border, negative inside; means of squares

    def view(
        self,
        frames: Tensor,  # [b]
        first: tuple[int, int],  # x, y of the first sample within the square, below `stride`
    ) -> View:
        """The samples of some frames."""
        inside = self._sampled(None, frames, first)
        person = inside
        if self.mask is not None:
            person = (self._sampled(self.mask[..., None], frames, first) > 0.5).to(inside)
        normals, normals_weight, depth, depth_weight = None, None, None, None
        if self.normals is not None:
            normals = decode_normals(self._sampled(self.normals, frames, first))
            normals_weight = eroded(person[..., 0] * (normals.pow(2).sum(-1) > 0.5), self.erosion)
        if self.depth is not None:
            depth = self._sampled(self.depth[..., None], frames, first)[..., 0]
            depth_weight = eroded(person[..., 0] * (depth > 0), self.erosion)
        return View(self.sampled_camera(frames, first), normals, normals_weight, depth, depth_weight, inside[..., 0])

    def sampled_camera(self, frames: Tensor, first: tuple[float, float]) -> Camera:
        """The camera whose pixel centres are the samples."""
        camera = self.camera[frames]
        intrinsics = camera.intrinsics.clone()
        offset = self.corner[frames].to(intrinsics) + intrinsics.new_tensor(first) + 0.5
        intrinsics[:, :2, 2] -= offset
        intrinsics[:, :2] /= self.stride
        intrinsics[:, :2, 2] += 0.5
        return camera.replace(intrinsics=intrinsics, image_size=(self.size, self.size))

    def outline_camera(self, frames: Tensor) -> Camera:
        """The camera of `outline_distance`."""
        middle = (self.stride - 1) / 2
        return self.sampled_camera(frames, (middle, middle))

    def _sampled(
        self,
        maps: Tensor | None,  # [F, H, W, C], or ones where None
        frames: Tensor,  # [b]
        first: tuple[int, int],
    ) -> Tensor:  # [b, h, w, C], 0 beyond the picture
        height, width = self.camera.image_size
        channels = 1 if maps is None else maps.shape[3]
        sampled = self.camera.intrinsics.new_zeros(len(frames), self.size, self.size, channels)
        places = (self.corner[frames] + torch.tensor(first, device=self.corner.device)).tolist()
        for row, (frame, (x, y)) in enumerate(zip(frames.tolist(), places, strict=True)):
            (to_rows, rows), (to_columns, columns) = self._in_picture(y, height), self._in_picture(x, width)
            sampled[row, to_rows, to_columns] = 1 if maps is None else maps[frame, rows, columns]
        return sampled

    def _in_picture(self, start: int, length: int) -> tuple[slice, slice]:
        """Which of the samples from `start` on lie within a picture's side, and where they lie in it."""
        inside = [i for i in range(self.size) if 0 <= start + i * self.stride < length]
        if not inside:
            return slice(0, 0), slice(0, 0)
        first, last = inside[0], inside[-1]
        return (
            slice(first, last + 1),
            slice(start + first * self.stride, start + last * self.stride + 1, self.stride),
        )


def dense_targets(
    normals: Tensor | None,  # [F, H, W, 3] encoded to 0..1
    depth: Tensor | None,  # [F, H, W]
    mask: Tensor | None,  # [F, H, W] 0..1
    camera: Camera,
    pixels: Tensor,  # [F, V, 2] where the head's vertices are in the pictures
    dense_size: int,
    erosion: int,
) -> DenseTargets:
    """Find the squares around the head, and measure how far every place in them is from the mask's border."""
    corner, size, stride = _squares(pixels, camera.image_size, dense_size)
    distance = None
    if mask is not None:
        rows = []
        for picture, place in zip(mask, corner, strict=True):  # the whole squares of a clip would fill the memory
            square = _cut(_signed_distance(picture), place, size * stride)
            rows.append(F.avg_pool2d(square[None], stride)[0] / stride)
        distance = torch.stack(rows)
    return DenseTargets(normals, depth, mask, camera, corner, size, stride, erosion, distance)


def eroded(
    mask: Tensor,  # [F, H, W] 0 or 1
    pixels: int,
) -> Tensor:  # [F, H, W]
    """The mask without the pixels within that distance (of a square) from its border. The picture's edge is none."""
    if pixels == 0:
        return mask
    return 1 - F.max_pool2d((1 - mask)[:, None], 2 * pixels + 1, stride=1, padding=pixels)[:, 0]


def _cut(
    picture: Tensor,  # [H, W]
    corner: Tensor,  # [2] x, y
    side: int,
) -> Tensor:  # [side, side]
    """A square of the picture, 0 where it reaches beyond."""
    x, y = corner.tolist()
    height, width = picture.shape
    return F.pad(picture, (-x, x + side - width, -y, y + side - height))  # negative padding cuts


def _squares(pixels: Tensor, image_size: tuple[int, int], dense_size: int) -> tuple[Tensor, int, int]:
    """First pixel (x, y) [F, 2] of the square around the head, its side in samples, and the stride of the samples."""
    height, width = image_size
    limit = torch.tensor([width, height], device=pixels.device, dtype=pixels.dtype)
    low, high = (torch.minimum(end.clamp(min=0), limit) for end in (pixels.amin(1), pixels.amax(1)))
    centre, extent = (low + high) / 2, (high - low).amax(1) * (1 + 2 * MARGIN)
    side = max(16.0, float(extent.max()))
    stride = math.ceil(side / dense_size)
    size = math.ceil(side / stride)
    return (centre - size * stride / 2).round().long(), size, stride


def _signed_distance(mask: Tensor) -> Tensor:  # [H, W] pixels
    """Distance to the border of the mask, positive outside, 0 where there is no border to keep to."""
    person = mask.cpu().numpy() > 0.5
    if person.all() or not person.any():
        return torch.zeros_like(mask)
    outside, inside = ndimage.distance_transform_edt(~person), ndimage.distance_transform_edt(person)
    # pixel centres are half a pixel off the border
    return torch.from_numpy(np.where(person, 0.5 - inside, outside - 0.5)).to(mask)
