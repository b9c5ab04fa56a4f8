"""Depth as a picture: near is bright, as estimators draw it and control networks read it.

Everything goes frame by frame, because a long clip leaves no room for a second one of its size.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

NEAR, FAR = 1.0, 0.05  # brightness of the nearest and farthest point; the background is 0. Our choice


def depth_span(
    depth: Tensor,  # [F, H, W] metres, 0 where there is nothing
) -> tuple[float, float] | None:
    """The nearest and the farthest point in metres, None where there is none."""
    points = (frame[frame > 0] for frame in depth)
    return joined_span(tuple(float(end) for end in metres.aminmax()) for metres in points if len(metres))


def joined_span(spans: Iterable[tuple[float, float] | None]) -> tuple[float, float] | None:
    """The span of a clip from those of its parts."""
    known = [span for span in spans if span is not None]
    return (min(near for near, _ in known), max(far for _, far in known)) if known else None


def depth_picture(
    depth: Tensor,  # [F, H, W] metres along the optical axis, 0 where there is nothing
    span: tuple[float, float] | None = None,  # metres from bright to dark; None: this clip's own, see `depth_span`
    into: Tensor | None = None,  # [F, H, W, 3] written and returned; `depth` may lie in one of its channels
) -> Tensor:
    """[F, H, W, 3] in 0..1: one scale for the whole clip, linear in distance, black background.

    A clip that is drawn in parts, or two that shall compare, are given one span; what lies beyond it takes its ends.

    Raises:
        ValueError: a span whose near end is the farther one.
    """
    span = span or depth_span(depth)
    if span is not None and not span[0] <= span[1]:
        raise ValueError(f"The span of the depth is {span[0]:g} to {span[1]:g} m, expected the nearer end first.")
    into = depth.new_empty(*depth.shape, 3) if into is None else into
    if span is None:
        return into.zero_()
    near, far = span
    for i, metres in enumerate(depth):
        bright = NEAR + (FAR - NEAR) * (metres.clamp(near, far) - near) / max(far - near, 1e-6)
        into[i] = torch.where(metres > 0, bright, 0.0)[..., None]
    return into


def depth_from_picture(
    picture: Tensor,  # [F, H, W, 3] in 0..1, near is bright, black where it is not known
) -> Tensor:
    """Relative depth [F, H, W], larger is farther, 0 where it is not known: to be used with an alignment of scale and
    shift. Estimators draw inverse depth; over the few centimetres of a face that is a straight line too."""
    bright = picture.mean(-1)
    return torch.where(bright > 0, 2 - bright, 0.0)
