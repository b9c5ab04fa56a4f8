"""Where the eyes look: from the iris landmarks to the rotations of the eye joints.

An iris moves 12 mm per radian, so a millimetre in the place of the socket is five degrees of gaze. What the fit leaves
over at the corners of an eye is therefore taken off its iris first. Eyes look together, rest on what they see and jump
in between: frames hold each other where they are near each other, and let go where the eyes jump. Behind a closed lid
they are where they were before and after.

What the landmark network does not see is not made up: of a rendered head's irises it shows two thirds of the way that
they go sideways, and a quarter of the way up and down, where the lids hide most of it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...body import axis_angle_to_matrix, landmark_model, landmark_points, pose_vertices
from ...body.landmark_groups import EYES, MEDIAPIPE, NUM_MESH
from ...body.posing import joint_transforms
from ...types import LEFT_EYE, RIGHT_EYE, HeadModel, SMPLXFit
from ..detect.landmark_scheme import eye_openness
from .solver import solve_banded

EYE_JOINTS = (RIGHT_EYE, LEFT_EYE)  # in the order of MediaPipe's irises
IRIS_DEPTH = 0.0115  # metres from the eyeball's centre to the iris, where the head model has no iris landmarks
# standard deviations, our choices: iris landmarks in metres; gaze from straight ahead, between the eyes, between frames
IRIS, GAZE, APART, JUMP = 0.0005, 0.35, 0.06, 0.03  # the last three in radians
STEPS = 6
FURTHEST = (0.5, 0.7)  # radians up or down, sideways
CLOSED, OPEN = 0.08, 0.2  # openness of an eye between which its iris comes to count
CALM = 4.0  # frames that the socket's place is averaged over (standard deviation)


def eye_poses(fit: SMPLXFit, model: HeadModel) -> Tensor:  # [F, 55, 3]
    """The fit's poses with both eyes turned to where their irises are seen; unchanged where no irises were seen."""
    seen = fit.landmarks
    if seen is None or fit.landmark_scheme != MEDIAPIPE or not (seen[:, NUM_MESH:, 2] > 0).any():
        return fit.poses
    centre, turn, offset = _eyeballs(fit, model)  # [F, 2, 3] camera, [F, 2, 3, 3] camera by head, [2, 3] head
    irises = seen[:, NUM_MESH:].unflatten(1, (2, 5)).mean(2)  # [F, 2, 3]
    sockets = _socket_shift(fit, model)
    openness = eye_openness(seen[..., :2])
    weight = irises[..., 2] * ((openness - CLOSED) / (OPEN - CLOSED)).clamp(0, 1)
    target = irises[..., :2] - sockets
    focal = fit.camera.intrinsics[:, 0, 0]
    scale = focal[:, None] / centre[..., 2] * IRIS  # [F, 2] pixels
    angles = target.new_zeros(len(target), 2, 2)  # up and down, sideways
    for _ in range(STEPS):
        points, by_angles = _irises(centre, turn, offset, angles)
        pixels, by_point = _project(points, fit.camera.intrinsics)
        jacobian = by_point @ by_angles / scale[..., None, None]  # [F, 2, 2, 2] pixel by angle
        residual = (pixels - target) / scale[..., None]
        weighted = jacobian.transpose(-1, -2) * weight[..., None, None]
        hessian = torch.zeros(len(target), 2, 2, 2, 2)
        for eye in range(2):
            hessian[:, eye, :, eye] = (weighted @ jacobian)[:, eye]
        gradient = (weighted @ residual[..., None])[..., 0] + angles / GAZE**2
        gradient = gradient + (angles - angles.flip(1)) / APART**2
        prior = torch.kron(torch.tensor([[1.0, -1], [-1, 1]]) / APART**2, torch.eye(2)) + torch.eye(4) / GAZE**2
        hessian, gradient = hessian.flatten(3).flatten(1, 2) + prior, gradient.flatten(1)
        step = _solve(hessian, gradient, angles.flatten(1), _ties(angles.flatten(1)))
        angles = (angles.flatten(1) - step).unflatten(1, (2, 2))
        angles = torch.minimum(torch.maximum(angles, -angles.new_tensor(FURTHEST)), angles.new_tensor(FURTHEST))
    poses = fit.poses.clone()
    poses[:, list(EYE_JOINTS)] = F.pad(angles, (0, 1))
    return poses


def _ties(angles: Tensor) -> Tensor:
    """How much neighbouring frames hold each other [F - 1, 1] (Geman and McClure): a jump is no noise."""
    step = (angles[1:] - angles[:-1]).norm(dim=1, keepdim=True) / 2  # of both eyes: of one eye's angle, or so
    return 0.5 / JUMP**2 / (1 + (step / JUMP) ** 2) ** 2


def _solve(hessian: Tensor, gradient: Tensor, values: Tensor, ties: Tensor) -> Tensor:
    if len(values) == 1:
        return torch.linalg.solve(hessian, gradient)
    step = (values[1:] - values[:-1]) * ties
    gradient = gradient + F.pad(step, (0, 0, 1, 0)) - F.pad(step, (0, 0, 0, 1))
    both = F.pad(ties, (0, 0, 1, 0)) + F.pad(ties, (0, 0, 0, 1))  # [F, 1] to the frame before and the one after
    hessian = hessian + torch.diag_embed(both.expand_as(values))
    return solve_banded(hessian, gradient, ties, torch.zeros_like(gradient, dtype=torch.bool))


def _eyeballs(fit: SMPLXFit, model: HeadModel) -> tuple[Tensor, Tensor, Tensor]:
    """Per eye: centre [F, 2, 3] and axes [F, 2, 3, 3] in the camera, and the iris from the centre [2, 3]."""
    betas = fit.betas
    joints = model.joint_template + model.joint_shape_basis[..., : len(betas)] @ betas
    transforms = joint_transforms(
        axis_angle_to_matrix(fit.poses), joints.expand(fit.num_frames, -1, -1), model.parents, list(EYE_JOINTS)
    )  # [F, 2, 4, 3], rows: axes, then translation
    axes = transforms[..., :3, :].transpose(-1, -2)
    of_eyes = joints[list(EYE_JOINTS)]
    centre = (axes @ of_eyes[..., None])[..., 0] + transforms[..., 3, :] + fit.translation[:, None]
    rotation, translation = fit.camera.world_to_camera[:, :3, :3], fit.camera.world_to_camera[:, :3, 3]
    centre = centre @ rotation.transpose(1, 2) + translation[:, None]
    offset = torch.tensor([[0.0, 0.0, IRIS_DEPTH]]).repeat(2, 1)
    if MEDIAPIPE in model.landmarks:
        template = model.template + model.shape_basis[..., : len(betas)] @ betas
        irises = landmark_points(template[None], model.faces, model.landmarks[MEDIAPIPE])[0, NUM_MESH:]
        found = irises.unflatten(0, (2, 5)).mean(1) - of_eyes
        offset = torch.where(torch.isfinite(found), found, offset)
    return centre, rotation[:, None] @ axes, offset


def _irises(centre: Tensor, turn: Tensor, offset: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
    """Irises in the camera [F, 2, 3], and by the two angles of their eye [F, 2, 3, 2]."""
    turned = (axis_angle_to_matrix(F.pad(angles, (0, 1))) @ offset[..., None])[..., 0]
    axes = torch.eye(3)[:2]
    by_angles = torch.stack([torch.linalg.cross(axis.expand_as(turned), turned) for axis in axes], -1)
    return centre + (turn @ turned[..., None])[..., 0], turn @ by_angles


def _project(points: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels [F, 2, 2] of points [F, 2, 3] in the camera, and their derivative [F, 2, 2, 3]."""
    x, y, z = points.unbind(-1)
    focal = intrinsics[:, None, 0, 0]
    pixels = torch.stack([focal * x / z, focal * y / z], -1) + intrinsics[:, None, :2, 2]
    zero = torch.zeros_like(x)
    by_x = torch.stack([focal / z, zero, -focal * x / z**2], -1)
    by_y = torch.stack([zero, focal / z, -focal * y / z**2], -1)
    return pixels, torch.stack([by_x, by_y], -2)


def _socket_shift(fit: SMPLXFit, model: HeadModel) -> Tensor:
    """[F, 2, 2] pixels by which the corners of each eye are seen beside where the fit has them, calmed over time."""
    shift = fit.landmarks.new_zeros(fit.num_frames, 2, 2)
    if MEDIAPIPE not in model.landmarks:
        return shift
    embedding, corners = model.landmarks[MEDIAPIPE], [corner for eye in EYES[MEDIAPIPE] for corner in eye[:2]]
    four = embedding.replace(triangles=embedding.triangles[corners], barycentric=embedding.barycentric[corners])
    if (four.triangles < 0).any():
        return shift
    small, barycentric, _ = landmark_model(model.replace(landmarks={MEDIAPIPE: four}), MEDIAPIPE)
    vertices = pose_vertices(small, fit.betas, fit.expression, fit.poses, fit.translation)
    drawn = fit.camera.project((vertices[:, small.faces] * barycentric[..., None]).sum(2))
    off = fit.landmarks[:, corners, :2] - drawn[..., :2] / drawn[..., 2:]
    reach = min(round(3 * CALM), fit.num_frames - 1)
    offsets = torch.arange(-reach, reach + 1)
    kernel = torch.exp(-0.5 * (offsets / CALM) ** 2)[None, None]
    weight = fit.valid.to(off)
    rows = torch.cat([off.unflatten(1, (2, 2)).mean(2).flatten(1) * weight[:, None], weight[:, None]], 1)
    *sums, total = F.conv1d(rows.T[:, None], kernel, padding=reach)[:, 0]
    return (torch.stack(sums, 1) / total.clamp(min=1e-6)[:, None]).unflatten(1, (2, 2))
