"""The one way in which this package reads a pickle: arrays and plain containers, and nothing ever runs.

A pickle names the functions that rebuild it, and a hostile one names others. Here no name leads to a real function:
each of the few names that trackers and model files need stands for a stand-in of ours, and any other name ends the
reading. numpy arrays (of numpy 1 and 2), scipy's sparse matrices and chumpy objects come back as plain arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ..reach import require_reach
from .pickle_stream import parse, require_key
from .unfolded import Budget, TooMany, require_unfolded

MAX_BYTES = 2 << 30  # of one pickle; a body model has 0.1 to 0.6 GiB. Our choice
PLAIN_KINDS = "biufcSU?"  # dtype kinds that hold values and not Python objects


def read_pickle(path: Path) -> Any:
    """What a pickle file holds, as arrays and plain containers.

    Raises:
        ValueError: the file is truncated, too large, or asks for anything but arrays and containers.
    """
    require_reach(path)
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_BYTES >> 30} GiB, which no fit or body model is.")
    return unpickle(path.read_bytes(), path.name)


def unpickle(data: bytes, name: str, leave_out_tensors: bool = False) -> Any:
    """As `read_pickle`, of bytes; `name` is what errors call them.

    Args:
        leave_out_tensors: torch's tensors come back as None, instead of ending the reading.
    """
    try:
        tree = _plain(parse(data, _find_all_but_tensors if leave_out_tensors else _find), {}, Budget())
        require_unfolded(tree, len(data))
        return tree
    except Refused as error:
        raise ValueError(
            f"{name} asks for {error}, and only arrays and plain containers are read from pickles: anything else could "
            f"run a program. If you trust its source, open it where it was made and save its arrays as .npz."
        ) from None
    except TooMany as error:
        raise ValueError(f"{name} holds {error}. No fit or body model is like that; it is made to do harm.") from None
    except RecursionError:
        raise ValueError(f"{name} is nested without end, which no fit is. It is damaged or made to do harm.") from None
    except Exception as error:  # a damaged stream makes parser and stand-ins stumble over anything
        what = str(error) or type(error).__name__
        raise ValueError(f"{name} is not a readable pickle ({what}). It is truncated or damaged; copy it again.") from (
            error
        )


class Refused(Exception):
    """A name that is not on the list."""


def _find(module: str, name: str) -> Any:
    """The stand-in for a name."""
    if (module, name) in _STAND_INS:
        return _STAND_INS[module, name]
    root = module.split(".")[0]
    if root == "chumpy":
        return _Chumpy
    if module.split(".")[:2] == ["scipy", "sparse"] and name.split("_")[0] in _SPARSE:
        return _SPARSE[name.split("_")[0]]
    raise Refused(f"'{module}.{name}'" + (", a torch tensor," if root == "torch" else ""))


def _find_all_but_tensors(module: str, name: str) -> Any:
    return _LeftOut if module.split(".")[0] == "torch" else _find(module, name)


# ------------------------------------------------------------------------------------------------------- the stand-ins


class _LeftOut:
    """Whatever torch rebuilds a tensor by, and the tensor."""

    is_stand_in = True

    def __init__(self, *ignored: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def resolve(self) -> None:
        return None


class _Dtype:
    """numpy.dtype(code, align, copy), then its state, of which only the byte order matters."""

    is_stand_in = True

    def __init__(self, code: str, align: object = False, copy: object = False) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="
        if len(state) > 4 and state[4] is not None:
            raise Refused("an array of records")

    def resolve(self) -> np.dtype:
        if not isinstance(self.code, str) or np.dtype(self.code).kind not in PLAIN_KINDS:
            raise Refused("an array of Python objects")
        return np.dtype(self.code).newbyteorder(self.order)


class _Array:
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


def _array(raw: bytes | str, dtype: _Dtype, shape: tuple, order: str) -> np.ndarray:
    if not isinstance(dtype, _Dtype):
        raise Refused("an array of an unknown type")
    kind = dtype.resolve()
    if isinstance(raw, list):
        raise Refused("an array of Python objects")
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    shape = tuple(int(n) for n in (shape if isinstance(shape, tuple | list) else (shape,)))
    if min(shape, default=0) < 0 or math.prod(shape) * kind.itemsize != len(raw):
        raise ValueError(f"an array of shape {list(shape)} has {len(raw)} bytes of {kind}")
    return np.frombuffer(raw, kind).reshape(shape, order=order)


def _from_buffer(raw: bytes, dtype: _Dtype, shape: tuple, order: str) -> _Holder:
    """numpy's `_frombuffer`, by which pickle protocol 5 writes arrays."""
    return _Holder(_array(bytes(raw), dtype, shape, "F" if order == "F" else "C"))


def _scalar(dtype: _Dtype, raw: bytes | str = b"") -> _Holder:
    return _Holder(_array(raw, dtype, (), "C")[()])


class _Holder:
    def __init__(self, value: object) -> None:
        self.value = value

    def resolve(self) -> object:
        return self.value


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """`_codecs.encode`, by which protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "ascii", "utf-8"):
        raise Refused("a text in an encoding that no pickle uses")
    return text.encode(encoding)


def _bytes() -> bytes:
    """The call by which protocol 2 writes bytes that are empty."""
    return b""


class _Stateful:
    """An object of another library: its attributes as a dictionary, nothing of its behaviour."""

    is_stand_in = True
    state: Mapping[str, Any] = MappingProxyType({})  # pickles may skip __init__
    spend: Callable[[int], None]  # the reading's budget

    def __init__(self, *ignored: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        parts = [part for part in (state if isinstance(state, tuple) else (state,)) if isinstance(part, dict)]
        self.state = {key: value for part in parts for key, value in part.items()}


class _Chumpy(_Stateful):
    """A chumpy object: the array that it holds, or the rows of another that it selects."""

    def resolve(self, plain: Callable[[object], Any] = lambda value: value) -> np.ndarray:
        for key in ("x", "r", "_r"):
            if key in self.state:
                return _array_in(plain(self.state[key]))
        if "a" in self.state and "idxs" in self.state:
            shape = plain(self.state.get("preferred_shape", (-1,)))
            chosen = _array_in(plain(self.state["idxs"]))
            self.spend(chosen.size)
            return _array_in(plain(self.state["a"])).ravel()[chosen].reshape(shape)
        raise Refused("a chumpy object that holds no array")


def _array_in(value: object) -> np.ndarray:
    """What chumpy keeps; lists, which may be shared without end, it does not."""
    if not isinstance(value, np.ndarray | np.generic | int | float):
        raise Refused(f"a chumpy object that holds a {type(value).__name__}")
    return np.asarray(value)


class _Sparse(_Stateful):
    """A sparse matrix in compressed rows; its subclass in compressed columns."""

    def resolve(self, plain: Callable[[object], Any] = lambda value: value) -> np.ndarray:
        state = {key.removeprefix("_"): plain(value) for key, value in self.state.items()}
        rows, columns = (int(n) for n in state["shape"])
        if not all(isinstance(state[key], np.ndarray) for key in ("indptr", "indices", "data")):
            raise Refused("a sparse matrix without arrays")
        pointers, indices = state["indptr"].astype(np.int64), state["indices"].astype(np.int64)
        if min(rows, columns) < 0:
            raise ValueError(f"a sparse matrix of {rows}×{columns}")
        self.spend(rows * columns)
        dense = np.zeros((rows, columns), state["data"].dtype)
        outer = np.repeat(np.arange(len(pointers) - 1), np.diff(pointers))
        if isinstance(self, _SparseColumns):
            dense[indices, outer] = state["data"]
        else:
            dense[outer, indices] = state["data"]
        return dense


class _SparseColumns(_Sparse):
    pass


_SPARSE = {"csc": _SparseColumns, "csr": _Sparse}


def _reconstructor(kind: type, base: object = None, state: object = None) -> object:
    """copyreg's, for the stand-ins only."""
    if not (isinstance(kind, type) and issubclass(kind, _Stateful)):
        raise Refused("an object of an unknown kind")
    return kind()


def _ordered(items: list | tuple = ()) -> dict:
    """collections.OrderedDict; ours keep their order as they are."""
    pairs = [tuple(item) for item in items]
    for key, _ in pairs:
        require_key(key)
    return dict(pairs)


def _base() -> None:
    raise Refused("an object of an unknown kind")


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    return _Array()


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_STAND_INS: dict[tuple[str, str], Any] = {
    **{(module, "_reconstruct"): _reconstruct for module in _MULTIARRAY},
    **{(module, "scalar"): _scalar for module in _MULTIARRAY},
    **{(module, "_frombuffer"): _from_buffer for module in _NUMERIC},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): _ordered,
    ("__builtin__", "bytes"): _bytes,
    ("builtins", "object"): _base,  # only ever the base that copyreg's call names
    ("__builtin__", "object"): _base,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("copy_reg", "_reconstructor"): _reconstructor,
}


def _plain(value: Any, seen: dict[int, Any], budget: Budget) -> Any:
    """The tree without stand-ins. What is shared is resolved once, so that references cannot multiply it."""
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, _Stateful):
        value.spend = budget.spend
    if isinstance(value, _Stateful | _Array):
        made = value.resolve(lambda inner: _plain(inner, seen, budget))
    elif isinstance(value, _Holder | _Dtype | _LeftOut):
        made = value.resolve()
    elif isinstance(value, Mapping):
        made = {key: _plain(inner, seen, budget) for key, inner in value.items()}
    elif isinstance(value, list | tuple):
        made = type(value)(_plain(inner, seen, budget) for inner in value)
    elif value is None or isinstance(value, str | bytes | bytearray | int | float | complex | set | frozenset):
        return value
    else:
        raise Refused(f"an object of the kind '{type(value).__name__}'")
    seen[id(value)] = made
    return made
