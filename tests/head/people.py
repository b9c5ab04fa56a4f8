"""Synthetic truth for the head tests: a person beyond the betas, seen by a camera, and a tracker that is a bit off."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from expportrait_core.body import pose_vertices, upsample
from expportrait_core.head.landmarks import on_fine_mesh
from expportrait_core.render import MeshMaps, encode_normals, render_mesh, vertex_normals
from expportrait_core.types import Camera, HeadModel, PersonalizedHead, SMPLXFit

SCHEME = "mediapipe478"


@dataclass(frozen=True)
class Person:
    """A person whose surface is known."""

    fit: SMPLXFit  # the true one, with its landmarks
    static_offsets: Tensor  # [Vs, 3]
    dynamic_offsets: Tensor  # [F, Vs, 3]
    vertices: Tensor  # [F, Vs, 3] world
    maps: MeshMaps

    @property
    def normals(self) -> Tensor:
        return encode_normals(self.maps.normals, self.maps.mask)


def make_person(
    model: HeadModel,
    frames: int = 1,
    seed: int = 0,
    bump: float = 0.006,  # metres, at the nose, the neck and the skull
    wrinkle: float = 0.0005,  # metres
    wave: float = 0.014,  # metres from wrinkle to wrinkle
    permanent: float = 0.0,  # share of the wrinkle that is there in every frame of a clip
    size: int = 256,
) -> Person:
    """Random identity, expression and pose, bumps for Δg, and a wrinkled forehead for Δf that comes and goes."""
    draw = torch.Generator().manual_seed(seed)
    betas, expression = torch.zeros(60), torch.zeros(frames, 60)
    betas[:20] = 0.7 * torch.randn(20, generator=draw)
    columns = torch.randperm(49, generator=draw)[:10]
    expression[:, columns] = 0.4 * torch.rand(frames, 10, generator=draw)
    poses = torch.zeros(frames, 55, 3)
    poses[:, 15] = 0.1 * torch.randn(frames, 3, generator=draw)
    poses[:, 22, 0] = 0.1 * torch.rand(frames, generator=draw)
    translation = 0.005 * torch.randn(frames, 3, generator=draw)

    surface = upsample(model.template, model.faces, model.upsampling)
    facial = upsample(model.facial_weight[:, None], model.faces, model.upsampling)
    outwards = vertex_normals(surface[None], model.fine_faces)[0]
    nose = surface[(facial[:, 0] > 0.9).nonzero()[:, 0]]
    nose = nose[nose[:, 2].argmax()]
    static = sum(
        bump * share * hill(surface, place, radius) * outwards
        for place, radius, share in (
            (nose + torch.tensor([0, 0.02, 0]), 0.012, 0.5),
            (torch.tensor([0.05, 0.60, 0.06]), 0.03, 1.0),
            (torch.tensor([0.0, 0.83, 0.08]), 0.05, 1.5),
        )
    )
    forehead = hill(surface, nose + torch.tensor([0, 0.07, -0.03]), 0.03)
    waves = torch.sin(2 * math.pi * surface[:, 1:2] / wave) * forehead
    comes_and_goes = torch.sin(2 * math.pi * torch.arange(frames) / max(frames, 2)) if frames > 1 else torch.ones(1)
    dynamic = wrinkle * (permanent + comes_and_goes)[:, None, None] * (facial * waves * outwards)

    camera = make_camera(frames, size)
    vertices = pose_vertices(model, betas, expression, poses, translation, static + dynamic)
    embedding = model.landmarks[SCHEME]
    triangles, barycentric = on_fine_mesh(model, embedding.triangles, embedding.barycentric)
    corners = camera.project((vertices[:, model.fine_faces[triangles]] * barycentric[..., None]).sum(2))
    landmarks = torch.cat([corners[..., :2] / corners[..., 2:], torch.ones(frames, len(triangles), 1)], -1)
    fit = SMPLXFit(betas, expression, poses, translation, camera, model.expression_space, model.model_id,
                   landmarks=landmarks, landmark_scheme=SCHEME)  # fmt: skip
    return Person(fit, static, dynamic, vertices, render_mesh(vertices, model.fine_faces, camera))


def make_camera(frames: int, size: int) -> Camera:
    """Three quarters of a metre before the default head, looking along -z."""
    focal = 2.2 * size
    intrinsics = torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]])
    world_to_camera = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    world_to_camera[1, 3], world_to_camera[2, 3] = 0.70, 0.75
    return Camera(intrinsics.repeat(frames, 1, 1), world_to_camera.repeat(frames, 1, 1), (size, size))


def hill(surface: Tensor, place: Tensor, radius: float) -> Tensor:  # [Vs, 1]
    return torch.exp(-0.5 * ((surface - place) / radius).pow(2).sum(-1, keepdim=True))


def tracked(fit: SMPLXFit, seed: int = 1) -> SMPLXFit:
    """The fit as a tracker might give it: a little wrong everywhere."""
    draw = torch.Generator().manual_seed(seed)
    frames = fit.num_frames
    betas, expression, poses = fit.betas.clone(), fit.expression.clone(), fit.poses.clone()
    betas[:20] += 0.3 * torch.randn(20, generator=draw)
    expression += 0.04 * torch.randn(expression.shape, generator=draw)
    poses[:, 15] += 0.015 * torch.randn(frames, 3, generator=draw)
    translation = fit.translation + 0.002 * torch.randn(frames, 3, generator=draw)
    return fit.replace(betas=betas, expression=expression.clamp(min=0), poses=poses, translation=translation)


def posed(head: PersonalizedHead) -> Tensor:
    """World vertices [F, Vs, 3] of the head in all frames of its own fit."""
    fit, offsets = head.fit, head.static_offsets + head.dynamic_offsets
    return pose_vertices(head.model, head.betas, fit.expression, fit.poses, fit.translation, offsets)


def surface_error(
    model: HeadModel,
    person: Person,
    vertices: Tensor,  # [F, Vs, 3]
    facial_only: bool = False,
) -> float:
    """Mean distance from the true surface, along its normals, of the vertices that the camera sees; millimetres."""
    seen = torch.zeros(vertices.shape[:2], dtype=torch.bool)
    for frame, ids in enumerate(person.maps.ids):
        seen[frame, model.fine_faces[ids[ids >= 0].long()]] = True
    if facial_only:
        seen &= upsample(model.facial_weight[:, None], model.faces, model.upsampling)[:, 0] > 0.5
    normals = vertex_normals(person.vertices, model.fine_faces)
    return 1000 * float(((vertices - person.vertices) * normals).sum(-1).abs()[seen].mean())


def normal_error(model: HeadModel, person: Person, vertices: Tensor) -> float:
    """Mean angle to the true normals over the picture, degrees."""
    maps = render_mesh(vertices, model.fine_faces, person.fit.camera)
    both = (maps.mask > 0) & (person.maps.mask > 0)
    cosine = (maps.normals * person.maps.normals).sum(-1).clamp(-1, 1)
    return float(torch.rad2deg(cosine.acos())[both].mean())


def unrefined(model: HeadModel, fit: SMPLXFit) -> Tensor:
    """World vertices of a fit without offsets."""
    return pose_vertices(model, fit.betas, fit.expression, fit.poses, fit.translation)
