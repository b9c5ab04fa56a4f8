"""LHM (b31e76a): `smplx_params/{frame:05}.json`, counted from 1.

No expressions. The camera is OpenCV's in pixels of the picture that LHM padded on all sides; the padding is taken off.
"""

from __future__ import annotations

import re

import numpy as np

from ...types import Camera, SMPLXFit
from ..refusal import Refusal
from . import cameras
from .frames import Frame, numbered, read_all, stack
from .into_fit import Options, build, given_camera, neutral_expression, poses
from .mixed import one_shape, same_size
from .source import Source, read_json
from .values import picture_size, whole_number

NAME = "LHM"
LOOKS_LIKE = "a folder smplx_params/ of 00001.json with focal and pad_ratio"
KEYS = {"betas", "root_pose", "body_pose", "focal", "princpt", "img_size_wh"}
FPS = 30.0


def recognise(source: Source) -> bool:
    if source.kind == "json":
        return set(source.keys) >= KEYS
    folder = _folder(source)
    if folder is None:
        return False
    first = read_json(folder.path / next(name for name in folder.files if re.fullmatch(r"\d+\.json", name)))
    return isinstance(first, dict) and set(first) >= KEYS


def read(source: Source, options: Options) -> SMPLXFit:
    if source.kind == "json":
        number = whole_number("".join(re.findall(r"\d", source.path.stem)) or 1, source.path.name)
        frames, contents = [Frame(number, source.path)], [source.content]
    else:
        folder = _folder(source)
        frames = numbered(folder.path, folder.files, r"(\d+)\.json")
        contents = read_all(frames, read_json)
    count = len(frames)
    full_pose = poses(
        count,
        global_orient=stack(contents, frames, "root_pose", 3), body_pose=stack(contents, frames, "body_pose", 63),
        jaw=stack(contents, frames, "jaw_pose", 3),
        left_eye=stack(contents, frames, "leye_pose", 3), right_eye=stack(contents, frames, "reye_pose", 3),
        left_hand=stack(contents, frames, "lhand_pose", 45), right_hand=stack(contents, frames, "rhand_pose", 45),
    )  # fmt: skip
    return build(
        one_shape(contents, frames, "betas", 10), neutral_expression(source.path.name, count), "smplx100", full_pose,
        stack(contents, frames, "trans", 3), given_camera(options, count) or _camera(frames, contents), "smplx",
        options.fps or FPS, [frame.number - 1 for frame in frames],
    )  # fmt: skip


def _folder(source: Source) -> Source | None:
    if source.kind != "folder":
        return None
    folder = source.inside("smplx_params") or source
    return folder if any(re.fullmatch(r"\d+\.json", name) for name in folder.files) else None


def _camera(frames: list[Frame], contents: list[dict]) -> Camera:
    padded = stack(contents, frames, "img_size_wh", 2)
    for content, frame in zip(contents, frames, strict=True):
        picture_size(content["img_size_wh"], f"{frame.path.name}: img_size_wh")
    ratio = stack(contents, frames, "pad_ratio", 1)
    if (ratio < 0).any():
        row = int((ratio < 0).argmax())
        raise Refusal(
            f"{frames[row].path.name}: pad_ratio is {ratio[row, 0]:g}, expected 0 or more, by which LHM padded the "
            f"picture. The file is damaged."
        )
    picture = np.round(padded / (1 + ratio))
    centre = stack(contents, frames, "princpt", 2) - (padded - picture) // 2
    k = cameras.intrinsics(stack(contents, frames, "focal", 2), centre)
    width, height = same_size([(int(w), int(h)) for w, h in picture], frames, "the picture without its padding")
    return cameras.opencv(k, np.tile(np.eye(4), (len(frames), 1, 1)), (height, width))
