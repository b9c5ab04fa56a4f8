"""Damaged, mixed and hostile files: each is refused in a sentence of its own, and nothing in them runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.cli import main
from expportrait_core.fit import load_fit

from . import tracker_files as files
from .test_arkit import write as write_arkit


class Runs:
    """Pickles itself as a shell command that leaves a file behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.marker}",)


def change_npz(path: Path, **changes: object) -> None:
    with np.load(path) as file:
        arrays = dict(file)
    arrays |= changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_pickle(path: Path, **changes: object) -> None:
    path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()) | changes))  # noqa: S301 - written by this test


def change_torch(path: Path, block: str, **changes: object) -> None:
    content = torch.load(path, weights_only=False)
    content[block] |= changes
    torch.save(content, path)


def cut(path: Path, keep: float = 0.6) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def refused(root: Path, sentence: str) -> None:
    """`load_fit` raises this sentence, and `fit inspect` prints it without a traceback and exits with 2."""
    with pytest.raises(ValueError, match=sentence) as error:
        load_fit(root)
    text = str(error.value)
    assert text.endswith(".") and "\n" not in text
    assert main(["fit", "inspect", str(root)]) == 2


@pytest.fixture(autouse=True)
def marker(tmp_path: Path):
    path = tmp_path / "ran"
    yield path
    assert not path.exists(), "something in a file was run"


# ------------------------------------------------------------------------------------------------------------- hostile


def test_pickle_that_runs_a_command(tmp_path: Path, marker: Path) -> None:
    files.write_delta(tmp_path / "clip")
    path = tmp_path / "clip" / "person_f000002_param.pkl"
    path.write_bytes(pickle.dumps({"shape": Runs(marker)}))
    refused(tmp_path / "clip", r"person_f000002_param\.pkl asks for '(posix|nt)\.system'")
    refused(path, r"asks for '(posix|nt)\.system'")
    files.write_ehm(tmp_path / "ehm")
    (tmp_path / "ehm" / "id_share_params.pkl").write_bytes(pickle.dumps(Runs(marker), protocol=2))
    refused(tmp_path / "ehm", r"id_share_params\.pkl asks for")


def test_torch_file_with_a_pickle_inside(tmp_path: Path, marker: Path) -> None:
    files.write_frames(tmp_path / "clip", "pixel3dmm")
    for path in (tmp_path / "clip" / "checkpoint" / "00000.frame", tmp_path / "hmr4d_results.pt"):
        torch.save({"flame": {"exp": Runs(marker)}}, path)
        refused(path, r"asks for '(posix|nt)\.system'")
    refused(tmp_path / "clip", r"00000\.frame asks for '(posix|nt)\.system'")
    (tmp_path / "old.pt").write_bytes(b"")
    torch.save({"x": torch.zeros(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "old.pt", "torch's old format")


def test_files_that_a_few_bytes_make_huge(tmp_path: Path) -> None:
    files.write_delta(tmp_path / "clip")
    tree: list = list(range(10))
    for _ in range(9):
        tree = [tree] * 10
    change_pickle(tmp_path / "clip" / "person_f000002_param.pkl", exp=tree)
    refused(tmp_path / "clip", r"person_f000002_param\.pkl holds lists or arrays that are more than 8,388,608 numbers")
    files.write_frames(tmp_path / "frames", "pixel3dmm")
    path = tmp_path / "frames" / "checkpoint" / "00000.frame"
    for huge in (tree, torch.zeros(1).expand(100_000, 100_000), torch.zeros(1, dtype=torch.bfloat16).expand(10**10)):
        change_torch(path, "flame", exp=huge)
        refused(tmp_path / "frames", r"00000\.frame holds lists or arrays that are more than 8,388,608 numbers")


def test_object_arrays_in_npz(tmp_path: Path, marker: Path) -> None:
    files.write_beat2(tmp_path / "clip.npz")
    change_npz(tmp_path / "clip.npz", betas=np.array([Runs(marker)], dtype=object))
    refused(tmp_path / "clip.npz", "betas is an array of Python objects")
    files.write_emica(tmp_path / "emica")
    np.save(tmp_path / "emica" / "00001_000" / "exp.npy", np.array([Runs(marker)], dtype=object), allow_pickle=True)
    refused(tmp_path / "emica", r"exp\.npy is an array of Python objects")
    files.write_vhap(tmp_path / "tracked_flame_params_3.npz")  # what is not needed is not even looked at
    change_npz(tmp_path / "tracked_flame_params_3.npz", lights=np.array([Runs(marker)], dtype=object))
    assert load_fit(tmp_path / "tracked_flame_params_3.npz").num_frames == files.FRAMES


def npy(shape: str, dtype: str, body: bytes = b"") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + body


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (npy("(1000000000,)", "|O", bytes(200_000)), "poses is an array of Python objects"),
        (npy("(1000000, 1000000)", "<f4", bytes(1000)), "poses has shape .*no fit is that large"),
        (npy("(10000, 165)", "<f4", bytes(1000)), "poses is truncated: its shape is"),
        (npy("(-4, 165)", "<f4"), "poses has a damaged header|poses has shape|truncated"),
        (npy("__import__('os')", "<f4"), "poses has a damaged header"),
        (b"nothing of the kind", "poses is no numpy array"),
        (b"", "poses is no numpy array"),
    ],
)
def test_arrays_that_are_not_what_they_say(tmp_path: Path, array: bytes, sentence: str) -> None:
    files.write_beat2(tmp_path / "clip.npz")
    with zipfile.ZipFile(tmp_path / "clip.npz") as old, zipfile.ZipFile(tmp_path / "bomb.npz", "w") as new:
        for name in old.namelist():
            data = array if name == "poses.npy" else old.read(name)
            new.writestr(name, data, zipfile.ZIP_DEFLATED)
    refused(tmp_path / "bomb.npz", sentence)


def test_json_that_is_nested_without_end(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 200_000)
    refused(tmp_path / "a.json", "truncated or no JSON")


# ------------------------------------------------------------------------------------------------------------- damaged

Damage = tuple[Callable[[Path], object], Callable[[Path], object], str]
NAN10, MIRRORED = np.full((1, 10), np.nan), -np.tile(np.eye(3), (55, 1, 1))
NOBODY = {"smpl_params_incam": {"body_pose": torch.zeros(0, 63), "betas": torch.zeros(0, 10),
                                "global_orient": torch.zeros(0, 3), "transl": torch.zeros(0, 3)},
          "K_fullimg": torch.zeros(0, 3, 3)}  # fmt: skip
DAMAGED: dict[str, Damage] = {
    "beat2 cut": (lambda p: files.write_beat2(p / "a.npz"), lambda p: cut(p / "a.npz"), "cannot be read as a fit"),
    "beat2 NaN": (lambda p: files.write_beat2(p / "a.npz"),
                  lambda p: change_npz(p / "a.npz", expressions=np.full((4, 100), np.nan)), "expressions holds NaN"),
    "beat2 empty": (lambda p: files.write_beat2(p / "a.npz"),
                    lambda p: change_npz(p / "a.npz", expressions=np.zeros((0, 100)), poses=np.zeros((0, 165)),
                                         trans=np.zeros((0, 3))), "has no frames"),
    "beat2 shapes": (lambda p: files.write_beat2(p / "a.npz"),
                     lambda p: change_npz(p / "a.npz", poses=np.zeros((3, 165))), r"poses has shape \[3, 165\]"),
    "smplerx cut": (files.write_smplerx, lambda p: cut(p / "smplx" / "00002_0.npz"), "00002_0.npz is truncated"),
    "smplerx NaN": (files.write_smplerx, lambda p: change_npz(p / "smplx" / "00002_0.npz", expression=NAN10),
                    "expression holds NaN"),
    "smplerx shape": (files.write_smplerx, lambda p: change_npz(p / "smplx" / "00001_0.npz", betas=np.zeros(9)),
                      r"00001_0.npz: betas has shape \[9\], expected \[10\]"),
    "smplerx key": (files.write_smplerx, lambda p: change_npz(p / "smplx" / "00001_0.npz", transl=None),
                    "00001_0.npz lacks transl and holds"),
    "smplerx focal": (files.write_smplerx, lambda p: change_json(p / "meta" / "00001_0.json", focal=[0, 0]),
                      "focal length of zero"),
    "smplerx meta": (files.write_smplerx, lambda p: (p / "meta" / "00001_0.json").write_text("{"),
                     "00001_0.json is truncated or no JSON"),
    "exavatar cut": (files.write_exavatar, lambda p: cut(p / "smplx_optimized" / "smplx_params" / "1.json"),
                     "1.json is truncated or no JSON"),
    "exavatar text": (files.write_exavatar,
                      lambda p: change_json(p / "smplx_optimized" / "smplx_params" / "1.json", trans="far away"),
                      "1.json: trans holds something else than numbers"),
    "exavatar NaN": (files.write_exavatar,
                     lambda p: change_json(p / "cam_params" / "1.json", t=[float("nan"), 0, 0]),
                     r"1\.json: t holds NaN"),
    "exavatar list": (files.write_exavatar,
                      lambda p: (p / "smplx_optimized" / "smplx_params" / "1.json").write_text("[1]"),
                      "1.json holds a list"),
    "vhap cut": (lambda p: files.write_vhap(p / "tracked_flame_params_9.npz"),
                 lambda p: cut(p / "tracked_flame_params_9.npz"), "truncated or damaged"),
    "vhap shapes": (lambda p: files.write_vhap(p / "tracked_flame_params_9.npz"),
                    lambda p: change_npz(p / "tracked_flame_params_9.npz", jaw_pose=np.zeros((4, 6))),
                    r"jaw_pose has shape \[4, 6\], expected \[4, 3\]"),
    "vhap order": (lambda p: files.write_vhap(p / "tracked_flame_params_9.npz"),
                   lambda p: change_npz(p / "tracked_flame_params_9.npz",
                                        timestep_id=np.array(["00003", "00001", "00002", "00000"])),
                   "frames out of order"),
    "vhap camera": (lambda p: files.write_vhap(p / "tracked_flame_params_9.npz"),
                    lambda p: change_npz(p / "tracked_flame_params_9.npz", focal_length=None), "holds no camera"),
    "vhap cut export": (files.write_vhap_export, lambda p: change_json(p / "transforms.json", frames=[]),
                        "transforms.json has no camera for frame 0"),
    "pixel3dmm cut": (lambda p: files.write_frames(p, "pixel3dmm"),
                      lambda p: cut(p / "checkpoint" / "00001.frame"), "00001.frame is a truncated or damaged torch"),
    "pixel3dmm NaN": (lambda p: files.write_frames(p, "pixel3dmm"),
                      lambda p: change_torch(p / "checkpoint" / "00001.frame", "flame", exp=np.full((1, 100), np.nan)),
                      r"00001\.frame: flame\.exp holds NaN"),
    "pixel3dmm mirror": (lambda p: files.write_frames(p, "pixel3dmm"),
                         lambda p: change_torch(p / "checkpoint" / "00001.frame", "flame", jaw=np.zeros((1, 6))),
                         "A 6D rotation is zero"),
    "metrical shape": (lambda p: files.write_frames(p, "metrical"),
                       lambda p: change_torch(p / "checkpoint" / "00001.frame", "opencv", K=np.eye(4)),
                       r"opencv.K has shape \[4, 4\]"),
    "ehm cut": (files.write_ehm, lambda p: cut(p / "optim_tracking_ehm.pkl"), "not a readable pickle"),
    "ehm empty": (files.write_ehm, lambda p: (p / "optim_tracking_ehm.pkl").write_bytes(pickle.dumps({})),
                  "has no frames"),
    "emica cut": (files.write_emica, lambda p: cut(p / "00002_000" / "exp.npy"), "exp.npy is truncated"),
    "emica lost": (files.write_emica, lambda p: (p / "00002_000" / "jawpose.npy").unlink(), "00002_000 lacks jawpose"),
    "emica scale": (files.write_emica, lambda p: np.save(p / "00002_000" / "cam.npy", np.array([-1.0, 0, 0])),
                    "scale of zero or less"),
    "delta mirror": (lambda p: files.write_delta(p / "a"),
                     lambda p: change_pickle(p / "a" / "person_f000001_param.pkl", full_pose=MIRRORED),
                     "mirror image or no rotation"),
    "lhm text": (files.write_lhm, lambda p: change_json(p / "smplx_params" / "00002.json", betas=["a"] * 10),
                 "00002.json: betas holds something else than numbers"),
    "gvhmr empty": (lambda p: files.write_gvhmr(p / "hmr4d_results.pt"),
                    lambda p: torch.save(NOBODY, p / "hmr4d_results.pt"), "has no frames"),
    "gvhmr keys": (lambda p: files.write_gvhmr(p / "hmr4d_results.pt"),
                   lambda p: torch.save({"smpl_params_incam": [], "K_fullimg": 3}, p / "hmr4d_results.pt"),
                   "lacks smpl_params_incam.body_pose"),
}  # fmt: skip


def written(root: Path, write: Callable[[Path], object], change: Callable[[Path], object]) -> Path:
    """A tracker's folder, changed; its only file where the format is of one file."""
    root.mkdir()
    write(root)
    change(root)
    inside = list(root.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_file() else root


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files(case: str, tmp_path: Path) -> None:
    write, damage, sentence = DAMAGED[case]
    path = written(tmp_path / "clip", write, damage)
    refused(path / "a" if case == "delta mirror" else path, sentence)


WRITERS = {
    "smplerx": files.write_smplerx, "exavatar": files.write_exavatar, "vhap": files.write_vhap_export,
    "frames": lambda p: files.write_frames(p, "pixel3dmm"), "ehm": files.write_ehm, "emica": files.write_emica,
    "smplifyx": files.write_smplifyx, "delta": files.write_delta, "lhm": files.write_lhm,
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_random_damage_is_always_a_sentence(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / "clip")
    paths = sorted(path for path in (tmp_path / "clip").rglob("*") if path.is_file())
    rng = np.random.default_rng(len(name))
    for _ in range(20):
        path = paths[rng.integers(len(paths))]
        whole = path.read_bytes()
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(len(whole) // 2, len(whole) + 1)])
        try:
            load_fit(tmp_path / "clip")  # a changed value may go unnoticed
        except ValueError as error:
            assert "\n" not in str(error)
        path.write_bytes(whole)


# --------------------------------------------------------------------------------------------------- mixed and unknown


def test_two_trackers_in_one_folder(tmp_path: Path) -> None:
    root = tmp_path / "clip"
    files.write_smplerx(root)
    files.write_frames(root, "metrical")
    refused(root, "is mixed: it holds files of SMPLer-X and of metrical-tracker")


def test_frames_of_two_trackers(tmp_path: Path) -> None:
    files.write_frames(tmp_path / "a", "pixel3dmm")
    files.write_frames(tmp_path / "b", "metrical")
    shutil.copy(tmp_path / "b" / "checkpoint" / "00002.frame", tmp_path / "a" / "checkpoint")
    refused(tmp_path / "a", r"00002\.frame.* lacks .*mixed from two trackers")


def test_two_files_of_one_frame(tmp_path: Path) -> None:
    files.write_frames(tmp_path / "a", "metrical")
    folder = tmp_path / "a" / "checkpoint"
    shutil.copy(folder / "00002.frame", folder / "2.frame")
    refused(tmp_path / "a", "are both frame 2: checkpoint is mixed from two clips")


def test_unknown_files_name_what_they_hold_and_what_is_known(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", poses=np.zeros(3), hair=np.zeros(3))
    refused(tmp_path / "a.npz", r"holds poses, hair\. Formats known: this package's own .*VHAP .*GVHMR \(hmr4d")
    (tmp_path / "b.json").write_text('{"frames": [], "camera": 3}')
    refused(tmp_path / "b.json", r"holds frames, camera\. Formats known")
    (tmp_path / "c.csv").write_text("time,x,y\n0,1,2\n")
    refused(tmp_path / "c.csv", r"holds time, x, y\. Formats known")
    torch.save([torch.zeros(3)], tmp_path / "d.pt")
    refused(tmp_path / "d.pt", r"holds a list\. Formats known")
    (tmp_path / "e.pkl").write_bytes(pickle.dumps({"verts": np.zeros(3)}))
    refused(tmp_path / "e.pkl", r"holds verts\. Formats known")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "nothing but pictures, or nothing at all")
    folder = tmp_path / "notes"
    (folder / "inner").mkdir(parents=True)
    (folder / "readme.txt").write_text("hello")
    refused(folder, r"holds readme\.txt, inner/\. Formats known")


def test_files_of_no_kind(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"")
    refused(tmp_path / "a.npz", r"a\.npz is empty")
    (tmp_path / "b.bin").write_bytes(bytes(range(128, 256)) * 4)
    refused(tmp_path / "b.bin", "is not a readable pickle")
    (tmp_path / "c.bin").write_bytes(b"\xff\xd8\xff\xe0" + bytes(range(256)))
    refused(tmp_path / "c.bin", "no kind of file that holds a fit")
    np.save(tmp_path / "d.npy", np.zeros(3))
    refused(tmp_path / "d.npy", "it is a single array")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("clip/checkpoint/00000.frame", b"x")
    (tmp_path / "e.zip").write_bytes(buffer.getvalue())
    refused(tmp_path / "e.zip", r"zip archive of other files .*Unpack it first")
    (tmp_path / "f.safetensors").write_bytes(b"\xff" * 64)
    refused(tmp_path / "f.safetensors", "not a readable safetensors file")
    refused(tmp_path / ("long" * 200), "cannot be read|There is no fit file")


def test_inspect_and_convert_read_trackers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files.write_vhap(tmp_path / "tracked_flame_params_30.npz")
    write_arkit(tmp_path / "MySlate_2_iPhone.csv", [{"JawOpen": 0.5}] * 3)
    assert main(["fit", "inspect", str(tmp_path / "tracked_flame_params_30.npz")]) == 0
    assert "4 frames" in capsys.readouterr().out
    for name in ("tracked_flame_params_30.npz", "MySlate_2_iPhone.csv"):
        assert main(["fit", "convert", str(tmp_path / name), str(tmp_path / "out.npz")]) == 0
        before, after = load_fit(tmp_path / name), load_fit(tmp_path / "out.npz")
        assert torch.equal(before.expression, after.expression) and torch.equal(before.poses, after.poses)
        assert torch.equal(before.camera.world_to_camera, after.camera.world_to_camera)
        assert (before.expression_space, before.fps) == (after.expression_space, after.fps)
