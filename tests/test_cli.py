"""The command line: what is wrong is one sentence and exit code 2, before any long work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from expportrait_core.assets import ASSETS
from expportrait_core.cli import main
from expportrait_core.fit import load_fit, save_fit
from expportrait_core.media import read_picture, write_clip, write_picture
from expportrait_core.types import HeadModel, PersonalizedHead


def sentence(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What a command that is refused says: one line, and no traceback."""
    assert main([str(a) for a in arguments]) == 2
    said = capsys.readouterr().err.splitlines()
    refused = [line for line in said if line.startswith("expportrait: ")]
    assert len(refused) == 1 and refused[0] == said[-1] and "Traceback" not in said
    return refused[0]


@pytest.mark.parametrize("module", ["expportrait_core", "expportrait_core.cli"])
def test_module_is_the_command(module: str) -> None:
    shown = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0 and "animate" in shown.stdout


@pytest.mark.parametrize("command", ["dataset", "evaluate"])
def test_what_is_not_built_says_so(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert f"'{command}' is not built yet" in sentence(capsys, command, "anything", "--at", "all")


@pytest.mark.parametrize("command", [["fit", "track", "{}", "out.npz"], ["personalize", "{}", "-o", "out.safetensors"],
                                     ["animate", "{}", "driver.npz", "-o", "out"]])  # fmt: skip
def test_missing_and_wrong_pictures(capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    for name, expected in (("gone.png", "There is no file"), ("text.png", "is not a picture")):
        arguments = [a.format(tmp_path / name) if a == "{}" else str(tmp_path / a) if "." in a else a for a in command]
        assert expected in sentence(capsys, *arguments)


def test_missing_and_wrong_fits(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("not a fit")
    for name in ("gone.npz", "text.npz"):
        assert name in sentence(capsys, "fit", "inspect", tmp_path / name)


def test_wrong_head_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    wanted = ("--head-model", tmp_path / "SMPLX.npz", tmp_path / "a.png", tmp_path / "b.npz")
    said = sentence(capsys, "fit", "track", *wanted)
    assert "SMPLX.npz" in said


def test_wrong_head_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = sentence(capsys, "render", tmp_path / "head.safetensors", tmp_path / "fit.npz", "-o", tmp_path / "n.mp4")
    assert "head.safetensors" in said


ASTRONAUT = ASSETS / "astronaut.png"


def test_a_portrait_without_a_face_is_refused_before_the_driver_is_tracked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("expportrait_core.cli.common.tracked", lambda *_: pytest.fail("the work began"))
    write_picture(tmp_path / "wall.png", torch.full((128, 128, 3), 0.5))
    said = sentence(capsys, "animate", tmp_path / "wall.png", ASSETS / "demo_clip.mp4", "-o", tmp_path / "out")
    assert "No face was found in wall.png" in said


def test_pictures_of_another_number_are_refused_before_the_rendering(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coarse_head: HeadModel
) -> None:
    monkeypatch.setattr("expportrait_core.render.render_normals", lambda *_, **__: pytest.fail("the work began"))
    fit = load_fit(ASSETS / "demo_performance.npz").frames(slice(5))
    still, moving = torch.zeros(len(coarse_head.template), 3), torch.zeros(1, len(coarse_head.template), 3)
    head = PersonalizedHead(coarse_head, fit.betas, still, moving, fit.frames([0]), 0, coarse_head.model_id)
    head_file, fit_file = head.save(tmp_path / "head.safetensors"), save_fit(fit, tmp_path / "fit.npz")
    write_clip(tmp_path / "three.mp4", read_picture(ASTRONAUT).repeat(3, 1, 1, 1), 25)
    said = sentence(capsys, "generate", tmp_path / "three.mp4", head_file, fit_file, "-o", tmp_path / "out.mp4")
    assert "3 pictures and 5 normal maps" in said


@pytest.mark.parametrize("command", [["personalize", ASTRONAUT, "-o"], ["fit", "track", ASTRONAUT]])
def test_output_that_cannot_be_written_is_refused_before_the_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str | Path]
) -> None:
    monkeypatch.setattr("expportrait_core.fit.track", lambda *_, **__: pytest.fail("the work began"))
    monkeypatch.setattr("expportrait_core.walk.track", lambda *_, **__: pytest.fail("the work began"))
    (tmp_path / "file").touch()
    said = sentence(capsys, *command, tmp_path / "file" / "deeper" / "out.npz")
    assert "Nothing can be written to" in said and "Choose another output" in said
    assert "is a folder, expected the name of a file" in sentence(capsys, *command, tmp_path)


def test_output_folder_that_is_a_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = sentence(capsys, "animate", ASTRONAUT, tmp_path / "driver.npz", "-o", tmp_path / "file")
    assert "Nothing can be written to" in said


@pytest.mark.parametrize("size", ["0", "-3", "many", "100000"])
def test_sizes_that_are_none_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, size: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["personalize", str(ASTRONAUT), "-o", str(tmp_path / "head"), f"--size={size}"])
    assert stopped.value.code == 2
    assert f"found '{size}', expected 64 to 8192 pixels" in capsys.readouterr().err


def test_a_folder_is_no_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "is a folder" in sentence(capsys, "fit", "track", tmp_path, tmp_path / "out.npz")


def test_nobody_is_told_to_load_a_file_unsafely(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("not a fit")
    assert "unsafe" not in sentence(capsys, "fit", "inspect", tmp_path / "text.npz")
    head = sentence(capsys, "fit", "track", "--head-model", tmp_path / "text.npz", ASTRONAUT, tmp_path / "out.npz")
    assert "text.npz is not a readable head model" in head and "unsafe" not in head


def test_weights_to_start_from_are_read_before_clips_are_rendered(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("expportrait_core.generator.clip_pool.render_pool", lambda *_: pytest.fail("the work began"))
    command = ("train", "generator", "--clips", tmp_path / "clips", "-o", tmp_path / "out.safetensors", "--start")
    assert "gone.safetensors" in sentence(capsys, *command, tmp_path / "gone.safetensors")


@pytest.mark.parametrize("option", ["--minutes=0", "--minutes=-1", "--minutes=many", "--steps=0", "--workers=0"])
def test_training_that_would_not_train_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "generator", "--clips", str(tmp_path), "-o", str(tmp_path / "out.safetensors"), option])
    assert stopped.value.code == 2 and "expected" in capsys.readouterr().err


def test_outputs_have_the_ending_of_what_they_hold(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Also where the ending would be added: the given file itself would be written over."""
    given = tmp_path / "a.npz"
    given.write_bytes((ASSETS / "demo_performance.npz").read_bytes())
    for output, *command in (
        (tmp_path / "a", "fit", "convert", given),
        (tmp_path / "a.txt", "fit", "track", ASTRONAUT),
        ("-o", "render", tmp_path / "head.safetensors", given),
    ):
        last = [output] if output != "-o" else ["-o", tmp_path / "n.gif"]
        assert "expected a name that ends in ." in sentence(capsys, *command, *last)
    assert given.read_bytes() == (ASSETS / "demo_performance.npz").read_bytes()


def test_a_driver_that_shows_no_face_is_refused_before_the_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("expportrait_core.walk.track", lambda *_, **__: pytest.fail("the work began"))
    fit = load_fit(ASSETS / "demo_performance.npz").frames(slice(3))
    path = save_fit(fit.replace(valid=torch.zeros(3, dtype=torch.bool)), tmp_path / "unseen.npz")
    assert "face" in sentence(capsys, "animate", ASTRONAUT, path, "-o", tmp_path / "out")


def test_clips_are_rendered_into_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "clips").touch()
    said = sentence(capsys, "train", "generator", "--clips", tmp_path / "clips", "-o", tmp_path / "out.safetensors")
    assert "Nothing can be written to" in said


def test_what_was_given_is_never_written_over(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    photo = tmp_path / "picture.png"
    photo.write_bytes(ASTRONAUT.read_bytes())
    for command in (
        ("personalize", photo, "-o", tmp_path / "picture.safetensors"),
        ("animate", photo, tmp_path / "driver.npz", "-o", tmp_path),
        ("fit", "convert", ASSETS / "demo_performance.npz", ASSETS / "demo_performance.npz"),
    ):
        assert "is given, and would be written over" in sentence(capsys, *command)
    assert photo.read_bytes() == ASTRONAUT.read_bytes()
    assert "expected a name that ends in .safetensors" in sentence(
        capsys, "personalize", photo, "-o", tmp_path / "head.png"
    )


def test_training_without_the_pictures_says_what_to_install(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from expportrait_core.generator.clip_looks import natural_pictures

    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ImportError, match="pip install scikit-image"):
        natural_pictures()
    monkeypatch.setattr("expportrait_core.generator.clip_pool.render_pool", lambda *_: natural_pictures())
    said = sentence(capsys, "train", "generator", "--clips", tmp_path / "clips", "-o", tmp_path / "out.safetensors")
    assert "pip install scikit-image" in said


# ---- fit track


def test_the_trackers_choices_are_the_cores() -> None:
    from expportrait_core.cli import fit as cli
    from expportrait_core.fit import FACES, MISSING

    # by number and by likeness have options of their own
    assert [*cli.FACES, "like the picture", "by number"] == list(FACES) and cli.MISSING == MISSING


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--face-number", "3"], "is one face to be followed, and number 3"),
        (["--like", "gone.png"], "There is no file gone.png"),
        (["--landmarks", "mediapipe", "--task-file", "gone.task"], "There is no file gone.task"),
        (["--focal", "35"], "35 pixels, which is an angle of view of 164° across 512 pixels, expected 102.4 to 51,200"),
    ],
)
def test_what_cannot_be_tracked_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str], words: str
) -> None:
    assert words in sentence(capsys, "fit", "track", ASTRONAUT, tmp_path / "out.npz", *options)


@pytest.mark.parametrize("options", [["--focal", "-3"], ["--focal", "wide"], ["--face-number", "0"], ["--face", "my"]])
def test_wrong_options_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "track", str(ASTRONAUT), str(tmp_path / "out.npz"), *options])
    assert f"argument {options[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("options", [
    ["--face", "rightmost", "--like", str(ASTRONAUT)], ["--face", "leftmost", "--face-number", "7"],
])  # fmt: skip
def test_two_ways_to_choose_a_face_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "track", str(ASTRONAUT), str(tmp_path / "out.npz"), *options])
    assert f"{options[2]}: not allowed with argument --face" in capsys.readouterr().err


def test_a_task_file_that_nobody_would_read_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = "--task-file is given, and only MediaPipe reads it"
    options = ["--task-file", tmp_path / "a.task"]
    assert words in sentence(capsys, "fit", "track", ASTRONAUT, tmp_path / "out.npz", *options)


def test_options_reach_the_tracker(tmp_path: Path) -> None:
    from expportrait_core.fit import load_fit

    arguments = ["fit", "track", ASTRONAUT, tmp_path / "out.npz", "--focal", "1000", "--like", ASTRONAUT, "--missing",
                 "empty"]  # fmt: skip
    assert main([str(a) for a in arguments]) == 0
    fit = load_fit(tmp_path / "out.npz")
    assert float(fit.camera.intrinsics[0, 0, 0]) == 1000 and fit.landmarks.shape == (1, 478, 3)
