"""Pictures for people who look at a mesh: how it faces them, its wires, and landmarks drawn over it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ..types import Camera
from .backend import Backend
from .checks import whole_number
from .entry import drawing
from .mesh import box_filter, render_mesh, require_frames
from .visibility import counting_from, visible_triangles

WIRE = 0.4  # pixels between the middle of a wire and its edge, our choice
WIRES, MARKS = (0.10, 0.12, 0.16), (1.0, 0.25, 0.10)  # colours, our choice


def facing(
    normals: Tensor,  # [F, H, W, 3] unit, camera space, 0 in the background
    camera: Camera,  # of the F frames, of H×W pixels
) -> Tensor:
    """[F, H, W] 0..1 cosine between the surface and the way to the camera: 1 is seen from straight above, 0 along the
    surface and in the background.

    Raises:
        ValueError: normals of another size or number than the camera's.
    """
    if tuple(normals.shape) != (len(camera), *camera.image_size, 3):
        seen = [len(camera), *camera.image_size, 3]
        raise ValueError(f"Found normals {list(normals.shape)}, the cameras' pictures are {seen}. Resize either.")
    (height, width), like = camera.image_size, camera.intrinsics
    y, x = torch.meshgrid(torch.arange(height).to(like) + 0.5, torch.arange(width).to(like) + 0.5, indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)], -1)
    rays = pixels @ torch.linalg.inv(camera.intrinsics).transpose(1, 2)[:, None]  # [F, H, W, 3]
    towards = torch.nn.functional.normalize(rays, dim=-1) * rays.new_tensor([-1, 1, 1])  # y up, z to the viewer
    return (normals * towards).sum(-1).clamp(0, 1)


@drawing
def shaded(
    vertices: Tensor,  # [F, V, 3] world, metres
    faces: Tensor,  # [T, 3]
    camera: Camera,  # of the F frames
    supersampling: int = 2,
    backend: Backend | None = None,  # None: the fastest that works, see `choose_backend`
) -> Tensor:
    """[F, H, W, 3] in 0..1: the mesh in grey on white, brighter where it faces the camera.

    Raises:
        ValueError: as `render_mesh`.
    """
    require_frames(vertices, camera)
    pictures = [vertices.new_zeros(0, *camera.image_size, 3)]
    for i in range(len(vertices)):
        with counting_from(i):
            maps = render_mesh(vertices[i : i + 1], faces, camera[i : i + 1], supersampling, backend=backend)
        grey = 0.25 + 0.65 * facing(maps.normals, camera[i : i + 1])
        pictures.append((1 + (grey - 1) * maps.mask)[..., None].expand(-1, -1, -1, 3))
    return torch.cat(pictures)


@drawing
def wires(
    vertices: Tensor,  # [F, V, 3] world, metres
    faces: Tensor,  # [T, 3]
    camera: Camera,  # of the F frames
    width: float = WIRE,  # pixels from the middle of a wire to its edge
    supersampling: int = 3,
    backend: Backend | None = None,  # None: the fastest that works, see `choose_backend`
) -> Tensor:
    """[F, H, W] 0..1 how much of each pixel the edges of the visible triangles cover.

    What is hidden has no wires. Above two triangles to a pixel all is covered: draw level 0 of a model then.

    Raises:
        ValueError: as `render_mesh`.
    """
    require_frames(vertices, camera)
    supersampling = whole_number("supersampling", supersampling)
    pictures = [vertices.new_zeros(0, *camera.image_size)]
    for frame, corners in enumerate(_frames(vertices, camera, supersampling)):
        height, across = (side * supersampling for side in camera.image_size)
        with counting_from(frame):
            ids = visible_triangles(corners, faces, height, across, backend)
        line = (edge_distance(corners, faces, ids) <= width * supersampling).to(vertices.dtype)
        pictures.append(box_filter(line[..., None], supersampling)[..., 0])
    return torch.cat(pictures)


def edge_distance(
    corners: Tensor,  # [F, V, 3] homogeneous pixel corners
    faces: Tensor,  # [T, 3]
    ids: Tensor,  # [F, H, W] from visible_triangles
) -> Tensor:
    """[F, H, W] pixels from each pixel's centre to the nearest edge of the triangle seen there, infinite if none is."""
    frame, row, column = (ids >= 0).nonzero(as_tuple=True)
    points = corners[frame[:, None], faces[ids[frame, row, column].long()]]  # [K, 3, 3]
    points = points[..., :2] / points[..., 2:]
    centre = torch.stack([column, row], 1).to(corners) + 0.5
    nearest = torch.full_like(centre[:, 0], torch.inf)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        along, away = points[:, end] - points[:, start], centre - points[:, start]
        across = along[:, 0] * away[:, 1] - along[:, 1] * away[:, 0]
        nearest = torch.minimum(nearest, across.abs() / along.norm(dim=1).clamp(min=1e-6))
    distance = corners.new_full(ids.shape, torch.inf)
    distance[frame, row, column] = nearest
    return distance


def wireframe(
    vertices: Tensor,  # [F, V, 3] world, metres
    faces: Tensor,  # [T, 3]
    camera: Camera,  # of the F frames
    picture: Tensor | None = None,  # [F or 1, H, W, 3] in 0..1 to draw over; None: the mesh in grey
    backend: Backend | None = None,  # None: the fastest that works, see `choose_backend`
) -> Tensor:
    """[F, H, W, 3] in 0..1: the visible edges of a mesh, over a picture or over the mesh itself.

    Raises:
        ValueError: as `render_mesh`, or pictures of another size.
    """
    if picture is None:
        picture = shaded(vertices, faces, camera, backend=backend)
    if tuple(picture.shape[1:]) != (*camera.image_size, 3) or len(picture) not in (1, len(vertices)):
        raise ValueError(
            f"Found pictures {list(picture.shape)}, expected {len(vertices)} or 1 of the camera's size "
            f"{[*camera.image_size, 3]}. Resize them, or the camera with `Camera.resized`."
        )
    line = wires(vertices, faces, camera, backend=backend)[..., None]
    return picture + (picture.new_tensor(WIRES) - picture) * line


def draw_landmarks(
    pictures: Tensor,  # [F, H, W, 3] in 0..1
    points: Tensor,  # [F, L, 2] pixels; NaN where there is none
    colour: tuple[float, float, float] = MARKS,
    radius: float = 1.5,  # pixels
) -> Tensor:
    """[F, H, W, 3] copies of the pictures with a dot on every landmark.

    Raises:
        ValueError: as many pictures as frames of landmarks are needed.
    """
    if points.dim() != 3 or points.shape[-1] != 2 or len(points) != len(pictures):
        raise ValueError(
            f"Found landmarks {list(points.shape)} and {len(pictures)} pictures, expected [F, L, 2] of as many frames."
        )
    if not points.is_floating_point():
        points = points.to(pictures)
    frames, height, width = pictures.shape[:3]
    step = torch.arange(-math.ceil(radius) - 1, math.ceil(radius) + 2, device=points.device)
    corner = torch.nan_to_num(points, nan=-1e6).clamp(-1e6, 1e6).floor().long()[:, :, None, None]  # [F, L, 1, 1, 2]
    y, x = torch.meshgrid(step, step, indexing="ij")
    column, row = corner[..., 0] + x, corner[..., 1] + y  # [F, L, n, n]
    away = torch.stack([column, row], -1) + 0.5 - points[:, :, None, None]
    cover = torch.nan_to_num((radius + 0.5 - away.norm(dim=-1)).clamp(0, 1))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    frame = torch.arange(frames, device=points.device).view(-1, 1, 1, 1)
    pixel = ((frame * height + row) * width + column)[inside]
    dots = points.new_zeros(frames * height * width).scatter_reduce_(0, pixel, cover[inside], "amax")
    return torch.lerp(pictures, pictures.new_tensor(colour), dots.view(frames, height, width, 1).to(pictures))


def _frames(vertices: Tensor, camera: Camera, supersampling: int) -> Iterator[Tensor]:
    """Corners [1, V, 3] of one frame after the other, in pixels of the samples."""
    fine = camera.resized(*(side * supersampling for side in camera.image_size))
    return (fine[i : i + 1].project(vertices[i : i + 1]) for i in range(len(vertices)))
