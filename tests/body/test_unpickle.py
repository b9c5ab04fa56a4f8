"""The restricted unpickler: arrays of every numpy and protocol come back, and nothing ever runs."""

from __future__ import annotations

import os
import pickle
import sys
import time
import tracemalloc
import types
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from expportrait_core.body.unpickle import read_pickle, unpickle

ARRAYS = {
    "floats": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big_endian": np.arange(4, dtype=">i4"),
    "scalar": np.float64(2.5),
    "empty": np.zeros((0, 3)),
    "text": np.array(["ab", "cde"]),
    "mask": np.array([True, False]),
}


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_containers_come_back(protocol: int) -> None:
    tree = {"a": ARRAYS, "b": [1, (2.5, None, "ü", True)], "c": OrderedDict(x=b"raw"), 3: {"deep": [ARRAYS["floats"]]}}
    back = unpickle(pickle.dumps(tree, protocol=protocol), "tree.pkl")
    for key, value in ARRAYS.items():
        assert np.array_equal(back["a"][key], value) and back["a"][key].dtype == value.dtype, key
    assert back["b"] == [1, (2.5, None, "ü", True)] and back["c"]["x"] == b"raw"
    assert np.array_equal(back[3]["deep"][0], ARRAYS["floats"])


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_numpy_1_and_2(protocol: int, core: bytes) -> None:
    data = pickle.dumps({"x": ARRAYS["floats"]}, protocol=protocol)
    for written in (b"numpy._core", b"numpy.core"):
        for module in (b".multiarray", b".numeric"):
            old, new = written + module, core + module
            # the length before the name, in protocols that write one, and of the frame, which is left out
            data = data.replace(b"\x8c" + bytes([len(old)]) + old, b"\x8c" + bytes([len(new)]) + new)
            data = data.replace(b"c" + old + b"\n", b"c" + new + b"\n")
    if data[2:3] == b"\x95":
        data = data[:2] + data[11:]
    assert core + b"." in data
    assert np.array_equal(unpickle(data, "x.pkl")["x"], ARRAYS["floats"])


@pytest.fixture
def chumpy() -> Iterator[types.ModuleType]:
    """A module of chumpy's name with a class of its layout; gone again before anything is read."""
    module = types.ModuleType("chumpy.ch")
    module.Ch = type("Ch", (), {"__module__": "chumpy.ch", "__init__": lambda self, x: setattr(self, "x", x)})
    reordering = types.ModuleType("chumpy.reordering")
    reordering.Select = type("Select", (), {"__module__": "chumpy.reordering"})
    sys.modules |= {"chumpy": types.ModuleType("chumpy"), "chumpy.ch": module, "chumpy.reordering": reordering}
    module.Select = reordering.Select
    yield module
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_chumpy_objects_become_the_arrays_that_they_hold(chumpy: types.ModuleType, protocol: int) -> None:
    base = chumpy.Ch(np.arange(24.0).reshape(4, 6))
    selection = chumpy.Select()
    selection.a, selection.idxs, selection.preferred_shape = base, np.arange(0, 24, 2), (4, 3)
    nested = chumpy.Ch(chumpy.Ch(np.ones(3)))
    data = pickle.dumps({"v": base, "half": selection, "nested": nested}, protocol=protocol)
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        sys.modules.pop(name)
    back = unpickle(data, "model.pkl")
    assert np.array_equal(back["v"], np.arange(24.0).reshape(4, 6)) and type(back["v"]) is np.ndarray
    assert np.array_equal(back["half"], np.arange(24.0).reshape(4, 6)[:, ::2])
    assert np.array_equal(back["nested"], np.ones(3))


@pytest.mark.parametrize("kind", [sparse.csc_matrix, sparse.csr_matrix])
def test_sparse_matrices_become_arrays(kind: type) -> None:
    dense = np.array([[0, 1.5, 0], [2, 0, 0]])
    assert np.array_equal(unpickle(pickle.dumps(kind(dense)), "model.pkl"), dense)


class Runs:
    """Pickles itself as a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def hostile(marker: Path) -> dict[str, tuple[object, str]]:
    touch = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    return {
        "os.system": (Runs(os.system, touch), "'posix.system'" if os.name == "posix" else "'nt.system'"),
        "eval": (Runs(eval, code), "'(__builtin__|builtins).eval'"),
        "exec": (Runs(exec, code), "'(__builtin__|builtins).exec'"),
        "getattr": (Runs(getattr, "x", "upper"), "'(__builtin__|builtins).getattr'"),
        "import": (Runs(__import__, "os"), "'(__builtin__|builtins).__import__'"),
        "open": (Runs(open, str(marker), "w"), r"'_?io\.open'"),
        "a path": (Path("x"), "'pathlib"),
        "object array": (np.array([Runs(os.system, touch), 1], dtype=object), "posix.system|nt.system|Python objects"),
        "plain object array": (np.array([{"a": 1}, None], dtype=object), "an array of Python objects"),
        "nested": ({"fit": [np.zeros(3), {"deep": Runs(os.system, touch)}]}, "system'"),
        "tensor": (torch.zeros(3), "a torch tensor"),
        "records": (np.zeros(2, dtype=[("a", "f4")]), "an array of"),
    }


@pytest.mark.parametrize("case", hostile(Path("x")))
@pytest.mark.parametrize("protocol", [2, 4])
def test_anything_else_is_refused_and_nothing_runs(case: str, protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    content, sentence = hostile(marker)[case]
    path = tmp_path / "fit.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(ValueError, match=sentence) as error:
        read_pickle(path)
    assert not marker.exists()
    assert str(error.value).startswith("fit.pkl ") and str(error.value).endswith(".")


def test_names_reached_in_other_ways_are_refused() -> None:
    for data, sentence in (
        (b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.", "asks for"),
        (b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__base__\x93.", "'numpy.ndarray.__base__'"),
        (b"cchumpy.ch\nCh\n(tR.", "a chumpy object that holds no array"),
        (b"cbuiltins\nobject\n)R.", "an object of an unknown kind"),
        (b"ccopyreg\n_reconstructor\n(cbuiltins\nobject\ncbuiltins\nobject\nNtR.", "an object of an unknown kind"),
        (b"\x80\x02U\x01aQ.", "asks for an object outside of it"),
        (b"\x80\x02Pa\n.", "instruction 'P' at byte 2 is none"),
        (b"\x80\x02\x82\x01.", "not a readable pickle"),
        (b"\x80\x02U\x01a)R.", "calls what is no function"),
        (b"\x80\x02}}b.", "sets the state of what has none"),
        (b"\x80\x02U\x01as.", "uses a value that it never gave"),
        (b"\x80\x02](U\x01aU\x01bu.", "fills a dict that is none"),
        (b"\x80\x02]U\x01as.", "a key that is neither text nor a number"),
        (b"\x80\x02]q\x00h\x00a.", "nested without end"),
        (b"", "not a readable pickle"),
        (pickle.dumps(np.arange(9.0))[:-40], "truncated or damaged"),
        (pickle.dumps(np.arange(9.0), 2).replace(b"K\t\x85", b"K\n\x85"), "an array of shape"),
    ):
        with pytest.raises(ValueError, match=sentence):
            unpickle(data, "fit.pkl")


def test_shared_references_do_not_multiply() -> None:
    tree: dict = {"a": np.zeros(3)}
    for _ in range(60):
        tree = {"a": tree, "b": tree}
    back = unpickle(pickle.dumps(tree), "fit.pkl")
    assert back["a"] is back["b"]


def folded(*inner: object, times: int = 10, depth: int = 9) -> list:
    tree = [*inner]
    for _ in range(depth):
        tree = [tree] * times
    return tree


@pytest.mark.parametrize(
    "tree",
    [
        folded(*range(10)),
        folded(times=2, depth=60),
        folded(np.zeros(1000), depth=5),
        ["a" * 100_000] + [1.0] * 1000,
        (folded(depth=30),),
    ],
    ids=["numbers", "nothing at all", "arrays", "a long text", "in a tuple"],
)
def test_lists_that_a_few_bytes_make_huge_are_refused(tree: object) -> None:
    data = pickle.dumps({"expression": tree})
    assert len(data) < 200_000
    with pytest.raises(
        ValueError, match=r"fit\.pkl holds lists or arrays that are more than 8,388,608 numbers when written out"
    ):
        unpickle(data, "fit.pkl")


def test_large_lists_that_share_nothing_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expportrait_core.body.unfolded.MOST_VALUES", 10)
    tree = {"a": [[1, True, None]] * 1 + [[4, 5, 6]], "b": [np.zeros(9, np.int8), np.ones(9, np.int8)]}
    assert unpickle(pickle.dumps(tree), "fit.pkl")["a"] == tree["a"]


def test_matrices_that_a_few_bytes_make_huge_are_refused() -> None:
    matrix = sparse.csc_matrix((30_000, 30_000))
    with pytest.raises(ValueError, match="holds matrices that are more than"):
        unpickle(pickle.dumps(matrix), "fit.pkl")
    many = [sparse.csc_matrix((3000, 1000)) for _ in range(9)]
    with pytest.raises(ValueError, match="holds matrices that are more than"):
        unpickle(pickle.dumps(many), "fit.pkl")


def numbered(count: int) -> bytes:
    """As many names, each with nothing behind it."""
    return b"".join(b"X\x06\x00\x00\x00%06dN" % i for i in range(count))


TEXT = b"X\x00\x00\x10\x00" + b"a" * (1 << 20)
REPEATED = {  # what is recalled by two bytes for every call, and copied by each
    "texts": b"c_codecs\nencode\nq\x02" + TEXT + b"q\x010](" + b"h\x02h\x01\x85R" * 4000 + b"e.",
    "pairs": b"ccollections\nOrderedDict\nq\x02(" + numbered(9000).replace(b"N", b"N\x86") + b"lq\x010("
    + b"h\x02h\x01\x85R0" * 5000 + b"l.",
    "arguments": b"cnumpy\nndarray\nq\x02(" + b"N" * 500_000 + b"tq\x010(" + b"h\x02h\x01R0" * 20_000 + b"l.",
    "states": b"cchumpy.ch\nCh\nq\x02}(" + numbered(50_000) + b"uq\x010h\x02)R" + b"h\x01b" * 20_000 + b".",
    "states in one": b"cchumpy.ch\nCh\nq\x02}(" + numbered(50_000) + b"uq\x010h\x02)R(" + b"h\x01" * 20_000 + b"tb.",
    "codes": b"cnumpy\ndtype\nq\x02X\x40\x0d\x03\x00" + b"i4, " * 50_000 + b"q\x010(" + b"h\x02h\x01\x85R" * 9000
    + b"l.",
}  # fmt: skip


@pytest.mark.parametrize("case", REPEATED)
def test_what_is_recalled_is_not_copied_without_end(case: str) -> None:
    tracemalloc.start()
    begun = time.perf_counter()
    with pytest.raises(ValueError, match=r"^fit\.pkl holds values that are handed over again and again\. No fit"):
        unpickle(REPEATED[case], "fit.pkl")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.perf_counter() - begun < 5 and most < 100e6, "each would take gigabytes, or minutes"


def test_long_items_of_a_dictionary_are_not_copied() -> None:
    data = b"ccollections\nOrderedDict\n](" + b"N" * 500_000 + b"eq\x010](" + b"h\x01" * 9000 + b"e\x85R."
    with pytest.raises(ValueError, match="too many values"):
        unpickle(data, "fit.pkl")


def long_number(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + len(raw).to_bytes(4, "little") + raw


def test_numbers_that_hash_alike_are_no_keys() -> None:
    """Python hashes whole numbers by their remainder of 2^61 - 1: a dictionary of these takes its size squared."""
    alike = b"".join(long_number(i * (2**61 - 1)) + b"N" for i in range(1, 60_000))
    for keys in (alike, long_number(1 << 800_000) + b"N"):
        with pytest.raises(ValueError, match="a key that is neither text nor a number"):
            unpickle(b"}(" + keys + b"u.", "fit.pkl")
    usual = {0: "a", -3: "b", 1 << 40: "c", "d": 1, b"e": 2, 0.5: 3, None: 4, True: 5}
    assert unpickle(pickle.dumps(usual), "fit.pkl") == usual


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"]" * 100_000 + b"a" * 99_999 + b".", "nested without end"),
        (b")" + b"\x85" * 100_000 + b".", "nested without end"),
        (b"}K\x01" * 100_000 + b"}" + b"s" * 100_000 + b".", "nested without end"),
        (b"})" + b"\x85" * 100_000 + b"K\x01s.", "a key that is neither"),
        (b"}q\x00" + b"(K\x01h\x00u" * 50_000 + b".", "nested without end"),
        (b"B\xff\xff\xff\xffabc.", "ends in the middle of a value"),
        (b"\x8e" + b"\xff" * 7 + b"\x7fabc.", "ends in the middle of a value"),
        (b"\x8d" + b"\xff" * 8 + b"abc.", "ends in the middle of a value"),
        (b"\x8b\xff\xff\xff\x7fabc.", "ends in the middle of a value"),
        (b"T\xfb\xff\xff\xffabc.", "ends in the middle of a value"),
        (b"I" + b"9" * 4_000_000 + b"\n.", "a number of 4,000,000 digits"),
        (b"L" + b"9" * 4_000_000 + b"L\n.", "a number of 4,000,000 digits"),
        (b"K\x01Q" * 100_000 + b".", "an object outside of it"),
    ],
)
def test_bombs_of_few_instructions(data: bytes, sentence: str) -> None:
    begun = time.perf_counter()
    with pytest.raises(ValueError, match=sentence) as error:
        unpickle(data, "fit.pkl")
    assert time.perf_counter() - begun < 5 and len(str(error.value)) < 300


def test_sparse_matrices_that_do_not_fit_together_are_refused() -> None:
    def changed(**parts: np.ndarray) -> bytes:
        matrix = sparse.csr_matrix(np.eye(2))
        for name, value in parts.items():
            setattr(matrix, name, value)
        return pickle.dumps(matrix)

    for data, sentence in (
        (changed(indptr=np.array([0, 0, 1_500_000_000])), "do not lead to its values"),
        (changed(indptr=np.array([0, -5, 2])), "do not lead to its values"),
        (changed(indptr=np.zeros(1000, np.int32)), "with 1000 pointers"),
        (changed(indices=np.zeros(9, np.int32)), "with 3 pointers"),
    ):
        with pytest.raises(ValueError, match=sentence):
            unpickle(data, "fit.pkl")
    roomy = changed(indices=np.array([0, 1, 7]), data=np.array([1.0, 1, 9]))  # with room for one value more
    assert np.array_equal(unpickle(roomy, "model.pkl"), np.eye(2))


def test_shared_tuples_are_neither_hashed_nor_written_out() -> None:
    """Of 2^60 parts, each of these would take Python for ever; they cost the file 200 bytes."""
    key: tuple = ("a",)
    for _ in range(60):
        key = (key, key)
    whole = pickle.dumps(key, 4)[:-1]  # leaves it on the stack
    for data, sentence in (
        (b"}" + whole + b"K\x01s.", "a key that is neither text nor a number"),
        (b"ccollections\nOrderedDict\n](]" + whole + b"aK\x01ae\x85R.", "a key that is neither text nor a number"),
        (whole + whole + b"\x93.", "names a function by what is no text"),
        (b"c_codecs\nencode\nX\x01\x00\x00\x00a" + whole + b"\x86R.", "an encoding that no pickle uses"),
    ):
        with pytest.raises(ValueError, match=sentence):
            unpickle(data, "fit.pkl")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", [{1, 2}, set(), frozenset("ab")])
def test_a_set_is_told_as_one(tmp_path: Path, protocol: int, value: set | frozenset) -> None:
    path = tmp_path / "fit.pkl"
    path.write_bytes(pickle.dumps({"betas": np.zeros(3), "seen": [value]}, protocol))
    with pytest.raises(ValueError, match=r"^fit\.pkl holds a set, and only arrays, .* save it again with lists or"):
        read_pickle(path)
    for end in range(3, len(path.read_bytes()) - 1, 7):
        path.write_bytes(path.read_bytes()[:-end] or b"x")
        with pytest.raises(ValueError, match="truncated or damaged"):
            read_pickle(path)
