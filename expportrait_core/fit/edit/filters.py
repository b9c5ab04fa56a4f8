"""Filters over time that move nothing in time: each works on numbers and on rotations alike.

A rotation is filtered in its own tangent space: its neighbours are written as turns away from it (`difference`), the
filter is applied to those vectors, and the result turns it. So the outcome does not depend on where zero is, half
turns are nothing special, and what comes out is a rotation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import quaternions

Change, Size = Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]

REACH = 3  # standard deviations of a Gaussian that are looked at
ORDER = 3  # of Savitzky-Golay's polynomials: they follow bends and turning points


@dataclass(frozen=True)
class Kernel:
    """A weighted mean around every frame."""

    frames: Tensor  # [F, W] which frames are looked at
    weights: Tensor  # [F, W] sum 1

    def to(self, like: Tensor) -> Kernel:
        """On the device and in the precision of `like`."""
        return Kernel(self.frames.to(like.device), self.weights.to(like))

    def numbers(
        self,
        values: Tensor,  # [F, C]
    ) -> Tensor:
        """[F, C]"""
        # as changes, so that a still clip stays exactly as it is
        return values + sum(
            self.weights[:, k, None] * (values[self.frames[:, k]] - values) for k in range(self.frames.shape[1])
        )

    def rotations(
        self,
        values: Tensor,  # [F, J, 4] unit quaternions
    ) -> Tensor:
        """[F, J, 4]"""
        rows, width = self.frames.shape
        # frames that are clamped to the first one have no weight, so the walk may begin at one of them
        centre = (self.frames == torch.arange(rows, device=values.device)[:, None]).long().argmax(1)
        turn = torch.zeros_like(values[..., 1:])
        for direction in (-1, 1):
            before = torch.zeros_like(turn)
            for step in range(1, width):
                column = centre + direction * step
                inside = (column >= 0) & (column < width)
                if not inside.any():
                    break
                column = column.clamp(0, width - 1)[:, None]
                frames, weights = self.frames.gather(1, column)[:, 0], self.weights.gather(1, column)[:, 0] * inside
                before = _nearest_turn(quaternions.difference(values, values[frames]), before)
                turn = turn + weights[:, None, None] * before
        return quaternions.turned(values, turn)


def _nearest_turn(turn: Tensor, before: Tensor) -> Tensor:
    """The same rotations [..., 3] with as many whole turns more or less as bring them nearest to `before`: a spin goes
    on after half a turn, where the shorter way would be back."""
    angle, reached = turn.norm(dim=-1, keepdim=True), before.norm(dim=-1, keepdim=True)
    still = angle < 1e-4  # without an axis of its own, such as after a whole turn
    axis = torch.where(still, before / reached.clamp(min=1e-12), turn / angle.clamp(min=1e-12))
    more = torch.round(((before * axis).sum(-1, keepdim=True) - angle) / (2 * math.pi))
    return turn + 2 * math.pi * more * axis


def gaussian(num_frames: int, deviation: float) -> Kernel:
    """A blur with this standard deviation in frames.

    It is the value of the straight line that fits the neighbours best under a Gaussian's weights (local linear
    regression, Cleveland 1979). With as many to both sides that is their weighted mean; at the ends, where a mean would
    pull the first and last frames inwards, even motion goes on evenly.
    """
    reach = min(max(1, round(REACH * deviation)), num_frames - 1)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    frames = torch.arange(num_frames)[:, None] + offsets.long()
    inside = (frames >= 0) & (frames < num_frames)
    weights = torch.exp(-0.5 * (offsets / deviation) ** 2) * inside
    sums = [(weights * offsets**power).sum(1, keepdim=True) for power in range(3)]
    # one neighbour alone, under a narrow Gaussian, has no line to speak of
    tilt = sums[1] / sums[2].clamp(min=1e-300)
    weights = weights * (1 - tilt * offsets)
    return Kernel(frames.clamp(0, num_frames - 1), (weights / weights.sum(1, keepdim=True)).float())


def savitzky_golay(num_frames: int, reach: int) -> Kernel:
    """Least-squares cubics through `reach` frames to both sides (Savitzky and Golay 1964); at the ends, the value of
    the first or last cubic, as scipy's mode "interp"."""
    reach = min(reach, (num_frames - 1) // 2)
    order = min(ORDER, 2 * reach)
    centres = torch.arange(num_frames)
    starts = (centres - reach).clamp(0, num_frames - 2 * reach - 1)
    frames = starts[:, None] + torch.arange(2 * reach + 1)
    table = torch.from_numpy(np.stack([_coefficients(reach, order, p) for p in range(2 * reach + 1)])).float()
    return Kernel(frames, table[centres - starts])


@functools.lru_cache(maxsize=512)
def _coefficients(reach: int, order: int, position: int) -> np.ndarray:
    from scipy.signal import savgol_coeffs  # takes a while to import

    return savgol_coeffs(2 * reach + 1, order, pos=position, use="dot")


@dataclass(frozen=True)
class OneEuro:
    """A low pass that opens when things move (Casiez et al. 2012), run in both directions and averaged: no lag.

    At the ends, where one direction has only begun and the other lags, each begins as if it had come a long way: with
    the speed that the other ends with, and behind by the lag that this speed brings. The less that speed opens the
    filter, the more of it is taken for noise, which puts nothing behind.
    """

    fps: float
    cutoff: float  # Hz, at rest
    opening: float  # Hz per unit per second: how much faster motion opens it, β of the paper
    speed_cutoff: float = 1.0  # Hz, of the speed itself; the paper's

    def numbers(
        self,
        values: Tensor,  # [F, C]; every column opens for itself
    ) -> Tensor:
        """[F, C]"""
        there, back = self._both_ways(values, torch.sub, torch.add, torch.abs)
        return torch.lerp(there, back, 0.5)

    def vectors(
        self,
        values: Tensor,  # [F, V, 3]; the numbers of a vector open together
    ) -> Tensor:
        """[F, V, 3]"""
        there, back = self._both_ways(values, torch.sub, torch.add, _length)
        return torch.lerp(there, back, 0.5)

    def rotations(
        self,
        values: Tensor,  # [F, J, 4] unit quaternions; every joint opens for itself
    ) -> Tensor:
        """[F, J, 4]"""
        there, back = self._both_ways(values, _turn_from, quaternions.turned, _length)
        return quaternions.slerp(there, back, values.new_tensor(0.5))

    def _both_ways(self, values: Tensor, change_from: Change, changed: Change, size: Size) -> tuple[Tensor, Tensor]:
        """Forwards and backwards at once. `change_from(new, old)` is a vector, `changed(old, vector)` applies it,
        `size` measures it."""
        rows = torch.stack([values, values.flip(0)], 1)  # [F, 2, ...]
        change, share = change_from(rows[1:], rows[:-1]) * self.fps, _alpha(self.speed_cutoff, self.fps)
        coming = -_low_passed(change, share)[-1:].flip(1)  # [1, 2, ...] speed before the first frame
        speed = torch.cat([coming, _low_passed(change, share, coming)])
        cutoff = self.cutoff + self.opening * size(speed)
        alpha = _alpha(cutoff, self.fps)
        lag = (1 / alpha[0] - 1) / self.fps * (1 - self.cutoff / cutoff[0])  # seconds, of what is motion
        smooth = [changed(rows[0], -lag * speed[0])]
        for new, share in zip(rows[1:], alpha[1:]):
            smooth.append(changed(smooth[-1], share * change_from(new, smooth[-1])))
        there, back = torch.stack(smooth).unbind(1)
        return there, back.flip(0)


def _low_passed(values: Tensor, share: float, before: Tensor | None = None) -> Tensor:
    """A first-order low pass [F, ...], from rest or from the value [1, ...] that it had before."""
    from scipy.signal import lfilter  # takes a while to import

    before = torch.zeros_like(values[:1]) if before is None else before
    known, state = (tensor.double().cpu().numpy() for tensor in (values, (1 - share) * before))
    passed, _ = lfilter([share], [1, share - 1], known, axis=0, zi=state)
    return torch.from_numpy(passed).to(values)


def _turn_from(new: Tensor, old: Tensor) -> Tensor:
    return quaternions.difference(old, new)


def _length(vectors: Tensor) -> Tensor:
    return vectors.norm(dim=-1, keepdim=True)


def _alpha(cutoff: Tensor | float, fps: float) -> Tensor | float:
    """Share of the new value in a first-order low pass."""
    return 1 / (1 + fps / (2 * math.pi * cutoff))
