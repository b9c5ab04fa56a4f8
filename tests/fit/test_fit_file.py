"""Our own fit format, and what is said of files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.fit import load_fit, save_fit
from expportrait_core.fit.build_demo_performance import PERFORMANCE, perform
from expportrait_core.types import JAW, HeadModel, SMPLXFit


@pytest.fixture(scope="module")
def fit() -> SMPLXFit:
    return perform().frames(slice(0, 5))


def test_writing_and_reading_is_the_identity(fit: SMPLXFit, tmp_path: Path) -> None:
    fit = fit.replace(
        valid=torch.tensor([True, False, True, True, True]), frame_ids=torch.tensor([3, 4, 7, 8, 9]),
        landmarks=torch.rand(5, 68, 3), landmark_scheme="ibug68",
    )  # fmt: skip
    back = load_fit(save_fit(fit, tmp_path / "actor"))
    for name in ("betas", "expression", "poses", "translation", "valid", "frame_ids", "landmarks"):
        assert torch.equal(getattr(fit, name), getattr(back, name)), name
    assert torch.equal(fit.camera.intrinsics, back.camera.intrinsics)
    assert torch.equal(fit.camera.world_to_camera, back.camera.world_to_camera)
    assert (back.fps, back.image_size, back.landmark_scheme) == (25.0, (512, 512), "ibug68")
    assert (back.expression_space, back.model_id) == ("arkit", "default-head")
    again = load_fit(fit.save(tmp_path / "actor.safetensors"))
    assert torch.equal(again.poses, fit.poses)


@pytest.mark.parametrize(("numbers", "said"), [
    ([3, 4, 7, 8, 9], "own.npz lacks 2 of its frames"), ([5, 6, 2, 3, 4], "numbers its frames 6 and then 2"),
    ([0, 0, 1, 2, 3], "numbers its frames 0 and then 0"), ([4, 5, 6, 7, 8], None),
])  # fmt: skip
def test_what_is_odd_about_the_numbering_is_said(
    fit: SMPLXFit, tmp_path: Path, caplog: pytest.LogCaptureFixture, numbers: list[int], said: str | None
) -> None:
    back = load_fit(save_fit(fit.replace(frame_ids=torch.tensor(numbers)), tmp_path / "own"))
    assert back.frame_ids.tolist() == numbers
    assert (said in caplog.text) if said else not caplog.records


def test_apples_units_in_apples_order_are_not_taken_for_the_heads(fit: SMPLXFit, tmp_path: Path) -> None:
    path = save_fit(fit.replace(expression=fit.expression[:, :52]), tmp_path / "apple")
    with pytest.raises(ValueError, match="52 expressions in the space 'arkit', expected those of the default head"):
        load_fit(path)
    assert load_fit(save_fit(fit.replace(expression=fit.expression[:, :60]), tmp_path / "own")).num_frames == 5


def test_file_is_plain_arrays(fit: SMPLXFit, tmp_path: Path) -> None:
    with np.load(save_fit(fit, tmp_path / "actor.npz"), allow_pickle=False) as file:
        assert file["poses"].shape == (5, 165) and file["expressions"].shape == (5, 100)
        assert np.array_equal(file["poses"][:, 3 * JAW], fit.poses[:, JAW, 0].numpy())
        assert file["image_size"].tolist() == [512, 512] and str(file["format"]) == "expportrait.fit"


def test_one_camera_may_serve_all_frames(fit: SMPLXFit, tmp_path: Path) -> None:
    with np.load(save_fit(fit, tmp_path / "a.npz")) as file:
        arrays = dict(file)
    arrays["K"], arrays["w2c"] = arrays["K"][0], arrays["w2c"][0]
    np.savez(tmp_path / "b.npz", **arrays)
    assert torch.equal(load_fit(tmp_path / "b.npz").camera.intrinsics, fit.camera.intrinsics)


def damaged(fit: SMPLXFit, path: Path, **changes: object) -> Path:
    with np.load(save_fit(fit, path)) as file:
        arrays = dict(file)
    arrays.update(changes)
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"poses": None}, "lacks poses"),
        ({"format": np.array("something")}, "is not a fit of this package: it holds"),
        ({"version": np.array(9)}, "version 9, this release reads 1"),
        ({"version": np.array(1.5)}, "version 1.5, expected a whole number"),
        ({"poses": np.zeros((4, 165))}, "damaged or mixed from two clips"),
        ({"trans": np.full((5, 3), np.nan)}, "translation holds NaN"),
        ({"expressions": np.zeros((0, 100)), "poses": np.zeros((0, 165))}, "has no frames"),
    ],
)
def test_wrong_contents_get_a_sentence(changes: dict, sentence: str, fit: SMPLXFit, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_fit(damaged(fit, tmp_path / "fit.npz", **changes))


def test_files_that_cannot_be_read_get_a_sentence(fit: SMPLXFit, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no fit file"):
        load_fit(tmp_path / "missing.npz")
    path = save_fit(fit, tmp_path / "cut.npz")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="cannot be read as a fit"):
        load_fit(path)
    np.savez(tmp_path / "objects.npz", betas=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="cannot be read as a fit"):
        load_fit(tmp_path / "objects.npz")


def test_fit_of_another_space_is_refused_at_once(fit: SMPLXFit, tmp_path: Path, coarse_head: HeadModel) -> None:
    path = save_fit(fit.replace(expression_space="smplx100"), tmp_path / "fit.npz")
    assert load_fit(path).expression_space == "smplx100"
    with pytest.raises(ValueError, match="in the space 'smplx100', the head model 'default-head' has 'arkit'"):
        load_fit(path, coarse_head)


def test_built_in_performance_is_what_its_script_makes(coarse_head: HeadModel) -> None:
    shipped, made = load_fit(PERFORMANCE, coarse_head), perform()
    assert torch.equal(shipped.expression, made.expression) and torch.equal(shipped.poses, made.poses)
    assert shipped.num_frames >= 48
    columns = [i for i, n in enumerate(coarse_head.expression_names) if n in ("eyeBlinkLeft", "mouthSmileLeft")]
    assert (shipped.expression[:, columns].amax(0) > 0.8).all() and shipped.jaw_pose[:, 0].max() > 0.15
