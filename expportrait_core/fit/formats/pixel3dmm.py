"""Pixel3DMM (98b5d79): `checkpoint/{frame:05d}.frame`, torch files of FLAME's values and an OpenGL camera.

Rotations of jaw, neck, eyes and head are 6D. The head's vertices are turned by R and moved by t after FLAME has posed
them: R turns about the origin and not about FLAME's root joint, so it becomes part of the camera, which then goes
around the head. The camera sees the tracker's square crop; where the crop lay in the source is not in the file.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from ...printable import log_of
from ...types import Camera, SMPLXFit
from ..refusal import Refusal, of_file
from . import cameras
from .frames import Frame, eyelids_of, numbered, read_all, stack, stacked_turns
from .into_fit import Options, build, given_camera, poses
from .mixed import one_shape, one_size
from .rotations import from_6d
from .source import Source
from .torch_file import read_torch
from .values import value_of, whole_number

NAME = "Pixel3DMM"
LOOKS_LIKE = "a folder checkpoint/ of 00000.frame with R_rotation_matrix"
FPS = 25.0

log = log_of(__name__)


def recognise(source: Source) -> bool:
    first = first_frame(source)
    return first is not None and "R_rotation_matrix" in first.get("flame", {})


def first_frame(source: Source) -> dict | None:
    """The content of the first `.frame` file, which this tracker and metrical-tracker both write."""
    if source.kind == "torch":
        content = source.content
    else:
        folder = frames_folder(source)
        if folder is None:
            return None
        content = of_file(read_torch, folder.path / next(name for name in folder.files if name.endswith(".frame")))
    return content if isinstance(content, dict) and isinstance(content.get("flame"), dict) else None


def frames_folder(source: Source) -> Source | None:
    folder = source.inside("checkpoint") or source
    return folder if any(name.endswith(".frame") for name in folder.files) else None


def read_frames(source: Source) -> tuple[list[Frame], list[dict]]:
    if source.kind == "torch":
        number = whole_number(source.content.get("frame_id", 0), f"{source.path.name}: frame_id")
        return [Frame(number, source.path)], [source.content]
    folder = frames_folder(source)
    frames = numbered(folder.path, folder.files, r"(\d+)\.frame")
    contents = read_all(frames, read_torch)
    _warn_renamed(frames, contents)
    return frames, contents


def _warn_renamed(frames: list[Frame], contents: list[dict]) -> None:
    """The number is in the file, too: one that was copied from elsewhere says another than the files beside it."""
    apart = [whole_number(content.get("frame_id", frame.number), f"{frame.path.name}: frame_id") - frame.number
             for frame, content in zip(frames, contents, strict=True)]  # fmt: skip
    usual = Counter(apart).most_common(1)[0][0]
    odd = next((row for row, shift in enumerate(apart) if shift != usual), None)
    if odd is not None:
        log.warning("%s says that it is frame %d, and so it does not go with the files beside it. It is read as frame "
                    "%d; remove it where it is of another clip.", frames[odd].path.name,
                    frames[odd].number + apart[odd], frames[odd].number)  # fmt: skip


def read(source: Source, options: Options) -> SMPLXFit:
    frames, contents = read_frames(source)
    count = len(frames)
    eyes = stacked_turns(from_6d, contents, frames, "flame.eyes", 2, 6)
    neck, jaw = (stacked_turns(from_6d, contents, frames, key, 6) for key in ("flame.neck", "flame.jaw"))
    full_pose = poses(count, neck=neck, jaw=jaw, left_eye=eyes[:, 0], right_eye=eyes[:, 1])
    shape = one_shape(contents, frames, "flame.shape")
    return build(
        shape, stack(contents, frames, "flame.exp", 100), "flame100", full_pose,
        np.zeros((count, 3)), given_camera(options, count) or _camera(frames, contents), "flame",
        options.fps or FPS, [frame.number for frame in frames],
        eyelids=eyelids_of(contents, frames, "flame.eyelids"),
    )  # fmt: skip


def _camera(frames: list[Frame], contents: list[dict]) -> Camera:
    name = frames[0].path.name
    named = value_of(contents[0], "camera", name)
    keys = sorted(map(str, named)) if isinstance(named, dict) else []
    serial = next((key.removeprefix("R_base_") for key in keys if key.startswith("R_base_")), None)
    if serial is None:
        raise Refusal(f"{name} has no camera R_base_… in it. Track the clip again.")
    size = one_size(contents, frames, "img_size")
    side = size[0]
    focal = stack(contents, frames, "camera.fl", 1)[:, 0] * side
    # the tracker's pixels count from the centre of the first one (hence a half), its x is mirrored about size - 1
    point = stack(contents, frames, "camera.pp", 2) * (side / 2 + 0.5)
    centre = point + [side / 2, side / 2 + 1]
    w2c = cameras.extrinsics(
        stack(contents, frames, f"camera.R_base_{serial}", 3, 3), stack(contents, frames, f"camera.t_base_{serial}", 3)
    )
    rotation = stack(contents, frames, "flame.R_rotation_matrix", 3, 3)
    w2c = w2c @ cameras.extrinsics(rotation, stack(contents, frames, "flame.t", 3))
    return cameras.opengl(cameras.intrinsics(focal, centre), w2c, size)
