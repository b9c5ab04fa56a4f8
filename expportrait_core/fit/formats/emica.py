"""EMICA and EMOCA (inferno ac21bcd7): a folder a frame, one `.npy` a key.

EMICA writes `shape`, `exp` (100), `jawpose`, `globalpose` and `cam`; EMOCA and DECA write `exp` (50) and `pose` (head
and jaw). Rotations are axis-angle; the camera is orthographic on a crop of 224 pixels whose place in the source is not
written.

inferno calls the folder of a face in a clip `{frame}_{face:03}`, and in its demo on pictures `{picture}{face:02}`, with
nothing between the picture's name and the number of the face (`ImageTestDataset.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ...printable import log_of
from ...types import Camera, SMPLXFit
from . import cameras
from .arrays import read_npy
from .frames import Frame, choose_person, how_many, in_order, picture_numbers, read_all, stack
from .into_fit import Options, build, given_camera, poses
from .mixed import shapes_of, warn_names
from .source import Source, open_folder

NAME = "EMICA / EMOCA"
LOOKS_LIKE = "folders like 00000_000/ with shape.npy, exp.npy, cam.npy"
OF_CLIP = re.compile(r"\D*?(\d+)_(\d{3,})")  # of the demo on clips: frame and face
OF_PICTURE = re.compile(r"(.*)(\d\d)")  # of the demo on pictures: the picture's name and the face
PLAIN = re.compile(r"\D*(\d+)")  # a frame alone
MOST_FACES = 20  # that the demo on pictures looks for in one
KEYS = ("shape", "exp", "cam", "jawpose", "globalpose", "pose")
SIDE = 224
FPS = 25.0

log = log_of(__name__)


def recognise(source: Source) -> bool:
    if source.kind != "folder":
        return False
    if _is_frame(source):
        return True
    first = next((name for name in source.folders if re.search(r"\d", name)), None)
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
    betas, values = (how_many(contents, frames, key) for key in ("shape", "exp"))
    return build(
        shapes_of(contents, frames, "shape", betas), stack(contents, frames, "exp", values), f"flame{values}",
        poses(count, global_orient=head, jaw=jaw), np.zeros((count, 3)),
        given_camera(options, count) or _camera(frames, contents, options.focal), "flame", options.fps or FPS,
        [frame.number for frame in frames],
    )  # fmt: skip


def _is_frame(source: Source) -> bool:
    have = set(source.files)
    return {"shape.npy", "exp.npy", "cam.npy"} <= have and ("pose.npy" in have or "jawpose.npy" in have)


def _frames(source: Source, options: Options) -> list[Frame]:
    """The folders of one face."""
    found = _named(source.folders, source.path.name)
    person = choose_person([(frame, who) for frame, who, _ in found], options.person, source.path.name)
    return in_order(source.path, [(frame, name) for frame, who, name in found if who == person])


def _named(folders: Sequence[str], folder: str) -> list[tuple[int, int, str]]:
    """(frame, face, name of the folder), by the way of naming that fits all of them."""
    names = [name for name in folders if re.search(r"\d", name)]
    clip = [OF_CLIP.fullmatch(name) for name in names]
    if all(clip):
        warn_names([match[0].removesuffix(f"_{match[2]}") for match in clip], folder)
        return [(int(match[1]), int(match[2]), match[0]) for match in clip]
    pictures = [OF_PICTURE.fullmatch(name) for name in names]
    if all(pictures) and _counts_faces(pictures):
        called = sorted({match[1] for match in pictures})
        warn_names(called, folder)
        number = dict(zip(called, picture_numbers(called), strict=True))
        return [(number[match[1]], int(match[2]), match[0]) for match in pictures]
    warn_names(names, folder)
    plain = [PLAIN.fullmatch(name) for name in names]
    if all(plain):
        return [(int(match[1]), 0, match[0]) for match in plain]
    return [(number, 0, name) for number, name in zip(picture_numbers(names), names, strict=True)]


def _counts_faces(pictures: Sequence[re.Match[str]]) -> bool:
    """Whether the last two digits number the faces of each picture from 0, and are not those of a frame's number."""
    faces: dict[str, list[int]] = {}
    for match in pictures:
        faces.setdefault(match[1], []).append(int(match[2]))
    return all(sorted(found) == list(range(len(found))) and len(found) <= MOST_FACES for found in faces.values())


def _read_frame(folder) -> dict[str, np.ndarray]:
    return {key: read_npy(path) for key in KEYS if (path := folder / f"{key}.npy").is_file()}


def _camera(frames: list[Frame], contents: list[dict], focal: float | None) -> Camera:
    log.warning("The camera of %s is that of the tracker's crop of %d pixels; where the crop lay in the picture is "
                "not written. Use how the head moves, not where it is.", frames[0].path.parent.name, SIDE)  # fmt: skip
    cam = stack(contents, frames, "cam", 3)
    return cameras.orthographic(cam[:, 0], cam[:, 1:], SIDE, y_up=True, focal=focal)
