"""BEAT2 and EMAGE (PantoMatrix c7356f3): one `.npz` of a clip, SMPL-X with 300 shape and 100 expression values.

World motion, y up, without a camera.
"""

from __future__ import annotations

from ...printable import log_of
from ...types import NUM_JOINTS, SMPLXFit
from . import cameras
from .arrays import read_npz
from .into_fit import Options, build, given_camera, ten_expressions
from .source import Source
from .values import exactly, frame_rate, shape_values

NAME = "BEAT2 / EMAGE"
LOOKS_LIKE = "an .npz with betas, poses, expressions and trans"
KEYS = ("betas", "poses", "expressions", "trans", "mocap_frame_rate")
FPS = 30.0  # of BEAT2's motion, where the file does not say it
SIZE = (512, 512)

log = log_of(__name__)


def recognise(source: Source) -> bool:
    ours = {"format", "K", "w2c", "expression_space"} & set(source.keys)  # this package's own has BEAT2's arrays too
    return source.kind == "npz" and source.has("betas", "poses", "expressions", "trans") and not ours


def read(source: Source, options: Options) -> SMPLXFit:
    arrays, name = read_npz(source.path, KEYS), source.path.name
    expression = exactly(arrays["expressions"], f"{name}: expressions", None, None)
    frames = len(expression)
    full_pose = exactly(arrays["poses"], f"{name}: poses", frames, NUM_JOINTS * 3)
    translation = exactly(arrays["trans"], f"{name}: trans", frames, 3)
    betas = shape_values(arrays["betas"], f"{name}: betas")
    camera = given_camera(options, frames)
    if camera is None and frames:
        log.warning("%s has no camera; one in front of the first frame's face is assumed, with the `focal` and "
                    "`image_size` that you give.", name)  # fmt: skip
        camera = cameras.frontal(frames, translation[0] + [0, cameras.FACE_HEIGHT, 0], options.image_size or SIZE)
    fps = options.fps or frame_rate(arrays.get("mocap_frame_rate", FPS), f"{name}: mocap_frame_rate")
    space = "smplx100" if expression.shape[1] > 10 else ten_expressions(options, name)
    full_pose = full_pose.reshape(frames, NUM_JOINTS, 3)
    return build(betas, expression, space, full_pose, translation, camera, "smplx", fps)
