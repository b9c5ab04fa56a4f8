"""One loader for the default head and for the user's own SMPL-X and FLAME files, `.npz` or `.pkl`."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..assets import ASSETS
from ..portable import open_npz
from ..types import NECK, NUM_JOINTS, HeadModel, LandmarkEmbedding, Upsampling
from . import regions
from .ears import ears_of
from .flame import in_smplx_layout, is_flame
from .mouth import mouth_of
from .teeth import with_teeth
from .unpickle import read_pickle
from .upsampling import build_upsampling

log = logging.getLogger(__name__)

DEFAULT_HEAD = ASSETS / "default_head.npz"
DEFAULT_NAMES = ("default", "default head (CC0)")
REQUIRED = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
SHAPE_COLUMNS, EXPRESSION_COLUMNS = 300, 100  # of a full SMPL-X file; smaller files hold 10 + 10
BELOW_NECK, BESIDE_NECK = 0.14, 0.24  # metres of the head-and-shoulders crop around the neck joint, our choice


@functools.lru_cache(maxsize=4)
def load_head_model(source: str | Path = "default", level: int = 1, teeth: bool = True) -> HeadModel:
    """The head and shoulders of a body model, upsampled.

    Args:
        source: "default" for the CC0 head of this package, or the path of a SMPL-X or FLAME `.npz` or `.pkl` file as
            its authors ship it.
        level: 0 coarse; 1 for speed (facial edges of about 2 mm); 2 where wrinkles are shown (1 mm).
        teeth: give a model that has none the teeth of the default head, see `body.teeth`.

    Raises:
        ValueError: the file is missing, is no SMPL-X or FLAME file, or its arrays do not fit together.
    """
    if str(source) in DEFAULT_NAMES:
        return _from_arrays(_read_npz(DEFAULT_HEAD), "default-head", level)
    path = Path(source)
    arrays = _read_pkl(path) if path.suffix.lower() == ".pkl" and path.is_file() else _read_npz(path)
    if is_flame(arrays):
        return _from_arrays(in_smplx_layout(arrays, path), path.stem, level, crop=False)
    model = _from_arrays(arrays, path.stem, level)
    if str(arrays.get("model_id", "")) != "default-head":
        from .smplx_reference import check_posing  # its licence is not ours: only where a real SMPL-X file is in play

        check_posing(path.name, arrays, model)
    return with_teeth(model, load_head_model("default", 0)) if teeth else model


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise ValueError(
            f"There is no head model file {path}. Give a SMPL-X .npz file (SMPLX_NEUTRAL.npz from the SMPL-X web "
            f"page), or use 'default'."
        )
    try:
        with open_npz(path) as file:
            wanted = [k for k in file.files if k in REQUIRED or k in _OPTIONAL or k.startswith("landmark_")]
            arrays = {key: file[key] for key in wanted}
            found = file.files
    except Exception as error:  # numpy lets through what zip, zlib and Python's tokenizer raise
        raise ValueError(
            f"{path.name} is not a readable head model ({error}). Expected the SMPL-X .npz file without Python objects."
        ) from error
    _require_keys(arrays, found, path.name)
    return arrays


def _read_pkl(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a model in the pickle form, in which some are chumpy objects and the regressor is sparse."""
    content = read_pickle(path)
    found = [str(key) for key in content] if isinstance(content, dict) else [f"a {type(content).__name__}"]
    wanted = {key: np.asarray(content[key]) for key in (*REQUIRED, *_OPTIONAL) if key in found}
    arrays = {key: value for key, value in wanted.items() if value.dtype.kind in "biuf"}
    _require_keys(arrays, found, path.name)
    return arrays


def _require_keys(arrays: dict[str, np.ndarray], found: list[str], name: str) -> None:
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        raise ValueError(
            f"{name} is no SMPL-X file: it lacks {', '.join(missing)} and holds {', '.join(sorted(found)[:12])}. "
            f"Give SMPLX_NEUTRAL.npz, SMPLX_MALE.npz or SMPLX_FEMALE.npz, FLAME's model, or use 'default'."
        )


_OPTIONAL = (
    "parts", "facial_weight", "expression_names", "expression_space", "model_id", "licence",
    "lmk_faces_idx", "lmk_bary_coords", "hands_componentsl", "hands_componentsr", "hands_meanl", "hands_meanr",
)  # fmt: skip


def _from_arrays(arrays: dict[str, np.ndarray], name: str, level: int, crop: bool = True) -> HeadModel:
    _check_sizes(arrays, name)
    as_float = {k: torch.from_numpy(arrays[k].astype(np.float32)) for k in REQUIRED if k not in ("f", "kintree_table")}
    faces = torch.from_numpy(arrays["f"].astype(np.int64))
    shape, expression = _split_columns(as_float["shapedirs"])
    regressor = as_float["J_regressor"]
    # joints come from the whole body, in double precision, before any vertex is cropped away
    joints = (regressor.double() @ as_float["v_template"].double()).float()
    kept, faces, face_number = _crop(as_float["v_template"], faces, joints if crop else None)
    parents = torch.from_numpy(arrays["kintree_table"][0].astype(np.int64))
    parents[0] = -1
    template, weights = as_float["v_template"][kept], as_float["weights"][kept]
    landmarks = _landmarks(arrays, face_number)
    if "parts" in arrays:
        parts = torch.from_numpy(arrays["parts"])[kept]
    else:
        parts = _found_parts(template, faces, weights, landmarks, joints)
    expression_kept = expression[kept].contiguous()
    return HeadModel(
        template=template,
        shape_basis=shape[kept].contiguous(),
        expression_basis=expression_kept,
        pose_basis=_pose_basis(as_float["posedirs"], kept),
        joint_template=joints,
        joint_shape_basis=_regress(regressor, shape),
        joint_expression_basis=_regress(regressor, expression),
        skin_weights=weights,
        parents=parents,
        faces=faces,
        parts=parts,
        facial_weight=regions.facial_weight(template, expression_kept, weights, faces, parts),
        upsampling=build_upsampling(faces, len(kept), level),
        landmarks=landmarks,
        source_vertices=kept,
        expression_names=_expression_names(arrays, expression.shape[2]),
        expression_space=str(arrays.get("expression_space", f"smplx{expression.shape[2]}")),
        model_id=str(arrays.get("model_id", name)),
        licence=str(arrays.get("licence", "SMPL-X model licence: not for redistribution")),
    )


def _found_parts(
    template: Tensor, faces: Tensor, skin_weights: Tensor, landmarks: dict[str, LandmarkEmbedding], joints: Tensor
) -> Tensor:
    """Parts [V] of a model that names none: eyeballs by their joints, ears by their shape, lips and mouth by the lip
    landmarks."""
    parts = regions.parts_from_skinning(skin_weights)
    parts[ears_of(template, faces, parts, joints, load_head_model("default", 0))] = regions.EARS
    if (mouth := mouth_of(template, faces, landmarks)) is None:
        log.info("The lip landmarks do not lie around a mouth, so that region maps show none.")
        return parts
    for members, part in zip(mouth, (regions.LIPS, regions.MOUTH), strict=True):
        parts[members & (parts == regions.SKIN)] = part
    return parts


def _check_sizes(arrays: dict[str, np.ndarray], name: str) -> None:
    vertices = len(arrays["v_template"])
    expected = {
        "v_template": (vertices, 3),
        "shapedirs": (vertices, 3, None),
        "posedirs": (vertices, 3, (NUM_JOINTS - 1) * 9),
        "J_regressor": (NUM_JOINTS, vertices),
        "weights": (vertices, NUM_JOINTS),
        "kintree_table": (2, NUM_JOINTS),
        "f": (None, 3),
    }
    for key, shape in expected.items():
        found = arrays[key].shape
        if len(found) != len(shape) or any(s is not None and s != n for s, n in zip(shape, found, strict=True)):
            raise ValueError(
                f"{name} is no SMPL-X file: {key} has shape {list(found)}, expected "
                f"{[s if s is not None else 'any' for s in shape]}. SMPL and SMPL-H files have other sizes."
            )


def _split_columns(shapedirs: Tensor) -> tuple[Tensor, Tensor]:
    """Identity and expression columns: 300 + 100 in a full file, 10 + 10 in a smaller one (as `smplx` reads them)."""
    total = shapedirs.shape[2]
    if total >= SHAPE_COLUMNS + EXPRESSION_COLUMNS:
        return shapedirs[..., :SHAPE_COLUMNS], shapedirs[..., SHAPE_COLUMNS : SHAPE_COLUMNS + EXPRESSION_COLUMNS]
    if total < 20:
        raise ValueError(f"shapedirs has {total} columns, expected 400 (300 shape + 100 expression) or 20 (10 + 10).")
    return shapedirs[..., :10], shapedirs[..., 10:20]


def _regress(regressor: Tensor, basis: Tensor) -> Tensor:
    return torch.einsum("jv,vck->jck", regressor.double(), basis.double()).float()


def _pose_basis(posedirs: Tensor, kept: Tensor) -> Tensor:
    basis = posedirs[kept]  # [V, 3, P]
    if not basis.any():
        return basis.new_zeros(0, 3 * len(kept))
    return basis.flatten(0, 1).T.contiguous()


def _crop(template: Tensor, faces: Tensor, joints: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Kept vertex numbers, renumbered faces, and the new number of every old face (-1 where dropped).

    Without joints all is kept but what no face uses.
    """
    inside = torch.ones(len(template), dtype=torch.bool)
    if joints is not None:
        neck = joints[NECK]
        inside = (template[:, 1] > neck[1] - BELOW_NECK) & ((template[:, 0] - neck[0]).abs() < BESIDE_NECK)
    alive = inside[faces].all(dim=1)
    kept = torch.unique(faces[alive])
    if len(kept) == 0:
        raise ValueError("The model has no vertices around its neck joint. Expected a body in SMPL-X layout, metres.")
    number = torch.full((len(template),), -1, dtype=torch.int64)
    number[kept] = torch.arange(len(kept))
    face_number = torch.where(alive, alive.long().cumsum(0) - 1, -1)
    return kept, number[faces[alive]], face_number


def _landmarks(arrays: dict[str, np.ndarray], face_number: Tensor) -> dict[str, LandmarkEmbedding]:
    """Our files name their schemes; SMPL-X files carry the 51 inner points of iBUG-68."""
    found = {}
    for key in sorted(arrays):
        if key.startswith("landmark_faces_"):
            scheme = key.removeprefix("landmark_faces_")
            found[scheme] = (arrays[key], arrays[f"landmark_barycentric_{scheme}"])
    if not found and "lmk_faces_idx" in arrays and "lmk_bary_coords" in arrays:
        found["ibug51"] = (arrays["lmk_faces_idx"], arrays["lmk_bary_coords"])
    embeddings = {}
    for scheme, (triangles, barycentric) in found.items():
        index = torch.from_numpy(triangles.astype(np.int64))
        renumbered = torch.where(index < 0, -1, face_number[index.clamp(min=0)])
        embeddings[scheme] = LandmarkEmbedding(renumbered, torch.from_numpy(barycentric.astype(np.float32)))
    return embeddings


def _expression_names(arrays: dict[str, np.ndarray], count: int) -> tuple[str, ...]:
    if "expression_names" in arrays:
        return tuple(str(n) for n in arrays["expression_names"])
    return tuple(f"expression{i + 1}" for i in range(count))


def with_level(model: HeadModel, level: int) -> HeadModel:
    """The same model at another upsampling level."""
    if model.upsampling.level == level:
        return model
    upsampling: Upsampling = build_upsampling(model.faces.cpu(), len(model.template), level)
    return model.replace(upsampling=upsampling.to(model.template.device))
