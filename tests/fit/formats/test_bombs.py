"""Files of a few bytes that ask for any amount of memory or time: each is refused soon, in a sentence of its own."""

from __future__ import annotations

import json
import pickle
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.assets import PERFORMANCE
from expportrait_core.body import load_head_model
from expportrait_core.body.model import DEFAULT_HEAD
from expportrait_core.fit import load_fit, save_fit
from expportrait_core.fit.formats.torch_file import read_torch

from . import tracker_files as files
from .test_hostile import npy

SECONDS, BYTES = 5.0, 200e6  # measured: under half a second and 60 MB each, on a machine with other work to do


def refused(path: Path, sentence: str, most_bytes: float = BYTES) -> None:
    tracemalloc.start()
    begun = time.perf_counter()
    with pytest.raises(ValueError, match=sentence) as error:
        load_fit(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.perf_counter() - begun < SECONDS and most < most_bytes
    said = str(error.value)
    assert said.endswith(".") and "\n" not in said and len(said) < 1500


# --------------------------------------------------------------------------------------------------------------- torch


def whole(number: int) -> bytes:
    raw = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(map(whole, values)) + b"t"


def storage(key: str = "0", count: int = 4, kind: str = "FloatStorage") -> bytes:
    name = key.encode()
    return (b"(X\x07\x00\x00\x00storagectorch\n" + kind.encode() + b"\nX" + struct.pack("<I", len(name)) + name
            + b"X\x03\x00\x00\x00cpu" + whole(count) + b"tQ")  # fmt: skip


def tensor(
    size: tuple[int, ...] = (4,), stride: tuple[int, ...] = (1,), offset: int = 0, after: bytes = b"", **of: object
) -> bytes:
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(**of) + whole(offset) + numbers(*size) + numbers(*stride)
            + b"\x89ccollections\nOrderedDict\n)R" + after + b"tR")  # fmt: skip


def write_torch(
    path: Path, stream: bytes, raw: bytes = bytes(16), packed: int = zipfile.ZIP_STORED, more: tuple[str, ...] = ()
) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("fit/data.pkl", b"\x80\x02" + stream + b".", packed)
        file.writestr("fit/byteorder", "little")
        file.writestr("fit/data/0", raw, packed)
        for name in more:
            file.writestr(name, bytes(16))
    return path


def nested_key() -> bytes:
    key: tuple = ("a",)
    for _ in range(60):
        key = (key, key)
    return pickle.dumps(key, 2)[2:-1]


TORCH = {
    "a key of 2^60 parts": (b"}" + nested_key() + b"K\x01s", "a key that is neither text nor a number"),
    "a set of 2^60 parts": (b"c__builtin__\nset\n]" + nested_key() + b"a\x85R", "holds a set"),
    "keys that hash alike": (b"}(" + b"".join(whole(i * (2**61 - 1)) + b"N" for i in range(1, 50_000)) + b"u",
                             "a key that is neither text nor a number"),
    "nested": (b"]" * 100_000 + b"a" * 99_999, "nested without end"),
    "nested in tuples": (b")" + b"\x85" * 100_000, "nested without end"),
    "a buffer": (b"c__builtin__\nbytearray\n" + whole(3 * 10**9) + b"\x85R", "asks for '__builtin__.bytearray'"),
    "a tensor made on the spot": (b"ctorch\nFloatTensor\n" + numbers(100_000, 10_000) + b"R",
                                  "asks for 'torch.FloatTensor', a torch tensor, and"),
    "an array made on the spot": (b"cnumpy\nndarray\n" + numbers(100_000, 10_000) + b"\x85\x81", "without values"),
    "a storage beyond its bytes": (tensor((10**6,), count=10**6), "said to have 1000000 values, and its bytes are 4"),
    "a negative storage": (tensor((1,), count=-4), "said to have -4 values"),
    "a tensor beyond its storage": (tensor((1000,)), r"shape \[1000\] reaches beyond the 4 values of its storage"),
    "strides beyond it": (tensor((2,), (1000,)), r"shape \[2\] reaches beyond the 4 values of its storage"),
    "an offset beyond it": (tensor(offset=10**6), r"shape \[4\] reaches beyond the 4 values of its storage"),
    "a negative offset": (tensor(offset=-1), "a shape that no array has"),
    "a negative stride": (tensor(stride=(-1,)), "a shape that no array has"),
    "a negative size": (tensor((-4,)), "a shape that no array has"),
    "sizes whose product is none": (tensor((1 << 62, 1 << 62), (0, 0)), "a shape that no array has"),
    "axes without end": (tensor((1,) * 2000, (0,) * 2000), "a shape that no array has"),
    "strides of nothing": (tensor((10**5, 10**5), (0, 0)), "more than 8,388,608 numbers"),
    "half floats of nothing": (tensor((10**10,), (0,), kind="BFloat16Storage", count=8), "more than 8,388,608"),
    "tensors that overlap": (b"](" + tensor((2, 2), (1, 1)) + tensor((3000, 1000), (0, 0)) * 50 + b"e",
                             "more than 8,388,608"),
    "a storage that is missing": (tensor(key="9"), "it lacks 'fit/data/9'"),
    "a storage outside": (tensor(key="../../0"), r"it lacks 'fit/data/\.\./\.\./0'"),
    "a storage of no kind": (tensor(kind="TypedStorage"), "asks for 'torch.TypedStorage'"),
    "objects outside": (b"K\x01Q" * 90_000, "an object outside of it that is no storage"),
    "a negated view": (tensor(after=b"}X\x03\x00\x00\x00neg\x88s"), "a tensor that is conjugated or negated"),
    "a sparse tensor": (b"ctorch._utils\n_rebuild_sparse_tensor\n)R", "asks for 'torch._utils._rebuild_sparse_tensor'"),
}  # fmt: skip


@pytest.mark.parametrize("case", TORCH)
def test_torch_files(case: str, tmp_path: Path) -> None:
    stream, sentence = TORCH[case]
    refused(write_torch(tmp_path / "fit.pt", stream), sentence)


def test_torch_files_that_are_small_because_they_are_packed(tmp_path: Path) -> None:
    text = b"X" + struct.pack("<I", 300 << 20) + bytes(300 << 20)
    refused(write_torch(tmp_path / "a.pt", text, packed=zipfile.ZIP_DEFLATED), "'fit/data.pkl' is 314,572,.* unpacked")
    view = tensor((1 << 20,), count=300 << 18)
    refused(write_torch(tmp_path / "b.pt", view, bytes(300 << 20), zipfile.ZIP_DEFLATED), "'fit/data/0' is 314,572,800")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["fit/data.pkl", "fit/data/0", "other/data.pkl"])
def test_torch_files_that_hold_something_twice(tmp_path: Path, name: str) -> None:
    path = write_torch(tmp_path / "fit.pt", tensor(), more=(name,))
    refused(path, "it holds 2 files data.pkl" if "other" in name else f"it holds '{name}' twice")


def test_sound_torch_files_are_read_as_torch_reads_them(tmp_path: Path) -> None:
    table = torch.arange(24.0).reshape(4, 6)
    content = {
        "view": table[1:, ::2], "turned": table.T, "repeated": table[0].expand(3, 6), "nothing": torch.zeros(0, 3),
        "one": torch.tensor(2.5), "half": table.half(), "bfloat": table.bfloat16(), "whole": table.long(),
        "mask": table > 3, "complex": torch.complex(table, table), "parameter": torch.nn.Parameter(table),
        "array": np.arange(6.0).reshape(2, 3), "size": table.shape, "device": torch.device("cuda:0"),
        "dtype": torch.float32, 7: [1, (None, "ü")],
    }  # fmt: skip
    for protocol in (2, 4):
        torch.save(content, tmp_path / "fit.pt", pickle_protocol=protocol)
        back = read_torch(tmp_path / "fit.pt")
        for key in list(content)[:11]:
            expected = content[key].detach()
            expected = (expected.float() if key == "bfloat" else expected).numpy()
            assert np.array_equal(back[key], expected) and back[key].dtype == expected.dtype, key
        assert np.array_equal(back["array"], content["array"]) and back[7] == [1, (None, "ü")]
        assert back["size"] == (4, 6) and back["device"] == "cuda:0" and back["dtype"] == "float32"


# ---------------------------------------------------------------------------------------------------- numpy's archives


def repacked(path: Path, key: str, head: bytes, zeros: int, packed: int = zipfile.ZIP_DEFLATED) -> Path:
    """The archive again with one entry that holds so many zeros."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(path.with_name("bomb.npz"), "w") as new:
        for name in old.namelist():
            if name != key:
                new.writestr(name, old.read(name), zipfile.ZIP_DEFLATED)
        entry = zipfile.ZipInfo(key)
        entry.compress_type = packed
        with new.open(entry, "w", force_zip64=True) as file:
            file.write(head)
            for _ in range(zeros >> 20):
                file.write(bytes(1 << 20))
    return path.with_name("bomb.npz")


def beat2(folder: Path) -> Path:
    files.write_beat2(folder / "a.npz")
    return folder / "a.npz"


def own(folder: Path) -> Path:
    return save_fit(load_fit(PERFORMANCE).frames([0, 1, 2, 3]), folder / "a.npz")


LONG = npy("(500000, 165)", "<f4")
PACKED = {
    "deflated": (LONG, 500_000 * 165 * 4 + (1 << 20), zipfile.ZIP_DEFLATED, r"'poses\.npy' is 330,.* unpacked"),
    "by blocks": (npy("(4, 165)", "<f4"), 300 << 20, zipfile.ZIP_BZIP2, "packed by a method that no tracker uses"),
    "by LZMA": (npy("(4, 165)", "<f4"), 300 << 20, zipfile.ZIP_LZMA, "packed by a method that no tracker uses"),
    "10^18 values": (npy("(1000000000000000000,)", "<f4"), 0, zipfile.ZIP_DEFLATED, r"3725290298 GiB|3\.\d+ EiB"),
    "10^18 columns": (npy("(0, 1000000000000000000)", "<f4"), 0, zipfile.ZIP_DEFLATED, "1000000000000000000"),
    "axes without end": (npy("(" + "1," * 900 + ")", "<f4", bytes(4)), 0, zipfile.ZIP_DEFLATED, r"poses has|cannot be"),
    "a nested header": (npy("-" * 9000 + "1", "<f4"), 0, zipfile.ZIP_DEFLATED, r"damaged header|cannot be read"),
    "a pickle": (npy("(1,)", "|O", pickle.dumps([1])), 0, zipfile.ZIP_DEFLATED, "Python objects|Object arrays"),
}  # fmt: skip


@pytest.mark.parametrize("case", PACKED)
@pytest.mark.parametrize("write", [beat2, own])
def test_numpy_archives(write, case: str, tmp_path: Path) -> None:
    head, zeros, packed, sentence = PACKED[case]
    path = repacked(write(tmp_path), "poses.npy", head, zeros, packed)
    assert path.stat().st_size < 1 << 20
    # numpy tells of memory that it asks for in vain
    refused(path, sentence, BYTES if "10^18" not in case else np.inf)


def test_what_nobody_asks_for_is_not_unpacked_either(tmp_path: Path) -> None:
    path = repacked(own(tmp_path), "notes.npy", LONG, 320 << 20)
    refused(path, r"its 'notes\.npy' is 335,")
    small = repacked(beat2(tmp_path), "notes.npy", LONG, 320 << 20)
    assert load_fit(small).num_frames == files.FRAMES, "only the arrays of the format are read"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("write", [beat2, own])
def test_arrays_of_one_name(write, tmp_path: Path) -> None:
    path = write(tmp_path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("poses.npy", npy("(4, 165)", "<f8", bytes(4 * 165 * 8)))
    refused(path, r"it holds 'poses\.npy' twice")


def test_head_models(tmp_path: Path) -> None:
    with np.load(DEFAULT_HEAD, allow_pickle=False) as file:
        np.savez(tmp_path / "a.npz", **dict(file))
    for head, zeros, sentence in (
        (npy("(30000000, 3)", "<f8"), 720 << 20, "too many for a file of its size"),
        (npy("(1000000000000000000, 3)", "<f8"), 0, "is not a readable head model"),
        (npy("(", "<f8"), 0, "is not a readable head model"),
    ):
        with pytest.raises(ValueError, match=sentence):
            load_head_model(repacked(tmp_path / "a.npz", "v_template.npy", head, zeros))


# ---------------------------------------------------------------------------------------------- pickles and safetensors


def test_expressions_that_are_shared_without_end(tmp_path: Path) -> None:
    """Of every frame they would become a million numbers, which cost the file two bytes."""
    content = files.write_ehm(tmp_path)
    shared = content.pop("shared")
    tree = [0.5] * 16
    for _ in range(4):
        tree = [tree] * 16
    first = next(iter(content.values()))
    first = {**first, "flame_coeffs": {**first["flame_coeffs"], "expression_params": tree}}
    path = tmp_path / "optim_tracking_ehm.pkl"
    path.write_bytes(pickle.dumps({f"{i:06d}": dict(first) for i in range(200)}))
    (tmp_path / "id_share_params.pkl").write_bytes(pickle.dumps(shared))
    refused(tmp_path, r"expression_params holds 1,048,576 values, expected at most 1,000 coefficients")


def lying(path: Path, header: object, length: int | None = None) -> Path:
    raw = bytes(16) if isinstance(header, dict) and "betas" in header else b""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + raw)
    return path


OURS = {"__metadata__": {"format": "expportrait.fit", "version": "1", "values": "{}"}}
BETAS = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    ("header", "length", "sentence"),
    [
        ({}, 2**63, "header too large"),
        ({}, 99_000_000, "header"),
        ({**OURS, "betas": {**BETAS, "shape": [10**12]}}, None, "invalid shape"),
        ({**OURS, "betas": {**BETAS, "shape": [1 << 32, 1 << 32], "data_offsets": [0, 0]}}, None, "overflow"),
        ({**OURS, "betas": {**BETAS, "data_offsets": [1000, 1016]}}, None, "offset"),
        ({**OURS, "betas": BETAS, "more": BETAS}, None, "offset"),
        (b'{"__metadata__":{"a":' + b"[" * 100_000 + b"}}", None, "header"),
        ({"__metadata__": {**OURS["__metadata__"], "values": "[" * 100_000}}, None, "its values are no JSON"),
        ({"__metadata__": {**OURS["__metadata__"], "version": "9" * 5000}}, None, "expected a number"),
        ({"__metadata__": {"format": "x" * 5000}}, None, "expected 'expportrait.fit'"),
    ],
)
def test_safetensors_whose_headers_lie(tmp_path: Path, header: object, length: int | None, sentence: str) -> None:
    refused(lying(tmp_path / "fit.safetensors", header, length), sentence)
