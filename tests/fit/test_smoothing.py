"""Smoothing and gaps: what must not change does not, and what is smoothed stays a rotation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.signal import savgol_filter

from expportrait_core.assets import PERFORMANCE
from expportrait_core.body import axis_angle_to_matrix
from expportrait_core.fit import load_fit, quaternions, smooth_fit
from expportrait_core.fit.edit.expression_names import default_names
from expportrait_core.fit.edit.filters import savitzky_golay
from expportrait_core.fit.edit.smoothing import METHODS, jitter
from expportrait_core.types import HEAD

FPS, FRAMES = 25.0, 160
BLINK = default_names().index("eyeBlinkLeft")


@pytest.fixture(scope="module")
def performance():
    return load_fit(PERFORMANCE)


def test_no_strength_changes_nothing(performance) -> None:
    assert smooth_fit(performance, 0) is performance


def test_more_strength_moves_less(performance) -> None:
    def roughness(fit):
        return fit.expression.diff(dim=0).norm()

    half, whole = smooth_fit(performance, 0.5), smooth_fit(performance, 1)
    assert roughness(performance) > roughness(half) > roughness(whole)
    matrices = axis_angle_to_matrix(whole.poses)
    assert torch.allclose(matrices @ matrices.transpose(-1, -2), torch.eye(3).expand_as(matrices), atol=1e-5)


def test_a_still_clip_stays_still(performance) -> None:
    still = performance.frames([3] * 9)
    smoothed = smooth_fit(still, 1)
    for name in ("expression", "poses", "translation"):
        assert torch.allclose(getattr(smoothed, name), getattr(still, name), atol=1e-5)


def test_frames_without_a_face_count_as_nothing(performance) -> None:
    still = performance.frames([3] * 9)
    expression, valid = still.expression.clone(), still.valid.clone()
    expression[4], valid[4] = 100, False
    assert torch.allclose(
        smooth_fit(still.replace(expression=expression, valid=valid), 1).expression, still.expression, atol=1e-4
    )


# ------------------------------------------------------------------------------------------------- made-up still heads


def trembling(performance, yaw: torch.Tensor | float = 0.0, degrees: float = 0.3, joint: int = HEAD, under=None):
    """A head that turns by `yaw` [F] and trembles, `under` a fixed rotation of everything."""
    generator = torch.Generator().manual_seed(4)
    turn = torch.zeros(FRAMES, 3)
    turn[:, 1] = yaw
    noise = torch.randn(FRAMES, 3, generator=generator) * math.radians(degrees)
    turned = quaternions.multiply(quaternions.from_axis_angle(turn), quaternions.from_axis_angle(noise))
    if under is not None:
        turned = quaternions.multiply(under, turned)
    poses = torch.zeros(FRAMES, 55, 3)
    poses[:, joint] = quaternions.to_axis_angle(turned)
    return performance.frames([0] * FRAMES).replace(poses=poses, expression=torch.zeros(FRAMES, 100))


def tremor_degrees(fit, joint: int = HEAD) -> float:
    turned = quaternions.from_axis_angle(fit.poses[:, joint])
    middle = turned[FRAMES // 2 : FRAMES // 2 + 1]
    off = quaternions.difference(middle.expand_as(turned), turned)
    return math.degrees(float((off - off.mean(0)).norm(dim=-1).pow(2).mean().sqrt()))


@pytest.mark.parametrize("method", METHODS)
def test_trembling_goes(performance, method: str) -> None:
    shaken = trembling(performance)
    for keep_fast in (False, True):
        assert tremor_degrees(smooth_fit(shaken, 1, method, True, keep_fast)) < 0.4 * tremor_degrees(shaken)


@pytest.mark.parametrize("method", METHODS)
def test_the_world_may_be_turned_first(performance, method: str) -> None:
    """A half turn, as trackers with an OpenCV camera have it, must not matter: raw axis-angle numbers jump there."""
    half = quaternions.from_axis_angle(torch.tensor([math.pi, 0.0, 0.0]))
    plain, turned = (trembling(performance, degrees=2, joint=0, under=under) for under in (None, half))
    assert (turned.poses[1:, 0] - turned.poses[:-1, 0]).norm(dim=1).max() > 6, "the numbers do jump"
    expected = quaternions.multiply(half, quaternions.from_axis_angle(smooth_fit(plain, 0.6, method).poses[:, 0]))
    found = quaternions.from_axis_angle(smooth_fit(turned, 0.6, method).poses[:, 0])
    assert quaternions.difference(expected, found).norm(dim=1).max() < 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_fast_motion_keeps_its_height_and_its_moment(performance, method: str) -> None:
    time = torch.arange(FRAMES) / FPS
    shake = math.radians(20) * torch.sin(4 * math.pi * time) * ((time > 2) & (time < 4.5))  # twice a second
    smooth = smooth_fit(trembling(performance, shake), 1, method, keep_fast=True).poses[:, HEAD, 1]
    assert smooth.abs().max() > 0.9 * math.radians(20)
    assert (smooth[50:110] - shake[50:110]).abs().max() < math.radians(2.5), "as strong at every moment: no lag"
    blurred = smooth_fit(trembling(performance, shake), 1, "gaussian").poses[:, HEAD, 1]
    assert blurred.abs().max() < 0.2 * math.radians(20), "without the guard it is gone, so the guard is what keeps it"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("degrees", [3.0, 7.2, 14.4])
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_even_motion_goes_on_evenly_up_to_the_ends(performance, method: str, degrees: float, strength: float) -> None:
    """A head that spins up to once a second: over the width of a filter that is more than half a turn."""
    yaw = math.radians(degrees) * torch.arange(FRAMES)
    spin = trembling(performance, yaw, degrees=0.0, joint=0)
    ramp = torch.linspace(0, 1, FRAMES)
    spin = spin.replace(translation=0.5 * ramp[:, None].expand(-1, 3))
    smooth = smooth_fit(spin, strength, method)
    before, after = (quaternions.from_axis_angle(fit.poses[:, 0]) for fit in (spin, smooth))
    late = method == "one euro"  # a little of what moves is taken for noise
    assert torch.rad2deg(quaternions.difference(before, after).norm(dim=1)).max() < (0.12 if late else 0.05)
    assert (smooth.translation - spin.translation).abs().max() < (4e-4 if late else 1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_more_strength_gives_no_trembling_back(performance, method: str, strength: float) -> None:
    """A head that swings, not fast: where the strongest would blur that, what trembles is smoothed all the same."""
    time = torch.arange(FRAMES) / FPS
    shaken = trembling(performance, math.radians(20) * torch.sin(2 * math.pi * time / 3))

    def rough(fit) -> float:
        return float(fit.poses[10:-10, HEAD].diff(n=3, dim=0).square().mean().sqrt())

    kept = smooth_fit(shaken, strength, method, keep_fast=True)
    assert rough(kept) < (0.65 if method == "one euro" else 0.15) * rough(shaken)
    assert (kept.poses[:, HEAD, 1] - shaken.poses[:, HEAD, 1]).abs().max() < math.radians(1.9)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_said_and_where_heads_go_keeps_its_height_too(performance, method: str) -> None:
    """As fast rotations do: a word of a quarter of a second, and a step aside."""
    time = torch.arange(FRAMES) / FPS
    burst = ((time > 2) & (time < 4.5)) * torch.sin(4 * math.pi * time)
    noise = 0.004 * torch.randn(FRAMES, 4, generator=torch.Generator().manual_seed(6))
    expression = torch.zeros(FRAMES, 100)
    expression[:, 60] = 0.5 * burst + noise[:, 0]
    fit = performance.frames([0] * FRAMES)
    fit = fit.replace(
        expression=expression, translation=0.1 * burst[:, None] * torch.tensor([1.0, 0, 0]) + 0.1 * noise[:, 1:]
    )
    kept, blurred = (smooth_fit(fit, 1, method, keep_fast=keep) for keep in (True, False))
    assert (kept.expression[:, 60] - 0.5 * burst).abs().max() < 0.06
    assert (kept.translation[:, 0] - 0.1 * burst).abs().max() < 0.006
    if method != "one euro":  # which opens by itself
        assert (blurred.expression[:, 60] - 0.5 * burst).abs().max() > 0.15
        assert (blurred.translation[:, 0] - 0.1 * burst).abs().max() > 0.03


def test_the_ends_tremble_less_too(performance) -> None:
    """A hundred numbers tremble; the ends have neighbours to one side only, and are smoothed all the same."""
    noise = torch.randn(FRAMES, 100, generator=torch.Generator().manual_seed(3))
    smooth = smooth_fit(performance.frames([0] * FRAMES).replace(expression=noise), 1, "gaussian").expression
    assert smooth[60:100].std() < 0.25
    for end in (0, -1):
        assert smooth[end].std() < 0.6 * noise[end].std()


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_what_opens_begins_as_it_goes_on(performance, strength: float) -> None:
    """Cut out of a longer clip, motion is smoothed at the new ends much as it was, and trembling is smoothed there."""
    there_and_back = [*range(72), *range(70, 0, -1)] * 2
    whole = performance.frames(there_and_back)
    far = []
    for start in range(20, 160, 20):
        part = whole.frames(list(range(start, start + 70)))
        smooth = smooth_fit(part, strength, "one euro", True)
        before, after = (quaternions.from_axis_angle(fit.poses[[0, 1, -2, -1], HEAD]) for fit in (part, smooth))
        far.append(quaternions.difference(before, after).norm(dim=1))
    assert torch.rad2deg(torch.stack(far).square().mean().sqrt()) < (0.21 if strength < 1 else 0.5)
    noise = torch.randn(FRAMES, 100, generator=torch.Generator().manual_seed(3)) * 0.02
    smooth = smooth_fit(performance.frames([0] * FRAMES).replace(expression=noise), strength, "one euro").expression
    for end in (0, -1):
        assert smooth[end].std() < 0.85 * noise[end].std()


@pytest.mark.parametrize("method", METHODS)
def test_blinks_keep_their_height_where_they_are_to_be_kept(performance, method: str) -> None:
    fit = trembling(performance)
    lid = torch.zeros(FRAMES)
    for start in range(20, 150, 30):
        lid[start : start + 5] = torch.tensor([0.5, 1, 1, 0.7, 0.3])
    noise = 0.02 * torch.randn(FRAMES, generator=torch.Generator().manual_seed(1))
    expression = fit.expression.clone()
    expression[:, BLINK] = lid + noise
    fit = fit.replace(expression=expression)
    kept, lost = (smooth_fit(fit, 1, method, keep).expression[:, BLINK] for keep in (True, False))
    for start in range(20, 150, 30):
        assert kept[start : start + 5].max() > 0.95 > lost[start : start + 5].max()
    assert kept[:15].std() < 0.6 * expression[:15, BLINK].std(), "between blinks the lids are smoothed"


def test_jitter_is_measured_in_spite_of_motion(performance) -> None:
    time = torch.arange(400) / FPS
    for degrees in (0.1, 1.0):
        noise = torch.randn(400, 1, generator=torch.Generator().manual_seed(2)) * degrees
        steps = (20 * torch.sin(2 * math.pi * 0.7 * time)[:, None] + noise).diff(dim=0)
        found = float(jitter(steps, torch.ones(400, dtype=torch.bool)))
        assert found == pytest.approx(degrees, rel=0.2, abs=0.05)
    assert jitter(torch.zeros(3, 2), torch.ones(4, dtype=torch.bool)).tolist() == [0, 0]


@pytest.mark.parametrize(("frames", "reach"), [(40, 2), (40, 7), (6, 20), (3, 1), (2, 4)])
def test_polynomials_are_those_of_scipy(frames: int, reach: int) -> None:
    values = torch.randn(frames, 3, generator=torch.Generator().manual_seed(0))
    inside = min(reach, (frames - 1) // 2)
    expected = savgol_filter(values.numpy(), 2 * inside + 1, min(3, 2 * inside), axis=0, mode="interp")
    assert np.allclose(savitzky_golay(frames, reach).numbers(values), expected, atol=1e-4)


def test_unknown_methods_and_strengths_are_refused(performance) -> None:
    with pytest.raises(ValueError, match="'magic', expected one of one euro"):
        smooth_fit(performance, 1, "magic")
    for strength in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="expected 0 or more"):
            smooth_fit(performance, strength)
