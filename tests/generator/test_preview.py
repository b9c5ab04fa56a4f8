"""The photo preview on the photo that ships: what must stay, what must move, and where to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

import expportrait_core
from expportrait_core.body import axis_angle_to_matrix, load_head_model, matrix_to_axis_angle, pose_motion
from expportrait_core.fit import crop_portrait, track
from expportrait_core.generator.preview import matte, photo_preview
from expportrait_core.generator.preview.inpaint import continue_beyond
from expportrait_core.generator.preview.light import Light
from expportrait_core.generator.preview.matte import separate
from expportrait_core.generator.preview.pyramid import push_pull
from expportrait_core.generator.preview.skeleton import joint_moves
from expportrait_core.generator.preview.surface import Ears, back_of_head, template
from expportrait_core.media import read_picture
from expportrait_core.types import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, HeadMotion, PersonalizedHead, SMPLXFit

SIZE = 256
PHOTO = Path(expportrait_core.__file__).parent / "assets" / "astronaut.png"
NOSE, FOREHEAD, CHEEK, OTHER_CHEEK, CHIN, UPPER_LIP, LOWER_LIP = 1, 151, 50, 280, 199, 13, 14  # MediaPipe's points
EYES = ((33, 133, 159, 145), (263, 362, 386, 374))  # corners, upper and lower lid
AXES = {"pitch": 0, "yaw": 1, "roll": 2}
MAGENTA, GREEN = (1.0, 0.0, 1.0), (0.0, 1.0, 0.0)


@pytest.fixture(scope="module")
def portrait() -> tuple[Tensor, PersonalizedHead]:
    """The shipped photo's crop [256, 256, 3] and its head, without offsets."""
    model = load_head_model(level=1)
    picture = read_picture(PHOTO)
    pictures, fit, _ = crop_portrait(picture, track(picture, model), size=SIZE)
    return pictures[0], head_of(model, fit)


def head_of(model, fit: SMPLXFit) -> PersonalizedHead:
    offsets = torch.zeros(model.num_vertices, 3)
    dynamic = offsets.expand(fit.num_frames, -1, -1)
    return PersonalizedHead(model, fit.betas, offsets, dynamic, fit, model.upsampling.level, model.model_id)


def motion_of(head: PersonalizedHead, *changes: dict) -> HeadMotion:
    """One frame for each change: yaw, pitch, roll, gaze in degrees, jaw in radians, or amounts of expressions."""
    fit, count, names = head.fit, len(changes), head.model.expression_names
    expression, poses = fit.expression[:1].repeat(count, 1), fit.poses[:1].repeat(count, 1, 1)
    for frame, change in enumerate(changes):
        for name, value in change.items():
            if name in AXES:
                for joint, share in ((NECK, 0.4), (HEAD, 0.6)):
                    turned(poses[frame], joint, share * value, AXES[name])
            elif name == "gaze":
                for joint in (LEFT_EYE, RIGHT_EYE):
                    turned(poses[frame], joint, value, 1)
            elif name == "jaw":
                poses[frame, JAW, 0] += value
            elif name == "relaxed":
                expression[frame], poses[frame, JAW] = 0, 0
            else:
                for column in (k for k, n in enumerate(names) if n.removesuffix("Left").removesuffix("Right") == name):
                    expression[frame, column] += value
    translation = fit.translation[:1].repeat(count, 1)
    return HeadMotion(head, expression, poses, translation, fit.camera.repeat(count))


def turned(poses: Tensor, joint: int, degrees: float, axis: int) -> None:
    turn = torch.zeros(3)
    turn[axis] = float(np.deg2rad(degrees))
    poses[joint] = matrix_to_axis_angle(axis_angle_to_matrix(turn) @ axis_angle_to_matrix(poses[joint]))


def mesh_point(motion: HeadMotion, frame: int, landmark: int) -> np.ndarray:
    """x, y in pixels of a landmark's nearest vertex on the mesh, as the frame's camera sees it."""
    embedding = motion.head.model.landmarks["mediapipe478"]
    corner = embedding.barycentric[landmark].argmax()
    vertex = motion.head.model.faces[embedding.triangles[landmark], corner]
    places = motion.camera[[frame]].project(pose_motion(motion, frame, frame + 1)[:, vertex[None]])[0, 0]
    return (places[:2] / places[2]).numpy()


def tracked(head: PersonalizedHead, landmark: int) -> np.ndarray:
    return head.fit.landmarks[0, landmark, :2].numpy()


def painted(picture: Tensor, places: list[np.ndarray], colour: tuple, radius: float) -> Tensor:
    """The picture with soft-edged discs."""
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    result = picture.clone()
    for x, y in places:
        cover = np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1)[..., None]
        result = torch.lerp(result, torch.tensor(colour), torch.from_numpy(cover).float())
    return result


def amount(picture: Tensor, colour: tuple) -> np.ndarray:
    """[H, W] 0..1 how purely each pixel has a saturated colour: its least wanted channel above its most unwanted."""
    wanted = torch.tensor(colour) > 0.5
    return (picture[..., wanted].amin(-1) - picture[..., ~wanted].amax(-1)).clamp(0, 1).numpy()


def centre(weight: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10(((a - b) ** 2).mean().clamp(min=1e-12)))


def around(place: np.ndarray, half: int) -> tuple[slice, slice]:
    x, y = (int(v) for v in place)
    return slice(y - half, y + half), slice(x - half, x + half)


def test_a_head_that_does_not_move_is_the_photo(portrait) -> None:
    picture, head = portrait
    for background in ("fill", "keep"):
        frames, alpha = photo_preview(picture, motion_of(head, {}), background=background)
        assert frames.shape == (1, SIZE, SIZE, 3) and alpha.shape == (1, SIZE, SIZE)
        assert psnr(frames[0], picture) > 40, background
        assert psnr(frames[0][alpha[0] > 0.5], picture[alpha[0] > 0.5]) > 40
        assert alpha[0][around(tracked(head, NOSE), 25)].min() > 0.99


def test_the_background_stands_still(portrait) -> None:
    picture, head = portrait
    motion = motion_of(head, {}, {"yaw": 15}, {"yaw": -15, "jaw": 0.3}, {"pitch": 10, "mouthSmile": 1})
    frames, alpha = photo_preview(picture, motion)
    near = cv2.dilate((alpha.amax(0) > 0).numpy().astype(np.uint8), np.ones((31, 31), np.uint8)) > 0
    assert (~near).mean() > 0.1
    for frame in frames:
        np.testing.assert_allclose(frame.numpy()[~near], picture.numpy()[~near], atol=1e-5)
    # and beside the turned head no copy of the old outline is left: what it uncovers looks like background
    uncovered = (alpha[0] > 0.9) & (alpha[1] < 0.01)
    assert uncovered.sum() > 200
    wall = picture.numpy()[~near].mean(0)
    assert np.abs(frames[1][uncovered].numpy() - wall).mean() < 0.5 * np.abs(picture[uncovered].numpy() - wall).mean()
    fringe = (alpha[0] > 0.1) & (alpha[0] < 0.9) & (alpha[1] < 0.01)
    assert np.abs(frames[1][fringe].numpy() - wall).mean() < 0.6 * np.abs(picture[fringe].numpy() - wall).mean()


def test_transparent_leaves_the_background_out(portrait) -> None:
    picture, head = portrait
    frames, alpha = photo_preview(picture, motion_of(head, {"yaw": 10}), background="transparent")
    assert (alpha[0, :20, :20] == 0).all() and (frames[0, :20, :20] == 0).all()
    solid, _ = photo_preview(picture, motion_of(head, {"yaw": 10}))
    inside = alpha[0] > 0.999
    torch.testing.assert_close(frames[0][inside], solid[0][inside], rtol=0, atol=5e-3)


@pytest.mark.parametrize("change", [{"yaw": 13}, {"yaw": -13}, {"pitch": 9}, {"yaw": 8, "jaw": 0.15}], ids=str)
def test_the_photo_moves_where_the_mesh_says(portrait, change: dict) -> None:
    picture, head = portrait
    motion = motion_of(head, {}, change)
    landmarks = (NOSE, CHEEK, OTHER_CHEEK, CHIN)
    dotted = painted(picture, [mesh_point(motion, 0, k) for k in landmarks], MAGENTA, 2.5)
    frames, _ = photo_preview(dotted, motion.frames(1, 2))
    found = amount(frames[0], MAGENTA)
    for landmark in landmarks:
        place = mesh_point(motion, 1, landmark)
        near = around(place, 10)
        assert found[near].sum() > 4, landmark
        corner = np.array([near[1].start, near[0].start])
        assert np.linalg.norm(centre(found[near]) + corner - place) < 1.5, landmark


@pytest.mark.parametrize(("temple", "outward"), [(356, 1), (127, -1)])
def test_hair_moves_with_the_head(portrait, temple: int, outward: int) -> None:
    """Where no mesh is: a head that leans to one side takes its hair along, rigidly."""
    picture, head = portrait
    motion = motion_of(head, {}, {"roll": 12})
    before, after = (mesh_point(motion, frame, temple) for frame in (0, 1))
    beside = np.array([20.0 * outward, -8.0])
    frames, alpha = photo_preview(painted(picture, [before + beside], MAGENTA, 2.5), motion)
    assert alpha[0][around(before + beside, 2)].min() > 0.9  # it is hair
    found = amount(frames[1], MAGENTA)
    found[found < 0.2] = 0
    angle = np.deg2rad(-12)  # y points down
    leant = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ beside
    assert np.linalg.norm(after + leant - before - beside) > 5
    assert np.linalg.norm(centre(found) - after - leant) < 1.5


def test_the_frames_camera_is_followed(portrait) -> None:
    picture, head = portrait
    motion = motion_of(head, {})
    intrinsics = motion.camera.intrinsics.clone()
    intrinsics[:, 0, 2] += 12
    moved = motion.replace(camera=motion.camera.replace(intrinsics=intrinsics))
    frames, alpha = photo_preview(picture, moved)
    at = around(tracked(head, NOSE), 30)
    shifted = at[0], slice(at[1].start + 12, at[1].stop + 12)
    assert psnr(frames[0][shifted], picture[at]) > 35


def test_an_open_jaw_shows_the_dark_between_the_lips(portrait) -> None:
    picture, head = portrait
    motion = motion_of(head, {}, {"jaw": 0.3})
    frames, alpha = photo_preview(picture, motion)
    low, high = mesh_point(motion, 1, UPPER_LIP), mesh_point(motion, 1, LOWER_LIP)
    assert high[1] - low[1] > 12
    inside = around(0.35 * low + 0.65 * high, 3)
    assert frames[1][inside].mean() < 0.5 * frames[0][inside].mean()
    assert alpha[1][inside].min() > 0.99
    # the photo's own teeth stay with the upper jaw
    teeth = around(low + np.array([0, 5]), 2)
    assert frames[1][teeth].mean() > 0.8 * frames[0][teeth].mean()
    forehead = around(tracked(head, FOREHEAD), 8)
    assert (frames[1][forehead] - frames[0][forehead]).abs().max() < 0.02


def test_closed_lips_hide_the_teeth(portrait) -> None:
    picture, head = portrait
    frames, _ = photo_preview(picture, motion_of(head, {}, {"relaxed": 1}))
    mouth = around((tracked(head, UPPER_LIP) + tracked(head, LOWER_LIP)) / 2, 16)

    def teeth(frame: Tensor) -> float:
        part = frame[mouth]
        return float(((part.amin(-1) > 0.62) & (part.amax(-1) - part.amin(-1) < 0.16)).float().mean())

    assert teeth(frames[0]) > 0.1
    assert teeth(frames[1]) < 0.3 * teeth(frames[0])


def iris_places(head: PersonalizedHead) -> list[np.ndarray]:
    return [np.mean([tracked(head, number) for number in eye], axis=0) for eye in EYES]


def test_a_shut_eye_shows_no_iris(portrait) -> None:
    picture, head = portrait
    coloured = painted(picture, iris_places(head), GREEN, 3.0)
    frames, _ = photo_preview(coloured, motion_of(head, {}, {"eyeBlink": 0.5}, {"eyeBlink": 1}))
    green = [float((amount(frame, GREEN) > 0.25).sum()) for frame in frames]
    assert green[0] > 30
    assert green[1] < 0.8 * green[0]
    assert green[2] == 0


def test_the_iris_follows_the_gaze(portrait) -> None:
    picture, head = portrait
    coloured = painted(picture, iris_places(head), GREEN, 2.5)
    frames, _ = photo_preview(coloured, motion_of(head, {"gaze": -12}, {}, {"gaze": 12}))
    middle = SIZE // 2
    for half in (slice(0, middle), slice(middle, SIZE)):
        left, straight, right = (centre(amount(f, GREEN)[:, half] ** 2)[0] for f in frames)
        # a ball of 12 mm turns by 12 degrees: 2.5 mm, three pixels here; its far side may slip under a lid
        assert 1.2 < straight - left < 5 and 1.2 < right - straight < 5


def test_wrinkles_are_shaded(portrait) -> None:
    picture, head = portrait
    vertices = torch.zeros(head.model.num_vertices, 3)
    motion = motion_of(head, {}, {})
    place = mesh_point(motion, 0, CHEEK)
    # furrows across the cheek, 14 mm apart and 1 mm deep
    template = head.model.template[head.model.faces[head.model.upsampling.triangles]]
    fine = (template * head.model.upsampling.barycentric[..., None]).sum(1)
    vertices[:, 2] = 0.001 * torch.sin(fine[:, 1] * (2 * torch.pi / 0.014))
    furrowed = motion.replace(offsets=lambda start, stop: torch.stack([vertices * 0, vertices])[start:stop])
    frames, _ = photo_preview(picture, furrowed)
    cheek = around(place, 10)
    before, after = (frame[cheek].mean((1, 2)) for frame in frames)  # one brightness a row
    change = after / before - 1
    assert change.max() > 0.03 and change.min() < -0.03
    assert change.abs().max() < 0.3


@pytest.mark.parametrize("yaw", [15, -15])
def test_a_turned_face_has_no_holes(portrait, yaw: int) -> None:
    picture, head = portrait
    motion = motion_of(head, {"yaw": yaw}, {"yaw": 2 * yaw, "pitch": 8})
    frames, alpha = photo_preview(picture, motion)
    assert torch.isfinite(frames).all() and torch.isfinite(alpha).all()
    assert frames.amin() >= 0 and frames.amax() <= 1 and alpha.amin() >= 0 and alpha.amax() <= 1
    oval = np.stack([mesh_point(motion, 0, k) for k in (10, 338, 284, 454, 361, 397, 152, 172, 132, 234, 54, 109)])
    face = cv2.fillConvexPoly(np.zeros((SIZE, SIZE), np.uint8), cv2.convexHull(oval.round().astype(np.int32)), 1) > 0
    assert (alpha[0].numpy()[face] > 0.95).mean() > 0.995


def test_what_the_head_uncovers_is_wall_and_not_hair(portrait) -> None:
    picture, head = portrait
    frames, alpha = photo_preview(picture, motion_of(head, {}, {"yaw": 14, "pitch": 10}))
    uncovered = (alpha[0] > 0.98) & (alpha[1] < 0.02)
    assert uncovered.sum() > 100
    wall = picture[alpha[0] < 0.02].mean(0)
    assert (frames[1][uncovered] - wall).abs().mean() < 0.4 * (picture[uncovered] - wall).abs().mean()


def test_the_bare_skull_is_not_turned_into_view(portrait) -> None:
    """Behind the hair's outline the mesh shows no colour of its own; on face, chin and neck it does."""
    model = portrait[1].model
    points = template(model, Ears.of(model))
    behind = back_of_head(model, points)
    centred = points - model.joint_template[HEAD].numpy()
    crown = (centred[:, 1] > 0.03) & (centred[:, 2] < 0)
    assert crown.any() and behind[crown].min() > 0.9
    assert behind[centred[:, 2] > 0.06].max() < 0.05  # the face lies from about 6 cm before the joint
    assert behind[centred[:, 1] < -0.03].max() == 0


def test_no_step_at_the_neck(portrait) -> None:
    """A vertical stripe painted down chin, neck and collar must stay in one piece when the head turns."""
    picture, head = portrait
    x, top = (int(v) for v in tracked(head, 152))
    striped = picture.clone()
    striped[top - 10 :, x - 2 : x + 2] = torch.tensor(MAGENTA)
    frames, _ = photo_preview(striped, motion_of(head, {"yaw": 8}))
    stripe = amount(frames[0], MAGENTA)
    stripe[stripe < 0.3] = 0  # the suit's collar is a little purple
    rows = [row for row in range(top - 5, SIZE - 2) if stripe[row].sum() > 1]
    assert len(rows) > 0.8 * (SIZE - top)  # a chin may hide a little
    columns = np.array([centre(stripe[row : row + 1])[0] for row in rows])
    below = np.array(rows) > top + 14  # the chin itself stands before the neck
    assert below.sum() > 15 and np.abs(np.diff(columns[below])).max() < 1.5


def test_sizes(portrait) -> None:
    picture, head = portrait
    motion = motion_of(head, {"yaw": 5})
    large, alpha = photo_preview(picture, motion, size=320)
    assert large.shape == (1, 320, 320, 3) and alpha.shape == (1, 320, 320)
    small, _ = photo_preview(picture[None], motion, size=(128, 128))
    assert small.shape == (1, 128, 128, 3)
    shrunk = torch.nn.functional.interpolate(large.movedim(-1, 1), (128, 128), mode="area").movedim(1, -1)
    assert psnr(small, shrunk) > 24


def test_chunks_and_runs_agree(portrait) -> None:
    picture, head = portrait
    motion = motion_of(head, {}, {"yaw": 10}, {"jaw": 0.2}, {"eyeBlink": 0.7}, {"mouthPucker": 1})
    seen = []
    whole, alpha = photo_preview(picture, motion, progress=lambda done, total, frame: seen.append((done, total)))
    parts, alphas = photo_preview(picture, motion, chunk=2)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-4)
    torch.testing.assert_close(alphas, alpha, rtol=0, atol=1e-4)
    assert seen == [(k + 1, 5) for k in range(5)]


def test_a_given_mask_is_used(portrait) -> None:
    picture, head = portrait
    x, y = tracked(head, NOSE)
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    mask = torch.from_numpy((np.hypot(columns - x, rows - y) < 90).astype(np.float32))
    _, alpha = photo_preview(picture, motion_of(head, {}), mask=mask, background="transparent")
    torch.testing.assert_close(alpha[0], mask, rtol=0, atol=0.02)


def test_a_person_that_the_network_misses_is_found(portrait, monkeypatch) -> None:
    picture, head = portrait
    _, expected = photo_preview(picture, motion_of(head, {}))
    monkeypatch.setattr(matte, "segment_person", lambda images: torch.zeros(images.shape[:3]))
    _, alpha = photo_preview(picture, motion_of(head, {}))
    both = torch.minimum(alpha, expected).sum() / torch.maximum(alpha, expected).sum()
    assert both > 0.75


def test_a_head_outside_of_the_picture_is_refused(portrait) -> None:
    picture, head = portrait
    fit = head.fit.replace(translation=head.fit.translation + torch.tensor([5.0, 0, 0]))
    with pytest.raises(ValueError, match="outside"):
        photo_preview(picture, motion_of(head_of(head.model, fit), {}))


def test_a_head_without_landmarks_or_inner_mouth(portrait) -> None:
    """What a SMPL-X file may lack: named parts inside the mouth, and tracked points of the photo."""
    picture, head = portrait
    model = head.model
    inside = (model.parts[model.faces] >= 6).any(1) | (model.parts[model.faces] == 3).any(1)
    keep = ~inside
    fine = keep[torch.arange(len(model.fine_faces)) % len(model.faces)]
    table = replace(model.upsampling, faces=model.fine_faces[fine])
    parts = torch.where((model.parts >= 6) | (model.parts == 3), 0, model.parts)
    bare = model.replace(upsampling=table, parts=parts)
    fit = head.fit.replace(landmarks=None, landmark_scheme=None)
    frames, alpha = photo_preview(picture, motion_of(head_of(bare, fit), {}, {"jaw": 0.3}))
    assert psnr(frames[0], picture) > 34
    motion = motion_of(head, {}, {"jaw": 0.3})
    inside = around(0.35 * mesh_point(motion, 1, UPPER_LIP) + 0.65 * mesh_point(motion, 1, LOWER_LIP), 3)
    assert frames[1][inside].mean() < 0.5 * frames[0][inside].mean()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"picture": torch.zeros(SIZE, SIZE)}, "one picture"),
        ({"picture": torch.zeros(2, SIZE, SIZE, 3)}, "one picture"),
        ({"picture": torch.zeros(SIZE, 2 * SIZE, 3)}, "another shape"),
        ({"mask": torch.zeros(SIZE, SIZE)}, "mask is empty"),
        ({"mask": torch.ones(SIZE, SIZE - 1)}, "mask has shape"),
        ({"size": (SIZE, SIZE // 2)}, "another shape"),
        ({"size": 8}, "at least 32"),
        ({"background": "blur"}, "fill, keep, transparent"),
        ({"chunk": 0}, "chunk is 0"),
    ],
)
def test_what_does_not_fit_is_refused(portrait, change: dict, words: str) -> None:
    picture, head = portrait
    with pytest.raises(ValueError, match=words):
        photo_preview(**({"picture": picture, "motion": motion_of(head, {})} | change))


# ------------------------------------------------------------------------------------------------------------- parts


def test_a_hole_in_stripes_is_filled_with_stripes() -> None:
    rows, columns = np.mgrid[:128, :128]
    stripes = np.repeat((0.5 + 0.4 * np.sign(np.sin(columns * np.pi / 8)))[..., None], 3, 2).astype(np.float32)
    known = np.hypot(columns - 64, rows - 64) > 22
    broken = np.where(known[..., None], stripes, 0).astype(np.float32)
    filled = continue_beyond(broken, known, 30.0)
    np.testing.assert_array_equal(filled[known], stripes[known])
    rim = ~known & (np.hypot(columns - 64, rows - 64) > 12)
    smooth = push_pull(broken, known.astype(np.float32))
    assert np.abs(filled - stripes)[rim].mean() < 0.5 * np.abs(smooth - stripes)[rim].mean()


def test_a_matte_takes_the_photo_apart_and_keeps_it() -> None:
    rows, columns = np.mgrid[:160, :160]
    cover = np.clip(40.5 - np.hypot(columns - 80, rows - 90), 0, 1)[..., None]
    photo = (cover * np.array([0.8, 0.5, 0.4]) + (1 - cover) * np.array([0.1, 0.3, 0.6])).astype(np.float32)
    parts = separate(photo, np.hypot(columns - 80, rows - 90) < 30, cover[..., 0].astype(np.float32))
    again = parts.alpha[..., None] * parts.person + (1 - parts.alpha[..., None]) * parts.background
    assert np.abs(again - photo).max() < 0.05
    assert np.abs(parts.background - [0.1, 0.3, 0.6]).max() < 0.05


def test_a_light_is_found_again() -> None:
    normals = torch.nn.functional.normalize(torch.randn(500, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    normals[:, 2] = normals[:, 2].abs()
    direction = torch.tensor([0.15, 0.1, 0.2])
    brightness = 0.5 + normals @ direction
    light = Light.of(brightness[:, None].expand(-1, 3), normals, torch.ones(500))
    assert abs(light.ambient - 0.5) < 0.03
    torch.testing.assert_close(light.direction, direction, rtol=0, atol=0.03)
    assert (light.ratio(normals, normals) == 1).all()


def test_moves_compose(portrait) -> None:
    _, head = portrait
    motion = motion_of(head, {}, {"yaw": 20, "jaw": 0.2})
    moves = joint_moves(head.model, head.betas, motion.expression, motion.poses, motion.translation)
    first, second = moves.frame(0), moves.frame(1)
    points = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    there = torch.einsum("nk,jkl->njl", points, first.turn) + first.shift
    along = second.after(first)
    again = torch.einsum("njk,jkl->njl", there, along.turn) + along.shift
    direct = torch.einsum("nk,jkl->njl", points, second.turn) + second.shift
    torch.testing.assert_close(again, direct, rtol=0, atol=1e-5)
