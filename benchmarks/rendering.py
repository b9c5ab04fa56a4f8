"""Milliseconds per frame of drawing heads at 512 pixels: our back ends beside deodr doing the same job.

    python benchmarks/rendering.py

The job is everything from moved vertices to the encoded picture, mask and depth: vertex normals, visibility,
interpolation, encoding. Meshes: a lumpy icosphere of 81,920 faces that covers 44 % of the picture, the same of four
times as many, and the default head at levels 1 and 2. deodr is measured where it is installed (pip install deodr
trimesh). Medians; the machine should have nothing else to do. Prints a table, and one JSON object as its last line.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from expportrait_core.body import load_head_model, pose_motion
from expportrait_core.render import (
    MeshTopology,
    NormalPictures,
    PictureDrawer,
    choose_backend,
    encode_normals,
    render_mesh,
    render_normals,
    stream_normals,
    visible_triangles,
)
from expportrait_core.types import HEAD, JAW, NUM_JOINTS, Camera, HeadMotion, PersonalizedHead, SMPLXFit

SIZE, FRAMES, REPEATS, PLAIN_FRAMES, THREADS = 512, 16, 5, 2, 2
BYTES_PER_SECOND = 10e9  # what one core of a desktop moves, for the floor
MEMORY_FRAMES = (100, 1000)
PEERS = ("deodr", "trimesh", "nvdiffrast")
"""What is measured beside us where it is there; deodr needs trimesh to be imported."""


class Scene(NamedTuple):
    vertices: Tensor  # [F, V, 3] world
    faces: Tensor  # [T, 3]
    camera: Camera


def main() -> None:
    if sys.argv[1:2] == ["--memory"]:
        return print(peak_megabytes(int(sys.argv[2])))
    torch.set_num_threads(THREADS)
    missing = [name for name in PEERS if importlib.util.find_spec(name) is None]
    print(f"{choose_backend(torch.device('cpu'))} draws; load {load()}; not measured, missing: {missing or 'nothing'}")
    scenes = {"sphere 82k": sphere(6), "sphere 328k": sphere(7), "head level 1": head(1), "head level 2": head(2)}
    columns = ("faces", "covered", "whole", "visible", "fwd+bwd", "whole torch", "visible torch", "deodr", "floor")
    print(f"{'ms per frame':<14}" + "".join(f"{column:>14}" for column in columns))
    rows = {}
    for name, scene in scenes.items():
        rows[name] = measured(scene)
        print(f"{name:<14}" + "".join(f"{rows[name][c]:>14.2f}" if c in rows[name] else f"{'-':>14}" for c in columns))
    whole_head = per_frame(lambda: render_normals(motion_of(1, FRAMES), SIZE, 1), FRAMES + 1)
    one_thread, two_threads = scaling(scenes["sphere 82k"])
    small, large = (streamed_megabytes(frames) for frames in MEMORY_FRAMES)
    print(f"render_normals on the head at level 1, posing included: {whole_head:.2f} ms a frame")
    print(f"whole with 1 thread {one_thread:.2f} ms, with 2 threads {two_threads:.2f} ms")
    print(f"peak memory of {MEMORY_FRAMES} streamed frames: {small:.0f} and {large:.0f} MB")
    main_row, ratio = rows["sphere 82k"], None
    if "deodr" in main_row:
        ratio = round(main_row["deodr"] / main_row["whole"], 1)
    print(json.dumps({
        "whole_ms": round(main_row["whole"], 2), "ratio_deodr": ratio,
        "visibility_numba_ms": round(main_row["visible"], 2),
        "visibility_torch_ms": round(main_row["visible torch"], 2),
        "forward_backward_ms": round(main_row["fwd+bwd"], 2), "faces_x4": round(
            rows["sphere 328k"]["whole"] / main_row["whole"], 2),
        "threads_x2": round(one_thread / two_threads, 2), "memory_1000_over_100": round(large / small, 3),
        "render_normals_head_ms": round(whole_head, 2), "rows": rows, "load": load(), "threads": THREADS,
        "missing": missing,
    }))  # fmt: skip


def measured(scene: Scene) -> dict[str, float]:
    """One row of the table."""
    vertices, faces, camera = scene
    corners, few = camera.project(vertices), slice(0, PLAIN_FRAMES)
    fast, plain = (PictureDrawer(faces, vertices.shape[1], backend=name) for name in (None, "torch"))
    room = NormalPictures.empty(len(vertices), SIZE, SIZE, vertices)
    few_corners, few_camera = corners[few], camera[few]
    row = {
        "faces": len(faces),
        "whole": per_frame(lambda: fast.draw(vertices, camera, room), len(vertices)),
        "covered": float(room.mask.mean()),
        "visible": per_frame(lambda: visible_triangles(corners, faces, SIZE, SIZE), len(vertices)),
        "fwd+bwd": forward_backward(scene),
        "whole torch": per_frame(lambda: plain.draw(vertices[few], few_camera, room[few]), PLAIN_FRAMES),
        "visible torch": per_frame(lambda: visible_triangles(few_corners, faces, SIZE, SIZE, "torch"), PLAIN_FRAMES),
        # vertices and faces read once, the picture, the mask and the depth written once
        "floor": 4 * (3 * vertices.shape[1] + 3 * len(faces) + 5 * SIZE * SIZE) / BYTES_PER_SECOND * 1000,
    }
    if importlib.util.find_spec("deodr") and importlib.util.find_spec("trimesh"):
        row["deodr"] = deodr(scene)
    return row


def per_frame(job: Callable[[], object], frames: int) -> float:
    """Median milliseconds per frame, after one call to warm up."""
    job()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        job()
        times.append((time.perf_counter() - start) / frames * 1000)
    return statistics.median(times)


def forward_backward(scene: Scene) -> float:
    """Normals and depth of every frame, frame by frame, and their gradient for the vertices."""
    vertices, faces, camera = scene
    topology = MeshTopology.of(faces, vertices.shape[1])
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(1, SIZE, SIZE, *channels, generator=generator) for channels in ((3,), ())]
    moving = [frame[None].clone().requires_grad_() for frame in vertices]

    def job() -> None:
        for i, frame in enumerate(moving):
            frame.grad = None
            maps = render_mesh(frame, faces, camera[i : i + 1], topology=topology)
            torch.autograd.backward([maps.normals, maps.depth], weights)

    return per_frame(job, len(vertices))


def scaling(scene: Scene) -> tuple[float, float]:
    """The whole job with one thread and with two."""
    drawer = PictureDrawer(scene.faces, scene.vertices.shape[1])
    room, times = NormalPictures.empty(len(scene.vertices), SIZE, SIZE, scene.vertices), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        times.append(per_frame(lambda: drawer.draw(scene.vertices, scene.camera, room), len(scene.vertices)))
    torch.set_num_threads(THREADS)
    return times[0], times[1]


# ------------------------------------------------------------------------------------------------------------- memory


def streamed_megabytes(frames: int) -> float:
    """Peak memory of a process that draws that many frames and keeps none."""
    command = [sys.executable, __file__, "--memory", str(frames)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def peak_megabytes(frames: int) -> float:
    import resource  # not on Windows

    for part in stream_normals(motion_of(1, frames), SIZE, 1):
        part.mask.sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


# ------------------------------------------------------------------------------------------------------------- scenes


def sphere(levels: int) -> Scene:
    """A lumpy sphere, 20 · 4^levels faces, that turns before a camera."""
    vertices, faces = icosphere(levels)
    draw, lumps = np.random.default_rng(0), np.zeros(len(vertices))
    for k in range(40):
        wave = draw.normal(size=3) * (2 + 0.4 * k)
        lumps += np.sin(vertices @ wave + draw.uniform(0, 6.28)) * 0.08 / (1 + 0.25 * k)
    vertices = vertices * (1 + 0.35 * lumps[:, None]) * np.array([0.75, 1.0, 0.85])
    yaw = 0.6 * np.sin(2 * np.pi * np.arange(FRAMES) / FRAMES + 0.3)
    turn = np.stack([[[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]] for a in yaw])
    return Scene(torch.from_numpy(vertices @ turn).float(), torch.from_numpy(faces), look(4.2, 1.75, FRAMES))


def icosphere(levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit sphere: vertices [V, 3] and faces [T, 3], counter-clockwise seen from outside."""
    golden = (1 + 5**0.5) / 2
    corners = [[s * 1, t * golden, 0] for t in (1, -1) for s in (-1, 1)]
    vertices = np.array([np.roll(corner, shift) for shift in (0, 1, 2) for corner in corners], float)
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    # three corners that are one edge apart from each other make a face; its order follows from the outside
    near = np.abs(np.linalg.norm(vertices[:, None] - vertices, axis=-1) - 2 / math.sqrt(1 + golden**2)) < 1e-6
    triples = [(a, b, c) for a in range(12) for b in range(a) for c in range(b)]
    faces = [f for f in triples if near[f[0], f[1]] and near[f[1], f[2]] and near[f[2], f[0]]]
    faces = np.array([f if np.linalg.det(vertices[list(f)]) > 0 else f[::-1] for f in faces])
    for _ in range(levels):
        pairs = np.sort(np.stack([faces, np.roll(faces, -1, 1)], -1), -1)
        edges, which = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
        middle = len(vertices) + which.reshape(-1, 3)
        added = vertices[edges].mean(1)
        vertices = np.concatenate([vertices, added / np.linalg.norm(added, axis=1, keepdims=True)])
        tips = [np.stack([faces[:, k], middle[:, k], middle[:, k - 1]], 1) for k in range(3)]
        faces = np.concatenate([*tips, middle])
    return vertices, faces


def look(distance: float, focal: float, frames: int) -> Camera:
    """Cameras that look along -z at the origin; focal length in picture heights."""
    intrinsics = torch.tensor([[focal * SIZE, 0, SIZE / 2], [0, focal * SIZE, SIZE / 2], [0, 0, 1]])
    world_to_camera = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    world_to_camera[2, 3] = distance
    return Camera(intrinsics.repeat(frames, 1, 1), world_to_camera.repeat(frames, 1, 1), (SIZE, SIZE))


def head(level: int) -> Scene:
    motion = motion_of(level, FRAMES)
    return Scene(pose_motion(motion, 0, FRAMES), motion.head.model.fine_faces, motion.camera)


def motion_of(level: int, frames: int) -> HeadMotion:
    """The default head that nods, turns and opens its mouth."""
    model = load_head_model("default", level=level)
    time_ = torch.linspace(0, 6.28, frames)
    poses = torch.zeros(frames, NUM_JOINTS, 3)
    poses[:, JAW, 0], poses[:, HEAD, 1] = 0.15 + 0.15 * time_.sin(), 0.4 * time_.cos()
    expression, betas = torch.zeros(frames, model.expression_basis.shape[2]), torch.zeros(model.shape_basis.shape[2])
    camera = look(0.7, 1.3, frames)
    camera.world_to_camera[:, :3, 3] -= camera.world_to_camera[0, :3, :3] @ model.template[
        model.facial_weight > 0.5].mean(0)
    fit = SMPLXFit(betas, expression[:1], poses[:1], torch.zeros(1, 3), camera[:1], model.expression_space,
                   model.model_id)  # fmt: skip
    static = torch.zeros(model.num_vertices, 3)
    person = PersonalizedHead(model, betas, static, static[None], fit, level, model.model_id)
    return HeadMotion(person, expression, poses, torch.zeros(frames, 3), camera)


# -------------------------------------------------------------------------------------------------------------- deodr


def deodr(scene: Scene) -> float:
    """Milliseconds per frame of the same job: its vertex normals, its rasteriser on the indexed mesh, our encoding."""
    from deodr.differentiable_renderer import Scene2DBase, renderScene
    from deodr.triangulated_mesh import TriMesh

    faces = scene.faces.numpy().astype(np.uint32)
    count, none = scene.vertices.shape[1], np.zeros(len(faces), bool)
    mesh = TriMesh(faces, vertices=scene.vertices[0].double().numpy())
    picture, nearest = np.empty((SIZE, SIZE, 4)), np.empty((SIZE, SIZE))
    empty = np.zeros((SIZE, SIZE, 4))
    cameras = [(c.world_to_camera[0].double().numpy(), c.intrinsics[0].double().numpy())
               for c in (scene.camera[i : i + 1] for i in range(PLAIN_FRAMES))]  # fmt: skip
    vertices = scene.vertices.double().numpy()

    def job() -> None:
        for moved, (world_to_camera, intrinsics) in zip(vertices, cameras):
            mesh.set_vertices(moved)
            mesh.compute_vertex_normals()
            corners = (moved @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]) @ intrinsics.T
            depth = corners[:, 2].copy()
            normals = mesh.vertex_normals @ (world_to_camera[:3, :3] * [[1], [-1], [-1]]).T
            flat = Scene2DBase(
                faces=faces, faces_uv=faces, ij=corners[:, :2] / depth[:, None] - 0.5, depths=depth, textured=none,
                uv=np.zeros((count, 2)), shade=np.zeros(count), colors=np.column_stack([normals, depth]), shaded=none,
                edgeflags=np.zeros((len(faces), 3), bool), height=SIZE, width=SIZE, nb_colors=4,
                texture=np.zeros((0, 0)), background_image=empty, clockwise=False,
            )  # fmt: skip
            renderScene(flat, 0, picture, nearest, check_valid=False)
            drawn = torch.from_numpy(picture)
            mask = (drawn[..., 3] > 0).float()
            encode_normals(torch.nn.functional.normalize(drawn[..., :3], dim=-1).float(), mask)

    milliseconds = per_frame(job, PLAIN_FRAMES)
    ours = PictureDrawer(scene.faces, count).draw(scene.vertices[:PLAIN_FRAMES], scene.camera[:PLAIN_FRAMES])
    covered, expected = float((picture[..., 3] > 0).mean()), float(ours.mask[-1].mean())
    if abs(covered - expected) > 0.01:  # or it would not be the same job
        raise RuntimeError(f"deodr covers {covered:.3f} of the picture and we {expected:.3f}.")
    return milliseconds


if __name__ == "__main__":
    main()
