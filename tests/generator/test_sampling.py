from __future__ import annotations

import pytest
import torch

from expportrait_core.generator.sampling import euler, flow_sigmas


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_perfect_network_gives_the_picture(steps):
    random = torch.Generator().manual_seed(0)
    truth, noise = torch.randn(2, 4, generator=random), torch.randn(2, 4, generator=random)
    seen = []

    def predict(x, t):
        seen.append((x - ((1 - t) * truth + t * noise)).abs().max())  # every x lies on the straight path
        return truth

    assert torch.equal(euler(predict, noise, flow_sigmas(steps)), truth)
    assert max(seen) < 1e-5
    assert len(seen) == steps


def test_one_step_returns_the_prediction_itself():
    noise = torch.ones(3)
    assert torch.equal(euler(lambda x, t: x * t * 0.5, noise, flow_sigmas(1)), noise * 0.5)


def test_sigmas_fall_from_one_to_zero_and_lean_towards_noise():
    sigmas = flow_sigmas(4, shift=3.0)
    assert sigmas[0] == 1
    assert sigmas[-1] == 0
    assert (sigmas[:-1] > sigmas[1:]).all()
    assert (sigmas[1:-1] > torch.tensor([0.75, 0.5, 0.25])).all()
    assert torch.allclose(flow_sigmas(4, shift=1.0), torch.linspace(1, 0, 5))


def test_cancelling_stops_before_the_next_step():
    calls = []

    def cancel(done, total, preview):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        euler(lambda x, t: calls.append(t) or x, torch.ones(1), flow_sigmas(3), cancel)
    assert len(calls) == 1


@pytest.mark.parametrize("sigmas", [[1.0], [1.0, 0.5], [0.5, 0.7, 0.0], [1.2, 0.0]])
def test_bad_sigmas_are_refused(sigmas):
    with pytest.raises(ValueError, match="expected decreasing numbers"):
        euler(lambda x, t: x, torch.ones(1), torch.tensor(sigmas))
    with pytest.raises(ValueError, match="steps is 0"):
        flow_sigmas(0)
