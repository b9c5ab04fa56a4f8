"""Known pose, gaze, jaw and blinks, rendered and found again; and the solver's parts against plain mathematics."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from expportrait_core.body import axis_angle_to_matrix, landmark_points, pose_vertices
from expportrait_core.fit import fit_landmarks, track
from expportrait_core.fit.detect.landmark_scheme import eye_openness
from expportrait_core.fit.tracker.landmark_rig import rotation_derivatives
from expportrait_core.fit.tracker.solver import solve_banded
from expportrait_core.types import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, HeadModel, SMPLXFit

from .rendered_clip import RenderedClip, rendered_clip


@pytest.fixture(scope="module")
def clip() -> RenderedClip:
    return rendered_clip(seed=1, frames=44, still=8)


def projected(fit: SMPLXFit, model: HeadModel) -> Tensor:
    vertices = pose_vertices(model, fit.betas, fit.expression, fit.poses, fit.translation)
    points = fit.camera.project(landmark_points(vertices, model.faces, model.landmarks["mediapipe478"]))
    return points[..., :2] / points[..., 2:]


def head_rotation(fit: SMPLXFit) -> Tensor:
    return axis_angle_to_matrix(fit.poses[:, NECK]) @ axis_angle_to_matrix(fit.poses[:, HEAD])


def degrees(first: Tensor, second: Tensor) -> Tensor:
    trace = (first.mT @ second).diagonal(dim1=1, dim2=2).sum(1)
    return ((trace - 1) / 2).clamp(-1, 1).acos() * 180 / torch.pi


def test_a_rendered_clip_comes_back(clip: RenderedClip, coarse_head: HeadModel) -> None:
    fit, truth = track(clip.pictures, coarse_head, fps=30.0), clip.truth
    assert fit.valid.all()
    assert degrees(head_rotation(fit), head_rotation(truth)).mean() < 5
    assert (fit.poses[:, JAW, 0] - truth.poses[:, JAW, 0]).abs().mean() * 180 / torch.pi < 4
    still = head_rotation(fit)[-8:]
    assert degrees(still[1:], still[:-1]).max() < 0.3
    openness = eye_openness(projected(fit, coarse_head)).mean(1)
    for blink in clip.blinks:
        assert (openness / openness.median())[list(blink)].min() < 0.45
    seen = eye_openness(projected(truth, coarse_head)).mean(1) > 0.15
    for eye in (LEFT_EYE, RIGHT_EYE):
        found, wanted = (axis_angle_to_matrix(f.poses[seen, eye]) for f in (fit, truth))
        assert degrees(found, wanted).mean() < 10
        sideways = torch.stack([fit.poses[seen, eye, 1], truth.poses[seen, eye, 1]])
        assert float(torch.corrcoef(sideways)[0, 1]) > 0.8


def perfect(clip: RenderedClip, model: HeadModel) -> Tensor:
    pixels = projected(clip.truth, model)
    return torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1)


def test_gaze_of_perfect_irises_is_exact_to_a_degree_or_two(clip: RenderedClip, coarse_head: HeadModel) -> None:
    landmarks = perfect(clip, coarse_head)
    fit = fit_landmarks(landmarks, (360, 640), coarse_head, 30.0, focal=900.0)
    seen = eye_openness(landmarks[..., :2]).amin(1) > 0.2
    for eye in (LEFT_EYE, RIGHT_EYE):
        off = fit.poses[seen, eye, :2] - clip.truth.poses[seen, eye, :2]
        assert off.abs().mean() * 180 / torch.pi < 2.5
        assert off.std() * 180 / torch.pi < 1.5


def gaze_axes(fit: SMPLXFit, model: HeadModel) -> Tensor:
    """[F, 2, 3] where the drawn eyes look, in the head's axes: ARKit's units for the gaze turn the eyeballs too."""
    poses = fit.poses.clone()
    poses[:, [NECK, HEAD]] = 0
    vertices = pose_vertices(model, fit.betas, fit.expression, poses, torch.zeros_like(fit.translation))
    irises = landmark_points(vertices, model.faces, model.landmarks["mediapipe478"])[:, 468:].unflatten(1, (2, 5))
    joints = model.joint_template + model.joint_shape_basis[..., : len(fit.betas)] @ fit.betas
    return torch.nn.functional.normalize(irises.mean(2) - joints[[RIGHT_EYE, LEFT_EYE]], dim=-1)


def test_drawn_eyes_look_where_perfect_irises_say(clip: RenderedClip, coarse_head: HeadModel) -> None:
    """Neither damped nor exaggerated, sideways and up and down."""
    landmarks = perfect(clip, coarse_head)
    seen = eye_openness(landmarks[..., :2]).amin(1) > 0.15
    found, wanted = (
        gaze_axes(fit, coarse_head)[seen]
        for fit in (fit_landmarks(landmarks, (360, 640), coarse_head, 30.0), clip.truth)
    )
    assert torch.rad2deg((found * wanted).sum(-1).clamp(-1, 1).acos()).mean() < 3
    found, wanted = found - found.mean(0), wanted - wanted.mean(0)
    gain = (found * wanted).sum(0) / (wanted**2).sum(0)
    assert (gain[:, :2] > 0.85).all() and (gain[:, :2] < 1.1).all(), gain


def test_eyes_rest_under_noise_and_jump_at_once(clip: RenderedClip, coarse_head: HeadModel) -> None:
    """One look, seen 40 times under a fifth of a pixel of noise, and then another one."""
    openness = eye_openness(perfect(clip, coarse_head)[..., :2]).amin(1)
    yaw = clip.truth.poses[:, RIGHT_EYE, 1].masked_fill(openness < 0.2, 0.0)
    two = clip.truth.frames([int(yaw.argmin())] * 20 + [int(yaw.argmax())] * 20)
    still = two.replace(poses=two.poses[:1].repeat(40, 1, 1), expression=two.expression[:1].repeat(40, 1),
                        translation=two.translation[:1].repeat(40, 1))  # fmt: skip
    poses = still.poses.clone()
    poses[:, [LEFT_EYE, RIGHT_EYE]] = two.poses[:, [LEFT_EYE, RIGHT_EYE]]
    pixels = projected(still.replace(poses=poses), coarse_head)
    noise = 0.2 * torch.randn(40, 2, 2, generator=torch.Generator().manual_seed(0))
    pixels[:, 468:] += noise.repeat_interleave(5, 1)
    fit = fit_landmarks(torch.cat([pixels, torch.ones(40, 478, 1)], -1), (360, 640), coarse_head, 30.0, focal=900.0)
    eye = fit.poses[:, RIGHT_EYE, :2]
    first, second = eye[:20] - eye[:20].mean(0), eye[20:] - eye[20:].mean(0)
    assert torch.rad2deg(torch.cat([first, second])).square().mean().sqrt() < 0.43
    jump = eye[20, 1] - eye[19, 1]
    assert jump / (poses[20, RIGHT_EYE, 1] - poses[19, RIGHT_EYE, 1]) > 0.85


def test_eyes_stay_where_they_were_behind_closed_lids(clip: RenderedClip, coarse_head: HeadModel) -> None:
    """Irises that jump away while the lids are closed, as a detector's do, turn no eye."""
    landmarks = perfect(clip, coarse_head)
    calm = fit_landmarks(landmarks, (360, 640), coarse_head, 30.0, focal=900.0)
    shut = eye_openness(landmarks[..., :2]).amax(1) < 0.08
    assert shut.sum() >= 4
    landmarks[shut, 468:, :2] += 9
    wild = fit_landmarks(landmarks, (360, 640), coarse_head, 30.0, focal=900.0)
    assert (wild.poses - calm.poses)[:, [LEFT_EYE, RIGHT_EYE]].norm(dim=-1).max() < 0.03


@pytest.mark.parametrize(("focal", "left"), [(600.0, 0.55), (1400.0, 0.85)])
def test_the_focal_length_is_estimated(clip: RenderedClip, coarse_head: HeadModel, focal: float, left: float) -> None:
    """A head shows a wide lens by its perspective; of a long one there is less to see. The guess is 960."""
    truth = clip.truth
    intrinsics = truth.camera.intrinsics.clone()
    intrinsics[:, [0, 1], [0, 1]] = focal
    further = truth.translation + torch.tensor([0.0, 0.0, 0.85 * (1 - focal / 900)])
    seen = truth.replace(camera=truth.camera.replace(intrinsics=intrinsics), translation=further)
    landmarks = torch.cat([projected(seen, coarse_head), torch.ones(truth.num_frames, 478, 1)], -1)
    fit = fit_landmarks(landmarks, (360, 640), coarse_head, 30.0)
    found = float(fit.camera.intrinsics[0, 0, 0])
    assert abs(math.log(found / focal)) < left * abs(math.log(960 / focal))
    given = fit_landmarks(landmarks, (360, 640), coarse_head, 30.0, focal=focal)
    assert float(given.camera.intrinsics[0, 0, 0]) == focal


def test_rotation_derivatives_are_autograds() -> None:
    vectors = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    vectors[0] *= 1e-7
    found = rotation_derivatives(vectors)
    for vector, derivative in zip(vectors, found, strict=True):
        expected = torch.autograd.functional.jacobian(lambda v: axis_angle_to_matrix(v[None])[0], vector)
        assert (derivative - expected).abs().max() < 1e-6


def test_banded_equations_are_solved_like_any() -> None:
    generator = torch.Generator().manual_seed(0)
    frames, size = 6, 4
    blocks = torch.randn(frames, size, size, generator=generator)
    blocks = blocks @ blocks.mT + 8 * torch.eye(size)
    ties, gradient = torch.rand(frames - 1, size, generator=generator), torch.randn(frames, size, generator=generator)
    fixed = torch.zeros(frames, size, dtype=torch.bool)
    fixed[2, 1] = True
    matrix = torch.block_diag(*blocks)
    for t in range(frames - 1):
        for d in range(size):
            if not (fixed[t, d] or fixed[t + 1, d]):
                a, b = t * size + d, (t + 1) * size + d
                matrix[a, b] = matrix[b, a] = -ties[t, d]
    expected = torch.linalg.solve(matrix, gradient.flatten()).view(frames, size)
    assert torch.allclose(solve_banded(blocks, gradient, ties, fixed), expected, atol=1e-5)
