"""What pickles of arrays are rebuilt by: stand-ins of ours for the few names of numpy, scipy and chumpy that they need.

None of them does what its original does. Each takes the values that the stream gives it, checks them, and gives an
array or a plain container when it is resolved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from .pickle_stream import SetOf, require_key

PLAIN_KINDS = "biufcSU?"  # dtype kinds that hold values and not Python objects
LONGEST_CODE = 16  # characters of a dtype's code, "<U1000000000" is one; longer ones are records
MOST_AXES = 32  # of an array; numpy's own limit was that


class Refused(Exception):
    """A name that is not on the list, or a value that is neither an array nor a plain container."""


def find(module: str, name: str) -> Any:
    """The stand-in for a name."""
    if (module, name) in _STAND_INS:
        return _STAND_INS[module, name]
    root = module.split(".")[0]
    if root == "chumpy":
        return Chumpy
    if module.split(".")[:2] == ["scipy", "sparse"] and name.split("_")[0] in _SPARSE:
        return _SPARSE[name.split("_")[0]]
    raise Refused(f"'{module}.{name}'" + (", a torch tensor" if root == "torch" else ""))


class Holder:
    """A value that is finished."""

    def __init__(self, value: object) -> None:
        self.value = value

    def resolve(self) -> object:
        return self.value


class LeftOut:
    """Whatever torch rebuilds a tensor by, and the tensor, where tensors are left out."""

    is_stand_in = True

    def __init__(self, *ignored: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def resolve(self) -> None:
        return None


# --------------------------------------------------------------------------------------------------------------- numpy


class Dtype:
    """numpy.dtype(code, align, copy), then its state, of which only the byte order matters."""

    is_stand_in = True

    def __init__(self, code: str, align: object = False, copy: object = False) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="
        if len(state) > 4 and state[4] is not None:
            raise Refused("an array of records")

    def resolve(self) -> np.dtype:
        if not isinstance(self.code, str) or len(self.code) > LONGEST_CODE:
            raise Refused("an array of records")
        if np.dtype(self.code).kind not in PLAIN_KINDS:
            raise Refused("an array of Python objects")
        return np.dtype(self.code).newbyteorder(self.order)


class Array:
    """numpy.ndarray as `_reconstruct` and a state (version, shape, dtype, is_fortran, raw) build it.

    `np.save` wraps a dictionary into an array of one object, which comes back as the dictionary; more objects than one
    are refused.
    """

    is_stand_in = True
    array: np.ndarray | None = None
    wrapped: tuple[object, ...] = ()

    def __init__(self, *ignored: object) -> None:
        pass

    def __setstate__(self, state: tuple) -> None:
        shape, dtype, fortran, raw = state[-4:]
        if isinstance(raw, list) and len(raw) == 1 and shape == () and isinstance(raw[0], dict):
            self.wrapped = (raw[0],)
            return
        self.array = _array(raw, dtype, shape, "F" if fortran else "C")

    def resolve(self, plain: Callable[[object], Any] = lambda value: value) -> Any:
        if self.wrapped:
            return plain(self.wrapped[0])
        if self.array is None:
            raise Refused("an array without values")
        return self.array


def _array(raw: bytes | str, dtype: Dtype, shape: tuple, order: str) -> np.ndarray:
    if not isinstance(dtype, Dtype):
        raise Refused("an array of an unknown type")
    kind = dtype.resolve()
    if isinstance(raw, list):
        raise Refused("an array of Python objects")
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    shape = sizes(shape if isinstance(shape, tuple | list) else (shape,))
    if math.prod(shape) * kind.itemsize != len(raw):
        raise ValueError(f"an array of shape {list(shape)} has {len(raw)} bytes of {kind}")
    return np.frombuffer(raw, kind).reshape(shape, order=order)


def sizes(values: tuple | list) -> tuple[int, ...]:
    """Whole numbers of 0 or more, one an axis, that may be multiplied without a thought."""
    if len(values) > MOST_AXES or not all(isinstance(n, int) and 0 <= n < 1 << 48 for n in values):
        raise ValueError("an array has a shape that no array has")
    return tuple(values)


def _from_buffer(raw: bytes, dtype: Dtype, shape: tuple, order: str) -> Holder:
    """numpy's `_frombuffer`, by which pickle protocol 5 writes arrays."""
    return Holder(_array(bytes(raw), dtype, shape, "F" if order == "F" else "C"))


def _scalar(dtype: Dtype, raw: bytes | str = b"") -> Holder:
    return Holder(_array(raw, dtype, (), "C")[()])


def _reconstruct(kind: object, shape: object, code: object) -> Array:
    return Array()


# ---------------------------------------------------------------------------------------------------------- containers


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """`_codecs.encode`, by which protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "ascii", "utf-8"):
        raise Refused("a text in an encoding that no pickle uses")
    return text.encode(encoding)


def _bytes() -> bytes:
    """The call by which protocol 2 writes bytes that are empty."""
    return b""


def _ordered(items: list | tuple = ()) -> dict:
    """collections.OrderedDict; ours keep their order as they are."""
    made = {}
    for item in items:
        key, value = item
        require_key(key)
        made[key] = value
    return made


def _base() -> None:
    raise Refused("an object of an unknown kind")


# ----------------------------------------------------------------------------------------------------- scipy and chumpy


class Stateful:
    """An object of another library: its attributes as a dictionary, nothing of its behaviour."""

    is_stand_in = True
    state: Mapping[str, Any] = MappingProxyType({})  # pickles may skip __init__
    spend: Callable[[int], None]  # the reading's budget

    def __init__(self, *ignored: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        parts = [part for part in (state if isinstance(state, tuple) else (state,)) if isinstance(part, dict)]
        self.state = {key: value for part in parts for key, value in part.items()}


def _reconstructor(kind: type, base: object = None, state: object = None) -> object:
    """copyreg's, for the stand-ins only."""
    if not (isinstance(kind, type) and issubclass(kind, Stateful)):
        raise Refused("an object of an unknown kind")
    return kind()


class Chumpy(Stateful):
    """A chumpy object: the array that it holds, or the rows of another that it selects."""

    def resolve(self, plain: Callable[[object], Any] = lambda value: value) -> np.ndarray:
        for key in ("x", "r", "_r"):
            if key in self.state:
                return _array_in(plain(self.state[key]))
        if "a" in self.state and "idxs" in self.state:
            shape = plain(self.state.get("preferred_shape", (-1,)))
            chosen = _array_in(plain(self.state["idxs"]))
            self.spend(chosen.size)
            # not ravel(), which copies all of an array in Fortran's order
            return _array_in(plain(self.state["a"])).flat[chosen].reshape(shape)
        raise Refused("a chumpy object that holds no array")


def _array_in(value: object) -> np.ndarray:
    """What chumpy keeps; lists, which may be shared without end, it does not."""
    if not isinstance(value, np.ndarray | np.generic | int | float):
        raise Refused(f"a chumpy object that holds a {type(value).__name__}")
    return np.asarray(value)


class Sparse(Stateful):
    """A sparse matrix in compressed rows; its subclass in compressed columns."""

    def resolve(self, plain: Callable[[object], Any] = lambda value: value) -> np.ndarray:
        state = {key.removeprefix("_"): plain(value) for key, value in self.state.items()}
        rows, columns = (int(n) for n in state["shape"])
        if not all(isinstance(state[key], np.ndarray) for key in ("indptr", "indices", "data")):
            raise Refused("a sparse matrix without arrays")
        if min(rows, columns) < 0:
            raise ValueError(f"a sparse matrix of {rows}×{columns}")
        pointers, indices, data = state["indptr"], state["indices"], state["data"]
        by_columns = isinstance(self, SparseColumns)
        if len(pointers) != (columns if by_columns else rows) + 1 or len(indices) != len(data):
            raise ValueError(f"a sparse matrix of {rows}×{columns} with {len(pointers)} pointers to its values")
        self.spend(rows * columns + len(pointers) + len(data))
        counts = np.diff(pointers.astype(np.int64))
        filled = counts.sum()  # scipy may keep room for more
        if counts.min(initial=0) < 0 or filled > len(data):
            raise ValueError("a sparse matrix whose pointers do not lead to its values")
        dense = np.zeros((rows, columns), data.dtype)
        outer, inner = np.repeat(np.arange(len(counts)), counts), indices[:filled].astype(np.int64)
        dense[(inner, outer) if by_columns else (outer, inner)] = data[:filled]
        return dense


class SparseColumns(Sparse):
    pass


_SPARSE = {"csc": SparseColumns, "csr": Sparse}
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_STAND_INS: dict[tuple[str, str], Any] = {
    **{(module, "_reconstruct"): _reconstruct for module in _MULTIARRAY},
    **{(module, "scalar"): _scalar for module in _MULTIARRAY},
    **{(module, "_frombuffer"): _from_buffer for module in _NUMERIC},
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): Dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): _ordered,
    ("__builtin__", "bytes"): _bytes,
    **{(module, kind): SetOf for module in ("builtins", "__builtin__") for kind in ("set", "frozenset")},
    ("builtins", "object"): _base,  # only ever the base that copyreg's call names
    ("__builtin__", "object"): _base,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("copy_reg", "_reconstructor"): _reconstructor,
}
