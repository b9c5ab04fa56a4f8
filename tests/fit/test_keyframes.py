"""Keyframes: the grammar, what plays, and which line is wrong."""

from __future__ import annotations

import json
import math
import random
import time

import pytest
import torch

from expportrait_core.fit import (
    EASINGS,
    controls,
    keyframe_fit,
    load_preset,
    parse_keyframes,
)
from expportrait_core.fit.edit.keyframes import Key, keyframe_curves
from expportrait_core.types import JAW, HeadModel

PERFORMANCE = """
# a comment
0:      neutral
0.6:    @smile, head_turn 12      [ease-out]   # another
+0.4:   blink 1 for 0.24
2.0s:   @surprise 0.5, puff 0.2   [overshoot]
75f:    neutral                   [linear]
"""


def curves(text: str, frames: int = 100, fps: float = 25.0) -> dict[str, torch.Tensor]:
    return keyframe_curves(parse_keyframes(text, fps), frames, fps)


def test_every_kind_of_line_plays() -> None:
    keys = parse_keyframes(PERFORMANCE)
    assert [key.time for key in keys] == [0, 0.6, 1.0, 2.0, 3.0]
    played = curves(PERFORMANCE)
    assert played["smile"][15] == pytest.approx(load_preset("smile").values["smile"])
    assert played["head_turn"][15] == 12 and played["head_turn"][50] == 0, "a preset puts the rest at rest"
    assert played["eyes_wide"][50] == pytest.approx(0.5 * load_preset("surprise").values["eyes_wide"])
    assert played["blink"][25] == 0 and played["blink"].max() == 1 and played["blink"][32:].abs().max() < 1e-6
    assert all(curve[75:].abs().max() < 1e-6 for curve in played.values()), "neutral, and it stays"


def test_controls_that_a_line_does_not_name_pass_it_by() -> None:
    played = curves("0: smile 0\n1: puff 1\n2: smile 1 [linear]")
    assert torch.allclose(played["smile"][:51], torch.linspace(0, 1, 51))
    assert played["puff"][25] == 1 and played["puff"][60] == 1


@pytest.mark.parametrize("easing", EASINGS)
def test_every_easing_starts_and_arrives(easing: str) -> None:
    played = curves(f"0.4: smile 0.2\n1.2: smile 0.8 [{easing}]")["smile"]
    assert played[10] == pytest.approx(0.2) and played[30:].tolist() == pytest.approx([0.8] * 70)
    middle = played[11:30]
    if easing == "hold":
        assert middle.tolist() == pytest.approx([0.2] * 19)
    elif easing == "overshoot":
        assert middle.max() > 0.84
    else:
        assert (middle.diff() > 0).all() and middle.min() > 0.2 and middle.max() < 0.8


@pytest.mark.parametrize("fps", [8.0, 12.0, 25.0, 30.0, 60.0])
@pytest.mark.parametrize("start", [0.5, 0.513, 0.77])
def test_a_pulse_reaches_its_height_at_every_rate(fps: float, start: float) -> None:
    played = curves(f"{start}: blink 1 for 0.25", 40 * int(fps / 8), fps)["blink"]
    assert played.max() == pytest.approx(1) and played[0] == played[-1] == 0


def test_a_pulse_returns_to_where_the_control_is() -> None:
    played = curves("0: smile 0.3\n1: smile 0.9 for 0.4\n3: smile 0.5")["smile"]
    assert played.max() == pytest.approx(0.9, abs=1e-5) and 0.35 < played[40] < 0.45


def test_json_says_the_same(coarse_head: HeadModel) -> None:
    as_json = json.dumps({"keys": [
        {"time": 0}, {"time": 0.6, "values": {"@smile": 1, "head_turn": 12}, "easing": "ease-out"},
        {"time": 1.0, "values": {"blink": 1}, "for": 0.24},
        {"time": 2.0, "values": {"@surprise": 0.5, "puff": 0.2}, "easing": "overshoot"},
        {"time": 3.0, "easing": "linear"},
    ]})  # fmt: skip
    one, other = (keyframe_fit(coarse_head, parse_keyframes(text)) for text in (PERFORMANCE, as_json))
    assert one.num_frames == 76 and torch.allclose(one.expression, other.expression)
    assert torch.allclose(one.poses, other.poses)


def test_length_and_rate(coarse_head: HeadModel) -> None:
    keys = parse_keyframes("0: neutral\n1: jaw_open 1 [linear]")
    fit = keyframe_fit(coarse_head, keys, 50.0, 2.0)
    assert (fit.num_frames, fit.fps) == (100, 50) and fit.poses[25, JAW, 0] == pytest.approx(0.2)
    assert fit.poses[99, JAW, 0] == pytest.approx(0.4)
    assert keyframe_fit(coarse_head, parse_keyframes("0: @laugh")).num_frames == 1
    with pytest.raises(ValueError, match="expected 0 to an hour"):
        keyframe_fit(coarse_head, keys, 25.0, math.inf)


@pytest.mark.parametrize(("text", "sentence"), [
    ("0: neutral\n\n1: smlie 1", "Line 3: There is no control 'smlie'. Did you mean 'smile'"),
    ("0: smile", r"Line 1: found 'smile', expected a control and a number \('smile 0.8'"),
    ("0: smile 0.8 blink 1", "Line 1: found 'smile 0.8 blink 1'"),
    ("0: smile x", "Line 1: found 'smile x'"),
    ("0: smile 9", "Line 1: 'smile' is 9.0, expected -1 to 1"),
    ("0 smile 1", "Line 1: found '0 smile 1', expected a time, a colon"),
    ("soon: smile 1", "Line 1: the time is 'soon', expected seconds"),
    ("-1: smile 1", "Line 1: the time is -1 seconds, expected 0 to 3600"),
    ("0:\n", "Line 1: nothing is shown at 0"),
    ("0: smile 1 [eas]", "Line 1: there is no easing 'eas', expected one of ease, .* Did you mean 'ease'"),
    ("0: @joy", "Line 1: There is no preset 'joy'. Those there are: anger"),
    ("0,5: smile 1", r"expected seconds .* Decimals have a point"),
    ("0: smile 0,5", r"Line 1: found '5', expected a control .* Decimals have a point"),
    ("0: blink 1 for 0", "Line 1: 'blink' lasts 0 seconds"),
    ("# nothing\n", "There are no keyframes. Write lines such as"),
    ("", "There are no keyframes"),
    ('{"keys": [\n  {"time": 0,}\n]}', "Line 2: the keyframes are no JSON"),
    ('{"frames": []}', "no list 'keys'"),
    ('{"keys": [{"time": 0}, {"at": 1}]}', "Key 2: holds at, expected time, values"),
    ('{"keys": [{"time": 0, "values": {"smile": "much"}}]}', "Key 1: the time or a value is no number"),
    ('{"keys": [{"time": true}]}', "Key 1: the time or a value is no number"),
    ('{"keys": [{"time": 0, "values": {"grin": 1}}]}', "Key 1: There is no control 'grin'"),
    ('[{"time": 0, "values": {"blink": 1}, "for": "long"}]', "Key 1: 'for' is no number"),
    ("[" * 5000, "no JSON"),
    ("0: smile 1e400", "'smile' is inf"),
])  # fmt: skip
def test_wrong_keyframes_name_their_line(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_keyframes(text)


def test_pulses_that_overlap_have_no_steps() -> None:
    """The second of two that began before the first ended used to take its place at once."""
    pulses = ("0: smile 0.2\n1: smile 1 for 0.8", "0: smile 0.2\n1.4: smile 0.8 for 0.8")
    one, other = (curves(text)["smile"] for text in pulses)
    both = curves("0: smile 0.2\n1: smile 1 for 0.8\n1.4: smile 0.8 for 0.8")["smile"]
    assert torch.equal(both, torch.maximum(one, other)) and both.max() == one.max()
    assert both[40:44].min() > 0.3, "it does not come down between them"
    up_and_down = curves("1: gaze_x 1 for 0.8\n1.3: gaze_x -1 for 0.8")["gaze_x"]
    steepest = curves("1: gaze_x 1 for 0.8")["gaze_x"].diff().abs().max()
    assert up_and_down.diff().abs().max() <= 2 * steepest + 1e-6 and up_and_down.min() < -0.8


def test_what_copying_brings_along_is_not_seen() -> None:
    keys = parse_keyframes(PERFORMANCE)
    for text in ("\ufeff" + PERFORMANCE, PERFORMANCE.replace("\n", "\r\n"), PERFORMANCE.replace("  ", "\u00a0\t"),
                 PERFORMANCE.replace("smile", "\u200bsmile")):  # fmt: skip
        assert parse_keyframes(text) == keys
    as_json = '{"keys": [{"time": 1, "values": {"smile": 1}}]}'
    assert parse_keyframes("\ufeff" + as_json) == parse_keyframes(as_json)


@pytest.mark.parametrize(("text", "fps"), [
    ("0: neutral\n1.0: blink 1 for 0.04", 25), ("0: neutral\n1.0: blink 1 for 0.1", 10),
    ("0: neutral\n1.01: blink 1 for 0.025", 25), ("0: neutral\n1.03: blink 1 for 0.001", 25),
])  # fmt: skip
def test_a_pulse_between_two_frames_is_shown_by_the_nearer_one(text: str, fps: int) -> None:
    curve = keyframe_curves(parse_keyframes(text, fps), 2 * fps, fps)["blink"]
    assert float(curve.max()) == 1 and int((curve > 0).sum()) == 1 and abs(int(curve.argmax()) - fps) <= 1


@pytest.mark.parametrize("entry", ['{"time": BIG, "values": {"smile": 1}}', '{"time": 1, "values": {"smile": BIG}}'])
def test_numbers_without_end_get_a_sentence(entry: str) -> None:
    with pytest.raises(ValueError, match="no number, expected"):
        parse_keyframes(f"[{entry}]".replace("BIG", "9" * 401))


def slowly(name: str, keys: tuple[Key, ...], times: torch.Tensor, frame: float) -> torch.Tensor:
    """The curve by its definition: every pair of keys, and every pulse, over the whole clip."""
    points = [(0.0, 0.0, "ease")]
    points += [(k.time, k.values.get(name, 0.0), k.easing) for k in keys if name in k.values or k.whole]
    track = torch.zeros_like(times)
    for (start, before, _), (stop, after, easing) in zip(points, points[1:]):
        share = ((times - start) / max(stop - start, 1e-9)).clamp(0, 1) if stop > start else torch.ones_like(times)
        track = torch.where(times >= start - 1e-9, before + (after - before) * EASINGS[easing](share), track)
    highest, lowest = torch.zeros_like(times), torch.zeros_like(times)
    for key in keys:
        for value, seconds in [pulse[1:] for pulse in key.pulses if pulse[0] == name]:
            since = times - key.time
            up = since / max(0.4 * seconds - 0.5 * frame, 1e-6)
            down = (seconds - since) / max(0.6 * seconds - 0.5 * frame, 1e-6)
            share = EASINGS["ease"](torch.minimum(up, down).clamp(0, 1))
            if share.max() == 0:  # it falls between two frames
                distance = (times - key.time - 0.4 * seconds).abs()
                nearest = distance.argmin()
                share = ((times == times[nearest]) & (distance <= frame / 2)).to(times)
            lifted = (value - track) * share
            highest, lowest = torch.maximum(highest, lifted), torch.minimum(lowest, lifted)
    return (track + highest + lowest).float()


@pytest.mark.parametrize("seed", range(12))
def test_curves_are_what_every_pair_of_keys_says(seed: int) -> None:
    rng, fps = random.Random(seed), 25.0  # noqa: S311 - drawn cases
    keys = []
    for _ in range(rng.choice([1, 2, 40, 200])):
        time = rng.choice([0.0, rng.randrange(100) / fps, rng.uniform(0, 5)])  # many keys at one time, some beyond
        values = {name: rng.uniform(-1, 1) for name in rng.sample(["smile", "blink", "puff"], rng.randrange(3))}
        pulse = ("blink", rng.uniform(0, 1), rng.choice([0.001, 0.02, 0.25, 2.0]))
        whole = rng.random() < 0.2
        keys.append(Key(time, values, rng.choice(list(EASINGS)), whole, (pulse,) if rng.random() < 0.3 else ()))
    keys = tuple(sorted(keys, key=lambda key: key.time))
    for frames in (1, 100, 120):
        times = torch.arange(frames, dtype=torch.float64) / fps
        for name, curve in keyframe_curves(keys, frames, fps).items():
            assert torch.allclose(curve, slowly(name, keys, times, 1 / fps), atol=1e-6), (name, frames)


def test_as_many_keys_as_are_taken_play_at_once() -> None:
    keys = parse_keyframes("\n".join(f"{i * 0.36}: smile {i % 2}, puff 1 for 0.2" for i in range(9_999)))
    start = time.process_time()
    found = keyframe_curves(keys, 90_000, 25.0)
    assert time.process_time() - start < 15, "in the time of keys times frames it is minutes"
    assert found["smile"][9 * 9_997] == 1 and found["puff"].max() == 1


def test_the_widest_values_may_overshoot(coarse_head: HeadModel) -> None:
    text = "0: head_turn {0}\n1: head_turn {1} [overshoot]\n2: head_turn {0} [overshoot]"
    lowest, highest = controls()["head_turn"].limits
    assert keyframe_fit(coarse_head, parse_keyframes(text.format(lowest, highest))).num_frames == 51
