"""Presets: those that ship, files, and names of one's own with what a text makes of them."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
import torch

from expportrait_core.fit import (
    Preset,
    load_preset,
    neutral_fit,
    parse_keyframes,
    preset_names,
    preset_with,
    require_preset_name,
    save_preset,
)
from expportrait_core.fit.edit.editing import edit_fit
from expportrait_core.types import HeadModel


def test_at_least_twelve_presets_ship_and_each_is_another_face(coarse_head: HeadModel) -> None:
    assert len(preset_names()) >= 12
    rest = neutral_fit(coarse_head)
    faces = {}
    for name in preset_names():
        fit = edit_fit(rest, coarse_head, load_preset(name).values)
        faces[name] = torch.cat([fit.expression[0], 2 * fit.poses[0].flatten()])
        assert load_preset(name).description.endswith(".")
    assert faces["neutral"].abs().max() == 0
    different = torch.cdist(torch.stack(list(faces.values())), torch.stack(list(faces.values())))
    assert (different + 9 * torch.eye(len(faces))).min() > 0.3


def test_own_presets_are_called_by_their_names(tmp_path: Path) -> None:
    own = {"mine": Preset("Mine", {"puff": 0.5})}
    assert parse_keyframes("0: @mine 0.5", presets=own)[0].values == {"puff": 0.25}
    path = save_preset(own["mine"], tmp_path / "mine.json")
    with pytest.raises(ValueError, match="There is no preset"):
        parse_keyframes(f"0: @{path}")  # a text never opens a file


def test_presets_are_written_and_read_back(tmp_path: Path) -> None:
    preset = Preset("Mine", {"smile": 0.5, "head_turn": -10.0}, "Ünïcode.")
    path = save_preset(preset, tmp_path / "mine")
    assert path.name == "mine.json" and load_preset(path) == preset
    assert json.loads(path.read_text("utf-8"))["values"] == preset.values
    assert preset.scaled(0.5) == {"smile": 0.25, "head_turn": -5.0}


@pytest.mark.parametrize(("content", "sentence"), [
    ("{", "no readable preset"),
    ("[1, 2]", "holds a list, expected a preset"),
    ('{"hair": 1}', "holds hair, expected a preset"),
    ('{"format": "expportrait.preset", "version": 2, "values": {}}', "version 2, this release reads 1"),
    ('{"format": "expportrait.preset", "version": "x", "values": {}}', "version 'x', expected a whole number"),
    ('{"format": "expportrait.preset", "version": 1}', "no table of values"),
    ('{"format": "expportrait.preset", "version": 1, "values": {"grin": 1}}', "There is no control 'grin'"),
    ('{"format": "expportrait.preset", "version": 1, "values": {"smile": "1"}}', "'smile' is '1', expected"),
    ('{"format": "expportrait.preset", "version": 1, "values": {"smile": NaN}}', "'smile' is nan"),
])  # fmt: skip
def test_damaged_presets_get_a_sentence(content: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=sentence):
        load_preset(tmp_path / "a.json")


def test_missing_presets_get_a_sentence(tmp_path: Path) -> None:
    for source in ("joy", tmp_path / "gone.json", "../../default_head"):
        with pytest.raises(ValueError, match="There is no preset"):
            load_preset(source)


def test_a_preset_and_a_slider_together_go_no_further_than_is_taken() -> None:
    preset = Preset("Mine", {"smile": 1.5, "head_turn": -100.0, "puff": 0.5})
    made = preset_with(preset, 1.5, {"smile": 1.0, "head_turn": -60.0, "blink": 0.2})
    assert made == {"smile": 3.0, "head_turn": -180.0, "puff": 0.75, "blink": 0.2}
    assert preset_with(preset, 0.5, {"puff": -0.5}) == {"smile": 0.75, "head_turn": -50.0, "puff": -0.25}


# --------------------------------------------------------------------------------------------------- names of one's own


@pytest.mark.parametrize("name", ["my smile", "Lächeln", "smile 2", "smile-2_b", "微笑", "v1.2"])
def test_names_are_taken_and_called_in_keyframes(name: str, tmp_path: Path) -> None:
    assert require_preset_name(f" {name} ") == name
    path = save_preset(Preset(name, {"puff": 0.5}), tmp_path / (name + ".preset.json"))
    for stored in (name, unicodedata.normalize("NFD", name)):  # as file systems differ
        own = {stored: path}
        for text, amount in ((f"0: @{name}", 1), (f"0: @{name} 0.5, smile 1", 0.5), (f'0: @"{name}" 0.5', 0.5),
                             (f'[{{"time": 0, "values": {{"@{name}": 0.5}}}}]', 0.5)):  # fmt: skip
            assert parse_keyframes(text, presets=own)[0].values["puff"] == 0.5 * amount


@pytest.mark.parametrize(("name", "sentence"), [
    ("smile", "A preset 'smile' ships with the pack"), ("SMILE", "A preset 'smile' ships"),
    ("a/b", "holds '/', expected"),
    ("a:b", "holds ':'"), ("a\\b", "holds"), ("a,b", "holds ','"), ("a\x1b[2J", r"holds '\\x1b'"), ("a#b", "holds '#'"),
    ("\u202eabc", "holds"), (".hidden", "cannot be called '.hidden'"), ("x.", "cannot be called"),
    ("none", "cannot be"), ("NUL.txt", "cannot be"), ("", "has 0 letters"),
    ("ä" * 101, "has 101 letters, expected 1 to about 100"),
])  # fmt: skip
def test_names_that_could_not_be_found_again_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        require_preset_name(name)


def test_a_damaged_preset_stops_only_the_text_that_calls_it(tmp_path: Path) -> None:
    broken = tmp_path / "broken.preset.json"
    broken.write_text("{", "utf-8")
    own = {"broken": broken, "good": Preset("good", {"puff": 0.5})}
    assert parse_keyframes("0: @good", presets=own)[0].values == {"puff": 0.5}
    with pytest.raises(ValueError, match="Line 2: broken.preset.json is no readable preset"):
        parse_keyframes("0: @good\n1: @broken", presets=own)
    with pytest.raises(ValueError, match="There is no preset 'god'. Did you mean 'good'"):
        parse_keyframes("0: @god", presets=own)
