"""Cameras that no tracker gave: weak perspective, and going around a head to look at it.

The camera of a fit is a pinhole already; `Camera.cropped` and `Camera.resized` keep its pixels on the source's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..types import Camera

FAR_AWAY = 200.0  # metres: over 10 cm of depth sizes change by 0.05 %, and float32 still tells 0.05 mm. Our choice


def weak_perspective(
    scale: Tensor,  # [F] pixels per metre
    centre: Tensor,  # [F, 2] where the world's origin is seen, pixels
    image_size: tuple[int, int],  # height, width
    rotation: Tensor | None = None,  # [F, 3, 3] world to camera; None: y up, looking along -z, as faces are looked at
) -> Camera:
    """Cameras that see x_pixel = scale · x + centre: pinholes so far away that depth does not change the size.

    Depths then count from FAR_AWAY, where the origin lies.

    Raises:
        ValueError: a scale that is not above 0.
    """
    if not (scale > 0).all():
        raise ValueError(f"The weak-perspective scale is {float(scale.min()):g} pixels per metre, expected above 0.")
    intrinsics = scale.new_zeros(len(scale), 3, 3)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = scale * FAR_AWAY
    intrinsics[:, :2, 2], intrinsics[:, 2, 2] = centre, 1
    pose = torch.eye(4).to(scale).repeat(len(scale), 1, 1)
    pose[:, :3, :3] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) if rotation is None else rotation
    pose[:, 2, 3] = FAR_AWAY
    return Camera(intrinsics, pose, image_size)


def orbit(
    camera: Camera,  # one
    target: Tensor,  # [3] what to go around, world
    yaw: Tensor,  # [F] radians to the camera's own right around the target
    pitch: Tensor | float = 0.0,  # [F] radians above it
) -> Camera:
    """F cameras on a sphere around the target, each turned so that the target stays where it is in the picture."""
    pose = camera.world_to_camera[0]
    yaw, target = yaw.to(pose), target.to(pose)
    pitch = torch.as_tensor(pitch).to(pose).expand_as(yaw)
    turn = _about_x(pitch) @ _about_y(yaw)  # of the scene in camera space, where y is down
    around = pose[:3, :3] @ target + pose[:3, 3]
    moved = pose.repeat(len(yaw), 1, 1)
    moved[:, :3, :3] = turn @ pose[:3, :3]
    moved[:, :3, 3] = turn @ (pose[:3, 3] - around) + around
    return camera.repeat(len(yaw)).replace(world_to_camera=moved)


def _about_x(angle: Tensor) -> Tensor:  # [F, 3, 3]
    return _plane(angle, 1, 2)


def _about_y(angle: Tensor) -> Tensor:  # [F, 3, 3]
    return _plane(angle, 2, 0)


def _plane(angle: Tensor, first: int, second: int) -> Tensor:
    """Rotations that turn axis `first` towards axis `second`."""
    turn = torch.eye(3).to(angle).repeat(len(angle), 1, 1)
    turn[:, first, first] = turn[:, second, second] = angle.cos()
    turn[:, second, first] = angle.sin()
    turn[:, first, second] = -angle.sin()
    return turn
