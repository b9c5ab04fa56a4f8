"""Vertex normals, and normal maps as pictures: the one place that knows their convention."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .backend import DEVICES, Backend, choose_backend
from .checks import require_faces_of, require_floats
from .entry import drawing
from .kernels import NO_AREA, NO_DIRECTION
from .normals_numba import area_vectors_numba, area_vectors_numba_backward, fans_of, unit_numba, unit_numba_backward

NORMALS_CONVENTION = "camera space, +x right, +y up, +z towards the viewer; n*0.5+0.5; background 0,0,0"
"""Written into every file that depends on it."""

OBJECT_CONVENTION = "head space, +x to the head's left, +y up, +z out of the face; n*0.5+0.5; background 0,0,0"
"""The same of normals that do not change when the head turns."""

CONVENTIONS = ("y up (OpenGL)", "y down (DirectX)")
"""How other tools draw normals of camera space; the first is ours."""

DARKEST_NORMAL = 0.366  # length of the encoded (-1, -1, -1)/√3, the unit normal nearest to black: (√3 - 1)/2


@dataclass(frozen=True)
class MeshTopology:
    """Which triangles meet at which vertex. Make it once per mesh with `of`.

    Sums over a vertex's triangles are then one sparse product, or one compiled loop on the CPU: several times faster
    than `index_add`.
    """

    faces: Tensor  # [T, 3] int64
    num_vertices: int
    vertex_faces: Tensor  # [V, T] CSR: sums what belongs to triangles
    vertex_corners: Tensor  # [V, 3·T] CSR: sums what belongs to corners, all first corners before all second ones
    fans: tuple[Tensor, Tensor]  # [V + 1] starts and [3·T, 2] the two other corners of each vertex's triangles, int32

    @staticmethod
    def of(
        faces: Tensor,  # [T, 3] int64
        num_vertices: int,
    ) -> MeshTopology:
        """The topology of a mesh, on the device of `faces`, or where it is drawn (see `DEVICES`).

        Raises:
            ValueError: the faces name vertices that are not there.
        """
        if faces.dim() != 2 or faces.shape[1] != 3 or len(faces) == 0:
            raise ValueError(f"The mesh has faces of shape {list(faces.shape)}, expected [T, 3] with T of at least 1.")
        require_faces_of(num_vertices, faces)
        if faces.device.type not in DEVICES:
            faces = faces.cpu()
        faces = faces.long()  # products of two counts follow
        corner = torch.arange(3 * len(faces), device=faces.device)
        rows = faces.t().reshape(-1)
        return MeshTopology(
            faces=faces,
            num_vertices=num_vertices,
            vertex_faces=_count_at(rows, corner % len(faces), num_vertices, len(faces)),
            vertex_corners=_count_at(rows, corner, num_vertices, len(corner)),
            fans=fans_of(faces, num_vertices),
        )

    def to(self, device: torch.device | str) -> MeshTopology:
        """The same topology on `device`."""
        moved = (m.to(device) for m in (self.vertex_faces, self.vertex_corners))
        return MeshTopology(self.faces.to(device), self.num_vertices, *moved, tuple(m.to(device) for m in self.fans))


def _count_at(rows: Tensor, columns: Tensor, height: int, width: int) -> Tensor:
    """A CSR matrix of how often each place is named. Its indices are int32: the CPU need not convert them."""
    places, counts = torch.unique(rows * width + columns, return_counts=True)
    starts = torch.zeros(height + 1, dtype=torch.int32, device=rows.device)
    starts[1:] = torch.bincount(torch.div(places, width, rounding_mode="floor"), minlength=height).cumsum(0)
    columns = (places % width).to(torch.int32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(starts, columns, counts.float(), (height, width), check_invariants=True)


@drawing
def vertex_normals(
    vertices: Tensor,  # [F, V, 3] metres
    faces: Tensor,  # [T, 3] int64, counter-clockwise seen from outside
    topology: MeshTopology | None = None,  # of the same faces; made here if not given
    backend: Backend | None = None,  # None: the fastest that works, see `choose_backend`
) -> Tensor:
    """Unit normals, [F, V, 3]: the sum of the adjoining triangles' normals weighted by their areas.

    Differentiable once. A vertex without triangles, or with triangles of no area, has the normal 0 and no gradient.

    Raises:
        ValueError: the topology is of another mesh.
    """
    topology = topology_of(vertices, faces, topology)
    numba = choose_backend(vertices.device, backend) == "numba"
    return unit((_AreaVectorsNumba if numba else _AreaVectors).apply(vertices, topology), backend=backend)


def topology_of(
    vertices: Tensor,  # [F, V, 3]
    faces: Tensor,  # [T, 3] int64
    topology: MeshTopology | None = None,  # made here if not given
) -> MeshTopology:
    """The topology of these vertices and faces.

    Raises:
        ValueError: the topology is of another mesh, or vertices that are no floats.
    """
    require_floats(vertices=vertices)
    if topology is None:
        topology = MeshTopology.of(faces, vertices.shape[1])
    if vertices.dim() != 3 or vertices.shape[1:] != (topology.num_vertices, 3) or len(faces) != len(topology.faces):
        raise ValueError(
            f"Found vertices {list(vertices.shape)} and {len(faces)} faces, the mesh topology is of "
            f"{topology.num_vertices} vertices and {len(topology.faces)} faces. Make a MeshTopology of this mesh."
        )
    if faces is not topology.faces and not torch.equal(faces.to(topology.faces), topology.faces):
        raise ValueError("The mesh topology is of other faces than the given ones. Make a MeshTopology of this mesh.")
    return topology


def unit(
    vectors: Tensor,  # [..., 3]
    shortest: float = NO_AREA,
    backend: Backend | None = None,  # None: the fastest that works, see `choose_backend`
) -> Tensor:
    """Vectors of length 1; shorter ones than `shortest` become 0, with no gradient instead of an infinite one.

    Differentiable once.
    """
    numba = choose_backend(vectors.device, backend) == "numba"
    return (_UnitNumba if numba else _Unit).apply(vectors, shortest)


class _Unit(torch.autograd.Function):
    """u = v / |v|; with g = ∂L/∂u, ∂L/∂v = (g - u ⟨u, g⟩) / |v|."""

    @staticmethod
    def forward(ctx, vectors: Tensor, shortest: float) -> Tensor:
        squared = _dot(vectors, vectors)
        long_enough = squared > shortest * shortest
        scale = torch.where(long_enough, torch.where(long_enough, squared, 1).rsqrt(), 0)
        units = vectors * scale
        ctx.save_for_backward(units, scale)
        return units

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        units, scale = ctx.saved_tensors
        return (gradient - units * _dot(units, gradient)) * scale, None


def _dot(a: Tensor, b: Tensor) -> Tensor:  # [..., 1]
    return sum(x * y for x, y in zip(a.unbind(-1), b.unbind(-1), strict=True))[..., None]  # half the time of a sum


class _UnitNumba(torch.autograd.Function):
    """The same by the compiled loop."""

    @staticmethod
    def forward(ctx, vectors: Tensor, shortest: float) -> Tensor:
        units, scale = unit_numba(vectors, shortest)
        ctx.save_for_backward(units, scale)
        return units

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        return unit_numba_backward(*ctx.saved_tensors, gradient), None


class _AreaVectors(torch.autograd.Function):
    """Sum over each vertex's triangles of (b - a) × (c - a), twice the area times the normal. [F, V, 3]"""

    @staticmethod
    def forward(ctx, vertices: Tensor, topology: MeshTopology) -> Tensor:
        rows = vertices.transpose(0, 1).contiguous()  # [V, F, 3], so that frames are columns of one product
        a, b, c = (rows.index_select(0, corner) for corner in topology.faces.t())  # [T, F, 3]
        ab, ac = b - a, c - a
        ctx.topology = topology
        ctx.save_for_backward(ab, ac)
        return _sum(topology.vertex_faces, torch.linalg.cross(ab, ac)).transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        ab, ac = ctx.saved_tensors
        rows = gradient.transpose(0, 1).contiguous()
        g = sum(rows.index_select(0, corner) for corner in ctx.topology.faces.t())
        for_b, for_c = torch.linalg.cross(ac, g), torch.linalg.cross(g, ab)
        corners = torch.cat([-(for_b + for_c), for_b, for_c])  # [3T, F, 3]
        return _sum(ctx.topology.vertex_corners, corners).transpose(0, 1), None


class _AreaVectorsNumba(torch.autograd.Function):
    """The same by the compiled loop. [F, V, 3]"""

    @staticmethod
    def forward(ctx, vertices: Tensor, topology: MeshTopology) -> Tensor:
        ctx.fans = topology.fans
        ctx.save_for_backward(vertices)
        return area_vectors_numba(vertices, topology.fans)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        return area_vectors_numba_backward(*ctx.saved_tensors, gradient, ctx.fans), None


def _sum(
    matrix: Tensor,  # [V, N] CSR
    values: Tensor,  # [N, F, 3]
) -> Tensor:  # [V, F, 3]
    if matrix.dtype != values.dtype:
        matrix = matrix.to(values.dtype)
    return (matrix @ values.flatten(1)).view(len(matrix), *values.shape[1:])


def encode_normals(
    normals: Tensor,  # [..., 3] unit, camera space, +x right, +y up, +z towards the viewer
    mask: Tensor,  # [...] coverage 0..1
) -> Tensor:
    """The picture of normals in NORMALS_CONVENTION, [..., 3] in 0..1; half covered pixels are half as bright."""
    return (normals * 0.5 + 0.5).clamp(0, 1) * mask[..., None].to(normals.dtype)


def decode_normals(
    picture: Tensor,  # [..., 3] in 0..1, in NORMALS_CONVENTION
    mask: Tensor | None = None,  # [...] coverage 0..1; without it every pixel counts as covered or as background
) -> Tensor:
    """Unit normals from a picture, [..., 3], 0 in the background. The inverse of `encode_normals`.

    Without `mask` the background is told by its darkness, since no unit normal is encoded darker than 0.366, and
    partly covered pixels of an outline, which are mixed with black, come out bent towards (-1, -1, -1).
    """
    if mask is None:
        covered = picture.norm(dim=-1, keepdim=True) > 0.5 * DARKEST_NORMAL
    else:
        mask = mask[..., None].to(picture.dtype)
        covered = mask > 0
        picture = picture / torch.where(covered, mask, 1)
    return unit(torch.where(covered, picture * 2 - 1, 0), shortest=NO_DIRECTION)


def from_convention(
    picture: Tensor,  # [..., 3] in 0..1
    convention: str,  # one of CONVENTIONS
) -> Tensor:
    """The same normals as a picture in NORMALS_CONVENTION; black stays black.

    Raises:
        ValueError: an unknown convention.
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"The normals' convention is '{convention}', expected one of {', '.join(CONVENTIONS)}.")
    if convention == CONVENTIONS[0]:
        return picture
    red, green, blue = picture.unbind(-1)
    background = picture.norm(dim=-1) <= 0.5 * DARKEST_NORMAL
    return torch.stack([red, torch.where(background, green, 1 - green), blue], -1)
