"""Depth as a picture: near is bright, as estimators draw it and control networks read it."""

from __future__ import annotations

import torch
from torch import Tensor

NEAR, FAR = 1.0, 0.05  # brightness of the nearest and farthest point; the background is 0. Our choice


def depth_span(
    depth: Tensor,  # [F, H, W] metres, 0 where there is nothing
) -> tuple[float, float] | None:
    """The nearest and the farthest point in metres, None where there is none."""
    there = depth > 0
    return tuple(float(end) for end in depth[there].aminmax()) if there.any() else None


def depth_picture(
    depth: Tensor,  # [F, H, W] metres along the optical axis, 0 where there is nothing
    span: tuple[float, float] | None = None,  # metres from bright to dark; None: this clip's own, see `depth_span`
) -> Tensor:
    """[F, H, W, 3] in 0..1: one scale for the whole clip, linear in distance, black background.

    A clip that is drawn in parts, or two that shall compare, are given one span; what lies beyond it takes its ends.
    """
    there = depth > 0
    span = span or depth_span(depth)
    if span is None:
        return depth.new_zeros(*depth.shape, 3)
    near, far = span
    depth = depth.clamp(near, far)
    bright = NEAR + (FAR - NEAR) * (depth - near) / max(far - near, 1e-6)
    return torch.where(there, bright, 0.0)[..., None].expand(*depth.shape, 3).contiguous()


def depth_from_picture(
    picture: Tensor,  # [F, H, W, 3] in 0..1, near is bright, black where it is not known
) -> Tensor:
    """Relative depth [F, H, W], larger is farther, 0 where it is not known: to be used with an alignment of scale and
    shift. Estimators draw inverse depth; over the few centimetres of a face that is a straight line too."""
    bright = picture.mean(-1)
    return torch.where(bright > 0, 2 - bright, 0.0)
