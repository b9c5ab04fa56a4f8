"""Turned rectangles in pictures: cut out for a network, and the network's points brought back to pixels.

Pixels are counted from the top left corner, (0.5, 0.5) is the centre of the first pixel; a region's own coordinates
run from 0 to 1 between its edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Regions", "square_tiles", "turned_axes", "whole_picture"]

MOST_SAMPLES = 512  # per axis of a region, when it is made smaller; our choice


@dataclass(frozen=True)
class Regions:
    """Turned rectangles in pictures, and the way from a region's own coordinates (0..1) to pixels."""

    centre: Tensor  # [N, 2] pixels
    size: Tensor  # [N, 2] width and height, pixels
    angle: Tensor  # [N] radians, from the picture's x axis to the region's, clockwise as one looks at it

    def __len__(self) -> int:
        return len(self.angle)

    @classmethod
    def joined(cls, parts: list[Regions]) -> Regions:
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in ("centre", "size", "angle")))

    def towards(self, other: Regions, share: float) -> Regions:
        """Between these (0) and as many others (1), turned the shorter way."""
        turn = torch.remainder(other.angle - self.angle + math.pi, 2 * math.pi) - math.pi
        return Regions(
            torch.lerp(self.centre, other.centre, share), torch.lerp(self.size, other.size, share),
            self.angle + share * turn,
        )  # fmt: skip

    def __getitem__(self, index: slice | Tensor) -> Regions:
        return Regions(self.centre[index], self.size[index], self.angle[index])

    def repeat(self, count: int) -> Regions:
        return Regions(self.centre.repeat(count, 1), self.size.repeat(count, 1), self.angle.repeat(count))

    def to_picture(
        self,
        points: Tensor,  # [N, P, 2] 0..1 in the region
    ) -> Tensor:  # [N, P, 2] pixels
        return self.centre[:, None] + (points - 0.5) * self.size[:, None] @ turned_axes(self.angle)

    def cut(
        self,
        images: Tensor,  # [N, 3, H, W], 0..1 or bytes
        side: int,
        beyond: str,  # what lies beyond the picture: "zeros", "grey", "border"
    ) -> Tensor:  # [N, 3, side, side] 0..1
        """The regions as square pictures. Several samples are averaged per pixel where the picture is made smaller."""
        # a bilinear sample reaches over two pixels, so one is enough down to half the size
        samples = max(min(round(float(self.size.max()) / side / 2), MOST_SAMPLES // side), 1)
        channels_last = images.permute(0, 2, 3, 1)
        if images.device.type == "cpu" and channels_last[0].is_contiguous():
            cut = self._sample_rows(channels_last, side * samples, beyond)
        else:
            cut = self._sample(images, side * samples, beyond)
        cut = cut / 255 if images.dtype == torch.uint8 else cut
        return F.avg_pool2d(cut, samples) if samples > 1 else cut

    def _sample(self, images: Tensor, side: int, beyond: str) -> Tensor:
        outside = grey(images) if beyond == "grey" else 0.0
        images = images.float()
        steps = (torch.arange(side, device=images.device) + 0.5) / side
        extent = self.centre.new_tensor([images.shape[3], images.shape[2]])
        # grid_sample wants -1 and 1 at the picture's edges
        origin, right, down = (c[:, None, None] for c in (self._corners() / extent * 2 - 1).unbind(dim=1))
        grid = origin + steps[:, None] * (right - origin) + steps[:, None, None] * (down - origin)
        if beyond == "border":  # its own padding mode for that is missing on some devices
            grid = grid.clamp(1 / extent - 1, 1 - 1 / extent)  # the centres of the outermost pixels
        samples = F.grid_sample(images - outside, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return samples + outside

    def _sample_rows(self, images: Tensor, side: int, beyond: str) -> Tensor:
        """The same of pictures [N, H, W, 3] by OpenCV, which reads only what is in the region: eight times faster."""
        import cv2  # takes a while to import, and is not always needed

        edge = cv2.BORDER_REPLICATE if beyond == "border" else cv2.BORDER_CONSTANT
        outside = (grey(images) if beyond == "grey" else 0.0,) * 3
        origin, right, down = self._corners().double().unbind(dim=1)
        axes = torch.stack([right - origin, down - origin], dim=2) / side  # [N, 2, 2] picture by region pixels
        # OpenCV counts from the centre of the first pixel, in the region and in the picture
        first = origin + axes.sum(dim=2) / 2 - 0.5
        matrices = torch.cat([axes, first[..., None]], dim=2).numpy()
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        pictures = (image.numpy() for image in images)  # of an expanded batch too: one picture many times
        cut = [cv2.warpAffine(p, m, (side, side), None, flags, edge, outside) for p, m in zip(pictures, matrices)]
        return torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).float()

    def _corners(self) -> Tensor:  # [N, 3, 2] pixels: top left, top right, bottom left
        return self.to_picture(self.centre.new_tensor([[[0, 0], [1, 0], [0, 1]]]))


def grey(images: Tensor) -> float:
    """The value between black and white."""
    return 0.5 if images.is_floating_point() else 127.5


def whole_picture(picture_size: tuple[int, int], device: torch.device) -> Regions:
    """All of a picture of this height and width."""
    size = torch.tensor([[picture_size[1], picture_size[0]]], dtype=torch.float32, device=device)
    return Regions(size / 2, size, size.new_zeros(1))


def square_tiles(
    picture_size: tuple[int, int],  # height, width
    scale: float,  # side of a tile in long sides of the picture
    device: torch.device,
) -> Regions:
    """Squares that cover the picture and overlap by half or more; at scale 1 the one square around the picture."""
    side = max(picture_size) * scale
    centres = []
    for extent in picture_size:
        count = max(math.ceil((extent / side - 1) * 2), 0) + 1
        first = extent / 2 if count == 1 else side / 2
        centres.append(torch.linspace(first, extent - first, count, device=device))
    y, x = torch.meshgrid(*centres, indexing="ij")
    centre = torch.stack([x, y], dim=-1).reshape(-1, 2)
    return Regions(centre, torch.full_like(centre, side), centre.new_zeros(len(centre)))


def turned_axes(angle: Tensor) -> Tensor:
    """x axis and y axis, as rows, after a turn: [N] radians to [N, 2, 2]."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos, sin, -sin, cos], dim=-1).reshape(-1, 2, 2)
