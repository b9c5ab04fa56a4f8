"""From a tracker's arrays to an `SMPLXFit`: what every reader ends with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...printable import log_of
from ...types import HEAD, JAW, LEFT_EYE, NECK, NUM_JOINTS, RIGHT_EYE, Camera, SMPLXFit
from ..lens import require_lens
from ..refusal import Refusal, Unnamed, checks_of_types
from . import cameras
from .values import MAX_SIDE

log = log_of(__name__)

LONGEST_FOCAL = 1e7  # pixels: a camera that sees a face from a mile away. Our choice

PARTS = {  # joints of a body that trackers write together
    "global_orient": slice(0, 1), "body_pose": slice(1, 22), "neck": slice(NECK, NECK + 1),
    "head": slice(HEAD, HEAD + 1), "jaw": slice(JAW, JAW + 1),
    "left_eye": slice(LEFT_EYE, LEFT_EYE + 1), "right_eye": slice(RIGHT_EYE, RIGHT_EYE + 1),
    "left_hand": slice(25, 40), "right_hand": slice(40, 55),
}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What the user knows and the file does not say.

    A sentence that asks for one of them calls it by its name here, in backquotes, and puts nothing else into them. The
    command line has the same names (`image_size` is `--image-size`), and so has the node Load SMPL-X Fit, as near as
    ComfyUI lets it; a test holds them together. A whole camera is for programs alone: no sentence asks for it.
    """

    person: int | None = None  # of several; None is the one in most frames
    camera: Camera | None = None  # instead of the file's: of every frame, or one for all
    image_size: tuple[int, int] | None = None  # height, width of the full picture, where the file does not say it
    fps: float | None = None
    mirror: bool = False  # swap left and right of an ARKit recording
    legacy10: bool = False  # ten expression values are those of SMPL-X's old 10 + 10 file
    focal: float | None = None  # pixels, where the file does not say it, or instead of what it says

    def __post_init__(self) -> None:
        if self.focal is not None and not 0 < self.focal <= LONGEST_FOCAL:
            raise ValueError(
                f"`focal` is {self.focal:g}, expected a focal length above 0 in pixels, at most {LONGEST_FOCAL:,.0f}."
            )
        if self.camera is not None and self.focal is not None:
            raise ValueError("A whole camera is given, and `focal` beside it, which would change it. Give one of them.")
        if self.image_size is not None:
            sides = tuple(self.image_size)
            if len(sides) != 2 or not all(1 <= side <= MAX_SIDE for side in sides):
                raise ValueError(
                    f"`image_size` is {self.image_size}, expected height and width in pixels, 1 to {MAX_SIDE:,} each."
                )


def poses(num_frames: int, **parts: np.ndarray) -> np.ndarray:
    """[F, 55, 3] from parts by the names of `PARTS`, each [F, ...] axis-angle; the rest stays at zero."""
    full = np.zeros((num_frames, NUM_JOINTS, 3))
    for name, value in parts.items():
        joints = PARTS[name]
        full[:, joints] = value.reshape(num_frames, joints.stop - joints.start, 3)
    return full


def build(
    betas: np.ndarray,  # [B], or [F, B] of which the mean is taken: one person has one shape
    expression: np.ndarray,  # [F, E]
    space: str,
    full_pose: np.ndarray,  # [F, 55, 3]
    translation: np.ndarray,  # [F, 3]
    camera: Camera | None,  # None only where there are no frames
    model_id: str,
    fps: float,
    frame_ids: Any = None,
    valid: np.ndarray | None = None,
    eyelids: np.ndarray | None = None,  # [F, 2] left, right, 0 open, 1 closed
) -> SMPLXFit:
    """The fit; its own class checks shapes, NaN and zero frames."""
    if len(expression) == 0:
        raise Unnamed("The fit has no frames. Track the clip again, or choose another file.")
    betas = np.asarray(betas, np.float64)
    if betas.ndim == 2:
        betas = betas.mean(0) if len(betas) else betas.reshape(-1)
    with checks_of_types():
        return SMPLXFit(
            betas=_floats(betas),
            expression=_floats(expression),
            poses=_floats(full_pose),
            translation=_floats(translation),
            camera=camera,
            expression_space=space,
            model_id=model_id,
            fps=float(fps),
            valid=None if valid is None else torch.from_numpy(np.asarray(valid, bool)),
            frame_ids=None if frame_ids is None else torch.as_tensor(list(frame_ids), dtype=torch.int64),
            eyelids=None if eyelids is None else _floats(eyelids),
        )


def neutral_expression(name: str, num_frames: int) -> np.ndarray:
    """[F, 10] zeros for trackers of bodies that see no face: neutral is zero in every space."""
    log.warning("%s holds no expressions: the face stays neutral. Use it for the motion of head and body.", name)
    return np.zeros((num_frames, 10))


def ten_expressions(options: Options, name: str) -> str:
    """The space of ten SMPL-X expressions: the new file's first ten are not the old file's ten."""
    if options.legacy10:
        return "smplx10"
    log.warning("%s does not say which SMPL-X file its 10 expressions are of: the first ten of the 100 are taken. "
                "Where they are those of the old 10 + 10 file, read it with `legacy10`.", name)  # fmt: skip
    return "smplx100"


def sides(image_size: tuple[int, int] | None, fallback: tuple[float, float], name: str) -> tuple[int, int]:
    """The user's picture size, or one that is good enough to look at: (height, width)."""
    if image_size is not None:
        return image_size
    size = max(round(fallback[0]), 1), max(round(fallback[1]), 1)
    log.warning("%s does not say how large its pictures are: %d×%d (width×height) is assumed. Projection does not "
                "depend on it; give `image_size` to be exact.", name, size[1], size[0])  # fmt: skip
    return size


def given_camera(options: Options, num_frames: int) -> Camera | None:
    """The user's camera for `num_frames` frames."""
    camera = options.camera
    if camera is None or len(camera) == num_frames:
        return camera
    if len(camera) != 1:
        raise Unnamed(f"The given camera has {len(camera)} frames, the fit {num_frames}. Give one, or as many.")
    return camera.repeat(num_frames)


def assumed_camera(options: Options, num_frames: int, why: str) -> Camera:
    """The user's lens at the world's origin, for trackers whose world is the camera's own and a file without one.

    Raises:
        Refusal: with the sentence `why`, where the user does not give all that it takes.
    """
    if options.focal is None or options.image_size is None:
        raise Refusal(why)
    height, width = options.image_size
    k = cameras.intrinsics(np.full(num_frames, options.focal), np.tile([width / 2, height / 2], (num_frames, 1)))
    return cameras.opencv(k, np.tile(np.eye(4), (num_frames, 1, 1)), options.image_size)


def with_options(fit: SMPLXFit, options: Options) -> SMPLXFit:
    """The fit with what the user gives instead of what its file says, whatever its format.

    Raises:
        Refusal: the camera is of pictures of another size, or the given focal length is no lens's for this one.
    """
    camera = given_camera(options, fit.num_frames) or fit.camera
    if options.focal is not None:
        with checks_of_types():
            require_lens(options.focal, camera.image_size, "`focal`")
        camera = cameras.with_focal(camera, options.focal)
    if options.image_size is not None and camera.image_size != tuple(options.image_size):
        (height, width), (said_height, said_width) = camera.image_size, options.image_size
        raise Unnamed(
            f"Its camera is of pictures of {width}×{height} pixels (width×height), and `image_size` says "
            f"{said_width}×{said_height}. Leave it out, or choose the file that was tracked from those pictures."
        )
    with checks_of_types():
        return fit.replace(camera=camera, fps=fit.fps if options.fps is None else float(options.fps))


def _floats(array: np.ndarray) -> torch.Tensor:
    with np.errstate(over="ignore"):  # becomes infinite, and is refused as that
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
