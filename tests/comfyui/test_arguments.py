"""Every input of a node reaches the core: its functions are replaced by recorders of what they are given."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from expportrait_core.head import QUALITIES

from .pack import in_comfyui

RECORDERS = """
import inspect, sys, torch
from types import SimpleNamespace
from pack import expportrait_core as core
from pack.expportrait_core import fit, head, render, reports, transfer
from pack.nodes.sockets import ModelFit
transfer = sys.modules["pack.expportrait_core.transfer"]

class Thing:
    # stands for what one function gives and another takes
    def __init__(self, name): self.name = name
    def to(self, device): return self
    def __getitem__(self, index): return self
    def __call__(self, *values): return self
    def __getattr__(self, name): return Thing(self.name + "." + name)

def shown(value):
    if isinstance(value, Thing): return value.name
    if isinstance(value, torch.Tensor): return "x".join(map(str, value.shape)) + " of %g" % value.flatten()[0]
    if isinstance(value, dict): return {key: shown(part) for key, part in value.items()}
    if isinstance(value, (tuple, list)): return [shown(part) for part in value]
    if isinstance(value, (str, int, float, bool, type(None))): return value
    if hasattr(value, "__dataclass_fields__"): return {n: shown(getattr(value, n)) for n in value.__dataclass_fields__}
    return type(value).__name__

calls = {}
def record(module, name, result=None):
    signature = inspect.signature(getattr(module, name))
    def recorder(*values, **named):
        bound = signature.bind(*values, **named)
        calls[name] = {key: shown(value) for key, value in bound.arguments.items() if key not in ("progress", "device")}
        return Thing(name) if result is None else result
    setattr(module, name, recorder)

def picture(value): return torch.full((2, 8, 8, 3), value)
def mask(value): return torch.full((2, 8, 8), value)
"""


@pytest.fixture(scope="module")
def called(install, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the core's functions were given, by node."""
    made, _ = in_comfyui(install, tmp_path_factory.mktemp("arguments"), RECORDERS + """
driver = ModelFit(Thing("driver"), Thing("model"))
made = {}
def run(node, **inputs):
    calls.clear()
    given["ExpPortrait" + node].execute(**inputs)
    made[node] = dict(calls)

for module, name in ((core, "track"), (fit, "smooth_fit"), (fit, "fill_missing"), (reports, "fit_overlay")):
    record(module, name)
landmarks = {"frames": [], "image_size": (8, 8), "connection_sets": {}}
run("TrackHead", head_model=Thing("model"), images=picture(0.5), fps=30.0, face="by number", missing_frames="previous",
    smoothing=0.3, focal=900.0, mask=mask(0.25), face_number=3, person_picture=picture(0.75), landmarks=landmarks)
for module, name in ((head, "with_portrait"), (transfer, "transfer")):
    record(module, name)
run("TransferExpression", head=Thing("head"), driver=driver, head_pose="relative", camera="driver",
    expression="relative", neutral_frame=4, mouth_gain=0.1, eyes_gain=0.2, brows_gain=0.3, pose_gain=0.4,
    wrinkles_gain=0.5, portrait_fit=ModelFit(Thing("portrait"), Thing("model")), transfer_model=Thing("weights"))
for module, name in ((core, "personalize"), (head, "with_strength"), (render, "from_convention"),
                     (render, "depth_from_picture"), (reports, "head_report"), (reports, "head_summary")):
    record(module, name)
run("PersonalizeHead", fit=driver, images=picture(0.5), quality="fine", normals_convention="opengl",
    identity_strength=0.6, wrinkle_strength=0.7, seed=11, normals=picture(0.1), depth=picture(0.2), mask=mask(0.3))
record(render, "render_pictures")
record(render, "working_bytes", 0)
run("RenderNormals", motion=Thing("motion"), width=48, height=32, space="object", supersampling=3, region_map="parts")
record(core, "crop_portrait", (picture(0.5), Thing("moved"), Thing("crop")))
record(fit, "crop_mask")
run("CropPortrait", images=picture(0.5), fit=driver, face_share=0.4, stability=0.3, size=96, mask=mask(0.25))
record(core, "paste_back")
record(fit, "match_colours")
run("PasteBack", images=picture(0.1), crop=Thing("crop"), source=picture(0.2), feather=0.11, colour_match=0.9)
record(core, "photo_preview", (picture(0.5), mask(0.5)))
motion = SimpleNamespace(portrait_frame=1, head=SimpleNamespace(fit=SimpleNamespace(landmarks=None)))
run("PhotoPreview", picture=torch.stack([picture(0.1)[0], picture(0.2)[0]]), motion=motion, width=48, height=32,
    background="black", mask=mask(0.3))
record(fit, "scale_motion"); record(fit, "edit_fit"); record(fit, "most_changed", 0)
from pack.expportrait_core import shaded
record(shaded, "shaded_heads")
rest = dict.fromkeys((i.id for i in given["ExpPortraitEditExpression"].define_schema().inputs), 0.0)
sliders = {name: value for name, value in rest.items() if name not in (
    "head_model", "fit", "preset", "preset_amount", "mode", "start", "end", "fade", "mouth_gain", "eyes_gain",
    "brows_gain", "pose_gain", "motion", "neutral_frame", "frames", "save_preset_as")}
run("EditExpression", **sliders | {"smile": 0.5}, head_model=Thing("model"), fit=driver, preset="none",
    preset_amount=1.0, mode="replace", start=3, end=9, fade=0.4, mouth_gain=0.1, eyes_gain=0.2, brows_gain=0.3,
    pose_gain=0.4, motion="relative", neutral_frame=5, frames=1, save_preset_as="")
print(json.dumps(made))
""")  # fmt: skip
    return made


EXPECTED = {
    "TrackHead": {
        "track": {
            "images": "2x8x8x3 of 0.5", "model": "model", "fps": 30.0, "focal": 900.0, "face": "by number",
            "mask": "2x8x8 of 0.25", "missing": "previous", "number": 3, "picture": "2x8x8x3 of 0.75",
        },
        "smooth_fit": {"fit": "track", "strength": 0.3, "keep_blinks": True},
        "fill_missing": {"fit": "smooth_fit", "how": "previous"},
        "fit_overlay": {"images": "2x8x8x3 of 0.5", "fit": "fill_missing", "model": "model"},
    },
    "TransferExpression": {
        "with_portrait": {"head": "head", "fit": "portrait"},
        "transfer": {
            "head": "with_portrait", "driver": "driver", "model": "weights", "head_pose": "relative",
            "camera": "driver", "expression": "relative", "neutral_frame": 4,
            "gains": {"mouth": 0.1, "eyes": 0.2, "brows": 0.3, "pose": 0.4, "wrinkles": 0.5},
        },
    },
    "PersonalizeHead": {
        "from_convention": {"picture": "2x8x8x3 of 0.1", "convention": "opengl"},
        "depth_from_picture": {"picture": "2x8x8x3 of 0.2"},
        "personalize": {
            "model": "model", "fit": "driver", "images": "2x8x8x3 of 0.5", "normals": "from_convention",
            "depth": "depth_from_picture", "mask": "2x8x8 of 0.3",
        },
        "with_strength": {"head": "personalize", "identity": 0.6, "wrinkles": 0.7},
    },
    "RenderNormals": {
        "render_pictures": {"motion": "motion", "size": [32, 48], "supersampling": 3, "space": "object",
                            "detail": "parts"},
        "working_bytes": {"motion": "motion", "size": [32, 48], "supersampling": 3},
    },
    "CropPortrait": {
        "crop_portrait": {"images": "2x8x8x3 of 0.5", "fit": "driver", "model": "model", "size": 96,
                          "face_share": 0.4, "stability": 0.3},
        "crop_mask": {"mask": "2x8x8 of 0.25", "crop": "crop"},
    },
    "PasteBack": {
        "match_colours": {"frames": "2x8x8x3 of 0.1", "crop": "crop", "source": "2x8x8x3 of 0.2", "strength": 0.9},
        "paste_back": {"frames": "match_colours", "crop": "crop", "source": "2x8x8x3 of 0.2", "feather": 0.11},
    },
    "PhotoPreview": {
        "photo_preview": {"picture": "1x8x8x3 of 0.2", "mask": "1x8x8 of 0.3", "size": [32, 48],
                          "background": "black"},
    },
    "EditExpression": {
        "scale_motion": {"fit": "driver", "model": "model", "mouth": 0.1, "eyes": 0.2, "brows": 0.3, "pose": 0.4,
                         "neutral_frame": 5},
        "edit_fit": {"fit": "scale_motion", "model": "model", "values": {"smile": 0.5}, "mode": "replace", "start": 3,
                     "stop": 9, "fade": 0.4, "whole": False},
    },
}  # fmt: skip


@pytest.mark.parametrize("node", EXPECTED)
def test_every_input_reaches_the_core(called: dict, node: str) -> None:
    for function, arguments in EXPECTED[node].items():
        found = called[node][function]
        assert {name: found.get(name) for name in arguments} == arguments, function


def test_what_is_given_as_one_object_is_made_of_the_inputs(called: dict) -> None:
    assert called["TrackHead"]["track"]["source"] == "CoreLandmarks", "those that were wired in"
    settings = called["PersonalizeHead"]["personalize"]["settings"]
    expected = asdict(replace(QUALITIES["fine"], seed=11, depth_alignment="scale_shift"))
    assert settings == json.loads(json.dumps(expected))
