"""The tracker on real pictures, and on rendered landmarks whose truth is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from expportrait_core.body import landmark_points, pose_vertices
from expportrait_core.fit import detect_landmarks, fit_landmarks, landmark_error_percent, track
from expportrait_core.fit.detect.landmark_scheme import eye_openness
from expportrait_core.fit.detect.sources import SeenFace
from expportrait_core.fit.tracker import landmark_fit
from expportrait_core.fit.tracker.landmark_fit import pinhole
from expportrait_core.fit.tracker.landmark_rig import RIGID, LandmarkRig, poses_from_rigid
from expportrait_core.fit.tracker.solver import Priors
from expportrait_core.types import HEAD, JAW, NECK, HeadModel, SMPLXFit


def lip_gap(points: Tensor) -> Tensor:
    """Distance of the inner lips over the distance of the outer eye corners [F], of pixels [F, 478, 2]."""
    return (points[:, 13] - points[:, 14]).norm(dim=-1) / (points[:, 33] - points[:, 263]).norm(dim=-1)


def projected(fit: SMPLXFit, model: HeadModel) -> Tensor:
    vertices = pose_vertices(model, fit.betas, fit.expression, fit.poses, fit.translation)
    points = fit.camera.project(landmark_points(vertices, model.faces, model.landmarks["mediapipe478"]))
    return points[..., :2] / points[..., 2:]


def test_the_error_is_in_percent_of_the_outer_eye_corners(astronaut: Tensor, coarse_head: HeadModel) -> None:
    """By hand: every landmark lies 3 and 4 pixels beside its place on the mesh, and the irises anywhere."""
    fit = track(astronaut, coarse_head)
    landmarks = torch.cat([projected(fit, coarse_head) + torch.tensor([3.0, 4.0]), fit.landmarks[..., 2:]], -1)
    landmarks[:, 468:, :2] = 1e4
    unseen = landmarks[:, 5].clone()
    landmarks[:, 5] = torch.tensor([1e4, 1e4, 0.0])
    apart = float((landmarks[0, 33, :2] - landmarks[0, 263, :2]).norm())
    found = landmark_error_percent(fit.replace(landmarks=landmarks), coarse_head)
    assert apart > 50 and found.tolist() == pytest.approx([100 * 5 / apart], rel=1e-3)
    landmarks[:, 5] = unseen
    both = fit.frames([0, 0]).replace(landmarks=landmarks.repeat(2, 1, 1), valid=torch.tensor([False, True]))
    assert landmark_error_percent(both, coarse_head).tolist() == pytest.approx([100 * 5 / apart], rel=1e-3)


def test_astronaut(astronaut: Tensor, coarse_head: HeadModel) -> None:
    fit = track(astronaut, coarse_head)
    assert float(landmark_error_percent(fit, coarse_head)) < 3
    seen, drawn = lip_gap(fit.landmarks[..., :2]), lip_gap(projected(fit, coarse_head))
    assert 0.8 < float(drawn / seen) < 1.25  # she shows her teeth
    assert fit.betas.abs().max() < 3 and fit.expression.min() >= 0 and fit.expression.max() <= 1
    depth = -(fit.translation[0, 2])
    assert 0.5 < float(depth) < 3


def test_clip_is_followed_and_its_blink_kept(single_face: tuple[Tensor, float], coarse_head: HeadModel) -> None:
    images, fps = single_face
    fit = track(images, coarse_head, fps=fps)
    assert fit.valid.all() and fit.fps == fps
    assert float(landmark_error_percent(fit, coarse_head).mean()) < 3
    drawn, seen = projected(fit, coarse_head), fit.landmarks[..., :2]
    gaps = torch.stack([lip_gap(seen), lip_gap(drawn)])
    assert float(torch.corrcoef(gaps)[0, 1]) > 0.95  # the mouth opens where the picture's does
    openness = [eye_openness(p).mean(1) for p in (seen, drawn)]
    assert 26 <= int(openness[1].argmin()) <= 28  # the blink
    closing = [float(o.min() / o.median()) for o in openness]
    assert closing[0] < 0.2 and closing[1] < closing[0] + 0.08
    turn = (fit.poses[:, NECK] + fit.poses[:, HEAD]) * 180 / torch.pi
    assert (turn[1:] - turn[:-1]).abs().max() < 3  # no frame jumps


TEMPORAL = ("temporal_rotation", "temporal_translation", "temporal_expression",
            "still_rotation", "still_translation", "still_expression")  # fmt: skip


@pytest.fixture
def truth(coarse_head: HeadModel) -> SMPLXFit:
    """Six frames with a turning head, an opening jaw and a blink, seen as perfect landmarks."""
    generator = torch.Generator().manual_seed(2)
    rigid = torch.zeros(6, RIGID)
    rigid[:, 0] = torch.linspace(-0.2, 0.25, 6)
    rigid[:, 1] = torch.linspace(-0.5, 0.5, 6)
    rigid[:, 2] = 0.1
    rigid[:, 3:6] = torch.tensor([0.05, -0.68, -1.1])
    rigid[:, 6] = torch.linspace(0, 0.3, 6)
    expression = torch.zeros(6, 100)
    expression[3, coarse_head.expression_names.index("eyeBlinkLeft")] = 1
    expression[:, coarse_head.expression_names.index("mouthSmileLeft")] = 0.6
    intrinsics = pinhole(1.5 * 640, 480, 640)
    random = torch.cat([torch.rand(6, 478, 2) * 50 + 100, torch.ones(6, 478, 1)], -1)
    fit = fit_landmarks(random, (480, 640), coarse_head, focal=960.0)  # any fit, for its camera
    betas = 0.5 * torch.randn(40, generator=generator)
    fit = fit.replace(betas=betas, expression=expression, poses=poses_from_rigid(rigid), translation=rigid[:, 3:6])
    assert torch.equal(fit.camera.intrinsics[0], intrinsics)
    pixels = projected(fit, coarse_head)
    landmarks = torch.cat([pixels, torch.ones(6, 478, 1)], -1)
    landmarks[:, 468:] = 0
    return fit.replace(landmarks=landmarks)


def test_clips_that_are_solved_in_parts_have_no_seams(
    single_face: tuple[Tensor, float], coarse_head: HeadModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long clips are: parts that look into each other give what all frames at once give."""
    images, fps = single_face
    seen = detect_landmarks(images[:40])
    whole = fit_landmarks(seen, tuple(images.shape[1:3]), coarse_head, fps=fps, focal=900.0)
    monkeypatch.setattr(landmark_fit, "CHUNK", 8)
    parts = fit_landmarks(seen, tuple(images.shape[1:3]), coarse_head, fps=fps, focal=900.0)
    assert (parts.expression - whole.expression).abs().max() < 0.01
    assert (parts.poses - whole.poses).abs().max() < 1e-3 and (parts.translation - whole.translation).abs().max() < 1e-4


def test_known_pose_and_expression_come_back(truth: SMPLXFit, coarse_head: HeadModel) -> None:
    fit = fit_landmarks(truth.landmarks, truth.image_size, coarse_head, focal=960.0)
    turn, wanted = (f.poses[:, HEAD] / 0.6 * 180 / torch.pi for f in (fit, truth))
    assert (turn - wanted).norm(dim=1).max() < 4  # degrees; expression and shape share a little of a nod
    assert (fit.translation - truth.translation).norm(dim=1).max() < 0.08  # depth is the weak direction
    assert float(landmark_error_percent(fit, coarse_head).max()) < 1.0
    opening = fit.poses[:, JAW, 0]
    assert opening[-1] > 0.12 and opening[0] < 0.08
    blink = fit.expression[:, [i for i, n in enumerate(coarse_head.expression_names) if n == "eyeBlinkLeft"]][:, 0]
    assert blink[3] > 0.5 and int(blink.argmax()) == 3


def test_frames_without_a_face_follow_their_neighbours(truth: SMPLXFit, coarse_head: HeadModel) -> None:
    landmarks = truth.landmarks.clone()
    landmarks[2] = 0
    fit = fit_landmarks(landmarks, truth.image_size, coarse_head)
    assert fit.valid.tolist() == [True, True, False, True, True, True]
    between = (fit.poses[1, HEAD] + fit.poses[3, HEAD]) / 2
    assert (fit.poses[2, HEAD] - between).norm() < 0.05
    assert torch.isfinite(fit.expression).all()


def test_outliers_do_not_pull_the_head_away(truth: SMPLXFit, coarse_head: HeadModel) -> None:
    clean = fit_landmarks(truth.landmarks, truth.image_size, coarse_head)
    landmarks = truth.landmarks.clone()
    landmarks[:, 205, :2] += 60  # one cheek point is far off
    spoiled = fit_landmarks(landmarks, truth.image_size, coarse_head)
    assert (spoiled.poses[:, HEAD] - clean.poses[:, HEAD]).norm(dim=1).max() < 0.02


def test_jacobians_of_the_rig(coarse_head: HeadModel, truth: SMPLXFit) -> None:
    rig = LandmarkRig.of(coarse_head, "mediapipe478", 40)
    intrinsics = truth.camera.intrinsics[0]
    rigid = torch.zeros(1, RIGID)
    rigid[0] = torch.tensor([0.1, 0.3, -0.1, 0.02, -0.66, -1.0, 0.2, 0.02])
    betas, expression = truth.betas, truth.expression[:1]
    pixels, by_rigid, by_expression, by_betas, *_ = rig.pixels_and_jacobians(
        betas, expression, intrinsics, rig.joints_and_derivatives(betas, rigid)
    )
    step = 1e-3

    def moved(*, b: Tensor = betas, e: Tensor = expression, r: Tensor = rigid) -> Tensor:
        return (rig.pixels_and_jacobians(b, e, intrinsics, rig.joints_and_derivatives(b, r))[0] - pixels) / step

    for k in range(RIGID):
        assert (moved(r=rigid + step * torch.eye(RIGID)[k]) - by_rigid[..., k]).abs().max() < 6
    for k in (8, 40):
        assert (moved(e=expression + step * torch.eye(100)[k]) - by_expression[..., k]).abs().max() < 0.2
    assert (moved(b=betas + step * torch.eye(40)[0]) - by_betas[..., 0]).abs().max() < 2  # joints move along


def test_landmarks_as_points_stay_on_the_mesh(coarse_head: HeadModel, truth: SMPLXFit) -> None:
    rig = LandmarkRig.of(coarse_head, "mediapipe478", 40)
    rigid = torch.cat([truth.poses[:, HEAD] / 0.6, truth.translation, truth.poses[:, JAW, :2]], 1)
    ours = rig.points(truth.betas, truth.expression, rigid)
    vertices = pose_vertices(coarse_head, truth.betas, truth.expression, truth.poses, truth.translation)
    mesh = landmark_points(vertices, coarse_head.faces, coarse_head.landmarks["mediapipe478"])
    assert (ours - mesh).norm(dim=-1).max() < 5e-4


def test_a_picture_without_a_face_gets_a_sentence(coarse_head: HeadModel) -> None:
    with pytest.raises(ValueError, match="No face was found in the picture"):
        track(torch.rand(1, 120, 160, 3), coarse_head)
    with pytest.raises(ValueError, match="any of the 2 frames"):
        fit_landmarks(torch.zeros(2, 478, 3), (100, 100), coarse_head)


class Unasked:
    """A source of landmarks that no picture may reach."""

    scheme, threads = "mediapipe478", False

    def __call__(self, images: Tensor) -> list[list[SeenFace]]:
        raise AssertionError("the pictures were looked at")


@pytest.mark.parametrize("value", [0, 0.0, -25.0, float("nan"), float("inf"), None, "25"])
def test_numbers_that_no_camera_has_are_refused_before_the_work(coarse_head: HeadModel, value: object) -> None:
    pictures = torch.zeros(2, 64, 64, 3)
    with pytest.raises(ValueError, match=f"have {value} frames per second, expected a number above 0"):
        track(pictures, coarse_head, fps=value, source=Unasked())
    if value is not None:  # that is an estimate
        with pytest.raises(ValueError, match=f"focal length is {value} pixels, expected a number above 0"):
            track(pictures, coarse_head, focal=value, source=Unasked())


@pytest.mark.parametrize(
    ("focal", "angle"), [(35, "168"), (85, "150"), (1e9, "3.67e-05"), (127, "137"), (64_100, "0.572")]
)
def test_lenses_that_there_are_not_are_refused_before_the_work(
    coarse_head: HeadModel, focal: float, angle: str
) -> None:
    """Millimetres above all: 35 pixels bend a head out of all shape, and nothing would say so."""
    said = (
        f"The focal length is {focal:g} pixels, which is an angle of view of {angle}° across 640 pixels, expected 128 "
        f"to 64,000 pixels for pictures of 640×360 (width×height). Focal lengths are in pixels: multiply the "
        f"millimetres of a 35 mm equivalent by 640 / 36, so that 35 mm are 622 pixels."
    )
    pictures = torch.zeros(2, 360, 640, 3)
    for images in (pictures, iter([pictures])):
        with pytest.raises(ValueError) as error:
            track(images, coarse_head, focal=focal, source=Unasked())
        assert str(error.value) == said
    with pytest.raises(ValueError) as error:
        fit_landmarks(torch.ones(2, 478, 3), (360, 640), coarse_head, focal=focal)
    assert str(error.value) == said
    with pytest.raises(ValueError, match="expected 128 to 64,000"):  # upright pictures have the same lenses
        track(pictures.transpose(1, 2), coarse_head, focal=focal, source=Unasked())


def test_lenses_that_there_are_are_taken(astronaut: Tensor, coarse_head: HeadModel) -> None:
    """The widest and the longest, an orthographic camera nearly, meet the landmarks."""
    landmarks = detect_landmarks(astronaut)
    for focal, percent in ((0.2 * 512, 4), (100 * 512, 1.5)):
        fit = fit_landmarks(landmarks, (512, 512), coarse_head, focal=focal)
        assert float(landmark_error_percent(fit, coarse_head)) < percent
        assert float(fit.camera.intrinsics[0, 0, 0]) == pytest.approx(focal)


def test_clips_of_no_frames_get_a_sentence(coarse_head: HeadModel) -> None:
    nothing = torch.zeros(0, 64, 64, 3)
    for clip in (nothing, iter([]), iter([nothing, nothing])):
        with pytest.raises(ValueError, match="There are no (pictures|frames)"):
            track(clip, coarse_head)
    with pytest.raises(ValueError, match="landmarks of no frame"):
        fit_landmarks(torch.zeros(0, 478, 3), (64, 64), coarse_head)


def test_a_face_at_the_edge_is_fitted_by_what_is_seen_and_said(
    astronaut: Tensor, coarse_head: HeadModel, caplog: pytest.LogCaptureFixture
) -> None:
    """A third of her face lies below the picture's edge."""
    whole = track(astronaut, coarse_head, focal=900.0)
    points = whole.landmarks[0, :468, :2]
    edge = int(points[:, 1].max() - (points[:, 1].max() - points[:, 1].min()) / 3)
    assert "edge" not in caplog.text
    cut = track(astronaut[:, :edge].contiguous(), coarse_head, focal=900.0)
    assert "edge cuts the face: 2" in caplog.text and "% of it lies outside and is a guess" in caplog.text
    inside, eyes = points[:, 1] < edge - 1, (points[33] - points[263]).norm()
    off = (projected(cut, coarse_head) - projected(whole, coarse_head))[0, :468].norm(dim=1) / eyes
    assert off[inside].mean() < 0.02 and off[~inside].mean() < 0.07
    caplog.clear()
    landmarks = torch.cat([whole.landmarks.repeat(3, 1, 1), torch.zeros(1, 478, 3)])
    landmarks[1, :, 0] -= points[:, 0].median()  # half of it leaves at the left
    fit_landmarks(landmarks, (512, 512), coarse_head)
    assert "edge cuts the face in 1 of 3 frames: up to 5" in caplog.text


def test_what_lies_outside_the_picture_counts_little(truth: SMPLXFit, coarse_head: HeadModel) -> None:
    """The guesses of a network beyond the edge are spoiled by a tenth of the eyes' distance."""
    right = truth.landmarks[..., 0].median()
    spoiled, clean = truth.landmarks.clone(), projected(truth, coarse_head)
    spoiled[..., :2] += torch.where(spoiled[..., :1] > right, 0.1 * (clean[:, 33] - clean[:, 263]).norm(dim=1)[0], 0.0)

    def off(width: float) -> float:
        """With the edge there, the middle of the picture where it was."""
        fit = fit_landmarks(spoiled, (480, int(width)), coarse_head, focal=960.0)
        return float((projected(fit, coarse_head) - clean)[:, :468].norm(dim=-1).mean())

    assert off(float(right)) < 0.8 * off(640)


def test_a_model_without_landmarks_gets_a_sentence(coarse_head: HeadModel, truth: SMPLXFit) -> None:
    with pytest.raises(ValueError, match="carries no landmarks"):
        fit_landmarks(truth.landmarks, truth.image_size, coarse_head.replace(landmarks={}))


def test_ibug_landmarks_serve_where_mediapipes_are_missing(truth: SMPLXFit, coarse_head: HeadModel) -> None:
    sparse = coarse_head.replace(landmarks={"ibug68": coarse_head.landmarks["ibug68"]})
    fit = fit_landmarks(truth.landmarks, truth.image_size, sparse)
    assert float(landmark_error_percent(fit, sparse).max()) < 1
    assert detect_landmarks(torch.zeros(1, 64, 64, 3)).shape == (1, 478, 3)


def test_noise_of_the_landmarks_does_not_shake_the_head(truth: SMPLXFit, coarse_head: HeadModel) -> None:
    """A still face, seen with noise of 1.5 pixels: the frames of a clip hold each other."""
    still = truth.landmarks[2:3].repeat(16, 1, 1)
    grain = torch.randn(16, 478, 2, generator=torch.Generator().manual_seed(0))
    still[..., :2] += 1.5 * grain
    free = Priors(**dict.fromkeys(TEMPORAL, 1e3))

    def shake(priors: Priors) -> tuple[float, float]:
        fit = fit_landmarks(still, truth.image_size, coarse_head, priors=priors)
        moved = (fit.poses[1:, HEAD] - fit.poses[:-1, HEAD]) * 180 / torch.pi
        return float(moved.norm(dim=1).mean()), float((fit.expression[1:] - fit.expression[:-1]).abs().mean())

    held, loose = shake(Priors()), shake(free)
    assert held[0] < 0.4 * loose[0] and held[1] < 0.6 * loose[1], (held, loose)


def test_pictures_of_other_numbers(astronaut: Tensor, coarse_head: HeadModel) -> None:
    whole = detect_landmarks(astronaut)
    for dtype in (torch.float16, torch.bfloat16):
        found = detect_landmarks(astronaut.to(dtype))
        assert (found - whole)[..., :2].norm(dim=-1).max() < 2  # pixels
    assert track(astronaut.half(), coarse_head).valid.all()
    assert track(astronaut, coarse_head, face="like the picture", picture=astronaut.half()).valid.all()
    with pytest.raises(ValueError, match="The pictures have values up to 255, expected 0 to 1. Divide them by 255"):
        track(astronaut * 255, coarse_head)


def test_a_mask_beside_the_face_or_of_another_size_is_said(astronaut: Tensor, coarse_head: HeadModel) -> None:
    with pytest.raises(ValueError, match="There is a face in the picture, but the mask covers the middle of none"):
        track(astronaut, coarse_head, mask=torch.zeros(1, 512, 512))
    two = torch.cat([astronaut, torch.zeros_like(astronaut)])
    with pytest.raises(ValueError, match="a face in 1 of the 2 frames, but the mask"):
        track(two, coarse_head, mask=torch.zeros(2, 512, 512))
    with pytest.raises(ValueError, match="No face was found"):
        track(two[1:], coarse_head, mask=torch.zeros(1, 512, 512))
    with pytest.raises(ValueError, match=r"expected \[1, 512, 512\] like the pictures"):
        track(astronaut, coarse_head, mask=torch.zeros(1, 64, 64))
    with pytest.raises(ValueError, match=r"expected \[2 or 1, 512, 512\] like the pictures"):
        track(two, coarse_head, mask=torch.zeros(1, 64, 64))
