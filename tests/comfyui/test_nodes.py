"""The nodes in a real server: they register, start in no time, run as one graph, and say what is wrong in sentences."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import time
from pathlib import Path

import pytest
import torch

from expportrait_core import demo
from expportrait_core.fit import FACES, MISSING, load_fit, save_fit
from expportrait_core.generator.preview.animate import BACKGROUNDS
from expportrait_core.head import load_head
from expportrait_core.media import read_picture, write_picture
from expportrait_core.render import CONVENTIONS, SPACES
from expportrait_core.transfer.motion import CHOICES

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

NAMES = {
    "Load Head Model", "Load SMPL-X Fit", "Track Head", "Crop Portrait", "Personalize Head", "Transfer Expression",
    "Render Normals", "Photo Preview", "Load Demo Generator", "Apply ExpPortrait", "ExpPortrait DiT Sampler",
    "Save SMPL-X Fit", "Load Head", "Save Head", "Paste Back",
}  # fmt: skip
"""Display names; the ids follow from them."""


def _graphs():
    spec = importlib.util.spec_from_file_location("expportrait_test_graphs", HERE / "graphs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


graphs = _graphs()


def id_of(display_name: str) -> str:
    """Without "ExpPortrait", spaces and hyphens, with the prefix once."""
    return "ExpPortrait" + re.sub("[ -]", "", display_name.replace("ExpPortrait", ""))


@pytest.fixture(scope="module")
def nodes(comfyui) -> dict:
    return {key: value for key, value in comfyui.get("/object_info").items() if key.startswith("ExpPortrait")}


def inputs_of(node: dict) -> dict[str, list]:
    return {**node["input"].get("required", {}), **node["input"].get("optional", {})}


# ------------------------------------------------------------------------------------------------------- registration


def test_every_node_registers_under_its_id(comfyui, nodes) -> None:
    assert {node["display_name"]: key for key, node in nodes.items()} == {name: id_of(name) for name in NAMES}
    assert "IMPORT FAILED" not in comfyui.log.read_text("utf-8")


def test_every_input_has_a_tooltip_of_one_sentence(nodes) -> None:
    wrong = [
        f"{key}.{name}: {spec[1].get('tooltip') if len(spec) > 1 else None}"
        for key, node in nodes.items()
        for name, spec in inputs_of(node).items()
        if len(spec) < 2 or not re.fullmatch(r"[A-Z0-9][^.]*(\.\w[^.]*)*\.", spec[1].get("tooltip") or "")
    ]
    assert not wrong


def test_every_node_lies_in_our_menu_and_says_what_it_does(nodes) -> None:
    assert all(node["category"].startswith("ExpPortrait/") for node in nodes.values())
    assert all(node["description"].endswith(".") for node in nodes.values())


@pytest.mark.parametrize(("node", "widget", "choices"), [
    ("ExpPortraitTrackHead", "face", FACES), ("ExpPortraitTrackHead", "missing_frames", MISSING),
    ("ExpPortraitPersonalizeHead", "normals_convention", CONVENTIONS), ("ExpPortraitRenderNormals", "space", SPACES),
    ("ExpPortraitTransferExpression", "head_pose", CHOICES["head_pose"]),
    ("ExpPortraitTransferExpression", "camera", CHOICES["camera"]),
    ("ExpPortraitTransferExpression", "expression", CHOICES["expression"]),
    ("ExpPortraitPhotoPreview", "background", BACKGROUNDS),
])  # fmt: skip
def test_choices_are_the_cores(nodes, node: str, widget: str, choices) -> None:
    """The nodes repeat the core's lists, so that the server starts without importing it."""
    assert inputs_of(nodes[node])[widget][1]["options"] == list(choices)


def test_importing_the_pack_is_quick_and_light(install) -> None:
    """At most half a second beside what the server has loaded anyway, and nothing heavy."""
    program = f"""
import sys, time, importlib.util, asyncio, json
sys.argv = ["main.py", "--cpu"]
sys.path.insert(0, {str(install.root)!r})
import comfy.options; comfy.options.enable_args_parsing()
import nodes, comfy_api.latest
before, start = set(sys.modules), time.perf_counter()
root = {str(ROOT)!r}
spec = importlib.util.spec_from_file_location("pack", root + "/__init__.py", submodule_search_locations=[root])
pack = importlib.util.module_from_spec(spec); sys.modules["pack"] = pack; spec.loader.exec_module(pack)
extension = asyncio.run(pack.comfy_entrypoint())
for node in asyncio.run(extension.get_node_list()): node.GET_SCHEMA()
print(json.dumps([time.perf_counter() - start, sorted(set(sys.modules) - before)]))
"""
    done = subprocess.run([str(install.python), "-c", program], cwd=install.root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    seconds, loaded = json.loads(done.stdout.strip().splitlines()[-1])
    assert seconds < 0.5
    heavy = {"diffusers", "transformers", "cv2", "scipy", "smplx", "numba", "skimage"}
    assert not heavy & {name.split(".")[0] for name in loaded}
    assert not [name for name in loaded if name.startswith("pack.expportrait_core.")], (
        "the core waits for a node to run"
    )


# ------------------------------------------------------------------------------------------------------------ running


@pytest.fixture(scope="module")
def short_driver(comfyui) -> str:
    """Five frames of the built-in performance, as a file of the input folder."""
    save_fit(load_fit(demo.PERFORMANCE).frames(slice(0, 15, 3)), comfyui.base / "input" / "short.npz")
    return "short.npz"


@pytest.fixture(scope="module")
def walked(comfyui, short_driver) -> dict:
    graph = graphs.walk()
    graph["driver"]["inputs"]["file"] = short_driver
    return comfyui.run(graph)


def files_of(comfyui, walked: dict, node: str) -> list[Path]:
    entries = next(iter(walked["outputs"][node].values()))
    return [comfyui.base / entry["type"] / entry["subfolder"] / entry["filename"] for entry in entries]


def test_the_whole_walk_runs(comfyui, walked) -> None:
    assert walked["status"]["status_str"] == "success", walked["status"]
    for node, count in {
        "see_normals": 5,
        "see_depth": 5,
        "see_reference": 1,
        "see_pasted": 5,
        "see_report": 1,
        "see_video": 5,
    }.items():
        pictures = [read_picture(path) for path in files_of(comfyui, walked, node)]
        assert len(pictures) == count and all(picture.std() > 0.05 for picture in pictures), node
    assert "after" in walked["outputs"]["read_report"]["text"][0]


def test_pasted_pictures_differ_from_the_photo_in_the_square_only(comfyui, walked) -> None:
    photo, pasted = read_picture(demo.PHOTO)[0], read_picture(files_of(comfyui, walked, "see_pasted")[-1])[0]
    assert pasted.shape == photo.shape
    changed = (pasted - photo).abs().amax(-1) > 0.1
    assert changed.any() and not changed[350:].any()


def test_saved_files_are_offered_and_loaded(comfyui, walked) -> None:
    fit, head = (files_of(comfyui, walked, node)[0] for node in ("save_fit", "save_head"))
    assert load_fit(fit).num_frames == 1
    info = comfyui.get("/object_info/ExpPortraitLoadHead")["ExpPortraitLoadHead"]
    name = f"expportrait/{head.name} [output]"
    assert name in inputs_of(info)["file"][1]["options"]
    n = graphs.node
    graph = {
        "model": n("ExpPortraitLoadHeadModel", model="default head (CC0)", upsampling_level=0),
        "head": n("ExpPortraitLoadHead", file=name),
        "fit": n("ExpPortraitLoadSMPLXFit", head_model=["model", 0], file=f"expportrait/{fit.name} [output]"),
        "save": n("ExpPortraitSaveHead", head=["head", 0], filename_prefix="again"),
        "save_fit": n("ExpPortraitSaveSMPLXFit", fit=["fit", 0], filename_prefix="again"),
    }
    again = comfyui.run(graph)
    assert again["status"]["status_str"] == "success", again
    before, after = (load_head(path) for path in (head, files_of(comfyui, again, "save")[0]))
    assert torch.equal(before.static_offsets, after.static_offsets) and before.report == after.report


def test_track_head_keeps_its_widgets_and_appends(nodes) -> None:
    """Saved graphs hold widget values by position: the first eight inputs are those of the first release."""
    names = list(inputs_of(nodes["ExpPortraitTrackHead"]))
    first = {"head_model", "images", "mask", "fps", "face", "missing_frames", "smoothing", "focal"}
    widgets = [name for name in names if name in first - {"head_model", "images", "mask"}]
    assert widgets == ["fps", "face", "missing_frames", "smoothing", "focal"]
    assert set(names) - first == {"face_number", "person_picture", "landmarks"}
    assert inputs_of(nodes["ExpPortraitTrackHead"])["landmarks"][0] == "FACE_LANDMARKS"


# ------------------------------------------------------------------------------------------------------------- errors


def refused(answer: dict) -> str:
    """What the server says about a graph that it does not run, or that failed."""
    if not answer["node_errors"]:
        messages = [value for kind, value in answer["status"]["messages"] if kind == "execution_error"]
        return messages[0]["exception_message"]
    return json.dumps(answer["node_errors"])


def test_a_missing_file_is_named_before_anything_runs(comfyui) -> None:
    graph = graphs.walk()
    graph["driver"]["inputs"]["file"] = "gone.npz"
    assert "There is no fit file gone.npz" in refused(comfyui.run(graph))
    graph["driver"]["inputs"]["file"] = "../../../etc/hostname"
    assert "outside ComfyUI's input and output folders" in refused(comfyui.run(graph))
    graph = graphs.walk()
    graph["model"]["inputs"]["model"] = "SMPLX_NEUTRAL.npz"
    assert "There is no head model SMPLX_NEUTRAL.npz" in refused(comfyui.run(graph))


def test_a_wrong_socket_is_refused(comfyui) -> None:
    graph = graphs.walk()
    graph["motion"]["inputs"]["driver"] = ["model", 0]
    assert "HEAD_MODEL" in refused(comfyui.run(graph))


def test_a_picture_without_a_face_gives_a_sentence(comfyui) -> None:
    write_picture(comfyui.base / "input" / "grey.png", torch.full((64, 64, 3), 0.5))
    graph = graphs.walk()
    graph["photo"]["inputs"]["image"] = "grey.png"
    assert "No face was found in the picture." in refused(comfyui.run(graph))


def test_a_file_that_is_no_fit_gives_a_sentence(comfyui) -> None:
    (comfyui.base / "input" / "broken.npz").write_bytes(b"not a fit")
    graph = graphs.walk()
    graph["driver"]["inputs"]["file"] = "broken.npz"
    assert "broken.npz cannot be read as a fit" in refused(comfyui.run(graph))


def test_a_run_can_be_interrupted(comfyui) -> None:
    """In the middle of the longest step, without waiting for its end."""
    graph = graphs.walk(size=136)  # another size, so that nothing is cached
    graph["head"]["inputs"]["quality"] = "fine"
    queued = comfyui.post("/prompt", {"prompt": graph})
    running = False
    while not running:
        running = bool(comfyui.get("/queue")["queue_running"])
    time.sleep(4)
    comfyui.post("/interrupt", {})
    end = time.monotonic() + 20
    while not (history := comfyui.get(f"/history/{queued['prompt_id']}")) and time.monotonic() < end:
        time.sleep(0.2)
    kinds = [kind for kind, _ in history[queued["prompt_id"]]["status"]["messages"]]
    assert "execution_interrupted" in kinds
