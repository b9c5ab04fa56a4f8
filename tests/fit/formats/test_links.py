"""Links that lead nowhere or to themselves, in whichever folder of a fit: left out, told once, and the rest is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from expportrait_core.cli import main
from expportrait_core.fit import load_fit

from . import tracker_files as files
from .test_hostile import WRITERS

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need rights there that few have")


@pytest.mark.parametrize("target", ["itself", "nothing"])
@pytest.mark.parametrize("name", WRITERS)
def test_the_rest_is_read(name: str, target: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "clip"
    WRITERS[name](folder)
    plain = load_fit(folder)
    for inside in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        (inside / "loop").symlink_to("loop" if target == "itself" else "nothing")
    caplog.clear()
    fit = load_fit(folder)
    assert torch.equal(fit.poses, plain.poses) and torch.equal(fit.frame_ids, plain.frame_ids)
    told = [text for text in caplog.messages if "links that lead nowhere or to themselves are left out: " in text]
    assert len(told) == 1 and told[0].startswith("clip: ") and told[0].count("clip/loop") == 1


def test_a_frame_that_is_such_a_link_is_a_gap(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, target in (("loop", "00002.json"), ("gone", "elsewhere.json")):
        folder = tmp_path / name
        files.write_lhm(folder)
        frame = folder / "smplx_params" / "00002.json"
        frame.unlink()
        frame.symlink_to(target)
        caplog.clear()
        fit = load_fit(folder)
        assert fit.frame_ids.tolist() == [0, 2, 3] and "left out: smplx_params/00002.json." in caplog.text
        assert "lacks 1 of its frames, the first is 2" in caplog.text


def test_a_lost_file_that_was_such_a_link_is_told_beside_the_refusal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files.write_ehm(tmp_path / "clip")
    shared = tmp_path / "clip" / "id_share_params.pkl"
    shared.unlink()
    shared.symlink_to(shared)
    with pytest.raises(ValueError, match="id_share_params"):
        load_fit(tmp_path / "clip")
    assert "left out: clip/id_share_params.pkl." in caplog.text


def test_ways_through_a_loop_are_told_as_missing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "loop", tmp_path / "loop" / ".." / "a.npz"):
        assert main(["fit", "inspect", str(path)]) == 2
        assert "There is no fit file" in capsys.readouterr().err
