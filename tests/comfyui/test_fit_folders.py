"""Which paths are taken for fits where ComfyUI's folders are links themselves, as many installations have them.

No server: core's list of folders is the only part of it that decides here, and stands in for the rest.
"""

from __future__ import annotations

import importlib
import pickle
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from expportrait_core.fit import load_fit

NODES = Path(__file__).parents[2] / "nodes"


@pytest.fixture
def fit_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """nodes/fit_files.py over `tmp_path/ComfyUI`, whose input and extra folders are links to `tmp_path/disk`."""
    disk, comfy = tmp_path / "disk", tmp_path / "ComfyUI"
    for folder in (disk / "input" / "actor", disk / "extra", disk / "elsewhere", comfy / "output"):
        folder.mkdir(parents=True)
    (comfy / "input").symlink_to(disk / "input", target_is_directory=True)
    (comfy / "extra").symlink_to(disk / "extra", target_is_directory=True)
    for name in ("input/own.npz", "input/actor/one.npz", "extra/more.npz", "elsewhere/private.npz"):
        (disk / name).write_bytes(b"a fit")
    folders = types.ModuleType("folder_paths")
    folders.get_input_directory = lambda: str(comfy / "input")
    folders.get_output_directory = lambda: str(comfy / "output")
    folders.folder_names_and_paths = {"expportrait_fits": ([str(comfy / "extra")], set())}
    package = types.ModuleType("expportrait_nodes_alone")
    package.__path__ = [str(NODES)]
    monkeypatch.setitem(sys.modules, "folder_paths", folders)
    monkeypatch.setitem(sys.modules, package.__name__, package)
    for name in ("files", "fit_files"):
        monkeypatch.delitem(sys.modules, f"{package.__name__}.{name}", raising=False)
    module = importlib.import_module(f"{package.__name__}.fit_files")
    yield module
    for name in ("files", "fit_files"):
        sys.modules.pop(f"{package.__name__}.{name}", None)


def test_folders_that_are_links_are_used_like_any(fit_files: types.ModuleType, tmp_path: Path) -> None:
    assert fit_files.fit_choices() == ["actor/", "actor/one.npz", "own.npz", "more.npz [fits]"]
    for name, place in (
        ("own.npz", "input/own.npz"), ("actor/one.npz", "input/actor/one.npz"), ("actor/", "input/actor"),
        ("more.npz [fits]", "extra/more.npz"),
    ):  # fmt: skip
        assert fit_files.why_no_fit(name) is None
        assert fit_files.fit_path(name) == (tmp_path / "disk" / place).resolve()
        assert fit_files.fit_fingerprint(name)


def link(place: str, target: str) -> Callable[[Path], None]:
    def make(tmp_path: Path) -> None:
        path = tmp_path / "disk" / place
        path.symlink_to(tmp_path / target, target_is_directory=(tmp_path / target).is_dir())

    return make


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        (link("input/link.npz", "disk/elsewhere/private.npz"), "link.npz", "lies outside"),
        (link("input/linked", "disk/elsewhere"), "linked/private.npz", "lies outside"),
        (link("input/actor/two.npz", "disk/elsewhere/private.npz"), "actor/", "holds the link two.npz"),
        (lambda _: None, "../elsewhere/private.npz", "lies outside|There is no fit file"),
        (lambda _: None, "../../disk/elsewhere/private.npz", "lies outside|There is no fit file"),
    ],
)
def test_links_that_leave_linked_folders_are_refused(
    fit_files: types.ModuleType, tmp_path: Path, make: Callable[[Path], None], name: str, words: str
) -> None:
    make(tmp_path)
    assert re.search(words, fit_files.why_no_fit(name))
    assert not [choice for choice in fit_files.fit_choices() if "link" in choice or "two" in choice]


def test_links_between_the_folders_are_followed(fit_files: types.ModuleType, tmp_path: Path) -> None:
    """A link in the input folder to a folder that extra_model_paths.yaml names, whichever way either is written."""
    (tmp_path / "disk" / "input" / "shared").symlink_to(tmp_path / "ComfyUI" / "extra", target_is_directory=True)
    assert fit_files.fit_path("shared/more.npz") == (tmp_path / "disk" / "extra" / "more.npz").resolve()
    assert fit_files.why_no_fit("shared/more.npz") is None


@pytest.mark.parametrize("target", ["self", "gone.npz"])
def test_links_that_lead_nowhere_leave_the_lists_as_they_are(
    fit_files: types.ModuleType, tmp_path: Path, target: str
) -> None:
    folder = tmp_path / "disk" / "input"
    before = fit_files.fit_choices()
    for place in ("self.npz", "self.preset.json", "actor/self.npz"):
        path = folder / place
        path.symlink_to(path if target == "self" else folder / target)
    assert fit_files.fit_choices() == before
    assert fit_files.preset_files() == {}
    assert re.search("self.npz is a link that leads nowhere or to itself", fit_files.why_no_fit("self.npz"))
    assert re.search("holds the link self.npz, which leads outside .* or nowhere", fit_files.why_no_fit("actor/"))
    assert fit_files.why_no_fit("own.npz") is None


def write_ehm(folder: Path) -> None:
    folder.mkdir()
    zeros = {"global_pose": 3, "left_hand_pose": (15, 3), "right_hand_pose": (15, 3), "body_pose": (21, 3), "exp": 50}
    body = {key: np.zeros((1, *np.atleast_1d(size)), np.float32) for key, size in zeros.items()}
    body["camera_RT_params"] = np.float32([[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 24]]])
    face = {"expression_params": 50, "jaw_params": 3, "eye_pose_params": 6, "eyelid_params": 2}
    head = {key: np.zeros((1, size), np.float32) for key, size in face.items()}
    frame = {"smplx_coeffs": body, "flame_coeffs": head, "body_crop": {"M_c2o-hd": np.eye(3)}}
    (folder / "optim_tracking_ehm.pkl").write_bytes(pickle.dumps({"000000": frame, "000001": frame}))
    shared = {"smplx_shape": np.full((1, 200), 7, np.float32), "flame_shape": np.zeros((1, 300), np.float32)}
    shared |= {"head_scale": np.ones((1, 3), np.float32), "joints_offset": np.zeros((1, 55, 3), np.float32)}
    (folder / "id_share_params.pkl").write_bytes(pickle.dumps(shared))


def test_files_beside_the_chosen_one_lie_inside_too(fit_files: types.ModuleType, tmp_path: Path) -> None:
    write_ehm(tmp_path / "disk" / "input" / "ehm")
    path = fit_files.fit_path("ehm/optim_tracking_ehm.pkl")
    assert load_fit(path, allowed=fit_files.may_read()).betas[0] == 7
    shared = path.with_name("id_share_params.pkl")
    shared.rename(tmp_path / "disk" / "elsewhere" / "shared.pkl")
    shared.symlink_to(tmp_path / "disk" / "elsewhere" / "shared.pkl")
    with pytest.raises(ValueError, match=r"needs id_share_params\.pkl, which lies outside the folders"):
        load_fit(fit_files.fit_path("ehm/optim_tracking_ehm.pkl"), allowed=fit_files.may_read())
