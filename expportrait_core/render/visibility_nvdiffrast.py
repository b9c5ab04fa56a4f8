"""Visible triangles by nvdiffrast, where somebody has installed it; the one file that imports it.

nvdiffrast (github.com/NVlabs/nvdiffrast) needs CUDA and its toolkit, is not on the package index, and its licence is
for non-commercial use: it is found, never required. Only its triangle numbers are used; all else is our own.
NOT RUN by us so far: no machine with CUDA was at hand. Its rasteriser snaps to a grid of its own, so that numbers may
differ from the other back ends' where a pixel centre lies within a fraction of a pixel of an edge.
"""

from __future__ import annotations

import functools
import logging
import threading

import torch
from torch import Tensor

log = logging.getLogger(__name__)

TILE = 8  # pixels; the rasteriser works in tiles, and pictures are padded to whole ones


LARGEST = 2048  # pixels of a side that its rasteriser has room for


def has_room(height: int, width: int) -> bool:
    """Whether it can draw pictures, or samples of one, of that size; that it cannot is logged, once."""
    return max(height, width) <= LARGEST or _too_large()


@functools.cache
def _too_large() -> bool:
    log.info("nvdiffrast draws at most %d samples a side. Larger pictures are drawn by plain torch.", LARGEST)
    return False


@functools.cache
def is_installed() -> bool:
    """Whether it is there and draws; what is wrong is logged, once. Older versions are compiled only when they first
    draw, which fails where the CUDA toolkit is missing: so it draws a triangle here."""
    try:
        corners = torch.tensor([[[0, 0], [0, TILE], [TILE, 0]]], dtype=torch.float32, device="cuda")
        faces = torch.tensor([[0, 1, 2], [0, 2, 1]], device="cuda")
        drawn = visible_nvdiffrast(corners, torch.ones_like(corners[..., 0]), faces, TILE, TILE)
        if not (drawn >= 0).any():
            raise RuntimeError("it drew nothing")
    except Exception as error:  # a build for another torch fails in many ways
        if isinstance(error, ModuleNotFoundError) and error.name == "nvdiffrast":
            log.info("nvdiffrast is not installed. On CUDA, meshes are drawn by plain torch.")
        else:  # one that lacks a part of itself, or a package of its own, is a ModuleNotFoundError too
            log.warning("nvdiffrast cannot be used (%s). On CUDA, meshes are drawn by plain torch.", error)
        return False
    return True


def visible_nvdiffrast(
    positions: Tensor,  # [F, V, 2] pixels, on CUDA
    inverse_depth: Tensor,  # [F, V] 1/w, float32
    faces: Tensor,  # [T, 3]
    height: int,
    width: int,
) -> Tensor:  # [F, H, W] int32
    import nvdiffrast.torch as nvdiffrast

    padded = [-(-side // TILE) * TILE for side in (height, width)]
    ids = torch.full((len(positions), height, width), -1, dtype=torch.int32, device=positions.device)
    for frame, (xy, inverse) in enumerate(zip(positions, inverse_depth, strict=True)):
        # It culls nothing, and a back face may lie before a front face where a mesh is open: front faces alone go in.
        front = _front_faces(xy, faces)
        if len(front) == 0:
            continue
        clip = _clip_space(xy, inverse, faces[front], padded)
        drawn, _ = nvdiffrast.rasterize(
            _context(positions.device, threading.get_ident()), clip[None], faces[front].int(), padded, grad_db=False
        )
        hit = drawn[0, :height, :width, 3].long()  # 1 + number of the triangle, 0 in the background
        ids[frame] = torch.where(hit > 0, front[(hit - 1).clamp(min=0)], -1).int()
    return ids


def _front_faces(
    xy: Tensor,  # [V, 2] pixels
    faces: Tensor,  # [T, 3]
) -> Tensor:  # [n] numbers of the triangles that are clockwise where y points down
    (x0, y0), (x1, y1), (x2, y2) = (xy[corner].unbind(-1) for corner in faces.t())
    return ((x1 - x0) * (y2 - y0) < (y1 - y0) * (x2 - x0)).nonzero().squeeze(1)


def _clip_space(xy: Tensor, inverse_depth: Tensor, faces: Tensor, size: list[int]) -> Tensor:  # [V, 4]
    """Row 0 of its pictures is y = -1, so pixels need no flip. Depth is linear in 1/w, over the range of the mesh."""
    height, width = size
    used = inverse_depth[faces]
    low, high = used.min() * 0.999, used.max() * 1.001
    ndc = torch.stack(
        [xy[:, 0] * (2 / width) - 1, xy[:, 1] * (2 / height) - 1,
         1 - 2 * (inverse_depth - low) / (high - low), torch.ones_like(inverse_depth)], -1
    )  # fmt: skip
    return torch.nan_to_num((ndc / inverse_depth[:, None]).float()).contiguous()


@functools.lru_cache(maxsize=16)
def _context(device: torch.device, thread: int) -> object:
    """Its memory on the device. One per thread: two threads may not draw in one."""
    import nvdiffrast.torch as nvdiffrast

    return nvdiffrast.RasterizeCudaContext(device)
