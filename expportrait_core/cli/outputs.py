"""What a command is going to write, looked at before the work."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path


def require_outputs(options: argparse.Namespace) -> None:
    """Refuse an output that cannot be written or would be written over what was given."""
    if not (output := getattr(options, "output", None)):
        return
    from ..portable import require_writable

    require_writable(output, folder=bool(options.writes))
    written = [output / name for name in options.writes] or [output]
    if options.ending and output.suffix.lower() != options.ending:
        raise ValueError(f"The output is called {output.name}, expected a name that ends in {options.ending}.")
    written += [output.with_suffix(ending) for ending in options.beside]
    given = {path.resolve() for path in _given(options)}
    for path in written:
        if path.resolve() in given:
            raise ValueError(f"{path} is given, and would be written over. Choose another output.")


def _given(options: argparse.Namespace) -> Iterator[Path]:
    """Every file that is read."""
    for name, value in vars(options).items():
        if name != "output":
            yield from (path for path in (value if isinstance(value, list) else [value]) if isinstance(path, Path))
    if head_model := getattr(options, "head_model", None):
        yield Path(head_model)  # or the word "default"
