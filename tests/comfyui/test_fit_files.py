"""Fits as files in a real server: which files and folders are offered and taken, their options, uploads."""

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
from expportrait_core.fit import load_fit, save_fit

from ..body.smplx_file import write_bare_head
from ..fit.formats import tracker_files
from ..fit.formats.strangers import smplx_like, write_as_flame
from ..fit.formats.test_arkit import write as write_arkit
from ..fit.option_names import named_options
from . import browser
from . import server as server_module
from .graphs import HEAD_MODEL, refused, saved
from .graphs import node as n

ROOT = Path(__file__).parents[2]
OLDER_FRONTEND = "1.27.10"  # the oldest that pyproject.toml allows
LOAD = "ExpPortraitLoadSMPLXFit"
WIDGETS = {"file": "demo performance (built-in)", "person": -1, "mirror": False, "source_fps": 0, "legacy10": False,
           "image_width": 0, "image_height": 0, "focal": 0}  # fmt: skip
"""Of Load SMPL-X Fit, in their order, with their defaults."""



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


def loaded(server, name: str, **more: object) -> dict:
    """The history of a graph that loads a fit and saves it again."""
    return server.run({
        "model": HEAD_MODEL,
        "fit": n(LOAD, head_model=["model", 0], file=name, **more),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["fit", 0], filename_prefix=f"t/{uuid.uuid4().hex}"),
    })  # fmt: skip





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
        "model": HEAD_MODEL, "fit": n(LOAD, head_model=["model", 0], file="changing.npz"),
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
        "model": HEAD_MODEL,
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
