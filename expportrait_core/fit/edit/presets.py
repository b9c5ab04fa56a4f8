"""Expressions with a name, as plain JSON: those that ship here, and the user's own.

{"format": "expportrait.preset", "version": 1, "name": "Delight", "description": "…", "values": {"smile": 0.9}}
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...assets import ASSETS
from ...portable import atomic_path
from .controls import controls, require_controls

FORMAT, VERSION = "expportrait.preset", 1
LONGEST_NAME = 200  # bytes: with its ending it must fit into the 255 of a file's name
NOT_IN_NAMES = '<>:"/\\|?*,#[]@'  # what files (Windows' too) or the text of keyframes would take for something else
RESERVED = {"none", "con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
SHIPPED = ASSETS / "presets"
MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Preset:
    """Values by control."""

    name: str
    values: Mapping[str, float] = field(default_factory=dict)
    description: str = ""

    def __post_init__(self) -> None:
        require_controls(self.values, f"Preset '{self.name}': ")

    def scaled(self, amount: float) -> dict[str, float]:
        """More or less of it."""
        return {name: amount * value for name, value in self.values.items()}


def preset_with(preset: Preset, amount: float, values: Mapping[str, float]) -> dict[str, float]:
    """More or less of a preset, and values on top of it; where both together go too far, the furthest that is taken."""
    result = preset.scaled(amount)
    for name, value in values.items():
        result[name] = result.get(name, 0.0) + value
    known = controls()
    limits = {name: known[name].limits for name in result if name in known}
    return {n: min(max(v, limits[n][0]), limits[n][1]) if n in limits else v for n, v in result.items()}


def preset_names() -> tuple[str, ...]:
    """The presets that ship here, in alphabetical order."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.json")))


def require_preset_name(name: str) -> str:
    """The name for a preset of one's own, without blanks at its ends.

    Raises:
        ValueError: the name ships already, or a file or the text of keyframes cannot hold it.
    """
    name = unicodedata.normalize("NFC", name).strip()
    taken = {shipped.casefold(): shipped for shipped in preset_names()}.get(name.casefold())
    if taken is not None:
        raise ValueError(f"A preset '{taken}' ships with the pack. Choose another name, such as 'my {taken}'.")
    wrong = next((letter for letter in name if letter in NOT_IN_NAMES or not letter.isprintable()), None)
    if wrong is not None:
        raise ValueError(f"The preset's name holds {wrong!r}, expected letters, digits, blanks, '-' and '_'.")
    if not name or len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"The preset's name has {len(name)} letters, expected 1 to about {LONGEST_NAME // 2}.")
    if name.startswith(".") or name.endswith(".") or name.split(".")[0].casefold() in RESERVED:
        raise ValueError(f"A preset cannot be called '{name}': file systems keep that for something else.")
    return name


def load_preset(source: str | Path) -> Preset:
    """A shipped preset by its name, or a preset file.

    Raises:
        ValueError: there is none, or the file is no preset; the sentence says what it holds.
    """
    if str(source) in preset_names():
        return _read(SHIPPED / f"{source}.json")
    path = Path(source)
    if path.suffix != ".json" or not path.is_file():
        raise ValueError(
            f"There is no preset '{source}'. Those that ship are {', '.join(preset_names())}; give a .json file for "
            f"your own."
        )
    return _read(path)


def save_preset(preset: Preset, path: str | Path) -> Path:
    """Write a preset. Returns its path, with the suffix .json."""
    path = Path(path)
    path = path if path.suffix == ".json" else path.with_name(path.name + ".json")
    content = {"format": FORMAT, "version": VERSION, "name": preset.name, "description": preset.description,
               "values": dict(preset.values)}  # fmt: skip
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return path


def _read(path: Path) -> Preset:
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path.name} is larger than a megabyte, which no preset is.")
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise ValueError(f"{path.name} is no readable preset ({error}). Save it again.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = ", ".join(map(str, content)) if isinstance(content, dict) else f"a {type(content).__name__}"
        raise ValueError(f"{path.name} holds {found[:80] or 'nothing'}, expected a preset (format '{FORMAT}').")
    version, values = content.get("version"), content.get("values")
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"{path.name} has the version {version!r}, expected a whole number. Save it again.")
    if version > VERSION:
        raise ValueError(f"{path.name} is version {version}, this release reads {VERSION}. Update the pack.")
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} has no table of values by control. Save it again.")
    return Preset(str(content.get("name", path.stem)), values, str(content.get("description", "")))
