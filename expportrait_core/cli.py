"""The `expportrait` command: one subcommand per step, and `demo` for the whole walk.

Errors in what the user gave are one sentence and exit code 2. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .steps import Steps

if TYPE_CHECKING:
    from torch import Tensor

    from .types import HeadModel, RenderedHead, SMPLXFit

EXIT_BAD_INPUT, EXIT_INTERRUPTED = 2, 130
# the fit step's own lists: naming them here keeps torch out of `--help`. A test compares them
FACES = ("largest", "leftmost", "second from left", "third from left", "fourth from left", "rightmost", "centre")
MISSING = ("interpolate", "previous", "empty")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code: 0, or 2 with a sentence on stderr."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
    # Our tensors are small: on a busy machine two threads that wait for each other are many times slower than one.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not options.verbose:
        warnings.simplefilter("ignore")  # of libraries; what we have to say is logged
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name or a sign that a terminal does not know is no reason to fail
            stream.reconfigure(errors="replace")
    try:
        _check_outputs(options)
        options.run(options, Steps(sys.stderr))
    except (ValueError, OSError, ImportError) as error:  # the last two name a file or disk, and what to install
        sys.stderr.write(f"expportrait: {error}\n")
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write("expportrait: stopped.\n")
        return EXIT_INTERRUPTED
    return 0


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse, before the work, an output that cannot be written or would be written over what was given."""
    if not (output := getattr(options, "output", None)):
        return
    from .portable import require_writable

    require_writable(output, folder=bool(options.writes))
    written = [output / name for name in options.writes] or [output]
    if options.ending and output.suffix.lower() != options.ending:
        raise ValueError(f"The output is called {output.name}, expected a name that ends in {options.ending}.")
    if options.run is _personalize:
        written.append(output.with_suffix(".png"))
    given = [p for name, p in vars(options).items() if isinstance(p, Path) and name != "output"]
    for path in written:
        if path.resolve() in [p.resolve() for p in given]:
            raise ValueError(f"{path} is given, and would be written over. Choose another output.")


# ---------------------------------------------------------------------------------------------------------- commands
# Each takes the options and the steps that it reports to, and prints the paths of what it has written.


def _demo(options: argparse.Namespace, steps: Steps) -> None:
    from .demo import run_demo

    report = run_demo(options.output, steps)
    _say(f"{report['frames']} frames in {report['seconds']['total']:.0f} s. Look at {options.output}/contact_sheet.png")


def _fit_inspect(options: argparse.Namespace, steps: Steps) -> None:
    from .fit.formats import load_fit_and_format
    from .fit.summary import summarise, summary_lines

    fit, format_name = load_fit_and_format(options.fit, options.person)
    summary = summarise(fit, options.fit.name or str(options.fit), format_name)
    for line in [json.dumps(summary)] if options.json else summary_lines(summary):
        _say(line)


def _fit_convert(options: argparse.Namespace, steps: Steps) -> None:
    from .body import load_head_model
    from .fit import load_fit, save_fit

    head, body = (path and load_head_model(path) for path in (options.head_model, options.body_model))
    _say(save_fit(load_fit(options.fit, head, options.person, body_model=body), options.output))


def _fit_track(options: argparse.Namespace, steps: Steps) -> None:
    from .fit import BuiltInNetworks, MediaPipeMesh, MediaPipeTask, save_fit, track
    from .media import read_picture

    model = _model(options)
    picture = None if options.like is None else read_picture(options.like)
    face = "like the picture" if options.like else "by number" if options.face_number else options.face
    if options.landmarks == "mediapipe":
        source = MediaPipeTask(options.task_file) if options.task_file else MediaPipeMesh()
    else:
        source = BuiltInNetworks()
    pieces, fps, total = _pieces(options.images)
    with steps("track") as progress:
        fit = track(
            pieces, model, fps, options.focal, face, progress=progress, missing=options.missing,
            number=options.face_number or 1, picture=picture, source=source, total=total,
        )  # fmt: skip
    _say(save_fit(fit, options.output))


def _personalize(options: argparse.Namespace, steps: Steps) -> None:
    from .media import read_images, write_picture
    from .walk import make_portrait

    images, _ = read_images(options.images)
    portrait = make_portrait(images, _model(options), options.size, steps)
    _say(portrait.head.save(options.output))
    _say(write_picture(options.output.with_suffix(".png"), portrait.picture))


def _animate(options: argparse.Namespace, steps: Steps) -> None:
    from .fit import require_face
    from .media import read_images, write_clip, write_picture
    from .walk import animate

    model, folder = _model(options), options.output
    images, _ = read_images(options.images)
    require_face(images, options.images.name)  # before a driving clip is tracked
    made = animate(images, _driver(options.driver, model, steps), model, options.size, steps, options.head_pose)
    _say(write_picture(folder / "picture.png", made.portrait.picture))
    _say(made.portrait.head.save(folder / "head.safetensors"))
    _say(write_clip(folder / "normals.mp4", made.maps.normals, made.maps.fps))
    _say(write_clip(folder / "preview.mp4", made.preview, made.maps.fps))


def _render(options: argparse.Namespace, steps: Steps) -> None:
    from .media import write_clip

    maps = _maps(options, steps)
    _say(write_clip(options.output, maps.normals, maps.fps))


def _generate(options: argparse.Namespace, steps: Steps) -> None:
    from .generator import generate
    from .media import read_images, write_clip

    pictures, _ = read_images(options.picture)
    maps = _maps(options, steps, pictures)
    with steps("generate") as progress:
        video = generate(pictures[0] if len(pictures) == 1 else pictures, maps, seed=options.seed, progress=progress)
    _say(write_clip(options.output, video, maps.fps))


def _train_generator(options: argparse.Namespace, steps: Steps) -> None:
    from .generator.clip_pool import load_pool, render_pool
    from .generator.demo_model import DemoConfig, load_demo
    from .generator.train import TrainConfig, train_demo

    size, folder = DemoConfig().size, options.clips
    if options.start:
        load_demo(options.start)  # refused before the clips are rendered, if it is no such file
    with steps("render clips") as progress:
        render_pool(folder, options.num_clips, size, options.workers, progress)
    with steps("train") as progress:
        pool = load_pool(folder, size)
        config = TrainConfig(steps=options.steps, learning_rate=options.learning_rate)
        train_demo(options.output, pool, options.minutes, config, start=options.start, progress=progress)
    _say(options.output)


def _train_transfer(options: argparse.Namespace, steps: Steps) -> None:
    from .transfer import train_transfer

    with steps("train") as progress:
        model = train_transfer(options.output, options.steps, options.minutes, options.seed, progress=progress,
                               resume=options.resume)  # fmt: skip
    _say(options.output)
    _say(json.dumps(model.report))


def _not_built(options: argparse.Namespace, steps: Steps) -> None:
    raise ValueError(f"'{options.command}' is not built yet. `expportrait --help` lists the commands that are.")


# --------------------------------------------------------------------------------------------- what they have in common


def _say(line: object) -> None:
    sys.stdout.write(f"{line}\n")


def _model(options: argparse.Namespace) -> HeadModel:
    from .body import load_head_model

    return load_head_model(options.head_model, level=options.level)


def _driver(path: Path, model: HeadModel, steps: Steps) -> SMPLXFit:
    """The fit in a file, or of a picture or clip."""
    from .fit import load_fit
    from .media import is_picture_or_clip

    return _tracked(path, model, steps, "track driver") if is_picture_or_clip(path) else load_fit(path, model)


def _tracked(path: Path, model: HeadModel, steps: Steps, name: str) -> SMPLXFit:
    from .fit import track

    pieces, fps, total = _pieces(path)
    with steps(name) as progress:
        return track(pieces, model, fps, progress=progress, total=total)


def _pieces(path: Path) -> tuple[Iterator[Tensor], float, int]:
    """A picture, or a clip piece by piece, so that one of any length fits; its frames per second and their number."""
    from .fit.watching import PIECE
    from .media import inspect_clip, is_picture, read_picture, stream_clip

    if is_picture(path):
        return iter([read_picture(path)]), 25.0, 1
    clip = inspect_clip(path)
    return stream_clip(path, PIECE, as_bytes=True), clip.fps, clip.num_frames


def _maps(options: argparse.Namespace, steps: Steps, pictures: Tensor | None = None) -> RenderedHead:
    """The normals of a saved head that a driver moves, after a look whether `pictures` [F, H, W, 3] go with them."""
    from .body import load_head_model
    from .fit import require_framing
    from .generator import require_pictures
    from .head import load_head
    from .walk import drive

    own = None if options.head_model == "default" else load_head_model(options.head_model, level=0)
    head = load_head(options.head, own)  # brings its own level
    driver = _driver(options.driver, head.model, steps)
    if pictures is not None:
        require_framing(pictures[:1], head.fit, options.picture.name)
        require_pictures(len(pictures), driver.num_frames)
    return drive(head, driver, options.size, steps, options.head_pose)[1]


# --------------------------------------------------------------------------------------------------------- the options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="expportrait", description="One portrait picture and one driving performance become a portrait video."
    )
    parser.add_argument("--verbose", action="store_true", help="say more about what happens")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = _add(commands, "demo", _demo, "the whole walk on the built-in photo and performance")
    demo.add_argument("-o", "--output", type=Path, default=Path("output/demo"), help="folder (default: %(default)s)")
    demo.set_defaults(writes=("normals.mp4", "preview.mp4", "portrait.mp4", "head.safetensors", "contact_sheet.png"))

    fit = commands.add_parser("fit", help="inspect, convert or track a person's shape and motion")
    of_fit = fit.add_subparsers(dest="fit_command", required=True, metavar="COMMAND")
    inspect = _add(of_fit, "inspect", _fit_inspect, "say what a fit holds, of this project or of any known tracker")
    _fit_argument(inspect)
    inspect.add_argument("--json", action="store_true", help="one JSON object; fit/summary.py names its keys")
    convert = _add(of_fit, "convert", _fit_convert, "write a fit in this project's own format")
    _fit_argument(convert)
    convert.add_argument("--head-model", help="check or convert expressions for it: 'default', a SMPL-X or FLAME file")
    convert.add_argument("--body-model", help="your SMPL-X or FLAME file, whose expressions the fit has")
    _output(convert, "fit file to write", ".npz", "output")
    track = _add(of_fit, "track", _fit_track, "find the person in a picture or clip", model=True)
    track.add_argument("images", type=Path, help="picture or clip")
    _output(track, "fit file to write", ".npz", "output")
    track.add_argument("--face", choices=FACES, default="largest", help="which of several (default: %(default)s)")
    track.add_argument("--face-number", type=_count, help="which of several by size: 1 is the largest, 2 the next")
    track.add_argument("--like", type=Path, help="picture of the person to follow")
    track.add_argument("--missing", choices=MISSING, default="interpolate",
                       help="what frames without a face show (default: %(default)s)")  # fmt: skip
    track.add_argument("--focal", type=_positive, help="focal length in pixels (default: estimated)")
    track.add_argument("--landmarks", choices=("built-in", "mediapipe"), default="built-in",
                       help="what finds them (default: %(default)s)")  # fmt: skip
    track.add_argument("--task-file", type=Path, help="face_landmarker.task, for MediaPipe's task API")

    personalize = _add(commands, "personalize", _personalize, "make the 3D head of a portrait", model=True, size=True)
    personalize.add_argument("images", type=Path, help="picture, or clip of the person")
    _output(personalize, "head file to write; the cropped picture goes beside it", ".safetensors")

    animate = _add(commands, "animate", _animate, "picture and driver to normals and preview", model=True, size=True)
    animate.add_argument("images", type=Path, help="the portrait: a picture, or clip of the person")
    _driver_argument(animate)
    _output(animate, "folder to write into")
    animate.set_defaults(writes=("picture.png", "head.safetensors", "normals.mp4", "preview.mp4"))

    render = _add(commands, "render", _render, "head and driver to a clip of normals", size=True)
    _head_argument(render)
    _driver_argument(render)
    _output(render, "clip to write", ".mp4")

    generate = _add(commands, "generate", _generate, "picture, head and driver to a video", size=True)
    generate.add_argument("picture", type=Path, help="the picture beside the head file, or its preview clip")
    _head_argument(generate)
    _driver_argument(generate)
    generate.add_argument("--seed", type=int, default=0, help="of the noise (default: %(default)s)")
    _output(generate, "clip to write", ".mp4")

    train = commands.add_parser("train", help="train the small models that ship with this package")
    of_train = train.add_subparsers(dest="model", required=True, metavar="MODEL")
    transfer = _add(of_train, "transfer", _train_transfer, "the transfer model, on a made-up population")
    transfer.add_argument("--steps", type=_count, default=6000, help="of the whole training (default: %(default)s)")
    transfer.add_argument("--minutes", type=_positive, help="stop earlier; --resume goes on (default: no limit)")
    transfer.add_argument("--resume", action="store_true", help="go on where a run into the same output stopped")
    transfer.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    _output(transfer, "checkpoint to write; the state to resume from lies beside it", ".safetensors")
    generator = _add(of_train, "generator", _train_generator, "the demo generator, on rendered heads, in pieces")
    generator.add_argument("--clips", type=Path, required=True, help="folder of rendered clips; missing ones are made")
    generator.add_argument("--num-clips", type=_count, default=2000, help="how many (default: %(default)s)")
    generator.add_argument("--workers", type=_count, default=1, help="processes that render (default: %(default)s)")
    generator.add_argument("--steps", type=_count, default=4000, help="of the whole training (default: %(default)s)")
    generator.add_argument("--learning-rate", type=float, default=1e-3, help="highest (default: %(default)s)")
    generator.add_argument("--minutes", type=_positive, default=5.0, help="of this piece (default: %(default)s)")
    generator.add_argument("--start", type=Path, help="weights to begin from (default: random ones)")
    _output(generator, "weights to write; the checkpoint to go on from lies beside them", ".safetensors")

    for name in ("dataset", "evaluate"):
        _add(commands, name, _not_built, "not built yet").add_argument("ignored", nargs=argparse.REMAINDER)
    return parser


def _add(commands, name: str, run, text: str, model: bool = False, size: bool = False) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=run, writes=(), ending="")  # names of the files in the output where that is a folder
    if model:
        parser.add_argument("--head-model", default="default", help="'default', or a SMPL-X or FLAME file")
        parser.add_argument("--level", type=int, default=1, choices=(0, 1, 2), help="how fine (default: %(default)s)")
    if size:
        parser.add_argument("--size", type=_side, default=512, help="side of the pictures (default: %(default)s)")
    return parser


def _side(text: str) -> int:
    """Pixels of a picture's side, as an argument."""
    if not text.isdecimal() or not 64 <= int(text) <= 8192:
        raise argparse.ArgumentTypeError(f"found '{text}', expected 64 to 8192 pixels")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found '{text}', expected a whole number of at least 1")
    return int(text)


def _positive(text: str) -> float:
    """A number above 0, as an argument."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"found '{text}', expected a number above 0")
    return value


def _fit_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("fit", type=Path, help="fit file, or the file or folder that a tracker wrote")
    parser.add_argument("--person", type=int, help="which one of several (default: the one in most frames)")


def _head_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("head", type=Path, help="head file that `personalize` has written")
    parser.add_argument("--head-model", default="default", help="the head's own model: 'default', or the file it is of")


def _driver_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("driver", type=Path, help="the performance: a fit file or a clip")
    parser.add_argument("--head-pose", default="relative", choices=("driver", "portrait", "relative"),
                        help="whose pose the head has; relative: the portrait's, turned as the driver turns "
                        "(default: %(default)s)")  # fmt: skip


def _output(parser: argparse.ArgumentParser, text: str, ending: str = "", *positional: str) -> None:
    """Where to write: a folder, or a file of one ending."""
    names, required = (positional, {}) if positional else (("-o", "--output"), {"required": True})
    parser.add_argument(*names, type=Path, help=f"{text} ({ending})" if ending else text, **required)
    parser.set_defaults(ending=ending)
