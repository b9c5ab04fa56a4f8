"""Reading `.npz` and `.npy` without running anything, and only the arrays that are asked for.

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
from typing import BinaryIO

import numpy as np

from ...archives import Archive, open_archive
from ...reach import require_reach
from ..refusal import Refusal, looking_at
from .values import shown

MAX_BYTES = 4 << 30  # of one array; ten thousand frames of per-vertex offsets are 0.7 GiB. Our choice
MOST_AXES = 32  # of an array; numpy's own limit was that
MAGIC = b"\x93NUMPY"


def read_npz(path: Path, keys: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of an `.npz`, those of `keys` that are there, or all.

    Raises:
        ValueError: truncated, damaged, too large, or an array of Python objects.
    """
    require_reach(path)
    try:
        with open_archive(path) as archive:
            names = [name for name in archive.names if name.endswith(".npy")]
            wanted = {name[:-4]: name for name in names if keys is None or name[:-4] in keys}
            return {key: _member(archive, name, f"{path.name}: {key}") for key, name in wanted.items()}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise Refusal(f"{path.name} is truncated or damaged ({error}). Copy it again from its source.") from error


def npz_keys(path: Path) -> tuple[str, ...]:
    """The names of the arrays, without reading them."""
    require_reach(path)
    with open_archive(path) as archive:
        return tuple(name[:-4] for name in archive.names if name.endswith(".npy"))


def read_npy(path: Path) -> np.ndarray:
    """The array of an `.npy` file. Raises as `read_npz`."""
    require_reach(path)
    try:
        with path.open("rb") as file:
            return _read_array(file, path.stat().st_size, path.name)
    except (OSError, EOFError) as error:
        raise Refusal(f"{path.name} cannot be read ({error}). Copy it again from its source.") from error


def _member(archive: Archive, name: str, what: str) -> np.ndarray:
    file, size = archive.open(name)
    with file:
        return _read_array(file, size, what)


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
    if min(shape, default=0) < 0 or len(shape) > MOST_AXES or not dtype.itemsize:
        raise Refusal(f"{what} has a damaged header (shape {shown(list(shape))} of {dtype}). Copy the file again.")
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
