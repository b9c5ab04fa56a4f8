"""Landmarks on the head: from posed vertices, and a small model that poses only the vertices that landmarks need."""

from __future__ import annotations

import torch
from torch import Tensor

from ..types import HeadModel, LandmarkEmbedding
from .upsampling import build_upsampling


def landmark_points(
    vertices: Tensor,  # [F, V, 3]
    faces: Tensor,  # [T, 3]
    embedding: LandmarkEmbedding,
) -> Tensor:
    """Positions of the landmarks [F, L, 3]; those that are not on the mesh (-1) are NaN."""
    corners = faces[embedding.triangles.clamp(min=0)]  # [L, 3]
    points = (vertices[:, corners] * embedding.barycentric[..., None]).sum(2)
    return torch.where((embedding.triangles >= 0)[:, None], points, torch.nan)


def landmark_model(model: HeadModel, scheme: str) -> tuple[HeadModel, Tensor, Tensor]:
    """A model of only the vertices under the landmarks, about a tenth of the head, for fitting.

    Returns:
        the model at level 0, whose triangle l carries landmark l; the barycentric coordinates [L', 3]; and the
        numbers [L'] of the landmarks in the scheme.

    Raises:
        ValueError: the head model has no landmarks of that scheme.
    """
    if scheme not in model.landmarks:
        known = ", ".join(model.landmarks) or "none"
        raise ValueError(f"The head model '{model.model_id}' has no '{scheme}' landmarks; it has: {known}.")
    embedding = model.landmarks[scheme]
    number = (embedding.triangles >= 0).nonzero()[:, 0]
    corners = model.faces[embedding.triangles[number]]  # [L', 3]
    kept, renumbered = torch.unique(corners, return_inverse=True)
    rows = (kept[:, None] * 3 + torch.arange(3, device=kept.device)).flatten()
    small = model.replace(
        template=model.template[kept],
        shape_basis=model.shape_basis[kept].contiguous(),
        expression_basis=model.expression_basis[kept].contiguous(),
        pose_basis=model.pose_basis[:, rows].contiguous(),
        skin_weights=model.skin_weights[kept],
        faces=renumbered,
        parts=model.parts[kept],
        facial_weight=model.facial_weight[kept],
        upsampling=build_upsampling(renumbered.cpu(), len(kept), 0).to(kept.device),
        landmarks={},
        source_vertices=model.source_vertices[kept],
    )
    return small, embedding.barycentric[number], number
