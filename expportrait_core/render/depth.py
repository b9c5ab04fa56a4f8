"""Depth as a picture: near is bright, as estimators draw it and control networks read it."""

from __future__ import annotations

import torch
from torch import Tensor

NEAR, FAR = 1.0, 0.05  # brightness of the nearest and farthest point; the background is 0. Our choice


def depth_picture(
    depth: Tensor,  # [F, H, W] metres along the optical axis, 0 where there is nothing
) -> Tensor:
    """[F, H, W, 3] in 0..1: one scale for the whole clip, linear in distance, black background."""
    there = depth > 0
    if not there.any():
        return depth.new_zeros(*depth.shape, 3)
    near, far = depth[there].aminmax()
    bright = NEAR + (FAR - NEAR) * (depth - near) / (far - near).clamp(min=1e-6)
    return torch.where(there, bright, 0.0)[..., None].expand(*depth.shape, 3).contiguous()


def depth_from_picture(
    picture: Tensor,  # [F, H, W, 3] in 0..1, near is bright, black where it is not known
) -> Tensor:
    """Relative depth [F, H, W], larger is farther, 0 where it is not known: to be used with an alignment of scale and
    shift. Estimators draw inverse depth; over the few centimetres of a face that is a straight line too."""
    bright = picture.mean(-1)
    return torch.where(bright > 0, 2 - bright, 0.0)
