"""Landmarks on the fine, offset surface."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from expportrait_core.body import landmark_points, load_head_model, pose_vertices, upsample
from expportrait_core.body.landmark_groups import IBUG68_FROM_MEDIAPIPE
from expportrait_core.fit import landmark_error_percent
from expportrait_core.head import STANDARD, personalize
from expportrait_core.head.landmarks import fitted_landmarks, on_fine_mesh
from expportrait_core.types import HeadModel

from .people import SCHEME, make_person, tracked


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_landmark_is_the_same_point_on_every_level(level: int) -> None:
    model = load_head_model("default", level=level)
    embedding = model.landmarks[SCHEME]
    coarse = landmark_points(model.template[None], model.faces, embedding)[0]
    triangles, barycentric = on_fine_mesh(model, embedding.triangles, embedding.barycentric)
    surface = upsample(model.template, model.faces, model.upsampling)
    fine = (surface[model.fine_faces[triangles]] * barycentric[..., None]).sum(1)
    torch.testing.assert_close(fine, coarse, atol=1e-6, rtol=0)
    assert barycentric.min() > -1e-4 * 2**level


def test_posing_the_patch_is_posing_the_head(head_model: HeadModel) -> None:
    person = make_person(head_model, frames=2)
    fit, landmarks = person.fit, fitted_landmarks(head_model, person.fit)
    offsets = person.static_offsets + person.dynamic_offsets
    arguments = (fit.betas, fit.expression, fit.poses, fit.translation)
    points = landmarks.points(*arguments, offsets[:, landmarks.vertices])
    whole = pose_vertices(head_model, *arguments, offsets)
    patch = pose_vertices(landmarks.patch, *arguments, offsets[:, landmarks.vertices])
    torch.testing.assert_close(patch, whole[:, landmarks.vertices], atol=1e-6, rtol=0)
    corners = fit.camera.project(points)
    torch.testing.assert_close(corners[..., :2] / corners[..., 2:], fit.landmarks[..., :2], atol=1e-3, rtol=0)


def test_a_turned_head_is_measured_with_the_same_ruler(head_model: HeadModel) -> None:
    fit = make_person(head_model, bump=0).fit
    turned = fit.poses.clone()
    turned[:, 15, 1] += 0.8

    def ruler(poses: Tensor) -> float:
        landmarks = fitted_landmarks(head_model, fit.replace(poses=poses))
        points = landmarks.points(fit.betas, fit.expression, poses, fit.translation, None)
        return float(landmarks.eye_distance(points, fit.camera.project(points), fit.camera.intrinsics[:, 0, 0]))

    assert ruler(turned) == pytest.approx(ruler(fit.poses), rel=0.12)


def test_the_error_before_is_the_one_that_the_tracker_reports(coarse_head: HeadModel) -> None:
    fit = tracked(make_person(coarse_head).fit)
    error = personalize(coarse_head, fit, settings=dataclasses.replace(STANDARD, steps=0)).report["landmark_error"]
    assert error["before"] == pytest.approx(float(landmark_error_percent(fit, coarse_head)), rel=1e-4)


def only(model: HeadModel, scheme: str) -> HeadModel:
    return model.replace(landmarks={scheme: model.landmarks[scheme]})


def test_schemes_that_contain_each_other_are_matched(coarse_head: HeadModel) -> None:
    """SMPL-X files carry 51 or 68 points, and the tracker writes MediaPipe's 478 all the same."""
    fit = make_person(coarse_head).fit
    found = fitted_landmarks(only(coarse_head, "ibug68"), fit)
    assert torch.equal(found.target, fit.landmarks[:, list(IBUG68_FROM_MEDIAPIPE), :2])
    inner = coarse_head.landmarks["ibug68"]
    inner = coarse_head.replace(landmarks={"ibug51": inner.replace(triangles=inner.triangles[17:],
                                                                   barycentric=inner.barycentric[17:])})  # fmt: skip
    sixty_eight = fit.replace(landmarks=fit.landmarks[:, list(IBUG68_FROM_MEDIAPIPE)], landmark_scheme="ibug68")
    for given in (fit, sixty_eight):
        assert torch.equal(fitted_landmarks(inner, given).target, found.target[:, 17:])


def test_landmarks_that_were_not_seen_may_be_anything(coarse_head: HeadModel) -> None:
    fit = make_person(coarse_head).fit
    strange = fit.landmarks.clone()
    strange[:, 50:60] = torch.tensor([torch.nan, torch.inf, 0.0])
    found = fitted_landmarks(coarse_head, fit.replace(landmarks=strange))
    assert torch.isfinite(found.target).all() and (found.confidence[:, 50:60] == 0).all()
    strange[:, 50, 2] = 1
    with pytest.raises(ValueError, match=r"NaN.*confidence of 0"):
        fitted_landmarks(coarse_head, fit.replace(landmarks=strange))


def test_unknown_landmarks_are_refused(coarse_head: HeadModel) -> None:
    fit = make_person(coarse_head).fit
    with pytest.raises(ValueError, match=r"'dlib5'.*mediapipe478"):
        fitted_landmarks(coarse_head, fit.replace(landmark_scheme="dlib5"))
    with pytest.raises(ValueError, match=r"479 landmarks.*478"):
        fitted_landmarks(coarse_head, fit.replace(landmarks=torch.ones(1, 479, 3)))
    nowhere = coarse_head.landmarks[SCHEME]
    nowhere = nowhere.replace(triangles=nowhere.triangles.index_fill(0, torch.tensor([33]), -1))
    with pytest.raises(ValueError, match="eye corners"):
        fitted_landmarks(coarse_head.replace(landmarks={SCHEME: nowhere}), fit)
