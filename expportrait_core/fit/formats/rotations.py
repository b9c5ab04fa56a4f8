"""Rotations as trackers write them, all to axis-angle radians. numpy in double precision; scipy where it fits."""

from __future__ import annotations

import numpy as np

from ..refusal import Unnamed


def from_matrix(
    matrices: np.ndarray,  # [..., 3, 3]
) -> np.ndarray:
    """Axis-angle [..., 3]. Matrices that are a little off are brought back to the nearest rotation."""
    if matrices.shape[-2:] != (3, 3):
        raise Unnamed(f"Rotation matrices have shape {list(matrices.shape)}, expected [..., 3, 3].")
    flat = matrices.reshape(-1, 3, 3).astype(np.float64)
    if not np.isfinite(flat).all():
        raise Unnamed("A rotation matrix holds NaN or infinite values. Track the clip again.")
    wrong = np.linalg.det(flat) < 0.5 if len(flat) else np.zeros(0, bool)
    if wrong.any():
        raise Unnamed(
            f"A rotation matrix is a mirror image or no rotation at all{_frame(wrong, matrices.shape[:-2])}. The file "
            f"is damaged or mixed up."
        )
    from scipy.spatial.transform import Rotation  # takes a while to import

    vectors = Rotation.from_matrix(flat).as_rotvec() if len(flat) else np.zeros((0, 3))
    return vectors.reshape(*matrices.shape[:-2], 3)


def from_6d(
    values: np.ndarray,  # [..., 6]
) -> np.ndarray:
    """Axis-angle [..., 3] of the first two *rows* of each matrix (Zhou et al. 2019, in PyTorch3D's order)."""
    if values.shape[-1] != 6:
        raise Unnamed(f"6D rotations have shape {list(values.shape)}, expected [..., 6].")
    first, second = values[..., :3].astype(np.float64), values[..., 3:].astype(np.float64)
    first = _unit(first)
    second = _unit(second - (first * second).sum(-1, keepdims=True) * first)
    return from_matrix(np.stack([first, second, np.cross(first, second)], -2))


def from_euler(
    order: str,  # scipy's: capitals turn about the body's own axes, "YXZ" is yaw, pitch, roll
    angles: np.ndarray,  # [F, 3] radians
) -> np.ndarray:
    """Axis-angle [F, 3]."""
    from scipy.spatial.transform import Rotation  # takes a while to import

    return Rotation.from_euler(order, angles.astype(np.float64)).as_rotvec() if len(angles) else np.zeros((0, 3))


def to_matrix(
    vectors: np.ndarray,  # [..., 3]
) -> np.ndarray:
    """Rotation matrices [..., 3, 3]."""
    from scipy.spatial.transform import Rotation  # takes a while to import

    flat = Rotation.from_rotvec(vectors.reshape(-1, 3).astype(np.float64)).as_matrix()
    return flat.reshape(*vectors.shape[:-1], 3, 3)


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    wrong = length < 1e-8
    if wrong.any():
        raise Unnamed(
            f"A 6D rotation is zero{_frame(wrong, vectors.shape[:-1])}, which is no rotation. The file is damaged."
        )
    return vectors / length


def _frame(wrong: np.ndarray, shape: tuple[int, ...]) -> str:
    """In which frame the first of the wrong rotations is; frames are the first axis of `shape`, if it has any."""
    if not shape:
        return ""
    row = int(wrong.reshape(shape[0], -1).any(axis=1).argmax())
    return f" in frame {row + 1} of {shape[0]}"
