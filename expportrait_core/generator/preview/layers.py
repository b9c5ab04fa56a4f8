"""What a frame is made of: the mesh's skin with the photo on it, and the sheet of hair and clothes behind it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ...render import interpolate, vertex_normals, visible_triangles
from ...types import Camera
from .layering import mixed, trusted
from .portrait import Portrait
from .pyramid import smoothstep
from .skeleton import Moves
from .surface import LEFT_EYE, RIGHT_EYE, SEEN_DEPTH, SKIN, Surface, extent, kinds_seen, sample_at

# our choices
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
    mirror: np.ndarray | None  # [h, w, 6] see Surface.mirror


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
    kinds = kinds_seen(ids[0], surface.kinds)
    box = bounds(kinds > 0, margin=2)
    if box is None:
        return None
    kinds, (top, left) = kinds[box], (part.start for part in box)
    inside = corners - corners[..., 2:] * corners.new_tensor([left, top, 0])  # pixels of the box
    maps = interpolate(inside, torch.cat(values, 1)[None], surface.faces, ids[:, box[0], box[1]])[0].numpy()
    skin = kinds == SKIN
    # continued beyond the skin as a shift, so that where nothing moves every pixel meets itself
    column, row = pixel_grid(box)
    depth = np.where(skin, maps[..., 2], 1)
    maps[..., 0] = maps[..., 0] / depth - 0.5 - column
    maps[..., 1] = maps[..., 1] / depth - 0.5 - row
    grow(maps, skin)
    return Seen(
        box=box,
        kinds=kinds,
        skin=skin,
        column=column + maps[..., 0],
        row=row + maps[..., 1],
        photo_depth=np.ascontiguousarray(maps[..., 2]),
        depth=np.ascontiguousarray(maps[..., 3]),
        steep=np.ascontiguousarray(maps[..., 4]),
        shade=np.ascontiguousarray(maps[..., 5]),
        fill=np.ascontiguousarray(maps[..., 6:10]),
        mirror=None if surface.mirror is None else maps[..., 10:],
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
    changed = np.array([*(ramp(lids.get(kind, 1.0), *SHUT) for kind in (LEFT_EYE, RIGHT_EYE)), lips], np.float32)
    behind = seen.photo_depth - sample(portrait.surface.depth, seen.column, seen.row)
    use, shown = trusted(seen.steep, behind, rims, changed, SEEN_DEPTH)
    weight = seen.skin.astype(np.float32)
    around, known = cv2.blur(use * weight, (5, 5)), cv2.blur(weight, (5, 5))
    fill = seen.fill if seen.mirror is None else with_mirror(portrait, seen)
    return mixed(photo, fill, use, around, known, shown, seen.shade)


def with_mirror(portrait: Portrait, seen: Seen) -> np.ndarray:
    """[h, w, 4] the fill, where the head's other side tells more than what lies around."""
    fill = seen.fill.copy()
    there = seen.mirror[..., 2] > 0.01
    if there.any():
        x, y, use, *difference = seen.mirror[there].T
        other = sample_at(portrait.matte.person, x, y) + np.stack(difference, 1)
        fill[there, :3] += (np.clip(other, 0, 1) - fill[there, :3]) * np.clip(use, 0, 1)[:, None]
    return fill


def sheet_layer(portrait: Portrait, back: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour and alpha [H, W, 4] of hair and clothes, and where they are more than the face's rim [H, W]."""
    column, row = pixel_grid((slice(0, back.shape[0]), slice(0, back.shape[1])))
    column, row = column + back[..., 0], row + back[..., 1]
    layer = sample(portrait.matte.layer, column, row, cv2.INTER_CUBIC)
    return np.clip(layer, 0, 1), sample(portrait.sheet.thick, column, row)


def grow(maps: np.ndarray, known: np.ndarray) -> None:
    """Continue maps [h, w, C] by a pixel beyond `known`, in place, with the mean of the known neighbours."""
    band = (cv2.dilate(known.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~known
    row, column = np.nonzero(band)
    total = np.zeros((len(row), maps.shape[-1]), np.float32)
    count = np.zeros((len(row), 1), np.float32)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            r, c = (row + down).clip(0, known.shape[0] - 1), (column + right).clip(0, known.shape[1] - 1)
            there = known[r, c, None].astype(np.float32)
            total += maps[r, c] * there
            count += there
    maps[row, column] = total / np.maximum(count, 1)


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
