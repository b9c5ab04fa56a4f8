"""Milliseconds per frame of the photo preview at 512 pixels on two threads, beside a library's piecewise affine warp.

    python benchmarks/preview.py

The peer moves the same photo by the same landmarks with scikit-image's PiecewiseAffineTransform: the nearest thing that
a library offers without weights. It has no mouth, no lids, no background; it is the price of "just a warp".
Prints a table, and one JSON object as its last line.
"""

from __future__ import annotations

import json
import time

import numpy as np
import torch

from expportrait_core import crop_portrait, load_fit, load_head_model, photo_preview, track, transfer
from expportrait_core.assets import PERFORMANCE, PHOTO
from expportrait_core.body import landmark_points, pose_head, pose_motion
from expportrait_core.head import personalize
from expportrait_core.head.settings import DRAFT
from expportrait_core.media import read_picture
from expportrait_core.types import HeadMotion

SIZE, FRAMES, REPEATS, PEER_FRAMES = 512, 24, 3, 2
BYTES_PER_SECOND = 10e9  # what one core of a desktop moves, for the floor


def main() -> None:
    torch.set_num_threads(2)
    picture, motion = scene()
    mine = milliseconds(picture, motion, REPEATS)
    start = time.perf_counter()
    photo_preview(picture, motion.frames(0, 1))
    once = time.perf_counter() - start - mine / 1000  # what is done once per photo
    peer = piecewise_affine(picture.numpy(), motion)
    # read the photo, its map and its mask once, write the frame once, all float32
    floor = SIZE * SIZE * 4 * (3 + 2 + 1 + 3) / BYTES_PER_SECOND * 1000
    print(f"{'photo preview':<44}{mine:8.1f} ms a frame   (once per photo: {once:.2f} s)")
    print(f"{'scikit-image piecewise affine, warp alone':<44}{peer:8.1f} ms a frame")
    print(f"{'floor: bytes in and out once':<44}{floor:8.2f} ms a frame, ours is {mine / floor:.0f} times that")
    print(json.dumps({"preview_ms": round(mine, 1), "piecewise_affine_ms": round(peer, 1),
                      "once_per_photo_s": round(once, 2), "floor_ms": round(floor, 2), "size": SIZE,
                      "threads": torch.get_num_threads(), "frames": FRAMES}))  # fmt: skip


def scene() -> tuple[torch.Tensor, HeadMotion]:
    """The built-in photo [512, 512, 3], and FRAMES of the built-in performance on its head."""
    model = load_head_model("default", level=1)
    photo = read_picture(PHOTO).reshape(1, 512, 512, 3)
    pictures, fit, _ = crop_portrait(photo, track(photo, model), size=SIZE)
    motion = transfer(personalize(model, fit, pictures, settings=DRAFT), load_fit(PERFORMANCE))
    return pictures[0], motion.frames(10, 10 + FRAMES)


def milliseconds(picture: torch.Tensor, motion: HeadMotion, rounds: int) -> float:
    """Of a frame, the fastest of several rounds. The first waits for all that is done once per photo, and is left out
    with the one that may have been finished beside it."""
    photo_preview(picture, motion.frames(0, 2))  # loads the networks
    best = float("inf")
    for _ in range(rounds):
        arrived: list[float] = []
        photo_preview(picture, motion, progress=lambda *_, arrived=arrived: arrived.append(time.perf_counter()))
        best = min(best, (arrived[-1] - arrived[0]) / (len(arrived) - 2) * 1000)
    return best


def piecewise_affine(picture: np.ndarray, motion) -> float:
    """Milliseconds per frame of the peer on the same landmarks."""
    from skimage.transform import PiecewiseAffineTransform, warp

    head = motion.head
    embedding = head.model.landmarks["ibug68"]
    border = np.array([[x, y] for x in (0, SIZE / 2, SIZE) for y in (0, SIZE / 2, SIZE) if (x, y) != (SIZE / 2,) * 2])

    def points(vertices: torch.Tensor, camera) -> np.ndarray:
        projected = camera.project(landmark_points(vertices, head.model.faces, embedding))[0]
        return np.concatenate([(projected[:, :2] / projected[:, 2:]).numpy(), border])

    before = points(pose_head(head, motion.portrait_frame), head.fit.camera[motion.portrait_frame :])
    start = time.perf_counter()
    for frame in range(PEER_FRAMES):
        after = points(pose_motion(motion, frame, frame + 1), motion.camera[frame : frame + 1])
        transform = PiecewiseAffineTransform()
        transform.estimate(after, before)
        warp(picture, transform)
    return (time.perf_counter() - start) / PEER_FRAMES * 1000


if __name__ == "__main__":
    main()
