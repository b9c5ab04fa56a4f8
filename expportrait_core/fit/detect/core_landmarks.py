"""What ComfyUI's own face landmark nodes give (socket FACE_LANDMARKS), as a source of landmarks.

The value is a dictionary: "image_size" (height, width) and "frames", one list of faces per frame; a face has
"landmarks_xy" [478, 2] in pixels, "blendshapes" (ARKit's names to 0..1) and "presence", the logit of being a face. Read
off `comfy_extras/nodes_mediapipe.py` of ComfyUI at a2b261d8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...body.landmark_groups import MEDIAPIPE, NUM_LANDMARKS, NUM_MESH
from .sources import SeenFace


class CoreLandmarks:
    """The faces that another node has found already, frame after frame.

    Raises:
        ValueError: the value is not what ComfyUI's nodes give, or of other pictures.
    """

    scheme, threads = MEDIAPIPE, False

    def __init__(self, value: Any) -> None:
        frames = value.get("frames") if isinstance(value, Mapping) else None
        if not isinstance(frames, list) or not all(isinstance(faces, list) for faces in frames):
            raise ValueError(
                f"The landmarks are {_described(value)}, expected what MediaPipe Face Landmarker gives: a list of "
                f"faces for every frame. Connect its face_landmarks output."
            )
        self._size = tuple(int(s) for s in value.get("image_size", ()))
        self._faces = [[_face(face, i) for face in faces] for i, faces in enumerate(frames)]
        self._next = 0

    def __call__(self, images: Tensor) -> list[list[SeenFace]]:
        size = tuple(images.shape[1:3])
        if self._size and self._size != size:
            raise ValueError(
                f"The landmarks are of pictures of {self._size[1]}x{self._size[0]} pixels, these are of "
                f"{size[1]}x{size[0]}. Find the landmarks in the pictures that are tracked."
            )
        start, self._next = self._next, self._next + len(images)
        if self._next > len(self._faces):
            raise ValueError(
                f"There are landmarks of {len(self._faces)} frames and at least {self._next} pictures. Find the "
                f"landmarks in the pictures that are tracked."
            )
        return self._faces[start : self._next]


def _face(face: Any, frame: int) -> SeenFace:
    points = np.asarray(face.get("landmarks_xy", ()) if isinstance(face, Mapping) else (), dtype=np.float32)
    if points.shape not in ((NUM_LANDMARKS, 2), (NUM_MESH, 2)) or not np.isfinite(points).all():
        raise ValueError(
            f"A face of frame {frame} has landmarks of the shape {list(points.shape)}, expected 478 finite points "
            f"(x, y). Connect the face_landmarks output of MediaPipe Face Landmarker."
        )
    sure = torch.tensor(float(face.get("presence", 10.0))).sigmoid()
    units = {str(name): min(max(float(v), 0.0), 1.0) for name, v in dict(face.get("blendshapes") or {}).items()}
    rows = torch.cat([torch.from_numpy(points), sure.expand(len(points), 1)], 1)
    return SeenFace(rows, units)


def _described(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a dictionary of {', '.join(map(str, list(value)[:6])) or 'nothing'}"
    return f"a {type(value).__name__}"
