"""The photo as the texture of the mesh: what it shows of each point, and what to show where it shows nothing."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree
from torch import Tensor

from ...body import regions, upsample
from ...body.regions import edges_of
from ...render import MeshTopology, interpolate, vertex_normals, visible_triangles
from ...types import HEAD, Camera, HeadModel
from .matte import Matte
from .pyramid import distance_to, smoothstep

NOTHING, SKIN, LEFT_EYE, RIGHT_EYE, INSIDE = range(5)
"""What a pixel shows of the mesh; INSIDE is everything between the lips."""
KIND_OF_PART = {
    regions.LEFT_EYEBALL: LEFT_EYE, regions.RIGHT_EYEBALL: RIGHT_EYE, regions.MOUTH: INSIDE,
    regions.UPPER_TEETH: INSIDE, regions.LOWER_TEETH: INSIDE, regions.TONGUE: INSIDE,
}  # fmt: skip

# our choices
SEEN_DEPTH = (0.0015, 0.004)  # metres behind the photo's surface: seen up to the first, hidden from the second
GRAZING = (0.08, 0.3)  # cosine of the angle of view: no source of colour below the first, a full one from the second
BESIDE_MOUTH, BESIDE_EYES = 0.005, 0.011  # of the picture's side around mouth and eyes, that colours no other skin
FILL_METRIC = (1.0, 1.6, 0.8)  # weights of the axes in the distance to the vertices that colour is taken from
FILL_NEIGHBOURS, FILL_SPREAD = 16, 0.008  # so many vertices, those within about so many metres of the nearest
FILL_ROUNDS = 30
FILL_TRUST = 0.2  # how well a vertex must be seen to colour others
SKULL_CENTRE, SKULL_FROM = 0.08, (-0.03, 0.0)  # metres above the head joint; the skull's middle, and where it begins
SKULL_BEHIND = (0.35, 0.15)  # cosine of the angle to straight ahead, seen from the skull's middle
ABOVE_EARS = 0.06  # metres above the head joint
RIM_COSINE, FEWEST = 0.12, 10  # of the skull's vertices that make its outline in the photo; how many tell anything
HAIR = (0.006, 0.010)  # of the picture's side between the skull's outline and the person's: none, and surely hair
MIRROR_ERROR = 0.004  # metres between a vertex and its mirror image


@dataclass(frozen=True)
class Surface:
    """The mesh in the photo, and its colours where the photo does not show it."""

    faces: Tensor  # [Ts, 3]
    topology: MeshTopology
    kinds: Tensor  # [Ts] uint8 kind of each triangle
    vertices: Tensor  # [Vs, 3] world, in the photo's pose
    normals: Tensor  # [Vs, 3] world
    corners: Tensor  # [Vs, 3] homogeneous pixel corners in the photo
    extent: Tensor  # [Vs] square pixels of the photo that the triangles around each vertex take
    seen_kinds: np.ndarray  # [H, W] uint8 what each pixel of the photo shows
    ids: Tensor  # [H, W]
    depth: np.ndarray  # [H, W] metres; far where there is no mesh
    seen: Tensor  # [Vs] 0..1 the photo tells this vertex's colour
    fill: Tensor  # [Vs, 4] colour and alpha where it does not, smoothly from around
    mirror: Tensor | None  # [Vs, 6] x, y in the photo of the mirrored vertex, its use 0..1, what to add to its colour


def extent(corners: Tensor, topology: MeshTopology) -> Tensor:
    """[Vs] square pixels that the triangles around each vertex take, facing away counting as nothing."""
    position = corners[:, :2] / corners[:, 2:]
    a, b, c = (position[corner] for corner in topology.faces.t())
    ab, ac = b - a, c - a
    # y points down: what is counter-clockwise in the world turns the other way here
    area = (ab[:, 1] * ac[:, 0] - ab[:, 0] * ac[:, 1]).clamp(min=0)
    return (topology.vertex_faces @ area[:, None])[:, 0]


def view_cosine(vertices: Tensor, normals: Tensor, camera: Camera) -> Tensor:
    """[Vs] cosine of the angle between the normals and the way to the camera (one camera)."""
    rotation, translation = camera.world_to_camera[0, :3, :3], camera.world_to_camera[0, :3, 3]
    to_camera = -(translation @ rotation) - vertices
    return (normals * torch.nn.functional.normalize(to_camera, dim=-1)).sum(-1)


def kinds_of_parts() -> Tensor:
    """[parts] kind of every part of body.regions."""
    return torch.tensor([KIND_OF_PART.get(part, SKIN) for part in range(len(regions.PARTS))], dtype=torch.uint8)


def triangle_kinds(model: HeadModel) -> Tensor:
    """[Ts] uint8 kind of every fine triangle; between two parts the inner one."""
    coarse = kinds_of_parts()[model.parts[model.faces].amax(1)]
    if not (model.parts == regions.MOUTH).any():
        coarse[coarse == INSIDE] = NOTHING  # teeth in a mouth without walls, which are not drawn either
    return coarse[torch.arange(len(model.fine_faces)) % len(coarse)]


def drawn_faces(model: HeadModel) -> Tensor:
    """[Ts, 3] the fine triangles, those of teeth and tongue shrunk to nothing.

    Both are painted on plates behind the lips. Drawn, they would cut openings into lips and chin wherever they come
    through: a tongue that is put out, teeth behind lips that are pulled tight.
    """
    painted = torch.tensor([regions.UPPER_TEETH, regions.LOWER_TEETH, regions.TONGUE])
    coarse = torch.isin(model.parts[model.faces], painted).any(1)
    faces = model.fine_faces.clone()
    gone = coarse[torch.arange(len(faces)) % len(coarse)]
    faces[gone] = faces[gone][:, :1]
    return faces


def vertex_kinds(model: HeadModel) -> Tensor:
    """[Vs] uint8 kind of every fine vertex; between two parts the outer one."""
    return kinds_of_parts()[fine_vertex_parts(model)]


def kinds_seen(ids: Tensor, kinds: Tensor) -> np.ndarray:
    """[H, W] uint8 what each pixel shows. Holes in the face are the mouth of a model that has nothing inside."""
    seen = torch.where(ids >= 0, kinds[ids.clamp(min=0).long()], NOTHING).numpy()
    if not (kinds == INSIDE).any():
        count, label, boxes, _ = cv2.connectedComponentsWithStats((seen == NOTHING).astype(np.uint8))
        height, width = seen.shape
        for number in range(1, count):
            left, top, w, h = boxes[number, :4]
            if left > 0 and top > 0 and left + w < width and top + h < height:
                seen[label == number] = INSIDE
    return seen


@dataclass(frozen=True)
class Ears:
    """A skin over the head's sides instead of the mesh's ears: a fit seldom meets the photo's ears, which look better
    when they move with the hair, and a head without ears still needs to be closed."""

    vertices: Tensor  # [E]
    border: Tensor  # [B] vertices around them
    weights: Tensor  # [E, B] harmonic

    @staticmethod
    def of(model: HeadModel) -> Ears:
        coarse = (model.parts == regions.EARS).numpy()
        edges = edges_of(model.faces.numpy())
        edges = edges[coarse[edges].any(1)]
        used = np.unique(edges)
        inner, border = used[coarse[used]], used[~coarse[used]]
        if len(inner) == 0 or len(border) == 0:
            nothing = torch.zeros(0, dtype=torch.int64)
            return Ears(nothing, nothing, torch.zeros(0, 0))
        graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(coarse),) * 2).tocsr()
        graph = graph + graph.T
        laplacian = (diags(np.asarray(graph.sum(1)).ravel()) - graph).tocsr()[inner]
        harmonic = np.zeros((len(coarse), len(border)))
        harmonic[inner] = splu(laplacian[:, inner].tocsc()).solve(-laplacian[:, border].toarray())
        # fine vertices are points on coarse triangles, and the coarse vertices come first among them
        fine = (fine_vertex_parts(model) == regions.EARS).nonzero()[:, 0]
        table = model.upsampling
        weights = torch.einsum(
            "nk,nkb->nb", table.barycentric[fine].double(),
            torch.from_numpy(harmonic)[model.faces[table.triangles[fine]]],
        )  # fmt: skip
        return Ears(fine, torch.from_numpy(border), weights.float())

    def flattened(
        self,
        vertices: Tensor,  # [Vs, 3]
    ) -> Tensor:
        """The same vertices with the ears drawn into the head."""
        flat = vertices.clone()
        flat[self.vertices] = self.weights @ vertices[self.border]
        return flat


def project_surface(
    vertices: Tensor,  # [Vs, 3] world
    camera: Camera,  # one, of the photo
    topology: MeshTopology,
) -> tuple[Tensor, Tensor, Tensor, Tensor, np.ndarray]:
    """Normals, corners, cosines of the view, triangle ids [H, W] and depth [H, W] of the mesh in the photo."""
    faces, (height, width) = topology.faces, camera.image_size
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
    kinds: Tensor,  # [Ts] of the triangles
    ears: Ears,
) -> Surface:
    """The photo's colours on the mesh. The mesh and everything else are on the CPU."""
    normals, corners, facing, ids, depth = project_surface(vertices, camera, topology)
    skin = (vertex_kinds(model) == SKIN).numpy()
    x, y = (corners[:, :2] / corners[:, 2:]).T.numpy()
    behind = corners[:, 2].numpy() - sample_at(depth, x, y)
    visible = smoothstep(behind, SEEN_DEPTH[1], SEEN_DEPTH[0]) * smoothstep(facing.numpy(), 0.0, 0.02) * skin
    seen = visible * smoothstep(facing.numpy(), *GRAZING)
    shown = kinds_seen(ids, kinds)
    for kind, width in ((INSIDE, BESIDE_MOUTH), (LEFT_EYE, BESIDE_EYES), (RIGHT_EYE, BESIDE_EYES)):
        seen = seen * (1 - sample_at(beside(shown == kind, width), x, y))
    colours = sample_at(matte.layer, x, y)
    seen = seen * sample_at(matte.inner, x, y)
    colours[:, :3] = np.clip(colours[:, :3], 0, 1)
    points = template(model, ears)
    spread = Nearest.on(points, topology.faces.numpy(), skin)
    # what lies behind the outline is as much person as the outline itself, where the mesh may be wider than the head
    fill = np.concatenate([spread(colours[:, :3], seen), spread(colours[:, 3:], visible, held=0.0)], 1)
    skull = back_of_head(model, points)
    above_ears = (skull > 0) & (points[:, 1] > model.joint_template[HEAD, 1].item() + ABOVE_EARS)
    hidden = skull * hair_beyond(matte.alpha, x[above_ears], y[above_ears], facing[above_ears].numpy())
    fill[:, 3] = smoothstep(fill[:, 3], 0.15, 0.4) * (1 - hidden)
    mirror = mirrored(points, skin, seen, np.stack([x, y], 1), colours[:, :3], spread)
    return Surface(
        topology.faces, topology, kinds, vertices, normals, corners, extent(corners, topology), shown, ids, depth,
        torch.from_numpy(seen.astype(np.float32)), torch.from_numpy(fill), mirror,
    )  # fmt: skip


def back_of_head(model: HeadModel, points: np.ndarray) -> np.ndarray:
    """[Vs] 0..1 the skull behind the face. `points` [Vs, 3] is the average head."""
    centred = points - model.joint_template[HEAD].numpy()
    outward = centred - np.array([0, SKULL_CENTRE, 0])
    forward = outward[:, 2] / np.maximum(np.linalg.norm(outward, axis=1), 1e-6)
    return smoothstep(centred[:, 1], *SKULL_FROM) * smoothstep(forward, *SKULL_BEHIND)


def hair_beyond(alpha: np.ndarray, x: np.ndarray, y: np.ndarray, facing: np.ndarray) -> float:
    """0..1 whether the person's outline lies beyond the skull's, whose vertices are at the photo's pixels x, y.

    A skull that turns out from behind hair would look like a bald cap: there the hair, which moves with the head, is
    the better outline. On a bald head, and under the shortest hair, it is the skull.
    """
    height, width = alpha.shape
    rim = (np.abs(facing) < RIM_COSINE) & (x > 2) & (x < width - 2) & (y > 2) & (y < height - 2)
    if rim.sum() < FEWEST:
        return 0.0
    inside = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    return float(smoothstep(np.median(sample_at(inside, x[rim], y[rim])) / min(height, width), *HAIR))


def template(model: HeadModel, ears: Ears) -> np.ndarray:
    """[Vs, 3] the average head."""
    return ears.flattened(upsample(model.template, model.faces, model.upsampling)).numpy()


def fine_vertex_parts(model: HeadModel) -> Tensor:
    """[Vs] part of every fine vertex; between two parts the outer one."""
    corners = model.faces[model.upsampling.triangles]  # [Vs, 3]
    there = model.upsampling.barycentric > 0
    return torch.where(there, model.parts[corners], len(regions.PARTS)).amin(1)


def beside(hole: np.ndarray, width: float) -> np.ndarray:
    """[H, W] 1 in a hole and around it, falling to 0 at `width` (a share of the picture's side)."""
    width = max(width * min(hole.shape), 1.5)
    return smoothstep(distance_to(hole), width, 0.5 * width).astype(np.float32)


def sample_at(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples [N] or [N, C] at pixel positions [N]."""
    # in rows of 256, because OpenCV takes no picture wider than 32767
    places = np.zeros((2, -(-len(x) // 256) * 256), np.float32)
    places[0, : len(x)], places[1, : len(x)] = x - 0.5, y - 0.5
    column, row = places.reshape(2, -1, 256)
    samples = cv2.remap(picture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return samples.reshape(-1, *picture.shape[2:])[: len(x)]


@dataclass(frozen=True)
class Nearest:
    """Continues values over the mesh from the nearest vertices where they are known, rather sideways than up or down:
    hair from hair, cheek from cheek."""

    points: np.ndarray  # [Vs, 3] canonical, the distances between which count
    neighbours: csr_matrix  # [Vs, Vs] mean over the neighbours

    @staticmethod
    def on(template: np.ndarray, faces: np.ndarray, used: np.ndarray) -> Nearest:
        edges = edges_of(faces)
        edges = edges[used[edges].all(1)]
        graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(used),) * 2).tocsr()
        graph = graph + graph.T + diags(np.full(len(used), 1e-6))
        return Nearest(template * np.array(FILL_METRIC), (diags(1 / np.asarray(graph.sum(1)).ravel()) @ graph).tocsr())

    def __call__(
        self,
        values: np.ndarray,  # [Vs, C]
        known: np.ndarray,  # [Vs] 0..1
        held: float = 1.0,  # how firmly the known values stay
    ) -> np.ndarray:  # [Vs, C] float32
        source = np.flatnonzero(known > FILL_TRUST)
        if len(source) == 0:
            return np.zeros(values.shape, np.float32)
        filled = values.astype(np.float64)
        wanting = np.flatnonzero(known < 1) if held else np.arange(len(known))
        count = min(FILL_NEIGHBOURS, len(source))
        distance, index = cKDTree(self.points[source]).query(self.points[wanting], k=count)
        distance, index = distance.reshape(-1, count), source[index.reshape(-1, count)]
        weight = known[index] * np.exp(-0.5 * (distance**2 - distance[:, :1] ** 2) / FILL_SPREAD**2)
        filled[wanting] = (weight[..., None] * values[index]).sum(1) / weight.sum(1, keepdims=True)
        own = held * known[:, None]
        for _ in range(FILL_ROUNDS):  # a skin stretched between the seen vertices: no step at the border
            filled = own * values + (1 - own) * (self.neighbours @ filled)
        return filled.astype(np.float32)


def mirrored(
    points: np.ndarray, skin: np.ndarray, seen: np.ndarray, pixels: np.ndarray, colours: np.ndarray, spread: Nearest
) -> Tensor | None:
    """What the head's other side shows of the vertices that the photo hides, or None where that is nothing."""
    numbers = np.flatnonzero(skin)
    distance, index = cKDTree(points[numbers]).query(points[numbers] * np.array([-1, 1, 1]))
    other = np.arange(len(points))
    other[numbers] = numbers[index]
    close = np.zeros(len(points))
    close[numbers] = distance < MIRROR_ERROR
    use = seen[other] * close * (1 - seen)
    if use.sum() < 0.005 * len(numbers):
        return None
    both = seen * seen[other] * close
    difference = spread((colours - colours[other]).astype(np.float32), both)
    table = np.concatenate([pixels[other], use[:, None], difference], 1)
    return torch.from_numpy(table.astype(np.float32))
