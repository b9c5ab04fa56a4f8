"""SMPLer-X (5f0df54): `smplx/{frame:05}_{person}.npz` beside `meta/{frame:05}_{person}.json`.

The camera is OpenCV's with the world as its own frame, focal length and principal point in pixels of the full picture.
"""

from __future__ import annotations

import re

import numpy as np

from ...types import Camera, SMPLXFit
from . import cameras
from .arrays import read_npz
from .frames import Frame, choose_person, in_order, read_all, stack
from .into_fit import Options, assumed_camera, build, given_camera, poses, sides, ten_expressions
from .mixed import shapes_of
from .source import Source, open_folder, read_json
from .values import box, value_of

NAME = "SMPLer-X"
LOOKS_LIKE = "a folder smplx/ of 00000_0.npz beside meta/"
FILE = re.compile(r"(\d+)_(\d+)\.npz")
KEYS = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose", "leye_pose", "reye_pose",
        "betas", "expression", "transl")  # fmt: skip
VALUES = 10
FPS = 30.0


def recognise(source: Source) -> bool:
    if source.kind == "npz":
        return source.has(*KEYS)
    folder = source.inside("smplx")
    if folder is None:
        return False
    # a run that found nobody leaves both folders empty
    return any(FILE.fullmatch(name) for name in folder.files) or ("meta" in source.folders and not folder.files)


def read(source: Source, options: Options) -> SMPLXFit:
    frames, contents = _contents(source, options)
    count = len(frames)
    meta = None if options.camera else _camera(source, frames, options)
    full_pose = poses(
        count,
        global_orient=stack(contents, frames, "global_orient", 3), body_pose=stack(contents, frames, "body_pose", 63),
        jaw=stack(contents, frames, "jaw_pose", 3),
        left_eye=stack(contents, frames, "leye_pose", 3), right_eye=stack(contents, frames, "reye_pose", 3),
        left_hand=stack(contents, frames, "left_hand_pose", 45),
        right_hand=stack(contents, frames, "right_hand_pose", 45),
    )  # fmt: skip
    return build(
        shapes_of(contents, frames, "betas", VALUES), stack(contents, frames, "expression", VALUES),
        ten_expressions(options, source.path.name), full_pose, stack(contents, frames, "transl", 3),
        given_camera(options, count) or meta, "smplx", options.fps or FPS, [frame.number for frame in frames],
    )  # fmt: skip


def _contents(source: Source, options: Options) -> tuple[list[Frame], list[dict]]:
    if source.kind == "npz":
        match = FILE.fullmatch(source.path.name)
        frames = [Frame(int(match[1]) if match else 0, source.path)]
    else:
        folder = source.inside("smplx")
        found = [(int(m[1]), int(m[2]), m[0]) for m in map(FILE.fullmatch, folder.files) if m]
        person = choose_person([(frame, who) for frame, who, _ in found], options.person, source.path.name)
        frames = in_order(folder.path, [(frame, name) for frame, who, name in found if who == person])
    return frames, read_all(frames, lambda path: read_npz(path, KEYS))


def _camera(source: Source, frames: list[Frame], options: Options) -> Camera:
    folder = frames[0].path.parent.parent / "meta"
    have = set(open_folder(folder).files) if folder.is_dir() else set()
    of_meta = [Frame(frame.number, folder / f"{frame.path.stem}.json") for frame in frames]
    missing = next((frame.path.name for frame in of_meta if frame.path.name not in have), None)
    if missing:
        return assumed_camera(
            options, len(frames), f"{source.path.name} lacks meta/{missing}, which holds the camera of its frame. Give "
            f"the whole output folder of SMPLer-X, or the camera's `focal` and `image_size`."
        )  # fmt: skip
    meta = read_all(of_meta, read_json)
    boxes = np.array([_far_corner(content, frame) for content, frame in zip(meta, of_meta, strict=True)])
    size = sides(options.image_size, (boxes[:, 1].max(), boxes[:, 0].max()), source.path.name)
    k = cameras.intrinsics(stack(meta, of_meta, "focal", 2), stack(meta, of_meta, "princpt", 2))
    return cameras.opencv(k, np.tile(np.eye(4), (len(frames), 1, 1)), size)


def _far_corner(meta: dict, frame: Frame) -> np.ndarray:
    """Right and bottom of the person's box, the only hint of how large the picture is."""
    key = "bbox_mmdet" if "bbox_mmdet" in meta else "bbox"
    left_top_size = box(value_of(meta, key, frame.path.name), f"{frame.path.name}: {key}")
    return left_top_size[:2] + left_top_size[2:]
