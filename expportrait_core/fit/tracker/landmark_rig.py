"""Landmarks as points that pose like vertices: what the tracker moves, and how the pictures of them change.

A landmark lies on one coarse triangle. Its canonical position, bases and skin weights are interpolated there once, so
that posing 468 landmarks costs 468 vertices. Interpolating before skinning instead of after it moves a landmark by
less than half a millimetre with the jaw wide open; the error that is reported is always measured on the real mesh.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...body.posing import axis_angle_to_matrix, joint_transforms
from ...types import HEAD, JAW, NECK, NUM_JOINTS, HeadModel

NECK_SHARE = 0.4  # of the head's rotation; the rest is the head joint's. Our choice: about what anatomy does
RIGID = 8  # per frame: head rotation 3 (axis-angle), translation 3 (metres), jaw opening, jaw sideways (radians)


@dataclass(frozen=True)
class LandmarkRig:
    """The landmarks of one scheme that are on the mesh, as posable points."""

    numbers: Tensor  # [L] landmark numbers in the scheme
    template: Tensor  # [L, 3]
    shape_basis: Tensor  # [L, 3, B]
    expression_basis: Tensor  # [L, 3, E]
    weights: Tensor  # [L, J'] of the joints in `used`
    used: tuple[int, ...]  # joints that move any landmark
    joint_template: Tensor  # [55, 3]
    joint_shape_basis: Tensor  # [55, 3, B]
    parents: Tensor  # [55]

    @classmethod
    def of(cls, model: HeadModel, scheme: str, num_betas: int) -> LandmarkRig:
        """The rig of a head model's landmarks, with the first `num_betas` shape columns."""
        embedding = model.landmarks[scheme]
        numbers = (embedding.triangles >= 0).nonzero()[:, 0]
        corners = model.faces[embedding.triangles[numbers]]  # [L, 3]
        barycentric = embedding.barycentric[numbers]

        def at_landmarks(values: Tensor) -> Tensor:
            return torch.einsum("lc,lc...->l...", barycentric, values[corners])

        weights = at_landmarks(model.skin_weights)
        used = weights.any(dim=0).nonzero()[:, 0]
        return cls(
            numbers=numbers,
            template=at_landmarks(model.template),
            shape_basis=at_landmarks(model.shape_basis[..., :num_betas]),
            expression_basis=at_landmarks(model.expression_basis),
            weights=weights[:, used],
            used=tuple(used.tolist()),
            joint_template=model.joint_template,
            joint_shape_basis=model.joint_shape_basis[..., :num_betas],
            parents=model.parents,
        )

    def select(self, keep: Tensor, numbers: Tensor) -> LandmarkRig:
        """The rig of some landmarks, under other numbers."""
        return replace(
            self,
            numbers=numbers,
            template=self.template[keep],
            shape_basis=self.shape_basis[keep],
            expression_basis=self.expression_basis[keep],
            weights=self.weights[keep],
        )

    def canonical(
        self,
        betas: Tensor,  # [B]
        expression: Tensor,  # [F, E]
    ) -> Tensor:
        """Unposed landmarks [F, L, 3]. Joints that expressions move (SMPL-X, by fractions of a mm) are left still."""
        return self.template + self.shape_basis @ betas + torch.einsum("lce,fe->flc", self.expression_basis, expression)

    def transforms(
        self,
        betas: Tensor,  # [B]
        rigid: Tensor,  # [F, 8]
    ) -> Tensor:
        """Skinning transforms [F, L, 4, 3] of the landmarks, translation included."""
        return (self.weights @ self.joint_transforms(betas, rigid).flatten(2)).unflatten(2, (4, 3))

    def joint_transforms(self, betas: Tensor, rigid: Tensor) -> Tensor:
        """Skinning transforms [F, J', 4, 3] of the joints in `used`, translation included."""
        joints = (self.joint_template + self.joint_shape_basis @ betas).expand(len(rigid), -1, -1)
        rotations = axis_angle_to_matrix(poses_from_rigid(rigid))
        per_joint = joint_transforms(rotations, joints, self.parents, list(self.used))
        # the weights of a landmark sum to one, so the translation can go onto every joint
        return per_joint + torch.nn.functional.pad(rigid[:, None, None, 3:6], (0, 0, 3, 0))

    def points(self, betas: Tensor, expression: Tensor, rigid: Tensor) -> Tensor:
        """World positions [F, L, 3]."""
        transforms = self.transforms(betas, rigid)
        canonical = self.canonical(betas, expression)
        return (canonical[..., None] * transforms[..., :3, :]).sum(2) + transforms[..., 3, :]

    def joints_and_derivatives(
        self,
        betas: Tensor,  # [B]
        rigid: Tensor,  # [F, 8]
    ) -> tuple[Tensor, Tensor]:
        """`joint_transforms` and their derivatives by the rigid values [F, J', 4, 3, 8].

        A chain of joints is linear in every single rotation, so adding a rotation's derivative to it adds the
        derivative of the whole chain.
        """
        joints = (self.joint_template + self.joint_shape_basis @ betas).expand(len(rigid), -1, -1)
        poses = poses_from_rigid(rigid)
        rotations = axis_angle_to_matrix(poses)

        def chain(rotations: Tensor) -> Tensor:
            return joint_transforms(rotations, joints, self.parents, list(self.used))

        base = chain(rotations)
        derivatives = base.new_zeros(*base.shape, RIGID)
        for joint, first, count, share in ((NECK, 0, 3, NECK_SHARE), (HEAD, 0, 3, 1 - NECK_SHARE), (JAW, 6, 2, 1.0)):
            by_vector = share * rotation_derivatives(poses[:, joint])  # [F, 3, 3, 3]
            for axis in range(count):
                moved = rotations.clone()
                moved[:, joint] += by_vector[..., axis]
                derivatives[..., first + axis] += chain(moved) - base
        # the weights of a landmark sum to one, so the translation can go onto every joint
        derivatives[:, :, 3, :, 3:6] = torch.eye(3).to(derivatives)
        return base + torch.nn.functional.pad(rigid[:, None, None, 3:6], (0, 0, 3, 0)), derivatives

    def pixels_and_jacobians(
        self,
        betas: Tensor,  # [B]
        expression: Tensor,  # [F, E]
        intrinsics: Tensor,  # [3, 3]; the camera looks along -z of the world, y up
        joints: tuple[Tensor, Tensor],  # of `joints_and_derivatives`
        with_betas: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor]:
        """Pixels [F, L, 2] and their derivatives: by rigid [F, L, 2, 8], expression [F, L, 2, E], betas [F, L, 2, B];
        and world positions [F, L, 3] with the pixels' derivative by them [F, L, 2, 3].

        The derivative by the betas leaves out how they move the joints, a part in a hundred of it.
        """
        of_joints, joints_by_rigid = joints
        frames, count = len(expression), len(self.numbers)
        canonical = self.canonical(betas, expression)
        homogeneous = torch.nn.functional.pad(canonical, (0, 1), value=1.0)  # [F, L, 4]
        transforms = (self.weights @ of_joints.flatten(2)).unflatten(2, (4, 3))  # [F, L, 4, 3]
        points = (homogeneous[..., None, :] @ transforms)[..., 0, :]
        pixels, by_point = project_with_jacobian(points, intrinsics)
        by_rigid = (self.weights @ joints_by_rigid.flatten(2)).view(frames, count, 4, 3 * RIGID)
        by_rigid = (homogeneous[..., None, :] @ by_rigid).view(frames, count, 3, RIGID)
        linear = by_point @ transforms[..., :3, :].transpose(-1, -2)  # [F, L, 2, 3] pixel by canonical position
        across = linear.movedim(0, 1).flatten(1, 2)  # [L, 2 F, 3]: one product per landmark, not one more per frame

        def through(basis: Tensor) -> Tensor:  # [L, 3, n] to [F, L, 2, n]
            return (across @ basis).unflatten(1, (frames, 2)).movedim(1, 0)

        by_betas = through(self.shape_basis) if with_betas else None
        return pixels, by_point @ by_rigid, through(self.expression_basis), by_betas, points, by_point


def poses_from_rigid(
    rigid: Tensor,  # [F, 8]
) -> Tensor:
    """Joint rotations [F, 55, 3]: the head's rotation shared by neck and head, and the jaw."""
    head, jaw = rigid[:, :3], rigid[:, 6:8]
    zero = torch.zeros_like(head)
    rows = [zero] * NUM_JOINTS
    rows[NECK], rows[HEAD] = NECK_SHARE * head, (1 - NECK_SHARE) * head
    rows[JAW] = torch.nn.functional.pad(jaw, (0, 1))
    return torch.stack(rows, 1)


def rotation_derivatives(
    vector: Tensor,  # [F, 3] axis-angle
) -> Tensor:
    """Derivatives [F, 3, 3, 3] of rotation matrices by the three values (last) of their vector.

    Gallego and Yezzi, "A compact formula for the derivative of a 3-D rotation in exponential coordinates", 2015.
    """
    v = vector.double()
    rotation, identity = axis_angle_to_matrix(v), torch.eye(3).to(v)
    square = (v**2).sum(-1).clamp(min=1e-18)
    columns = []
    for axis in range(3):
        tilt = torch.linalg.cross(v, (identity - rotation)[..., axis])
        inner = (v[:, axis, None] * v + tilt) / square[:, None]
        inner = torch.where(square[:, None] < 1e-10, identity[axis], inner)
        columns.append(cross_matrix(inner) @ rotation)
    return torch.stack(columns, -1).to(vector)


def cross_matrix(vector: Tensor) -> Tensor:  # [F, 3] to [F, 3, 3]
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def project_with_jacobian(
    points: Tensor,  # [F, L, 3] world
    intrinsics: Tensor,  # [3, 3]
) -> tuple[Tensor, Tensor]:
    """Pixels [F, L, 2] of a camera at the origin that looks along -z, and their derivative [F, L, 2, 3]."""
    x, y, z = points.unbind(-1)
    depth = -z
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    pixels = torch.stack([cx + fx * x / depth, cy - fy * y / depth], -1)
    zero = torch.zeros_like(x)
    by_x = torch.stack([fx / depth, zero, fx * x / depth**2], -1)
    by_y = torch.stack([zero, -fy / depth, -fy * y / depth**2], -1)
    return pixels, torch.stack([by_x, by_y], -2)
