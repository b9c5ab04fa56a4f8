"""DELTA's tracker: `{subject}_f{frame:06}_param.pkl`, SMPL-X with 55 rotation matrices a frame.

The orthographic camera's axes are the picture's (x right, y down): the body's own rotation already turns it over. It is
that of the square picture that DELTA resized its input to, whose side is not written.
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from ...body.unpickle import read_pickle
from ...types import SMPLXFit
from ..refusal import Refusal
from . import cameras
from .frames import Frame, how_many, numbered, read_all, stack, stacked_turns
from .into_fit import Options, build, given_camera, ten_expressions
from .mixed import shapes_of
from .rotations import from_matrix
from .source import Source

NAME = "DELTA"
LOOKS_LIKE = "a folder of person_f000000_param.pkl"
PATTERN = r".*_f(\d+)_param\.pkl"
SUBJECT = r"(.*)_f\d+_param\.pkl"
KEYS = {"shape", "full_pose", "cam", "exp"}
SIDE = 512
FPS = 25.0


def recognise(source: Source) -> bool:
    if source.kind == "folder":
        return any(re.fullmatch(PATTERN, name) for name in source.files)
    return source.kind == "pickle" and set(source.keys) >= KEYS


def read(source: Source, options: Options) -> SMPLXFit:
    if source.kind == "folder":
        _require_one_subject(source)
        frames = numbered(source.path, source.files, PATTERN)
        contents = read_all(frames, read_pickle)
    else:
        match = re.fullmatch(PATTERN, source.path.name)
        frames, contents = [Frame(int(match[1]) if match else 0, source.path)], [source.content]
    count = len(frames)
    full_pose = stacked_turns(from_matrix, contents, frames, "full_pose", 55, 3, 3)
    cam = stack(contents, frames, "cam", 3)
    side = max(options.image_size) if options.image_size else SIDE
    camera = given_camera(options, count)
    camera = camera or cameras.orthographic(cam[:, 0], cam[:, 1:], side, y_up=False, focal=options.focal)
    betas, values = (how_many(contents, frames, key) for key in ("shape", "exp"))
    space = ten_expressions(options, source.path.name) if values == 10 else f"smplx{values}"
    return build(
        shapes_of(contents, frames, "shape", betas), stack(contents, frames, "exp", values), space, full_pose,
        np.zeros((count, 3)), camera, "smplx", options.fps or FPS, [frame.number for frame in frames],
    )  # fmt: skip


def _require_one_subject(source: Source) -> None:
    subjects = Counter(match[1] for match in (re.fullmatch(SUBJECT, name) for name in source.files) if match)
    if len(subjects) > 1:
        found = ", ".join(f"{subject} in {count}" for subject, count in sorted(subjects.items())[:6])
        raise Refusal(
            f"{source.path.name} holds frames of {len(subjects)} subjects ({found}), expected those of one. Give each "
            f"subject's files their own folder."
        )
