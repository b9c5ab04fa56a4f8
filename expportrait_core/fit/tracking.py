"""From a picture or a clip to an `SMPLXFit`: find the face, its landmarks, then identity and all frames together.

Nothing beyond this package is needed: detector and landmark networks ship with it. The camera is taken to stand still
at the origin and to look along -z of a world with y up; the body's translation puts the head in front of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..body import landmark_points, pose_vertices, with_level
from ..body.landmarks import IBUG68_FROM_MEDIAPIPE
from ..body.posing import matrix_to_axis_angle
from ..types import Camera, HeadModel, Progress, SMPLXFit, no_progress
from .faces import WANTED_FACE, choose_face, faces_in
from .landmark_rig import RIGID, LandmarkRig, poses_from_rigid
from .landmarks import detect_faces, face_landmarks
from .solver import ExpressionPrior, Priors, Solution, solve

SCHEME, NUM_POINTS = "mediapipe478", 478
FOCAL_OF_SIDE = 1.5  # focal length in picture sides where none is given: a 50 mm lens on film. Our choice
NUM_BETAS = 80
SHAPE_FRAMES = 48  # identity is solved from so many frames, spread over the clip
CHUNK, OVERLAP = 256, 12  # frames that are solved together, and how far neighbouring chunks look into each other
DETECTION_CHUNK = 32

FACE_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176,
             149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
EYELIDS = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7,
           263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)  # fmt: skip
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
        78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)  # fmt: skip
OUTER_EYE_CORNERS = (33, 263)
# the oval slides along the cheek as the head turns; lids and lips carry the expression. Our choice
OVAL_WEIGHT, EYELID_WEIGHT, LIP_WEIGHT = 0.3, 2.5, 1.5


def track(
    images: Tensor,  # [F, H, W, 3] 0..1
    model: HeadModel,
    fps: float = 25.0,
    focal: float | None = None,  # pixels; None estimates it from the picture's size
    face: str = "largest",  # which one where there are several, see FACES
    mask: Tensor | None = None,  # [F, H, W] or [1, H, W] 0..1: only a face whose middle it covers counts
    progress: Progress = no_progress,
) -> SMPLXFit:
    """Track one face of a picture or clip.

    Frames without a face are marked invalid and follow their neighbours.

    Raises:
        ValueError: no face in any frame, or the head model carries no landmarks.
    """
    if images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"The pictures have shape {list(images.shape)}, expected [frames, height, width, 3].")
    if 0 in images.shape:
        raise ValueError("There are no pictures to track a face in. Give a picture or a clip.")
    landmarks = detect_landmarks(images, face, mask, progress)
    return fit_landmarks(landmarks, images.shape[1:3], model, fps, focal)


def detect_landmarks(
    images: Tensor,  # [F, H, W, 3] 0..1
    face: str = "largest",
    mask: Tensor | None = None,  # [F, H, W] or [1, H, W] 0..1
    progress: Progress = no_progress,
) -> Tensor:
    """MediaPipe's points [F, 478, 3] of one face per picture: x, y in pixels and confidence 0..1.

    Iris points (468 and above) have confidence 0: the built-in networks do not give them.

    Raises:
        ValueError: an unknown choice of face, or a mask of another size.
    """
    parts = []
    masks = _masks(mask, images)
    for start in range(0, len(images), DETECTION_CHUNK):
        chunk = images[start : start + DETECTION_CHUNK].float()
        found = detect_faces(chunk)
        if masks is not None:
            found = [faces_in(faces, masks[start + i]) for i, faces in enumerate(found)]
        boxes = [choose_face(faces, face) for faces in found]
        points, confidence = face_landmarks(chunk, boxes)
        # a region without a face gets points all the same; its confidence is low
        seen = confidence * (confidence > 0.5)
        row = chunk.new_zeros(len(chunk), NUM_POINTS, 3)
        row[:, : points.shape[1], :2] = points[..., :2]
        row[:, : points.shape[1], 2] = seen[:, None]
        parts.append(row)
        progress(min(start + DETECTION_CHUNK, len(images)), len(images), chunk[-1])
    return torch.cat(parts)


def _masks(mask: Tensor | None, images: Tensor) -> Tensor | None:  # [F, H, W]
    if mask is None:
        return None
    frames, height, width = images.shape[:3]
    if mask.ndim != 3 or tuple(mask.shape[1:]) != (height, width) or len(mask) not in (1, frames):
        raise ValueError(
            f"The mask has the shape {list(mask.shape)}, expected [{frames} or 1, {height}, {width}] like the pictures."
        )
    return mask.expand(frames, -1, -1)


def fit_landmarks(
    landmarks: Tensor,  # [F, 478, 3] MediaPipe's points: x, y in pixels, confidence
    image_size: tuple[int, int],  # height, width
    model: HeadModel,
    fps: float = 25.0,
    focal: float | None = None,
    priors: Priors = Priors(),
) -> SMPLXFit:
    """Identity, pose and expression of every frame from its landmarks.

    Raises:
        ValueError: no frame has landmarks, or the head model carries none.
    """
    valid = landmarks[..., 2].amax(dim=1) > 0
    if not valid.any():
        what = "the picture" if len(landmarks) == 1 else f"any of the {len(landmarks)} frames"
        raise ValueError(f"No face was found in {what}. {WANTED_FACE}")
    rig, points = _rig_and_points(model, landmarks)
    height, width = (int(s) for s in image_size)
    intrinsics = pinhole(focal or FOCAL_OF_SIDE * max(height, width), height, width).to(points)
    start = _initial(rig, points, valid, intrinsics, model.expression_basis.shape[2])
    prior = expression_prior(model)
    weights = _landmark_weights(rig, landmarks)

    seen = valid.nonzero()[:, 0]
    some = seen[torch.linspace(0, len(seen) - 1, min(SHAPE_FRAMES, len(seen))).round().long()]
    lone = Priors(**{**vars(priors), "temporal_rotation": 1e3, "temporal_translation": 1e3, "temporal_expression": 1e3})
    few = Solution(start.betas, start.expression[some], start.rigid[some])
    few = solve(rig, points[some, :, :2], weights[some], intrinsics, few, prior, lone, iterations=14)
    betas, expression, rigid = few.betas, start.expression, start.rigid
    if len(landmarks) == 1:
        expression, rigid = few.expression, few.rigid
    else:
        expression, rigid = _solve_in_chunks(rig, points, weights, intrinsics, betas, start, prior, priors)
    world_to_camera = torch.diag(points.new_tensor([1.0, -1, -1, 1])).repeat(len(landmarks), 1, 1)
    return SMPLXFit(
        betas=betas,
        expression=expression,
        poses=poses_from_rigid(rigid),
        translation=rigid[:, 3:6],
        camera=Camera(intrinsics.repeat(len(landmarks), 1, 1), world_to_camera, (height, width)),
        expression_space=model.expression_space,
        model_id=model.model_id,
        fps=fps,
        valid=valid,
        landmarks=landmarks,
        landmark_scheme=SCHEME,
    )


def _solve_in_chunks(
    rig: LandmarkRig, points: Tensor, weights: Tensor, intrinsics: Tensor, betas: Tensor, start: Solution,
    prior: ExpressionPrior, priors: Priors,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Expression and rigid values of all frames for a known identity, chunk by chunk with overlap."""
    expressions, rigids, total = [], [], len(points)
    for first in range(0, total, CHUNK):
        last = min(first + CHUNK, total)
        low, high = max(first - OVERLAP, 0), min(last + OVERLAP, total)
        part = Solution(betas, start.expression[low:high], start.rigid[low:high])
        part = solve(rig, points[low:high, :, :2], weights[low:high], intrinsics, part, prior, priors,
                     iterations=12, free_betas=False)  # fmt: skip
        expressions.append(part.expression[first - low : last - low])
        rigids.append(part.rigid[first - low : last - low])
    return torch.cat(expressions), torch.cat(rigids)


def landmark_error_percent(
    fit: SMPLXFit,
    model: HeadModel,
) -> Tensor:
    """Mean reprojection error per valid frame [F'], in percent of the distance between the outer eye corners.

    Measured on the mesh itself over all landmarks that the tracker gave and the head model has.
    """
    if fit.landmarks is None or fit.landmark_scheme != SCHEME:
        raise ValueError("The fit carries no MediaPipe landmarks to measure its error against. Track the clip here.")
    coarse = with_level(model, 0)
    vertices = pose_vertices(coarse, fit.betas, fit.expression, fit.poses, fit.translation)
    scheme, chosen = _scheme(coarse)
    projected = fit.camera.project(landmark_points(vertices, coarse.faces, coarse.landmarks[scheme]))
    pixels = projected[..., :2] / projected[..., 2:]
    truth, seen = fit.landmarks[:, chosen, :2], fit.landmarks[:, chosen, 2] > 0
    seen = seen & (coarse.landmarks[scheme].triangles >= 0)
    distance = torch.where(seen, (pixels - truth).norm(dim=-1), 0.0).sum(1) / seen.sum(1).clamp(min=1)
    right, left = (fit.landmarks[:, corner, :2] for corner in OUTER_EYE_CORNERS)
    return (100 * distance / (right - left).norm(dim=-1).clamp(min=1e-6))[fit.valid]


def pinhole(focal: float, height: int, width: int) -> Tensor:
    """Intrinsics [3, 3] with the principal point in the middle of the picture."""
    return torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])


def expression_prior(model: HeadModel) -> ExpressionPrior:
    """How far the expression columns usually go. Our choice, not from the paper.

    ARKit units run from 0 to 1. Units that other columns or joints can do as well get little room, so that a fit
    prefers the names that artists know; unused columns get none.
    """
    names = model.expression_names
    used = model.expression_basis.abs().amax(dim=(0, 1)) > 0
    if model.expression_space != "arkit":
        bound = torch.where(used, 3.0, 0.0)
        return ExpressionPrior(torch.ones(len(names)), 0.5 * torch.ones(len(names)), -bound, bound)
    rare = ("mh:", "tongue", "eyeLook", "mouthClose", "jawForward", "cheekPuff")
    deviation = torch.tensor([0.12 if name.startswith(rare) else 0.4 for name in names])
    upper = torch.where(used, 1.0, 0.0)
    upper[[i for i, name in enumerate(names) if name.startswith(("tongue", "eyeLook"))]] = 0.0
    # a blink comes and goes within three frames; everything else on a face is slower
    quick = ("eyeBlink", "eyeSquint", "eyeWide", "mh:eye-")
    temporal = torch.tensor([2.0 if name.startswith(quick) else 0.25 for name in names])
    return ExpressionPrior(deviation, temporal, torch.zeros(len(names)), upper)


def _scheme(model: HeadModel) -> tuple[str, list[int]]:
    """The richest landmark scheme that the model has, and the MediaPipe points that it consists of."""
    if SCHEME in model.landmarks:
        return SCHEME, list(range(NUM_POINTS))
    for scheme, points in (("ibug68", IBUG68_FROM_MEDIAPIPE), ("ibug51", IBUG68_FROM_MEDIAPIPE[17:])):
        if scheme in model.landmarks:
            return scheme, list(points)
    raise ValueError(
        f"The head model '{model.model_id}' carries no landmarks, so it cannot be tracked. Use the SMPL-X .npz file "
        f"as its authors ship it (it has lmk_faces_idx and lmk_bary_coords), or the default head."
    )


def _rig_and_points(model: HeadModel, landmarks: Tensor) -> tuple[LandmarkRig, Tensor]:
    """The rig without the iris points, which follow the gaze and not the head, and its landmarks [F, L, 3]."""
    scheme, chosen = _scheme(model)
    rig = LandmarkRig.of(model, scheme, min(NUM_BETAS, model.shape_basis.shape[2]))
    points = torch.tensor(chosen)[rig.numbers]
    keep = points < 468
    rig = rig.select(keep, points[keep])
    return rig, landmarks[:, rig.numbers]


def _landmark_weights(rig: LandmarkRig, landmarks: Tensor) -> Tensor:
    """[F, L] confidence times how much each landmark is to be believed, mean 1 for a face that is fully seen."""
    trust = torch.ones(NUM_POINTS)
    for group, weight in ((FACE_OVAL, OVAL_WEIGHT), (EYELIDS, EYELID_WEIGHT), (LIPS, LIP_WEIGHT)):
        trust[list(group)] = weight
    trust = trust[rig.numbers]
    return landmarks[:, rig.numbers, 2] * (trust / trust.mean()).to(landmarks)


def _initial(rig: LandmarkRig, points: Tensor, valid: Tensor, intrinsics: Tensor, num_expression: int) -> Solution:
    """A frontal head of average shape, turned and placed by the landmarks' spread; gaps are interpolated."""
    rigid = points.new_zeros(len(points), RIGID)
    template = rig.template - rig.template.mean(0)
    for frame in valid.nonzero()[:, 0].tolist():
        pixels = points[frame, :, :2]
        rotation, scale = _weak_perspective(template, pixels - pixels.mean(0))
        rigid[frame, :3] = matrix_to_axis_angle(rotation)
        depth = intrinsics[0, 0] / scale
        ray = (pixels.mean(0) - intrinsics[:2, 2]) / intrinsics[0, 0]
        target = torch.stack([ray[0] * depth, -ray[1] * depth, -depth])
        betas = points.new_zeros(rig.shape_basis.shape[2])
        here = rig.points(betas, points.new_zeros(1, num_expression), rigid[frame : frame + 1])[0].mean(0)
        rigid[frame, 3:6] = target - here
    return Solution(
        betas=points.new_zeros(rig.shape_basis.shape[2]),
        expression=points.new_zeros(len(points), num_expression),
        rigid=_interpolate_gaps(rigid, valid),
    )


def _weak_perspective(template: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation [3, 3] and scale (pixels per metre) that map centred points to centred pixels (y down) best."""
    flipped = pixels * pixels.new_tensor([1.0, -1.0])
    affine = torch.linalg.lstsq(template, flipped).solution.T  # [2, 3] rows: pixel axes in model space
    scale = affine.norm(dim=1).mean()
    first, second = torch.nn.functional.normalize(affine, dim=1)
    rows = torch.stack([first, second, torch.linalg.cross(first, second)])
    left, _, right = torch.linalg.svd(rows)
    flip = torch.diag(torch.stack([scale.new_ones(()), scale.new_ones(()), torch.det(left @ right)]))
    return left @ flip @ right, scale


def _interpolate_gaps(values: Tensor, valid: Tensor) -> Tensor:
    """Rows of invalid frames from the valid ones around them, linearly; the ends repeat the nearest one."""
    seen = valid.nonzero()[:, 0]
    frames = torch.arange(len(values), device=values.device)
    right = torch.searchsorted(seen, frames).clamp(max=len(seen) - 1)
    left = torch.where(seen[right] > frames, (right - 1).clamp(min=0), right)
    a, b = seen[left], seen[right]
    share = ((frames - a).float() / (b - a).clamp(min=1).float()).clamp(0, 1)[:, None]
    return values[a] * (1 - share) + values[b] * share
