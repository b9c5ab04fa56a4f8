"""What lies under the path that the user gave: a file of some kind, or a folder with its names.

Readers recognise their format from this alone: the keys of a file, the names in a folder. Values are read later.
"""

from __future__ import annotations

import csv
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...archives import open_archive
from ...body.unpickle import read_pickle
from ...printable import listed
from ...reach import require_reach
from ..refusal import Refusal, leaving_out, of_file
from .arrays import MAGIC, npz_keys, read_npz
from .torch_file import PICKLE, read_torch
from .values import kind_of

MAX_JSON, MAX_CSV = 256 << 20, 512 << 20  # bytes; a file that is larger is no fit
FIRST_LINE = 1 << 16  # bytes of a table's header
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".mp4", ".mov", ".avi", ".obj", ".ply")


@dataclass(frozen=True)
class Source:
    """A file or folder, as far as recognition needs it."""

    path: Path
    kind: str  # "npz", "torch", "pickle", "json", "csv", "folder"
    keys: tuple[str, ...] = ()  # of a file: array names, dictionary keys, columns
    content: Any = field(default=None, repr=False)  # of a file that had to be read whole to know its keys
    files: tuple[str, ...] = ()  # names in a folder, without pictures
    folders: tuple[str, ...] = ()  # names of folders in a folder

    def has(self, *keys: str) -> bool:
        return set(keys) <= set(self.keys)

    def inside(self, name: str) -> Source | None:
        """The folder `name` in this one, or this one where it has that name itself."""
        if self.kind == "folder" and name in self.folders:
            return open_folder(self.path / name)
        return self if self.kind == "folder" and self.path.name == name else None


def open_source(path: Path) -> Source:
    """Look at a path. Raises ValueError for a missing, empty or unreadable file, each with its own sentence."""
    if path.is_dir():
        return open_folder(path)
    if not path.is_file():
        raise Refusal(f"There is no fit file {path}. Give the file or folder that a tracker or save_fit wrote.")
    kind = _kind(path)
    if kind == "npz":
        return Source(path, kind, npz_keys(path))
    content = read_content(path, kind)
    return Source(path, kind, _keys(content), content)


def open_folder(path: Path) -> Source:
    """The names in a folder, in order. Hidden ones, pictures and links that lead nowhere or to themselves are left
    out."""
    require_reach(path)
    files, folders = [], []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower().endswith(PICTURES):
                continue
            if entry.is_symlink() and not os.path.exists(entry.path):
                leaving_out(path / entry.name)
                continue
            (folders if entry.is_dir() else files).append(entry.name)
    return Source(path, "folder", files=tuple(sorted(files)), folders=tuple(sorted(folders)))


def read_content(path: Path, kind: str | None = None) -> Any:
    """Everything that a file holds, as arrays, dictionaries and lists."""
    readers = {"npz": read_npz, "torch": read_torch, "pickle": read_pickle, "json": read_json, "csv": read_csv}
    return of_file(readers[kind or _kind(path)], path)


def read_json(path: Path) -> Any:
    require_reach(path)
    if path.stat().st_size > MAX_JSON:
        raise Refusal(f"{path.name} is larger than {MAX_JSON >> 20} MiB, which no fit in JSON is.")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{path.name} is truncated or no JSON ({error}). Copy it again from its source.") from error


def read_csv(path: Path) -> dict[str, list[str]]:
    """Columns of a table by name."""
    require_reach(path)
    if path.stat().st_size > MAX_CSV:
        raise Refusal(f"{path.name} is larger than {MAX_CSV >> 20} MiB, which no recording is.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row and any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refusal(
            f"{path.name} is no kind of file that holds a fit: neither .npz, torch, pickle, JSON nor a table of text. "
            f"Give the file or folder that a tracker or save_fit wrote."
        ) from error
    if not rows:
        raise Refusal(f"{path.name} is empty. Copy it again from its source.")
    header = [name.strip() for name in rows[0]]
    _require_cells(rows, path.name)
    return {name: [row[i].strip() if i < len(row) else "" for row in rows[1:]] for i, name in enumerate(header)}


def _require_cells(rows: list[list[str]], name: str) -> None:
    """Refuse rows whose cells would be taken for those beside them. Rows that end early say that nothing was seen."""
    columns = len(rows[0])
    for number, row in enumerate(rows[1:], 2):
        if any(cell.strip() for cell in row[columns:]):
            raise Refusal(
                f"{name}, row {number} has {len(row)} cells, and the header names {columns}. Export it again, or "
                f"correct the row."
            )


def header_of(path: Path) -> tuple[str, ...]:
    """The names of a table's columns, from its first line; none where it is no table."""
    require_reach(path)
    with path.open("rb") as file:
        line = file.readline(FIRST_LINE).decode("utf-8-sig", "replace")
    return tuple(name.strip() for name in next(csv.reader([line.replace("\0", "")]), ()))


def _kind(path: Path) -> str:
    """By the first bytes; the suffix only decides about pickles in text form."""
    require_reach(path)
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise Refusal(f"{path.name} is empty. Copy it again from its source.")
    if start[:2] == b"PK" or path.suffix.lower() == ".npz":
        return _zip_kind(path)
    if start[:6] == MAGIC:
        raise Refusal(f"{path.name} cannot be read as a fit: it is a single array. Give the folder that it lies in.")
    if start[0] == 0x80 or path.suffix.lower() in (".pkl", ".pickle"):
        if start[2:14] == b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19":
            raise Refusal(f"{path.name} is in torch's old format from before version 1.6. Save it again with torch.")
        return "pickle"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return "json"
    return "csv"


def _zip_kind(path: Path) -> str:
    try:
        with open_archive(path) as archive:
            names = archive.names
    except (OSError, zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise Refusal(
            f"{path.name} cannot be read as a fit ({error}): it is truncated or damaged. Copy it again from its source."
        ) from error
    if any(name.endswith(PICKLE) for name in names):
        return "torch"
    if any(name.endswith(".npy") for name in names):
        return "npz"
    raise Refusal(f"{path.name} is a zip archive of other files ({listed(names, 6)}). Unpack it first.")


def _keys(content: Any) -> tuple[str, ...]:
    if isinstance(content, Mapping):
        return tuple(str(key) for key in content)
    if isinstance(content, np.ndarray):
        return (f"one array {list(content.shape)}",)
    return (kind_of(content),)
