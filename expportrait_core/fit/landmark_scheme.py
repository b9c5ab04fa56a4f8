"""Landmark schemes: which points an array holds, how far each is to be believed, and which of a head's they are."""

from __future__ import annotations

import torch
from torch import Tensor

from ..body.landmarks import IBUG68_FROM_MEDIAPIPE
from ..types import HeadModel

MEDIAPIPE, IBUG = "mediapipe478", "ibug68"
SIZES = {MEDIAPIPE: (478, 468), IBUG: (68,)}  # points of an array; MediaPipe's without the irises too
NUM_MESH = 468  # MediaPipe's points from here on are the irises

FACE_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176,
             149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
EYELIDS = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7,
           263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)  # fmt: skip
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
        78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)  # fmt: skip
BROWS = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 276, 283, 282, 295, 285, 300, 293, 334, 296, 336)
NOSE = (1, 2, 4, 5, 6, 168, 197, 195, 98, 97, 326, 327, 64, 294, 48, 278, 129, 358, 19, 94)
# the oval slides along the cheek as the head turns; lids and lips carry the expression. Our choice
OVAL_WEIGHT, EYELID_WEIGHT, LIP_WEIGHT = 0.3, 4.0, 1.5

OUTER_EYE_CORNERS = {MEDIAPIPE: (33, 263), IBUG: (36, 45)}
# the person's right eye first: outer and inner corner, two points of the upper lid and the two below them
EYES = {
    MEDIAPIPE: ((33, 133, 160, 158, 144, 153), (263, 362, 387, 385, 373, 380)),
    IBUG: ((36, 39, 37, 38, 41, 40), (45, 42, 44, 43, 46, 47)),
}


def trust(scheme: str) -> Tensor:
    """[L] how much each point is to be believed."""
    weights = torch.ones(SIZES[scheme][0])
    if scheme == IBUG:
        weights[:17], weights[36:48], weights[48:] = OVAL_WEIGHT, EYELID_WEIGHT, LIP_WEIGHT
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
        offers = {MEDIAPIPE: (range(NUM_MESH), range(NUM_MESH)), IBUG: (range(68), IBUG68_FROM_MEDIAPIPE),
                  "ibug51": (range(51), IBUG68_FROM_MEDIAPIPE[17:])}  # fmt: skip
    else:
        offers = {IBUG: (range(68), range(68)), "ibug51": (range(51), range(17, 68)),
                  MEDIAPIPE: (IBUG68_FROM_MEDIAPIPE, range(68))}  # fmt: skip
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
