"""Nothing of a fit is opened that may not be: every reader asks before every file and folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from expportrait_core.assets import PERFORMANCE
from expportrait_core.fit import load_fit

from . import tracker_files as files
from .test_arkit import write as write_arkit
from .test_hostile import WRITERS

ONE_FILE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "beat2": ("clip.npz", files.write_beat2),
    "tracked vhap": ("tracked_flame_params_9.npz", files.write_vhap),
    "gvhmr": ("hmr4d_results.pt", files.write_gvhmr),
    "arkit": ("take.csv", lambda path: write_arkit(path, [{"JawOpen": 0.5}] * 3)),
    "own": ("own.npz", lambda path: path.write_bytes(PERFORMANCE.read_bytes())),
    "own safetensors": ("own.safetensors", lambda path: load_fit(PERFORMANCE).save(path)),
}
opened: list[Path] | None = None


def _listen(event: str, arguments: tuple) -> None:
    if opened is not None and event in ("open", "os.scandir", "os.listdir") and isinstance(arguments[0], str | Path):
        opened.append(Path(arguments[0]))


sys.addaudithook(_listen)  # Python has no way to take one away; ours does nothing but in these tests


@pytest.fixture
def listening() -> Iterator[list[Path]]:
    global opened
    opened = []
    yield opened
    opened = None


def written(name: str, folder: Path) -> Path:
    if name in WRITERS:
        WRITERS[name](folder / "clip")
        return folder / "clip"
    file, write = ONE_FILE[name]
    write(folder / file)
    return folder / file


@pytest.mark.parametrize("name", [*WRITERS, *ONE_FILE, "metrical"])
def test_every_file_is_asked_for_before_it_is_opened(name: str, tmp_path: Path, listening: list[Path]) -> None:
    if name == "metrical":
        files.write_frames(tmp_path / "clip", name)
    path = tmp_path / "clip" if name == "metrical" else written(name, tmp_path)
    listening.clear()
    asked: list[Path] = []

    def allowed(path: Path) -> bool:
        asked.append(path)
        return True

    load_fit(path, allowed=allowed)
    own = {path for path in listening if path.is_relative_to(tmp_path)}
    assert own <= set(asked), "opened without asking"
    assert own or name == "own safetensors"  # which is opened where Python does not hear it
    assert path in asked
    for refused in dict.fromkeys(asked):
        with pytest.raises(ValueError, match=f"needs {refused.name}, which lies outside the folders"):
            load_fit(path, allowed=lambda path, refused=refused: path != refused)
    assert load_fit(path).num_frames, "the limit is gone after the reading"


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["a pipe", "a device"])
@pytest.mark.parametrize("name", ["smplx_params/00001.json", "take.csv", "checkpoint/00001.frame"])
def test_pipes_and_devices_are_not_opened(tmp_path: Path, make: Callable[[Path], None], name: str) -> None:
    """A pipe would be waited for without end, and a link to a device has no size and no end."""
    path = tmp_path / "a" / name
    path.parent.mkdir(parents=True)
    make(path)
    with pytest.raises(ValueError, match=f"{path.name} is a pipe, a socket or a device, expected a file"):
        load_fit(tmp_path / "a")
    with pytest.raises(ValueError):
        load_fit(path)
