"""transfer(): where the head looks, where it stays, and what its face does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from expportrait_core.body import axis_angle_to_matrix, load_head_model, matrix_to_axis_angle, pose_motion
from expportrait_core.body.posing import joint_transforms
from expportrait_core.fit.formats.arkit import JAW_OPEN
from expportrait_core.render import render_normals
from expportrait_core.transfer import Gains, copy_offsets, transfer
from expportrait_core.types import HEAD, JAW, LEFT_EYE, NECK, HeadMotion, SMPLXFit

from .people import make_fit, make_head, untrained

NO_WRINKLES = Gains(wrinkles=0)


@pytest.fixture(scope="module")
def model():
    return load_head_model("default", 0)


@pytest.fixture(scope="module")
def head(model):
    return make_head(model, make_fit(model, 3, seed=1))


@pytest.fixture(scope="module")
def driver(model):
    return make_fit(model, 4, seed=2)


def in_camera(motion: HeadMotion) -> Tensor:
    """Vertices [F, V, 3] as the motion's camera sees them."""
    vertices = pose_motion(motion, 0, motion.num_frames)
    matrix = motion.camera.world_to_camera
    return vertices @ matrix[:, :3, :3].transpose(1, 2) + matrix[:, None, :3, 3]


def skull(motion: HeadMotion | SMPLXFit) -> Tensor:
    """Rotation [F, 3, 3] of the skull in the camera, of fits whose body stands still."""
    rotation = motion.camera.world_to_camera[:, :3, :3]
    for joint in (0, 3, 6, 9, NECK, HEAD):
        rotation = rotation @ axis_angle_to_matrix(motion.poses[:, joint])
    return rotation


def joint_in_camera(motion: HeadMotion, joint: int) -> Tensor:
    model, frames = motion.head.model, motion.num_frames
    betas = motion.head.betas
    joints = model.joint_template + model.joint_shape_basis[..., : len(betas)] @ betas
    joints = joints.expand(frames, -1, -1)
    moved = joint_transforms(axis_angle_to_matrix(motion.poses), joints, model.parents, [joint])[:, 0]
    world = (joints[:, joint, None] @ moved[:, :3])[:, 0] + moved[:, 3] + motion.translation
    matrix = motion.camera.world_to_camera
    return (matrix[:, :3, :3] @ world[..., None])[..., 0] + matrix[:, :3, 3]


def in_another_world(fit: SMPLXFit, model, betas: Tensor) -> SMPLXFit:
    """The same performance as its camera sees it, with the world turned about and moved."""
    turn = axis_angle_to_matrix(torch.tensor([0.4, -0.7, 0.3]))
    shift = torch.tensor([0.5, 2.0, -1.0])
    pelvis = model.joint_template[0] + model.joint_shape_basis[0, :, : len(betas)] @ betas
    poses, matrix = fit.poses.clone(), fit.camera.world_to_camera.clone()
    poses[:, 0] = matrix_to_axis_angle(turn @ axis_angle_to_matrix(poses[:, 0]))
    translation = (fit.translation + pelvis) @ turn.T + shift - pelvis
    matrix[:, :3, :3] = matrix[:, :3, :3] @ turn.T
    matrix[:, :3, 3] -= (matrix[:, :3, :3] @ shift[:, None])[..., 0]
    return fit.replace(poses=poses, translation=translation, camera=fit.camera.replace(world_to_camera=matrix))


def rotation_in_global_orient(fit: SMPLXFit) -> SMPLXFit:
    """The same head rotation as another tracker writes it: all of it in the root."""
    poses = fit.poses.clone()
    neck, head = axis_angle_to_matrix(poses[:, [NECK, HEAD]]).unbind(1)
    poses[:, 0] = matrix_to_axis_angle(neck @ head)
    poses[:, [NECK, HEAD]] = 0
    return fit.replace(poses=poses)


@pytest.mark.parametrize("camera", ["portrait", "driver"])
@pytest.mark.parametrize("head_pose", ["driver", "relative", "portrait"])
def test_the_drivers_world_does_not_matter(head, driver, model, camera: str, head_pose: str) -> None:
    moved = in_another_world(driver, model, driver.betas)
    options = {"head_pose": head_pose, "camera": camera, "gains": NO_WRINKLES}
    expected, found = (in_camera(transfer(head, d, **options)) for d in (driver, moved))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("head_pose", ["driver", "relative", "portrait"])
def test_the_portraits_world_does_not_matter(head, driver, model, head_pose: str) -> None:
    moved = head.replace(fit=in_another_world(head.fit, model, head.betas))
    options = {"head_pose": head_pose, "gains": NO_WRINKLES, "portrait_frame": 1}
    expected, found = (in_camera(transfer(h, driver, **options)) for h in (head, moved))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("head_pose", ["driver", "relative"])
def test_it_does_not_matter_which_joint_a_tracker_turns(head, driver, head_pose: str) -> None:
    options = {"head_pose": head_pose, "gains": NO_WRINKLES}
    expected, found = (in_camera(transfer(head, d, **options)) for d in (driver, rotation_in_global_orient(driver)))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_the_head_looks_where_the_driver_looks(head, driver) -> None:
    for camera in ("portrait", "driver"):
        motion = transfer(head, driver, camera=camera, gains=NO_WRINKLES)
        torch.testing.assert_close(skull(motion), skull(driver), atol=1e-5, rtol=0)


def test_a_turned_head_stays_where_it_is_in_the_picture(head, driver) -> None:
    motion = transfer(head, rotation_in_global_orient(driver), portrait_frame=2, gains=NO_WRINKLES)
    still = transfer(head, driver, head_pose="portrait", portrait_frame=2, gains=NO_WRINKLES)
    assert (skull(motion) - skull(still)).abs().max() > 0.1
    torch.testing.assert_close(joint_in_camera(motion, NECK), joint_in_camera(still, NECK), atol=1e-6, rtol=0)
    # a pelvis that turned would have swung the head, 0.7 m above it, by ten times as much
    assert (joint_in_camera(motion, HEAD) - joint_in_camera(still, HEAD)).norm(dim=1).max() < 0.03


def test_portrait_pose_keeps_pose_and_camera(head, driver) -> None:
    motion = transfer(head, driver, head_pose="portrait", portrait_frame=1, gains=NO_WRINKLES)
    torch.testing.assert_close(motion.poses[:, :JAW], head.fit.poses[1:2, :JAW].expand(4, -1, -1), atol=2e-6, rtol=0)
    assert torch.equal(motion.translation, head.fit.translation[1:2].expand(4, -1))
    assert torch.equal(motion.camera.intrinsics, head.fit.camera.intrinsics[1:2].expand(4, -1, -1))
    assert torch.equal(motion.expression, driver.expression)


def test_relative_pose_starts_from_the_portrait_and_turns_in_the_heads_own_axes(head, driver) -> None:
    motion = transfer(head, driver, head_pose="relative", neutral_frame=3, portrait_frame=1, gains=NO_WRINKLES)
    own, found, driven = skull(head.fit)[1], skull(motion), skull(driver)
    torch.testing.assert_close(found[3], own, atol=1e-5, rtol=0)
    torch.testing.assert_close(own.T @ found, driven[3].T @ driven, atol=1e-5, rtol=0)


def test_transfer_to_oneself_is_ones_own_motion(head) -> None:
    motion = transfer(head, head.fit, camera="driver", gains=NO_WRINKLES)
    torch.testing.assert_close(motion.poses, head.fit.poses, atol=2e-6, rtol=0)
    torch.testing.assert_close(motion.translation, head.fit.translation, atol=1e-6, rtol=0)
    torch.testing.assert_close(motion.camera.projection, head.fit.camera.projection)
    assert torch.equal(motion.expression, head.fit.expression)
    assert motion.fps == head.fit.fps


def test_the_rate_is_the_drivers(head, driver) -> None:
    assert transfer(head, driver, gains=NO_WRINKLES).fps == driver.fps != head.fit.fps


def test_the_portrait_is_the_first_frame_with_a_face(head, driver) -> None:
    unseen = head.replace(fit=head.fit.replace(valid=torch.tensor([False, True, True])))
    found, expected = (transfer(h, driver, portrait_frame=frame, gains=NO_WRINKLES) for h, frame in
                       ((unseen, None), (head, 1)))  # fmt: skip
    assert found.portrait_frame == 1 and torch.equal(found.poses, expected.poses)
    assert torch.equal(found.translation, expected.translation)
    assert torch.equal(found.camera.world_to_camera, expected.camera.world_to_camera)


def test_the_jaw_reaches_the_wrinkles(head, driver) -> None:
    """As the motion has it: with its gain."""
    model = untrained()
    gains = Gains(mouth=0.5, wrinkles=0.7)
    motion = transfer(head, driver, model, gains=gains)
    expected = model.predict(head, motion.expression, 0.5 * driver.poses[:, JAW], 0.7)
    assert torch.equal(motion.offsets(0, 4), expected(0, 4))
    shut = model.predict(head, motion.expression, 0 * driver.poses[:, JAW], 0.7)
    assert not torch.allclose(expected(0, 4), shut(0, 4), atol=1e-7), "the jaw makes a difference"


def test_the_back_of_a_body_that_is_not_known_is_not_measured(model, driver) -> None:
    foreign = driver.replace(model_id="a body of somebody else")
    other = make_head(model, make_fit(model, 1, seed=1), betas=torch.tensor([2.0, -2.0, 1.0]))
    motion = transfer(other, foreign, camera="driver", gains=NO_WRINKLES)
    assert torch.equal(motion.translation, driver.translation)


def test_a_foreign_split_of_neck_and_head_is_kept_for_oneself(model) -> None:
    fit = make_fit(model, 1, seed=5)
    poses = fit.poses.clone()
    poses[:, NECK], poses[:, HEAD] = torch.tensor([0.3, 0.1, 0.0]), torch.tensor([-0.2, 0.1, 0.2])
    poses[:, 9] = torch.tensor([0.1, 0.2, 0.0])
    fit = fit.replace(poses=poses)
    motion = transfer(make_head(model, fit), fit, gains=NO_WRINKLES)
    torch.testing.assert_close(motion.poses, poses, atol=2e-6, rtol=0)


def test_in_the_drivers_camera_the_neck_is_where_the_drivers_is(model, driver) -> None:
    other = make_head(model, make_fit(model, 1, seed=1), betas=torch.tensor([2.0, -2.0, 1.0]))
    own = make_head(model, driver)
    moved, its_own = (transfer(h, driver, camera="driver", gains=NO_WRINKLES) for h in (other, own))
    assert (moved.translation - driver.translation).abs().max() > 1e-3
    torch.testing.assert_close(joint_in_camera(moved, NECK), joint_in_camera(its_own, NECK), atol=1e-5, rtol=0)
    torch.testing.assert_close(its_own.translation, driver.translation)
    assert torch.equal(moved.camera.world_to_camera, driver.camera.world_to_camera)


def test_the_drivers_picture_may_have_another_shape_than_the_portraits(head, driver) -> None:
    """All of it is seen, in the middle of a picture of the portrait's size, which any size of that shape draws."""
    height, width = head.fit.image_size
    wide = driver.replace(camera=driver.camera.resized(height, width).cropped(-width / 2, 0, height, 2 * width))
    motion = transfer(head, wide, camera="driver", gains=NO_WRINKLES)
    assert motion.camera.image_size == (height, width)
    points = torch.tensor([[[0.0, 0, 0], [0.05, 0.1, 0.02]]]) + head.fit.translation[:1, None]
    before, after = (camera[:1].project(points)[0] for camera in (wide.camera, motion.camera))
    before, after = before[:, :2] / before[:, 2:], after[:, :2] / after[:, 2:]
    torch.testing.assert_close(after, before / 2 + torch.tensor([0, height / 4]), atol=1e-2, rtol=1e-5)
    drawn = render_normals(motion, (height // 2, width // 2), 1)
    assert drawn.normals.shape[1:3] == drawn.reference_normals.shape[1:3] == (height // 2, width // 2)


def test_relative_expression_adds_what_the_driver_changed(head, driver) -> None:
    motion = transfer(head, driver, expression="relative", neutral_frame=2, portrait_frame=1, gains=NO_WRINKLES)
    own = head.fit.expression[1]
    torch.testing.assert_close(motion.expression, own + driver.expression - driver.expression[2])
    for joint in (JAW, LEFT_EYE):
        portrait, found, driven = (axis_angle_to_matrix(f.poses[:, joint]) for f in (head.fit, motion, driver))
        torch.testing.assert_close(found[2], portrait[1], atol=2e-6, rtol=0)
        torch.testing.assert_close(portrait[1].T @ found, driven[2].T @ driven, atol=2e-6, rtol=0)


def test_gains_act_on_their_region_only(head, driver, model) -> None:
    motion = transfer(head, driver, gains=Gains(brows=2, mouth=0, wrinkles=0))
    factor = {}
    for column, name in enumerate(model.expression_names):
        if driver.expression[0, column] > 1e-6:
            factor[name] = (motion.expression[0, column] / driver.expression[0, column]).item()
    assert factor["browInnerUp"] == pytest.approx(2)
    assert factor["eyeBlinkLeft"] == pytest.approx(1)
    assert factor["mouthSmileLeft"] == factor["noseSneerLeft"] == factor["cheekPuff"] == 0
    assert not motion.poses[:, JAW].any()
    assert torch.equal(motion.poses[:, LEFT_EYE], driver.poses[:, LEFT_EYE])


def test_every_named_expression_belongs_to_a_region(head, driver, model) -> None:
    motion = transfer(head, driver, gains=Gains(brows=0, mouth=0, eyes=0, wrinkles=0))
    assert not motion.expression.any()


@pytest.mark.parametrize("expression", ["absolute", "relative"])
def test_gains_above_1_stay_within_what_a_face_can_do(head, driver, expression: str) -> None:
    """Lids that are closed twice hang on the cheeks."""
    options = {"expression": expression, "neutral_frame": 2}
    once, thrice = (
        transfer(head, driver, gains=Gains(mouth=gain, eyes=gain, wrinkles=0), **options) for gain in (1.0, 3.0)
    )
    high = once.expression.clamp(min=1)
    assert (thrice.expression <= high).all() and (thrice.expression > once.expression + 0.1).any()
    assert (thrice.poses[:, JAW, 0] <= once.poses[:, JAW, 0].clamp(min=JAW_OPEN) + 0.1).all()


def test_pose_gain_goes_from_the_portrait_to_the_driver_and_beyond(head, driver) -> None:
    own, driven = skull(head.fit)[:1], skull(driver)
    angle = matrix_to_axis_angle(own.transpose(1, 2) @ driven)
    for gain in (0.0, 0.5, 1.5):
        found = skull(transfer(head, driver, gains=Gains(pose=gain, wrinkles=0)))
        turned = matrix_to_axis_angle(own.transpose(1, 2) @ found)
        torch.testing.assert_close(turned, gain * angle, atol=1e-5, rtol=0)


def test_gains_of_unnamed_expressions_are_refused(head, driver, model) -> None:
    names = tuple(f"expression{i + 1}" for i in range(len(model.expression_names)))
    unnamed = head.replace(model=model.replace(expression_names=names))
    with pytest.raises(ValueError, match="expressions with names"):
        transfer(unnamed, driver, gains=Gains(mouth=0.5))
    transfer(unnamed, driver, gains=Gains(pose=0.5, wrinkles=0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"head_pose": "both"}, "head_pose is 'both'"),
        ({"camera": "front"}, "camera is 'front'"),
        ({"expression": "mean"}, "expression is 'mean'"),
        ({"neutral_frame": 4}, "neutral_frame is 4, the driver has the frames 0 to 3"),
        ({"portrait_frame": 9}, "portrait_frame is 9, the portrait has the frames 0 to 2"),
    ],
)
def test_unknown_choices_and_frames_are_refused(head, driver, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        transfer(head, driver, **options)


def test_another_expression_space_is_refused(head, driver) -> None:
    with pytest.raises(ValueError, match="flame50"):
        transfer(head, driver.replace(expression_space="flame50"))


def test_copied_offsets_are_the_drivers_own(head, driver, model) -> None:
    offsets = torch.zeros(4, model.num_vertices, 3)
    offsets[:, 100:110] = torch.randn(4, 10, 3, generator=torch.Generator().manual_seed(0)) * 1e-3
    source = make_head(model, driver).replace(dynamic_offsets=offsets)
    copied = copy_offsets(transfer(head, driver, gains=NO_WRINKLES), source)
    assert torch.equal(copied.offsets(1, 3), offsets[1:3])
    with pytest.raises(ValueError, match="frame by frame"):
        copy_offsets(transfer(head, driver.frames(slice(0, 2)), gains=NO_WRINKLES), source)
    finer = load_head_model("default", 1)
    with pytest.raises(ValueError, match="'default-head' at level 1 with 4 frames"):
        copy_offsets(transfer(head, driver, gains=NO_WRINKLES), make_head(finer, driver))
