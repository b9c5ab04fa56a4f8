"""What the compiled loops cannot notice themselves: they read whatever memory a wrong number points to."""

from __future__ import annotations

from torch import Tensor


def require_faces_of(
    num_vertices: int,
    faces: Tensor,  # [T, 3]
) -> None:
    """Raise a sentence if the faces name vertices that are not there."""
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
    if ids.numel() and (highest := int(ids.max())) >= len(faces):
        raise ValueError(
            f"The pixels name triangle {highest}, the mesh has {len(faces)}. Draw ids and picture from one mesh."
        )
