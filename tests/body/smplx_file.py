"""A random file of SMPL-X's size and layout: what the user's own file looks like, without anybody's data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from expportrait_core.body import regions
from expportrait_core.body.joints import JOINT_PARENTS
from expportrait_core.body.model import DEFAULT_HEAD

VERTICES, JOINTS = 10_475, 55


def write_random_smplx(path: Path, seed: int = 0) -> Path:
    """Write an `.npz` that `smplx` reads: a tube of a body's size, random bases, non-zero pose directions."""
    rng = np.random.default_rng(seed)
    rows, columns = 125, 84  # 10,500 grid points; the last 25 are left out
    v, u = np.divmod(np.arange(VERTICES), columns)
    angle = 2 * np.pi * u / columns
    template = np.stack([0.3 * np.cos(angle), 2.0 * v / rows - 1.3, 0.2 * np.sin(angle)], 1)
    template += rng.normal(0, 0.002, template.shape)
    cell = np.arange((rows - 1) * columns)
    right = cell - cell % columns + (cell + 1) % columns
    upper, lower = (cell, right, cell + columns), (right, right + columns, cell + columns)
    faces = np.concatenate([np.stack(upper, 1), np.stack(lower, 1)])
    faces = faces[(faces < VERTICES).all(axis=1)]
    weights = rng.random((VERTICES, JOINTS)) ** 8
    regressor = np.zeros((JOINTS, VERTICES))
    for joint in range(JOINTS):
        members = rng.choice(VERTICES, 12, replace=False)
        regressor[joint, members] = rng.dirichlet(np.ones(12))
    parents = np.array(JOINT_PARENTS, np.int64)
    parents[0] = 2**32 - 1
    np.savez(
        path,
        v_template=template.astype(np.float32),
        f=faces.astype(np.uint32),
        shapedirs=rng.normal(0, 0.003, (VERTICES, 3, 400)).astype(np.float32),
        posedirs=rng.normal(0, 0.002, (VERTICES, 3, 486)).astype(np.float32),
        J_regressor=regressor.astype(np.float32),
        weights=(weights / weights.sum(1, keepdims=True)).astype(np.float32),
        kintree_table=np.stack([parents, np.arange(JOINTS)]),
        hands_componentsl=np.eye(45, dtype=np.float32), hands_componentsr=np.eye(45, dtype=np.float32),
        hands_meanl=np.zeros(45, np.float32), hands_meanr=np.zeros(45, np.float32),
        lmk_faces_idx=rng.choice(len(faces), 51).astype(np.int64),
        lmk_bary_coords=rng.dirichlet(np.ones(3), 51).astype(np.float32),
    )  # fmt: skip
    return path


def write_bare_head(
    path: Path,
    betas: np.ndarray | None = None,  # [B] whose head, instead of the mean
) -> tuple[Path, np.ndarray]:
    """Write the default head as a SMPL-X file would hold it: without teeth, without names of parts, with the 51 inner
    iBUG points alone. Returns the path, and the numbers of the teeth's vertices in the default head."""
    with np.load(DEFAULT_HEAD, allow_pickle=False) as file:
        arrays = dict(file)
    if betas is not None:
        arrays["v_template"] = arrays["v_template"] + arrays["shapedirs"][..., : len(betas)].astype(np.float32) @ betas
    teeth = np.isin(arrays.pop("parts"), (regions.UPPER_TEETH, regions.LOWER_TEETH))
    number, faces = np.cumsum(~teeth) - 1, arrays["f"].astype(np.int64)
    kept = ~teeth[faces].any(axis=1)
    plain = {key: value for key, value in arrays.items() if not key.startswith(("landmark_", "expression_"))}
    for key in ("v_template", "shapedirs", "posedirs", "weights"):
        plain[key] = arrays[key][~teeth]
    plain["J_regressor"] = arrays["J_regressor"][:, ~teeth]
    plain["f"] = number[faces[kept]].astype(np.uint32)
    plain["lmk_faces_idx"] = np.cumsum(kept)[arrays["lmk_faces_idx"]] - 1
    for key in ("model_id", "licence"):
        del plain[key]
    np.savez(path, **plain)
    return path, np.flatnonzero(teeth)
