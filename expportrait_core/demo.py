"""`expportrait demo`: the whole walk on the photo and the performance that ship with the package."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .assets import PERFORMANCE, PHOTO
from .body import load_head_model
from .contact_sheet import contact_sheet, overlay
from .fit import landmark_error_percent, load_fit
from .generator import evaluate_demo, generate
from .media import read_picture, write_clip, write_picture
from .portable import atomic_path
from .steps import Steps
from .types import HEAD, JAW, NECK, SMPLXFit
from .walk import Animation, animate

__all__ = ["run_demo"]

log = logging.getLogger(__name__)

LEVEL = 2  # wrinkles are shown
SIZE = 512  # pixels
MOMENTS = 6  # columns of the contact sheet


def run_demo(folder: Path, steps: Steps | None = None, size: int = SIZE, frames: int | None = None) -> dict:
    """Photo and performance to `folder`: videos, the head, a contact sheet, and the report that is returned.

    Args:
        size: side of the pictures in pixels.
        frames: how many of the performance's frames; all by default.
    """
    steps, start = steps or Steps(), time.perf_counter()
    with steps("load"):
        model = load_head_model(level=LEVEL)
        driver = load_fit(PERFORMANCE, model).frames(slice(frames))
        photo = read_picture(PHOTO)
    made = animate(photo, driver, model, size, steps)
    portrait = made.portrait
    with steps("generate") as progress:
        from_photo = generate(portrait.picture, made.maps, progress=progress)
        from_preview = generate(made.preview, made.maps, progress=progress)
    error = float(landmark_error_percent(portrait.head.fit, model).mean())
    with steps("write"):
        portrait.head.save(folder / "head.safetensors")
        write_clip(folder / "normals.mp4", made.maps.normals, made.maps.fps)
        write_clip(folder / "preview.mp4", made.preview, made.maps.fps)
        write_clip(folder / "portrait.mp4", enlarged(from_preview, size), made.maps.fps)
        write_picture(folder / "contact_sheet.png", _sheet(made, driver, from_photo, from_preview))
    with steps("evaluate") as progress:
        try:
            figures = _rounded(evaluate_demo(progress=progress), 2)
        except ImportError as missing:  # scikit-image: all else is done and written
            log.warning("%s", missing)
            figures = {"evaluation": f"left out: {missing}"}
    report = {
        "frames": driver.num_frames,
        "seconds": {**_rounded(steps.seconds, 1), "total": round(time.perf_counter() - start, 1)},
        "landmark_error_percent": round(error, 2),
        **figures,
    }
    with atomic_path(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    return report


def telling_moments(driver: SMPLXFit, count: int) -> list[int]:
    """At most `count` frames that differ most from each other and from rest, in their order."""
    turned = driver.poses[:, [NECK, HEAD, JAW]].flatten(1)
    features = torch.cat([driver.expression, 3 * turned], dim=1)  # a third of a radian counts as a whole expression
    chosen = [int(features.norm(dim=1).argmin())]
    while len(chosen) < min(count, len(features)):
        chosen.append(int(torch.cdist(features, features[chosen]).amin(dim=1).argmax()))
    return sorted(set(chosen))


def enlarged(
    frames: Tensor,  # [F, h, w, 3]
    size: int,
) -> Tensor:
    """[F, size, size, 3]: the demo generator's small frames, to be looked at beside the others."""
    bigger = F.interpolate(frames.movedim(-1, 1), size=(size, size), mode="bicubic", align_corners=False)
    return bigger.clamp(0, 1).movedim(1, -1)


def face_of(picture: Tensor) -> Tensor:
    """Half [H/2, W/2, 3] of a crop [H, W, 3], a little below its middle, where `crop_portrait` puts the face."""
    height, width = picture.shape[:2]
    return picture[round(0.32 * height) : round(0.82 * height), width // 4 : width - width // 4]


def _sheet(made: Animation, driver: SMPLXFit, from_photo: Tensor, from_preview: Tensor) -> Tensor:
    moments = telling_moments(driver, MOMENTS)
    picture, reference = made.portrait.picture, made.maps.reference_normals[0]
    covered = (reference != 0).any(-1).float()
    strongest = max(moments, key=lambda frame: float(made.motion.offsets(frame, frame + 1).abs().sum()))
    triangles = f"{len(made.motion.head.model.fine_faces):,} triangles"
    small = f"{from_photo.shape[2]} × {from_photo.shape[1]} pixels"
    return contact_sheet(
        "ExpPortrait",
        f"One photo and one performance of {driver.num_frames} frames: every step of the walk",
        {
            "the photo": picture,
            "the fitted head over it": overlay(picture, reference, covered),
            "reference normals": reference,
            f"wrinkles at {strongest / driver.fps:.2f} s, enlarged": face_of(made.maps.normals[strongest]),
        },
        [f"{frame / driver.fps:.2f} s" for frame in moments],
        {
            f"driving normals of the head, {triangles}": made.maps.normals[moments],
            "photo preview: the photo itself, moved by the head": made.preview[moments],
            f"demo generator, from the photo and the normals, {small}": from_photo[moments],
            f"demo generator, from the preview and the normals, {small}": from_preview[moments],
        },
    )


def _rounded(values: dict[str, float], digits: int) -> dict[str, float]:
    return {name: round(value, digits) for name, value in values.items()}
