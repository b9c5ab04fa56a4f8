"""What the objective is at some frames: the head is posed, seen by the camera, and compared with what was given."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from ..body.posing import pose_vertices
from ..body.sparse import SparseMatrix
from ..fit.tracker.solver import ExpressionPrior
from ..render import MeshTopology, encode_normals, render_mesh, visible_triangles
from ..types import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, Camera, HeadModel, SMPLXFit
from . import objective
from .landmarks import FittedLandmarks
from .objective import Terms
from .offsets import OffsetField
from .settings import PersonalizeSettings
from .targets import DenseTargets, View, eroded

JOINTS = [NECK, HEAD, JAW, LEFT_EYE, RIGHT_EYE]
"""Joints whose rotation is refined, in the order of `Parameters.rotations`."""
OUTLINE_BAND = 1  # pixels on either side of the drawn head's border in which a vertex counts as outline


@dataclass(frozen=True)
class Problem:
    """Everything that stays fixed while the head is optimised."""

    model: HeadModel
    fit: SMPLXFit  # the tracker's
    settings: PersonalizeSettings
    expression_prior: ExpressionPrior  # the tracker's
    landmarks: FittedLandmarks | None
    eye_distance: Tensor | None  # [F] pixels, of the tracker's fit
    targets: DenseTargets | None
    samples_per_millimetre: Tensor | None  # [F] of the dense targets, on the head
    static: OffsetField
    dynamic: OffsetField
    laplacian: SparseMatrix
    ears: Tensor  # [2, Vs]
    topology: MeshTopology
    faces_per_vertex: Tensor  # [Vs] int64
    hidden_faces: Tensor  # [Ts] bool, the inside of the mouth: estimators see nothing there
    fillable: Tensor  # [Vs] where the outline may grow


@dataclass(frozen=True)
class Parameters:
    """What is optimised, of some or all frames. The first two are shared by all frames and have one row."""

    betas: Tensor  # [1, B]
    static: Tensor  # [1, n, 3] controls of Δg
    expression: Tensor  # [F, E]
    rotations: Tensor  # [F, 5, 3] of JOINTS
    translation: Tensor  # [F, 3]
    dynamic: Tensor  # [F, m, 3] controls of Δf


SHARED = ("betas", "static")
"""The parameters that all frames share."""


def rows_of(parameters: Parameters, frames: Tensor) -> Parameters:
    """The parameters of some of the frames."""
    rows = {f.name: getattr(parameters, f.name) for f in fields(parameters)}
    return Parameters(**{name: value if name in SHARED else value[frames] for name, value in rows.items()})


@dataclass(frozen=True)
class Neighbourhood:
    """What the temporal terms need to know of the frames that are not being looked at; nothing in it has a gradient."""

    pairs: Tensor  # [P] index into the looked-at frames
    neighbours: Tensor  # [P, m, 3] controls of Δf one frame before or after them
    clip_mean: Tensor  # [1, m, 3] mean of the controls over the clip


def evaluate(
    problem: Problem,
    parameters: Parameters,
    frames: Tensor,  # [b] numbers of the frames that the parameters are of
    neighbourhood: Neighbourhood | None,  # None for a single picture
    first: tuple[int, int],  # first sample of the dense targets, see DenseTargets.view
) -> Terms:
    """All terms of the objective at these frames."""
    static, dynamic = problem.static.raw(parameters.static), problem.dynamic.raw(parameters.dynamic)
    static_offsets, dynamic_offsets = problem.static.weight * static, problem.dynamic.weight * dynamic
    offsets = static_offsets + dynamic_offsets
    return Terms(
        landmarks=_landmarks(problem, parameters, frames, offsets),
        **_dense_terms(problem, parameters, frames, offsets, first),
        expression=objective.expression_term(parameters.expression),
        static_magnitude=objective.magnitude_term(static),
        dynamic_magnitude=objective.magnitude_term(dynamic),
        static_laplacian=objective.laplacian_term(problem.laplacian.apply(static_offsets)),
        dynamic_laplacian=objective.laplacian_term(problem.laplacian.apply(dynamic_offsets)),
        **_clip_terms(problem, parameters, neighbourhood),
        rigid=objective.rigid_term(static_offsets[0], problem.ears),
        stay=_stay(problem, parameters, frames),
    )


def offsets_of(problem: Problem, parameters: Parameters) -> Tensor:
    """Δg + Δf [b, Vs, 3], metres."""
    static, dynamic = problem.static, problem.dynamic
    return static.weight * static.raw(parameters.static) + dynamic.weight * dynamic.raw(parameters.dynamic)


def poses_with(fit_poses: Tensor, rotations: Tensor) -> Tensor:
    """The fit's poses [F, 55, 3] with the refined joints put in."""
    poses = fit_poses.clone()
    poses[:, JOINTS] = rotations
    return poses


def posed(problem: Problem, parameters: Parameters, frames: Tensor, offsets: Tensor) -> Tensor:
    """World vertices [b, Vs, 3]."""
    poses = poses_with(problem.fit.poses[frames], parameters.rotations)
    return pose_vertices(
        problem.model, parameters.betas[0], parameters.expression, poses, parameters.translation, offsets
    )


def _landmarks(problem: Problem, parameters: Parameters, frames: Tensor, offsets: Tensor) -> Tensor | None:
    landmarks = problem.landmarks
    if landmarks is None:
        return None
    pixels = landmark_pixels(problem, parameters, frames, offsets)
    return objective.landmark_term(
        pixels, landmarks.target[frames], landmarks.confidence[frames], problem.eye_distance[frames]
    )


def landmark_pixels(problem: Problem, parameters: Parameters, frames: Tensor, offsets: Tensor) -> Tensor:
    """Where the landmarks of the surface are seen [b, L, 2]."""
    landmarks = problem.landmarks
    points = landmarks.points(
        parameters.betas[0],
        parameters.expression,
        poses_with(problem.fit.poses[frames], parameters.rotations),
        parameters.translation,
        offsets[:, landmarks.vertices],
    )
    corners = problem.fit.camera[frames].project(points)
    return corners[..., :2] / corners[..., 2:]


def _dense_terms(
    problem: Problem, parameters: Parameters, frames: Tensor, offsets: Tensor, first: tuple[int, int]
) -> dict[str, Tensor]:
    targets, settings = problem.targets, problem.settings
    if targets is None:
        return {}
    view, faces = targets.view(frames, first), problem.model.fine_faces
    vertices, scale = posed(problem, parameters, frames, offsets), problem.samples_per_millimetre[frames]
    terms = {}
    if targets.normals is None and targets.depth is None:
        ids = visible_triangles(view.camera.project(vertices), faces, *view.camera.image_size)
    else:
        maps = render_mesh(vertices, faces, view.camera, topology=problem.topology)
        ids = maps.ids
        seen = (ids >= 0) & ~problem.hidden_faces[ids.clamp(min=0).long()]
        seen = eroded(seen.to(vertices), settings.erosion) * facing(maps.normals.detach(), settings)
    if targets.normals is not None:
        weight, difference = seen * view.normals_weight, maps.normals - view.normals
        sigma = settings.high_pass_millimetres * float(scale.mean())
        terms["normals"] = objective.normal_term(difference, weight)
        terms["high_pass"] = objective.high_pass_term(difference, weight, max(sigma, 1.0))
    if targets.depth is not None:
        weight = seen * view.depth_weight
        terms["depth"] = objective.depth_term(maps.depth, view.depth, weight, settings.depth_alignment)
    if targets.mask is not None:
        outline = _outline(problem, view, vertices, ids)
        distance = sample_at(targets.outline_distance[frames], targets.outline_camera(frames).project(vertices))
        terms["outline"] = objective.outline_term(
            distance / scale[:, None], outline, problem.fillable, settings.outline_fill, settings.outline_reach
        )
    return terms


def facing(
    normals: Tensor,  # [b, h, w, 3] camera space
    settings: PersonalizeSettings,
) -> Tensor:  # [b, h, w]
    """0 where the surface is seen at a grazing angle, as at every fold that hides another surface, to 1."""
    low, high = settings.grazing
    return ((normals[..., 2] - low) / (high - low)).clamp(0, 1)


@torch.no_grad()
def _outline(problem: Problem, view: View, vertices: Tensor, ids: Tensor) -> Tensor:
    """1 for the vertices on the drawn head's outline [b, Vs], within the picture."""
    corners = view.camera.project(vertices)
    covered = (ids >= 0).to(corners)
    away_from_border = eroded(1 - covered, OUTLINE_BAND) + eroded(covered, OUTLINE_BAND)
    border = (1 - away_from_border) * view.in_picture
    return sample_at(border, corners, "nearest") * _turns_away(problem, corners[..., :2] / corners[..., 2:])


def sample_at(
    maps: Tensor,  # [b, h, w]
    corners: Tensor,  # [b, V, 3] homogeneous pixel corners
    mode: str = "bilinear",
) -> Tensor:  # [b, V]
    """The maps at the vertices' places, 0 beyond their edges."""
    height, width = maps.shape[1:]
    positions = corners[..., :2] / corners[..., 2:]
    grid = (positions / positions.new_tensor([width, height]) * 2 - 1)[:, :, None]  # [b, V, 1, 2]
    return F.grid_sample(maps[:, None], grid, mode, "zeros", align_corners=False)[:, 0, :, 0]


def _turns_away(problem: Problem, positions: Tensor) -> Tensor:
    """1 for vertices between triangles that face the camera and triangles that do not [b, Vs]."""
    x, y = (positions[..., axis].t().contiguous() for axis in (0, 1))  # [Vs, b]
    x0, x1, x2 = (x.index_select(0, corner) for corner in problem.model.fine_faces.t())
    y0, y1, y2 = (y.index_select(0, corner) for corner in problem.model.fine_faces.t())
    front = (x1 - x0) * (y2 - y0) < (y1 - y0) * (x2 - x0)  # counter-clockwise where y points down
    balance = problem.topology.vertex_faces.to(positions.dtype) @ torch.where(front, 1.0, -1.0).to(positions)
    return (balance.abs() < problem.faces_per_vertex[:, None] - 0.5).to(positions).t()


def _clip_terms(
    problem: Problem, parameters: Parameters, neighbourhood: Neighbourhood | None
) -> dict[str, Tensor]:
    """The temporal regularisation of Δf; a single picture has none, or its Δf would be zero."""
    if neighbourhood is None:
        return {}
    field, controls = problem.dynamic, parameters.dynamic
    # the value is the clip's mean, the gradient that of the frames being looked at
    mean = neighbourhood.clip_mean + (controls - controls.detach()).mean(0, keepdim=True)
    terms = {"zero_mean": objective.zero_mean_term(field.weight * field.raw(mean)[0])}
    if len(neighbourhood.pairs):
        change = controls[neighbourhood.pairs] - neighbourhood.neighbours
        terms["temporal"] = objective.temporal_term(field.weight * field.raw(change))
    return terms


def _stay(problem: Problem, parameters: Parameters, frames: Tensor) -> Tensor:
    fit, settings = problem.fit, problem.settings
    expression_scale = settings.expression_scale * problem.expression_prior.deviation[: fit.expression.shape[1]]
    return objective.stay_term({
        "betas": (parameters.betas - fit.betas, settings.betas_scale),
        "expression": (parameters.expression - fit.expression[frames], expression_scale),
        "rotations": (parameters.rotations - fit.poses[frames][:, JOINTS], settings.pose_scale),
        "translation": (parameters.translation - fit.translation[frames], settings.translation_scale),
    })


@torch.no_grad()
def preview(problem: Problem, parameters: Parameters, frame: Tensor) -> Tensor:
    """A normal map [H, W, 3] of the head as it is now in one frame ([1])."""
    vertices = posed(problem, parameters, frame, offsets_of(problem, parameters))
    camera = _small(problem.fit.camera[frame], problem.settings.preview_size)
    maps = render_mesh(vertices, problem.model.fine_faces, camera, topology=problem.topology)
    return encode_normals(maps.normals, maps.mask)[0]


def _small(camera: Camera, longer_side: int) -> Camera:
    return camera.scaled_to(min(longer_side, max(camera.image_size)))
