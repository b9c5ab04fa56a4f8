"""Zip archives as numpy and torch write them, opened with care: a few bytes of one can stand for any amount of memory.

Entries of one name twice, entries packed by a method that neither of them uses (Python unpacks bzip2 and LZMA by whole
blocks, however large), and entries that would be far larger unpacked than the file are refused before they are read.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

MOST_BYTES, MOST_TIMES = 128 << 20, 16  # unpacked, or as many times the file: SMPL-X's own is 5 times. Our choice
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Archive:
    """The entries of an open archive.

    Raises:
        BadZipFile: a name twice. What is read later raises it too, and what the zip module raises.
    """

    def __init__(self, file: zipfile.ZipFile, size: int) -> None:
        self._file, self._left = file, max(MOST_BYTES, MOST_TIMES * size)
        self.names = tuple(file.namelist())
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise zipfile.BadZipFile(f"it holds '{twice[:60]}' twice")

    def require_sound(self, name: str) -> int:
        """The size of an entry unpacked, after checking that it may be. Every entry is asked for once."""
        try:
            entry = self._file.getinfo(name)
        except KeyError as error:
            raise zipfile.BadZipFile(f"it lacks '{name[:60]}'") from error
        if entry.compress_type not in PACKED:
            raise zipfile.BadZipFile(f"its '{name[:60]}' is packed by a method that no tracker uses")
        self._left -= entry.file_size
        if self._left < 0:
            raise zipfile.BadZipFile(
                f"its '{name[:60]}' is {entry.file_size:,} bytes unpacked, too many for a file of its size"
            )
        return entry.file_size

    def open(self, name: str) -> tuple[IO[bytes], int]:
        """An entry to read from, and its size."""
        size = self.require_sound(name)
        return self._file.open(name), size

    def read(self, name: str) -> bytes:
        file, _ = self.open(name)
        with file:
            return file.read()


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """The archive at `path`. Raises as `Archive`, and OSError."""
    with zipfile.ZipFile(path) as file:
        yield Archive(file, path.stat().st_size)
