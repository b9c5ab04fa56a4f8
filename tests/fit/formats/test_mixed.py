"""Folders with frames of another person, clip or picture size: refused, or named in a warning, by the frame."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.fit import load_fit

from . import tracker_files as files
from .test_hostile import change_json, change_npz, change_pickle, change_torch, refused

MANY = (0, 1, 2, 3, 4, 5)


def stranger(values: int) -> np.ndarray:
    return np.random.default_rng(99).normal(0, 0.1, values).astype(np.float32)


def write_folder(root: Path, tracker: str) -> None:
    if tracker == "vhap":
        files.write_vhap_export(root)
    elif tracker == "lhm":
        files.write_lhm(root)
    else:
        files.write_frames(root, tracker)


def change_shape(root: Path, tracker: str, frame: int, shape: np.ndarray) -> str:
    if tracker == "vhap":
        change_npz(root / "flame_param" / f"{frame:05d}.npz", shape=shape)
        return f"{frame:05d}.npz: shape"
    if tracker == "lhm":
        change_json(root / "smplx_params" / f"{frame + 1:05d}.json", betas=shape[:10].tolist())
        return f"{frame + 1:05d}.json: betas"
    change_torch(root / "checkpoint" / f"{frame:05d}.frame", "flame", shape=shape[None])
    return f"{frame:05d}.frame: flame.shape"


def shape_in(root: Path, tracker: str) -> np.ndarray:
    write_folder(root, tracker)
    return load_fit(root).betas.numpy()


ONE_SHAPE = ("vhap", "pixel3dmm", "metrical", "lhm")


@pytest.mark.parametrize("tracker", ONE_SHAPE)
@pytest.mark.parametrize("frame", [0, 2, 3])
def test_a_frame_of_another_person(tmp_path: Path, tracker: str, frame: int) -> None:
    root = tmp_path / "clip"
    shape_in(root, tracker)
    what = change_shape(root, tracker, frame, stranger(300))
    refused(root, rf"^{what} is another person's than in the other frames, .* give each its own folder")


@pytest.mark.parametrize("tracker", ONE_SHAPE)
def test_two_frames_of_two_people(tmp_path: Path, tracker: str) -> None:
    root = tmp_path / "clip"
    shape_in(root, tracker)
    for frame in (2, 3):
        change_shape(root, tracker, frame, stranger(300))
    refused(root, "is another person's than in the other frames")


@pytest.mark.parametrize("tracker", ONE_SHAPE)
def test_a_shape_that_is_refined_is_one_person(tmp_path: Path, tracker: str) -> None:
    root = tmp_path / "clip"
    shape = shape_in(root, tracker)
    shape = np.pad(shape, (0, 300 - len(shape)))
    for frame in range(4):
        change_shape(root, tracker, frame, (shape * (1 + 0.02 * frame)).astype(np.float32))
    read = load_fit(root).betas.numpy()
    assert np.allclose(read, shape[: len(read)] * 1.03, atol=1e-5), "the median"


def test_rows_of_two_people_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "tracked_flame_params_9.npz"
    shape = files.write_vhap(path)["shape"]
    change_npz(path, shape=np.stack([shape] * 4))
    assert np.allclose(load_fit(path).betas.numpy(), shape)
    change_npz(path, shape=np.stack([shape, shape, stranger(300), shape]))
    refused(path, r"shape has 4 rows, and row 3 is another person's shape")


@pytest.mark.parametrize("tracker", ["smplerx", "emica", "delta"])
def test_a_stranger_among_estimated_shapes_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tracker: str
) -> None:
    root = tmp_path / "clip"
    monkeypatch.setattr(files, "FRAMES", 6)
    write = {"smplerx": lambda: files.write_smplerx(root, {0: list(MANY)}), "emica": lambda: files.write_emica(root),
             "delta": lambda: files.write_delta(root)}  # fmt: skip
    write[tracker]()
    load_fit(root)
    assert "differs from the other frames" not in caplog.text, "noise is what the mean is for"
    if tracker == "smplerx":
        change_npz(root / "smplx" / "00003_0.npz", betas=np.full((1, 10), 3.0))
    elif tracker == "emica":
        np.save(root / "00003_000" / "shape.npy", np.full(300, 3.0))
    else:
        change_pickle(root / "person_f000003_param.pkl", shape=np.full(200, 3.0))
    load_fit(root)
    name = {"smplerx": "00003_0.npz", "emica": "clip/00003_000", "delta": "person_f000003_param.pkl"}[tracker]
    assert f"{name}: {'betas' if tracker == 'smplerx' else 'shape'} differs from the other frames" in caplog.text


def test_two_subjects_of_delta(tmp_path: Path) -> None:
    files.write_delta(tmp_path / "clip")
    for frame in (7, 8):
        shutil.copy(tmp_path / "clip" / "person_f000000_param.pkl", tmp_path / "clip" / f"anna_f{frame:06}_param.pkl")
    refused(tmp_path / "clip", r"^clip holds frames of 2 subjects \(anna in 2, person in 4\), .* their own folder")
    assert load_fit(tmp_path / "clip" / "anna_f000007_param.pkl").frame_ids.tolist() == [7]


def entries(root: Path) -> list[dict]:
    return json.loads((root / "transforms.json").read_text())["frames"]


def test_two_cameras_of_one_frame(tmp_path: Path) -> None:
    root = tmp_path / "clip"
    files.write_vhap_export(root)
    found = entries(root)
    change_json(root / "transforms.json", frames=[*found, found[2] | {"camera_index": 1}])
    assert load_fit(root).num_frames == 4, "another camera"
    change_json(root / "transforms.json", frames=[*found, found[2] | {"fl_x": 500.0}])
    refused(root, r"^transforms\.json has frame 2 of camera 0 twice, expected one entry for each frame and camera")


def test_a_picture_of_another_size(tmp_path: Path) -> None:
    for tracker in ("pixel3dmm", "metrical"):
        files.write_frames(tmp_path / tracker, tracker)
        path = tmp_path / tracker / "checkpoint" / "00002.frame"
        torch.save(torch.load(path, weights_only=False) | {"img_size": np.array([256, 256])}, path)
        refused(tmp_path / tracker, r"^00002\.frame: img_size is 256×256 in frame 2, and 512×512 in 3 of 4 frames")
    files.write_vhap_export(tmp_path / "vhap")
    found = entries(tmp_path / "vhap")
    found[3] |= {"h": 300, "w": 256}
    change_json(tmp_path / "vhap" / "transforms.json", frames=found)
    refused(tmp_path / "vhap", r"^transforms\.json: the size of the picture \(h, w\) is 300×256 in frame 3, and 600×")
    files.write_lhm(tmp_path / "lhm")
    change_json(tmp_path / "lhm" / "smplx_params" / "00003.json", img_size_wh=[768, 432])
    refused(tmp_path / "lhm", r"^00003\.json: the picture without its padding is 640×360 in frame 3, and 1280×720")
    files.write_gvhmr(tmp_path / "hmr4d_results.pt")
    content = torch.load(tmp_path / "hmr4d_results.pt")
    content["K_fullimg"][1, :2, 2] = torch.tensor([320.0, 180.0])
    torch.save(content, tmp_path / "hmr4d_results.pt")
    refused(tmp_path / "hmr4d_results.pt", r"twice the centre in K_fullimg .* is 360×640 in frame 1, and 720×1280 in 3")


def test_a_principal_point_of_another_picture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files.write_exavatar(tmp_path / "exa")
    load_fit(tmp_path / "exa")
    assert "princpt" not in caplog.text
    change_json(tmp_path / "exa" / "cam_params" / "2.json", princpt=[270.0, 480.0])
    load_fit(tmp_path / "exa")
    assert "cam_params/2.json: princpt is [270.0, 480.0], and [540.0, 960.0]" in caplog.text


@pytest.mark.parametrize("tracker", ["pixel3dmm", "metrical"])
def test_frames_that_call_themselves_by_another_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, tracker: str
) -> None:
    files.write_frames(tmp_path / "a", tracker)
    folder = tmp_path / "a" / "checkpoint"
    load_fit(tmp_path / "a")
    assert "says that it is" not in caplog.text
    (folder / "00001.frame").rename(folder / "00009.frame")
    load_fit(tmp_path / "a")
    assert "00009.frame says that it is frame 1, and so it does not go with the files beside it" in caplog.text


def rename_emica(root: Path) -> None:
    files.write_emica(root)
    (root / "00003_000").rename(root / "other_00003_000")


def rename_picture(root: Path) -> None:
    files.write_smplifyx(root)
    (root / "results" / "img_0003").rename(root / "results" / "holiday_0003")


def rename_ehm(root: Path) -> None:
    files.write_ehm(root)
    path = root / "optim_tracking_ehm.pkl"
    content = pickle.loads(path.read_bytes())  # noqa: S301 - written by this test
    content["other_000003"] = content.pop("frame_000003")
    path.write_bytes(pickle.dumps(content))


NAMED = [
    (files.write_emica, rename_emica, "clip holds frames whose names begin differently: a number… (3), other_… (1)"),
    (files.write_smplifyx, rename_picture, "clip holds frames whose names begin differently: holiday_… (1), img_"),
    (files.write_ehm, rename_ehm, "optim_tracking_ehm.pkl holds frames whose names begin differently: frame_… (3)"),
]  # fmt: skip


@pytest.mark.parametrize(("write", "rename", "sentence"), NAMED)
def test_pictures_of_two_clips(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, write, rename, sentence: str
) -> None:
    write(tmp_path / "one")
    load_fit(tmp_path / "one")
    assert "begin differently" not in caplog.text
    rename(tmp_path / "clip")
    load_fit(tmp_path / "clip")
    assert sentence in caplog.text
