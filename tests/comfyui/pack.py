"""The pack's nodes called by a program inside ComfyUI's own Python, without a server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

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
