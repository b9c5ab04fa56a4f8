"""EMICA and EMOCA (inferno ac21bcd7): a folder a frame, one `.npy` a key.

EMICA writes `shape`, `exp` (100), `jawpose`, `globalpose` and `cam`; EMOCA and DECA write `exp` (50) and `pose` (head
and jaw). Rotations are axis-angle; the camera is orthographic on a crop of 224 pixels whose place in the source is not
written.
"""

from __future__ import annotations

import logging
import re

import numpy as np

from ...types import Camera, SMPLXFit
from . import cameras
from .arrays import read_npy
from .build import Options, build, given_camera, poses
from .frames import Frame, choose_person, in_order, read_all, stack
from .source import Source, open_folder

NAME = "EMICA / EMOCA"
LOOKS_LIKE = "folders like 00000_000/ with shape.npy, exp.npy, cam.npy"
FOLDER = re.compile(r"\D*?(\d+)(?:_(\d+))?")
KEYS = ("shape", "exp", "cam", "jawpose", "globalpose", "pose")
SIDE = 224
FPS = 25.0

log = logging.getLogger(__name__)


def recognise(source: Source) -> bool:
    if source.kind != "folder":
        return False
    if _is_frame(source):
        return True
    first = next((name for name in source.folders if FOLDER.fullmatch(name)), None)
    return first is not None and _is_frame(open_folder(source.path / first))


def read(source: Source, options: Options) -> SMPLXFit:
    frames = [Frame(0, source.path)] if _is_frame(source) else _frames(source, options)
    contents = read_all(frames, _read_frame)
    count = len(frames)
    if "pose" in contents[0]:
        pose = stack(contents, frames, "pose", 6)
        head, jaw = pose[:, :3], pose[:, 3:]
    else:
        head, jaw = stack(contents, frames, "globalpose", 3), stack(contents, frames, "jawpose", 3)
    values = contents[0]["exp"].size if "exp" in contents[0] else 100  # where it is not, `stack` says so
    return build(
        stack(contents, frames, "shape", contents[0]["shape"].size if "shape" in contents[0] else 300),
        stack(contents, frames, "exp", values), f"flame{values}", poses(count, global_orient=head, jaw=jaw),
        np.zeros((count, 3)), given_camera(options, count) or _camera(frames, contents), "flame", options.fps or FPS,
        [frame.number for frame in frames],
    )  # fmt: skip


def _is_frame(source: Source) -> bool:
    have = set(source.files)
    return {"shape.npy", "exp.npy", "cam.npy"} <= have and ("pose.npy" in have or "jawpose.npy" in have)


def _frames(source: Source, options: Options) -> list[Frame]:
    """Folders `{frame}_{face}` of one face."""
    found = [(int(m[1]), int(m[2] or 0), m[0]) for m in map(FOLDER.fullmatch, source.folders) if m]
    person = choose_person([(frame, who) for frame, who, _ in found], options.person, source.path.name)
    return in_order(source.path, [(frame, name) for frame, who, name in found if who == person])


def _read_frame(folder) -> dict[str, np.ndarray]:
    return {key: read_npy(path) for key in KEYS if (path := folder / f"{key}.npy").is_file()}


def _camera(frames: list[Frame], contents: list[dict]) -> Camera:
    log.warning("The camera of %s is that of the tracker's crop of %d pixels; where the crop lay in the picture is "
                "not written. Give `camera` to place it.", frames[0].path.parent.name, SIDE)  # fmt: skip
    cam = stack(contents, frames, "cam", 3)
    return cameras.orthographic(cam[:, 0], cam[:, 1:], SIDE, y_up=True)
