"""From a picture or a clip to an `SMPLXFit`: find the face, its landmarks, then identity and all frames together.

Nothing beyond this package is needed: detector and landmark networks ship with it. The camera is taken to stand still
at the origin and to look along -z of a world with y up; the body's translation puts the head in front of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..body import landmark_points, pose_vertices, with_level
from ..types import HeadModel, Progress, SMPLXFit, no_progress
from .faces import choose_face, faces_in
from .landmark_fit import fit_landmarks
from .landmark_scheme import OUTER_EYE_CORNERS, landmark_pairs
from .landmarks import detect_faces, face_landmarks

NUM_POINTS = 478
DETECTION_CHUNK = 32


def track(
    images: Tensor,  # [F, H, W, 3] 0..1
    model: HeadModel,
    fps: float = 25.0,
    focal: float | None = None,  # pixels; None estimates it from the picture's size
    face: str = "largest",  # which one where there are several, see FACES
    mask: Tensor | None = None,  # [F, H, W] or [1, H, W] 0..1: only a face whose middle it covers counts
    progress: Progress = no_progress,
) -> SMPLXFit:
    """Track one face of a picture or clip.

    Frames without a face are marked invalid and follow their neighbours.

    Raises:
        ValueError: no face in any frame, or the head model carries no landmarks.
    """
    if images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"The pictures have shape {list(images.shape)}, expected [frames, height, width, 3].")
    landmarks = detect_landmarks(images, face, mask, progress)
    return fit_landmarks(landmarks, images.shape[1:3], model, fps, focal)


def detect_landmarks(
    images: Tensor,  # [F, H, W, 3] 0..1
    face: str = "largest",
    mask: Tensor | None = None,  # [F, H, W] or [1, H, W] 0..1
    progress: Progress = no_progress,
) -> Tensor:
    """MediaPipe's points [F, 478, 3] of one face per picture: x, y in pixels and confidence 0..1.

    Iris points (468 and above) have confidence 0: the built-in networks do not give them.

    Raises:
        ValueError: an unknown choice of face, or a mask of another size.
    """
    parts = []
    masks = _masks(mask, images)
    for start in range(0, len(images), DETECTION_CHUNK):
        chunk = images[start : start + DETECTION_CHUNK].float()
        found = detect_faces(chunk)
        if masks is not None:
            found = [faces_in(faces, masks[start + i]) for i, faces in enumerate(found)]
        boxes = [choose_face(faces, face) for faces in found]
        points, confidence = face_landmarks(chunk, boxes)
        # a region without a face gets points all the same; its confidence is low
        seen = confidence * (confidence > 0.5)
        row = chunk.new_zeros(len(chunk), NUM_POINTS, 3)
        row[:, : points.shape[1], :2] = points[..., :2]
        row[:, : points.shape[1], 2] = seen[:, None]
        parts.append(row)
        progress(min(start + DETECTION_CHUNK, len(images)), len(images), chunk[-1])
    return torch.cat(parts)


def _masks(mask: Tensor | None, images: Tensor) -> Tensor | None:  # [F, H, W]
    if mask is None:
        return None
    frames, height, width = images.shape[:3]
    if mask.ndim != 3 or tuple(mask.shape[1:]) != (height, width) or len(mask) not in (1, frames):
        raise ValueError(
            f"The mask has the shape {list(mask.shape)}, expected [{frames} or 1, {height}, {width}] like the pictures."
        )
    return mask.expand(frames, -1, -1)


def landmark_error_percent(
    fit: SMPLXFit,
    model: HeadModel,
) -> Tensor:
    """Mean reprojection error per valid frame [F'], in percent of the distance between the outer eye corners.

    Measured on the mesh itself over all landmarks that the tracker gave and the head model has, irises left out.
    """
    if fit.landmarks is None or fit.landmark_scheme not in OUTER_EYE_CORNERS:
        raise ValueError("The fit carries no landmarks to measure its error against. Track the clip here.")
    coarse = with_level(model, 0)
    scheme, of_model, of_array = landmark_pairs(coarse, fit.landmark_scheme)
    embedding = coarse.landmarks[scheme]
    vertices = pose_vertices(coarse, fit.betas, fit.expression, fit.poses, fit.translation)
    projected = fit.camera.project(landmark_points(vertices, coarse.faces, embedding))[:, of_model]
    pixels = projected[..., :2] / projected[..., 2:]
    truth, seen = fit.landmarks[:, of_array, :2], fit.landmarks[:, of_array, 2] > 0
    seen = seen & (embedding.triangles[of_model] >= 0)
    distance = torch.where(seen, (pixels - truth).norm(dim=-1), 0.0).sum(1) / seen.sum(1).clamp(min=1)
    right, left = (fit.landmarks[:, corner, :2] for corner in OUTER_EYE_CORNERS[fit.landmark_scheme])
    return (100 * distance / (right - left).norm(dim=-1).clamp(min=1e-6))[fit.valid]
