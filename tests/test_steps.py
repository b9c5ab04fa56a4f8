"""What the command line shows of a walk, and the seconds that its report holds."""

from __future__ import annotations

import io
import time

import pytest

from expportrait_core.steps import REFRESH, Steps


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_seconds_of_a_step_that_comes_twice_add_up() -> None:
    steps = Steps()
    for _ in range(2):
        with steps("render"):
            time.sleep(0.01)
    assert list(steps.seconds) == ["render"] and steps.seconds["render"] >= 0.02


def test_a_log_gets_one_line_per_step_and_a_terminal_a_line_that_counts() -> None:
    log, terminal = io.StringIO(), Terminal()
    for stream in (log, terminal):
        with Steps(stream)("render") as progress:
            time.sleep(REFRESH)
            progress(3, 8, None)
    assert len(log.getvalue().splitlines()) == 1 and "3/8" not in log.getvalue()
    assert "3/8" in terminal.getvalue() and terminal.getvalue().count("\n") == 1


def test_a_step_that_fails_says_so_and_passes_the_error_on() -> None:
    log = io.StringIO()
    with pytest.raises(ValueError, match="no face"), Steps(log)("track"):
        raise ValueError("no face")
    assert "stopped" in log.getvalue()
