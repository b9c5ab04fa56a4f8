"""The nodes that change fits in a real server: smoothing, time, edits, presets, keyframes, curves."""

from __future__ import annotations

import json

import pytest
import torch

from expportrait_core.assets import PERFORMANCE, PHOTO
from expportrait_core.body import load_head_model
from expportrait_core.fit import (
    GROUPED,
    LOOPS,
    METHODS,
    MODES,
    Preset,
    load_fit,
    load_preset,
    preset_names,
    save_fit,
    save_preset,
    smooth_fit,
)
from expportrait_core.media import read_picture
from expportrait_core.types import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, SMPLXFit

from .graphs import HEAD_MODEL, files_of, refused, saved
from .graphs import node as n

LOAD = "ExpPortraitLoadSMPLXFit"
SETTINGS = dict.fromkeys(GROUPED, 0.0) | {
    "preset": "none", "preset_amount": 1.0, "mode": "add", "start": 0, "end": 0, "fade": 0.2, "mouth_gain": 1.0,
    "eyes_gain": 1.0, "brows_gain": 1.0, "pose_gain": 1.0, "motion": "absolute", "neutral_frame": 0, "frames": 1,
    "save_preset_as": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def fit() -> SMPLXFit:
    return load_fit(PERFORMANCE)


def test_choices_and_sliders_are_the_cores(comfyui) -> None:
    info = comfyui.get("/object_info")

    def options(node: str, widget: str) -> list[str]:
        return info[node]["input"]["required"][widget][1]["options"]

    assert options("ExpPortraitSmoothFit", "method") == list(METHODS)
    assert options("ExpPortraitRetimeFit", "loop") == list(LOOPS)
    assert options("ExpPortraitEditExpression", "mode") == list(MODES)
    assert options("ExpPortraitEditExpression", "preset")[: 1 + len(preset_names())] == ["none", *preset_names()]
    inputs = info["ExpPortraitEditExpression"]["input"]["required"]
    for name, control in GROUPED.items():
        assert (inputs[name][1]["min"], inputs[name][1]["max"]) == (control.low, control.high), name


@pytest.mark.parametrize("fill", [True, False])
def test_gaps_of_both_fits_keep_their_time(comfyui, fill: bool) -> None:
    fit = load_fit(PERFORMANCE)
    save_fit(fit.frames([*range(20), *range(50, 72)]), comfyui.base / "input" / "holed.npz")  # without 20 to 49
    answer = comfyui.run({
        "model": HEAD_MODEL, "fit": n(LOAD, head_model=["model", 0], file="holed.npz"),
        "retime": n("ExpPortraitRetimeFit", fit=["fit", 0], next_fit=["fit", 0], fps=0.0, start=0, end=0, loop="once",
                    times=1, blend=0.0, fill_gaps=fill),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["retime", 0], filename_prefix="t/both"),
    })  # fmt: skip
    made = saved(comfyui, answer)
    assert made.num_frames == 144 and made.frame_ids.tolist() == list(range(144)) and int((~made.valid).sum()) == 60


@pytest.mark.parametrize("fill", [True, False])
def test_what_frames_without_a_face_show_is_filled_or_left(comfyui, fit, fill: bool) -> None:
    expression, valid = fit.expression.clone(), fit.valid.clone()
    expression[30:34], valid[30:34] = 0.0, False
    save_fit(fit.replace(expression=expression, valid=valid), comfyui.base / "input" / "lost.npz")
    made = saved(comfyui, comfyui.run({
        "model": HEAD_MODEL, "fit": n(LOAD, head_model=["model", 0], file="lost.npz"),
        "retime": n("ExpPortraitRetimeFit", fit=["fit", 0], next_fit=["fit", 0], fps=0.0, start=0, end=0, loop="once",
                    times=1, blend=0.0, fill_gaps=fill),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["retime", 0], filename_prefix="t/lost"),
    }))  # fmt: skip
    between = torch.lerp(fit.expression[29], fit.expression[34], 0.2) if fill else torch.zeros(100)
    for start in (0, 72):
        assert torch.allclose(made.expression[start + 30], between, atol=1e-5)
        assert made.valid[start + 29 : start + 35].tolist() == [True, False, False, False, False, True]


def test_gaps_that_are_not_filled_keep_their_time_in_loops_of_loops(comfyui) -> None:
    fit = load_fit(PERFORMANCE)
    save_fit(fit.frames([*range(20), *range(50, 72)]), comfyui.base / "input" / "holed.npz")  # without 20 to 49
    retime = {"start": 0, "end": 0, "times": 2, "blend": 0.2, "fill_gaps": False}
    answer = comfyui.run({
        "model": HEAD_MODEL, "fit": n(LOAD, head_model=["model", 0], file="holed.npz"),
        "inner": n("ExpPortraitRetimeFit", fit=["fit", 0], fps=50.0, loop="seamless", **retime),
        "retime": n("ExpPortraitRetimeFit", fit=["inner", 0], fps=0.0, loop="back and forth", **retime),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["retime", 0], filename_prefix="t/loops"),
        "again": n("ExpPortraitRetimeFit", fit=["retime", 0], fps=25.0, loop="once", **retime),
        "count": n("PreviewAny", source=["again", 1]),
    })  # fmt: skip
    made = saved(comfyui, answer)
    inner = 2 * (143 - 10)  # 72 frames at twice the rate, less a blend
    assert made.num_frames == 2 * (2 * inner - 2) and made.frame_ids.tolist() == list(range(made.num_frames))
    assert answer["outputs"]["count"]["text"] == [str(round((made.num_frames - 1) / 2) + 1)] and made.fps == 50


def test_smooth_and_retime(comfyui, fit) -> None:
    answer = comfyui.run({
        "model": HEAD_MODEL, "fit": n(LOAD, head_model=["model", 0], file="demo performance (built-in)"),
        "smooth": n("ExpPortraitSmoothFit", fit=["fit", 0], method="one euro", strength=1.0, keep_blinks=True,
                    keep_fast=False),
        "retime": n("ExpPortraitRetimeFit", fit=["smooth", 0], next_fit=["fit", 0], fps=50.0, start=10, end=40,
                    loop="seamless", times=2, blend=0.2, fill_gaps=True),
        "count": n("PreviewAny", source=["retime", 1]),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["retime", 0], filename_prefix="t/retimed"),
        "smooth only": n("ExpPortraitSaveSMPLXFit", fit=["smooth", 0], filename_prefix="t/smooth"),
    })  # fmt: skip
    smooth = saved(comfyui, answer, "smooth only")
    expected = smooth_fit(fit, 1.0, "one euro", keep_blinks=True)
    assert torch.allclose(smooth.poses, expected.poses, atol=1e-5)
    assert torch.allclose(smooth.expression, expected.expression, atol=1e-5)
    assert (smooth.poses[:, HEAD] - fit.poses[:, HEAD]).abs().max() > 1e-3
    made = saved(comfyui, answer)
    one = 59 + 143 - 10 - 10  # 30 frames and 72 frames at twice the rate, less two blends
    assert made.num_frames == 2 * one and made.fps == 50 and answer["outputs"]["count"]["text"] == [str(2 * one)]


def test_edit_expression_without_and_with_a_performance(comfyui, fit) -> None:
    graph = {
        "model": HEAD_MODEL,
        "alone": n("ExpPortraitEditExpression", head_model=["model", 0],
                   **SETTINGS | {"preset": "surprise", "preset_amount": 0.5, "smile": 0.3, "frames": 3,
                                 "save_preset_as": " my look-2 "}),
        "see": n("PreviewImage", images=["alone", 1]),
        "save_alone": n("ExpPortraitSaveSMPLXFit", fit=["alone", 0], filename_prefix="t/alone"),
        "fit": n(LOAD, head_model=["model", 0], file="demo performance (built-in)"),
        "edited": n("ExpPortraitEditExpression", head_model=["model", 0], fit=["fit", 0],
                    **SETTINGS | {"head_turn": 15.0, "brows_gain": 0.0, "start": 10, "end": 20, "fade": 0.0}),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["edited", 0], filename_prefix="t/edited"),
    }  # fmt: skip
    answer = comfyui.run(graph)
    alone, edited = saved(comfyui, answer, "save_alone"), saved(comfyui, answer)
    assert alone.num_frames == 3 and alone.poses[0, 22, 0] == pytest.approx(0.1)
    assert (edited.poses[10:20, HEAD, 1] - fit.poses[10:20, HEAD, 1] > 0.1).all()
    assert torch.equal(edited.poses[30:, HEAD], fit.poses[30:, HEAD]) and not edited.expression[:, 2].any()
    picture = read_picture(comfyui.base / "temp" / answer["outputs"]["see"]["images"][0]["filename"])[0]
    assert picture.shape == (512, 512, 3) and picture.std() > 0.1
    kept = list((comfyui.base / "output" / "expportrait" / "presets").iterdir())
    assert [path.name for path in kept] == ["my look-2.preset.json"]
    assert load_preset(kept[0]).values["smile"] == 0.3
    options = comfyui.get("/object_info/ExpPortraitEditExpression")["ExpPortraitEditExpression"]["input"]["required"]
    assert "my look-2" in options["preset"][1]["options"]
    graph["alone"]["inputs"] |= {"preset": "my look-2", "preset_amount": 1.0, "smile": 0.0, "save_preset_as": ""}
    assert torch.allclose(saved(comfyui, comfyui.run(graph), "save_alone").expression, alone.expression)
    graph["alone"]["inputs"]["preset"] = "gone"
    assert "There is no preset gone" in refused(comfyui.run(graph))


@pytest.mark.parametrize("name", ["smile", "a/b", "../x", "NUL"])
def test_names_that_could_not_be_chosen_are_refused_before_anything_runs(comfyui, name: str) -> None:
    answer = comfyui.run({
        "model": HEAD_MODEL,
        "alone": n("ExpPortraitEditExpression", head_model=["model", 0], **SETTINGS | {"save_preset_as": name}),
        "see": n("PreviewImage", images=["alone", 1]),
    })  # fmt: skip
    said = json.dumps(answer["node_errors"]["alone"])  # not while it runs
    assert "ships with the pack" in said or "name holds" in said or "A preset cannot be called" in said, said
    assert not list((comfyui.base / "output").rglob("*x.preset.json"))


def test_texts_by_wire_run_again_only_where_a_preset_changes(comfyui) -> None:
    """A file that bears the name of a preset that ships can be chosen all the same."""
    def kept(puff: float) -> None:
        save_preset(Preset("x", {"puff": puff}), comfyui.base / "input" / "smile.preset.json")

    text = n("PrimitiveStringMultiline", value="0: @smile (own) 0.5")
    graph = {
        "model": HEAD_MODEL, "text": text,
        "keys": n("ExpPortraitKeyframes", head_model=["model", 0], keyframes=["text", 0], fps=25.0, seconds=0.0),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["keys", 0], filename_prefix="t/wired"),
    }  # fmt: skip

    def run() -> tuple[float, bool]:
        answer = comfyui.run(graph)
        cached = next(value for kind, value in answer["status"]["messages"] if kind == "execution_cached")["nodes"]
        return float(saved(comfyui, answer).expression.max()), "keys" in cached

    kept(0.5)
    assert run() == (0.25, False)
    graph["save"]["inputs"]["filename_prefix"] = "t/again"
    assert run() == (0.25, True)
    kept(1.0)
    assert run() == (0.5, False)
    options = comfyui.get("/object_info/ExpPortraitEditExpression")["ExpPortraitEditExpression"]["input"]["required"]
    assert {"smile", "smile (own)"} <= set(options["preset"][1]["options"])
    text["inputs"]["value"] = "0: @smiling"
    assert "There is no preset 'smiling'" in refused(comfyui.run(graph))


def test_a_preset_in_mode_replace_speaks_of_the_whole_face(comfyui, fit) -> None:
    def edited(**settings: object):
        return saved(comfyui, comfyui.run({
            "model": HEAD_MODEL, "fit": n(LOAD, head_model=["model", 0], file="demo performance (built-in)"),
            "edited": n("ExpPortraitEditExpression", head_model=["model", 0], fit=["fit", 0],
                        **SETTINGS | {"mode": "replace"} | settings),
            "save": n("ExpPortraitSaveSMPLXFit", fit=["edited", 0], filename_prefix="t/whole"),
        }))  # fmt: skip

    rest = edited(preset="neutral")
    face = [JAW, LEFT_EYE, RIGHT_EYE]
    assert fit.expression.any() and not rest.expression.any() and not rest.poses[:, face].any()
    assert torch.equal(rest.poses[:, [NECK, HEAD]], fit.poses[:, [NECK, HEAD]]), "the head keeps turning"
    shy = load_preset("shy").values
    part = edited(preset="shy", preset_amount=0.5, puff=0.25, start=30, end=40, fade=0.2)
    column = load_head_model("default", 0).expression_names.index
    assert torch.allclose(part.expression[30:40, column("mouthSmileLeft")], torch.tensor(0.5 * shy["smile"]))
    assert torch.allclose(part.expression[30:40, column("cheekPuff")], torch.tensor(0.25))
    assert not part.expression[30:40, column("eyeBlinkLeft")].any() and not part.poses[30:40, JAW].any()
    assert part.poses[30:40, HEAD].diff(dim=0).abs().max() < 1e-6, "the preset names the head"
    outside = [*range(25), *range(46, 72)]
    assert torch.equal(part.expression[outside], fit.expression[outside])
    moved = edited(puff=0.25).expression
    changed = (moved != fit.expression).any(0).nonzero()[:, 0].tolist()
    assert changed == [column("cheekPuff")], "without a preset only the sliders that were moved"


def test_keyframes_and_inspect(comfyui) -> None:
    graph = {
        "model": HEAD_MODEL,
        "keys": n("ExpPortraitKeyframes", head_model=["model", 0], keyframes="0: neutral\n1: @laugh, head_turn 20",
                  fps=10.0, seconds=0.0),
        "inspect": n("ExpPortraitInspectFit", fit=["keys", 0]),
        "overlay": n("PreviewImage", images=["inspect", 0]), "curves": n("PreviewImage", images=["inspect", 1]),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["keys", 0], filename_prefix="t/keys"),
    }  # fmt: skip
    answer = comfyui.run(graph)
    assert saved(comfyui, answer).num_frames == 11 and len(answer["outputs"]["overlay"]["images"]) == 11
    curves = read_picture(comfyui.base / "temp" / answer["outputs"]["curves"]["images"][0]["filename"])[0]
    assert curves.shape[1] == 1400 and curves.std() > 0.05
    graph["keys"]["inputs"]["keyframes"] = "0: neutral\n1: smlie 1"
    assert "Line 2: There is no control 'smlie'. Did you mean 'smile'" in refused(comfyui.run(graph))
    graph["keys"]["inputs"]["keyframes"] = "0: @../../secret"
    assert "There is no preset '../../secret'" in refused(comfyui.run(graph))


def test_inspect_lays_the_fit_over_its_pictures(comfyui) -> None:
    graph = {
        "photo": n("LoadImage", image="expportrait_astronaut.png"), "model": HEAD_MODEL,
        "fit": n(LOAD, head_model=["model", 0], file="demo performance (built-in)"),
        "one": n("ExpPortraitRetimeFit", fit=["fit", 0], fps=0.0, start=0, end=1, loop="once", times=1, blend=0.0,
                 fill_gaps=False),
        "inspect": n("ExpPortraitInspectFit", fit=["one", 0], images=["photo", 0]),
        "overlay": n("PreviewImage", images=["inspect", 0]),
    }  # fmt: skip
    answer = comfyui.run(graph)
    assert answer["status"]["status_str"] == "success", answer["status"]
    (path,) = files_of(comfyui, answer, "overlay")
    overlay, photo = read_picture(path)[0], read_picture(PHOTO)[0]
    changed = (overlay - photo).abs().amax(-1) > 0.02
    assert 0.1 < changed.float().mean() < 0.9 and changed[200:300, 200:300].float().mean() > 0.9, "the head is drawn"
    assert not changed[:20].any(), "and what is around it is the picture"
    graph["wide"] = n("ImageScale", image=["photo", 0], upscale_method="bilinear", width=400, height=300, crop="center")
    graph["inspect"]["inputs"]["images"] = ["wide", 0]
    assert "The pictures are 400×300 and those of the fit 512×512" in refused(comfyui.run(graph))
    graph["inspect"]["inputs"] |= {"images": ["photo", 0], "fit": ["fit", 0]}
    assert "There are 1 pictures and a fit of 72 frames" in refused(comfyui.run(graph))
