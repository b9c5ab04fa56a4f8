"""Which files may be opened while a fit is read: a chosen file leads to others beside it, and they may be links.

Every function that opens a file of a fit asks here first. Without a limit everything may be opened.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from .printable import printable


class OutOfReach(ValueError):
    """A file or folder that may not be opened."""


Allowed = Callable[[Path], bool]

_allowed: ContextVar[Allowed | None] = ContextVar("allowed", default=None)


@contextmanager
def only(allowed: Allowed | None) -> Iterator[None]:
    """Within the block, only files and folders are opened for which `allowed` is true; None sets no limit."""
    token = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(token)


def require_reach(path: Path) -> None:
    """Raise a sentence if this file or folder may not be opened, or is neither: a pipe would be waited for without end,
    and a device read without end. Call it before opening one."""
    allowed = _allowed.get()
    if allowed is not None and not allowed(path):
        raise OutOfReach(
            f"The fit needs {printable(path.name)}, which lies outside the folders that may be read, or is a link that "
            f"leads out of them. Copy the whole fit into one of them."
        )
    try:
        kind = path.stat().st_mode
    except OSError:  # it is not there, which whoever opens it says
        return
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise OutOfReach(f"{printable(path.name)} is a pipe, a socket or a device, expected a file. Leave it out.")
