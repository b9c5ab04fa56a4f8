"""Where landmarks of a posed model are seen."""

from __future__ import annotations

import torch

from expportrait_core.body import landmark_points, pose_vertices, with_level
from expportrait_core.types import HeadModel, SMPLXFit


def pixels(fit: SMPLXFit, model: HeadModel, inner: list[int]) -> torch.Tensor:
    """[F, N, 2] pixels of some of the 51 inner iBUG points."""
    model = with_level(model, 0)
    scheme, first = ("ibug51", 0) if "ibug51" in model.landmarks else ("ibug68", 17)
    vertices = pose_vertices(model, fit.betas, fit.expression, fit.poses, fit.translation)
    points = landmark_points(vertices, model.faces, model.landmarks[scheme])[:, [first + i for i in inner]]
    seen = fit.camera.project(points)
    return seen[..., :2] / seen[..., 2:]
