"""Cameras as trackers write them, all to OpenCV: K in pixels of the full picture and world-to-camera in metres.

Pixels count from the corner: the centre of the first pixel is (0.5, 0.5). Each function is one convention.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...types import Camera
from ..refusal import Unnamed, checks_of_types
from .values import MAX_SIDE

FLIP_YZ = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenGL looks along -z with y up
FLIP_XY = np.diag([-1.0, -1.0, 1.0, 1.0])  # PyTorch3D looks along +z with x left and y up
FAR = 50.0  # metres to a camera that stands for an orthographic one: 0.1 m of depth change 0.2 % of size. Our choice
FOCAL_OF_SIDE = 1.5  # of cameras that nobody knows; the tracker's choice too
# Of the pictures' longer side. The widest lenses have 0.2 and the longest 60; cameras that stand for an orthographic
# one at `FAR`, and crops of a small face out of a long lens's picture, have more. Our choice
LEAST_SIDES, MOST_SIDES = 0.01, 1000
MOST_STRETCHED = 10  # one focal length of the other; anamorphic lenses have 2
FACE_HEIGHT = 0.27  # metres of a SMPL-X face above its origin, for cameras that nobody knows


def intrinsics(
    focal: np.ndarray,  # [F] or [F, 2] pixels
    centre: np.ndarray,  # [F, 2] pixels
) -> np.ndarray:
    """K [F, 3, 3]."""
    focal, centre = np.asarray(focal, np.float64), np.asarray(centre, np.float64)
    matrices = np.zeros((len(centre), 3, 3))
    matrices[:, 0, 0], matrices[:, 1, 1] = (focal, focal) if focal.ndim == 1 else focal.T
    matrices[:, :2, 2], matrices[:, 2, 2] = centre, 1.0
    return matrices


def extrinsics(
    rotation: np.ndarray,  # [F, 3, 3]
    translation: np.ndarray,  # [F, 3]
) -> np.ndarray:
    """4×4 matrices [F, 4, 4]: x' = R·x + t."""
    matrices = np.tile(np.eye(4), (len(rotation), 1, 1))
    matrices[:, :3, :3], matrices[:, :3, 3] = rotation, translation
    return matrices


def opencv(k: np.ndarray, world_to_camera: np.ndarray, image_size: tuple[int, int]) -> Camera:
    """A camera that is OpenCV's already. K [F, 3, 3], w2c [F, 4, 4], image size (height, width)."""
    if not (np.isfinite(k).all() and np.isfinite(world_to_camera).all()):
        raise Unnamed("The camera holds NaN or infinite values. Track the clip again.")
    focal = np.minimum(k[:, 0, 0], k[:, 1, 1])
    if (focal <= 0).any():
        row = int((focal <= 0).argmax())
        raise Unnamed(
            f"The camera has a focal length of zero or less: {focal[row]:g} pixels in frame {row + 1} of {len(k)}, "
            f"expected more. Track the clip again."
        )
    if not all(1 <= side <= MAX_SIDE for side in image_size):
        raise Unnamed(
            f"The pictures would be {image_size[1]:g}×{image_size[0]:g} pixels (width×height), expected 1 to "
            f"{MAX_SIDE:,} each. The file is damaged; track the clip again."
        )
    height, width = (int(side) for side in image_size)
    with checks_of_types():
        return Camera(_floats(k), _floats(world_to_camera), (height, width))


def opengl(k: np.ndarray, world_to_camera: np.ndarray, image_size: tuple[int, int]) -> Camera:
    """From OpenGL's world-to-camera: the camera looks along -z, y is up. K is in pixels with y down."""
    return opencv(k, FLIP_YZ @ world_to_camera, image_size)


def pytorch3d(
    rotation: np.ndarray,  # [F, 3, 3] as x_view = R·x + T; PyTorch3D itself stores the transpose
    translation: np.ndarray,  # [F, 3]
    focal: np.ndarray,  # [F] in NDC: 1 is half of the shorter side
    image_size: tuple[int, int],
) -> Camera:
    """From PyTorch3D's view (x left, y up, z forward) with the principal point in the middle."""
    height, width = image_size
    half = min(height, width) / 2
    centre = np.tile([width / 2, height / 2], (len(focal), 1))
    return opencv(intrinsics(focal * half, centre), FLIP_XY @ extrinsics(rotation, translation), image_size)


def orthographic(
    scale: np.ndarray,  # [F] half picture sides per metre
    shift: np.ndarray,  # [F, 2] metres, added to x and y before scaling
    side: int,  # pixels of the square picture
    y_up: bool,  # False where the pose already turned the head upside down into the picture's axes
    focal: float | None = None,  # pixels, where the user knows the lens
) -> Camera:
    """From (s, tx, ty) of weak-perspective trackers: a camera so far away that depth does not matter.

    With the user's lens it stands where the head is as large as the tracker saw it.
    """
    frames = len(scale)
    if (scale <= 0).any():
        row = int((scale <= 0).argmax())
        raise Unnamed(
            f"The orthographic camera has a scale of zero or less: {scale[row]:g} in frame {row + 1} of {frames}, "
            f"expected more. Track the clip again."
        )
    per_metre = scale * side / 2  # pixels
    focals = per_metre * FAR if focal is None else np.full(frames, focal)
    moved = np.concatenate([shift, np.zeros((frames, 1))], 1)
    view = np.diag([1.0, -1.0, -1.0]) if y_up else np.eye(3)
    translation = moved @ view.T
    translation[:, 2] += focals / per_metre
    k = intrinsics(focals, np.full((frames, 2), side / 2))
    return opencv(k, extrinsics(np.tile(view, (frames, 1, 1)), translation), (side, side))


def from_crop(
    camera: Camera,
    to_full: np.ndarray,  # [F, 3, 3] homogeneous, pixels of the crop to pixels of the full picture
    image_size: tuple[int, int],
) -> Camera:
    """The same camera in the full picture. A crop that was turned becomes a turned camera."""
    k = to_full @ camera.intrinsics.numpy().astype(np.float64)
    w2c = camera.world_to_camera.numpy().astype(np.float64)
    if np.abs(k[:, 1, 0]).max(initial=0) > 1e-6 * np.abs(k[:, 0, 0]).max(initial=1):
        # K = (in-plane part)·rest: a turn about the optical axis moves from the pixels into the extrinsics
        angle = np.arctan2(k[:, 1, 0], k[:, 0, 0])
        turn = np.tile(np.eye(4), (len(k), 1, 1))
        turn[:, 0, 0], turn[:, 0, 1] = np.cos(angle), -np.sin(angle)
        turn[:, 1, 0], turn[:, 1, 1] = np.sin(angle), np.cos(angle)
        k, w2c = k @ np.linalg.inv(turn[:, :3, :3]), turn @ w2c
    return opencv(k, w2c, image_size)


def frontal(
    frames: int,
    target: np.ndarray,  # [3] metres, world: what it looks at
    image_size: tuple[int, int],
    distance: float = 1.2,
) -> Camera:
    """Where the file has none: a camera that stands in front of the face and looks along -z."""
    height, width = image_size
    k = intrinsics(np.full(frames, FOCAL_OF_SIDE * max(image_size)), np.tile([width / 2, height / 2], (frames, 1)))
    w2c = np.tile(np.eye(4), (frames, 1, 1))
    w2c[:, :3, 3] = -np.asarray(target) - [0, 0, distance]
    return opengl(k, w2c, image_size)


def with_focal(camera: Camera, focal: float) -> Camera:
    """The same camera with another lens: the focal length in pixels, along both axes."""
    k = camera.intrinsics.clone()
    k[:, 0, 0] = k[:, 1, 1] = focal
    return camera.replace(intrinsics=k)


def require_plausible(camera: Camera, frame_ids: Sequence[int]) -> None:
    """Refuse cameras that no lens and no crop makes: units that are mixed up, or damaged values.

    Raises:
        Refusal: a focal length or principal point beyond all pictures, or pixels that are far from square.
    """
    k, side = camera.intrinsics.double(), max(camera.image_size)
    focal, centre = k[:, [0, 1], [0, 1]], k[:, :2, 2]
    least, most = LEAST_SIDES * side, MOST_SIDES * side
    stretched = focal.amax(1) > MOST_STRETCHED * focal.amin(1)
    for wrong, found, expected in (
        ((focal < least) | (focal > most), focal, f"focal length is {{}} pixels, expected {least:g} to {most:,.0f}"),
        (centre.abs() > most, centre, f"principal point is at {{}} pixels, expected at most {most:,.0f}"),
        (stretched[:, None], focal, f"focal lengths are {{}} pixels, expected a ratio of at most {MOST_STRETCHED:g}"),
    ):
        rows = wrong.any(1).nonzero()[:, 0].tolist()
        if rows:
            values = " and ".join(f"{value:g}" for value in found[rows[0]].unique_consecutive().tolist())
            raise Unnamed(
                f"The camera's {expected.format(values)} for pictures of {camera.image_size[1]}×{camera.image_size[0]} "
                f"(width×height), in frame {frame_ids[rows[0]]}{f' and {len(rows) - 1} others' * (len(rows) > 1)}. "
                f"Check its units; track the clip again, or give its `focal`."
            )


def _floats(array: np.ndarray) -> torch.Tensor:
    with np.errstate(over="ignore"):  # becomes infinite, and is refused as that
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
