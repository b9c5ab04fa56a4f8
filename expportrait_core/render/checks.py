"""What the compiled loops cannot notice themselves: they read, and write, whatever memory a wrong number points to."""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor


def whole_number(name: str, value: int, least: int = 1) -> int:
    """`value` as an int. Raise a sentence if it is no whole number, or less than `least`."""
    if not isinstance(value, Real) or not least <= value < math.inf or int(value) != value:  # NaN is below nothing
        raise ValueError(f"{name} is {value!r}, expected a whole number, {least} or more.")
    return int(value)


def require_floats(**tensors: Tensor) -> None:
    """Raise a sentence if they are not all float32, or all float64."""
    dtypes = {tensor.dtype for tensor in tensors.values()}
    if len(dtypes) > 1 or not dtypes <= {torch.float32, torch.float64}:
        found = " and ".join(f"{name} in {tensor.dtype}" for name, tensor in tensors.items())
        raise ValueError(f"Found {found}, expected float32 or float64 for all. Convert them.")


def require_room(
    shape: tuple[int, int, int],  # F, H, W
    **rooms: tuple[Tensor, tuple[int, ...]],  # to be written to, and their channels
) -> None:
    """Raise a sentence if something that shall be written to is of another size."""
    for name, (room, channels) in rooms.items():
        if room.is_floating_point() and room.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"Found room for {name} in {room.dtype}, expected float32 or float64.")
        if tuple(room.shape) != (*shape, *channels):
            raise ValueError(f"Found room for {name} of {list(room.shape)}, expected {[*shape, *channels]}.")


def require_faces_of(
    num_vertices: int,
    faces: Tensor,  # [T, 3]
) -> None:
    """Raise a sentence if the faces name vertices that are not there."""
    _require_numbers("faces", faces)
    if faces.numel() == 0:
        return
    # numpy's on the CPU: torch's threads would go on waiting at full speed, and hold up ours, which come next
    low, high = (faces.numpy().min(), faces.numpy().max()) if faces.device.type == "cpu" else faces.aminmax()
    low, high = int(low), int(high)
    if low < 0 or high >= num_vertices:
        raise ValueError(f"The faces name vertices {low} to {high}, the mesh has {num_vertices}. Check the mesh.")


def require_ids_of(
    faces: Tensor,  # [T, 3]
    ids: Tensor,  # [F, H, W] triangle numbers, negative in the background
) -> None:
    """Raise a sentence if a pixel names a triangle that is not there."""
    _require_numbers("ids", ids)
    if ids.numel() and (highest := int(ids.max())) >= len(faces):
        raise ValueError(
            f"The pixels name triangle {highest}, the mesh has {len(faces)}. Draw ids and picture from one mesh."
        )


def _require_numbers(name: str, numbers: Tensor) -> None:
    if numbers.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"Found {name} in {numbers.dtype}, expected int32 or int64. Convert them.")
