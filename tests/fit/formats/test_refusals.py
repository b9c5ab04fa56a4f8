"""Trackers' files with wrong values in them: a sentence of ours for each, that names the file and the value."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from expportrait_core.cli import main
from expportrait_core.fit import load_fit
from expportrait_core.fit.formats import vhap
from expportrait_core.fit.refusal import Refusal

from . import tracker_files as files
from .test_hostile import MIRRORED, change_json, change_npz, change_pickle, change_torch

FOREIGN = ("could not", "invalid literal", "not enough values", "too many values", "Traceback", "NoneType", "dimension",
           "unexpected", "ndarray", "must be", "object has no", "Expecting", "cannot convert", "not supported between",
           "can't", "np.", "codec", "broadcast", "unpack", "argument", "Overflow", "list index", "inhomogeneous",
           "itemsize", "subscriptable", "iterable")  # fmt: skip
"""How sentences of Python, numpy and torch give themselves away."""


def said_of(path: Path) -> str | None:
    """The sentence that refuses the fit; None where it is readable after all. No warning of numpy's either."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            load_fit(path)
    except Refusal as error:
        said = str(error)
        assert said.endswith(".") and "\n" not in said, said
        assert not any(word in re.sub(r"\([^()]*\)", "", said) for word in FOREIGN), said
        assert any(file.name in said for file in (path, *path.rglob("*"))), f"names no file: {said}"
        assert "is not what the tracker writes" not in said, f"a reason that nobody foresaw: {said}"
        return said
    return None


# ------------------------------------------------------------------------------------------- every value in wrong forms


def wrong_arrays(value: np.ndarray) -> Iterator[Any]:
    yield from (
        np.full(value.shape, np.nan),
        np.full(value.shape, -np.inf),
        np.zeros(0),
        value.ravel()[:1],
        value[None, None],
    )
    yield from (
        np.array("x"),
        np.zeros(value.shape, complex),
        np.full(value.shape, 1e300),
        np.zeros(value.shape, "M8[s]"),
    )


def wrong_json(value: Any) -> Iterator[Any]:
    yield from (
        None,
        "x",
        [],
        {},
        [[1.0], [1.0, 2.0]],
        float("nan"),
        float("inf"),
        1e300,
        True,
        10**30,
        [1.0, 2.0],
        [None],
    )


def wrong_objects(value: Any) -> Iterator[Any]:
    yield from wrong_json(value)
    if isinstance(value, np.ndarray | torch.Tensor):
        yield from wrong_arrays(np.asarray(value))


def npz_values(path: Path) -> Iterator[str]:
    with np.load(path) as file:
        whole = dict(file)
    for key, value in whole.items():
        for wrong in wrong_arrays(value):
            np.savez(path, **{**whole, key: wrong})
            yield f"{key} = {wrong!r:.60}"
    np.savez(path, **whole)


def json_values(path: Path) -> Iterator[str]:
    whole = json.loads(path.read_text())
    for key in whole if isinstance(whole, dict) else ():
        for wrong in wrong_json(whole[key]):
            path.write_text(json.dumps({**whole, key: wrong}))
            yield f"{key} = {wrong!r:.60}"
    for wrong in wrong_json(whole):
        path.write_text(json.dumps(wrong))
        yield f"{wrong!r:.60}"
    path.write_text(json.dumps(whole))


def object_values(path: Path) -> Iterator[str]:
    """Of a pickle or torch file, down to the second level."""
    torch_file = path.suffix in (".frame", ".pt")
    whole = torch.load(path, weights_only=False) if torch_file else pickle.loads(path.read_bytes())  # noqa: S301

    def write(content: Any) -> None:
        torch.save(content, path) if torch_file else path.write_bytes(pickle.dumps(content))

    for key, value in whole.items():
        for wrong in wrong_objects(value):
            write({**whole, key: wrong})
            yield f"{key} = {wrong!r:.60}"
        for inner in value if isinstance(value, dict) else ():
            for wrong in wrong_objects(value[inner]):
                write({**whole, key: {**value, inner: wrong}})
                yield f"{key}.{inner} = {wrong!r:.60}"
    write(whole)


def npy_values(path: Path) -> Iterator[str]:
    whole = np.load(path)
    for wrong in wrong_arrays(whole):
        np.save(path, wrong)
        yield f"{wrong!r:.60}"
    np.save(path, whole)


Changes = Callable[[Path], Iterator[str]]
EVERY: dict[str, tuple[Callable[[Path], Any], str, str, Changes]] = {  # how it is written, given, changed where and how
    "beat2": (lambda p: files.write_beat2(p / "a.npz"), "a.npz", "a.npz", npz_values),
    "smplerx": (files.write_smplerx, "", "smplx/00001_0.npz", npz_values),
    "smplerx meta": (files.write_smplerx, "", "meta/00001_0.json", json_values),
    "exavatar": (files.write_exavatar, "", "smplx_optimized/smplx_params/1.json", json_values),
    "exavatar camera": (files.write_exavatar, "", "cam_params/1.json", json_values),
    "exavatar shape": (files.write_exavatar, "", "smplx_optimized/shape_param.json", json_values),
    "vhap": (lambda p: files.write_vhap(p / "a.npz"), "a.npz", "a.npz", npz_values),
    "vhap export": (files.write_vhap_export, "", "flame_param/00000.npz", npz_values),
    "vhap cameras": (files.write_vhap_export, "", "transforms.json", json_values),
    "pixel3dmm": (lambda p: files.write_frames(p, "pixel3dmm"), "", "checkpoint/00000.frame", object_values),
    "pixel3dmm alone": (lambda p: files.write_frames(p, "pixel3dmm"), "checkpoint/00001.frame",
                        "checkpoint/00001.frame", object_values),
    "metrical": (lambda p: files.write_frames(p, "metrical"), "", "checkpoint/00000.frame", object_values),
    "ehm shared": (files.write_ehm, "", "id_share_params.pkl", object_values),
    "ehm": (files.write_ehm, "", "optim_tracking_ehm.pkl", object_values),
    "emica": (files.write_emica, "", "00000_000/exp.npy", npy_values),
    "emica shape": (files.write_emica, "", "00000_000/shape.npy", npy_values),
    "emica camera": (files.write_emica, "", "00001_000/cam.npy", npy_values),
    "smplifyx": (files.write_smplifyx, "", "results/img_0000/000.pkl", object_values),
    "delta": (lambda p: files.write_delta(p / "a"), "a", "a/person_f000000_param.pkl", object_values),
    "lhm": (files.write_lhm, "", "smplx_params/00002.json", json_values),
    "lhm first": (files.write_lhm, "smplx_params/00001.json", "smplx_params/00001.json", json_values),
    "gvhmr": (lambda p: files.write_gvhmr(p / "a.pt"), "a.pt", "a.pt", object_values),
}  # fmt: skip


@pytest.mark.parametrize("case", EVERY)
def test_every_value_in_every_wrong_form(case: str, tmp_path: Path) -> None:
    write, given, where, changes = EVERY[case]
    root = tmp_path / "take_7"
    root.mkdir()
    write(root)
    refused = 0
    for change in changes(root / where):
        try:
            refused += said_of(root / given) is not None
        except AssertionError as error:
            raise AssertionError(f"{case}: {change}: {error}") from None
    assert refused > 5
    assert load_fit(root / given), "the file as it was is read"


# ------------------------------------------------------------------------------------- values that a user can act upon


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"image_size": np.array(5)}, "image_size is 5, expected height and width of the pictures, 1 to 1,048,576"),
        ({"image_size": np.array([np.nan, 1])}, r"image_size is \[nan, 1\.0\], expected height and width"),
        ({"image_size": np.array([0, 0])}, r"image_size is \[0, 0\], expected height and width"),
        (
            {"focal_length": np.array([1.0, 2])},
            r"focal_length is \[1\.0, 2\.0\], expected one number .* of the 4 frames",
        ),
        ({"focal_length": np.array([-1.7])}, r"focal_length is \[-1\.7\], expected one number above 0"),
        ({"focal_length": np.array([np.nan])}, r"focal_length is \[nan\], expected one number above 0"),
        ({"expr": np.zeros((4, 100), complex)}, "expr holds something else than numbers"),
        ({"expr": np.full((4, 100), 1e300)}, r"expr holds 1e\+300, which no tracker writes"),
    ],
)
def test_vhap(tmp_path: Path, changed: dict[str, np.ndarray], sentence: str) -> None:
    path = tmp_path / "tracked_flame_params_9.npz"
    files.write_vhap(path)
    change_npz(path, **changed)
    assert re.match(rf"tracked_flame_params_9\.npz: {sentence}", said_of(path)), said_of(path)


@pytest.mark.parametrize("rate", [np.array("x"), np.array(0), np.array([30, 30]), np.array(np.nan), np.array(5e-324)])
def test_frame_rates(tmp_path: Path, rate: np.ndarray) -> None:
    files.write_beat2(tmp_path / "a.npz")
    change_npz(tmp_path / "a.npz", mocap_frame_rate=rate)
    said = said_of(tmp_path / "a.npz")
    expected = (
        "something else than numbers" if rate.dtype.kind == "U" else "expected frames per second, 0.001 to 100,000"
    )
    assert said.startswith("a.npz: mocap_frame_rate ") and expected in said, said


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"bbox_mmdet": [1, 2]}, r"00001_0\.json: bbox_mmdet is \[1, 2\], expected the person's box: left, top, width"),
        (
            {"bbox_mmdet": [float("nan"), 0, 1, 1]},
            r"00001_0\.json: bbox_mmdet is \[nan, 0, 1, 1\], expected the person's",
        ),
        (
            {"bbox_mmdet": [0, 0, 1e300, 1]},
            r"take_7: The pictures would be 1e\+300×\d+ pixels \(width×height\), expected 1",
        ),
        ({"focal": [-5, 5]}, r"take_7: The camera has a focal length of zero or less: -5 pixels in frame 2 of 4"),
        ({"focal": [float("inf"), 5]}, r"00001_0\.json: focal holds NaN or infinite values"),
        ({"focal": [5]}, r"00001_0\.json: focal has shape \[1\], expected \[2\]"),
    ],
)
def test_smplerx(tmp_path: Path, changed: dict[str, list[float]], sentence: str) -> None:
    files.write_smplerx(tmp_path / "take_7")
    change_json(tmp_path / "take_7" / "meta" / "00001_0.json", **changed)
    assert re.match(sentence, said_of(tmp_path / "take_7")), said_of(tmp_path / "take_7")


ZERO = "A 6D rotation is zero, which is no rotation. The file is damaged."


@pytest.mark.parametrize("tracker", ["pixel3dmm", "metrical"])
@pytest.mark.parametrize(("key", "shape"), [("jaw", (1, 6)), ("eyes", (1, 12))])
def test_rotations_that_are_none_name_their_frame(tmp_path: Path, tracker: str, key: str, shape: tuple) -> None:
    files.write_frames(tmp_path / "take_7", tracker)
    path = tmp_path / "take_7" / "checkpoint" / "00002.frame"
    wrong = np.ones(shape)
    wrong[:, -6:] = 0
    change_torch(path, "flame", **{key: wrong})
    for given in (tmp_path / "take_7", path):
        assert said_of(given) == f"00002.frame: flame.{key}: {ZERO}"


def test_mirrored_matrices_name_their_frame(tmp_path: Path) -> None:
    files.write_delta(tmp_path / "take_7")
    path = tmp_path / "take_7" / "person_f000001_param.pkl"
    mirrored = -MIRRORED
    mirrored[31] *= -1
    change_pickle(path, full_pose=mirrored)
    for given in (tmp_path / "take_7", path):
        assert said_of(given) == (
            "person_f000001_param.pkl: full_pose: A rotation matrix is a mirror image or no rotation at all. The file "
            "is damaged or mixed up."
        )


@pytest.mark.parametrize("betas", [np.array(3.0), np.zeros((0, 300)), np.full(300, np.nan)])
def test_shapes_that_are_none(tmp_path: Path, betas: np.ndarray) -> None:
    files.write_beat2(tmp_path / "a.npz")
    change_npz(tmp_path / "a.npz", betas=betas)
    assert re.match(
        r"a\.npz: betas (is .*, expected the values of the person's shape|holds NaN)", said_of(tmp_path / "a.npz")
    )


def test_numbers_that_no_frame_has(tmp_path: Path) -> None:
    files.write_frames(tmp_path / "take_7", "metrical")
    folder = tmp_path / "take_7" / "checkpoint"
    (folder / "00003.frame").rename(folder / "99999999999999999999.frame")
    assert said_of(tmp_path / "take_7") == (
        "99999999999999999999.frame is called frame 99999999999999999999, which no clip has. Rename it, or remove it "
        "from checkpoint."
    )


def test_flipped_and_missing_bytes_of_torch_files(tmp_path: Path) -> None:
    files.write_gvhmr(tmp_path / "whole.pt")
    whole, path, rng = (tmp_path / "whole.pt").read_bytes(), tmp_path / "hmr4d_results.pt", np.random.default_rng(3)
    refused = 0
    for turn in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 8)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged if turn % 3 else damaged[: rng.integers(len(whole))])
        refused += said_of(path) is not None
    assert refused > 50


def test_what_no_reader_foresaw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr(vhap, "_poses", stumble)
    path = tmp_path / "tracked_flame_params_9.npz"
    files.write_vhap(path)
    with pytest.raises(Refusal) as error:
        load_fit(path)
    assert str(error.value) == (
        "tracked_flame_params_9.npz cannot be read as a fit of the format VHAP: it is not what the tracker writes at "
        "tracked_flame_params_9.npz: eyes_pose (IndexError). It is damaged or not complete; copy it again from its "
        "source."
    )
    assert isinstance(error.value.__cause__, IndexError)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_lhm(tmp_path / "take_7")

    def forbidden(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    assert said_of(tmp_path / "take_7").startswith("take_7 cannot be read: the system says 'Permission denied'.")


def test_inspecting_wrong_values_prints_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files.write_smplerx(tmp_path / "take_7")
    change_json(tmp_path / "take_7" / "meta" / "00001_0.json", bbox_mmdet=[1, 2])
    assert main(["fit", "inspect", str(tmp_path / "take_7")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "bbox_mmdet is [1, 2]" in said.err
