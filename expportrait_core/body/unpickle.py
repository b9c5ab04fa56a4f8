"""The one way in which this package reads a pickle: arrays and plain containers, and nothing ever runs.

A pickle names the functions that rebuild it, and a hostile one names others. Here no name leads to a real function:
each of the few names that trackers and model files need stands for a stand-in of ours (`stand_ins.py`), and any other
name ends the reading. numpy arrays (of numpy 1 and 2), scipy's sparse matrices and chumpy objects come back as plain
arrays. Nor can a few bytes ask for more work or memory than a file of their size: see `pickle_stream.py` for what calls
copy, and `unfolded.py` for what lists and matrices hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..reach import require_reach
from . import stand_ins
from .pickle_stream import SetOf, parse
from .stand_ins import Array, Dtype, Holder, LeftOut, Refused, Stateful
from .unfolded import Budget, NoPlainValue, TooMany, require_unfolded

MAX_BYTES = 2 << 30  # of one pickle; a body model has 0.1 to 0.6 GiB. Our choice


def read_pickle(path: Path) -> Any:
    """What a pickle file holds, as arrays and plain containers.

    Raises:
        ValueError: the file is truncated, too large, or asks for anything but arrays and containers.
    """
    require_reach(path)
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_BYTES >> 30} GiB, which no fit or body model is.")
    return unpickle(path.read_bytes(), path.name)


def unpickle(
    data: bytes,
    name: str,
    find: Callable[[str, str], Any] = stand_ins.find,
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """As `read_pickle`, of bytes.

    Args:
        name: what errors call them.
        find: the stand-in for (module, name); it may know more of them than `stand_ins.find`.
        persistent: the object outside of the stream that an id stands for; without it there are none.
    """
    try:
        tree = _plain(parse(data, find, persistent), {}, Budget())
        require_unfolded(tree, len(data))
        return tree
    except Refused as error:
        raise ValueError(
            f"{name} asks for {error}, and only arrays and plain containers are read from pickles: anything else could "
            f"run a program. If you trust its source, open it where it was made and save its arrays as .npz."
        ) from None
    except NoPlainValue as error:
        raise ValueError(
            f"{name} holds {error}, and only arrays, numbers, text, lists and dictionaries are read from pickles. If "
            f"you trust its source, open it where it was made, and save it again with lists or arrays instead."
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


def find_all_but_tensors(module: str, name: str) -> Any:
    """As `stand_ins.find`, but torch's tensors come back as None instead of ending the reading."""
    return LeftOut if module.split(".")[0] == "torch" else stand_ins.find(module, name)


def _plain(value: Any, seen: dict[int, Any], budget: Budget) -> Any:
    """The tree without stand-ins. What is shared is resolved once, so that references cannot multiply it."""
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, SetOf):
        raise NoPlainValue("a set")
    if isinstance(value, Stateful):
        value.spend = budget.spend
    if isinstance(value, Stateful | Array):
        made = value.resolve(lambda inner: _plain(inner, seen, budget))
    elif isinstance(value, Holder | Dtype | LeftOut):
        made = value.resolve()
    elif isinstance(value, Mapping):
        made = {key: _plain(inner, seen, budget) for key, inner in value.items()}
    elif isinstance(value, list | tuple):
        made = type(value)(_plain(inner, seen, budget) for inner in value)
    elif value is None or isinstance(value, str | bytes | bytearray | int | float | complex):
        return value
    else:
        raise Refused(f"an object of the kind '{type(value).__name__}'")
    seen[id(value)] = made
    return made
