"""Filling holes in pictures from what surrounds them: colours from a pyramid, structure by reflection at the border."""

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


def continue_beyond(
    picture: np.ndarray,  # [H, W, 3] float32
    known: np.ndarray,  # [H, W] bool
    reach: float,  # pixels over which structure fades into smooth colour
) -> np.ndarray:  # [H, W, 3]
    """The picture with its unknown part filled: colours smoothly, grain and texture mirrored at the hole's border."""
    if known.all() or not known.any():
        return picture.copy()
    weight = known.astype(np.float32)
    smooth = push_pull(picture, weight)
    width = max(reach / 4, 1.0)
    blurred = cv2.GaussianBlur(smooth, (0, 0), width)
    detail = (picture - blurred) * weight[..., None]

    distance, label = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(known)
    nearest = np.zeros((2, len(rows) + 1), np.float32)
    nearest[:, label[rows, columns]] = rows, columns
    row, column = np.mgrid[: known.shape[0], : known.shape[1]].astype(np.float32)
    mirrored_row, mirrored_column = 2 * nearest[0][label] - row, 2 * nearest[1][label] - column
    sample = {"interpolation": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REFLECT_101}
    mirrored = cv2.remap(np.dstack([detail, weight]), mirrored_column, mirrored_row, **sample)
    strength = (1 - np.clip(distance / reach, 0, 1)) * mirrored[..., 3]
    # neighbouring pixels may reflect at different places; a light blur hides these seams deeper inside
    filled = cv2.GaussianBlur(blurred, (0, 0), 1.0) + mirrored[..., :3] * strength[..., None]
    return np.where(known[..., None], picture, filled).astype(np.float32)


def smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 up to `low`, 1 from `high`, smooth between; `high` may be the lower one."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
