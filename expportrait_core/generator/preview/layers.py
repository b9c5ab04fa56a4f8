"""What a frame is made of: the mesh's skin with the photo on it, and the sheet of hair and clothes behind it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ...render import interpolate, vertex_normals, visible_triangles
from ...types import Camera
from .portrait import Portrait
from .pyramid import smoothstep
from .skeleton import Moves
from .surface import LEFT_EYE, RIGHT_EYE, SKIN, Surface, extent, kinds_seen, sample_at, seen_in_photo

# our choices
STRETCH = (0.08, 0.40)  # pixels of the photo for each of the frame: below the first only a guess, from the second none
UNTURNED = (0.70, 0.97)  # the same share, from which the photo's own outline counts
IN_FRONT = 0.008  # metres over which mesh and sheet blend where they meet
GUESS_BEHIND = 0.03  # metres that a guessed surface yields to hair beside it
RIM_BEHIND = 0.03  # metres that the mere rim of the face yields to the mesh
NO_EXTENT = 0.05  # square pixels that count as nothing
SHUT = (0.90, 0.40)  # share of the lids' opening at which lid and lashes no longer look like the photo's
LASH_SHADE = 0.45  # of the lash line of a shut eye


@dataclass(frozen=True)
class Seen:
    """What the frame's camera sees of the mesh, in a box of the picture."""

    box: tuple[slice, slice]  # rows and columns
    kinds: np.ndarray  # [h, w] uint8
    skin: np.ndarray  # [h, w] bool
    column: np.ndarray  # [h, w] float32 where the pixel is in the photo, counted from pixel centres
    row: np.ndarray
    photo_depth: np.ndarray  # [h, w] metres in the photo
    depth: np.ndarray  # [h, w] metres in the frame
    steep: np.ndarray  # [h, w] pixels of the photo for each of the frame
    shade: np.ndarray  # [h, w] factor
    fill: np.ndarray  # [h, w, 4] colour and alpha where the photo shows nothing
    mirror: np.ndarray | None  # [6, h, w] see Surface.mirror


def see_mesh(
    portrait: Portrait,
    vertices: Tensor,  # [Vs, 3] world
    moves: Moves,  # from the photo to the frame
    lids: dict[int, float],  # how far each eye is open
    camera: Camera,  # one, of the frame
) -> Seen | None:
    """Draw the mesh with all that its colours depend on, a pixel beyond the skin's edges too; None if out of sight."""
    surface, (height, width) = portrait.surface, camera.image_size
    corners = camera.project(vertices[None])
    ids = visible_triangles(corners, surface.faces, height, width)
    values = [
        surface.corners, corners[0, :, 2:], shrinking(surface, corners[0], portrait.camera, camera)[:, None],
        shading(portrait, vertices, moves, lids)[:, None], surface.fill,
    ]  # fmt: skip
    values += [] if surface.mirror is None else [surface.mirror]
    maps = interpolate(corners, torch.cat(values, 1)[None], surface.faces, ids)[0].numpy()
    kinds = kinds_seen(ids[0], surface.kinds)
    box = bounds(kinds > 0, margin=2)
    if box is None:
        return None
    kinds, planes = kinds[box], np.ascontiguousarray(maps[box].transpose(2, 0, 1))
    skin = kinds == SKIN
    # continued beyond the skin as a shift, so that where nothing moves every pixel meets itself
    column, row = pixel_grid(box)
    depth = np.where(skin, planes[2], 1)
    planes[0] = planes[0] / depth - 0.5 - column
    planes[1] = planes[1] / depth - 0.5 - row
    grow(planes, skin)
    return Seen(
        box=box,
        kinds=kinds,
        skin=skin,
        column=column + planes[0],
        row=row + planes[1],
        photo_depth=planes[2],
        depth=planes[3],
        steep=planes[4],
        shade=planes[5],
        fill=np.ascontiguousarray(planes[6:10].transpose(1, 2, 0)),
        mirror=None if surface.mirror is None else planes[10:],
    )


def shrinking(surface: Surface, corners: Tensor, photo_camera: Camera, camera: Camera) -> Tensor:
    """[Vs] how many pixels of the photo there are for each pixel of the frame, apart from a nearer or other camera."""
    zoom = camera.intrinsics[0, 0, 0] / photo_camera.intrinsics[0, 0, 0] * surface.corners[:, 2] / corners[:, 2]
    return (surface.extent * zoom**2 + NO_EXTENT) / (extent(corners, surface.topology) + NO_EXTENT)


def shading(portrait: Portrait, vertices: Tensor, moves: Moves, lids: dict[int, float]) -> Tensor:
    """[Vs] brightness factor of what the expression changed, and of the lash line of a shut eye."""
    surface = portrait.surface
    normals = vertex_normals(vertices[None], surface.faces, surface.topology)[0]
    unturned = normals @ moves.turn[portrait.head].T
    shade = 1 + (portrait.light.ratio(surface.normals, unturned) - 1) * portrait.facial
    for kind, rim in portrait.rims.items():
        closed = ramp(lids[kind], 0.5, 0.05)
        if closed > 0:
            shade = shade * (1 - LASH_SHADE * closed * rim.lashes)
    return shade


def skin_layer(portrait: Portrait, seen: Seen, lids: dict[int, float], lips: float) -> tuple[np.ndarray, np.ndarray]:
    """Colour and alpha [h, w, 4] of the mesh's skin, and how far the colour is a guess [h, w]."""
    photo = sample(portrait.matte.layer, seen.column, seen.row, cv2.INTER_CUBIC)
    rims = sample(portrait.rim_maps, seen.column, seen.row)
    unturned = smoothstep(seen.steep, *UNTURNED)
    visible = seen_in_photo(seen.column, seen.row, seen.photo_depth, portrait.surface.depth)
    changed = np.array([*(ramp(lids.get(kind, 1.0), *SHUT) for kind in (LEFT_EYE, RIGHT_EYE)), lips], np.float32)
    use = visible * smoothstep(seen.steep, *STRETCH)
    use *= (rims[..., 0] + (1 - rims[..., 0]) * unturned) * (1 - np.clip(rims[..., 1:] @ changed, 0, 1))
    # soften towards the guess, but show nothing of what is not seen
    weight = seen.skin.astype(np.float32)
    use = np.minimum(use, cv2.blur(use * weight, (5, 5)) / np.maximum(cv2.blur(weight, (5, 5)), 1e-3))
    fill = seen.fill if seen.mirror is None else with_mirror(portrait, seen)
    layer = fill + (photo - fill) * use[..., None]
    layer[..., :3] *= seen.shade[..., None]
    layer[..., 3] = fill[..., 3] + (photo[..., 3] - fill[..., 3]) * (unturned * visible)
    return np.clip(layer, 0, 1), 1 - use


def with_mirror(portrait: Portrait, seen: Seen) -> np.ndarray:
    """[h, w, 4] the fill, where the head's other side tells more than what lies around."""
    fill = seen.fill.copy()
    there = seen.mirror[2] > 0.01
    if there.any():
        x, y, use, *difference = seen.mirror[:, there]
        other = sample_at(portrait.matte.person, x, y) + np.stack(difference, 1)
        fill[there, :3] += (np.clip(other, 0, 1) - fill[there, :3]) * np.clip(use, 0, 1)[:, None]
    return fill


def sheet_layer(portrait: Portrait, back: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour and alpha [H, W, 4] of hair and clothes, and where they are more than the face's rim [H, W]."""
    column, row = pixel_grid((slice(0, back.shape[0]), slice(0, back.shape[1])))
    column, row = column + back[..., 0], row + back[..., 1]
    layer = sample(portrait.matte.layer, column, row, cv2.INTER_CUBIC)
    return np.clip(layer, 0, 1), sample(portrait.sheet.thick, column, row)


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
    sheet_depth = sheet_depth + RIM_BEHIND * (1 - thick) - GUESS_BEHIND * guessed * thick
    in_front = smoothstep(sheet_depth - skin_depth, -IN_FRONT, IN_FRONT)
    skin_alpha, sheet_alpha = skin[..., 3] * coverage, sheet[..., 3]
    alpha = np.maximum(skin_alpha, sheet_alpha)
    behind = alpha - sheet_alpha
    share = behind + (skin_alpha - behind) * in_front
    colour = skin[..., :3] * share[..., None] + sheet[..., :3] * (alpha - share)[..., None]
    return colour, alpha


def grow(planes: np.ndarray, known: np.ndarray) -> None:
    """Continue planes [C, h, w] by a pixel beyond `known`, in place, with the mean of the known neighbours."""
    band = (cv2.dilate(known.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~known
    row, column = np.nonzero(band)
    total = np.zeros((len(planes), len(row)), np.float32)
    count = np.zeros(len(row), np.float32)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            r, c = (row + down).clip(0, known.shape[0] - 1), (column + right).clip(0, known.shape[1] - 1)
            there = known[r, c].astype(np.float32)
            total += planes[:, r, c] * there
            count += there
    planes[:, row, column] = total / np.maximum(count, 1)


def bounds(mask: np.ndarray, margin: int) -> tuple[slice, slice] | None:
    """Rows and columns that hold the mask and a margin, None for an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return None
    top, bottom = max(rows[0] - margin, 0), min(rows[-1] + margin + 1, mask.shape[0])
    left, right = max(columns[0] - margin, 0), min(columns[-1] + margin + 1, mask.shape[1])
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def pixel_grid(box: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of every pixel of a box, [h, w] float32."""
    rows, columns = (np.arange(part.start, part.stop, dtype=np.float32) for part in box)
    return tuple(np.meshgrid(columns, rows))


def sample(picture: np.ndarray, column: np.ndarray, row: np.ndarray, how: int = cv2.INTER_LINEAR) -> np.ndarray:
    """The picture at places counted from pixel centres; beyond the edge the border repeats."""
    return cv2.remap(picture, column, row, how, borderMode=cv2.BORDER_REPLICATE)


def ramp(value: float, low: float, high: float) -> float:
    """`smoothstep` of one number."""
    return float(smoothstep(np.float32(value), low, high))
