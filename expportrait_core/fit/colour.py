"""Colours of a new square beside the picture that it goes back into."""

from __future__ import annotations

import torch
from torch import Tensor

from ..types import HeadCrop, Progress, no_progress
from .crop import cut_square

BORDER = 0.12  # of the side, where the square meets the picture; our choice
SIDE = 128  # pixels at which the borders are compared
CONTRAST = (0.5, 2.0)  # what the ratio of the two contrasts is held to


def match_colours(
    frames: Tensor,  # [F, S, S, 3] new pictures of the crop
    crop: HeadCrop,
    source: Tensor,  # [F, H, W, 3] or [1, H, W, 3] the full pictures
    strength: float = 1.0,  # 0 changes nothing
    progress: Progress = no_progress,
) -> Tensor:  # [F, S, S, 3]
    """The frames with mean and contrast of each channel drawn to the source's along the border. One change serves the
    whole clip, so that nothing flickers."""
    if strength == 0:
        return frames
    count = min(len(source), len(crop.side))
    few = torch.linspace(0, count - 1, min(count, 8)).round().long()
    square = HeadCrop(crop.corner[few], crop.side[few], SIDE, crop.source_size)
    wanted = _border(cut_square(source[few], square))
    some = torch.linspace(0, len(frames) - 1, min(len(frames), 8)).round().long()
    found = _border(frames[some].to(source))
    contrast = (wanted.std(0) / found.std(0).clamp(min=1e-3)).clamp(*CONTRAST).to(frames)
    before, after = found.mean(0).to(frames), wanted.mean(0).to(frames)
    matched = torch.empty_like(frames)
    for index, frame in enumerate(frames):
        matched[index] = torch.lerp(frame, (frame - before) * contrast + after, strength).clamp(0, 1)
        progress(index + 1, len(frames), matched[index])
    return matched


def _border(pictures: Tensor) -> Tensor:
    """The pixels [N, 3] of the pictures' outer ring."""
    height, width = pictures.shape[1:3]
    ring = torch.ones(height, width, dtype=torch.bool, device=pictures.device)
    down, right = max(1, round(BORDER * height)), max(1, round(BORDER * width))
    ring[down : height - down, right : width - right] = False
    return pictures[:, ring].flatten(0, 1)
