"""Sampling along the straight path of flow matching, x_t = (1 - t) x0 + t noise, with networks that predict x0."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..portable import Progress, no_progress

PredictX0 = Callable[[Tensor, float], Tensor]
"""`predict(x, t)`: the network's estimate of x0 from x at time t."""

SHIFT = 3.0  # our choice, not from the paper: as ComfyUI's ModelSamplingSD3, spends the steps at high noise


def flow_sigmas(steps: int, shift: float = SHIFT) -> Tensor:  # [steps + 1], 1 … 0
    """Times from noise to picture, bent towards noise by `shift`."""
    if steps < 1:
        raise ValueError(f"steps is {steps}, expected at least 1.")
    t = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return (shift * t / (1 + (shift - 1) * t)).float()


def euler(
    predict: PredictX0,
    noise: Tensor,  # x at sigmas[0] = 1
    sigmas: Tensor,  # [S + 1] explicit, decreasing, the last one 0
    progress: Progress = no_progress,
) -> Tensor:
    """Deterministic Euler steps. The last step, to 0, returns the prediction itself.

    Raises:
        ValueError: the sigmas do not decrease from at most 1 to 0.
    """
    values = [float(s) for s in sigmas]
    if len(values) < 2 or values[0] > 1 or values[-1] != 0 or any(a <= b for a, b in zip(values, values[1:])):
        raise ValueError(f"sigmas are {values}, expected decreasing numbers from at most 1 to 0.")
    x = noise
    for i, (t, following) in enumerate(zip(values, values[1:])):
        x0 = predict(x, t)
        x = x0 if following == 0 else x + (following - t) * (x - x0) / t
        progress(i + 1, len(values) - 1, None)
    return x
