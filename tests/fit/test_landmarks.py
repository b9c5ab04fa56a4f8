"""Detector, landmarks and silhouette: held to MediaPipe, and to what turning, scaling and padding a picture must do.

`data/astronaut_mediapipe.npz` holds what MediaPipe 0.10.14 (legacy API: FaceMesh with refined landmarks and
FaceDetection on a single picture, SelfieSegmentation on every second pixel) gives for scikit-image's public-domain
astronaut, in pixels, so the comparison runs where MediaPipe is not installed. Where it is, the last tests compare
with it directly.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from expportrait_core.assets import ASSETS
from expportrait_core.fit import (
    FaceBox,
    detect_faces,
    face_landmarks,
    largest_face,
    segment_person,
)
from expportrait_core.fit.detect import build_networks
from expportrait_core.fit.detect.cutouts import Regions, square_tiles
from expportrait_core.fit.detect.face_boxes import merge_overlapping
from expportrait_core.fit.detect.networks import load_network, run_layer

data = pytest.importorskip("skimage.data", reason="needs the pictures of scikit-image")

REFERENCE = np.load(Path(__file__).parent / "data" / "astronaut_mediapipe.npz", allow_pickle=False)
FACE = 94.0  # pixels, side of the astronaut's face box


def frames(*pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).float() / 255


def landmarks_of(picture: np.ndarray, passes: int = 2) -> Tensor:
    images = frames(picture)
    landmarks, confidence = face_landmarks(images, [largest_face(detect_faces(images)[0])], passes)
    assert confidence[0] > 0.9
    return landmarks[0]


def mean_error(landmarks: Tensor, reference: Tensor | np.ndarray) -> float:
    return float((landmarks[:, :2] - torch.as_tensor(reference)[:, :2]).norm(dim=-1).mean())


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return data.astronaut()


@pytest.fixture(scope="module")
def landmarks(astronaut: np.ndarray) -> Tensor:
    return landmarks_of(astronaut)


@pytest.fixture(scope="module")
def small_person(astronaut: np.ndarray) -> tuple[np.ndarray, float, tuple[int, int]]:
    """A 1280x720 picture with a face of 70 pixels, the astronaut's scale in it, and where she stands."""
    scale, corner = 70 / FACE, (820, 200)
    small = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    picture = np.full((720, 1280, 3), 90, np.uint8)
    picture[corner[1] : corner[1] + len(small), corner[0] : corner[0] + len(small)] = small
    return picture, scale, corner


# ---- MediaPipe's own results


def test_detector_agrees_with_mediapipe(astronaut: np.ndarray) -> None:
    (face,) = detect_faces(frames(astronaut))[0]
    box, keypoints = torch.from_numpy(REFERENCE["box"]), torch.from_numpy(REFERENCE["keypoints"])
    shared = torch.minimum(face.box[2:], box[2:]) - torch.maximum(face.box[:2], box[:2])
    assert shared.min() > 0.93 * face.side
    # 4.5 pixels are little more than one pixel of what the network sees (512 / 128)
    assert mean_error(face.keypoints, keypoints) < 4.5
    assert abs(face.score - float(REFERENCE["score"])) < 0.03


@pytest.mark.parametrize("passes", [1, 2])
def test_landmarks_agree_with_mediapipe(astronaut: np.ndarray, passes: int) -> None:
    found = landmarks_of(astronaut, passes)
    assert mean_error(found, REFERENCE["landmarks"]) < 1.5
    assert (found[:, 2] - torch.from_numpy(REFERENCE["landmarks"][:, 2])).abs().mean() < 1.0
    assert mean_error(found[468:], REFERENCE["landmarks"][468:]) < 0.5  # irises


def test_silhouette_agrees_with_mediapipe(astronaut: np.ndarray) -> None:
    """The network alone, on the very pixels that MediaPipe saw, and then our whole function."""
    reference = torch.from_numpy(REFERENCE["mask_of_every_second_pixel"]).float() / 255
    (mask,) = load_network("person_segmentation")(frames(astronaut[::2, ::2]).permute(0, 3, 1, 2))
    assert (mask[0, 0] - reference).abs().max() < 0.01
    found = segment_person(frames(astronaut))[0, ::2, ::2]
    assert ((found > 0.5) & (reference > 0.5)).sum() > 0.97 * ((found > 0.5) | (reference > 0.5)).sum()


# ---- what a changed picture must change


@pytest.mark.parametrize("degrees", [-30, 30, 60])
def test_landmarks_turn_with_the_picture(astronaut: np.ndarray, landmarks: Tensor, degrees: float) -> None:
    centre = landmarks[:, :2].mean(dim=0)
    turn = cv2.getRotationMatrix2D((centre - 0.5).tolist(), degrees, 1.0)  # OpenCV counts from the pixel's centre
    turned = cv2.warpAffine(astronaut, turn, (512, 512), flags=cv2.INTER_CUBIC)
    expected = (landmarks[:, :2] - centre) @ torch.from_numpy(turn[:, :2]).float().T + centre
    assert mean_error(landmarks_of(turned), expected) < 0.015 * FACE


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_landmarks_scale_with_the_picture(astronaut: np.ndarray, landmarks: Tensor, scale: float) -> None:
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    found = landmarks_of(cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=method))
    assert mean_error(found / scale, landmarks) < 0.01 * FACE
    assert (found[:, 2] / scale - landmarks[:, 2]).abs().mean() < 0.01 * FACE


@pytest.mark.parametrize("border", [(0, 0, 0, 300), (0, 0, 300, 0), (250, 0, 0, 0)])  # above, below, left, right
def test_landmarks_move_with_the_picture(
    astronaut: np.ndarray, landmarks: Tensor, border: tuple[int, int, int, int]
) -> None:
    found = landmarks_of(cv2.copyMakeBorder(astronaut, *border, cv2.BORDER_CONSTANT))
    assert mean_error(found[:, :2] - torch.tensor([border[2], border[0]]), landmarks) < 0.01 * FACE


def test_a_mirrored_picture_mirrors_the_landmarks(astronaut: np.ndarray, landmarks: Tensor) -> None:
    found = landmarks_of(astronaut[:, ::-1].copy())
    right, left = [33, 133, 61, 234, 1, 10, 152], [263, 362, 291, 454, 1, 10, 152]
    mirrored = torch.stack([512 - found[left, 0], found[left, 1]], dim=-1)
    assert mean_error(mirrored, landmarks[right]) < 0.02 * FACE


# ---- which faces are found


def test_two_faces_side_by_side_give_two_boxes(astronaut: np.ndarray) -> None:
    faces = detect_faces(frames(np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)))[0]
    centres = sorted(float(face.box[0] + face.box[2]) / 2 for face in faces)
    assert centres == pytest.approx([225, 1024 - 225], abs=10)


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket", "coins", "stereo_motorcycle"])
def test_pictures_without_faces_give_none(name: str) -> None:
    picture = getattr(data, name)()
    picture = picture[0] if isinstance(picture, tuple) else picture
    picture = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    assert detect_faces(frames(picture)) == [[]]


def test_small_faces_are_found_in_tiles(
    small_person: tuple[np.ndarray, float, tuple[int, int]], landmarks: Tensor
) -> None:
    picture, scale, corner = small_person
    assert detect_faces(frames(picture), search_tiles=False) == [[]]
    assert len(detect_faces(frames(picture))[0]) == 1
    found = landmarks_of(picture)
    assert mean_error((found[:, :2] - torch.tensor(corner)) / scale, landmarks) < 0.015 * FACE


def test_a_face_at_the_edge_of_the_picture_is_found(astronaut: np.ndarray, landmarks: Tensor) -> None:
    cropped = astronaut[70:200, 170:300]
    assert mean_error(landmarks_of(cropped.copy()) + torch.tensor([170, 70, 0]), landmarks) < 0.03 * FACE


def test_overlapping_guesses_are_averaged_by_score() -> None:
    def guess(x: float) -> Tensor:
        return torch.tensor([[x, 0.0], [x + 10, 10]] + [[x, 5.0]] * 6)

    points = torch.stack([guess(0.0), guess(50.0), guess(2.0)])
    best, other = merge_overlapping(points, torch.tensor([0.9, 0.6, 0.3]))
    assert (best.score, other.score) == pytest.approx((0.9, 0.6))
    assert best.box.tolist() == pytest.approx([0.5, 0, 10.5, 10])  # (0.9 * 0 + 0.3 * 2) / 1.2
    assert best.keypoints[0].tolist() == pytest.approx([0.5, 5])
    assert other.box.tolist() == pytest.approx([50, 0, 60, 10])


# ---- frames, batches, errors


def test_frames_without_a_box_are_left_out(astronaut: np.ndarray, landmarks: Tensor) -> None:
    images = frames(*[astronaut] * 6)
    box = largest_face(detect_faces(images[:1])[0])
    found, confidence = face_landmarks(images, [box, None, box, box, None, box])
    assert (confidence > 0.9).tolist() == [True, False, True, True, False, True]
    assert not found[[1, 4]].any() and not confidence[[1, 4]].any()
    assert (found[[0, 2, 3, 5]] - landmarks).abs().max() < 1e-2


def test_cancelling_leaves_by_the_callback(astronaut: np.ndarray) -> None:
    class CancelledError(Exception):
        pass

    def cancel(done: int, total: int, preview: Tensor | None) -> None:
        assert total == 6
        raise CancelledError

    images = frames(*[astronaut] * 6)
    box = largest_face(detect_faces(images[:1])[0])
    for work in (detect_faces, segment_person):
        with pytest.raises(CancelledError):
            work(images, progress=cancel)
    with pytest.raises(CancelledError):
        face_landmarks(images, [box] * 6, progress=cancel)


def test_wrong_input_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"expected \[frames, height, width, 3\]"):
        detect_faces(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match=r"expected float values in 0..1, or bytes"):
        detect_faces(torch.zeros(1, 64, 64, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="2 pictures and 1 face boxes"):
        face_landmarks(torch.zeros(2, 64, 64, 3), [None])
    with pytest.raises(ValueError, match="Resize them first"):
        load_network("face_detector")(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match="does not know"):
        run_layer({"op": "fourier", "in": ["picture"], "out": "x"}, [torch.zeros(1, 3, 8, 8)], {})


# ---- silhouette


def test_silhouette_of_a_small_person_is_sharper_with_a_box(
    astronaut: np.ndarray, small_person: tuple[np.ndarray, float, tuple[int, int]]
) -> None:
    picture, scale, (x, y) = small_person
    images = frames(picture)
    size = round(512 * scale)
    truth = torch.from_numpy(cv2.resize(segment_person(frames(astronaut))[0].numpy(), (size, size))) > 0.5
    head = slice(0, int(180 * scale)), slice(int(130 * scale), int(310 * scale))

    def overlap(boxes: list[FaceBox | None] | None) -> float:
        mask = segment_person(images, boxes)[0, y : y + size, x : x + size] > 0.5
        return float((mask & truth)[head].sum() / (mask | truth)[head].sum())

    assert overlap([largest_face(detect_faces(images)[0])]) > max(0.95, overlap(None))


def test_silhouette_covers_the_face_and_not_the_corner(astronaut: np.ndarray) -> None:
    images = frames(astronaut)
    mask = segment_person(images, [largest_face(detect_faces(images)[0])])
    assert mask.shape == (1, 512, 512) and mask.min() >= 0 and mask.max() <= 1
    assert mask[0, 120, 225] > 0.95 and mask[0, 5, 400] < 0.05


# ---- regions


@pytest.mark.parametrize("side", [24, 96])
def test_what_is_cut_out_lies_where_to_picture_says(side: int) -> None:
    """In a picture whose values are its own pixel coordinates, a region's pixels must hold their own places."""
    y, x = torch.meshgrid(torch.arange(200) + 0.5, torch.arange(300) + 0.5, indexing="ij")
    images = torch.stack([x, y, x + y])[None].expand(2, -1, -1, -1)
    regions = Regions(
        torch.tensor([[150.0, 100.0], [120.25, 90.5]]),
        torch.tensor([[100.0, 100.0], [90.0, 60.0]]),
        torch.tensor([0.4, -1.2]),
    )
    steps = (torch.arange(side) + 0.5) / side
    points = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).reshape(1, -1, 2)
    expected = regions.to_picture(points).reshape(2, side, side, 2)
    cut = regions.cut(images, side, beyond="border")
    assert (cut[:, :2].permute(0, 2, 3, 1) - expected).abs().max() < 1e-2


@pytest.mark.parametrize("beyond", ["border", "zeros", "grey"])
def test_the_fast_cut_is_the_plain_one(beyond: str) -> None:
    """Rows of pixels go through OpenCV, everything else through torch; bytes give what their floats give."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(4, 3, 36, 64, generator=generator)
    images = torch.nn.functional.interpolate(small, size=(180, 320), mode="bicubic").clamp(0, 1)
    regions = Regions(
        torch.rand(4, 2, generator=generator) * torch.tensor([320.0, 180.0]),
        torch.rand(4, 2, generator=generator) * 200 + 50,
        torch.randn(4, generator=generator),
    )
    rows = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    for side in (48, 192):  # with and without averaging
        plain = regions.cut(images, side, beyond)
        assert (regions.cut(rows, side, beyond) - plain).abs().max() < 0.02  # older OpenCVs place samples by 1/32 pixel
        pixels = (rows * 255).round().to(torch.uint8)
        assert (regions.cut(pixels, side, beyond) - plain).abs().max() < 0.02


def test_beyond_the_picture_lies_its_border_or_black_or_grey() -> None:
    images = torch.full((1, 3, 40, 60), 0.25)
    images[..., :20] = 0.75
    region = Regions(torch.tensor([[0.0, 20.0]]), torch.tensor([[32.0, 32.0]]), torch.zeros(1))
    assert torch.allclose(region.cut(images, 32, beyond="border"), torch.tensor(0.75))
    black = region.cut(images, 32, beyond="zeros")
    assert not black[..., :15].any() and torch.allclose(black[..., 17:], torch.tensor(0.75))
    grey = region.cut(images, 32, beyond="grey")
    assert torch.allclose(grey[..., :15], torch.tensor(0.5)) and torch.allclose(grey[..., 17:], torch.tensor(0.75))


def test_tiles_cover_the_picture_and_overlap_by_half() -> None:
    tiles = square_tiles((720, 1280), 1 / 4, torch.device("cpu"))
    low, high = tiles.centre - tiles.size / 2, tiles.centre + tiles.size / 2
    assert low.min() >= 0 and high[:, 0].max() <= 1280 and high[:, 1].max() <= 720
    for corner in torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1120.0, 560.0]):
        assert ((low <= corner) & (corner + 160 <= high)).all(dim=1).any(), "a face of half a tile fits into one tile"


# ---- the conversion


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"), [(128, 3, 2, (0, 1)), (64, 3, 1, (1, 1)), (32, 5, 2, (1, 2))]
)
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> None:
    assert build_networks.same_padding(size, kernel, stride) == padding


def test_header_order_is_fixed() -> None:
    tensors = {"a": np.ones(3, np.float16), "b": np.zeros((2, 2), np.float32)}
    metadata = {"format": "x", "version": "1", "values": "{}"}
    files = {build_networks.with_sorted_header(build_networks.save(tensors, metadata=metadata)) for _ in range(20)}
    assert len(files) == 1


# ---- beside an installed MediaPipe (its legacy API, the release that carries these models)


def mediapipe_solutions():
    mediapipe = pytest.importorskip("mediapipe", reason="mediapipe is not installed")
    if not hasattr(mediapipe, "solutions"):
        pytest.skip("this mediapipe has no legacy API (mediapipe.solutions)")
    return mediapipe.solutions


@pytest.mark.parametrize(("scale", "degrees"), [(1.0, 0), (1.0, 20), (2.5, 0)])
def test_landmarks_agree_with_installed_mediapipe(astronaut: np.ndarray, scale: float, degrees: float) -> None:
    solutions = mediapipe_solutions()
    matrix = cv2.getRotationMatrix2D((225, 125), degrees, scale)
    picture = cv2.warpAffine(astronaut, matrix, (640, 480), flags=cv2.INTER_CUBIC)
    with solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh:
        (face,) = mesh.process(picture).multi_face_landmarks
    reference = torch.tensor([[point.x * 640, point.y * 480] for point in face.landmark])
    found = landmarks_of(picture, passes=1)
    assert mean_error(found, reference) < 0.015 * FACE * scale
    assert mean_error(found[468:], reference[468:]) < 0.006 * FACE * scale  # irises


def test_networks_are_rebuilt_byte_by_byte() -> None:
    pytest.importorskip("tflite", reason="tflite, which reads the source files, is not installed")
    package = find_spec("mediapipe")
    if package is None or "0.10.14" not in str(list(Path(package.origin).parent.parent.glob("mediapipe-*"))):
        pytest.skip("mediapipe 0.10.14, which holds the source files, is not installed")
    for name, source in build_networks.SOURCES.items():
        made = build_networks.network_file(source, (Path(package.origin).parent.parent / source).read_bytes())
        assert made == (ASSETS / f"{name}.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["face_detector", "person_segmentation"])
def test_raw_outputs_are_those_of_the_source(name: str) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
    mediapipe = pytest.importorskip("mediapipe", reason="mediapipe is not installed")
    source = Path(mediapipe.__file__).parent.parent / build_networks.SOURCES[name]
    if not source.is_file():
        pytest.skip("this mediapipe holds no models")
    network, runner = load_network(name), interpreter.Interpreter(model_path=str(source))
    picture = np.random.default_rng(0).random((1, network.input_size, network.input_size, 3), dtype=np.float32)
    runner.allocate_tensors()
    runner.set_tensor(runner.get_input_details()[0]["index"], picture)
    runner.invoke()
    outputs = network(torch.from_numpy(picture).permute(0, 3, 1, 2))
    for ours, detail in zip(outputs, runner.get_output_details(), strict=True):
        theirs = torch.from_numpy(runner.get_tensor(detail["index"]))
        assert (ours.reshape(theirs.shape) - theirs).abs().max() < 1e-3 * theirs.abs().max()
