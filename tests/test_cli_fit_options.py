"""What a user knows of a fit file, on the command line: each option does what it says, in every command with a fit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from expportrait_core.assets import ASSETS
from expportrait_core.cli import main
from expportrait_core.fit import load_fit
from expportrait_core.types import HeadModel, PersonalizedHead, SMPLXFit

from .body.smplx_file import write_bare_head
from .fit.formats import tracker_files as files
from .fit.formats.strangers import smplx_like, write_as_flame
from .fit.formats.test_arkit import write as write_arkit

ASTRONAUT = ASSETS / "astronaut.png"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_arkit(tmp_path / "MySlate_2_iPhone.csv", [{"EyeBlinkLeft": 0.7, "HeadYaw": 0.2}] * 3)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def converted(path: Path, *options: object) -> SMPLXFit:
    output = path.parent / "converted.npz"
    assert run("fit", "convert", path, output, *options) == 0
    return load_fit(output)


# ------------------------------------------------------------------------------------------------ inspect and convert


def test_mirror_mirrors_and_fps_sets(recording: Path) -> None:
    plain, other = load_fit(recording), converted(recording, "--mirror", "--fps", 12)
    expected = load_fit(recording, mirror=True)
    assert torch.equal(other.expression, expected.expression) and torch.equal(other.poses, expected.poses)
    assert not torch.equal(other.expression, plain.expression) and (plain.fps, other.fps) == (60, 12)


def test_legacy10_names_the_old_files_expressions(tmp_path: Path) -> None:
    files.write_smplerx(tmp_path / "clip")
    assert converted(tmp_path / "clip").expression_space == "smplx100"
    assert converted(tmp_path / "clip", "--legacy10").expression_space == "smplx10"


def test_person_chooses(tmp_path: Path) -> None:
    written = files.write_smplerx(tmp_path / "clip", {0: [1, 2, 3], 1: [1, 2]})
    for person in (0, 1):
        found = converted(tmp_path / "clip", "--person", person).expression
        assert torch.allclose(found.double(), torch.from_numpy(written[person]["expression"]).double())


def test_inspect_says_what_to_give_and_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files.write_smplerx(tmp_path / "clip")
    shutil.rmtree(tmp_path / "clip" / "meta")
    assert run("fit", "inspect", tmp_path / "clip") == 2
    said = capsys.readouterr().err
    assert said.endswith("or the camera's --focal and --image-size.\n") and "`" not in said
    given = ("--focal", "900", "--image-size", "1280x720", "--fps", "24", "--legacy10")
    assert run("fit", "inspect", tmp_path / "clip", *given, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["focal"], found["image_size"], found["fps"]) == (900, [720, 1280], 24)
    assert found["expression_space"] == "smplx10"


def test_warnings_name_options_as_they_are_typed(tmp_path: Path) -> None:
    files.write_smplifyx(tmp_path / "clip", people=2)
    command = [sys.executable, "-m", "expportrait_core", "fit", "inspect", str(tmp_path / "clip")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    for option in ("--person", "--legacy10", "--image-size", "--focal"):
        assert option in said
    assert "`" not in said


@pytest.mark.parametrize("size", ["1280", "0x720", "1280x", "1280x720x3", "-1x5", "wide"])
def test_picture_sizes_that_are_none(capsys: pytest.CaptureFixture[str], recording: Path, size: str) -> None:
    with pytest.raises(SystemExit):
        run("fit", "inspect", recording, f"--image-size={size}")
    assert "expected width and height like 1280x720" in capsys.readouterr().err


def test_options_of_no_use_are_refused(capsys: pytest.CaptureFixture[str], recording: Path, tmp_path: Path) -> None:
    own = ASSETS / "demo_performance.npz"
    for command, sentence in (
        (("fit", "inspect", own, "--mirror"), "--mirror is for ARKit recordings"),
        (("fit", "inspect", own, "--person", 3), "--person is 3"),
        (("fit", "inspect", recording, "--legacy10"), "--legacy10 is for the ten"),
        (("fit", "convert", recording, tmp_path / "out.npz", "--body-model", "SMPLX.npz"), "Give --head-model too"),
    ):
        assert run(*command) == 2
        assert sentence in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ the body models


@pytest.fixture(scope="module")
def bodies(coarse_head: HeadModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files that stand for the user's SMPL-X and FLAME."""
    folder = tmp_path_factory.mktemp("bodies")
    flame = write_as_flame(folder, smplx_like(coarse_head, 1.0, (0.003, -0.74, -0.12))[0])
    return write_bare_head(folder / "SMPLX_NEUTRAL.npz")[0], flame


def test_both_body_models_are_used(
    bodies: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    smplx, flame = bodies
    clip = tmp_path / "clip"
    clip.mkdir()
    files.write_ehm(clip)
    assert run("fit", "convert", clip, tmp_path / "out.npz", "--head-model", "default") == 2
    said = capsys.readouterr().err
    assert "FLAME file as --body-model to convert, and your SMPL-X file as a second --body-model" in said
    one = converted(clip, "--head-model", "default", "--body-model", flame)
    assert "cannot be kept" in caplog.text
    caplog.clear()
    both = converted(clip, "--head-model", "default", "--body-model", flame, "--body-model", smplx)
    assert "cannot be kept" not in caplog.text and both.expression_space == one.expression_space == "arkit"
    assert torch.equal(both.expression, one.expression) and not torch.allclose(both.translation, one.translation)


def test_model_files_are_not_written_over(
    bodies: tuple[Path, Path], recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--body-model", "--head-model"):
        before = bodies[0].read_bytes()
        assert run("fit", "convert", recording, bodies[0], option, bodies[0]) == 2
        assert "is given, and would be written over" in capsys.readouterr().err and bodies[0].read_bytes() == before


# ---------------------------------------------------------------------------------------------------------- the drivers


class Reached(ValueError):
    """The driver is read, and what comes after is not this test's."""


@pytest.fixture
def driven(monkeypatch: pytest.MonkeyPatch) -> list[SMPLXFit]:
    """The fits that commands drive a head with."""
    found: list[SMPLXFit] = []

    def stop(first: object, driver: SMPLXFit, *more: object) -> None:
        found.append(driver)
        raise Reached("reached")

    monkeypatch.setattr("expportrait_core.walk.set_in_motion", stop)
    monkeypatch.setattr("expportrait_core.walk.drive", stop)
    for check in ("fit.require_framing", "generator.require_pictures"):  # the head is not that of the picture
        monkeypatch.setattr(f"expportrait_core.{check}", lambda *_: None)
    return found


@pytest.fixture(scope="module")
def commands(coarse_head: HeadModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[object, ...]]:
    """Every command with a driver, up to it."""
    folder = tmp_path_factory.mktemp("head")
    fit = load_fit(ASSETS / "demo_performance.npz").frames([0])
    still, moving = torch.zeros(len(coarse_head.template), 3), torch.zeros(1, len(coarse_head.template), 3)
    head = PersonalizedHead(coarse_head, fit.betas, still, moving, fit, 0, coarse_head.model_id)
    saved = head.save(folder / "head.safetensors")
    return {
        "animate": ("animate", "--level", 0, "-o", folder / "out", ASTRONAUT),
        "render": ("render", "-o", folder / "out.mp4", saved),
        "generate": ("generate", "-o", folder / "out.mp4", ASTRONAUT, saved),
    }


@pytest.mark.parametrize("command", ["animate", "render", "generate"])
def test_drivers_are_read_as_the_user_says(
    command: str, commands: dict, driven: list[SMPLXFit], recording: Path, bodies: tuple[Path, Path], tmp_path: Path
) -> None:
    assert run(*commands[command], recording, "--mirror", "--fps", 12, "--focal", 700, "--image-size", "640x480") == 2
    expected = load_fit(recording, mirror=True)
    assert torch.equal(driven[0].expression, expected.expression) and driven[0].fps == 12
    assert driven[0].image_size == (480, 640) and driven[0].camera.intrinsics[0, 0, 0] == 700
    files.write_smplifyx(tmp_path / "clip", people=2)
    given = ("--person", 1, "--body-model", bodies[0])
    assert run(*commands[command], tmp_path / "clip", *given) == 2
    alone = load_fit(tmp_path / "clip", person=1)
    assert driven[1].expression_space == "arkit" and torch.equal(driven[1].jaw_pose, alone.jaw_pose)


@pytest.mark.parametrize("command", ["animate", "render", "generate"])
def test_a_clip_is_no_fit_file(
    command: str, commands: dict, driven: list[SMPLXFit], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*commands[command], ASSETS / "demo_clip.mp4", "--mirror", "--fps", 12) == 2
    said = capsys.readouterr().err
    assert "demo_clip.mp4 is tracked here, and --fps and --mirror can be said of fit files alone" in said and not driven
