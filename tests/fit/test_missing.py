"""What frames without a face show."""

from __future__ import annotations

import pytest
import torch

from expportrait_core.body import axis_angle_to_matrix
from expportrait_core.fit.edit.missing import MISSING, fill_missing
from expportrait_core.types import HEAD, Camera, SMPLXFit

TURN = 2.4  # radians: far enough for axis-angle vectors to be a bad average


@pytest.fixture
def gappy() -> SMPLXFit:
    """Seven frames, faces in 1, 2 and 5. The head is turned one way, then another."""
    generator = torch.Generator().manual_seed(0)
    poses = torch.zeros(7, 55, 3)
    poses[:3, HEAD] = torch.tensor([TURN, 0.0, 0.0])
    poses[3:, HEAD] = torch.tensor([0.0, TURN, 0.0])
    camera = Camera(torch.eye(3).repeat(7, 1, 1), torch.eye(4).repeat(7, 1, 1), (10, 10))
    valid = torch.tensor([False, True, True, False, False, True, False])
    return SMPLXFit(torch.zeros(2), torch.rand(7, 4, generator=generator), poses,
                    torch.rand(7, 3, generator=generator), camera, "arkit", "a", valid=valid)  # fmt: skip


@pytest.mark.parametrize("how", MISSING)
def test_valid_stays_what_it_was_and_so_do_the_frames_that_were_seen(gappy: SMPLXFit, how: str) -> None:
    filled = fill_missing(gappy, how)
    assert torch.equal(filled.valid, gappy.valid)
    for name in ("expression", "poses", "translation"):
        assert torch.equal(getattr(filled, name)[gappy.valid], getattr(gappy, name)[gappy.valid])


def test_interpolated_rotations_go_the_shortest_way_at_even_speed(gappy: SMPLXFit) -> None:
    filled = fill_missing(gappy)
    turns = axis_angle_to_matrix(filled.poses[:, HEAD].double())

    def apart(a: int, b: int) -> float:
        trace = (turns[a].T @ turns[b]).diagonal().sum()
        return float(((trace - 1) / 2).clamp(-1, 1).acos())

    whole = apart(2, 5)
    assert [apart(2, 3), apart(3, 4), apart(4, 5)] == pytest.approx([whole / 3] * 3, abs=1e-3)
    assert torch.allclose(filled.translation[3], gappy.translation[2].lerp(gappy.translation[5], 1 / 3), atol=1e-6)
    assert torch.equal(filled.expression[[0, 6]], gappy.expression[[1, 5]])  # the ends repeat


def test_previous_holds_and_empty_rests(gappy: SMPLXFit) -> None:
    held, empty = fill_missing(gappy, "previous"), fill_missing(gappy, "empty")
    assert torch.equal(held.expression, gappy.expression[[1, 1, 2, 2, 2, 5, 5]])
    gaps = [0, 3, 4, 6]
    assert not empty.expression[gaps].any() and not empty.poses[gaps].any()
    assert torch.equal(empty.translation, gappy.translation[[1, 1, 2, 2, 2, 5, 5]])  # in front of the camera


def test_what_a_tracker_kept_beside_the_pose_is_filled_too(gappy: SMPLXFit) -> None:
    """The head's motion in the camera, and the lids."""
    view = gappy.camera.world_to_camera.clone()
    view[:, 2, 3] = torch.tensor([9.0, 1, 2, 9, 9, 5, 9])
    lids = torch.tensor([9.0, 0.1, 0.2, 9, 9, 0.5, 9])[:, None].expand(7, 2)
    moving = gappy.replace(camera=gappy.camera.replace(world_to_camera=view), eyelids=lids)

    def filled(how):
        fit = fill_missing(moving, how)
        return fit.camera.world_to_camera[:, 2, 3].tolist(), (10 * fit.eyelids[:, 0]).tolist()

    depths, closed = filled("interpolate")
    assert depths == pytest.approx([1, 1, 2, 3, 4, 5, 5]) and closed == pytest.approx(depths)
    depths, closed = filled("previous")
    assert depths == pytest.approx([1, 1, 2, 2, 2, 5, 5]) and closed == pytest.approx(depths)
    depths, closed = filled("empty")
    assert depths == pytest.approx([1, 1, 2, 2, 2, 5, 5]) and closed == pytest.approx([0, 1, 2, 0, 0, 5, 0])


def test_bad_input_gets_a_sentence(gappy: SMPLXFit) -> None:
    with pytest.raises(ValueError, match="expected one of interpolate, previous, empty"):
        fill_missing(gappy, "guess")
    with pytest.raises(ValueError, match="no frame in which a face was seen"):
        fill_missing(gappy.replace(valid=torch.zeros(7, dtype=torch.bool)))
