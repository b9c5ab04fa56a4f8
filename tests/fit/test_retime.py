"""Motion at other rates, in parts, in loops and joined: speeds stay, blinks stay, seams do not show."""

from __future__ import annotations

import math

import pytest
import torch

from expportrait_core.assets import PERFORMANCE
from expportrait_core.fit import (
    insert_missing_frames,
    interpolate_gaps,
    join_fits,
    load_fit,
    loop_fit,
    quaternions,
    resample_fit,
    smooth_fit,
    trim_fit,
)
from expportrait_core.fit.edit.expression_names import default_names
from expportrait_core.types import HEAD, SMPLXFit

BLINK = [default_names().index("eyeBlinkLeft"), default_names().index("eyeBlinkRight")]


@pytest.fixture(scope="module")
def performance() -> SMPLXFit:
    return load_fit(PERFORMANCE)


def turning(performance: SMPLXFit, degrees: torch.Tensor, start: tuple = (0.0, 0.0, 0.0)) -> SMPLXFit:
    """A root that turns about its own y axis, from anywhere."""
    turn = torch.zeros(len(degrees), 3)
    turn[:, 1] = torch.deg2rad(degrees)
    poses = torch.zeros(len(degrees), 55, 3)
    poses[:, 0] = quaternions.to_axis_angle(
        quaternions.turned(quaternions.from_axis_angle(torch.tensor([start])).expand(len(degrees), 4), turn)
    )
    return performance.frames([0] * len(degrees)).replace(poses=poses, frame_ids=torch.arange(len(degrees)))


def steps_degrees(fit: SMPLXFit) -> torch.Tensor:
    turned = quaternions.from_axis_angle(fit.poses[:, 0])
    return torch.rad2deg(quaternions.difference(turned[:-1], turned[1:]).norm(dim=-1))


@pytest.mark.parametrize("fps", [10.0, 24.0, 25.0, 30.0, 59.94, 60.0, 120.0])
def test_speed_stays_at_every_rate_also_through_a_half_turn(performance: SMPLXFit, fps: float) -> None:
    """6° a frame from just before half a turn: axis-angle numbers jump, the motion does not."""
    fit = turning(performance, 6.0 * torch.arange(40), (0.0, math.pi - 0.2, 0.0))
    resampled = resample_fit(fit, fps)
    assert resampled.fps == fps
    assert abs((resampled.num_frames - 1) / fps - 39 / 25) <= 0.5 / fps
    inside = steps_degrees(resampled)[: int(39 * fps / 25) - 1]
    assert torch.allclose(inside, torch.full_like(inside, 6 * 25 / fps), atol=1e-2)


def test_up_and_down_again_gives_the_frames_back(performance: SMPLXFit) -> None:
    back = resample_fit(resample_fit(performance, 100), 25)
    assert back.num_frames == performance.num_frames
    assert torch.allclose(back.expression, performance.expression, atol=1e-5)
    assert torch.allclose(back.poses, performance.poses, atol=1e-5)
    assert torch.equal(back.frame_ids, performance.frame_ids) and back.valid.all()
    assert resample_fit(performance, 25.0) is performance


@pytest.mark.parametrize("fps", [6.0, 8.0, 12.0, 15.0, 24.0])
def test_no_blink_is_lost_going_down(performance: SMPLXFit, fps: float) -> None:
    """Blinks of 50 ms at 60 frames a second, at every phase against the new frames."""
    lid = torch.zeros(900)
    starts = range(30, 870, 53)
    for start in starts:
        lid[start : start + 3] = torch.tensor([0.6, 1.0, 0.5])
    expression = torch.zeros(900, 100)
    expression[:, BLINK] = lid[:, None]
    fit = performance.frames([0] * 900).replace(expression=expression, fps=60.0)
    found = resample_fit(fit, fps).expression[:, BLINK]
    assert sorted(found[:, 0].tolist())[-len(starts) :] == [1.0] * len(starts)
    plain = expression[(torch.arange(int(900 * fps / 60)) * 60 / fps).round().long().clamp(max=899), BLINK[0]]
    assert fps == 24 or (plain > 0.95).sum() < len(starts), "taking the nearest frame does lose some"
    moments = (found[:, 0] == 1).nonzero()[:, 0] / fps
    peaks = torch.tensor([(start + 1) / 60 for start in starts])
    assert (moments - peaks).abs().max() <= 0.5 / fps + 1e-6


def test_slow_lids_are_sampled_as_they_are(performance: SMPLXFit) -> None:
    expression = torch.zeros(240, 100)
    expression[:, BLINK] = torch.linspace(0, 1, 240)[:, None]
    fit = performance.frames([0] * 240).replace(expression=expression, fps=60.0)
    found = resample_fit(fit, 20).expression[:, BLINK[0]]
    assert torch.allclose(found, torch.linspace(0, 1, 240)[[*range(0, 240, 3), 239]], atol=1e-4)


def test_frames_between_a_seen_and_an_unseen_one_are_not_valid(performance: SMPLXFit) -> None:
    fit = performance.frames(slice(0, 4)).replace(valid=torch.tensor([True, True, False, True]))
    assert resample_fit(fit, 50).valid.tolist() == [True, True, True, False, False, False, True]


@pytest.mark.parametrize(("seen", "unseen"), [(0.0, 1.0), (0.9, 0.0)])
def test_lids_of_frames_without_a_face_are_not_taken_for_a_blink(
    performance: SMPLXFit, seen: float, unseen: float
) -> None:
    expression, valid = torch.zeros(120, performance.expression.shape[1]), torch.ones(120, dtype=torch.bool)
    expression[:, BLINK], valid[61] = seen, False
    expression[61, BLINK] = unseen
    fit = performance.frames([0] * 120).replace(
        expression=expression, valid=valid, fps=60.0, frame_ids=torch.arange(120)
    )
    lids = resample_fit(fit, 30.0).expression[:, BLINK]
    assert torch.allclose(lids, torch.full_like(lids, seen), atol=1e-6)


def test_cameras_turn_and_fly_between_frames(performance: SMPLXFit) -> None:
    fit = performance.frames(slice(0, 2))
    w2c = fit.camera.world_to_camera.clone()
    turn = quaternions.to_matrix(quaternions.from_axis_angle(torch.tensor([0.0, 1.0, 0.0])))
    w2c[1, :3, :3] = turn @ w2c[1, :3, :3]
    w2c[1, :3, 3] = torch.tensor([0.2, 0.0, 0.4])
    moved = resample_fit(fit.replace(camera=fit.camera.replace(world_to_camera=w2c)), 50).camera.world_to_camera
    assert torch.equal(moved[[0, 2]], w2c)
    rotation = moved[1, :3, :3]
    assert torch.allclose(rotation @ rotation.T, torch.eye(3), atol=1e-6)
    # the body is seen on a straight way, and as far turned as it looks
    seen = (moved[:, :3, :3] @ fit.translation[0, :, None])[..., 0] + moved[:, :3, 3]
    assert torch.allclose(seen[1], (seen[0] + seen[2]) / 2, atol=1e-5)
    half = quaternions.difference(*quaternions.from_matrix(moved[:2, :3, :3].transpose(1, 2)))
    assert float(half.norm()) == pytest.approx(0.5, abs=1e-4)


def test_seams_of_fits_with_other_numbers_of_expressions_blend(performance: SMPLXFit) -> None:
    short = performance.replace(expression=performance.expression[:, :60])
    whole = performance.replace(expression=performance.expression.clone())
    whole.expression[:, 60:] = 0
    for one, other in ((short, whole), (whole, short)):
        assert torch.allclose(join_fits(one, other, 0.4).expression, join_fits(whole, whole, 0.4).expression)


def test_landmarks_are_as_sure_as_the_less_sure_frame(performance: SMPLXFit) -> None:
    landmarks = torch.tensor([[[10.0, 20, 0.9]], [[20.0, 40, 0.5]]])
    fit = performance.frames(slice(0, 2)).replace(landmarks=landmarks, landmark_scheme="one")
    between = resample_fit(fit, 50)
    assert torch.allclose(between.landmarks[1], torch.tensor([[15.0, 30, 0.5]])) and between.landmark_scheme == "one"


def test_trimming_keeps_the_numbers_of_the_frames(performance: SMPLXFit) -> None:
    part = trim_fit(performance, 10, 20)
    assert part.frame_ids.tolist() == list(range(10, 20)) and torch.equal(part.poses, performance.poses[10:20])
    assert trim_fit(performance, 70, 1000).num_frames == 2
    for start, stop in ((-1, 3), (5, 5), (72, None)):
        with pytest.raises(ValueError, match="the fit has the frames 0 to 71"):
            trim_fit(performance, start, stop)


def test_seamless_loop_has_no_jump(performance: SMPLXFit) -> None:
    fit = turning(performance, torch.linspace(0, 90, 60))  # ends a quarter turn from where it began
    looped = loop_fit(fit, 3, "seamless", blend=0.8)
    assert looped.num_frames == 3 * 40
    assert steps_degrees(looped).max() < 12, "a quarter turn over 20 frames, eased"
    assert steps_degrees(loop_fit(fit, 2, "repeat")).max() > 89
    one = loop_fit(fit, 1, "seamless", blend=0.8)
    both = steps_degrees(one.frames([one.num_frames - 1, 0]))
    assert both < 3, "its end leads to its beginning in any player"


def test_back_and_forth_sees_neither_end_twice(performance: SMPLXFit) -> None:
    some = performance.frames(slice(4, 8))
    looped = loop_fit(some, 2, "back and forth")
    assert torch.equal(looped.poses, some.frames([0, 1, 2, 3, 2, 1] * 2).poses)
    assert torch.equal(looped.expression, some.frames([0, 1, 2, 3, 2, 1] * 2).expression)
    for few, seen in ((1, [0]), (2, [0, 1])):
        looped = loop_fit(some.frames(slice(0, few)), 3, "back and forth")
        assert torch.equal(looped.expression, some.frames(seen * 3).expression)
    assert loop_fit(performance, 5, "once") is performance
    with pytest.raises(ValueError, match="at most half"):
        loop_fit(performance.frames(slice(0, 4)), 2, "seamless", blend=1)
    with pytest.raises(ValueError, match="expected a whole number of 1 or more"):
        loop_fit(performance, 0, "repeat")
    for how, frames in (("repeat", "72,000,000,000"), ("back and forth", "142,000,000,000")):
        with pytest.raises(ValueError, match=f"{frames} frames, expected at most 1,000,000. Choose fewer rounds"):
            loop_fit(performance.frames(slice(0, 72)), 10**9, how)
    with pytest.raises(ValueError, match="seen 1.5 times, expected a whole number"):
        loop_fit(performance, 1.5, "repeat")
    with pytest.raises(ValueError, match="'round', expected one of once"):
        loop_fit(performance, 2, "round")


def test_joined_fits_glide_into_each_other(performance: SMPLXFit) -> None:
    first, second = turning(performance, torch.zeros(30)), turning(performance, torch.full((30,), 40.0))
    joined = join_fits(first, second, blend=0.8)
    assert joined.num_frames == 40 and 2 < steps_degrees(joined).max() < 4
    cut = join_fits(first, second, blend=0)
    assert cut.num_frames == 60 and steps_degrees(cut)[29] == pytest.approx(40, abs=1e-3)
    assert torch.equal(joined.expression[:10], first.expression[:10])


def test_joined_fits_may_differ_in_the_number_of_expressions(performance: SMPLXFit) -> None:
    """What the shorter one has not is at rest there."""
    short = performance.replace(expression=performance.expression[:, :60])
    for one, other in ((performance, short), (short, performance)):
        joined = join_fits(one, other, blend=0.0).expression
        assert torch.equal(joined[:72, : one.expression.shape[1]], one.expression)
        assert torch.equal(joined[72:, : other.expression.shape[1]], other.expression)
        assert joined.shape == (144, performance.expression.shape[1])


@pytest.mark.parametrize("fps", [8.0, 10.0, 12.5])
def test_lids_beside_the_expression_keep_their_blinks_at_lower_rates(performance: SMPLXFit, fps: float) -> None:
    fit = performance.frames([0] * 200).replace(fps=50.0, frame_ids=None)
    lids = torch.full((200, 2), 0.1)
    for start in (41, 97, 153):
        lids[start : start + 5] = torch.tensor([0.4, 0.9, 1.0, 0.8, 0.3])[:, None]
    slow = resample_fit(fit.replace(eyelids=lids), fps).eyelids
    assert int((slow > 0.95).any(1).sum()) == 3 and slow.min() > 0.05


def test_lenses_are_mixed_between_frames(performance: SMPLXFit) -> None:
    lens = performance.camera.intrinsics[:2].clone()
    lens[1] *= torch.tensor([2.0, 1.5, 1.0])[:, None]
    fit = performance.frames([0, 1])
    between = resample_fit(fit.replace(camera=fit.camera.replace(intrinsics=lens)), 50.0)
    assert torch.allclose(between.camera.intrinsics[1], lens.mean(0))


def test_joined_fits_are_brought_to_one_rate_and_size(performance: SMPLXFit) -> None:
    other = performance.replace(fps=50.0, betas=torch.zeros(60), camera=performance.camera.resized(256, 256))
    joined = join_fits(performance, other, blend=0.0)
    assert joined.num_frames == 72 + 37 and joined.fps == 25 and torch.equal(joined.betas, performance.betas)
    assert joined.image_size == (512, 512)
    assert torch.allclose(joined.camera.intrinsics[80], performance.camera.intrinsics[0])
    with pytest.raises(ValueError, match="different shapes"):
        join_fits(performance, performance.replace(camera=performance.camera.resized(256, 512)))
    with pytest.raises(ValueError, match="same head model"):
        join_fits(performance, performance.replace(expression_space="flame100"))
    with pytest.raises(ValueError, match="shorter"):
        join_fits(performance, performance.frames(slice(0, 3)), blend=1)


def test_gaps_are_filled_on_the_shortest_way(performance: SMPLXFit) -> None:
    fit = turning(performance, torch.tensor([0.0, 170, -90, 999, 40, 40]), (0.0, math.pi - 0.1, 0.0))
    fit = fit.replace(valid=torch.tensor([False, True, False, False, True, False]))
    filled = interpolate_gaps(fit)
    assert steps_degrees(filled).tolist() == pytest.approx([0, 130 / 3, 130 / 3, 130 / 3, 0], abs=1e-2)
    assert torch.equal(filled.valid, fit.valid)
    with pytest.raises(ValueError, match="no frame in which a face was seen"):
        interpolate_gaps(fit.replace(valid=torch.zeros(6, dtype=torch.bool)))


def test_missing_frames_are_inserted_and_marked(performance: SMPLXFit) -> None:
    fit = turning(performance, torch.tensor([0.0, 10, 40, 50])).replace(frame_ids=torch.tensor([7, 8, 11, 12]))
    whole = insert_missing_frames(fit)
    assert whole.frame_ids.tolist() == [7, 8, 9, 10, 11, 12]
    assert whole.valid.tolist() == [True, True, False, False, True, True]
    assert steps_degrees(whole).tolist() == pytest.approx([10] * 5, abs=1e-3)
    assert insert_missing_frames(whole) is whole
    looped = fit.replace(frame_ids=torch.tensor([0, 2, 0, 1]))
    assert insert_missing_frames(looped).frame_ids.tolist() == [0, 1, 2, 0, 1]
    with pytest.raises(ValueError, match="numbering is damaged"):
        insert_missing_frames(fit.replace(frame_ids=torch.tensor([0, 1, 2, 10**9])))


def test_a_retimed_fit_has_nothing_missing(performance: SMPLXFit) -> None:
    """A second Retime must not take the frames that a lower rate leaves out for lost ones."""
    for fit in (resample_fit(performance, 10), resample_fit(performance, 60), loop_fit(performance, 2, "seamless"),
                loop_fit(performance, 2, "back and forth"), join_fits(performance, performance)):  # fmt: skip
        assert insert_missing_frames(fit).num_frames == fit.num_frames


@pytest.mark.parametrize("how", ["repeat", "seamless", "back and forth"])
def test_loops_of_loops_keep_their_time(performance: SMPLXFit, how: str) -> None:
    """A loop played backwards, of numbers that began again, leapt up, and more frames were put in."""
    fit = performance.frames(slice(10, 30))
    for inner in ("repeat", "seamless", "back and forth"):
        looped = loop_fit(fit, 2, inner, 0.2)
        again = loop_fit(looped, 2, how, 0.2)
        length = looped.num_frames
        assert again.num_frames == {"repeat": 2 * length, "seamless": 2 * (length - 5)}.get(how, 2 * (2 * length - 2))
        for made in (looped, again):
            assert made.frame_ids.tolist() == list(range(10, 10 + made.num_frames))
            assert insert_missing_frames(made) is made and trim_fit(made).num_frames == made.num_frames
        assert resample_fit(again, 50).num_frames == 2 * again.num_frames - 1


def test_loops_of_clips_with_gaps_count_on(performance: SMPLXFit) -> None:
    fit = performance.frames([0, 1, 4, 5])
    there = [0, 1, 2, 3, 4, 5, 4, 3, 2, 1]
    looped = loop_fit(fit, 2, "back and forth")
    whole = insert_missing_frames(fit)
    assert torch.equal(looped.poses, whole.frames(there * 2).poses) and looped.num_frames == 20
    assert looped.valid.tolist() == whole.frames(there * 2).valid.tolist()
    assert looped.frame_ids.tolist() == list(range(20))


def test_a_part_without_a_face_has_another_rate_too(performance: SMPLXFit) -> None:
    fit = performance.frames(slice(0, 5)).replace(valid=torch.zeros(5, dtype=torch.bool))
    made = resample_fit(fit, 50)
    assert made.num_frames == 9 and not made.valid.any() and torch.equal(made.expression[::2], fit.expression)


def test_quaternions_and_matrices_agree_also_at_half_turns() -> None:
    vectors = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    vectors[:100] *= math.pi / vectors[:100].norm(dim=1, keepdim=True)  # exactly half turns
    vectors[150:] *= 1e-9
    turned = quaternions.from_axis_angle(vectors)
    again = quaternions.from_matrix(quaternions.to_matrix(turned))
    assert (turned * again).sum(-1).abs().min() > 1 - 1e-9
    back = quaternions.from_axis_angle(quaternions.to_axis_angle(turned))
    assert (turned * back).sum(-1).abs().min() > 1 - 1e-9
    assert torch.allclose(quaternions.to_axis_angle(turned)[150:], vectors[150:], rtol=1e-6)


def test_a_head_that_only_nods_is_resampled_at_its_joint_alone(performance: SMPLXFit) -> None:
    resampled = resample_fit(performance, 60)
    assert not resampled.poses[:, list(range(1, 12))].any() and resampled.poses[:, HEAD].any()


def holed(performance: SMPLXFit) -> SMPLXFit:
    """One degree a frame, ten seconds at 10 a second, without the frames 20 to 39 and 70."""
    fit = turning(performance, torch.arange(100.0)).replace(fps=10.0)
    return fit.frames([i for i in range(100) if not 20 <= i < 40 and i != 70]).replace(betas=fit.betas)


def missing_of(fit: SMPLXFit) -> int:
    return int((~fit.valid).sum())


@pytest.mark.parametrize("fps", [5.0, 20.0, 29.97])
def test_gaps_of_the_numbering_stay_times_at_another_rate(performance: SMPLXFit, fps: float) -> None:
    fit = holed(performance)
    made = resample_fit(fit, fps)
    whole = resample_fit(insert_missing_frames(fit), fps)
    assert made.num_frames == whole.num_frames == round(99 * fps / 10) + 1
    assert torch.equal(made.poses, whole.poses) and torch.equal(made.valid, whole.valid)
    assert torch.equal(made.frame_ids, torch.arange(made.num_frames))
    inside = steps_degrees(made)[:-1]
    assert torch.allclose(inside, torch.full_like(inside, 10 / fps), atol=1e-2), "the speed stays"
    seen = 10 * made.frame_ids / fps
    assert not made.valid[(seen > 19.01) & (seen < 39.99)].any() and made.valid[seen < 19].all()


def test_trimming_counts_the_frames_that_are_missing(performance: SMPLXFit) -> None:
    fit = holed(performance)
    whole = insert_missing_frames(fit)
    for start, stop in ((0, None), (10, 30), (25, 35), (30, 50), (70, 71), (69, 72), (99, 100), (0, 5000)):
        part, expected = trim_fit(fit, start, stop), whole.frames(slice(start, stop))
        assert part.frame_ids.tolist() == expected.frame_ids.tolist() == list(range(start, min(stop or 100, 100)))
        assert torch.equal(part.valid, expected.valid) and torch.allclose(part.poses, expected.poses, atol=1e-6)
    with pytest.raises(ValueError, match="the fit has the frames 0 to 99"):
        trim_fit(fit, 100)
    damaged = fit.replace(frame_ids=torch.cat([fit.frame_ids[:-1], torch.tensor([10**9])]))
    assert trim_fit(damaged, 0, 50).num_frames == 50, "a part before the hole"


def test_loops_and_joins_keep_the_length_of_clips_with_gaps(performance: SMPLXFit) -> None:
    fit = holed(performance)
    assert loop_fit(fit, 2, "repeat").num_frames == 200 and missing_of(loop_fit(fit, 2, "repeat")) == 42
    assert loop_fit(fit, 1, "back and forth").num_frames == 198
    assert loop_fit(fit, 2, "seamless", blend=1.0).num_frames == 180
    assert loop_fit(fit, 1, "once") is fit
    for first, second in ((fit, fit), (performance.replace(fps=10.0), fit), (fit, performance.replace(fps=10.0))):
        lengths = [100 if part is fit else 72 for part in (first, second)]
        cut = join_fits(first, second, blend=0.0)
        assert cut.num_frames == sum(lengths) and missing_of(cut) == 21 * ((first is fit) + (second is fit))
        assert cut.frame_ids.tolist() == list(range(sum(lengths)))
        assert join_fits(first, second, blend=1.0).num_frames == sum(lengths) - 10
        assert insert_missing_frames(cut) is cut
    with pytest.raises(ValueError, match="10000000 rounds of 100 frames"):
        loop_fit(fit, 10**7, "repeat")


def test_a_seam_is_no_gap(performance: SMPLXFit) -> None:
    """The second clip's numbers begin far after the first's end."""
    first, second = trim_fit(performance, 0, 20), trim_fit(performance, 50, 70)
    for blend in (0.0, 0.4, 0.8):
        joined = join_fits(first, second, blend)
        assert insert_missing_frames(joined) is joined and joined.num_frames == 40 - round(25 * blend)
        assert resample_fit(joined, 50).num_frames == 2 * joined.num_frames - 1


def test_frames_without_a_face_lie_where_their_numbers_say(performance: SMPLXFit) -> None:
    fit = turning(performance, torch.tensor([0.0, 999, 40])).replace(frame_ids=torch.tensor([0, 3, 4]))
    filled = interpolate_gaps(fit.replace(valid=torch.tensor([True, False, True])))
    assert steps_degrees(filled).tolist() == pytest.approx([30, 10], abs=1e-3)


@pytest.mark.parametrize("method", ["gaussian", "savitzky-golay", "one euro"])
def test_smoothing_knows_the_gaps(performance: SMPLXFit, method: str) -> None:
    fit = holed(performance)
    smooth = smooth_fit(fit, 0.5, method)
    whole = smooth_fit(insert_missing_frames(fit), 0.5, method)
    assert torch.equal(smooth.frame_ids, fit.frame_ids) and smooth.valid.all()
    assert torch.equal(smooth.poses, whole.poses[fit.frame_ids])
    counting = fit.replace(frame_ids=fit.frame_ids * 33_333_333)  # nanoseconds, say
    assert smooth_fit(counting, 0.5, method).num_frames == 79
