"""Texts out of hostile files: shown as escapes, not too long, wherever they are printed."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from expportrait_core.assets import PERFORMANCE
from expportrait_core.cli import main
from expportrait_core.fit import load_fit, save_fit
from expportrait_core.printable import listed, log_of, printable, printable_lines
from expportrait_core.types import HeadModel

HOSTILE = "a\x1b]0;owned\x07\x1b[2J\u202ecod\u2066\r\n\x9bz\x7f\u200f"
SHOWN = r"a\x1b]0;owned\x07\x1b[2J\u202ecod\u2066\r\n\x9bz\x7f\u200f"


def harmless(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


def test_what_a_terminal_obeys_becomes_an_escape() -> None:
    assert printable(HOSTILE) == SHOWN and printable(SHOWN) == SHOWN
    for text in ("Künstler 01.npz", "表情 é", "a\u3000b", r"C:\new\x", "\U0001f600", ""):
        assert printable(text) == text
    assert printable("\ud800\u2028\U000e0041") == r"\ud800\u2028\U000e0041"  # half a character, a new line, a tag
    assert printable_lines("one\n\x1btwo\n") == "one\n\\x1btwo\n"


def test_what_is_long_loses_its_middle() -> None:
    for text in ("x" * 121, "ab" * 5000, "\x1b" * 119, HOSTILE * 9000):
        shown = printable(text)
        assert len(shown) == 120 and " ... " in shown and harmless(shown) and printable(shown) == shown
    shown = printable("begin" + "-" * 1000 + "end")
    assert shown.startswith("begin--") and shown.endswith("--end")
    assert printable("x" * 120) == "x" * 120
    assert listed(["a", "\x1b", "c"], 2) == r"a, \x1b and 1 more" and listed([]) == ""
    assert len(listed(["k" * 10_000] * 99)) < 1000


def test_fit_inspect_prints_no_control_characters(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    fit = load_fit(PERFORMANCE)
    hostile = fit.replace(
        model_id=HOSTILE, expression_space=HOSTILE, landmark_scheme=HOSTILE, landmarks=fit.poses.new_zeros(72, 5, 3)
    )
    for path in (save_fit(hostile, tmp_path / "a.npz"), hostile.save(tmp_path / "a.safetensors")):
        assert main(["fit", "inspect", str(path)]) == 0
        said = capsys.readouterr().out
        assert said.count(SHOWN) == 3 and harmless(said) and len(said.splitlines()) == 9
        assert main(["fit", "inspect", str(path), "--json"]) == 0
        said = capsys.readouterr().out
        assert harmless(said) and json.loads(said)["model_id"] == HOSTILE  # programs get what the file says


@pytest.mark.skipif(os.name == "nt", reason="files of Windows have no such names")
def test_sentences_quote_no_control_characters(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, coarse_head: HeadModel
) -> None:
    bad = tmp_path / "take\x1b[2J\u202e"
    bad.mkdir()
    np.savez(bad / "keys.npz", **{HOSTILE.replace("\r\n", ""): np.zeros(3), "k" * 9000: np.zeros(3)})
    (bad / f"{'f' * 9}\x1b.txt").write_text("x")
    fit = load_fit(PERFORMANCE)
    spaced = save_fit(fit.replace(expression_space=HOSTILE), tmp_path / "space.npz")
    arrays = dict(np.load(spaced))
    np.savez(tmp_path / "version.npz", **(arrays | {"version": np.array(HOSTILE)}))
    for path in (bad, bad / "keys.npz", bad / "gone\x9b.npz", tmp_path / "version.npz"):
        with pytest.raises(ValueError) as error:
            load_fit(path)
        assert harmless(str(error.value)) and "\n" not in str(error.value) and len(str(error.value)) < 4001
        assert main(["fit", "inspect", str(path)]) == 2
        assert harmless(capsys.readouterr().err)
    with pytest.raises(ValueError, match="are in the space 'a.x1b") as error:
        load_fit(spaced, coarse_head)
    assert harmless(str(error.value))


def test_warnings_quote_no_control_characters(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        log_of("expportrait_core.fit.formats.frames").warning("%s lacks %d of its frames", HOSTILE, 7)
    assert caplog.messages == [f"{SHOWN} lacks 7 of its frames"]
