"""Who is the person and what is behind: a soft mask, the person's own colours, and a background without the person."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ...fit import segment_person
from .inpaint import continue_beyond
from .pyramid import push_pull, smoothstep

# our choices, as shares of the picture's shorter side
BAND_INSIDE, BAND_OUTSIDE = 0.012, 0.024  # around the outline, where hair and background mix
SURE_MARGIN, MAYBE_MARGIN = 0.03, 0.04  # how far GrabCut may move the network's outline in and out
BACKGROUND_MARGIN = 0.014  # background this near to the person is not believed
DETAIL_REACH = 0.12  # how far the background's structure continues behind the person
GRABCUT_SIDE, GRABCUT_ROUNDS = 256, 3  # pixels; colour models need no more
RIM = (0.003, 0.010)  # inside the outline: all rim up to the first, none from the second
COLOUR_NOISE = 0.09  # colour difference at which a mixture can be told, 0..1
FACE_MISSED = 0.5  # share of the head in the network's mask below which the mask is not believed


@dataclass(frozen=True)
class Matte:
    """The photo taken apart: photo = alpha · person + (1 - alpha) · background, as nearly as 0..1 allows."""

    alpha: np.ndarray  # [H, W] float32 0..1
    person: np.ndarray  # [H, W, 3] the person's colours, continued beyond the outline
    background: np.ndarray  # [H, W, 3] the photo's own pixels far from the person, filled behind
    layer: np.ndarray  # [H, W, 4] person and alpha together
    inner: np.ndarray  # [H, W] 0..1 the person without the rim, whose colours may hold some background


def separate(
    photo: np.ndarray,  # [H, W, 3] float32 0..1
    head: np.ndarray,  # [H, W] bool, where the mesh of head and neck is
    mask: np.ndarray | None,  # [H, W] the user's own person mask
) -> Matte:
    """Person and background of a photo."""
    side = min(photo.shape[:2])
    core = erode(head, 0.03 * side)
    if mask is None:
        outlined = outline(photo, person_probability(photo, core), core)
        alpha = matte_band(photo, outlined, BAND_INSIDE * side, BAND_OUTSIDE * side)
        alpha = np.maximum(alpha, cv2.blur(core.astype(np.float32), (5, 5)) * core)
    else:
        alpha = np.clip(mask, 0, 1).astype(np.float32)
    background = without_person(photo, alpha, BACKGROUND_MARGIN * side, DETAIL_REACH * side)
    inside = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    inner = smoothstep(inside, RIM[0] * side, RIM[1] * side).astype(np.float32)
    person = person_colours(photo, alpha, background)
    return Matte(alpha, person, background, np.dstack([person, alpha]), inner)


def without_person(photo: np.ndarray, alpha: np.ndarray, margin: float, reach: float) -> np.ndarray:
    """[H, W, 3] the photo where no person is, blending over `margin` pixels into what is filled in behind."""
    distance = cv2.distanceTransform((alpha <= 0.02).astype(np.uint8), cv2.DIST_L2, 5)
    behind = continue_beyond(photo, distance > margin, reach)
    return behind + (photo - behind) * smoothstep(distance, 0.3 * margin, margin)[..., None]


def person_probability(photo: np.ndarray, core: np.ndarray) -> np.ndarray:
    """[H, W] 0..1 of the shipped network; where it misses the face, a box around head and shoulders."""
    seen = segment_person(torch.from_numpy(photo)[None])[0].numpy()
    if core.any() and seen[core].mean() < FACE_MISSED:
        return box_around(core)
    return seen.astype(np.float32)


def box_around(core: np.ndarray) -> np.ndarray:
    """[H, W] undecided 0.5 around the head and below it, 0 elsewhere: for GrabCut alone."""
    rows, columns = np.nonzero(core)
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    width, height = right - left, bottom - top
    box = np.zeros(core.shape, np.float32)
    box[max(0, int(top - 0.25 * height)) :, max(0, int(left - 0.35 * width)) : int(right + 0.35 * width)] = 0.5
    box[int(bottom) :] = 0.5
    return box


def outline(photo: np.ndarray, probability: np.ndarray, core: np.ndarray) -> np.ndarray:
    """[H, W] bool: the network's coarse outline, moved to the photo's edges by GrabCut (Rother et al. 2004)."""
    height, width = photo.shape[:2]
    scale = GRABCUT_SIDE / min(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    p = cv2.resize(probability, size, interpolation=cv2.INTER_AREA)
    sure = erode(p > 0.9, SURE_MARGIN * GRABCUT_SIDE) | (cv2.resize(core.astype(np.float32), size) > 0.5)
    labels = np.full(p.shape, cv2.GC_PR_BGD, np.uint8)
    labels[p > 0.35] = cv2.GC_PR_FGD
    labels[~dilate(p > 0.02, MAYBE_MARGIN * GRABCUT_SIDE)] = cv2.GC_BGD
    labels[sure] = cv2.GC_FGD
    if np.isin(labels, (cv2.GC_BGD, cv2.GC_PR_BGD)).any() and sure.any():
        cv2.setRNGSeed(0)  # its colour clusters start at random
        lab = cv2.cvtColor((np.clip(small, 0, 1) * 255).astype(np.uint8), cv2.COLOR_RGB2LAB)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(lab, labels, None, *models, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    found = connected_to(found, sure)
    found = cv2.resize(found.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(found, (0, 0), 0.5 / scale) > 0.5


def connected_to(mask: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """The parts of the mask that hang together with the seed, without small holes."""
    _, label = cv2.connectedComponents(mask.astype(np.uint8))
    kept = np.isin(label, np.unique(label[seed & mask])) & mask
    _, holes, sizes, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8))
    small = np.flatnonzero(sizes[:, cv2.CC_STAT_AREA] < 0.002 * mask.size)
    return kept | (np.isin(holes, small) & ~kept)


def matte_band(photo: np.ndarray, person: np.ndarray, inner: float, outer: float) -> np.ndarray:
    """[H, W] alpha: 1 and 0 away from the outline; in the band, where the pixel lies between the colours beside it.

    The band reaches further out than in: a wisp of hair that stays behind as background is seen, a little background
    that moves with the hair is not.
    """
    inside, outside = erode(person, inner), ~dilate(person, outer)
    hard = person.astype(np.float32)
    prior = cv2.GaussianBlur(hard, (0, 0), max(inner / 2, 0.5))
    if not inside.any() or not outside.any():
        return prior
    front, behind = push_pull(photo, inside.astype(np.float32)), push_pull(photo, outside.astype(np.float32))
    difference = front - behind
    squared = (difference**2).sum(-1)
    mixture = np.clip(((photo - behind) * difference).sum(-1) / (squared + 1e-6), 0, 1)
    trust = squared / (squared + COLOUR_NOISE**2)
    alpha = prior + (mixture - prior) * trust
    # far from the outline the mixture may only weaken: a dark spot in the wall is no hair
    beyond = cv2.distanceTransform((~person).astype(np.uint8), cv2.DIST_L2, 5)
    within = cv2.distanceTransform(person.astype(np.uint8), cv2.DIST_L2, 5)
    alpha = np.minimum(alpha, smoothstep(beyond, outer, 0.4 * outer))
    alpha = np.maximum(alpha, smoothstep(within, 0.3 * inner, inner))
    alpha = guided_filter(alpha, photo.mean(-1), max(2, round(inner / 2)), 1e-4)
    return np.where(inside, 1, np.where(outside, 0, smoothstep(alpha, 0.06, 0.96))).astype(np.float32)


def person_colours(photo: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """[H, W, 3] what the person's pixels would be without the background shining through, continued outwards."""
    unmixed = background + (photo - background) / np.maximum(alpha, 0.05)[..., None]
    spread = push_pull(photo, smoothstep(alpha, 0.9, 1.0))
    # a faint pixel says little about its own colour
    trust = smoothstep(alpha, 0.1, 0.6)[..., None]
    mixed = spread + (np.clip(unmixed, 0, 1) - spread) * trust
    return np.where(alpha[..., None] >= 1, photo, mixed).astype(np.float32)


def guided_filter(values: np.ndarray, guide: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """`values` smoothed along the edges of `guide` (He et al. 2010)."""
    size = (2 * radius + 1, 2 * radius + 1)
    mean_v, mean_g = cv2.blur(values, size), cv2.blur(guide, size)
    slope = (cv2.blur(values * guide, size) - mean_v * mean_g) / (cv2.blur(guide * guide, size) - mean_g**2 + epsilon)
    return cv2.blur(slope, size) * guide + cv2.blur(mean_v - slope * mean_g, size)


def erode(mask: np.ndarray, pixels: float) -> np.ndarray:
    """Without what lies nearer than `pixels` to the outside; the picture's edge is no outside."""
    if mask.all():
        return mask
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5) > pixels


def dilate(mask: np.ndarray, pixels: float) -> np.ndarray:
    """With everything nearer than `pixels`."""
    return ~erode(~mask, pixels) if mask.any() else mask
