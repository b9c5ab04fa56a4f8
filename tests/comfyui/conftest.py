"""One real server for all tests of a worker; see server.py for where it comes from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from expportrait_core.assets import PERFORMANCE
from expportrait_core.fit import load_fit, save_fit

from . import server


@pytest.fixture(scope="session")
def install():
    """The ComfyUI that is tested against."""
    return server.find()


@pytest.fixture(scope="session")
def comfyui(install, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A running server with the pack in it and empty folders of its own."""
    base = tmp_path_factory.mktemp("comfyui")
    with server.running(install, base) as running:
        yield running
        shutil.copy(running.log, base / "last.log")


@pytest.fixture(scope="session")
def short_driver(comfyui) -> str:
    """Five frames of the built-in performance, as a file of the input folder."""
    save_fit(load_fit(PERFORMANCE).frames(slice(0, 15, 3)), comfyui.base / "input" / "short.npz")
    return "short.npz"
