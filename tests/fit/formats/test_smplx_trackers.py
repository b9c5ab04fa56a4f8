"""SMPL-X trackers: known values in, the same values out, and known points on known pixels."""

from __future__ import annotations

import shutil
from dataclasses import is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.fit import load_fit
from expportrait_core.types import JAW, LEFT_EYE, RIGHT_EYE, Camera, HeadModel, SMPLXFit

from .tracker_files import (
    FRAMES,
    POINTS,
    matrices,
    write_beat2,
    write_delta,
    write_ehm,
    write_exavatar,
    write_gvhmr,
    write_lhm,
    write_smplerx,
    write_smplifyx,
)


def same(found: torch.Tensor, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    assert np.allclose(found.numpy(), expected, atol=tolerance), np.abs(found.numpy() - expected).max()


def read_alike(*paths: Path, **options: object) -> SMPLXFit:
    """What all of these paths give: they are of the same recording."""
    first, *others = (load_fit(path, **options) for path in paths)
    for other in others:
        assert equal(first, other)
    return first


def equal(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if is_dataclass(one):
        return all(equal(value, getattr(other, name)) for name, value in vars(one).items())
    return one == other


def pixels(fit: SMPLXFit, points: np.ndarray) -> np.ndarray:
    """[F, N, 2] of world points [N, 3] or [F, N, 3], by the fit's own camera."""
    world = np.broadcast_to(points, (fit.num_frames, len(POINTS), 3)).astype(np.float32).copy()
    projected = fit.camera.project(torch.from_numpy(world)).numpy()
    assert (projected[..., 2] > 0).all(), "the points lie behind the camera"
    return projected[..., :2] / projected[..., 2:]


def test_beat2(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = write_beat2(tmp_path / "2_scott_0_1_1.npz")
    fit = load_fit(tmp_path / "2_scott_0_1_1.npz")
    same(fit.betas, values["betas"])
    same(fit.expression, values["expressions"])
    same(fit.poses, values["poses"].reshape(FRAMES, 55, 3))
    same(fit.translation, values["trans"])
    assert (fit.expression_space, fit.model_id, fit.fps) == ("smplx100", "smplx", 30.0)
    assert "has no camera" in caplog.text
    # the assumed camera stands in front: the person's left (+x) is right in the picture, up is up
    around_the_face = fit.translation[0].numpy() + [[0.1, 0.27, 0], [0, 0.37, 0], [0, 0.27, 0], [0, 0, 0]]
    left, above, middle = pixels(fit, around_the_face)[0, :3]
    assert np.allclose(middle, [256, 256], atol=0.1) and left[0] > 300 and above[1] < 220


def test_beat2_takes_the_users_camera(tmp_path: Path) -> None:
    write_beat2(tmp_path / "clip.npz")
    camera = Camera(torch.diag(torch.tensor([900.0, 900, 1]))[None], torch.eye(4)[None], (720, 1280))
    fit = load_fit(tmp_path / "clip.npz", camera=camera)
    assert len(fit.camera) == FRAMES and fit.image_size == (720, 1280)
    with pytest.raises(ValueError, match="given camera has 3 frames, the fit 4"):
        load_fit(tmp_path / "clip.npz", camera=camera.repeat(3))


def test_the_folder_that_one_stands_in_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_smplerx(tmp_path / "take")
    named = load_fit(tmp_path / "take" / "smplx", image_size=(720, 1280))
    monkeypatch.chdir(tmp_path / "take" / "smplx")
    assert torch.equal(load_fit(".", image_size=(720, 1280)).poses, named.poses)
    (tmp_path / "take" / "smplx" / "more").mkdir()
    monkeypatch.chdir("more")
    assert torch.equal(load_fit("..", image_size=(720, 1280)).poses, named.poses)


def test_smplerx(tmp_path: Path) -> None:
    values = write_smplerx(tmp_path)[0]
    fit = read_alike(tmp_path, tmp_path / "smplx", image_size=(720, 1280))
    same(fit.poses, values["poses"])
    same(fit.betas, values["betas"])
    same(fit.expression, values["expression"])
    same(fit.translation, values["trans"])
    assert (fit.expression_space, fit.image_size) == ("smplx100", (720, 1280))
    assert load_fit(tmp_path, legacy10=True).expression_space == "smplx10"
    world = POINTS + values["trans"][:, None]
    focal = np.stack([1500.0 + np.arange(FRAMES), np.full(FRAMES, 1510.0)], 1)[:, None]
    centre = np.stack([600.0 + np.arange(FRAMES), np.full(FRAMES, 350.0)], 1)[:, None]
    assert np.allclose(pixels(fit, world), focal * world[..., :2] / world[..., 2:] + centre, atol=1e-2)


def test_smplerx_chooses_the_person_in_most_frames(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written = write_smplerx(tmp_path, {0: [3, 4], 1: [1, 2, 3, 5], 2: [1]})
    fit = load_fit(tmp_path)
    same(fit.expression, written[1]["expression"])
    assert fit.frame_ids.tolist() == [1, 2, 3, 5]
    assert "several people (frames: 0 in 2, 1 in 4, 2 in 1)" in caplog.text
    assert "lacks 1 of its frames, the first is 4" in caplog.text
    same(load_fit(tmp_path, person=0).expression, written[0]["expression"])
    with pytest.raises(ValueError, match="has no person 7. It has 0, 1, 2"):
        load_fit(tmp_path, person=7)


def test_smplerx_without_its_cameras(tmp_path: Path) -> None:
    write_smplerx(tmp_path)
    (tmp_path / "meta" / "00002_0.json").unlink()
    with pytest.raises(ValueError, match=r"lacks meta/00002_0\.json"):
        load_fit(tmp_path)


def test_exavatar(tmp_path: Path) -> None:
    values = write_exavatar(tmp_path)
    fit = read_alike(tmp_path / "smplx_optimized" / "smplx_params", tmp_path / "smplx_optimized", tmp_path)
    same(fit.poses, values["poses"])
    same(fit.betas, values["betas"])
    same(fit.expression, values["expr"])
    same(fit.translation, values["trans"])
    assert (fit.expression_space, fit.image_size) == ("flame50", (1920, 1080))
    world = POINTS + values["trans"][:, None]
    seen = world @ values["R"].transpose(0, 2, 1) + [0.1, -0.2, 3.0]
    expected = seen[..., :2] / seen[..., 2:] * [2000.0, 1990.0] + [540.0, 960.0]
    assert np.allclose(pixels(fit, world), expected, atol=1e-2)
    shutil.rmtree(tmp_path / "cam_params")
    with pytest.raises(ValueError, match=r"lacks cam_params/0\.json"):
        load_fit(tmp_path)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_ehm(tmp_path: Path, protocol: int) -> None:
    content = write_ehm(tmp_path, protocol=protocol)
    fit = load_fit(tmp_path, image_size=(700, 900))
    alone = load_fit(tmp_path / "optim_tracking_ehm.pkl")
    first, second = content["frame_000000"], content["frame_000001"]
    same(fit.expression[1], second["flame_coeffs"]["expression_params"])
    of_face, of_body = second["flame_coeffs"], second["smplx_coeffs"]
    same(fit.poses[1, 0], of_body["global_pose"])
    same(fit.poses[1, 1:22], of_body["body_pose"])
    same(fit.poses[1, JAW], of_face["jaw_params"])
    same(fit.poses[1, [LEFT_EYE, RIGHT_EYE]].flatten(), of_face["eye_pose_params"])
    same(fit.poses[1, 25:40], of_body["left_hand_pose"])
    same(fit.poses[1, 40:], of_body["right_hand_pose"])
    same(fit.eyelids[1], of_face["eyelid_params"])
    same(fit.betas, content["shared"]["smplx_shape"][0])
    assert (fit.expression_space, fit.image_size) == ("flame50", (700, 900))
    assert torch.equal(fit.camera.intrinsics, alone.camera.intrinsics)
    view = first["smplx_coeffs"]["camera_RT_params"].astype(np.float64)
    seen = POINTS @ view[:, :3].T + view[:, 3]
    crop = 512 * (1 - 24 * seen[:, :2] / seen[:, 2:])  # PyTorch3D: x left, y up, NDC to a screen of 1024
    assert np.allclose(pixels(fit, POINTS)[0], crop * 0.6 + [120, 40], atol=5e-2)
    (tmp_path / "id_share_params.pkl").unlink()
    with pytest.raises(ValueError, match=r"has no id_share_params\.pkl beside it"):
        load_fit(tmp_path)


def test_smplifyx(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written = write_smplifyx(tmp_path)
    fit = load_fit(tmp_path, image_size=(1000, 1600))
    same(fit.expression, np.concatenate([w["expression"] for w in written]))
    for joint, key in ((0, "global_orient"), (JAW, "jaw_pose"), (LEFT_EYE, "leye_pose"), (RIGHT_EYE, "reye_pose")):
        same(fit.poses[:, joint], np.concatenate([w[key] for w in written]))
    same(fit.betas, np.mean(np.concatenate([w["betas"] for w in written]), axis=0))
    same(fit.poses[:, 1:22].flatten(1), np.concatenate([w["body_pose"] for w in written]))
    assert not fit.poses[:, 25:].any() and "left_hand_pose are 12 numbers (PCA values" in caplog.text
    assert "does not write its focal length: 5000" in caplog.text and fit.frame_ids.tolist() == [0, 1, 2, 3]
    for frame, content in enumerate(written):
        seen = POINTS @ content["camera_rotation"][0].T.astype(np.float64) + content["camera_translation"]
        expected = 5000 * seen[:, :2] / seen[:, 2:] + [800, 500]
        assert np.allclose(pixels(fit, POINTS)[frame], expected, atol=2e-2)


def test_smplifyx_says_what_it_cannot_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_smplifyx(tmp_path, people=2, vposer=True, pca=False)
    fit = load_fit(tmp_path, person=1)
    assert not fit.poses[:, 1:22].any() and "body_pose are 32 numbers (VPoser's latent" in caplog.text
    assert fit.poses[:, 25:].any()


def test_delta(tmp_path: Path) -> None:
    written = write_delta(tmp_path / "smplx_all")
    fit = load_fit(tmp_path / "smplx_all")
    same(torch.from_numpy(matrices(fit.poses.numpy())), np.stack([w["full_pose"] for w in written]), 1e-4)
    same(fit.expression, np.stack([w["exp"] for w in written]))
    same(fit.betas, np.mean([w["shape"] for w in written], axis=0))
    assert (fit.expression_space, len(fit.betas)) == ("smplx100", 200)
    for frame, content in enumerate(written):
        scale, shift = content["cam"][0], content["cam"][1:]
        expected = (scale * (POINTS[:, :2] + shift) + 1) / 2 * 512  # the pose has turned y down already
        assert np.allclose(pixels(fit, POINTS)[frame], expected, atol=1.0)
    one = load_fit(tmp_path / "smplx_all" / "person_f000002_param.pkl")
    assert one.num_frames == 1 and one.frame_ids.tolist() == [2]


def test_lhm(tmp_path: Path, head_model: HeadModel) -> None:
    values = write_lhm(tmp_path)
    fit = load_fit(tmp_path)
    same(fit.poses, values["poses"])
    same(fit.betas, values["betas"])
    same(fit.translation, values["trans"])
    assert fit.image_size == (720, 1280) and fit.frame_ids.tolist() == [0, 1, 2, 3]
    world = POINTS + values["trans"][:, None]
    padded = 1400 * world[..., :2] / world[..., 2:] + [768, 432]
    assert np.allclose(pixels(fit, world), padded - [128, 72], atol=1e-2)
    # no expressions: neutral in every space, so any head takes it
    assert load_fit(tmp_path, head_model).expression_space == "arkit"


def test_gvhmr(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = write_gvhmr(tmp_path / "hmr4d_results.pt")
    body = content["smpl_params_incam"]
    fit = read_alike(tmp_path / "hmr4d_results.pt", tmp_path)
    same(fit.poses[:, 0], body["global_orient"].numpy())
    same(fit.poses[:, 1:22].flatten(1), body["body_pose"].numpy())
    same(fit.translation, body["transl"].numpy())
    assert not fit.expression.any() and "holds no expressions" in caplog.text and fit.image_size == (720, 1280)
    world = POINTS + body["transl"].numpy()[:, None]
    expected = 1100 * world[..., :2] / world[..., 2:] + [640, 360]
    assert np.allclose(pixels(fit, world), expected, atol=1e-2)
