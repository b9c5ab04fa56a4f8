"""Meshes and cameras that the render tests draw. World: metres, y up; cameras look along -z at the origin."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from expportrait_core.types import Camera


def icosphere(
    levels: int,  # 20 · 4^levels faces
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Unit sphere: vertices [V, 3] and faces [T, 3], counter-clockwise seen from outside."""
    # An icosahedron: two poles, and two rings of five turned against each other at heights ±1/√5.
    turn = torch.arange(5, dtype=torch.float64) * (2 * math.pi / 5)
    height, radius = 1 / math.sqrt(5), 2 / math.sqrt(5)

    def ring(angle: Tensor, y: float) -> Tensor:
        return torch.stack([radius * angle.sin(), torch.full_like(angle, y), radius * angle.cos()], 1)

    poles = torch.tensor([[0.0, 1, 0], [0, -1, 0]], dtype=torch.float64)
    vertices = torch.cat([poles, ring(turn, height), ring(turn + math.pi / 5, -height)])
    a = torch.arange(5)
    b = (a + 1) % 5
    top, bottom = torch.zeros_like(a), torch.ones_like(a)
    faces = torch.cat(
        [
            torch.stack([top, 2 + a, 2 + b], 1),
            torch.stack([2 + a, 7 + a, 2 + b], 1),
            torch.stack([2 + b, 7 + a, 7 + b], 1),
            torch.stack([bottom, 7 + b, 7 + a], 1),
        ]
    )
    for _ in range(levels):
        vertices, faces = _quartered(vertices, faces)
    return vertices.to(dtype), faces


def _quartered(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Every triangle in four, the new vertices pushed out to the sphere."""
    edges = torch.stack([faces, faces.roll(-1, 1)], -1).sort(-1).values  # [T, 3, 2] edge k from corner k to the next
    unique, which = edges.reshape(-1, 2).unique(dim=0, return_inverse=True)
    middle = vertices[unique].mean(1)
    m = len(vertices) + which.view(-1, 3)
    corners = [torch.stack([faces[:, k], m[:, k], m[:, k - 1]], 1) for k in range(3)]
    return torch.cat([vertices, middle / middle.norm(dim=1, keepdim=True)]), torch.cat([*corners, m])


def blob(levels: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """A lumpy head of about 0.12 m radius, with self-occlusion at its nose and chin."""
    sphere, faces = icosphere(levels, torch.float64)
    generator = torch.Generator().manual_seed(seed)
    radius = torch.ones(len(sphere), dtype=torch.float64)
    for k in range(24):
        wave = torch.randn(3, generator=generator, dtype=torch.float64) * (2 + 0.4 * k)
        phase = torch.rand(1, generator=generator, dtype=torch.float64) * 2 * math.pi
        radius += 0.03 / (1 + 0.25 * k) * torch.sin(sphere @ wave + phase)
    for direction, reach, width in (((0, -0.15, 1), 0.35, 0.16), ((0, -0.8, 0.6), 0.2, 0.3)):
        towards = torch.tensor(direction, dtype=torch.float64)
        distance = (sphere - towards / towards.norm()).norm(dim=1)
        radius += reach * torch.exp(-((distance / width) ** 2))
    return (sphere * radius[:, None] * torch.tensor([0.095, 0.125, 0.11], dtype=torch.float64)).to(dtype), faces


def rotation(
    yaw: float = 0.0,  # radians about y
    pitch: float = 0.0,  # about x
    roll: float = 0.0,  # about z
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """[3, 3]: roll first, then pitch, then yaw."""
    matrix = torch.eye(3, dtype=torch.float64)
    for angle, (i, j) in ((yaw, (2, 0)), (pitch, (1, 2)), (roll, (0, 1))):
        turn = torch.eye(3, dtype=torch.float64)
        turn[i, i] = turn[j, j] = math.cos(angle)
        turn[j, i], turn[i, j] = math.sin(angle), -math.sin(angle)
        matrix = matrix @ turn
    return matrix.to(dtype)


def look(
    size: tuple[int, int],  # height, width
    distance: float,  # metres before the origin
    focal: float,  # in picture heights
    frames: int = 1,
    dtype: torch.dtype = torch.float32,
) -> Camera:
    """Cameras on the z axis that look at the origin, with the principal point in the middle."""
    height, width = size
    intrinsics = torch.tensor([[focal * height, 0, width / 2], [0, focal * height, height / 2], [0, 0, 1]], dtype=dtype)
    world_to_camera = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=dtype))
    world_to_camera[2, 3] = distance
    return Camera(intrinsics.repeat(frames, 1, 1), world_to_camera.repeat(frames, 1, 1), size)


def views(frames: int, size: tuple[int, int] = (60, 70)) -> tuple[Tensor, Tensor, Camera]:
    """A lumpy head that turns, seen by cameras that turn too; vertices [F, V, 3], faces, cameras."""
    vertices, faces = blob(4)
    camera = look(size, 0.6, 1.8, frames)
    moved = camera.world_to_camera.clone()
    moved[:, :3, :3] = moved[:, :3, :3] @ rotation(0.2, -0.3, 0.1)
    turned = torch.stack([vertices @ rotation(0.4 * f).T for f in range(frames)])
    return turned, faces, camera.replace(world_to_camera=moved)
