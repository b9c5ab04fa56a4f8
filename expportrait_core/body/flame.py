"""FLAME files in the layout of SMPL-X, so that everything that takes the one takes the other.

FLAME has five joints: the root, the neck, which carries the whole head, the jaw and the eyes. They become SMPL-X's
pelvis, neck, jaw and eyes; the skin that the neck carries hangs on the head joint, which stands at the same place, so
that turning either turns the face. Posing then equals `smplx.FLAME` on the same file (tests hold it to 1e-5 m).

Files: `generic_model.pkl`, `FLAME_NEUTRAL.pkl`, ... of FLAME 2017 to 2023, or an `.npz` of the same arrays. The
landmarks lie in a file of their own, which is looked for beside the model: `flame_static_embedding.pkl` as the package
`smplx` wants it, or `landmark_embedding.npy` as DECA, EMOCA and VHAP bring it.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np

from ..types import HEAD, JAW, LEFT_EYE, NECK, NUM_JOINTS, RIGHT_EYE
from .joints import JOINT_PARENTS
from .unpickle import find_all_but_tensors, unpickle

log = logging.getLogger(__name__)

PELVIS = 0
POSED_BY = (PELVIS, NECK, JAW, LEFT_EYE, RIGHT_EYE)  # SMPL-X's joint of each of FLAME's
CARRIED_BY = (PELVIS, HEAD, JAW, LEFT_EYE, RIGHT_EYE)
NUM_FLAME_JOINTS = len(POSED_BY)
LANDMARK_FILES = ("flame_static_embedding.pkl", "landmark_embedding.npy", "landmark_embedding_with_eyes.npy")
LANDMARK_KEYS = (("lmk_face_idx", "lmk_b_coords"), ("static_lmk_faces_idx", "static_lmk_bary_coords"))


def is_flame(arrays: dict[str, np.ndarray]) -> bool:
    """Whether a body model's arrays are those of FLAME."""
    return arrays["kintree_table"].shape == (2, NUM_FLAME_JOINTS)


def in_smplx_layout(
    arrays: dict[str, np.ndarray],  # v_template, f, shapedirs, posedirs, J_regressor, weights, kintree_table
    path: Path,  # of the model
) -> dict[str, np.ndarray]:
    """The same model with SMPL-X's 55 joints, its expression space named, and the landmarks found beside it.

    Raises:
        ValueError: the arrays are not of FLAME's sizes, or the landmark file is damaged.
    """
    vertices = len(arrays["v_template"])
    expected = {"weights": (vertices, NUM_FLAME_JOINTS), "J_regressor": (NUM_FLAME_JOINTS, vertices),
                "posedirs": (vertices, 3, 9 * (NUM_FLAME_JOINTS - 1))}  # fmt: skip
    for key, shape in expected.items():
        if arrays[key].shape != shape:
            raise ValueError(
                f"{path.name} has the joints of FLAME, but {key} has shape {list(arrays[key].shape)}, expected "
                f"{list(shape)}. The file is damaged; download it again."
            )
    # joints that FLAME does not have stand at its root and never turn, but for the head, which stands at the neck
    regressor = np.repeat(arrays["J_regressor"][:1], NUM_JOINTS, axis=0)
    weights = np.zeros((vertices, NUM_JOINTS), arrays["weights"].dtype)
    pose_basis = np.zeros((vertices, 3, NUM_JOINTS, 9), arrays["posedirs"].dtype)
    by_joint = arrays["posedirs"].reshape(vertices, 3, NUM_FLAME_JOINTS - 1, 9)
    for number, (posed, carried) in enumerate(zip(POSED_BY, CARRIED_BY, strict=True)):
        regressor[[posed, carried]] = arrays["J_regressor"][number]
        weights[:, carried] = arrays["weights"][:, number]
        if number:  # the root bends nothing
            pose_basis[:, :, posed] = by_joint[:, :, number - 1]
    converted = {
        "v_template": arrays["v_template"],
        "f": arrays["f"],
        "shapedirs": arrays["shapedirs"],
        "posedirs": pose_basis[:, :, 1:].reshape(vertices, 3, -1),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.stack([np.array(JOINT_PARENTS, np.int64), np.arange(NUM_JOINTS)]),
        "expression_space": np.array("flame100" if arrays["shapedirs"].shape[2] >= 400 else "flame10"),
        "licence": np.array("FLAME model licence: not for redistribution"),
    }
    return {**converted, **_landmarks(path.parent, len(arrays["f"]))}


def _landmarks(folder: Path, num_faces: int) -> dict[str, np.ndarray]:
    """iBUG's 51 inner points under SMPL-X's names; nothing where no landmark file lies beside the model."""
    path = next((folder / name for name in LANDMARK_FILES if (folder / name).is_file()), None)
    if path is None:
        log.warning("No landmarks were found for the FLAME model: put %s beside it. Without them it cannot be tracked, "
                    "and expressions cannot be converted from it.", " or ".join(LANDMARK_FILES[:2]))  # fmt: skip
        return {}
    data = path.read_bytes()
    if path.suffix == ".npy":
        # the contour's entries are torch tensors, and are not needed
        content = unpickle(_payload(data, path.name), path.name, find_all_but_tensors)
    else:
        content = unpickle(data, path.name)
    for triangles, barycentric in LANDMARK_KEYS:
        if isinstance(content, dict) and triangles in content and barycentric in content:
            faces = np.asarray(content[triangles]).astype(np.int64).ravel()
            weights = np.asarray(content[barycentric], np.float32)
            if faces.shape != (51,) or weights.shape != (51, 3) or faces.min() < 0 or faces.max() >= num_faces:
                raise ValueError(
                    f"{path.name} holds {len(faces)} landmarks with weights of shape {list(weights.shape)}, expected "
                    f"51 on FLAME's triangles. Take the file that came with the FLAME model."
                )
            return {"lmk_faces_idx": faces, "lmk_bary_coords": weights}
    raise ValueError(f"{path.name} is no landmark file of FLAME: it lacks lmk_face_idx. Take FLAME's, or remove it.")


def _payload(data: bytes, name: str) -> bytes:
    """The pickle inside an `.npy` of Python objects."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        read_header(stream)
    except ValueError as error:
        raise ValueError(f"{name} is no readable .npy file ({error}). Copy it again from its source.") from error
    return stream.read()
