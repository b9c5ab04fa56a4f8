"""Reading torch's zip files as arrays, without torch: their pickle goes through this package's one reader of pickles.

`torch.load(weights_only=True)` runs nothing either, but it hashes what a file gives as keys, makes buffers as large as
a file asks for, and trusts sizes that the archive states twice; each lets a few hundred bytes stop the program.

The layout is torch's since 1.6 (`torch/serialization.py`): `NAME/data.pkl`, `NAME/byteorder`, and the bytes of every
storage as `NAME/data/KEY`. Tensors are views of storages.
"""

from __future__ import annotations

import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ...archives import Archive, open_archive
from ...body import stand_ins
from ...body.stand_ins import Holder, Refused
from ...body.unpickle import unpickle
from ...reach import require_reach
from ..refusal import Refusal

PICKLE = "/data.pkl"
BFLOAT16 = "bfloat16"  # the upper halves of float32, which numpy has no type for
KINDS = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "BFloat16Storage": BFLOAT16,
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?", "ComplexFloatStorage": "c8", "ComplexDoubleStorage": "c16",
}  # fmt: skip
DTYPES = {"float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
          "complex64", "complex128"}  # fmt: skip


def read_torch(path: Path) -> Any:
    """What a torch file holds, tensors as arrays that may not be written to; numpy arrays and plain containers with
    them, and nothing else.

    Raises:
        ValueError: truncated, too large for its size, or it asks for anything but arrays and containers.
    """
    require_reach(path)
    try:
        with open_archive(path) as archive:
            storages = _Storages(archive)
            return unpickle(storages.pickle, path.name, storages.find, storages.load)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        what = str(error) or type(error).__name__
        raise Refusal(
            f"{path.name} is a truncated or damaged torch file ({what}). Copy it again from its source."
        ) from error


class _Kind:
    """A class of storages: what its bytes are."""

    def __init__(self, code: str) -> None:
        self.code = code


class _Storages:
    """The storages of an archive, each read once, and the stand-ins for what torch rebuilds tensors by."""

    def __init__(self, archive: Archive) -> None:
        found = [name for name in archive.names if name.endswith(PICKLE)]
        if len(found) != 1:
            raise zipfile.BadZipFile(f"it holds {len(found)} files data.pkl, expected one")
        self._archive, self._root = archive, found[0].removesuffix("data.pkl")
        self.pickle = archive.read(found[0])
        order = f"{self._root}byteorder"
        said = archive.read(order) if order in archive.names else sys.byteorder.encode()
        self._order = ">" if said == b"big" else "<"
        self._raw: dict[str, bytes] = {}
        self._values: dict[tuple[str, str], np.ndarray] = {}

    def find(self, module: str, name: str) -> Any:
        """The stand-in for a name, see `unpickle`."""
        if module == "torch" and name in _KINDS:
            return _KINDS[name]
        return _STAND_INS.get((module, name)) or stand_ins.find(module, name)

    def load(self, identity: Any) -> Holder:
        """The numbers of a storage by torch's id: ("storage", class, key, device, how many)."""
        if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
            raise ValueError("it asks for an object outside of it that is no storage")
        _, kind, key, _, count = identity[:5]
        if not isinstance(kind, _Kind) or not isinstance(key, str) or not isinstance(count, int):
            raise Refused("a storage of an unknown kind")
        values = self._read(key, kind.code)
        if not 0 <= count <= len(values):
            raise ValueError(f"storage {key[:20]} is said to have {count} values, and its bytes are {len(values)}")
        return Holder(values[:count])

    def _read(self, key: str, code: str) -> np.ndarray:
        if (key, code) not in self._values:
            if key not in self._raw:
                self._raw[key] = self._archive.read(f"{self._root}data/{key}")
            self._values[key, code] = _numbers(self._raw[key], code, self._order)
        return self._values[key, code]


def _numbers(raw: bytes, code: str, order: str) -> np.ndarray:
    """A storage's bytes as numbers; what is left of them after the last whole one is left out."""
    dtype = np.dtype("u2" if code == BFLOAT16 else code).newbyteorder(order)
    values = np.frombuffer(raw, dtype, len(raw) // dtype.itemsize)
    return (values.astype(np.uint32) << 16).view(np.float32) if code == BFLOAT16 else values


# ------------------------------------------------------------------------------------------------------- the stand-ins


def _tensor(storage: Holder, offset: int, size: tuple, stride: tuple, *ignored: object) -> Holder:
    """torch's `_rebuild_tensor` and `_rebuild_tensor_v2`: a view of a storage, which may not reach beyond it."""
    if not isinstance(storage, Holder) or not isinstance(storage.value, np.ndarray):
        raise Refused("a tensor without a storage")
    (first,), shape, steps = stand_ins.sizes((offset,)), stand_ins.sizes(size), stand_ins.sizes(stride)
    if len(ignored) > 2 and ignored[2]:  # of conjugated or negated views
        raise Refused("a tensor that is conjugated or negated")
    if len(shape) != len(steps):
        raise ValueError(f"a tensor of shape {list(shape)} has {len(steps)} strides")
    values = storage.value
    if 0 in shape:
        return Holder(np.zeros(shape, values.dtype))
    last = first + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    if last >= len(values):
        raise ValueError(f"a tensor of shape {list(shape)} reaches beyond the {len(values)} values of its storage")
    strides = [step * values.itemsize for step in steps]
    return Holder(np.lib.stride_tricks.as_strided(values[first:], shape, strides, writeable=False))


def _parameter(tensor: Holder, *ignored: object) -> Holder:
    """torch's `_rebuild_parameter`."""
    if not isinstance(tensor, Holder):
        raise Refused("a parameter without a tensor")
    return tensor


def _size(values: tuple | list = ()) -> tuple:
    return tuple(values)


def _device(*parts: object) -> str:
    return ":".join(str(part) for part in parts if isinstance(part, str | int))[:20]


_KINDS = {name: _Kind(code) for name, code in KINDS.items()}
_STAND_INS: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    **{("torch", name): Holder(name) for name in DTYPES},
}
