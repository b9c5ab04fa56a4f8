"""Filling holes in pictures smoothly from what surrounds them."""

from __future__ import annotations

import cv2
import numpy as np

SMALLEST = 4  # pixels; below this the pyramid is one colour
NOTHING = 1e-4  # weight under which a pixel is filled from the coarser level alone


def push_pull(
    picture: np.ndarray,  # [H, W, C] float32
    weight: np.ndarray,  # [H, W] float32 0..1, how far each pixel is known
) -> np.ndarray:  # [H, W, C]
    """The picture with unknown pixels filled smoothly from the known ones around them (Gortler et al. 1996)."""
    levels = [(picture * weight[..., None], weight)]
    while min(levels[-1][1].shape) > SMALLEST:
        colours, known = (cv2.pyrDown(level) for level in levels[-1])
        levels.append((colours, known))
    colours, known = levels[-1]
    total = max(float(known.sum()), NOTHING)
    filled = np.broadcast_to(colours.sum((0, 1)) / total, colours.shape).astype(np.float32)
    for colours, known in reversed(levels):
        height, width = known.shape
        filled = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR).reshape(colours.shape)
        own = colours / np.maximum(known, NOTHING)[..., None]
        # a pixel that is known by a quarter knows its colour well enough
        trust = np.clip(known * 4, 0, 1)[..., None]
        filled = filled + (own - filled) * trust
    return filled + (picture - filled) * weight[..., None]


def distance_to(mask: np.ndarray) -> np.ndarray:
    """[H, W] pixels to the nearest pixel of the mask, far where it is empty."""
    if not mask.any():
        return np.full(mask.shape, 1e4, np.float32)
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)


def smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 up to `low`, 1 from `high`, smooth between; `high` may be the lower one."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
