"""What stands around the core's work in every node: pictures in, progress out, interrupt, and the device."""

from __future__ import annotations

import time
from typing import Any

import comfy.model_management as management
import comfy.utils
import torch
from PIL import Image

__all__ = ["NodeProgress", "frames_of", "given_mask", "rest_device", "stop_if_asked", "work_device"]

PICTURE_SECONDS = 0.25  # between two live pictures: encoding them costs time
PICTURE_SIDE = 512  # pixels
NO_MASK = (64, 64)  # what Load Image gives, all zeros, for a picture without transparency
FREE_BYTES = 4 << 30  # asked of core before work on a GPU that has no figure of its own; generous
SPARE_BYTES = 1 << 29  # asked beside such a figure: for what is moved there, and the libraries' own room


class NodeProgress:
    """The core's progress callback: moves the node's bar, shows a live picture, and ends the run when the user does."""

    def __init__(self) -> None:
        self._bar = comfy.utils.ProgressBar(1)
        self._shown = 0.0

    def __call__(self, done: int, total: int, preview: torch.Tensor | None) -> None:
        management.throw_exception_if_processing_interrupted()
        picture = None
        if preview is not None and time.monotonic() - self._shown > PICTURE_SECONDS:
            self._shown = time.monotonic()
            pixels = preview.detach().float().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
            picture = ("JPEG", Image.fromarray(pixels.contiguous().numpy()), PICTURE_SIDE)
        self._bar.update_absolute(done, total, picture)


def stop_if_asked(done: int, total: int, preview: object) -> None:
    """The progress callback where core shows the progress itself."""
    management.throw_exception_if_processing_interrupted()


def work_device(working_bytes: int | None = None) -> torch.device:
    """Where long work runs: CUDA where core has it, with room made there for this many bytes, else the CPU (the
    renderer's sparse products exist on no other device)."""
    device = management.get_torch_device()
    if device.type != "cuda":
        return torch.device("cpu")
    management.free_memory(FREE_BYTES if working_bytes is None else working_bytes + SPARE_BYTES, device)
    return device


def rest_device() -> torch.device:
    """Where results wait for the next node, so that nothing of ours stays on the GPU."""
    return management.intermediate_device()


def frames_of(clip: Any, fps: float = 25.0) -> tuple[torch.Tensor, float]:
    """Pictures [F, H, W, 3] and their rate: an IMAGE comes at `fps`, a VIDEO at its own."""
    if not isinstance(clip, torch.Tensor):
        parts = clip.get_components()
        clip, fps = parts.images, float(parts.frame_rate)
    return clip[..., :3], fps


def given_mask(mask: torch.Tensor | None) -> torch.Tensor | None:
    """The mask that was given, if any.

    Raises:
        ValueError: it is the one that Load Image gives where there is none.
    """
    if mask is not None and tuple(mask.shape[-2:]) == NO_MASK and not mask.any():
        raise ValueError(
            "The mask is the empty one of 64x64 pixels that Load Image gives for a picture without transparency. "
            "Disconnect it, or draw one: right-click Load Image, Open in MaskEditor."
        )
    return mask
