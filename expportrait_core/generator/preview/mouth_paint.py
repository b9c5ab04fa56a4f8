"""Painting teeth and tongue. All lengths are millimetres of an adult's mouth; all sizes are our choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from .pyramid import smoothstep

TOOTH, GUM, TONGUE = (0.90, 0.85, 0.77), (0.62, 0.33, 0.31), (0.62, 0.32, 0.31)
ARCH = 26.0  # half width of the dental arch
SOFT = 0.35  # of edges
GAP = 0.13  # how much darker it is between two teeth
# width and height of each tooth, from the middle
UPPER_SIZES = ((8.4, 10.2), (6.6, 8.8), (7.6, 9.8), (6.9, 8.2), (6.6, 7.6), (10.0, 7.0))
LOWER_SIZES = ((5.3, 8.6), (5.8, 8.8), (6.8, 9.6), (6.9, 8.2), (7.0, 7.6), (10.0, 7.0))


@dataclass(frozen=True)
class Paint:
    """A row of teeth: sizes, and the curve of its cutting edge y = edge[0] + edge[1]·x² in millimetres."""

    sizes: tuple[tuple[float, float], ...]
    edge: tuple[float, float]
    up: int  # 1: the gums are above, -1: below

    TEXEL: ClassVar[float] = 0.25
    HALF_WIDTH: ClassVar[float] = 30.0  # of the plate around the line between the lips
    UP: ClassVar[float] = 18.0
    DOWN: ClassVar[float] = 26.0

    @staticmethod
    def upper(edge: tuple[float, float] | None = None) -> Paint:
        return Paint(UPPER_SIZES, edge or (-3.0, 0.005), 1)

    @staticmethod
    def lower() -> Paint:
        return Paint(LOWER_SIZES, (1.4, 0.004), -1)

    @staticmethod
    def shape() -> tuple[int, int]:
        """Rows and columns of texels."""
        return round((Paint.UP + Paint.DOWN) / Paint.TEXEL), round(2 * Paint.HALF_WIDTH / Paint.TEXEL)

    @staticmethod
    def grid() -> tuple[np.ndarray, np.ndarray]:
        """x and y in millimetres at every texel."""
        rows, columns = Paint.shape()
        x = (np.arange(columns) + 0.5) * Paint.TEXEL - Paint.HALF_WIDTH
        y = Paint.UP - (np.arange(rows) + 0.5) * Paint.TEXEL
        return np.meshgrid(x.astype(np.float32), y.astype(np.float32))


def paint_row(row: Paint, light: np.ndarray, colour: np.ndarray | None) -> np.ndarray:
    """[h, w, 4] a row of teeth with its gums; `colour` is that of the photo's teeth if it shows any."""
    x, y = Paint.grid()
    along = ARCH * np.arcsin(np.clip(np.abs(x) / ARCH, 0, 0.999))  # length on the arch
    ends = np.cumsum([width for width, _ in row.sizes])
    number = np.minimum(np.searchsorted(ends, along), len(ends) - 1)
    width, height = (np.array(v, np.float32)[number] for v in zip(*row.sizes, strict=True))
    across = 2 * (ends[number] - along) / width - 1  # -1..1 over each tooth
    outward = row.up * (y - row.edge[0] - row.edge[1] * x**2)  # from the cutting edge to the gums
    body = smoothstep(outward - 0.8 * across**4, -SOFT, SOFT)
    gum = smoothstep(outward - height * (1 - 0.14 * across**2), -SOFT, SOFT)
    facing = np.sqrt(np.clip(1 - (x / ARCH) ** 2, 0, 1))

    tooth = np.array(TOOTH, np.float32) * light if colour is None else colour
    shade = (1 - 0.10 * across**2) * (1 - GAP * smoothstep(np.abs(across), 0.75, 1.0))
    shade = shade * (0.90 + 0.10 * smoothstep(outward, 0, 3))
    painted = tooth * shade[..., None]
    painted = painted + (np.array(GUM, np.float32) * light - painted) * gum[..., None]
    painted = painted * (0.25 + 0.75 * facing**1.2)[..., None]
    alpha = body * smoothstep(outward, 15, 12) * smoothstep(np.abs(x), ARCH, ARCH - 2)
    return np.dstack([np.clip(painted, 0, 1), alpha]).astype(np.float32)


def paint_tongue(light: np.ndarray) -> np.ndarray:
    """[h, w, 4] the tongue at rest behind the lower teeth."""
    x, y = Paint.grid()
    distance = np.sqrt((x / 19) ** 2 + ((y + 6) / 11.5) ** 2)
    crease = 1 - 0.18 * np.exp(-0.5 * (x / 1.2) ** 2) * smoothstep(y, -4, -12)
    shade = (0.92 - 0.50 * distance**2) * crease
    painted = np.array(TONGUE, np.float32) * light * np.clip(shade, 0.3, 1)[..., None]
    return np.dstack([painted, smoothstep(distance, 1.10, 0.70)]).astype(np.float32)


def tooth_edge(upper: np.ndarray, to_photo: np.ndarray) -> tuple[float, float] | None:
    """The cutting edge (see Paint) of the upper teeth that a photo shows, None where it shows too few.

    `upper` is [H, W] 0..1, `to_photo` leads from texels to its pixels.
    """
    there = upper > 0.5
    columns = np.flatnonzero(there.sum(0) >= 2)
    if len(columns) < 8:
        return None
    bottom = there.shape[0] - there[::-1].argmax(0)[columns]
    pixels = np.stack([columns + 0.5, bottom], 1).astype(np.float64)[None]
    texels = cv2.perspectiveTransform(pixels, np.linalg.inv(to_photo))[0]
    x, y = texels[:, 0] * Paint.TEXEL - Paint.HALF_WIDTH, Paint.UP - texels[:, 1] * Paint.TEXEL
    middle = np.abs(x) < 16
    if middle.sum() < 8:
        return None
    weight = np.ones(middle.sum())
    for _ in range(3):  # robust: a column that ends in a gap is no edge
        basis = np.stack([np.ones(middle.sum()), x[middle] ** 2], 1)
        solution = np.linalg.lstsq(basis * weight[:, None], y[middle] * weight, rcond=None)[0]
        weight = 1 / (1 + np.abs(basis @ solution - y[middle]))
    return float(solution[0]), float(np.clip(solution[1], -0.02, 0.03))
