"""Personalisation against people whose surface is known."""

from __future__ import annotations

import dataclasses
import importlib
import json

import pytest
import torch
from torch import Tensor

from expportrait_core.body import landmark_points, pose_head
from expportrait_core.body.regions import edges_of
from expportrait_core.head import STANDARD, PersonalizeSettings, personalize
from expportrait_core.head.checks import ready
from expportrait_core.head.objective import landmark_term
from expportrait_core.head.optimise import neighbourhood, start_parameters
from expportrait_core.head.problem import Parameters, evaluate
from expportrait_core.render import render_mesh
from expportrait_core.types import HeadModel, PersonalizedHead, SMPLXFit

from .people import SCHEME, Person, make_person, normal_error, posed, surface_error, tracked, unrefined

SHORT = dataclasses.replace(STANDARD, steps=100, dense_size=128)
module = importlib.import_module("expportrait_core.head.personalize")  # the name itself is the function
build_problem, assemble_head = module.build_problem, module.assemble_head


@pytest.fixture(scope="module")
def person(coarse_head: HeadModel) -> Person:
    return make_person(coarse_head)


@pytest.fixture(scope="module")
def fit(person: Person) -> SMPLXFit:
    return tracked(person.fit)


def same(a: PersonalizedHead, b: PersonalizedHead) -> bool:
    pairs = [(getattr(a, n), getattr(b, n)) for n in ("betas", "static_offsets", "dynamic_offsets")]
    pairs += [(getattr(a.fit, n), getattr(b.fit, n)) for n in ("expression", "poses", "translation")]
    return all(torch.equal(x, y) for x, y in pairs)


def test_normals_and_depth_bring_back_the_surface(head_model: HeadModel) -> None:
    """At the level that is the default, with bumps and wrinkles that no betas have."""
    person = make_person(head_model)
    fit = tracked(person.fit)
    head = personalize(head_model, fit, settings=SHORT, normals=person.normals, depth=person.maps.depth)
    before, after = unrefined(head_model, fit), posed(head)
    assert surface_error(head_model, person, after) < surface_error(head_model, person, before) / 8
    face = [surface_error(head_model, person, vertices, facial_only=True) for vertices in (before, after)]
    assert face[1] < face[0] / 15 and face[1] < 0.2
    assert normal_error(head_model, person, after) < normal_error(head_model, person, before) / 6


def test_relative_depth_is_as_good_for_the_shape(coarse_head: HeadModel, person: Person, fit: SMPLXFit) -> None:
    relative = torch.where(person.maps.depth > 0, 3 * person.maps.depth + 2, 0)
    settings = dataclasses.replace(SHORT, depth_alignment="scale_shift")
    head = personalize(coarse_head, fit, settings=settings, normals=person.normals, depth=relative)
    assert normal_error(coarse_head, person, posed(head)) < 2.5


def test_landmarks_alone_bring_the_landmarks_back(coarse_head: HeadModel, person: Person, fit: SMPLXFit) -> None:
    head = personalize(coarse_head, fit, settings=SHORT)
    error = head.report["landmark_error"]
    assert error["before"] > 5 and error["after"] < error["before"] / 10
    before, after = (normal_error(coarse_head, person, v) for v in (unrefined(coarse_head, fit), posed(head)))
    assert after < 0.6 * before


def test_a_mask_alone_pulls_the_outline_in(coarse_head: HeadModel, person: Person) -> None:
    wide = person.fit.replace(translation=person.fit.translation + torch.tensor([0.01, 0, 0]), landmarks=None)
    head = personalize(coarse_head, wide, settings=SHORT, mask=person.maps.mask)
    outline = head.report["terms"]["outline"]
    assert outline["end"] < 0.5 * outline["start"] and head.report["landmark_error"] is None

    def outside(vertices: Tensor) -> int:
        drawn = render_mesh(vertices, coarse_head.fine_faces, person.fit.camera)
        return int(((drawn.mask > 0) & (person.maps.mask == 0)).sum())

    assert outside(posed(head)) < 0.4 * outside(unrefined(coarse_head, wide))


@pytest.mark.parametrize("dense", [False, True])
def test_a_perfect_fit_gets_no_offsets(coarse_head: HeadModel, dense: bool) -> None:
    person = make_person(coarse_head, bump=0, wrinkle=0)
    maps = {"normals": person.normals, "depth": person.maps.depth, "mask": person.maps.mask} if dense else {}
    report = personalize(coarse_head, person.fit, settings=SHORT, **maps).report
    mean, largest = (0.02, 0.5) if dense else (0.002, 0.01)  # millimetres; the bump of the other tests is 6
    for field in ("static_offsets_mm", "dynamic_offsets_mm"):
        assert report[field]["mean"] < mean and report[field]["largest"] < largest


def test_offsets_stay_in_their_regions(coarse_head: HeadModel, person: Person, fit: SMPLXFit) -> None:
    settings = dataclasses.replace(SHORT, steps=20, paper_strict=True)
    head = personalize(coarse_head, fit, settings=settings, normals=person.normals)
    facial = coarse_head.facial_weight
    assert (head.dynamic_offsets[:, facial == 0] == 0).all() and (head.dynamic_offsets != 0).any()
    assert (head.static_offsets[facial == 1] == 0).all() and (head.static_offsets != 0).any()


OFFSETS_ONLY = dataclasses.replace(STANDARD, steps=50, passes=1, dense_size=96, refine_fit=False)


def test_a_clip_tells_what_stays_from_what_comes_and_goes(coarse_head: HeadModel) -> None:
    person = make_person(coarse_head, frames=4, bump=0, wrinkle=0.001, wave=0.025, permanent=1.0)

    def moved(settings: PersonalizeSettings) -> tuple[PersonalizedHead, float]:
        head = personalize(coarse_head, person.fit, settings=settings, normals=person.normals, depth=person.maps.depth)
        offsets = head.dynamic_offsets
        return head, float(offsets.mean(0).norm() / offsets.norm(dim=(1, 2)).mean())

    def recovered(truth: Tensor, found: Tensor) -> float:
        return float((truth * found).sum() / (truth * truth).sum())

    head, share = moved(OFFSETS_ONLY)
    _, without = moved(dataclasses.replace(OFFSETS_ONLY, zero_mean_weight=0.0))
    assert share < 0.45 and share < 0.6 * without
    truth, permanent = person.dynamic_offsets, person.dynamic_offsets.mean(0)
    assert recovered(truth - permanent, head.dynamic_offsets - head.dynamic_offsets.mean(0)) > 0.25
    assert recovered(permanent, head.static_offsets) > 2 * recovered(permanent, head.dynamic_offsets.mean(0))


def test_dynamic_offsets_change_smoothly(coarse_head: HeadModel) -> None:
    person = make_person(coarse_head, frames=4, wrinkle=0.001, wave=0.025)

    def jumps(temporal_weight: float) -> float:
        settings = dataclasses.replace(OFFSETS_ONLY, steps=30, temporal_weight=temporal_weight)
        head = personalize(coarse_head, person.fit, settings=settings, normals=person.normals)
        return float((head.dynamic_offsets[1:] - head.dynamic_offsets[:-1]).norm())

    assert jumps(20.0) < 0.5 * jumps(0.1)


def test_frames_without_a_face_are_left_alone(coarse_head: HeadModel) -> None:
    fit = tracked(make_person(coarse_head, frames=4).fit)
    valid = torch.tensor([True, False, True, True])
    lost = fit.landmarks.clone()
    lost[1] = torch.nan
    head = personalize(coarse_head, fit.replace(valid=valid, landmarks=lost), settings=SHORT)
    assert (head.dynamic_offsets[1] == 0).all() and (head.dynamic_offsets[valid] != 0).any()
    assert torch.equal(head.fit.expression[1], fit.expression[1]) and torch.equal(head.fit.poses[1], fit.poses[1])
    assert head.report["frames"] == 3 and head.report["landmark_error"]["after"] < 1


def test_expressions_stay_within_their_units(coarse_head: HeadModel, fit: SMPLXFit) -> None:
    expression = personalize(coarse_head, fit, settings=SHORT).fit.expression
    assert (expression - fit.expression).abs().max() > 0.02
    assert expression.min() >= 0 and (expression <= fit.expression.clamp(min=1)).all()


def test_the_prior_holds_every_part_of_the_tracked_fit(coarse_head: HeadModel, fit: SMPLXFit) -> None:
    def moved(stay_weight: float) -> dict[str, float]:
        refined = personalize(coarse_head, fit, settings=dataclasses.replace(SHORT, stay_weight=stay_weight)).fit
        names = ("betas", "expression", "poses", "translation")
        return {name: float((getattr(refined, name) - getattr(fit, name)).norm()) for name in names}

    free, held = moved(STANDARD.stay_weight), moved(1e3)
    assert all(held[name] < 0.1 * free[name] for name in free)


def test_the_same_input_gives_the_same_head(coarse_head: HeadModel, person: Person, fit: SMPLXFit) -> None:
    few = dataclasses.replace(SHORT, steps=10)
    maps = {"normals": person.normals, "mask": person.maps.mask}
    assert same(*(personalize(coarse_head, fit, settings=few, **maps) for _ in range(2)))


def test_cancelling_loses_nothing(coarse_head: HeadModel, person: Person, fit: SMPLXFit) -> None:
    few = dataclasses.replace(SHORT, steps=12, preview_every=4)
    undisturbed = personalize(coarse_head, fit, settings=few, normals=person.normals)
    before = [t.clone() for t in (fit.betas, fit.expression, fit.poses, fit.translation, person.normals)]
    calls: list[tuple[int, int, Tensor | None]] = []

    def cancel(done: int, total: int, preview: Tensor | None) -> None:
        calls.append((done, total, preview))
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        personalize(coarse_head, fit, settings=few, normals=person.normals, progress=cancel)
    assert [done for done, _, _ in calls] == list(range(10)) and {total for _, total, _ in calls} == {12}
    previews = {done: preview for done, _, preview in calls if preview is not None}
    assert sorted(previews) == [4, 8] and all(p.shape == (256, 256, 3) and p.max() <= 1 for p in previews.values())
    after = (fit.betas, fit.expression, fit.poses, fit.translation, person.normals)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert same(personalize(coarse_head, fit, settings=few, normals=person.normals), undisturbed)


def test_it_works_inside_inference_mode(coarse_head: HeadModel, person: Person, fit: SMPLXFit) -> None:
    """ComfyUI runs every node there, and hands over tensors that autograd refuses."""
    few = dataclasses.replace(SHORT, steps=6, offsets_after=0.0)
    expected = personalize(coarse_head, fit, settings=few, normals=person.normals)
    with torch.inference_mode():
        model = coarse_head.replace(template=coarse_head.template.clone(), shape_basis=coarse_head.shape_basis.clone())
        given = fit.replace(betas=fit.betas.clone(), expression=fit.expression.clone())
        normals = person.normals.clone()
        assert model.template.is_inference() and normals.is_inference()
        head = personalize(model, given, settings=few, normals=normals)
    assert same(head, expected) and not head.static_offsets.is_inference()


def test_the_report_is_json_and_names_the_paper(coarse_head: HeadModel, person: Person, fit: SMPLXFit) -> None:
    report = personalize(coarse_head, fit, settings=dataclasses.replace(SHORT, steps=30), normals=person.normals).report
    assert json.loads(json.dumps(report, allow_nan=False))["terms"]["landmarks"]["symbol"] == "L_ldmk"
    for name in ("landmarks", "normals", "high_pass"):
        assert report["terms"][name]["end"] < 0.5 * report["terms"][name]["start"]
    assert report["steps"] == 30 and report["seconds"] > 0 and "depth" not in report["terms"]


def test_the_objective_sees_the_head_that_comes_out(coarse_head: HeadModel, fit: SMPLXFit) -> None:
    problem = build_problem(coarse_head, fit, None, None, None, STANDARD)
    start = start_parameters(problem)
    draw = torch.Generator().manual_seed(0)
    moved = dataclasses.replace(start, static=0.01 * torch.randn(start.static.shape, generator=draw),
                                dynamic=0.01 * torch.randn(start.dynamic.shape, generator=draw))  # fmt: skip
    frame, landmarks = torch.tensor([0]), problem.landmarks
    head = assemble_head(coarse_head, problem, moved)
    embedding = coarse_head.landmarks[SCHEME]
    points = landmark_points(pose_head(head, 0), coarse_head.faces, embedding)[:, embedding.triangles >= 0]
    corners = head.fit.camera[[0]].project(points)
    pixels = corners[..., :2] / corners[..., 2:]
    expected = landmark_term(pixels, landmarks.target, landmarks.confidence, problem.eye_distance)
    torch.testing.assert_close(evaluate(problem, moved, frame, None, (0, 0)).landmarks, expected)


def test_the_whole_objective_has_the_right_gradient(coarse_head: HeadModel) -> None:
    """Every parameter, in double precision, without maps (whose visibility jumps)."""
    cpu, double = torch.device("cpu"), torch.float64
    model = ready(coarse_head, cpu, double)
    fit = ready(tracked(make_person(coarse_head, frames=3).fit), cpu, double)
    problem = build_problem(model, fit, None, None, None, STANDARD)
    draw = torch.Generator().manual_seed(0)
    start = start_parameters(problem)
    values = {
        f.name: getattr(start, f.name) + 1e-3 * torch.randn(getattr(start, f.name).shape, generator=draw, dtype=double)
        for f in dataclasses.fields(start)
    }
    frames = torch.arange(3)

    def loss(**changed: Tensor) -> Tensor:
        now = Parameters(**(values | changed))
        # all frames are looked at, so nothing that the neighbourhood holds still is missing from the gradient
        around = neighbourhood(now.dynamic.detach(), now.dynamic.detach().mean(0, keepdim=True), frames, fit.valid)
        around = dataclasses.replace(around, pairs=around.pairs[:0], neighbours=around.neighbours[:0])
        return evaluate(problem, now, frames, around, (0, 0)).total(STANDARD)

    for name, value in values.items():
        direction = torch.randn(value.shape, generator=draw, dtype=double)
        leaf = value.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(**{name: leaf}), leaf)
        step = 1e-6
        up, down = (float(loss(**{name: value + sign * step * direction})) for sign in (1, -1))
        assert float((gradient * direction).sum()) == pytest.approx((up - down) / (2 * step), rel=1e-4), name


def test_what_does_not_fit_is_refused_in_sentences(coarse_head: HeadModel, person: Person, fit: SMPLXFit) -> None:
    depth, mask, normals = person.maps.depth, person.maps.mask, person.normals
    nan = torch.full_like(depth, torch.nan)
    behind = fit.replace(translation=fit.translation + torch.tensor([0, 0, 2.0]))
    aside = fit.replace(translation=fit.translation + torch.tensor([5.0, 0, 0]))
    cases = (
        ({"fit": fit.replace(landmarks=None)}, "nothing to fit the head to"),
        ({"fit": fit.replace(landmarks=0 * fit.landmarks)}, "nothing to fit the head to"),
        ({"fit": fit.replace(valid=~fit.valid)}, "No frame"),
        ({"fit": fit.replace(model_id="SMPLX_NEUTRAL")}, r"'SMPLX_NEUTRAL'.*'default-head'"),
        ({"fit": fit.replace(expression_space="smplx100")}, "smplx100"),
        ({"fit": behind}, "behind the camera"),
        ({"fit": aside}, "outside the picture"),
        ({"images": torch.zeros(1, 100, 256, 3)}, r"images have the shape \[1, 100, 256, 3\]"),
        ({"images": torch.zeros(2, 256, 256, 3)}, r"expected \[1, 256, 256, 3\]"),
        ({"normals": normals * 2 - 1}, "Encode them first"),
        ({"depth": nan}, "NaN or infinite values in the depth"),
        ({"mask": torch.ones(1, 64, 64)}, r"The mask has the shape \[1, 64, 64\]"),
        ({"depth": -depth}, "Invert disparity"),
        ({"mask": mask[..., None]}, r"expected \[1, 256, 256\]"),
        ({"mask": 1 - mask}, "invert it"),
    )
    for given, sentence in cases:
        with pytest.raises(ValueError, match=sentence):
            personalize(coarse_head, **({"fit": fit} | given))


@pytest.fixture(scope="module")
def noisy_clip(coarse_head: HeadModel) -> tuple[SMPLXFit, Tensor]:
    """The tracked fit of three frames, and their normals with noise that the regularisers have to keep out."""
    person = make_person(coarse_head, frames=3)
    grain = torch.randn(person.normals.shape, generator=torch.Generator().manual_seed(0))
    covered = (person.normals != 0).any(-1, keepdim=True)
    return tracked(person.fit), (person.normals + 0.12 * grain * covered).clamp(0, 1)


@pytest.fixture(scope="module")
def measured(coarse_head: HeadModel, noisy_clip) -> dict[str, float]:
    return measures(coarse_head, noisy_clip, SHORT)


def measures(model: HeadModel, clip: tuple[SMPLXFit, Tensor], settings: PersonalizeSettings) -> dict[str, float]:
    """How rough, large and restless the offsets are, millimetres."""
    head = personalize(model, clip[0], settings=settings, normals=clip[1])
    a, b = torch.from_numpy(edges_of(model.faces.numpy())).long().T
    fixed, moving = 1000 * head.static_offsets, 1000 * head.dynamic_offsets
    return {
        "static roughness": float((fixed[a] - fixed[b]).norm(dim=-1).mean()),
        "dynamic roughness": float((moving[:, a] - moving[:, b]).norm(dim=-1).mean()),
        "dynamic size": float(moving.norm(dim=-1).mean()),
        "dynamic change": float((moving[1:] - moving[:-1]).norm(dim=-1).mean()),
        "dynamic mean": float(moving.mean(0).norm(dim=-1).mean()),
    }


@pytest.mark.parametrize(
    ("weight", "measure"),
    [
        ("static_laplacian_weight", "static roughness"), ("static_magnitude_weight", "static roughness"),
        ("dynamic_laplacian_weight", "dynamic roughness"), ("dynamic_magnitude_weight", "dynamic size"),
        ("temporal_weight", "dynamic change"), ("zero_mean_weight", "dynamic mean"),
    ],
)  # fmt: skip
def test_every_regulariser_holds_what_it_is_for(
    coarse_head: HeadModel, noisy_clip, measured: dict[str, float], weight: str, measure: str
) -> None:
    weak = dataclasses.replace(SHORT, **{weight: getattr(SHORT, weight) / 1000})
    assert measured[measure] < 0.85 * measures(coarse_head, noisy_clip, weak)[measure]


def test_high_pass_normals_bring_out_the_fine_shape(
    coarse_head: HeadModel, noisy_clip, measured: dict[str, float]
) -> None:
    weak = measures(coarse_head, noisy_clip, dataclasses.replace(SHORT, high_pass_weight=1e-3))
    assert weak["dynamic roughness"] < 0.8 * measured["dynamic roughness"]


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"facial_leak": 1.5}, {"depth_alignment": "inverse"}, {"frames_per_step": 0}, {"steps": -1}):
        with pytest.raises(ValueError, match="expected"):
            dataclasses.replace(STANDARD, **wrong)
