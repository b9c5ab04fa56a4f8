"""What the columns of a fit's expressions are called, where their space has names."""

from __future__ import annotations

import functools

import numpy as np

from ...body.model import DEFAULT_HEAD

LIDS = ("eyeBlink", "eyeWide", "eyeSquint", "mh:eye-")
"""How the names of what moves the lids begin."""


@functools.cache
def default_names() -> tuple[str, ...]:
    """The columns of the default head, ARKit's names and MakeHuman's; "" for an unused one."""
    with np.load(DEFAULT_HEAD, allow_pickle=False) as file:
        return tuple(str(name) for name in file["expression_names"])


def names_of(space: str, count: int) -> tuple[str, ...]:
    """Names of the first `count` columns of a space; empty where it has none, as SMPL-X's and FLAME's."""
    return (default_names() + ("",) * count)[:count] if space == "arkit" else ()


def lid_columns(space: str, count: int) -> list[int]:
    """The columns that move the lids, none where the space has no names."""
    return [column for column, name in enumerate(names_of(space, count)) if name.startswith(LIDS)]
