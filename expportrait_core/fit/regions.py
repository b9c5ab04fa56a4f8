"""Turned rectangles in pictures: cut out for a network, and the network's points brought back to pixels.

Pixels are counted from the top left corner, (0.5, 0.5) is the centre of the first pixel; a region's own coordinates
run from 0 to 1 between its edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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

    def __getitem__(self, index: slice) -> Regions:
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
        images: Tensor,  # [N, 3, H, W]
        side: int,
        beyond: str,  # what lies beyond the picture: "zeros", "border"
    ) -> Tensor:  # [N, 3, side, side]
        """The regions as square pictures. Several samples are averaged per pixel where the picture is made smaller."""
        # a bilinear sample reaches over two pixels, so one is enough down to half the size
        samples = max(min(round(float(self.size.max()) / side / 2), MOST_SAMPLES // side), 1)
        steps = (torch.arange(side * samples, device=images.device) + 0.5) / (side * samples)
        extent = self.centre.new_tensor([images.shape[3], images.shape[2]])
        # grid_sample wants -1 and 1 at the picture's edges
        corners = self.to_picture(self.centre.new_tensor([[[0, 0], [1, 0], [0, 1]]])) / extent * 2 - 1
        origin, right, down = (c[:, None, None] for c in corners.unbind(dim=1))  # each [N, 1, 1, 2]
        grid = origin + steps[:, None] * (right - origin) + steps[:, None, None] * (down - origin)
        if beyond == "border":  # its own padding mode for that is missing on some devices
            grid = grid.clamp(1 / extent - 1, 1 - 1 / extent)  # the centres of the outermost pixels
        cut = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return F.avg_pool2d(cut, samples) if samples > 1 else cut


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
