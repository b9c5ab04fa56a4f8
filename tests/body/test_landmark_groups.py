"""The numbers of landmarks stand in one place, and mean what they are called."""

from __future__ import annotations

import ast
from pathlib import Path

import torch

import expportrait_core
from expportrait_core.body import landmark_groups as groups
from expportrait_core.body import landmark_points
from expportrait_core.types import HeadModel

CORE = Path(expportrait_core.__file__).parent
FEATURES = {*groups.FACE_OVAL, *groups.EYELIDS, *groups.LIPS, *groups.BROWS, *groups.NOSE}
LEAST = 5  # numbers of one feature from which a list of them is a group and no accident


def numbers_in(tree: ast.AST) -> list[tuple[int, ...]]:
    """Every tuple, list and set of whole numbers that stands in a file."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            values = [entry.value if isinstance(entry, ast.Constant) else None for entry in node.elts]
            if values and all(type(value) is int for value in values):
                found.append(tuple(values))
    return found


def test_they_stand_in_one_place() -> None:
    pairs = {groups.OUTER_EYE_CORNERS[groups.MEDIAPIPE], (groups.NUM_LANDMARKS, groups.NUM_MESH), (61, 291), (13, 14)}
    again = []
    folders = (CORE, CORE.parent / "nodes", CORE.parent / "benchmarks")
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        if path.name == "landmark_groups.py":
            continue
        for numbers in numbers_in(ast.parse(path.read_text("utf-8"))):
            if numbers in pairs or (len(set(numbers)) >= LEAST and set(numbers) <= FEATURES):
                again.append(f"{path.relative_to(CORE.parent)}: {numbers}")
    assert not again


def points(head: HeadModel, scheme: str) -> torch.Tensor:  # [L, 3]
    return landmark_points(head.template[None], head.faces, head.landmarks[scheme])[0]


def test_right_and_left_are_mirror_images(coarse_head: HeadModel) -> None:
    mesh = points(coarse_head, groups.MEDIAPIPE)
    for right, left in (
        (groups.RIGHT_EYELIDS, groups.LEFT_EYELIDS), groups.UPPER_BROWS, groups.LOWER_BROWS,
        *((eye[:1], other[:1]) for eye, other in [groups.EYES[groups.MEDIAPIPE]]),
    ):  # fmt: skip
        mirrored = mesh[list(left)] * torch.tensor([-1.0, 1, 1])
        assert (mesh[list(right)] - mirrored).norm(dim=1).max() < 0.006 and mesh[list(right), 0].max() < 0


def test_rings_run_around_and_meet_the_corners(coarse_head: HeadModel) -> None:
    mesh = points(coarse_head, groups.MEDIAPIPE)
    for ring in (groups.FACE_OVAL, groups.RIGHT_EYELIDS, groups.LEFT_EYELIDS, groups.OUTER_LIPS, groups.INNER_LIPS):
        line = mesh[list(ring)]
        steps = (line - line.roll(-1, 0)).norm(dim=1)
        assert steps.max() < 4.5 * steps.median(), "neighbours in the list are neighbours on the face"
    for eyelids, (outer, inner, *_) in zip((groups.RIGHT_EYELIDS, groups.LEFT_EYELIDS), groups.EYES[groups.MEDIAPIPE]):
        assert (eyelids[0], eyelids[8]) == (outer, inner)
    right, left, upper, lower = groups.INNER_MOUTH[groups.MEDIAPIPE]
    assert (groups.INNER_LIPS[0], groups.INNER_LIPS[10]) == (right, left) and {upper, lower} < set(groups.INNER_LIPS)
    assert mesh[upper, 1] > mesh[lower, 1] - 1e-3 and mesh[right, 0] < 0 < mesh[left, 0]


def test_the_schemes_agree(coarse_head: HeadModel) -> None:
    """What is named in two schemes is the same point of the face."""
    mesh, ibug = points(coarse_head, groups.MEDIAPIPE), points(coarse_head, groups.IBUG)
    assert torch.allclose(mesh[list(groups.FROM_MEDIAPIPE[groups.IBUG])], ibug, atol=1e-6)
    inner = ibug[groups.JAW_LINE :]
    for named in (groups.OUTER_EYE_CORNERS, groups.INNER_MOUTH, groups.LIP_RING):
        for scheme, of_scheme in ((groups.IBUG, ibug), (groups.IBUG51, inner)):
            assert torch.allclose(of_scheme[list(named[scheme])], mesh[list(named[groups.MEDIAPIPE])], atol=1e-6)
    for eye, same in zip(groups.EYES[groups.IBUG], groups.EYES[groups.MEDIAPIPE]):
        assert torch.allclose(ibug[list(eye)], mesh[list(same)], atol=1e-6)
