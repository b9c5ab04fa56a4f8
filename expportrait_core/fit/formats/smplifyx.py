"""SMPLify-X: `results/{picture}/{person:03d}.pkl`.

The focal length (5,000 unless the user chose another) and the picture's size are not written; the centre is the
picture's. Hands are 12 PCA values and bodies may be VPoser's 32: both need files that are not here, so the hands and
such a body stay neutral, and it is said.
"""

from __future__ import annotations

import re

import numpy as np

from ...body.unpickle import read_pickle
from ...printable import log_of
from ...types import Camera, SMPLXFit
from . import cameras
from .frames import Frame, choose_person, in_order, picture_numbers, read_all, stack
from .into_fit import Options, build, given_camera, poses, sides, ten_expressions
from .mixed import shapes_of, warn_names
from .source import Source, open_folder
from .values import numbers, value_of

NAME = "SMPLify-X"
LOOKS_LIKE = "a folder results/ of folders with 000.pkl"
PERSON = re.compile(r"(\d{3})\.pkl")
KEYS = {"camera_rotation", "camera_translation", "betas", "global_orient", "expression"}
FOCAL, SIZE, BODY, HAND = 5000.0, (1080, 1920), 63, 45
FPS = 25.0

log = log_of(__name__)


def recognise(source: Source) -> bool:
    if source.kind == "pickle":
        return set(source.keys) >= KEYS
    return source.kind == "folder" and bool(_people(source, first=True))


def read(source: Source, options: Options) -> SMPLXFit:
    name = source.path.name
    if source.kind == "pickle":
        frames, contents = [Frame(0, source.path)], [source.content]
    else:
        found = _people(source)
        warn_names(sorted({path.partition("/")[0] for _, _, path in found if "/" in path}), name)
        person = choose_person([(frame, who) for frame, who, _ in found], options.person, name)
        frames = in_order(_results(source).path, [(frame, path) for frame, who, path in found if who == person])
        contents = read_all(frames, read_pickle)
    count = len(frames)
    parts = {"global_orient": stack(contents, frames, "global_orient", 3),
             "jaw": stack(contents, frames, "jaw_pose", 3),
             "left_eye": stack(contents, frames, "leye_pose", 3),
             "right_eye": stack(contents, frames, "reye_pose", 3)}  # fmt: skip
    for part, key, size, why in (
        ("body_pose", "body_pose", BODY, "VPoser's latent, which needs VPoser's network"),
        ("left_hand", "left_hand_pose", HAND, "PCA values, which need the SMPL-X file"),
        ("right_hand", "right_hand_pose", HAND, "PCA values, which need the SMPL-X file"),
    ):
        values = numbers(value_of(contents[0], key, frames[0].path.name), f"{frames[0].path.name}: {key}").size
        if values == size:
            parts[part] = stack(contents, frames, key, size)
        else:
            log.warning("%s: %s are %d numbers (%s): it stays neutral.", name, key, values, why)
    expression = stack(contents, frames, "expression", 10)
    return build(
        shapes_of(contents, frames, "betas", 10), expression, ten_expressions(options, name),
        poses(count, **parts), np.zeros((count, 3)),
        given_camera(options, count) or _camera(frames, contents, options, name), "smplx", options.fps or FPS,
        [frame.number for frame in frames],
    )  # fmt: skip


def _results(source: Source) -> Source:
    return source.inside("results") or source


def _people(source: Source, first: bool = False) -> list[tuple[int, int, str]]:
    """(frame, person, path in the results folder); pictures are numbered by their names, or else by their order."""
    results, found = _results(source), []
    pictures = results.folders
    alone = [m for m in map(PERSON.fullmatch, source.files) if m]
    if alone:  # the folder of one picture
        return [(*picture_numbers([source.path.name]), int(m[1]), m[0]) for m in alone]
    for number, picture in zip(picture_numbers(pictures), pictures, strict=True):
        inside = open_folder(results.path / picture).files
        found += [(number, int(m[1]), f"{picture}/{m[0]}") for m in map(PERSON.fullmatch, inside) if m]
        if first:
            break
    return found


def _camera(frames: list[Frame], contents: list[dict], options: Options, name: str) -> Camera:
    size = sides(options.image_size, SIZE, name)
    if options.focal is None:
        log.warning("%s does not write its focal length: %g pixels are taken, SMPLify-X's default. Give `focal` where "
                    "it was another.", name, FOCAL)  # fmt: skip
    rotation = stack(contents, frames, "camera_rotation", 3, 3)
    k = cameras.intrinsics(np.full(len(frames), FOCAL), np.tile([size[1] / 2, size[0] / 2], (len(frames), 1)))
    return cameras.opencv(k, cameras.extrinsics(rotation, stack(contents, frames, "camera_translation", 3)), size)
