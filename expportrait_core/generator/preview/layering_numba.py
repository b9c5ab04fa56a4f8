"""What `layering` does with whole pictures, pixel by pixel in one pass, compiled. The formulas are explained there."""

from __future__ import annotations

import numpy as np

from ...render.compiled import compiled

ZERO, ONE, TWO, THREE = np.float32(0), np.float32(1), np.float32(2), np.float32(3)
LEAST = np.float32(1e-3)


@compiled
def step(value: np.float32, low: np.float32, high: np.float32) -> np.float32:
    """`smoothstep`"""
    t = min(max((value - low) / (high - low), ZERO), ONE)
    return t * t * (THREE - TWO * t)


@compiled
def trust_pixels(
    steep: np.ndarray,  # [h, w]
    behind: np.ndarray,  # [h, w]
    rims: np.ndarray,  # [h, w, 4]
    changed: np.ndarray,  # [3] float32
    limits: np.ndarray,  # [3, 2] float32
    use: np.ndarray,  # [h, w], written
    shown: np.ndarray,  # [h, w], written
) -> None:
    for row in range(steep.shape[0]):
        for column in range(steep.shape[1]):
            unturned = step(steep[row, column], limits[0, 0], limits[0, 1])
            visible = step(behind[row, column], limits[2, 0], limits[2, 1])
            inner = rims[row, column, 0]
            moved = ZERO
            for k in range(3):
                moved += rims[row, column, 1 + k] * changed[k]
            value = visible * step(steep[row, column], limits[1, 0], limits[1, 1])
            value *= (inner + (ONE - inner) * unturned) * (ONE - min(max(moved, ZERO), ONE))
            use[row, column] = value
            shown[row, column] = unturned * visible


@compiled
def mix_pixels(
    photo: np.ndarray,  # [h, w, 4]
    fill: np.ndarray,  # [h, w, 4]
    use: np.ndarray,  # [h, w], the guess's share written over it
    around: np.ndarray,  # [h, w]
    known: np.ndarray,  # [h, w]
    shown: np.ndarray,  # [h, w]
    shade: np.ndarray,  # [h, w]
    layer: np.ndarray,  # [h, w, 4], written
) -> None:
    for row in range(use.shape[0]):
        for column in range(use.shape[1]):
            share = min(use[row, column], around[row, column] / max(known[row, column], LEAST))
            for k in range(3):
                colour = fill[row, column, k] + (photo[row, column, k] - fill[row, column, k]) * share
                layer[row, column, k] = min(max(colour * shade[row, column], ZERO), ONE)
            alpha = fill[row, column, 3] + (photo[row, column, 3] - fill[row, column, 3]) * shown[row, column]
            layer[row, column, 3] = min(max(alpha, ZERO), ONE)
            use[row, column] = ONE - share


@compiled
def order_pixels(
    skin: np.ndarray,  # [h, w, 4]
    sheet: np.ndarray,  # [h, w, 4]
    skin_depth: np.ndarray,  # [h, w]
    sheet_depth: np.ndarray,  # [h, w]
    coverage: np.ndarray,  # [h, w]
    guessed: np.ndarray,  # [h, w]
    thick: np.ndarray,  # [h, w]
    lengths: np.ndarray,  # [3] float32 metres: IN_FRONT, RIM_BEHIND, GUESS_BEHIND
    colour: np.ndarray,  # [h, w, 3], written
    alpha: np.ndarray,  # [h, w], written
) -> None:
    for row in range(coverage.shape[0]):
        for column in range(coverage.shape[1]):
            solid = thick[row, column]
            depth = sheet_depth[row, column] + lengths[1] * (ONE - solid)
            depth -= lengths[2] * guessed[row, column] * solid
            in_front = step(depth - skin_depth[row, column], -lengths[0], lengths[0])
            skin_alpha, sheet_alpha = skin[row, column, 3] * coverage[row, column], sheet[row, column, 3]
            dense = max(skin_alpha, sheet_alpha)
            behind = dense - sheet_alpha
            share = behind + (skin_alpha - behind) * in_front
            for k in range(3):
                colour[row, column, k] = skin[row, column, k] * share + sheet[row, column, k] * (dense - share)
            alpha[row, column] = dense


@compiled
def lay_pixels(
    colour: np.ndarray,  # [H, W, 3]
    alpha: np.ndarray,  # [H, W]
    back: np.ndarray,  # [H, W, 2]
    still: np.ndarray,  # [H, W, 3]
    filled: np.ndarray,  # [H, W, 3]
    low: np.float32,
    high: np.float32,
    picture: np.ndarray,  # [H, W, 3], written
) -> None:
    for row in range(alpha.shape[0]):
        for column in range(alpha.shape[1]):
            x, y, rest = back[row, column, 0], back[row, column, 1], ONE - alpha[row, column]
            moved = step(np.sqrt(x * x + y * y), low, high)
            for k in range(3):
                behind = still[row, column, k] + (filled[row, column, k] - still[row, column, k]) * moved
                value = colour[row, column, k] + behind * rest
                picture[row, column, k] = min(max(value, ZERO), ONE)
