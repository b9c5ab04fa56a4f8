"""How the layers of a frame become one picture: skin out of photo and guess, mesh and sheet in their order, the person
over the background. Each step is written twice: plainly, and for the compiled loop that does it in one pass, which the
tests hold to the plain one.
"""

from __future__ import annotations

import numpy as np

from ...render.compiled import can_compile
from .layering_numba import lay_pixels, mix_pixels, order_pixels, trust_pixels
from .pyramid import smoothstep

# our choices
STRETCH = (0.08, 0.40)  # pixels of the photo for each of the frame: below the first only a guess, from the second none
UNTURNED = (0.70, 0.97)  # the same share, from which the photo's own outline counts
IN_FRONT = 0.008  # metres over which mesh and sheet blend where they meet
GUESS_BEHIND = 0.03  # metres that a guessed surface yields to hair beside it
RIM_BEHIND = 0.03  # metres that the mere rim of the face yields to the mesh
LEAST_KNOWN = 1e-3  # weight that counts as nothing


def trusted(
    steep: np.ndarray,  # [h, w] pixels of the photo for each of the frame
    behind: np.ndarray,  # [h, w] metres behind the photo's surface
    rims: np.ndarray,  # [h, w, 4] see Portrait.rim_maps
    changed: np.ndarray,  # [3] 0..1 how much eyes and lips are no longer the photo's
    seen_depth: tuple[float, float],  # metres behind the surface: seen up to the first, hidden from the second
) -> tuple[np.ndarray, np.ndarray]:
    """How far the photo tells the skin's colour [h, w], and its outline [h, w]."""
    limits = (UNTURNED, STRETCH, seen_depth[::-1])
    if not can_compile():
        return trusted_plainly(steep, behind, rims, changed, limits)
    use, shown = np.empty_like(steep), np.empty_like(steep)
    trust_pixels(steep, behind, rims, changed.astype(np.float32), np.array(limits, np.float32), use, shown)
    return use, shown


def trusted_plainly(
    steep: np.ndarray, behind: np.ndarray, rims: np.ndarray, changed: np.ndarray, limits: tuple
) -> tuple[np.ndarray, np.ndarray]:
    unturned, visible = smoothstep(steep, *limits[0]), smoothstep(behind, *limits[2])
    use = visible * smoothstep(steep, *limits[1])
    use *= (rims[..., 0] + (1 - rims[..., 0]) * unturned) * (1 - np.clip(rims[..., 1:] @ changed, 0, 1))
    return use, unturned * visible


def mixed(
    photo: np.ndarray,  # [h, w, 4] colour and alpha where the skin is in the photo
    fill: np.ndarray,  # [h, w, 4] the guess
    use: np.ndarray,  # [h, w] how far the photo is used
    around: np.ndarray,  # [h, w] the same times what is known, averaged around each pixel
    known: np.ndarray,  # [h, w] what is known, averaged
    shown: np.ndarray,  # [h, w] how far the photo's alpha is used
    shade: np.ndarray,  # [h, w] factor
) -> tuple[np.ndarray, np.ndarray]:
    """Colour and alpha of the skin [h, w, 4], and how far it is a guess [h, w]: softened towards the guess, but showing
    nothing of what is not seen."""
    if not can_compile():
        return mixed_plainly(photo, fill, use, around, known, shown, shade)
    layer, guessed = np.empty_like(photo), use.copy()
    mix_pixels(photo, fill, guessed, around, known, shown, shade, layer)
    return layer, guessed


def mixed_plainly(
    photo: np.ndarray, fill: np.ndarray, use: np.ndarray, around: np.ndarray, known: np.ndarray, shown: np.ndarray,
    shade: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    use = np.minimum(use, around / np.maximum(known, LEAST_KNOWN))
    layer = fill + (photo - fill) * use[..., None]
    layer[..., :3] *= shade[..., None]
    layer[..., 3] = fill[..., 3] + (photo[..., 3] - fill[..., 3]) * shown
    return np.clip(layer, 0, 1), 1 - use


def in_order(
    skin: np.ndarray,  # [h, w, 4]
    sheet: np.ndarray,  # [h, w, 4]
    skin_depth: np.ndarray,  # [h, w]
    sheet_depth: np.ndarray,  # [h, w]
    coverage: np.ndarray,  # [h, w] of the mesh, soft at its edges
    guessed: np.ndarray,  # [h, w]
    thick: np.ndarray,  # [h, w]
) -> tuple[np.ndarray, np.ndarray]:
    """Mesh and sheet, the nearer one in front: colour times alpha [h, w, 3], and alpha [h, w].

    Both show the same person, so that their alphas do not add up: the whole is as dense as the denser one.
    """
    if not can_compile():
        return in_order_plainly(skin, sheet, skin_depth, sheet_depth, coverage, guessed, thick)
    colour, alpha = np.empty((*coverage.shape, 3), np.float32), np.empty(coverage.shape, np.float32)
    lengths = np.array([IN_FRONT, RIM_BEHIND, GUESS_BEHIND], np.float32)
    order_pixels(skin, sheet, skin_depth, sheet_depth, coverage, guessed, thick, lengths, colour, alpha)
    return colour, alpha


def in_order_plainly(
    skin: np.ndarray, sheet: np.ndarray, skin_depth: np.ndarray, sheet_depth: np.ndarray, coverage: np.ndarray,
    guessed: np.ndarray, thick: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    sheet_depth = sheet_depth + RIM_BEHIND * (1 - thick) - GUESS_BEHIND * guessed * thick
    in_front = smoothstep(sheet_depth - skin_depth, -IN_FRONT, IN_FRONT)
    skin_alpha, sheet_alpha = skin[..., 3] * coverage, sheet[..., 3]
    alpha = np.maximum(skin_alpha, sheet_alpha)
    behind = alpha - sheet_alpha
    share = behind + (skin_alpha - behind) * in_front
    colour = skin[..., :3] * share[..., None] + sheet[..., :3] * (alpha - share)[..., None]
    return colour, alpha


def over_background(
    colour: np.ndarray,  # [H, W, 3] times alpha
    alpha: np.ndarray,  # [H, W]
    back: np.ndarray,  # [H, W, 2] pixels that the person's surroundings have moved
    still: np.ndarray,  # [H, W, 3] background where nothing moved
    filled: np.ndarray,  # [H, W, 3] background where something did
    moved: tuple[float, float],  # pixels
) -> np.ndarray:
    """[H, W, 3] in 0..1: the person over the background."""
    if not can_compile():
        return over_background_plainly(colour, alpha, back, still, filled, moved)
    picture = np.empty_like(colour)
    lay_pixels(colour, alpha, back, still, filled, *(np.float32(end) for end in moved), picture)
    return picture


def over_background_plainly(
    colour: np.ndarray, alpha: np.ndarray, back: np.ndarray, still: np.ndarray, filled: np.ndarray,
    moved: tuple[float, float],
) -> np.ndarray:  # fmt: skip
    share = smoothstep(np.hypot(back[..., 0], back[..., 1]), *moved)[..., None]
    behind = still + (filled - still) * share
    return np.clip(colour + behind * (1 - alpha)[..., None], 0, 1)
