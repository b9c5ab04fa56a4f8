"""The jobs of the rendering benchmark as other libraries do them. Each function prepares everything that is prepared
once and returns a call that does the job for one round; what is missing is said by `missing`.

    pip install deodr trimesh embreex mitsuba
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from expportrait_core.body import load_head_model, pose_vertices
from expportrait_core.render import PictureDrawer, encode_normals, visible_triangles

from .scenes import FRAMES, SIZE, Scene

PEERS = {"deodr": ("deodr", "trimesh"), "embree": ("embreex", "trimesh"), "mitsuba": ("mitsuba",), "smplx": ("smplx",)}
"""And the packages that each needs; deodr imports trimesh."""
PEER_FRAMES = 2  # of each round, because they are slow

Job = Callable[[], object]


def missing() -> list[str]:
    """The packages that are not installed."""
    wanted = sorted({package for packages in PEERS.values() for package in packages})
    return [package for package in wanted if importlib.util.find_spec(package) is None]


def has(peer: str) -> bool:
    return not set(PEERS[peer]) & set(missing())


def deodr(scene: Scene) -> Job:
    """The whole job of PEER_FRAMES: its vertex normals, its rasteriser on the indexed mesh, our encoding."""
    from deodr.differentiable_renderer import Scene2DBase, renderScene
    from deodr.triangulated_mesh import TriMesh

    faces = scene.faces.numpy().astype(np.uint32)
    count, none = scene.vertices.shape[1], np.zeros(len(faces), bool)
    mesh = TriMesh(faces, vertices=scene.vertices[0].double().numpy())
    picture, nearest = np.empty((SIZE, SIZE, 4)), np.empty((SIZE, SIZE))
    empty = np.zeros((SIZE, SIZE, 4))
    cameras = [(c.world_to_camera[0].double().numpy(), c.intrinsics[0].double().numpy())
               for c in (scene.camera[i : i + 1] for i in range(PEER_FRAMES))]  # fmt: skip
    vertices = scene.vertices.double().numpy()

    def job() -> None:
        for moved, (world_to_camera, intrinsics) in zip(vertices, cameras):
            mesh.set_vertices(moved)
            mesh.compute_vertex_normals()
            corners = (moved @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]) @ intrinsics.T
            depth = corners[:, 2].copy()
            normals = mesh.vertex_normals @ (world_to_camera[:3, :3] * [[1], [-1], [-1]]).T
            flat = Scene2DBase(
                faces=faces, faces_uv=faces, ij=corners[:, :2] / depth[:, None] - 0.5, depths=depth, textured=none,
                uv=np.zeros((count, 2)), shade=np.zeros(count), colors=np.column_stack([normals, depth]), shaded=none,
                edgeflags=np.zeros((len(faces), 3), bool), height=SIZE, width=SIZE, nb_colors=4,
                texture=np.zeros((0, 0)), background_image=empty, clockwise=False,
            )  # fmt: skip
            renderScene(flat, 0, picture, nearest, check_valid=False)
            drawn = torch.from_numpy(picture)
            mask = (drawn[..., 3] > 0).float()
            encode_normals(torch.nn.functional.normalize(drawn[..., :3], dim=-1).float(), mask)

    job()
    few = slice(0, PEER_FRAMES)
    ours = PictureDrawer(scene.faces, count).draw(scene.vertices[few], scene.camera[few])
    require_same("deodr", float((picture[..., 3] > 0).mean()), float(ours.mask[-1].mean()))
    return job


def rays(scene: Scene, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Origin [3] and directions [SIZE·SIZE, 3] of the pixels' centres, world."""
    camera = scene.camera[frame : frame + 1]
    pose, across = camera.world_to_camera[0].double().numpy(), np.arange(SIZE) + 0.5
    x, y = np.meshgrid(across, across)
    pixels = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3)
    directions = pixels @ np.linalg.inv(camera.intrinsics[0].double().numpy()).T @ pose[:3, :3]
    return -pose[:3, :3].T @ pose[:3, 3], directions


def embree(scene: Scene) -> Job:
    """Visibility of PEER_FRAMES: one ray through every pixel's centre; its search tree is built anew for each frame."""
    import trimesh
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    faces, views, seen = scene.faces.numpy(), [rays(scene, frame) for frame in range(PEER_FRAMES)], []

    def job() -> None:
        seen.clear()
        for moved, (origin, directions) in zip(scene.vertices.numpy(), views):
            mesh = trimesh.Trimesh(moved, faces, process=False)
            start = np.broadcast_to(origin, directions.shape)
            seen.append(RayMeshIntersector(mesh).intersects_first(start, directions))

    job()
    require_same("embree", float((seen[0] >= 0).mean()), covered(scene))
    return job


def mitsuba(scene: Scene) -> Job:
    """The same by Mitsuba 3's own rays, compiled for the CPU where it can be."""
    import drjit
    import mitsuba as mi

    mi.set_variant("llvm_ad_rgb" if "llvm_ad_rgb" in mi.variants() else "scalar_rgb")
    mesh = mi.Mesh("head", scene.vertices.shape[1], len(scene.faces))
    parameters = mi.traverse(mesh)
    parameters["faces"] = scene.faces.int().numpy().ravel()
    parameters["vertex_positions"] = scene.vertices[0].numpy().ravel()
    parameters.update()
    world = mi.load_dict({"type": "scene", "mesh": mesh})
    parameters = mi.traverse(world)
    key = next(name for name in parameters.keys() if name.endswith("vertex_positions"))  # noqa: SIM118 - no mapping
    views, seen = [rays(scene, frame) for frame in range(PEER_FRAMES)], []

    def job() -> None:
        seen.clear()
        for moved, (origin, directions) in zip(scene.vertices.numpy(), views):
            parameters[key] = moved.ravel()
            parameters.update()
            towards = mi.Vector3f(*(directions.T.astype(np.float32)))
            found = world.ray_intersect_preliminary(mi.Ray3f(mi.Point3f(*origin.tolist()), drjit.normalize(towards)))
            seen.append(np.array(found.is_valid()))

    job()
    require_same("mitsuba", float(seen[0].mean()), covered(scene))
    return job


def covered(scene: Scene) -> float:
    ids = visible_triangles(scene.camera[:1].project(scene.vertices[:1]), scene.faces, SIZE, SIZE)
    return float((ids >= 0).float().mean())


def require_same(name: str, theirs: float, ours: float) -> None:
    """Raise if a peer covers another part of the picture: it would not be the same job."""
    if abs(theirs - ours) > 0.01:
        raise RuntimeError(f"{name} covers {theirs:.3f} of the picture and we {ours:.3f}.")


def smplx_posing() -> tuple[Job, Job]:
    """Posing FRAMES of the vertices that we keep, and all of the body by `smplx`, from the same file of SMPL-X's size,
    whose numbers are random."""
    import smplx.body_models

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.body.smplx_file import write_random_smplx

    generator = torch.Generator().manual_seed(0)
    betas, expression = torch.randn(300, generator=generator), torch.randn(FRAMES, 100, generator=generator)
    poses, translation = 0.3 * torch.randn(FRAMES, 55, 3, generator=generator), torch.zeros(FRAMES, 3)
    with tempfile.TemporaryDirectory() as folder:
        file = write_random_smplx(Path(folder) / "SMPLX_NEUTRAL.npz")
        model = load_head_model(file, level=0, teeth=False)
        body = smplx.body_models.SMPLX(
            str(file), num_betas=300, num_expression_coeffs=100, use_pca=False, flat_hand_mean=True,
            batch_size=FRAMES, use_face_contour=False,
        )  # fmt: skip

    @torch.no_grad()
    def theirs() -> torch.Tensor:
        return body(
            betas=betas.expand(FRAMES, -1), expression=expression, transl=translation, global_orient=poses[:, 0],
            body_pose=poses[:, 1:22].flatten(1), jaw_pose=poses[:, 22], leye_pose=poses[:, 23],
            reye_pose=poses[:, 24], left_hand_pose=poses[:, 25:40].flatten(1),
            right_hand_pose=poses[:, 40:].flatten(1),
        ).vertices  # fmt: skip

    @torch.no_grad()
    def ours() -> torch.Tensor:
        return pose_vertices(model, betas, expression, poses, translation)

    if (ours() - theirs()[:, model.source_vertices]).abs().max() > 1e-5:
        raise RuntimeError("smplx and ours pose differently.")
    return ours, theirs
