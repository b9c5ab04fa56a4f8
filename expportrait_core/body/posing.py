"""Posing: coarse canonical mesh → upsample → add Δg + Δf → linear blend skinning → world.

`smplx` is the reference: on the same file every kept vertex agrees with it within 1e-5 m. Sources: SMPL-X (Pavlakos et
al., CVPR 2019) section 3.1 for the skinning, the paper's section on the personalised head for the offsets.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..types import HeadModel, HeadMotion, PersonalizedHead
from .sparse import SparseMatrix
from .upsampling import upsample, upsampling_matrix


def axis_angle_to_matrix(
    rotation: Tensor,  # [..., 3] radians
) -> Tensor:
    """Rotation matrices [..., 3, 3] (Rodrigues), differentiable at zero."""
    # the shift is smplx's: it keeps the gradient of the norm finite at zero
    angle = (rotation + 1e-8).norm(dim=-1, keepdim=True)[..., None]
    x, y, z = (rotation / angle[..., 0]).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=rotation.dtype, device=rotation.device)
    return identity + angle.sin() * cross + (1 - angle.cos()) * (cross @ cross)


def matrix_to_axis_angle(
    matrix: Tensor,  # [..., 3, 3]
) -> Tensor:
    """Axis-angle vectors [..., 3] of rotations below π."""
    skew = torch.stack(
        [matrix[..., 2, 1] - matrix[..., 1, 2], matrix[..., 0, 2] - matrix[..., 2, 0],
         matrix[..., 1, 0] - matrix[..., 0, 1]], -1,
    )  # fmt: skip
    trace = matrix.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
    angle = torch.atan2(skew.norm(dim=-1, keepdim=True), trace - 1)
    # sin(angle)/angle → 1 at zero, where the skew part is the vector itself
    return 0.5 * skew / torch.sinc(angle / torch.pi)


def shaped(
    model: HeadModel,
    betas: Tensor,  # [B'] at most B
    expression: Tensor,  # [F, E'] at most E
) -> tuple[Tensor, Tensor]:
    """Coarse canonical vertices [F, V, 3] and joints [F, J, 3] before any rotation."""
    b, e = len(betas), expression.shape[1]
    if b > model.shape_basis.shape[2] or e > model.expression_basis.shape[2]:
        raise ValueError(
            f"The fit has {b} shape and {e} expression values, the head model '{model.model_id}' "
            f"{model.shape_basis.shape[2]} and {model.expression_basis.shape[2]}. Load the model the fit was made with."
        )
    neutral, joints = _identity(model, betas)
    basis = model.expression_basis[..., :e].flatten(0, 1)  # [V·3, E']
    vertices = neutral + (expression @ basis.T).unflatten(1, (-1, 3))
    return vertices, joints + torch.einsum("fe,jce->fjc", expression, model.joint_expression_basis[..., :e])


def _identity(model: HeadModel, betas: Tensor) -> tuple[Tensor, Tensor]:
    """Coarse canonical vertices [V, 3] and joints [J, 3] of the shape alone.

    The last person's are kept beside the model's fields: a clip is posed in many parts, and all of SMPL-X's shape
    directions are read for each person, which takes longer than all else that posing a few frames does. A model's
    fields are never changed in place: `replace` makes another.
    """
    fields = (model.template, model.shape_basis, model.joint_template, model.joint_shape_basis)
    if torch.is_grad_enabled() and any(field.requires_grad for field in (betas, *fields)):
        return _shaped_by(model, betas)
    kept = vars(model).get("_identity")
    same = kept is not None and (kept[0].dtype, kept[0].device) == (betas.dtype, betas.device)
    if not (same and torch.equal(kept[0], betas)):
        # not inside of ComfyUI's inference mode, as in `_FineSkin`
        with torch.inference_mode(False), torch.no_grad():
            own = betas.detach().clone()
            kept = vars(model)["_identity"] = own, *_shaped_by(model, own)
    return kept[1:]


def _shaped_by(model: HeadModel, betas: Tensor) -> tuple[Tensor, Tensor]:
    count = len(betas)
    neutral = model.template + model.shape_basis[..., :count] @ betas
    return neutral, model.joint_template + model.joint_shape_basis[..., :count] @ betas


def joint_transforms(
    rotations: Tensor,  # [F, J, 3, 3]
    joints: Tensor,  # [F, J, 3]
    parents: Tensor,  # [J]
    used: list[int],  # joints that are needed; their ancestors are added
) -> Tensor:
    """Rigid transforms [F, len(used), 4, 3] from the canonical pose to the posed one, in the order of `used`.

    Rows 0..2 are the images of the axes, row 3 is the translation: x' = x·row0 + y·row1 + z·row2 + row3.
    """
    tree = parents.tolist()
    needed: set[int] = set()
    for joint in used:
        while joint >= 0 and joint not in needed:
            needed.add(joint)
            joint = tree[joint]
    rotation, origin = {}, {}
    for joint in sorted(needed):  # parents come before their children in SMPL-X's order
        parent = tree[joint]
        if parent < 0:
            rotation[joint], origin[joint] = rotations[:, joint], joints[:, joint]
        else:
            rotation[joint] = rotation[parent] @ rotations[:, joint]
            bone = (joints[:, joint] - joints[:, parent])[..., None]
            origin[joint] = origin[parent] + (rotation[parent] @ bone)[..., 0]
    turn = torch.stack([rotation[j] for j in used], 1)
    move = torch.stack([origin[j] for j in used], 1) - (turn @ joints[:, used, :, None])[..., 0]
    return torch.cat([turn.transpose(-1, -2), move[..., None, :]], -2)


@dataclass(frozen=True)
class _FineSkin:
    """What posing needs of a model's upsampled mesh, whatever the pose."""

    upsampling: SparseMatrix | None  # [Vs, V], None where nothing is upsampled
    joints: list[int]  # J' that move anything
    weights: Tensor  # [Vs, J']

    @staticmethod
    def of(model: HeadModel) -> _FineSkin:
        """Made once per model and kept beside its fields, so that it lives and goes with the model."""
        kept = vars(model).get("_fine_skin")
        if kept is None:
            # not inside of ComfyUI's inference mode, whose tensors nobody could optimise with afterwards
            with torch.inference_mode(False), torch.no_grad():
                used = model.skin_weights.any(dim=0).nonzero()[:, 0]
                weights = upsample(model.skin_weights[:, used], model.faces, model.upsampling)
                level = model.upsampling.level
                matrix = upsampling_matrix(model.faces, model.upsampling, model.template) if level else None
            kept = vars(model)["_fine_skin"] = _FineSkin(matrix, used.tolist(), weights)
        return kept


def pose_vertices(
    model: HeadModel,
    betas: Tensor,  # [B]
    expression: Tensor,  # [F, E] ψ
    poses: Tensor,  # [F, 55, 3] axis-angle
    translation: Tensor,  # [F, 3] metres
    offsets: Tensor | None = None,  # [Vs, 3] or [F, Vs, 3] canonical, Δg + Δf
) -> Tensor:
    """World vertices [F, Vs, 3], metres."""
    vertices, joints = shaped(model, betas, expression)
    rotations = axis_angle_to_matrix(poses)
    if len(model.pose_basis):
        identity = torch.eye(3, dtype=poses.dtype, device=poses.device)
        feature = (rotations[:, 1:] - identity).flatten(1)  # [F, (J-1)·9]
        vertices = vertices + (feature @ model.pose_basis).unflatten(1, (-1, 3))
    skin = _FineSkin.of(model)
    if skin.upsampling is not None:
        vertices = skin.upsampling.apply(vertices)
    if offsets is not None:
        vertices = vertices + offsets
    transforms = joint_transforms(rotations, joints, model.parents, skin.joints)  # [F, J', 4, 3]
    per_joint = skin.weights.t()  # [J', Vs]

    def blended(row: Tensor) -> Tensor:  # [F, J', 3] of the joints to [F, 3, Vs] of the vertices
        # one product for all frames: a batch of small ones, or of 4×3 matrices times vectors, takes ten times as long
        return (row.transpose(1, 2).flatten(0, 1) @ per_joint).unflatten(0, (-1, 3))

    posed = blended(transforms[..., 3, :] + translation[:, None])
    for axis in range(3):
        posed = torch.addcmul(posed, vertices[..., axis][:, None], blended(transforms[..., axis, :]))
    return posed.transpose(1, 2).contiguous()


def neutral_vertices(head: PersonalizedHead) -> Tensor:
    """V_neutral = V^s + Δg of the head [Vs, 3], canonical space."""
    no_expression = head.betas.new_zeros(1, 0)
    coarse, _ = shaped(head.model, head.betas, no_expression)
    return upsample(coarse, head.model.faces, head.model.upsampling)[0] + head.static_offsets


def pose_head(head: PersonalizedHead, frame: int = 0) -> Tensor:
    """World vertices [1, Vs, 3] of the head in a frame of its own fit."""
    fit = head.fit.frames(slice(frame, frame + 1))
    offsets = head.static_offsets + head.dynamic_offsets[frame : frame + 1]
    return pose_vertices(head.model, head.betas, fit.expression, fit.poses, fit.translation, offsets)


def pose_motion(motion: HeadMotion, start: int, stop: int) -> Tensor:
    """World vertices [stop - start, Vs, 3] of some frames of a motion, with its dynamic offsets."""
    part = motion.frames(start, stop)
    offsets = part.head.static_offsets
    if part.offsets is not None:
        offsets = offsets + part.offsets(0, part.num_frames)
    head = part.head
    return pose_vertices(head.model, head.betas, part.expression, part.poses, part.translation, offsets)
