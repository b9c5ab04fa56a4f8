"""A sheet of labelled pictures: what each step made, side by side at several moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["contact_sheet", "overlay"]

PAPER, INK, FAINT = (22, 24, 29), (236, 236, 232), (150, 154, 162)  # RGB bytes
TILE, GAP, MARGIN, CAPTION, HEADER = 272, 8, 28, 34, 74  # pixels


def contact_sheet(
    title: str,
    subtitle: str,
    still: Mapping[str, Tensor],  # caption: [H, W, 3], the column on the left
    moments: Sequence[str],  # M captions, one over each column
    moving: Mapping[str, Tensor],  # caption: [M, H, W, 3], one row each
) -> Tensor:
    """[H, W, 3] in 0..1: still pictures in a column, and a row of M moments for each step."""
    rows, columns = max(len(still), len(moving)), len(moments)
    step_down, step_right = TILE + CAPTION + GAP, TILE + GAP
    first_column = MARGIN + TILE + 4 * GAP
    height = HEADER + CAPTION + rows * step_down + MARGIN
    sheet = np.full((height, first_column + columns * step_right - GAP + MARGIN, 3), PAPER, np.uint8)

    _write(sheet, title, MARGIN, 44, 0.95, INK)
    _write(sheet, subtitle, MARGIN, 70, 0.52, FAINT)
    top = HEADER + CAPTION
    for column, moment in enumerate(moments):
        _write(sheet, moment, first_column + column * step_right, top - 10, 0.52, INK)
    for row, (caption, picture) in enumerate(still.items()):
        _place(sheet, picture, top + row * step_down, MARGIN)
        _write(sheet, caption, MARGIN, top + row * step_down + TILE + 20, 0.52, FAINT)
    for row, (caption, pictures) in enumerate(moving.items()):
        for column, picture in enumerate(pictures):
            _place(sheet, picture, top + row * step_down, first_column + column * step_right)
        _write(sheet, caption, first_column, top + row * step_down + TILE + 20, 0.52, FAINT)
    return torch.from_numpy(sheet).float() / 255


def overlay(
    picture: Tensor,  # [H, W, 3]
    normals: Tensor,  # [H, W, 3] encoded
    mask: Tensor,  # [H, W]
    strength: float = 0.6,
) -> Tensor:
    """The head drawn over the picture [H, W, 3], see-through, its outline traced: does the fit lie on the face?"""
    inside = (mask > 0.5).to(torch.uint8).cpu().numpy()
    outline = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).astype(bool)
    drawn = torch.lerp(picture, normals, strength * mask[..., None])
    drawn[torch.from_numpy(outline).to(drawn.device)] = 1.0
    return drawn


def _place(sheet: np.ndarray, picture: Tensor, top: int, left: int) -> None:
    """Draw the picture into a square tile, whole and in its own proportions."""
    height, width = (max(1, round(TILE * side / max(picture.shape[:2]))) for side in picture.shape[:2])
    size = {"size": (height, width), "mode": "bilinear", "align_corners": False}
    channels_first = picture.detach().cpu().float().permute(2, 0, 1)[None]
    shrinks = max(picture.shape[:2]) > TILE
    small = F.interpolate(channels_first, **size, antialias=shrinks)[0].permute(1, 2, 0)
    top, left = top + (TILE - height) // 2, left + (TILE - width) // 2
    sheet[top : top + height, left : left + width] = small.clamp(0, 1).mul(255).round().to(torch.uint8).numpy()


def _write(sheet: np.ndarray, text: str, left: int, baseline: int, scale: float, colour: tuple[int, int, int]) -> None:
    cv2.putText(sheet, text, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
