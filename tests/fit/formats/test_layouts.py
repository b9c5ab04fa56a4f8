"""The folders and names that trackers use beside the plain ones, and those that hold no frame."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from expportrait_core.cli import main
from expportrait_core.fit import load_fit
from expportrait_core.types import SMPLXFit

from . import tracker_files as files
from .test_hostile import change_npz


def same(fit: SMPLXFit, other: SMPLXFit) -> bool:
    return np.array_equal(fit.expression, other.expression) and np.array_equal(fit.poses, other.poses)


def test_exavatar_smoothed(tmp_path: Path) -> None:
    root = tmp_path / "subject"
    files.write_exavatar(root)
    plain = load_fit(root)
    smoothed = root / "smplx_optimized" / "smplx_params_smoothed"
    shutil.copytree(root / "smplx_optimized" / "smplx_params", smoothed)
    (smoothed / "3.json").unlink()
    assert load_fit(root).num_frames == 4, "where both are, the one that fits the pictures"
    assert load_fit(smoothed).num_frames == 3
    shutil.rmtree(root / "smplx_optimized" / "smplx_params")
    for given in (root, root / "smplx_optimized", smoothed):  # as motions are passed on
        assert same(load_fit(given), plain.frames(slice(0, 3)))
    (root / "smplx_optimized" / "shape_param.json").unlink()
    with pytest.raises(ValueError, match=r"smplx_optimized lacks shape_param\.json, the person's shape"):
        load_fit(root)


def test_one_picture_of_smplifyx(tmp_path: Path) -> None:
    files.write_smplifyx(tmp_path, people=2)
    whole = load_fit(tmp_path, person=1)
    one = load_fit(tmp_path / "results" / "img_0002", person=1)
    assert one.frame_ids.tolist() == [2] and same(one, whole.frames(slice(2, 3)))


def renamed(root: Path, names: list[str]) -> Path:
    """EMICA's frames under other names."""
    files.write_emica(root)
    for frame, name in enumerate(names):
        (root / f"{frame:05d}_000").rename(root / name)
    for frame in range(len(names), files.FRAMES):
        shutil.rmtree(root / f"{frame:05d}_000")
    return root


@pytest.mark.parametrize(
    ("names", "numbers", "rows"),
    [
        (["00100000", "00100100", "00100200"], [1000, 1001, 1002], [0, 1, 2]),
        (["00000100", "00000200", "00000300"], [1, 2, 3], [0, 1, 2]),  # pictures 000001 to 000003 of the demo
        (["portrait_a00", "portrait_b00"], [0, 1], [0, 1]),
        (["Aaron_Guiel_000100", "Aaron_Guiel_000200"], [1, 2], [0, 1]),
        (["img01_take02_00", "img01_take03_00"], [2, 3], [0, 1]),
        (["b_0100", "a_0100"], [0, 1], [1, 0]),  # pictures a_01 and b_01 share their number: their order counts
        (["000100", "000101", "000200"], [1, 2], [0, 2]),  # two faces in the first picture
        (["clip_00007_000", "clip_00008_000"], [7, 8], [0, 1]),
        (["00098", "00099", "00100"], [98, 99, 100], [0, 1, 2]),  # frames alone
    ],
)
def test_names_of_emica(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, names: list[str], numbers: list[int], rows: list[int]
) -> None:
    plain = load_fit(renamed(tmp_path / "plain", [f"{i:05d}_000" for i in range(4)]))
    caplog.clear()
    fit = load_fit(renamed(tmp_path / "faces", names))
    assert fit.frame_ids.tolist() == numbers and "lacks" not in caplog.text
    assert np.array_equal(fit.expression, plain.expression[rows])


def test_the_second_face_of_emica(tmp_path: Path) -> None:
    plain = load_fit(renamed(tmp_path / "plain", [f"{i:05d}_000" for i in range(4)]))
    root = renamed(tmp_path / "faces", ["img_000100", "img_000101", "img_000200"])
    assert np.array_equal(load_fit(root, person=1).expression, plain.expression[[1]])


@pytest.mark.parametrize(
    ("names", "numbers", "warning"),
    [
        (
            ["frame_0001", "frame_0002", "frame_0004", "frame_0009"],
            [1, 2, 4, 9],
            "lacks 5 of its frames, the first is 3",
        ),
        (["00001", "00002", "00003", "00004"], [1, 2, 3, 4], ""),
        (["a", "b", "c", "d"], [0, 1, 2, 3], "does not number its frames, its pictures are called ['a', 'b', 'c']"),
        (["a1", "b1", "c1", "d1"], [0, 1, 2, 3], "does not number its frames"),
    ],
)
def test_names_of_vhap(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, names: list[str], numbers: list[int], warning: str
) -> None:
    path = tmp_path / "tracked_flame_params_9.npz"
    files.write_vhap(path)
    change_npz(path, timestep_id=np.array(names))
    assert load_fit(path).frame_ids.tolist() == numbers
    assert warning in caplog.text and (warning or not caplog.text)


def test_vhap_stopped_before_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tracked_flame_params_9.npz"
    files.write_vhap(path)
    change_npz(path, timestep_id=np.array([f"{i:05d}" for i in range(3, 12)]))
    assert load_fit(path).frame_ids.tolist() == [3, 4, 5, 6] and not caplog.text


def test_smplerx_that_found_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("smplx", "meta", "img"):
        (tmp_path / "clip" / name).mkdir(parents=True)
    assert main(["fit", "inspect", str(tmp_path / "clip")]) == 2
    assert "clip has no frames. Track the clip again, or choose another folder." in capsys.readouterr().err
    (tmp_path / "clip" / "meta").rmdir()
    with pytest.raises(ValueError, match="Formats known"):  # a folder that only has the name
        load_fit(tmp_path / "clip")
