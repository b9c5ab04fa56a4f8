"""The steps of a walk on the command line: each named, timed, and shown on one line while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from .portable import Progress  # not at run time: it would import torch before `--help` answers

__all__ = ["Steps"]

REFRESH = 0.1  # seconds between two updates of the line; our choice


class Steps:
    """Times named steps and tells a stream how far they are.

        steps = Steps(sys.stderr)
        with steps("personalize") as progress:
            head = personalize(model, fit, images, progress=progress)
        steps.seconds["personalize"]

    A terminal sees a line that counts up, a log file one line per finished step.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._stream = stream
        self._live = stream is not None and stream.isatty()

    @contextmanager
    def __call__(self, name: str) -> Iterator[Progress]:
        start = shown = time.perf_counter()

        def progress(done: int, total: int, preview: object) -> None:
            nonlocal shown
            now = time.perf_counter()
            if now - shown >= REFRESH:
                shown = now
                self._show_running(f"{name:<14}{done}/{total}  {now - start:.0f} s")

        outcome = "stopped after"
        try:
            self._show_running(f"{name:<14}...")
            yield progress
            outcome = ""
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
            self._show_done(f"{name:<14}{outcome} {self.seconds[name]:.1f} s")

    def _show_running(self, line: str) -> None:
        if self._live:
            self._write(f"\r{line:<60}")  # padded, to cover a longer line before it

    def _show_done(self, line: str) -> None:
        self._write(f"\r{line:<60}\n" if self._live else f"{line}\n")

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()
