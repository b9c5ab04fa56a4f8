"""The forward job on the CPU in one compiled call per frame: mesh and camera to the encoded picture, mask and depth.

Nothing in between leaves the call: a frame's normals, triangle numbers and samples live in a `Canvas` that each thread
keeps for all its frames, because fresh memory of that size costs as much as drawing into it. Pictures too large for
CANVAS_BYTES are drawn in bands of rows, one after the other on the same canvas.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from .kernels import draw_maps
from .regions import RegionLayout
from .regions_numba import label_pixels
from .workers import bands, in_threads, num_workers

CANVAS_BYTES = 1 << 30  # that the samples of all threads' canvases take together at most; our choice


def band_height(height: int, width: int, supersampling: int) -> int:
    """Rows of a picture that each thread draws at once: all, if the samples of so many threads stay within the bound,
    and at least one."""
    samples = CANVAS_BYTES // num_workers() // 8  # 4 bytes of `ids` and 4 of `nearest`
    return min(height, max(1, samples // (supersampling**2 * width)))


class Canvas(NamedTuple):
    """What one thread needs to draw H rows of a frame, s·H by s·W samples."""

    snapped: np.ndarray  # [V, 2] int32
    inverse_depth: np.ndarray  # [V] float32
    drawn: np.ndarray  # [V] uint8, which vertices may be seen
    points: np.ndarray  # [V, 8] float32: corners and normals, see `turn_normals`
    line: np.ndarray  # [5, W] float32, sums of a row's samples
    ids: np.ndarray  # [s·H, s·W] int32
    nearest: np.ndarray  # [s·H, s·W] float32

    @staticmethod
    def of(num_vertices: int, height: int, width: int, supersampling: int) -> Canvas:
        rows, columns = height * supersampling, width * supersampling
        return Canvas(
            snapped=np.empty((num_vertices, 2), np.int32),
            inverse_depth=np.empty(num_vertices, np.float32),
            drawn=np.empty(num_vertices, np.uint8),
            points=np.empty((num_vertices, 8), np.float32),
            line=np.empty((5, width), np.float32),
            ids=np.empty((rows, columns), np.int32),
            nearest=np.empty((rows, columns), np.float32),
        )

    def of_rows(self, rows: int) -> Canvas:
        """The same for that many rows of samples."""
        return self._replace(ids=self.ids[:rows], nearest=self.nearest[:rows])


def draw_pictures_numba(
    vertices: Tensor,  # [F, V, 3] float32, world
    projections: Tensor,  # [F, 3, 4] float32, from the world to homogeneous pixel corners of the samples
    turns: Tensor,  # [F, 3, 3] float32, from the world to the camera space of normals
    faces: Tensor,  # [T, 3] of int32 less memory is read than of int64
    fans: tuple[Tensor, Tensor],  # of the faces, see `normals_numba`
    limits: tuple[float, float],  # metres, pixels: nearest and farthest corners that can be drawn
    out: tuple[Tensor, Tensor, Tensor],  # [F, H, W, 3], [F, H, W], [F, H, W] float32: picture, mask, depth; written
    canvases: list[Canvas],  # one for each thread that shall draw at once, all for the same number of rows
    labels: tuple[RegionLayout, Tensor] | None = None,  # and [F, H, W] uint8 that its regions are written to
) -> list[bool]:  # F times whether all corners could be drawn; those that could not were put at 0
    points, p, r, *mesh = (v.detach().contiguous().numpy() for v in (vertices, projections, turns, faces, *fans))
    picture, mask, depth = (room.numpy() for room in out)
    near, far_off = np.float32(limits[0]), limits[1]

    height, width = picture.shape[1:3]
    size = canvases[0].ids.shape[1] // width
    # shared: a thread that is held up by another program leaves the rest to others
    parts = iter(bands(len(points), height, len(canvases[0].ids) // size))

    if labels is not None:
        layout, regions = labels[0], labels[1].numpy()
        fields = [v.contiguous().numpy() for v in (layout.alone, layout.share, layout.eye)]
        rings = layout.rings.numpy()

    def draw_one(canvas: Canvas, f: int, top: int, bottom: int) -> bool:
        rows, canvas = slice(top, bottom), canvas.of_rows((bottom - top) * size)
        room = picture[f, rows], mask[f, rows], depth[f, rows]
        drawn = draw_maps(points[f], p[f], r[f], *mesh, near, far_off, *canvas, top, True, *room, mask[f, rows])
        if labels is not None:
            label_pixels(canvas.ids, canvas.points[:, :3], mesh[0], *fields, rings, regions[f, rows], top)
        return drawn

    def draw_some(canvas: Canvas) -> list[tuple[int, bool]]:
        return [(f, draw_one(canvas, f, *rows)) for f, *rows in parts]

    threads = min(len(canvases), num_workers())
    drawn = dict(pair for part in in_threads(draw_some, ((canvas,) for canvas in canvases[:threads])) for pair in part)
    return [drawn[f] for f in range(len(points))]
