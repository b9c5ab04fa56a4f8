"""Teeth in mouths that have none: where they sit, what carries them, and that shut lips hide them.

The truth is the default head: written as a SMPL-X file without its teeth, it must get them back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.body import has_teeth, landmark_points, load_head_model, pose_vertices, with_teeth
from expportrait_core.body.regions import LIPS, LOWER_TEETH, SKIN, TONGUE, UPPER_TEETH
from expportrait_core.body.seating import with_skin
from expportrait_core.render import orbit, visible_triangles
from expportrait_core.types import HEAD, JAW, HeadModel

from ..render.meshes import look
from .smplx_file import write_bare_head, write_random_smplx

MILLIMETRE = 1e-3


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    return write_bare_head(tmp_path_factory.mktemp("bare") / "SMPLX_NEUTRAL.npz")


@pytest.fixture(scope="module")
def model(bare: tuple[Path, np.ndarray]) -> HeadModel:
    return load_head_model(bare[0], level=0)


def random_mouth(path: Path) -> Path:
    """The random file of SMPL-X's size with its lip landmarks on a patch of the tube's front, so that the mouth is
    where the head was kept."""
    with np.load(write_random_smplx(path)) as file:
        arrays = dict(file)
    middle = arrays["v_template"][arrays["f"].astype(int)].mean(1)
    turn = np.pi * (1 - np.concatenate([np.arange(12) / 6, np.arange(8) / 4]))  # outer lips, inner lips
    neck = arrays["J_regressor"][12] @ arrays["v_template"]
    ring = np.stack([0.06 * np.cos(turn), neck[1] + 0.1 + 0.02 * np.sin(turn), np.full(20, 0.2)], 1)
    arrays["lmk_faces_idx"][31:] = np.linalg.norm(middle - ring[:, None], axis=2).argmin(1)
    np.savez(path, **arrays)
    return path


def test_a_head_without_teeth_gets_them_back(
    bare: tuple[Path, np.ndarray], model: HeadModel, coarse_head: HeadModel
) -> None:
    truth = coarse_head.template[bare[1]]
    assert not has_teeth(load_head_model(bare[0], level=0, teeth=False)) and has_teeth(model)
    assert torch.allclose(model.template[-len(truth) :], truth, atol=1e-5)
    assert torch.equal(model.parts[-len(truth) :], coarse_head.parts[bare[1]])
    assert len(model.faces) == len(coarse_head.faces) and (model.source_vertices[-len(truth) :] == -1).all()
    assert with_teeth(model, coarse_head) is model and with_teeth(coarse_head, coarse_head) is coarse_head


def test_teeth_follow_the_identity(bare: tuple[Path, np.ndarray], model: HeadModel, coarse_head: HeadModel) -> None:
    """As the default head's own do, whose skin is told from its lips and mouth by names instead of landmarks."""
    generator = torch.Generator().manual_seed(0)
    nothing = torch.zeros(1, 0), torch.zeros(1, 55, 3), torch.zeros(1, 3)
    for _ in range(12):
        betas = torch.randn(100, generator=generator)
        truth = pose_vertices(coarse_head, betas, *nothing)[0, bare[1]]
        given = pose_vertices(model, betas, *nothing)[0, -len(truth) :]
        moved = (truth - coarse_head.template[bare[1]]).norm(dim=1).mean()
        assert (given - truth).norm(dim=1).max() < 2 * MILLIMETRE and moved > 4 * MILLIMETRE


def test_what_is_in_the_mouth_moves_as_the_skin_around_it_does(coarse_head: HeadModel) -> None:
    """Skin that shifts shifts it, skin that grows lets it grow about the same point, skin elsewhere does not matter,
    and the mesh of the skin does not matter either."""
    skin, inside = (torch.isin(coarse_head.parts, torch.tensor(parts))
                    for parts in ((SKIN, LIPS), (UPPER_TEETH, LOWER_TEETH, TONGUE)))  # fmt: skip
    template, faces, points = coarse_head.template, coarse_head.faces, coarse_head.template[inside]
    shift, middle = torch.tensor([0.1, -0.2, 0.3]), points.mean(0)
    crown = (template[:, 1] > middle[1] + 0.12)[:, None].float()
    growth = (template - middle) * torch.tensor([1, 1, 0.0])
    columns = torch.stack([shift.expand_as(template), growth, crown * shift], 2)
    shifted, grown, far = with_skin(points, template, faces, skin, columns).unbind(2)
    assert torch.allclose(shifted, shift.expand_as(points), atol=1e-5) and far.abs().max() < 1e-4
    outside = (points - middle)[:, 0].abs() > 0.02
    assert (grown[outside, 0] / (points - middle)[outside, 0]).min() > 0.8
    # one more vertex in the middle of every triangle on the left, where the mesh is three times as fine then
    split = (template[faces].mean(1)[:, 0] > 0) & skin[faces].all(1)
    centre, added = template[faces[split]].mean(1), len(template) + torch.arange(int(split.sum()))
    three = [torch.stack([faces[split, k], faces[split, (k + 1) % 3], added], 1) for k in range(3)]
    finer = with_skin(
        points, torch.cat([template, centre]), torch.cat([faces[~split], *three]),
        torch.cat([skin, torch.ones(len(added), dtype=torch.bool)]),
        torch.cat([columns, columns[faces[split]].mean(1)]),
    )  # fmt: skip
    assert (finer - torch.stack([shifted, grown, far], 2)).abs().max() < 2e-3


def test_the_upper_row_is_the_heads_and_the_lower_one_the_jaws(tmp_path: Path, model: HeadModel) -> None:
    for each in (model, load_head_model(random_mouth(tmp_path / "SMPLX_NEUTRAL.npz"), level=1)):
        assert has_teeth(each)
        generator = torch.Generator().manual_seed(0)
        poses, betas = torch.zeros(2, 55, 3), torch.randn(10, generator=generator)
        poses[1, JAW] = torch.tensor([0.3, 0.1, 0.0])
        expression = torch.randn(2, each.expression_basis.shape[2], generator=generator)
        expression[1] = 0 if each is model else expression[0]  # the random file's move joints, so the same twice
        count = len(each.template)
        posed = pose_vertices(each, betas, expression, poses, torch.zeros(2, 3))
        upper, lower = (posed[:, :count][:, each.parts == part] for part in (UPPER_TEETH, LOWER_TEETH))
        assert len(each.parts) == count and (upper[0] - upper[1]).norm(dim=1).max() < 1e-5
        moved = (lower[0] - lower[1]).norm(dim=1)
        assert moved.min() > 1 * MILLIMETRE
        before, after = ((row[:, None] - row).norm(dim=-1) for row in lower)
        assert torch.allclose(before, after, atol=1e-5)  # rigid: distances stay
        assert each.expression_basis[each.parts == UPPER_TEETH].abs().max() == 0
        assert (each.skin_weights[each.parts == UPPER_TEETH, HEAD] == 1).all()


def test_teeth_are_scaled_to_the_mouth(tmp_path: Path, coarse_head: HeadModel) -> None:
    each = load_head_model(random_mouth(tmp_path / "SMPLX_NEUTRAL.npz"), level=0)

    def sizes(model: HeadModel, scheme: str, first: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        lips = landmark_points(model.template[None], model.faces, model.landmarks[scheme])[0, first : first + 8]
        teeth = model.template[(model.parts == UPPER_TEETH) | (model.parts == LOWER_TEETH)]
        return (lips[0] - lips[4]).norm(), teeth[:, 0].max() - teeth[:, 0].min(), teeth.mean(0) - lips.mean(0)

    (width, row, away), (our_width, our_row, our_away) = sizes(coarse_head, "ibug68", 60), sizes(each, "ibug51", 43)
    scale = our_row / row
    assert abs(float(scale / (our_width / width)) - 1) < 0.15
    assert torch.allclose(our_away, scale * away, atol=1e-4) and our_away[2] < 0


def teeth_seen(model: HeadModel, vertices: torch.Tensor) -> torch.Tensor:
    """[F, 5, 2] pixels of teeth from the front, the sides, below and above, and how many of them lie on skin: where the
    picture without teeth shows skin less than 2 cm behind them."""
    scheme = "ibug51" if "ibug51" in model.landmarks else "ibug68"
    tooth = ((model.parts == UPPER_TEETH) | (model.parts == LOWER_TEETH))[model.faces].all(1)
    skin = (model.parts == SKIN)[model.faces].all(1)
    coarse = torch.arange(len(model.fine_faces)) % len(tooth)  # triangle of each fine one
    without = (~tooth[coarse]).nonzero()[:, 0]
    seen = []
    for posed, lips in zip(vertices, landmark_points(vertices, model.faces, model.landmarks[scheme])[:, -20:]):
        front, middle = look((256, 256), 0.5, 4.0), lips.mean(0)
        front.world_to_camera[:, :3, 3] -= front.world_to_camera[0, :3, :3] @ middle
        yaw, pitch = torch.tensor([[0.0, 0.7, -0.7, 0.0, 0.0], [0.0, 0.0, 0.0, -0.4, 0.4]])
        corners = orbit(front, middle, yaw, pitch).project(posed.expand(5, -1, -1))
        ids = visible_triangles(corners, model.fine_faces, 256, 256).long()
        view, row, column = ((ids >= 0) & tooth[coarse[ids.clamp(min=0)]]).nonzero(as_tuple=True)
        behind = visible_triangles(corners, model.fine_faces[without], 256, 256).long()[view, row, column]
        behind, before = without[behind.clamp(min=0)], ids[view, row, column]
        centres = posed[model.fine_faces].mean(1)
        on_skin = skin[coarse[behind]] & ((centres[before] - centres[behind]).norm(dim=1) < 0.02)
        seen.append(torch.stack([torch.bincount(view, minlength=5), torch.bincount(view[on_skin], minlength=5)], 1))
    return torch.stack(seen)


FACES = {  # expression units, and how far the jaw is turned
    "shut": ((), -0.08),  # the neutral lips stand 3 mm apart: shut is a little beyond the neutral jaw
    "shows its teeth": (("mouthUpperUpLeft", "mouthUpperUpRight"), 0.15),
    "opens": ((), 0.3),
    "smiles": (("mouthSmileLeft", "mouthSmileRight"), 0.0),
    "calls": (("mouthFunnel",), 0.08),
    "draws to the left": (("mouthLeft",), -0.05),
}


def posed_as(model: HeadModel, betas: torch.Tensor, names: list[str]) -> torch.Tensor:
    units = load_head_model("default", level=0).expression_names
    expression, poses = torch.zeros(len(names), 100), torch.zeros(len(names), 55, 3)
    for frame, (active, jaw) in enumerate(FACES[name] for name in names):
        expression[frame, [units.index(unit) for unit in active]] = 1
        poses[frame, JAW, 0] = jaw
    return pose_vertices(model, betas, expression, poses, torch.zeros(len(names), 3))


@pytest.mark.parametrize(("which", "level", "people"), [("given", 0, 60), ("given", 1, 12), ("own", 0, 60)])
def test_shut_lips_hide_the_teeth(bare: tuple[Path, np.ndarray], which: str, level: int, people: int) -> None:
    """Of the neutral head, and of people at random as common as they come and one and a half times as far from the
    mean: nothing pokes through. An opened mouth shows them, so that the test can fail."""
    model = load_head_model(bare[0] if which == "given" else "default", level=level)
    generator = torch.Generator().manual_seed(1)
    for person in range(people):
        betas = torch.randn(100, generator=generator) * (0 if person == 0 else 1 + person % 2 / 2)
        shut, opened = teeth_seen(model, posed_as(model, betas, ["shut", "shows its teeth"]))[..., 0]
        assert shut.max() == 0, person
        assert opened[0] > 100, person


@pytest.mark.parametrize("which", ["given", "own"])
def test_no_expression_bares_teeth_through_the_skin(bare: tuple[Path, np.ndarray], which: str) -> None:
    model = load_head_model(bare[0] if which == "given" else "default", level=0)
    generator = torch.Generator().manual_seed(2)
    for person in range(30):
        betas = torch.randn(100, generator=generator) * (0 if person == 0 else 1 + person % 2 / 2)
        seen = teeth_seen(model, posed_as(model, betas, list(FACES)[1:]))
        assert seen[..., 1].max() == 0, (person, seen[..., 1])
        assert seen[0, :, 0].min() > 20  # shown, from every side


def test_an_opened_mouth_shows_the_upper_row_from_below_and_the_lower_one_from_above(coarse_head: HeadModel) -> None:
    vertices = posed_as(coarse_head, torch.zeros(1), ["opens"])
    counts = {}
    for part in (UPPER_TEETH, LOWER_TEETH):
        other = torch.where(coarse_head.parts == (UPPER_TEETH + LOWER_TEETH - part), TONGUE, coarse_head.parts)
        counts[part] = teeth_seen(coarse_head.replace(parts=other), vertices)[0, :, 0]
    assert counts[UPPER_TEETH][3] > 3 * counts[UPPER_TEETH][4] and counts[LOWER_TEETH][4] > 3 * counts[LOWER_TEETH][3]
    assert counts[UPPER_TEETH][3] > 100 and counts[LOWER_TEETH][4] > 100


def test_teeth_that_do_not_follow_are_found_out(bare: tuple[Path, np.ndarray], model: HeadModel) -> None:
    """The measure of the tests above: teeth that stay where the mean head has them stand out of many people's skin."""
    basis = model.shape_basis.clone()
    basis[(model.parts == UPPER_TEETH) | (model.parts == LOWER_TEETH)] = 0
    stuck, generator = model.replace(shape_basis=basis), torch.Generator().manual_seed(1)
    seen = torch.stack([teeth_seen(stuck, posed_as(stuck, torch.randn(100, generator=generator), ["shut"]))[0]
                        for _ in range(10)])  # fmt: skip
    assert (seen[..., 1].amax(1) > 0).sum() >= 3 and seen[..., 1].max() > 100


def test_a_model_without_lip_landmarks_gets_none(coarse_head: HeadModel, caplog: pytest.LogCaptureFixture) -> None:
    without = coarse_head.replace(landmarks={}, parts=torch.zeros_like(coarse_head.parts))
    with caplog.at_level("INFO"):
        assert with_teeth(without, coarse_head) is without
        turned = coarse_head.replace(parts=without.parts, template=coarse_head.template * torch.tensor([-1, -1, 1]))
        assert with_teeth(turned, coarse_head) is turned
    assert "no lip landmarks" in caplog.text and "do not lie like a mouth" in caplog.text
