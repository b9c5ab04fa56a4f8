"""How many values nested lists hold once they are written out, which a few bytes can make as many as they like.

Pickles and torch files may hold a list that holds another ten times, which holds a third ten times: shared, that costs
nothing, and as an array it fills any memory. So everything that is read is counted before it becomes an array.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

MOST_VALUES = 1 << 23  # 64 MiB as doubles; ten thousand frames of 800 values each. Our choice


class NoPlainValue(Exception):
    """A harmless kind of value that no array, list or dictionary is."""


class TooMany(ValueError):
    """More values than a file of its size can mean."""


class Budget:
    """How many values may still be made that are not in the file themselves: a body model's joints are 0.6 million."""

    def __init__(self) -> None:
        self.left = MOST_VALUES

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise TooMany(f"matrices that are more than {MOST_VALUES:,} numbers when written out")


def require_unfolded(
    tree: Any,  # plain containers and arrays; nothing in it is copied
    file_bytes: int,
) -> None:
    """Refuse a list or array that is larger written out than `MOST_VALUES` and than the file.

    A value that is not shared takes a byte of the file at least, so what is honest passes whatever its size.

    Raises:
        TooMany: it is larger.
        RecursionError: it holds itself.
    """
    _extent(tree, max(MOST_VALUES, file_bytes), {})


def _extent(value: Any, most: int, seen: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many entries it has in an array, and the length of its longest text, to which numpy pads the others."""
    if isinstance(value, str | bytes | bytearray):
        return 1, max(1, len(value))
    if not isinstance(value, Mapping | list | tuple | np.ndarray):
        return 1, 1
    if id(value) in seen:
        return seen[id(value)]
    count, longest = 1, 1  # a list without entries is walked through as well
    if isinstance(value, np.ndarray):
        count, longest = max(1, value.size), max(1, value.dtype.itemsize // 8)
    elif isinstance(value, Mapping):  # no part of an array itself
        for inner in value.values():
            _extent(inner, most, seen)
    else:
        for inner in value:
            inner_count, inner_longest = _extent(inner, most, seen)
            count, longest = count + inner_count, max(longest, inner_longest)
    if count * longest > most:
        raise TooMany(f"lists or arrays that are more than {most:,} numbers when written out")
    seen[id(value)] = count, longest
    return count, longest
