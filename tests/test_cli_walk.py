"""The commands that do the work, one after the other on the built-in photo: each writes what it says."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from expportrait_core import media
from expportrait_core.assets import ASSETS
from expportrait_core.cli import main
from expportrait_core.fit import load_fit, save_fit
from expportrait_core.head import load_head
from expportrait_core.media import read_clip, read_picture, write_picture
from expportrait_core.transfer.motion import CHOICES

ASTRONAUT = ASSETS / "astronaut.png"
SMALL = ("--size", "128")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `animate` wrote, with the driver: three frames in which the head turns."""
    folder = tmp_path_factory.mktemp("walk")
    save_fit(load_fit(ASSETS / "demo_performance.npz").frames([0, 14, 60]), folder / "driver.npz")
    assert main(["animate", str(ASTRONAUT), str(folder / "driver.npz"), "-o", str(folder), "--level", "0", *SMALL]) == 0
    return folder


def test_animate_writes_picture_head_normals_and_preview(folder: Path) -> None:
    picture, head = read_picture(folder / "picture.png")[0], load_head(folder / "head.safetensors")
    normals, preview = read_clip(folder / "normals.mp4")[0], read_clip(folder / "preview.mp4")[0]
    assert picture.shape == (128, 128, 3) and head.fit.image_size == (128, 128) and head.level == 0
    assert normals.shape == preview.shape == (3, 128, 128, 3)
    assert normals[:, :8, -8:].max() < 0.05 < preview[:, :8, -8:].min()  # black behind the head, and a wall
    assert (preview[0] - picture).abs().mean() < 0.05


def test_render_and_generate_are_driven_as_the_preview_was(folder: Path) -> None:
    """The head turns in the third frame: driven by another rule, its normals would lie elsewhere."""
    given = [str(folder / "head.safetensors"), str(folder / "driver.npz"), *SMALL]
    assert main(["render", *given, "-o", str(folder / "again.mp4")]) == 0
    first, again = read_clip(folder / "normals.mp4")[0], read_clip(folder / "again.mp4")[0]
    assert (first - again).abs().max() < 0.02
    assert main(["render", *given, "-o", str(folder / "still.mp4"), "--head-pose", "portrait"]) == 0
    assert (first[2] - read_clip(folder / "still.mp4")[0][2]).abs().mean() > 0.02

    videos = []
    for seed in ("0", "0", "1"):
        command = ["generate", str(folder / "preview.mp4"), *given, "--seed", seed, "-o", str(folder / "video.mp4")]
        assert main(command) == 0
        videos.append(read_clip(folder / "video.mp4")[0])
    assert len(videos[0]) == 3 and (videos[0] - videos[1]).abs().max() == 0 < (videos[0] - videos[2]).abs().max()


def test_normals_are_written_part_by_part(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip of any length fits: no command holds all of its normals only to write them."""
    written, write = [], media.write_clip

    def note(path: Path, frames: Iterable[torch.Tensor], fps: float) -> Path:
        parts = list(frames)
        written.append([len(part) for part in parts])
        return write(path, parts, fps)

    monkeypatch.setattr(media, "write_clip", note)
    monkeypatch.setattr("expportrait_core.render.render_normals", lambda *_, **__: pytest.fail("all were drawn"))
    save_fit(load_fit(ASSETS / "demo_performance.npz").frames(slice(9)), folder / "nine.npz")
    given = [str(folder / "head.safetensors"), str(folder / "nine.npz"), *SMALL]
    assert main(["render", *given, "-o", str(folder / "nine.mp4")]) == 0
    assert written == [[8, 1]] and len(read_clip(folder / "nine.mp4")[0]) == 9


def test_generate_wants_the_heads_own_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [str(folder / "head.safetensors"), str(folder / "driver.npz"), "-o", str(folder / "no.mp4")]
    write_picture(folder / "wall.png", torch.full((128, 128, 3), 0.5))
    assert main(["generate", str(ASTRONAUT), *given]) == 2
    assert "The face in astronaut.png is not where the head's own picture has it" in capsys.readouterr().err
    assert main(["generate", str(folder / "wall.png"), *given]) == 2
    assert "No face was found in wall.png" in capsys.readouterr().err
    assert not (folder / "no.mp4").exists()


def test_fit_track_writes_a_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "track", str(folder / "picture.png"), str(folder / "tracked.npz")]) == 0
    assert load_fit(folder / "tracked.npz").image_size == (128, 128)
    assert main(["fit", "inspect", str(folder / "tracked.npz")]) == 0
    assert "128×128" in capsys.readouterr().out


def test_the_choices_of_the_command_line_are_the_cores(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["render", "--help"])
    assert "{" + ",".join(CHOICES["head_pose"]) + "}" in capsys.readouterr().out


def test_a_head_of_pictures_that_are_no_squares_is_drawn_in_their_shape(folder: Path) -> None:
    head = load_head(folder / "head.safetensors")
    wide = head.fit.replace(camera=head.fit.camera.cropped(-32, 0, 128, 192), landmarks=None, landmark_scheme=None)
    saved = head.replace(fit=wide).save(folder / "wide.safetensors")
    assert main(["render", str(saved), str(folder / "driver.npz"), "--size", "96", "-o", str(folder / "wide.mp4")]) == 0
    assert read_clip(folder / "wide.mp4")[0].shape == (3, 64, 96, 3)
