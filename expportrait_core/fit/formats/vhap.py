"""VHAP (4b64ab7): `tracked_flame_params_{epoch}.npz` of a clip, or its export with one `.npz` a frame.

FLAME in its own space. The tracker's camera stands at (0, 0, 1) and is OpenGL's; its focal length is in units of the
picture's longer side. The export moves head and cameras to the origin and writes camera-to-world matrices, OpenGL too,
into `transforms.json`.
"""

from __future__ import annotations

import re

import numpy as np

from ...printable import listed, log_of
from ...types import Camera, SMPLXFit
from ..refusal import Refusal
from . import cameras
from .arrays import read_npz
from .frames import Frame, how_many, in_order, numbered, read_all, stack, warn_gaps
from .into_fit import Options, build, given_camera, poses
from .mixed import one_shape, same_size
from .source import Source, open_folder, read_json
from .values import exactly, numbers, picture_size, shape_values, shown, value_of, whole_number

NAME = "VHAP"
LOOKS_LIKE = "tracked_flame_params_30.npz, or a folder with flame_param/00000.npz and transforms.json"
TRACKED = re.compile(r"tracked_flame_params(?:_(\d+))?\.npz")
KEYS = ("rotation", "translation", "neck_pose", "jaw_pose", "eyes_pose", "shape", "expr")
FPS = 25.0

log = log_of(__name__)


def recognise(source: Source) -> bool:
    if source.kind == "npz":
        return source.has(*KEYS)
    return source.kind == "folder" and (_export(source) is not None or any(map(TRACKED.fullmatch, source.files)))


def read(source: Source, options: Options) -> SMPLXFit:
    if source.kind == "folder" and _export(source) is not None:
        return _read_export(source, options)
    path = source.path
    if source.kind == "folder":  # several epochs lie side by side, the last one counts
        path = path / max(filter(TRACKED.fullmatch, source.files), key=lambda n: int(TRACKED.fullmatch(n)[1] or 0))
    arrays = read_npz(path, (*KEYS, "focal_length", "image_size", "timestep_id", "n_processed_frames"))
    name = path.name
    expression = exactly(arrays["expr"], f"{name}: expr", None, None)
    count = len(expression)
    camera = given_camera(options, count) or _tracked_camera(arrays, count, name)
    return build(
        shape_values(arrays["shape"], f"{name}: shape"), expression, f"flame{expression.shape[1]}",
        _poses(*(exactly(arrays[key], f"{name}: {key}", count, size) for key, size in _SIZES.items())),
        exactly(arrays["translation"], f"{name}: translation", count, 3), camera, "flame", options.fps or FPS,
        _numbers_of(arrays, count, name),
    )  # fmt: skip


_SIZES = {"rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6}


def _poses(rotation: np.ndarray, neck: np.ndarray, jaw: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    return poses(len(rotation), global_orient=rotation, neck=neck, jaw=jaw, left_eye=eyes[:, :3], right_eye=eyes[:, 3:])


def _numbers_of(arrays: dict[str, np.ndarray], count: int, name: str) -> list[int]:
    """Frame numbers: the last digits of the pictures' names, which the tracker writes ("00001", "frame_0001")."""
    names = [str(n) for n in arrays.get("timestep_id", np.zeros(0, str)).ravel()][:count]  # of all; some are tracked
    found = [re.fullmatch(r"(.*?)([0-9]{1,18})", n) for n in names]
    if len(names) != count or not all(found) or len({match[1] for match in found}) > 1:
        log.warning("%s does not number its frames, its pictures are called %s: they are counted from 0.",
                    name, shown(names[:3]) if names else "nothing")  # fmt: skip
        return list(range(count))
    numbers_ = [int(match[2]) for match in found]
    if any(b <= a for a, b in zip(numbers_, numbers_[1:])):
        raise Refusal(f"{name} has its frames out of order: {listed(names, 6)}. Track the clip again.")
    if numbers_:
        warn_gaps(name, numbers_)
    return numbers_


def _tracked_camera(arrays: dict[str, np.ndarray], count: int, name: str) -> Camera:
    if "focal_length" not in arrays or "image_size" not in arrays:
        raise Refusal(
            f"{name} holds no camera, because VHAP was given calibrated ones. Give the folder that its "
            f"export_as_nerf_dataset wrote."
        )
    height, width = picture_size(arrays["image_size"], f"{name}: image_size")
    focal = numbers(arrays["focal_length"], f"{name}: focal_length").ravel()
    if len(focal) not in (1, count) or not (np.isfinite(focal) & (focal > 0)).all():
        raise Refusal(
            f"{name}: focal_length is {shown(focal)}, expected one number above 0, or one for each of the {count} "
            f"frames. The file is damaged; track the clip again."
        )
    centre = np.tile([width / 2, height / 2], (count, 1))
    k = cameras.intrinsics(np.broadcast_to(focal * max(height, width), count), centre)
    w2c = cameras.extrinsics(np.tile(np.eye(3), (count, 1, 1)), np.tile([0.0, 0, -1], (count, 1)))
    return cameras.opengl(k, w2c, (height, width))


# ---------------------------------------------------------------------------------------------------------- the export


def _export(source: Source) -> Source | None:
    """The folder of the frames, from itself or the one around it."""
    folder = source.inside("flame_param")
    return folder if folder and any(re.fullmatch(r"\d+\.npz", name) for name in folder.files) else None


def _read_export(source: Source, options: Options) -> SMPLXFit:
    folder = _export(source)
    frames = numbered(folder.path, folder.files, r"(\d+)\.npz")
    contents = read_all(frames, lambda path: read_npz(path, KEYS))
    count = len(frames)
    parts = [stack(contents, frames, key, size) for key, size in _SIZES.items()]
    values = how_many(contents, frames, "expr")
    shape = one_shape(contents, frames, "shape")
    camera = given_camera(options, count) or _exported_camera(folder, frames)
    return build(
        shape, stack(contents, frames, "expr", values), f"flame{values}", _poses(*parts),
        stack(contents, frames, "translation", 3), camera, "flame", options.fps or FPS, [f.number for f in frames],
    )  # fmt: skip


def _exported_camera(folder: Source, frames: list[Frame]) -> Camera:
    outer = open_folder(folder.path.parent)
    name = next((n for n in ("transforms.json", "transforms_train.json") if n in outer.files), None)
    if name is None:
        raise Refusal(f"{outer.path.name} lacks transforms.json, the cameras. Give VHAP's whole export.")
    entries = value_of(read_json(outer.path / name), "frames", name)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Refusal(f"{name}: frames is {shown(entries)}, expected a list of cameras. It is damaged; export again.")
    view_of = [whole_number(entry.get("camera_index", 0), f"{name}: camera_index") for entry in entries]
    views = sorted(set(view_of))
    if len(views) > 1:
        log.warning("%s has %d cameras; camera %d is taken.", name, len(views), views[0])
    by_frame: dict[int, dict] = {}
    for entry, view in zip(entries, view_of, strict=True):
        number = whole_number(value_of(entry, "timestep_index", name), f"{name}: timestep_index")
        if view == views[0] and by_frame.setdefault(number, entry) is not entry:
            raise Refusal(
                f"{name} has frame {number} of camera {view} twice, expected one entry for each frame and camera. It "
                f"is mixed from two exports; export again, or remove the one that is wrong."
            )
    missing = next((frame.number for frame in frames if frame.number not in by_frame), None)
    if missing is not None:
        raise Refusal(f"{name} has no camera for frame {missing}. It belongs to another export, or is cut short.")
    used = in_order(outer.path, [(frame.number, name) for frame in frames])
    chosen = [by_frame[frame.number] for frame in frames]
    centre, focal = (np.concatenate([stack(chosen, used, key, 1) for key in pair], 1)
                     for pair in (("cx", "cy"), ("fl_x", "fl_y")))  # fmt: skip
    camera_to_world = stack(chosen, used, "transform_matrix", 4, 4)
    if (np.abs(np.linalg.det(camera_to_world)) < 1e-6).any():
        raise Refusal(f"{name} has a transform_matrix that cannot be inverted. It is damaged; export again.")
    sizes = [picture_size([value_of(entry, key, name) for key in ("h", "w")],
                          f"{name}: the size of its pictures (h, w)") for entry in chosen]  # fmt: skip
    size = same_size(sizes, used, "the size of the picture (h, w)")
    return cameras.opengl(cameras.intrinsics(focal, centre), np.linalg.inv(camera_to_world), size)
