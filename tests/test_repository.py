"""The house's own rules: who may import whom, what may ship, what the packaging and the README promise."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import expportrait_core

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest there

ROOT = Path(expportrait_core.__file__).parent.parent
CORE = ROOT / "expportrait_core"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

BASE = {"archives", "portable", "printable", "types", "assets", "reach"}
MAY_IMPORT = {
    "archives": set(),
    "portable": {"archives"},
    "printable": set(),
    "reach": {"printable"},
    "assets": set(),
    "camera": {"portable"},
    "types": {"portable", "printable", "camera"},
    "frame_times": set(),
    "media": {"portable", "frame_times"},
    "body": BASE,
    "render": BASE | {"body"},
    "fit": BASE | {"body", "render"},
    "head": BASE | {"body", "render", "fit"},
    "transfer": BASE | {"body", "render", "fit", "head"},
    "generator": BASE | {"body", "render", "fit", "head", "transfer"},
    "steps": {"portable"},
    "contact_sheet": set(),
    "shaded": BASE | {"body", "render"},
    "reports": BASE | {"body", "render", "contact_sheet"},
    "curves": BASE | {"body", "fit"},
    "walk": BASE | {"steps", "render", "fit", "head", "transfer", "generator"},
    "demo": BASE | {"steps", "walk", "body", "fit", "generator", "media", "contact_sheet"},
    "build_examples": BASE | {
        "demo", "walk", "body", "fit", "render", "transfer", "generator", "media", "contact_sheet", "shaded",
    },
    "__init__": set(),
    "__main__": {"cli"},
    "cli": BASE | {"steps", "body", "fit", "head", "transfer", "render", "generator", "media", "walk", "demo"},
}
"""Every step by its folder (or file): types, body and earlier steps, never a later one; render serves them all, and the
command line stands before them."""

IN_ONE_FILE = {"nvdiffrast", "numba", "mediapipe", "accelerate", "peft", "ray", "smplx", "av", "skimage"}
"""Optional or licensed packages, and the one that writes clips: each behind one file, which says what is missing."""

HEAVY = {"torch", "diffusers", "transformers", "cv2", "av", "scipy", "smplx", "numba", "skimage"}


def core_files() -> list[Path]:
    return sorted(CORE.rglob("*.py"))


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Every import of a file, anywhere in it, as (level, "package.module.name")."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, ".".join(filter(None, [node.module, alias.name]))) for alias in node.names)


def room_of(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def rooms_imported(path: Path) -> set[str]:
    """The top-level parts of the core that a file imports."""
    package = path.relative_to(CORE).parent.parts
    rooms = set()
    for level, name in imports_of(path):
        if level:
            target = [*package[: len(package) + 1 - level], *name.split(".")]
            rooms.add(target[0])
    return rooms - {room_of(path)}


# --------------------------------------------------------------------------------------------------------- packaging


def test_requirements_hold_the_lines_of_pyproject() -> None:
    assert (ROOT / "requirements.txt").read_text("utf-8").split("\n") == [*PROJECT["dependencies"], ""]


def test_dependencies_have_lower_bounds_only() -> None:
    """A pin or an upper bound breaks the other packs of the same ComfyUI."""
    lines = PROJECT["dependencies"] + [line for extra in PROJECT["optional-dependencies"].values() for line in extra]
    wrong = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_-]+>=[0-9.]+", line)]
    assert not wrong


def test_versions_agree() -> None:
    assert PROJECT["version"] == expportrait_core.__version__


def test_assets_are_small() -> None:
    megabyte = 1 << 20
    too_big = {
        path.name: path.stat().st_size / megabyte
        for path in (CORE / "assets").rglob("*")
        if path.is_file() and path.stat().st_size > (16 if path.name.startswith("demo_generator") else 4) * megabyte
    }
    assert not too_big


def test_ruff_finds_nothing() -> None:
    """Among its rules are the ComfyUI registry's: no eval, exec, pickle, shell, or pip through subprocess."""
    pytest.importorskip("ruff")
    found = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", "."],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout


# ----------------------------------------------------------------------------------------------------------- imports


def test_core_imports_neither_comfyui_nor_nodes() -> None:
    foreign = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "execution", "folder_paths", "nodes", "server"}
    found = [(str(p.relative_to(ROOT)), name) for p in core_files() for level, name in imports_of(p)
             if level == 0 and name.split(".")[0] in foreign]  # fmt: skip
    assert not found


def test_core_imports_itself_relatively() -> None:
    """Inside ComfyUI the core is part of the pack and not installed under its own name."""
    found = [str(p.relative_to(ROOT)) for p in core_files() for level, name in imports_of(p)
             if level == 0 and name.split(".")[0] == CORE.name]  # fmt: skip
    assert not found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_steps_import_only_what_comes_before_them(room: str) -> None:
    found = {
        str(path.relative_to(ROOT)): sorted(rooms_imported(path) - MAY_IMPORT[room])
        for path in core_files()
        if room_of(path) == room and rooms_imported(path) - MAY_IMPORT[room]
    }
    assert not found


def test_every_part_of_the_core_has_its_rule() -> None:
    assert {room_of(path) for path in core_files()} | {"assets"} == MAY_IMPORT.keys()


def test_optional_packages_are_imported_in_one_file_each() -> None:
    homes: dict[str, set[str]] = {}
    for path in core_files():
        for level, name in imports_of(path):
            if level == 0 and (package := name.split(".")[0]) in IN_ONE_FILE:
                homes.setdefault(package, set()).add(str(path.relative_to(ROOT)))
    assert not {package: files for package, files in homes.items() if len(files) > 1}


def test_no_pickle_and_no_code_from_strings() -> None:
    """Beside ruff's rules: `np.load` and `torch.load` say which of their modes they mean."""
    wrong = []
    for path in core_files():
        where = path.relative_to(ROOT)
        banned = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
        wrong += [f"{where}: {n}" for level, n in imports_of(path) if level == 0 and n.split(".")[0] in banned]
        for call in (n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)):
            called, given = ast.unparse(call.func), {k.arg: ast.unparse(k.value) for k in call.keywords}
            safe = {"np.load": ("allow_pickle", "False"), "torch.load": ("weights_only", "True")}
            if called in ("eval", "exec") or (called in safe and given.get(safe[called][0]) != safe[called][1]):
                wrong.append(f"{where}:{call.lineno}: {ast.unparse(call)}")
    assert not wrong


@pytest.mark.parametrize("module", ["expportrait_core", "expportrait_core.cli"])
def test_importing_is_light(module: str) -> None:
    """ComfyUI starts no later for this pack, and `expportrait --help` answers at once."""
    program = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(loaded.stdout.split())


@pytest.mark.parametrize("step", ["types", "body", "fit", "transfer"])
def test_a_step_imports_nothing_heavy_beside_torch(step: str) -> None:
    """Under 0.2 s beyond torch and numpy, which importing scipy or OpenCV alone would take: they wait for their use."""
    program = f"import sys, expportrait_core.{step}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not (HEAVY - {"torch"}) & set(loaded.stdout.split())


# -------------------------------------------------------------------------------------------------------- public API


@pytest.mark.parametrize("name", expportrait_core.__all__)
def test_public_names_exist(name: str) -> None:
    assert getattr(expportrait_core, name) is not None


@pytest.mark.parametrize("program", [
    "from expportrait_core import transfer as called; import expportrait_core.transfer as step",
    "import expportrait_core.transfer as step; from expportrait_core import transfer as called",
])  # fmt: skip
def test_transfer_is_the_step_and_its_function_in_any_order(program: str) -> None:
    check = "assert called is step; step.transfer = lambda head, fit: head + fit; assert called(1, fit=2) == 3"
    subprocess.run([sys.executable, "-c", f"{program}; {check}"], cwd=ROOT, check=True)


def test_readme_begins_with_five_calls_that_exist() -> None:
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert block, "README.md has no Python in it"
    calls = [node for node in ast.walk(ast.parse(block[1])) if isinstance(node, ast.Call)]
    called = [ast.unparse(call.func) for call in calls]
    assert [n for n in called if n != "load_head_model"] == [
        "load_fit", "personalize", "transfer", "render_normals", "generate",
    ]  # fmt: skip
    assert set(called) <= set(expportrait_core.__all__)


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert not [link for link in links if not (ROOT / link).exists()]


def test_inside_fit_pictures_come_before_landmarks_and_editing_stands_alone() -> None:
    """`detect` knows pictures alone, `edit` fits alone; the tracker uses both, and readers none of them."""
    wrong = {"detect": {"tracker", "edit", "formats"}, "edit": {"tracker", "detect"}, "formats": {"tracker", "detect"}}
    found = []
    for room, others in wrong.items():
        for path in (CORE / "fit" / room).rglob("*.py"):
            package = path.relative_to(CORE).parent.parts
            for level, name in imports_of(path):
                target = [*package[: len(package) + 1 - level], *name.split(".")] if level else []
                if target[:1] == ["fit"] and target[1:2] and target[1] in others:
                    found.append((str(path.relative_to(CORE)), name))
    assert not found
