"""The pictures that the generator takes: normal maps of a moving head, and of the portrait's own pose."""

from __future__ import annotations

import torch
from torch import Tensor

from ..body.posing import axis_angle_to_matrix, joint_transforms, pose_head, pose_motion, shaped
from ..types import HEAD, Camera, HeadMotion, PersonalizedHead, Progress, RenderedHead, no_progress
from .mesh import MeshMaps, render_mesh
from .normals import NORMALS_CONVENTION, OBJECT_CONVENTION, MeshTopology, encode_normals

SPACES = {"camera": NORMALS_CONVENTION, "object": OBJECT_CONVENTION}
"""What the normals are relative to, and the convention that the maps are then in."""


@torch.no_grad()
def render_normals(
    motion: HeadMotion,
    size: int | tuple[int, int] = 512,  # side of a square picture, or height and width, in pixels
    supersampling: int = 2,  # samples along each side of a pixel
    chunk: int = 8,  # frames posed together; they are drawn one by one
    space: str = "camera",  # or "object": normals that turn with the head, for looking at or for other tools
    progress: Progress = no_progress,
) -> RenderedHead:
    """Driving normals N^D of every frame, reference normal N^R of the portrait's own pose, mask and depth.

    The reference is the head of frame `portrait_frame` of its own fit, with the dynamic offsets found there. Progress
    counts it as one frame more; the preview is the last picture drawn.

    Raises:
        ValueError: a camera's picture has another shape than `size` (it is not cropped or stretched here), or a head
            comes within 1 cm of the camera.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if space not in SPACES:
        raise ValueError(f"space is '{space}', expected one of {', '.join(SPACES)}.")
    for name, value in {"size": min(height, width), "supersampling": supersampling, "chunk": chunk}.items():
        if value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1.")
    driving = _resized(motion.camera, height, width, "The motion")
    head, frame = motion.head, motion.portrait_frame
    portrait = _resized(head.fit.camera[[frame]], height, width, "The portrait")
    faces = head.model.fine_faces
    topology = MeshTopology.of(faces, head.model.num_vertices)

    def draw(vertices: Tensor, camera: Camera, skull: Tensor) -> tuple[Tensor, MeshMaps]:
        maps = render_mesh(vertices, faces, camera, supersampling, topology)
        seen = maps.normals if space == "camera" else maps.normals @ _to_viewer(camera, skull)[:, None]
        return encode_normals(seen, maps.mask)[0], maps

    total = motion.num_frames + 1
    own = head.fit.frames([frame])
    reference, _ = draw(pose_head(head, frame), portrait, _skull(head, own.expression, own.poses))
    progress(1, total, reference)
    normals = reference.new_empty(motion.num_frames, height, width, 3)
    mask, depth = torch.empty_like(normals[..., 0]), torch.empty_like(normals[..., 0])
    skull = _skull(head, motion.expression, motion.poses)
    for start in range(0, motion.num_frames, chunk):
        posed = pose_motion(motion, start, min(start + chunk, motion.num_frames))
        # Drawing several frames at once is no faster, and on the CPU slower: they no longer fit into the caches.
        for i, vertices in enumerate(posed, start):
            normals[i], maps = draw(vertices[None], driving[i : i + 1], skull[i : i + 1])
            mask[i], depth[i] = maps.mask[0], maps.depth[0]
            progress(i + 2, total, normals[i])
    return RenderedHead(normals, reference[None], mask, depth, SPACES[space], motion.fps)


def _skull(head: PersonalizedHead, expression: Tensor, poses: Tensor) -> Tensor:
    """Rotation [F, 3, 3] of the head joint from canonical space to the world."""
    _, joints = shaped(head.model, head.betas, expression)
    transforms = joint_transforms(axis_angle_to_matrix(poses), joints, head.model.parents, [HEAD])
    return transforms[:, 0, :3].transpose(-1, -2)


def _to_viewer(camera: Camera, skull: Tensor) -> Tensor:
    """Rotation [F, 3, 3] from canonical space to the normals' camera space, which has y up and z towards the viewer."""
    flip = skull.new_tensor([1.0, -1.0, -1.0])
    return flip[:, None] * (camera.world_to_camera[:, :3, :3].to(skull) @ skull)


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
