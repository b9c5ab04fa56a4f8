"""Rotations as trackers write them, all to axis-angle radians. numpy in double precision; scipy where it fits."""

from __future__ import annotations

import numpy as np

from ..refusal import InRow, Unnamed


def from_matrix(
    matrices: np.ndarray,  # [..., 3, 3]
) -> np.ndarray:
    """Axis-angle [..., 3]. Matrices that are a little off are brought back to the nearest rotation.

    Raises:
        Unnamed: another shape.
        InRow: one that is no rotation; rows are the first axis.
    """
    if matrices.shape[-2:] != (3, 3):
        raise Unnamed(f"Rotation matrices have shape {list(matrices.shape)}, expected [..., 3, 3].")
    flat = matrices.reshape(-1, 3, 3).astype(np.float64)
    _refuse(
        ~np.isfinite(flat).all(axis=(1, 2)), matrices.shape[:-2],
        "A rotation matrix holds NaN or infinite values. Track the clip again.",
    )  # fmt: skip
    _refuse(
        np.linalg.det(flat) < 0.5 if len(flat) else np.zeros(0, bool), matrices.shape[:-2],
        "A rotation matrix is a mirror image or no rotation at all. The file is damaged or mixed up.",
    )  # fmt: skip
    from scipy.spatial.transform import Rotation  # takes a while to import

    vectors = Rotation.from_matrix(flat).as_rotvec() if len(flat) else np.zeros((0, 3))
    return vectors.reshape(*matrices.shape[:-2], 3)


def from_6d(
    values: np.ndarray,  # [..., 6]
) -> np.ndarray:
    """Axis-angle [..., 3] of the first two *rows* of each matrix (Zhou et al. 2019, in PyTorch3D's order).

    Raises as `from_matrix`.
    """
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
    _refuse(length < 1e-8, vectors.shape[:-1], "A 6D rotation is zero, which is no rotation. The file is damaged.")
    return vectors / length


def _refuse(wrong: np.ndarray, shape: tuple[int, ...], said: str) -> None:
    """Say it of the first of the wrong rotations. Rows are the first axis of `shape`; without any there is one."""
    if wrong.any():
        rows = shape[0] if shape else 1
        raise InRow(said, int(wrong.reshape(rows, -1).any(axis=1).argmax()), rows)
