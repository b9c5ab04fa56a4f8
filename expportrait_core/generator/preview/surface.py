"""The photo as the texture of the mesh: what it shows of each point, and what to show where it shows nothing."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree
from torch import Tensor

from ...body import regions, upsample
from ...body.regions import edges_of
from ...render import MeshTopology, interpolate, vertex_normals, visible_triangles
from ...types import Camera, HeadModel
from .matte import Matte
from .pyramid import smoothstep

INTERIOR = (regions.MOUTH, regions.UPPER_TEETH, regions.LOWER_TEETH, regions.TONGUE)
EYEBALLS = (regions.LEFT_EYEBALL, regions.RIGHT_EYEBALL)

# our choices
SEEN_DEPTH = (0.0015, 0.004)  # metres behind the photo's surface: seen up to the first, hidden from the second
GRAZING = (0.15, 0.35)  # cosine of the angle of view: no source of colour below the first, a full one from the second
BESIDE_HOLES = 0.004  # of the picture's side around eyes and mouth that colours no skin
SMOOTHNESS = 0.02  # of the filled colours against the seen ones
MIRROR_ERROR = 0.004  # metres between a vertex and its mirror image


@dataclass(frozen=True)
class Surface:
    """The mesh in the photo, and its colours where the photo does not show it."""

    faces: Tensor  # [Ts, 3]
    topology: MeshTopology
    triangle_parts: Tensor  # [Ts] part of the head, from body.regions
    vertices: Tensor  # [Vs, 3] world, in the photo's pose
    normals: Tensor  # [Vs, 3] world
    corners: Tensor  # [Vs, 3] homogeneous pixel corners in the photo
    facing: Tensor  # [Vs] cosine between normal and view
    ids: Tensor  # [H, W]
    depth: np.ndarray  # [H, W] metres; far where there is no mesh
    seen: Tensor  # [Vs] 0..1 the photo tells this vertex's colour
    fill: Tensor  # [Vs, 4] colour and alpha where it does not, smoothly from around
    mirror: Tensor | None  # [Vs, 6] x, y in the photo of the mirrored vertex, its use 0..1, what to add to its colour


def view_cosine(vertices: Tensor, normals: Tensor, camera: Camera) -> Tensor:
    """[Vs] cosine of the angle between the normals and the way to the camera (one camera)."""
    rotation, translation = camera.world_to_camera[0, :3, :3], camera.world_to_camera[0, :3, 3]
    to_camera = -(translation @ rotation) - vertices
    return (normals * torch.nn.functional.normalize(to_camera, dim=-1)).sum(-1)


def triangle_parts(model: HeadModel) -> Tensor:
    """[Ts] the part of every fine triangle; between two parts the inner one."""
    coarse = model.parts[model.faces].amax(1)
    return coarse[torch.arange(len(model.fine_faces), device=coarse.device) % len(coarse)]


def is_in(parts: Tensor, which: tuple[int, ...]) -> Tensor:
    return torch.isin(parts, torch.tensor(which, device=parts.device))


def project_surface(
    model: HeadModel,
    vertices: Tensor,  # [Vs, 3] world
    camera: Camera,  # one, of the photo
    topology: MeshTopology,
) -> tuple[Tensor, Tensor, Tensor, Tensor, np.ndarray]:
    """Normals, corners, cosine of the view, triangle ids [H, W] and depth [H, W] of the mesh in the photo."""
    faces, (height, width) = model.fine_faces, camera.image_size
    corners = camera.project(vertices[None])
    ids = visible_triangles(corners, faces, height, width)
    depth = interpolate(corners, corners[..., 2:], faces, ids)[0, ..., 0]
    depth = torch.where(ids[0] >= 0, depth, 1e3).numpy()
    normals = vertex_normals(vertices[None], faces, topology)[0]
    return normals, corners[0], view_cosine(vertices, normals, camera), ids[0], depth


def make_surface(
    model: HeadModel,
    vertices: Tensor,  # [Vs, 3] world, in the photo's pose
    camera: Camera,  # one, of the photo
    matte: Matte,
    topology: MeshTopology,
) -> Surface:
    """The photo's colours on the mesh. The mesh and everything else are on the CPU."""
    normals, corners, facing, ids, depth = project_surface(model, vertices, camera, topology)
    parts = triangle_parts(model)
    vertex_parts = fine_vertex_parts(model)
    skin = ~is_in(vertex_parts, INTERIOR + EYEBALLS)
    x, y = (corners[:, :2] / corners[:, 2:]).T.numpy()
    seen = seen_in_photo(x, y, corners[:, 2].numpy(), depth) * smoothstep(facing.numpy(), *GRAZING)
    holes = (ids >= 0) & is_in(parts[ids.clamp(min=0).long()], INTERIOR + EYEBALLS)
    seen = seen * (1 - near_holes(holes.numpy(), x, y)) * skin.numpy()
    colours = sample_at(np.dstack([matte.person, matte.alpha]), x, y)
    colours[:, :3] = np.clip(colours[:, :3], 0, 1)
    spread = Diffusion.over(model.fine_faces, skin.numpy())
    fill = spread(colours, seen)
    mirror = mirrored(model, skin.numpy(), seen, np.stack([x, y], 1), colours[:, :3], spread)
    return Surface(
        model.fine_faces, topology, parts, vertices, normals, corners, facing, ids, depth,
        torch.from_numpy(seen.astype(np.float32)), torch.from_numpy(fill), mirror,
    )  # fmt: skip


def fine_vertex_parts(model: HeadModel) -> Tensor:
    """[Vs] part of every fine vertex; between two parts the outer one."""
    corners = model.faces[model.upsampling.triangles]  # [Vs, 3]
    there = model.upsampling.barycentric > 0
    return torch.where(there, model.parts[corners], len(regions.PARTS)).amin(1)


def seen_in_photo(x: np.ndarray, y: np.ndarray, depth: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """0..1 whether points at these pixels and depths lie on the photo's visible surface rather than behind it."""
    shape = x.shape
    x, y = (np.ascontiguousarray(v.reshape(1, -1) - 0.5, np.float32) if v.ndim == 1 else v - 0.5 for v in (x, y))
    front = cv2.remap(surface, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).reshape(shape)
    return smoothstep(depth - front, SEEN_DEPTH[1], SEEN_DEPTH[0])


def near_holes(holes: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """0..1 whether points lie in or beside an eye or the open mouth."""
    width = max(BESIDE_HOLES * min(holes.shape), 1.0)
    distance = cv2.distanceTransform((~holes).astype(np.uint8), cv2.DIST_L2, 5)
    return sample_at(smoothstep(distance, 1.5 * width, 0.5 * width).astype(np.float32), x, y)


def sample_at(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples [N] or [N, C] at pixel positions [N]."""
    x, y = (np.ascontiguousarray(v.reshape(1, -1) - 0.5, np.float32) for v in (x, y))
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]


@dataclass(frozen=True)
class Diffusion:
    """Spreads values over the mesh from where they are known to where they are not."""

    laplacian: object  # scipy sparse [Vs, Vs]

    @staticmethod
    def over(faces: Tensor, used: np.ndarray) -> Diffusion:
        edges = edges_of(faces.numpy())
        edges = edges[used[edges].all(1)]
        graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(used),) * 2).tocsr()
        graph = graph + graph.T
        return Diffusion(diags(np.asarray(graph.sum(1)).ravel()) - graph)

    def __call__(
        self,
        values: np.ndarray,  # [Vs, C]
        known: np.ndarray,  # [Vs] 0..1
    ) -> np.ndarray:  # [Vs, C] float32
        # a trace of the mean everywhere keeps unreached islands defined
        mean = (values * known[:, None]).sum(0) / max(known.sum(), 1e-6)
        system = diags(known + 1e-6) + SMOOTHNESS * self.laplacian
        right = values * known[:, None] + 1e-6 * mean
        return splu(system.tocsc()).solve(right.astype(np.float64)).astype(np.float32)


def mirrored(
    model: HeadModel, skin: np.ndarray, seen: np.ndarray, pixels: np.ndarray, colours: np.ndarray, spread: Diffusion
) -> Tensor | None:
    """What the head's other side shows of the vertices that the photo hides, or None where that is nothing."""
    template = upsample(model.template, model.faces, model.upsampling).numpy()
    numbers = np.flatnonzero(skin)
    distance, index = cKDTree(template[numbers]).query(template[numbers] * np.array([-1, 1, 1]))
    other = np.arange(len(template))
    other[numbers] = numbers[index]
    close = np.zeros(len(template))
    close[numbers] = distance < MIRROR_ERROR
    use = seen[other] * close * (1 - seen)
    if use.sum() < 0.005 * len(numbers):
        return None
    both = seen * seen[other] * close
    difference = spread((colours - colours[other]).astype(np.float32), both)
    table = np.concatenate([pixels[other], use[:, None], difference], 1)
    return torch.from_numpy(table.astype(np.float32))
