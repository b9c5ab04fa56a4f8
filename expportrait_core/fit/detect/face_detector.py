"""Faces in pictures, by a small network that ships with the pack.

    boxes = [largest_face(faces) for faces in detect_faces(images)]
    everybody = detect_faces(images, every_face=True)

The network is MediaPipe's BlazeFace, short range (0.10.14, Apache-2.0). What differs from MediaPipe: pictures are
filtered before they are made smaller, faces too small for the network are looked for in tiles, and all again upside
down (it sees faces that are tilted by up to about 105 degrees); doubtful ones are looked at again from closer and must
convince the landmark network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...portable import Progress, no_progress
from .cutouts import Regions, square_tiles
from .face_boxes import OVERLAP, FaceBox, beside, intersection_over_union, largest_face, merge_overlapping
from .face_mesh import follow_landmarks
from .networks import load_network
from .pictures import channels_first, chunks

TRUSTED = 0.85  # faces below this score, or found in a tile, are looked at again; our choice
CLOSER, CLOSER_SCORE = 3.0, 0.5  # then in a square of three sides of the box, with this score; our choice
CONVINCED = 0.88  # and with this confidence of the landmark network; our choice: an engine reaches 0.85, faces 0.93
TILES = (1 / 2, 1 / 4)  # sides of the search tiles in long sides of the picture; our choice
# a square shows the network nearly every face of this share of its side and now and then one of half of it; our choice
SURELY = 1 / 6
# confidence from which a face counts that is found beside others: what is no face would be taken for the rightmost one,
# which is worse than a missed face; our choice: parts of a motorcycle reach 0.898, faces 0.91 to 0.97
CONVINCED_BESIDE = 0.9
SMALLEST = 0.3  # sides of the largest face that another may have to be looked for beside it; our choice
# of faces that the picture's edge cuts: score at first sight, share of the box that lies outside, and confidence;
# our choices: what is no face reaches 0.72, faces of which 40 % are cut off 0.75 to 0.93
EDGE_SCORE, OUTSIDE, CONVINCED_AT_EDGE, SUSPECTED = 0.3, 0.1, 0.85, 0.75
UPRIGHT, UPSIDE_DOWN = 0.0, math.pi  # how the detector's squares are turned


def detect_faces(
    images: Tensor,  # [F, H, W, 3] 0..1
    min_score: float = 0.5,
    search_tiles: bool = True,
    progress: Progress = no_progress,
    search_edges: bool = True,
    every_face: bool = False,
) -> list[list[FaceBox]]:
    """The faces of every picture, best first.

    The network sees faces that are wider than about an eighth of the picture's long side. Where it finds none it looks
    again upside down, and, if `search_tiles` is on, in overlapping tiles of a half and then of a quarter of that side.
    A face in a tile, or one of a low score, is looked at again from closer and counts only if both networks see a face
    there. Where there still is none, faces that the picture's edge cuts are looked for, if `search_edges` is on.

    Where there are faces, those beside them that the network cannot see in the whole picture are looked for, each kind
    if it is on: with `every_face`, all that are not much smaller than the largest (`SMALLEST`); without it only larger
    ones, where all that were seen are so small that the network may have missed them.

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
            if every_face:
                faces = search_beside(picture[None], faces, min_score, search_tiles, search_edges, SMALLEST)
            elif faces:
                faces = search_beside(picture[None], faces, min_score, search_tiles, False, 1.0)
            else:
                faces = search_further(picture[None], min_score, search_tiles)
                faces = faces or (search_at_edges(picture[None]) if search_edges else [])
            found.append(faces)
        progress(len(found), len(images), None)
    return found


def run_detector(
    pictures: Tensor,  # [N, 3, H, W] 0..1
    squares: Regions,  # N, where to look; upright or upside down
    beyond: str = "zeros",  # what lies beyond the picture, see `Regions.cut`
) -> tuple[Tensor, Tensor]:
    """896 guesses per square, on the CPU: points [N, 896, 8, 2] in pixels (box corners, six keypoints) and scores."""
    network = load_network("face_detector", pictures.device)
    values, logits = network(squares.cut(pictures, network.input_size, beyond) * 2 - 1)
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


def confirmed(
    picture: Tensor,  # [1, 3, H, W]
    faces: list[FaceBox],
    trusted: float,  # a face of this score is taken as it is
    turns: tuple[float, ...] = (UPRIGHT, UPSIDE_DOWN),  # in which the others are looked at
    least: float = CONVINCED,  # confidence of the others
) -> list[FaceBox]:
    """The faces, best first, after a closer look at the doubtful ones: found again, and a face to both networks."""
    doubtful = [face for face in faces if face.score < trusted]
    if not doubtful:
        return faces
    sure = [face for face in faces if face.score >= trusted]
    closer = [face for turn in turns for face in look_closer(picture, doubtful, turn)]
    return sorted(sure + convincing(picture, closer, least), key=lambda face: -face.score)


def convincing(
    picture: Tensor,  # [1, 3, H, W]
    faces: list[FaceBox],
    least: float,  # confidence
) -> list[FaceBox]:
    """Those that are faces to the landmark network too, each once, the surest first."""
    if not faces:
        return []
    found = []
    _, confidence = follow_landmarks(picture.expand(len(faces), -1, -1, -1), faces)
    boxes = torch.stack([face.box for face in faces]).reshape(-1, 2, 2)
    while confidence.amax() >= least:
        best = int(confidence.argmax())
        found.append(faces[best])
        # the same face, seen in the other turn
        confidence[(intersection_over_union(boxes, boxes[best]) > OVERLAP).to(confidence.device)] = 0
        confidence[best] = 0  # also if its box is empty
    return found


def look_closer(
    picture: Tensor,  # [1, 3, H, W]
    faces: list[FaceBox],
    turn: float,
    beyond: str = "zeros",  # what lies beyond the picture
    anywhere: bool = False,  # whether a face may have moved, by up to its side
) -> list[FaceBox]:
    """The faces again, each seen at the size that suits the detector; without those that it does not see again."""
    centre = torch.stack([face.box for face in faces]).reshape(-1, 2, 2).mean(dim=1).to(picture.device)
    side = torch.tensor([[face.side * CLOSER] * 2 for face in faces], device=picture.device)
    squares = Regions(centre, side, side.new_full((len(faces),), turn))
    points, scores = run_detector(picture.expand(len(faces), -1, -1, -1), squares, beyond)
    place = centre.cpu()[:, None]
    around = ((points[:, :, 0] <= place) & (points[:, :, 1] >= place)).all(dim=-1)
    seen = (around | anywhere) & (scores >= CLOSER_SCORE)
    return merge_overlapping(points[seen], scores[seen])


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


def search_beside(
    picture: Tensor,  # [1, 3, H, W]
    faces: list[FaceBox],  # that were seen in the whole of it
    min_score: float,
    search_tiles: bool,
    search_edges: bool,
    share: float,  # sides of the largest face that another must have
) -> list[FaceBox]:
    """The faces and those beside them: upside down, small, and cut by the edge."""
    found = list(faces)
    seen_from = SURELY * max(picture.shape[2:])  # in the whole picture
    for scale in (1.0, *TILES) if search_tiles else ():
        if share * _longest_side(found) >= seen_from:  # what is smaller would not count
            break
        for turn in turns_of(found) if scale < 1 else (UPSIDE_DOWN,):
            # a closer look may make a face somewhat larger
            least = 0.75 * share * _longest_side(found)
            found += search_tiled(picture, min_score, scale, turn, found, least)
        seen_from = SURELY * scale * max(picture.shape[2:])
    if search_edges:
        found += search_at_edges(picture, known=found)
    least = share * _longest_side(found)
    return faces + [face for face in found[len(faces) :] if face.side >= least]


def may_miss_larger(faces: list[FaceBox], picture_size: tuple[int, int]) -> bool:
    """Whether a face larger than these may be one that the network did not see in the whole picture."""
    return _longest_side(faces) < SURELY * max(picture_size)


def turns_of(faces: list[FaceBox]) -> tuple[float, ...]:
    """How others beside these are turned: like most of them, and in either way where there are none."""
    upside_down = sum(bool(face.keypoints[:2, 1].mean() > face.keypoints[3, 1]) for face in faces)
    if not faces:
        return UPRIGHT, UPSIDE_DOWN
    return (UPSIDE_DOWN if 2 * upside_down > len(faces) else UPRIGHT,)


def _longest_side(faces: list[FaceBox]) -> float:
    largest = largest_face(faces)
    return largest.side if largest else 0.0


def seen_again(
    picture: Tensor,  # [1, 3, H, W]
    faces: list[FaceBox],  # of a picture just before or after it; only their boxes count
) -> list[FaceBox]:
    """Those of the faces that are in this picture, where they are in it: not far from where they were."""
    found: list[FaceBox] = []
    for cut, outside, least in ((False, "zeros", CONVINCED), (True, "grey", CONVINCED_AT_EDGE)):
        for turn in (UPRIGHT, UPSIDE_DOWN):
            if some := [face for face in beside(faces, found) if leaves(picture, face) == cut]:
                closer = look_closer(picture, some, turn, outside, anywhere=True)
                found += convincing(picture, beside(closer, found), least)
    return found


def search_tiled(
    picture: Tensor,  # [1, 3, H, W]
    min_score: float,
    scale: float,
    turn: float,
    known: Sequence[FaceBox] = (),  # faces that are left out
    least: float = 0.0,  # side of the others, pixels
) -> list[FaceBox]:
    """The faces in tiles of this side, in long sides of the picture, turned like that."""
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
    found = beside(merge_overlapping(torch.cat(points), torch.cat(scores)), known)
    found = [face for face in found if face.side >= least]
    trusted = TRUSTED if scale == 1 else math.inf
    if not known:
        return confirmed(picture, found, trusted)
    # a closer look may end on a face that is known
    return beside(confirmed(picture, found, trusted, (turn,), CONVINCED_BESIDE), known)


def search_at_edges(
    picture: Tensor,  # [1, 3, H, W]
    least: float = CONVINCED_AT_EDGE,
    known: Sequence[FaceBox] = (),  # faces that are left out
) -> list[FaceBox]:
    """Faces that the picture's edge cuts, the surest first.

    Grey lies beyond the edge for both networks. With black there the detector loses sight of a face of which a third is
    missing, and with the edge's own pixels drawn out the landmark network does.
    """
    whole = square_tiles(picture.shape[2:], 1.0, picture.device)
    leaving = []
    for turn in (UPRIGHT, UPSIDE_DOWN):
        points, scores = run_detector(picture, replace(whole, angle=whole.angle + turn))
        seen = scores[0] >= EDGE_SCORE
        faces = beside(merge_overlapping(points[0][seen], scores[0][seen]), known)
        leaving += [face for face in faces if leaves(picture, face)]
    if not leaving:
        return []
    closer = [face for turn in (UPRIGHT, UPSIDE_DOWN) for face in look_closer(picture, leaving, turn, "grey")]
    closer = beside([face for face in closer if leaves(picture, face)], known)
    return convincing(picture, closer, least)


def leaves(picture: Tensor, face: FaceBox) -> bool:
    """Whether the face's box reaches out of the picture [1, 3, H, W] by more than it may."""
    (x0, y0), (x1, y1) = face.box.reshape(2, 2).tolist()
    return max(-x0, -y0, x1 - picture.shape[3], y1 - picture.shape[2]) > OUTSIDE * face.side


def seems_cut(
    images: Tensor,  # [F, H, W, 3] 0..1 in which no face was found
) -> bool:
    """Whether one of the pictures probably shows a face of which the edge leaves too little."""
    return any(search_at_edges(picture[None], SUSPECTED) for picture in channels_first(images))
