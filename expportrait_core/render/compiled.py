"""The one place that knows numba: a decorator for the compiled CPU kernels, and whether there is one at all.

Without numba (`pip install numba`), or with one that does not work here, everything is drawn by plain torch.
`parallel=True` is never used: its threads abort the process when two threads of ours enter it at once, and ComfyUI
has many. The kernels let go of Python's lock instead, and `workers` calls them from a pool of threads.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

try:
    import numba

    numba.njit, numba.config.DISABLE_JIT  # noqa: B018 - an uninstall that was cut off leaves an empty folder
except Exception as error:  # not only ImportError: numba refuses to be imported beside a numpy newer than it knows
    numba = None
    if getattr(error, "name", None) != "numba":
        log.warning("numba cannot be used (%s). Meshes are drawn by plain torch, several times slower.", error)

OPTIONS = {"nogil": True, "error_model": "numpy"}  # numpy's: a division by zero is infinite, not an exception


def compiled(kernel: Callable) -> Callable:
    """Compile on the first call, and keep the result on disk where a folder for it can be written.

    Without numba the kernel stays plain Python: never called then, but the file that holds it can be imported.
    """
    if numba is None:
        return kernel
    try:
        return _forgiving(numba.njit(cache=True, **OPTIONS)(kernel))
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(**OPTIONS)(kernel)


def _forgiving(kernel: Callable) -> Callable:
    """Let files that a full disk or a power cut left half written cost a compilation, and not the drawing: numba
    lets the error of reading or writing them through, in every process, until somebody deletes them."""
    cache = getattr(kernel, "_cache", None)
    if not hasattr(cache, "load_overload") or not hasattr(cache, "save_overload"):
        return kernel  # switched off, or a numba that keeps its code in another way
    load, save = cache.load_overload, cache.save_overload

    def load_or_compile(*arguments: object) -> object:
        try:
            return load(*arguments)
        except Exception as error:  # unpickling what is damaged fails in any way
            log.warning("The compiled code of %s cannot be read (%s); it is compiled anew.", kernel.__name__, error)
        with contextlib.suppress(OSError):
            cache.flush()
        return None

    def save_or_not(*arguments: object) -> None:
        try:
            save(*arguments)
        except Exception as error:
            log.warning("The compiled code of %s cannot be kept (%s); the next start compiles it again.",
                        kernel.__name__, error)  # fmt: skip

    cache.load_overload, cache.save_overload = load_or_compile, save_or_not
    return kernel


@functools.cache
def can_compile() -> bool:
    """Whether numba is there and compiles; what is wrong is logged, once."""
    if numba is None:
        log.info("numba is not installed. Meshes are drawn by plain torch; `pip install numba` makes that faster.")
        return False
    if numba.config.DISABLE_JIT:
        log.warning("NUMBA_DISABLE_JIT is set. Meshes are drawn by plain torch, several times slower.")
        return False
    try:
        return compiled(_one_more)(1) == 2
    except Exception as error:
        log.warning("numba does not compile here (%s). Meshes are drawn by plain torch, several times slower.", error)
        return False


def _one_more(number: int) -> int:
    return number + 1
