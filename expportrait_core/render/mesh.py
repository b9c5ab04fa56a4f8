"""A mesh seen by a camera: normals, depth, coverage."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..types import Camera
from .backend import Backend, choose_backend
from .checks import require_faces_of, require_floats, whole_number
from .entry import drawing
from .interpolate import interpolate
from .kernels import NO_DIRECTION
from .mesh_numba import DrawnMaps, draw_maps_numba, draw_maps_numba_backward
from .normals import MeshTopology, topology_of, unit, vertex_normals
from .visibility import FAR_OFF_PICTURE, NEAR, refuse_undrawable, visible_triangles


@dataclass(frozen=True)
class MeshMaps:
    """What a camera sees of a mesh. s is the supersampling."""

    normals: Tensor  # [F, H, W, 3] unit, camera space: +x right, +y up, +z towards the viewer; 0 in the background
    depth: Tensor  # [F, H, W] metres along the optical axis, mean of the covered samples; 0 in the background
    mask: Tensor  # [F, H, W] coverage 0..1
    ids: Tensor  # [F, s·H, s·W] int32 triangle seen by each sample, -1 in the background


@drawing
def render_mesh(
    vertices: Tensor,  # [F, V, 3] world, metres
    faces: Tensor,  # [T, 3] int64, counter-clockwise seen from outside
    camera: Camera,  # of the F frames
    supersampling: int = 1,  # samples along each side of a pixel, averaged
    topology: MeshTopology | None = None,  # of the faces; made here if not given
    backend: Backend | None = None,  # None: the fastest that works, see `choose_backend`
) -> MeshMaps:
    """Draw F frames of a mesh at the camera's picture size.

    Normals and depth are differentiable with respect to the vertices, and to the camera, while the same triangles
    are seen; the mask is not differentiable.

    Raises:
        ValueError: shapes that do not fit, or a mesh that comes within 1 cm of the camera.
    """
    require_frames(vertices, camera)
    supersampling = whole_number("supersampling", supersampling)
    topology = topology_of(vertices, faces, topology)
    require_faces_of(vertices.shape[1], faces)
    numba = choose_backend(vertices.device, backend) == "numba"
    if len(vertices) == 0:
        height, width = camera.image_size
        ids = torch.zeros(0, height * supersampling, width * supersampling, dtype=torch.int32, device=vertices.device)
        return MeshMaps(vertices.new_zeros(0, height, width, 3), *vertices.new_zeros(2, 0, height, width), ids)
    if numba and vertices.dtype == torch.float32:
        samples = _of_samples(camera, supersampling)
        maps = _DrawMaps.apply(vertices, samples.projection, turns_of(camera), faces, topology, samples, supersampling)
        return MeshMaps(*maps)
    return draw_plainly(vertices, faces, camera, supersampling, topology, backend)


def require_frames(vertices: Tensor, camera: Camera) -> None:
    """Raise a sentence if these are not the vertices [F, V, 3] that F cameras see."""
    if vertices.dim() != 3 or vertices.shape[-1] != 3 or len(vertices) != len(camera):
        raise ValueError(
            f"Found vertices {list(vertices.shape)} and {len(camera)} cameras, expected [F, V, 3] and F cameras."
        )
    require_floats(vertices=vertices, intrinsics=camera.intrinsics, world_to_camera=camera.world_to_camera)


class _DrawMaps(torch.autograd.Function):
    """`draw_plainly` by the compiled loop, in float32."""

    @staticmethod
    def forward(ctx, vertices, projections, turns, faces, topology, samples, supersampling):
        size = tuple(side // supersampling for side in samples.image_size)
        limits = NEAR, FAR_OFF_PICTURE
        maps, drawable = draw_maps_numba(
            vertices, projections, turns, faces, topology.fans, limits, size, supersampling
        )
        if not drawable:  # corners that no triangle uses may be anything, and have drawn nothing
            refuse_undrawable(samples.project(vertices), faces)
        ctx.mark_non_differentiable(maps.mask, maps.ids)
        ctx.set_materialize_grads(False)  # zeros for these two, as large as the maps, would be made for nothing
        ctx.save_for_backward(vertices, projections, turns, *maps)
        ctx.mesh = faces, topology.fans  # no gradient, and perhaps made in ComfyUI's inference mode
        return maps[:4]

    @staticmethod
    @once_differentiable
    def backward(ctx, normals_gradient: Tensor, depth_gradient: Tensor, *_):
        vertices, projections, turns, *maps = ctx.saved_tensors
        of_camera = any(ctx.needs_input_grad[1:3])
        if normals_gradient is None:
            normals_gradient = torch.zeros_like(maps[0])
        if depth_gradient is None:
            depth_gradient = torch.zeros_like(maps[1])
        gradients = draw_maps_numba_backward(
            vertices, projections, turns, *ctx.mesh, DrawnMaps(*maps), normals_gradient, depth_gradient, of_camera
        )
        return *gradients, None, None, None, None


def _of_samples(camera: Camera, supersampling: int) -> Camera:
    return camera.resized(*(side * supersampling for side in camera.image_size))


def draw_plainly(
    vertices: Tensor,  # [F, V, 3]
    faces: Tensor,  # [T, 3]
    camera: Camera,
    supersampling: int,
    topology: MeshTopology,
    backend: Backend | None = None,
) -> MeshMaps:
    """`render_mesh` step by step, in any precision and on any device."""
    samples = _of_samples(camera, supersampling)
    corners, (height, width) = samples.project(vertices), samples.image_size
    ids = visible_triangles(corners, faces, height, width, backend)
    normals = _to_camera(vertex_normals(vertices, faces, topology, backend), camera)
    depth = corners[..., 2:]
    samples = interpolate(corners, torch.cat([normals, depth], -1), faces, ids, backend)
    samples = box_filter(samples, supersampling)
    mask = box_filter((ids >= 0).to(samples.dtype)[..., None], supersampling)[..., 0]
    depth = samples[..., 3] / torch.where(mask > 0, mask, 1)  # the background counts as 0 in the sum
    return MeshMaps(unit(samples[..., :3], NO_DIRECTION, backend), depth, mask, ids)


def _to_camera(
    normals: Tensor,  # [F, V, 3] world
    camera: Camera,
) -> Tensor:
    return normals @ turns_of(camera).transpose(1, 2)


def turns_of(camera: Camera) -> Tensor:  # [F, 3, 3]
    """Directions from the world to the camera, with y up and z towards the viewer (the camera's own y is down)."""
    rotation = camera.world_to_camera[:, :3, :3]
    return rotation * rotation.new_tensor([1, -1, -1])[:, None]


def box_filter(
    samples: Tensor,  # [F, s·H, s·W, C]
    size: int,
) -> Tensor:  # [F, H, W, C]
    if size == 1:
        return samples
    samples = samples.unflatten(1, (-1, size)).unflatten(3, (-1, size))  # [F, H, s, W, s, C]
    # a sum of slices, because on the CPU `mean` over these axes takes three times as long
    return sum(samples[:, :, row, :, column] for row in range(size) for column in range(size)) / size**2
