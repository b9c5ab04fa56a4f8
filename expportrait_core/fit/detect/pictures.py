"""Pictures as the networks take them, some at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def channels_first(images: Tensor) -> Tensor:
    """A view [F, 3, H, W] of pictures [F, H, W, 3], after checking them. Bytes stay bytes, see `Regions.cut`."""
    if images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"The pictures have the shape {list(images.shape)}, expected [frames, height, width, 3].")
    if not images.is_floating_point() and images.dtype != torch.uint8:
        raise ValueError(f"The pictures are {images.dtype}, expected float values in 0..1, or bytes.")
    return images.permute(0, 3, 1, 2)


def chunks(count: int, device: torch.device) -> Iterator[slice]:
    """0..count in slices of as many pictures as a network takes at once: on a CPU, enough to hide Python's share."""
    size = 16 if device.type == "cpu" else 32
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
