"""ExAvatar (d452687): `smplx_optimized/smplx_params/{frame}.json`, one shape, `cam_params/{frame}.json` beside it.

Its own animation reads `smplx_params_smoothed`, of the same values smoothed over time, and motions are passed on with
that folder alone. It is read where it is given, or where there is no other.

Expressions are FLAME's 50, in FLAME's basis. The static offsets of face and joints belong to its own mesh and are
left out; the camera is OpenCV's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...printable import log_of
from ...types import Camera, SMPLXFit
from ..refusal import Refusal
from . import cameras
from .frames import Frame, numbered, read_all, stack
from .into_fit import Options, assumed_camera, build, given_camera, poses, sides
from .source import Source, open_folder, read_json
from .values import shape_values, shown

NAME = "ExAvatar"
LOOKS_LIKE = "a folder smplx_optimized/ with smplx_params/0.json and shape_param.json"
KEYS = ("root_pose", "body_pose", "jaw_pose", "leye_pose", "reye_pose", "lhand_pose", "rhand_pose", "expr", "trans")
PLAIN, SMOOTHED = "smplx_params", "smplx_params_smoothed"
FPS = 30.0
FARTHEST_CENTRE = 0.25  # of itself, by which a principal point moves while the picture stays. Our choice

log = log_of(__name__)


def recognise(source: Source) -> bool:
    return _folder(source) is not None


def read(source: Source, options: Options) -> SMPLXFit:
    folder = _folder(source)
    frames = numbered(folder.path, folder.files, r"(\d+)\.json")
    contents = read_all(frames, read_json)
    count, optimised = len(frames), folder.path.parent
    shape = optimised / "shape_param.json"
    if not shape.is_file():
        raise Refusal(f"{optimised.name} lacks shape_param.json, the person's shape. Give ExAvatar's whole output.")
    betas = shape_values(read_json(shape), shape.name)
    if (optimised / "face_offset.json").is_file():
        log.warning("%s has a face_offset of ExAvatar's own mesh, which is left out: personalisation finds the shape "
                    "of the face again.", source.path.name)  # fmt: skip
    full_pose = poses(
        count,
        global_orient=stack(contents, frames, "root_pose", 3), body_pose=stack(contents, frames, "body_pose", 63),
        jaw=stack(contents, frames, "jaw_pose", 3),
        left_eye=stack(contents, frames, "leye_pose", 3), right_eye=stack(contents, frames, "reye_pose", 3),
        left_hand=stack(contents, frames, "lhand_pose", 45), right_hand=stack(contents, frames, "rhand_pose", 45),
    )  # fmt: skip
    camera = given_camera(options, count) or _camera(optimised.parent, frames, options, source.path.name)
    return build(
        betas, stack(contents, frames, "expr", 50), "flame50", full_pose, stack(contents, frames, "trans", 3), camera,
        "smplx", options.fps or FPS, [frame.number for frame in frames],
    )  # fmt: skip


def _folder(source: Source) -> Source | None:
    """The folder of the frames, from itself, the optimised folder or the subject's."""
    outer = source.inside("smplx_optimized") or source
    folder = outer.inside(PLAIN)
    if folder is not None and "shape_param.json" in open_folder(folder.path.parent).files:
        return folder
    return outer.inside(SMOOTHED)  # a name that only this tracker uses


def _camera(subject: Path, frames: list[Frame], options: Options, name: str) -> Camera:
    folder = subject / "cam_params"
    of_camera = [Frame(frame.number, folder / frame.path.name) for frame in frames]
    missing = next((frame.path.name for frame in of_camera if not frame.path.is_file()), None)
    if missing:
        return assumed_camera(  # its world is the camera's own, but where COLMAP found the cameras
            options, len(frames), f"{subject.name} lacks cam_params/{missing}. Give the subject's folder, which holds "
            f"smplx_optimized and cam_params (cameras of COLMAP in sparse/ are not read), or, where COLMAP was not "
            f"used, the camera's `focal` and `image_size`."
        )  # fmt: skip
    contents = read_all(of_camera, read_json)
    centre = stack(contents, of_camera, "princpt", 2)
    k = cameras.intrinsics(stack(contents, of_camera, "focal", 2), centre)
    w2c = cameras.extrinsics(stack(contents, of_camera, "R", 3, 3), stack(contents, of_camera, "t", 3))
    middle = np.median(centre, axis=0)
    odd = np.abs(centre - middle).max(axis=1) > FARTHEST_CENTRE * middle.max()
    if odd.any():
        frame = of_camera[int(odd.argmax())]
        log.warning("cam_params/%s: princpt is %s, and %s in the middle of all frames. Where its picture is of another "
                    "size, give the frames of each size their own folder.", frame.path.name,
                    shown(centre[odd.argmax()]), shown(middle))  # fmt: skip
    width, height = 2 * middle
    return cameras.opencv(k, w2c, sides(options.image_size, (height, width), name))
