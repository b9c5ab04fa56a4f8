"""The preview's compiled passes against their plain twins, and frames that are drawn at once."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from expportrait_core.generator.preview import layering
from expportrait_core.render import workers

HEIGHT, WIDTH = 23, 31


@pytest.fixture
def draw() -> np.random.Generator:
    pytest.importorskip("numba")
    return np.random.default_rng(0)


def maps(draw: np.random.Generator, *channels: int, low: float = -0.2, high: float = 1.2) -> np.ndarray:
    return draw.uniform(low, high, (HEIGHT, WIDTH, *channels)).astype(np.float32)


def test_trust(draw) -> None:
    steep, behind = maps(draw), maps(draw, low=-0.005, high=0.01)
    rims, changed = maps(draw, 4, low=0, high=1), np.array([0.3, 0.0, 1.0], np.float32)
    fast = layering.trusted(steep, behind, rims, changed, (0.0015, 0.004))
    plain = layering.trusted_plainly(
        steep, behind, rims, changed, (layering.UNTURNED, layering.STRETCH, (0.004, 0.0015))
    )
    for ours, theirs in zip(fast, plain, strict=True):
        assert 0.05 < theirs.mean() < 0.9
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_mixture(draw) -> None:
    given = (
        maps(draw, 4),
        maps(draw, 4),
        *(maps(draw, low=0, high=1) for _ in range(4)),
        maps(draw, low=0.5, high=1.5),
    )
    given[4][:3] = 0  # nothing is known
    before = [g.copy() for g in given]
    fast, plain = layering.mixed(*given), layering.mixed_plainly(*given)
    for ours, theirs in zip(fast, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
    assert all((a == b).all() for a, b in zip(given, before)), "what is given is left alone"


def test_order(draw) -> None:
    whole = maps(draw, 4, low=0, high=1)
    sheet = np.pad(whole, ((2, 2), (3, 3), (0, 0)))[2:-2, 3:-3]  # a part of a picture, as it comes
    depths = (maps(draw, low=0.5, high=0.54) for _ in range(2))
    given = (maps(draw, 4, low=0, high=1), sheet, *depths, *(maps(draw, low=0, high=1) for _ in range(3)))
    for ours, theirs in zip(layering.in_order(*given), layering.in_order_plainly(*given), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_background(draw) -> None:
    given = (maps(draw, 3), maps(draw, low=0, high=1), maps(draw, 2, low=-1.5, high=1.5), maps(draw, 3), maps(draw, 3))
    fast, plain = layering.over_background(*given, (0.25, 1.5)), layering.over_background_plainly(*given, (0.25, 1.5))
    np.testing.assert_allclose(fast, plain, atol=2e-6)
    assert fast.min() == 0 and fast.max() == 1


def test_without_numba_the_plain_ones_are_taken(draw, monkeypatch: pytest.MonkeyPatch) -> None:
    given = (maps(draw, 3), maps(draw, low=0, high=1), maps(draw, 2), maps(draw, 3), maps(draw, 3))
    fast = layering.over_background(*given, (0.25, 1.5))
    monkeypatch.setattr(layering, "can_compile", lambda: False)
    monkeypatch.setattr(layering, "lay_pixels", None)
    np.testing.assert_allclose(layering.over_background(*given, (0.25, 1.5)), fast, atol=2e-6)


# ---------------------------------------------------------------------------------------------------- frames at once


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_frames_come_in_their_order_and_two_are_drawn_at_once(two_threads) -> None:
    both, taken = threading.Barrier(2), []

    def jobs():
        for number in range(6):
            taken.append(number)
            yield (number,)

    def draw_one(number: int) -> tuple[int, int]:
        both.wait(timeout=20)  # would break if only one frame were drawn at a time
        return number, torch.get_num_threads()

    found = []
    for number, threads in workers.in_order(draw_one, jobs()):
        found.append(number)
        assert len(taken) <= number + 4 and threads == 1
    assert found == list(range(6)) and torch.get_num_threads() == 2


def test_an_error_and_a_cancelled_walk_put_the_threads_back(two_threads) -> None:
    with pytest.raises(ZeroDivisionError):
        list(workers.in_order(lambda number: 1 / number, ((number,) for number in (1, 0, 1))))
    assert torch.get_num_threads() == 2
    walk = workers.in_order(lambda number: number, ((number,) for number in range(9)))
    assert next(walk) == 0
    walk.close()
    assert torch.get_num_threads() == 2


def test_with_one_thread_everything_happens_in_the_callers(two_threads) -> None:
    torch.set_num_threads(1)
    found = set(workers.in_order(lambda _: threading.current_thread().name, ((n,) for n in range(3))))
    assert found == {threading.current_thread().name}
