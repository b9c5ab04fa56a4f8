"""Personalise: from a tracked fit and what else is known of its pictures, a head of one person."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from ..body import regions, with_level
from ..body.posing import pose_vertices
from ..body.upsampling import upsample
from ..fit.tracker.landmark_fit import expression_prior
from ..render import MeshTopology
from ..types import HeadModel, PersonalizedHead, Progress, SMPLXFit, no_progress
from . import offsets
from .checks import check_in_view, check_inputs, check_mask, ready
from .landmarks import FittedLandmarks, fitted_landmarks
from .objective import MILLIMETRES, SYMBOLS
from .optimise import first_sample, neighbourhood, number_of_steps, optimise, start_parameters
from .problem import Parameters, Problem, evaluate, landmark_pixels, offsets_of, poses_with, rows_of
from .settings import STANDARD, PersonalizeSettings
from .targets import dense_targets

log = logging.getLogger(__name__)

REPORT_FRAMES = 16  # frames of a clip at which the terms of the report are measured
UNIT_OF_ERROR = "% of the outer-eye-corner distance"
CHUNK = 32  # frames posed together where no gradient is needed


def personalize(
    model: HeadModel,
    fit: SMPLXFit,
    images: Tensor | None = None,  # [F, H, W, 3] 0..1; checked for size only: the objective has no colour term
    normals: Tensor | None = None,  # [F, H, W, 3] encoded to 0..1 in render.NORMALS_CONVENTION, background black
    depth: Tensor | None = None,  # [F, H, W] along the optical axis, metres or relative (settings), 0 where unknown
    mask: Tensor | None = None,  # [F, H, W] 0..1, the person with hair and shoulders
    settings: PersonalizeSettings = STANDARD,
    progress: Progress = no_progress,
) -> PersonalizedHead:
    """The head of the person in the fit's pictures: Δg, Δf of every frame, and the refined fit.

    Minimises the paper's objective (section on the personalised head) with Adam, see `objective` and `settings`.
    Needs landmarks in the fit, or normals, depth or a mask. The result lies on the model's device; nothing given is
    changed, and a `progress` that raises loses nothing. Frames that are not `valid` keep their fit and get Δf = 0.

    Raises:
        ValueError: sizes, frames, values or the head model do not fit together, or there is nothing to fit to.
    """
    started = time.perf_counter()
    # nodes are run in inference mode, whose tensors autograd refuses
    with torch.inference_mode(False), torch.enable_grad():
        check_inputs(model, fit, images, normals, depth, mask)
        like = model.template
        usable, fit, *maps = (ready(v, like.device, like.dtype) for v in (model, fit, normals, depth, mask))
        problem = build_problem(usable, fit, *maps, settings)
        start = start_parameters(problem)
        with torch.no_grad():
            before = _measure(problem, start)
        with _one_thread(when=problem.targets is None and like.device.type == "cpu"):
            found = optimise(problem, start, progress)
        with torch.no_grad():
            report = _report(problem, before, _measure(problem, found))
            head = assemble_head(model, problem, found)
    report |= {"seconds": round(time.perf_counter() - started, 2)} | _sizes(head)
    log.info("personalised %d frames in %.1f s", fit.num_frames, report["seconds"])
    return head.replace(report=report)


@contextlib.contextmanager
def _one_thread(when: bool) -> Iterator[None]:
    """Landmarks alone make steps of small operations: a second thread gains nothing, and on a busy machine the two
    wait for each other, up to ten times as long as one needs."""
    threads = torch.get_num_threads()
    if when:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def build_problem(
    model: HeadModel,
    fit: SMPLXFit,
    normals: Tensor | None,
    depth: Tensor | None,
    mask: Tensor | None,
    settings: PersonalizeSettings,
) -> Problem:
    """All that is fixed during the optimisation. The arguments are `personalize`'s, checked."""
    landmarks = fitted_landmarks(model, fit)
    targets, scale = None, None
    corners = _initial_corners(model, fit)
    check_in_view(corners, fit)
    if not (normals is None and depth is None and mask is None):
        pixels = corners[..., :2] / corners[..., 2:]
        if mask is not None:
            check_mask(mask, pixels, model.facial_weight, fit)
        targets = dense_targets(normals, depth, mask, fit.camera, pixels, settings.dense_size, settings.erosion)
        scale = fit.camera.intrinsics[:, 0, 0] / targets.stride / corners[..., 2].mean(1) / MILLIMETRES
    detail = normals is not None or depth is not None  # nothing else shows wrinkles
    if not detail:
        settings = dataclasses.replace(settings, landmarks_weight=settings.landmarks_alone_weight)
    static = offsets.static_field(model, settings, detail)
    interior = torch.zeros_like(model.facial_weight)
    for part in (regions.MOUTH, regions.UPPER_TEETH, regions.LOWER_TEETH, regions.TONGUE):
        interior[model.parts == part] = 1
    hidden = upsample(interior[:, None], model.faces, model.upsampling)[:, 0] > 0
    return Problem(
        model=model,
        fit=fit,
        settings=settings,
        landmarks=landmarks,
        expression_prior=ready(expression_prior(model), fit.betas.device, fit.betas.dtype),
        eye_distance=None if landmarks is None else _eye_distance(landmarks, fit),
        targets=targets,
        samples_per_millimetre=scale,
        static=static,
        dynamic=offsets.dynamic_field(model, settings, detail),
        laplacian=offsets.laplacian(model),
        ears=offsets.ear_masks(model),
        topology=MeshTopology.of(model.fine_faces, model.num_vertices),
        faces_per_vertex=torch.bincount(model.fine_faces.flatten(), minlength=model.num_vertices),
        hidden_faces=hidden[model.fine_faces].any(1),
        fillable=(static.weight * (1 - offsets.facial_weights(model)))[:, 0],
    )


def _initial_corners(model: HeadModel, fit: SMPLXFit) -> Tensor:
    """The tracker's head as homogeneous pixel corners [F, V, 3], without offsets: coarse vertices are enough."""
    coarse = with_level(model, 0)
    vertices = [
        pose_vertices(coarse, fit.betas, part.expression, part.poses, part.translation)
        for part in map(fit.frames, torch.arange(fit.num_frames, device=fit.betas.device).split(CHUNK))
    ]
    return fit.camera.project(torch.cat(vertices))


def _eye_distance(landmarks: FittedLandmarks, fit: SMPLXFit) -> Tensor:  # [F] pixels
    points = landmarks.points(fit.betas, fit.expression, fit.poses, fit.translation, None)
    return landmarks.eye_distance(points, fit.camera.project(points), fit.camera.intrinsics[:, 0, 0])


@dataclasses.dataclass(frozen=True)
class _Measured:
    terms: dict[str, float]
    landmark_error: float | None  # percent of the outer-eye-corner distance


def _measure(problem: Problem, parameters: Parameters) -> _Measured:
    """The terms at some valid frames, and the landmark error at all of them."""
    valid = problem.fit.valid.nonzero()[:, 0]
    some = valid[torch.linspace(0, len(valid) - 1, min(len(valid), REPORT_FRAMES)).round().long().to(valid.device)]
    clip_mean = parameters.dynamic[valid].mean(0, keepdim=True)
    first = first_sample(problem, None)
    sums: dict[str, float] = {}
    for frames in some.split(problem.settings.frames_per_step):
        around = neighbourhood(parameters.dynamic, clip_mean, frames, problem.fit.valid)
        terms = evaluate(problem, rows_of(parameters, frames), frames, around, first).given()
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(frames) / len(some)
    if problem.landmarks is None:
        return _Measured(sums, None)
    errors = torch.cat([_landmark_errors(problem, parameters, frames) for frames in valid.split(CHUNK)])
    return _Measured(sums, float(errors.nanmean()))


def _landmark_errors(problem: Problem, parameters: Parameters, frames: Tensor) -> Tensor:
    """Mean distance [b] of the landmarks that have any confidence, in percents of the outer-eye-corner distance in the
    picture, as the tracker reports it; NaN where there are none."""
    here, landmarks = rows_of(parameters, frames), problem.landmarks
    pixels = landmark_pixels(problem, here, frames, offsets_of(problem, here))
    target, used = landmarks.target[frames], landmarks.confidence[frames] > 0
    distance = torch.where(used, (pixels - target).norm(dim=-1), 0.0).sum(1) / used.sum(1)
    a, b = landmarks.eye_corners
    seen = (target[:, a] - target[:, b]).norm(dim=-1).clamp(min=1e-6)
    eye_distance = torch.where(used[:, a] & used[:, b], seen, problem.eye_distance[frames])
    return 100 * distance / eye_distance


def _report(problem: Problem, before: _Measured, after: _Measured) -> dict:
    settings = problem.settings
    terms = {
        name: {
            "symbol": SYMBOLS[name],
            "weight": getattr(settings, f"{name}_weight"),
            "start": before.terms[name],
            "end": after.terms[name],
        }
        for name in before.terms
    }
    error = None
    if before.landmark_error is not None:
        error = {"before": before.landmark_error, "after": after.landmark_error, "unit": UNIT_OF_ERROR}
    return {
        "terms": terms,
        "landmark_error": error,
        "frames": int(problem.fit.valid.sum()),
        "steps": number_of_steps(settings, int(problem.fit.valid.sum())),
        "settings": dataclasses.asdict(settings),
    }


def assemble_head(model: HeadModel, problem: Problem, found: Parameters) -> PersonalizedHead:
    """The head that the parameters describe."""
    fit, static, dynamic = problem.fit, problem.static, problem.dynamic
    rows = [dynamic.weight * dynamic.raw(part) for part in found.dynamic.split(CHUNK)]
    refined = fit.replace(
        betas=found.betas[0],
        expression=found.expression,
        poses=poses_with(fit.poses, found.rotations),
        translation=found.translation,
    )
    return PersonalizedHead(
        model=model,
        betas=found.betas[0],
        static_offsets=(static.weight * static.raw(found.static))[0],
        dynamic_offsets=torch.cat(rows),
        fit=refined,
        level=model.upsampling.level,
        model_id=model.model_id,
    )


def _sizes(head: PersonalizedHead) -> dict:
    """How far the offsets go, millimetres."""
    lengths = {"static": head.static_offsets.norm(dim=-1), "dynamic": head.dynamic_offsets.norm(dim=-1)}
    return {
        f"{name}_offsets_mm": {"mean": MILLIMETRES * float(n.mean()), "largest": MILLIMETRES * float(n.max())}
        for name, n in lengths.items()
    }
