"""Fits among ComfyUI's own folders: which files and folders are offered, and which paths are taken.

Trackers write a file, or a folder with a file a frame. A path is taken only inside of the input and output folders, and
of the folders that extra_model_paths.yaml names under `expportrait_fits`; links that lead out of them are refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import folder_paths

from .files import OUTPUT

__all__ = [
    "fit_choices", "fit_fingerprint", "fit_path", "may_read", "new_preset_file", "preset_files", "presets_fingerprint",
    "why_no_fit",
]  # fmt: skip

EXTRA_KEY = "expportrait_fits"
EXTRA = " [fits]"  # our mark, in the manner of core's, for what lies in the extra folders
ENDINGS = (".npz", ".npy", ".csv", ".json", ".pkl", ".pt", ".pth", ".frame", "fit.safetensors")
PRESET = ".preset.json"
MOST_HASHED = 1 << 20  # bytes: larger than any preset
MOST_LISTED = 24  # files of one folder; with more of them it is a file a frame, and the folder alone is offered


def _roots() -> list[tuple[str, list[Path]]]:
    """Marks and the folders that they stand for."""
    extra = folder_paths.folder_names_and_paths.get(EXTRA_KEY, ([], set()))[0]
    return [
        ("", [Path(folder_paths.get_input_directory())]),
        (OUTPUT, [Path(folder_paths.get_output_directory())]),
        (EXTRA, [Path(folder) for folder in extra]),
    ]


def fit_choices() -> list[str]:
    """Files that may be fits, and folders that hold them (with a slash at the end), as a choice names them."""
    found = []
    for mark, roots in _roots():
        for root in roots:
            found += sorted(name + mark for name in _listed(root))
    return list(dict.fromkeys(found))


def preset_files() -> dict[str, Path]:
    """The user's own presets by name: `NAME.preset.json` in the input and output folders and the extra ones."""
    found = {}
    for _, roots in sorted(_roots(), key=lambda marked: marked[0] != OUTPUT):  # what was saved here keeps its name
        for root in roots:
            for folder, _, files in os.walk(root):
                for file in sorted(files):
                    path = Path(folder) / file
                    if file.endswith(PRESET) and _inside(path):
                        found.setdefault(file.removesuffix(PRESET), path)
    return found


def presets_fingerprint(presets: Mapping[str, Path]) -> str:
    """Changes when one of them is another one, or comes or goes; not when it is only written again."""
    digest = hashlib.sha256()
    for name, path in sorted(presets.items()):
        content = path.read_bytes() if path.stat().st_size <= MOST_HASHED else _stamp(path).encode()
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()


def new_preset_file(name: str) -> Path:
    """Where a preset of the user's own is kept."""
    return Path(folder_paths.get_output_directory()) / "expportrait" / "presets" / (name + PRESET)


def fit_path(name: str) -> Path:
    """The file or folder that a choice stands for.

    Raises:
        ValueError: it lies outside of the folders that are allowed, or a link in it leads out of them.
    """
    if "\0" in name:
        raise ValueError("The file's name holds a character that no file name has.")
    bare, roots = next((name.removesuffix(mark), roots) for mark, roots in _roots()[::-1] if name.endswith(mark))
    paths = [root / bare for root in roots]
    path = next((p for p in paths if p.exists()), paths[0] if paths else None)
    if path is None:
        raise ValueError(f"{name} lies in no folder: extra_model_paths.yaml names none under {EXTRA_KEY}.")
    if _leads_nowhere(path) and _inside(path.parent):
        raise ValueError(f"{name} is a link that leads nowhere or to itself. Copy the file itself into the folder.")
    if not _inside(path):
        raise ValueError(
            f"{name} lies outside ComfyUI's input and output folders. Copy it into the input folder, or name its "
            f"folder under {EXTRA_KEY} in extra_model_paths.yaml."
        )
    for inner in _links(path):
        if not _inside(inner):
            raise ValueError(
                f"{name} holds the link {inner.name}, which leads outside ComfyUI's folders or nowhere. Copy "
                f"the files instead."
            )
    return path.resolve()


def may_read() -> Callable[[Path], bool]:
    """Whether a file beside a fit may be opened as well, for `load_fit` to ask: only one inside the folders."""
    roots = [root.resolve() for _, folders in _roots() for root in folders]
    return lambda path: _inside(path, roots)


def why_no_fit(name: str) -> str | None:
    """A sentence if that fit is not there, for the node to show before anything runs."""
    try:
        path = fit_path(name)
    except (ValueError, OSError) as error:
        return str(error)
    if path.is_file() or (path.is_dir() and name.strip()):
        return None
    return f"There is no fit file {path.name} in {path.parent}. Choose another file, or press R to refresh the lists."


def fit_fingerprint(name: str) -> str:
    """Changes when the file, or any file of the folder, does."""
    path = fit_path(name)
    if not path.is_dir():
        return _stamp(path) if path.is_file() else ""
    stamps = [f"{inner.name} {_stamp(inner)}" for inner in _files(path)]
    return "\n".join(stamps) if len(stamps) < 100 else f"{len(stamps)} {hash(tuple(stamps))}"


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{status.st_mtime_ns} {status.st_size}"


def _files(folder: Path) -> Iterator[Path]:
    for inside, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(inside) / file for file in sorted(files))


def _links(path: Path) -> Iterator[Path]:
    """The links in a folder, or the path itself where it is one."""
    if path.is_symlink():
        yield path
    if path.is_dir():
        for inside, folders, files in os.walk(path):
            yield from (inner for inner in (Path(inside) / name for name in (*folders, *files)) if inner.is_symlink())


def _inside(path: Path, roots: list[Path] | None = None) -> bool:
    """Whether a path, with all links followed, lies in one of the folders. A link that leads nowhere lies in none."""
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError):  # the second is a link to itself, up to Python 3.12
        return False
    if roots is None:
        roots = [root.resolve() for _, folders in _roots() for root in folders]
    return not _leads_nowhere(path) and any(resolved.is_relative_to(root) for root in roots)


def _leads_nowhere(path: Path) -> bool:
    """Whether a path is a link to itself or to what is gone."""
    return path.is_symlink() and not path.exists()


def _listed(root: Path) -> list[str]:
    """Names relative to the root, with forward slashes."""
    names: list[str] = []
    holding: set[Path] = set()  # folders with something in them or below
    for inside, folders, files in os.walk(root, topdown=False):
        folder = Path(inside)
        own = [file for file in files if _may_be_fit(file) and _inside(folder / file)]
        below = [folder / name for name in folders if folder / name in holding]
        if not own and not below:
            continue
        holding.add(folder)
        relative = "" if folder == root else folder.relative_to(root).as_posix() + "/"
        if relative:
            names.append(relative)
        if len(own) <= MOST_LISTED:
            names += [relative + file for file in own]
        if len(below) > MOST_LISTED:  # a folder a frame
            prefixes = tuple(path.relative_to(root).as_posix() + "/" for path in below)
            names = [name for name in names if not name.startswith(prefixes)]
    return names


def _may_be_fit(file: str) -> bool:
    return file.lower().endswith(ENDINGS) and not file.endswith(PRESET) and not file.startswith(".")
