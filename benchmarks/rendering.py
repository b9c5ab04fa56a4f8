"""Milliseconds per frame of drawing heads at 512 pixels: our back ends beside other libraries doing the same jobs.

    python benchmarks/rendering.py

The whole job is everything from moved vertices to the encoded picture, mask and depth: vertex normals, visibility,
interpolation, encoding. Meshes: a lumpy icosphere of 81,920 faces that covers 44 % of the picture, the same of four
times as many, and the default head at levels 1 and 2. Beside it: posing, the photo preview, threads, pixels, frames,
peak memory. Peers are measured where they are installed (see drawing/peers.py), in turns with ours.

Ours has two threads, as mitsuba and smplx have; deodr and embree have one, because that is all they offer (a second
process would help them as it would help us: `one_thread_ratio_deodr` is both on one thread). The whole job is drawn
with one sample per pixel and without region maps, as the peers do it; `node_ms` is what the Render Normals node does by
default, four samples and regions as pictures. Posing keeps a person's shape from call to call, which smplx does not.

Peak memory is that of a process that does what the Render Normals node does by default, on the head at level 1, at 512
pixels: normals, mask, reference, and depth and regions as pictures, four samples a pixel. What it returns is taken off:
40 bytes a pixel, 10.5 GB for 1,000 frames, which the machine must have free. `memory_1000_over_100` is what is left for
1,000 frames over what is left for 100; Python, torch and the compiled loops, some 500 MB, are in both.

The figures are the fastest of several rounds, of peers as of ours: what other programs of the machine add belongs to
none of them. The load is printed all the same; on a busy machine the ratios are worth nothing, because two threads
wait for each other. Prints a table, and one JSON object as its last line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from drawing import peers
from drawing.scenes import FRAMES, SIZE, Scene, head, motion_of, sphere
from preview import milliseconds as preview_milliseconds
from preview import scene as preview_scene

from expportrait_core.render import (
    MeshTopology,
    NormalPictures,
    PictureDrawer,
    choose_backend,
    render_mesh,
    render_normals,
    render_pictures,
    visible_triangles,
)

ROUNDS, PLAIN_FRAMES, THREADS, PREVIEW_ROUNDS = 15, 2, 2, 6
REST = 0.03  # seconds
BYTES_PER_SECOND = 10e9  # what one core of a desktop moves, for the floor
MEMORY_FRAMES = (100, 1000)
JOBS = ("whole", "visible", "fwd+bwd", "whole torch", "visible torch", "deodr", "embree", "mitsuba")


def main() -> None:
    if sys.argv[1:2] == ["--memory"]:
        return print(peak_megabytes(int(sys.argv[2])))
    torch.set_num_threads(THREADS)
    print(f"{choose_backend(torch.device('cpu'))} draws; load {load()}; missing packages: {peers.missing() or 'none'}")
    scenes = {"sphere 82k": sphere(6), "sphere 328k": sphere(7), "head level 1": head(1), "head level 2": head(2)}
    columns = ("faces", "covered", *JOBS, "floor")
    print(f"{'ms per frame':<14}" + "".join(f"{column:>14}" for column in columns))
    rows = {}
    for name, scene in scenes.items():
        row = rows[name] = measured(scene, everything=name == "sphere 82k")
        print(f"{name:<14}" + "".join(f"{row[c]:>14.2f}" if c in row else f"{'-':>14}" for c in columns))
    first, lines = rows["sphere 82k"], {}
    times = fastest(scaling(scenes))
    for line in ("1 thread", "2 threads", "82k faces", "328k faces", "512 pixels", "1024 pixels", "1 frame",
                 "1 frame, forward and backward"):  # fmt: skip
        lines[line] = times[line]
    lines["render_normals on the head at level 1, posing included"] = times["head"]
    lines["the same as the node does it: four samples, regions"] = times["node"]
    posing = fastest(posing_jobs()) if peers.has("smplx") else {}
    lines |= {f"posing by {name}": milliseconds for name, milliseconds in posing.items()}
    lines["photo preview"] = preview = preview_milliseconds(*preview_scene(), PREVIEW_ROUNDS)
    for name, milliseconds in lines.items():
        print(f"{name:<56}{milliseconds:8.2f} ms a frame")
    small, large = (megabytes_beside_pictures(frames) for frames in MEMORY_FRAMES)
    print(f"peak memory of {MEMORY_FRAMES} frames beside their pictures: {small:.0f} and {large:.0f} MB")
    print(json.dumps({
        "whole_ms": round(first["whole"], 2), "ratio_deodr": ratio(first.get("deodr"), first["whole"]),
        "one_thread_ratio_deodr": ratio(first.get("deodr"), times["1 thread"]), "node_ms": round(times["node"], 2),
        "visibility_numba_ms": round(first["visible"], 2), "visibility_torch_ms": round(first["visible torch"], 2),
        "forward_backward_ms": round(first["fwd+bwd"], 2),
        "posing_ratio_smplx": ratio(posing.get("smplx"), posing.get("ours")),
        "faces_x4": ratio(times["328k faces"], times["82k faces"]),
        "threads_x2": ratio(times["1 thread"], times["2 threads"]), "memory_1000_over_100": round(large / small, 3),
        "preview_ms": round(preview, 1), "pixels_x4": ratio(times["1024 pixels"], times["512 pixels"]),
        "one_frame_ms": round(times["1 frame"], 2), "render_normals_head_ms": round(times["head"], 2), "rows": rows,
        "load": load(), "threads": THREADS, "missing": peers.missing(),
    }))  # fmt: skip


def ratio(theirs: float | None, ours: float | None) -> float | None:
    return None if theirs is None or ours is None else round(theirs / ours, 2)


def measured(scene: Scene, everything: bool) -> dict[str, float]:
    """One row of the table; the slow peers only where everything is wanted."""
    vertices, faces, camera = scene
    room = NormalPictures.empty(len(vertices), SIZE, SIZE, vertices)
    corners, few = camera.project(vertices), slice(0, PLAIN_FRAMES)
    plain, few_corners = PictureDrawer(faces, vertices.shape[1], backend="torch"), corners[few]
    jobs: dict[str, tuple[Callable[[], object], int]] = {
        "whole": (whole(scene, room), len(vertices)),
        "visible": (lambda: visible_triangles(corners, faces, SIZE, SIZE), len(vertices)),
        "fwd+bwd": (forward_backward(scene), len(vertices)),
        "whole torch": (lambda: plain.draw(vertices[few], camera[few], room[few]), PLAIN_FRAMES),
        "visible torch": (lambda: visible_triangles(few_corners, faces, SIZE, SIZE, "torch"), PLAIN_FRAMES),
    }
    wanted = ("deodr", "embree", "mitsuba") if everything else ("deodr",)
    for name in filter(peers.has, wanted):
        jobs[name] = (getattr(peers, name)(scene), peers.PEER_FRAMES)
    return {
        "faces": len(faces),
        "covered": float(room.mask.mean()) if jobs["whole"][0]() else 0.0,
        # vertices and faces read once, the picture, the mask and the depth written once
        "floor": 4 * (3 * vertices.shape[1] + 3 * len(faces) + 5 * SIZE * SIZE) / BYTES_PER_SECOND * 1000,
        **fastest(jobs),
    }


def fastest(jobs: dict[str, tuple[Callable[[], object], int]]) -> dict[str, float]:
    """Milliseconds per frame of every job (with the frames that it does), the fastest of ROUNDS after one to warm up.
    The jobs take turns, so that all of them see the same machine, with a rest between them: threads of torch and
    mitsuba go on waiting at full speed for some milliseconds, and whoever comes next would pay for them."""
    best = dict.fromkeys(jobs, float("inf"))
    for turn in range(ROUNDS + 1):
        for name, (job, frames) in jobs.items():
            time.sleep(REST)
            start = time.perf_counter()
            job()
            if turn:
                best[name] = min(best[name], (time.perf_counter() - start) / frames * 1000)
    return best


def whole(scene: Scene, room: NormalPictures | None = None, threads: int = THREADS) -> Callable[[], object]:
    """The job from vertices to pictures, at the camera's size."""
    if room is None:
        room = NormalPictures.empty(len(scene.vertices), *scene.camera.image_size, scene.vertices)
    drawer = PictureDrawer(scene.faces, scene.vertices.shape[1])

    def job() -> object:
        torch.set_num_threads(threads)
        drawn = drawer.draw(scene.vertices, scene.camera, room)
        torch.set_num_threads(THREADS)
        return drawn

    return job


def forward_backward(scene: Scene) -> Callable[[], None]:
    """Normals and depth of the frames, and their gradient for the vertices."""
    vertices, faces, camera = scene
    topology = MeshTopology.of(faces, vertices.shape[1])
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(len(vertices), SIZE, SIZE, *channels, generator=generator) for channels in ((3,), ())]
    moving = vertices.clone().requires_grad_()

    def job() -> None:
        moving.grad = None
        maps = render_mesh(moving, faces, camera, topology=topology)
        torch.autograd.backward([maps.normals, maps.depth], weights)

    return job


def scaling(scenes: dict[str, Scene]) -> dict[str, tuple[Callable[[], object], int]]:
    """The whole job with other numbers of threads, faces, pixels and frames, and with posing."""
    small, large, motion = scenes["sphere 82k"], scenes["sphere 328k"], motion_of(1, FRAMES)
    double = small._replace(camera=small.camera.resized(2 * SIZE, 2 * SIZE))
    one = Scene(small.vertices[:1], small.faces, small.camera[:1])
    return {
        "1 thread": (whole(small, threads=1), FRAMES), "2 threads": (whole(small, threads=2), FRAMES),
        "82k faces": (whole(small), FRAMES), "328k faces": (whole(large), FRAMES),
        "512 pixels": (whole(small), FRAMES), "1024 pixels": (whole(double), FRAMES), "1 frame": (whole(one), 1),
        "1 frame, forward and backward": (forward_backward(one), 1),
        "head": (lambda: render_normals(motion, SIZE, 1), FRAMES + 1),
        "node": (lambda: render_pictures(motion, SIZE), FRAMES + 1),
    }  # fmt: skip


def posing_jobs() -> dict[str, tuple[Callable[[], object], int]]:
    ours, theirs = peers.smplx_posing()
    return {"ours": (ours, FRAMES), "smplx": (theirs, FRAMES)}


# ------------------------------------------------------------------------------------------------------------- memory


def megabytes_beside_pictures(frames: int) -> float:
    """Peak memory of a process that draws that many frames as the node does, less the pictures that it then has."""
    command = [sys.executable, __file__, "--memory", str(frames)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def peak_megabytes(frames: int) -> float:
    pictures = render_pictures(motion_of(1, frames), SIZE)
    return peak() - sum(value.nbytes for value in vars(pictures).values()) / 2**20


def peak() -> float:
    status = Path("/proc/self/status")
    if status.is_file():  # the other figure may be that of the process that started this one
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**10
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


if __name__ == "__main__":
    main()
