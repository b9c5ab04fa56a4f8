"""EHM-Tracker / GUAVA (176f4d8): `optim_tracking_ehm.pkl` with one entry a frame, `id_share_params.pkl` beside it.

The body is SMPL-X's with FLAME's head on it: expression, jaw and eyes are those in `flame_coeffs`, and the body's own
`exp` is not used. The camera is PyTorch3D's with a focal length of 24 on a crop of 1,024 pixels, and `M_c2o-hd` leads
from the crop to the source.
"""

from __future__ import annotations

import re

import numpy as np

from ...body.unpickle import read_pickle
from ...printable import log_of
from ...types import Camera, SMPLXFit
from ..refusal import Refusal, of_file
from . import cameras
from .frames import Frame, eyelids_of, how_many, in_order, stack
from .into_fit import Options, build, given_camera, poses, sides
from .mixed import warn_names
from .source import Source
from .values import shape_values, value_of

NAME = "EHM-Tracker / GUAVA"
LOOKS_LIKE = "optim_tracking_ehm.pkl beside id_share_params.pkl"
FILE, SHARED = "optim_tracking_ehm.pkl", "id_share_params.pkl"
FOCAL, CROP = 24.0, 1024
FPS = 25.0

log = log_of(__name__)


def recognise(source: Source) -> bool:
    if source.kind == "folder":
        return FILE in source.files
    first = next(iter(source.content.values()), None) if isinstance(source.content, dict) else None
    return source.kind == "pickle" and isinstance(first, dict) and {"smplx_coeffs", "flame_coeffs"} <= set(first)


def read(source: Source, options: Options) -> SMPLXFit:
    path = source.path / FILE if source.kind == "folder" else source.path
    content = of_file(read_pickle, path) if source.kind == "folder" else source.content
    if not isinstance(content, dict) or not content:
        raise Refusal(f"{path.name} has no frames. Track the clip again.")
    shared = path.with_name(SHARED)
    if not shared.is_file():
        raise Refusal(f"{path.name} has no {SHARED} beside it, which holds the person's shape. Copy both files.")
    keys = {f"{key} of {path.name}": key for key in content}  # what sentences call the frames
    warn_names([str(key) for key in content], path.name)
    frames = in_order(path.parent, [(_number(key, path.name), called) for called, key in keys.items()])
    contents = [content[keys[frame.path.name]] for frame in frames]
    count = len(frames)
    eyes = stack(contents, frames, "flame_coeffs.eye_pose_params", 2, 3)
    full_pose = poses(
        count,
        global_orient=stack(contents, frames, "smplx_coeffs.global_pose", 3),
        body_pose=stack(contents, frames, "smplx_coeffs.body_pose", 63),
        jaw=stack(contents, frames, "flame_coeffs.jaw_params", 3), left_eye=eyes[:, 0], right_eye=eyes[:, 1],
        left_hand=stack(contents, frames, "smplx_coeffs.left_hand_pose", 45),
        right_hand=stack(contents, frames, "smplx_coeffs.right_hand_pose", 45),
    )  # fmt: skip
    betas = shape_values(value_of(of_file(read_pickle, shared), "smplx_shape", SHARED), f"{SHARED}: smplx_shape")
    values = how_many(contents, frames, "flame_coeffs.expression_params")
    log.warning("%s: the head's and hands' scales and FLAME's own head shape have no place in a fit and are left out; "
                "personalisation finds the head again.", path.name)  # fmt: skip
    return build(
        betas, stack(contents, frames, "flame_coeffs.expression_params", values), f"flame{values}", full_pose,
        np.zeros((count, 3)), given_camera(options, count) or _camera(frames, contents, options, path.name), "smplx",
        options.fps or FPS, [frame.number for frame in frames],
        eyelids=eyelids_of(contents, frames, "flame_coeffs.eyelid_params"),
    )  # fmt: skip


def _number(key: object, name: str) -> int:
    match = re.fullmatch(r"\D*(\d+)", str(key))
    if not match:
        raise Refusal(f"{name} has a frame called '{key}', expected names like frame_000000.")
    return int(match[1])


def _camera(frames: list[Frame], contents: list[dict], options: Options, name: str) -> Camera:
    view = stack(contents, frames, "smplx_coeffs.camera_RT_params", 3, 4)
    crop = cameras.pytorch3d(view[:, :, :3], view[:, :, 3], np.full(len(frames), FOCAL), (CROP, CROP))
    crops = [content.get("body_crop") for content in contents]
    if not all(isinstance(inner, dict) and "M_c2o-hd" in inner for inner in crops):
        log.warning("%s lacks body_crop: the camera is that of the tracker's crop.", name)
        return crop
    to_full = stack(contents, frames, "body_crop.M_c2o-hd", 3, 3)
    corner = (to_full @ np.array([CROP, CROP, 1.0])).max(axis=0)
    return cameras.from_crop(crop, to_full, sides(options.image_size, (corner[1], corner[0]), name))
