"""A head of other geometry lands on the pixels of the one that the tracker had.

The restricted SMPL-X and FLAME files are not here: random ones of their size and layout stand for them, and the
default head at another place and with expressions of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from expportrait_core.body import load_head_model
from expportrait_core.body.landmarks import landmark_points
from expportrait_core.body.posing import axis_angle_to_matrix, pose_vertices
from expportrait_core.fit import load_fit, save_fit
from expportrait_core.fit.formats.retarget import keep_place, rigid_motion
from expportrait_core.types import HeadModel, LandmarkEmbedding, SMPLXFit

from ...body.flame_file import random_flame, write_flame, write_landmarks
from ...body.smplx_file import write_random_smplx
from .strangers import MADE_OF, smplx_like, write_as_flame
from .tracker_files import (
    write_beat2,
    write_ehm,
    write_exavatar,
    write_gvhmr,
    write_lhm,
    write_smplerx,
    write_vhap,
)

FLAME_ORIGIN = (0.003, -0.74, -0.12)  # FLAME's origin is between the eyes, the default head's near its waist
SMPLX_ORIGIN = (-0.002, -0.41, 0.07)
NO_PLACE = "place in the picture cannot be kept"


def inner_points(model: HeadModel) -> LandmarkEmbedding:
    """iBUG's 51 points without the jaw line."""
    if "ibug51" in model.landmarks:
        return model.landmarks["ibug51"]
    return LandmarkEmbedding(*(getattr(model.landmarks["ibug68"], n)[17:] for n in ("triangles", "barycentric")))


def seen_at(fit: SMPLXFit, model: HeadModel) -> Tensor:
    """Pixels [F, 51, 2] of the posed face, by K·[R|t] written out."""
    vertices = pose_vertices(model, fit.betas, fit.expression, fit.poses, fit.translation)
    points = landmark_points(vertices, model.faces, inner_points(model)).double()
    w2c, k = fit.camera.world_to_camera.double(), fit.camera.intrinsics.double()
    in_camera = points @ w2c[:, :3, :3].transpose(1, 2) + w2c[:, None, :3, 3]
    pixels = in_camera @ k.transpose(1, 2)
    return pixels[..., :2] / pixels[..., 2:]


def off(fit: SMPLXFit, model: HeadModel, before: SMPLXFit, source: HeadModel) -> Tensor:
    """Distances [F, 51] in pixels."""
    return (seen_at(fit, model) - seen_at(before, source)).norm(dim=-1)


def random_body(folder: Path) -> HeadModel:
    """A random file of SMPL-X's size, with 51 landmarks on the part that is kept: its own lie all over the body."""
    body = load_head_model(write_random_smplx(folder / "SMPLX_NEUTRAL.npz"), level=0)
    rng = np.random.default_rng(2)
    points = (rng.choice(len(body.faces), 51), rng.dirichlet(np.ones(3), 51).astype(np.float32))
    return body.replace(landmarks={"ibug51": LandmarkEmbedding(*map(torch.from_numpy, points))})


def moved_away(model: HeadModel, tilt: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> HeadModel:
    """The same surface in another model's terms: another origin, a root joint elsewhere, expressions of its own."""
    shift, turn = torch.tensor([0.13, -0.62, 0.21]), axis_angle_to_matrix(torch.tensor(tilt)).T
    joints = model.joint_template @ turn + shift
    joints[0] += torch.tensor([0.05, 0.3, -0.1])
    return model.replace(template=model.template @ turn + shift, joint_template=joints, expression_space="arkit",
                         model_id="another")  # fmt: skip


# ----------------------------------------------------------------------------------------------------- the rigid motion


def test_a_known_motion_is_found_and_never_a_mirrored_one() -> None:
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(6, 20, 3, generator=generator, dtype=torch.float64)
    turn = axis_angle_to_matrix(torch.randn(6, 3, generator=generator, dtype=torch.float64) * 2)
    shift = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    weights = torch.rand(20, generator=generator, dtype=torch.float64) + 0.1
    rotation, translation = rigid_motion(points, points @ turn.transpose(1, 2) + shift[:, None], weights)
    assert torch.allclose(rotation, turn, atol=1e-7) and torch.allclose(translation, shift, atol=1e-7)
    mirrored, _ = rigid_motion(points, points * torch.tensor([-1.0, 1, 1], dtype=torch.float64), weights)
    assert torch.allclose(torch.linalg.det(mirrored), torch.ones(6, dtype=torch.float64))


def test_a_point_without_weight_does_not_count() -> None:
    points = torch.randn(1, 9, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    goal = points + torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    goal[0, 4] += 5
    weights = torch.ones(9, dtype=torch.float64)
    weights[4] = 0
    rotation, translation = rigid_motion(points, goal, weights)
    assert torch.allclose(rotation[0], torch.eye(3, dtype=torch.float64), atol=1e-9)
    assert translation[0].tolist() == pytest.approx([0.1, 0.2, 0.3])


# --------------------------------------------------------------------- files of SMPL-X's and FLAME's size, to the pixel


@pytest.mark.parametrize("tracker", ["lhm", "gvhmr", "smplerx"])
def test_smplx_trackers_land_on_the_same_pixels(tmp_path: Path, tracker: str) -> None:
    body = random_body(tmp_path)
    head = moved_away(body)
    folder = tmp_path / "tracked"
    if tracker == "gvhmr":
        folder.mkdir()
        write_gvhmr(folder / "hmr4d_results.pt")
    else:
        {"lhm": write_lhm, "smplerx": write_smplerx}[tracker](folder)
    save_fit(neutral(load_fit(folder)), tmp_path / "neutral.npz")
    before = load_fit(tmp_path / "neutral.npz")
    # as trackers look at people: the body stands on its head in the camera's axes, a half turn about x
    after = load_fit(tmp_path / "neutral.npz", head, body_model=body)
    assert off(after, head, before, body).max() < 0.05
    as_it_was = after.replace(poses=before.poses, translation=before.translation)
    assert off(as_it_was, head, before, body).mean() > 20
    assert (after.model_id, len(after.betas), bool(after.betas.any())) == ("another", 10, False)


def test_a_head_that_rests_in_another_direction_is_turned_about_its_own_root(tmp_path: Path) -> None:
    """Another model's neutral face looks a little up or aside: the root turns it, and turns about its own joint."""
    body = random_body(tmp_path)
    head = moved_away(body, tilt=(0.3, -0.2, 0.1))
    write_lhm(tmp_path / "tracked")
    fit = neutral(load_fit(tmp_path / "tracked"))
    poses = torch.zeros_like(fit.poses)
    poses[:, 0] = fit.poses[:, 0] * torch.tensor([[1.0], [0.2], [-0.4], [0.0]])  # of neither model another joint
    before = load_fit(save_fit(fit.replace(poses=poses), tmp_path / "fit.npz"))
    after = load_fit(tmp_path / "fit.npz", head, body_model=body)
    assert off(after, head, before, body).max() < 0.05
    turn = axis_angle_to_matrix(after.poses[:, 0]).transpose(1, 2) @ axis_angle_to_matrix(before.poses[:, 0])
    assert torch.allclose(turn, axis_angle_to_matrix(torch.tensor([0.3, -0.2, 0.1])).expand(4, 3, 3), atol=1e-4)


def neutral(fit: SMPLXFit) -> SMPLXFit:
    """Without shape and expression, and turned by half a turn as in OpenCV's axes."""
    poses = fit.poses.clone()
    poses[:, 0, 0] += np.pi
    return fit.replace(betas=torch.zeros(10), expression=torch.zeros(fit.num_frames, 10), poses=poses)


def test_a_flame_tracker_lands_on_the_same_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    arrays = random_flame()
    write_landmarks(tmp_path, rng.choice(len(arrays["f"]), 51), rng.dirichlet(np.ones(3), 51))
    flame = load_head_model(write_flame(tmp_path / "generic_model.pkl", arrays), level=0)
    head = moved_away(flame)
    path = tmp_path / "tracked_flame_params_30.npz"
    values = write_vhap(path)
    values["shape"][:], values["expr"][:] = 0, 0
    with np.load(path) as file:
        np.savez(path, **dict(file) | values)
    before, after = load_fit(path), load_fit(path, head, body_model=flame)
    assert before.poses[:, 12].any() and before.poses[:, 22].any()
    assert off(after, head, before, flame).max() < 0.05


# ------------------------------------------------------------------------ the default head where the user's own one was


@pytest.mark.parametrize("space", ["smplx", "flame"])
def test_the_default_head_lands_on_the_face_with_its_expressions(
    coarse_head: HeadModel, tmp_path: Path, caplog: pytest.LogCaptureFixture, space: str
) -> None:
    origin = SMPLX_ORIGIN if space == "smplx" else FLAME_ORIGIN
    source, unmix = smplx_like(coarse_head, 1.0, origin)
    if space == "flame":
        source = load_head_model(write_as_flame(tmp_path, source), level=0)
        write_vhap(tmp_path / "tracked_flame_params_3.npz")
        fit = load_fit(tmp_path / "tracked_flame_params_3.npz")
    else:
        write_smplerx(tmp_path / "tracked")
        fit = load_fit(tmp_path / "tracked")
    units = torch.zeros(fit.num_frames, 10)
    units[0, 1:3], units[1, 4], units[2, [3, 6]], units[3, 8] = 0.8, 1.0, 0.6, 0.7
    expression = torch.zeros(fit.num_frames, 100)
    expression[:, :10] = units @ unmix.T
    fit = fit.replace(betas=torch.tensor([0.3, -0.2]), expression=expression)
    converted = load_fit(save_fit(fit, tmp_path / "fit.npz"), coarse_head, body_model=source)
    eyes = (seen_at(fit, source)[:, 19] - seen_at(fit, source)[:, 28]).norm(dim=-1).mean()  # outer corners
    distance = off(converted, coarse_head, fit, source)
    # the shape that the default head does not take over is what is left
    assert distance.mean() < 0.03 * eyes
    as_it_was = converted.replace(poses=fit.poses, translation=fit.translation)
    assert off(as_it_was, coarse_head, fit, source).mean() > 3 * eyes
    said = next(line for line in caplog.messages if "was put where" in line)
    assert f"({distance.mean():.1f} pixels)" in said and " mm" in said
    assert any("could not be expressed" in line for line in caplog.messages) and NO_PLACE not in caplog.text
    # a rigid motion: nothing but the root is touched
    assert torch.equal(converted.poses[:, 1:], fit.poses[:, 1:])
    assert torch.equal(converted.camera.world_to_camera, fit.camera.world_to_camera)


def test_a_larger_face_keeps_its_middle_and_says_how_far_its_points_are(coarse_head: HeadModel, tmp_path: Path) -> None:
    source, _ = smplx_like(coarse_head, 1.1, SMPLX_ORIGIN)
    write_smplerx(tmp_path)
    before = load_fit(tmp_path).replace(betas=torch.zeros(10), expression=torch.zeros(4, 10))
    started = before.replace(expression=torch.zeros(4, 100), expression_space="arkit", model_id=coarse_head.model_id)
    after, landing = keep_place(started, before, source, coarse_head)
    points = landmark_points(coarse_head.template[None], coarse_head.faces, inner_points(coarse_head))[0]
    spread = (points - points.mean(0)).norm(dim=1).mean()
    assert landing.millimetres == pytest.approx(100 * float(spread), rel=0.1)  # a tenth of its size
    assert landing.pixels == pytest.approx(float(off(after, coarse_head, before, source).mean()), abs=1e-2)
    middle = seen_at(after, coarse_head).mean(1) - seen_at(before, source).mean(1)
    assert middle.norm(dim=1).max() < 0.4 * landing.pixels


def test_frames_without_a_face_do_not_count(coarse_head: HeadModel, tmp_path: Path) -> None:
    source, _ = smplx_like(coarse_head, 1.0, SMPLX_ORIGIN)
    write_smplerx(tmp_path)
    expression = torch.zeros(4, 10)
    expression[1] = 5.0  # a face that nobody makes
    before = load_fit(tmp_path).replace(betas=torch.zeros(10), expression=expression)
    valid = torch.tensor([True, False, True, True])
    after = before.replace(
        expression=torch.zeros(4, 100), expression_space="arkit", model_id=coarse_head.model_id, valid=valid
    )
    _, landing = keep_place(after, before, source, coarse_head)
    _, of_all = keep_place(after.replace(valid=None), before, source, coarse_head)
    assert landing.millimetres < 0.01 and of_all.millimetres > 2


def test_models_without_landmarks_in_common_are_refused(coarse_head: HeadModel, tmp_path: Path) -> None:
    source = smplx_like(coarse_head)[0].replace(landmarks={})
    write_lhm(tmp_path)
    with pytest.raises(ValueError, match="share 0 landmarks, expected at least 20 of 51"):
        load_fit(tmp_path, coarse_head, body_model=source)


# ------------------------------------------------------------------------------------ shape and name are the head's own


@pytest.mark.parametrize("tracker", ["lhm", "gvhmr", "beat2"])
def test_without_the_body_model_no_shape_is_taken_over_and_the_place_is_said_to_be_lost(
    coarse_head: HeadModel, tmp_path: Path, caplog: pytest.LogCaptureFixture, tracker: str
) -> None:
    path = tmp_path
    if tracker == "lhm":
        write_lhm(path)
    elif tracker == "gvhmr":
        write_gvhmr(path / "hmr4d_results.pt")
    else:
        path = tmp_path / "clip.npz"
        np.savez(path, **write_beat2(path) | {"expressions": np.zeros((4, 100)), "betas": np.ones(300)})
    before = load_fit(path)
    assert before.betas.any() and before.model_id == "smplx"
    fit = load_fit(path, coarse_head)
    assert not fit.betas.any() and not fit.expression.any()
    assert (fit.model_id, fit.expression_space) == ("default-head", "arkit")
    assert [NO_PLACE in line for line in caplog.messages].count(True) == 1
    said = next(line for line in caplog.messages if NO_PLACE in line)
    assert "Give your own SMPL-X file as `body_model`" in said and "relative to the first frame" in said
    assert torch.equal(fit.poses, before.poses) and torch.equal(fit.translation, before.translation)


def test_on_its_own_head_a_fit_keeps_its_shape(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    body = load_head_model(write_random_smplx(tmp_path / "SMPLX_NEUTRAL.npz"), level=0)
    write_lhm(tmp_path / "tracked")
    before, fit = load_fit(tmp_path / "tracked"), load_fit(tmp_path / "tracked", body)
    assert torch.equal(fit.betas, before.betas) and fit.model_id == "SMPLX_NEUTRAL"
    assert torch.equal(fit.poses, before.poses) and NO_PLACE not in caplog.text


def test_a_smplx_body_with_flame_expressions_needs_both_files(
    coarse_head: HeadModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ExAvatar poses SMPL-X with FLAME's expressions: the one file converts them, the other keeps the place."""
    write_exavatar(tmp_path)
    flame = smplx_like(coarse_head, 1.0, FLAME_ORIGIN)[0].replace(expression_space="flame100", model_id="generic_model")
    body, _ = smplx_like(coarse_head, 1.0, SMPLX_ORIGIN)
    before = load_fit(tmp_path)
    with pytest.raises(ValueError, match="your own FLAME file .* to convert, and your SMPL-X file as a second"):
        load_fit(tmp_path, coarse_head)
    fit = load_fit(tmp_path, coarse_head, body_model=(flame, body))
    assert NO_PLACE not in caplog.text and fit.expression.any()
    still = torch.zeros(4, 0)
    in_place = off(fit.replace(expression=still), coarse_head, before.replace(expression=still), body)
    alone = load_fit(tmp_path, coarse_head, body_model=flame)
    assert NO_PLACE in caplog.text and "your own SMPL-X file as a second `body_model`" in caplog.text
    assert not alone.betas.any()
    lost = off(alone.replace(expression=still), coarse_head, before.replace(expression=still), body)
    assert in_place.mean() < 0.02 * lost.mean()


# --------------------------------------------------------------------------------------------- the first of a hundred


@pytest.mark.parametrize("count", [50, 10])
def test_delta_with_fewer_expressions_is_converted(
    coarse_head: HeadModel, tmp_path: Path, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    import pickle

    from scipy.spatial.transform import Rotation

    source, unmix = smplx_like(coarse_head, 1.0, SMPLX_ORIGIN)
    smile = torch.zeros(10)
    smile[1:3] = 0.8
    expression = np.zeros(count)
    expression[:10] = (unmix @ smile).numpy()
    upside_down = np.tile(np.eye(3), (55, 1, 1))
    upside_down[0] = Rotation.from_rotvec([np.pi, 0, 0]).as_matrix()
    for frame in range(2):
        content = {"shape": np.zeros(200), "full_pose": upside_down, "exp": expression,
                   "cam": np.array([5.0, 0.02, 0.3 + 0.1 * frame])}  # fmt: skip
        (tmp_path / f"actor_f{frame:06}_param.pkl").write_bytes(pickle.dumps(content, protocol=2))
    before = load_fit(tmp_path)
    source = source.replace(shape_basis=torch.zeros(len(source.template), 3, 300),
                            joint_shape_basis=torch.zeros(55, 3, 300))  # fmt: skip
    fit = load_fit(tmp_path, coarse_head, body_model=source)
    columns = [coarse_head.expression_names.index(name) for name in MADE_OF]
    assert (fit.expression[:, columns] - smile).abs().max() < 0.1
    assert before.expression_space == ("smplx50" if count == 50 else "smplx100")
    assert ("does not say which SMPL-X file its 10 expressions are of" in caplog.text) == (count == 10)
    assert off(fit, coarse_head, before, source).mean() < 2


def test_the_old_files_ten_are_not_the_first_ten(coarse_head: HeadModel, tmp_path: Path) -> None:
    source, _ = smplx_like(coarse_head)
    write_smplerx(tmp_path)
    with pytest.raises(ValueError, match=r"ten of SMPL-X's old file \('smplx10'\), which are not the first ten"):
        load_fit(tmp_path, coarse_head, legacy10=True, body_model=source)
    old = source.replace(expression_basis=source.expression_basis[..., :10].contiguous(), expression_space="smplx10",
                         expression_names=source.expression_names[:10],
                         joint_expression_basis=source.joint_expression_basis[..., :10].contiguous())  # fmt: skip
    assert load_fit(tmp_path, coarse_head, legacy10=True, body_model=old).expression_space == "arkit"


def test_ehm_is_placed_by_its_smplx_body(coarse_head: HeadModel, tmp_path: Path) -> None:
    write_ehm(tmp_path)
    body, _ = smplx_like(coarse_head, 1.0, SMPLX_ORIGIN)
    body = body.replace(shape_basis=torch.zeros(len(body.template), 3, 300), joint_shape_basis=torch.zeros(55, 3, 300))
    flame = body.replace(expression_space="flame100", model_id="generic_model")
    before = load_fit(tmp_path)
    fit = load_fit(tmp_path, coarse_head, body_model=(flame, body))
    still = torch.zeros(4, 0)
    distance = off(fit.replace(expression=still), coarse_head, before.replace(expression=still), body)
    corners = seen_at(before.replace(expression=still), body)[:, [19, 28]]
    assert distance.mean() < 0.02 * (corners[:, 0] - corners[:, 1]).norm(dim=-1).mean()
