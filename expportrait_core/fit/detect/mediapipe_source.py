"""MediaPipe's own landmarks, where it is installed: an alternative to the networks that ship with the pack.

- `MediaPipeMesh`: the legacy API of releases up to 0.10.21, whose wheels hold the models.
- `MediaPipeTask`: the task API of every release, with a `.task` file that the user brings; it gives blendshapes too.

Both look for faces in the whole picture only and overlook those narrower than about an eighth of its long side, also
where larger ones are seen and a smaller one is asked for. The built-in networks look further (`every_face`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...body.landmark_groups import MEDIAPIPE
from .sources import MOST_OF_ALL_FACES, SeenFace

TASK_FILE = "face_landmarker.task"


class MediaPipeMesh:
    """`mediapipe.solutions.face_mesh`, every picture on its own.

    Raises:
        ImportError: MediaPipe is not installed, or a release without its legacy API.
    """

    scheme, threads = MEDIAPIPE, False

    def __init__(self, most_faces: int = MOST_OF_ALL_FACES, confidence: float = 0.5) -> None:
        mediapipe = _mediapipe()
        if not hasattr(mediapipe, "solutions"):
            raise ImportError(
                f"MediaPipe {mediapipe.__version__} has no legacy API (mediapipe.solutions). Give a {TASK_FILE} file "
                f"for its task API, or leave MediaPipe out: the built-in networks need nothing."
            )
        self._mesh = mediapipe.solutions.face_mesh.FaceMesh(
            static_image_mode=True, refine_landmarks=True, max_num_faces=most_faces,
            min_detection_confidence=confidence,
        )  # fmt: skip

    def __call__(self, images: Tensor) -> list[list[SeenFace]]:
        found = []
        for picture in as_bytes(images):
            faces = self._mesh.process(picture).multi_face_landmarks or []
            found.append([seen_face(face.landmark, picture) for face in faces])
        return found


class MediaPipeTask:
    """`mediapipe.tasks` FaceLandmarker, every picture on its own, with ARKit's blendshapes.

    Raises:
        ImportError: MediaPipe is not installed.
        ValueError: no such file, or not a face landmarker's.
    """

    scheme, threads = MEDIAPIPE, False

    def __init__(self, task_file: str | Path, most_faces: int = MOST_OF_ALL_FACES, confidence: float = 0.5) -> None:
        path = Path(task_file)
        if not path.is_file():
            raise ValueError(
                f"There is no file {path}. MediaPipe's task API reads its models from a file called {TASK_FILE}, "
                f"which MediaPipe's own pages offer; give its path."
            )
        mediapipe = _mediapipe()
        tasks = mediapipe.tasks
        options = tasks.vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_buffer=path.read_bytes()), num_faces=most_faces,
            output_face_blendshapes=True, min_face_detection_confidence=confidence,
        )  # fmt: skip
        try:
            self._landmarker = tasks.vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{path.name} is not a face landmarker of MediaPipe ({error}). Get it again.") from error
        self._picture = lambda pixels: mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)

    def __call__(self, images: Tensor) -> list[list[SeenFace]]:
        found = []
        for picture in as_bytes(images):
            result = self._landmarker.detect(self._picture(picture))
            units: list[dict[str, float]] = [
                {shape.category_name: float(shape.score) for shape in shapes} for shapes in result.face_blendshapes
            ] or [{} for _ in result.face_landmarks]
            faces = zip(result.face_landmarks, units, strict=True)
            found.append([seen_face(points, picture, of_face) for points, of_face in faces])
        return found


def seen_face(points: Any, picture: np.ndarray, units: dict[str, float] | None = None) -> SeenFace:
    """MediaPipe's normalised points, in pixels. It tells no confidence, only faces that it is sure of."""
    height, width = picture.shape[:2]
    rows = torch.tensor([[point.x * width, point.y * height, 1.0] for point in points])
    return SeenFace(rows, units or {})


def as_bytes(images: Tensor) -> np.ndarray:  # [F, H, W, 3] uint8
    pixels = images if images.dtype == torch.uint8 else (images.clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.cpu().numpy())


def _mediapipe() -> Any:
    try:
        import mediapipe
    except ImportError as error:
        raise ImportError(
            "MediaPipe is not installed. Install it (pip install mediapipe), or leave it out: the built-in networks "
            "need nothing."
        ) from error
    return mediapipe
