"""`make comfyui`: a ComfyUI with this pack in it, the user's own or ours, after a look at what would go wrong.

    python tests/comfyui/start.py [ComfyUI's own flags]        # prints the address, ends with Ctrl-C

`COMFYUI_DIR` and `COMFYUI_PYTHON` name the user's own, see server.py; `PORT` is the port.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import server

COMFYUI_MODULES = ("torch", "aiohttp", "yaml", "PIL", "safetensors")  # a Python without these is not ComfyUI's
DEVICES = ("--cpu", "--directml")  # flags that choose one
LOOK = """
import importlib.util, json, sys
missing = [name for name in json.loads(sys.argv[1]) if importlib.util.find_spec(name) is None]
gpu = False
if "torch" not in missing:
    import torch
    if hasattr(torch, "accelerator"):
        gpu = torch.accelerator.is_available()
    else:
        gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
print(json.dumps([missing, gpu]))
"""


def main(flags: list[str]) -> int:
    """Start it and stay until it ends; what stands in the way is said in a sentence, and nothing is started then."""
    print("Looking for ComfyUI; the first time, without one, this installs it (some minutes, 2 GB) ...", flush=True)
    try:
        port = _port(os.environ.get("PORT", ""), flags)
        own = server.users_own()
        if own is not None and not _sees_gpu(own) and not set(DEVICES) & set(flags):
            flags = [*flags, "--cpu"]  # without it ComfyUI would end in an assertion
        return _serve(own or server.from_registries(), port, flags)
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _serve(install: server.Install, port: int, flags: list[str]) -> int:
    if install.base is None:
        server.link_pack(install.root)
    else:
        server.make_base(install.base)
    running = server.Server(f"http://127.0.0.1:{port}", install.base or install.root, Path(os.devnull))
    process = subprocess.Popen(server.command(install, port, install.base, *flags), cwd=install.root)
    try:
        running.wait_until_ready(process)
        print(f"\nComfyUI with ExpPortrait: {running.url}\nIts folders: {running.base}")
        print("End it with Ctrl-C.", flush=True)
        return process.wait()
    finally:
        process.terminate()
        process.wait()


def _port(wanted: str, flags: list[str]) -> int:
    """The port that is asked for, or a free one."""
    if "--port" in flags or "--listen" in flags:
        raise ValueError("The address is not given by ARGS: it is 127.0.0.1, and PORT=... is its port.")
    if not wanted:
        return server.free_port()
    if not wanted.isdecimal() or not 0 < int(wanted) < 65536:
        raise ValueError(f"PORT is {wanted}, expected a number from 1 to 65535.")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", int(wanted))) == 0:
            raise ValueError(f"Another server answers on port {wanted}. End it, or give another PORT, or none.")
    return int(wanted)


def _sees_gpu(install: server.Install) -> bool:
    """Whether the torch of the user's own ComfyUI sees a GPU.

    Raises:
        ValueError: that Python cannot run ComfyUI, or lacks packages of ours.
    """
    packages = _requirements().packages()
    missing, gpu = _look(install.python, [*COMFYUI_MODULES, *packages])
    if not_its := [name for name in missing if name in COMFYUI_MODULES]:
        raise ValueError(
            f"ComfyUI in {install.root} cannot run with {install.python}, which has no {', '.join(not_its)}. Name the "
            f"Python that it runs with: make comfyui COMFYUI_DIR={install.root} COMFYUI_PYTHON=.../python"
        )
    if missing:
        names = ", ".join(packages[name] for name in missing)
        raise ValueError(
            f"ComfyUI's Python lacks what ExpPortrait needs: {names}. Install it, and start again:\n"
            f'"{install.python}" -m pip install -r "{server.PACK / "requirements.txt"}"'
        )
    return gpu


def _look(python: Path, modules: list[str]) -> tuple[list[str], bool]:
    """Those of the modules that this Python lacks, and whether its torch sees a GPU."""
    try:
        done = subprocess.run([str(python), "-c", LOOK, json.dumps(modules)], capture_output=True, text=True)
    except OSError as error:
        raise ValueError(f"{python} cannot be started ({error.strerror}). COMFYUI_PYTHON names the program.") from error
    if done.returncode:
        raise ValueError(f"{python} cannot import its torch:\n{done.stderr[-1000:]}")
    missing, gpu = json.loads(done.stdout.strip().splitlines()[-1])
    return missing, gpu


def _requirements():
    """The pack's own list, from its file alone: the rest of the nodes is for inside of ComfyUI."""
    spec = importlib.util.spec_from_file_location("requirements", server.PACK / "nodes" / "requirements.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
