"""What the pack needs of its server and Python: said at the start, and again where a node meets what is missing."""

from __future__ import annotations

import functools
import logging
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

__all__ = ["explained", "missing_packages", "say_what_is_missing"]

NEEDED_COMFYUI = "0.3.64"
FILE = Path(__file__).resolve().parent.parent / "requirements.txt"
MODULES = {"opencv-python-headless": "cv2"}  # where the module is not called as the package is
NOT_ASKED_FOR = ("comfyui-frontend-package", "smplx")  # core looks after its own; smplx only reads real SMPL-X files

Node = TypeVar("Node", bound=type)


def packages() -> dict[str, str]:
    """Modules that the pack imports, and the package of each."""
    lines = FILE.read_text("utf-8").splitlines()
    names = [re.split("[^A-Za-z0-9_-]", line, maxsplit=1)[0] for line in lines]
    return {MODULES.get(name, name.replace("-", "_")): name for name in names if name and name not in NOT_ASKED_FOR}


def missing_packages() -> list[str]:
    """Those that this Python does not have. Nothing is imported to find out."""
    return [package for module, package in packages().items() if find_spec(module) is None]


def how_to_install() -> str:
    """The command line, for people: nothing here runs it."""
    return f'Run: "{sys.executable}" -m pip install -r "{FILE}" and start ComfyUI again.'


def say_what_is_missing() -> None:
    """Warn in the log, once, about an older server and about packages that nodes will miss when they run."""
    if missing := missing_packages():
        logging.warning("ExpPortrait: this Python has no %s. %s", ", ".join(missing), how_to_install())
    try:
        from comfyui_version import __version__ as found
    except ImportError:
        found = "0"  # older than this module
    if _numbers(found) < _numbers(NEEDED_COMFYUI):
        logging.warning("ExpPortrait needs ComfyUI %s or newer, this is %s. Update it.", NEEDED_COMFYUI, found)


def explained(node: Node) -> Node:
    """The node, saying how to install a package of ours that turns out to be missing while it runs."""
    run = node.execute.__func__

    @functools.wraps(run)
    def execute(cls, *values, **named):
        try:
            return run(cls, *values, **named)
        except ModuleNotFoundError as error:
            package = packages().get((error.name or "").split(".")[0])
            if package is None:
                raise
            raise RuntimeError(f"This Python has no {package}, which this node needs. {how_to_install()}") from error

    node.execute = classmethod(execute)
    return node


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]
