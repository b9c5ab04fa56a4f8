"""When the rows of a recording were: rates, gaps, rows that are there twice, out of order or without a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from expportrait_core.fit import load_fit

from .test_arkit import HEADER, clock


def table(path: Path, times: list[object], column: str = "Timecode", faces: list[float] | None = None) -> Path:
    """A recording with these times, whose jaw says which frame a row is of."""
    jaw = HEADER.index("JawOpen")
    lines = [",".join((column, "BlendShapeCount", *HEADER))]
    for time, face in zip(times, faces or np.linspace(0.1, 0.9, len(times)), strict=True):
        values = ["0.01"] * len(HEADER)
        values[jaw] = f"{face:.6f}"
        lines.append(f"{time},61,{','.join(values)}")
    path.write_text("\n".join(lines))
    return path


def codes(count: int, fps: int = 30, start: int = 47_000) -> list[str]:
    return [clock(start + i // fps, i % fps + 0.042) for i in range(count)]


def without(values: list, *places: int) -> list:
    return [value for place, value in enumerate(values) if place not in places]


@pytest.mark.parametrize("unreadable", ["", "n/a", "13:99:40:15.042", "25", "12:03"])
@pytest.mark.parametrize("place", [0, 1, 40, 89])
def test_one_time_that_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, unreadable: str, place: int
) -> None:
    times = codes(90)
    times[place] = unreadable
    fit = load_fit(table(tmp_path / "a.csv", times))
    assert fit.fps == 30 and fit.frame_ids.tolist() == list(range(90)) and fit.valid.all()
    assert f"a.csv: Timecode cannot be read in row {place + 2} ('{unreadable}')" in caplog.text
    assert "lacks" not in caplog.text and "left out" not in caplog.text


def test_gaps_and_reversed_rows_show_beside_times_that_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    times = without(codes(90), 50, 51, 52)
    times[20] = times[49] = ""  # the second one just before the gap, somewhere in its place
    fit = load_fit(table(tmp_path / "a.csv", times))
    ids = fit.frame_ids.tolist()
    assert fit.fps == 30 and ids[:49] == list(range(49)) and ids[50:] == list(range(53, 90)) and 48 < ids[49] < 53
    assert "cannot be read in rows 22, 51 ('')" in caplog.text and "lacks 3 of its frames" in caplog.text
    times[60], times[61] = times[61], times[60]
    with pytest.raises(ValueError, match=r"goes back in time: row 63 is of .*, after .* in row 62, .* Export it again"):
        load_fit(table(tmp_path / "a.csv", times))


SECONDS = [("Timecode", 1.0), ("time", 1.0), ("timestamp", 1.0), ("Time (s)", 1.0), ("timestamp_ms", 1e3),
           ("timestamp", 1e6), ("timestampNs", 1e9)]  # fmt: skip


@pytest.mark.parametrize(("column", "unit"), SECONDS)
@pytest.mark.parametrize("fps", [24, 25, 30, 60, 48.7])
@pytest.mark.parametrize("start", [0.0, 1_700_000_000.0])
def test_times_in_seconds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str, unit: float, fps: float, start: float
) -> None:
    every = [f"{(start + i / fps) * unit:.6f}" if unit == 1 else str(round((start + i / fps) * unit))
             for i in range(120)]  # fmt: skip
    fit = load_fit(table(tmp_path / "a.csv", every, column))
    assert fit.fps == pytest.approx(fps, rel=1e-3) and fit.frame_ids.tolist() == list(range(120))
    assert fit.fps == fps or fps == 48.7
    assert not caplog.text
    gone = without(every, 30, 31, 77)
    gone[100] = "?"
    fit = load_fit(table(tmp_path / "b.csv", gone, column))
    assert fit.frame_ids.tolist() == without(list(range(120)), 30, 31, 77) and fit.fps == pytest.approx(fps, rel=1e-3)
    assert "lacks 3 of its frames, the first is 30" in caplog.text and "cannot be read in row 102 ('?')" in caplog.text
    gone[5], gone[6] = gone[6], gone[5]
    with pytest.raises(ValueError, match="goes back in time: row 8 is of"):
        load_fit(table(tmp_path / "c.csv", gone, column))


def test_times_of_day_and_dates(tmp_path: Path) -> None:
    start = 23 * 3600 + 59 * 60 + 59
    day = [f"{int(t) // 3600 % 24:02d}:{int(t) // 60 % 60:02d}:{t % 60:06.3f}" for t in start + np.arange(90) / 30]
    for times in day, [f"2024-03-01T{time}Z" for time in day]:
        fit = load_fit(table(tmp_path / "a.csv", times, "timestamp"))
        assert fit.fps == 30 and fit.frame_ids.tolist() == list(range(90))


def test_rates_of_television_and_clocks_that_tremble(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fps = 30_000 / 1001
    fit = load_fit(table(tmp_path / "a.csv", [f"{i / fps:.4f}" for i in range(2000)], "time"))
    assert fit.fps == pytest.approx(fps) and fit.frame_ids.tolist() == list(range(2000))
    rng = np.random.default_rng(0)
    uneven = np.arange(2000) / 60 + rng.uniform(-0.3, 0.3, 2000) / 60
    uneven[1000:] += 3 / 60
    fit = load_fit(table(tmp_path / "b.csv", [f"{t:.5f}" for t in uneven], "time"))
    assert fit.fps == 60 and fit.frame_ids.tolist() == [*range(1000), *range(1003, 2003)]
    assert "left out" not in caplog.text


def test_a_gap_and_a_row_that_is_there_twice_do_not_cancel(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [*range(20), 19, *range(20, 60), *range(61, 90)]  # 19 twice, 60 lost
    for column, times in (("Timecode", codes(90)), ("time", [f"{i / 30:.4f}" for i in range(90)])):
        caplog.clear()
        fit = load_fit(table(tmp_path / "a.csv", [times[i] for i in rows], column, [i / 100 for i in rows]))
        assert fit.fps == 30 and fit.frame_ids.tolist() == [*range(60), *range(61, 90)]
        assert np.allclose(fit.jaw_pose[:, 0] / 0.4, fit.frame_ids / 100, atol=1e-5)
        assert "a.csv: row 22 is of the same time as the rows before, and left out" in caplog.text
        assert "lacks 1 of its frames, the first is 60" in caplog.text


def test_a_time_that_was_rounded_too_far_keeps_its_face(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for change in (41, 40), (40, 41):
        times = codes(90)
        times[change[0]] = times[change[1]]
        fit = load_fit(table(tmp_path / "a.csv", times))
        assert fit.frame_ids.tolist() == list(range(90)) and not caplog.text


def test_rows_that_share_timecodes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    times = [clock(47_000 + i // 60, i // 2 % 30) for i in range(180)]
    for place in (0, 1, 40, 41, 179):
        caplog.clear()
        lost = list(times)
        lost[place] = ""
        fit = load_fit(table(tmp_path / "a.csv", lost))
        assert fit.fps == 60 and fit.frame_ids.tolist() == list(range(180)), place
        assert "lacks" not in caplog.text and "left out" not in caplog.text
    caplog.clear()
    rows = [*range(51), 50, *range(51, 100), *range(104, 180)]  # 50 twice, two timecodes lost
    fit = load_fit(table(tmp_path / "a.csv", [times[i] for i in rows], faces=[i / 200 for i in rows]))
    assert fit.frame_ids.tolist() == [*range(100), *range(104, 180)]
    assert "row 53 is of the same time" in caplog.text and "lacks 4 of its frames, the first is 100" in caplog.text
    caplog.clear()
    slower = [clock(47_000 + i // 60, int(i % 60 / 2.5)) for i in range(300)]  # faces at 60, timecode at 24
    fit = load_fit(table(tmp_path / "b.csv", slower))
    assert fit.fps == 60 and fit.frame_ids.tolist() == list(range(300)) and not caplog.text


@pytest.mark.parametrize("every", [2, 3, 5])
def test_many_times_that_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture, every: int) -> None:
    shared = [clock(47_000 + i // 60, i // 2 % 30) for i in range(301)]
    for times, fps in ((codes(301), 30), (codes(301, 60), 60), ([f"{i / 25:.3f}" for i in range(301)], 25),
                       (shared, 60)):  # fmt: skip
        times = [time if place % every else "" for place, time in enumerate(times)]
        fit = load_fit(table(tmp_path / "a.csv", times))
        assert fit.fps == fps and fit.frame_ids.tolist() == list(range(301))
    assert "lacks" not in caplog.text and "left out" not in caplog.text


@pytest.mark.parametrize(
    ("times", "column", "why"),
    [
        (codes(20), "Timecode", "a.csv does not say its frame rate: 60"),
        (["00:00:00:00.000"] * 20, "Timecode", "for Timecode is 00:00:00:00.000 in all rows: its rows are counted"),
        ([""] * 20, "Timecode", "for it has no times: its rows are counted, and 60"),
        (["x"] * 19 + ["13:59:40:15.042"], "Timecode", "for it has one time: its rows are counted, and 60"),
        (range(20), "frame", "a.csv does not say its frame rate: 60"),
        (range(20), "mood", "for it has no times: its rows are counted, and 60"),
        (range(0, 400, 20), "Timecode", None),  # milliseconds at 50
    ],
)
def test_where_no_rate_is_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, times: list, column: str, why: str | None
) -> None:
    fit = load_fit(table(tmp_path / "a.csv", list(times), column))
    assert (f"{why}" in caplog.text and fit.fps == 60) if why else "rate" not in caplog.text
    caplog.clear()
    assert load_fit(tmp_path / "a.csv", fps=30).fps == 30 and "rate" not in caplog.text


def test_numbers_of_frames_keep_their_gaps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fit = load_fit(table(tmp_path / "a.csv", [7, 8, 9, 12, 12, 13], "Frame", [0.1, 0.2, 0.3, 0.4, 0.4, 0.5]))
    assert fit.frame_ids.tolist() == [0, 1, 2, 5, 6] and "lacks 2 of its frames" in caplog.text
    assert "row 6 is of the same time" in caplog.text


def test_times_of_two_takes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"leaps on by 2\.0 hours: row 42 is of .* in row 41"):
        load_fit(table(tmp_path / "a.csv", codes(40) + codes(40, start=54_200)))
    with pytest.raises(ValueError, match="goes back in time: row 42 is of 00:00:00:00.042"):  # that is no midnight
        load_fit(table(tmp_path / "a.csv", codes(40, start=50_000) + codes(40, start=0)))
    fit = load_fit(table(tmp_path / "a.csv", [*codes(60), "13:03:22:99.042", *codes(40, start=47_003)]))
    assert fit.fps == 30, "one timecode that no other goes with"
