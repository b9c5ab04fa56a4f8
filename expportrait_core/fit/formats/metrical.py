"""metrical-tracker: `checkpoint/{frame}.frame`, torch files of FLAME's values and an `opencv` block.

The head never turns in FLAME's space; the camera goes around it. Its R, t and K are OpenCV's, for the tracker's crop.
"""

from __future__ import annotations

import numpy as np

from ...types import Camera, SMPLXFit
from . import cameras
from .frames import Frame, eyelids_of, how_many, stack, stacked_turns
from .into_fit import Options, build, given_camera, poses
from .mixed import one_shape, one_size
from .pixel3dmm import first_frame, read_frames
from .rotations import from_6d
from .source import Source

NAME = "metrical-tracker"
LOOKS_LIKE = "a folder checkpoint/ of 00000.frame with an opencv block"
FPS = 25.0


def recognise(source: Source) -> bool:
    first = first_frame(source)
    return first is not None and "opencv" in first


def read(source: Source, options: Options) -> SMPLXFit:
    frames, contents = read_frames(source)
    count = len(frames)
    eyes = stacked_turns(from_6d, contents, frames, "flame.eyes", 2, 6)
    jaw = stacked_turns(from_6d, contents, frames, "flame.jaw", 6)
    shape = one_shape(contents, frames, "flame.shape")
    values = how_many(contents, frames, "flame.exp")
    return build(
        shape, stack(contents, frames, "flame.exp", values), f"flame{values}",
        poses(count, jaw=jaw, left_eye=eyes[:, 0], right_eye=eyes[:, 1]), np.zeros((count, 3)),
        given_camera(options, count) or _camera(frames, contents), "flame", options.fps or FPS,
        [frame.number for frame in frames],
        eyelids=eyelids_of(contents, frames, "flame.eyelids"),
    )  # fmt: skip


def _camera(frames: list[Frame], contents: list[dict]) -> Camera:
    size = one_size(contents, frames, "img_size")
    w2c = cameras.extrinsics(stack(contents, frames, "opencv.R", 3, 3), stack(contents, frames, "opencv.t", 3))
    return cameras.opencv(stack(contents, frames, "opencv.K", 3, 3), w2c, size)
