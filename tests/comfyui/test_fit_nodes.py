"""The nodes for fits in a real server: files and folders with their limits, edits, keyframes, curves."""

from __future__ import annotations

import contextlib
import json
import shutil
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from expportrait_core.assets import PERFORMANCE
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
)
from expportrait_core.media import read_picture
from expportrait_core.types import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE

from ..body.smplx_file import write_bare_head
from ..fit.formats import tracker_files
from ..fit.formats.strangers import smplx_like, write_as_flame
from ..fit.formats.test_arkit import write as write_arkit
from ..fit.option_names import named_options
from . import browser
from . import server as server_module
from .graphs import node as n

ROOT = Path(__file__).parents[2]
OLDER_FRONTEND = "1.27.10"  # the oldest that pyproject.toml allows
MODEL = n("ExpPortraitLoadHeadModel", model="default head (CC0)", upsampling_level=0)
LOAD = "ExpPortraitLoadSMPLXFit"
WIDGETS = {"file": "demo performance (built-in)", "person": -1, "mirror": False, "source_fps": 0, "legacy10": False,
           "image_width": 0, "image_height": 0, "focal": 0}  # fmt: skip
"""Of Load SMPL-X Fit, in their order, with their defaults."""
SETTINGS = dict.fromkeys(GROUPED, 0.0) | {
    "preset": "none", "preset_amount": 1.0, "mode": "add", "start": 0, "end": 0, "fade": 0.2, "mouth_gain": 1.0,
    "eyes_gain": 1.0, "brows_gain": 1.0, "pose_gain": 1.0, "motion": "absolute", "neutral_frame": 0, "frames": 1,
    "save_preset_as": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def extra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the user's extra_model_paths.yaml names."""
    return tmp_path_factory.mktemp("my fits")


@pytest.fixture(scope="module")
def server(install, extra: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    base = tmp_path_factory.mktemp("fits")
    config = base / "paths.yaml"
    config.write_text(f"mine:\n  expportrait_fits: {json.dumps(str(extra))}\n", "utf-8")
    with server_module.running(install, base, "--extra-model-paths-config", str(config)) as running:
        yield running


@pytest.fixture(scope="module")
def fit():
    return load_fit(PERFORMANCE)


def choices(server) -> list[str]:
    return server.get(f"/object_info/{LOAD}")[LOAD]["input"]["required"]["file"][1]["options"]


def refused(answer: dict) -> str:
    if answer.get("node_errors"):
        return json.dumps(answer["node_errors"], ensure_ascii=False)
    return next(value for kind, value in answer["status"]["messages"] if kind == "execution_error")["exception_message"]


def loaded(server, name: str, **more: object) -> dict:
    """The history of a graph that loads a fit and saves it again."""
    return server.run({
        "model": MODEL,
        "fit": n(LOAD, head_model=["model", 0], file=name, **more),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["fit", 0], filename_prefix=f"t/{uuid.uuid4().hex}"),
    })  # fmt: skip


def saved(server, answer: dict, node: str = "save"):
    assert answer["status"]["status_str"] == "success", answer["status"]
    entry = answer["outputs"][node]["files"][0]
    return load_fit(server.base / entry["type"] / entry["subfolder"] / entry["filename"])


# ------------------------------------------------------------------------------------------------------- which files


def test_files_and_folders_are_offered_with_their_subfolders(server, extra: Path, fit) -> None:
    inputs = server.base / "input"
    save_fit(fit, inputs / "takes" / "day one" / "a.npz")
    save_fit(fit, extra / "b.npz")
    (inputs / "notes.txt").write_text("no fit")
    (inputs / "frames" / "checkpoint").mkdir(parents=True)
    for number in range(30):
        (inputs / "frames" / "checkpoint" / f"{number:05}.frame").write_bytes(b"x")
        (inputs / "emica" / f"{number:05}").mkdir(parents=True)
        (inputs / "emica" / f"{number:05}" / "exp.npy").write_bytes(b"x")
    offered = choices(server)
    assert {"takes/day one/a.npz", "takes/", "frames/", "frames/checkpoint/", "emica/", "b.npz [fits]"} <= set(offered)
    assert not [name for name in offered if name.endswith((".frame", ".npy", ".txt")) or name.startswith("emica/0")]
    assert offered[0] == "demo performance (built-in)" and len(offered) == len(set(offered))
    for name in ("takes/day one/a.npz", "b.npz [fits]"):
        assert torch.equal(saved(server, loaded(server, name)).poses, fit.poses)


def test_a_folder_of_a_tracker_is_read(server) -> None:
    folder = server.base / "input" / "smplerx"
    tracker_files.write_smplerx(folder)
    said = refused(loaded(server, "smplerx/"))
    assert "in the space 'smplx100', the head model 'default-head' has 'arkit'" in said
    assert "person" in refused(loaded(server, "smplerx/", person=77)).lower()


@pytest.mark.parametrize(("name", "sentence"), [
    *[(name, "outside ComfyUI's input and output folders") for name in (
        "../../etc/hostname", "/etc/hostname", "takes/../../secret.npz", "secret.npz [fits]/../../x",
        "../secret.npz [output]", "../x.npz [fits]")],
    ("a\0b.npz", "no file name has"),
    *[(name, "There is no fit file") for name in ("C:\\x\\..\\secret.npz", "gone.npz", "")],
])  # fmt: skip
def test_paths_that_leave_the_folders_are_refused(server, fit, name: str, sentence: str) -> None:
    save_fit(fit, server.base / "secret.npz")
    assert sentence in refused(loaded(server, name))


def test_links_that_leave_the_folders_are_refused(server, fit, tmp_path: Path) -> None:
    outside = save_fit(fit, tmp_path / "outside.npz")
    inputs = server.base / "input"
    (inputs / "link.npz").symlink_to(outside)
    (inputs / "linked").symlink_to(tmp_path, target_is_directory=True)
    (inputs / "holding").mkdir()
    shutil.copy(PERFORMANCE, inputs / "holding" / "own.npz")
    (inputs / "holding" / "other.npz").symlink_to(outside)
    offered = choices(server)
    assert not [name for name in offered if "link" in name or "other" in name]
    for name in ("link.npz", "linked/outside.npz", "linked/"):
        assert "outside ComfyUI's input and output folders" in refused(loaded(server, name))
    said = refused(loaded(server, "holding/"))
    assert "holds the link other.npz, which leads outside ComfyUI's folders or nowhere" in said
    tracker_files.write_ehm(inputs / "ehm")
    shared = (inputs / "ehm" / "id_share_params.pkl").rename(tmp_path / "shared.pkl")
    (inputs / "ehm" / "id_share_params.pkl").symlink_to(shared)  # beside the file that is chosen
    said = refused(loaded(server, "ehm/optim_tracking_ehm.pkl"))
    assert "needs id_share_params.pkl, which lies outside the folders" in said
    (inputs / "inner.npz").symlink_to(inputs / "holding" / "own.npz")  # stays inside
    assert saved(server, loaded(server, "inner.npz")).num_frames == fit.num_frames


def test_an_edited_file_is_read_again(server, fit) -> None:
    path = server.base / "input" / "changing.npz"
    graph = {
        "model": MODEL, "fit": n(LOAD, head_model=["model", 0], file="changing.npz"),
        "count": n("PreviewAny", source=["fit", 1]),
    }  # fmt: skip
    for frames in (5, 7):
        save_fit(fit.frames(slice(frames)), path)
        answer = server.run(graph)
        assert answer["outputs"]["count"]["text"] == [str(frames)]


def test_what_is_optional_comes_last_and_in_the_order_it_came_in(server) -> None:
    info = server.get(f"/object_info/{LOAD}")[LOAD]
    assert list(info["input_order"]["optional"]) == [
        "person", "body_model", "second_body_model", "mirror", "source_fps", "legacy10", "image_width", "image_height",
        "focal",
    ]  # fmt: skip
    assert info["input"]["optional"]["person"][1]["default"] == -1
    assert saved(server, loaded(server, "demo performance (built-in)")).num_frames == 72


# ----------------------------------------------------------------------------------------- what a file does not say


def test_what_sentences_ask_for_is_an_input(server) -> None:
    """By the same name, but where ComfyUI has another: an input must not be called as an output, and has one value."""
    optional = server.get(f"/object_info/{LOAD}")[LOAD]["input"]["optional"]
    other = {"fps": ["source_fps"], "image_size": ["image_width", "image_height"],
             "body_model": ["body_model", "second_body_model"]}  # fmt: skip
    for name in named_options():
        for called in other.get(name, [name]):
            assert called in optional, name
            assert called == name or name == "body_model" or name in optional[called][1]["tooltip"], "nobody finds it"


def same(fit, other) -> bool:
    return all(torch.equal(getattr(fit, name), getattr(other, name)) for name in ("expression", "poses", "translation"))


def test_options_of_a_file_are_the_cores(server, tmp_path: Path) -> None:
    inputs = server.base / "input"
    recording = write_arkit(inputs / "take.csv", [{"EyeBlinkLeft": 0.7, "HeadYaw": 0.2}] * 3)
    more = {"mirror": True, "source_fps": 12.0, "image_width": 640, "image_height": 480, "focal": 700.0}
    made = saved(server, loaded(server, "take.csv", **more))
    assert same(made, load_fit(recording, mirror=True)) and not same(made, load_fit(recording))
    assert (made.fps, made.image_size, float(made.camera.intrinsics[0, 0, 0])) == (12, (480, 640), 700)
    plain = saved(server, loaded(server, "take.csv", mirror=False, source_fps=0.0, image_width=0, focal=0.0))
    assert same(plain, load_fit(recording)) and (plain.fps, plain.image_size) == (60, (512, 512))
    said = refused(loaded(server, "take.csv", image_width=640))
    assert "image_width is 640 and image_height 0, expected both" in said
    assert "`mirror` is for ARKit recordings" in refused(loaded(server, "demo performance (built-in)", mirror=True))
    tracker_files.write_smplerx(inputs / "ten")
    assert "in the space 'smplx100'" in refused(loaded(server, "ten/"))
    assert "in the space 'smplx10'" in refused(loaded(server, "ten/", legacy10=True))


def test_both_body_models_are_used(server, coarse_head) -> None:
    """A SMPL-X body with FLAME's expressions, on the default head, as the core itself reads it."""
    models, clip = server.base / "models" / "smplx", server.base / "input" / "both"
    for folder in (models, clip):
        folder.mkdir(exist_ok=True)
    tracker_files.write_ehm(clip)
    flame = write_as_flame(models, smplx_like(coarse_head, 1.0, (0.003, -0.74, -0.12))[0])
    smplx = write_bare_head(models / "SMPLX_NEUTRAL.npz")[0]
    bodies = [load_head_model(path, 0) for path in (flame, smplx)]
    graph = {
        "model": MODEL,
        "flame": n("ExpPortraitLoadHeadModel", model=flame.name, upsampling_level=0),
        "smplx": n("ExpPortraitLoadHeadModel", model=smplx.name, upsampling_level=0),
        "fit": n(LOAD, head_model=["model", 0], file="both/", body_model=["flame", 0]),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["fit", 0], filename_prefix="t/bodies"),
    }  # fmt: skip
    one = saved(server, server.run(graph))
    graph["fit"]["inputs"]["second_body_model"] = ["smplx", 0]
    both = saved(server, server.run(graph))
    for made, given in ((one, bodies[:1]), (both, bodies)):
        expected = load_fit(clip, coarse_head, body_model=given)
        for name in ("expression", "poses", "translation"):
            assert torch.allclose(getattr(made, name), getattr(expected, name), atol=1e-5), name
    assert (one.translation - both.translation).abs().max() > 0.005, "the second model keeps the head in its place"


@pytest.mark.skipif(browser.executable() is None, reason="there is no chromium here")
@pytest.mark.parametrize("version", [None, OLDER_FRONTEND])
def test_what_was_saved_before_these_inputs_loads_as_it_was(
    install, server, tmp_path: Path, version: str | None
) -> None:
    """Values are kept by position: fewer of them leave the rest as it is by default."""
    node = next(node for node in json.loads((ROOT / "workflows" / "normals_only.json").read_text("utf-8"))["nodes"]
                if node["type"] == LOAD)  # fmt: skip
    assert node["widgets_values"] == list(WIDGETS.values()), "the shared workflows have them all"
    with contextlib.ExitStack() as stack:
        if version:
            root = server_module.frontend(version)
            server = stack.enter_context(server_module.running(install, tmp_path, "--front-end-root", str(root)))
        page = stack.enter_context(browser.page_of(server))
        for kept in (1, 2):
            old = {**node, "id": 1, "widgets_values": node["widgets_values"][:kept], "inputs": node["inputs"][:2],
                   "outputs": [{**output, "links": None} for output in node["outputs"]]}  # fmt: skip
            old["inputs"][0] = {**old["inputs"][0], "link": None}
            workflow = {"last_node_id": 1, "last_link_id": 0, "nodes": [old], "links": [], "groups": [], "config": {},
                        "extra": {}, "version": 0.4}  # fmt: skip
            page.evaluate("workflow => window.app.loadGraphData(workflow)", workflow)
            found = page.evaluate("window.app.graph._nodes[0].widgets.map(w => [w.name, w.value])")
            assert {name: value for name, value in found if not name.startswith("upload")} == WIDGETS
            sent = page.evaluate("window.app.graphToPrompt().then(p => p.output['1'].inputs)")
            assert {name: sent[name] for name in WIDGETS} == WIDGETS


# ------------------------------------------------------------------------------------------------------------ uploads


def test_the_upload_route_takes_fits(server, fit, tmp_path: Path) -> None:
    """What the frontend extension posts to: core's own route, into a subfolder."""
    content = save_fit(fit, tmp_path / "up.npz").read_bytes()
    mark = uuid.uuid4().hex
    parts = [f'--{mark}\r\nContent-Disposition: form-data; name="subfolder"\r\n\r\nmine/takes\r\n'.encode(),
             f'--{mark}\r\nContent-Disposition: form-data; name="image"; filename="up.npz"\r\n\r\n'.encode() + content,
             f"\r\n--{mark}--\r\n".encode()]  # fmt: skip
    request = urllib.request.Request(  # noqa: S310 - our own server
        server.url + "/upload/image", b"".join(parts), {"Content-Type": f"multipart/form-data; boundary={mark}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert json.load(answer)["subfolder"] == "mine/takes"
    assert "mine/takes/up.npz" in choices(server)


@pytest.mark.skipif(browser.executable() is None, reason="there is no chromium here")
def test_files_are_uploaded_by_button_and_by_drop(server, fit, tmp_path: Path) -> None:
    button, dropped = save_fit(fit, tmp_path / "by button.npz"), save_fit(fit, tmp_path / "by drop.npz")
    value = "window.app.graph._nodes[0].widgets.find(w => w.name === 'file').value"
    with browser.page_of(server) as page:
        page.evaluate(f"""() => {{
            window.app.graph.clear();
            const node = LiteGraph.createNode('{LOAD}');
            window.app.graph.add(node);
        }}""")
        names = page.evaluate("window.app.graph._nodes[0].widgets.map(w => w.name)")
        assert names == [*WIDGETS, "upload file", "upload folder"]
        with page.expect_file_chooser() as chooser:
            page.evaluate("window.app.graph._nodes[0].widgets.find(w => w.name === 'upload file').callback()")
        chooser.value.set_files(button)
        page.wait_for_function(f"{value} === 'by button.npz'", timeout=20_000)
        page.evaluate(
            """async ([name, bytes]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], name));
                const node = window.app.graph._nodes[0];
                const event = new DragEvent('drop', { dataTransfer: data });
                if (!node.onDragOver(event)) throw new Error('the node does not take files');
                await node.onDragDrop(event);
            }""",
            [dropped.name, list(dropped.read_bytes())],
        )
        assert page.evaluate(value) == "by drop.npz"
        assert page.evaluate("window.app.graph.serialize().nodes[0].widgets_values.slice(0, 2)") == ["by drop.npz", -1]
    assert {"by button.npz", "by drop.npz"} <= set(choices(server))


# -------------------------------------------------------------------------------------------- smoothing, time, editing


def test_choices_and_sliders_are_the_cores(server) -> None:
    info = server.get("/object_info")

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
def test_gaps_of_both_fits_keep_their_time(server, fill: bool) -> None:
    fit = load_fit(PERFORMANCE)
    save_fit(fit.frames([*range(20), *range(50, 72)]), server.base / "input" / "holed.npz")  # without 20 to 49
    answer = server.run({
        "model": MODEL, "fit": n(LOAD, head_model=["model", 0], file="holed.npz"),
        "retime": n("ExpPortraitRetimeFit", fit=["fit", 0], next_fit=["fit", 0], fps=0.0, start=0, end=0, loop="once",
                    times=1, blend=0.0, fill_gaps=fill),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["retime", 0], filename_prefix="t/both"),
    })  # fmt: skip
    made = saved(server, answer)
    assert made.num_frames == 144 and made.frame_ids.tolist() == list(range(144)) and int((~made.valid).sum()) == 60


def test_gaps_that_are_not_filled_keep_their_time_in_loops_of_loops(server) -> None:
    fit = load_fit(PERFORMANCE)
    save_fit(fit.frames([*range(20), *range(50, 72)]), server.base / "input" / "holed.npz")  # without 20 to 49
    retime = {"start": 0, "end": 0, "times": 2, "blend": 0.2, "fill_gaps": False}
    answer = server.run({
        "model": MODEL, "fit": n(LOAD, head_model=["model", 0], file="holed.npz"),
        "inner": n("ExpPortraitRetimeFit", fit=["fit", 0], fps=50.0, loop="seamless", **retime),
        "retime": n("ExpPortraitRetimeFit", fit=["inner", 0], fps=0.0, loop="back and forth", **retime),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["retime", 0], filename_prefix="t/loops"),
        "again": n("ExpPortraitRetimeFit", fit=["retime", 0], fps=25.0, loop="once", **retime),
        "count": n("PreviewAny", source=["again", 1]),
    })  # fmt: skip
    made = saved(server, answer)
    inner = 2 * (143 - 10)  # 72 frames at twice the rate, less a blend
    assert made.num_frames == 2 * (2 * inner - 2) and made.frame_ids.tolist() == list(range(made.num_frames))
    assert answer["outputs"]["count"]["text"] == [str(round((made.num_frames - 1) / 2) + 1)] and made.fps == 50


def test_smooth_and_retime(server) -> None:
    answer = server.run({
        "model": MODEL, "fit": n(LOAD, head_model=["model", 0], file="demo performance (built-in)"),
        "smooth": n("ExpPortraitSmoothFit", fit=["fit", 0], method="one euro", strength=1.0, keep_blinks=True,
                    keep_fast=False),
        "retime": n("ExpPortraitRetimeFit", fit=["smooth", 0], next_fit=["fit", 0], fps=50.0, start=10, end=40,
                    loop="seamless", times=2, blend=0.2, fill_gaps=True),
        "count": n("PreviewAny", source=["retime", 1]),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["retime", 0], filename_prefix="t/retimed"),
    })  # fmt: skip
    made = saved(server, answer)
    one = 59 + 143 - 10 - 10  # 30 frames and 72 frames at twice the rate, less two blends
    assert made.num_frames == 2 * one and made.fps == 50 and answer["outputs"]["count"]["text"] == [str(2 * one)]


def test_edit_expression_without_and_with_a_performance(server, fit) -> None:
    graph = {
        "model": MODEL,
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
    answer = server.run(graph)
    alone, edited = saved(server, answer, "save_alone"), saved(server, answer)
    assert alone.num_frames == 3 and alone.poses[0, 22, 0] == pytest.approx(0.1)
    assert (edited.poses[10:20, HEAD, 1] - fit.poses[10:20, HEAD, 1] > 0.1).all()
    assert torch.equal(edited.poses[30:, HEAD], fit.poses[30:, HEAD]) and not edited.expression[:, 2].any()
    picture = read_picture(server.base / "temp" / answer["outputs"]["see"]["images"][0]["filename"])[0]
    assert picture.shape == (512, 512, 3) and picture.std() > 0.1
    kept = list((server.base / "output" / "expportrait" / "presets").iterdir())
    assert [path.name for path in kept] == ["my look-2.preset.json"]
    assert load_preset(kept[0]).values["smile"] == 0.3
    options = server.get("/object_info/ExpPortraitEditExpression")["ExpPortraitEditExpression"]["input"]["required"]
    assert "my look-2" in options["preset"][1]["options"]
    graph["alone"]["inputs"] |= {"preset": "my look-2", "preset_amount": 1.0, "smile": 0.0, "save_preset_as": ""}
    assert torch.allclose(saved(server, server.run(graph), "save_alone").expression, alone.expression)
    graph["alone"]["inputs"]["preset"] = "gone"
    assert "There is no preset gone" in refused(server.run(graph))


@pytest.mark.parametrize("name", ["smile", "a/b", "../x", "NUL"])
def test_names_that_could_not_be_chosen_are_refused_before_anything_runs(server, name: str) -> None:
    answer = server.run({
        "model": MODEL,
        "alone": n("ExpPortraitEditExpression", head_model=["model", 0], **SETTINGS | {"save_preset_as": name}),
        "see": n("PreviewImage", images=["alone", 1]),
    })  # fmt: skip
    assert "preset" in json.dumps(answer["node_errors"]["alone"]), "not while it runs"
    assert not list((server.base / "output").rglob("*x.preset.json"))


def test_texts_by_wire_run_again_only_where_a_preset_changes(server) -> None:
    """A file that bears the name of a preset that ships can be chosen all the same."""
    def kept(puff: float) -> None:
        save_preset(Preset("x", {"puff": puff}), server.base / "input" / "smile.preset.json")

    text = n("PrimitiveStringMultiline", value="0: @smile (own) 0.5")
    graph = {
        "model": MODEL, "text": text,
        "keys": n("ExpPortraitKeyframes", head_model=["model", 0], keyframes=["text", 0], fps=25.0, seconds=0.0),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["keys", 0], filename_prefix="t/wired"),
    }  # fmt: skip

    def run() -> tuple[float, bool]:
        answer = server.run(graph)
        cached = next(value for kind, value in answer["status"]["messages"] if kind == "execution_cached")["nodes"]
        return float(saved(server, answer).expression.max()), "keys" in cached

    kept(0.5)
    assert run() == (0.25, False)
    graph["save"]["inputs"]["filename_prefix"] = "t/again"
    assert run() == (0.25, True)
    kept(1.0)
    assert run() == (0.5, False)
    options = server.get("/object_info/ExpPortraitEditExpression")["ExpPortraitEditExpression"]["input"]["required"]
    assert {"smile", "smile (own)"} <= set(options["preset"][1]["options"])
    text["inputs"]["value"] = "0: @smiling"
    assert "There is no preset 'smiling'" in refused(server.run(graph))


def test_a_preset_in_mode_replace_speaks_of_the_whole_face(server, fit) -> None:
    def edited(**settings: object):
        return saved(server, server.run({
            "model": MODEL, "fit": n(LOAD, head_model=["model", 0], file="demo performance (built-in)"),
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


def test_keyframes_and_inspect(server) -> None:
    graph = {
        "model": MODEL,
        "keys": n("ExpPortraitKeyframes", head_model=["model", 0], keyframes="0: neutral\n1: @laugh, head_turn 20",
                  fps=10.0, seconds=0.0),
        "inspect": n("ExpPortraitInspectFit", fit=["keys", 0]),
        "overlay": n("PreviewImage", images=["inspect", 0]), "curves": n("PreviewImage", images=["inspect", 1]),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["keys", 0], filename_prefix="t/keys"),
    }  # fmt: skip
    answer = server.run(graph)
    assert saved(server, answer).num_frames == 11 and len(answer["outputs"]["overlay"]["images"]) == 11
    curves = read_picture(server.base / "temp" / answer["outputs"]["curves"]["images"][0]["filename"])[0]
    assert curves.shape[1] == 1400 and curves.std() > 0.05
    graph["keys"]["inputs"]["keyframes"] = "0: neutral\n1: smlie 1"
    assert "Line 2: There is no control 'smlie'. Did you mean 'smile'" in refused(server.run(graph))
    graph["keys"]["inputs"]["keyframes"] = "0: @../../secret"
    assert "There is no preset '../../secret'" in refused(server.run(graph))


def test_inspect_lays_the_fit_over_its_pictures(server) -> None:
    graph = {
        "photo": n("LoadImage", image="expportrait_astronaut.png"), "model": MODEL,
        "fit": n(LOAD, head_model=["model", 0], file="demo performance (built-in)"),
        "one": n("ExpPortraitRetimeFit", fit=["fit", 0], fps=0.0, start=0, end=1, loop="once", times=1, blend=0.0,
                 fill_gaps=False),
        "inspect": n("ExpPortraitInspectFit", fit=["one", 0], images=["photo", 0]),
        "overlay": n("PreviewImage", images=["inspect", 0]),
    }  # fmt: skip
    assert server.run(graph)["status"]["status_str"] == "success"
    graph["wide"] = n("ImageScale", image=["photo", 0], upscale_method="bilinear", width=400, height=300, crop="center")
    graph["inspect"]["inputs"]["images"] = ["wide", 0]
    assert "The pictures are 400×300 and those of the fit 512×512" in refused(server.run(graph))
    graph["inspect"]["inputs"] |= {"images": ["photo", 0], "fit": ["fit", 0]}
    assert "There are 1 pictures and a fit of 72 frames" in refused(server.run(graph))


# ---------------------------------------------------------------------------------------------------------- help pages


def test_every_node_has_a_help_page_that_names_its_inputs_and_outputs(server) -> None:
    missing = []
    for key, node in server.get("/object_info").items():
        if not key.startswith("ExpPortrait"):
            continue
        page = ROOT / "web" / "docs" / f"{key}.md"
        if not page.is_file():
            missing.append(key)
            continue
        text = page.read_text("utf-8")
        inputs = [name for kind in ("required", "optional") for name in node["input"].get(kind, {})]
        missing += [f"{key}: {name}" for name in [*inputs, *node["output_name"]] if f"`{name}`" not in text]
        assert text.startswith(f"# {node['display_name']}\n") and "Tip:" in text, key
    assert not missing


def test_help_pages_are_served(server) -> None:
    page = server.url + "/extensions/expportrait/docs/ExpPortraitKeyframes.md"
    with urllib.request.urlopen(page, timeout=30) as answer:  # noqa: S310 - our own server
        assert answer.read().startswith(b"# Keyframes")


def test_no_help_page_is_of_no_node(server) -> None:
    known = set(server.get("/object_info"))
    assert {page.stem for page in (ROOT / "web" / "docs").glob("*.md")} <= known
