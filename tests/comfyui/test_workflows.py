"""The shared workflows: complete, listed under Templates, and run in a real browser on two versions of the frontend."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from expportrait_core.media import inspect_clip, read_picture

from . import browser
from . import server as server_module

HERE = Path(__file__).parent
WORKFLOWS = sorted((HERE.parents[1] / "workflows").glob("*.json"))
OLDER_FRONTEND = "1.27.10"  # the oldest that pyproject.toml allows
SCREENSHOTS = HERE.parents[1] / "output" / "screenshots"  # for people to look at

SMALL = {
    "ExpPortraitLoadHeadModel": {"upsampling_level": 0},
    "ExpPortraitCropPortrait": {"size": 128},
    "ExpPortraitPersonalizeHead": {"quality": "draft"},
    "ExpPortraitRenderNormals": {"width": 128, "height": 128, "supersampling": 1},
    "ExpPortraitPhotoPreview": {"width": 128, "height": 128},
}
"""Widgets for a quick run; everything else is as it is shared."""


needs_browser = pytest.mark.skipif(browser.executable() is None, reason="there is no chromium here")


def nodes_of(workflow: Path) -> list[dict]:
    return json.loads(workflow.read_text("utf-8"))["nodes"]


# ---------------------------------------------------------------------------------------------------------- the files


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_has_a_thumbnail_and_only_known_nodes(comfyui, workflow: Path) -> None:
    thumbnail = read_picture(workflow.with_suffix(".jpg"))
    assert thumbnail.shape[2] >= 256 and thumbnail.std() > 0.1
    known = set(comfyui.get("/object_info")) | {"MarkdownNote"}
    assert {node["type"] for node in nodes_of(workflow)} <= known


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_holds_a_value_for_every_widget(comfyui, workflow: Path) -> None:
    """Values are stored by position: a widget that is added in the middle would shift them."""
    info = comfyui.get("/object_info")
    for node in nodes_of(workflow):
        if not node["type"].startswith("ExpPortrait"):
            continue
        inputs = {**info[node["type"]]["input"]["required"], **info[node["type"]]["input"].get("optional", {})}
        values = list(node.get("widgets_values") or [])
        for name, (kind, options) in inputs.items():
            if kind not in ("INT", "FLOAT", "COMBO", "BOOLEAN", "STRING"):
                continue
            value = values.pop(0)
            if kind == "COMBO":
                assert value in options["options"], f"{node['type']}.{name}"
            if options.get("control_after_generate"):
                assert values.pop(0) == "fixed", "a run that is pressed twice gives the same video"
        assert not values, f"{node['type']} has left over {values}"


def test_workflows_are_listed_under_templates(comfyui) -> None:
    listed = comfyui.get("/workflow_templates")
    assert sorted(next(iter(listed.values()))) == [path.stem for path in WORKFLOWS]


# -------------------------------------------------------------------------------------------------------- the browser


def run_in_browser(server, name: str) -> None:
    """Every workflow: dropped, Run pressed, everything shown and saved, no error in the page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with browser.page_of(server) as page:
        for workflow in WORKFLOWS:
            browser.drop(page, workflow)
            assert not browser.nodes_that_overlap(page)
            browser.set_widgets(page, SMALL)
            heard = browser.press_run(page)
            browser.fit_view(page)
            page.screenshot(path=SCREENSHOTS / f"{workflow.stem}_{name}.png")
            kinds = [kind for kind, _ in heard]
            assert "execution_success" in kinds, [detail for kind, detail in heard if kind == "execution_error"]
            saved = [
                entry
                for kind, detail in heard
                if kind == "executed"
                for entry in (detail["output"] or {}).get("images", [])
                if entry["filename"].endswith(".mp4")
            ]
            videos = sum(node["type"] == "SaveVideo" for node in nodes_of(workflow))
            assert len(saved) == videos >= 1
            for entry in saved:
                clip = inspect_clip(server.base / entry["type"] / entry["subfolder"] / entry["filename"])
                assert clip.num_frames >= 48 and clip.fps == 25
            shown = page.evaluate("[...document.querySelectorAll('video')].filter(v => v.readyState > 0).length")
            assert shown >= videos, "the videos stand on their nodes"
            assert not browser.nodes_that_overlap(page), "nodes grow as they show what they made"


@needs_browser
def test_workflows_run_in_the_browser(comfyui) -> None:
    run_in_browser(comfyui, "own_frontend")


@needs_browser
def test_workflows_run_in_the_oldest_frontend(install, tmp_path: Path) -> None:
    root = server_module.frontend(OLDER_FRONTEND)
    with server_module.running(install, tmp_path, "--front-end-root", str(root)) as server:
        run_in_browser(server, OLDER_FRONTEND)


@needs_browser
def test_workflows_open_from_the_templates_dialog(comfyui) -> None:
    with browser.page_of(comfyui) as page:
        for workflow in WORKFLOWS:
            browser.open_template(page, "expportrait", workflow)
            assert page.evaluate("window.app.canvas.ds.scale") > 8 / 14, "smaller, the frontend draws no text"
            assert not browser.nodes_that_overlap(page)
