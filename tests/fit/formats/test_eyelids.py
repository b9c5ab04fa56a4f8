"""Eyelids that Pixel3DMM, metrical-tracker and EHM-Tracker keep beside FLAME's expressions.

Their first value is of the person's left eye, 0 is open and 1 closed (metrical-tracker's l_eyelid and r_eyelid).
"""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from expportrait_core.fit import join_fits, load_fit, resample_fit, save_fit, trim_fit
from expportrait_core.fit.formats.frames import Frame, eyelids_of
from expportrait_core.fit.refusal import Refusal
from expportrait_core.types import HeadModel, SMPLXFit

from .strangers import smplx_like
from .tracker_files import write_ehm, write_frames, write_vhap

LIDS = torch.tensor([[0.1, 0.7], [1.3, 0.2], [-0.2, 0.0], [0.5, 0.5]])  # trackers do not bound them
TRACKERS = ("pixel3dmm", "metrical", "ehm")


def write(root: Path, tracker: str, lids: torch.Tensor = LIDS) -> None:
    """The tracker's files with these eyelids and neutral faces."""
    if tracker == "ehm":
        content = write_ehm(root)
        content.pop("shared")
        for frame, entry in enumerate(content.values()):
            entry["flame_coeffs"]["eyelid_params"] = lids[frame].numpy()
            entry["flame_coeffs"]["expression_params"][:] = 0
        (root / "optim_tracking_ehm.pkl").write_bytes(pickle.dumps(content, protocol=4))
        return
    contents, _ = write_frames(root, tracker)
    for frame, content in enumerate(contents):
        content["flame"]["eyelids"] = lids[frame, None].numpy()
        content["flame"]["exp"][:] = 0
        torch.save(content, root / "checkpoint" / f"{frame:05d}.frame")


def flame_like(head: HeadModel) -> tuple[HeadModel, torch.Tensor]:
    model, unmix = smplx_like(head, 1.0, (0.0, -0.7, -0.1))
    return model.replace(expression_space="flame100", model_id="generic_model"), unmix


def blinks(fit: SMPLXFit, head: HeadModel) -> torch.Tensor:
    """[F, 2] left, right."""
    return fit.expression[:, [head.expression_names.index(name) for name in ("eyeBlinkLeft", "eyeBlinkRight")]]


@pytest.mark.parametrize("tracker", TRACKERS)
def test_eyelids_become_blinks_of_the_default_head(coarse_head: HeadModel, tmp_path: Path, tracker: str) -> None:
    write(tmp_path, tracker)
    assert torch.allclose(load_fit(tmp_path).eyelids, LIDS)
    fit = load_fit(tmp_path, coarse_head)
    assert torch.allclose(blinks(fit, coarse_head), LIDS.clamp(0, 1)) and fit.eyelids is None
    assert fit.expression.count_nonzero() == 6  # and nothing else
    left = coarse_head.expression_basis[..., coarse_head.expression_names.index("eyeBlinkLeft")]
    lid = left.norm(dim=1).argmax()  # l_eyelid of the trackers lies at +x, and 1 brings it down
    assert coarse_head.template[lid, 0] > 0.02 and left[lid, 1] < -0.005


def test_they_add_to_what_the_expressions_close(coarse_head: HeadModel, tmp_path: Path) -> None:
    write(tmp_path, "pixel3dmm")
    flame, unmix = flame_like(coarse_head)
    units = torch.zeros(4, 10)
    units[:, 4] = 0.4  # eyeBlinkLeft
    expression = torch.zeros(4, 100)
    expression[:, :10] = units @ unmix.T
    path = save_fit(load_fit(tmp_path).replace(expression=expression), tmp_path / "fit.npz")
    fit = load_fit(path, coarse_head, body_model=flame)
    without = load_fit(save_fit(load_fit(path).replace(eyelids=None), path), coarse_head, body_model=flame)
    closed = blinks(without, coarse_head)
    assert (closed[:, 0] - 0.4).abs().max() < 0.1
    assert torch.allclose(blinks(fit, coarse_head), (closed + LIDS).clamp(0, 1))


def test_a_head_without_blinks_leaves_them_out_and_says_so(
    coarse_head: HeadModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flame, _ = flame_like(coarse_head)
    write(tmp_path / "open", "pixel3dmm", torch.zeros(4, 2))
    load_fit(tmp_path / "open", flame)
    assert "eyelids" not in caplog.text
    write(tmp_path / "blinking", "pixel3dmm")
    fit = load_fit(tmp_path / "blinking", flame)
    assert fit.eyelids is None and not fit.expression.any()
    said = [line for line in caplog.messages if "eyelids are left out" in line]
    assert len(said) == 1 and "'generic_model' has no eyeBlinkLeft" in said[0]


def test_trackers_without_eyelids_have_none(tmp_path: Path) -> None:
    contents, _ = write_frames(tmp_path / "old", "metrical")
    for frame, content in enumerate(contents):
        del content["flame"]["eyelids"]
        torch.save(content, tmp_path / "old" / "checkpoint" / f"{frame:05d}.frame")
    assert load_fit(tmp_path / "old").eyelids is None
    write_vhap(tmp_path / "tracked_flame_params_3.npz")
    assert load_fit(tmp_path / "tracked_flame_params_3.npz").eyelids is None


def test_eyelids_travel_with_the_frames(tmp_path: Path) -> None:
    write(tmp_path, "pixel3dmm")
    fit = load_fit(tmp_path)
    assert torch.allclose(load_fit(save_fit(fit, tmp_path / "a.npz")).eyelids, LIDS)
    assert torch.allclose(SMPLXFit.load(fit.save(tmp_path / "a.safetensors")).eyelids, LIDS)
    assert torch.allclose(trim_fit(fit, 1, 3).eyelids, LIDS[1:3])
    faster = resample_fit(fit, 2 * fit.fps)
    assert torch.allclose(faster.eyelids[1], (LIDS[0] + LIDS[1]) / 2)
    assert torch.allclose(join_fits(fit, fit, blend=0).eyelids, torch.cat([LIDS, LIDS]))
    open_lids = torch.zeros_like(LIDS)
    assert torch.allclose(join_fits(fit.replace(eyelids=None), fit, blend=0).eyelids, torch.cat([open_lids, LIDS]))
    gap = fit.replace(valid=torch.tensor([True, False, True, True]))
    assert torch.allclose(resample_fit(gap, 2 * fit.fps).eyelids[2], (LIDS[0] + LIDS[2]) / 2)


def test_damaged_eyelids_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "pixel3dmm", LIDS * float("nan"))
    with pytest.raises(ValueError, match="flame.eyelids holds NaN"):
        load_fit(tmp_path)
    write_frames(tmp_path / "short", "pixel3dmm")
    content = torch.load(tmp_path / "short" / "checkpoint" / "00002.frame", weights_only=False)
    content["flame"]["eyelids"] = content["flame"]["eyelids"][:, :1]
    torch.save(content, tmp_path / "short" / "checkpoint" / "00002.frame")
    with pytest.raises(ValueError, match=r"00002\.frame: flame\.eyelids has shape \[1, 1\], expected \[2\]"):
        load_fit(tmp_path / "short")


@pytest.mark.parametrize(("group", "kind"), [([1.0], "a list"), (3, "a number"), (None, "nothing"), ("x", "text")])
def test_eyelids_of_what_has_no_names_are_refused(group: object, kind: str) -> None:
    with pytest.raises(Refusal, match=rf"^00000\.frame lacks flame\.eyelids and holds {kind}\. The file is damaged"):
        eyelids_of([{"flame": group}], [Frame(0, Path("00000.frame"))], "flame.eyelids")
