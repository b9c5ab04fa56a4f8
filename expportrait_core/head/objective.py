"""The objective of the personalisation, term by term. Every term is a mean or a sum that the settings then weight.

Paper, section on the personalised head: L_ldmk, L_normal, L_depth, the expression-coefficient regularisation, the
displacement-magnitude penalties, the Laplacian smoothing and the zero mean of Δf. The others are ours and say so.
Lengths are turned into millimetres here, so that weights are small plain numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .settings import PersonalizeSettings

MILLIMETRES = 1000.0  # in a metre
SMOOTH_L1 = 0.01  # an L1 is rounded below this (0.6° of a normal), so that a perfect fit has no gradient. Our choice
SMOOTH_DEPTH = 0.1  # millimetres, the same for depth
LONG_OFFSET = 2.0  # millimetres up to which an offset costs its square, beyond in proportion: hair is thick. Our choice


@dataclass(frozen=True)
class Terms:
    """One value per term before weighting, scalars; None where the inputs do not call for the term."""

    landmarks: Tensor | None = None
    normals: Tensor | None = None
    high_pass: Tensor | None = None
    depth: Tensor | None = None
    outline: Tensor | None = None
    expression: Tensor | None = None
    static_magnitude: Tensor | None = None
    dynamic_magnitude: Tensor | None = None
    static_laplacian: Tensor | None = None
    dynamic_laplacian: Tensor | None = None
    temporal: Tensor | None = None
    zero_mean: Tensor | None = None
    rigid: Tensor | None = None
    stay: Tensor | None = None

    def given(self) -> dict[str, Tensor]:
        """The terms that are there, by name."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}

    def total(self, settings: PersonalizeSettings) -> Tensor:
        """The weighted sum; each term's weight is the setting `<term>_weight`."""
        return sum(getattr(settings, f"{name}_weight") * value for name, value in self.given().items())


SYMBOLS = {
    "landmarks": "L_ldmk", "normals": "L_normal", "high_pass": "L_normal, high-pass (ours)", "depth": "L_depth",
    "outline": "L_mask (ours)", "expression": "|ψ|²", "static_magnitude": "|Δg|", "dynamic_magnitude": "|Δf|",
    "static_laplacian": "|LΔg|²", "dynamic_laplacian": "|LΔf|²", "temporal": "|Δf(i) - Δf(i-1)|²",
    "zero_mean": "|mean Δf|²", "rigid": "ears (ours)", "stay": "distance from the tracked fit (ours)",
}  # fmt: skip
"""The paper's symbol of every term, for reports."""


def landmark_term(
    projected: Tensor,  # [F, L, 2] Π(L3D), pixels
    target: Tensor,  # [F, L, 2] L2D
    confidence: Tensor,  # [F, L]
    eye_distance: Tensor,  # [F] outer eye corners, pixels
) -> Tensor:
    """L_ldmk: mean squared distance in percents of the outer-eye-corner distance, weighted by confidence."""
    percents = 100 * (projected - target) / eye_distance[:, None, None]
    return (confidence * percents.pow(2).sum(-1)).sum() / confidence.sum().clamp(min=1)


def normal_term(
    difference: Tensor,  # [F, H, W, 3] rendered minus given unit normals
    weight: Tensor,  # [F, H, W] 0 where not compared
) -> Tensor:
    """L_normal: mean L1 over the compared pixels."""
    return _mean(_smooth_absolute(difference, SMOOTH_L1).sum(-1), weight)


def high_pass_term(
    difference: Tensor,  # [F, H, W, 3] rendered minus given unit normals
    weight: Tensor,  # [F, H, W]
    sigma: float,  # pixels
) -> Tensor:
    """L1 of the difference minus its own blur, which is the difference of both sides' high frequencies.

    As in Neural Head Avatars (Grassal et al., CVPR 2022): a normal map that is off by a slow tilt still teaches
    wrinkles.
    """
    return normal_term(difference - blur_within(difference, weight, sigma), weight)


def blur_within(
    values: Tensor,  # [F, H, W, C]
    weight: Tensor,  # [F, H, W]
    sigma: float,  # pixels
) -> Tensor:
    """Gaussian blur that takes only weighted pixels into account, [F, H, W, C]."""
    stacked = torch.cat([values * weight[..., None], weight[..., None]], -1).permute(0, 3, 1, 2)  # [F, C + 1, H, W]
    height, width = stacked.shape[2:]
    # two full matrix products: on the CPU the backward of a convolution of one channel takes ten times as long
    blurred = _gaussian(height, sigma, values) @ stacked @ _gaussian(width, sigma, values)
    blurred = blurred.permute(0, 2, 3, 1)
    return blurred[..., :-1] / blurred[..., -1:].clamp(min=1e-3)


def _gaussian(size: int, sigma: float, like: Tensor) -> Tensor:
    """[size, size], row i is a Gaussian around i."""
    place = torch.arange(size, device=like.device, dtype=like.dtype)
    return torch.exp(-0.5 * ((place - place[:, None]) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))


def depth_term(
    rendered: Tensor,  # [F, H, W] metres along the optical axis
    given: Tensor,  # [F, H, W]
    weight: Tensor,  # [F, H, W]
    alignment: str,  # "metric", "scale", "scale_shift"
) -> Tensor:
    """L_depth: mean L1 over the compared pixels, millimetres; relative depth is first aligned per frame."""
    aligned = align_depth(rendered, given, weight, alignment)
    return _mean(_smooth_absolute((rendered - aligned) * MILLIMETRES, SMOOTH_DEPTH), weight)


def align_depth(rendered: Tensor, given: Tensor, weight: Tensor, alignment: str) -> Tensor:
    """The given depth [F, H, W], scaled (and shifted) per frame to the rendered one by weighted least squares.

    The alignment counts as fixed: no gradient flows through it.
    """
    if alignment == "metric":
        return given
    with torch.no_grad():
        total = weight.sum((1, 2)).clamp(min=1)
        shift = torch.zeros_like(total)
        x, y = given, rendered
        if alignment == "scale_shift":
            mean_x, mean_y = ((v * weight).sum((1, 2)) / total for v in (given, rendered))
            x, y = given - mean_x[:, None, None], rendered - mean_y[:, None, None]
        scale = (x * y * weight).sum((1, 2)) / (x * x * weight).sum((1, 2)).clamp(min=1e-12)
        if alignment == "scale_shift":
            shift = mean_y - scale * mean_x
        return scale[:, None, None] * given + shift[:, None, None]


def outline_term(
    signed_distance: Tensor,  # [F, V] millimetres beyond the given mask, negative inside it
    outline: Tensor,  # [F, V] 1 where a vertex lies on the mesh's own outline
    fillable: Tensor,  # [V] 0..1 where the mesh may grow towards the mask: not on the face
    fill: float,  # share of the growing pull
    reach: float,  # millimetres
) -> Tensor:
    """L_mask: how far the outline of the mesh lies outside the mask, plus a light pull outwards where it lies inside.

    A renderer's visibility has no gradient, so the outline is moved by its vertices: each sees the signed distance to
    the mask's border. Inside pulls lightly, because hair and clothes make the person's mask larger than the head.
    """
    outside = signed_distance.clamp(min=0)
    inside = (-signed_distance).clamp(min=0)
    distance = outside + fill * fillable * inside
    counted = outline * (signed_distance.detach().abs() < reach)
    return (counted * distance).sum() / outline.sum().clamp(min=1)


def expression_term(
    expression: Tensor,  # [F, E] ψ
) -> Tensor:
    """The paper's expression-coefficient regularisation: |ψ|², mean over the frames."""
    return expression.pow(2).sum(-1).mean()


def magnitude_term(
    field: Tensor,  # [F, V, 3] metres
) -> Tensor:
    """Displacement magnitude: square millimetres for short offsets, in proportion to the length for long ones."""
    squared = (field * (MILLIMETRES / LONG_OFFSET)).pow(2).sum(-1)
    return (2 * LONG_OFFSET**2 * (torch.sqrt(1 + squared) - 1)).mean()


def laplacian_term(
    laplacian_of_offsets: Tensor,  # [F, V, 3] L·Δ, metres
) -> Tensor:
    """Laplacian smoothing of the offset, which is that of the surface against the undeformed one; mm²."""
    return (laplacian_of_offsets * MILLIMETRES).pow(2).sum(-1).mean()


def temporal_term(
    change: Tensor,  # [P, V, 3] Δf(i) - Δf(i-1), metres
) -> Tensor:
    """Mean squared change of the dynamic offsets from frame to frame, mm²."""
    return (change * MILLIMETRES).pow(2).sum(-1).mean()


def zero_mean_term(
    mean: Tensor,  # [V, 3] mean of Δf over the clip, metres
) -> Tensor:
    """The paper's zero mean of Δf over the clip, as a penalty; mm²."""
    return (mean * MILLIMETRES).pow(2).sum(-1).mean()


def rigid_term(
    offsets: Tensor,  # [V, 3] Δg, metres
    groups: Tensor,  # [G, V] 0 or 1
) -> Tensor:
    """How far the offsets of each group are from the group's common one, mm² (ours: ears keep their shape)."""
    count = groups.sum(1).clamp(min=1)
    common = groups @ offsets / count[:, None]  # [G, 3]
    deviation = groups[..., None] * (offsets - common[:, None])  # [G, V, 3]
    return ((deviation * MILLIMETRES).pow(2).sum((1, 2)) / count).mean()


def stay_term(
    changes: dict[str, tuple[Tensor, float | Tensor]],  # by name: [F, ...] change, and what counts as far
) -> Tensor:
    """Distance from the tracked fit: squares in units of the scales, summed over columns, mean over frames (ours)."""
    return sum((change / scale).pow(2).flatten(1).sum(1).mean() for change, scale in changes.values())


def _smooth_absolute(values: Tensor, rounding: float) -> Tensor:
    return torch.sqrt(values.pow(2) + rounding**2) - rounding


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp(min=1)
