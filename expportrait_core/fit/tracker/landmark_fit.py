"""Landmarks over time to an `SMPLXFit`: identity and focal length from some frames, then every frame of the clip."""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor

from ...body.posing import matrix_to_axis_angle
from ...types import Camera, HeadModel, SMPLXFit
from ..detect.landmark_scheme import check_landmarks, landmark_pairs, sufficient, trust
from ..detect.threads import in_threads, num_threads, one_torch_thread
from ..detect.turned import quarter_turns, turned_back, turned_camera, turned_size, warn_of_turn
from ..framing import beyond_picture, no_face, warn_of_cut_faces
from ..lens import require_lens
from .gaze import eye_poses
from .landmark_rig import RIGID, LandmarkRig, poses_from_rigid
from .solver import ExpressionPrior, Observation, Priors, Solution, solve_identity, solve_motion

FOCAL_OF_SIDE = 1.5  # focal length in picture sides, where the estimate begins: a 50 mm lens on film. Our choice
NUM_BETAS = 80
SHAPE_FRAMES = 48  # identity is solved from so many frames, spread over the clip
CHUNK, OVERLAP = 128, 12  # frames that are solved together, and how far neighbouring chunks look into each other
BEYOND = 0.1  # weight of a landmark that lies outside the picture, where nobody has seen it; our choice
JAW_OF_UNIT = 0.35  # radians that a detector's jawOpen of 1 begins with; our choice


def fit_landmarks(
    landmarks: Tensor,  # [F, L, 3] x, y in pixels and confidence 0..1; 0 throughout where a frame shows no face
    image_size: tuple[int, int],  # height, width
    model: HeadModel,
    fps: float = 25.0,
    focal: float | None = None,  # pixels; None estimates it
    priors: Priors = Priors(),
    scheme: str = "mediapipe478",  # or "ibug68", of any detector
    units: Tensor | None = None,  # [F, E] expressions of the head model that the detector saw, to begin with
    jaw: Tensor | None = None,  # [F] how far the detector saw the jaw open, 0..1
) -> SMPLXFit:
    """Identity, pose, expression and gaze of every frame from its landmarks.

    Raises:
        ValueError: no frame has landmarks, they are not of that scheme, the head model carries none, or the frame rate
            is no number above 0, or the focal length is no lens's.
    """
    require_camera(fps, focal, image_size)
    landmarks = check_landmarks(landmarks, scheme)
    valid = landmarks[..., 2].amax(dim=1) > 0
    require_seen(valid)
    warn_of_cut_faces(landmarks, image_size)
    with one_torch_thread(), torch.no_grad():
        seen, guess = _observed(model, landmarks, scheme, image_size, focal, priors)
        if quarters := quarter_turns(_tilt(seen.frames(valid))):
            warn_of_turn(quarters)
            upright, size = turned_back(landmarks, image_size, quarters), turned_size(image_size, quarters)
            seen, guess = _observed(model, upright, scheme, size, focal, priors)
        solved = _solved(seen, valid, guess, focal is None, model.expression_basis.shape[2], units, jaw)
        fit = _as_fit(solved, model, landmarks, scheme, valid, image_size, fps, quarters)
        return fit.replace(poses=eye_poses(fit, model))


def _solved(
    seen: Observation, valid: Tensor, guess: float, free_focal: bool, num_expression: int, units: Tensor | None,
    jaw: Tensor | None,
) -> Solution:  # fmt: skip
    start = _initial(seen, valid, guess, num_expression)
    shown = valid.nonzero()[:, 0]
    some = shown[torch.linspace(0, len(shown) - 1, min(SHAPE_FRAMES, len(shown))).round().long()]
    few = Solution(start.betas, start.expression[some], start.rigid[some], start.focal)
    few = solve_identity(seen.frames(some), few, free_focal)
    return few if len(valid) == 1 else _solve_in_chunks(seen, _from_few(few, some, start, valid, units, jaw))


def _as_fit(
    solved: Solution, model: HeadModel, landmarks: Tensor, scheme: str, valid: Tensor, image_size: tuple[int, int],
    fps: float, quarters: int,
) -> SMPLXFit:  # fmt: skip
    height, width = (int(s) for s in image_size)
    world_to_camera = torch.diag(landmarks.new_tensor([1.0, -1, -1, 1])).repeat(len(landmarks), 1, 1)
    intrinsics = pinhole(solved.focal, height, width).to(landmarks).repeat(len(landmarks), 1, 1)
    return SMPLXFit(
        betas=solved.betas,
        expression=solved.expression,
        poses=poses_from_rigid(solved.rigid),
        translation=solved.rigid[:, 3:6],
        camera=Camera(intrinsics, turned_camera(world_to_camera, quarters), (height, width)),
        expression_space=model.expression_space,
        model_id=model.model_id,
        fps=fps,
        valid=valid,
        landmarks=landmarks,
        landmark_scheme=scheme,
    )


def require_camera(
    fps: float,
    focal: float | None,  # pixels; None is estimated
    image_size: tuple[int, int] | None,  # height, width; None where there are no pictures
) -> None:
    """Raise a sentence, before the work, for a frame rate or a focal length that no camera has."""
    if not _above_zero(fps):
        raise ValueError(f"The pictures have {fps} frames per second, expected a number above 0, such as 25.")
    if focal is not None and not _above_zero(focal):
        raise ValueError(f"The focal length is {focal} pixels, expected a number above 0, or none to estimate it.")
    if focal is not None and image_size is not None:
        require_lens(focal, image_size)


def _above_zero(value: object) -> bool:
    return isinstance(value, Real) and 0 < value < math.inf


def require_seen(
    valid: Tensor,  # [F]
    picture: Tensor | None = None,  # [1, H, W, 3] 0..1 or bytes of one of the frames, where there are pictures
) -> None:
    """Raise a sentence if no frame shows a face."""
    if not valid.any():
        raise no_face("the picture" if len(valid) == 1 else f"any of the {len(valid)} frames", picture)


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
    deviation[[i for i, name in enumerate(names) if name.startswith("eyeBlink")]] = 1.0  # closed is as common as open
    upper = torch.where(used, 1.0, 0.0)
    upper[[i for i, name in enumerate(names) if name.startswith(("tongue", "eyeLook"))]] = 0.0
    # a blink comes and goes within three frames; everything else on a face is slower
    quick = ("eyeBlink", "eyeSquint", "eyeWide", "mh:eye-")
    temporal = torch.tensor([2.0 if name.startswith(quick) else 0.25 for name in names])
    return ExpressionPrior(deviation, temporal, torch.zeros(len(names)), upper)


def _observed(
    model: HeadModel, landmarks: Tensor, scheme: str, image_size: tuple[int, int], focal: float | None, priors: Priors
) -> tuple[Observation, float]:
    """What the solver sees, without the iris points, which follow the gaze and not the head; the focal guess."""
    model_scheme, of_model, of_array = landmark_pairs(model, scheme)
    rig = LandmarkRig.of(model, model_scheme, min(NUM_BETAS, model.shape_basis.shape[2]))
    position = {number: i for i, number in enumerate(rig.numbers.tolist())}
    enough = sufficient(scheme)
    kept = [(position[m], a) for m, a in zip(of_model, of_array) if m in position and a in enough]
    rows, numbers = (torch.tensor(column) for column in zip(*kept))
    rig = rig.select(rows, numbers)
    weights = trust(scheme)[numbers].to(landmarks)
    weights = landmarks[:, numbers, 2] * (weights / weights.mean())
    weights = weights * torch.where(beyond_picture(landmarks, image_size)[:, numbers], BEYOND, 1.0)
    height, width = image_size
    centre = landmarks.new_tensor([width / 2, height / 2])
    seen = Observation(rig, landmarks[:, numbers, :2], weights, centre, expression_prior(model), priors)
    return seen, focal or FOCAL_OF_SIDE * max(height, width)


def _solve_in_chunks(seen: Observation, start: Solution) -> Solution:
    """Expression and rigid values of all frames for a known identity, chunk by chunk with overlap."""
    total = len(seen.landmarks)

    def solved(first: int) -> Solution:
        last, low, high = min(first + CHUNK, total), max(first - OVERLAP, 0), min(first + CHUNK + OVERLAP, total)
        part = Solution(start.betas, start.expression[low:high], start.rigid[low:high], start.focal)
        part = solve_motion(seen.frames(slice(low, high)), part)
        inner = slice(first - low, last - low)
        return Solution(start.betas, part.expression[inner], part.rigid[inner], start.focal)

    parts = [part for _, part in in_threads(solved, range(0, total, CHUNK), num_threads())]
    expression, rigid = torch.cat([p.expression for p in parts]), torch.cat([p.rigid for p in parts])
    return Solution(start.betas, expression, rigid, start.focal)


def _from_few(
    few: Solution, some: Tensor, start: Solution, valid: Tensor, units: Tensor | None, jaw: Tensor | None
) -> Solution:
    """Where the frames begin: at the identity's frames nearest to them, or at what the detector saw."""
    solved = torch.zeros_like(valid)
    solved[some] = True
    values = torch.cat([start.rigid, start.expression], 1)
    values[some] = torch.cat([few.rigid, few.expression], 1)
    between = interpolate_gaps(values, solved)
    expression, rigid = between[:, RIGID:], between[:, :RIGID]
    # the first guess of pose and place knew no identity: what that gave in the solved frames holds in between
    rigid = start.rigid + interpolate_gaps(few_offsets(few, some, start), solved)
    rigid[:, 6:] = between[:, 6:RIGID]
    if units is not None:
        expression = torch.where(valid[:, None], units.to(expression), expression)  # within bounds after one step
    if jaw is not None:
        rigid[:, 6] = torch.where(valid, jaw.to(rigid) * JAW_OF_UNIT, rigid[:, 6])
    return Solution(few.betas, expression, rigid, few.focal)


def few_offsets(few: Solution, some: Tensor, start: Solution) -> Tensor:
    """[F, 8] how far the identity's frames moved from their first guess, 0 elsewhere."""
    offsets = torch.zeros_like(start.rigid)
    offsets[some] = few.rigid - start.rigid[some]
    return offsets


def _initial(seen: Observation, valid: Tensor, focal: float, num_expression: int) -> Solution:
    """A head of average shape, turned and placed by the landmarks' spread; gaps are interpolated."""
    rig = seen.rig
    betas = seen.landmarks.new_zeros(rig.shape_basis.shape[2])
    expression = seen.landmarks.new_zeros(len(valid), num_expression)
    rigid = seen.landmarks.new_zeros(len(valid), RIGID)
    rotation, scale, middle, weights = _average_head(seen.frames(valid))
    rigid[valid, :3] = _continuous(matrix_to_axis_angle(rotation))
    depth = focal / scale  # [F']
    ray = (middle - seen.centre) / focal
    target = torch.stack([ray[:, 0] * depth, -ray[:, 1] * depth, -depth], 1)
    here = (rig.points(betas, expression[valid], rigid[valid]) * weights[..., None]).sum(1)
    rigid[valid, 3:6] = target - here
    return Solution(betas, expression, interpolate_gaps(rigid, valid), focal)


def _continuous(vectors: Tensor) -> Tensor:
    """The same rotations [F, 3] in axis-angle, each the way round that is nearer to the one before: of a head that is
    upside down against the rest of the clip noise would flip it."""
    result = vectors.clone()
    for before, vector in zip(result, result[1:]):
        other = vector * (1 - 2 * math.pi / vector.norm().clamp(min=1e-9))
        if (other - before).norm() < (vector - before).norm():
            vector.copy_(other)
    return result


def _tilt(seen: Observation) -> Tensor:
    """[F] radians by which each face is tilted in the picture, clockwise."""
    rotation, *_ = _average_head(seen)
    return torch.atan2(rotation[:, 0, 1], rotation[:, 1, 1])  # where the top of the head points


def _average_head(seen: Observation) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rotations [F, 3, 3] and scales [F] of an average head; the landmarks' middles [F, 2] and weights [F, L] of 1."""
    template = seen.rig.template - seen.rig.template.mean(0)
    weights = seen.weights / seen.weights.sum(1, keepdim=True)
    middle = (seen.landmarks * weights[..., None]).sum(1)
    return *_weak_perspective(template, seen.landmarks - middle[:, None], weights), middle, weights


def _weak_perspective(
    template: Tensor,  # [L, 3] metres
    pixels: Tensor,  # [F, L, 2] about their middle
    weights: Tensor,  # [F, L]
) -> tuple[Tensor, Tensor]:
    """Rotations [F, 3, 3] and scales [F] (pixels per metre) that map the template to the pixels (y down) best."""
    template = template - (template * weights[..., None]).sum(1, keepdim=True)  # [F, L, 3]
    weighted = (template * weights[..., None]).transpose(1, 2)
    flipped = pixels * pixels.new_tensor([1.0, -1.0])
    affine = torch.linalg.solve(weighted @ template, weighted @ flipped).transpose(1, 2)  # [F, 2, 3]
    scale = affine.norm(dim=2).mean(1)
    first, second = torch.nn.functional.normalize(affine, dim=2).unbind(1)
    rows = torch.stack([first, second, torch.linalg.cross(first, second)], 1)
    left, _, right = torch.linalg.svd(rows)
    flip = torch.diag_embed(torch.stack([torch.ones_like(scale)] * 2 + [torch.det(left @ right)], 1))
    return left @ flip @ right, scale


def interpolate_gaps(
    values: Tensor,  # [F, n]
    valid: Tensor,  # [F]
) -> Tensor:
    """Rows of invalid frames from the valid ones around them, linearly; the ends repeat the nearest one."""
    left, right, share = neighbours(valid)
    return torch.lerp(values[left], values[right], share[:, None].to(values))


def neighbours(valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of every frame the valid ones before and after it (itself if valid), and the share [F] 0..1 of the second."""
    seen = valid.nonzero()[:, 0]
    frames = torch.arange(len(valid), device=valid.device)
    right = torch.searchsorted(seen, frames).clamp(max=len(seen) - 1)
    left = torch.where(seen[right] > frames, (right - 1).clamp(min=0), right)
    a, b = seen[left], seen[right]
    return a, b, ((frames - a).float() / (b - a).clamp(min=1).float()).clamp(0, 1)
