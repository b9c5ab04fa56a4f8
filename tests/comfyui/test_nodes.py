"""The nodes in a real server: they register, start in no time, run as one graph, and say what is wrong in sentences."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import torch

from expportrait_core.assets import PERFORMANCE, PHOTO
from expportrait_core.body.flame import LANDMARK_FILES
from expportrait_core.fit import FACES, MISSING, load_fit, save_fit
from expportrait_core.generator.generate import OVERLAP, WINDOW
from expportrait_core.generator.preview.animate import BACKGROUNDS
from expportrait_core.head import QUALITIES, load_head
from expportrait_core.media import read_picture, write_picture
from expportrait_core.render import CONVENTIONS, DETAILS, REGIONS, SPACES
from expportrait_core.transfer.motion import CHOICES

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

NAMES = {
    "Load Head Model", "Load SMPL-X Fit", "Track Head", "Crop Portrait", "Personalize Head", "Transfer Expression",
    "Render Normals", "Photo Preview", "Load Demo Generator", "Apply ExpPortrait", "ExpPortrait DiT Sampler",
    "Save SMPL-X Fit", "Load Head", "Save Head", "Paste Back", "Smooth Fit", "Retime Fit", "Edit Expression",
    "Keyframes", "Inspect Fit",
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
    ("ExpPortraitPersonalizeHead", "quality", QUALITIES),
    ("ExpPortraitPersonalizeHead", "normals_convention", CONVENTIONS), ("ExpPortraitRenderNormals", "space", SPACES),
    ("ExpPortraitRenderNormals", "region_map", DETAILS),
    ("ExpPortraitTransferExpression", "head_pose", CHOICES["head_pose"]),
    ("ExpPortraitTransferExpression", "camera", CHOICES["camera"]),
    ("ExpPortraitTransferExpression", "expression", CHOICES["expression"]),
    ("ExpPortraitPhotoPreview", "background", BACKGROUNDS),
])  # fmt: skip
def test_choices_are_the_cores(nodes, node: str, widget: str, choices) -> None:
    """The nodes repeat the core's lists, so that the server starts without importing it."""
    assert inputs_of(nodes[node])[widget][1]["options"] == list(choices)


def test_landmarks_beside_a_flame_model_are_no_head_models(comfyui) -> None:
    """Whatever the core looks for there; none of them can be loaded as a head."""
    folder = comfyui.base / "models" / "smplx"
    for name in ("FLAME.pkl", *LANDMARK_FILES):
        (folder / name).write_bytes(b"")
    info = comfyui.get("/object_info/ExpPortraitLoadHeadModel")["ExpPortraitLoadHeadModel"]
    assert inputs_of(info)["model"][1]["options"] == ["default head (CC0)", "FLAME.pkl"]


def test_windows_are_the_cores(nodes) -> None:
    widgets = inputs_of(nodes["ExpPortraitDiTSampler"])
    assert (widgets["window"][1]["default"], widgets["overlap"][1]["default"]) == (WINDOW, OVERLAP)


def test_render_normals_states_its_conventions_and_gives_cores_types(nodes) -> None:
    node = nodes["ExpPortraitRenderNormals"]
    assert set(node["output"]) == {"IMAGE", "MASK"}
    assert node["output_name"] == ["normals", "mask", "depth", "reference normals", "regions"]
    help_page = (ROOT / "web" / "docs" / "ExpPortraitRenderNormals.md").read_text("utf-8").replace("`", "")
    for convention in SPACES.values():
        axes = convention.split(", ", 1)[1].split(";")[0]
        assert axes in node["description"] and axes in help_page
    for number, (name, colour) in enumerate(REGIONS.items()):
        assert f"| {number} | {name} | {', '.join(map(str, colour))} |" in help_page


LOAD_PACK = """
import sys, time, importlib.util, asyncio, json
root, comfyui, base = sys.argv[1:]
sys.argv = ["main.py", "--cpu", "--base-directory", base]
sys.path.insert(0, comfyui)
import comfy.options; comfy.options.enable_args_parsing()
import nodes, comfy_api.latest
before, start = set(sys.modules), time.perf_counter()
spec = importlib.util.spec_from_file_location("pack", root + "/__init__.py", submodule_search_locations=[root])
pack = importlib.util.module_from_spec(spec); sys.modules["pack"] = pack; spec.loader.exec_module(pack)
extension = asyncio.run(pack.comfy_entrypoint())
given = {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}
"""


def in_comfyui(install, base: Path, program: str) -> tuple[object, str]:
    """Run a program in ComfyUI's Python, with the pack's nodes in `given` and `base` for its folders; the JSON that it
    prints last, and what it logs."""
    (base / "input").mkdir(exist_ok=True)
    command = [str(install.python), "-c", LOAD_PACK + program, str(ROOT), str(install.root), str(base)]
    done = subprocess.run(command, cwd=install.root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1]), done.stderr


def test_importing_the_pack_is_quick_and_light(install, tmp_path: Path) -> None:
    """At most half a second beside what the server has loaded anyway, and nothing heavy."""
    own = Path(install.root) / "input"
    before = sorted(own.iterdir())
    (seconds, loaded), _ = in_comfyui(
        install, tmp_path, "print(json.dumps([time.perf_counter() - start, sorted(set(sys.modules) - before)]))"
    )
    assert (tmp_path / "input" / graphs.PHOTO).is_file() and sorted(own.iterdir()) == before
    assert seconds < 0.5
    heavy = {"diffusers", "transformers", "cv2", "scipy", "smplx", "numba", "skimage"}
    assert not heavy & {name.split(".")[0] for name in loaded}
    assert not [name for name in loaded if name.startswith("pack.expportrait_core.")], (
        "the core waits for a node to run"
    )


def test_a_fresh_machine_has_no_head_to_load_and_is_told_how_to_make_one(comfyui) -> None:
    for folder in ("input", "output"):
        for left in (comfyui.base / folder).rglob("*head.safetensors"):
            left.unlink()
    info = comfyui.get("/object_info/ExpPortraitLoadHead")["ExpPortraitLoadHead"]
    offered = inputs_of(info)["file"][1]["options"]
    assert offered == ["no head file yet"]
    assert "make one with Save Head" in refused(comfyui.run(head_graph(offered[0])))


@pytest.mark.parametrize("file", [None, 5, "gone.head.safetensors", "../../x.head.safetensors"])
def test_what_is_no_file_gives_a_sentence(comfyui, file: object) -> None:
    """Also where a program sends it: our own checks run, and the graph's other parts do."""
    n = graphs.node
    fits = {
        "model": n("ExpPortraitLoadHeadModel", model="default head (CC0)", upsampling_level=0),
        "fit": n("ExpPortraitLoadSMPLXFit", head_model=["model", 0], file=file),
        "save": n("ExpPortraitSaveSMPLXFit", fit=["fit", 0], filename_prefix="none"),
    }
    wanted = {str: ("There is no", "lies outside")}.get(type(file), ("expected the name of a file",))
    for graph in (head_graph(file), fits):
        said = refused(comfyui.run(graph))
        assert any(sentence in said for sentence in wanted), said
    without = head_graph("x")
    del without["head"]["inputs"]["file"]
    assert "Required input is missing" in (said := refused(comfyui.run(without))) and "Exception" not in said
    assert "positional argument" not in comfyui.log.read_text("utf-8")


@pytest.mark.parametrize("prefix", ["", "  ", ".", "expportrait/.."])
def test_an_empty_prefix_is_refused(comfyui, prefix: str) -> None:
    """Core would make a hidden file of it."""
    graph = graphs.walk()
    for node in ("save_fit", "save_head"):
        graph[node]["inputs"]["filename_prefix"] = prefix
    answer = comfyui.post("/prompt", {"prompt": {key: graph[key] for key in ("photo", "model", "track", "crop", "head",
                                                                             "save_fit", "save_head")}})  # fmt: skip
    assert json.dumps(answer).count("The file name prefix is empty.") >= 2, answer


def head_graph(file: object) -> dict:
    n = graphs.node
    return {
        "head": n("ExpPortraitLoadHead", file=file),
        "save": n("ExpPortraitSaveHead", head=["head", 0], filename_prefix="none"),
    }


INTERRUPTED = """
import torch, comfy.model_management as management
core = pack.__dict__["expportrait_core"]
from pack.expportrait_core.assets import PERFORMANCE
from pack.nodes.sockets import ModelFit
fit = core.load_fit(PERFORMANCE).frames(slice(2))
pictures = torch.rand(2, *fit.image_size, 3)
crop = core.HeadCrop(torch.zeros(1, 2), torch.full((1,), 32.0), 64, fit.image_size)
model = core.load_head_model("default", 0)
calls = {
    "ExpPortraitCropPortrait": (pictures, ModelFit(fit, model), 0.55, 1.0, 64),
    "ExpPortraitPasteBack": (torch.rand(2, 64, 64, 3), crop, pictures, 0.06, 1.0),
}
ended = []
for name, values in calls.items():
    given[name].execute(*values)
    management.interrupt_current_processing(True)
    try:
        given[name].execute(*values)
    except management.InterruptProcessingException:
        ended.append(name)
    management.interrupt_current_processing(False)
without_mask = given["ExpPortraitCropPortrait"].execute(*calls["ExpPortraitCropPortrait"]).args[3]
print(json.dumps([ended, without_mask.message]))
"""


def test_cropping_and_pasting_end_when_asked(install, tmp_path: Path) -> None:
    (ended, blocked), _ = in_comfyui(install, tmp_path, INTERRUPTED)
    assert ended == ["ExpPortraitCropPortrait", "ExpPortraitPasteBack"]
    assert blocked.startswith("Crop Portrait has no mask to crop.")


WITHOUT = """
import torch
from types import SimpleNamespace
sys.modules["cv2"] = None  # what Python keeps for a module that is not there
import comfyui_version
comfyui_version.__version__ = "0.3.63"
from pack.nodes import requirements
find = requirements.find_spec
requirements.find_spec = lambda name: None if name == "cv2" else find(name)
requirements.say_what_is_missing()
try:
    motion = SimpleNamespace(head=SimpleNamespace(fit=SimpleNamespace(landmarks=None)))
    given["ExpPortraitPhotoPreview"].execute(torch.zeros(1, 64, 64, 3), motion, 64, 64, "fill")
except Exception as error:
    print(json.dumps(str(error)))
"""


def test_a_missing_package_is_named_with_the_line_that_installs_it(install, tmp_path: Path) -> None:
    """In the log at the start, as an older server is, and on the node that needs it."""
    said, log = in_comfyui(install, tmp_path, WITHOUT)
    line = f'-m pip install -r "{ROOT / "requirements.txt"}"'
    assert said.startswith("This Python has no opencv-python-headless, which this node needs.") and line in said
    assert "this Python has no opencv-python-headless." in log and line in log
    assert "needs ComfyUI 0.3.64 or newer, this is 0.3.63" in log


# ------------------------------------------------------------------------------------------------------------ running


@pytest.fixture(scope="module")
def short_driver(comfyui) -> str:
    """Five frames of the built-in performance, as a file of the input folder."""
    save_fit(load_fit(PERFORMANCE).frames(slice(0, 15, 3)), comfyui.base / "input" / "short.npz")
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
    photo, pasted = read_picture(PHOTO)[0], read_picture(files_of(comfyui, walked, "see_pasted")[-1])[0]
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


def test_a_head_in_a_linked_folder_is_offered_and_loaded(comfyui, walked, tmp_path: Path) -> None:
    """Core follows links when it lists the folders, so what it lists can be loaded; what climbs out cannot."""
    shutil.copy(files_of(comfyui, walked, "save_head")[0], tmp_path / "mine_head.safetensors")
    (comfyui.base / "input" / "elsewhere").symlink_to(tmp_path, target_is_directory=True)
    name = "elsewhere/mine_head.safetensors"
    info = comfyui.get("/object_info/ExpPortraitLoadHead")["ExpPortraitLoadHead"]
    assert name in inputs_of(info)["file"][1]["options"]
    answer = comfyui.run(head_graph(name))
    assert answer["status"]["status_str"] == "success", answer
    for outside in (f"../{name}", f"elsewhere/../../{name}", str(tmp_path / "mine_head.safetensors")):
        assert "outside ComfyUI's input and output folders" in refused(comfyui.run(head_graph(outside)))


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
    if "status" not in answer:
        return json.dumps(answer)
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


@pytest.mark.parametrize(("node", "widget", "sentence"), [
    ("head", "quality", "The quality is 'nope', expected one of draft, standard, fine."),
    ("head", "normals_convention", "The normals convention is 'nope', expected one of y up"),
    ("video", "sampler_name", "The sampler is 'nope', expected one of"),
    ("video", "scheduler", "The scheduler is 'nope', expected one of"),
])  # fmt: skip
def test_an_unknown_choice_is_refused_before_anything_runs(comfyui, node: str, widget: str, sentence: str) -> None:
    graph = graphs.walk()
    graph[node]["inputs"][widget] = "nope"
    others = [key for key in graph if key.startswith(("see_", "read_", "save_")) and key != "see_video"]
    answer = comfyui.run({key: value for key, value in graph.items() if key not in others})
    assert "prompt_id" not in answer and sentence in json.dumps(answer)


def test_a_wrong_socket_is_refused(comfyui) -> None:
    graph = graphs.walk()
    graph["motion"]["inputs"]["driver"] = ["model", 0]
    assert "HEAD_MODEL" in refused(comfyui.run(graph))


def test_a_picture_without_a_face_gives_a_sentence(comfyui) -> None:
    write_picture(comfyui.base / "input" / "grey.png", torch.full((64, 64, 3), 0.5))
    graph = graphs.walk()
    graph["photo"]["inputs"]["image"] = "grey.png"
    assert "No face was found in the picture." in refused(comfyui.run(graph))


def masked(**mask: object) -> dict:
    """Crop Portrait with a mask of the photo, and what it makes of it."""
    graph = {key: node for key, node in graphs.walk().items() if key in ("photo", "model", "track", "crop")}
    graph["crop"]["inputs"] |= mask
    graph["white"] = graphs.node("SolidMask", value=1.0, width=512, height=512)
    graph["picture"] = graphs.node("MaskToImage", mask=["crop", 3])
    graph["see"] = graphs.node("PreviewImage", images=["picture", 0])
    return graph


def test_a_mask_goes_through_the_crop(comfyui) -> None:
    answer = comfyui.run(masked(mask=["white", 0]))
    assert answer["status"]["status_str"] == "success", answer["status"]
    cropped = read_picture(files_of(comfyui, answer, "see")[0])
    assert cropped.shape == (1, 128, 128, 3) and cropped.min() > 0.99
    assert "see" not in comfyui.run(masked())["outputs"]  # what would use a mask that was not given is blocked


@pytest.mark.parametrize("node", ["crop", "head", "preview"])
def test_the_mask_of_an_opaque_photo_is_told_apart(comfyui, short_driver, node: str) -> None:
    """Load Image gives an empty one of 64 x 64, whatever the picture's size."""
    graph = graphs.walk()
    graph["driver"]["inputs"]["file"] = short_driver
    graph[node]["inputs"]["mask"] = ["photo", 1]
    outputs = {"crop": "see_pasted", "head": "see_report", "preview": "see_pasted"}
    others = [key for key in graph if key.startswith(("see_", "read_", "save_")) and key != outputs[node]]
    answer = comfyui.run({key: value for key, value in graph.items() if key not in others})
    assert "that Load Image gives for a picture without transparency" in refused(answer)


PORTRAITS = """
import torch
from types import SimpleNamespace
from pack.nodes.generator import _portrait_of
def portrait(count, frame):
    try:
        return _portrait_of(torch.arange(count), SimpleNamespace(portrait_frame=frame), "picture").tolist()
    except ValueError as error:
        return str(error)
print(json.dumps([portrait(*given) for given in ((1, 5), (8, 5), (2, 5))]))
"""


def test_the_portrait_of_a_clip_is_taken_or_missed_in_a_sentence(install, tmp_path: Path) -> None:
    (alone, chosen, missing), _ = in_comfyui(install, tmp_path, PORTRAITS)
    assert alone == [0] and chosen == [5]
    assert missing.startswith("There are 2 pictures, and the head's portrait is number 6 of its clip.")


def test_a_photo_that_was_not_cropped_with_the_head_is_refused(comfyui, short_driver) -> None:
    """Moved by a head of another framing, it would be a ghost."""
    graph = graphs.walk()
    graph["driver"]["inputs"]["file"] = short_driver
    graph["preview"]["inputs"]["picture"] = ["photo", 0]
    said = refused(comfyui.run(graph))
    assert "not where the head's own picture has it" in said and "connect its image here" in said


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
