"""The dataclasses that travel between the five steps: fit, head, transfer, render, generator.

Metres, y up in canonical space, the face looks towards +z. Cameras are OpenCV's, see `camera`. Pictures are
[F, H, W, 3] in 0..1. Rotations are axis-angle in radians, joints in the order of `smplx`. All classes are frozen and
check their shapes when made; `.to(device)`, `.save(path)` and `.load(path)` come from `Portable`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from .camera import Camera
from .portable import Portable, Progress, no_progress, require_floats, require_shape
from .printable import printable

__all__ = [
    "HEAD", "JAW", "LEFT_EYE", "NECK", "NUM_JOINTS", "RIGHT_EYE",
    "Camera", "HeadCrop", "HeadModel", "HeadMotion", "LandmarkEmbedding", "PersonalizedHead", "Progress",
    "RenderedHead", "SMPLXFit", "StoredOffsets", "Upsampling", "no_progress",
]  # fmt: skip

NUM_JOINTS = 55
LOWEST_FPS, HIGHEST_FPS = 0.001, 100_000.0  # frames per second of a fit: time lapse, and high-speed cameras
LAST_NUMBER = 1 << 62  # of a frame; trackers that count nanoseconds stay below
NECK, HEAD, JAW, LEFT_EYE, RIGHT_EYE = 12, 15, 22, 23, 24
"""Joints of `smplx` that move the head."""


@dataclass(frozen=True)
class SMPLXFit(Portable):
    """A person's shape and motion over the frames of a clip, as trackers give it. A picture is a clip of one frame.

    The `.npz` form that is exchanged with other tools is read and written by `fit.load_fit` and `fit.save_fit`.
    """

    betas: Tensor  # [B] identity
    expression: Tensor  # [F, E] ψ
    poses: Tensor  # [F, 55, 3] axis-angle
    translation: Tensor  # [F, 3] metres, world
    camera: Camera  # of the F frames
    expression_space: str  # which numbers `expression` holds: "arkit", "smplx100", "smplx10", "flame100", ...
    model_id: str  # the head model that the betas belong to
    fps: float = 25.0
    valid: Tensor | None = None  # [F] bool, False where no face was seen; None becomes all True
    landmarks: Tensor | None = None  # [F, L, 3] x, y in pixels and confidence
    landmark_scheme: str | None = None  # "mediapipe478", "ibug68"
    frame_ids: Tensor | None = None  # [F] frame numbers in the source; None becomes 0..F-1
    eyelids: Tensor | None = None  # [F, 2] left, right, 0 open, 1 closed: of trackers that keep them beside ψ

    format: ClassVar[str] = "expportrait.fit"

    def __post_init__(self) -> None:
        frames = len(self.expression) if self.expression.ndim else 0
        if frames == 0:
            raise ValueError("The fit has no frames. Track the clip again, or choose another file.")
        require_shape(self, "betas", self.betas, "B")
        require_shape(self, "expression", self.expression, frames, "E")
        require_shape(self, "poses", self.poses, frames, NUM_JOINTS, 3)
        require_shape(self, "translation", self.translation, frames, 3)
        if len(self.camera) != frames:
            raise ValueError(f"The fit has {frames} frames and {len(self.camera)} cameras, expected one per frame.")
        for name in ("betas", "expression", "poses", "translation"):
            require_floats(self, name, getattr(self, name))
            if not torch.isfinite(getattr(self, name)).all():
                raise ValueError(f"The fit's {name} holds NaN or infinite values. Track the clip again.")
        device = self.expression.device
        if self.valid is None:
            object.__setattr__(self, "valid", torch.ones(frames, dtype=torch.bool, device=device))
        if self.frame_ids is None:
            object.__setattr__(self, "frame_ids", torch.arange(frames, device=device))
        require_shape(self, "valid", self.valid, frames)
        if self.valid.dtype != torch.bool:
            raise ValueError(f"The fit's valid frames are {self.valid.dtype}, expected true or false per frame.")
        if not LOWEST_FPS <= self.fps <= HIGHEST_FPS:
            raise ValueError(
                f"The fit has {self.fps} frames per second, expected {LOWEST_FPS:g} to {HIGHEST_FPS:,.0f}. Give the "
                f"rate of its clip."
            )
        require_shape(self, "frame_ids", self.frame_ids, frames)
        if self.frame_ids.is_floating_point() or self.frame_ids.is_complex():
            raise ValueError(f"The fit's frame numbers are {self.frame_ids.dtype}, expected whole numbers.")
        if self.frame_ids.dtype != torch.int64:  # differences of small and of unsigned ones are wrong
            object.__setattr__(self, "frame_ids", self.frame_ids.to(torch.int64))
        if self.eyelids is not None:
            require_shape(self, "eyelids", self.eyelids, frames, 2)
            require_floats(self, "eyelids", self.eyelids)
            if not torch.isfinite(self.eyelids).all():
                raise ValueError("The fit's eyelids hold NaN or infinite values. Track the clip again.")
        if self.landmarks is not None:
            require_shape(self, "landmarks", self.landmarks, frames, "L", 3)
            require_floats(self, "landmarks", self.landmarks)
            seen = self.landmarks[self.valid]
            seen = seen[seen[..., 2] != 0]  # points that were not seen may be anything
            if not torch.isfinite(seen).all():
                raise ValueError("The fit's landmarks hold NaN or infinite values. Give those a confidence of 0.")

    @property
    def num_frames(self) -> int:
        return len(self.expression)

    @property
    def first_valid(self) -> int:
        """The first frame in which a face was seen.

        Raises:
            ValueError: there is none.
        """
        if not self.valid.any():
            raise ValueError("The fit has no frame in which a face was seen. Track a clip that shows one.")
        return int(self.valid.int().argmax())

    @property
    def image_size(self) -> tuple[int, int]:
        return self.camera.image_size

    @property
    def jaw_pose(self) -> Tensor:  # [F, 3] ω
        return self.poses[:, JAW]

    def frames(self, index: slice | Tensor | list[int]) -> SMPLXFit:
        """The fit of some of the frames."""
        return self.replace(
            expression=self.expression[index],
            poses=self.poses[index],
            translation=self.translation[index],
            camera=self.camera[index],
            valid=self.valid[index],
            frame_ids=self.frame_ids[index],
            landmarks=None if self.landmarks is None else self.landmarks[index],
            eyelids=None if self.eyelids is None else self.eyelids[index],
        )

    def require_space(self, model: HeadModel) -> None:
        """Raise a sentence if this fit's expressions are not the model's."""
        if self.expression_space != model.expression_space:
            raise ValueError(
                f"The fit's expressions are in the space '{printable(self.expression_space)}', the head model "
                f"'{model.model_id}' has '{model.expression_space}'. Track the clip with this head model, or load "
                f"the head model that the fit was made with."
            )
        if self.expression.shape[1] > model.expression_basis.shape[2]:
            raise ValueError(
                f"The fit has {self.expression.shape[1]} expression values, the head model '{model.model_id}' has "
                f"{model.expression_basis.shape[2]}. Load the head model that the fit was made with."
            )
        if len(self.betas) > model.shape_basis.shape[2]:
            raise ValueError(
                f"The fit has {len(self.betas)} shape values, the head model '{model.model_id}' has "
                f"{model.shape_basis.shape[2]}. Load the head model that the fit was made with."
            )


@dataclass(frozen=True)
class LandmarkEmbedding(Portable):
    """Landmarks as points on coarse triangles."""

    triangles: Tensor  # [L] index into HeadModel.faces; -1 where the landmark is not on the mesh
    barycentric: Tensor  # [L, 3]

    format: ClassVar[str] = "expportrait.landmarks"

    def __post_init__(self) -> None:
        require_shape(self, "triangles", self.triangles, "L")
        require_shape(self, "barycentric", self.barycentric, len(self.triangles), 3)


@dataclass(frozen=True)
class Upsampling(Portable):
    """B of the paper: every fine vertex as a barycentric point on a coarse triangle, and the fine triangles."""

    level: int  # 0 coarse, 1 and 2 midpoint subdivisions
    triangles: Tensor  # [Vs] index into HeadModel.faces
    barycentric: Tensor  # [Vs, 3]
    faces: Tensor  # [Ts, 3] int64

    format: ClassVar[str] = "expportrait.upsampling"

    def __post_init__(self) -> None:
        require_shape(self, "triangles", self.triangles, "Vs")
        require_shape(self, "barycentric", self.barycentric, len(self.triangles), 3)
        require_shape(self, "faces", self.faces, "Ts", 3)

    @property
    def num_vertices(self) -> int:
        return len(self.triangles)


@dataclass(frozen=True)
class HeadModel(Portable):
    """Head and shoulders of a body model in SMPL-X layout. `body.load_head_model` makes it.

    Joints were regressed on the whole body before the crop, so the crop poses exactly as `smplx` poses the body.
    """

    template: Tensor  # [V, 3] metres
    shape_basis: Tensor  # [V, 3, B]
    expression_basis: Tensor  # [V, 3, E]
    pose_basis: Tensor  # [(J-1)·9, V·3], or no rows where the model has no pose corrections
    joint_template: Tensor  # [J, 3]
    joint_shape_basis: Tensor  # [J, 3, B]
    joint_expression_basis: Tensor  # [J, 3, E]
    skin_weights: Tensor  # [V, J]
    parents: Tensor  # [J] int64, -1 for the root
    faces: Tensor  # [T, 3] int64, counter-clockwise seen from outside
    parts: Tensor  # [V] int64, index into body.regions.PARTS
    facial_weight: Tensor  # [V] 0..1, where expressions deform the skin
    upsampling: Upsampling
    landmarks: dict[str, LandmarkEmbedding] = field(repr=False)
    source_vertices: Tensor = field(repr=False)  # [V] numbers in the file, before the crop; -1 of added teeth
    expression_names: tuple[str, ...] = field(repr=False)  # E names; "" for an unused column
    expression_space: str = "arkit"
    model_id: str = "default-head"
    licence: str = "CC0-1.0"

    format: ClassVar[str] = "expportrait.model"

    def __post_init__(self) -> None:
        vertices, shape, expression = len(self.template), self.shape_basis.shape[-1], self.expression_basis.shape[-1]
        require_shape(self, "template", self.template, vertices, 3)
        require_shape(self, "shape_basis", self.shape_basis, vertices, 3, shape)
        require_shape(self, "expression_basis", self.expression_basis, vertices, 3, expression)
        if len(self.pose_basis):
            require_shape(self, "pose_basis", self.pose_basis, (NUM_JOINTS - 1) * 9, vertices * 3)
        require_shape(self, "joint_template", self.joint_template, NUM_JOINTS, 3)
        require_shape(self, "joint_shape_basis", self.joint_shape_basis, NUM_JOINTS, 3, shape)
        require_shape(self, "joint_expression_basis", self.joint_expression_basis, NUM_JOINTS, 3, expression)
        require_shape(self, "skin_weights", self.skin_weights, vertices, NUM_JOINTS)
        require_shape(self, "parents", self.parents, NUM_JOINTS)
        require_shape(self, "faces", self.faces, "T", 3)
        require_shape(self, "parts", self.parts, vertices)
        require_shape(self, "facial_weight", self.facial_weight, vertices)
        if len(self.expression_names) != expression:
            raise ValueError(f"HeadModel has {len(self.expression_names)} expression names for {expression} columns.")

    @property
    def num_vertices(self) -> int:
        """Vertices of the upsampled mesh, Vs."""
        return self.upsampling.num_vertices

    @property
    def fine_faces(self) -> Tensor:  # [Ts, 3]
        return self.upsampling.faces


@dataclass(frozen=True)
class PersonalizedHead(Portable):
    """One person's head: V^s + Δg, and what the optimisation found beside it. Canonical space, metres.

    The model is not written into the file (it may be licensed); `head.load_head` brings it back.
    """

    model: HeadModel = field(metadata={"saved": False}, repr=False)
    betas: Tensor  # [B]
    static_offsets: Tensor  # [Vs, 3] Δg
    dynamic_offsets: Tensor  # [F, Vs, 3] Δf of the clip it was made from
    fit: SMPLXFit  # the refined fit of that clip: the portrait's pose and camera
    level: int  # upsampling level that the offsets belong to
    model_id: str
    report: dict = field(default_factory=dict)  # what the optimisation reached, JSON values

    format: ClassVar[str] = "expportrait.head"

    def __post_init__(self) -> None:
        if self.model_id != self.model.model_id or self.level != self.model.upsampling.level:
            raise ValueError(
                f"The head was made with '{self.model_id}' at level {self.level}, the loaded head model is "
                f"'{self.model.model_id}' at level {self.model.upsampling.level}. Load the matching head model."
            )
        require_shape(self, "betas", self.betas, "B")
        require_shape(self, "static_offsets", self.static_offsets, self.model.num_vertices, 3)
        require_shape(self, "dynamic_offsets", self.dynamic_offsets, self.fit.num_frames, self.model.num_vertices, 3)


DynamicOffsets = Callable[[int, int], Tensor]
"""`offsets(start, stop)` gives Δf of those frames, [stop - start, Vs, 3]: evaluated in chunks, never all at once."""


@dataclass(frozen=True)
class StoredOffsets(Portable):
    """Dynamic offsets that are simply there, kept for the vertices that move at all."""

    vertices: Tensor  # [n] int64
    offsets: Tensor  # [F, n, 3]
    num_vertices: int  # Vs

    format: ClassVar[str] = "expportrait.offsets"

    def __post_init__(self) -> None:
        require_shape(self, "offsets", self.offsets, "F", len(self.vertices), 3)
        if len(self.vertices) and not 0 <= int(self.vertices.min()) <= int(self.vertices.max()) < self.num_vertices:
            raise ValueError(
                f"The offsets are of vertices {int(self.vertices.min())} to {int(self.vertices.max())} of "
                f"{self.num_vertices}. The file is damaged; save it again."
            )

    @staticmethod
    def of(offsets: DynamicOffsets, num_frames: int, chunk: int = 8) -> StoredOffsets:
        """The same offsets, kept in half precision: they are millimetres, which it tells apart by a thousandth."""
        parts = [slice(start, min(start + chunk, num_frames)) for start in range(0, num_frames, chunk)]
        moves = sum(offsets(part.start, part.stop).abs().amax((0, 2)) for part in parts)
        moving = moves.nonzero()[:, 0]
        kept = [offsets(part.start, part.stop)[:, moving].half() for part in parts]
        return StoredOffsets(moving, torch.cat(kept), len(moves))

    def __call__(self, start: int, stop: int) -> Tensor:
        moving = self.offsets[start:stop].float()
        full = moving.new_zeros(len(moving), self.num_vertices, 3)
        full[:, self.vertices] = moving
        return full


@dataclass(frozen=True)
class HeadMotion(Portable):
    """A personalised head and what moves it: everything that rendering needs."""

    head: PersonalizedHead = field(metadata={"saved": False}, repr=False)
    expression: Tensor  # [F, E]
    poses: Tensor  # [F, 55, 3]
    translation: Tensor  # [F, 3]
    camera: Camera  # of the F frames
    fps: float = 25.0
    portrait_frame: int = 0  # frame of head.fit that the portrait picture shows: pose of the reference map
    offsets: DynamicOffsets | StoredOffsets | None = field(default=None, repr=False)  # Δf
    model_id: str | None = None  # of the head, to know it again in a file; None takes the head's, as does the level's
    level: int | None = None

    format: ClassVar[str] = "expportrait.motion"

    def __post_init__(self) -> None:
        frames, columns = len(self.expression), self.head.model.expression_basis.shape[2]
        for name in ("model_id", "level"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(self.head, name))
        if (self.model_id, self.level) != (self.head.model_id, self.head.level):
            raise ValueError(
                f"The motion was made for a head of '{self.model_id}' at level {self.level}, this head is of "
                f"'{self.head.model_id}' at level {self.head.level}. Transfer the performance to this head again."
            )
        require_shape(self, "expression", self.expression, frames, "E")
        require_shape(self, "poses", self.poses, frames, NUM_JOINTS, 3)
        require_shape(self, "translation", self.translation, frames, 3)
        if len(self.camera) != frames:
            raise ValueError(f"The motion has {frames} frames and {len(self.camera)} cameras, expected one per frame.")
        if not 0 <= self.portrait_frame < self.head.fit.num_frames:
            raise ValueError(f"portrait_frame is {self.portrait_frame}, the head has {self.head.fit.num_frames}.")
        if frames == 0:
            raise ValueError("The motion has no frames. Transfer a performance that has some.")
        if self.expression.shape[1] > columns:
            raise ValueError(
                f"The motion has {self.expression.shape[1]} expression values, the head model {columns}. Transfer the "
                f"performance to this head again."
            )
        for name in ("expression", "poses", "translation"):
            if not torch.isfinite(getattr(self, name)).all():
                raise ValueError(f"The motion's {name} holds NaN or infinite values. Track the performance again.")
        if not 0 < self.fps < math.inf:
            raise ValueError(f"The motion's fps is {self.fps}, expected frames per second above 0.")
        if isinstance(self.offsets, StoredOffsets):
            stored = (len(self.offsets.offsets), self.offsets.num_vertices)
            if stored != (frames, self.head.model.num_vertices):
                raise ValueError(
                    f"The motion's offsets are of {stored[0]} frames and {stored[1]} vertices, expected {frames} and "
                    f"{self.head.model.num_vertices}. Transfer the performance to this head again."
                )

    @property
    def num_frames(self) -> int:
        return len(self.expression)

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file with the offsets of every frame, but without the head. Returns its path."""
        if self.offsets is None or isinstance(self.offsets, StoredOffsets):
            return super().save(path)
        return self.replace(offsets=StoredOffsets.of(self.offsets, self.num_frames)).save(path)

    def frames(self, start: int, stop: int) -> HeadMotion:
        """The motion of frames start..stop."""
        inner = self.offsets
        return self.replace(
            expression=self.expression[start:stop],
            poses=self.poses[start:stop],
            translation=self.translation[start:stop],
            camera=self.camera[start:stop],
            offsets=None if inner is None else lambda a, b: inner(start + a, start + b),
        )


@dataclass(frozen=True)
class RenderedHead(Portable):
    """Pictures of a moving head, as the generator takes them."""

    normals: Tensor  # [F, H, W, 3] N^D, encoded to 0..1 by render.encode_normals
    reference_normals: Tensor  # [1, H, W, 3] N^R of the portrait's own pose, encoded
    mask: Tensor  # [F, H, W] coverage 0..1
    depth: Tensor  # [F, H, W] metres along the optical axis, 0 where there is no head
    convention: str  # how the normals are encoded; the generator's file must agree
    fps: float = 25.0
    regions: Tensor | None = None  # [F, H, W] uint8 numbers of render.REGIONS; None where they were not asked for

    format: ClassVar[str] = "expportrait.maps"

    def __post_init__(self) -> None:
        require_shape(self, "normals", self.normals, "F", "H", "W", 3)
        frames, height, width = self.normals.shape[:3]
        require_shape(self, "reference_normals", self.reference_normals, 1, height, width, 3)
        require_shape(self, "mask", self.mask, frames, height, width)
        require_shape(self, "depth", self.depth, frames, height, width)
        if self.regions is not None:
            require_shape(self, "regions", self.regions, frames, height, width)


@dataclass(frozen=True)
class HeadCrop(Portable):
    """A square cut out of pictures, and the way back. Pixel corners in the source, per frame."""

    corner: Tensor  # [F, 2] x, y of the square's top left corner, pixels of the source
    side: Tensor  # [F] side of the square, pixels of the source
    size: int  # side of the cropped picture
    source_size: tuple[int, int]  # height, width

    format: ClassVar[str] = "expportrait.crop"

    def __post_init__(self) -> None:
        require_shape(self, "corner", self.corner, "F", 2)
        require_shape(self, "side", self.side, len(self.corner))
        if self.size < 1 or min(self.source_size) < 1:
            raise ValueError(
                f"The crop is {self.size} pixels of a picture of {self.source_size[1]}×{self.source_size[0]}, expected "
                f"at least 1 each."
            )
        if not torch.isfinite(self.corner).all() or not ((self.side > 0) & torch.isfinite(self.side)).all():
            raise ValueError("The crop's squares hold a side of 0 pixels, or NaN or infinite values. Crop again.")
