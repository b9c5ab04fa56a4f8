"""Region maps on the CPU, compiled: samples to regions to the one that most of a pixel's samples show, in one loop.

The formulas are explained where their plain twins are: `regions`. The loop calls no other, see `kernels`.
"""

from __future__ import annotations

import numpy as np

from .compiled import compiled

UNSURE = 255  # triangles in which several regions meet
ZERO, HALF, ONE, THIRD = np.float32(0), np.float32(0.5), np.float32(1), np.float32(1 / 3)


@compiled
def label_pixels(
    ids: np.ndarray,  # [s·h, s·W] triangle seen by each sample, -1 in the background
    corners: np.ndarray,  # [V, 3] float32, homogeneous pixel corners of the samples
    faces: np.ndarray,  # [T, 3]
    alone: np.ndarray,  # [T] uint8
    share: np.ndarray,  # [V, R] float32
    eye: np.ndarray,  # [V, 3] float32
    rings: np.ndarray,  # [n, 2] float32: number of a region, cosine of the angle within which it replaces what is there
    regions: np.ndarray,  # [h, W] uint8, written: a band of the picture's rows
    top: int,  # the band's first row
) -> None:
    size = ids.shape[0] // regions.shape[0]
    kinds = share.shape[1]
    counts = np.zeros(kinds, np.int32)
    for row in range(regions.shape[0]):
        for column in range(regions.shape[1]):
            counts[:] = 0
            for sample in range(size * size):
                y, x = row * size + sample // size, column * size + sample % size
                triangle = ids[y, x]
                region = np.int64(0)
                if triangle >= 0:
                    region = np.int64(alone[triangle])
                if region == UNSURE:
                    px, py = np.float32(x) + HALF, np.float32(top * size + y) + HALF
                    i, j, k = faces[triangle, 0], faces[triangle, 1], faces[triangle, 2]
                    wi, wj, wk = corners[i, 2], corners[j, 2], corners[k, 2]
                    x0, y0 = corners[i, 0] - px * wi, corners[i, 1] - py * wi
                    x1, y1 = corners[j, 0] - px * wj, corners[j, 1] - py * wj
                    x2, y2 = corners[k, 0] - px * wk, corners[k, 1] - py * wk
                    u0, u1, u2 = x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1
                    total = u0 + u1 + u2
                    b0, b1, b2 = THIRD, THIRD, THIRD
                    if total != 0:
                        b0 = min(max(u0 / total, ZERO), ONE)
                        b1 = min(max(u1 / total, ZERO), ONE)
                        b2 = min(max(u2 / total, ZERO), ONE)
                    region, most = np.int64(0), -ONE
                    for kind in range(kinds):
                        value = b0 * share[i, kind] + b1 * share[j, kind] + b2 * share[k, kind]
                        if value > most:
                            region, most = np.int64(kind), value
                    dx = b0 * eye[i, 0] + b1 * eye[j, 0] + b2 * eye[k, 0]
                    dy = b0 * eye[i, 1] + b1 * eye[j, 1] + b2 * eye[k, 1]
                    dz = b0 * eye[i, 2] + b1 * eye[j, 2] + b2 * eye[k, 2]
                    length = np.sqrt(dx * dx + dy * dy + dz * dz)
                    for ring in range(len(rings)):
                        if length > 0 and dz > rings[ring, 1] * length:
                            region = np.int64(rings[ring, 0])
                counts[region] += 1
            best = 0
            for kind in range(1, kinds):
                if counts[kind] > counts[best]:
                    best = kind
            regions[row, column] = best
