"""From a picture or a clip to an `SMPLXFit`: find the face, its landmarks, then identity and all frames together.

Nothing beyond this package is needed: detector and landmark networks ship with it. The camera is taken to stand still
at the origin and to look along -z of a world with y up; the body's translation puts the head in front of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor

from ...body import landmark_points, pose_vertices, with_level
from ...body.landmark_groups import OUTER_EYE_CORNERS
from ...types import HeadModel, Progress, SMPLXFit, no_progress
from ..detect.faces import Person, choose_person, follow_people, wants_every_face
from ..detect.landmark_scheme import SIZES, landmark_pairs
from ..detect.likeness import face_colours
from ..detect.sources import BuiltInNetworks, LandmarkSource
from ..detect.watching import as_pictures, in_pieces, watch
from ..edit.missing import MISSING, fill_missing
from .landmark_fit import fit_landmarks, require_camera, require_seen


def track(
    images: Tensor | Iterable[Tensor],  # [F, H, W, 3] 0..1 or bytes, or pieces of that shape of a clip of any length
    model: HeadModel,
    fps: float = 25.0,
    focal: float | None = None,  # pixels; None estimates it
    face: str = "largest",  # which one where there are several, see FACES
    mask: Tensor | None = None,  # [F, H, W] or [1, H, W] 0..1: only a face whose middle it covers counts
    progress: Progress = no_progress,
    missing: str = "interpolate",  # what frames without a face show, see MISSING
    number: int = 1,  # of the face, for the choice "by number": 1 is the largest
    picture: Tensor | None = None,  # [1, H, W, 3] of the person meant, for the choice "like the picture"
    source: LandmarkSource = BuiltInNetworks(),
    total: int = 0,  # frames, where pieces are given and that is known
) -> SMPLXFit:
    """Track one face of a picture or clip.

    Frames without a face are marked invalid; what they show is for `missing` to say.

    Raises:
        ValueError: no face in any frame or under the mask, not the face that was asked for, the head model carries no
            landmarks, no pictures or such with values above 1, a frame rate that is no number above 0, or a focal
            length that is no lens's.
    """
    if missing not in MISSING:
        raise ValueError(f"Missing frames are to be filled by '{missing}', expected one of {', '.join(MISSING)}.")
    landmark_pairs(model, source.scheme)
    first, images = _with_first(images)
    pictures = first is not None and first.ndim == 4
    require_camera(fps, focal, tuple(first.shape[1:3]) if pictures else None)  # all of this is refused before the work
    person, frames, size, hidden = find_person(images, face, mask, progress, number, picture, source, total)
    if person is None and hidden:
        where = "the picture" if frames == 1 else f"{hidden} of the {frames} frames"
        raise ValueError(
            f"There is a face in {where}, but the mask covers the middle of none. Paint the mask over the face, or "
            f"leave it out."
        )
    landmarks = _rows(person, frames, source.scheme)
    require_seen(landmarks[..., 2].amax(1) > 0, first)
    units, jaw = _units(person, frames, model)
    fit = fit_landmarks(landmarks, size, model, fps, focal, scheme=source.scheme, units=units, jaw=jaw)
    return fill_missing(fit, missing)


def detect_landmarks(
    images: Tensor | Iterable[Tensor],  # [F, H, W, 3] 0..1 or bytes, or pieces of that shape
    face: str = "largest",
    mask: Tensor | None = None,  # [F, H, W] or [1, H, W] 0..1
    progress: Progress = no_progress,
    source: LandmarkSource = BuiltInNetworks(),
) -> Tensor:
    """The landmarks [F, L, 3] of one face followed through the clip: x, y in pixels and confidence 0..1.

    Frames without it are 0 throughout.

    Raises:
        ValueError: an unknown choice of face, or a mask of another size.
    """
    person, frames, *_ = find_person(images, face, mask, progress, source=source)
    return _rows(person, frames, source.scheme)


def find_person(
    images: Tensor | Iterable[Tensor],
    face: str = "largest",
    mask: Tensor | None = None,
    progress: Progress = no_progress,
    number: int = 1,
    picture: Tensor | None = None,
    source: LandmarkSource = BuiltInNetworks(),
    total: int = 0,
) -> tuple[Person | None, int, tuple[int, int], int]:
    """The person who is meant (None if nobody was seen), how many frames there are, their height and width, and in how
    many the mask hides every face."""
    wanted = None
    if picture is not None:
        wanted = _looks_of(picture)
    choose_person([], face, picture=wanted, number=number)  # an unknown choice is refused before the work
    if isinstance(source, BuiltInNetworks) and wants_every_face(face, number, mask is not None):
        source = replace(source, every_face=True)  # other sources see what they see
    if isinstance(images, Tensor):
        images, total = in_pieces(images), len(images)
    seen, size, hidden = watch(images, source, mask, face == "like the picture", total, progress)
    return choose_person(follow_people(seen), face, size[1], wanted, number), len(seen), size, hidden


def _with_first(images: Tensor | Iterable[Tensor]) -> tuple[Tensor | None, Tensor | Iterable[Tensor]]:
    """The first picture [1, H, W, 3] of a clip, and the whole clip."""
    if isinstance(images, Tensor):
        return as_pictures(images[:1]), images
    pieces = iter(images)
    piece = next(pieces, None)
    return (None, ()) if piece is None else (as_pictures(piece[:1].clone()), chain([piece], pieces))


def _looks_of(picture: Tensor) -> Tensor:
    picture = as_pictures(picture)
    (faces,), *_ = watch(in_pieces(picture[:1]), BuiltInNetworks())
    if not faces:
        raise ValueError("There is no face in the picture of the person to be followed. Give one that shows the face.")
    return face_colours(picture[0], faces[0].landmarks)


def _rows(person: Person | None, frames: int, scheme: str) -> Tensor:  # [F, L, 3]
    rows = torch.zeros(frames, SIZES[scheme][0], 3)
    if person is not None:
        for frame, face in zip(person.frames, person.faces, strict=True):
            rows[frame, : len(face.landmarks)] = face.landmarks
    return rows


def _units(person: Person, frames: int, model: HeadModel) -> tuple[Tensor | None, Tensor | None]:
    """The source's blendshapes as expressions [F, E] of a head whose columns have these names, and its jaw [F]."""
    if model.expression_space != "arkit" or not any(face.units for face in person.faces):
        return None, None
    columns = {name: i for i, name in enumerate(model.expression_names) if name}
    units, jaw = torch.zeros(frames, len(model.expression_names)), torch.zeros(frames)
    for frame, face in zip(person.frames, person.faces, strict=True):
        for name, value in face.units.items():
            if name in columns:
                units[frame, columns[name]] = value
        jaw[frame] = face.units.get("jawOpen", 0.0)
    return units, jaw


def landmark_error_percent(
    fit: SMPLXFit,
    model: HeadModel,
) -> Tensor:
    """Mean reprojection error per valid frame [F'], in percent of the distance between the outer eye corners.

    Measured on the mesh itself over all landmarks that the tracker gave and the head model has, irises left out.
    """
    if fit.landmarks is None or fit.landmark_scheme not in SIZES:
        raise ValueError("The fit carries no landmarks to measure its error against. Track the clip here.")
    coarse = with_level(model, 0)
    scheme, of_model, of_array = landmark_pairs(coarse, fit.landmark_scheme)
    embedding = coarse.landmarks[scheme]
    vertices = pose_vertices(coarse, fit.betas, fit.expression, fit.poses, fit.translation)
    projected = fit.camera.project(landmark_points(vertices, coarse.faces, embedding))[:, of_model]
    pixels = projected[..., :2] / projected[..., 2:]
    truth, seen = fit.landmarks[:, of_array, :2], fit.landmarks[:, of_array, 2] > 0
    seen = seen & (embedding.triangles[of_model] >= 0)
    distance = torch.where(seen, (pixels - truth).norm(dim=-1), 0.0).sum(1) / seen.sum(1).clamp(min=1)
    right, left = (fit.landmarks[:, corner, :2] for corner in OUTER_EYE_CORNERS[fit.landmark_scheme])
    return (100 * distance / (right - left).norm(dim=-1).clamp(min=1e-6))[fit.valid]
