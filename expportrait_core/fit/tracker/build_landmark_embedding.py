"""Find where the tracker's landmarks lie on the default head: render it, detect them, cast them back.

    python -m expportrait_core.fit.tracker.build_landmark_embedding

Several people, head turns, lights and jaw openings are rendered. Each gives one point of the canonical surface per
landmark; the medoid of the well visible ones is kept, so that a landmark of the upper lip never ends on the lower one.
Writes `assets/default_head_landmarks.npz`, which `body/build_default_head.py` packs into the head's own file.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...body import load_head_model, pose_vertices, regions
from ...body.build_default_head import LANDMARKS
from ...body.landmark_groups import IBUG68_FROM_MEDIAPIPE, NUM_MESH, UPPER_BROWS
from ...portable import write_npz
from ...render import interpolate, vertex_normals, visible_triangles
from ...types import HEAD, JAW, NECK, Camera, HeadModel
from ..detect.face_boxes import largest_face
from ..detect.face_detector import detect_faces
from ..detect.face_mesh import face_landmarks

SIZE = 640
IRIS_RADIUS = 0.0059  # metres, an average human iris
MIN_FACING = 0.3  # cosine between surface and view under which a hit is not trusted


def portrait_camera(distance: float, height: float) -> Camera:
    """A camera in front of the face that looks along -z."""
    intrinsics = torch.tensor([[[2.4 * SIZE, 0, SIZE / 2], [0, 2.4 * SIZE, SIZE / 2], [0, 0, 1.0]]])
    world_to_camera = torch.diag(torch.tensor([1.0, -1, -1, 1]))[None]
    world_to_camera[0, :3, 3] = torch.tensor([0, height, distance])
    return Camera(intrinsics, world_to_camera, (SIZE, SIZE))


def colours(model: HeadModel, brows: Tensor | None) -> Tensor:
    """Painted vertices [V, 3]: enough of a face for a network that has learnt photographs."""
    paint = torch.tensor([
        [0.80, 0.62, 0.52], [0.68, 0.38, 0.36], [0.78, 0.58, 0.48], [0.25, 0.08, 0.08], [0.92, 0.90, 0.88],
        [0.92, 0.90, 0.88], [0.9, 0.88, 0.8], [0.9, 0.88, 0.8], [0.6, 0.3, 0.3],
    ])  # fmt: skip
    result = paint[model.parts].clone()
    for joint, part in ((23, regions.LEFT_EYEBALL), (24, regions.RIGHT_EYEBALL)):
        ball = model.parts == part
        off_axis = (model.template[ball] - model.joint_template[joint])[:, :2].norm(dim=1)
        facing = model.template[ball, 2] > model.joint_template[joint, 2]
        iris = torch.where((off_axis < IRIS_RADIUS * 1.1) & facing, 1.0, 0.0)[:, None]
        result[ball] = result[ball] * (1 - iris) + torch.tensor([0.18, 0.10, 0.06]) * iris
    if brows is not None:
        near = torch.cdist(model.template, brows).min(dim=1).values
        ink = torch.exp(-((near / 0.005) ** 2))[:, None] * (model.parts == regions.SKIN)[:, None]
        result = result * (1 - 0.8 * ink) + torch.tensor([0.15, 0.10, 0.08]) * 0.8 * ink
    return result


def cast(
    model: HeadModel, vertices: Tensor, camera: Camera, brows: Tensor | None, light: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """Landmark hits of one rendering: triangle [468], barycentric [468, 3], facing [468], picture; None if no face."""
    corners = camera.project(vertices)
    ids = visible_triangles(corners, model.faces, SIZE, SIZE)
    normals = vertex_normals(vertices, model.faces)
    view = torch.nn.functional.normalize(camera.world_to_camera[0, :3, 3] * torch.tensor([0, 0, 1.0]), dim=0)
    shade = 0.35 + 0.65 * (normals @ torch.nn.functional.normalize(light, dim=0)).clamp(min=0)
    facing = (normals * view).sum(-1, keepdim=True)
    painted = torch.cat([colours(model, brows) * shade[0, :, None], facing[0]], 1)[None]
    drawn = interpolate(corners, painted, model.faces, ids)
    picture = torch.where(ids[..., None] >= 0, drawn[..., :3], torch.tensor([0.55, 0.6, 0.65])).clamp(0, 1)
    boxes = detect_faces(picture)[0]
    if not boxes:
        return None
    points = face_landmarks(picture, [largest_face(boxes)])[0][:, :NUM_MESH]
    at = points[0, :, :2].floor().long().clamp(0, SIZE - 1)
    triangle = ids[0, at[:, 1], at[:, 0]].long()
    # barycentric coordinates of the exact landmark position in its triangle
    corner = corners[0][model.faces[triangle.clamp(min=0)]]  # [468, 3, 3]
    relative = corner[..., :2] - points[0, :, None, :2] * corner[..., 2:]
    a, b, c = relative.unbind(1)
    cross = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], 1)
    barycentric = (cross / cross.sum(1, keepdim=True)).clamp(0, 1)
    return triangle, barycentric / barycentric.sum(1, keepdim=True), drawn[0, at[:, 1], at[:, 0], 3], picture[0]


def _cross(p: Tensor, q: Tensor) -> Tensor:
    return p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]


def views(model: HeadModel) -> list[tuple[Tensor, Tensor]]:
    """(posed vertices [1, V, 3], light [3]) of the renderings."""
    generator = torch.Generator().manual_seed(0)
    people = [torch.zeros(100)] + [0.7 * torch.randn(100, generator=generator) for _ in range(5)]
    result = []
    for betas, yaw, pitch, jaw in itertools.product(people, (-0.5, -0.2, 0.0, 0.2, 0.5), (-0.12, 0.1), (0.0, 0.16)):
        poses = torch.zeros(1, 55, 3)
        turn = torch.tensor([pitch, yaw, 0.0])
        poses[0, NECK], poses[0, HEAD], poses[0, JAW, 0] = 0.4 * turn, 0.6 * turn, jaw
        vertices = pose_vertices(model, betas, torch.zeros(1, 0), poses, torch.zeros(1, 3))
        head = torch.tensor([0.0, float(model.joint_template[HEAD, 1]) + 0.04, 0.0])
        side = 1.0 if yaw > 0 else -1.0
        result.append((vertices - head, torch.tensor([0.4 * side, 0.5, 0.8])))
    return result


def medoids(model: HeadModel, triangles: Tensor, barycentric: Tensor, facing: Tensor) -> tuple[Tensor, Tensor]:
    """The most central trusted hit of every landmark; -1 where no view saw it."""
    points = (model.template[model.faces[triangles.clamp(min=0)]] * barycentric[..., None]).sum(2)  # [N, 468, 3]
    skin = (model.parts == regions.SKIN) | (model.parts == regions.LIPS)
    on_skin = skin[model.faces[triangles.clamp(min=0)]].all(dim=2)
    trust = (triangles >= 0) & on_skin & (facing > MIN_FACING)
    chosen, weights = [], []
    for landmark in range(triangles.shape[1]):
        good = trust[:, landmark].nonzero()[:, 0]
        if len(good) < 3:  # seen edge-on only: take any hit on the skin
            good = ((triangles[:, landmark] >= 0) & on_skin[:, landmark]).nonzero()[:, 0]
        if len(good) == 0:
            chosen.append(torch.tensor(-1))
            weights.append(torch.tensor([1.0, 0, 0]))
            continue
        distance = torch.cdist(points[good, landmark], points[good, landmark]).clamp(max=0.01).sum(1)
        best = good[distance.argmin()]
        chosen.append(triangles[best, landmark])
        weights.append(barycentric[best, landmark])
    return torch.stack(chosen), torch.stack(weights)


def iris_points(model: HeadModel) -> tuple[Tensor, Tensor]:
    """MediaPipe's points 468..477 on the eyeballs: centre, then the iris's four ends; the person's right eye first."""
    triangles, barycentric = [], []
    directions = torch.tensor([[0.0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]])
    for joint, part, mirror in ((24, regions.RIGHT_EYEBALL, 1.0), (23, regions.LEFT_EYEBALL, 1.0)):
        mine = (model.parts[model.faces] == part).all(dim=1).nonzero()[:, 0]
        corners = model.template[model.faces[mine]]  # [t, 3, 3]
        normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        for direction in directions * IRIS_RADIUS:
            target = model.joint_template[joint, :2] + direction * torch.tensor([mirror, 1.0])
            a, b, c = (corners[:, k, :2] - target for k in range(3))
            areas = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], 1)
            inside = (areas >= 0).all(dim=1) & (normal[:, 2] > 0)
            depth = torch.where(inside, corners[:, :, 2].mean(1), -torch.inf)
            hit = depth.argmax()
            triangles.append(mine[hit])
            barycentric.append(areas[hit] / areas[hit].sum())
    return torch.stack(triangles), torch.stack(barycentric)


def build(pictures: Path | None = None) -> dict[str, np.ndarray]:
    """The embeddings `mediapipe478` and `ibug68` of the default head."""
    model = load_head_model("default", level=0)
    camera = portrait_camera(distance=1.3, height=0.0)
    brows = None
    for paint in (False, True):  # the first pass finds the brows, the second is of a head that has some
        hits = [cast(model, v, camera, brows, light) for v, light in views(model)]
        found = [h for h in hits if h is not None]
        triangles, barycentric, facing = (torch.stack([h[k] for h in found]) for k in range(3))
        triangle, weight = medoids(model, triangles, barycentric, facing)
        points = (model.template[model.faces[triangle.clamp(min=0)]] * weight[..., None]).sum(1)
        line = torch.cat([points[list(side)] for side in UPPER_BROWS])
        brows = torch.cat([line] + [0.5 * (points[list(s[:-1])] + points[list(s[1:])]) for s in UPPER_BROWS])
        if pictures and paint:
            import cv2

            sheet = torch.cat([h[3] for h in found[:10]], 1).mul(255).byte().numpy()
            cv2.imwrite(str(pictures), sheet[..., ::-1])
    iris = iris_points(model)
    triangle, weight = torch.cat([triangle, iris[0]]), torch.cat([weight, iris[1]])
    ibug = torch.tensor(IBUG68_FROM_MEDIAPIPE)
    return {
        "landmark_faces_mediapipe478": triangle.numpy().astype(np.int32),
        "landmark_barycentric_mediapipe478": weight.numpy(),
        "landmark_faces_ibug68": triangle[ibug].numpy().astype(np.int32),
        "landmark_barycentric_ibug68": weight[ibug].numpy(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=LANDMARKS)
    parser.add_argument("--pictures", type=Path, help="PNG file for a look at some of the renderings")
    arguments = parser.parse_args()
    arrays = build(arguments.pictures)
    write_npz(arguments.output, arrays)


if __name__ == "__main__":
    main()
