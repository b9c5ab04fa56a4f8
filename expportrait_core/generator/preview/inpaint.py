"""Filling the background behind a person with pieces of the background, so that edges and texture go on.

A small PatchMatch (Barnes et al. 2009) in the manner of Wexler et al. 2007: at a coarse size every patch of the hole
looks for the most similar patch of the background, the patches vote for new colours, and that repeats; then the
pieces are copied at the photo's own size.
"""

from __future__ import annotations

import cv2
import numpy as np

from .pyramid import push_pull, smoothstep

# our choices
SIDE = 128  # pixels of the coarse size
RADIUS = 2  # of a patch
ROUNDS, SEARCHES = 4, 4  # of voting, and of looking in each
SPREAD = ((0, 1), (1, 0), (0, -1), (-1, 0), (0, 4), (4, 0), (0, -4), (-4, 0))  # neighbours whose finds are tried
FAR = 0.02  # what a piece from the other end of the picture costs, in squared colours
FADE = 4.0  # pixels into the hole over which guessed colours count less and less


def continue_beyond(
    picture: np.ndarray,  # [H, W, 3] float32
    known: np.ndarray,  # [H, W] bool
    reach: float,  # pixels behind the border that matter; further in, colours fade into each other
) -> np.ndarray:  # [H, W, 3]
    """The picture with its unknown part filled. The same picture always gives the same filling."""
    if known.all() or not known.any():
        return picture.copy()
    smooth = push_pull(picture, known.astype(np.float32))
    height, width = known.shape
    scale = min(1.0, SIDE / min(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small_known = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.999
    small = np.where(
        small_known[..., None],
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA),
        cv2.resize(smooth, size, interpolation=cv2.INTER_AREA),
    )
    source = cv2.erode(small_known.astype(np.uint8), np.ones((2 * RADIUS + 1,) * 2), borderValue=0) > 0
    depth = cv2.distanceTransform((~small_known).astype(np.uint8), cv2.DIST_L2, 5)
    hole = (depth > 0) & (depth <= reach * scale + RADIUS)
    if source.sum() < 64 or not hole.any():
        return np.where(known[..., None], picture, smooth)
    offsets = search(small.astype(np.float32), source, hole, depth)
    copied = copy_pieces(picture, smooth, known, offsets, size)
    inside = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 5)
    filled = smooth + (copied - smooth) * smoothstep(inside, reach, 0.6 * reach)[..., None]
    return np.where(known[..., None], picture, filled).astype(np.float32)


def search(small: np.ndarray, source: np.ndarray, hole: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """[h, w, 2] for every pixel of the hole the way (rows, columns) to the piece that continues it; 0 elsewhere."""
    random = np.random.default_rng(0)
    height, width = hole.shape
    row, column = np.nonzero(hole)
    number = np.full(hole.shape, -1)
    number[row, column] = np.arange(len(row))
    sources = np.argwhere(source)
    pieces, current = patches(small), small.copy()
    certain = patches(np.exp(-depth / FADE)[..., None])[row, column]  # [n, k]
    certain /= certain.sum(1, keepdims=True)
    found = nearest_source(source)[row, column]
    for turn in range(ROUNDS):
        wanted = patches(current)[row, column]

        def cost(at: np.ndarray, wanted: np.ndarray = wanted) -> np.ndarray:
            there = pieces[at[:, 0], at[:, 1]]
            colour = (((there - wanted) ** 2).sum(-1) * certain).sum(1)
            return colour + FAR * np.abs(at - np.stack([row, column], 1)).sum(1) / (height + width)

        best = cost(found)
        for step in range(SEARCHES):
            window = max(2, round(max(height, width) / 2 ** (step + turn + 1)))
            tries = [neighbours_finds(found, number, row, column, r, c) for r, c in SPREAD]
            tries += [found + random.integers(-window, window + 1, found.shape) for _ in range(3)]
            if turn == 0:
                tries.append(sources[random.integers(0, len(sources), len(row))])
            for at in tries:
                at = np.clip(at, 0, (height - 1, width - 1))
                usable = source[at[:, 0], at[:, 1]]
                new = np.where(usable, cost(at), np.inf)
                better = new < best
                found[better], best[better] = at[better], new[better]
        current = vote(small, current, found, best, row, column, hole)
    offsets = np.zeros((*hole.shape, 2), np.float32)
    offsets[row, column] = found - np.stack([row, column], 1)
    return offsets


def patches(picture: np.ndarray) -> np.ndarray:
    """[h, w, k, C] (or [h, w, k] of one channel) the patch around every pixel; edges repeat."""
    padded = np.pad(picture, ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * RADIUS + 1,) * 2, axis=(0, 1))
    flat = np.moveaxis(windows, 2, -1).reshape(*picture.shape[:2], -1, picture.shape[2])
    return flat[..., 0] if picture.shape[2] == 1 else flat


def nearest_source(source: np.ndarray) -> np.ndarray:
    """[h, w, 2] row and column of the nearest usable patch."""
    _, label = cv2.distanceTransformWithLabels(
        (~source).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    at = np.argwhere(source)
    table = np.zeros((len(at) + 1, 2), np.int64)
    table[label[at[:, 0], at[:, 1]]] = at
    return table[label]


def neighbours_finds(found: np.ndarray, number: np.ndarray, row: np.ndarray, column: np.ndarray, r: int, c: int):
    """[n, 2] what would continue each pixel as its neighbour at (r, c) is continued."""
    height, width = number.shape
    beside = number[np.clip(row + r, 0, height - 1), np.clip(column + c, 0, width - 1)]
    return np.where((beside >= 0)[:, None], found[beside] - np.array([r, c]), found)


def vote(small: np.ndarray, current: np.ndarray, found: np.ndarray, best: np.ndarray, row: np.ndarray,
         column: np.ndarray, hole: np.ndarray) -> np.ndarray:  # fmt: skip
    """The picture with every pixel of the hole the mean of what the patches around it found."""
    height, width = hole.shape
    total = np.zeros((height * width, 4))
    weight = np.exp(-best / max(2 * float(np.median(best)), 1e-6))
    for r in range(-RADIUS, RADIUS + 1):
        for c in range(-RADIUS, RADIUS + 1):
            y, x = row + r, column + c
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            place = y[inside] * width + x[inside]
            colour = small[np.clip(found[inside, 0] + r, 0, height - 1), np.clip(found[inside, 1] + c, 0, width - 1)]
            for channel in range(3):
                total[:, channel] += np.bincount(place, colour[:, channel] * weight[inside], height * width)
            total[:, 3] += np.bincount(place, weight[inside], height * width)
    mean = (total[:, :3] / np.maximum(total[:, 3:], 1e-9)).reshape(height, width, 3)
    return np.where(hole[..., None], mean, current).astype(np.float32)


def copy_pieces(
    picture: np.ndarray, smooth: np.ndarray, known: np.ndarray, offsets: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """[H, W, 3] the pieces at the picture's own size, each pixel the mean of those that lie around it."""
    height, width = known.shape
    scale = np.array([height / size[1], width / size[0]], np.float32)
    row, column = np.mgrid[:height, :width].astype(np.float32)
    small_row, small_column = (row + 0.5) / scale[0] - 0.5, (column + 0.5) / scale[1] - 0.5
    total, weights = np.zeros_like(picture), np.zeros(known.shape, np.float32)
    for r in (-1, 0, 1):
        for c in (-1, 0, 1):
            at_row = np.clip(np.round(small_row) + r, 0, size[1] - 1)
            at_column = np.clip(np.round(small_column) + c, 0, size[0] - 1)
            offset = offsets[at_row.astype(int), at_column.astype(int)]
            # close to the middle of its coarse pixel a piece counts more
            weight = np.exp(-1.2 * ((small_row - at_row) ** 2 + (small_column - at_column) ** 2))
            weight = weight * ((offset != 0).any(-1))
            piece = cv2.remap(
                picture, column + offset[..., 1] * scale[1], row + offset[..., 0] * scale[0], cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT_101,
            )  # fmt: skip
            total += piece * weight[..., None]
            weights += weight
    return np.where(weights[..., None] > 1e-3, total / np.maximum(weights, 1e-3)[..., None], smooth)
