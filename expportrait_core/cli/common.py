"""What the commands have in common when they run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..steps import Steps

if TYPE_CHECKING:
    from torch import Tensor

    from ..types import HeadModel, SMPLXFit


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")


def head_model(options: argparse.Namespace) -> HeadModel:
    from ..body import load_head_model

    return load_head_model(options.head_model, level=options.level)


def driver_fit(path: Path, model: HeadModel, steps: Steps) -> SMPLXFit:
    """The fit in a file, or of a picture or clip."""
    from ..fit import load_fit
    from ..media import is_picture_or_clip

    return tracked(path, model, steps, "track driver") if is_picture_or_clip(path) else load_fit(path, model)


def tracked(path: Path, model: HeadModel, steps: Steps, name: str) -> SMPLXFit:
    from ..fit import track

    pieces, fps, total = pieces_of(path)
    with steps(name) as progress:
        return track(pieces, model, fps, progress=progress, total=total)


def pieces_of(path: Path) -> tuple[Iterator[Tensor], float, int]:
    """A picture, or a clip piece by piece, so that one of any length fits; its frames per second and their number."""
    from ..fit.watching import PIECE
    from ..media import inspect_clip, is_picture, read_picture, stream_clip

    if is_picture(path):
        return iter([read_picture(path)]), 25.0, 1
    clip = inspect_clip(path)
    return stream_clip(path, PIECE, as_bytes=True), clip.fps, clip.num_frames
