"""A performance without a driving video: a few lines of text, or JSON, that say what is shown when.

    # time: what, what … [how it gets there]
    0:          neutral
    0.6:        @smile, head_turn 12           [ease-out]
    +0.5:       blink 1 for 0.25               # a blink, a quarter of a second long
    2.0:        @surprise 0.8, gaze_y 0.5      [overshoot]
    75f:        neutral                        [ease-in]

A line is a time, a colon and items with commas between. The time is in seconds (`1.5` or `1.5s`), a frame number
(`38f`), or after the line before (`+0.5`). An item is

- `control value`: that control has this value here; controls that a line does not name pass it by,
- `control value for seconds`: up to the value and back to where it was, beginning here,
- `@preset` or `@preset amount`: every control has the preset's value here, or none; a name may hold blanks, and may
  stand in quotes: `@"my smile" 0.5`,
- `neutral`: every control is at rest here.

In brackets, how the values get there from their last key: `ease` (where nothing is said), `linear`, `ease-in`,
`ease-out`, `overshoot` or `hold`. `#` begins a comment. The same as JSON, with "time" in seconds:

    {"keys": [{"time": 0.6, "values": {"smile": 1, "@surprise": 0.5}, "easing": "ease-out"},
              {"time": 1.1, "values": {"blink": 1}, "for": 0.25}]}
"""

from __future__ import annotations

import difflib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ...types import HeadModel, SMPLXFit
from .controls import require_controls
from .editing import edit_fit, neutral_fit
from .presets import Preset, load_preset, preset_names

__all__ = ["EASINGS", "Key", "keyframe_curves", "keyframe_fit", "parse_keyframes"]

MOST_SECONDS, MOST_KEYS, MOST_BYTES = 3600.0, 10_000, 1 << 20
PULSE_UP = 0.4  # share of a pulse in which it rises; lids close faster than they open
INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u2060"))  # byte-order marks and the like, which copying brings along
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


DECIMALS = " Decimals have a point, commas stand between items."

Presets = Mapping[str, Preset | Path | str]


def _overshoot(t: Tensor) -> Tensor:
    back = 1.70158  # Penner's: 10 % too far
    return 1 + (back + 1) * (t - 1) ** 3 + back * (t - 1) ** 2


EASINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "ease": lambda t: t * t * (3 - 2 * t),
    "linear": lambda t: t,
    "ease-in": lambda t: t * t,
    "ease-out": lambda t: t * (2 - t),
    "overshoot": _overshoot,
    "hold": lambda t: (t >= 1).to(t),
}
"""Share of the way by share of the time."""


@dataclass(frozen=True)
class Key:
    """What one line says."""

    time: float  # seconds
    values: Mapping[str, float]  # by control
    easing: str = "ease"
    whole: bool = False  # controls that it does not name are at rest here (a preset, neutral)
    pulses: tuple[tuple[str, float, float], ...] = field(default=())  # control, value, seconds


# ------------------------------------------------------------------------------------------------------------- reading


def parse_keyframes(
    text: str,
    fps: float = 25.0,  # what frame numbers count
    presets: Mapping[str, Preset | Path] | None = None,  # the user's own, by the names that the text calls them
) -> tuple[Key, ...]:
    """The keys of a text or of JSON, in the order of their times. Presets are those that ship, and those given; files
    are read where the text calls them.

    Raises:
        ValueError: what is wrong, with the number of its line or key.
    """
    if not 0 < fps < math.inf:
        raise ValueError(f"The frame rate is {fps}, expected a number above 0.")
    if len(text) > MOST_BYTES:
        raise ValueError("The keyframes are longer than a megabyte, which no performance is.")
    text = unicodedata.normalize("NFC", text.translate(INVISIBLE))
    known = {name: name for name in preset_names()} | {
        unicodedata.normalize("NFC", name): preset for name, preset in (presets or {}).items()
    }
    keys = _from_json(text, known) if text.lstrip()[:1] in ("{", "[") else _from_text(text, fps, known)
    if not keys:
        raise ValueError("There are no keyframes. Write lines such as '0.5: smile 0.8, head_turn 10'.")
    if len(keys) > MOST_KEYS:
        raise ValueError(f"There are {len(keys)} keyframes, expected at most {MOST_KEYS}.")
    return tuple(sorted(keys, key=lambda key: key.time))


def _from_text(text: str, fps: float, presets: Presets) -> list[Key]:
    keys: list[Key] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#")[0].strip()
        if line:
            where = f"Line {number}: "
            keys.append(_line(line, where, fps, keys[-1].time if keys else 0.0, presets))
    return keys


def _line(line: str, where: str, fps: float, before: float, presets: Presets) -> Key:
    found = re.fullmatch(r"([^:]*):(.*?)(?:\[([^\]]*)\])?\s*", line)
    if not found:
        raise ValueError(f"{where}found '{line[:60]}', expected a time, a colon and what is shown: '0.5: smile 0.8'.")
    time, items, easing = found[1].strip(), found[2], (found[3] or "ease").strip()
    values: dict[str, float] = {}
    pulses: list[tuple[str, float, float]] = []
    whole = False
    for item in filter(None, (part.strip() for part in items.split(","))):
        whole = _item(item, where, presets, values, pulses) or whole
    if not values and not pulses and not whole:
        raise ValueError(f"{where}nothing is shown at {time or 'no time'}. Write 'neutral', or a control and a value.")
    return _checked(Key(_seconds(time, where, fps, before), values, easing, whole, tuple(pulses)), where)


def _item(
    item: str,
    where: str,
    presets: Presets,
    values: dict[str, float],
    pulses: list[tuple[str, float, float]],
) -> bool:
    """Add one item to the values or pulses. Returns whether it speaks of every control."""
    if item == "neutral":
        return True
    if item.startswith("@"):
        name = item[1:].strip()
        preset = None if name in presets else re.fullmatch(rf'("?)(.+?)\1(?:\s+({NUMBER}))?', name)
        values.update(_preset(preset[2] if preset else name, float(preset and preset[3] or 1), where, presets))
        return True
    found = re.fullmatch(rf"(\S+)\s+({NUMBER})(?:\s+for\s+({NUMBER})\s*s?)?", item)
    if not found:
        raise ValueError(
            f"{where}found '{item[:60]}', expected a control and a number ('smile 0.8', 'blink 1 for 0.25'), a preset "
            f"('@surprise') or 'neutral'.{DECIMALS if re.fullmatch('[0-9]+.*', item) else ''}"
        )
    if found[3]:
        pulses.append((found[1], float(found[2]), float(found[3])))
    else:
        values[found[1]] = float(found[2])
    return False


def _preset(name: str, amount: float, where: str, presets: Presets) -> dict[str, float]:
    if name not in presets:
        near = difflib.get_close_matches(name, presets, 1, 0.5)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"{where}There is no preset '{name}'.{hint} Those there are: {', '.join(presets)}.")
    preset = presets[name]
    try:
        return (preset if isinstance(preset, Preset) else load_preset(preset)).scaled(amount)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None


def _seconds(text: str, where: str, fps: float, before: float) -> float:
    found = re.fullmatch(rf"(\+?)({NUMBER})\s*([sf]?)", text)
    if not found:
        raise ValueError(
            f"{where}the time is '{text[:40]}', expected seconds (1.5), a frame (38f) or a step from the line before "
            f"(+0.5).{DECIMALS if ',' in text else ''}"
        )
    seconds = float(found[2]) / (fps if found[3] == "f" else 1)
    return before + seconds if found[1] else seconds


def _from_json(text: str, presets: Presets) -> list[Key]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise ValueError(f"Line {line}: the keyframes are no JSON ({getattr(error, 'msg', error)}).") from None
    entries = content.get("keys") if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise ValueError('The keyframes in JSON have no list \'keys\'. Write {"keys": [{"time": 0, …}]}.')
    return [_entry(entry, f"Key {number}: ", presets) for number, entry in enumerate(entries, 1)]


def _entry(entry: object, where: str, presets: Presets) -> Key:
    known = {"time", "values", "easing", "for"}
    if not isinstance(entry, dict) or "time" not in entry or set(entry) - known:
        found = ", ".join(map(str, entry)) if isinstance(entry, dict) else type(entry).__name__
        raise ValueError(f"{where}holds {found or 'nothing'}, expected time, values and where wanted easing and for.")
    given = entry.get("values", {})
    if not isinstance(given, dict) or not all(_is_number(value) for value in [*given.values(), entry["time"]]):
        raise ValueError(f"{where}the time or a value is no number, expected numbers by control.")
    values: dict[str, float] = {}
    for name, value in given.items():
        values.update(_preset(name[1:], value, where, presets) if name.startswith("@") else {name: float(value)})
    whole = not given or any(name.startswith("@") for name in given)
    easing = str(entry.get("easing", "ease"))
    if "for" not in entry:
        return _checked(Key(float(entry["time"]), values, easing, whole), where)
    if not _is_number(entry["for"]):
        raise ValueError(f"{where}'for' is no number, expected seconds.")
    pulses = tuple((name, value, float(entry["for"])) for name, value in values.items())
    return _checked(Key(float(entry["time"]), {}, easing, False, pulses), where)


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # JSON's whole numbers have no end
        return False


def _checked(key: Key, where: str) -> Key:
    if not 0 <= key.time <= MOST_SECONDS:
        raise ValueError(f"{where}the time is {key.time:g} seconds, expected 0 to {MOST_SECONDS:g}.")
    if key.easing not in EASINGS:
        near = difflib.get_close_matches(key.easing, EASINGS, 1, 0.4)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"{where}there is no easing '{key.easing}', expected one of {', '.join(EASINGS)}.{hint}")
    require_controls(key.values, where)
    for name, value, seconds in key.pulses:
        require_controls({name: value}, where)
        if not 0 < seconds <= MOST_SECONDS:
            raise ValueError(f"{where}'{name}' lasts {seconds:g} seconds, expected more than 0.")
    return key


# ------------------------------------------------------------------------------------------------------------- playing


def keyframe_curves(
    keys: tuple[Key, ...],
    num_frames: int,
    fps: float,
) -> dict[str, Tensor]:
    """Values [F] of every control that is named anywhere. Before its first key a control is at rest, unless that
    first key stands at the start; after its last one it stays."""
    times = torch.arange(num_frames, dtype=torch.float64) / fps
    names = dict.fromkeys(name for key in keys for name in (*key.values, *(pulse[0] for pulse in key.pulses)))
    return {name: (_track(name, keys, times) + _pulses(name, keys, times, 1 / fps)).float() for name in names}


def keyframe_fit(
    model: HeadModel,
    keys: tuple[Key, ...],
    fps: float = 25.0,
    seconds: float | None = None,  # None ends with the last key
    size: int = 512,  # pixels of the picture that it is seen in
) -> SMPLXFit:
    """The performance on the model's average head.

    Raises:
        ValueError: no length, or a control that this head model cannot express.
    """
    last = max(key.time + max([0.0, *(pulse[2] for pulse in key.pulses)]) for key in keys)
    if seconds is None:
        seconds = last + 1 / fps  # the frame of the last key is the last one
    if not 0 <= seconds <= MOST_SECONDS or not 0 < fps <= 1000:
        raise ValueError(f"{seconds:g} seconds at {fps:g} frames per second were asked for, expected 0 to an hour.")
    num_frames = max(1, round(seconds * fps))
    fit = neutral_fit(model, num_frames, fps, size)
    curves = keyframe_curves(keys, num_frames, fps)
    return edit_fit(fit, model, curves, "replace")


def _track(name: str, keys: tuple[Key, ...], times: Tensor) -> Tensor:
    """What the keys of one control say [F], without pulses."""
    points = [(0.0, 0.0, "ease")]  # at rest
    for key in keys:
        if name in key.values or key.whole:
            points.append((key.time, key.values.get(name, 0.0), key.easing))
    if len(points) == 1:
        return torch.zeros_like(times)
    starts, shown = (torch.tensor([point[i] for point in points], dtype=times.dtype) for i in (0, 1))
    names = list(EASINGS)
    easings = torch.tensor([names.index(easing) for _, _, easing in points[1:]])
    # of keys at one time the last decides; after the last of all, its value stays
    at = (torch.searchsorted(starts, times + 1e-9, right=True) - 1).clamp(max=len(points) - 2)
    start, stop, before, after = starts[at], starts[at + 1], shown[at], shown[at + 1]
    share = ((times - start) / (stop - start).clamp(min=1e-9)).clamp(0, 1)
    share = torch.where(stop <= start, 1.0, share)
    eased = torch.zeros_like(times)
    for number, easing in enumerate(names):
        here = easings[at] == number
        eased[here] = EASINGS[easing](share[here])
    return before + (after - before) * eased


def _pulses(name: str, keys: tuple[Key, ...], times: Tensor, frame: float) -> Tensor:
    """How far pulses lift a control off its track [F]."""
    base = _track(name, keys, times)
    # pulses at one time do not add up: the furthest counts, up and down, which has no steps where they begin and end
    up, down = torch.zeros_like(times), torch.zeros_like(times)
    for key in keys:
        for pulsed, value, seconds in key.pulses:
            if pulsed != name:
                continue
            here, share = _pulse(key.time, seconds, times, frame)
            lifted = (value - base[here]) * share
            up[here], down[here] = torch.maximum(up[here], lifted), torch.minimum(down[here], lifted)
    return up + down


def _pulse(start: float, seconds: float, times: Tensor, frame: float) -> tuple[slice, Tensor]:
    """The frames that a pulse lasts, and how far it has risen in them, 0..1."""
    # only these: ten thousand pulses in an hour are looked at in their own places
    first, last = (int(n) for n in torch.searchsorted(times, times.new_tensor([start, start + seconds])))
    here = slice(first, last + 1)
    since = times[here] - start
    # the height lasts a frame, so that one frame shows it
    up = since / max(PULSE_UP * seconds - 0.5 * frame, 1e-6)
    down = (seconds - since) / max((1 - PULSE_UP) * seconds - 0.5 * frame, 1e-6)
    share = EASINGS["ease"](torch.minimum(up, down).clamp(0, 1))
    if (share > 0).any():
        return here, share
    # one that falls between two frames is shown by the nearer one
    nearest = round((start + PULSE_UP * seconds) / frame)
    return slice(nearest, nearest + 1), torch.ones_like(times[nearest : nearest + 1])
