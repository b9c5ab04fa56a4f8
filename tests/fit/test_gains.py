"""Gains: a region alone, within what a face can do, and the head with the body under it as the camera sees them."""

from __future__ import annotations

import pytest
import torch

from expportrait_core.assets import PERFORMANCE
from expportrait_core.body import axis_angle_to_matrix
from expportrait_core.body.posing import joint_transforms, shaped
from expportrait_core.fit import edit_fit, load_fit, most_changed, neutral_fit, quaternions, scale_motion
from expportrait_core.fit.head_pose import skull_rotation
from expportrait_core.types import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, HeadModel, SMPLXFit


@pytest.fixture(scope="module")
def performance(coarse_head: HeadModel) -> SMPLXFit:
    return load_fit(PERFORMANCE, coarse_head)


def test_gains_act_on_their_region_alone(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    assert scale_motion(performance, coarse_head) is performance
    names = coarse_head.expression_names
    for region, starts, joints in (("mouth", ("mouth", "jaw", "cheek", "nose"), [JAW]),
                                   ("eyes", ("eye",), [LEFT_EYE, RIGHT_EYE]), ("brows", ("brow",), [])):  # fmt: skip
        scaled = scale_motion(performance, coarse_head, **{region: 0.5})
        for column, name in enumerate(names):
            factor = 0.5 if name.startswith(starts) else 1
            assert torch.allclose(scaled.expression[:, column], factor * performance.expression[:, column]), name
        for joint in (JAW, LEFT_EYE, RIGHT_EYE, NECK, HEAD):
            factor = 0.5 if joint in joints else 1
            assert torch.allclose(scaled.poses[:, joint], factor * performance.poses[:, joint], atol=1e-6)


def test_pose_gain_scales_the_turn_away_from_the_neutral_frame(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    def turned(fit: SMPLXFit, start: int) -> torch.Tensor:
        skull = skull_rotation(coarse_head, fit)
        change = skull[start].T @ skull
        return ((change.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1).acos()

    for frame in (0, 14):
        scaled = scale_motion(performance, coarse_head, pose=0.5, neutral_frame=frame)
        assert torch.allclose(turned(scaled, frame), 0.5 * turned(performance, frame), atol=1e-3)


def test_relative_motion_makes_the_neutral_frame_neutral(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    relative = scale_motion(performance, coarse_head, neutral_frame=50)
    assert not relative.expression[50].any() and relative.poses[50, [JAW, LEFT_EYE]].abs().max() < 1e-6
    change = performance.expression - performance.expression[50]
    assert torch.allclose(relative.expression, change)
    assert torch.allclose(relative.poses[:, [NECK, HEAD]], performance.poses[:, [NECK, HEAD]])
    with pytest.raises(ValueError, match="the fit has the frames 0 to 71"):
        scale_motion(performance, coarse_head, neutral_frame=72)
    with pytest.raises(ValueError, match="gain for mouth is -1"):
        scale_motion(performance, coarse_head, mouth=-1)


# ----------------------------------------------------------------------------------------- within what a face can do


def test_a_frame_without_a_face_is_not_neutral(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    valid = performance.valid.clone()
    valid[:4] = False
    lost = performance.replace(valid=valid)
    with pytest.raises(ValueError, match="No face was seen in the neutral frame, 2. .* the first with a face is 4"):
        scale_motion(lost, coarse_head, neutral_frame=2)
    assert scale_motion(lost, coarse_head, neutral_frame=4).num_frames == lost.num_frames


def test_gains_push_no_unit_past_1(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    names = coarse_head.expression_names
    blink, smile, brow = (names.index(name) for name in ("eyeBlinkLeft", "mouthSmileLeft", "browInnerUp"))
    shown = torch.zeros_like(performance.expression)
    shown[:, blink] = torch.linspace(0, 1.2, 72)  # 1.2 is what an artist exaggerated
    shown[:, smile] = torch.linspace(0, 0.9, 72)
    shown[:, brow] = 0.8
    fit = performance.replace(expression=shown)
    scaled = scale_motion(fit, coarse_head, mouth=2.0, eyes=3.0).expression
    assert torch.allclose(scaled[:, blink], torch.maximum((3 * shown[:, blink]).clamp(max=1), shown[:, blink]))
    assert torch.allclose(scaled[:, smile], (2 * shown[:, smile]).clamp(max=1))
    assert torch.equal(scaled[:, brow], shown[:, brow])
    relative = scale_motion(fit, coarse_head, mouth=3.0, neutral_frame=40).expression[:, smile]
    change = shown[:, smile] - shown[40, smile]
    assert torch.allclose(relative, torch.where(change < 0, change, (3 * change).clamp(max=1)), atol=1e-6)
    assert relative.min() < -0.4, "it shows less than in the neutral frame, but no less than it did"
    assert torch.equal(scale_motion(fit, coarse_head, eyes=50.0).expression[:, smile], shown[:, smile])


def test_lids_beside_the_expression_follow_the_eyes(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    lids = torch.linspace(0.2, 1.2, 72)[:, None].expand(72, 2)
    fit = performance.replace(eyelids=lids)
    assert not scale_motion(fit, coarse_head, eyes=0.0).eyelids.any()
    assert torch.allclose(scale_motion(fit, coarse_head, eyes=3.0).eyelids, (3 * lids).clamp(max=1).maximum(lids))
    assert torch.allclose(scale_motion(fit, coarse_head, neutral_frame=0).eyelids, lids - 0.2)
    assert torch.equal(scale_motion(fit, coarse_head, mouth=0.5).eyelids, lids)


def test_gains_turn_the_jaw_no_further_than_its_units_do(coarse_head: HeadModel, performance: SMPLXFit) -> None:
    opens = torch.tensor([0.0, 0.1, 0.3, 0.45, -0.05])
    aside = torch.tensor([0.0, 0.03, -0.1, 0.2, 0.0])
    poses = performance.poses[:5].clone()
    poses[:, JAW] = torch.stack([opens, aside, 0 * opens], 1)
    fit = performance.frames(slice(5)).replace(poses=poses)
    for gain in (2.0, 50.0):  # fifty times is three turns round
        jaw = scale_motion(fit, coarse_head, mouth=gain).poses[:, JAW]
        open_wide, far = 0.4, 0.13  # jawOpen, jawLeft and jawRight at 1; wider where it was wider
        expected = [[0, 0], [min(gain * 0.1, open_wide), min(gain * 0.03, far)], [open_wide, -far], [0.45, 0.2],
                    [-0.05, 0]]  # fmt: skip
        assert torch.allclose(jaw[:, :2], torch.tensor(expected), atol=1e-6)


def test_gains_keep_the_irises_in_sight(coarse_head: HeadModel) -> None:
    rest = neutral_fit(coarse_head)

    def gaze(fit: SMPLXFit) -> torch.Tensor:
        return fit.poses[0, LEFT_EYE]

    for values in ({"gaze_x": 0.5}, {"gaze_y": -0.5}, {"gaze_x": -0.4, "gaze_y": 0.6}):
        fit = edit_fit(rest, coarse_head, values)
        before, after = gaze(fit), gaze(scale_motion(fit, coarse_head, eyes=3.0))
        far = edit_fit(rest, coarse_head, {name: 2 * value for name, value in values.items()})
        assert torch.allclose(after / after.norm(), before / before.norm(), atol=1e-6), "the same way"
        reached = float((after[:2] / torch.tensor([0.3, 0.42])).norm())
        assert reached == pytest.approx(1.0, abs=1e-5), "the corner of a rectangle is 1.4 away"
        further = edit_fit(far, coarse_head, values)
        stays = gaze(scale_motion(further, coarse_head, eyes=3.0))
        assert torch.allclose(stays, gaze(further), atol=1e-6), "it was that far already"
    small = edit_fit(rest, coarse_head, {"gaze_x": 0.2})
    assert torch.allclose(gaze(scale_motion(small, coarse_head, eyes=2.0)), 2 * gaze(small), atol=1e-6)


# ------------------------------------------------------------------------------------------------ the body's rotation

TURNS = torch.tensor([[0.05, -0.1, 0.02], [0.1, 0.2, 0.0], [-0.1, 0.5, 0.1], [0.3, -0.4, 0.2]])  # radians


@pytest.fixture(params=["root", "spine", "camera", "neck and head"])
def turned(request: pytest.FixtureRequest, coarse_head: HeadModel) -> tuple[str, SMPLXFit]:
    """A head that turns four times, by what a tracker writes its rotation into."""
    fit = neutral_fit(coarse_head, len(TURNS))
    poses, view, moved = fit.poses.clone(), fit.camera.world_to_camera.clone(), fit.translation.clone()
    turns = axis_angle_to_matrix(TURNS)
    if request.param == "root":  # in OpenCV's axes, as FLAME trackers do: half a turn and then the head's
        poses[:, 0] = quaternions.to_axis_angle(quaternions.from_matrix(view[:, :3, :3] @ turns))
        moved = moved + view[:, :3, 3]
        view = torch.eye(4).expand_as(view)
    elif request.param == "spine":
        poses[:, 6] = TURNS
    elif request.param == "camera":
        view[:, :3, :3] = view[:, :3, :3] @ turns
    else:
        poses[:, NECK], poses[:, HEAD] = 0.4 * TURNS, 0.6 * TURNS
    betas = torch.linspace(-1.5, 1.5, 10)
    moved = moved + torch.linspace(0, 0.2, len(TURNS))[:, None]
    camera = fit.camera.replace(world_to_camera=view)
    return request.param, fit.replace(betas=betas, poses=poses, translation=moved, camera=camera)


def neck_in_camera(model: HeadModel, fit: SMPLXFit) -> torch.Tensor:
    joints = shaped(model, fit.betas, fit.expression)[1]
    moved = joint_transforms(axis_angle_to_matrix(fit.poses), joints, model.parents, [NECK])[:, 0]
    world = (joints[:, NECK, None] @ moved[:, :3])[:, 0] + moved[:, 3] + fit.translation
    view = fit.camera.world_to_camera
    return (view[:, :3, :3] @ world[..., None])[..., 0] + view[:, :3, 3]


@pytest.mark.parametrize(("gain", "neutral_frame"), [(0.5, None), (2.0, None), (0.0, 2), (1.5, 3)])
def test_pose_gain_turns_the_body_that_turns_the_head(coarse_head, turned, gain: float, neutral_frame) -> None:
    by, fit = turned
    start = 0 if neutral_frame is None else neutral_frame
    scaled = scale_motion(fit, coarse_head, pose=gain, neutral_frame=neutral_frame)
    before, after = skull_rotation(coarse_head, fit), skull_rotation(coarse_head, scaled)

    def since(rotation: torch.Tensor) -> torch.Tensor:
        return quaternions.to_axis_angle(quaternions.from_matrix(rotation[start].T @ rotation))

    assert torch.allclose(since(after), gain * since(before), atol=1e-4)
    assert torch.allclose(after[start], before[start], atol=1e-5)
    assert (neck_in_camera(coarse_head, scaled) - neck_in_camera(coarse_head, fit)).norm(dim=-1).max() < 1e-4
    assert torch.equal(scaled.camera.world_to_camera, fit.camera.world_to_camera)
    if by == "neck and head":
        assert torch.equal(scaled.poses[:, 0], fit.poses[:, 0]) and torch.equal(scaled.translation, fit.translation)
    else:
        assert scaled.poses[:, [NECK, HEAD]].abs().max() < 1e-5, "the neck does not twist against the body"


def test_pose_gain_shares_the_change_between_body_and_neck(coarse_head: HeadModel) -> None:
    """A body that turns by 0.2 and a neck that turns by 0.3 beyond it: at half the gain by 0.1 and 0.15."""
    fit = neutral_fit(coarse_head, 2)
    poses = fit.poses.clone()
    poses[1, 0, 1], poses[1, NECK, 1], poses[1, HEAD, 1] = 0.2, 0.1, 0.2
    scaled = scale_motion(fit.replace(poses=poses), coarse_head, pose=0.5).poses[1, :, 1]
    assert float(scaled[0]) == pytest.approx(0.1, abs=1e-5)
    assert float(scaled[NECK] + scaled[HEAD]) == pytest.approx(0.15, abs=1e-5)


def test_the_frame_that_changed_most_is_found_where_bodies_stand_on_their_heads(coarse_head: HeadModel) -> None:
    fit = neutral_fit(coarse_head, 3)
    poses = fit.poses.clone()
    poses[:, 0] = torch.tensor([[3.14, 0, 0], [3.14, 0, 0], [3.14, 0.5, 0]])
    other = poses.clone()
    other[1, 0, 0], other[2, 0, 1] = -3.14, -0.5  # 0.003 radians, and 0.6
    assert most_changed(fit.replace(poses=poses), fit.replace(poses=other)) == 2
    seen = torch.tensor([True, True, False])
    assert most_changed(fit.replace(poses=poses, valid=seen), fit.replace(poses=other, valid=seen)) == 1, "of those"
