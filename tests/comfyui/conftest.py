"""One real server for all tests of a worker; see server.py for where it comes from."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _server_module():
    """server.py under a name of its own: with --import-mode=importlib, tests are no package to import from."""
    name = "expportrait_test_server"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / "server.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


server_module = _server_module()


@pytest.fixture(scope="session")
def install():
    """The ComfyUI that is tested against."""
    return server_module.find()


@pytest.fixture(scope="session")
def comfyui(install, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A running server with the pack in it and empty folders of its own."""
    base = tmp_path_factory.mktemp("comfyui")
    with server_module.running(install, base) as server:
        yield server
        shutil.copy(server.log, base / "last.log")
