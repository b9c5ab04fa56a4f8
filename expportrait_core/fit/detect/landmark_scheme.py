"""Landmark schemes: which points an array holds, how far each is to be believed, and which of a head's they are."""

from __future__ import annotations

import torch
from torch import Tensor

from ...body.landmark_groups import (
    BROWS,
    EYELIDS,
    EYES,
    FACE_OVAL,
    FROM_MEDIAPIPE,
    IBUG,
    IBUG51,
    JAW_LINE,
    LIPS,
    MEDIAPIPE,
    NOSE,
    NUM_LANDMARKS,
    NUM_MESH,
)
from ...types import HeadModel

SIZES = {MEDIAPIPE: (NUM_LANDMARKS, NUM_MESH), IBUG: (68,)}  # points of an array; MediaPipe's without the irises too
# the oval slides along the cheek as the head turns; lids and lips carry the expression. Our choice
OVAL_WEIGHT, EYELID_WEIGHT, LIP_WEIGHT = 0.3, 4.0, 1.5


def trust(scheme: str) -> Tensor:
    """[L] how much each point is to be believed."""
    weights = torch.ones(SIZES[scheme][0])
    if scheme == IBUG:
        weights[:JAW_LINE], weights[36:48], weights[48:] = OVAL_WEIGHT, EYELID_WEIGHT, LIP_WEIGHT
        return weights
    for group, weight in ((FACE_OVAL, OVAL_WEIGHT), (EYELIDS, EYELID_WEIGHT), (LIPS, LIP_WEIGHT)):
        weights[list(group)] = weight
    return weights


def sufficient(scheme: str) -> set[int]:
    """The points that a fit needs: all features, and every third of MediaPipe's points on the plain skin between them,
    which move with their neighbours. Twice as fast as all, and as good."""
    if scheme == IBUG:
        return set(range(SIZES[IBUG][0]))
    features = {*FACE_OVAL, *EYELIDS, *LIPS, *BROWS, *NOSE}
    return features | set(range(0, NUM_MESH, 3))


def check_landmarks(landmarks: Tensor, scheme: str) -> Tensor:
    """The landmarks as float32 [F, L, 3], MediaPipe's with iris points of confidence 0 where there are none.

    Raises:
        ValueError: an unknown scheme, another shape, or a point that counts and is not finite.
    """
    if scheme not in SIZES:
        raise ValueError(f"The landmarks are of the scheme '{scheme}', expected one of {', '.join(SIZES)}.")
    if landmarks.ndim != 3 or landmarks.shape[2] != 3 or landmarks.shape[1] not in SIZES[scheme]:
        points = " or ".join(map(str, SIZES[scheme]))
        raise ValueError(
            f"The landmarks have the shape {list(landmarks.shape)}, expected [frames, {points}, 3] of {scheme}: x, y "
            f"in pixels and a confidence of 0 to 1."
        )
    if not len(landmarks):
        raise ValueError("There are landmarks of no frame. Give those of a picture or a clip.")
    landmarks = landmarks.float()
    confidence = landmarks[..., 2]
    if not torch.isfinite(confidence).all() or not torch.isfinite(landmarks[confidence > 0]).all():
        raise ValueError(
            "The landmarks hold NaN or infinite values. Set the confidence of points that were not seen to 0."
        )
    if confidence.min() < 0 or confidence.max() > 1:
        raise ValueError(
            f"The landmarks' confidence, their third column, runs from {float(confidence.min()):g} to "
            f"{float(confidence.max()):g}, expected 0 to 1. It is not the depth."
        )
    landmarks = torch.where(confidence[..., None] > 0, landmarks, 0.0)
    missing = SIZES[scheme][0] - landmarks.shape[1]
    return torch.nn.functional.pad(landmarks, (0, 0, 0, missing)) if missing else landmarks


def landmark_pairs(model: HeadModel, scheme: str) -> tuple[str, list[int], list[int]]:
    """The richest scheme of the head that the array's points are part of: its name, the head's points, the array's.

    Iris points are left out: they follow the gaze.

    Raises:
        ValueError: the head model carries no landmarks that fit.
    """
    if scheme == MEDIAPIPE:
        offers = {MEDIAPIPE: (range(NUM_MESH), range(NUM_MESH)), IBUG: (range(68), FROM_MEDIAPIPE[IBUG]),
                  IBUG51: (range(51), FROM_MEDIAPIPE[IBUG51])}  # fmt: skip
    else:
        offers = {IBUG: (range(68), range(68)), IBUG51: (range(51), range(JAW_LINE, 68)),
                  MEDIAPIPE: (FROM_MEDIAPIPE[IBUG], range(68))}  # fmt: skip
    for name, (of_model, of_array) in offers.items():
        if name in model.landmarks:
            return name, list(of_model), list(of_array)
    raise ValueError(
        f"The head model '{model.model_id}' carries no landmarks, so it cannot be tracked. Use the SMPL-X .npz file "
        f"as its authors ship it (it has lmk_faces_idx and lmk_bary_coords), or the default head."
    )


def eye_openness(
    points: Tensor,  # [F, L, 2] pixels
    scheme: str = MEDIAPIPE,
) -> Tensor:
    """[F, 2] height over width of the person's right and left eye: about 0.3 open, under 0.1 closed."""
    eyes = []
    for outer, inner, *lids in EYES[scheme]:
        width = (points[:, outer] - points[:, inner]).norm(dim=-1).clamp(min=1e-6)
        height = (points[:, lids[:2]] - points[:, lids[2:]]).norm(dim=-1).mean(1)
        eyes.append(height / width)
    return torch.stack(eyes, 1)
