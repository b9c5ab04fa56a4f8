"""The pictures that our workflows open with, put where ComfyUI's own loaders find them."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import folder_paths

__all__ = ["offer_examples"]

ASSETS = Path(__file__).parent.parent / "expportrait_core" / "assets"
EXAMPLES = {"astronaut.png": "expportrait_astronaut.png", "demo_clip.mp4": "expportrait_driving.mp4"}
"""What ships with the pack, and its name in the input folder."""


def offer_examples() -> None:
    """Copy what is missing into the input folder: core's Load Image and Load Video look nowhere else."""
    folder = Path(folder_paths.get_input_directory())
    for asset, name in EXAMPLES.items():
        if folder.is_dir() and not (folder / name).exists():
            try:
                shutil.copyfile(ASSETS / asset, folder / name)
            except OSError as error:
                logging.warning("ExpPortrait: %s was not copied into %s (%s).", name, folder, error)
