"""One frame: the sheet, the mesh with the photo on it, eyes and mouth in its openings."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ...types import Camera
from .eyes import draw_eye
from .layering import in_order
from .layers import Seen, bounds, ramp, see_mesh, sheet_layer, skin_layer
from .mouth import MOVED, STILL, draw_mouth
from .portrait import Portrait
from .pyramid import smoothstep
from .skeleton import Moves, carry
from .surface import INSIDE, LEFT_EYE, RIGHT_EYE, SKIN

# our choices
WIDEST = 1.15  # lids open further than in the photo keep their correction up to this
COVERED = (0.15, 0.85)  # share of covered neighbours at which the mesh's edge begins and ends
CONTOUR_JUMP = 1.5  # pixels of the photo between neighbours that make a contour


@dataclass(frozen=True)
class Frame:
    """The person in one frame, to be laid over a background."""

    colour: np.ndarray  # [H, W, 3] times alpha
    alpha: np.ndarray  # [H, W]
    back: np.ndarray  # [H, W, 2] from each pixel to where the person's surroundings are in the photo


def draw_frame(
    portrait: Portrait,
    vertices: Tensor,  # [Vs, 3] world
    canonical: Moves,  # from the canonical pose to the frame's
    camera: Camera,  # one, of the frame
) -> Frame:
    """The person of the photo in the frame's pose."""
    moves = canonical.after(portrait.moves)
    vertices, lids = laid_on_photo(portrait, vertices, moves)
    anchors = portrait.sheet.anchors
    own = vertices[anchors] - carry(portrait.surface.vertices[anchors], portrait.weights[anchors], moves)
    back, sheet_depth = portrait.sheet.inverse_map(moves, own, camera)
    sheet, thick = sheet_layer(portrait, back)
    colour, alpha = sheet[..., :3] * sheet[..., 3:], sheet[..., 3].copy()

    seen = see_mesh(portrait, vertices, moves, lids, camera)
    if seen is not None:
        box, lips = seen.box, lip_motion(portrait, vertices, moves, camera)
        skin, guessed = skin_layer(portrait, seen, lids, lips)
        coverage = smoothstep(cv2.blur(seen.skin.astype(np.float32), (3, 3)), *COVERED)
        inner, dense = in_order(skin, sheet[box], seen.depth, sheet_depth[box], coverage, guessed, thick[box])
        for kind, hole in openings(seen.kinds):
            inside = draw_opening(portrait, kind, hole, seen, canonical, camera, lips, lids)
            filled = inside + (skin[hole][..., :3] - inside) * coverage[hole][..., None]
            open_ = cv2.blur((seen.kinds[hole] > SKIN).astype(np.float32), (3, 3)) > 0
            inner[hole][open_], dense[hole][open_] = filled[open_], 1
        soften_contours(inner, seen)
        colour[box], alpha[box] = inner, dense
    return Frame(colour, alpha, back)


def laid_on_photo(portrait: Portrait, vertices: Tensor, moves: Moves) -> tuple[Tensor, dict[int, float]]:
    """Vertices with the photo's corrections, and how far each eye is open: 0 shut, 1 as in the photo."""
    turn, lids = moves.turn[portrait.head], {}
    upright = (portrait.moves.turn[portrait.head] @ turn)[1]
    vertices = portrait.ears.flattened(vertices) + portrait.offsets @ turn
    corrected = vertices
    for kind, rim in portrait.rims.items():
        # the correction belongs to the open eye: a shut lid must meet the other one
        lids[kind] = max(rim.gap(vertices, upright) / rim.opening, 0.0)
        corrected = corrected + (rim.offsets @ turn) * min(lids[kind], WIDEST)
    return corrected, lids


def lip_motion(portrait: Portrait, vertices: Tensor, moves: Moves, camera: Camera) -> float:
    """0 while the lips are where the photo has them on the head, 1 when they have clearly moved."""
    if portrait.mouth is None:
        return 1.0
    lips = portrait.mouth.lips
    still = portrait.surface.vertices[lips] @ moves.turn[portrait.head] + moves.shift[portrait.head]
    places = camera.project(torch.cat([vertices[lips], still])[None])[0]
    moved, still = (places[:, :2] / places[:, 2:]).chunk(2)
    return ramp(float((moved - still).norm(dim=1).max()) / min(camera.image_size), STILL, MOVED)


def openings(kinds: np.ndarray) -> list[tuple[int, tuple[slice, slice]]]:
    """Boxes around what is seen of each eyeball and of the mouth's inside."""
    found = ((kind, bounds(kinds == kind, margin=3)) for kind in (LEFT_EYE, RIGHT_EYE, INSIDE))
    return [(kind, box) for kind, box in found if box is not None]


def draw_opening(
    portrait: Portrait, kind: int, hole: tuple[slice, slice], seen: Seen, canonical: Moves, camera: Camera,
    lips: float, lids: dict[int, float],
) -> np.ndarray:  # fmt: skip
    """[h, w, 3] an eyeball or the inside of the mouth, as if nothing were before it."""
    opening = (seen.kinds[hole] == kind).astype(np.float32)
    box = tuple(slice(part.start + whole.start, part.stop + whole.start) for part, whole in zip(hole, seen.box))
    if kind == INSIDE and portrait.mouth is not None:
        return draw_mouth(portrait.mouth, portrait.photo, canonical, camera, box, opening, lips)
    for eye in portrait.eyes:
        if eye.kind == kind:
            view = portrait.moves, portrait.camera
            return draw_eye(eye, portrait.photo, *view, canonical, camera, box, opening, lids.get(kind, 1.0))
    return np.zeros((*opening.shape, 3), np.float32)


def soften_contours(colour: np.ndarray, seen: Seen) -> None:
    """Blend, in place, the pixels on both sides of a contour inside the face, a chin over the neck: one sample a pixel
    is rough. Contours are told by a jump in the photo's place, so the photo's own pose stays untouched.
    """
    rough = np.zeros(seen.skin.shape, bool)
    for first, second in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        down = float(first[0] != slice(None))
        far = np.abs(seen.row[second] - seen.row[first] - down) > CONTOUR_JUMP
        far |= np.abs(seen.column[second] - seen.column[first] - (1 - down)) > CONTOUR_JUMP
        far &= seen.skin[first] & seen.skin[second]
        rough[first] |= far
        rough[second] |= far
    box = bounds(rough, margin=1)
    if box is not None:
        colour[box][rough[box]] = cv2.GaussianBlur(colour[box], (3, 3), 0.75)[rough[box]]
