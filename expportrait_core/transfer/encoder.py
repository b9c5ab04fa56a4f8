"""E of the paper: Q = E(ψ, ω), one code per frame from expression and jaw pose.

In the shipped mode E reads ψ and ω *through the coarse model*: it sees where some points of the average face go, in
face units. The numbers of two expression bases mean nothing to each other, but a raised brow is a raised brow on any
head, so one checkpoint serves every head model. The paper's raw (ψ, ω) is the second mode.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..body import landmark_model, pose_vertices, regions
from ..types import JAW, NUM_JOINTS, HeadModel
from .face import coarse_operators, face_coordinates, face_frame, points_on_face, vertex_normals

LEAST_SPREAD = 0.003
"""Directions in which the training data spread less than this share of the widest are not blown up to it."""
LARGEST_STANDARD = 4.0  # standard deviations; what lies further out than anything in training is held there


class Standardise(nn.Module):
    """Principal components in standard deviations, fitted once and then fixed.

    A raised brow moves millimetres, an open jaw centimetres, and a fold under an eye tenths of millimetres where noses
    differ by many: on raw inputs a small perceptron needs most of its training to find what matters.
    """

    def __init__(self, inputs: int, components: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("directions", torch.eye(inputs, components))

    @torch.no_grad()
    def fit(
        self,
        samples: Tensor,  # [N, inputs]
        centred: bool = True,
    ) -> None:
        """Take mean (or zero) and components from training data."""
        mean = samples.mean(0) if centred else torch.zeros_like(samples[0])
        _, spread, components = torch.linalg.svd(samples - mean, full_matrices=False)
        count = self.directions.shape[1]
        if len(spread) < count:
            raise ValueError(f"{count} components need as many samples and inputs, found {list(samples.shape)}.")
        deviation = spread[:count] / len(samples) ** 0.5
        self.mean.copy_(mean)
        self.directions.copy_(components[:count].T / (deviation + LEAST_SPREAD * deviation[0]))

    def forward(
        self,
        values: Tensor,  # [..., inputs]
    ) -> Tensor:  # [..., components]
        return ((values - self.mean) @ self.directions).clamp(-LARGEST_STANDARD, LARGEST_STANDARD)


def choose_points(model: HeadModel, count: int) -> Tensor:
    """Face coordinates [count, 2] of points that see what a face does: u, v of `face.face_coordinates`.

    Farthest point sampling over the front of one half of the face, denser where expressions move it more, and its
    mirror image. They are stored in the checkpoint, so other heads are read at the same places.
    """
    place = face_coordinates(model.template, face_frame(model))
    normals = vertex_normals(model.template[None], coarse_operators(model))[0]
    seen = (model.facial_weight > 0.3) & (normals[:, 2] > 0.2) & (place[:, 0] > 0.02)
    seen &= (model.parts == regions.SKIN) | (model.parts == regions.LIPS)
    spot = place[seen, :2]
    moved = model.expression_basis[seen].square().sum((1, 2)).sqrt()
    density = 0.3 + moved / moved.max()
    chosen = [int((spot - torch.tensor([0.0, -1.0]).to(spot)).norm(dim=1).argmin())]  # starts at the lips
    distance = torch.full_like(density, torch.inf)
    while len(chosen) < (count + 1) // 2:
        distance = torch.minimum(distance, (spot - spot[chosen[-1]]).norm(dim=1))
        chosen.append(int((distance * density).argmax()))
    half = spot[chosen]
    return torch.cat([half, half * torch.tensor([-1.0, 1.0]).to(half)])[:count]


def point_displacements(
    model: HeadModel,
    points: Tensor,  # [n, 2] face coordinates
    expression: Tensor,  # [F, E] ψ
    jaw_pose: Tensor,  # [F, 3] ω
) -> Tensor:
    """How far expression and jaw move the points of the model's average face [F, n, 3], in eye distances.

    The average face and a head at rest: the code is to say what the face does, not whose it is or where it looks.
    """
    scheme = "transfer"
    probe, barycentric, _ = landmark_model(model.replace(landmarks={scheme: points_on_face(model, points)}), scheme)
    frames, average = len(expression), expression.new_zeros(0)
    # the neutral comes last, in the same batch, so that ψ = 0 gives exactly no displacement
    poses = expression.new_zeros(frames + 1, NUM_JOINTS, 3)
    poses[:-1, JAW] = jaw_pose
    expression = torch.cat([expression, torch.zeros_like(expression[:1])])
    posed = pose_vertices(probe, average, expression, poses, expression.new_zeros(frames + 1, 3))
    corners = posed[:, probe.faces]  # [F + 1, n, 3, 3]
    placed = (corners * barycentric[..., None]).sum(2)
    return (placed[:-1] - placed[-1:]) / face_frame(model).eye_distance


class Encoder(nn.Module):
    """A two-layer perceptron from what E sees, standardised, to the code."""

    def __init__(self, inputs: int, components: int, width: int, code: int) -> None:
        super().__init__()
        self.standardise = Standardise(inputs, components)
        self.layers = nn.Sequential(nn.Linear(components, width), nn.ReLU(), nn.Linear(width, code))

    def forward(
        self,
        seen: Tensor,  # [F, inputs] flattened point displacements, or (ψ, ω)
    ) -> Tensor:  # [F, D]
        return self.layers(self.standardise(seen))
