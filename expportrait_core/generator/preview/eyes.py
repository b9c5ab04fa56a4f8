"""Eyes that look around: the photo's eye on a ball, completed where lids cover it.

What the photo does not show of iris and white comes from what it shows at the same distance from the iris's centre.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from ... import types as joints
from ...types import HEAD, Camera, PersonalizedHead
from . import surface
from .pyramid import push_pull, smoothstep
from .skeleton import Moves, carriers

EYES = ((joints.LEFT_EYE, surface.LEFT_EYE), (joints.RIGHT_EYE, surface.RIGHT_EYE))

# our choices
TEXELS, SPAN = 96, 0.95  # of the completed eye: a square of directions, x and y from -SPAN to SPAN
IRIS = 0.50  # radius of the iris, sine of its angle: 5.9 mm on a ball of 11.8
LID_SHADE = 0.0022  # metres beside the lids whose colours are lashes and shade
LOOKED, BLINKED = (0.01, 0.07), (0.05, 0.35)  # from where on the eye turned (radians), the opening changed (share)
SHADE_WIDTH, DEEPEST_SHADE = 0.0012, 0.55  # metres; brightness beside the lids
RINGS = 14  # of the radial profile


@dataclass(frozen=True)
class Eye:
    """One eye of a photo."""

    joint: int  # number among the carriers
    head: int  # the head's
    kind: int  # surface.LEFT_EYE or RIGHT_EYE
    centre: torch.Tensor  # [3] canonical, metres
    radius: float
    visible: np.ndarray  # [H, W] 0..1 where the photo shows it
    clear: np.ndarray  # [H, W] the same without the shade and the lashes beside the lids
    complete: np.ndarray  # [TEXELS, TEXELS, 3] the eye seen along its axis


def make_eyes(
    head: PersonalizedHead,
    vertex_kinds: torch.Tensor,  # [Vs]
    vertices: torch.Tensor,  # [Vs, 3] world, in the photo
    moves: Moves,  # from the canonical pose to the photo's
    camera: Camera,  # of the photo
    photo: np.ndarray,  # [H, W, 3]
    kinds: np.ndarray,  # [H, W] what each pixel of the photo shows
    skin: np.ndarray,  # [3] colour of the face
) -> tuple[Eye, ...]:
    """The eyes of a head model that has eyeballs."""
    used, eyes = carriers(head.model), []
    for joint, kind in EYES:
        ball = vertices[vertex_kinds == kind]
        if joint not in used or len(ball) == 0:
            continue
        number = used.index(joint)
        canonical = (ball - moves.shift[number]) @ moves.turn[number].T
        low, high = canonical.amin(0), canonical.amax(0)
        centre, radius = (low + high) / 2, float((high - low)[:2].mean() / 2)
        visible = (kinds == kind).astype(np.float32)
        depth = camera.project((centre @ moves.turn[number] + moves.shift[number])[None, None])[0, 0, 2]
        clear = clear_of_lids(visible, LID_SHADE * float(camera.intrinsics[0, 0, 0] / depth))
        nothing = np.zeros((TEXELS, TEXELS, 3), np.float32)
        eye = Eye(number, used.index(HEAD), kind, centre, radius, visible, clear, nothing)
        eyes.append(replace(eye, complete=complete_eye(eye, moves, camera, photo, skin)))
    return tuple(eyes)


def clear_of_lids(visible: np.ndarray, margin: float) -> np.ndarray:
    """[H, W] 0..1 what is seen of the eye further than `margin` pixels from the lids, half of it in a narrow eye."""
    inside = cv2.distanceTransform((visible > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    margin = min(margin, 0.5 * float(inside.max()))
    return smoothstep(inside, 0.3 * margin, margin + 0.5).astype(np.float32)


def complete_eye(eye: Eye, moves: Moves, camera: Camera, photo: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """The whole front of the eye from what the photo shows of it."""
    x, y = texel_directions()
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0.01, 1))
    pixels = project_directions(eye, np.dstack([x, y, z]).reshape(-1, 3), moves, camera)
    column, row = (v.reshape(TEXELS, TEXELS).astype(np.float32) - 0.5 for v in pixels.T)
    colour = cv2.remap(photo, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    weight = cv2.remap(eye.clear, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    if weight.sum() < 30:  # a shut eye
        white = guessed_white(skin)
        iris = np.array([0.25, 0.17, 0.12], np.float32) * white.mean()
        return np.where((x**2 + y**2 < IRIS**2)[..., None], iris, white).astype(np.float32)
    centre = iris_centre(colour.mean(-1), weight, x, y)
    radius = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2)
    white = eye_white(colour, weight * (radius > 1.15 * IRIS), skin)
    profile = radial_profile(colour, weight, radius, white)
    own = smoothstep(weight, 0.2, 0.9)[..., None]
    # the profile in the iris; smooth continuation of the white outside of it
    smooth = push_pull(np.where((radius > 1.15 * IRIS)[..., None], colour, white), weight * (radius > 1.15 * IRIS))
    beyond = smoothstep(radius, 1.0 * IRIS, 1.2 * IRIS)[..., None]
    filled = profile + (0.5 * smooth + 0.5 * white - profile) * beyond
    return (filled + (colour - filled) * own).astype(np.float32)


def guessed_white(skin: np.ndarray) -> np.ndarray:
    """[3] colour of the white of the eye in the light that falls on the face."""
    return np.clip(0.4 * skin + 0.6 * float(skin.mean()) * np.array([1.03, 1.0, 0.97]), 0, 0.9).astype(np.float32)


def eye_white(colour: np.ndarray, weight: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """[3] colour of the white: the middle of what is seen of it, no darker than half a guess."""
    seen = weight > 0.4
    guess = guessed_white(skin)
    if seen.sum() < 20:
        return guess
    return np.maximum(np.median(colour[seen], axis=0), 0.5 * guess).astype(np.float32)


def iris_centre(brightness: np.ndarray, weight: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Where the iris is: the disc that is darkest against the ring around it, near the axis of the eye."""
    best, found = -np.inf, (0.0, 0.0)
    for cy in np.linspace(-0.30, 0.30, 13):
        for cx in np.linspace(-0.45, 0.45, 19):
            radius = np.sqrt((x - cx) ** 2 + (y - cy) ** 2)
            disc, ring = weight * (radius < IRIS), weight * ((radius > IRIS) & (radius < 1.5 * IRIS))
            if disc.sum() < 20 or ring.sum() < 20:
                continue
            contrast = (brightness * ring).sum() / ring.sum() - (brightness * disc).sum() / disc.sum()
            # lids hide the iris above and below, so sideways is seen better than up and down
            score = contrast - 0.10 * cx**2 - 0.35 * cy**2
            if score > best:
                best, found = score, (cx, cy)
    return found


def radial_profile(colour: np.ndarray, weight: np.ndarray, radius: np.ndarray, white: np.ndarray) -> np.ndarray:
    """[TEXELS, TEXELS, 3] the median colour at each distance from the iris's centre."""
    edges = np.linspace(0, 1.1 * IRIS, RINGS + 1)
    rings = np.full((RINGS, 3), np.nan)
    for k in range(RINGS):
        at = (radius >= edges[k]) & (radius < edges[k + 1]) & (weight > 0.4)
        if at.sum() >= 4:
            rings[k] = np.median(colour[at], axis=0)
    known = ~np.isnan(rings[:, 0])
    if not known.any():
        return np.broadcast_to(white * 0.3, colour.shape).astype(np.float32)
    middle = (edges[1:] + edges[:-1]) / 2
    flat = radius.ravel()
    channels = [np.interp(flat, middle[known], rings[known, c]) for c in range(3)]
    return np.stack(channels, -1).reshape(colour.shape).astype(np.float32)


def texel_directions() -> tuple[np.ndarray, np.ndarray]:
    """x and y of the direction at each texel; y is up, so row 0 is SPAN."""
    along = ((np.arange(TEXELS) + 0.5) / TEXELS * 2 - 1) * SPAN
    return np.meshgrid(along.astype(np.float32), -along.astype(np.float32))


def project_directions(eye: Eye, directions: np.ndarray, moves: Moves, camera: Camera) -> np.ndarray:
    """[N, 2] pixels at which points of the eyeball, given by their canonical directions [N, 3], are seen."""
    canonical = eye.centre + eye.radius * torch.from_numpy(np.ascontiguousarray(directions, np.float32))
    world = canonical @ moves.turn[eye.joint] + moves.shift[eye.joint]
    projected = camera.project(world[None])[0]
    return (projected[:, :2] / projected[:, 2:]).numpy()


def look_at(eye: Eye, box: tuple[slice, slice], moves: Moves, camera: Camera) -> np.ndarray:
    """[h·w, 3] canonical directions in which the pixels of a box meet the eyeball, or pass it nearest."""
    rows, columns = box
    y, x = torch.meshgrid(
        torch.arange(rows.start, rows.stop) + 0.5, torch.arange(columns.start, columns.stop) + 0.5, indexing="ij"
    )
    pixels = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
    rays = torch.nn.functional.normalize(pixels @ torch.linalg.inv(camera.intrinsics[0]).T, dim=1)
    rotation, translation = camera.world_to_camera[0, :3, :3], camera.world_to_camera[0, :3, 3]
    centre = (eye.centre @ moves.turn[eye.joint] + moves.shift[eye.joint]) @ rotation.T + translation
    along = rays @ centre
    beside = (centre @ centre) - along**2
    hit = rays * (along - (eye.radius**2 - beside).clamp(min=0).sqrt())[:, None] - centre
    canonical = (hit @ rotation) @ moves.turn[eye.joint].T
    return torch.nn.functional.normalize(canonical, dim=1).numpy()


def draw_eye(
    eye: Eye,
    photo: np.ndarray,  # [H, W, 3]
    photo_moves: Moves,
    photo_camera: Camera,
    moves: Moves,  # from the canonical pose to the frame's
    camera: Camera,  # of the frame
    box: tuple[slice, slice],  # rows and columns to draw
    opening: np.ndarray,  # [h, w] 0..1 where the eye is seen
    lids: float,  # 0 shut, 1 as open as in the photo
) -> np.ndarray:
    """[h, w, 3] the eyeball, as if there were no lids."""
    directions = look_at(eye, box, moves, camera)
    pixels = project_directions(eye, directions, photo_moves, photo_camera).astype(np.float32)
    column, row = (np.ascontiguousarray(v.reshape(opening.shape) - 0.5) for v in pixels.T)
    own = cv2.remap(photo, column, row, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    known = np.dstack([eye.visible, eye.clear])
    known = cv2.remap(known, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    # lashes and the lids' shade are part of the photo's eye only as long as lids and eye stay as they are
    looked = np.float32((gaze(eye, moves) - gaze(eye, photo_moves)).norm())
    changed = max(smoothstep(looked, *LOOKED), smoothstep(np.float32(abs(lids - 1)), *BLINKED))
    known = (known[..., 0] + (known[..., 1] - known[..., 0]) * changed)[..., None]
    x, y = (v.reshape(opening.shape).astype(np.float32) for v in (directions[:, 0], -directions[:, 1]))
    texel = tuple(np.ascontiguousarray((v / SPAN + 1) / 2 * TEXELS - 0.5) for v in (x, y))
    complete = cv2.remap(eye.complete, *texel, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    complete *= lid_shade(opening, eye, camera, moves)[..., None]
    return complete + (own - complete) * known


def gaze(eye: Eye, moves: Moves) -> torch.Tensor:
    """[3] the eye's axis in the head's own directions."""
    return moves.turn[eye.joint][2] @ moves.turn[eye.head].T


def lid_shade(opening: np.ndarray, eye: Eye, camera: Camera, moves: Moves) -> np.ndarray:
    """[h, w] the lids' soft shade on the ball, deeper under the upper one."""
    centre = eye.centre @ moves.turn[eye.joint] + moves.shift[eye.joint]
    deviation = SHADE_WIDTH * float(camera.intrinsics[0, 0, 0] / camera.project(centre[None, None])[0, 0, 2])
    light = cv2.GaussianBlur(opening, (0, 0), max(deviation, 0.6), borderType=cv2.BORDER_CONSTANT)
    light = cv2.warpAffine(light, np.float32([[1, 0, 0], [0, 1, 0.5 * deviation]]), opening.shape[::-1])
    return (DEEPEST_SHADE + (1 - DEEPEST_SHADE) * smoothstep(light, 0.1, 0.9)).astype(np.float32)
