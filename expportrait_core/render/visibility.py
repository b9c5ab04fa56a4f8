"""Which triangle is seen through each pixel centre. Not differentiable; everything else is interpolation.

The answer is defined exactly, so that several back ends can give the same: corners are snapped to 1/256 pixel, the edge
functions are integers, a pixel centre on an edge belongs to the triangle whose top or left edge it is, and the nearest
triangle wins by 1/w in float32 (of equal ones the one with the lowest number), which is computed at the first pixel of
a row inside the triangle and stepped from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from .backend import Backend, choose_backend
from .checks import require_faces_of, require_floats, whole_number
from .entry import drawing
from .visibility_numba import snap, visible_numba
from .visibility_nvdiffrast import has_room, visible_nvdiffrast

SUBPIXEL_BITS = 8
ONE_PIXEL = 1 << SUBPIXEL_BITS
HALF_PIXEL = ONE_PIXEL >> 1
NEAR = 0.01  # metres; our choice, not from the paper
FAR_OFF_PICTURE = 1 << 21  # pixels; in 1/256 pixel, sums of products of such numbers stay below 2^62
PIXELS_AT_ONCE = 1 << 22  # bounds the memory that large triangles take
LAST_NUMBER = 0x7FFFFFFF


@torch.no_grad()
@drawing
def visible_triangles(
    corners: Tensor,  # [F, V, 3] homogeneous pixel corners (x·w, y·w, w), from Camera.project
    faces: Tensor,  # [T, 3] int64, counter-clockwise seen from outside
    height: int,
    width: int,
    backend: Backend | None = None,  # None: the fastest that works, see `choose_backend`
) -> Tensor:
    """The nearest front-facing triangle at every pixel centre, [F, H, W] int32, -1 in the background.

    Pixel centres lie at (column + 0.5, row + 0.5). Back faces are never drawn. The same corners give the same
    triangles on every run.

    Raises:
        ValueError: shapes that do not fit, or a corner that is not finite, closer to the camera than 1 cm, or more than
            two million pixels away from the picture: such triangles would need clipping, and are refused instead of
            being drawn wrong.
    """
    if corners.dim() != 3 or corners.shape[-1] != 3 or faces.dim() != 2 or faces.shape[-1] != 3:
        raise ValueError(
            f"Found corners {list(corners.shape)} and faces {list(faces.shape)}, expected [F, V, 3] and [T, 3]."
        )
    height, width = whole_number("height", height), whole_number("width", width)
    require_floats(corners=corners)
    require_faces_of(corners.shape[1], faces)
    backend = choose_backend(corners.device, backend)
    if backend == "numba":
        snapped, inverse_depth, drawable = snap(corners, NEAR, FAR_OFF_PICTURE)
        if not drawable:
            refuse_undrawable(corners, faces)
        return visible_numba(snapped, inverse_depth, faces, height, width)
    refuse_undrawable(corners, faces)
    draw = visible_nvdiffrast if backend == "nvdiffrast" and has_room(height, width) else _visible_torch
    return draw(corners[..., :2] / corners[..., 2:], 1 / corners[..., 2].float(), faces, height, width)


class Undrawable(ValueError):
    """A mesh that no back end draws, and the frame of it, counted in what was given to the function that raises."""

    def __init__(self, frame: int, what: str, clip: str = "") -> None:
        super().__init__(f"The mesh of frame {frame} {clip}{what}")
        self.frame, self.what = frame, what


@contextmanager
def counting_from(first: int, clip: str = "") -> Iterator[None]:
    """Frames of a part of a clip, in sentences: the part's own frame 0 is the frame `first` of the clip, which can be
    named."""
    try:
        yield
    except Undrawable as error:
        raise Undrawable(first + error.frame, error.what, clip) from None


def refuse_undrawable(
    corners: Tensor,  # [F, V, 3] homogeneous pixel corners
    faces: Tensor,  # [T, 3]
) -> None:
    """Raise a sentence if a triangle cannot be drawn; corners that no triangle uses may be anything."""
    positions = corners[..., :2] / corners[..., 2:]
    drawable = (corners[..., 2] >= NEAR) & (positions.abs() <= FAR_OFF_PICTURE).all(-1)  # False for NaN
    if drawable.all():
        return
    refused = ~drawable[:, faces].all(-1)  # [F, T]
    if not refused.any():
        return
    frame = int(refused.any(1).nonzero()[0])
    used = faces[refused[frame]]
    used, positions = corners[frame, used], positions[frame, used]
    if not torch.isfinite(used).all():
        raise Undrawable(frame, "has NaN or infinite vertices. Check the pose and the camera.")
    nearest = float(used[..., 2].min())
    if nearest < NEAR:
        raise Undrawable(
            frame, f"comes to {nearest:.3f} m of the camera's plane, expected at least {NEAR} m before it. Move the "
            f"camera back, or check translation and world_to_camera."
        )  # fmt: skip
    raise Undrawable(
        frame, f"reaches {float(positions.abs().max()):.3g} pixels from the picture's corner, expected less than "
        f"{FAR_OFF_PICTURE}. Check the intrinsics and the scale of the mesh."
    )  # fmt: skip


class _Triangles(NamedTuple):
    """The n triangles of a frame that may hold a pixel centre. Corners count from the box's first pixel centre."""

    x: list[Tensor]  # three of [n] int32, 1/256 pixel
    y: list[Tensor]
    inverse_depth: list[Tensor]  # three of [n] float32, 1/w of the corners
    number: Tensor  # [n] int64, which triangle of the mesh
    columns: Tensor  # [n] int32, of the box of pixel centres
    rows: Tensor
    pixel: Tensor  # [n] int64, number of the box's first pixel in the picture

    def select(self, start: int, stop: int) -> _Triangles:
        cut = [[v[start:stop] for v in value] for value in self[:3]]
        return _Triangles(*cut, *(value[start:stop] for value in self[3:]))


def _visible_torch(
    positions: Tensor,  # [F, V, 2] pixels
    inverse_depth: Tensor,  # [F, V] 1/w, float32
    faces: Tensor,  # [T, 3]
    height: int,
    width: int,
) -> Tensor:  # [F, H, W] int32
    """Back end in plain torch: triangles to rows, rows to runs of pixels, then one maximum per pixel."""
    # Front faces are counter-clockwise in the world, clockwise where y points down: the exchange makes them positive.
    turned = faces.t()[[0, 2, 1]]  # [3, T]
    # Corners that no triangle uses may be anything; they must only survive the conversion.
    limit = FAR_OFF_PICTURE * ONE_PIXEL
    snapped = torch.nan_to_num(torch.round(positions * ONE_PIXEL)).clamp_(-limit, limit).to(torch.int32)
    ids = torch.empty(len(positions), height, width, dtype=torch.int32, device=positions.device)
    for frame in range(len(positions)):
        # A pixel holds one int64: the bits of 1/w (positive floats sort like integers) above the reversed number of
        # the triangle, so that one maximum finds the nearest triangle and, of equal ones, the first.
        nearest = torch.full((height * width,), -1, dtype=torch.int64, device=positions.device)
        triangles = _set_up(snapped[frame], inverse_depth[frame], turned, height, width)
        for part in _parts(triangles):
            pixels, keys = _fill(_runs(part, width))
            nearest.scatter_reduce_(0, pixels, keys, "amax")
        ids[frame] = torch.where(nearest < 0, -1, LAST_NUMBER - (nearest & LAST_NUMBER)).view(height, width)
    return ids


def _set_up(snapped: Tensor, inverse_depth: Tensor, turned: Tensor, height: int, width: int) -> _Triangles:
    """Gather the corners, and drop what faces away or has no pixel centre in its bounding box."""
    x, y = (snapped[:, axis].index_select(0, turned.reshape(-1)).view(3, -1) for axis in (0, 1))  # [3, T]
    left, right = _box(x, width)
    top, bottom = _box(y, height)
    x1, x2, y1, y2 = (v.long() for v in (x[1] - x[0], x[2] - x[0], y[1] - y[0], y[2] - y[0]))
    front = x1 * y2 > y1 * x2
    number = (front & (right >= left) & (bottom >= top)).nonzero().squeeze(1)
    left, right, top, bottom = (v.index_select(0, number) for v in (left, right, top, bottom))
    x_first, y_first = left * ONE_PIXEL + HALF_PIXEL, top * ONE_PIXEL + HALF_PIXEL
    return _Triangles(
        x=[v.index_select(0, number) - x_first for v in x],
        y=[v.index_select(0, number) - y_first for v in y],
        inverse_depth=[inverse_depth.index_select(0, v.index_select(0, number)) for v in turned],
        number=number,
        columns=right - left + 1,
        rows=bottom - top + 1,
        pixel=top.long() * width + left,
    )


def _box(
    corners: Tensor,  # [3, T] int32, 1/256 pixel
    size: int,
) -> tuple[Tensor, Tensor]:
    """First and last pixel of the picture whose centre can belong to the triangles: from the lowest corner to just
    before the highest, because what ends there is a right or a bottom edge."""
    first = (corners.amin(0) + (HALF_PIXEL - 1)) >> SUBPIXEL_BITS
    last = (corners.amax(0) - (HALF_PIXEL + 1)) >> SUBPIXEL_BITS
    return first.clamp_(min=0), last.clamp_(max=size - 1)


def _parts(triangles: _Triangles) -> Iterator[_Triangles]:
    """Cut the triangles into parts of about PIXELS_AT_ONCE, counted by their boxes."""
    ends = (triangles.columns.long() * triangles.rows).cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    fills = torch.arange(PIXELS_AT_ONCE, max(total, PIXELS_AT_ONCE), PIXELS_AT_ONCE, device=ends.device)
    stops = (torch.searchsorted(ends, fills) + 1).unique().tolist()
    for start, stop in zip([0, *stops], [*stops, len(ends)], strict=True):
        if stop > start:
            yield triangles.select(start, stop)


class _Runs(NamedTuple):
    """Rows of triangles: runs of pixels whose centres lie inside."""

    pixel: Tensor  # [n] int64, number of the first pixel
    length: Tensor  # [n] int64
    inverse_depth: Tensor  # [n] float32, at the first pixel
    slope: Tensor  # [n] what a column adds to it
    number: Tensor  # [n] int64, which triangle of the mesh


def _runs(triangles: _Triangles, width: int) -> _Runs:
    """Every row of every triangle's box, less the rows that hold no pixel centre."""
    owner, row = _expand(triangles.rows)
    first, last = torch.zeros_like(owner), (triangles.columns.long() - 1).index_select(0, owner)
    edges = _edge_functions(triangles)
    for edge in edges:
        value, step = edge.at_row(owner, row), edge.across.index_select(0, owner)
        crossing = torch.div(value, step.abs().clamp_(min=1), rounding_mode="floor")
        first = torch.where(step > 0, torch.maximum(first, -crossing), first)
        last = torch.where(step < 0, torch.minimum(last, crossing), last)
    some = (last >= first).nonzero().squeeze(1)
    owner, row, first, last = (v.index_select(0, some) for v in (owner, row, first, last))

    # 1/w is linear in the picture: from corner 0, the weights of corners 1 and 2 times the differences.
    z0, z1, z2 = triangles.inverse_depth
    area = sum(edge.at_first + edge.excluded for edge in edges).float()
    inverse_depth, slope = z0.index_select(0, owner), torch.zeros_like(z0)
    for edge, z in ((edges[1], z1), (edges[2], z2)):
        change = (z - z0) / area
        weight = edge.at_row(owner, row) + edge.excluded.index_select(0, owner)
        weight += edge.across.index_select(0, owner) * first
        inverse_depth = inverse_depth + weight.float() * change.index_select(0, owner)
        slope = slope + edge.across.float() * change
    return _Runs(
        pixel=triangles.pixel.index_select(0, owner) + row * width + first,
        length=last - first + 1,
        inverse_depth=inverse_depth,
        slope=slope.index_select(0, owner),
        number=triangles.number.index_select(0, owner),
    )


class _Edge(NamedTuple):
    """An edge function: an integer per pixel centre of the box, 0 or more on the triangle's side."""

    at_first: Tensor  # [n] int64, at the box's first pixel centre
    across: Tensor  # [n] what a column adds
    down: Tensor  # [n] what a row adds
    excluded: Tensor  # [n] 1 where centres on the edge belong to the neighbour; already taken off `at_first`

    def at_row(self, owner: Tensor, row: Tensor) -> Tensor:
        return self.at_first.index_select(0, owner) + self.down.index_select(0, owner) * row


def _edge_functions(triangles: _Triangles) -> list[_Edge]:
    """The three edges, edge k opposite to corner k; without `excluded`, its function is twice the area there."""
    edges = []
    for start, end in ((1, 2), (2, 0), (0, 1)):
        x, y = triangles.x[start].long(), triangles.y[start].long()
        along_x, along_y = triangles.x[end] - x, triangles.y[end] - y
        excluded = (along_y >= 0).long()  # all but left edges; top edges and bottom edges are told apart by `_box`
        edges.append(_Edge(along_y * x - along_x * y - excluded, along_y * -ONE_PIXEL, along_x * ONE_PIXEL, excluded))
    return edges


def _fill(runs: _Runs) -> tuple[Tensor, Tensor]:  # [K] pixel numbers, [K] keys
    """The pixels of the runs, with the keys that compete for them."""
    owner, column = _expand(runs.length)
    inverse_depth = runs.inverse_depth.index_select(0, owner) + column.float() * runs.slope.index_select(0, owner)
    bits = inverse_depth.clamp_(min=0).view(torch.int32).long()
    return runs.pixel.index_select(0, owner) + column, (bits << 32) | (LAST_NUMBER - runs.number).index_select(0, owner)


def _expand(counts: Tensor) -> tuple[Tensor, Tensor]:
    """For counts [n], the two lists 0 0 0 1 1 … (whose) and 0 1 2 0 1 … (which one of it), int64."""
    owner = torch.repeat_interleave(counts)
    before = counts.cumsum(0) - counts
    return owner, torch.arange(len(owner), device=owner.device) - before.index_select(0, owner)
