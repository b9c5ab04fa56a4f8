"""478 landmarks of faces, by a small network that ships with the pack.

    landmarks, confidence = face_landmarks(images, boxes)

The network is MediaPipe's Attention Mesh (0.10.14, Apache-2.0), and the landmarks agree with MediaPipe's within about a
pixel. Doubtful faces are tried in four turns. Landmarks are taken twice, the second time in the region that the first
ones give (as MediaPipe does from one video frame to the next).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ...body.landmark_groups import MEDIAPIPE, NUM_LANDMARKS, NUM_MESH, OUTER_EYE_CORNERS
from ...portable import Progress, no_progress
from .cutouts import Regions, turned_axes
from .face_boxes import FaceBox, require_boxes
from .networks import Network, load_network
from .pictures import channels_first, chunks

REGION = 1.5  # side of the landmark network's region in sides of the face's box, MediaPipe's value
# below this confidence the landmark network looks at the face in the other three turns too: right ones reach 0.87 to
# 0.97 and always at least 0.15 more than wrong ones, which reach 0.9; our choice
DOUBTFUL = 0.93
CUT = (0.2, 0.3)  # share of a face outside of the picture between which what lies there becomes grey; our choice
SURENESS = 10.0  # divides the landmark network's logit, which is 27 for faces and 17 for an engine; our choice


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
    mesh, lips, *eyes_and_irises, logit = network(cut_out(pictures, squares, network.input_size))
    values = torch.nn.functional.pad(mesh.reshape(len(squares), NUM_MESH, 3), (0, 0, 0, NUM_LANDMARKS - NUM_MESH))
    for numbers, points in zip(refined_points(network), (lips, *eyes_and_irises), strict=True):
        values[:, numbers, :2] = points
    for eye, iris in zip(refined_points(network)[1:3], refined_points(network)[3:], strict=True):
        values[:, iris, 2] = values[:, eye[:16], 2].mean(dim=1, keepdim=True)  # as deep as the edges of the lids
    values = values / network.input_size
    depth = values[:, :, 2:] * squares.size[:, None, :1]
    return torch.cat([squares.to_picture(values[:, :, :2]), depth], dim=-1), (logit.reshape(-1) / SURENESS).sigmoid()


def cut_out(
    pictures: Tensor,  # [N, 3, H, W] 0..1
    squares: Regions,  # N
    side: int,
) -> Tensor:  # [N, 3, side, side]
    """The squares as pictures. Around a whole face the edge's own pixels are drawn out, as MediaPipe does; beyond the
    edge that cuts a face lies grey, into which its pixels pass over, so that a face that moves out does not jump."""
    cut = squares.cut(pictures, side, beyond="border")
    size = squares.centre.new_tensor([pictures.shape[3], pictures.shape[2]])
    reach = squares.size / REGION / 2  # of the face itself
    outside = torch.maximum(reach - squares.centre, squares.centre + reach - size).amax(dim=1) / (2 * reach[:, 0])
    share = ((outside - CUT[0]) / (CUT[1] - CUT[0])).clamp(0, 1)
    if some := share.nonzero()[:, 0].tolist():
        whole = len(some) == len(pictures)  # stays a view: indexing copies
        grey = squares[some].cut(pictures if whole else pictures[some], side, beyond="grey")
        cut[some] = torch.lerp(cut[some], grey, share[some][:, None, None, None])
    return cut


def refined_points(network: Network) -> list[list[int]]:
    """Which landmarks the network's refined outputs are: lips, right eye, left eye, right iris, left iris."""
    lips, right, left = (layer["points"] for layer in network.layers if layer["op"] == "region")
    return [lips, right, left, list(range(NUM_MESH, NUM_MESH + 5)), list(range(NUM_MESH + 5, NUM_LANDMARKS))]


def squares_around_boxes(faces: list[FaceBox], device: torch.device) -> Regions:
    """The landmark network's regions for faces that the detector found, turned until the eyes are level."""
    corners = torch.stack([face.box for face in faces]).to(device).reshape(-1, 2, 2)
    eyes = torch.stack([face.keypoints[:2] for face in faces]).to(device)
    angle = eye_angle(eyes[:, 0], eyes[:, 1])
    return face_squares(corners[:, 0], corners[:, 1], corners.mean(dim=1), angle)


def boxes_of_squares(squares: Regions) -> list[FaceBox]:
    """About where the faces in the landmark network's regions are: boxes without keypoints and scores."""
    centre, reach = squares.centre.cpu(), squares.size.cpu() / REGION / 2
    boxes = torch.cat([centre - reach, centre + reach], dim=1)
    return [FaceBox(box, 0.0, box.new_zeros(0, 2)) for box in boxes]


def squares_around_landmarks(
    landmarks: Tensor,  # [N, 478, 2]
) -> Regions:
    """The regions for faces whose landmarks are known."""
    angle = eye_angle(*(landmarks[:, corner] for corner in OUTER_EYE_CORNERS[MEDIAPIPE]))
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
