"""Live Link Face and other ARKit recordings."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.body import axis_angle_to_matrix, pose_vertices
from expportrait_core.fit import load_fit
from expportrait_core.fit.formats.arkit import JAW_OPEN, UNITS
from expportrait_core.types import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, HeadModel

# the app's own order, jaw and mouth right before left
ORDER = (
    "EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft,EyeLookOutLeft,EyeLookUpLeft,EyeSquintLeft,EyeWideLeft,EyeBlinkRight,"
    "EyeLookDownRight,EyeLookInRight,EyeLookOutRight,EyeLookUpRight,EyeSquintRight,EyeWideRight,JawForward,JawRight,"
    "JawLeft,JawOpen,MouthClose,MouthFunnel,MouthPucker,MouthRight,MouthLeft,MouthSmileLeft,MouthSmileRight,"
    "MouthFrownLeft,MouthFrownRight,MouthDimpleLeft,MouthDimpleRight,MouthStretchLeft,MouthStretchRight,MouthRollLower,"
    "MouthRollUpper,MouthShrugLower,MouthShrugUpper,MouthPressLeft,MouthPressRight,MouthLowerDownLeft,"
    "MouthLowerDownRight,MouthUpperUpLeft,MouthUpperUpRight,BrowDownLeft,BrowDownRight,BrowInnerUp,BrowOuterUpLeft,"
    "BrowOuterUpRight,CheekPuff,CheekSquintLeft,CheekSquintRight,NoseSneerLeft,NoseSneerRight,TongueOut,HeadYaw,"
    "HeadPitch,HeadRoll,LeftEyeYaw,LeftEyePitch,LeftEyeRoll,RightEyeYaw,RightEyePitch,RightEyeRoll"
)
HEADER = tuple(re.findall(r"\w+", ORDER))


def timecode(frame: int, fps: int) -> str:
    second, rest = divmod(frame, fps)
    return f"13:59:{40 + second:02d}:{rest:02d}.042"


def write(path: Path, rows: list[dict[str, float]], fps: int = 60, numbers: list[int] | None = None) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Timecode", "BlendShapeCount", *HEADER])
        for frame, row in zip(numbers or range(len(rows)), rows, strict=True):
            lost = row.get("lost", False)
            values = [] if lost else [f"{row.get(name, 0.0):.8f}" for name in HEADER]
            writer.writerow([timecode(frame, fps), 0 if lost else 61, *values])
    return path


def column(model: HeadModel, name: str) -> int:
    return model.expression_names.index(name)


def test_there_are_52_units() -> None:
    assert len(set(UNITS)) == 52
    assert {name[0].lower() + name[1:] for name in HEADER[:52]} == set(UNITS)


def test_units_are_the_default_heads_own(tmp_path: Path, coarse_head: HeadModel) -> None:
    rows = [{name: (i + frame) % 50 / 50 for i, name in enumerate(HEADER[:52])} for frame in range(3)]
    fit = load_fit(write(tmp_path / "MySlate_1_iPhone.csv", rows), coarse_head)
    assert (fit.expression_space, fit.model_id) == ("arkit", "default-head")
    for i, name in enumerate(HEADER[:52]):
        arkit = name[0].lower() + name[1:]
        if arkit in coarse_head.expression_names:
            expected = torch.tensor([(i + frame) % 50 / 50 for frame in range(3)])
            assert torch.allclose(fit.expression[:, column(coarse_head, arkit)], expected, atol=1e-6), name
        else:
            assert arkit in ("jawOpen", "jawLeft", "jawRight")


def test_jaw_units_become_the_jaw_joint(tmp_path: Path, coarse_head: HeadModel) -> None:
    fit = load_fit(write(tmp_path / "a.csv", [{}, {"JawOpen": 1}, {"JawLeft": 1}, {"JawRight": 1}]), coarse_head)
    assert torch.allclose(fit.jaw_pose[1], torch.tensor([JAW_OPEN, 0, 0]))
    vertices = pose_vertices(coarse_head, fit.betas, fit.expression, fit.poses, fit.translation)
    jaw = coarse_head.skin_weights[:, JAW] > 0.9
    moved = (vertices[:, jaw] - vertices[:1, jaw]).mean(1)
    assert moved[1, 1] < -0.005, "an open jaw goes down"
    assert moved[2, 0] > 0.003 > -0.003 > moved[3, 0], "the person's left is +x"


def test_head_and_gaze(tmp_path: Path, coarse_head: HeadModel) -> None:
    rows = [{"HeadYaw": 0.3}, {"HeadPitch": 0.2}, {"HeadRoll": 0.1},
            {"LeftEyeYaw": 0.25, "EyeLookOutLeft": 0.6, "RightEyeYaw": 0.2, "EyeLookInRight": 0.5},
            {"EyeLookDownRight": 1.0}]  # fmt: skip
    fit = load_fit(write(tmp_path / "a.csv", rows), coarse_head)
    turned = axis_angle_to_matrix(fit.poses[:, NECK]) @ axis_angle_to_matrix(fit.poses[:, HEAD])
    face = turned[:, :, 2]
    assert torch.allclose(face[0], torch.tensor([np.sin(0.3), 0, np.cos(0.3)]).float(), atol=1e-5), "to its own left"
    assert torch.allclose(face[1], torch.tensor([0, np.sin(0.2), np.cos(0.2)]).float(), atol=1e-5), "up"
    assert torch.allclose(fit.poses[3, LEFT_EYE], torch.tensor([0, 0.25, 0])), "to the person's left"
    assert torch.allclose(fit.poses[3, RIGHT_EYE], torch.tensor([0, 0.2, 0]))
    assert fit.poses[4, RIGHT_EYE, 0] > 0.0
    left_side = turned[2, :, 0]
    assert torch.allclose(left_side, torch.tensor([np.cos(0.1), np.sin(0.1), 0]).float(), atol=1e-5), "left side up"
    # an app with the other sign for its angles: the named units decide
    flipped = [{**row, "LeftEyeYaw": -row.get("LeftEyeYaw", 0)} for row in rows]
    other = load_fit(write(tmp_path / "b.csv", flipped))
    assert torch.allclose(other.poses[3, LEFT_EYE], fit.poses[3, LEFT_EYE])


@pytest.mark.parametrize("rows", [
    [{"HeadYaw": 3.0}, {"HeadYaw": -3.0}],  # all small: in radians it would be half a turn
    [{"HeadYaw": 20.0, "LeftEyeYaw": 2.8, "RightEyeYaw": 3.5}, {"LeftEyeYaw": 0.5}],
    [{"LeftEyePitch": 5.0, "RightEyePitch": 0.5, "HeadRoll": 1.0}],
])  # fmt: skip
def test_degrees_are_degrees_in_all_columns(tmp_path: Path, rows: list[dict[str, float]]) -> None:
    other = [{name: np.deg2rad(value) for name, value in row.items()} for row in rows]
    degrees, radians = load_fit(write(tmp_path / "a.csv", rows)), load_fit(write(tmp_path / "b.csv", other))
    assert torch.allclose(degrees.poses, radians.poses, atol=1e-5) and degrees.poses.abs().max() < 0.4


@pytest.mark.parametrize(("change", "words"), [
    (lambda row: row[:20] + row[21:], r"a\.csv, row 4 ends before the last column, 'RightEyeRoll'"),
    (lambda row: [*row[:20], "0.5", *row[20:]], r"a\.csv, row 4 has 64 cells, and the header names 63"),
])  # fmt: skip
def test_rows_whose_cells_are_shifted_are_refused(tmp_path: Path, change, words: str) -> None:
    path = write(tmp_path / "a.csv", [{"EyeBlinkLeft": 0.7}] * 5)
    lines = path.read_text().splitlines()
    lines[3] = ",".join(change(lines[3].split(",")))
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=words):
        load_fit(path)


def test_mirror_swaps_the_sides(tmp_path: Path, coarse_head: HeadModel) -> None:
    eyes = {"LeftEyeYaw": 0.25, "EyeLookOutLeft": 0.6, "RightEyeYaw": 0.1, "EyeLookInRight": 0.5,
            "LeftEyePitch": 0.2, "EyeLookDownLeft": 0.4, "RightEyePitch": 0.05, "EyeLookDownRight": 0.3}  # fmt: skip
    path = write(tmp_path / "a.csv", [{"EyeBlinkLeft": 0.7, "JawLeft": 0.5, "HeadYaw": 0.2, "HeadPitch": 0.1,
                                       "HeadRoll": 0.15} | eyes])  # fmt: skip
    plain, mirrored = load_fit(path), load_fit(path, mirror=True)
    left, right = (column(coarse_head, f"eyeBlink{side}") for side in ("Left", "Right"))
    assert mirrored.expression[0, right] == plain.expression[0, left] == pytest.approx(0.7)
    assert mirrored.expression[0, left] == 0
    assert torch.allclose(mirrored.jaw_pose, -plain.jaw_pose)
    assert torch.allclose(mirrored.poses[0, HEAD], plain.poses[0, HEAD] * torch.tensor([1, -1, -1]), atol=1e-6)
    assert plain.poses[0, [HEAD, LEFT_EYE, RIGHT_EYE]].abs()[:, :2].min() > 0.04, "nothing is at rest"
    for here, there in ((LEFT_EYE, RIGHT_EYE), (RIGHT_EYE, LEFT_EYE)):
        assert torch.allclose(mirrored.poses[0, here], plain.poses[0, there] * torch.tensor([1, -1, -1]), atol=1e-6)


@pytest.mark.parametrize(("fps", "frames"), [(60, 90), (30, 70), (25, 60), (24, 50)])
def test_frame_rate_comes_from_the_time(tmp_path: Path, fps: int, frames: int) -> None:
    fit = load_fit(write(tmp_path / "a.csv", [{"JawOpen": 0.1}] * frames, fps))
    assert fit.fps == fps and fit.frame_ids.tolist() == list(range(frames))
    assert load_fit(tmp_path / "a.csv", fps=12).fps == 12


def test_lost_frames(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"EyeBlinkLeft": 0.5}, {"lost": True}, {"EyeBlinkLeft": 0.2}] + [{}] * 60
    numbers = [0, 1, 2, *range(5, 65)]
    fit = load_fit(write(tmp_path / "a.csv", rows, numbers=numbers))
    assert fit.valid[:3].tolist() == [True, False, True] and fit.frame_ids.tolist() == numbers
    assert torch.equal(fit.expression[1], fit.expression[0])
    assert "lacks 2 of its frames, the first is 3" in caplog.text


def table(path: Path, timecodes: list[str]) -> Path:
    """A recording with these times."""
    path.write_text("\n".join([",".join(("Timecode", "BlendShapeCount", *HEADER)),
                               *(f"{time},61" + ",0.01" * len(HEADER) for time in timecodes)]))  # fmt: skip
    return path


def clock(seconds: int, frame: float, separator: str = ":") -> str:
    return f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{separator}{frame:06.3f}"


def test_a_recording_past_midnight(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    start = 23 * 3600 + 59 * 60 + 59
    fit = load_fit(table(tmp_path / "a.csv", [clock(start + i // 60, i % 60 + 0.1) for i in range(130)]))
    assert fit.fps == 60 and fit.frame_ids.tolist() == list(range(130)) and "lacks" not in caplog.text


@pytest.mark.parametrize("cut", [0, 1])
def test_rows_that_share_a_timecode(tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: int) -> None:
    times = [f"18:05:{12 + i // 60:02d}:{i // 2 % 30:02d}" for i in range(120)][cut:]
    fit = load_fit(table(tmp_path / "a.csv", times))
    assert fit.fps == 60 and fit.frame_ids.tolist() == list(range(120 - cut)) and "lacks" not in caplog.text
    assert fit.num_frames / fit.fps == pytest.approx(2, abs=0.02)
    first = 30 - cut
    fit = load_fit(table(tmp_path / "b.csv", times[:first] + times[first + 4 :]))  # without two timecodes
    assert fit.fps == 60 and fit.frame_ids[first - 1 : first + 1].tolist() == [first - 1, first + 4]
    assert f"lacks 4 of its frames, the first is {first}" in caplog.text


@pytest.mark.parametrize(("minute", "rate"), [(5, 30), (9, 30), (5, 60)])  # at 10:10 no number is left out
def test_drop_frame_time(tmp_path: Path, caplog: pytest.LogCaptureFixture, minute: int, rate: int) -> None:
    times = [clock(10 * 3600 + minute * 60 + 58 + i // rate, i % rate, ";") for i in range(4 * rate)]
    if (minute + 1) % 10:
        left_out = 2 * rate // 30
        times = times[: 2 * rate] + times[2 * rate + left_out :]
    fit = load_fit(table(tmp_path / "a.csv", times))
    assert fit.fps == pytest.approx(rate * 1000 / 1001) and fit.frame_ids.tolist() == list(range(len(times)))
    assert "lacks" not in caplog.text


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"JawOpen": 50}, r"a\.csv: JawOpen, row 3 is 50, expected 0 to 1 as ARKit writes its units"),
        ({"EyeBlinkLeft": -40}, r"a\.csv: EyeBlinkLeft, row 3 is -40, expected 0 to 1"),
        ({"HeadYaw": 2000}, r"a\.csv: HeadYaw, HeadPitch and HeadRoll, row 3 are 2000, 0, 0, expected radians, or"),
        ({"LeftEyePitch": 2000}, r"a\.csv: LeftEyeYaw and LeftEyePitch, row 3 are 0, 2000, expected radians, or"),
    ],
)
def test_what_no_app_writes(tmp_path: Path, row: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_fit(write(tmp_path / "a.csv", [{}, row, {}]))


def test_exaggerated_units_are_kept(tmp_path: Path) -> None:
    assert load_fit(write(tmp_path / "a.csv", [{"JawOpen": 1.5}])).jaw_pose[0, 0] == pytest.approx(1.5 * JAW_OPEN)


def test_the_folder_of_a_take(tmp_path: Path) -> None:
    take = tmp_path / "20230101_MySlate_1"
    take.mkdir()
    for name in ("take.json", "video_metadata.json"):
        (take / name).write_text('{"version": 1}')
    for name in ("MySlate_1_iPhone.mov", "thumbnail.jpg", "audio_metadata.json"):
        (take / name).write_bytes(b"x")
    (take / "frame_log.csv").write_text("V,0.0,1,1\nA,0.1,1,1\n")
    write(take / "MySlate_1_iPhone.csv", [{"JawOpen": 0.5}] * 3)
    assert load_fit(take).jaw_pose[0, 0] == pytest.approx(0.5 * JAW_OPEN)
    (take / "MySlate_1_iPhone.csv").unlink()
    for ending, value in (("raw", 0.3), ("cal", 0.2), ("neutral", 0.1)):
        write(take / f"MySlate_1_iPhone_{ending}.csv", [{"JawOpen": value}] * 3)
    assert load_fit(take).jaw_pose[0, 0] == pytest.approx(0.2 * JAW_OPEN), "as it was calibrated"
    write(take / "MySlate_2_iPhone.csv", [{}] * 3)
    with pytest.raises(ValueError, match=r"20230101_MySlate_1 holds several recordings: MySlate_1_iPhone_cal\.csv, "):
        load_fit(take)


def test_other_spellings(tmp_path: Path, coarse_head: HeadModel) -> None:
    names = [name[0].lower() + name[1:] for name in HEADER[:40]]
    names = [n.replace("Left", "_L") if n.endswith("Left") else n.replace("Right", "_R") for n in names]
    (tmp_path / "a.csv").write_text("\n".join([",".join(["frame", *names]), ",".join(["0"] + ["0.25"] * 40)]))
    fit = load_fit(tmp_path / "a.csv")
    assert fit.expression[0, column(coarse_head, "eyeBlinkRight")] == 0.25 and fit.fps == 60


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda lines: lines[:1], "has no frames, only its header"),
        (lambda lines: [lines[0], lines[1].replace("0.50000000", "nan")], "holds NaN or infinity"),
        (lambda lines: [lines[0], lines[1].replace("0.50000000", "much")], "row 2 holds 'much', expected a number"),
        (lambda lines: [lines[0], lines[1][: len(lines[1]) // 2]], "row 2 holds nothing|row 2 holds '"),
        (lambda lines: [lines[0], *reversed(lines[1:])], "goes back in time"),
        (lambda lines: [lines[0], *(f"{line.split(',')[0]},0" for line in lines[1:])], "a face in none of them"),
    ],
)
def test_damaged_recordings(tmp_path: Path, change, sentence: str) -> None:
    path = write(tmp_path / "a.csv", [{"TongueOut": 0.5}] * 3)
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(ValueError, match=sentence):
        load_fit(path)
