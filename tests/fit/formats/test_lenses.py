"""Lenses that no camera has, in whichever format: refused in one place, by the frame and with what is expected."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.assets import PERFORMANCE
from expportrait_core.fit import load_fit, save_fit

from . import tracker_files as files
from .test_hostile import change_json, change_torch, refused, written

Case = tuple[Callable[[Path], object], Callable[[Path], object], str]


def gvhmr_lens(path: Path, focal: float) -> None:
    content = torch.load(path)
    content["K_fullimg"][2, :2, :2] *= focal
    torch.save(content, path)


def own(path: Path, focal: float) -> None:
    fit = load_fit(PERFORMANCE)
    k = fit.camera.intrinsics.clone()
    k[5, 0, 0] = focal
    save_fit(fit.replace(camera=fit.camera.replace(intrinsics=k)), path)


LENS: dict[str, Case] = {
    "vhap": (lambda p: files.write_vhap(p / "a.npz", focal=1e14), lambda p: None,
             r"focal length is 8e\+16 pixels, expected 8 to 800,000 for pictures of 550×800 .*, in frame 0 and 3 oth"),
    "vhap export": (files.write_vhap_export,
                    lambda p: change_json(p / "transforms.json", frames=[
                        entry | {"fl_x": 1e14 if entry["timestep_index"] == 2 else 900.0} for entry in
                        json.loads((p / "transforms.json").read_text())["frames"]]),
                    r"focal length is 1e\+14 and 910 pixels, .*, in frame 2\. Check its units"),
    "pixel3dmm": (lambda p: files.write_frames(p, "pixel3dmm"),
                  lambda p: change_torch(p / "checkpoint" / "00001.frame", "camera", fl=np.array([[3.9e6]])),
                  "expected 5.12 to 512,000 for pictures of 512×512 .*, in frame 1"),
    "pixel3dmm point": (lambda p: files.write_frames(p, "pixel3dmm"),
                        lambda p: change_torch(p / "checkpoint" / "00001.frame", "camera", pp=np.array([[3e7, 0.0]])),
                        "principal point is at .* pixels, expected at most 512,000"),
    "metrical": (lambda p: files.write_frames(p, "metrical"),
                 lambda p: change_torch(p / "checkpoint" / "00001.frame", "opencv",
                                        K=np.diag([0.01, 0.01, 1.0])[None]), "focal length is 0.01 pixels"),
    "smplerx": (files.write_smplerx, lambda p: change_json(p / "meta" / "00001_0.json", focal=[200.0, 9000.0]),
                "focal lengths are 200 and 9000 pixels, expected a ratio of at most 10"),
    "exavatar": (files.write_exavatar, lambda p: change_json(p / "cam_params" / "3.json", focal=[1e9, 1e9]),
                 r"focal length is 1e\+09 pixels, .*, in frame 3"),
    "lhm": (files.write_lhm, lambda p: change_json(p / "smplx_params" / "00002.json", princpt=[1e9, 0.0]),
            r"principal point is at 1e\+09 and"),
    "gvhmr": (lambda p: files.write_gvhmr(p / "hmr4d_results.pt"), lambda p: gvhmr_lens(p / "hmr4d_results.pt", 1e6),
              "focal length is .* in frame 2"),
    "emica": (files.write_emica, lambda p: np.save(p / "00002_000" / "cam.npy", np.array([1e6, 0, 0])), "in frame 2"),
    "own": (lambda p: own(p / "a.npz", 3e9), lambda p: None, r"focal length is 3e\+09 and .* in frame 5"),
}  # fmt: skip


@pytest.mark.parametrize("case", LENS)
def test_lenses_that_no_camera_has(case: str, tmp_path: Path) -> None:
    write, change, sentence = LENS[case]
    path = written(tmp_path / "take_7", write, change)
    refused(path, rf"^{path.name}: The camera's .*{sentence}")


def test_a_given_lens_helps_and_is_judged_alike(tmp_path: Path) -> None:
    files.write_exavatar(tmp_path / "clip")
    change_json(tmp_path / "clip" / "cam_params" / "3.json", focal=[1e9, 1e9])
    assert load_fit(tmp_path / "clip", focal=1000.0).camera.intrinsics[3, 0, 0] == 1000
    sentence = r"^clip: `focal` is .*, expected 384 to 192,000 pixels for pictures of 1080×1920 .* 35 mm are 1867 pix"
    for focal in (3.0, 35.0, 9e6):
        with pytest.raises(ValueError, match=sentence):
            load_fit(tmp_path / "clip", focal=focal)


def test_lenses_that_are_rare_are_read(tmp_path: Path) -> None:
    files.write_vhap(tmp_path / "a.npz", focal=0.2)  # 157° of view
    files.write_vhap(tmp_path / "b.npz", focal=60.0)  # a bird-watcher's telescope
    files.write_emica(tmp_path / "c")
    np.save(tmp_path / "c" / "00002_000" / "cam.npy", np.array([30.0, 0, 0]))  # an eye fills the crop
    for name in "a.npz", "b.npz", "c":
        assert load_fit(tmp_path / name).num_frames == files.FRAMES


def test_an_inner_folder_is_told_by_the_folder_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files.write_exavatar(tmp_path / "exa")
    for camera in (tmp_path / "exa" / "cam_params").iterdir():
        camera.unlink()
    files.write_lhm(tmp_path / "lhm")
    sentence = "^exa lacks cam_params/0.json. Give the subject's folder"
    monkeypatch.chdir(tmp_path)
    for given in ("exa/smplx_optimized", "exa", "exa/smplx_optimized/smplx_params", "lhm/../exa/smplx_optimized"):
        with pytest.raises(ValueError, match=sentence):
            load_fit(given)
    monkeypatch.chdir(tmp_path / "exa")
    for given in ("smplx_optimized", ".", "./smplx_optimized", "smplx_optimized/smplx_params", "../exa"):
        with pytest.raises(ValueError, match=sentence):
            load_fit(given)
    monkeypatch.chdir(tmp_path / "exa" / "smplx_optimized")
    for given in (".", "..", "smplx_params"):
        with pytest.raises(ValueError, match=sentence):
            load_fit(given)
    monkeypatch.chdir(tmp_path / "lhm" / "smplx_params")
    assert load_fit(".").num_frames == load_fit("../smplx_params").num_frames == files.FRAMES
