"""The pictures that the generator takes: normal maps of a moving head, and of the portrait's own pose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..body.posing import axis_angle_to_matrix, joint_transforms, pose_head, pose_motion, shaped
from ..types import HEAD, Camera, HeadMotion, PersonalizedHead, Progress, RenderedHead, no_progress
from .backend import Backend
from .checks import whole_number
from .depth import depth_picture, depth_span, joined_span
from .normals import NORMALS_CONVENTION, OBJECT_CONVENTION
from .pictures import NormalPictures, PictureDrawer
from .regions import DETAILS, RegionLayout, region_picture, require_detail
from .visibility import counting_from

SPACES = {"camera": NORMALS_CONVENTION, "object": OBJECT_CONVENTION}
"""What the normals are relative to, and the convention that the maps are then in."""

Room = Callable[[int, int], NormalPictures]
"""`room(start, stop)` is what the pictures of those frames are drawn into."""


@torch.no_grad()
def stream_normals(
    motion: HeadMotion,
    size: int | tuple[int, int] = 512,  # side of a square picture, or height and width, in pixels
    supersampling: int = 2,  # samples along each side of a pixel
    chunk: int = 8,  # frames posed and drawn together: of each part but the last
    space: str = "camera",  # or "object": normals that turn with the head, for looking at or for other tools
    regions: bool = False,  # find the regions of the head as well, see `regions`
    progress: Progress = no_progress,
    backend: Backend | None = None,  # None: the fastest that works, see `choose_backend`
    device: torch.device | str | None = None,  # where the pictures go, frame by frame; None: where the motion is
    room: Room | None = None,  # None: fresh memory for each part
) -> Iterator[RenderedHead]:
    """Driving normals N^D, mask, depth and regions in parts that come one after the other, each with the reference
    normal N^R of the portrait's own pose: for clips whose pictures do not fit into memory, or are wanted elsewhere.

    The reference is the head of frame `portrait_frame` of its own fit, with the dynamic offsets found there. Progress
    counts it as one frame more, and may raise after it and after each part; the preview is the last picture drawn.
    Beside what the caller keeps, the memory taken does not depend on the number of frames.

    Raises:
        ValueError: at once, if a camera's picture has another shape than `size` (it is not cropped or stretched here);
            on the way, if a head comes within 1 cm of the camera.
    """
    if space not in SPACES:
        raise ValueError(f"space is '{space}', expected one of {', '.join(SPACES)}.")
    height, width = _sides(size)
    chunk = whole_number("chunk", chunk)
    driving = _resized(motion.camera, height, width, "The motion")
    portrait = _resized(motion.head.fit.camera[[motion.portrait_frame]], height, width, "The portrait")
    model, layout = motion.head.model, RegionLayout.of(motion.head.model) if regions else None
    drawer = PictureDrawer(model.fine_faces, model.num_vertices, supersampling, backend, layout)

    def fresh(start: int, stop: int) -> NormalPictures:
        return NormalPictures.empty(stop - start, height, width, model.template, regions, device)

    return _parts(motion, driving, portrait, drawer, chunk, space, progress, fresh, room or fresh)


@torch.no_grad()
def _parts(
    motion: HeadMotion, driving: Camera, portrait: Camera, drawer: PictureDrawer, chunk: int, space: str,
    progress: Progress, fresh: Room, room: Room,
) -> Iterator[RenderedHead]:  # fmt: skip
    head, own, total = motion.head, motion.head.fit.frames([motion.portrait_frame]), motion.num_frames + 1
    turns = _to_head(head, own.expression, own.poses) if space == "object" else None
    vertices = pose_head(head, motion.portrait_frame)
    with counting_from(motion.portrait_frame, "of the portrait's own clip "):
        reference = drawer.draw(vertices, portrait, fresh(0, 1), turns).normals
    progress(1, total, reference[0])
    for start, stop in _chunks(motion.num_frames, chunk):
        if space == "object":
            turns = _to_head(head, motion.expression[start:stop], motion.poses[start:stop])
        with counting_from(start):
            maps = drawer.draw(pose_motion(motion, start, stop), driving[start:stop], room(start, stop), turns)
        for i, normals in enumerate(maps.normals):
            progress(start + i + 2, total, normals)
        yield RenderedHead(maps.normals, reference, maps.mask, maps.depth, SPACES[space], motion.fps, maps.regions)


def render_normals(
    motion: HeadMotion,
    size: int | tuple[int, int] = 512,
    supersampling: int = 2,
    chunk: int = 8,
    space: str = "camera",
    regions: bool = False,
    progress: Progress = no_progress,
    backend: Backend | None = None,
    device: torch.device | str | None = None,
) -> RenderedHead:
    """All parts of `stream_normals` in one, drawn straight into their places. A GPU holds one frame's pictures at a
    time where `device` is the CPU.

    Raises:
        ValueError: as `stream_normals`.
    """
    parts = stream_normals(
        motion, size, supersampling, chunk, space, regions, progress, backend, device,
        room=lambda start, stop: maps[start:stop],
    )  # fmt: skip
    maps = NormalPictures.empty(motion.num_frames, *_sides(size), motion.head.model.template, regions, device)
    for part in parts:
        reference = part.reference_normals
    return RenderedHead(maps.normals, reference, maps.mask, maps.depth, SPACES[space], motion.fps, maps.regions)


@dataclass(frozen=True)
class HeadPictures:
    """A moving head in pictures alone, as people and other tools take them."""

    normals: Tensor  # [F, H, W, 3] in 0..1, as in RenderedHead
    reference_normals: Tensor  # [1, H, W, 3]
    mask: Tensor  # [F, H, W] coverage 0..1
    depth: Tensor  # [F, H, W, 3] in 0..1, see `depth_picture`: one scale for the whole clip
    regions: Tensor  # [F, H, W, 3] in 0..1, see `region_picture`


@torch.no_grad()
def render_pictures(
    motion: HeadMotion,
    size: int | tuple[int, int] = 512,
    supersampling: int = 2,
    chunk: int = 8,
    space: str = "camera",
    detail: str = DETAILS[0],  # of the region map, see `region_picture`
    progress: Progress = no_progress,
    backend: Backend | None = None,
    device: torch.device | str | None = None,
) -> HeadPictures:
    """The parts of `stream_normals` with depth and regions as pictures. Beside these, the memory taken does not depend
    on the number of frames: depth waits in its own picture, in metres, until the whole clip's span is known.

    Progress goes on at the full count while depth is brought to its span, so that it can be cancelled there too.

    Raises:
        ValueError: as `stream_normals`, or an unknown detail.
    """
    require_detail(detail)
    chunk = whole_number("chunk", chunk)

    def room(start: int, stop: int) -> NormalPictures:
        return NormalPictures(normals[start:stop], mask[start:stop], metres[: stop - start], numbers[: stop - start])

    parts = stream_normals(motion, size, supersampling, chunk, space, True, progress, backend, device, room)
    frames, (height, width), like = motion.num_frames, _sides(size), motion.head.model.template
    normals, depth, regions = (like.new_empty(frames, height, width, 3, device=device) for _ in range(3))
    mask = like.new_empty(frames, height, width, device=device)
    metres = like.new_empty(min(chunk, frames), height, width, device=device)
    numbers = torch.empty_like(metres, dtype=torch.uint8)
    chunks, spans = list(_chunks(frames, chunk)), []
    for (start, stop), part in zip(chunks, parts, strict=True):
        reference = part.reference_normals
        spans.append(depth_span(part.depth))
        depth[start:stop, ..., 0] = part.depth
        region_picture(part.regions, detail, regions[start:stop])
    span = joined_span(spans)
    for start, stop in chunks:
        depth_picture(depth[start:stop, ..., 0], span, depth[start:stop])
        progress(frames + 1, frames + 1, None)
    return HeadPictures(normals, reference, mask, depth, regions)


SAMPLE_BYTES, VERTEX_BYTES, POSED_BYTES = 250, 1000, 100
"""Of the samples of a frame that is covered all over, of the mesh, and of each posed mesh: measured with plain torch on
the CPU, whose arrays are as large as a GPU's, and rounded up."""


def working_bytes(
    motion: HeadMotion,
    size: int | tuple[int, int] = 512,
    supersampling: int = 2,
    chunk: int = 8,
) -> int:
    """About what `render_pictures` takes on a GPU, for any number of frames, if its pictures go to the CPU: frames are
    posed by the chunk and drawn one by one."""
    height, width = _sides(size)
    vertices = motion.head.model.num_vertices
    return SAMPLE_BYTES * supersampling**2 * height * width + (VERTEX_BYTES + POSED_BYTES * chunk) * vertices


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width; raises a sentence if they are no whole numbers of pixels."""
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return whole_number("size", height), whole_number("size", width)


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
