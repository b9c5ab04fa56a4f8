"""`photo_preview(picture, motion)`: the photo, moved."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

from ...body import pose_motion
from ...render.workers import in_order
from ...types import Camera, HeadMotion, Progress, no_progress
from .frame import Frame, draw_frame
from .layering import over_background
from .layers import pixel_grid, sample
from .portrait import Portrait, take_apart
from .pyramid import smoothstep
from .skeleton import Moves, joint_moves

BACKGROUNDS = ("fill", "keep", "transparent")
CHUNK = 8  # frames posed together
SMALLEST = 32  # pixels; in fewer a head cannot be told
# our choices
MOVED = (0.25, 1.5)  # pixels: a background beside a still shoulder is the photo's own, beside a moving one filled
BEND_REACH = (0.02, 0.30)  # of the picture's side around the person where a kept background bends, from fully to not
BEND_BORDER = 0.08  # of the side along the picture's edges where it does not


@torch.no_grad()
def photo_preview(
    picture: Tensor,  # [H, W, 3] or [1, H, W, 3] in 0..1, the portrait
    motion: HeadMotion,
    mask: Tensor | None = None,  # [H, W] or [1, H, W] 0..1 where the person is; found in the picture if not given
    size: int | tuple[int, int] | None = None,  # side of a square, or height and width; the picture's own by default
    background: str = "fill",
    chunk: int = CHUNK,  # frames posed together
    progress: Progress = no_progress,
) -> tuple[Tensor, Tensor]:
    """Move a photo like its head moves: F frames in the motion's poses, and where the person is in them.

    The picture shows frame `portrait_frame` of the head's own fit, through that fit's camera.

    Args:
        background: "fill" keeps it still and fills in what the person uncovers; "keep" invents nothing, the photo's
            background bends along beside the person; "transparent" leaves it out (black, alpha 0).

    Returns:
        the frames [F, h, w, 3] and the person's alpha [F, h, w], both in 0..1, on the picture's device.

    Raises:
        ValueError: shapes that do not fit together, or a head outside of the picture.
    """
    photo, mask = _pictures(picture, mask)
    height, width = _size(size, photo)
    if background not in BACKGROUNDS:
        raise ValueError(f"background is '{background}', expected one of {', '.join(BACKGROUNDS)}.")
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}, expected at least 1 frame.")
    driving = _seen_by(motion.camera, height, width, "The motion").to("cpu")
    portrait_camera = motion.head.fit.camera[[motion.portrait_frame]]
    own = _seen_by(portrait_camera, height, width, "The portrait").to("cpu")
    _seen_by(portrait_camera, *photo.shape[:2], "The portrait")
    # only the posing runs where the motion is: everything after it is made of small steps that the CPU is good at
    still = motion.replace(head=motion.head.to("cpu"), offsets=None)
    portrait = take_apart(_resized(photo, height, width), _resized(mask, height, width), still, own)

    frames = torch.empty(motion.num_frames, height, width, 3, device=picture.device)
    alphas = torch.empty(motion.num_frames, height, width, device=picture.device)
    below = Background(portrait, background)

    @torch.no_grad()  # counts for the thread that enters it
    def draw(vertices: Tensor, moves: Moves, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        frame = draw_frame(portrait, vertices, moves, camera)
        return below.under(frame), frame.alpha

    for number, (frame, alpha) in enumerate(in_order(draw, _posed(motion, driving, chunk))):
        frames[number], alphas[number] = torch.from_numpy(frame), torch.from_numpy(alpha)
        progress(number + 1, motion.num_frames, frames[number])
    return frames, alphas


def _posed(motion: HeadMotion, camera: Camera, chunk: int) -> Iterator[tuple[Tensor, Moves, Camera]]:
    """Vertices [Vs, 3], the joints' motions and the camera of every frame."""
    head = motion.head
    model, betas = head.model.to("cpu"), head.betas.cpu()
    for start in range(0, motion.num_frames, chunk):
        stop = min(start + chunk, motion.num_frames)
        part = motion.frames(start, stop)
        values = (v.cpu() for v in (part.expression, part.poses, part.translation))
        moves, posed = joint_moves(model, betas, *values), pose_motion(motion, start, stop).cpu()
        for index, vertices in enumerate(posed):
            yield vertices, moves.frame(index), camera[start + index : start + index + 1]


class Background:
    """What lies behind the person."""

    def __init__(self, portrait: Portrait, kind: str):
        self.kind, matte = kind, portrait.matte
        self.filled = matte.background
        # where nothing moves, person and background together are the photo again, whatever the matte missed
        alpha = matte.alpha[..., None]
        rest = np.clip((portrait.photo - alpha * matte.person) / np.maximum(1 - alpha, 0.02), 0, 1)
        self.still = np.where(alpha < 0.98, rest, matte.background)
        self.grid = pixel_grid((slice(0, portrait.photo.shape[0]), slice(0, portrait.photo.shape[1])))
        self.bend = bending(matte.alpha) if kind == "keep" else None

    def under(self, frame: Frame) -> np.ndarray:
        """[H, W, 3] in 0..1: the person over the background."""
        if self.kind == "transparent":
            return np.clip(frame.colour / np.maximum(frame.alpha, 1e-3)[..., None], 0, 1)
        if self.kind == "keep":
            back = frame.back * self.bend[..., None]
            behind = sample(self.still, self.grid[0] + back[..., 0], self.grid[1] + back[..., 1], cv2.INTER_CUBIC)
            return np.clip(frame.colour + behind * (1 - frame.alpha)[..., None], 0, 1)
        return over_background(frame.colour, frame.alpha, frame.back, self.still, self.filled, MOVED)


def bending(alpha: np.ndarray) -> np.ndarray:
    """[H, W] 0..1 how far the background follows the person beside it."""
    height, width = alpha.shape
    side = min(height, width)
    beyond = cv2.distanceTransform((alpha < 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    column, row = pixel_grid((slice(0, height), slice(0, width)))
    edge = np.minimum(np.minimum(column, width - 1 - column), np.minimum(row, height - 1 - row))
    near = smoothstep(beyond, BEND_REACH[1] * side, BEND_REACH[0] * side)
    return (near * smoothstep(edge, 0, BEND_BORDER * side)).astype(np.float32)


def _pictures(picture: Tensor, mask: Tensor | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Picture [H, W, 3] and mask [H, W] as arrays, refused where their shapes do not fit."""
    one = picture[0] if picture.dim() == 4 and len(picture) == 1 else picture
    if one.dim() != 3 or one.shape[-1] != 3:
        raise ValueError(
            f"The picture has shape {list(picture.shape)}, expected one picture [height, width, 3] in 0..1."
        )
    photo = np.ascontiguousarray(one.detach().cpu().float().clamp(0, 1).numpy())
    if mask is None:
        return photo, None
    single = mask[0] if mask.dim() == 3 and len(mask) == 1 else mask
    if tuple(single.shape) != photo.shape[:2]:
        raise ValueError(
            f"The mask has shape {list(mask.shape)}, expected [{photo.shape[0]}, {photo.shape[1]}] like the picture. "
            f"Crop it with the picture, or leave it out."
        )
    if not (single > 0).any():
        raise ValueError("The mask is empty: it is 0 everywhere, expected 1 where the person is. Leave it out instead.")
    return photo, np.ascontiguousarray(single.detach().cpu().float().clamp(0, 1).numpy())


def _size(size: int | tuple[int, int] | None, photo: np.ndarray) -> tuple[int, int]:
    height, width = photo.shape[:2] if size is None else (size, size) if isinstance(size, int) else size
    if min(height, width) < SMALLEST:
        raise ValueError(f"The size is {width}×{height} pixels, expected at least {SMALLEST} on each side.")
    return int(height), int(width)


def _seen_by(camera: Camera, height: int, width: int, owner: str) -> Camera:
    """The camera at another size, refused where that would stretch the picture by more than rounding."""
    seen_height, seen_width = camera.image_size
    scale = min(height / seen_height, width / seen_width)
    if abs(height - scale * seen_height) > 1 or abs(width - scale * seen_width) > 1:
        raise ValueError(
            f"{owner} has a camera for {seen_width}×{seen_height} pictures, found {width}×{height}, which has another "
            f"shape. Give the picture that the head was fitted to, and a size of the same shape."
        )
    return camera.resized(height, width)


def _resized(picture: np.ndarray | None, height: int, width: int) -> np.ndarray | None:
    if picture is None or picture.shape[:2] == (height, width):
        return picture
    how = cv2.INTER_AREA if height < picture.shape[0] else cv2.INTER_CUBIC
    return np.clip(cv2.resize(picture, (width, height), interpolation=how), 0, 1)
