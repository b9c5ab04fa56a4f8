"""Reading `.npz`, `.npy` and torch files without running anything, and only the arrays that are asked for.

numpy's own reader parses the header of every array as Python; ten thousand small files spend their time there. The
headers of one tracker are all alike, so they are parsed once (by numpy) and remembered.
"""

from __future__ import annotations

import functools
import io
import math
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from ...body.unfolded import TooMany, require_unfolded
from ...reach import require_reach
from ..refusal import Refusal, looking_at

MAX_BYTES = 4 << 30  # of one array; ten thousand frames of per-vertex offsets are 0.7 GiB. Our choice
MAGIC = b"\x93NUMPY"


def read_npz(path: Path, keys: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of an `.npz`, those of `keys` that are there, or all.

    Raises:
        ValueError: truncated, damaged, too large, or an array of Python objects.
    """
    require_reach(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            wanted = {name[:-4]: name for name in names if keys is None or name[:-4] in keys}
            return {key: _member(archive, name, f"{path.name}: {key}") for key, name in wanted.items()}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise Refusal(f"{path.name} is truncated or damaged ({error}). Copy it again from its source.") from error


def npz_keys(path: Path) -> tuple[str, ...]:
    """The names of the arrays, without reading them."""
    require_reach(path)
    with zipfile.ZipFile(path) as archive:
        return tuple(name[:-4] for name in archive.namelist() if name.endswith(".npy"))


def read_npy(path: Path) -> np.ndarray:
    """The array of an `.npy` file. Raises as `read_npz`."""
    require_reach(path)
    try:
        with path.open("rb") as file:
            return _read_array(file, path.stat().st_size, path.name)
    except (OSError, EOFError) as error:
        raise Refusal(f"{path.name} cannot be read ({error}). Copy it again from its source.") from error


def _member(archive: zipfile.ZipFile, name: str, what: str) -> np.ndarray:
    with archive.open(name) as file:
        return _read_array(file, archive.getinfo(name).file_size, what)


def _read_array(file: BinaryIO, size: int, what: str) -> np.ndarray:
    looking_at(what)
    start = file.read(8)
    if start[:6] != MAGIC or len(start) < 8:
        raise Refusal(f"{what} is no numpy array. The file is truncated or damaged; copy it again.")
    length_bytes = file.read(2 if start[6] == 1 else 4)
    header = file.read(min(int.from_bytes(length_bytes, "little"), 1 << 16))
    try:
        shape, fortran, dtype = _header(start[6:8] + length_bytes + header)
    except Exception as error:  # numpy's parser of headers raises what Python's own tokenizer does
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Refusal(f"{what} has a damaged header ({reason}). Copy the file again.") from error
    if min(shape, default=0) < 0 or not dtype.itemsize:
        raise Refusal(f"{what} has a damaged header (shape {list(shape)} of {dtype}). Copy the file again.")
    if dtype.hasobject:
        raise Refusal(
            f"{what} is an array of Python objects, which could run a program when it is read. Save it as numbers."
        )
    expected = math.prod(shape) * dtype.itemsize
    if expected > MAX_BYTES:
        raise Refusal(f"{what} has shape {list(shape)}, {expected / 2**30:.0f} GiB; no fit is that large.")
    if size - len(start) - len(length_bytes) - len(header) < expected:
        raise Refusal(f"{what} is truncated: its shape is {list(shape)} and the file ends too early. Copy it again.")
    data = file.read(expected)
    if len(data) < expected:
        raise Refusal(f"{what} is truncated: its shape is {list(shape)} and the file ends too early. Copy it again.")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


@functools.lru_cache(maxsize=256)
def _header(raw: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    read = np.lib.format.read_array_header_1_0 if raw[0] == 1 else np.lib.format.read_array_header_2_0
    return read(io.BytesIO(raw[2:]))


# --------------------------------------------------------------------------------------------------------------- torch


def read_torch(path: Path) -> Any:
    """What a torch file holds, tensors as arrays; numpy arrays in it are allowed, nothing else is.

    Raises:
        ValueError: damaged, or it holds what `torch.load(weights_only=True)` refuses.
    """
    require_reach(path)
    if not hasattr(torch.serialization, "safe_globals"):
        raise Refusal(f"{path.name} can only be read safely with torch 2.6 or newer, this is {torch.__version__}.")
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            tree = _as_arrays(torch.load(path, map_location="cpu", weights_only=True), {})
        require_unfolded(tree, path.stat().st_size)
        return tree
    except TooMany as error:
        raise Refusal(f"{path.name} holds {error}. No fit is like that; it is made to do harm.") from None
    except RecursionError:
        raise Refusal(f"{path.name} is nested without end, which no fit is. It is damaged.") from None
    except ValueError:
        raise
    except Exception as error:  # torch raises its own, pickle's and the zip reader's
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line or "global" in line), "")
        if reason:
            raise Refusal(
                f"{path.name} holds more than numbers ({reason.strip()[:160]}), which could run a program. Save its "
                f"tensors alone."
            ) from None
        raise Refusal(
            f"{path.name} is a truncated or damaged torch file ({type(error).__name__}). Copy it again from its source."
        ) from error


@functools.cache
def _numpy_globals() -> list:
    """What numpy arrays are rebuilt with, under the module paths of numpy 1 and 2."""
    import _codecs

    core = np._core if hasattr(np, "_core") else np.core
    rebuild, scalar = core.multiarray._reconstruct, core.multiarray.scalar
    paths = ("numpy.core.multiarray", "numpy._core.multiarray")
    dtypes = {type(np.dtype(code)) for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")}
    named = [(function, f"{path}.{function.__name__}") for path in paths for function in (rebuild, scalar)]
    return [*named, np.ndarray, np.dtype, *dtypes, _codecs.encode]


def _as_arrays(value: Any, seen: dict[int, Any]) -> Any:
    """Tensors as arrays. What is shared is turned once, so that references cannot multiply it."""
    if id(value) in seen:
        return seen[id(value)]
    key, made = id(value), value
    if isinstance(value, torch.Tensor):
        if value.dtype is torch.bfloat16:  # which numpy has not; a stride of 0 makes it as large as it likes
            require_unfolded(np.broadcast_to(np.int8(0), value.shape), 0)
            value = value.float()
        made = value.detach().numpy()
    elif isinstance(value, dict):
        made = {name: _as_arrays(inner, seen) for name, inner in value.items()}
    elif isinstance(value, list | tuple):
        made = [_as_arrays(inner, seen) for inner in value]
    elif isinstance(value, np.ndarray) and value.dtype.hasobject:
        raise Refusal("The torch file holds an array of Python objects, which no tracker writes.")
    seen[key] = made
    return made
