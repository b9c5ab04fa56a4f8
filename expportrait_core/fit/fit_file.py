"""The exchanged form of a fit: an `.npz` of plain arrays (BEAT2's, plus a camera and a clip), without pickle.

`betas (B,)`, `expressions (F,E)`, `poses (F,165)` axis-angle in smplx's joint order, `trans (F,3)`, `K (F,3,3)` pixels,
`w2c (F,4,4)` OpenCV, `image_size (2,)` height and width, `fps`, `valid (F,)`, `frame_ids (F,)`, and where there are any
`landmarks (F,L,3)` with `landmark_scheme` and `eyelids (F,2)`; `expression_space`, `model_id`, `format`, `version`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..portable import open_npz, write_npz
from ..printable import listed, log_of
from ..reach import require_reach
from ..types import LAST_NUMBER, NUM_JOINTS, Camera, SMPLXFit
from .refusal import Refusal, checks_of_types

if TYPE_CHECKING:
    from .formats.into_fit import Options
    from .formats.source import Source

log = log_of(__name__)

FORMAT, VERSION = "expportrait.fit", 1
APPLES = 52  # expression units of ARKit, in Apple's order
REQUIRED = ("betas", "expressions", "poses", "trans", "K", "w2c", "image_size", "fps", "expression_space", "model_id",
            "version")  # fmt: skip


def save_fit(fit: SMPLXFit, path: str | Path) -> Path:
    """Write a fit as `.npz`. Returns the path, with that suffix."""
    path = Path(path)
    path = path if path.suffix.lower() == ".npz" else path.with_name(path.name + ".npz")
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
    if fit.eyelids is not None:
        arrays["eyelids"] = fit.eyelids
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
    with checks_of_types():
        fit = _from_arrays(_read(source.path), source.path.name)
    steps = fit.frame_ids.diff()
    if (steps <= 0).any():
        row = int((steps <= 0).int().argmax())
        log.warning("%s numbers its frames %d and then %d: they are taken in the order of the file.", source.path.name,
                    *fit.frame_ids[row : row + 2].tolist())  # fmt: skip
    elif missing := int((steps - 1).sum()):
        log.warning("%s lacks %d of its frames. The others keep their numbers.", source.path.name, missing)
    return fit


def _read(path: Path) -> dict[str, np.ndarray]:
    require_reach(path)
    try:
        with open_npz(path) as file:
            return {key: file[key] for key in file.files}
    except Exception as error:  # numpy lets through what zip, zlib and Python's tokenizer raise
        raise Refusal(
            f"{path.name} cannot be read as a fit ({error}). Expected an .npz of plain arrays, without Python objects."
        ) from error


def _said_format(arrays: dict[str, np.ndarray]) -> str:
    return str(arrays["format"]) if "format" in arrays else ""


def _from_arrays(arrays: dict[str, np.ndarray], name: str) -> SMPLXFit:
    missing = [key for key in REQUIRED if key not in arrays]
    if _said_format(arrays) != FORMAT or missing:
        found = listed(sorted(arrays))
        raise Refusal(
            f"{name} is not a fit of this package: it holds {found}"
            + (f" and lacks {', '.join(missing)}" if missing else "")
            + ". Track the clip here, or convert the file to the arrays that fit/fit_file.py names."
        )
    version = _number(arrays["version"], f"{name}: version", float)
    if version < 1 or version % 1:
        raise Refusal(f"{name} is version {version:g}, expected a whole number, 1 or more. The file is damaged.")
    if version > VERSION:
        raise Refusal(f"{name} is version {version:g}, this release reads {VERSION}. Update the pack.")
    expression = _floats(arrays["expressions"], f"{name}: expressions", "frames", "columns")
    frames = len(expression)
    if frames == 0:
        raise Refusal(f"{name} has no frames. Track the clip again, or choose another file.")
    if arrays["poses"].shape != (frames, NUM_JOINTS * 3):
        raise Refusal(
            f"{name} has {frames} frames of expressions and poses of shape {list(arrays['poses'].shape)}, expected "
            f"[{frames}, {NUM_JOINTS * 3}]. The file is damaged or mixed from two clips."
        )
    space = _text(arrays["expression_space"], f"{name}: expression_space")
    if space == "arkit" and expression.shape[1] == APPLES:
        raise Refusal(
            f"{name} has {APPLES} expressions in the space 'arkit', expected those of the default head in its own "
            f"order, of which Apple's are not the first. Give Apple's as a table with their names (the CSV of Live "
            f"Link Face)."
        )
    landmarks, scheme = None, _text(arrays.get("landmark_scheme", np.array("")), f"{name}: landmark_scheme")
    if "landmarks" in arrays:
        landmarks = _floats(arrays["landmarks"], f"{name}: landmarks", frames, "points", 3)
    return SMPLXFit(
        betas=_floats(arrays["betas"], f"{name}: betas", "values"),
        expression=expression,
        poses=_floats(arrays["poses"], f"{name}: poses", frames, NUM_JOINTS * 3).unflatten(1, (NUM_JOINTS, 3)),
        translation=_floats(arrays["trans"], f"{name}: trans", frames, 3),
        camera=Camera(
            _per_frame(arrays["K"], f"{name}: K", frames, 3),
            _per_frame(arrays["w2c"], f"{name}: w2c", frames, 4),
            _picture_size(arrays["image_size"], f"{name}: image_size"),
        ),
        expression_space=space,
        model_id=_text(arrays["model_id"], f"{name}: model_id"),
        fps=_number(arrays["fps"], f"{name}: fps", float),
        valid=_integers(arrays["valid"], f"{name}: valid", frames).bool() if "valid" in arrays else None,
        landmarks=landmarks,
        landmark_scheme=scheme or None,
        frame_ids=_integers(arrays["frame_ids"], f"{name}: frame_ids", frames) if "frame_ids" in arrays else None,
        eyelids=_floats(arrays["eyelids"], f"{name}: eyelids", frames, 2) if "eyelids" in arrays else None,
    )


# ------------------------------------------------------------------------- one array each, or a sentence that names it


def _floats(array: np.ndarray, what: str, *shape: int | str) -> Tensor:
    """Numbers in this shape; a word in it stands for any size."""
    if array.dtype.kind not in "biuf":
        raise Refusal(f"{what} holds {_kind(array)}, expected numbers. The file is damaged.")
    fits = array.ndim == len(shape) and all(isinstance(s, str) or s == n for s, n in zip(shape, array.shape))
    if not fits:
        expected = ", ".join(map(str, shape))
        raise Refusal(
            f"{what} has the shape {list(array.shape)}, expected [{expected}]. The file is damaged or mixed from two "
            f"clips."
        )
    with np.errstate(over="ignore"):  # becomes infinite, and is refused as that
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _per_frame(array: np.ndarray, what: str, frames: int, side: int) -> Tensor:
    """[F, n, n] of a matrix that may be given once for all frames."""
    if array.ndim == 2:
        return _floats(array, what, side, side).expand(frames, -1, -1).clone()
    return _floats(array, what, frames, side, side)


def _integers(array: np.ndarray, what: str, frames: int) -> Tensor:
    whole = array.dtype.kind == "f" and ((np.abs(array) < 2**53) & (array == np.round(array))).all()
    if array.dtype.kind not in "biu" and not whole:
        raise Refusal(f"{what} holds {_kind(array)}, expected whole numbers. The file is damaged.")
    if array.shape != (frames,):
        raise Refusal(
            f"{what} has the shape {list(array.shape)}, expected [{frames}]. The file is damaged or mixed from two "
            f"clips."
        )
    if array.dtype.kind == "u" and array.max(initial=0) > LAST_NUMBER:
        raise Refusal(f"{what} holds {array.max()}, expected at most {LAST_NUMBER}. The file is damaged.")
    return torch.from_numpy(array.astype(np.int64))


def _number(array: np.ndarray, what: str, kind: type) -> float:
    if array.dtype.kind not in "biuf" or array.size != 1 or not np.isfinite(array).all():
        found = array.item() if array.size == 1 else f"{array.size} values"
        raise Refusal(f"{what} is {str(found)[:40]!r}, expected one number. The file is damaged.")
    return kind(array.item())


def _picture_size(array: np.ndarray, what: str) -> tuple[int, int]:
    if array.dtype.kind not in "iuf" or array.shape != (2,) or not (np.abs(array) < 2**31).all():
        raise Refusal(f"{what} is {str(array.tolist())[:60]}, expected height and width. The file is damaged.")
    return int(array[0]), int(array[1])


def _text(array: np.ndarray, what: str) -> str:
    if array.dtype.kind not in "US" or array.size != 1:
        raise Refusal(f"{what} holds {_kind(array)}, expected one word. The file is damaged.")
    value = array.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _kind(array: np.ndarray) -> str:
    kinds = {"U": "text", "S": "text", "c": "complex numbers", "M": "dates", "m": "times", "V": "records"}
    kind = kinds.get(array.dtype.kind, "numbers" if array.size == 1 else "fractions or infinite numbers")
    return f"{kind} ({array.dtype}, shape {list(array.shape)})"
