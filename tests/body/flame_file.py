"""A random file of FLAME's size and layout, and its landmark file, as FLAME's page gives them: nobody's data."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from scipy import sparse

from expportrait_core.body.flame import CARRIED_BY, POSED_BY
from expportrait_core.body.model import DEFAULT_HEAD
from expportrait_core.types import HEAD

VERTICES, JOINTS = 5_023, 5


def random_flame(seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays: an egg of a head's size on a neck, random bases, joints at neck, jaw and eyes."""
    rng = np.random.default_rng(seed)
    columns = 60
    v, u = np.divmod(np.arange(VERTICES), columns)
    angle, height = 2 * np.pi * u / columns, v / v.max()
    radius = 0.05 + 0.05 * np.sin(np.pi * height)
    template = np.stack([radius * np.sin(angle), 0.28 * height - 0.14, radius * np.cos(angle)], 1)
    cell = np.arange(VERTICES - columns)
    right = cell - cell % columns + (cell + 1) % columns
    faces = np.concatenate([np.stack([cell, right, cell + columns], 1),
                            np.stack([right, right + columns, cell + columns], 1)])  # fmt: skip
    faces = faces[(faces < VERTICES).all(axis=1)]
    regressor = np.zeros((JOINTS, VERTICES))
    for row in regressor:
        row[rng.choice(VERTICES, 12, replace=False)] = rng.dirichlet(np.ones(12))
    weights = rng.random((VERTICES, JOINTS)) ** 8
    return {
        "v_template": template + rng.normal(0, 0.001, template.shape),
        "f": faces.astype(np.uint32),
        "shapedirs": rng.normal(0, 0.003, (VERTICES, 3, 400)),
        "posedirs": rng.normal(0, 0.002, (VERTICES, 3, 9 * (JOINTS - 1))),
        "J_regressor": regressor,
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
    }


def flame_of_the_default_head() -> dict[str, np.ndarray]:
    """The default head, teeth and all, as FLAME's arrays; what its shoulders carry hangs on the root."""
    with np.load(DEFAULT_HEAD, allow_pickle=False) as file:
        arrays = {key: file[key] for key in ("v_template", "f", "shapedirs", "J_regressor", "weights")}
    weights = np.stack([arrays["weights"][:, joint] for joint in CARRIED_BY], 1)
    weights[:, 0] = 1 - weights[:, 1:].sum(1)
    posed = arrays["J_regressor"][[HEAD if joint == POSED_BY[1] else joint for joint in POSED_BY]]
    return arrays | {
        "weights": weights, "J_regressor": posed, "posedirs": np.zeros((len(weights), 3, 9 * (JOINTS - 1))),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
    }  # fmt: skip


def write_flame(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """As the `.pkl`: Python 2's pickle with a sparse regressor."""
    content = arrays | {"J_regressor": sparse.csc_matrix(arrays["J_regressor"]), "bs_type": "lrotmin"}
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def write_landmarks(folder: Path, triangles: np.ndarray, barycentric: np.ndarray, name: str = "static") -> Path:
    """Beside the model: FLAME's own file, or the one that DECA, EMOCA and VHAP bring."""
    if name == "static":
        path = folder / "flame_static_embedding.pkl"
        path.write_bytes(pickle.dumps({"lmk_face_idx": triangles, "lmk_b_coords": barycentric}, protocol=2))
    else:
        import torch

        path = folder / "landmark_embedding.npy"
        content = {"static_lmk_faces_idx": triangles, "static_lmk_bary_coords": barycentric,
                   "dynamic_lmk_faces_idx": torch.zeros(79, 17)}  # fmt: skip
        np.save(path, np.array(content, dtype=object), allow_pickle=True)
    return path
