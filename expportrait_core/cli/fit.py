"""`fit inspect`, `fit convert` and `fit track`: a person's shape and motion, from files, pictures and clips."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..steps import Steps
from .arguments import add_command, add_output, add_reading, count, positive
from .common import head_model, pieces_of, read_fit, reading, say

# the fit step's own lists: naming them here keeps torch out of `--help`. A test compares them
FACES = ("largest", "leftmost", "second from left", "third from left", "fourth from left", "rightmost", "centre")
MISSING = ("interpolate", "previous", "empty")


def add_commands(commands) -> None:
    fit = commands.add_parser("fit", help="inspect, convert or track a person's shape and motion")
    of_fit = fit.add_subparsers(dest="fit_command", required=True, metavar="COMMAND")
    inspect = add_command(of_fit, "inspect", _inspect, "say what a fit holds, of this project or of any known tracker")
    _add_fit(inspect, with_head=False)
    inspect.add_argument("--json", action="store_true", help="one JSON object; fit/summary.py names its keys")

    convert = add_command(of_fit, "convert", _convert, "write a fit in this project's own format")
    _add_fit(convert, with_head=True)
    convert.add_argument("--head-model", help="check or convert expressions for it: 'default', a SMPL-X or FLAME file")
    add_output(convert, "fit file to write", ".npz", "output")

    track = add_command(of_fit, "track", _track, "find the person in a picture or clip", model=True)
    track.add_argument("images", type=Path, help="picture or clip")
    add_output(track, "fit file to write", ".npz", "output")
    which = track.add_mutually_exclusive_group()
    which.add_argument("--face", choices=FACES, default="largest", help="which of several (default: %(default)s)")
    which.add_argument("--face-number", type=count, help="which of several by size: 1 is the largest, 2 the next")
    which.add_argument("--like", type=Path, help="picture of the person to follow")
    track.add_argument("--missing", choices=MISSING, default="interpolate",
                       help="what frames without a face show (default: %(default)s)")  # fmt: skip
    track.add_argument("--focal", type=positive, help="focal length in pixels (default: estimated)")
    track.add_argument("--landmarks", choices=("built-in", "mediapipe"), default="built-in",
                       help="what finds them (default: %(default)s)")  # fmt: skip
    track.add_argument("--task-file", type=Path, help="face_landmarker.task, for MediaPipe's task API")


def _add_fit(parser: argparse.ArgumentParser, with_head: bool) -> None:
    parser.add_argument("fit", type=Path, help="fit file, or the file or folder that a tracker wrote")
    add_reading(parser, with_head)


def _inspect(options: argparse.Namespace, steps: Steps) -> None:
    from ..fit.formats import Options, load_fit_and_format
    from ..fit.summary import summarise, summary_lines

    fit, format_name = load_fit_and_format(options.fit, Options(**reading(options)))
    summary = summarise(fit, options.fit.name or str(options.fit), format_name)
    for line in [json.dumps(summary)] if options.json else summary_lines(summary):
        say(line)


def _convert(options: argparse.Namespace, steps: Steps) -> None:
    from ..body import load_head_model
    from ..fit import save_fit

    head = load_head_model(options.head_model) if options.head_model else None
    if options.body_model and head is None:
        raise ValueError("--body-model is given, and no head to convert the expressions for. Give --head-model too.")
    say(save_fit(read_fit(options.fit, head, options), options.output))


def _track(options: argparse.Namespace, steps: Steps) -> None:
    from ..fit import BuiltInNetworks, MediaPipeMesh, MediaPipeTask, save_fit, track
    from ..media import read_picture

    if options.task_file and options.landmarks != "mediapipe":
        raise ValueError("--task-file is given, and only MediaPipe reads it. Add --landmarks mediapipe.")
    model = head_model(options)
    picture = None if options.like is None else read_picture(options.like)
    face = "like the picture" if options.like else "by number" if options.face_number else options.face
    if options.landmarks == "mediapipe":
        source = MediaPipeTask(options.task_file) if options.task_file else MediaPipeMesh()
    else:
        source = BuiltInNetworks()
    pieces, fps, total = pieces_of(options.images)
    with steps("track") as progress:
        fit = track(
            pieces, model, fps, options.focal, face, progress=progress, missing=options.missing,
            number=options.face_number or 1, picture=picture, source=source, total=total,
        )  # fmt: skip
    say(save_fit(fit, options.output))
