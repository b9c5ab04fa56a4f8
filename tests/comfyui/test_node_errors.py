"""What the nodes say in a real server where something is missing, wrong or ended: one sentence, on the node."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from expportrait_core.media import read_picture, write_picture

from . import graphs
from .pack import ROOT, in_comfyui


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
    for graph in (graphs.head_graph(file), fits):
        said = graphs.refused(comfyui.run(graph))
        assert any(sentence in said for sentence in wanted), said
    without = graphs.head_graph("x")
    del without["head"]["inputs"]["file"]
    assert "Required input is missing" in (said := graphs.refused(comfyui.run(without))) and "Exception" not in said
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


def test_a_missing_file_is_named_before_anything_runs(comfyui) -> None:
    graph = graphs.walk()
    graph["driver"]["inputs"]["file"] = "gone.npz"
    assert "There is no fit file gone.npz" in graphs.refused(comfyui.run(graph))
    graph["driver"]["inputs"]["file"] = "../../../etc/hostname"
    assert "outside ComfyUI's input and output folders" in graphs.refused(comfyui.run(graph))
    graph = graphs.walk()
    graph["model"]["inputs"]["model"] = "SMPLX_NEUTRAL.npz"
    assert "There is no head model SMPLX_NEUTRAL.npz" in graphs.refused(comfyui.run(graph))


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
    assert "HEAD_MODEL" in graphs.refused(comfyui.run(graph))


def test_a_picture_without_a_face_gives_a_sentence(comfyui) -> None:
    write_picture(comfyui.base / "input" / "grey.png", torch.full((64, 64, 3), 0.5))
    graph = graphs.walk()
    graph["photo"]["inputs"]["image"] = "grey.png"
    assert "No face was found in the picture." in graphs.refused(comfyui.run(graph))


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
    cropped = read_picture(graphs.files_of(comfyui, answer, "see")[0])
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
    assert "that Load Image gives for a picture without transparency" in graphs.refused(answer)


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
    said = graphs.refused(comfyui.run(graph))
    assert "not where the head's own picture has it" in said and "connect its image here" in said


def test_a_file_that_is_no_fit_gives_a_sentence(comfyui) -> None:
    (comfyui.base / "input" / "broken.npz").write_bytes(b"not a fit")
    graph = graphs.walk()
    graph["driver"]["inputs"]["file"] = "broken.npz"
    assert "broken.npz cannot be read as a fit" in graphs.refused(comfyui.run(graph))


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
