"""Which commands there are."""

from __future__ import annotations

import argparse

from ..steps import Steps
from . import fit, portrait, training
from .arguments import add_command


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="expportrait", description="One portrait picture and one driving performance become a portrait video."
    )
    parser.add_argument("--verbose", action="store_true", help="say more about what happens")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    portrait.add_demo(commands)
    fit.add_commands(commands)
    portrait.add_commands(commands)
    training.add_commands(commands)
    for name in ("dataset", "evaluate"):
        add_command(commands, name, _not_built, "not built yet").add_argument("ignored", nargs=argparse.REMAINDER)
    return parser


def _not_built(options: argparse.Namespace, steps: Steps) -> None:
    raise ValueError(f"'{options.command}' is not built yet. `expportrait --help` lists the commands that are.")
