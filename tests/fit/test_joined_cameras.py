"""Gaps, seams and joins of fits whose tracker wrote the head's motion, or half a turn, into the camera."""

from __future__ import annotations

import pytest
import torch

from expportrait_core.assets import PERFORMANCE
from expportrait_core.fit import interpolate_gaps, join_fits, load_fit, loop_fit, quaternions
from expportrait_core.types import HeadModel, SMPLXFit


@pytest.fixture(scope="module")
def performance() -> SMPLXFit:
    return load_fit(PERFORMANCE)


def turning(performance: SMPLXFit, degrees: float, by_camera: bool, frames: int = 61) -> SMPLXFit:
    """A head before a camera, a metre away, that turns from one side to the other: itself, or the camera about it."""
    fit = performance.frames([0] * frames)
    yaw = torch.zeros(frames, 3)
    yaw[:, 1] = torch.deg2rad(torch.linspace(-degrees, degrees, frames))
    front = torch.diag(torch.tensor([1.0, -1.0, -1.0])).repeat(frames, 1, 1)
    view = torch.eye(4).repeat(frames, 1, 1)
    turn = quaternions.to_matrix(quaternions.from_axis_angle(yaw))
    view[:, :3, :3] = front @ turn if by_camera else front
    view[:, :3, 3] = torch.tensor([0.0, 0.0, 1.0])
    poses = torch.zeros_like(fit.poses)
    if not by_camera:
        poses[:, 0] = yaw
    camera = fit.camera.replace(world_to_camera=view)
    return fit.replace(poses=poses, translation=torch.zeros(frames, 3), camera=camera)


def seen_by_camera(fit: SMPLXFit, pelvis: torch.Tensor | None = None) -> torch.Tensor:
    """Corners of a box about the origin [F, 8, 3] as the camera sees them; a body's root turns about the pelvis."""
    box = torch.tensor([[x, y, z] for x in (-0.1, 0.1) for y in (-0.1, 0.1) for z in (-0.1, 0.1)])
    pelvis = torch.zeros(3) if pelvis is None else pelvis
    root = quaternions.to_matrix(quaternions.from_axis_angle(fit.poses[:, 0]))
    world = (root[:, None] @ (box - pelvis)[None, :, :, None])[..., 0] + pelvis + fit.translation[:, None]
    view = fit.camera.world_to_camera
    return (view[:, None, :3, :3] @ world[..., None])[..., 0] + view[:, None, :3, 3]


@pytest.mark.parametrize("degrees", [30.0, 60.0])
def test_heads_come_no_nearer_in_gaps_and_seams_where_the_camera_turns(performance: SMPLXFit, degrees: float) -> None:
    """A camera that flies straight from one side to the other passes close to the head."""
    body, camera = (turning(performance, degrees, by_camera) for by_camera in (False, True))
    assert torch.allclose(seen_by_camera(body), seen_by_camera(camera), atol=1e-5)
    valid = torch.ones(61, dtype=torch.bool)
    valid[20:41] = False
    for change in (
        lambda fit: interpolate_gaps(fit.replace(valid=valid)),
        lambda fit: loop_fit(fit, 1, "seamless", 0.4),
        lambda fit: join_fits(fit, fit, 0.4),
    ):
        one, other = (seen_by_camera(change(fit)) for fit in (body, camera))
        assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("swapped", [False, True])
def test_worlds_that_are_upside_down_to_each_other_are_joined(
    performance: SMPLXFit, coarse_head: HeadModel, swapped: bool
) -> None:
    """Half of the trackers have upright people before a camera that is turned over, half the other way round."""
    upright = turning(performance, 20.0, by_camera=False).replace(betas=performance.betas)
    pelvis = coarse_head.joint_template[0] + coarse_head.joint_shape_basis[0, :, : len(upright.betas)] @ upright.betas
    over = torch.tensor([1.0, -1.0, -1.0])
    poses, view = upright.poses.clone(), upright.camera.world_to_camera.clone()
    half = quaternions.from_axis_angle(torch.tensor([torch.pi, 0.0, 0.0]))
    poses[:, 0] = quaternions.to_axis_angle(
        quaternions.multiply(half.expand(61, 4), quaternions.from_axis_angle(poses[:, 0]))
    )
    view[:, :3, :3] *= over
    other = upright.replace(
        poses=poses, translation=(upright.translation + pelvis) * over - pelvis,
        camera=upright.camera.replace(world_to_camera=view),
    )  # fmt: skip
    assert torch.allclose(seen_by_camera(other, pelvis), seen_by_camera(upright, pelvis), atol=1e-5)
    expected = seen_by_camera(join_fits(upright, upright, 0.4), pelvis)
    pair = (other, upright) if swapped else (upright, other)
    joined = join_fits(*pair, 0.4, coarse_head)
    assert torch.allclose(seen_by_camera(joined, pelvis), expected, atol=1e-4)
    with pytest.raises(ValueError, match="worlds are upside down to each other"):
        join_fits(*pair, 0.4)
