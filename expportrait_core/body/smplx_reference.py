"""Our posing held against `smplx`; the only file that imports it (its licence is non-commercial, as SMPL-X's own)."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..types import JAW, LEFT_EYE, RIGHT_EYE, HeadModel
from .posing import pose_vertices

log = logging.getLogger(__name__)
TOLERANCE_METRES = 1e-5


def smplx_vertices(
    arrays: Mapping[str, np.ndarray],  # of the model's file
    betas: Tensor,  # [B]
    expression: Tensor,  # [F, E]
    poses: Tensor,  # [F, 55, 3]
    translation: Tensor,  # [F, 3]
) -> Tensor:
    """Vertices [F, N, 3] of the whole body as the package `smplx` poses them; an ImportError where it is missing.

    `smplx` loads pickles unrestricted, so it is never shown the user's file, but one of the arrays that were read.

    Raises:
        ValueError: `smplx` misses something among the arrays.
    """
    import smplx.body_models

    # smplx looks up extra vertices of the full body by number, which a cropped file does not have; they are not used
    known = smplx.body_models.VERTEX_IDS["smplx"]
    smplx.body_models.VERTEX_IDS["smplx"] = dict.fromkeys(known, 0)
    try:
        # it prints warnings
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            plain = Path(folder) / "SMPLX.npz"
            np.savez(plain, **arrays)
            body = smplx.body_models.SMPLX(
                str(plain), num_betas=len(betas), num_expression_coeffs=expression.shape[1], use_pca=False,
                flat_hand_mean=True, batch_size=len(poses), use_face_contour=False,
            )  # fmt: skip
    except (AttributeError, KeyError) as error:
        raise ValueError(
            f"The package smplx cannot pose this model: {error}. Give the file as the authors of SMPL-X ship it."
        ) from error
    finally:
        smplx.body_models.VERTEX_IDS["smplx"] = known
    with torch.no_grad():
        output = body(
            betas=betas[None].expand(len(poses), -1), expression=expression, transl=translation,
            global_orient=poses[:, 0], body_pose=poses[:, 1:22].flatten(1), jaw_pose=poses[:, JAW],
            leye_pose=poses[:, LEFT_EYE], reye_pose=poses[:, RIGHT_EYE],
            left_hand_pose=poses[:, 25:40].flatten(1), right_hand_pose=poses[:, 40:55].flatten(1),
        )  # fmt: skip
    return output.vertices


def check_posing(name: str, arrays: Mapping[str, np.ndarray], model: HeadModel) -> float | None:
    """Pose one random frame with `smplx` and with ours, log and return the largest distance in metres.

    Returns None, with a log line, where `smplx` is not installed.

    Raises:
        ValueError: the two differ by more than 1e-5 m.
    """
    generator = torch.Generator().manual_seed(0)
    betas = torch.randn(min(10, model.shape_basis.shape[2]), generator=generator)
    expression = torch.randn(1, min(10, model.expression_basis.shape[2]), generator=generator)
    poses = 0.2 * torch.randn(1, len(model.parents), 3, generator=generator)
    translation = torch.randn(1, 3, generator=generator)
    try:
        reference = smplx_vertices(arrays, betas, expression, poses, translation)
    except ImportError:
        log.info("Posing of %s was not checked: install the package smplx to check it.", name)
        return None
    coarse = model.replace(upsampling=model.upsampling.replace(
        level=0, triangles=model.upsampling.triangles[: len(model.template)],
        barycentric=model.upsampling.barycentric[: len(model.template)], faces=model.faces,
    ))  # fmt: skip
    ours = pose_vertices(coarse, betas, expression, poses, translation)
    distance = float((ours - reference[:, model.source_vertices]).norm(dim=-1).max())
    log.info("Posing of %s agrees with smplx within %.1e m.", name, distance)
    if distance > TOLERANCE_METRES:
        raise ValueError(
            f"Our posing of {name} differs from smplx by {distance:.1e} m, expected at most {TOLERANCE_METRES} m. "
            f"The file is not in SMPL-X layout, or uses a part of it that this release does not know."
        )
    return distance
