"""Our own files, damaged at random: a sentence of ours for every one, never what numpy or torch say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from expportrait_core.assets import PERFORMANCE
from expportrait_core.cli import main
from expportrait_core.fit import load_fit, save_fit, track
from expportrait_core.types import Camera, HeadCrop, HeadModel, SMPLXFit

FOREIGN = ("could not convert", "invalid literal", "not enough values", "too many values", "Traceback", "NoneType",
           "unexpected keyword", "dimension", "ndarray", "must be", "object has no", "Expecting", "cannot convert",
           "not supported between", "can't", "np.str_")  # fmt: skip
"""How sentences of Python, numpy and torch give themselves away."""


@pytest.fixture(scope="module")
def fit() -> SMPLXFit:
    few = load_fit(PERFORMANCE).frames(slice(0, 4))
    return few.replace(landmarks=torch.rand(4, 68, 3), landmark_scheme="ibug68")


@pytest.fixture(scope="module")
def arrays(fit: SMPLXFit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    with np.load(save_fit(fit, tmp_path_factory.mktemp("whole") / "fit.npz"), allow_pickle=False) as file:
        return dict(file)


def in_our_words(path: Path) -> str | None:
    """The sentence that refuses the file; None where it is readable after all."""
    try:
        load_fit(path)
    except ValueError as error:
        said = str(error)
        assert said[0].isupper() or said.startswith(path.name), said
        ours = re.sub(r"\(.*\)", "", said)  # in brackets a sentence may give the library's reason
        assert said.endswith(".") and not any(word in ours for word in FOREIGN), said
        assert "damaged or not complete" not in said, f"a reason that nobody foresaw: {said}"
        return said
    return None


CHANGES: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda a: a.astype(str),
    lambda a: a.astype(complex) if a.dtype.kind in "biuf" else a.astype("S9"),
    lambda a: np.zeros((0, *a.shape[1:])) if a.ndim else np.zeros(0),
    lambda a: a[..., None],
    lambda a: a.ravel()[:1],
    lambda a: np.full(a.shape, np.nan),
    lambda a: np.full(a.shape, np.inf),
    lambda a: np.full(a.shape, -1e30),
    lambda a: np.array("x"),
    lambda a: a[0] if a.ndim else np.zeros((2, 2)),
    lambda a: np.concatenate([a, a]) if a.ndim else a[None].repeat(3),
    lambda a: a.view([("f", a.dtype)]) if a.ndim else np.zeros(a.shape, "M8[s]"),
)


def test_every_array_in_every_wrong_form(arrays: dict, tmp_path: Path) -> None:
    path, refused = tmp_path / "fit.npz", 0
    for key in arrays:
        for change in (*CHANGES, None):
            damaged = {k: v for k, v in arrays.items() if k != key}
            if change is not None:
                damaged[key] = change(arrays[key])
            np.savez(path, **damaged)
            refused += in_our_words(path) is not None
    assert refused > 0.8 * len(arrays) * (len(CHANGES) + 1)


def test_two_arrays_in_wrong_forms_at_once(arrays: dict, tmp_path: Path) -> None:
    rng, path, keys = np.random.default_rng(0), tmp_path / "fit.npz", list(arrays)
    for _ in range(150):
        damaged = dict(arrays)
        for key in rng.choice(keys, 2, replace=False):
            damaged[key] = CHANGES[rng.integers(len(CHANGES))](damaged[key])
        np.savez(path, **damaged)
        in_our_words(path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_cut_and_flipped_bytes(fit: SMPLXFit, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"fit{suffix}"
    whole = (save_fit(fit, path) if suffix == ".npz" else fit.save(path)).read_bytes()
    rng = np.random.default_rng(1)
    for length in rng.integers(0, len(whole) - 1, 40):
        path.write_bytes(whole[:length])
        assert in_our_words(path)
    for _ in range(60):
        changed = bytearray(whole)
        for place in rng.integers(0, len(whole) if suffix == ".npz" else 1500, 3):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        in_our_words(path)


def rewritten(path: Path, change: Callable[[dict, dict], None]) -> Path:
    """A safetensors file with other tensors and another header."""
    with safe_open(path, framework="pt") as file:
        header, tensors = dict(file.metadata()), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    change(header, tensors)
    save_file(tensors, path, header)
    return path


@pytest.mark.parametrize("values", [
    "{", "[1]", "3", '"text"', "[" * 100_000, '{"fps": "fast"}', '{"fps": null}', '{"fps": [25]}', '{"model_id": 3}',
    '{"expression_space": ["arkit"]}', '{"camera.image_size": 512}', '{"camera.image_size": [512]}',
    '{"camera.image_size": ["a", "b"]}', '{"camera.image_size": [1.5, 2]}', '{"landmark_scheme": {}}', '{"fps": true}',
])  # fmt: skip
def test_headers_of_safetensors_with_wrong_values(fit: SMPLXFit, tmp_path: Path, values: str) -> None:
    def change(header: dict, tensors: dict) -> None:
        header["values"] = json.dumps(json.loads(header["values"]) | json.loads(values)) if values[1:2] == '"' and (
            values[0] == "{") else values  # fmt: skip

    assert in_our_words(rewritten(fit.save(tmp_path / "fit.safetensors"), change))


@pytest.mark.parametrize("version", ["x", "-1", "1.5", "", "²"])
def test_versions_that_are_none(fit: SMPLXFit, tmp_path: Path, version: str) -> None:
    path = rewritten(fit.save(tmp_path / "fit.safetensors"), lambda header, _: header.update(version=version))
    assert "expected a number" in in_our_words(path)


def test_tensors_of_safetensors_in_wrong_forms(fit: SMPLXFit, tmp_path: Path) -> None:
    forms = (lambda t: t[None], lambda t: t.flatten()[:1], lambda t: t.to(torch.int32), lambda t: t.to(torch.bool),
             lambda t: t.float() * torch.nan, lambda t: t[:0], lambda t: t.sum(), None)  # fmt: skip
    for key in ("betas", "expression", "poses", "translation", "camera.intrinsics", "camera.world_to_camera", "valid",
                "landmarks", "frame_ids"):  # fmt: skip
        for form in forms:

            def change(header: dict, tensors: dict, key: str = key, form=form) -> None:
                tensors[key] = form(tensors[key]).clone() if form else tensors[key]
                if form is None:
                    del tensors[key]

            in_our_words(rewritten(fit.save(tmp_path / "fit.safetensors"), change))


def test_inspecting_damaged_files_never_prints_a_traceback(
    arrays: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fit.npz"
    for key, value in (("image_size", np.array([512])), ("betas", np.array(["a"])), ("version", np.array("x"))):
        np.savez(path, **{**arrays, key: value})
        for more in ([], ["--json"]):
            assert main(["fit", "inspect", str(path), *more]) == 2
            said = capsys.readouterr()
            assert said.out == "" and said.err.startswith("expportrait: fit.npz: ") and said.err.count("\n") == 1


# --------------------------------------------------------------------------------------- values that never were a file


def test_a_track_of_no_pictures(coarse_head: HeadModel) -> None:
    with pytest.raises(ValueError, match="There are no pictures"):
        track(torch.zeros(0, 64, 64, 3), coarse_head)


def test_cameras_and_crops_that_are_none(fit: SMPLXFit) -> None:
    for name in ("intrinsics", "world_to_camera"):
        with pytest.raises(ValueError, match=f"The camera's {name} hold NaN"):
            fit.camera.replace(**{name: getattr(fit.camera, name) * torch.nan})
    with pytest.raises(ValueError, match="is torch.int64, expected floating"):
        Camera(torch.zeros(1, 3, 3, dtype=torch.int64), torch.zeros(1, 4, 4), (4, 4))
    corner, side = torch.zeros(1, 2), torch.ones(1)
    for wrong in ((corner, side, 0, (4, 4)), (corner, side, 4, (0, 4))):
        with pytest.raises(ValueError, match="at least 1 each"):
            HeadCrop(*wrong)
    for wrong in ((corner, 0 * side), (corner, side * torch.inf), (corner * torch.nan, side)):
        with pytest.raises(ValueError, match="side of 0 pixels, or NaN"):
            HeadCrop(*wrong, 4, (4, 4))


def test_more_shape_values_than_the_head_has(fit: SMPLXFit, coarse_head: HeadModel, tmp_path: Path) -> None:
    path = save_fit(fit.replace(betas=torch.zeros(500)), tmp_path / "fit.npz")
    with pytest.raises(ValueError, match="The fit has 500 shape values, the head model 'default-head' has"):
        load_fit(path, coarse_head)


@pytest.mark.parametrize("fps", [5e-324, 1e-9, 1e300])
def test_frame_rates_of_no_clip(arrays: dict, tmp_path: Path, fps: float) -> None:
    np.savez(tmp_path / "fit.npz", **{**arrays, "fps": np.array(fps)})
    assert f"fit.npz: The fit has {fps} frames per second, expected 0.001 to 100,000." in in_our_words(
        tmp_path / "fit.npz"
    )
