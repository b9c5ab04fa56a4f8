"""What every way into the renderer does first: it draws in the precision of what it is given, and where there are
back ends at all."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from .backend import DEVICES

Function = TypeVar("Function", bound=Callable)


def drawing(function: Function) -> Function:
    """Decorate a function of tensors, and of dataclasses of tensors, the first of which lies where it shall draw.

    What is given on a device that draws nothing (see DEVICES) is taken to the CPU, and the result back.
    """

    @functools.wraps(function)
    def draw(*arguments: Any, **options: Any) -> Any:
        device = next(value for value in (*arguments, *options.values()) if isinstance(value, Tensor)).device
        with full_precision():
            if device.type in DEVICES:
                return function(*arguments, **options)
            arguments = [moved(value, "cpu") for value in arguments]
            options = {name: moved(value, "cpu") for name, value in options.items()}
            return moved(function(*arguments, **options), device)

    return draw


@contextmanager
def full_precision() -> Iterator[None]:
    """Autocast is off inside: in half precision a corner would be pixels away from its place."""
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield


def moved(value: Any, device: torch.device | str) -> Any:
    """A tensor, or a dataclass of tensors, on a device; anything else as it is. Gradients find the way back."""
    if isinstance(value, Tensor) or hasattr(value, "to"):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{f.name: moved(getattr(value, f.name), device) for f in fields(value)})
    return value
