"""What the personalisation refuses, in sentences, before any long work; and making its inputs fit for autograd."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import torch
from torch import Tensor

from ..printable import printable
from ..types import HeadModel, SMPLXFit

FACE_IN_MASK = 0.5  # share of the visible face that a person's mask must cover at least; our choice

NEAREST = 0.05  # metres that a head must be in front of the camera's plane; our choice

T = TypeVar("T")


def ready(value: T, device: torch.device, dtype: torch.dtype) -> T:
    """The same data as tensors that autograd takes, on one device; ComfyUI runs its nodes in inference mode, whose
    tensors it refuses. Nothing is copied that need not be."""
    if isinstance(value, Tensor):
        value = value.detach().to(device, dtype if value.is_floating_point() else None)
        return value.clone() if value.is_inference() else value
    if isinstance(value, dict):
        return {key: ready(inner, device, dtype) for key, inner in value.items()}
    if dataclasses.is_dataclass(value):
        parts = {f.name: ready(getattr(value, f.name), device, dtype) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **parts)
    return value


def check_inputs(
    model: HeadModel,
    fit: SMPLXFit,
    images: Tensor | None,  # [F, H, W, 3]
    normals: Tensor | None,  # [F, H, W, 3]
    depth: Tensor | None,  # [F, H, W]
    mask: Tensor | None,  # [F, H, W]
) -> None:
    """Raise a ValueError about the first thing that does not fit."""
    fit.require_space(model)
    if fit.model_id != model.model_id or len(fit.betas) > model.shape_basis.shape[2]:
        raise ValueError(
            f"The fit was made with the head model '{printable(fit.model_id)}' and {len(fit.betas)} shape values, "
            f"the given one is '{model.model_id}' with {model.shape_basis.shape[2]}. Load the head model that the "
            f"fit was made with."
        )
    if not fit.valid.any():
        raise ValueError("No frame of the fit shows a face. Use a picture or a clip in which the face is found.")
    no_landmarks = fit.landmarks is None or not (fit.landmarks[fit.valid][..., 2] > 0).any()
    if no_landmarks and normals is None and depth is None and mask is None:
        raise ValueError(
            "There is nothing to fit the head to: the fit has no landmarks, and no normals, depth or mask are given. "
            "Track the picture (which finds landmarks), or connect a normal map, a depth map or a mask."
        )
    given = (("images", images, 3), ("normals", normals, 3), ("depth", depth, 0), ("mask", mask, 0))
    for name, maps, channels in given:
        if maps is not None:
            _check_maps(name, maps, channels, fit)
    if normals is not None and (normals.min() < -0.01 or normals.max() > 1.01):
        raise ValueError(
            f"The normals run from {float(normals.min()):.2f} to {float(normals.max()):.2f}, expected a picture in "
            f"0..1. Encode them first (render.encode_normals)."
        )
    if depth is not None and depth.min() < 0:
        raise ValueError(
            f"The depth goes down to {float(depth.min()):.3g}, expected distances from the camera, larger is farther, "
            f"and 0 where it is not known. Invert disparity maps first."
        )


def _check_maps(name: str, maps: Tensor, channels: int, fit: SMPLXFit) -> None:
    height, width = fit.image_size
    expected = (fit.num_frames, height, width) + ((channels,) if channels else ())
    if tuple(maps.shape) != expected:
        several = name.endswith("s")
        raise ValueError(
            f"The {name} {'have' if several else 'has'} the shape {list(maps.shape)}, expected {list(expected)}: the "
            f"{fit.num_frames} frames and the picture size of the fit. Use the pictures that were tracked, or crop "
            f"both alike (Crop Portrait takes a mask along)."
        )
    if not torch.isfinite(maps).all():
        raise ValueError(f"There are NaN or infinite values in the {name}. Set what is not known to 0.")


def check_in_view(
    corners: Tensor,  # [F, V, 3] the initial fit's vertices as homogeneous pixel corners
    fit: SMPLXFit,
) -> None:
    """Raise a sentence if the fit's head is not in front of the camera, or not in the picture."""
    height, width = fit.image_size
    x, y = (corners[..., axis] / corners[..., 2] for axis in (0, 1))
    behind = fit.valid & (corners[..., 2] < NEAREST).any(1)
    outside = fit.valid & ~((x > 0) & (x < width) & (y > 0) & (y < height)).any(1)
    for wrong, where in ((behind, "behind the camera or closer than 5 cm to it"), (outside, "outside the picture")):
        if wrong.any():
            raise ValueError(
                f"In frame {int(wrong.nonzero()[0])} the fit's head is {where}. Check the fit's camera and "
                f"translation: a motion capture in world space needs a camera of its own, or track the picture."
            )


def check_mask(
    mask: Tensor,  # [F, H, W]
    pixels: Tensor,  # [F, V, 2] the initial fit's vertices in the picture
    facial_weight: Tensor,  # [V]
    fit: SMPLXFit,
) -> None:
    """Raise a sentence if the mask leaves out the face: such a mask is inverted, or of something else."""
    height, width = fit.image_size
    face = pixels[fit.valid][:, facial_weight > 0.5].floor().long()
    column, row = face.unbind(-1)
    seen = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    frame = torch.arange(len(face), device=face.device)[:, None].expand_as(row)
    covered = mask[fit.valid][frame[seen], row[seen], column[seen]] > 0.5
    share = float(covered.float().mean()) if len(covered) else 0.0
    if share < FACE_IN_MASK:
        raise ValueError(
            f"The mask covers {share:.0%} of the face that the fit finds, expected at least {FACE_IN_MASK:.0%}. Give "
            f"the mask of the person (white on the person), or invert it, or check the fit."
        )
