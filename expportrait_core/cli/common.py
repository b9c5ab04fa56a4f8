"""What the commands have in common when they run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..steps import Steps
from .arguments import OF_FITS

if TYPE_CHECKING:
    from torch import Tensor

    from ..types import HeadModel, SMPLXFit


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")


def head_model(options: argparse.Namespace) -> HeadModel:
    from ..body import load_head_model

    return load_head_model(options.head_model, level=options.level)


def reading(options: argparse.Namespace) -> dict[str, Any]:
    """What the user says about a fit file, as `load_fit` takes it."""
    return {name: getattr(options, name) for name in OF_FITS}


def read_fit(path: Path, head: HeadModel | None, options: argparse.Namespace) -> SMPLXFit:
    """The fit in a file, for the head that it is going to move."""
    from ..body import load_head_model
    from ..fit import load_fit

    bodies = [load_head_model(body) for body in options.body_model]
    return load_fit(path, head, body_model=bodies, **reading(options))


def driver_fit(options: argparse.Namespace, model: HeadModel, steps: Steps) -> SMPLXFit:
    """The fit in the driver's file, or of the picture or clip that it is."""
    from ..media import is_picture_or_clip

    if not is_picture_or_clip(options.driver):
        return read_fit(options.driver, model, options)
    given = [f"`{name}`" for name in (*OF_FITS, "body_model") if getattr(options, name) not in (None, False, [])]
    if given:
        raise ValueError(
            f"{options.driver.name} is tracked here, and {' and '.join(given)} can be said of fit files alone. Leave "
            f"that out, or give the fit of a tracker."
        )
    return tracked(options.driver, model, steps, "track driver")


def tracked(path: Path, model: HeadModel, steps: Steps, name: str) -> SMPLXFit:
    from ..fit import track

    pieces, fps, total = pieces_of(path)
    with steps(name) as progress:
        return track(pieces, model, fps, progress=progress, total=total)


def pieces_of(path: Path) -> tuple[Iterator[Tensor], float, int]:
    """A picture, or a clip piece by piece, so that one of any length fits; its frames per second and their number."""
    from ..fit.detect.watching import PIECE
    from ..media import inspect_clip, is_picture, read_picture, stream_clip

    if is_picture(path):
        return iter([read_picture(path)]), 25.0, 1
    clip = inspect_clip(path)
    return stream_clip(path, PIECE, as_bytes=True), clip.fps, clip.num_frames
