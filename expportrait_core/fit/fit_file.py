"""The exchanged form of a fit: an `.npz` of plain arrays (BEAT2's, plus a camera and a clip), without pickle.

`betas (B,)`, `expressions (F,E)`, `poses (F,165)` axis-angle in smplx's joint order, `trans (F,3)`, `K (F,3,3)` pixels,
`w2c (F,4,4)` OpenCV, `image_size (2,)` height and width, `fps`, `valid (F,)`, `frame_ids (F,)`, optional
`landmarks (F,L,3)` with `landmark_scheme`, `expression_space`, `model_id`, `format`, `version`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..portable import open_npz, write_npz
from ..types import NUM_JOINTS, Camera, SMPLXFit

if TYPE_CHECKING:
    from .formats.build import Options
    from .formats.source import Source

FORMAT, VERSION = "expportrait.fit", 1
REQUIRED = ("betas", "expressions", "poses", "trans", "K", "w2c", "image_size", "fps", "expression_space", "model_id",
            "version")  # fmt: skip


def save_fit(fit: SMPLXFit, path: str | Path) -> Path:
    """Write a fit as `.npz`. Returns the path, with that suffix."""
    path = Path(path)
    path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
    arrays = {
        "betas": fit.betas,
        "expressions": fit.expression,
        "poses": fit.poses.flatten(1),
        "trans": fit.translation,
        "K": fit.camera.intrinsics,
        "w2c": fit.camera.world_to_camera,
        "valid": fit.valid,
        "frame_ids": fit.frame_ids,
    }
    if fit.landmarks is not None:
        arrays["landmarks"] = fit.landmarks
    named = {key: value.detach().cpu().numpy() for key, value in arrays.items()}
    named |= {
        "image_size": np.array(fit.image_size),
        "fps": np.array(fit.fps),
        "expression_space": np.array(fit.expression_space),
        "model_id": np.array(fit.model_id),
        "landmark_scheme": np.array(fit.landmark_scheme or ""),
        "format": np.array(FORMAT),
        "version": np.array(VERSION),
    }
    return write_npz(path, named)


def recognise(source: Source) -> bool:
    """This format, or what was meant to be it: a file with its keys, but perhaps not all."""
    return source.kind == "npz" and ("format" in source.keys or source.has("K", "w2c", "expression_space"))


def read(source: Source, options: Options) -> SMPLXFit:
    """Read an `.npz` in this form. Raises ValueError where it is damaged, of a newer version or has no frames."""
    return _from_arrays(_read(source.path), source.path.name)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with open_npz(path) as file:
            return {key: file[key] for key in file.files}
    except Exception as error:  # numpy lets through what zip, zlib and Python's tokenizer raise
        raise ValueError(
            f"{path.name} cannot be read as a fit ({error}). Expected an .npz of plain arrays, without Python objects."
        ) from error


def _from_arrays(arrays: dict[str, np.ndarray], name: str) -> SMPLXFit:
    missing = [key for key in REQUIRED if key not in arrays]
    if str(arrays.get("format", "")) != FORMAT or missing:
        found = ", ".join(sorted(arrays)[:12])
        raise ValueError(
            f"{name} is not a fit of this package: it holds {found}"
            + (f" and lacks {', '.join(missing)}" if missing else "")
            + ". Track the clip here, or convert the file to the arrays that fit/fit_file.py names."
        )
    if int(arrays["version"]) > VERSION:
        raise ValueError(f"{name} is version {int(arrays['version'])}, this release reads {VERSION}. Update the pack.")
    expression = _floats(arrays["expressions"])
    frames = len(expression)
    if arrays["poses"].shape != (frames, NUM_JOINTS * 3):
        raise ValueError(
            f"{name} has {frames} frames of expressions and poses of shape {list(arrays['poses'].shape)}, expected "
            f"[{frames}, {NUM_JOINTS * 3}]. The file is damaged or mixed from two clips."
        )
    height, width = (int(s) for s in arrays["image_size"])
    camera = Camera(_per_frame(arrays["K"], frames), _per_frame(arrays["w2c"], frames), (height, width))
    return SMPLXFit(
        betas=_floats(arrays["betas"]),
        expression=expression,
        poses=_floats(arrays["poses"]).unflatten(1, (NUM_JOINTS, 3)),
        translation=_floats(arrays["trans"]),
        camera=camera,
        expression_space=str(arrays["expression_space"]),
        model_id=str(arrays["model_id"]),
        fps=float(arrays["fps"]),
        valid=torch.from_numpy(arrays["valid"].astype(bool)) if "valid" in arrays else None,
        landmarks=_floats(arrays["landmarks"]) if "landmarks" in arrays else None,
        landmark_scheme=str(arrays.get("landmark_scheme", "")) or None,
        frame_ids=torch.from_numpy(arrays["frame_ids"].astype(np.int64)) if "frame_ids" in arrays else None,
    )


def _floats(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _per_frame(array: np.ndarray, frames: int) -> Tensor:
    """[F, n, n] of a matrix that may be given once for all frames."""
    matrices = _floats(array)
    return matrices.expand(frames, -1, -1).clone() if matrices.ndim == 2 else matrices
