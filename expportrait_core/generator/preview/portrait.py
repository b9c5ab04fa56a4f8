"""Everything that is done once per photo."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ...body import pose_head, upsample
from ...body.landmark_groups import LEFT_EYELIDS, MEDIAPIPE, RIGHT_EYELIDS
from ...fit import detect_landmarks
from ...render import MeshTopology
from ...types import HEAD, NECK, Camera, HeadMotion, SMPLXFit
from .eyes import Eye, make_eyes
from .light import Light
from .matte import Matte, separate
from .mouth import Mouth, make_mouth
from .registration import LidRim, lid_rims, outline_offsets
from .sheet import Sheet
from .skeleton import Moves, carriers, joint_moves, rigid_weights
from .surface import (
    BESIDE_EYES,
    INSIDE,
    LEFT_EYE,
    RIGHT_EYE,
    SKIN,
    Ears,
    Surface,
    beside,
    drawn_faces,
    kinds_seen,
    make_surface,
    project_surface,
    sample_at,
    triangle_kinds,
    vertex_kinds,
)

HEAD_SHARE = 0.5  # weight of neck and head together from which a vertex is head; our choice
LID_AREA = 0.007  # metres around the lids' rims that expressions do not shade; our choice
LIDS = {RIGHT_EYE: RIGHT_EYELIDS, LEFT_EYE: LEFT_EYELIDS}


@dataclass(frozen=True)
class Portrait:
    """A photo taken apart, ready to be moved. On the CPU."""

    photo: np.ndarray  # [H, W, 3] float32 0..1
    camera: Camera  # one
    matte: Matte
    surface: Surface
    sheet: Sheet
    light: Light
    rim_maps: np.ndarray  # [H, W, 4] 0..1: inside the outline; beside left and right eye; teeth, which are no lips
    mouth: Mouth | None
    eyes: tuple[Eye, ...]
    rims: dict[int, LidRim]  # by LEFT_EYE and RIGHT_EYE
    moves: Moves  # from the canonical pose to the photo's, one frame
    head: int  # number of the head among the carriers
    weights: Tensor  # [Vs, J] rigid weights
    ears: Ears
    offsets: Tensor  # [Vs, 3] world, lay the mesh's outline on the photo's
    facial: Tensor  # [Vs] where expressions shade the skin


def take_apart(
    photo: np.ndarray,  # [H, W, 3] float32 0..1
    mask: np.ndarray | None,  # [H, W]
    motion: HeadMotion,  # its head's fit, frame portrait_frame, shows the photo
    camera: Camera,  # one, of the photo
) -> Portrait:
    """Person and background, the photo as the mesh's texture, the sheet beside the mesh, eyes, mouth and light.

    Raises:
        ValueError: the head is nowhere in the photo.
    """
    head, model = motion.head, motion.head.model
    fit = head.fit.frames([motion.portrait_frame])
    moves = joint_moves(model, head.betas, fit.expression, fit.poses, fit.translation).frame(0)
    head_joint = carriers(model).index(HEAD)
    on_head = [number for number, joint in enumerate(carriers(model)) if joint in (NECK, HEAD)]
    weights, kinds = rigid_weights(model), triangle_kinds(model)
    skin = vertex_kinds(model) == SKIN
    facial = upsample(model.facial_weight[:, None], model.faces, model.upsampling)[:, 0]
    faces, ears = drawn_faces(model), Ears.of(model)
    topology = MeshTopology.of(faces, model.num_vertices)

    posed = pose_head(head, motion.portrait_frame)[0]
    vertices = ears.flattened(posed)
    _, corners, _, ids, _ = project_surface(vertices, camera, topology)
    if not (ids >= 0).any():
        height, width = camera.image_size
        raise ValueError(
            f"The head of the portrait's fit lies outside of the {width}×{height} picture. Give the picture that the "
            f"head was fitted to, and its portrait_frame."
        )
    matte = separate(photo, head_pixels(weights[:, on_head].sum(1), faces, ids), mask)
    offsets = outline_offsets(vertices, corners, faces, ids, matte.alpha, camera)
    vertices = vertices + offsets
    rims = lid_rims(
        vertices, corners, faces, kinds_seen(ids, kinds), ids.numpy(), skin.numpy(), eye_contours(fit, photo, camera),
        moves.turn[head_joint][1], camera,
    )  # fmt: skip
    vertices = vertices + sum((rim.offsets for rim in rims.values()), torch.zeros_like(vertices))

    surface = make_surface(model, vertices, camera, matte, topology, kinds, ears)
    colours = torch.from_numpy(sample_at(photo, *(surface.corners[:, :2] / surface.corners[:, 2:]).T.numpy()))
    trust = surface.seen * facial
    tone = ((colours * trust[:, None]).sum(0) / trust.sum().clamp(min=1e-3)).numpy()
    shown = surface.seen_kinds
    mouth = make_mouth(head, moves, camera, photo, shown == INSIDE, tone)
    ear_area = ear_pixels(posed, ears, moves.turn[head_joint][0], camera)
    return Portrait(
        photo=photo,
        camera=camera,
        matte=matte,
        surface=surface,
        sheet=Sheet.of(surface.ids, surface.corners, faces, weights, on_head, camera, matte.alpha, ear_area),
        light=Light.of(colours, surface.normals, trust).from_above(moves.turn[head_joint][1]),
        rim_maps=rim_maps(matte, shown, mouth),
        mouth=mouth,
        eyes=make_eyes(head, vertex_kinds(model), vertices, moves, camera, photo, shown, tone),
        rims=rims,
        moves=moves,
        head=head_joint,
        weights=weights,
        ears=ears,
        offsets=offsets,
        facial=facial * away_from_lids(vertices, rims),
    )


def away_from_lids(vertices: Tensor, rims: dict[int, LidRim]) -> Tensor:
    """[Vs] 0 at the rims of the lids, 1 away from them: a lid that unrolls is no wrinkle, and is not to be shaded."""
    away = torch.ones(len(vertices))
    for rim in rims.values():
        distance = torch.cdist(vertices, vertices[torch.cat([rim.upper, rim.lower])]).amin(1)
        away = away * (1 - torch.exp(-0.5 * (distance / LID_AREA) ** 2))
    return away


def head_pixels(share: Tensor, faces: Tensor, ids: Tensor) -> np.ndarray:
    """[H, W] bool: pixels of head and neck, whose share in each vertex [Vs] is given."""
    inside = share[faces].amin(1) > HEAD_SHARE
    return ((ids >= 0) & inside[ids.clamp(min=0).long()]).numpy()


def ear_pixels(vertices: Tensor, ears: Ears, sideways: Tensor, camera: Camera) -> np.ndarray:
    """[H, W] bool: where the mesh's own ears would be in the photo, and so about the photo's."""
    area = np.zeros(camera.image_size, np.uint8)
    points = vertices[ears.vertices]
    if len(points) == 0:
        return area > 0
    across = points @ sideways
    for side in (across > across.mean(), across <= across.mean()):
        corners = camera.project(points[side][None])[0]
        outline = cv2.convexHull((corners[:, :2] / corners[:, 2:]).numpy().astype(np.float32))
        cv2.fillConvexPoly(area, outline.round().astype(np.int32), 1)
    return cv2.dilate(area, np.ones((5, 5), np.uint8)) > 0


def rim_maps(matte: Matte, kinds: np.ndarray, mouth: Mouth | None) -> np.ndarray:
    """See Portrait.rim_maps."""
    teeth = np.zeros(kinds.shape, np.float32)
    if mouth is not None:
        for plate in mouth.plates:
            teeth = teeth if plate.own is None else np.maximum(teeth, plate.own)
    teeth = cv2.dilate(teeth, np.ones((3, 3), np.uint8))
    return np.dstack([matte.inner, *(beside(kinds == kind, BESIDE_EYES) for kind in (LEFT_EYE, RIGHT_EYE)), teeth])


def eye_contours(fit: SMPLXFit, photo: np.ndarray, camera: Camera) -> dict[int, np.ndarray]:
    """Outlines of the eyes [16, 2] in the photo's pixels, by LEFT_EYE and RIGHT_EYE: the tracker's, or found here."""
    height, width = camera.image_size
    if fit.landmarks is not None and fit.landmark_scheme == MEDIAPIPE:
        landmarks = fit.landmarks[0].clone()
        landmarks[:, 0] *= width / fit.image_size[1]
        landmarks[:, 1] *= height / fit.image_size[0]
    else:
        landmarks = detect_landmarks(torch.from_numpy(photo)[None])[0]
    found = {kind: landmarks[list(points)] for kind, points in LIDS.items()}
    return {kind: points[:, :2].numpy() for kind, points in found.items() if points[:, 2].min() > 0}
