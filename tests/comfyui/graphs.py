"""Graphs in API form, as the tests send them to the server, and how its answers are read."""

from __future__ import annotations

import json
from pathlib import Path

from expportrait_core.fit import load_fit
from expportrait_core.types import SMPLXFit

PHOTO = "expportrait_astronaut.png"


def node(class_type: str, **inputs: object) -> dict:
    return {"class_type": class_type, "inputs": inputs}


HEAD_MODEL = node("ExpPortraitLoadHeadModel", model="default head (CC0)", upsampling_level=0)


def walk(size: int = 128) -> dict:
    """Every node of the walk from the built-in photo and performance, small and quick."""
    return {
        "photo": node("LoadImage", image=PHOTO),
        "model": node("ExpPortraitLoadHeadModel", model="default head (CC0)", upsampling_level=0),
        "driver": node(
            "ExpPortraitLoadSMPLXFit", head_model=["model", 0], file="demo performance (built-in)",
        ),
        "track": node(
            "ExpPortraitTrackHead", head_model=["model", 0], images=["photo", 0], fps=25.0, face="largest",
            missing_frames="interpolate", smoothing=0.0, focal=0.0,
        ),
        "crop": node(
            "ExpPortraitCropPortrait", images=["photo", 0], fit=["track", 0], face_share=0.55, stability=1.0, size=size,
        ),
        "head": node(
            "ExpPortraitPersonalizeHead", fit=["crop", 1], images=["crop", 0], quality="draft",
            normals_convention="y up (OpenGL)", identity_strength=1.0, wrinkle_strength=1.0, seed=0,
        ),
        "motion": node(
            "ExpPortraitTransferExpression", head=["head", 0], driver=["driver", 0], head_pose="relative",
            camera="portrait", expression="absolute", neutral_frame=0, mouth_gain=1.0, eyes_gain=1.0, brows_gain=1.0,
            pose_gain=1.0, wrinkles_gain=1.0,
        ),
        "normals": node(
            "ExpPortraitRenderNormals", motion=["motion", 0], width=size, height=size, space="camera", supersampling=1,
            region_map="coarse",
        ),
        "preview": node(
            "ExpPortraitPhotoPreview", picture=["crop", 0], motion=["motion", 0], width=size, height=size,
            background="fill",
        ),
        "demo": node("ExpPortraitLoadDemoGenerator"),
        "video": node(
            "ExpPortraitDiTSampler", model=["demo", 0], vae=["demo", 1], positive=["demo", 2], negative=["demo", 3],
            model_patch=["demo", 4], picture=["preview", 0], normals=["normals", 0], reference_normals=["normals", 3],
            seed=0, steps=1, cfg=1.0, sampler_name="euler", scheduler="simple", denoise=1.0, strength=1.0, window=4,
            overlap=1,
        ),
        "paste": node(
            "ExpPortraitPasteBack", images=["preview", 0], crop=["crop", 2], source=["photo", 0], feather=0.06,
            colour_match=0.0,
        ),
        "save_fit": node("ExpPortraitSaveSMPLXFit", fit=["track", 0], filename_prefix="expportrait/fit"),
        "save_head": node("ExpPortraitSaveHead", head=["head", 0], filename_prefix="expportrait/person"),
        "see_overlay": node("PreviewImage", images=["track", 1]),
        "see_report": node("PreviewImage", images=["head", 2]),
        "read_report": node("PreviewAny", source=["head", 3]),
        "see_normals": node("PreviewImage", images=["normals", 0]),
        "see_depth": node("PreviewImage", images=["normals", 2]),
        "see_regions": node("PreviewImage", images=["normals", 4]),
        "see_reference": node("PreviewImage", images=["normals", 3]),
        "see_video": node("PreviewImage", images=["video", 0]),
        "see_pasted": node("PreviewImage", images=["paste", 0]),
    }  # fmt: skip


def head_graph(file: object) -> dict:
    return {
        "head": node("ExpPortraitLoadHead", file=file),
        "save": node("ExpPortraitSaveHead", head=["head", 0], filename_prefix="none"),
    }


def refused(answer: dict) -> str:
    """What the server says about a graph that it does not run, or that failed."""
    if "status" not in answer:
        return json.dumps(answer)
    if not answer["node_errors"]:
        messages = [value for kind, value in answer["status"]["messages"] if kind == "execution_error"]
        return messages[0]["exception_message"]
    return json.dumps(answer["node_errors"], ensure_ascii=False)


def files_of(comfyui, answer: dict, node: str) -> list[Path]:
    entries = next(iter(answer["outputs"][node].values()))
    return [comfyui.base / entry["type"] / entry["subfolder"] / entry["filename"] for entry in entries]


def saved(comfyui, answer: dict, node: str = "save") -> SMPLXFit:
    """The fit that a node saved."""
    assert answer["status"]["status_str"] == "success", answer["status"]
    (path,) = files_of(comfyui, answer, node)
    return load_fit(path)
