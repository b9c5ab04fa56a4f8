"""Drawing meshes: who is seen where, what is seen there, and the normal maps that the generator takes.

`visible_triangles` finds triangles, `interpolate` brings vertex attributes to their pixels differentiably,
`render_mesh` draws a mesh with gradients, `PictureDrawer` without, `render_normals` a whole motion.
"""

from .backend import Backend, choose_backend
from .depth import depth_from_picture, depth_picture
from .interpolate import interpolate, interpolate_reference
from .mesh import MeshMaps, render_mesh
from .normals import (
    CONVENTIONS,
    NORMALS_CONVENTION,
    OBJECT_CONVENTION,
    MeshTopology,
    decode_normals,
    encode_normals,
    from_convention,
    vertex_normals,
)
from .pictures import NormalPictures, PictureDrawer
from .render import SPACES, render_normals, stream_normals
from .visibility import visible_triangles

__all__ = [
    "CONVENTIONS", "NORMALS_CONVENTION", "OBJECT_CONVENTION", "SPACES", "Backend", "MeshMaps", "MeshTopology",
    "NormalPictures", "PictureDrawer", "choose_backend", "decode_normals", "depth_from_picture", "depth_picture",
    "encode_normals", "from_convention", "interpolate", "interpolate_reference", "render_mesh", "render_normals",
    "stream_normals", "vertex_normals", "visible_triangles",
]  # fmt: skip
