"""Faces, 478 face landmarks and the person's silhouette in pictures, by three small networks that ship with the pack.

    boxes = [largest_face(faces) for faces in detect_faces(images)]
    landmarks, confidence = face_landmarks(images, boxes)
    silhouette = segment_person(images, boxes)

The steps are MediaPipe's (BlazeFace short range, Attention Mesh, Selfie Segmentation; 0.10.14, Apache-2.0), and the
landmarks agree with it within about a pixel. What differs: pictures are filtered before they are made smaller, faces
too small for the detector are looked for in tiles, and all again upside down (it sees faces that are tilted by up to
about 105 degrees); doubtful ones are looked at again from closer and must convince the landmark network, which tries
them in four turns. Landmarks are taken twice, the second time in the region that the first ones give (as MediaPipe does
from one video frame to the next).

Everything is in pixels from the top left corner: (0.5, 0.5) is the centre of the first pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..portable import Progress, no_progress
from .networks import Network, load_network
from .regions import Regions, square_tiles, turned_axes, whole_picture

__all__ = ["NUM_LANDMARKS", "FaceBox", "detect_faces", "face_landmarks", "largest_face", "segment_person"]

NUM_LANDMARKS, NUM_MESH = 478, 468  # the last ten are the irises: centre and four ends, the person's right eye first
RIGHT_EYE_CORNER, LEFT_EYE_CORNER = 33, 263  # outer corners of the person's right and left eye
OVERLAP = 0.3  # of two boxes of one face, MediaPipe's value
REGION = 1.5  # side of the landmark network's region in sides of the face's box, MediaPipe's value
TRUSTED = 0.85  # faces below this score, or found in a tile, are looked at again; our choice
CLOSER, CLOSER_SCORE = 3.0, 0.5  # then in a square of three sides of the box, with this score; our choice
CONVINCED = 0.88  # and with this confidence of the landmark network; our choice: an engine reaches 0.85, faces 0.93
# below this confidence the landmark network looks at the face in the other three turns too: right ones reach 0.87 to
# 0.97 and always at least 0.15 more than wrong ones, which reach 0.9; our choice
DOUBTFUL = 0.93
SURENESS = 10.0  # divides the landmark network's logit, which is 27 for faces and 17 for an engine; our choice
TILES = (1 / 2, 1 / 4)  # sides of the search tiles in long sides of the picture; our choice
UPRIGHT, UPSIDE_DOWN = 0.0, math.pi  # how the detector's squares are turned
SILHOUETTE = 5.0  # side of the region around head and shoulders in sides of the face's box; our choice


@dataclass(frozen=True)
class FaceBox:
    """A face in a picture, pixels. Its tensors are on the CPU."""

    box: Tensor  # [4] x0, y0, x1, y1: forehead to chin; may reach beyond the picture
    score: float  # 0..1
    keypoints: Tensor  # [6, 2] right eye, left eye, nose tip, mouth, right ear, left ear; the person's right and left

    @property
    def side(self) -> float:
        """The longer side in pixels."""
        return float((self.box[2:] - self.box[:2]).max())


def largest_face(boxes: list[FaceBox]) -> FaceBox | None:
    """The face with the longest side, None if there is none."""
    return max(boxes, key=lambda face: face.side, default=None)


def detect_faces(
    images: Tensor,  # [F, H, W, 3] 0..1
    min_score: float = 0.5,
    search_tiles: bool = True,
    progress: Progress = no_progress,
) -> list[list[FaceBox]]:
    """The faces of every picture, best first.

    The network sees faces that are wider than about an eighth of the picture's long side. Where it finds none it looks
    again upside down, and, if `search_tiles` is on, in overlapping tiles of a half and then of a quarter of that side.
    A face in a tile, or one of a low score, is looked at again from closer and counts only if both networks see a face
    there.

    Raises:
        ValueError: `images` has another shape.
    """
    pictures = channels_first(images)
    whole = square_tiles(images.shape[1:3], 1.0, images.device)
    found = []
    for frames in chunks(len(images), images.device):
        points, scores = run_detector(pictures[frames], whole.repeat(len(pictures[frames])))
        for picture, p, s in zip(pictures[frames], points, scores, strict=True):
            faces = merge_overlapping(p[s >= min_score], s[s >= min_score])
            faces = confirmed(picture[None], faces, TRUSTED)
            found.append(faces or search_further(picture[None], min_score, search_tiles))
        progress(len(found), len(images), None)
    return found


def face_landmarks(
    images: Tensor,  # [F, H, W, 3] 0..1
    boxes: list[FaceBox | None],  # F, where the face is; None where there is none
    passes: int = 2,  # 1 is what MediaPipe does on a single picture, 2 what it does on a video
    progress: Progress = no_progress,
) -> tuple[Tensor, Tensor]:
    """The 478 points of MediaPipe's face mesh, lips and eyes looked at twice, and irises.

    Returns:
        landmarks: [F, 478, 3] x, y in pixels, z in the same unit, away from the viewer, 0 near the centre of the head.
        confidence: [F] 0..1 that the region shows a face. Both are 0 where the box is None.

    Raises:
        ValueError: `images` has another shape, or there is not one box per picture.
    """
    pictures = channels_first(images)
    require_boxes(boxes, len(images))
    landmarks = torch.zeros(len(images), NUM_LANDMARKS, 3, device=images.device)
    confidence = torch.zeros(len(images), device=images.device)
    for frames in chunks(len(images), images.device):
        part, faces = pictures[frames], boxes[frames]
        seen = [index for index, face in enumerate(faces) if face is not None]
        if len(seen) < len(faces):  # else the frames stay a view: indexing copies them
            part, faces = part[seen], [faces[index] for index in seen]
        if seen:
            landmarks[frames][seen], confidence[frames][seen] = follow_landmarks(part, faces, passes, all_turns=True)
        progress(frames.stop, len(images), None)
    return landmarks, confidence


def segment_person(
    images: Tensor,  # [F, H, W, 3] 0..1
    boxes: list[FaceBox | None] | None = None,  # F
    progress: Progress = no_progress,
) -> Tensor:
    """How much each pixel belongs to a person, [F, H, W] in 0..1.

    The network sees the whole picture in 256x256 pixels. With `boxes` it also looks at a square around head and
    shoulders where that is smaller, which makes a small person's outline sharp (and finds it at all, where the face
    is under a tenth of the picture); the two are blended at the square's edge.

    Raises:
        ValueError: `images` has another shape, or there is not one box per picture.
    """
    network, pictures = load_network("person_segmentation", images.device), channels_first(images)
    if boxes is not None:
        require_boxes(boxes, len(images))
    height, width = images.shape[1:3]
    whole = whole_picture(images.shape[1:3], images.device)
    mask = torch.zeros(len(images), height, width, device=images.device)
    for frames in chunks(len(images), images.device):
        regions = whole.repeat(len(pictures[frames]))
        (coarse,) = network(regions.cut(pictures[frames], network.input_size, beyond="zeros"))
        mask[frames] = F.interpolate(coarse, (height, width), mode="bilinear")[:, 0]
        for frame in range(frames.start, frames.stop) if boxes else ():
            if boxes[frame] is not None:
                blend_silhouette(mask[frame], pictures[frame : frame + 1], boxes[frame])
        progress(frames.stop, len(images), None)
    return mask


# ---- detector


def run_detector(
    pictures: Tensor,  # [N, 3, H, W] 0..1
    squares: Regions,  # N, where to look; upright or upside down
) -> tuple[Tensor, Tensor]:
    """896 guesses per square, on the CPU: points [N, 896, 8, 2] in pixels (box corners, six keypoints) and scores."""
    network = load_network("face_detector", pictures.device)
    values, logits = network(squares.cut(pictures, network.input_size, beyond="zeros") * 2 - 1)
    values = values.reshape(len(squares), -1, 8, 2) / network.input_size  # in sides of the square
    origin = anchors(values.device)[:, None]
    centre, extent, keypoints = values[:, :, :1] + origin, values[:, :, 1:2], values[:, :, 2:] + origin
    points = torch.cat([centre - extent / 2, centre + extent / 2, keypoints], dim=2)
    points = squares.to_picture(points.flatten(1, 2)).reshape(points.shape)
    corners = points[:, :, :2]  # of a square that is upside down they have changed places
    points = torch.cat([corners.amin(2, keepdim=True), corners.amax(2, keepdim=True), points[:, :, 2:]], dim=2)
    return points.cpu(), logits[:, :, 0].sigmoid().cpu()


def anchors(device: torch.device) -> Tensor:
    """The points that the detector's guesses are relative to, [896, 2] in 0..1: two per cell of 16x16, six of 8x8."""
    found = []
    for cells, guesses in ((16, 2), (8, 6)):
        steps = (torch.arange(cells, device=device) + 0.5) / cells
        grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).reshape(-1, 2)
        found.append(grid.repeat_interleave(guesses, dim=0))
    return torch.cat(found)


def merge_overlapping(
    points: Tensor,  # [K, 8, 2]
    scores: Tensor,  # [K]
) -> list[FaceBox]:
    """MediaPipe's weighted non-maximum suppression: guesses that overlap the best one are averaged by their score."""
    faces = []
    while len(scores):
        best = int(scores.argmax())
        same = intersection_over_union(points[:, :2], points[best, :2]) > OVERLAP
        same[best] = True  # also if its box is empty
        weight = scores[same] / scores[same].sum()
        mean = (points[same] * weight[:, None, None]).sum(dim=0)
        faces.append(FaceBox(mean[:2].reshape(4), float(scores[best]), mean[2:]))
        points, scores = points[~same], scores[~same]
    return faces


def intersection_over_union(
    boxes: Tensor,  # [K, 2, 2] corners
    other: Tensor,  # [2, 2]
) -> Tensor:  # [K]
    shared = (torch.minimum(boxes[:, 1], other[1]) - torch.maximum(boxes[:, 0], other[0])).clamp(min=0).prod(dim=-1)
    areas = (boxes[:, 1] - boxes[:, 0]).prod(dim=-1) + (other[1] - other[0]).prod()
    return shared / (areas - shared).clamp(min=1e-9)


def confirmed(
    picture: Tensor,  # [1, 3, H, W]
    faces: list[FaceBox],
    trusted: float,  # a face of this score is taken as it is
) -> list[FaceBox]:
    """The faces, best first, after a closer look at the doubtful ones: found again, and a face to both networks."""
    doubtful = [face for face in faces if face.score < trusted]
    if not doubtful:
        return faces
    sure = [face for face in faces if face.score >= trusted]
    if closer := [face for turn in (UPRIGHT, UPSIDE_DOWN) for face in look_closer(picture, doubtful, turn)]:
        _, confidence = follow_landmarks(picture.expand(len(closer), -1, -1, -1), closer)
        boxes = torch.stack([face.box for face in closer]).reshape(-1, 2, 2)
        while confidence.amax() >= CONVINCED:
            best = int(confidence.argmax())
            sure.append(closer[best])
            # the same face, seen in the other turn
            confidence[(intersection_over_union(boxes, boxes[best]) > OVERLAP).to(confidence.device)] = 0
            confidence[best] = 0  # also if its box is empty
    return sorted(sure, key=lambda face: -face.score)


def look_closer(
    picture: Tensor,  # [1, 3, H, W]
    faces: list[FaceBox],
    turn: float,
) -> list[FaceBox]:
    """The faces again, each seen at the size that suits the detector; without those that it does not see again."""
    centre = torch.stack([face.box for face in faces]).reshape(-1, 2, 2).mean(dim=1).to(picture.device)
    side = torch.tensor([[face.side * CLOSER] * 2 for face in faces], device=picture.device)
    squares = Regions(centre, side, side.new_full((len(faces),), turn))
    points, scores = run_detector(picture.expand(len(faces), -1, -1, -1), squares)
    place = centre.cpu()[:, None]
    around = ((points[:, :, 0] <= place) & (points[:, :, 1] >= place)).all(dim=-1) & (scores >= CLOSER_SCORE)
    return merge_overlapping(points[around], scores[around])


def search_further(
    picture: Tensor,  # [1, 3, H, W] in which no face was seen as a whole
    min_score: float,
    search_tiles: bool,
) -> list[FaceBox]:
    """Faces that are upside down or small: in the whole, then in large tiles and in small ones, until one is found."""
    for scale in (1.0, *TILES) if search_tiles else (1.0,):
        for turn in (UPRIGHT, UPSIDE_DOWN):
            if (scale, turn) != (1.0, UPRIGHT) and (faces := search_tiled(picture, min_score, scale, turn)):
                return faces
    return []


def search_tiled(picture: Tensor, min_score: float, scale: float, turn: float) -> list[FaceBox]:
    tiles, points, scores = square_tiles(picture.shape[2:], scale, picture.device), [], []
    tiles = replace(tiles, angle=tiles.angle + turn)
    for part in chunks(len(tiles), picture.device):
        p, s = run_detector(picture.expand(len(tiles[part]), -1, -1, -1), tiles[part])
        # a box that leaves its tile is a face cut in two; a neighbouring tile holds it whole
        centre, reach = tiles[part].centre.cpu()[:, None, None], tiles[part].size.cpu()[:, None, None] / 2
        inside = ((p[:, :, :2] - centre).abs() <= reach).flatten(2).all(dim=-1)
        kept = (inside | (scale == 1)) & (s >= min_score)
        points.append(p[kept])
        scores.append(s[kept])
    found = merge_overlapping(torch.cat(points), torch.cat(scores))
    return confirmed(picture, found, trusted=TRUSTED if scale == 1 else math.inf)


# ---- landmarks


def follow_landmarks(
    pictures: Tensor,  # [N, 3, H, W] 0..1
    faces: list[FaceBox],  # N
    passes: int = 2,
    all_turns: bool = False,  # whether doubtful faces are looked at in all four turns
) -> tuple[Tensor, Tensor]:
    """Landmarks [N, 478, 3] and confidence [N]: first where the boxes are, then where the landmarks are."""

    def look(which: list[int], turned: Regions) -> tuple[Tensor, Tensor]:
        return run_landmarks(pictures if len(which) == len(pictures) else pictures[which], turned)

    squares = squares_around_boxes(faces, pictures.device)
    landmarks, confidence = in_the_right_turn(look, squares) if all_turns else run_landmarks(pictures, squares)
    for _ in range(passes - 1):
        squares = squares_around_landmarks(landmarks[:, :, :2])
        landmarks, confidence = run_landmarks(pictures, squares)
    return landmarks, confidence


def in_the_right_turn(
    look: Callable[[list[int], Regions], tuple[Tensor, Tensor]],  # which of the squares, and these turned
    squares: Regions,  # N
) -> tuple[Tensor, Tensor]:
    """Landmarks [N, 478, 3] and confidence [N]. A face that is doubtful is looked at in all four turns, and the surest
    counts: the detector now and then takes a face that is upside down for one that is not."""
    landmarks, confidence = look(list(range(len(squares))), squares)
    doubtful = (confidence < DOUBTFUL).nonzero()[:, 0]
    for quarters in (1, 2, 3) if len(doubtful) else ():
        some = squares[doubtful]
        points, sure = look(doubtful.tolist(), replace(some, angle=some.angle + quarters * math.pi / 2))
        better = sure > confidence[doubtful]
        landmarks[doubtful[better]], confidence[doubtful[better]] = points[better], sure[better]
    return landmarks, confidence


def run_landmarks(
    pictures: Tensor,  # [N, 3, H, W] 0..1
    squares: Regions,  # N
) -> tuple[Tensor, Tensor]:
    """Landmarks [N, 478, 3] in pixels and confidence [N] of the face in each square."""
    network = load_network("face_landmarks", pictures.device)
    mesh, lips, *eyes_and_irises, logit = network(squares.cut(pictures, network.input_size, beyond="border"))
    values = torch.nn.functional.pad(mesh.reshape(len(squares), NUM_MESH, 3), (0, 0, 0, NUM_LANDMARKS - NUM_MESH))
    for numbers, points in zip(refined_points(network), (lips, *eyes_and_irises), strict=True):
        values[:, numbers, :2] = points
    for eye, iris in zip(refined_points(network)[1:3], refined_points(network)[3:], strict=True):
        values[:, iris, 2] = values[:, eye[:16], 2].mean(dim=1, keepdim=True)  # as deep as the edges of the lids
    values = values / network.input_size
    depth = values[:, :, 2:] * squares.size[:, None, :1]
    return torch.cat([squares.to_picture(values[:, :, :2]), depth], dim=-1), (logit.reshape(-1) / SURENESS).sigmoid()


def refined_points(network: Network) -> list[list[int]]:
    """Which landmarks the network's refined outputs are: lips, right eye, left eye, right iris, left iris."""
    lips, right, left = (layer["points"] for layer in network.layers if layer["op"] == "region")
    return [lips, right, left, list(range(468, 473)), list(range(473, 478))]


def squares_around_boxes(faces: list[FaceBox], device: torch.device) -> Regions:
    """The landmark network's regions for faces that the detector found, turned until the eyes are level."""
    corners = torch.stack([face.box for face in faces]).to(device).reshape(-1, 2, 2)
    eyes = torch.stack([face.keypoints[:2] for face in faces]).to(device)
    angle = eye_angle(eyes[:, 0], eyes[:, 1])
    return face_squares(corners[:, 0], corners[:, 1], corners.mean(dim=1), angle)


def squares_around_landmarks(
    landmarks: Tensor,  # [N, 478, 2]
) -> Regions:
    """The regions for faces whose landmarks are known."""
    angle = eye_angle(landmarks[:, RIGHT_EYE_CORNER], landmarks[:, LEFT_EYE_CORNER])
    axes = turned_axes(angle)
    level = landmarks @ axes.transpose(1, 2)  # in the face's own axes, so that a tilted head gets no larger a region
    low, high = level.amin(dim=1), level.amax(dim=1)
    centre = (low + high)[:, None] / 2 @ axes
    return face_squares(low, high, centre[:, 0], angle)


def face_squares(
    low: Tensor,  # [N, 2] a face's extent along the axes of the turned square
    high: Tensor,  # [N, 2]
    centre: Tensor,  # [N, 2] in the picture
    angle: Tensor,  # [N]
) -> Regions:
    """The landmark network's regions: squares with some room around the face."""
    side = (high - low).amax(dim=-1, keepdim=True) * REGION
    return Regions(centre, side.expand(-1, 2), angle)


def eye_angle(right_eye: Tensor, left_eye: Tensor) -> Tensor:
    """Angle of the line from the person's right eye to the left one, [N, 2] and [N, 2] to [N] radians."""
    line = left_eye - right_eye
    return torch.atan2(line[:, 1], line[:, 0])


# ---- silhouette


def blend_silhouette(
    mask: Tensor,  # [H, W] of the whole picture, changed in place
    picture: Tensor,  # [1, 3, H, W]
    face: FaceBox,
) -> None:
    """Replace the mask around head and shoulders by a sharper one, softly at the edge of the square."""
    network = load_network("person_segmentation", picture.device)
    height, width = mask.shape
    side = face.side * SILHOUETTE
    if side >= max(height, width):
        return  # the whole picture is no larger
    (x0, y0), (x1, y1) = face.box.reshape(2, 2).tolist()
    # shoulders lie below the face, so the head takes the upper middle of the square; little of it beyond the picture
    x, y = (x0 + x1) / 2, (y0 + y1) / 2 + 0.6 * face.side
    x = min(max(x, side / 2), width - side / 2) if side < width else width / 2
    y = min(max(y, side / 2), height - side / 2) if side < height else height / 2
    centre = torch.tensor([[x, y]], device=picture.device)
    square = Regions(centre, centre.new_full((1, 2), side), centre.new_zeros(1))
    (sharp,) = network(square.cut(picture, network.input_size, beyond="zeros"))

    rows = slice(max(math.floor(y - side / 2), 0), min(math.ceil(y + side / 2), height))
    columns = slice(max(math.floor(x - side / 2), 0), min(math.ceil(x + side / 2), width))
    across = (torch.arange(columns.start, columns.stop, device=mask.device) + 0.5 - x) / side * 2  # -1..1
    down = (torch.arange(rows.start, rows.stop, device=mask.device) + 0.5 - y) / side * 2
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
    sharp = F.grid_sample(sharp, grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0, 0]
    weight = ((1 - grid.abs().amax(dim=-1)) / 0.2).clamp(0, 1)  # 0 at the edge, 1 from a tenth of the side inwards
    mask[rows, columns] = torch.lerp(mask[rows, columns], sharp, weight)


# ---- shared


def channels_first(images: Tensor) -> Tensor:
    """A view [F, 3, H, W] of pictures [F, H, W, 3], after checking them. Bytes stay bytes, see `Regions.cut`."""
    if images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"The pictures have the shape {list(images.shape)}, expected [frames, height, width, 3].")
    if not images.is_floating_point() and images.dtype != torch.uint8:
        raise ValueError(f"The pictures are {images.dtype}, expected float values in 0..1, or bytes.")
    return images.permute(0, 3, 1, 2)


def require_boxes(boxes: list[FaceBox | None], num_frames: int) -> None:
    if len(boxes) != num_frames:
        raise ValueError(f"There are {num_frames} pictures and {len(boxes)} face boxes. Give one box, or None, each.")


def chunks(count: int, device: torch.device) -> Iterator[slice]:
    """0..count in slices of as many pictures as a network takes at once: on a CPU, enough to hide Python's share."""
    size = 16 if device.type == "cpu" else 32
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
