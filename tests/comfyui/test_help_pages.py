"""The help pages of the nodes, as ComfyUI shows them."""

from __future__ import annotations

import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_node_has_a_help_page_that_names_its_inputs_and_outputs(comfyui) -> None:
    missing = []
    for key, node in comfyui.get("/object_info").items():
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


def test_help_pages_are_served(comfyui) -> None:
    page = comfyui.url + "/extensions/expportrait/docs/ExpPortraitKeyframes.md"
    with urllib.request.urlopen(page, timeout=30) as answer:  # noqa: S310 - our own server
        assert answer.read().startswith(b"# Keyframes")


def test_no_help_page_is_of_no_node(comfyui) -> None:
    known = set(comfyui.get("/object_info"))
    assert {page.stem for page in (ROOT / "web" / "docs").glob("*.md")} <= known
