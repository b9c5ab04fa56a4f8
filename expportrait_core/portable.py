"""What every travelling dataclass can do: move between devices, be written to a file, be read back.

Files are safetensors: tensors by field name (`camera.intrinsics` for a nested dataclass), everything else as one
JSON object in the header beside `format` and `version`. No pickle anywhere, and a file is written under a temporary
name and then renamed, so a killed run leaves the old file or the new one.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tempfile
import typing
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .archives import open_archive

VERSION = 1
Self = TypeVar("Self", bound="Portable")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends without an error, removed otherwise."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(path: str | Path, folder: bool = False) -> None:
    """Raise a sentence if no file `path` (or no file in the folder `path`) can be written. Call it before long work."""
    path = Path(path)
    if not folder and path.is_dir():
        raise ValueError(f"The output {path} is a folder, expected the name of a file. Add a file name to it.")
    place = path if folder else path.parent
    existing = next(p for p in (place, *place.absolute().parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise ValueError(
            f"Nothing can be written to {path}: {existing} says '{error.strerror}'. Choose another output."
        ) from error


def open_npz(path: str | Path) -> np.lib.npyio.NpzFile:
    """An archive of plain arrays. What is none numpy would take for a pickle, and advise to load it unsafely.

    Raises:
        ValueError, OSError or BadZipFile: also when an array is read that holds Python objects.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("it is not an archive of arrays")
    with open_archive(Path(path)) as archive:
        for name in archive.names:
            archive.require_sound(name)
    return np.load(path, allow_pickle=False)


def write_npz(path: str | Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write an archive of plain arrays, whole or not at all. Returns its path.

    The same arrays give the same bytes under every Python: `np.savez` leaves the headers to the zip module, which
    has written them in different ways.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asanyarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, whenever it is written
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, content.getvalue())
    return Path(path)


def require_shape(owner: object, name: str, tensor: Tensor, *shape: int | str) -> None:
    """Raise a sentence if `tensor` has another shape; a string in `shape` stands for any size."""
    found = tuple(tensor.shape)
    fits = len(found) == len(shape) and all(isinstance(s, str) or s == n for s, n in zip(shape, found, strict=True))
    if not fits:
        expected = ", ".join(str(s) for s in shape)
        raise ValueError(f"{type(owner).__name__}.{name} has shape {list(found)}, expected [{expected}].")


def require_floats(owner: object, name: str, tensor: Tensor) -> None:
    """Raise a sentence if `tensor` holds anything but real numbers with a fraction."""
    if not tensor.is_floating_point():
        raise ValueError(f"{type(owner).__name__}.{name} is {tensor.dtype}, expected floating point numbers.")


class Portable:
    """Base of the frozen dataclasses in `types`. Fields with `metadata={"saved": False}` stay out of files."""

    format: typing.ClassVar[str]

    def to(self: Self, device: torch.device | str) -> Self:
        """The same object with every tensor on `device`: itself where they lie there, with what is kept beside it."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        moved = {name: _move(value, device) for name, value in fields.items()}
        return self if all(moved[name] is fields[name] for name in fields) else dataclasses.replace(self, **moved)

    def __getstate__(self) -> dict[str, Any]:
        """What copies take over: the fields, not what is kept beside them so that it need not be computed again."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def replace(self: Self, **changes: Any) -> Self:
        """A copy with some fields changed; shapes are checked again."""
        return dataclasses.replace(self, **changes)

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file. Returns its path."""
        tensors: dict[str, Tensor] = {}
        values: dict[str, Any] = {}
        _flatten(self, "", tensors, values)
        # clones, because a slice and its whole may both be fields and safetensors refuses shared memory
        return write_safetensors(path, self.format, {key: value.clone() for key, value in tensors.items()}, values)

    @classmethod
    def load(cls: type[Self], path: str | Path, **given: Any) -> Self:
        """Read what `save` wrote. `given` supplies the fields that are not saved (a head's model).

        Raises:
            ValueError: not a file of this format, or a newer version of it, or a field that is not saved is not given.
        """
        for f in dataclasses.fields(cls):
            if not f.metadata.get("saved", True) and f.name not in given:
                raise ValueError(
                    f"{Path(path).name} holds a {cls.__name__} without its {f.name}. Give it: load(path, {f.name}=...)."
                )
        tensors, values = read_safetensors(path, cls.format)
        return _rebuild(cls, "", tensors, values, given)


def write_safetensors(
    path: str | Path,
    file_format: str,
    tensors: dict[str, Tensor],
    values: dict[str, Any],  # anything that JSON can say
    description: str = "",  # for people who look into the file
) -> Path:
    """Write one of our safetensors files, whole or not at all. Returns its path."""
    header = {"format": file_format, "version": str(VERSION), "values": json.dumps(values, sort_keys=True)}
    if description:
        header["description"] = description
    with atomic_path(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # as the user's other files: save_file's are for their owner alone
        save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, temporary, header)
        temporary.chmod(mode)
    return Path(path)


def read_safetensors(path: str | Path, expected_format: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON values of one of our safetensors files, after checking `format` and `version`."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {path}. Expected a file in the format '{expected_format}'.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            _require_format(header, expected_format, path.name)  # before gigabytes of something else are read
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a readable safetensors file ({error}). Save it again.") from error
    return tensors, _json_values(header.get("values", "{}"), path.name)


def _require_format(header: dict[str, str], expected_format: str, name: str) -> None:
    if header.get("format") != expected_format:
        found = header.get("format", "no format entry")
        raise ValueError(f"{name} has {found[:60]}, expected '{expected_format}'. Choose a file of that kind.")
    version = header.get("version", "0")
    if not version.isdecimal() or len(version) > 9:
        raise ValueError(f"{name} has the version '{version[:40]}', expected a number. Save it again.")
    if int(version) > VERSION:
        raise ValueError(f"{name} is version {version}, this release reads {VERSION}. Update the pack.")


def _json_values(text: str, name: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} has a damaged header: its values are no JSON ({error}). Save it again.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{name} has a damaged header: its values are a {type(values).__name__}. Save it again.")
    return values


def _move(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, dict):
        moved = {k: _move(v, device) for k, v in value.items()}
        return value if all(moved[k] is value[k] for k in value) else moved
    return value.to(device) if isinstance(value, Tensor | Portable) or hasattr(value, "to") else value


def _saved_fields(cls: type) -> Iterator[tuple[str, type]]:
    hints = typing.get_type_hints(cls)
    for f in dataclasses.fields(cls):
        if f.metadata.get("saved", True):
            yield f.name, hints[f.name]


def _flatten(obj: Portable, prefix: str, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    for name, _ in _saved_fields(type(obj)):
        value, key = getattr(obj, name), prefix + name
        if isinstance(value, Tensor):
            tensors[key] = value
        elif isinstance(value, Portable):
            _flatten(value, key + ".", tensors, values)
        elif isinstance(value, dict) and value and all(isinstance(v, Portable) for v in value.values()):
            values[key] = list(value)
            for k, v in value.items():
                _flatten(v, f"{key}.{k}.", tensors, values)
        elif value is not None:
            values[key] = value


def _portable_in(hint: Any) -> type[Portable] | None:
    """The Portable class that a field's annotation names, alone, optional, or as the values of a dict."""
    if isinstance(hint, type) and issubclass(hint, Portable):
        return hint
    return next((p for p in map(_portable_in, typing.get_args(hint)) if p), None)


def _rebuild(cls: type[Self], prefix: str, tensors: dict, values: dict, given: dict[str, Any]) -> Self:
    arguments = dict(given)
    for name, hint in _saved_fields(cls):
        key, inner = prefix + name, _portable_in(hint)
        if name in given:
            continue
        if key in tensors:
            arguments[name] = tensors[key]
        elif inner and isinstance(values.get(key), list):
            arguments[name] = {k: _rebuild(inner, f"{key}.{k}.", tensors, values, {}) for k in values[key]}
        elif inner and any(k.startswith(key + ".") for k in (*tensors, *values)):
            arguments[name] = _rebuild(inner, key + ".", tensors, values, {})
        elif key in values:
            arguments[name] = _value_of(values[key], hint, key)
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ValueError(f"The file lacks a part of a {cls.__name__} ({error}). Save it again.") from error


def _value_of(value: Any, hint: Any, key: str) -> Any:
    """A JSON value as its field has it, after a look at its type."""
    origin = typing.get_origin(hint)
    if origin is tuple:
        inner = typing.get_args(hint)
        items = value if isinstance(value, list) else [value]
        kinds = inner[:1] * len(items) if inner[-1] is Ellipsis else inner
        if not isinstance(value, list) or len(items) != len(kinds) or not all(map(_is_a, items, kinds)):
            raise ValueError(f"The file's {key} is {str(value)[:60]!r}, expected a list of values. Save it again.")
        return tuple(value)
    choices = typing.get_args(hint) if origin is not None and origin not in (dict, list) else (hint,)
    if not any(_is_a(value, choice) for choice in choices):
        raise ValueError(f"The file's {key} is {str(value)[:60]!r}, which is of another kind. Save it again.")
    return value


def _is_a(value: Any, hint: Any) -> bool:
    kind = typing.get_origin(hint) or hint
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(kind, type) or isinstance(value, kind)


Progress = Callable[[int, int, Tensor | None], None]
"""`progress(done, total, preview)`; preview is an [H, W, 3] picture or None. It may raise to cancel the work."""


def no_progress(done: int, total: int, preview: Tensor | None) -> None:
    """The default progress callback: does nothing."""
