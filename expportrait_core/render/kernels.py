"""All compiled loops of the renderer. The files beside this one call them with a frame's arrays, or a strip's.

They are in one file because compiled code is kept on disk by the date of its own file alone: a loop that calls a loop
of another file would go on calling the old one after an update. The formulas are explained where their plain twins
are: `visibility`, `interpolate`, `normals`, `mesh`.
"""

from __future__ import annotations

import numpy as np

from .compiled import compiled

NO_AREA = 1e-15  # m²; a shorter area vector has no direction. Our choice, not from the paper
NO_DIRECTION = 1e-6  # a shorter mean of unit normals has no direction. Our choice, not from the paper
MAX_EXTRAPOLATION = np.float32(0.25)
"""Visibility snaps corners to 1/256 pixel, so a pixel's centre may lie just outside of the unsnapped triangle, and the
weights extrapolate. Where they would by more than this, the triangle is thinner than about 1/90 pixel and its weights
are noise: it takes the plain mean of its corners, and no gradient of position. Our choice, not from the paper."""
THINNEST = np.float32(1 / 256)
"""Pixels. A triangle thinner than the grid that visibility snaps to takes no gradient of position either: it would be
divided by an area that is rounding noise in float32. Our choice, not from the paper."""
ZERO, THIRD, HALF, ONE = np.float32(0), np.float32(1 / 3), np.float32(0.5), np.float32(1)


@compiled
def snap_corners(
    corners: np.ndarray,  # [V, 3]
    near: float,
    far_off: float,
    snapped: np.ndarray,  # [V, 2] int32, written
    inverse_depth: np.ndarray,  # [V] float32, written
) -> bool:
    drawable = True
    for v in range(len(corners)):
        w = corners[v, 2]
        x, y = corners[v, 0] / w, corners[v, 1] / w
        if w >= near and abs(x) <= far_off and abs(y) <= far_off:  # False for NaN
            snapped[v, 0], snapped[v, 1] = np.int32(np.rint(x * 256)), np.int32(np.rint(y * 256))
            inverse_depth[v] = ONE / np.float32(w)
        else:
            drawable = False
            snapped[v, 0], snapped[v, 1], inverse_depth[v] = 0, 0, ONE
    return drawable


@compiled
def project_points(
    vertices: np.ndarray,  # [V, 3]
    projection: np.ndarray,  # [3, 4]
    corners: np.ndarray,  # [V, 3], written
) -> None:
    """`Camera.project`, to the bit."""
    for v in range(len(vertices)):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        for axis in range(3):
            near = x * projection[axis, 0] + y * projection[axis, 1]
            corners[v, axis] = near + z * projection[axis, 2] + projection[axis, 3]


@compiled
def draw_triangles(
    snapped: np.ndarray,  # [V, 2] int32
    inverse_depth: np.ndarray,  # [V] float32
    faces: np.ndarray,  # [T, 3]
    ids: np.ndarray,  # [h, W] int32, written: a band of the picture's rows
    nearest: np.ndarray,  # [h, W] float32, room for the nearest 1/w
    drawn: np.ndarray,  # [V] uint8, set to 1 at the corners of triangles that may be seen
    top: int,  # the band's first row
) -> None:
    ids[:] = -1
    nearest[:] = -ONE
    last_column, bottom = ids.shape[1] - 1, top + ids.shape[0]
    for t in range(len(faces)):
        # the exchange of two corners makes front faces positive; names as in `visibility`. Unsigned, here and below,
        # because numba looks at every signed index whether it counts from the end
        a, b, c = np.uint32(faces[t, 0]), np.uint32(faces[t, 2]), np.uint32(faces[t, 1])
        x0, y0 = np.int64(snapped[a, 0]), np.int64(snapped[a, 1])
        x1, y1 = np.int64(snapped[b, 0]), np.int64(snapped[b, 1])
        x2, y2 = np.int64(snapped[c, 0]), np.int64(snapped[c, 1])
        area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
        if area <= 0:
            continue
        first_row = max((min(y0, y1, y2) + 127) >> 8, top)
        last_row = min((max(y0, y1, y2) - 129) >> 8, bottom - 1)
        left = max((min(x0, x1, x2) + 127) >> 8, 0)
        right = min((max(x0, x1, x2) - 129) >> 8, last_column)
        if first_row > last_row or left > right:
            continue
        drawn[a] = drawn[b] = drawn[c] = 1
        dx0, dx1, dx2 = x2 - x1, x0 - x2, x1 - x0  # along the edge opposite to each corner
        dy0, dy1, dy2 = y2 - y1, y0 - y2, y1 - y0
        excluded0 = np.int64(dy0 > 0 or (dy0 == 0 and dx0 <= 0))  # all but left and top edges
        excluded1 = np.int64(dy1 > 0 or (dy1 == 0 and dx1 <= 0))
        excluded2 = np.int64(dy2 > 0 or (dy2 == 0 and dx2 <= 0))
        x, y = (left << 8) + 128, (first_row << 8) + 128
        row0 = dy0 * (x1 - x) - dx0 * (y1 - y) - excluded0
        row1 = dy1 * (x2 - x) - dx1 * (y2 - y) - excluded1
        row2 = dy2 * (x0 - x) - dx2 * (y0 - y) - excluded2
        z0 = inverse_depth[a]
        change1 = (inverse_depth[b] - z0) / np.float32(area)
        change2 = (inverse_depth[c] - z0) / np.float32(area)
        slope = np.float32(-(dy1 << 8)) * change1 + np.float32(-(dy2 << 8)) * change2
        for row in range(np.uint64(first_row - top), np.uint64(last_row - top + 1)):
            e0, e1, e2 = row0, row1, row2
            first, at_first = np.int64(-1), ZERO
            for column in range(np.uint64(left), np.uint64(right + 1)):
                if (e0 | e1 | e2) >= 0:
                    if first < 0:
                        first = np.int64(column)
                        at_first = z0 + np.float32(e1 + excluded1) * change1
                        at_first = at_first + np.float32(e2 + excluded2) * change2
                    z = max(at_first + np.float32(np.int64(column) - first) * slope, ZERO)
                    if z > nearest[row, column]:
                        nearest[row, column] = z
                        ids[row, column] = t
                elif first >= 0:
                    break
                e0 -= dy0 << 8
                e1 -= dy1 << 8
                e2 -= dy2 << 8
            row0 += dx0 << 8
            row1 += dx1 << 8
            row2 += dx2 << 8


@compiled
def area_at(
    vertices: np.ndarray,  # [V, 3]
    starts: np.ndarray,  # [V + 1]
    corners: np.ndarray,  # [3·T, 2]
    a: int,
) -> tuple:
    """Σ (b - a) × (c - a) over the triangles of the vertex a."""
    ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
    nx, ny, nz = ax * 0, ay * 0, az * 0
    for k in range(starts[a], starts[a + 1]):
        b, c = corners[k, 0], corners[k, 1]
        ux, uy, uz = vertices[b, 0] - ax, vertices[b, 1] - ay, vertices[b, 2] - az
        vx, vy, vz = vertices[c, 0] - ax, vertices[c, 1] - ay, vertices[c, 2] - az
        nx += uy * vz - uz * vy
        ny += uz * vx - ux * vz
        nz += ux * vy - uy * vx
    return nx, ny, nz


@compiled
def sum_areas(
    vertices: np.ndarray,  # [V, 3]
    starts: np.ndarray,  # [V + 1]
    corners: np.ndarray,  # [3·T, 2]
    areas: np.ndarray,  # [V, 3], written at first..last - 1
    first: int,
    last: int,
) -> None:
    for a in range(first, last):
        areas[a, 0], areas[a, 1], areas[a, 2] = area_at(vertices, starts, corners, a)


@compiled
def sum_area_gradients(
    vertices: np.ndarray,  # [V, 3]
    gradient: np.ndarray,  # [V, 3]
    starts: np.ndarray,  # [V + 1]
    corners: np.ndarray,  # [3·T, 2]
    result: np.ndarray,  # [V, 3], written at first..last - 1
    first: int,
    last: int,
) -> None:
    """Σ (b - c) × (g_a + g_b + g_c): the area vector is a × b + b × c + c × a, and counts at all three corners."""
    for a in range(first, last):
        rx, ry, rz = gradient[a, 0] * 0, gradient[a, 0] * 0, gradient[a, 0] * 0
        for k in range(starts[a], starts[a + 1]):
            b, c = corners[k, 0], corners[k, 1]
            ux = vertices[b, 0] - vertices[c, 0]
            uy = vertices[b, 1] - vertices[c, 1]
            uz = vertices[b, 2] - vertices[c, 2]
            gx = gradient[a, 0] + gradient[b, 0] + gradient[c, 0]
            gy = gradient[a, 1] + gradient[b, 1] + gradient[c, 1]
            gz = gradient[a, 2] + gradient[b, 2] + gradient[c, 2]
            rx += uy * gz - uz * gy
            ry += uz * gx - ux * gz
            rz += ux * gy - uy * gx
        result[a, 0], result[a, 1], result[a, 2] = rx, ry, rz


@compiled
def units(
    vectors: np.ndarray,  # [n, 3]
    result: np.ndarray,  # [n, 3], written
    scale: np.ndarray,  # [n], written
    shortest: float,
) -> None:
    for row in range(len(vectors)):
        x, y, z = vectors[row, 0], vectors[row, 1], vectors[row, 2]
        squared = x * x + y * y + z * z
        factor = 1 / np.sqrt(squared) if squared > shortest * shortest else 0.0
        scale[row] = factor
        result[row, 0], result[row, 1], result[row, 2] = x * factor, y * factor, z * factor


@compiled
def unit_gradients(
    result: np.ndarray,  # [n, 3]
    scale: np.ndarray,  # [n]
    gradient: np.ndarray,  # [n, 3]
    spread: np.ndarray,  # [n, 3], written
) -> None:
    for row in range(len(result)):
        x, y, z = result[row, 0], result[row, 1], result[row, 2]
        gx, gy, gz = gradient[row, 0], gradient[row, 1], gradient[row, 2]
        along = x * gx + y * gy + z * gz
        factor = scale[row]
        spread[row, 0] = (gx - x * along) * factor
        spread[row, 1] = (gy - y * along) * factor
        spread[row, 2] = (gz - z * along) * factor


@compiled
def weights_at(
    corners: np.ndarray,  # [V, 3]
    i: int,
    j: int,
    k: int,
    px: float,
    py: float,
    third: float,  # 1/3 in the precision of the corners, which is then that of all else
) -> tuple:
    """b_0..2, Σu, whether the triangle is thick enough, and the corners relative to the pixel x_0, y_0 … y_2."""
    wi, wj, wk = corners[i, 2], corners[j, 2], corners[k, 2]
    x0, y0 = corners[i, 0] - px * wi, corners[i, 1] - py * wi
    x1, y1 = corners[j, 0] - px * wj, corners[j, 1] - py * wj
    x2, y2 = corners[k, 0] - px * wk, corners[k, 1] - py * wk
    u0, u1, u2 = x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1
    total = u0 + u1 + u2
    b0, b1, b2 = u0 / total, u1 / total, u2 / total
    usable = min(b0, b1, b2) >= -MAX_EXTRAPOLATION  # False for NaN
    if not usable:
        b0, b1, b2 = third, third, third
    return b0, b1, b2, total, usable, x0, y0, x1, y1, x2, y2


@compiled
def is_thick(
    area: float,  # Σu
    w: float,
    x0: float,  # this and the next five: from weights_at
    y0: float,
    x1: float,
    y1: float,
    x2: float,
    y2: float,
) -> bool:
    """Whether the triangle's area, w² times that in pixels, over its longest edge, w times that, is above THINNEST."""
    first = (x1 - x0) * (x1 - x0) + (y1 - y0) * (y1 - y0)
    second = (x2 - x1) * (x2 - x1) + (y2 - y1) * (y2 - y1)
    third = (x0 - x2) * (x0 - x2) + (y0 - y2) * (y0 - y2)
    least = THINNEST * w
    return area * area > least * least * max(first, second, third)


@compiled
def interpolate_rows(
    corners: np.ndarray,  # [V, 3]
    attributes: np.ndarray,  # [V, C]
    faces: np.ndarray,  # [T, 3]
    ids: np.ndarray,  # [H, W]
    centres: np.ndarray,  # [max(H, W)] 0.5, 1.5, …
    third: float,
    picture: np.ndarray,  # [H, W, C], rows top..bottom - 1 written
    top: int,
    bottom: int,
) -> None:
    channels = attributes.shape[1]
    for row in range(top, bottom):
        for column in range(ids.shape[1]):
            triangle = ids[row, column]
            if triangle < 0:
                for channel in range(channels):
                    picture[row, column, channel] = 0
                continue
            i, j, k = faces[triangle, 0], faces[triangle, 1], faces[triangle, 2]
            b = weights_at(corners, i, j, k, centres[column], centres[row], third)
            for channel in range(channels):
                value = b[0] * attributes[i, channel] + b[1] * attributes[j, channel] + b[2] * attributes[k, channel]
                picture[row, column, channel] = value


@compiled
def add_corner(
    spread: np.ndarray,  # [V, 3 + C], added to
    corner: int,
    along_x: float,
    along_y: float,
    px: float,
    py: float,
) -> None:
    spread[corner, 0] += along_x
    spread[corner, 1] += along_y
    spread[corner, 2] -= px * along_x + py * along_y


@compiled
def spread_rows(
    corners: np.ndarray,  # [V, 3]
    attributes: np.ndarray,  # [V, C]
    faces: np.ndarray,  # [T, 3]
    ids: np.ndarray,  # [H, W]
    centres: np.ndarray,  # [max(H, W)] 0.5, 1.5, …
    third: float,
    gradient: np.ndarray,  # [H, W, C]
    spread: np.ndarray,  # [V, 3 + C] of the corners and of the attributes side by side, added to
    top: int,
    bottom: int,
) -> None:
    channels = attributes.shape[1]
    for row in range(top, bottom):
        py = centres[row]
        for column in range(ids.shape[1]):
            triangle = ids[row, column]
            if triangle < 0:
                continue
            px = centres[column]
            i, j, k = faces[triangle, 0], faces[triangle, 1], faces[triangle, 2]
            b0, b1, b2, total, usable, x0, y0, x1, y1, x2, y2 = weights_at(corners, i, j, k, px, py, third)
            g0, g1, g2 = third - third, third - third, third - third
            for channel in range(channels):
                g = gradient[row, column, channel]
                g0 += g * attributes[i, channel]
                g1 += g * attributes[j, channel]
                g2 += g * attributes[k, channel]
                spread[i, 3 + channel] += b0 * g
                spread[j, 3 + channel] += b1 * g
                spread[k, 3 + channel] += b2 * g
            if not usable or not is_thick(total, corners[i, 2], x0, y0, x1, y1, x2, y2):
                continue
            mean = g0 * b0 + g1 * b1 + g2 * b2
            h0, h1, h2 = (g0 - mean) / total, (g1 - mean) / total, (g2 - mean) / total
            add_corner(spread, i, h2 * y1 - h1 * y2, h1 * x2 - h2 * x1, px, py)
            add_corner(spread, j, h0 * y2 - h2 * y0, h2 * x0 - h0 * x2, px, py)
            add_corner(spread, k, h1 * y0 - h0 * y1, h0 * x1 - h1 * x0, px, py)


@compiled
def turn_normals(
    vertices: np.ndarray,  # [V, 3]
    starts: np.ndarray,  # [V + 1]
    corners: np.ndarray,  # [3·T, 2]
    turn: np.ndarray,  # [3, 3]
    drawn: np.ndarray,  # [V] uint8
    points: np.ndarray,  # [V, 8]: columns 0..2 are corners, 3..6 written
) -> None:
    """Columns 3..5 become the unit normals in camera space, and column 6 what the area vectors were multiplied with:
    what a pixel needs of a vertex lies side by side. 0 where no normal is, or nobody sees it."""
    for v in range(len(points)):
        scale = ZERO
        if drawn[v] != 0:
            x, y, z = area_at(vertices, starts, corners, v)
            squared = np.float64(x) * x + np.float64(y) * y + np.float64(z) * z
            if squared > NO_AREA * NO_AREA:
                scale = np.float32(1 / np.sqrt(squared))
        points[v, 6] = scale
        if scale == ZERO:
            points[v, 3], points[v, 4], points[v, 5] = ZERO, ZERO, ZERO
            continue
        x, y, z = x * scale, y * scale, z * scale
        for axis in range(3):
            points[v, 3 + axis] = turn[axis, 0] * x + turn[axis, 1] * y + turn[axis, 2] * z


@compiled
def add_samples(
    points: np.ndarray,  # [V, 8], see turn_normals
    faces: np.ndarray,  # [T, 3]
    ids: np.ndarray,  # [s·W] a row of samples
    py: float,
    size: int,  # s
    line: np.ndarray,  # [5, W] sums of normal, depth and number of samples, added to
) -> None:
    """`interpolate` in float32; apart from `finish_line`, because a loop with both in it takes twice as long."""
    for column in range(len(ids)):
        triangle = ids[column]
        if triangle < 0:
            continue
        px = np.float32(column) + HALF
        i, j, k = faces[triangle, 0], faces[triangle, 1], faces[triangle, 2]
        wi, wj, wk = points[i, 2], points[j, 2], points[k, 2]
        x0, y0 = points[i, 0] - px * wi, points[i, 1] - py * wi
        x1, y1 = points[j, 0] - px * wj, points[j, 1] - py * wj
        x2, y2 = points[k, 0] - px * wk, points[k, 1] - py * wk
        u0, u1, u2 = x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1
        inverse = ONE / (u0 + u1 + u2)
        b0, b1, b2 = u0 * inverse, u1 * inverse, u2 * inverse
        if not min(b0, b1, b2) >= -MAX_EXTRAPOLATION:
            b0, b1, b2 = THIRD, THIRD, THIRD
        pixel = column // size if size > 1 else column
        for channel in range(3):
            value = b0 * points[i, 3 + channel] + b1 * points[j, 3 + channel] + b2 * points[k, 3 + channel]
            line[channel, pixel] += value
        line[3, pixel] += b0 * wi + b1 * wj + b2 * wk
        line[4, pixel] += ONE


@compiled
def finish_line(
    line: np.ndarray,  # [5, W] from add_samples, written over
    samples: float,  # of a pixel, s²
    encoded: bool,
    normals: np.ndarray,  # [W, 3], written
    mask: np.ndarray,  # [W], written
    depth: np.ndarray,  # [W], written
    scales: np.ndarray,  # [W], written where not encoded
) -> None:
    """The mean of the samples as `render_mesh` makes it: unit normals with what their sums were multiplied with, or
    the picture that `encode_normals` makes of them.

    Written for the compiler's vectors: no branch depends on a pixel, the sums of all pixels lie side by side, and the
    three numbers of a pixel are put beside each other last."""
    shortest = np.float32((NO_DIRECTION * samples) ** 2)
    for pixel in range(line.shape[1]):
        x, y, z, count = line[0, pixel], line[1, pixel], line[2, pixel], line[4, pixel]
        coverage = count / samples
        squared = x * x + y * y + z * z
        scale = ONE / np.sqrt(squared) if squared > shortest else ZERO
        if encoded:
            line[0, pixel] = min(max(x * scale * HALF + HALF, ZERO), ONE) * coverage
            line[1, pixel] = min(max(y * scale * HALF + HALF, ZERO), ONE) * coverage
            line[2, pixel] = min(max(z * scale * HALF + HALF, ZERO), ONE) * coverage
        else:
            line[0, pixel], line[1, pixel], line[2, pixel] = x * scale, y * scale, z * scale
            scales[pixel] = scale
        mask[pixel] = coverage
        depth[pixel] = line[3, pixel] / max(count, ONE)
    for pixel in range(line.shape[1]):
        normals[pixel, 0], normals[pixel, 1], normals[pixel, 2] = line[0, pixel], line[1, pixel], line[2, pixel]


@compiled
def draw_maps(
    vertices: np.ndarray,  # [V, 3]
    projection: np.ndarray,  # [3, 4]
    turn: np.ndarray,  # [3, 3]
    faces: np.ndarray,  # [T, 3]
    starts: np.ndarray,  # [V + 1]
    others: np.ndarray,  # [3·T, 2]
    near: float,
    far_off: float,
    snapped: np.ndarray,  # this and the next six: a Canvas
    inverse_depth: np.ndarray,
    drawn: np.ndarray,
    points: np.ndarray,
    line: np.ndarray,
    ids: np.ndarray,
    nearest: np.ndarray,
    top: int,  # first row of the band of h rows that is drawn
    encoded: bool,
    normals: np.ndarray,  # [h, W, 3], written
    mask: np.ndarray,  # [h, W], written
    depth: np.ndarray,  # [h, W], written
    scales: np.ndarray,  # [h, W], written where not encoded
) -> bool:
    project_points(vertices, projection, points[:, :3])
    drawable = snap_corners(points[:, :3], near, far_off, snapped, inverse_depth)
    drawn[:] = 0
    size = ids.shape[0] // normals.shape[0]
    draw_triangles(snapped, inverse_depth, faces, ids, nearest, drawn, top * size)
    turn_normals(vertices, starts, others, turn, drawn, points)
    for row in range(len(normals)):
        line[:] = ZERO
        for sample in range(row * size, row * size + size):
            add_samples(points, faces, ids[sample], np.float32(top * size + sample) + HALF, size, line)
        some = scales[row] if not encoded else mask[row]
        finish_line(line, np.float32(size * size), encoded, normals[row], mask[row], depth[row], some)
    return drawable


@compiled
def spread_samples(
    points: np.ndarray,  # [V, 8], see turn_normals
    faces: np.ndarray,  # [T, 3]
    ids: np.ndarray,  # [s·H, s·W]
    normals: np.ndarray,  # [H, W, 3] unit
    mask: np.ndarray,  # [H, W]
    scales: np.ndarray,  # [H, W]
    normals_gradient: np.ndarray,  # [H, W, 3]
    depth_gradient: np.ndarray,  # [H, W]
    spread: np.ndarray,  # [V, 6] of the corners and of the normals in camera space, added to
) -> None:
    """`spread_rows` of the pixels' mean normals and depths."""
    size = ids.shape[0] // normals.shape[0]
    for row in range(ids.shape[0]):
        py = np.float32(row) + HALF
        y = row // size
        for column in range(ids.shape[1]):
            triangle = ids[row, column]
            if triangle < 0:
                continue
            px = np.float32(column) + HALF
            x = column // size if size > 1 else column
            nx, ny, nz, scale = normals[y, x, 0], normals[y, x, 1], normals[y, x, 2], scales[y, x]
            gx, gy, gz = normals_gradient[y, x, 0], normals_gradient[y, x, 1], normals_gradient[y, x, 2]
            along = nx * gx + ny * gy + nz * gz
            gx, gy, gz = (gx - nx * along) * scale, (gy - ny * along) * scale, (gz - nz * along) * scale
            gd = depth_gradient[y, x] / (mask[y, x] * np.float32(size * size))
            i, j, k = faces[triangle, 0], faces[triangle, 1], faces[triangle, 2]
            b0, b1, b2, total, usable, x0, y0, x1, y1, x2, y2 = weights_at(points, i, j, k, px, py, THIRD)
            g0 = gx * points[i, 3] + gy * points[i, 4] + gz * points[i, 5] + gd * points[i, 2]
            g1 = gx * points[j, 3] + gy * points[j, 4] + gz * points[j, 5] + gd * points[j, 2]
            g2 = gx * points[k, 3] + gy * points[k, 4] + gz * points[k, 5] + gd * points[k, 2]
            mean = g0 * b0 + g1 * b1 + g2 * b2
            usable = usable and is_thick(total, points[i, 2], x0, y0, x1, y1, x2, y2)
            inverse = ONE / total if usable else ZERO
            h0, h1, h2 = (g0 - mean) * inverse, (g1 - mean) * inverse, (g2 - mean) * inverse
            add_sample(spread, i, b0, gx, gy, gz, gd, h2 * y1 - h1 * y2, h1 * x2 - h2 * x1, px, py)
            add_sample(spread, j, b1, gx, gy, gz, gd, h0 * y2 - h2 * y0, h2 * x0 - h0 * x2, px, py)
            add_sample(spread, k, b2, gx, gy, gz, gd, h1 * y0 - h0 * y1, h0 * x1 - h1 * x0, px, py)


@compiled
def add_sample(
    spread: np.ndarray,  # [V, 6], added to
    corner: int,
    weight: float,
    gx: float,
    gy: float,
    gz: float,
    gd: float,
    along_x: float,
    along_y: float,
    px: float,
    py: float,
) -> None:
    spread[corner, 0] += along_x
    spread[corner, 1] += along_y
    spread[corner, 2] += weight * gd - (px * along_x + py * along_y)  # the depth is the third corner itself
    spread[corner, 3] += weight * gx
    spread[corner, 4] += weight * gy
    spread[corner, 5] += weight * gz


@compiled
def spread_maps(
    vertices: np.ndarray,  # [V, 3]
    points: np.ndarray,  # [V, 8], see turn_normals
    projection: np.ndarray,  # [3, 4]
    turn: np.ndarray,  # [3, 3]
    back: np.ndarray,  # [3, 3] its inverse
    faces: np.ndarray,  # [T, 3]
    starts: np.ndarray,  # [V + 1]
    others: np.ndarray,  # [3·T, 2]
    ids: np.ndarray,  # [s·H, s·W]
    normals: np.ndarray,  # [H, W, 3]
    mask: np.ndarray,  # [H, W]
    scales: np.ndarray,  # [H, W]
    normals_gradient: np.ndarray,  # [H, W, 3]
    depth_gradient: np.ndarray,  # [H, W]
    spread: np.ndarray,  # [V, 6], room for the gradients of the corners and of the normals in camera space
    areas: np.ndarray,  # [V, 3], room for the gradient of the area vectors
    vertex_gradient: np.ndarray,  # [V, 3], written
    of_camera: bool,  # whether the next two are wanted
    projection_gradient: np.ndarray,  # [3, 4] float64, added to
    turn_gradient: np.ndarray,  # [3, 3] float64, added to
) -> None:
    """The way back through `draw_maps`."""
    spread[:] = ZERO
    spread_samples(points, faces, ids, normals, mask, scales, normals_gradient, depth_gradient, spread)
    for v in range(len(vertices)):
        gx, gy, gz, scale = spread[v, 3], spread[v, 4], spread[v, 5], points[v, 6]
        nx, ny, nz = points[v, 3], points[v, 4], points[v, 5]
        ux = back[0, 0] * nx + back[0, 1] * ny + back[0, 2] * nz  # the unit normal in the world
        uy = back[1, 0] * nx + back[1, 1] * ny + back[1, 2] * nz
        uz = back[2, 0] * nx + back[2, 1] * ny + back[2, 2] * nz
        wx = turn[0, 0] * gx + turn[1, 0] * gy + turn[2, 0] * gz
        wy = turn[0, 1] * gx + turn[1, 1] * gy + turn[2, 1] * gz
        wz = turn[0, 2] * gx + turn[1, 2] * gy + turn[2, 2] * gz
        along = ux * wx + uy * wy + uz * wz
        areas[v, 0], areas[v, 1] = (wx - ux * along) * scale, (wy - uy * along) * scale
        areas[v, 2] = (wz - uz * along) * scale
        if not of_camera or (scale == ZERO and (spread[v, :3] == ZERO).all()):  # what nobody sees may be anything
            continue
        for axis in range(3):
            g, h = spread[v, 3 + axis], spread[v, axis]
            turn_gradient[axis, 0] += g * ux
            turn_gradient[axis, 1] += g * uy
            turn_gradient[axis, 2] += g * uz
            projection_gradient[axis, 0] += h * vertices[v, 0]
            projection_gradient[axis, 1] += h * vertices[v, 1]
            projection_gradient[axis, 2] += h * vertices[v, 2]
            projection_gradient[axis, 3] += h
    sum_area_gradients(vertices, areas, starts, others, vertex_gradient, 0, len(vertices))
    for v in range(len(vertices)):
        x, y, z = spread[v, 0], spread[v, 1], spread[v, 2]
        for axis in range(3):
            along = projection[0, axis] * x + projection[1, axis] * y + projection[2, axis] * z
            vertex_gradient[v, axis] += along
