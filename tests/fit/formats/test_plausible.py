"""Values that no tracker writes are refused when a fit is read; what is just within bounds goes all the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.assets import PERFORMANCE
from expportrait_core.curves import fit_curves
from expportrait_core.fit import (
    insert_missing_frames,
    interpolate_gaps,
    join_fits,
    load_fit,
    loop_fit,
    resample_fit,
    save_fit,
    trim_fit,
)
from expportrait_core.fit.summary import summarise, summary_lines
from expportrait_core.types import LAST_NUMBER, HeadModel, SMPLXFit

from . import tracker_files as files
from .test_hostile import change_json, change_npz, refused

NUMBERS = np.arange(12)


def own(path: Path, **changes: np.ndarray) -> Path:
    """Twelve frames of the built-in performance, with other arrays."""
    save_fit(load_fit(PERFORMANCE).frames(slice(0, 12)), path)
    change_npz(path, **changes)
    return path


def at(value: float, *shape: int, rest: float = 0.0) -> np.ndarray:
    """One value in frame 3."""
    array = np.full((12, *shape), rest)
    array[3].flat[-1] = value
    return array


@pytest.mark.parametrize(
    ("key", "array", "sentence"),
    [
        ("poses", at(1e30, 165), r"poses holds 1e\+30, in frame 3, expected -1,000 to 1,000 radians"),
        ("poses", at(-1001, 165), "poses holds -1001, in frame 3"),
        ("trans", at(1e30, 3), r"translation holds 1e\+30, in frame 3, expected -1,000,000 to 1,000,000 metres"),
        ("eyelids", at(7, 2), "eyelids holds 7, in frame 3, expected -3 to 5, of 0 for open and 1 for closed"),
        ("expressions", at(1e30, 100), r"expression holds 1e\+30, in frame 3, expected -10,000 to 10,000"),
        ("betas", np.full(80, 1e30), r"betas holds 1e\+30, expected"),
        ("w2c", np.eye(4) + np.outer([1e30, 0, 0, 0], [0, 0, 0, 1]),
         r"The camera of frame 0 has a translation of 1e\+30"),
        ("landmarks", at(1e30, 5, 3, rest=1.0)[..., ::-1].copy(), r"landmarks holds 1e\+30, in frame 3"),
        ("frame_ids", NUMBERS.astype(np.uint64) + np.uint64(1 << 63), "frame_ids holds 9223372036854775819, expected"),
        ("frame_ids", NUMBERS + (LAST_NUMBER + 1), f"The frame numbers go from .* to .*, expected 0 to {LAST_NUMBER}"),
        ("frame_ids", NUMBERS - 5, "The frame numbers go from -5 to 6, expected 0 to"),
        ("frame_ids", NUMBERS + (-1 << 63), "The frame numbers go from -9223372036854775808 to"),
        ("frame_ids", NUMBERS + 0.5, "frame_ids holds fractions"),
        ("model_id", np.array("x" * 1001), "The model_id is x.* ... x.*, expected a name of at most 1,000"),
    ],
)
def test_values_that_no_tracker_writes(tmp_path: Path, key: str, array: np.ndarray, sentence: str) -> None:
    refused(own(tmp_path / "a.npz", **{key: array}), rf"^a\.npz: {sentence}")


def test_files_of_trackers_and_safetensors_are_judged_alike(tmp_path: Path) -> None:
    files.write_lhm(tmp_path / "lhm")
    change_json(tmp_path / "lhm" / "smplx_params" / "00003.json", trans=[0.0, 2e6, 0.0])
    refused(tmp_path / "lhm", r"^lhm: translation holds 2e\+06, in frame 2, expected")
    fit = load_fit(PERFORMANCE)
    fit.replace(poses=fit.poses + 1e30).save(tmp_path / "a.safetensors")
    refused(tmp_path / "a.safetensors", r"^a\.safetensors: poses holds 1e\+30, in frame 0")


ODD = {
    "poses": {"poses": np.full((12, 165), 999.0)},
    "translation": {"trans": np.full((12, 3), 1e6)},
    "eyelids": {"eyelids": np.full((12, 2), 5.0)},
    "expression": {"expressions": np.full((12, 100), -1e4)},
    "last numbers": {"frame_ids": (NUMBERS + (LAST_NUMBER - 11)).astype(np.uint64)},
    "leaps": {"frame_ids": np.where(NUMBERS % 2, LAST_NUMBER, 0)},
    "one number": {"frame_ids": NUMBERS * 0 + 7},
    "slow": {"fps": np.array(0.02)},
    "fast": {"fps": np.array(1e5)},
    "small bytes": {"frame_ids": (NUMBERS * 100 % 256).astype(np.uint8)},
}


@pytest.mark.parametrize("name", ODD)
def test_odd_values_go_all_the_way_or_get_a_sentence(tmp_path: Path, coarse_head: HeadModel, name: str) -> None:
    """Whatever is read can be told about and drawn as curves, and time takes it or says why not."""
    path = own(tmp_path / "a.npz", **ODD[name])
    fit, own_fit = load_fit(path, coarse_head), load_fit(path)
    assert len(summary_lines(summarise(own_fit, "a", "ours"))) == 9
    assert fit_curves(fit, coarse_head).isfinite().all()

    def done(step) -> None:
        try:
            made = step()
        except ValueError as error:
            assert str(error).endswith(".")
        else:
            assert made.expression.isfinite().all() and made.num_frames < 1e6

    for fps in (0.001, 1, 50, 1e5):
        done(lambda fps=fps: resample_fit(fit, fps))
    for how in ("repeat", "seamless", "back and forth"):
        done(lambda how=how: loop_fit(fit, 2, how, 0.1))
    for step in (lambda: join_fits(fit, fit, 0.1), lambda: trim_fit(fit, 2, 8), lambda: insert_missing_frames(fit)):
        done(step)
    gappy = interpolate_gaps(fit.replace(valid=torch.arange(12) % 3 == 0))
    assert gappy.poses.isfinite().all() and gappy.poses.abs().max() <= fit.poses.abs().max() + 1e-3


def test_numbers_that_are_not_signed_count_like_others(tmp_path: Path) -> None:
    """Differences of unsigned numbers are huge where those fall, and bytes begin again at 256."""
    for kind in (np.uint8, np.uint64, np.int32, np.float32):
        fit = load_fit(own(tmp_path / "a.npz", frame_ids=np.array([*range(200, 206), 208, *range(3, 8)], kind)))
        assert fit.frame_ids.dtype == torch.int64 and insert_missing_frames(fit).num_frames == 14
    plain = load_fit(PERFORMANCE).frames(slice(0, 3))
    for kind in (torch.uint8, torch.uint64, torch.int32):
        made = plain.replace(frame_ids=torch.tensor([5, 7, 6]).to(kind))
        assert made.frame_ids.dtype == torch.int64 and insert_missing_frames(made).num_frames == 4
        made.replace(frame_ids=made.frame_ids.to(kind)).save(tmp_path / "a.safetensors")
        assert SMPLXFit.load(tmp_path / "a.safetensors").frame_ids.tolist() == [5, 7, 6]


@pytest.mark.parametrize("fps", [1e-4, 1e6, 1e300])
def test_rates_that_no_clip_has(fps: float) -> None:
    with pytest.raises(ValueError, match="new frame rate is .*, expected 0.001 to 100,000 per second"):
        resample_fit(load_fit(PERFORMANCE).frames([0]), fps)


def test_numbers_that_would_become_too_large() -> None:
    one = load_fit(PERFORMANCE).frames([0]).replace(frame_ids=torch.tensor([LAST_NUMBER]))
    with pytest.raises(ValueError, match="at 25 frames per second would become frame .* at 240, expected at most"):
        resample_fit(one, 240)
    assert resample_fit(one, 5).frame_ids.tolist() == [round(LAST_NUMBER / 5)]
