"""Drawing meshes: who is seen where, what is seen there, and the normal maps that the generator takes.

`visible_triangles` finds triangles, `interpolate` brings vertex attributes to their pixels differentiably,
`render_mesh` draws a mesh with gradients, `PictureDrawer` without, `render_normals` a whole motion. `cameras` holds
those that no tracker gave, `looking` what is drawn for people alone.
"""

from .backend import Backend, choose_backend
from .cameras import orbit, weak_perspective
from .depth import depth_from_picture, depth_picture, depth_span
from .interpolate import interpolate, interpolate_reference
from .looking import draw_landmarks, edge_distance, facing, shaded, wireframe, wires
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
from .regions import DETAILS, REGIONS, RegionLayout, region_picture
from .render import SPACES, HeadPictures, render_normals, render_pictures, stream_normals, working_bytes
from .visibility import visible_triangles

__all__ = [
    "CONVENTIONS", "DETAILS", "NORMALS_CONVENTION", "OBJECT_CONVENTION", "REGIONS", "SPACES", "Backend", "HeadPictures",
    "MeshMaps", "MeshTopology", "NormalPictures", "PictureDrawer", "RegionLayout", "choose_backend", "decode_normals",
    "depth_from_picture", "depth_picture", "depth_span", "draw_landmarks", "edge_distance", "encode_normals",
    "facing", "from_convention", "interpolate", "interpolate_reference", "orbit", "region_picture", "render_mesh",
    "render_normals", "render_pictures", "shaded", "stream_normals", "vertex_normals", "visible_triangles",
    "weak_perspective", "wireframe", "wires", "working_bytes",
]  # fmt: skip
