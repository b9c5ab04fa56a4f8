"""Rotations as unit quaternions, w first: what motion over time is computed with.

Axis-angle vectors cannot be averaged or blended (they jump at a half turn, where trackers that look at people from
an OpenCV camera put the whole body), and matrices lose precision there. Quaternions do neither.
"""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-12


def from_axis_angle(
    vectors: Tensor,  # [..., 3] radians
) -> Tensor:
    """[..., 4]"""
    half = 0.5 * vectors.norm(dim=-1, keepdim=True)
    # sin(half) / angle, finite at zero
    return torch.cat([half.cos(), 0.5 * torch.sinc(half / torch.pi) * vectors], -1)


def to_axis_angle(
    quaternions: Tensor,  # [..., 4]
) -> Tensor:
    """[..., 3] radians, at most a half turn."""
    upper = torch.where(quaternions[..., :1] < 0, -quaternions, quaternions)
    w, xyz = upper[..., :1], upper[..., 1:]
    sine = xyz.norm(dim=-1, keepdim=True)
    return 2 * torch.atan2(sine, w) * torch.where(sine > TINY, xyz / sine.clamp(min=TINY), xyz)


def multiply(first: Tensor, second: Tensor) -> Tensor:
    """First ∘ second [..., 4]: the second turns in the frame of the first."""
    (a, u), (b, v) = (first[..., :1], first[..., 1:]), (second[..., :1], second[..., 1:])
    u, v = torch.broadcast_tensors(u, v)
    return torch.cat([a * b - (u * v).sum(-1, keepdim=True), a * v + b * u + torch.linalg.cross(u, v)], -1)


def inverse(quaternions: Tensor) -> Tensor:
    """[..., 4]"""
    return quaternions * quaternions.new_tensor([1, -1, -1, -1])


def difference(start: Tensor, stop: Tensor) -> Tensor:
    """The turn [..., 3] in the frame of `start` that leads to `stop`, radians, the short way."""
    return to_axis_angle(multiply(inverse(start), stop))


def turned(start: Tensor, turn: Tensor) -> Tensor:
    """`start` after a turn [..., 3] in its own frame, radians. Inverse of `difference`."""
    result = multiply(start, from_axis_angle(turn))
    return result / result.norm(dim=-1, keepdim=True)


def slerp(
    start: Tensor,  # [..., 4]
    stop: Tensor,  # [..., 4]
    share: Tensor,  # [..., 1] 0 is start, 1 is stop
) -> Tensor:
    """[..., 4] on the shortest way, at constant speed (Shoemake 1985)."""
    return turned(start, share * difference(start, stop))


def scaled(quaternions: Tensor, factor: Tensor | float) -> Tensor:
    """The same turns, further or less far [..., 4]."""
    return from_axis_angle(factor * to_axis_angle(quaternions))


def from_matrix(
    matrices: Tensor,  # [..., 3, 3]
) -> Tensor:
    """[..., 4] of rotation matrices, also of half turns (the largest of four components is taken first)."""
    m = matrices
    d = m.diagonal(dim1=-2, dim2=-1)
    xx, yy, zz = d.unbind(-1)
    squares = 1 + torch.stack([xx + yy + zz, xx - yy - zz, yy - xx - zz, zz - xx - yy], -1)  # 4 q²
    a = torch.stack([m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1)
    xy, xz, yz = (m[..., i, j] + m[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    w, x, y, z = squares.unbind(-1)
    products = torch.stack(  # row k is 4·q_k·q
        [
            torch.stack([w, a[..., 0], a[..., 1], a[..., 2]], -1),
            torch.stack([a[..., 0], x, xy, xz], -1),
            torch.stack([a[..., 1], xy, y, yz], -1),
            torch.stack([a[..., 2], xz, yz, z], -1),
        ],
        -2,
    )
    largest = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    row = products.gather(-2, largest)[..., 0, :]
    return row / row.norm(dim=-1, keepdim=True)


def to_matrix(
    quaternions: Tensor,  # [..., 4]
) -> Tensor:
    """[..., 3, 3]"""
    w, x, y, z = quaternions.unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
