"""Files that nodes read and write, always through ComfyUI's own folders."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths

__all__ = [
    "fingerprint", "head_models", "next_file", "register_model_folders", "saved_files", "saved_path", "why_missing",
    "why_no_name", "why_no_prefix",
]  # fmt: skip

MODEL_FOLDERS = {"smplx": {".npz", ".pkl"}, "expportrait": {".safetensors"}}
LANDMARK_FILES = ("flame_static_embedding.pkl",)  # beside FLAME's model; of the core's names those with our endings
OUTPUT = " [output]"  # core's mark for a file of the output folder


def register_model_folders() -> None:
    """models/smplx and models/expportrait, beside whatever extra_model_paths.yaml names."""
    for name, suffixes in MODEL_FOLDERS.items():
        folder = os.path.join(folder_paths.models_dir, name)
        os.makedirs(folder, exist_ok=True)
        folder_paths.add_model_folder_path(name, folder)
        folder_paths.folder_names_and_paths[name][1].update(suffixes)


def head_models() -> list[str]:
    """Files of models/smplx, without the landmarks that lie beside a FLAME model."""
    return [name for name in folder_paths.get_filename_list("smplx") if not name.endswith(LANDMARK_FILES)]


def saved_files(*endings: str) -> list[str]:
    """Files of the input and output folders with one of these endings, as core writes them in a choice."""
    found = []
    for folder, mark in ((folder_paths.get_input_directory(), ""), (folder_paths.get_output_directory(), OUTPUT)):
        names, _ = folder_paths.recursive_search(folder)
        found += sorted(name.replace(os.sep, "/") + mark for name in names if name.endswith(endings))
    return found


def saved_path(name: str) -> Path:
    """The file that a choice of `saved_files` stands for. Links in the folders are followed, as core does to list them.

    Raises:
        ValueError: it is no name of a file, or leads outside the input and output folders.
    """
    if wrong := why_no_name(name):
        raise ValueError(wrong)
    path = Path(os.path.abspath(folder_paths.get_annotated_filepath(name)))  # without "..", but links left alone
    roots = [Path(os.path.abspath(f())) for f in (folder_paths.get_input_directory, folder_paths.get_output_directory)]
    if not any(path.is_relative_to(root) for root in roots):
        raise ValueError(f"{name} lies outside ComfyUI's input and output folders. Copy it into the input folder.")
    return path


def why_no_name(name: object) -> str | None:
    """A sentence if that is no name of a file at all, as a graph that a program sends may hold."""
    if isinstance(name, str):
        return None
    return f"The file is {name!r}, expected the name of a file in ComfyUI's input or output folder. Choose one."


def why_missing(name: str | None, what: str) -> str | None:
    """A sentence if that file is not there, for the node to show before anything runs; None is a wire, which is not
    known yet."""
    if name is None:
        return None
    try:
        path = saved_path(name)
    except ValueError as error:
        return str(error)
    if path.is_file():
        return None
    return f"There is no {what} {path.name} in {path.parent}. Choose another file, or press R to refresh the lists."


def fingerprint(name: str | None) -> float:
    """Changes when the file does, so that the node runs again."""
    if why_no_name(name):
        return 0.0
    path = saved_path(name)
    return path.stat().st_mtime if path.is_file() else 0.0


def why_no_prefix(prefix: str | None) -> str | None:
    """A sentence if no file can begin like that: core would write a hidden one. None is a wire, not known yet."""
    if prefix is None or os.path.basename(os.path.normpath(prefix.strip())).strip("."):
        return None
    return "The file name prefix is empty. Give the beginning of the file's name, such as expportrait/person."


def next_file(prefix: str, ending: str) -> tuple[Path, dict[str, str]]:
    """The next numbered file of the output folder, and how core's history names it.

    Raises:
        ValueError: the prefix is empty.
    """
    if wrong := why_no_prefix(prefix):
        raise ValueError(wrong)
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, folder_paths.get_output_directory())
    file = f"{name}_{counter:05}_{ending}"
    return Path(folder) / file, {"filename": file, "subfolder": subfolder, "type": "output"}
