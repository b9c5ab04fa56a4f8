"""What an open mouth shows: teeth, tongue and the dark behind them, on flat plates that move with the head or the jaw.

Plates are measured in millimetres of the neutral face: x to the person's left, y up, the origin between the lips at
rest. Where the photo itself shows teeth, they are its own: the upper ones stay with the head, the lower ones with the
jaw. Everything else is painted, in the photo's light.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ...body import landmark_points
from ...body.landmark_groups import INNER_MOUTH
from ...body.posing import shaped
from ...types import HEAD, JAW, Camera, PersonalizedHead
from .mouth_paint import Paint, paint_row, paint_tongue, tooth_edge
from .pyramid import smoothstep
from .skeleton import Moves, carriers

# corners and middle of the inner lips: the person's right, left, upper, lower

# our choices, metres
TEETH_BEHIND, TONGUE_BEHIND = 0.006, 0.013  # the lips
UPPER_REACH = 0.0105  # below the upper lip: bright pixels further down are the lower row
# our choices, shares of the picture's side
STILL, MOVED = 0.0005, 0.005  # lips that moved less show the photo's own mouth; more, only what the plates know
THINNEST = 0.006  # an opening that shows teeth
LIP_SHADOW, TEETH_SHADE = 1.3, 0.4  # millimetres below the upper lip; how much of that shade falls on teeth
DARK = (0.22, 0.075, 0.07)
TYPICAL_SKIN = (0.78, 0.60, 0.51)  # in white light: tells the photo's light from its skin


@dataclass(frozen=True)
class Plate:
    """A painted plate in the mouth."""

    corners: np.ndarray  # [4, 3] canonical, of the paint's corners: top left, top right, bottom right, bottom left
    joint: int  # number among the carriers
    paint: np.ndarray  # [h, w, 4] colour and alpha
    to_photo: np.ndarray  # [3, 3] texels to the photo's pixels
    own: np.ndarray | None  # [H, W] 0..1 where the photo shows it
    depth_shade: float = 1.0  # how much of the shade of the mouth's depth falls on it


@dataclass(frozen=True)
class Mouth:
    """The mouth of a photo."""

    plates: tuple[Plate, ...]  # from back to front
    lips: torch.Tensor  # [4] vertices at the corners and the middle of the inner lips
    dark: np.ndarray  # [3] colour of the depth
    millimetre: float  # pixels in the photo


def make_mouth(
    head: PersonalizedHead,
    moves: Moves,  # from the canonical pose to the photo's
    camera: Camera,  # one, of the photo
    photo: np.ndarray,  # [H, W, 3]
    interior: np.ndarray,  # [H, W] bool, where the mesh shows the inside of the mouth in the photo
    skin: np.ndarray,  # [3] colour of the face
) -> Mouth | None:
    """The plates, painted in the photo's light; None for a head model without lip landmarks."""
    found = neutral_lips(head)
    if found is None:
        return None
    lips, vertices = found
    used = carriers(head.model)
    upper, lower = used.index(HEAD), used.index(JAW) if JAW in used else used.index(HEAD)
    light = np.clip(skin / np.array(TYPICAL_SKIN), 0.3, 1.1)
    teeth_corners = plate_corners(lips, TEETH_BEHIND)
    to_photo = homography(teeth_corners, upper, moves, camera)
    rows = photo_teeth(photo, interior, to_photo, skin)
    colour, edge = None, None
    if rows is not None:
        colour, edge = tooth_colour(photo, rows), tooth_edge(rows[0], to_photo)

    def plate(corners: np.ndarray, joint: int, paint: np.ndarray, own: np.ndarray | None, shade: float) -> Plate:
        return Plate(corners, joint, paint, homography(corners, joint, moves, camera), own, shade)

    own_upper, own_lower = (None, None) if rows is None else rows

    return Mouth(
        plates=(
            plate(plate_corners(lips, TONGUE_BEHIND), lower, paint_tongue(light), None, 1),
            plate(teeth_corners, lower, paint_row(Paint.lower(), light, colour), own_lower, TEETH_SHADE),
            plate(teeth_corners, upper, paint_row(Paint.upper(edge), light, colour), own_upper, TEETH_SHADE),
        ),
        lips=vertices,
        dark=np.array(DARK, np.float32) * light,
        millimetre=float(np.linalg.norm(to_photo[:2, 0] / to_photo[2, 2])) / Paint.TEXEL,
    )


def neutral_lips(head: PersonalizedHead) -> tuple[np.ndarray, torch.Tensor] | None:
    """Canonical positions [4, 3] of INNER_MOUTH on the neutral head, and vertices there [4]."""
    model = head.model
    for scheme, numbers in INNER_MOUTH.items():
        if scheme not in model.landmarks:
            continue
        embedding, index = model.landmarks[scheme], torch.tensor(numbers)
        if (embedding.triangles[index] < 0).any():
            continue
        coarse, _ = shaped(model, head.betas, head.betas.new_zeros(1, 0))
        points = landmark_points(coarse, model.faces, embedding)[0, index]
        corner = embedding.barycentric[index].argmax(1)
        return points.numpy(), model.faces[embedding.triangles[index], corner]
    return None


def plate_corners(lips: np.ndarray, behind: float) -> np.ndarray:
    """[4, 3] canonical corners of a plate behind the lips at rest, upright and facing forward."""
    centre = np.array([lips[:2, 0].mean(), lips[2:, 1].mean(), lips[2:, 2].mean() - behind])
    left, right, top, bottom = (v / 1000 for v in (-Paint.HALF_WIDTH, Paint.HALF_WIDTH, Paint.UP, -Paint.DOWN))
    # the person's right is at -x and on the left in the picture
    return centre + np.array([[left, top, 0], [right, top, 0], [right, bottom, 0], [left, bottom, 0]])


def homography(corners: np.ndarray, joint: int, moves: Moves, camera: Camera) -> np.ndarray:
    """[3, 3] from texels of the paint to the pixels of a camera (corner-based coordinates, both)."""
    world = torch.from_numpy(corners).float() @ moves.turn[joint] + moves.shift[joint]
    projected = camera.project(world[None])[0].double().numpy()
    height, width = Paint.shape()
    texels = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    return cv2.getPerspectiveTransform(texels, (projected[:, :2] / projected[:, 2:]).astype(np.float32))


def photo_teeth(
    photo: np.ndarray, interior: np.ndarray, to_photo: np.ndarray, skin: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """[H, W] 0..1 twice: where the photo shows upper and lower teeth; None where the mouth is shut."""
    side = min(interior.shape)
    if cv2.distanceTransform(interior.astype(np.uint8), cv2.DIST_L2, 5).max() < THINNEST / 2 * side:
        return None
    # the photo's lips need not be where the mesh's are: look a little around
    around = cv2.dilate(interior.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))) > 0
    smooth = cv2.GaussianBlur(photo, (0, 0), 0.002 * side)
    bright = smooth.mean(-1) / max(float(skin.mean()), 0.05)
    red = (smooth[..., 0] - smooth[..., 1]) / np.maximum(smooth.sum(-1), 0.05)
    red_skin = float((skin[0] - skin[1]) / max(float(skin.sum()), 0.05))
    tooth = smoothstep(bright, 0.45, 0.75) * smoothstep(red, red_skin + 0.015, red_skin - 0.015) * around
    if (tooth > 0.5).sum() < 0.05 * interior.sum():
        return None
    lower = below_gap(tooth > 0.5) | (depth_in_mouth(around, to_photo) > UPPER_REACH)
    lower = cv2.GaussianBlur(lower.astype(np.float32), (0, 0), 0.0015 * side)
    tooth = cv2.GaussianBlur(tooth.astype(np.float32), (0, 0), 0.0015 * side)
    return tooth * (1 - lower), tooth * lower


def below_gap(tooth: np.ndarray) -> np.ndarray:
    """[H, W] bool: teeth under a dark gap under teeth are the lower row."""
    begun = np.maximum.accumulate(tooth, 0)
    gap = cv2.erode((begun & ~tooth).astype(np.uint8), np.ones((3, 1), np.uint8)) > 0
    return np.maximum.accumulate(gap, 0) & tooth


def depth_in_mouth(around: np.ndarray, to_photo: np.ndarray) -> np.ndarray:
    """[H, W] metres below the upper lip, per column of the picture."""
    pixels_per_metre = np.linalg.norm(to_photo[:2, 1] / to_photo[2, 2]) / (Paint.TEXEL / 1000)
    top = np.where(around.any(0), around.argmax(0), around.shape[0])
    return (np.arange(around.shape[0])[:, None] - top[None]) / pixels_per_metre


def tooth_colour(photo: np.ndarray, rows: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """[3] of the photo's own teeth."""
    weight = (rows[0] + rows[1]) ** 2
    return (photo * weight[..., None]).sum((0, 1)) / max(float(weight.sum()), 1e-6)


def draw_mouth(
    mouth: Mouth,
    photo: np.ndarray,  # [H, W, 3]
    moves: Moves,  # from the canonical pose to the frame's
    camera: Camera,  # of the frame
    box: tuple[slice, slice],  # rows and columns to draw
    opening: np.ndarray,  # [h, w] 0..1 where the inside is seen
    changed: float,  # 0 the photo's own mouth, 1 only what the plates know
) -> np.ndarray:
    """[h, w, 3] the inside of the mouth."""
    rows, columns = box
    size = (columns.stop - columns.start, rows.stop - rows.start)
    shift = np.array([[1, 0, -columns.start], [0, 1, -rows.start], [0, 0, 1]], np.float64)
    shade = shading(opening, mouth.millimetre)[..., None]
    colour = np.broadcast_to(mouth.dark, (*opening.shape, 3)) * shade
    for plate in mouth.plates:
        to_frame = shift @ homography(plate.corners, plate.joint, moves, camera)
        paint = warp(plate.paint, to_frame, size, cv2.BORDER_CONSTANT)
        # teeth stand close behind the lips, where most of the light still comes
        front, alpha = paint[..., :3] * (1 - plate.depth_shade * (1 - shade)), paint[..., 3]
        if plate.own is not None:
            back = to_frame @ np.linalg.inv(plate.to_photo)
            own = warp(plate.own, back, size, cv2.BORDER_CONSTANT)
            front = front + (warp(photo, back, size, cv2.BORDER_REPLICATE) - front) * own[..., None]
            alpha = np.maximum(alpha, own)
        colour = colour + (front - colour) * alpha[..., None]
    if changed < 1:
        front = mouth.plates[-1]
        back = shift @ homography(front.corners, front.joint, moves, camera) @ np.linalg.inv(front.to_photo)
        still = warp(photo, back, size, cv2.BORDER_REPLICATE)
        colour = still + (colour - still) * changed
    return colour.astype(np.float32)


def shading(opening: np.ndarray, millimetre: float) -> np.ndarray:
    """[h, w] how much light comes in: little under the upper lip and at the corners."""
    deviation = max(LIP_SHADOW * millimetre, 0.8)
    open_above = cv2.GaussianBlur(opening, (0, 0), deviation, borderType=cv2.BORDER_CONSTANT)
    open_above = cv2.warpAffine(open_above, np.float32([[1, 0, 0], [0, 1, 0.6 * deviation]]), opening.shape[::-1])
    return 0.42 + 0.58 * smoothstep(open_above, 0.10, 0.95)


def warp(picture: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: int) -> np.ndarray:
    """The picture moved by a homography of corner-based coordinates (OpenCV counts from pixel centres)."""
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]], np.float64)
    matrix = np.linalg.inv(half) @ matrix @ half
    return cv2.warpPerspective(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border)
