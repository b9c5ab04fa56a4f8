"""Who draws: chosen here, by device and by what is installed, and nowhere else.

`nvdiffrast` finds the visible triangles on CUDA, `numba` does everything on the CPU, `torch` does everything on both.
"""

from __future__ import annotations

import os
from typing import Literal, get_args

import torch

from . import compiled, visibility_nvdiffrast

Backend = Literal["nvdiffrast", "numba", "torch"]
DEVICES = ("cpu", "cuda")
"""Where meshes are drawn. Other devices lack sparse products, or whole numbers of 64 bits: meshes on them are drawn on
the CPU, whose compiled loops need not fear the comparison, and what was drawn goes back. NOT RUN by us on any."""
OVERRIDE = "EXPPORTRAIT_RENDERER"  # environment variable: the back end where the caller leaves the choice open


def choose_backend(
    device: torch.device,
    wanted: Backend | None = None,  # None: the fastest that works
) -> Backend:
    """The back end for tensors on `device`; that of the CPU where nothing is drawn, see DEVICES.

    Raises:
        ValueError: the wanted one does not exist, is not installed, or does not work on that device.
    """
    wanted = wanted or os.environ.get(OVERRIDE) or None
    if wanted not in (None, *get_args(Backend)):
        raise ValueError(f"The rendering back end is {wanted!r}, expected one of {', '.join(get_args(Backend))}.")
    if device.type not in DEVICES:
        device = torch.device("cpu")
    if device.type == "cuda" and wanted in (None, "nvdiffrast") and visibility_nvdiffrast.is_installed():
        return "nvdiffrast"
    if device.type == "cpu" and wanted in (None, "numba") and compiled.can_compile():
        return "numba"
    if wanted in (None, "torch"):
        return "torch"
    needs = {"nvdiffrast": "a CUDA device and the package nvdiffrast", "numba": "the CPU and the package numba"}
    raise ValueError(
        f"The rendering back end {wanted!r} needs {needs[wanted]}, and the mesh is on {device}. Install the package "
        f"and move the mesh there, or leave the choice of the back end open."
    )
