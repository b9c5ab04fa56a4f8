"""Our picture against one that an independent renderer (deodr, in float64 and with its own rules) makes of the same
mesh and camera. Stated error: coverage differs in at most 0.2 % of the covered pixels;
inside, normals differ by at most 0.1 degrees and depths by at most 0.02 mm in 99.5 % of the pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from expportrait_core.body import load_head_model, upsample
from expportrait_core.render import render_mesh, vertex_normals
from expportrait_core.types import Camera

from .meshes import blob, look, rotation

SIZE = 256


def by_deodr(vertices: Tensor, normals: Tensor, faces: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Unit normals in camera space [H, W, 3] and depth [H, W] of one frame, 0 in the background."""
    renderer = pytest.importorskip("deodr.differentiable_renderer", reason="deodr is not installed")
    world_to_camera, intrinsics = camera.world_to_camera[0].double(), camera.intrinsics[0].double()
    seen = vertices.double() @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    corners = seen @ intrinsics.T
    turned = normals.double() @ world_to_camera[:3, :3].T * torch.tensor([1, -1, -1])
    height, width = camera.image_size
    count, triangles = len(vertices), faces.numpy().astype(np.uint32)
    flat = np.zeros(len(faces), bool)
    scene = renderer.Scene2DBase(
        faces=triangles, faces_uv=triangles, ij=(corners[:, :2] / corners[:, 2:] - 0.5).numpy(),
        depths=corners[:, 2].numpy(), textured=flat, uv=np.zeros((count, 2)), shade=np.zeros(count),
        colors=torch.cat([turned, corners[:, 2:]], 1).numpy(), shaded=flat, edgeflags=np.zeros((len(faces), 3), bool),
        height=height, width=width, nb_colors=4, texture=np.zeros((0, 0)),
        background_image=np.zeros((height, width, 4)), clockwise=False, perspective_correct=True,
    )  # fmt: skip
    picture, nearest = np.empty((height, width, 4)), np.empty((height, width))
    renderer.renderScene(scene, 0, picture, nearest, check_valid=False)
    drawn = torch.from_numpy(picture)
    return torch.nn.functional.normalize(drawn[..., :3], dim=-1), drawn[..., 3]


def lumpy() -> tuple[Tensor, Tensor]:
    return blob(5)


def head() -> tuple[Tensor, Tensor]:
    model = load_head_model("default", level=1)
    vertices = upsample(model.template, model.faces, model.upsampling)
    return vertices - vertices.mean(0), model.fine_faces


@pytest.mark.parametrize("mesh", [lumpy, head])
@pytest.mark.parametrize("yaw", [0.0, 0.7])
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_the_picture_is_that_of_an_independent_renderer(mesh, yaw: float, backend: str) -> None:
    if backend == "numba":
        pytest.importorskip("numba")
    vertices, faces = mesh()
    vertices = vertices @ rotation(yaw, 0.2).T
    camera = look((SIZE, SIZE), 0.9, 1.8)
    ours = render_mesh(vertices[None], faces, camera, backend=backend)
    normals, depth = by_deodr(vertices, vertex_normals(vertices[None], faces)[0], faces, camera)
    covered, theirs = ours.mask[0] > 0, depth > 0
    assert 0.1 < theirs.float().mean() < 0.9
    assert (covered != theirs).sum() <= 0.002 * theirs.sum()
    both = covered & theirs
    cosine = (ours.normals[0].double() * normals).sum(-1)[both].clamp(-1, 1)
    assert torch.quantile(torch.rad2deg(torch.arccos(cosine)), 0.995) < 0.1
    assert torch.quantile((ours.depth[0].double() - depth)[both].abs(), 0.995) < 2e-5
    assert math.isclose(float(depth[both].mean()), float(ours.depth[0][both].mean()), abs_tol=1e-4)
