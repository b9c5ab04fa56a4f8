"""`train transfer` and `train generator`: the small models that ship with this package."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..steps import Steps
from .arguments import add_command, add_output, count, positive
from .common import say


def add_commands(commands) -> None:
    train = commands.add_parser("train", help="train the small models that ship with this package")
    of_train = train.add_subparsers(dest="model", required=True, metavar="MODEL")
    transfer = add_command(of_train, "transfer", _transfer, "the transfer model, on a made-up population")
    transfer.add_argument("--steps", type=count, default=6000, help="of the whole training (default: %(default)s)")
    transfer.add_argument("--minutes", type=positive, help="stop earlier; --resume goes on (default: no limit)")
    transfer.add_argument("--resume", action="store_true", help="go on where a run into the same output stopped")
    transfer.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    add_output(transfer, "checkpoint to write; the state to resume from lies beside it", ".safetensors")

    generator = add_command(of_train, "generator", _generator, "the demo generator, on rendered heads, in pieces")
    generator.add_argument("--clips", type=Path, required=True, help="folder of rendered clips; missing ones are made")
    generator.add_argument("--num-clips", type=count, default=2000, help="how many (default: %(default)s)")
    generator.add_argument("--workers", type=count, default=1, help="processes that render (default: %(default)s)")
    generator.add_argument("--steps", type=count, default=4000, help="of the whole training (default: %(default)s)")
    generator.add_argument("--learning-rate", type=float, default=1e-3, help="highest (default: %(default)s)")
    generator.add_argument("--minutes", type=positive, default=5.0, help="of this piece (default: %(default)s)")
    generator.add_argument("--start", type=Path, help="weights to begin from (default: random ones)")
    add_output(generator, "weights to write; the checkpoint to go on from lies beside them", ".safetensors")


def _transfer(options: argparse.Namespace, steps: Steps) -> None:
    from ..transfer import train_transfer

    with steps("train") as progress:
        model = train_transfer(options.output, options.steps, options.minutes, options.seed, progress=progress,
                               resume=options.resume)  # fmt: skip
    say(options.output)
    say(json.dumps(model.report))


def _generator(options: argparse.Namespace, steps: Steps) -> None:
    from ..generator.clip_pool import load_pool, render_pool
    from ..generator.demo_model import DemoConfig, load_demo
    from ..generator.train import TrainConfig, train_demo

    size, folder = DemoConfig().size, options.clips
    if options.start:
        load_demo(options.start)  # refused before the clips are rendered, if it is no such file
    with steps("render clips") as progress:
        render_pool(folder, options.num_clips, size, options.workers, progress)
    with steps("train") as progress:
        pool = load_pool(folder, size)
        config = TrainConfig(steps=options.steps, learning_rate=options.learning_rate)
        train_demo(options.output, pool, options.minutes, config, start=options.start, progress=progress)
    say(options.output)
