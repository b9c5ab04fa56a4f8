"""Heads that are not the default one, made of it: what the user's SMPL-X and FLAME files are to a conversion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from expportrait_core.types import HEAD, JAW, LEFT_EYE, RIGHT_EYE, HeadModel, LandmarkEmbedding

from ...body.flame_file import write_flame, write_landmarks

MADE_OF = ("jawForward", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "eyeBlinkLeft", "eyeBlinkRight",
           "mouthPucker", "noseSneerLeft", "cheekPuff", "browDownRight")  # fmt: skip


def smplx_like(
    head: HeadModel,
    scale: float = 1.2,
    shift: tuple[float, float, float] = (0.01, 0.2, -0.03),
) -> tuple[HeadModel, torch.Tensor]:
    """A model like SMPL-X's: another size and place, 51 landmarks, expressions that are mixtures of the head's units.

    Also the mixture [100, 10] by which its coefficients are made from ten units.
    """
    generator = torch.Generator().manual_seed(0)
    units = [head.expression_names.index(name) for name in MADE_OF]
    basis = torch.zeros_like(head.expression_basis)
    mix, _ = torch.linalg.qr(torch.randn(10, 10, generator=generator))
    basis[..., :10] = head.expression_basis[..., units] @ mix * scale
    points = head.landmarks["ibug68"]
    moved = torch.tensor(shift)
    model = head.replace(
        template=head.template * scale + moved, joint_template=head.joint_template * scale + moved,
        expression_basis=basis, joint_expression_basis=torch.zeros_like(head.joint_expression_basis),
        landmarks={"ibug51": LandmarkEmbedding(points.triangles[17:], points.barycentric[17:])},
        expression_names=tuple(f"expression{i}" for i in range(100)), expression_space="smplx100",
        model_id="SMPLX_NEUTRAL",
    )  # fmt: skip
    return model, torch.linalg.inv(mix)


def write_as_flame(folder: Path, model: HeadModel) -> Path:
    """The same head as FLAME's file with its landmarks beside it. Joints stand at the nearest vertices."""
    points = model.template.numpy()
    shapedirs = np.zeros((len(points), 3, 400))
    shapedirs[..., 300:] = model.expression_basis.numpy()
    regressor, weights = np.zeros((5, len(points))), np.zeros((len(points), 5))
    for number, joint in enumerate((0, HEAD, JAW, LEFT_EYE, RIGHT_EYE)):
        regressor[number, (model.template - model.joint_template[joint]).norm(dim=1).argmin()] = 1
        weights[:, number] = model.skin_weights[:, joint].numpy()
    weights[:, 0] = 1 - weights[:, 1:].sum(1)
    landmarks = model.landmarks["ibug51"]
    write_landmarks(folder, landmarks.triangles.numpy(), landmarks.barycentric.numpy())
    return write_flame(folder / "generic_model.pkl", {
        "v_template": points, "f": model.faces.numpy(), "shapedirs": shapedirs,
        "posedirs": np.zeros((len(points), 3, 36)), "J_regressor": regressor, "weights": weights,
        "kintree_table": np.array([[-1, 0, 1, 1, 1], range(5)]),
    })  # fmt: skip
