"""GVHMR: `hmr4d_results.pt`, a torch file of a whole clip. A body without jaw, expressions and hands; OpenCV camera."""

from __future__ import annotations

import numpy as np

from ...types import SMPLXFit
from . import cameras
from .frames import Frame
from .into_fit import Options, build, given_camera, neutral_expression, poses
from .mixed import same_size
from .source import Source, open_source
from .values import exactly, value_of

NAME = "GVHMR"
LOOKS_LIKE = "hmr4d_results.pt"
FILE = "hmr4d_results.pt"
FPS = 30.0


def recognise(source: Source) -> bool:
    if source.kind == "folder":
        return FILE in source.files
    return source.kind == "torch" and source.has("smpl_params_incam", "K_fullimg")


def read(source: Source, options: Options) -> SMPLXFit:
    if source.kind == "folder":
        source = open_source(source.path / FILE)
    name, content = source.path.name, source.content

    def value(key: str, *shape: int | None):
        return exactly(value_of(content, key, name), f"{name}: {key}", *shape)

    body = value("smpl_params_incam.body_pose", None, 63)
    count = len(body)
    k = value("K_fullimg", count, 3, 3)
    full_pose = poses(count, global_orient=value("smpl_params_incam.global_orient", count, 3), body_pose=body)
    camera = given_camera(options, count)
    if camera is None and count:
        size = options.image_size or _picture(k, source)
        identity = cameras.extrinsics(k * 0 + [[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], body[:, :3] * 0)
        camera = cameras.opencv(k, identity, size)
    return build(
        value("smpl_params_incam.betas", count, None), neutral_expression(name, count), "smplx100", full_pose,
        value("smpl_params_incam.transl", count, 3), camera, "smplx", options.fps or FPS,
    )  # fmt: skip


def _picture(k: np.ndarray, source: Source) -> tuple[int, int]:
    """Height and width: the centre of K is the picture's."""
    sizes = [(round(2 * y), round(2 * x)) for x, y in k[:, :2, 2]]
    frames = [Frame(row, source.path) for row in range(len(k))]
    return same_size(sizes, frames, "twice the centre in K_fullimg (height×width)")
