"""Pictures and words that tell how a step went: a fit over its pictures, and what a personalisation reached."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .body import pose_head, pose_vertices
from .contact_sheet import contact_sheet, overlay
from .render import MeshTopology, encode_normals, render_mesh
from .types import Camera, HeadModel, PersonalizedHead, Progress, SMPLXFit, no_progress

__all__ = ["fit_overlay", "head_report", "head_summary"]

LONG_SIDE = 768  # pixels; overlays are for looking at
SAME_SHAPE = 0.01  # by which aspect ratios may differ: clips are cut to sides that codecs like. Our choice
REPORT_FRAMES = 5  # of a clip, spread over it


@torch.no_grad()
def fit_overlay(
    images: Tensor,  # [F, H, W, 3] in 0..1
    fit: SMPLXFit,  # of these pictures
    model: HeadModel,
    progress: Progress = no_progress,
) -> Tensor:
    """The fitted head over every picture [F, h, w, 3], at most 768 pixels long; untouched where no face was found.

    Raises:
        ValueError: other pictures than the fit's: not as many, or of another shape. Of another size they may be.
    """
    if len(images) != fit.num_frames:
        raise ValueError(
            f"There are {len(images)} pictures and a fit of {fit.num_frames} frames. Give the pictures that were "
            f"tracked."
        )
    height, width = images.shape[1:3]
    fit_height, fit_width = fit.image_size
    if abs(height * fit_width / (width * fit_height) - 1) > SAME_SHAPE and not _rounded(fit.image_size, height, width):
        raise ValueError(
            f"The pictures are {width}×{height} and those of the fit {fit_width}×{fit_height} (width×height), which "
            f"have different shapes. Give the pictures that were tracked, or the same ones scaled evenly."
        )
    camera = fit.camera.resized(height, width).scaled_to(min(LONG_SIDE, max(height, width)))
    size, topology = camera.image_size, MeshTopology.of(model.fine_faces, model.num_vertices)
    drawn = images.new_empty(fit.num_frames, *size, 3)
    for i in range(fit.num_frames):
        drawn[i] = _resized(images[i], size)
        if fit.valid[i]:
            part = fit.frames([i])
            vertices = pose_vertices(model, fit.betas, part.expression, part.poses, part.translation)
            drawn[i] = _over(drawn[i], vertices, model, camera[[i]], topology)[0]
        progress(i + 1, fit.num_frames, drawn[i])
    return drawn


@torch.no_grad()
def head_report(
    images: Tensor,  # [F, H, W, 3] in 0..1
    fit: SMPLXFit,  # before
    head: PersonalizedHead,  # after
) -> Tensor:
    """A sheet [H, W, 3]: the tracker's fit and the personalised head over some of the pictures, and its normals."""
    model, valid = head.model, fit.valid.nonzero()[:, 0].cpu()
    chosen = valid[torch.linspace(0, len(valid) - 1, min(len(valid), REPORT_FRAMES)).round().long()].tolist()
    topology = MeshTopology.of(model.fine_faces, model.num_vertices)
    size = fit.image_size
    before, after, normals = [], [], []
    for i in chosen:
        part, picture = fit.frames([i]), _resized(images[i], size).to(head.betas.device)
        vertices = pose_vertices(model, fit.betas, part.expression, part.poses, part.translation)
        before.append(_over(picture, vertices, model, part.camera, topology)[0])
        drawn, alone = _over(picture, pose_head(head, i), model, head.fit.camera[[i]], topology)
        after.append(drawn)
        normals.append(alone)
    error = head.report.get("landmark_error")
    words = f"landmarks off by {error['before']:.1f} % before, {error['after']:.1f} % after" if error else ""
    return contact_sheet(
        "Personalised head",
        ", ".join(filter(None, [f"{head.fit.num_frames} frame{'s' * (head.fit.num_frames > 1)}", words])),
        {"the picture": images[chosen[0]]},
        [f"frame {i}" for i in chosen],
        {
            "the fit before, over the picture": torch.stack(before),
            "the personalised head over it": torch.stack(after),
            "its normals": torch.stack(normals),
        },
    )


def head_summary(head: PersonalizedHead) -> str:
    """What the optimisation reached, in lines for people."""
    report = head.report
    lines = [f"Head model: {head.model_id}, level {head.level}, {head.model.num_vertices:,} vertices"]
    if "frames" in report:
        lines.append(f"Frames with a face: {report['frames']} of {head.fit.num_frames}; {report['steps']} steps")
    if error := report.get("landmark_error"):
        lines.append(f"Landmark error: {error['before']:.2f} before, {error['after']:.2f} after ({error['unit']})")
    for name, words in (("static", "Identity"), ("dynamic", "Wrinkle")):
        if offsets := report.get(f"{name}_offsets_mm"):
            lines.append(f"{words} offsets: {offsets['mean']:.2f} mm on average, {offsets['largest']:.1f} mm at most")
    for name, term in report.get("terms", {}).items():
        lines.append(f"{name.replace('_', ' ')}: {term['start']:.4g} -> {term['end']:.4g} (weight {term['weight']:g})")
    if "seconds" in report:
        lines.append(f"Time: {report['seconds']:.1f} s")
    return "\n".join(lines)


def _rounded(size: tuple[int, int], height: int, width: int) -> bool:
    """Whether pictures of a `size` were scaled to height × width: sides are whole, which tells in small ones."""
    scale = max(height / size[0], width / size[1]), min(height / size[0], width / size[1])
    return any(abs(size[0] * s - height) <= 1 and abs(size[1] * s - width) <= 1 for s in scale)


def _over(
    picture: Tensor, vertices: Tensor, model: HeadModel, camera: Camera, topology: MeshTopology
) -> tuple[Tensor, Tensor]:
    """The head drawn over the picture, and its normals alone."""
    maps = render_mesh(vertices, model.fine_faces, camera, 1, topology)
    normals = encode_normals(maps.normals, maps.mask)[0]
    return overlay(picture.to(normals), normals, maps.mask[0]), normals


def _resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(picture.shape[:2]) == size:
        return picture
    channels_first = picture.movedim(-1, 0)[None]
    smaller = F.interpolate(channels_first, size=size, mode="bilinear", align_corners=False, antialias=True)
    return smaller[0].movedim(0, -1).clamp(0, 1)
