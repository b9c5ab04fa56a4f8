"""Encoded pictures of a mesh, for whoever only looks: nothing here has a gradient, `render_mesh` does."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..types import Camera
from .backend import DEVICES, Backend, choose_backend
from .checks import require_room, whole_number
from .entry import full_precision, moved
from .mesh import render_mesh, require_frames, turns_of
from .normals import MeshTopology, encode_normals
from .pictures_numba import Canvas, band_height, draw_pictures_numba
from .regions import RegionLayout, most_seen
from .visibility import FAR_OFF_PICTURE, NEAR, counting_from, refuse_undrawable
from .workers import num_workers


@dataclass(frozen=True)
class NormalPictures:
    """What is left of `MeshMaps` when normals are encoded."""

    normals: Tensor  # [F, H, W, 3] in 0..1, in NORMALS_CONVENTION
    mask: Tensor  # [F, H, W] coverage 0..1
    depth: Tensor  # [F, H, W] metres, 0 in the background
    regions: Tensor | None = None  # [F, H, W] uint8, see `regions`; None where nobody asked

    @staticmethod
    def empty(
        frames: int, height: int, width: int, like: Tensor, regions: bool = False,
        device: torch.device | str | None = None,
    ) -> NormalPictures:
        """Room for F pictures, with the dtype of `like`, and on its device if no other is given."""
        shape, device = (frames, height, width), device or like.device
        numbers = torch.empty(shape, dtype=torch.uint8, device=device) if regions else None
        channels = (like.new_empty(*shape, *last, device=device) for last in ((3,), (), ()))
        return NormalPictures(*channels, numbers)

    def __getitem__(self, frames: slice) -> NormalPictures:
        """Some of the frames; writing into them is writing here."""
        return NormalPictures(*(None if value is None else value[frames] for value in self._all()))

    def fill(self, others: NormalPictures) -> None:
        """Copy pictures of as many frames, from any device."""
        for value, other in zip(self._all(), others._all()):
            if value is not None and other is not None:
                value.copy_(other)

    def _all(self) -> list[Tensor | None]:
        return [getattr(self, f.name) for f in fields(self)]


class PictureDrawer:
    """Draws one mesh many times, and keeps what that needs from call to call. Not for two threads at once."""

    def __init__(
        self,
        faces: Tensor,  # [T, 3] int64, counter-clockwise seen from outside
        num_vertices: int,
        supersampling: int = 1,  # samples along each side of a pixel, averaged
        backend: Backend | None = None,  # None: the fastest that works, see `choose_backend`
        layout: RegionLayout | None = None,  # of the same mesh, to fill in the regions as well
    ) -> None:
        if faces.device.type not in DEVICES:
            faces, layout = moved(faces, "cpu"), moved(layout, "cpu")
        self.faces, self.backend, self.layout = faces, backend, layout
        self.supersampling = whole_number("supersampling", supersampling)
        self.topology = MeshTopology.of(faces, num_vertices)
        if layout is not None and (len(layout.share) != num_vertices or len(layout.alone) != len(faces)):
            raise ValueError(
                f"The region layout is of {len(layout.share)} vertices and {len(layout.alone)} faces, the mesh has "
                f"{num_vertices} and {len(faces)}. Make a RegionLayout of this model, at this upsampling level."
            )
        self.small_faces = faces.int()
        self.canvases: list[Canvas] = []
        self.canvas_size: tuple[int, int] | None = None  # rows and columns in pixels, of each

    @full_precision()
    @torch.no_grad()
    def draw(
        self,
        vertices: Tensor,  # [F, V, 3] world, metres
        camera: Camera,  # of the F frames
        into: NormalPictures | None = None,  # room of the camera's picture size, on any device; made here if not given
        turns: Tensor | None = None,  # [F, 3, 3] from the world to the normals' space; None: camera space
    ) -> NormalPictures:
        """F pictures: the normals of `render_mesh`, encoded, its mask and its depth.

        Raises:
            ValueError: shapes that do not fit, or a mesh that comes within 1 cm of the camera.
        """
        height, width = camera.image_size
        require_frames(vertices, camera)
        if into is None:
            into = NormalPictures.empty(len(vertices), height, width, vertices, self.layout is not None)
        self._require_shapes(vertices, camera, into, turns)
        if vertices.device.type not in DEVICES:
            vertices, camera, turns = (moved(value, "cpu") for value in (vertices, camera, turns))
        numba = choose_backend(vertices.device, self.backend) == "numba"
        if numba and vertices.dtype == torch.float32 and len(vertices):
            self._draw_compiled(vertices, camera, into, turns)
        else:
            self._draw_plainly(vertices, camera, into, turns)
        return into

    def _require_shapes(self, vertices: Tensor, camera: Camera, into: NormalPictures, turns: Tensor | None) -> None:
        if vertices.shape[1] != self.topology.num_vertices:
            raise ValueError(
                f"Found vertices {list(vertices.shape)}, the mesh has {self.topology.num_vertices} vertices."
            )
        if turns is not None and turns.shape != (len(vertices), 3, 3):
            raise ValueError(f"Found turns {list(turns.shape)}, expected {[len(vertices), 3, 3]}, one per frame.")
        rooms = {"normals": (into.normals, (3,)), "mask": (into.mask, ()), "depth": (into.depth, ())}
        if self.layout is not None:
            if into.regions is None:
                raise ValueError("There is no room for regions. Make it with `NormalPictures.empty(…, regions=True)`.")
            rooms["regions"] = into.regions, ()
        require_room((len(vertices), *camera.image_size), **rooms)

    def _draw_compiled(self, vertices: Tensor, camera: Camera, into: NormalPictures, turns: Tensor | None) -> None:
        height, width = camera.image_size
        size = band_height(height, width, self.supersampling), width
        if self.canvas_size != size:
            self.canvases, self.canvas_size = [], size
        while len(self.canvases) < num_workers():
            self.canvases.append(Canvas.of(vertices.shape[1], *size, self.supersampling))
        turns = turns_of(camera) if turns is None else turns
        here = into
        if into.normals.device != vertices.device:
            here = NormalPictures.empty(len(vertices), height, width, vertices, self.layout is not None)
        drawable = draw_pictures_numba(
            vertices, self._of_samples(camera).projection, turns, self.small_faces, self.topology.fans,
            (NEAR, FAR_OFF_PICTURE), (here.normals, here.mask, here.depth), self.canvases,
            None if self.layout is None else (self.layout, here.regions),
        )  # fmt: skip
        if here is not into:
            into.fill(here)
        if not all(drawable):  # corners that no triangle uses may be anything, and have drawn nothing
            refuse_undrawable(self._of_samples(camera).project(vertices), self.faces)

    def _draw_plainly(self, vertices: Tensor, camera: Camera, into: NormalPictures, turns: Tensor | None) -> None:
        # Drawing several frames at once is no faster, and takes their memory at once.
        for i in range(len(vertices)):
            one = slice(i, i + 1)
            with counting_from(i):
                maps = render_mesh(
                    vertices[one], self.faces, camera[one], self.supersampling, self.topology, self.backend
                )
            seen = maps.normals
            if turns is not None:
                seen = seen @ (turns_of(camera[one]) @ turns[one].transpose(1, 2))[:, None]
            into.normals[i], into.mask[i] = encode_normals(seen, maps.mask)[0], maps.mask[0]
            into.depth[i] = maps.depth[0]
            if self.layout is not None:
                shown = self.layout.seen(maps.ids, self._of_samples(camera[one]).project(vertices[one]))
                into.regions[i] = most_seen(shown, self.supersampling)[0]

    def _of_samples(self, camera: Camera) -> Camera:
        height, width = (side * self.supersampling for side in camera.image_size)
        return camera.resized(height, width)
