"""Draws pictures in a process of its own and prints, in bytes, what it took beside them at most, what it had taken
before, and what the renderer says it takes:

    python -m tests.render.peak FRAMES SIZE BACKEND ZOOM
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from expportrait_core import load_fit
from expportrait_core.assets import PERFORMANCE
from expportrait_core.body import load_head_model
from expportrait_core.render import render_pictures, working_bytes
from expportrait_core.types import HeadModel, HeadMotion, PersonalizedHead

STATUS = Path("/proc/self/status")


def performed(model: HeadModel, frames: int, zoom: float = 1.0) -> HeadMotion:
    """The built-in performance by the model itself, again and again up to so many frames."""
    fit = load_fit(PERFORMANCE, model)
    fit = fit.frames([frame % fit.num_frames for frame in range(frames)])
    intrinsics = fit.camera.intrinsics.clone()
    intrinsics[:, :2, :2] *= zoom
    fit = fit.replace(camera=fit.camera.replace(intrinsics=intrinsics))
    still = torch.zeros(model.num_vertices, 3)
    head = PersonalizedHead(model, fit.betas, still, still[None], fit.frames([0]), model.upsampling.level,
                            model.model_id)  # fmt: skip
    return HeadMotion(head, fit.expression, fit.poses, fit.translation, fit.camera)


def taken(line: str) -> int:
    """VmRSS now or VmHWM at most, as Linux counts them."""
    return int(STATUS.read_text().split(f"{line}:")[1].split()[0]) << 10


def main(frames: int, size: int, backend: str, zoom: float) -> None:
    torch.set_num_threads(1)
    motion = performed(load_head_model(level=0), frames, zoom)
    render_pictures(motion.frames(0, 1), 64, backend=backend)  # what is loaded and kept on first use
    before = taken("VmRSS")
    pictures = render_pictures(motion, size, backend=backend)
    assert float(pictures.mask.mean()) > 0.2
    returned = sum(value.nbytes for value in vars(pictures).values())
    sys.stdout.write(f"{taken('VmHWM') - returned} {before} {working_bytes(motion, size)}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
