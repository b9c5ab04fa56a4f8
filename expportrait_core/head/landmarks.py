"""Landmarks on the personalised surface, posed without posing the rest of the head.

A landmark lies on a coarse triangle. With offsets the fine triangle under it matters, so it is looked up there; only
the corners of those triangles are posed, about a twentieth of the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..body.landmark_groups import (
    FROM_MEDIAPIPE,
    IBUG,
    IBUG51,
    JAW_LINE,
    MEDIAPIPE,
    NUM_MESH,
    OUTER_EYE_CORNERS,
    SCHEMES,
)
from ..body.posing import pose_vertices
from ..body.upsampling import build_upsampling
from ..fit.detect.landmark_scheme import trust
from ..printable import printable
from ..types import HeadModel, SMPLXFit


@dataclass(frozen=True)
class FittedLandmarks:
    """What the pictures say, and the patch of surface that must agree with it."""

    target: Tensor  # [F, L, 2] pixels
    confidence: Tensor  # [F, L] 0 where a landmark is not to be used
    patch: HeadModel  # level 0, only the vertices under the landmarks
    vertices: Tensor  # [n] numbers of those vertices on the fine mesh
    barycentric: Tensor  # [L, 3] on the patch's triangle of the same number
    eye_corners: tuple[int, int]  # row numbers of the outer eye corners

    def points(
        self,
        betas: Tensor,  # [B]
        expression: Tensor,  # [F, E]
        poses: Tensor,  # [F, 55, 3]
        translation: Tensor,  # [F, 3]
        offsets: Tensor | None,  # [F, n, 3] canonical, of `vertices`
    ) -> Tensor:  # [F, L, 3]
        """World positions of the landmarks, metres."""
        posed = pose_vertices(self.patch, betas, expression, poses, translation, offsets)
        return (posed[:, self.patch.faces] * self.barycentric[..., None]).sum(2)

    def eye_distance(
        self,
        points: Tensor,  # [F, L, 3] world
        pixels: Tensor,  # [F, L, 3] the same points as homogeneous pixel corners
        focal: Tensor,  # [F] pixels
    ) -> Tensor:  # [F]
        """Distance of the outer eye corners in pixels, as seen from the front: a turned head is no smaller face."""
        a, b = self.eye_corners
        return focal * (points[:, a] - points[:, b]).norm(dim=-1) / pixels[:, [a, b], 2].mean(1)


def fitted_landmarks(model: HeadModel, fit: SMPLXFit) -> FittedLandmarks | None:
    """The fit's landmarks on this model; None if the fit has none, or none with any confidence.

    Raises:
        ValueError: an unknown scheme, one that the model does not carry, more landmarks than the scheme has, NaN, or
            eye corners that are not on the mesh.
    """
    if fit.landmarks is None:
        return None
    scheme, landmarks = _matching_scheme(model, fit)
    embedding = model.landmarks[scheme]
    if landmarks.shape[1] > len(embedding.triangles):
        raise ValueError(
            f"The fit has {landmarks.shape[1]} landmarks, the scheme '{scheme}' of the head model '{model.model_id}' "
            f"has {len(embedding.triangles)}. Track the picture again with this head model."
        )
    confidence = torch.where(fit.valid[:, None], landmarks[..., 2].clamp(0, 1), 0.0)
    confidence = confidence * _trust(scheme)[: landmarks.shape[1]].to(landmarks)
    if not torch.isfinite(confidence).all() or not torch.isfinite(landmarks[confidence > 0]).all():
        raise ValueError("The fit's landmarks hold NaN or infinite values. Give those a confidence of 0.")
    if not (confidence > 0).any():
        return None

    used = (embedding.triangles[: landmarks.shape[1]] >= 0).nonzero()[:, 0]
    corners = [(used == number).nonzero().flatten().tolist() for number in OUTER_EYE_CORNERS[scheme]]
    if not all(corners):
        raise ValueError(
            f"The outer eye corners of the scheme '{scheme}' are not on the head model '{model.model_id}', and errors "
            f"are measured in their distance. Use a scheme whose eye corners lie on the mesh."
        )
    triangles, barycentric = on_fine_mesh(model, embedding.triangles[used], embedding.barycentric[used])
    vertices, faces = torch.unique(model.fine_faces[triangles], return_inverse=True)
    return FittedLandmarks(
        target=torch.where(confidence[..., None] > 0, landmarks[..., :2], 0.0)[:, used],
        confidence=confidence[:, used],
        patch=surface_patch(model, vertices, faces),
        vertices=vertices,
        barycentric=barycentric,
        eye_corners=(corners[0][0], corners[1][0]),
    )


def _matching_scheme(model: HeadModel, fit: SMPLXFit) -> tuple[str, Tensor]:
    """The scheme to use and the landmarks in it. SMPL-X files carry only the inner 51 of iBUG's 68, while the tracker
    writes MediaPipe's points whatever the model."""
    scheme, landmarks = fit.landmark_scheme, fit.landmarks
    known = [name for name in SCHEMES if name in model.landmarks]
    if scheme == MEDIAPIPE and scheme not in known and known and landmarks.shape[1] >= NUM_MESH:
        return known[0], landmarks[:, list(FROM_MEDIAPIPE[known[0]])]
    if scheme == IBUG and scheme not in known and IBUG51 in known:
        return IBUG51, landmarks[:, JAW_LINE:]
    if scheme not in known:
        raise ValueError(
            f"The fit's landmarks are in the scheme '{printable(scheme)}', the head model '{model.model_id}' "
            f"has {', '.join(known) or 'none'}. Track the picture with one of those, or remove the fit's landmarks."
        )
    return scheme, landmarks


def _trust(scheme: str) -> Tensor:
    """How much each landmark is to be believed, as the tracker has it."""
    weights = trust(MEDIAPIPE)
    weights[NUM_MESH:] = 0.0  # the irises follow the gaze, which is the tracker's to find
    return weights[list(FROM_MEDIAPIPE[scheme])]


def on_fine_mesh(
    model: HeadModel,
    triangles: Tensor,  # [L] coarse
    barycentric: Tensor,  # [L, 3]
) -> tuple[Tensor, Tensor]:
    """The same points on fine triangles: their numbers [L] and barycentric coordinates [L, 3]."""
    count = len(model.faces)
    for _ in range(model.upsampling.level):
        # the children of a triangle lie at its three corners and in its middle, in the order of build_upsampling
        largest, child = barycentric.max(dim=1)
        child = torch.where(largest >= 0.5, child, 3)
        at_corner = 2 * barycentric - torch.nn.functional.one_hot(child, 4)[:, :3]
        in_middle = 1 - 2 * barycentric[:, [2, 0, 1]]  # opposite corners: ab lies opposite c, bc opposite a
        barycentric = torch.where((child == 3)[:, None], in_middle, at_corner)
        triangles = triangles + child * count
        count *= 4
    return triangles, barycentric


def surface_patch(
    model: HeadModel,
    vertices: Tensor,  # [n] fine vertex numbers
    faces: Tensor,  # [T', 3] triangles of them, renumbered
) -> HeadModel:
    """Some fine vertices as a head model of its own at level 0: it poses exactly as they do in the whole."""
    corners = model.faces[model.upsampling.triangles[vertices]]  # [n, 3]
    weights = model.upsampling.barycentric[vertices]

    def at_vertices(values: Tensor) -> Tensor:  # [V, ...] → [n, ...]
        return torch.einsum("nc,nc...->n...", weights.to(values), values[corners])

    pose_basis = model.pose_basis
    if len(pose_basis):
        per_vertex = pose_basis.unflatten(1, (-1, 3)).transpose(0, 1)  # [V, P, 3]
        pose_basis = at_vertices(per_vertex).transpose(0, 1).flatten(1)
    else:
        pose_basis = pose_basis.new_zeros(0, 3 * len(vertices))
    return model.replace(
        template=at_vertices(model.template),
        shape_basis=at_vertices(model.shape_basis),
        expression_basis=at_vertices(model.expression_basis),
        pose_basis=pose_basis.contiguous(),
        skin_weights=at_vertices(model.skin_weights),
        faces=faces,
        parts=model.parts[corners[:, 0]],
        facial_weight=at_vertices(model.facial_weight),
        upsampling=build_upsampling(faces.cpu(), len(vertices), 0).to(faces.device),
        landmarks={},
        source_vertices=model.source_vertices[corners[:, 0]],
    )
