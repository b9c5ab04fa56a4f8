"""A motion's normal maps, on the default head: the reference, the frames, the sizes, and what is refused."""

from __future__ import annotations

import pytest
import torch

from expportrait_core.body import load_head_model, pose_motion
from expportrait_core.render import (
    NORMALS_CONVENTION,
    decode_normals,
    encode_normals,
    render_mesh,
    render_normals,
)
from expportrait_core.types import JAW, NUM_JOINTS, Camera, HeadModel, HeadMotion, PersonalizedHead, SMPLXFit

from .meshes import look, rotation

FRAMES = 3


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


def camera_at(model: HeadModel, size: tuple[int, int], frames: int) -> Camera:
    """Cameras before the face, each zoomed a little closer than the one before."""
    face = model.template[model.facial_weight > 0.5].mean(0)
    camera = look(size, 0.7, 1.3, frames)
    moved = camera.world_to_camera.clone()
    moved[:, :3, 3] -= moved[0, :3, :3] @ face
    intrinsics = camera.intrinsics.clone()
    intrinsics[:, :2, :2] *= torch.linspace(1, 1.2, frames)[:, None, None]
    return camera.replace(world_to_camera=moved, intrinsics=intrinsics)


def motion_of(model: HeadModel, size: tuple[int, int] = (64, 64), portrait_frame: int = 1) -> HeadMotion:
    """Three frames in which the jaw opens; the head's own fit is the same three, in reverse."""
    poses = torch.zeros(FRAMES, NUM_JOINTS, 3)
    poses[:, JAW, 0] = torch.linspace(0, 0.4, FRAMES)
    expression = torch.zeros(FRAMES, model.expression_basis.shape[2])
    betas = torch.zeros(model.shape_basis.shape[2])
    camera = camera_at(model, size, FRAMES)
    fit = SMPLXFit(
        betas,
        expression,
        poses.flip(0),
        torch.zeros(FRAMES, 3),
        camera[[2, 1, 0]],
        model.expression_space,
        model.model_id,
    )
    static = torch.zeros(model.num_vertices, 3)
    head = PersonalizedHead(
        model, betas, static, static.expand(FRAMES, -1, -1), fit, model.upsampling.level, model.model_id
    )
    return HeadMotion(head, expression, poses, torch.zeros(FRAMES, 3), camera, 29.97, portrait_frame)


def test_frames_and_reference(model: HeadModel) -> None:
    motion = motion_of(model, portrait_frame=2)  # the fit's last frame is the motion's first
    maps = render_normals(motion, 64)
    assert maps.convention == NORMALS_CONVENTION and maps.fps == 29.97
    torch.testing.assert_close(maps.reference_normals[0], maps.normals[0], rtol=0, atol=1e-4)
    assert (maps.normals[0] - maps.normals[2]).abs().max() > 0.2  # the mouth has opened
    assert (maps.normals[maps.mask == 0] == 0).all() and (maps.depth[maps.mask == 0] == 0).all()
    assert 0.2 < maps.mask.mean() < 0.4
    solid = decode_normals(maps.normals)[maps.mask == 1]
    assert (solid[:, 2] > -0.2).all() and (solid[:, 2] > 0.5).float().mean() > 0.6
    assert maps.depth[maps.mask > 0].min() > 0.4 and maps.depth.max() < 1.2


def test_reference_carries_the_portraits_own_wrinkles(model: HeadModel) -> None:
    motion = motion_of(model)
    bumps = torch.zeros(FRAMES, model.num_vertices, 3)
    bumps[1, ::3, 2] = 0.004
    wrinkled = motion.replace(head=motion.head.replace(dynamic_offsets=bumps))
    plain, ours = render_normals(motion, 64), render_normals(wrinkled, 64)
    assert (plain.reference_normals - ours.reference_normals).abs().mean() > 0.005
    assert torch.equal(plain.normals, ours.normals)
    moved = render_normals(motion.replace(offsets=lambda start, stop: bumps[start:stop]), 64)
    assert torch.equal(moved.normals[0], plain.normals[0]) and torch.equal(moved.normals[2], plain.normals[2])
    assert (moved.normals[1] - plain.normals[1]).abs().mean() > 0.005


def test_each_frame_is_what_render_mesh_draws(model: HeadModel) -> None:
    motion = motion_of(model)
    maps = render_normals(motion, 48, supersampling=3)
    expected = render_mesh(pose_motion(motion, 0, FRAMES), model.fine_faces, motion.camera.resized(48, 48), 3)
    torch.testing.assert_close(maps.normals, encode_normals(expected.normals, expected.mask), rtol=0, atol=1e-4)
    torch.testing.assert_close(maps.mask, expected.mask)
    torch.testing.assert_close(maps.depth, expected.depth, rtol=0, atol=1e-4)


def test_chunks_do_not_show(model: HeadModel) -> None:
    motion = motion_of(model)
    whole, single = render_normals(motion, 64, chunk=8), render_normals(motion, 64, chunk=1)
    assert ((whole.normals - single.normals).abs().amax(-1) > 1e-3).float().mean() < 1e-3


def test_turning_the_body_is_walking_around_it(model: HeadModel) -> None:
    """A root rotation gives the pictures of a camera that goes the other way about the root joint."""
    motion = motion_of(model)
    turned = motion.poses.clone()
    turned[:, 0, 1] = 0.3
    turn, root = rotation(yaw=0.3), model.joint_template[0]
    around = motion.camera.world_to_camera.clone()
    around[:, :3, 3] += around[0, :3, :3] @ (root - turn @ root)
    around[:, :3, :3] = around[:, :3, :3] @ turn
    camera = motion.camera.replace(world_to_camera=around)
    still, ours, theirs = (
        render_normals(m, 64).normals for m in (motion, motion.replace(poses=turned), motion.replace(camera=camera))
    )
    assert (still - ours).abs().mean() > 0.02
    assert ((ours - theirs).abs().amax(-1) > 0.02).float().mean() < 2e-3


def test_sizes(model: HeadModel) -> None:
    motion = motion_of(model, size=(60, 90))
    maps = render_normals(motion, (40, 60))
    assert maps.normals.shape == (FRAMES, 40, 60, 3) and maps.reference_normals.shape == (1, 40, 60, 3)
    assert render_normals(motion, (27, 40)).mask.shape == (FRAMES, 27, 40)  # 26.7 rows, rounded
    with pytest.raises(ValueError, match="90×60 .* 64×64"):
        render_normals(motion, 64)
    square = motion_of(model)
    with pytest.raises(ValueError, match="The portrait"):
        render_normals(square.replace(head=motion.head), 64)
    for wrong in ({"size": 0}, {"supersampling": 0}, {"chunk": 0}):
        with pytest.raises(ValueError, match="expected a whole number, 1 or more"):
            render_normals(square, **wrong)


def test_progress_counts_frames_and_can_cancel(model: HeadModel) -> None:
    motion, calls = motion_of(model), []
    maps = render_normals(motion, 32, progress=lambda done, total, preview: calls.append((done, total, preview)))
    assert [(done, total) for done, total, _ in calls] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert torch.equal(calls[0][2], maps.reference_normals[0]) and torch.equal(calls[-1][2], maps.normals[-1])

    def cancel(done: int, total: int, preview: torch.Tensor | None) -> None:
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        render_normals(motion, 32, progress=cancel)


def test_back_ends_give_the_same_frames(model: HeadModel) -> None:
    pytest.importorskip("numba")
    fast, plain = (render_normals(motion_of(model), 64, backend=name).normals for name in ("numba", "torch"))
    assert ((fast - plain).abs().amax(-1) > 1e-3).float().mean() < 1e-3


def test_a_head_behind_the_camera_is_refused(model: HeadModel) -> None:
    motion = motion_of(model)
    with pytest.raises(ValueError, match="camera's plane"):
        render_normals(motion.replace(translation=motion.translation + torch.tensor([0, 0, 1.5])), 32)
