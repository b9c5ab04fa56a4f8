"""The nodes in a real server: they register, start in no time, run as one graph, and say what is wrong in sentences."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

from expportrait_core.assets import PHOTO
from expportrait_core.body.flame import LANDMARK_FILES
from expportrait_core.fit import FACES, MISSING, load_fit
from expportrait_core.generator.generate import OVERLAP, WINDOW
from expportrait_core.generator.preview.animate import BACKGROUNDS
from expportrait_core.head import QUALITIES, load_head
from expportrait_core.media import read_picture
from expportrait_core.render import CONVENTIONS, DETAILS, REGIONS, SPACES
from expportrait_core.transfer.motion import CHOICES

from . import graphs
from .pack import ROOT, in_comfyui

NAMES = {
    "Load Head Model", "Load SMPL-X Fit", "Track Head", "Crop Portrait", "Personalize Head", "Transfer Expression",
    "Render Normals", "Photo Preview", "Load Demo Generator", "Apply ExpPortrait", "ExpPortrait DiT Sampler",
    "Save SMPL-X Fit", "Load Head", "Save Head", "Paste Back", "Smooth Fit", "Retime Fit", "Edit Expression",
    "Keyframes", "Inspect Fit",
}  # fmt: skip
"""Display names; the ids follow from them."""


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


def test_room_on_a_gpu_is_asked_for_by_the_work(install, tmp_path: Path) -> None:
    """Render Normals has the renderer's figure, which no number of frames changes; the rest asks for 4 GB."""
    asked, _ = in_comfyui(install, tmp_path, """
from pack.nodes import running
asked = []
running.management.get_torch_device = lambda: __import__("torch").device("cuda")
running.management.free_memory = lambda size, device: asked.append([size, device.type])
running.work_device(300 << 20), running.work_device()
print(json.dumps(asked))
""")  # fmt: skip
    assert asked == [[(300 << 20) + (512 << 20), "cuda"], [4 << 30, "cuda"]]


def test_tracking_keeps_blinks_however_much_it_smooths(install, tmp_path: Path) -> None:
    (lids, jaw), _ = in_comfyui(install, tmp_path, """
import torch
from pack import expportrait_core as core
from pack.expportrait_core.fit import neutral_fit
from pack.expportrait_core.body import load_head_model
model = load_head_model("default", 0)
fit = neutral_fit(model, 40)
lid = model.expression_names.index("eyeBlinkLeft")
fit.expression[18:22, lid] = torch.tensor([0.6, 1.0, 1.0, 0.5])
fit.poses[::2, 22, 0] = 0.1
core.track = lambda *given: fit
made = given["ExpPortraitTrackHead"].execute(
    model, torch.zeros(40, 64, 64, 3), 25.0, "largest", "interpolate", 0.5, 0.0).result[0].fit
print(json.dumps([made.expression[:, lid].tolist(), made.poses[:, 22, 0].tolist()]))
""")  # fmt: skip
    assert max(lids) > 0.95 and min(lids) > -0.05
    assert max(jaw[5:-5]) - min(jaw[5:-5]) < 0.02, "what trembles is smoothed"


def test_a_preset_by_wire_is_looked_at_when_it_is_known(install, tmp_path: Path) -> None:
    said, _ = in_comfyui(install, tmp_path, """
node = given["ExpPortraitEditExpression"]
said = [node.validate_inputs(preset=None, save_preset_as=None), node.validate_inputs(), node.fingerprint_inputs()]
rest = dict(preset_amount=1.0, mode="add", start=0, end=0, fade=0.0, mouth_gain=1.0, eyes_gain=1.0, brows_gain=1.0,
            pose_gain=1.0, motion="absolute", neutral_frame=0, frames=1, save_preset_as="")
try:
    node.execute(None, "gone", **rest)
except ValueError as error:
    said.append(str(error))
print(json.dumps(said))
""")  # fmt: skip
    assert said[:2] == [True, True] and said[3].startswith("There is no preset gone. Choose another one")


def test_a_fresh_machine_has_no_head_to_load_and_is_told_how_to_make_one(comfyui) -> None:
    for folder in ("input", "output"):
        for left in (comfyui.base / folder).rglob("*head.safetensors"):
            left.unlink()
    info = comfyui.get("/object_info/ExpPortraitLoadHead")["ExpPortraitLoadHead"]
    offered = inputs_of(info)["file"][1]["options"]
    assert offered == ["no head file yet"]
    assert "make one with Save Head" in graphs.refused(comfyui.run(graphs.head_graph(offered[0])))


# ------------------------------------------------------------------------------------------------------------ running


@pytest.fixture(scope="module")
def walked(comfyui, short_driver) -> dict:
    graph = graphs.walk()
    graph["driver"]["inputs"]["file"] = short_driver
    for name in ("save_fit", "save_head"):  # of their own, so that no other test's run has saved the same before
        graph[name]["inputs"]["filename_prefix"] = f"expportrait/walked-{name}"
    return comfyui.run(graph)


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
        pictures = [read_picture(path) for path in graphs.files_of(comfyui, walked, node)]
        assert len(pictures) == count and all(picture.std() > 0.05 for picture in pictures), node
    assert "after" in walked["outputs"]["read_report"]["text"][0]


def test_pasted_pictures_differ_from_the_photo_in_the_square_only(comfyui, walked) -> None:
    photo, pasted = read_picture(PHOTO)[0], read_picture(graphs.files_of(comfyui, walked, "see_pasted")[-1])[0]
    assert pasted.shape == photo.shape
    changed = (pasted - photo).abs().amax(-1) > 0.1
    assert changed.any() and not changed[350:].any()


def test_saved_files_are_offered_and_loaded(comfyui, walked) -> None:
    fit, head = (graphs.files_of(comfyui, walked, node)[0] for node in ("save_fit", "save_head"))
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
    before, after = (load_head(path) for path in (head, graphs.files_of(comfyui, again, "save")[0]))
    assert torch.equal(before.static_offsets, after.static_offsets) and before.report == after.report


def test_a_head_in_a_linked_folder_is_offered_and_loaded(comfyui, walked, tmp_path: Path) -> None:
    """Core follows links when it lists the folders, so what it lists can be loaded; what climbs out cannot."""
    shutil.copy(graphs.files_of(comfyui, walked, "save_head")[0], tmp_path / "mine_head.safetensors")
    (comfyui.base / "input" / "elsewhere").symlink_to(tmp_path, target_is_directory=True)
    name = "elsewhere/mine_head.safetensors"
    info = comfyui.get("/object_info/ExpPortraitLoadHead")["ExpPortraitLoadHead"]
    assert name in inputs_of(info)["file"][1]["options"]
    answer = comfyui.run(graphs.head_graph(name))
    assert answer["status"]["status_str"] == "success", answer
    for outside in (f"../{name}", f"elsewhere/../../{name}", str(tmp_path / "mine_head.safetensors")):
        assert "outside ComfyUI's input and output folders" in graphs.refused(comfyui.run(graphs.head_graph(outside)))


def test_track_head_keeps_its_widgets_and_appends(nodes) -> None:
    """Saved graphs hold widget values by position: the first eight inputs are those of the first release."""
    names = list(inputs_of(nodes["ExpPortraitTrackHead"]))
    first = {"head_model", "images", "mask", "fps", "face", "missing_frames", "smoothing", "focal"}
    widgets = [name for name in names if name in first - {"head_model", "images", "mask"}]
    assert widgets == ["fps", "face", "missing_frames", "smoothing", "focal"]
    assert set(names[: len(first)]) == first
    assert set(names[len(first) :]) == {"face_number", "person_picture", "landmarks"}
    assert inputs_of(nodes["ExpPortraitTrackHead"])["landmarks"][0] == "FACE_LANDMARKS"


