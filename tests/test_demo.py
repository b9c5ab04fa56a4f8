"""The demo: which moments it shows, and the whole walk on a few frames of it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from expportrait_core import demo, walk
from expportrait_core.assets import PERFORMANCE, PHOTO
from expportrait_core.body import load_head_model
from expportrait_core.fit import load_fit
from expportrait_core.media import inspect_clip, read_clip, read_picture
from expportrait_core.steps import Steps


@pytest.fixture(scope="module")
def performance():
    return load_fit(PERFORMANCE, load_head_model())


def test_performance_is_long_enough_and_plays_every_part(performance) -> None:
    """At least 48 frames; head turn, talk, blink, smile, brow raise and gaze."""
    names = load_head_model().expression_names
    assert performance.num_frames >= 48
    for unit in ("eyeBlinkLeft", "mouthSmileLeft", "browInnerUp"):
        assert performance.expression[:, names.index(unit)].max() > 0.3, unit
    assert performance.jaw_pose.norm(dim=1).max() > 0.1
    turned = performance.poses[:, [demo.NECK, demo.HEAD], 1].sum(1)
    assert turned.max() - turned.min() > 0.2


def test_moments_are_those_that_differ(performance) -> None:
    still = performance.replace(
        expression=torch.zeros_like(performance.expression), poses=torch.zeros_like(performance.poses)
    )
    expression = still.expression.clone()
    expression[7, 0], expression[30, 1], expression[31, 1] = 1, 0.9, 1
    moments = demo.telling_moments(still.replace(expression=expression), 3)
    assert 7 in moments and 31 in moments and moments == sorted(moments)
    assert demo.telling_moments(still, 3) == [0]  # nothing moves


def test_a_driver_of_another_space_is_refused_before_the_long_work(performance, monkeypatch) -> None:
    monkeypatch.setattr(walk, "track", lambda *_, **__: pytest.fail("tracked all the same"))
    with pytest.raises(ValueError, match="flame100"):
        walk.animate(
            torch.rand(1, 64, 64, 3), replace(performance, expression_space="flame100"), load_head_model()
        )


def test_the_whole_walk_on_three_frames(tmp_path: Path, monkeypatch) -> None:
    figures = {"psnr": 21.0, "psnr_copy": 18.0}
    monkeypatch.setattr(demo, "evaluate_demo", lambda **_: figures)  # renders its own clips: tests/generator does that
    monkeypatch.setattr(demo, "LEVEL", 1)
    report = demo.run_demo(tmp_path / "demo", Steps(), size=256, frames=3)
    assert {p.name for p in (tmp_path / "demo").iterdir()} == {
        "contact_sheet.png", "head.safetensors", "normals.mp4", "portrait.mp4", "preview.mp4", "report.json",
    }  # fmt: skip
    assert json.loads((tmp_path / "demo" / "report.json").read_text("utf-8")) == report
    assert report["frames"] == 3 and figures.items() <= report.items()
    assert 0 < report["landmark_error_percent"] < 3
    assert {"track", "personalize", "transfer", "render", "preview", "generate", "total"} <= report["seconds"].keys()
    for name in ("normals", "preview", "portrait"):
        clip = inspect_clip(tmp_path / "demo" / f"{name}.mp4")
        assert (clip.height, clip.width, clip.num_frames) == (256, 256, 3)
    sheet = read_picture(tmp_path / "demo" / "contact_sheet.png")[0]
    assert sheet.std() > 0.1
    # each clip is what its name says: normals are black behind the head, where the others show the photo's wall
    clips = {name: read_clip(tmp_path / "demo" / f"{name}.mp4")[0][0] for name in ("normals", "preview", "portrait")}
    assert clips["normals"][:8, -8:].max() < 0.05
    assert clips["preview"][:8, -8:].min() > 0.3 and clips["portrait"][:8, -8:].min() > 0.3
    assert (clips["preview"] - clips["portrait"]).abs().mean() < 0.1  # the same moment
    sharpness = {name: (clip[1:] - clip[:-1]).abs().mean() for name, clip in clips.items()}
    assert sharpness["preview"] > 1.2 * sharpness["portrait"]  # which comes from small frames


def test_a_missing_scikit_image_costs_the_figures_and_nothing_else(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setattr(demo, "LEVEL", 1)
    report = demo.run_demo(tmp_path, Steps(), size=128, frames=2)
    assert "pip install scikit-image" in report["evaluation"] and "psnr" not in report
    assert (tmp_path / "portrait.mp4").is_file() and (tmp_path / "report.json").is_file()


def test_a_clip_that_begins_without_a_face_is_animated_from_the_first_face(performance) -> None:
    photo = read_picture(PHOTO)
    clip = torch.cat([torch.full_like(photo, 0.5), photo])
    made = walk.animate(clip, performance.frames(slice(0, 2)), load_head_model(level=0), size=128)
    assert made.motion.portrait_frame == 1
    assert torch.equal(made.portrait.picture, made.portrait.pictures[1])
    assert (made.preview[0] - made.portrait.picture).abs().mean() < 0.1  # a grey square would be far from it


def test_the_preview_finds_the_person_by_itself(performance, monkeypatch) -> None:
    """The silhouette is too coarse for it: its rim tears as the head turns."""
    masks, preview = [], walk.photo_preview

    def note(picture, motion, mask=None, **more):
        masks.append(mask)
        return preview(picture, motion, mask, **more)

    monkeypatch.setattr(walk, "photo_preview", note)
    walk.animate(read_picture(PHOTO), performance.frames(slice(0, 1)), load_head_model(level=0), 128)
    assert masks == [None]
