"""Fits of other models, read for the default head: the head is seen where the tracker saw it, and keeps no shape of
another model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from expportrait_core.body import axis_angle_to_matrix
from expportrait_core.fit import load_fit
from expportrait_core.fit.formats.placement import RIGID, keep_in_place, rigid_motion
from expportrait_core.types import HEAD, JAW, NECK, NUM_JOINTS, HeadModel, SMPLXFit

from ...render.meshes import look, rotation
from .seen import pixels
from .tracker_files import write_beat2, write_gvhmr, write_lhm


@pytest.fixture(scope="module")
def moved_away(coarse_head: HeadModel) -> HeadModel:
    """The same head with another origin, at rest tilted by 0.1 rad, and of another expression space."""
    tilt, shift = rotation(0.0, 0.1, 0.0), torch.tensor([0.03, -1.1, 0.2])
    points = coarse_head.landmarks["ibug68"]
    return coarse_head.replace(
        template=coarse_head.template @ tilt.T + shift, joint_template=coarse_head.joint_template @ tilt.T + shift,
        shape_basis=torch.einsum("ij,vjb->vib", tilt, coarse_head.shape_basis),
        joint_shape_basis=torch.einsum("ij,kjb->kib", tilt, coarse_head.joint_shape_basis),
        expression_basis=torch.einsum("ij,vje->vie", tilt, coarse_head.expression_basis),
        joint_expression_basis=torch.einsum("ij,kje->kie", tilt, coarse_head.joint_expression_basis),
        landmarks={"ibug51": type(points)(points.triangles[17:], points.barycentric[17:])},
        expression_space="smplx100", model_id="SMPLX_NEUTRAL", expression_names=tuple("x" * 100),
    )  # fmt: skip


def motion(frames: int, betas: torch.Tensor) -> SMPLXFit:
    generator = torch.Generator().manual_seed(3)
    poses = torch.zeros(frames, NUM_JOINTS, 3)
    poses[:, [0, NECK, HEAD]] = 0.3 * torch.randn(frames, 3, 3, generator=generator)
    poses[:, JAW, 0] = 0.2
    shift = torch.tensor([0.1, 1.4, 0.2]) + 0.05 * torch.randn(frames, 3, generator=generator)
    return SMPLXFit(betas, torch.zeros(frames, 100), poses, shift, look((480, 640), 0.9, 1.6, frames), "smplx100",
                    "smplx")  # fmt: skip


def test_the_whole_face_lands_on_its_pixels(coarse_head: HeadModel, moved_away: HeadModel) -> None:
    fit = motion(5, torch.zeros(10))
    wanted = pixels(fit, moved_away, list(range(51)))
    bare = fit.replace(expression_space="arkit", model_id=coarse_head.model_id)
    assert (pixels(bare, coarse_head, list(range(51))) - wanted).norm(dim=-1).min() > 100  # what it was before
    placed, apart = keep_in_place(fit, moved_away, bare, coarse_head)
    assert apart < 1e-5
    # neck, head and jaw turn about other axes in the tilted model, so that lips lie a little elsewhere
    assert (pixels(placed, coarse_head, list(RIGID)) - wanted[:, list(RIGID)]).norm(dim=-1).max() < 0.05
    assert (pixels(placed, coarse_head, list(range(51))) - wanted).norm(dim=-1).mean() < 2


def test_a_head_of_another_shape_lies_as_near_as_it_can(coarse_head: HeadModel, moved_away: HeadModel) -> None:
    fit = motion(3, torch.tensor([1.5, -1.0, 2.0]))
    bare = fit.replace(betas=torch.zeros(10), expression_space="arkit", model_id=coarse_head.model_id)
    placed, apart = keep_in_place(fit, moved_away, bare, coarse_head)
    assert 1e-4 < apart < 0.01
    away = (pixels(placed, coarse_head, list(RIGID)) - pixels(fit, moved_away, list(RIGID))).norm(dim=-1)
    width = pixels(fit, moved_away, [19, 28]).diff(dim=1).norm(dim=-1)
    assert (away / width).mean() < 0.1


def test_rigid_motion_is_found_and_never_a_mirror_image() -> None:
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(4, 9, 3, generator=generator)
    points[1, :, 2] = 0  # flat: its mirror image fits as well
    turn = axis_angle_to_matrix(torch.randn(4, 3, generator=generator))
    shift = torch.randn(4, 3, generator=generator)
    found, moved = rigid_motion(points, points @ turn.mT + shift[:, None])
    torch.testing.assert_close(found, turn, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved, shift, atol=1e-5, rtol=0)


@pytest.mark.parametrize("write", [write_lhm, write_gvhmr, write_beat2])
def test_without_the_model_neither_shape_nor_place_is_taken_over(
    write, tmp_path: Path, coarse_head: HeadModel, caplog: pytest.LogCaptureFixture
) -> None:
    name = {"write_lhm": "lhm", "write_gvhmr": "hmr4d_results.pt", "write_beat2": "clip.npz"}[write.__name__]
    write(tmp_path / name)
    given = load_fit(tmp_path / name)
    if given.expression.any():
        with pytest.raises(ValueError, match="give your own SMPL-X file as `body_model`"):
            load_fit(tmp_path / name, coarse_head)
        return
    fit = load_fit(tmp_path / name, coarse_head)
    assert not fit.betas.any() and fit.model_id == coarse_head.model_id and given.betas.any()
    assert "its shape nor its place in the picture. Give your own SMPL-X file" in caplog.text


@pytest.mark.parametrize("space", ["smplx50", "smplx20"])
def test_the_first_expressions_of_smplx_are_those_of_the_whole_file(
    space: str, coarse_head: HeadModel, moved_away: HeadModel
) -> None:
    from expportrait_core.fit.formats import _for_head

    count = int(space.removeprefix("smplx"))
    fit = motion(2, torch.zeros(10)).replace(expression=torch.full((2, count), 0.2), expression_space=space)
    converted = _for_head(fit, coarse_head, moved_away)
    assert converted.expression_space == "arkit" and converted.expression.any()
    ten = fit.replace(expression=torch.full((2, 10), 0.2), expression_space="smplx10")  # perhaps of the old file
    with pytest.raises(ValueError, match="smplx10"):
        _for_head(ten, coarse_head, moved_away)
