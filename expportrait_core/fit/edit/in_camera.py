"""A fit's motion as its picture shows it, where the camera moves too.

Trackers that look at a head alone (metrical-tracker, Pixel3DMM) leave it at rest and write its motion into the camera;
those that look at a crop of every frame (SMPLer-X) change the lens with it. What trembles is then neither the body nor
the camera, but the one as seen by the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...types import Camera, SMPLXFit
from .. import quaternions


def camera_moves(camera: Camera) -> bool:
    """Whether any frame has another camera than the first."""
    tensors = (camera.world_to_camera, camera.intrinsics)
    return any(not torch.equal(tensor, tensor[:1].expand_as(tensor)) for tensor in tensors)


@dataclass(frozen=True)
class InCamera:
    """Body and lens of every frame, the body where one lens would see it at the same place and size."""

    rotation: Tensor  # [F, 4] unit quaternions, of the body's root in the camera
    position: Tensor  # [F, 3] of its origin in the camera, metres under the mean lens
    lens: Tensor  # [F, 4] focal lengths and principal point x, y, in longer sides of the picture
    mean: Tensor  # [4] the one lens


def in_camera(
    fit: SMPLXFit,
    root: Tensor,  # [F, 4] unit quaternions, of its root in the world
) -> InCamera:
    """How the camera sees the body."""
    view = fit.camera.world_to_camera
    turn = view[:, :3, :3]
    lens = fit.camera.intrinsics[:, [0, 1, 0, 1], [0, 1, 2, 2]] / max(fit.image_size)
    mean = lens.mean(0)
    x, y, z = (rotated(turn, fit.translation) + view[:, :3, 3]).unbind(-1)
    # f x / z + c stays where it is, and f / z
    larger = mean[0] / lens[:, 0]
    position = torch.stack([
        (lens[:, 0] * x + (lens[:, 2] - mean[2]) * z) * larger / mean[0],
        (lens[:, 1] * y + (lens[:, 3] - mean[3]) * z) * larger / mean[1],
        larger * z,
    ], -1)  # fmt: skip
    return InCamera(quaternions.multiply(quaternions.from_matrix(turn), root), position, lens, mean)


def camera_that_sees(
    seen: InCamera,
    camera: Camera,  # whose picture's size and skew are kept
    root: Tensor,  # [F, 4] of the body in the world
    translation: Tensor,  # [F, 3]
) -> Camera:
    """The camera that sees the body so, wherever it is in the world. Undoes `in_camera`."""
    lens, mean = seen.lens, seen.mean
    larger = mean[0] / lens[:, 0]
    x, y, z = seen.position.unbind(-1)
    z = z / larger
    position = torch.stack([
        (x * mean[0] / larger - (lens[:, 2] - mean[2]) * z) / lens[:, 0],
        (y * mean[1] / larger - (lens[:, 3] - mean[3]) * z) / lens[:, 1],
        z,
    ], -1)  # fmt: skip
    view, intrinsics = camera.world_to_camera.clone(), camera.intrinsics.clone()
    view[:, :3, :3] = quaternions.to_matrix(quaternions.multiply(seen.rotation, quaternions.inverse(root)))
    view[:, :3, 3] = position - rotated(view[:, :3, :3], translation)
    intrinsics[:, [0, 1, 0, 1], [0, 1, 2, 2]] = lens * max(camera.image_size)
    return camera.replace(intrinsics=intrinsics, world_to_camera=view)


def rotated(rotation: Tensor, points: Tensor) -> Tensor:
    """One point [F, 3] a frame, turned by a matrix [F, 3, 3] a frame."""
    return (rotation * points[:, None]).sum(-1)
