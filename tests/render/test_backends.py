"""The back ends against each other: the same triangles to the pixel, from any number of threads, and who is chosen."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from expportrait_core.body import load_head_model, upsample
from expportrait_core.render import backend, choose_backend, visibility, visibility_nvdiffrast, visible_triangles

from .meshes import blob, look, rotation

CPU = torch.device("cpu")
ROOT = Path(backend.__file__).parents[2]


@pytest.fixture
def threads():
    """Sets the number of threads, and puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def assert_same(corners: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    pytest.importorskip("numba")
    plain, fast = (visible_triangles(corners, faces, height, width, name) for name in ("torch", "numba"))
    assert plain.dtype == fast.dtype == torch.int32 and torch.equal(plain, fast)
    return fast


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [0.5, 3.0, 40.0, 5000.0])
def test_random_triangles(spread: float, dtype: torch.dtype) -> None:
    """Both orientations, several frames, many crossing each other."""
    generator = torch.Generator().manual_seed(int(spread))
    centre = torch.rand(3, 500, 1, 2, generator=generator) * 120 - 10
    xy = centre + spread * torch.randn(3, 500, 3, 2, generator=generator)
    w = 0.5 + 3 * torch.rand(3, 500, 3, 1, generator=generator)
    corners = torch.cat([xy * w, w], -1).view(3, -1, 3).to(dtype)
    ids = assert_same(corners, torch.arange(1500).view(-1, 3), 90, 101)
    assert (ids >= 0).any()


@pytest.mark.parametrize("step", [1.0, 0.5, 1 / 64])
def test_slivers_and_corners_on_pixel_centres(step: float) -> None:
    """Corners on a coarse raster: shared edges, horizontal ones, flat triangles, equal depths, all through centres."""
    generator = torch.Generator().manual_seed(0)
    xy = torch.randint(0, int(60 / step), (1, 300, 2), generator=generator) * step + 0.5
    w = 2.0 ** torch.randint(0, 3, (1, 300, 1), generator=generator)
    faces = torch.randint(0, 300, (900, 3), generator=generator)
    assert_same(torch.cat([xy * w, w], -1), faces, 61, 61)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("flipped", [False, True])
def test_default_head(level: int, flipped: bool) -> None:
    model = load_head_model("default", level=level)
    faces = model.fine_faces[:, [0, 2, 1]] if flipped else model.fine_faces
    head = upsample(model.template, model.faces, model.upsampling)
    head = head - head.mean(0)
    vertices = torch.stack([head @ rotation(yaw, 0.2).T for yaw in (0.0, 0.7, 2.4)])
    ids = assert_same(look((256, 240), 0.9, 1.8, 3).project(vertices), faces, 256, 240)
    assert (ids >= 0).float().mean() > 0.2


def test_triangles_behind_the_camera_are_refused_alike() -> None:
    vertices, faces = blob(3)
    corners = look((32, 32), 0.05, 1.0).project(vertices[None])
    sentences = []
    for name in ("torch", "numba"):
        if name == "numba":
            pytest.importorskip("numba")
        with pytest.raises(ValueError, match="camera's plane") as refused:
            visible_triangles(corners, faces, 32, 32, name)
        sentences.append(str(refused.value))
    assert sentences[0] == sentences[1]


def test_number_of_threads_does_not_show(threads) -> None:
    """Whole frames or strips of rows, more strips than rows included."""
    vertices, faces = blob(4)
    corners = look((70, 50), 0.6, 2.0).project(vertices[None]).repeat(3, 1, 1)
    ids = visible_triangles(corners, faces, 70, 50)
    for number in (2, 3, 7):
        threads(number)
        for frames in (1, 2, 3):
            assert torch.equal(visible_triangles(corners[:frames], faces, 70, 50), ids[:frames])
        assert torch.equal(visible_triangles(corners, faces, 2, 50), ids[:, :2])


def test_two_threads_draw_at_once(threads) -> None:
    """ComfyUI runs nodes and previews in threads of its own; all meet in one pool."""
    threads(2)
    vertices, faces = blob(4)
    views = [look((60, 60), distance, 2.0).project(vertices[None]).repeat(2, 1, 1) for distance in (0.5, 0.6, 0.7, 0.8)]
    expected = [visible_triangles(view, faces, 60, 60) for view in views]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda view: visible_triangles(view, faces, 60, 60), views * 20))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected * 20))


# ----------------------------------------------------------------------------------------------------------- the choice


def test_the_fastest_that_works_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend.compiled, "can_compile", lambda: True)
    monkeypatch.setattr(backend.visibility_nvdiffrast, "is_installed", lambda: True)
    assert choose_backend(CPU) == "numba" and choose_backend(torch.device("cuda")) == "nvdiffrast"
    assert choose_backend(torch.device("mps")) == "numba" and choose_backend(CPU, "torch") == "torch"
    monkeypatch.setattr(backend.compiled, "can_compile", lambda: False)
    monkeypatch.setattr(backend.visibility_nvdiffrast, "is_installed", lambda: False)
    assert choose_backend(CPU) == choose_backend(torch.device("cuda")) == "torch"
    with pytest.raises(ValueError, match="needs the CPU and the package numba"):
        choose_backend(CPU, "numba")
    with pytest.raises(ValueError, match="needs a CUDA device"):
        choose_backend(CPU, "nvdiffrast")
    with pytest.raises(ValueError, match="'metal', expected one of"):
        choose_backend(CPU, "metal")


def test_the_environment_overrides_what_the_caller_leaves_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backend.OVERRIDE, "torch")
    assert choose_backend(CPU) == "torch"
    monkeypatch.setenv(backend.OVERRIDE, "metal")
    assert choose_backend(CPU, "torch") == "torch"
    with pytest.raises(ValueError, match="'metal', expected one of"):
        choose_backend(CPU)


def python(program: str) -> str:
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


DRAW = """
import torch
from expportrait_core.render import choose_backend, visible_triangles
corners = torch.tensor([[[0.0, 0, 1], [0, 8, 1], [8, 0, 1]]])
print(choose_backend(corners.device), int((visible_triangles(corners, torch.tensor([[0, 1, 2]]), 8, 8) == 0).sum()))
"""


def test_a_broken_numba_is_a_log_line() -> None:
    """As with a numpy newer than it knows, where its import raises; and one that imports but cannot compile."""
    broken = "import sys, types; sys.meta_path.insert(0, type('F', (), {'find_spec': staticmethod(fail)}))"
    fail = "def fail(name, *_):\n    if name == 'numba': raise SystemError('numpy is too new')\n"
    assert "numba cannot be used (numpy is too new)" in (out := python(fail + broken + DRAW)) and "torch 28" in out
    useless = "import sys, types; sys.modules['numba'] = types.SimpleNamespace(njit=lambda **_: lambda kernel: None, "\
              "config=types.SimpleNamespace(DISABLE_JIT=0))\n"
    assert "numba does not compile here" in (out := python(useless + DRAW)) and "torch 28" in out
    left = "import sys, types; sys.modules['numba'] = types.ModuleType('numba')\n"  # an uninstall that was cut off
    assert "numba cannot be used (module 'numba' has no" in (out := python(left + DRAW)) and "torch 28" in out
    switched_off = "import os; os.environ['NUMBA_DISABLE_JIT'] = '1'\n"
    assert "NUMBA_DISABLE_JIT is set" in (out := python(switched_off + DRAW)) and "torch 28" in out
    missing = "import sys; sys.modules['numba'] = None\n"
    assert "torch 28" in python(missing + DRAW)


def test_folders_that_cannot_be_written_do_not_matter() -> None:
    """Without a place for its cache numba refuses to cache; kernels are then compiled for this process alone."""
    pytest.importorskip("numba")
    nowhere = "from numba.core.caching import CacheImpl\nCacheImpl._locator_classes = []\n"
    out = python(nowhere + DRAW)
    assert "numba 28" in out and "Error" not in out


KERNEL = """
from expportrait_core.render.compiled import compiled

@compiled
def add(a, b):
    return a + b
"""


def kernel_of(folder: Path) -> ModuleType:
    """A module with one kernel, whose compiled code is kept in the folder; as a new process would import it."""
    path = folder / "kernel_of_a_test.py"
    if not path.exists():
        path.write_text(KERNEL)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [0, 30])  # bytes: a power cut leaves nothing, or a part
def test_a_damaged_file_of_compiled_code_is_a_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ending: str, left: int
) -> None:
    pytest.importorskip("numba")
    assert kernel_of(tmp_path).add(1, 2) == 3
    (kept,) = tmp_path.glob(f"__pycache__/*.{ending}")
    kept.write_bytes(kept.read_bytes()[:left])
    assert kernel_of(tmp_path).add(1, 2) == 3 and "compiled code of add cannot be read" in caplog.text
    caplog.clear()
    again = kernel_of(tmp_path).add
    assert again(1, 2) == 3 and not caplog.text and sum(again.stats.cache_hits.values()) == 1  # it has mended itself


def test_compiled_code_that_cannot_be_written_is_a_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    from numba.core.caching import IndexDataCacheFile

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "save", full)
    assert kernel_of(tmp_path).add(1, 2) == 3 and "cannot be kept ([Errno 28]" in caplog.text


def test_what_goes_to_nvdiffrast() -> None:
    """Front faces alone, in clip space: the picture's first row at y = -1, the nearest corner at depth -1."""
    xy = torch.tensor([[0.0, 0], [64, 0], [64, 32], [0, 32]])
    inverse, faces = torch.tensor([2.0, 2, 1, 1]), torch.tensor([[0, 2, 1], [0, 3, 2], [0, 1, 2]])
    front = visibility_nvdiffrast._front_faces(xy, faces)
    assert front.tolist() == [0, 1]  # counter-clockwise on the screen, where y points down
    clip = visibility_nvdiffrast._clip_space(xy, inverse, faces, [32, 64])
    ndc = clip[:, :3] / clip[:, 3:]
    torch.testing.assert_close(ndc[:, :2], torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]))
    assert (ndc[:2, 2] < -0.98).all() and (ndc[2:, 2] > 0.98).all()
    torch.testing.assert_close(clip[:, 3], 1 / inverse)  # w is the depth: what is interpolated is in perspective


def test_what_nvdiffrast_has_no_room_for_is_drawn_by_torch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    vertices, faces = blob(2)
    corners = look((2056, 64), 0.6, 0.05).project(vertices[None])
    expected = visible_triangles(corners, faces, 2056, 64, "torch")
    monkeypatch.setattr(visibility, "choose_backend", lambda *_: "nvdiffrast")
    monkeypatch.setattr(visibility, "visible_nvdiffrast", lambda *_: pytest.fail("nvdiffrast was asked"))
    visibility_nvdiffrast._too_large.cache_clear()
    with caplog.at_level("INFO"):
        for _ in range(2):
            assert torch.equal(visible_triangles(corners, faces, 2056, 64), expected)
    assert caplog.text.count("at most 2048 samples a side") == 1
    with pytest.raises(pytest.fail.Exception, match="was asked"):
        visible_triangles(corners, faces, 64, 2048)


def test_an_nvdiffrast_that_is_missing_or_broken_is_a_log_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Without a CUDA device the check fails before the import, so the tensors of the check are made on the CPU."""
    if importlib.util.find_spec("nvdiffrast"):
        pytest.skip("nvdiffrast is installed here")
    installed, tensor = visibility_nvdiffrast.is_installed, torch.tensor
    monkeypatch.setattr(torch, "tensor", lambda *values, device=None, **more: tensor(*values, **more))
    caplog.set_level("INFO", "expportrait_core")
    for content, sentence, level in (
        (None, "nvdiffrast is not installed", "INFO"),
        ({"__init__.py": ""}, "nvdiffrast cannot be used (No module named 'nvdiffrast.torch')", "WARNING"),
        ({"__init__.py": "", "torch.py": "import ninja_of_a_test"}, "No module named 'ninja_of_a_test'", "WARNING"),
        ({"__init__.py": "", "torch.py": "raise OSError('built for another torch')"}, "another torch", "WARNING"),
        ({"__init__.py": "", "torch.py": ""}, "has no attribute", "WARNING"),
    ):
        for name in [name for name in sys.modules if name.split(".")[0] == "nvdiffrast"]:
            monkeypatch.delitem(sys.modules, name)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, text in (content or {}).items():
            (folder / "nvdiffrast").mkdir(exist_ok=True)
            (folder / "nvdiffrast" / name).write_text(text)
        monkeypatch.syspath_prepend(folder)
        installed.cache_clear()
        caplog.clear()
        assert not installed()
        assert sentence in caplog.text and caplog.records[0].levelname == level, (content, caplog.text)
    installed.cache_clear()
