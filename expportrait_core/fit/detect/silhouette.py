"""The person's silhouette in pictures, by a small network that ships with the pack.

    silhouette = segment_person(images, boxes)

The network is MediaPipe's Selfie Segmentation (0.10.14, Apache-2.0).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...portable import Progress, no_progress
from .cutouts import Regions, whole_picture
from .face_boxes import FaceBox, require_boxes
from .networks import load_network
from .pictures import channels_first, chunks

SILHOUETTE = 5.0  # side of the region around head and shoulders in sides of the face's box; our choice


def segment_person(
    images: Tensor,  # [F, H, W, 3] 0..1
    boxes: list[FaceBox | None] | None = None,  # F
    progress: Progress = no_progress,
) -> Tensor:
    """How much each pixel belongs to a person, [F, H, W] in 0..1.

    The network sees the whole picture in 256x256 pixels. With `boxes` it also looks at a square around head and
    shoulders where that is smaller, which makes a small person's outline sharp (and finds it at all, where the face
    is under a tenth of the picture); the two are blended at the square's edge.

    Raises:
        ValueError: `images` has another shape, or there is not one box per picture.
    """
    network, pictures = load_network("person_segmentation", images.device), channels_first(images)
    if boxes is not None:
        require_boxes(boxes, len(images))
    height, width = images.shape[1:3]
    whole = whole_picture(images.shape[1:3], images.device)
    mask = torch.zeros(len(images), height, width, device=images.device)
    for frames in chunks(len(images), images.device):
        regions = whole.repeat(len(pictures[frames]))
        (coarse,) = network(regions.cut(pictures[frames], network.input_size, beyond="zeros"))
        mask[frames] = F.interpolate(coarse, (height, width), mode="bilinear")[:, 0]
        for frame in range(frames.start, frames.stop) if boxes else ():
            if boxes[frame] is not None:
                blend_silhouette(mask[frame], pictures[frame : frame + 1], boxes[frame])
        progress(frames.stop, len(images), None)
    return mask


def blend_silhouette(
    mask: Tensor,  # [H, W] of the whole picture, changed in place
    picture: Tensor,  # [1, 3, H, W]
    face: FaceBox,
) -> None:
    """Replace the mask around head and shoulders by a sharper one, softly at the edge of the square."""
    network = load_network("person_segmentation", picture.device)
    height, width = mask.shape
    side = face.side * SILHOUETTE
    if side >= max(height, width):
        return  # the whole picture is no larger
    (x0, y0), (x1, y1) = face.box.reshape(2, 2).tolist()
    # shoulders lie below the face, so the head takes the upper middle of the square; little of it beyond the picture
    x, y = (x0 + x1) / 2, (y0 + y1) / 2 + 0.6 * face.side
    x = min(max(x, side / 2), width - side / 2) if side < width else width / 2
    y = min(max(y, side / 2), height - side / 2) if side < height else height / 2
    centre = torch.tensor([[x, y]], device=picture.device)
    square = Regions(centre, centre.new_full((1, 2), side), centre.new_zeros(1))
    (sharp,) = network(square.cut(picture, network.input_size, beyond="zeros"))

    rows = slice(max(math.floor(y - side / 2), 0), min(math.ceil(y + side / 2), height))
    columns = slice(max(math.floor(x - side / 2), 0), min(math.ceil(x + side / 2), width))
    across = (torch.arange(columns.start, columns.stop, device=mask.device) + 0.5 - x) / side * 2  # -1..1
    down = (torch.arange(rows.start, rows.stop, device=mask.device) + 0.5 - y) / side * 2
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
    sharp = F.grid_sample(sharp, grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0, 0]
    weight = ((1 - grid.abs().amax(dim=-1)) / 0.2).clamp(0, 1)  # 0 at the edge, 1 from a tenth of the side inwards
    mask[rows, columns] = torch.lerp(mask[rows, columns], sharp, weight)
