"""Edits: names do what they say on the face, nothing else moves, and what cannot be done is said."""

from __future__ import annotations

import logging
import math

import pytest
import torch

from expportrait_core.assets import PERFORMANCE
from expportrait_core.body import axis_angle_to_matrix, landmark_points, matrix_to_axis_angle, pose_vertices
from expportrait_core.fit import controls, edit_fit, load_fit, neutral_fit, scale_motion
from expportrait_core.fit.edit.named_units import mapped_units
from expportrait_core.fit.formats.arkit import UNITS
from expportrait_core.fit.head_pose import skull_rotation
from expportrait_core.types import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, HeadModel, LandmarkEmbedding, SMPLXFit

LIP_CORNERS, LIPS, CHIN, NOSE = (61, 291), (13, 14), 152, 1  # MediaPipe's numbers; 61 is the person's right
LIDS = {"left": (386, 374), "right": (159, 145)}
BROWS = (105, 334)


@pytest.fixture(scope="module")
def performance(coarse_head: HeadModel) -> SMPLXFit:
    return load_fit(PERFORMANCE, coarse_head)


@pytest.fixture(scope="module")
def neutral(coarse_head: HeadModel) -> SMPLXFit:
    return neutral_fit(coarse_head)


def points(model: HeadModel, fit: SMPLXFit) -> torch.Tensor:
    vertices = pose_vertices(model, fit.betas, fit.expression, fit.poses, fit.translation)
    return landmark_points(vertices, model.faces, model.landmarks["mediapipe478"])[0]


@pytest.fixture(scope="module")
def moved(coarse_head: HeadModel, neutral: SMPLXFit):
    """How far (millimetres) points of the face go for some values."""
    rest = points(coarse_head, neutral)

    def by(**values: float) -> torch.Tensor:
        return 1000 * (points(coarse_head, edit_fit(neutral, coarse_head, values)) - rest)

    return by


# ------------------------------------------------------------------------------------------------- what the names do


def test_sliders_move_the_face_as_they_say(moved) -> None:
    x, y = 0, 1
    assert moved(smile=1)[list(LIP_CORNERS), y].min() > 2 and moved(smile=-1)[list(LIP_CORNERS), y].max() < -1
    left_smile = moved(smile_left=1)[list(LIP_CORNERS), y]
    assert left_smile[1] > 2 > 0.5 > left_smile[0].abs(), "only the person's left corner, 291"
    assert moved(jaw_open=1)[CHIN, y] < -15 and moved(jaw_side=1)[CHIN, x] > 3
    for side, (upper, lower) in LIDS.items():
        other = LIDS["right" if side == "left" else "left"]
        by = moved(**{f"blink_{side}": 1})
        assert by[upper, y] - by[lower, y] < -5 and by[list(other), y].abs().max() < 0.5
    assert moved(brow_raise=1)[list(BROWS), y].min() > 2 and moved(brow_lower=1)[list(BROWS), y].max() < -1
    assert moved(pucker=1)[LIP_CORNERS[1], x] < -3 < 3 < moved(pucker=1)[LIP_CORNERS[0], x]
    assert moved(head_turn=20)[NOSE, x] > 20 and moved(head_nod=20)[NOSE, y] < -20
    forehead = moved(head_tilt=20)[10]
    assert forehead[x] > 20, "towards the right of the picture, which is +x"
    assert moved(show_teeth=1)[LIPS[0], y] - moved(show_teeth=1)[LIPS[1], y] > 3


def test_gaze_turns_both_eyes_together(coarse_head: HeadModel, neutral: SMPLXFit) -> None:
    for values, axis, sign in (({"gaze_x": 1}, 0, 1), ({"gaze_x": -1}, 0, -1), ({"gaze_y": 1}, 1, 1)):
        looked = edit_fit(neutral, coarse_head, values)
        for joint in (LEFT_EYE, RIGHT_EYE):
            forward = axis_angle_to_matrix(looked.poses[0, joint]) @ torch.tensor([0.0, 0, 1])
            assert sign * forward[axis] > 0.25 and forward[1 - axis].abs() < 1e-5


def test_looking_aside_and_up_goes_no_further_than_either(coarse_head: HeadModel, neutral: SMPLXFit) -> None:
    """Both at once used to leave nothing but the white of the eyes."""
    def looked(x: float, y: float) -> torch.Tensor:
        return edit_fit(neutral, coarse_head, {"gaze_x": x, "gaze_y": y}).poses[0, LEFT_EYE, :2]

    far = torch.tensor([looked(0, 1)[0], looked(1, 0)[1]])
    for x, y, length in ((1, 1, 1), (-1, 1, 1), (0.5, 0.5, math.sqrt(0.5)), (2, -1, 2), (1, 0.1, 1)):
        found = looked(x, y) / far
        assert float(found.norm()) == pytest.approx(length, abs=1e-5)
        assert torch.allclose(found / found.norm(), torch.tensor([y, x]) / math.hypot(x, y), atol=1e-5)


def test_looking_elsewhere_takes_back_as_much_as_it_adds(coarse_head: HeadModel, neutral: SMPLXFit) -> None:
    """Up and aside at once go less far than either: so much is taken back of the other side, and no more."""
    left = edit_fit(neutral, coarse_head, {"gaze_x": -0.6})
    both = edit_fit(left, coarse_head, {"gaze_x": 1.0, "gaze_y": 1.0})
    names = coarse_head.expression_names
    shown = {name: float(both.expression[0, names.index(f"eyeLook{name}")]) for name in ("OutLeft", "InLeft")}
    assert shown["InLeft"] == pytest.approx(0, abs=1e-6)
    assert shown["OutLeft"] == pytest.approx(math.sqrt(0.5) - 0.6, abs=1e-5)


def test_every_slider_moves_something_and_every_unit_has_a_name(coarse_head: HeadModel, neutral: SMPLXFit) -> None:
    assert set(UNITS) <= controls().keys() and len(UNITS) == 52
    rest = pose_vertices(coarse_head, neutral.betas, neutral.expression, neutral.poses, neutral.translation)
    still = []
    for name, control in controls().items():
        fit = edit_fit(neutral, coarse_head, {name: 10.0 if control.degrees else 1.0})
        vertices = pose_vertices(coarse_head, fit.betas, fit.expression, fit.poses, fit.translation)
        if (vertices - rest).norm(dim=-1).max() < 0.0005:
            still.append(name)
    assert not still


# --------------------------------------------------------------------------------------------------- adding, replacing


def test_adding_changes_only_what_it_names(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    edited = edit_fit(performance, coarse_head, {"smile_left": 0.3})
    names = coarse_head.expression_names
    touched = {names[c] for c in (edited.expression != performance.expression).any(0).nonzero()[:, 0]}
    assert touched == {"mouthSmileLeft", "cheekSquintLeft"} and torch.equal(edited.poses, performance.poses)
    assert edited.expression.max() <= 1, "a smile of 0.85 and 0.3 more"
    assert edit_fit(performance, coarse_head, {"smile": 1.5}).expression.max() == pytest.approx(1.5)
    assert edit_fit(performance, coarse_head, {}) is performance


def test_the_head_turns_in_its_own_axes(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    edited = edit_fit(performance, coarse_head, {"head_turn": 25.0})
    change = skull_rotation(coarse_head, performance).transpose(1, 2) @ skull_rotation(coarse_head, edited)
    turn = axis_angle_to_matrix(torch.tensor([0, math.radians(25), 0])).expand_as(change)
    assert torch.allclose(change, turn, atol=1e-5)


def test_replacing_sets_whatever_was_there(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    edited = edit_fit(performance, coarse_head, {"smile_left": 0.4, "head_turn": 10.0, "jaw_open": 0.5}, "replace")
    column = coarse_head.expression_names.index("mouthSmileLeft")
    assert torch.allclose(edited.expression[:, column], torch.tensor(0.4))
    head = axis_angle_to_matrix(edited.poses[:, NECK]) @ axis_angle_to_matrix(edited.poses[:, HEAD])
    expected = axis_angle_to_matrix(torch.tensor([0, math.radians(10), 0])).expand_as(head)
    assert torch.allclose(head, expected, atol=1e-5)
    assert torch.allclose(edited.poses[:, JAW], torch.tensor([0.2, 0, 0]))
    other = coarse_head.expression_names.index("mouthSmileRight")
    assert torch.equal(edited.expression[:, other], performance.expression[:, other])


@pytest.mark.parametrize("mode", ["add", "replace"])
def test_an_edit_of_some_frames_comes_and_goes(coarse_head: HeadModel, performance: SMPLXFit, mode: str) -> None:
    edited = edit_fit(performance, coarse_head, {"puff": 1.0, "head_turn": 20.0}, mode, 30, 40, fade=0.2)
    puff = edited.expression[:, coarse_head.expression_names.index("cheekPuff")]
    assert (puff[30:40] == 1).all() and puff[24] == puff[45] == 0
    assert (puff[25:31].diff() > 0).all() and (puff[39:45].diff() < 0).all()
    outside = [*range(25), *range(46, 72)]
    assert torch.equal(edited.poses[outside], performance.poses[outside])
    before, after = (skull_rotation(coarse_head, fit) for fit in (performance, edited))
    whole = edit_fit(performance, coarse_head, {"puff": 1.0, "head_turn": 20.0}, mode)
    asked = matrix_to_axis_angle(before.transpose(1, 2) @ skull_rotation(coarse_head, whole)).norm(dim=-1)
    share = matrix_to_axis_angle(before.transpose(1, 2) @ after).norm(dim=-1) / asked
    assert (share[25:31].diff() > 0.01).all() and (share[39:45].diff() < -0.01).all(), "poses come and go as well"
    assert share[30:40].tolist() == pytest.approx([1] * 10, abs=1e-3)


def test_values_may_change_from_frame_to_frame(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    curve = torch.linspace(0, 1, 72)
    edited = edit_fit(performance, coarse_head, {"puff": curve})
    assert torch.allclose(edited.expression[:, coarse_head.expression_names.index("cheekPuff")], curve)


def test_landmarks_of_an_edited_fit_are_left_out(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    seen = performance.replace(landmarks=torch.zeros(72, 5, 3), landmark_scheme="five")
    for mode in ("add", "replace"):
        edited = edit_fit(seen, coarse_head, {"smile": 1}, mode)
        assert edited.landmarks is None and edited.landmark_scheme is None


# --------------------------------------------------------------------------------------------------- the whole face


@pytest.mark.parametrize("values", [{}, {"smile": 0.5, "gaze_x": 0.5}])
def test_the_whole_face_is_replaced(coarse_head: HeadModel, performance: SMPLXFit, values: dict) -> None:
    seen = performance.replace(eyelids=torch.full((72, 2), 0.7))
    edited = edit_fit(seen, coarse_head, values, "replace", whole=True)
    alone = edit_fit(neutral_fit(coarse_head, 72), coarse_head, values)
    assert torch.equal(edited.expression, alone.expression) and not edited.eyelids.any()
    assert torch.allclose(edited.poses[:, [JAW, LEFT_EYE, RIGHT_EYE]], alone.poses[:, [JAW, LEFT_EYE, RIGHT_EYE]])
    others = [joint for joint in range(55) if joint not in (JAW, LEFT_EYE, RIGHT_EYE)]
    assert torch.equal(edited.poses[:, others], performance.poses[:, others]), "the head keeps turning"
    with_head = edit_fit(seen, coarse_head, values | {"head_nod": 0.0}, "replace", whole=True)
    assert with_head.poses[:, [NECK, HEAD]].abs().max() < 1e-6


def test_the_whole_face_of_some_frames_comes_and_goes(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    seen = performance.replace(eyelids=torch.full((72, 2), 0.7))
    edited = edit_fit(seen, coarse_head, {"puff": 0.6}, "replace", 55, 60, 0.2, whole=True)
    smile = coarse_head.expression_names.index("mouthSmileLeft")
    before, after = performance.expression[:, smile], edited.expression[:, smile]
    assert before[49:56].min() > 0.1 and not after[55:60].any() and not edited.poses[55:60, JAW].any()
    assert not edited.eyelids[55:60].any() and (edited.expression[55:60] != 0).sum() == 5, "puffed cheeks alone"
    share = (after / before)[49:56]
    assert (share.diff() < 0).all() and share[0] == 1 and (edited.eyelids[49:56].diff(dim=0) < 0).all()
    outside = [*range(50), *range(66, 72)]
    assert torch.equal(edited.expression[outside], performance.expression[outside])
    assert torch.equal(edited.poses[outside], performance.poses[outside])


# ----------------------------------------------------------------------------------------------------- the other side

FACES = {
    "at rest": {},
    "smiling": {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.5, "cheekSquintLeft": 0.3, "cheekSquintRight": 0.25,
                "eyeSquintLeft": 0.2, "eyeSquintRight": 0.15, "mouthFrownLeft": 0.03, "eyeLookOutLeft": 0.4,
                "eyeLookInRight": 0.4, "eyeLookDownLeft": 0.3, "eyeLookDownRight": 0.35},
    "frowning": {"mouthFrownLeft": 0.6, "mouthFrownRight": 0.2, "eyeSquintLeft": 0.1, "eyeLookInLeft": 0.2,
                 "eyeLookOutRight": 0.25, "eyeLookUpLeft": 0.2, "eyeLookUpRight": 0.2},
    "both at once": {"mouthSmileLeft": 0.3, "mouthFrownLeft": 0.35, "cheekSquintLeft": 0.2},
}  # fmt: skip


@pytest.mark.parametrize("units", FACES.values(), ids=FACES)
@pytest.mark.parametrize("name", ["smile", "gaze_x", "gaze_y"])
@pytest.mark.parametrize("part", [{}, {"start": 3, "stop": 6, "fade": 0.1}], ids=["all", "faded"])
def test_a_value_and_its_opposite_give_back_the_face(coarse_head, units: dict, name: str, part: dict) -> None:
    face = edit_fit(neutral_fit(coarse_head, 10), coarse_head, units, "replace")
    for value in (0.3, -0.3, torch.linspace(-0.4, 0.4, 10)):
        there = edit_fit(face, coarse_head, {name: value}, **part)
        back = edit_fit(there, coarse_head, {name: -value}, **part)
        assert (there.expression - face.expression).abs().max() > 0.1
        assert torch.allclose(back.expression, face.expression, atol=1e-6)
        assert torch.allclose(back.poses, face.poses, atol=1e-6)


def test_the_other_side_is_taken_back_first(coarse_head: HeadModel, neutral: SMPLXFit) -> None:
    def shown(units: dict[str, float], values: dict[str, float]) -> dict[str, float]:
        face = edit_fit(edit_fit(neutral, coarse_head, units, "replace"), coarse_head, values)
        names = zip(coarse_head.expression_names, face.expression[0].tolist(), strict=True)
        return {name: round(value, 4) for name, value in names if abs(value) > 1e-6}

    frown = {"mouthFrownLeft": 0.6, "mouthFrownRight": 0.2}
    assert shown(frown, {"smile": 0.4}) == {
        "mouthFrownLeft": 0.2, "mouthSmileRight": 0.2, "cheekSquintRight": 0.1, "eyeSquintRight": 0.04,
    }  # fmt: skip
    smile = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "cheekSquintLeft": 0.1, "eyeSquintLeft": 0.5}
    assert shown(smile, {"smile": -0.4}) == {"mouthSmileLeft": 0.4, "mouthSmileRight": 0.4, "eyeSquintLeft": 0.42}
    assert shown({}, {"smile": -0.5, "smile_left": 0.3}) == {  # what comes together stays together, as in a preset
        "mouthFrownLeft": 0.5, "mouthFrownRight": 0.5, "mouthSmileLeft": 0.3, "cheekSquintLeft": 0.15,
    }  # fmt: skip
    looks = {"eyeLookOutLeft": 0.5, "eyeLookInRight": 0.5}
    assert shown(looks, {"gaze_x": -0.7}) == {"eyeLookInLeft": 0.2, "eyeLookOutRight": 0.2}


@pytest.mark.parametrize(("values", "more", "sentence"), [
    ({"smlie": 1.0}, {}, "no control 'smlie'. Did you mean 'smile'"),
    ({"smile": 7.0}, {}, r"'smile' is 7.0, expected -1 to 1 \(or"),
    ({"head_turn": 500.0}, {}, "expected -60 to 60 degrees"),
    ({"smile": math.nan}, {}, "'smile' is nan"),
    ({"smile": 1.0}, {"mode": "mix"}, "'mix', expected one of add, replace"),
    ({"smile": 1.0}, {"whole": True}, "by 'add', expected 'replace'"),
    ({"smile": 1.0}, {"start": 80}, "the fit has the frames 0 to 71"),
    ({"smile": 1.0}, {"fade": -1.0}, "fade is -1.0 seconds"),
])  # fmt: skip
def test_wrong_edits_get_a_sentence(coarse_head, performance, values: dict, more: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        edit_fit(performance, coarse_head, values, **more)


# ------------------------------------------------------------------------------------------------------- SMPL-X heads

MADE_OF = ("jawForward", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "eyeBlinkLeft", "eyeBlinkRight",
           "mouthPucker", "noseSneerLeft", "cheekPuff", "browDownRight", "cheekSquintLeft", "cheekSquintRight",
           "eyeSquintLeft", "eyeSquintRight")  # fmt: skip


@pytest.fixture(scope="module")
def stranger(coarse_head: HeadModel) -> HeadModel:
    """A made-up model like SMPL-X's: other size and place, 51 landmarks, nameless mixtures of fourteen units."""
    count = len(MADE_OF)
    basis = torch.zeros_like(coarse_head.expression_basis)
    mix, _ = torch.linalg.qr(torch.randn(count, count, generator=torch.Generator().manual_seed(0)))
    columns = [coarse_head.expression_names.index(name) for name in MADE_OF]
    basis[..., :count] = coarse_head.expression_basis[..., columns] @ mix * 1.2
    inner = coarse_head.landmarks["ibug68"]
    return coarse_head.replace(
        template=coarse_head.template * 1.2 + torch.tensor([0.01, 0.2, -0.03]), expression_basis=basis,
        landmarks={"ibug51": LandmarkEmbedding(inner.triangles[17:], inner.barycentric[17:])},
        expression_names=tuple(f"expression{i}" for i in range(100)), expression_space="smplx100",
        model_id="SMPLX_NEUTRAL",
    )  # fmt: skip


def test_units_reach_a_smplx_head_through_the_surface(stranger: HeadModel, coarse_head: HeadModel) -> None:
    fit = edit_fit(neutral_fit(stranger), stranger, {"smile": 1.0, "head_turn": 20.0, "jaw_open": 1.0})
    assert fit.expression_space == "smplx100" and fit.poses[0, JAW, 0] > 0.3
    found = stranger.expression_basis @ fit.expression[0] / 1.2
    units = {"mouthSmileLeft": 1, "mouthSmileRight": 1, "cheekSquintLeft": 0.5, "cheekSquintRight": 0.5,
             "eyeSquintLeft": 0.2, "eyeSquintRight": 0.2}  # fmt: skip
    wanted = sum(s * coarse_head.expression_basis[..., coarse_head.expression_names.index(n)] for n, s in units.items())
    assert (found - wanted).norm() < 0.3 * wanted.norm()


def test_the_whole_face_of_a_head_without_names_is_replaced(stranger: HeadModel) -> None:
    smiling = edit_fit(neutral_fit(stranger, 3), stranger, {"smile": 1.0, "jaw_open": 0.5, "head_turn": 20.0})
    rest = edit_fit(smiling, stranger, {}, "replace", whole=True)
    assert not rest.expression.any() and not rest.poses[:, JAW].any()
    assert torch.equal(rest.poses[:, [NECK, HEAD]], smiling.poses[:, [NECK, HEAD]])
    pouting = edit_fit(smiling, stranger, {"pucker": 1.0}, "replace", whole=True)
    alone = edit_fit(neutral_fit(stranger, 3), stranger, {"pucker": 1.0})
    assert torch.equal(pouting.expression, alone.expression) and not pouting.poses[:, JAW].any()


def test_without_names_both_sides_of_a_control_stay(stranger: HeadModel) -> None:
    def expression(*values: float) -> torch.Tensor:
        fit = neutral_fit(stranger)
        for value in values:
            fit = edit_fit(fit, stranger, {"smile": value})
        return fit.expression

    both = expression(1.0) + expression(-1.0)
    assert both.abs().max() > 0.1 and torch.allclose(expression(1.0, -1.0), both, atol=1e-6)


def test_residuals_tell_what_a_head_can_make(stranger: HeadModel) -> None:
    residuals = mapped_units(stranger)[1]
    assert max(residuals[name] for name in MADE_OF) < 0.35
    assert residuals["mouthFrownLeft"] > 0.5


def test_what_a_head_cannot_make_is_refused(stranger: HeadModel, caplog: pytest.LogCaptureFixture) -> None:
    worst = max(mapped_units(stranger)[1].items(), key=lambda item: item[1])
    with pytest.raises(ValueError, match=f"'SMPLX_NEUTRAL' cannot make '{worst[0]}': .* left over"):
        edit_fit(neutral_fit(stranger), stranger, {worst[0]: 1.0})
    partly = next(name for name, left_over in mapped_units(stranger)[1].items() if 0.4 < left_over < 0.8)
    with caplog.at_level(logging.WARNING):
        edit_fit(neutral_fit(stranger), stranger, {partly: 1.0})
    assert "only in part" in caplog.text
    with pytest.raises(ValueError, match="need expressions with names"):
        scale_motion(neutral_fit(stranger), stranger, mouth=0.5)


def test_the_head_turns_on_a_model_without_landmarks(stranger: HeadModel) -> None:
    bare = stranger.replace(landmarks={})
    assert edit_fit(neutral_fit(bare), bare, {"head_turn": 20.0}).poses[0, HEAD].any()
    with pytest.raises(ValueError, match="share 0 landmarks"):
        edit_fit(neutral_fit(bare), bare, {"smile": 1.0})


def test_a_fit_of_another_space_is_refused(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    other = performance.replace(expression_space="flame100")
    for edit in (lambda: edit_fit(other, coarse_head, {"smile": 1}), lambda: scale_motion(other, coarse_head, 0.5)):
        with pytest.raises(ValueError, match="in the space 'flame100'"):
            edit()


def test_curves_that_fit_no_clip_or_control_get_a_sentence(performance: SMPLXFit, coarse_head: HeadModel) -> None:
    frames = performance.num_frames
    for curve, sentence in (
        (torch.zeros(5), rf"'smile' has the shape \[5\], expected one number or \[{frames}\]"),
        (torch.zeros(1, frames), rf"the shape \[1, {frames}\]"),
        (torch.full((frames,), 1e6), r"'smile' holds 1e\+06, expected .* to 1 "),
        (torch.tensor([0.0] * (frames - 1) + [math.nan]), "'smile' holds nan"),
        (torch.tensor(-math.inf), "'smile' holds -inf"),
    ):
        with pytest.raises(ValueError, match=sentence):
            edit_fit(performance, coarse_head, {"smile": curve})
    with pytest.raises(ValueError, match="There is no control 'smyle'"):
        edit_fit(performance, coarse_head, {"smyle": torch.zeros(frames)})
    for curve in (torch.tensor(0.5), torch.tensor([0.5]), torch.full((frames,), 0.5)):
        edited = edit_fit(performance, coarse_head, {"smile": curve})
        assert torch.equal(edited.expression, edit_fit(performance, coarse_head, {"smile": 0.5}).expression)
