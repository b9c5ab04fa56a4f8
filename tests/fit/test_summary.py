"""`fit inspect` and `fit convert`: readable fits are told about whatever the terminal, nothing else is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.assets import PERFORMANCE
from expportrait_core.cli import main
from expportrait_core.fit import load_fit, save_fit
from expportrait_core.fit.summary import KEYS, summarise, summary_lines


def inspected(capsys: pytest.CaptureFixture[str], path: Path) -> dict:
    assert main(["fit", "inspect", str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_holds_the_documented_keys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    fit = load_fit(PERFORMANCE).frames([0, 1, 5, 47])
    fit = fit.replace(valid=torch.tensor([True, False, True, True]))
    for path in (save_fit(fit, tmp_path / "some.npz"), fit.save(tmp_path / "some.safetensors")):
        found = inspected(capsys, path)
        assert list(found) == list(KEYS) and found["format"] == "this package's own"
        assert (found["file"], found["frames"], found["fps"], found["seconds"]) == (path.name, 4, 25.0, 0.16)
        assert (found["first_frame"], found["last_frame"], found["missing_frames"]) == (0, 47, 44)
        assert (found["image_size"], found["focal"]) == ([512, 512], 1126.4)
        assert found["frames_without_face"] == 1 and found["landmarks"] is None
        assert found["strongest_expressions"]["mouthSmileLeft"] == pytest.approx(0.85, abs=0.01)
        assert set(found["moving_joints"]) == {"neck", "head", "jaw"}


def test_people_are_told_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "inspect", str(PERFORMANCE)]) == 0
    said = capsys.readouterr().out
    assert "72 frames at 25 per second, 2.88 s, numbered 0 to 71" in said and "eyeBlinkLeft 1" in said


def test_odd_but_readable_fits(tmp_path: Path) -> None:
    """One frame, no columns, an unknown space, repeated frame numbers."""
    one = load_fit(PERFORMANCE).frames([3])
    for fit in (
        one, one.replace(expression=torch.zeros(1, 0)), one.replace(expression=torch.zeros(1, 100)),
        one.replace(expression_space="mine", expression=torch.ones(1, 300)), one.replace(betas=torch.zeros(0)),
        one.frames([0, 0, 0]), one.replace(valid=torch.tensor([False]), fps=0.001),
        one.replace(expression=torch.ones(1, 130)),
    ):  # fmt: skip
        summary = summarise(load_fit(save_fit(fit, tmp_path / "odd.npz")), "odd.npz", "ours")
        assert json.loads(json.dumps(summary, allow_nan=False)) == summary and len(summary_lines(summary)) == 9


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_terminals_that_know_no_signs(tmp_path: Path, more: list[str]) -> None:
    path = save_fit(load_fit(PERFORMANCE), tmp_path / "Künstler.npz")
    done = subprocess.run(
        [sys.executable, "-m", "expportrait_core", "fit", "inspect", str(path), *more],
        capture_output=True, text=True, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "72" in done.stdout and not done.stderr


def test_converted_files_are_called_npz(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("b.json", "b", "b.safetensors"):
        assert main(["fit", "convert", str(PERFORMANCE), str(tmp_path / name)]) == 2
        assert f"The output is called {name}, expected a name that ends in .npz." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(["fit", "convert", str(PERFORMANCE), str(tmp_path / "b.NPZ")]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["b.NPZ"]
    with np.load(tmp_path / "b.NPZ", allow_pickle=False) as file:
        assert file["poses"].shape == (72, 165)
