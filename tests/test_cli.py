"""The command line: what is wrong is one sentence and exit code 2, before any long work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from expportrait_core.cli import main


def sentence(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What a command that is refused says: one line, and no traceback."""
    assert main([str(a) for a in arguments]) == 2
    said = capsys.readouterr().err.splitlines()
    refused = [line for line in said if line.startswith("expportrait: ")]
    assert len(refused) == 1 and refused[0] == said[-1] and "Traceback" not in said
    return refused[0]


def test_module_is_the_command() -> None:
    shown = subprocess.run([sys.executable, "-m", "expportrait_core", "--help"], capture_output=True, text=True)
    assert shown.returncode == 0 and "animate" in shown.stdout


@pytest.mark.parametrize("command", ["dataset", "evaluate"])
def test_what_is_not_built_says_so(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert f"'{command}' is not built yet" in sentence(capsys, command, "anything", "--at", "all")


@pytest.mark.parametrize("command", [["fit", "track", "{}", "out.npz"], ["personalize", "{}", "-o", "out.safetensors"],
                                     ["animate", "{}", "driver.npz", "-o", "out"]])  # fmt: skip
def test_missing_and_wrong_pictures(capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    for name, expected in (("gone.png", "There is no file"), ("text.png", "is not a picture")):
        arguments = [a.format(tmp_path / name) if a == "{}" else str(tmp_path / a) if "." in a else a for a in command]
        assert expected in sentence(capsys, *arguments)


def test_missing_and_wrong_fits(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("not a fit")
    for name in ("gone.npz", "text.npz"):
        assert name in sentence(capsys, "fit", "inspect", tmp_path / name)


def test_wrong_head_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = sentence(capsys, "fit", "track", "--head-model", tmp_path / "SMPLX.npz", tmp_path / "a.png", tmp_path / "b")
    assert "SMPLX.npz" in said


def test_wrong_head_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = sentence(capsys, "render", tmp_path / "head.safetensors", tmp_path / "fit.npz", "-o", tmp_path / "n.mp4")
    assert "head.safetensors" in said
