"""Options that several commands have, and what their values may be."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path

from ..steps import Steps

Command = Callable[[argparse.Namespace, Steps], None]
"""Takes the options and the steps that it reports to, and prints the paths of what it has written."""

OF_FITS = ("person", "fps", "mirror", "legacy10", "image_size", "focal")
"""What `load_fit` takes beside files, by its names there. `body_model` names files, and comes where there is a head."""


def add_command(
    commands, name: str, run: Command, text: str, model: bool = False, size: bool = False
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    # names of the files in the output where that is a folder, its own ending, and those of files beside it
    parser.set_defaults(run=run, writes=(), ending="", beside=())
    if model:
        parser.add_argument("--head-model", default="default", help="'default', or a SMPL-X or FLAME file")
        parser.add_argument("--level", type=int, default=1, choices=(0, 1, 2), help="how fine (default: %(default)s)")
    if size:
        parser.add_argument("--size", type=side, default=512, help="longer side of the pictures (default: %(default)s)")
    return parser


def add_head(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("head", type=Path, help="head file that `personalize` has written")
    parser.add_argument("--head-model", default="default", help="the head's own model: 'default', or the file it is of")


def add_driver(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("driver", type=Path, help="the performance: a fit file or a clip")
    parser.add_argument("--head-pose", default="relative", choices=("driver", "portrait", "relative"),
                        help="whose pose the head has; relative: the portrait's, turned as the driver turns "
                        "(default: %(default)s)")  # fmt: skip
    add_reading(parser, with_head=True)


def add_reading(parser: argparse.ArgumentParser, with_head: bool) -> None:
    """The options of a fit file; `with_head` where it is going to move one."""
    group = parser.add_argument_group("what a fit file does not say, or not rightly")
    if with_head:
        group.add_argument("--body-model", type=Path, action="append", default=[], metavar="FILE",
                           help="your SMPL-X or FLAME file, with which the fit was made; twice where it takes both")
    group.add_argument("--person", type=int, help="which one of several (default: the one in most frames)")
    group.add_argument("--fps", type=positive, help="frames per second (default: what the file says)")
    group.add_argument("--mirror", action="store_true", help="swap left and right of an ARKit recording")
    group.add_argument("--legacy10", action="store_true", help="ten expressions are those of SMPL-X's old 10 + 10 file")
    group.add_argument("--image-size", type=picture_size, metavar="WIDTHxHEIGHT", help="of the full picture, in pixels")
    group.add_argument("--focal", type=positive, help="focal length in pixels (default: what the file says)")


def add_output(parser: argparse.ArgumentParser, text: str, ending: str = "", *positional: str) -> None:
    """Where to write: a folder, or a file of one ending."""
    names, required = (positional, {}) if positional else (("-o", "--output"), {"required": True})
    parser.add_argument(*names, type=Path, help=f"{text} ({ending})" if ending else text, **required)
    parser.set_defaults(ending=ending)


# ---------------------------------------------------------------------------------------------------- kinds of values


def side(text: str) -> int:
    """Pixels of a picture's side, as an argument."""
    if not text.isdecimal() or not 64 <= int(text) <= 8192:
        raise argparse.ArgumentTypeError(f"found '{text}', expected 64 to 8192 pixels")
    return int(text)


def picture_size(text: str) -> tuple[int, int]:
    """Height and width, which are typed as 1280x720: width first, as everybody says it."""
    found = re.fullmatch(r"([0-9]{1,6})[x×]([0-9]{1,6})", text)
    if not found or not int(found[1]) or not int(found[2]):
        raise argparse.ArgumentTypeError(f"found '{text}', expected width and height like 1280x720")
    return int(found[2]), int(found[1])


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found '{text}', expected a whole number of at least 1")
    return int(text)


def positive(text: str) -> float:
    """A number above 0, as an argument."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"found '{text}', expected a number above 0")
    return value
