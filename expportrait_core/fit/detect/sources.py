"""Where landmarks come from: one small interface, and the networks that ship with the pack behind it.

A source takes a piece of a clip and gives every face of every picture. `mediapipe_source.py` holds MediaPipe's own,
`core_landmarks.py` what ComfyUI's nodes give; an array of one's own goes to `fit_landmarks` directly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ...body.landmark_groups import MEDIAPIPE, NUM_LANDMARKS
from .cutouts import Regions
from .face_boxes import FaceBox, beside
from .face_detector import detect_faces, may_miss_larger, search_at_edges, seen_again
from .face_mesh import boxes_of_squares, in_the_right_turn, run_landmarks, squares_around_boxes
from .face_mesh import squares_around_landmarks as squares_around
from .pictures import channels_first

KEY_FRAMES = 4  # every so many pictures faces are looked for anew; our choice
MOST_FACES = 8  # of a picture, the largest; our choice
MOST_OF_ALL_FACES = 32  # where every face is wanted; our choice
SEEN = 0.5  # confidence from which a region shows a face
SAME = 0.5  # overlap of two squares, smaller over larger area, of one face in neighbouring key frames; our choice
MOVED = 0.06  # of a square's side: a face this far off its square is looked at again; our choice
BATCH = 16  # faces that the landmark network takes at once


@dataclass(frozen=True)
class SeenFace:
    """One face in one picture."""

    landmarks: Tensor  # [L, 3] x, y in pixels and confidence
    units: dict[str, float] = field(default_factory=dict)  # ARKit's blendshapes, where the source gives them
    colours: Tensor | None = None  # [n] what it looks like, see `likeness.py`; made where faces must be told apart

    @property
    def centre(self) -> Tensor:  # [2]
        low, high = self._extent
        return (low + high) / 2

    @property
    def side(self) -> float:
        """The longer side in pixels."""
        low, high = self._extent
        return float((high - low).max())

    @property
    def _extent(self) -> tuple[Tensor, Tensor]:
        points = self.landmarks[self.landmarks[:, 2] > 0, :2]
        return points.amin(0), points.amax(0)


class LandmarkSource(Protocol):
    """Finds the faces of pictures. Pieces of one clip come in order, and each is looked at on its own."""

    scheme: str  # of the landmarks, see `landmark_scheme.py`
    threads: bool  # whether several threads may look at several pieces at once

    def __call__(
        self,
        images: Tensor,  # [F, H, W, 3] 0..1 or bytes
    ) -> list[list[SeenFace]]: ...


@dataclass(frozen=True)
class BuiltInNetworks:
    """The detector on every fourth picture, the landmark network on all. Faces may be tilted by any angle.

    In between, a face's square is taken to move evenly; where the landmarks say that it did not, they are taken again.
    Where faces come, go or move fast, the detector looks at every picture.

    The largest face is always among those that are seen. With `every_face`, so are all that are not much smaller, which
    takes two to three times as long: the detector overlooks small faces in a picture until it looks at parts of it.
    """

    scheme: str = MEDIAPIPE
    threads: bool = True
    every_face: bool = False

    def __call__(self, images: Tensor) -> list[list[SeenFace]]:
        pictures = channels_first(images)
        keys = sorted({*range(0, len(images), KEY_FRAMES), len(images) - 1})
        at_keys = self._first_look(images, self._boxes(images, keys))
        changing = {
            frame: (first, last)
            for first, last in zip(keys, keys[1:])
            if not len(at_keys[first]) == len(at_keys[last]) == len(matched(at_keys[first], at_keys[last]))
            for frame in range(first + 1, last)
        }
        if self.every_face:
            around = {frame: [boxes_of_squares(at_keys[key]) for key in of] for frame, of in changing.items()}
            boxes = with_seen_again(images, at_first_sight(images, list(changing)), around)
        else:
            boxes = self._boxes(images, list(changing))
        at_keys |= self._first_look(images, boxes)
        frames, squares = squares_in_between(dict(sorted(at_keys.items())))
        landmarks, confidence = look(pictures, frames, squares)
        again = squares_around(landmarks[..., :2])
        off = (again.centre - squares.centre).norm(dim=1) + (again.size - squares.size)[:, 0].abs()
        wrong = ((off > MOVED * squares.size[:, 0]) & (confidence >= SEEN)).nonzero()[:, 0]
        if len(wrong):
            landmarks[wrong], confidence[wrong] = look(pictures, [frames[i] for i in wrong], again[wrong])
        found: list[list[SeenFace]] = [[] for _ in range(len(images))]
        for frame, points, sure in zip(frames, landmarks, confidence, strict=True):
            if sure >= SEEN:
                found[frame].append(SeenFace(torch.cat([points[:, :2], sure.expand(len(points), 1)], 1).cpu()))
        return [without_twins(faces) for faces in found]

    def _first_look(self, images: Tensor, boxes: dict[int, list[FaceBox]]) -> dict[int, Regions]:
        """By frame the squares of its faces, as their landmarks give them."""
        most = MOST_OF_ALL_FACES if self.every_face else MOST_FACES
        largest = {frame: sorted(faces, key=lambda face: -face.side)[:most] for frame, faces in boxes.items()}
        frames = [frame for frame, faces in largest.items() for _ in faces]
        flat = [face for faces in largest.values() for face in faces]
        if not flat:
            return {frame: no_regions(images.device) for frame in boxes}
        pictures = channels_first(images)
        landmarks, confidence = in_the_right_turn(
            lambda which, turned: look(pictures, [frames[i] for i in which], turned),
            squares_around_boxes(flat, images.device),
        )
        squares, sure = squares_around(landmarks[..., :2]), confidence >= SEEN
        of = torch.tensor(frames, device=images.device)
        return {frame: squares[sure & (of == frame)] for frame in boxes}

    def _boxes(self, images: Tensor, keys: list[int]) -> dict[int, list[FaceBox]]:
        """By key frame its faces. Small ones are costly to look for: where none is seen in three of the frames, none is
        looked for in the others. Last come faces that the edge cuts."""
        boxes = at_first_sight(images, keys)
        if self.every_face:
            return boxes | self._everybody(images, boxes)
        lost = [key for key in keys if not boxes[key]]
        small = [key for key in keys if boxes[key] and may_miss_larger(boxes[key], images.shape[1:3])]
        for group in (lost, small):
            first = three_of(group)
            for some in (first, [key for key in group if key not in first]):
                before = sum(len(boxes[key]) for key in some)
                boxes |= dict(zip(some, detect_faces(images[some], search_edges=False))) if some else {}
                if sum(len(boxes[key]) for key in some) == before:
                    break
        pictures = channels_first(images)
        return boxes | {key: search_at_edges(pictures[key : key + 1]) for key in lost if not boxes[key]}

    def _everybody(self, images: Tensor, boxes: dict[int, list[FaceBox]]) -> dict[int, list[FaceBox]]:
        """The faces of the same frames, with those that a search shows. Three of them are searched; in the others the
        faces are where they were, and those are searched too in which fewer are seen than before and after."""
        keys = list(boxes)
        searched = three_of(keys)
        found = dict(zip(searched, detect_faces(images[searched], every_face=True))) if searched else {}
        fewer = []
        for first, last in zip(searched, searched[1:]):
            some = {key: boxes[key] for key in keys if first < key < last}
            found |= with_seen_again(images, some, {key: [found[first], found[last]] for key in some})
            fewer += [key for key in some if len(found[key]) < min(len(found[first]), len(found[last]))]
        return found | (dict(zip(fewer, detect_faces(images[fewer], every_face=True))) if fewer else {})


def three_of(frames: list[int]) -> list[int]:
    """The first, the middle and the last one."""
    return sorted({frames[0], frames[len(frames) // 2], frames[-1]}) if frames else []


def at_first_sight(images: Tensor, frames: list[int]) -> dict[int, list[FaceBox]]:
    """By frame the faces that the detector sees in the whole picture."""
    return dict(zip(frames, detect_faces(images[frames], search_tiles=False, search_edges=False))) if frames else {}


def with_seen_again(
    images: Tensor,  # [F, H, W, 3]
    boxes: dict[int, list[FaceBox]],  # by frame
    around: dict[int, list[list[FaceBox]]],  # by the same frames the faces just before and after them
) -> dict[int, list[FaceBox]]:
    """The faces of these frames, and those that are still or already near where they are in the frames around."""
    found = dict(boxes)
    for frame, neighbours in around.items():
        for faces in neighbours:
            near = seen_again(channels_first(images[frame : frame + 1]), beside(faces, found[frame]))
            found[frame] = found[frame] + beside(near, found[frame])
    return found


def look(
    pictures: Tensor,  # [F, 3, H, W]
    frames: list[int],  # N
    squares: Regions,  # N, one in each of these frames
) -> tuple[Tensor, Tensor]:
    """Landmarks [N, 478, 3] and confidence [N]."""
    nothing = torch.zeros(0, NUM_LANDMARKS, 3, device=pictures.device)
    parts = [(nothing, nothing[:, 0, 0])]
    for start in range(0, len(frames), BATCH):
        part = frames[start : start + BATCH]
        whole = part == list(range(part[0], part[0] + len(part)))
        # neighbouring frames stay a view: indexing copies them
        some = pictures[part[0] : part[0] + len(part)] if whole else pictures[part]
        parts.append(run_landmarks(some, squares[start : start + BATCH]))
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def squares_in_between(
    at_keys: dict[int, Regions],  # by frame, in order
) -> tuple[list[int], Regions]:
    """The squares of all frames, sorted by frame: those of the key frames, and evenly moved ones between them."""
    frames: list[int] = []
    parts: list[Regions] = []
    keys = list(at_keys)
    for key, after in zip(keys, [*keys[1:], None]):
        frames += [key] * len(at_keys[key])
        parts.append(at_keys[key])
        if after is None:
            break
        a, b = torch.tensor(matched(at_keys[key], at_keys[after]), dtype=torch.long).reshape(-1, 2).unbind(1)
        for frame in range(key + 1, after):
            share = (frame - key) / (after - key)
            parts.append(at_keys[key][a].towards(at_keys[after][b], share))
            frames += [frame] * len(a)
    return frames, Regions.joined(parts)


def matched(first: Regions, second: Regions) -> list[tuple[int, int]]:
    """Pairs of squares that are one face's, the closest first."""
    pairs, used = [], set()
    apart = torch.cdist(first.centre, second.centre) / torch.maximum(first.size[:, :1], second.size[:, :1].T)
    ratio = first.size[:, :1] / second.size[:, :1].T
    overlap = (1 - apart).clamp(min=0) ** 2 * torch.minimum(ratio, 1 / ratio) ** 2
    for index in overlap.flatten().argsort(descending=True).tolist():
        a, b = divmod(index, len(second))
        if overlap[a, b] >= SAME and ("a", a) not in used and ("b", b) not in used:
            used |= {("a", a), ("b", b)}
            pairs.append((a, b))
    return pairs


def without_twins(faces: list[SeenFace]) -> list[SeenFace]:
    """A picture's faces, larger ones first, without those that lie on another: two squares may end on one face."""
    kept: list[SeenFace] = []
    for face in sorted(faces, key=lambda face: -face.side):
        if all(float((face.centre - other.centre).norm()) > 0.3 * other.side for other in kept):
            kept.append(face)
    return kept


def no_regions(device: torch.device) -> Regions:
    nothing = torch.zeros(0, 2, device=device)
    return Regions(nothing, nothing, nothing[:, 0])
