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
SIDES = (24, 48, 96, 128)  # pixels of the sizes that are filled one after the other
RADIUS = 2  # of a patch
ROUNDS, SEARCHES = 3, 3  # of voting, and of looking in each
SPREAD = ((0, 1), (1, 0), (0, -1), (-1, 0), (0, 4), (4, 0), (0, -4), (-4, 0))  # neighbours whose finds are tried
FAR = 0.2  # what a piece from the other end of the picture costs, in squared colours
TONE = 0.10  # of the picture's side over which the colours at the hole's border give way to those of the pieces
PULL = 0.3  # cost of a piece of another colour than the border makes expect: walls stay dark where they are in shade
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
    guess, offsets = smooth, None
    for side in SIDES:
        scale = min(1.0, side / min(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small_known = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.999
        small, guess = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (picture, guess))
        small = np.where(small_known[..., None], small, guess)
        source = cv2.erode(small_known.astype(np.uint8), np.ones((2 * RADIUS + 1,) * 2), borderValue=0) > 0
        depth = cv2.distanceTransform((~small_known).astype(np.uint8), cv2.DIST_L2, 5)
        hole = (depth > 0) & (depth <= reach * scale + RADIUS)
        if source.sum() < 32 or not hole.any():
            continue
        expected = cv2.resize(smooth, size, interpolation=cv2.INTER_AREA)
        offsets, guess = search(small.astype(np.float32), expected, source, hole, depth, offsets)
    if offsets is None:
        return np.where(known[..., None], picture, smooth)
    copied, there = copy_pieces(picture, smooth, offsets)
    inside = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 5)
    copied = copied + tone_difference(picture, copied, there, known, inside)
    filled = smooth + (copied - smooth) * smoothstep(inside, reach, 0.6 * reach)[..., None]
    return np.where(known[..., None], picture, filled).astype(np.float32)


def tone_difference(
    picture: np.ndarray, copied: np.ndarray, there: np.ndarray, known: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """[H, W, 3] what brings the pieces to the colours at the hole's border, less and less further inside: they were
    copied a little beyond it (`there`), where the picture tells by how much they are wrong."""
    width = TONE * min(known.shape)
    ring = there & known
    # averaged along the border, or one odd pixel would draw a streak
    weight = cv2.GaussianBlur(ring.astype(np.float32), (0, 0), 0.2 * width)
    wrong = cv2.GaussianBlur((picture - copied) * ring[..., None], (0, 0), 0.2 * width)
    wrong /= np.maximum(weight, 1e-3)[..., None]
    return push_pull(wrong, np.where(ring, 1.0, 0.0).astype(np.float32)) * np.exp(-inside / width)[..., None]


def search(
    small: np.ndarray,  # [h, w, 3] with a first guess in the hole
    expected: np.ndarray,  # [h, w, 3] what the border makes expect in the hole
    source: np.ndarray,  # [h, w] bool, patches that may be copied
    hole: np.ndarray,  # [h, w] bool
    depth: np.ndarray,  # [h, w] pixels to the hole's border
    coarser: np.ndarray | None,  # [h', w', 2] what was found at a smaller size
) -> tuple[np.ndarray, np.ndarray]:
    """For every pixel of the hole the way (rows, columns) to the piece that continues it [h, w, 2], 0 elsewhere; and
    the filled picture [h, w, 3]."""
    random = np.random.default_rng(0)
    height, width = hole.shape
    row, column = np.nonzero(hole)
    number = np.full(hole.shape, -1)
    number[row, column] = np.arange(len(row))
    sources = np.argwhere(source)
    pieces, current = patches(small), small.copy()
    certain = patches(np.exp(-depth / FADE)[..., None])[row, column]  # [n, k]
    certain /= certain.sum(1, keepdims=True)
    mean = cv2.blur(small, (2 * RADIUS + 1,) * 2)
    nearest = nearest_source(source)
    found = nearest[row, column]
    if coarser is not None:
        grown = np.array([height, width]) / coarser.shape[:2]
        way = coarser[tuple((np.stack([row, column]) / grown[:, None]).astype(int))] * grown
        at = np.clip(np.round(np.stack([row, column], 1) + way).astype(int), 0, (height - 1, width - 1))
        found = nearest[at[:, 0], at[:, 1]]
    for turn in range(ROUNDS):
        wanted = patches(current)[row, column]

        def cost(at: np.ndarray, wanted: np.ndarray = wanted) -> np.ndarray:
            there = pieces[at[:, 0], at[:, 1]]
            colour = (((there - wanted) ** 2).sum(-1) * certain).sum(1)
            colour += PULL * ((mean[at[:, 0], at[:, 1]] - expected[row, column]) ** 2).sum(-1)
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
    return offsets, current


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


def copy_pieces(picture: np.ndarray, smooth: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pieces at the picture's own size [H, W, 3], each pixel the mean of those that lie around it, and where there
    are any [H, W]: in the hole and a little around it."""
    (height, width), (rows, columns) = picture.shape[:2], offsets.shape[:2]
    scale = np.array([height / rows, width / columns], np.float32)
    row, column = np.mgrid[:height, :width].astype(np.float32)
    small_row, small_column = (row + 0.5) / scale[0] - 0.5, (column + 0.5) / scale[1] - 0.5
    total, weights = np.zeros_like(picture), np.zeros(picture.shape[:2], np.float32)
    for r in (-1, 0, 1):
        for c in (-1, 0, 1):
            at_row = np.clip(np.round(small_row) + r, 0, rows - 1)
            at_column = np.clip(np.round(small_column) + c, 0, columns - 1)
            offset = offsets[at_row.astype(int), at_column.astype(int)]
            # close to the middle of its coarse pixel a piece counts more
            weight = np.exp(-1.2 * ((small_row - at_row) ** 2 + (small_column - at_column) ** 2))
            weight = weight * (offset != 0).any(-1)
            piece = cv2.remap(
                picture, column + offset[..., 1] * scale[1], row + offset[..., 0] * scale[0], cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT_101,
            )  # fmt: skip
            total += piece * weight[..., None]
            weights += weight
    there = weights > 1e-3
    return np.where(there[..., None], total / np.maximum(weights, 1e-3)[..., None], smooth), there
