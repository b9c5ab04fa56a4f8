"""`make comfyui` with the user's own ComfyUI: what stands in its way is said in sentences, and nothing is started."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import venv
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

STAND_IN = """
import http.server, json, pathlib, sys
pathlib.Path("started.json").write_text(json.dumps(sys.argv[1:]))
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"{}")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Answer).serve_forever()
"""
TORCH = "class accelerator:\n    is_available = staticmethod(lambda: {gpu})\n"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder that looks like a ComfyUI and tells how it was started."""
    root = tmp_path / "My ComfyUI"
    root.mkdir()
    (root / "main.py").write_text(STAND_IN)
    (root / "folder_paths.py").write_text("")
    return root


def python_with(folder: Path, *modules: str, gpu: bool = False) -> dict[str, str]:
    """The environment of a Python that has these modules, which are empty, and no others."""
    venv.create(folder)
    for name in modules:
        (folder / f"{name}.py").write_text(TORCH.format(gpu=gpu) if name == "torch" else "")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    return {"COMFYUI_PYTHON": str(python), "PYTHONPATH": str(folder)}


def start(*flags: str, **environment: str) -> subprocess.Popen:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("COMFYUI_") and name != "PORT"}
    return subprocess.Popen(
        [sys.executable, str(HERE / "start.py"), *flags], cwd=ROOT, env=clean | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # a shell's background jobs, and what they start, ignore Ctrl+C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def refused(**environment: str) -> str:
    process = start(**environment)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1 and "Traceback" not in out + err and "http://" not in out
    return err


COMFYUIS = ("torch", "aiohttp", "yaml", "PIL", "safetensors")
OURS = ("numpy", "diffusers", "cv2", "scipy", "av")


def test_another_folder_is_refused(tmp_path: Path) -> None:
    assert "holds no ComfyUI" in refused(COMFYUI_DIR=str(tmp_path))


def test_a_python_that_is_not_comfyuis_is_refused(own: Path, tmp_path: Path) -> None:
    said = refused(COMFYUI_DIR=str(own), **python_with(tmp_path / "few", "torch", "yaml"))
    assert "has no aiohttp, PIL, safetensors" in said and "COMFYUI_PYTHON=" in said
    assert "cannot be started" in refused(COMFYUI_DIR=str(own), COMFYUI_PYTHON=str(tmp_path / "none"))
    assert not (own / "started.json").exists() and not (own / "custom_nodes").exists()


def test_missing_packages_are_named_with_the_line_that_installs_them(own: Path, tmp_path: Path) -> None:
    python = python_with(tmp_path / "most", *COMFYUIS, "numpy", "scipy", "av")
    said = refused(COMFYUI_DIR=str(own), **python)
    assert "needs: diffusers, opencv-python-headless." in said
    assert f'"{python["COMFYUI_PYTHON"]}" -m pip install -r "{ROOT / "requirements.txt"}"' in said
    assert not (own / "started.json").exists()


def test_a_port_that_is_taken_is_refused(own: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert f"Another server answers on port {port}" in refused(COMFYUI_DIR=str(own), PORT=port)
    assert "PORT is http, expected a number" in refused(COMFYUI_DIR=str(own), PORT="http")


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is another thing there")
@pytest.mark.parametrize(("gpu", "flags", "cpu"), [(False, [], 1), (True, [], 0), (False, ["--cpu", "--lowvram"], 1)])
def test_it_starts_with_the_pack_in_it(own: Path, tmp_path: Path, gpu: bool, flags: list[str], cpu: int) -> None:
    """On the CPU where there is no GPU, with the user's own flags, at the address that is printed."""
    process = start(*flags, COMFYUI_DIR=str(own), **python_with(tmp_path / "all", *COMFYUIS, *OURS, gpu=gpu))
    try:
        lines = [line.strip() for line in iter(process.stdout.readline, "End it with Ctrl-C.\n")]
        given = json.loads((own / "started.json").read_text())
        assert f"ComfyUI with ExpPortrait: http://127.0.0.1:{given[given.index('--port') + 1]}" in lines
        assert given.count("--cpu") == cpu and set(flags) <= set(given) and "--base-directory" not in given
        assert (own / "custom_nodes" / "expportrait").resolve() == ROOT
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
