"""Pinhole cameras in OpenCV's axes: x right, y down, z forward, in pixels from the top left corner of the picture, so
the centre of the first pixel is (0.5, 0.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .portable import Portable, require_floats, require_shape

ALMOST = 0.01  # of a rotation matrix and of last rows: trackers round. Our choice, not from the paper


@dataclass(frozen=True)
class Camera(Portable):
    """One pinhole camera per frame."""

    intrinsics: Tensor  # [F, 3, 3] K, pixels
    world_to_camera: Tensor  # [F, 4, 4] metres
    image_size: tuple[int, int]  # height, width in pixels

    format: ClassVar[str] = "expportrait.camera"

    def __post_init__(self) -> None:
        require_shape(self, "intrinsics", self.intrinsics, "F", 3, 3)
        require_shape(self, "world_to_camera", self.world_to_camera, len(self.intrinsics), 4, 4)
        if min(self.image_size) < 1:
            raise ValueError(f"Camera.image_size is {self.image_size}, expected height and width of at least 1 pixel.")
        for name in ("intrinsics", "world_to_camera"):
            require_floats(self, name, getattr(self, name))
            if not torch.isfinite(getattr(self, name)).all():
                raise ValueError(f"The camera's {name} hold NaN or infinite values. Track the clip again.")
        _require_pinholes(self.intrinsics.detach(), self.world_to_camera.detach())

    def __len__(self) -> int:
        return len(self.intrinsics)

    def __getitem__(self, frames: slice | Tensor | list[int]) -> Camera:
        return self.replace(intrinsics=self.intrinsics[frames], world_to_camera=self.world_to_camera[frames])

    def repeat(self, num_frames: int) -> Camera:
        """The first camera for `num_frames` frames."""
        return self.replace(
            intrinsics=self.intrinsics[:1].repeat(num_frames, 1, 1),
            world_to_camera=self.world_to_camera[:1].repeat(num_frames, 1, 1),
        )

    def resized(self, height: int, width: int) -> Camera:
        """The same view in a picture of another size."""
        if (height, width) == tuple(self.image_size):
            return self
        scale = torch.tensor([width / self.image_size[1], height / self.image_size[0], 1.0], dtype=torch.float64)
        return self.replace(intrinsics=self.intrinsics * scale.to(self.intrinsics)[:, None], image_size=(height, width))

    def scaled_to(self, longer_side: int) -> Camera:
        """The same view in a picture of the same shape whose longer side has that many pixels."""
        scale = longer_side / max(self.image_size)
        return self.resized(*(max(1, round(side * scale)) for side in self.image_size))

    def within(self, height: int, width: int) -> Camera:
        """All of the view in the middle of a picture of that size, which shows more on two sides if it has another
        shape."""
        seen_height, seen_width = self.image_size
        scale = max(seen_height / height, seen_width / width)  # of its pixels, in those of the view
        left, top = (seen_width - width * scale) / 2, (seen_height - height * scale) / 2
        intrinsics = self.intrinsics.double().clone()
        for axis, shift in enumerate((left, top)):
            intrinsics[:, axis] = (intrinsics[:, axis] - shift * intrinsics[:, 2]) / scale
        return self.replace(intrinsics=intrinsics.to(self.intrinsics), image_size=(height, width))

    def cropped(
        self,
        left: float | Tensor,  # pixels of the picture, of all frames or [F]; below 0 beyond its edge
        top: float | Tensor,
        height: int,  # pixels of the part
        width: int,
    ) -> Camera:
        """The same view, of a part of the picture alone: its pixel (0, 0) is the picture's (left, top)."""
        intrinsics = self.intrinsics.clone()
        for axis, shift in enumerate((left, top)):
            intrinsics[:, axis] -= torch.as_tensor(shift).to(intrinsics).reshape(-1, 1) * intrinsics[:, 2]
        return self.replace(intrinsics=intrinsics, image_size=(height, width))

    def project(
        self,
        points: Tensor,  # [F, N, 3] world, metres
    ) -> Tensor:
        """Homogeneous pixel corners [F, N, 3]: (x·w, y·w, w) with w the depth in metres."""
        # Not one matrix product: what it rounds to depends on the machine, and on CUDA it may have 10 bits only. So
        # every device, and the compiled renderer, which does the same in the same order, see the same corners.
        x, y, z = points.unbind(-1)
        rows = self.projection[..., None].unbind(1)
        return torch.stack([x * r[:, 0] + y * r[:, 1] + z * r[:, 2] + r[:, 3] for r in rows], -1)

    @property
    def projection(self) -> Tensor:
        """[F, 3, 4] from the world, homogeneous, to pixel corners."""
        return self.intrinsics @ self.world_to_camera[:, :3]


def _require_pinholes(intrinsics: Tensor, world_to_camera: Tensor) -> None:
    """Raise a sentence unless these see what a pinhole camera sees: others would be drawn mirrored, or at a depth that
    is not in metres."""
    rotation = world_to_camera[:, :3, :3]
    square = (rotation[:, :, None] * rotation[:, None]).sum(-1)  # not a product of matrices, see `project`
    # not `linalg.det`, whose threads go on waiting at full speed for milliseconds, on the cores that then draw
    mirrored = (torch.linalg.cross(rotation[:, 0], rotation[:, 1]) * rotation[:, 2]).sum(-1) < 0
    last = intrinsics[:, 2] - intrinsics.new_tensor([0, 0, 1])
    wrong = torch.stack([
        (intrinsics[:, [0, 1], [0, 1]] <= 0).any(1), (last.abs() > ALMOST).any(1),
        ((square - torch.eye(3).to(square)).abs() > ALMOST).flatten(1).any(1) | mirrored,
        ((world_to_camera[:, 3] - world_to_camera.new_tensor([0, 0, 0, 1])).abs() > ALMOST).any(1),
    ])  # fmt: skip
    if not wrong.any():
        return
    kind, frame = (int(first) for first in wrong.nonzero()[0])
    k, pose = intrinsics[frame], world_to_camera[frame]
    raise ValueError(f"The camera of frame {frame} is no pinhole camera in OpenCV's axes: " + (
        f"its focal lengths are {k[0, 0]:g} and {k[1, 1]:g} pixels, expected above 0. A mirrored picture is tracked "
        f"anew, OpenGL's axes are turned by half a circle about x",
        f"the last row of its intrinsics is {_row(k[2])}, expected 0, 0, 1. Divide them by their last number",
        "the rotation in its world_to_camera is a mirror image, or holds a scale. Give metres in the translation, and "
        "a rotation alone",
        f"the last row of its world_to_camera is {_row(pose[3])}, expected 0, 0, 0, 1. Divide it by its last number",
    )[kind] + ".")  # fmt: skip


def _row(numbers: Tensor) -> str:
    return ", ".join(f"{number:g}" for number in numbers.tolist())
