"""The pictures that the generator takes: normal maps of a moving head, and of the portrait's own pose."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..body.posing import axis_angle_to_matrix, joint_transforms, pose_head, pose_motion, shaped
from ..types import HEAD, Camera, HeadMotion, PersonalizedHead, Progress, RenderedHead, no_progress
from .backend import Backend
from .normals import NORMALS_CONVENTION, OBJECT_CONVENTION
from .pictures import NormalPictures, PictureDrawer
from .regions import RegionLayout

SPACES = {"camera": NORMALS_CONVENTION, "object": OBJECT_CONVENTION}
"""What the normals are relative to, and the convention that the maps are then in."""


@torch.no_grad()
def render_normals(
    motion: HeadMotion,
    size: int | tuple[int, int] = 512,  # side of a square picture, or height and width, in pixels
    supersampling: int = 2,  # samples along each side of a pixel
    chunk: int = 8,  # frames posed and drawn together
    space: str = "camera",  # or "object": normals that turn with the head, for looking at or for other tools
    regions: bool = False,  # find the regions of the head as well, see `regions`
    progress: Progress = no_progress,
    backend: Backend | None = None,  # None: the fastest that works, see `choose_backend`
) -> RenderedHead:
    """Driving normals N^D of every frame, reference normal N^R of the portrait's own pose, mask, depth, regions.

    The reference is the head of frame `portrait_frame` of its own fit, with the dynamic offsets found there. Progress
    counts it as one frame more; the preview is the last picture drawn. Beside what is returned, the memory taken does
    not depend on the number of frames; `stream_normals` returns the frames in chunks as well.

    Raises:
        ValueError: a camera's picture has another shape than `size` (it is not cropped or stretched here), or a head
            comes within 1 cm of the camera.
    """
    if space not in SPACES:
        raise ValueError(f"space is '{space}', expected one of {', '.join(SPACES)}.")
    driving, portrait, drawer = _prepared(motion, size, supersampling, chunk, backend, regions)
    head, own, total = motion.head, motion.head.fit.frames([motion.portrait_frame]), motion.num_frames + 1
    turns = _to_head(head, own.expression, own.poses) if space == "object" else None
    reference = drawer.draw(pose_head(head, motion.portrait_frame), portrait, turns=turns).normals
    progress(1, total, reference[0])
    maps = NormalPictures.empty(motion.num_frames, *driving.image_size, reference, regions)
    for start, stop in _chunks(motion.num_frames, chunk):
        if space == "object":
            turns = _to_head(head, motion.expression[start:stop], motion.poses[start:stop])
        drawer.draw(pose_motion(motion, start, stop), driving[start:stop], maps[start:stop], turns)
        for i in range(start, stop):
            progress(i + 2, total, maps.normals[i])
    return _rendered(maps, reference, SPACES[space], motion.fps)


@torch.no_grad()
def stream_normals(
    motion: HeadMotion,
    size: int | tuple[int, int] = 512,
    supersampling: int = 2,
    chunk: int = 8,  # frames of each part but the last
    regions: bool = False,
    backend: Backend | None = None,
) -> Iterator[RenderedHead]:
    """The frames of `render_normals` in parts that come one after the other, each with the same reference: for clips
    whose pictures do not fit into memory.

    Raises:
        ValueError: as `render_normals`.
    """
    driving, portrait, drawer = _prepared(motion, size, supersampling, chunk, backend, regions)
    reference = drawer.draw(pose_head(motion.head, motion.portrait_frame), portrait).normals
    for start, stop in _chunks(motion.num_frames, chunk):
        maps = drawer.draw(pose_motion(motion, start, stop), driving[start:stop])
        yield _rendered(maps, reference, NORMALS_CONVENTION, motion.fps)


def _rendered(maps: NormalPictures, reference: Tensor, convention: str, fps: float) -> RenderedHead:
    return RenderedHead(maps.normals, reference, maps.mask, maps.depth, convention, fps, maps.regions)


def _prepared(
    motion: HeadMotion, size: int | tuple[int, int], supersampling: int, chunk: int, backend: Backend | None,
    regions: bool,
) -> tuple[Camera, Camera, PictureDrawer]:  # fmt: skip
    """The cameras of the motion and of the portrait at this size, and who draws."""
    height, width = (size, size) if isinstance(size, int) else size
    for name, value in {"size": min(height, width), "supersampling": supersampling, "chunk": chunk}.items():
        if value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1.")
    driving = _resized(motion.camera, height, width, "The motion")
    portrait = _resized(motion.head.fit.camera[[motion.portrait_frame]], height, width, "The portrait")
    model = motion.head.model
    layout = RegionLayout.of(model) if regions else None
    return driving, portrait, PictureDrawer(model.fine_faces, model.num_vertices, supersampling, backend, layout)


def _chunks(num_frames: int, chunk: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + chunk, num_frames)) for start in range(0, num_frames, chunk))


def _to_head(head: PersonalizedHead, expression: Tensor, poses: Tensor) -> Tensor:
    """Rotation [F, 3, 3] from the world to the head joint's canonical space."""
    _, joints = shaped(head.model, head.betas, expression)
    return joint_transforms(axis_angle_to_matrix(poses), joints, head.model.parents, [HEAD])[:, 0, :3]


def _resized(camera: Camera, height: int, width: int, owner: str) -> Camera:
    """The camera at another size, refused where that would stretch the picture by more than rounding."""
    seen_height, seen_width = camera.image_size
    scale = min(height / seen_height, width / seen_width)
    if abs(height - scale * seen_height) > 1 or abs(width - scale * seen_width) > 1:
        raise ValueError(
            f"{owner} has a camera for {seen_width}×{seen_height} pictures, and {width}×{height} was asked for, which "
            f"has another shape. Crop or pad its pictures before tracking, or ask for a size of the same shape."
        )
    return camera.resized(height, width)
