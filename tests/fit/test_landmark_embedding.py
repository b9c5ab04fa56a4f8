"""The shipped landmark embeddings are what their script finds, and lie where a face has them."""

from __future__ import annotations

import numpy as np
import torch

from expportrait_core.body import landmark_points, pose_vertices, regions
from expportrait_core.body.build_default_head import LANDMARKS
from expportrait_core.fit.tracker import build_landmark_embedding
from expportrait_core.types import JAW, HeadModel


def test_rebuilding_finds_the_same_points(coarse_head: HeadModel) -> None:
    built = build_landmark_embedding.build()
    with np.load(LANDMARKS, allow_pickle=False) as shipped:
        assert set(shipped.files) == set(built)
        for scheme in ("mediapipe478", "ibug68"):
            corners = [coarse_head.template[coarse_head.faces[torch.from_numpy(f[f"landmark_faces_{scheme}"]).long()]]
                       for f in (shipped, built)]  # fmt: skip
            weights = [torch.from_numpy(f[f"landmark_barycentric_{scheme}"]) for f in (shipped, built)]
            points = [(c * w[..., None]).sum(1) for c, w in zip(corners, weights, strict=True)]
            apart = (points[0] - points[1]).norm(dim=-1)
            # another machine's arithmetic may pick another of two equally central hits, a few millimetres away
            assert apart.median() < 1e-4 and apart.max() < 8e-3


def test_every_landmark_is_on_the_skin_and_lips_are_told_apart(coarse_head: HeadModel) -> None:
    embedding = coarse_head.landmarks["mediapipe478"]
    assert (embedding.triangles >= 0).all()
    parts = coarse_head.parts[coarse_head.faces[embedding.triangles]]
    assert ((parts[:468] == regions.SKIN) | (parts[:468] == regions.LIPS)).all()
    assert (parts[468:473] == regions.RIGHT_EYEBALL).all() and (parts[473:] == regions.LEFT_EYEBALL).all()
    poses = torch.zeros(2, 55, 3)
    poses[1, JAW, 0] = 0.25
    vertices = pose_vertices(coarse_head, torch.zeros(1), torch.zeros(2, 0), poses, torch.zeros(2, 3))
    points = landmark_points(vertices, coarse_head.faces, embedding)
    upper, lower = [82, 13, 312], [87, 14, 317]  # inner lips
    moved = (points[1] - points[0]).norm(dim=-1)
    assert moved[upper].max() < 0.4 * moved[lower].min()


def test_landmarks_are_left_right_symmetric_on_the_symmetric_head(coarse_head: HeadModel) -> None:
    points = landmark_points(coarse_head.template[None], coarse_head.faces, coarse_head.landmarks["mediapipe478"])[0]
    for right, left in ((33, 263), (133, 362), (61, 291), (105, 334), (50, 280), (234, 454), (129, 358)):
        mirrored = points[left] * torch.tensor([-1.0, 1, 1])
        assert (points[right] - mirrored).norm() < 6e-3, (right, left)
