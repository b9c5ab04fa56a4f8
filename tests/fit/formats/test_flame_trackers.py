"""FLAME trackers: known values in, the same values out, and known points on known pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.body import load_head_model
from expportrait_core.fit import load_fit
from expportrait_core.types import JAW, LEFT_EYE, NECK, RIGHT_EYE

from .test_smplx_trackers import pixels, read_alike, same
from .tracker_files import FRAMES, POINTS, write_emica, write_frames, write_vhap, write_vhap_export


def opengl_pixels(points: np.ndarray, view: np.ndarray, focal: tuple, centre: tuple, size: tuple) -> np.ndarray:
    """By the way of OpenGL: view, clip space, NDC with y up, then a viewport with y down."""
    height, width = size
    seen = points @ view[:3, :3].T + view[:3, 3]
    clip_x = 2 * focal[0] / width * seen[:, 0] + (1 - 2 * centre[0] / width) * seen[:, 2]
    clip_y = 2 * focal[1] / height * seen[:, 1] + (2 * centre[1] / height - 1) * seen[:, 2]
    w = -seen[:, 2]
    return np.stack([(clip_x / w + 1) / 2 * width, (1 - clip_y / w) / 2 * height], 1)


def test_vhap(tmp_path: Path) -> None:
    path = tmp_path / "tracked_flame_params_30.npz"
    write_vhap(tmp_path / "tracked_flame_params_1.npz")
    (tmp_path / "tracked_flame_params_1.npz").write_bytes(b"an earlier epoch, which is not read")
    values = write_vhap(path)
    fit = read_alike(path, tmp_path)
    same(fit.poses[:, 0], values["rotation"])
    same(fit.poses[:, NECK], values["neck_pose"])
    same(fit.poses[:, JAW], values["jaw_pose"])
    same(fit.poses[:, [LEFT_EYE, RIGHT_EYE]].flatten(1), values["eyes_pose"])
    same(fit.translation, values["translation"])
    same(fit.expression, values["expr"])
    same(fit.betas, values["shape"])
    assert (fit.expression_space, fit.model_id, fit.image_size) == ("flame100", "flame", (800, 550))
    view = np.eye(4)
    view[2, 3] = -1
    expected = opengl_pixels(POINTS, view, (1.7 * 800, 1.7 * 800), (275, 400), (800, 550))
    assert np.allclose(pixels(fit, POINTS), expected, atol=1e-2)


def test_vhap_export(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values, poses = write_vhap_export(tmp_path, (2, 3, 7))
    fit = read_alike(tmp_path, tmp_path / "flame_param")
    same(fit.poses[:, JAW], values["jaw_pose"])
    same(fit.expression, values["expr"])
    same(fit.betas, values["shape"])
    assert fit.frame_ids.tolist() == [2, 3, 7] and fit.image_size == (600, 512)
    assert "flame_param lacks 3 of its frames, the first is 4" in caplog.text
    for frame in range(3):
        view = np.linalg.inv(poses[frame])
        expected = opengl_pixels(POINTS, view, (900, 910), (256, 300), (600, 512))
        assert np.allclose(pixels(fit, POINTS)[frame], expected, atol=1e-2)
    (tmp_path / "transforms.json").unlink()
    with pytest.raises(ValueError, match=r"lacks transforms\.json"):
        load_fit(tmp_path)


def test_pixel3dmm(tmp_path: Path) -> None:
    contents, truths = write_frames(tmp_path, "pixel3dmm")
    fit = read_alike(tmp_path, tmp_path / "checkpoint")
    same(fit.poses[:, JAW], np.stack([t["jaw"] for t in truths]))
    same(fit.poses[:, NECK], np.stack([t["neck"] for t in truths]))
    same(fit.poses[:, [LEFT_EYE, RIGHT_EYE]], np.stack([t["eyes"] for t in truths]))
    same(fit.expression, np.stack([t["exp"] for t in truths]))
    same(fit.betas, contents[0]["flame"]["shape"][0])
    same(fit.eyelids, np.concatenate([c["flame"]["eyelids"] for c in contents]))
    assert (fit.expression_space, len(fit.betas), fit.image_size) == ("flame100", 300, (512, 512))
    size = 512
    for frame, content in enumerate(contents):
        flame, camera = content["flame"], content["camera"]
        world = POINTS @ flame["R_rotation_matrix"][0].T.astype(np.float64) + flame["t"][0]
        seen = world @ camera["R_base_0"][0].T.astype(np.float64) + camera["t_base_0"][0]
        # what the tracker minimises: intrinsics with a mirrored principal point, in pixels from the first one's centre
        focal, pp = camera["fl"][0, 0] * size, camera["pp"][0].astype(np.float64)
        cx, cy = size - (size / 2 + 0.5 + pp[0] * (size / 2 + 0.5)), size / 2 + 0.5 + pp[1] * (size / 2 + 0.5)
        flat = seen / -seen[:, 2:]
        expected = np.stack([size - 1 + (focal * flat[:, 0] - cx), -(focal * flat[:, 1] - cy)], 1) + 0.5
        assert np.allclose(pixels(fit, POINTS)[frame], expected, atol=1e-2)
    one = load_fit(tmp_path / "checkpoint" / "00002.frame")
    assert one.num_frames == 1 and one.frame_ids.tolist() == [2]
    same(one.poses[0, JAW], truths[2]["jaw"])


def test_metrical_tracker(tmp_path: Path) -> None:
    contents, truths = write_frames(tmp_path, "metrical")
    fit = load_fit(tmp_path)
    same(fit.poses[:, [LEFT_EYE, RIGHT_EYE]], np.stack([t["eyes"] for t in truths]))
    same(fit.betas, contents[0]["flame"]["shape"][0])
    same(fit.eyelids, np.concatenate([c["flame"]["eyelids"] for c in contents]))
    same(fit.poses[:, JAW], np.stack([t["jaw"] for t in truths]))
    same(fit.expression, np.stack([t["exp"] for t in truths]))
    assert not fit.poses[:, 0].any() and fit.expression_space == "flame100"
    for frame, truth in enumerate(truths):
        seen = POINTS @ truth["R"] + truth["T"]  # PyTorch3D: rows are points, x left, y up, z forward
        ndc = 9.5 * seen[:, :2] / seen[:, 2:] + [0.04, -0.03]
        assert np.allclose(pixels(fit, POINTS)[frame], 256 - 256 * ndc, atol=2e-2)


@pytest.mark.parametrize("emoca", [False, True])
def test_emica(tmp_path: Path, emoca: bool) -> None:
    written = write_emica(tmp_path, emoca)
    fit = load_fit(tmp_path)
    jaw = [w["pose"][3:] if emoca else w["jawpose"] for w in written]
    head = [w["pose"][:3] if emoca else w["globalpose"] for w in written]
    same(fit.poses[:, JAW], np.stack(jaw))
    same(fit.poses[:, 0], np.stack(head))
    same(fit.betas, np.mean([w["shape"] for w in written], axis=0))
    same(fit.expression, np.stack([w["exp"] for w in written]))
    assert (fit.expression_space, fit.image_size) == ("flame50" if emoca else "flame100", (224, 224))
    for frame, content in enumerate(written):
        scale, shift = content["cam"][0], content["cam"][1:]
        flat = scale * (POINTS[:, :2] + shift) * [1, -1]  # NDC with y down
        assert np.allclose(pixels(fit, POINTS)[frame], (flat + 1) / 2 * 224, atol=0.5)
    assert load_fit(tmp_path / "00001_000").num_frames == 1


def test_flame_expressions_are_not_copied_into_other_columns(tmp_path: Path) -> None:
    write_vhap(tmp_path / "tracked_flame_params_30.npz")
    with pytest.raises(ValueError, match="in the space 'flame100', the head model 'default-head' has 'arkit'"):
        load_fit(tmp_path, load_head_model("default", 0))


def test_frame_order_is_by_number(tmp_path: Path) -> None:
    _, truths = write_frames(tmp_path, "metrical", (9, 10, 11))
    for old, new in (("00009", "9"), ("00010", "10"), ("00011", "11")):
        (tmp_path / "checkpoint" / f"{old}.frame").rename(tmp_path / "checkpoint" / f"{new}.frame")
    fit = load_fit(tmp_path)
    same(fit.poses[:, JAW], np.stack([t["jaw"] for t in truths]))
    assert fit.frame_ids.tolist() == [9, 10, 11] and torch.isfinite(fit.camera.world_to_camera).all()
    assert fit.num_frames == FRAMES - 1
