"""A stable square around the head, and the way back into the full picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..body import landmark_points, pose_vertices, with_level
from ..body.landmark_groups import SCHEMES
from ..types import HeadCrop, HeadModel, Progress, SMPLXFit, no_progress

FACE_SHARE = 0.55  # of the square's side that the face takes, brows' upper edge of the oval to the chin
FACE_CENTRE = 0.57  # of the side: the face's middle lies a little low, hair is taller than a neck is long
FOLLOW_SECONDS = 0.5  # how fast an unstable square follows the face


def crop_portrait(
    images: Tensor,  # [F, H, W, 3] 0..1
    fit: SMPLXFit,  # of these pictures
    model: HeadModel | None = None,  # needed where the fit carries no landmarks
    size: int = 512,
    face_share: float = FACE_SHARE,
    stability: float = 1.0,
    progress: Progress = no_progress,
) -> tuple[Tensor, SMPLXFit, HeadCrop]:
    """Cut a square around the head out of every frame.

    Args:
        size: side of the cropped pictures in pixels.
        face_share: how much of the side the face takes.
        stability: 1 keeps one square for the whole clip, 0 follows the face over about half a second.

    Returns:
        the pictures [F, size, size, 3]; the fit with its camera and landmarks in the cropped pictures; the crop.

    Raises:
        ValueError: pictures and fit do not belong together, there is nothing that tells where the face is, or a size,
            share or stability that no square has.
    """
    if len(images) != fit.num_frames or tuple(images.shape[1:3]) != fit.image_size:
        raise ValueError(
            f"There are {len(images)} pictures of {images.shape[2]}x{images.shape[1]} pixels and a fit of "
            f"{fit.num_frames} frames of {fit.image_size[1]}x{fit.image_size[0]}. Give the pictures that were tracked."
        )
    crop = plan_crop(fit, model, size, face_share, stability)
    return cut_square(images, crop, progress), fit_in_crop(fit, crop), crop


def plan_crop(
    fit: SMPLXFit, model: HeadModel | None = None, size: int = 512, face_share: float = FACE_SHARE,
    stability: float = 1.0,
) -> HeadCrop:  # fmt: skip
    """The square of every frame, without touching a picture."""
    if not size >= 1:
        raise ValueError(f"The size of the crop is {size} pixels, expected at least 1.")
    if not 0 < face_share <= 1:
        raise ValueError(f"The face is to take {face_share} of the crop's side, expected more than 0 and at most 1.")
    if not 0 <= stability <= 1:
        raise ValueError(f"The crop's stability is {stability}, expected 0 (follows the face) to 1 (keeps still).")
    _ = fit.first_valid  # no face, no crop
    low, high = _face_boxes(fit, model)  # [F, 2] each
    seen = fit.valid
    side = (high - low)[seen].amax(dim=1).median() / face_share
    centre = (low + high) / 2
    fixed = centre[seen].mean(0)
    following = _smooth(centre, seen, FOLLOW_SECONDS * fit.fps)
    middle = stability * fixed + (1 - stability) * following
    corner = middle - side * middle.new_tensor([0.5, FACE_CENTRE])
    return HeadCrop(corner=corner, side=side.expand(len(corner)).clone(), size=size, source_size=fit.image_size)


def fit_in_crop(fit: SMPLXFit, crop: HeadCrop) -> SMPLXFit:
    """The same fit seen through the crop: camera and landmarks in its pixels."""
    scale = crop.size / crop.side  # [F]
    intrinsics = fit.camera.intrinsics.clone()
    intrinsics[:, :2, 2] -= crop.corner
    intrinsics[:, :2] *= scale[:, None, None]
    landmarks = fit.landmarks
    if landmarks is not None:
        pixels = (landmarks[..., :2] - crop.corner[:, None]) * scale[:, None, None]
        landmarks = torch.cat([pixels, landmarks[..., 2:]], -1)
    camera = fit.camera.replace(intrinsics=intrinsics, image_size=(crop.size, crop.size))
    return fit.replace(camera=camera, landmarks=landmarks)


def cut_square(
    images: Tensor,  # [F, H, W, C] of crop.source_size
    crop: HeadCrop,
    progress: Progress = no_progress,
) -> Tensor:
    """The squares [F, size, size, C]; what lies beyond the picture repeats its edge."""
    samples = max(1, round(float(crop.side.max()) / crop.size))  # several samples a pixel where the square shrinks
    steps = (torch.arange(crop.size * samples, device=images.device) + 0.5) / samples
    cut = images.new_empty(len(images), crop.size, crop.size, images.shape[3])
    for index, (image, corner, side) in enumerate(zip(images, crop.corner, crop.side, strict=True)):
        along = steps * side / crop.size
        fine = _sample(image, corner[0] + along, corner[1] + along)
        cut[index] = F.avg_pool2d(fine.permute(2, 0, 1), samples).permute(1, 2, 0).clamp(0, 1)
        progress(index + 1, len(images), cut[index])
    return cut


def crop_mask(
    mask: Tensor,  # [F, H, W] or [1, H, W] 0..1 of the pictures that were cropped
    crop: HeadCrop,  # of F frames
) -> Tensor:  # [F, size, size]
    """The same squares of a mask.

    Raises:
        ValueError: it has another size or another number of frames than the pictures.
    """
    frames = len(crop.side)
    if mask.dim() != 3 or tuple(mask.shape[1:]) != tuple(crop.source_size) or len(mask) not in (1, frames):
        counts = "1" if frames == 1 else f"1 or {frames}"
        height, width = crop.source_size
        raise ValueError(
            f"The mask has the shape {list(mask.shape)}, expected [{counts}, {height}, {width}] like the pictures. "
            f"Give the mask of the whole pictures."
        )
    return cut_square(mask.expand(frames, -1, -1)[..., None], crop)[..., 0]


def paste_back(
    frames: Tensor,  # [F, S, S, 3] new pictures of the crop, of any side S
    crop: HeadCrop,
    source: Tensor,  # [H, W, 3] or [F, H, W, 3] the full pictures
    feather: float = 0.06,  # of the square's side that blends into the picture
    mask: Tensor | None = None,  # [F, S, S] 0..1, what of the crop is to be used
    progress: Progress = no_progress,
) -> Tensor:
    """The full pictures [F, H, W, 3] with the squares put back where they were cut out.

    A crop of one frame serves any number of new frames: a photo has one square.

    Raises:
        ValueError: sizes or frame counts do not fit together.
    """
    source = source if source.ndim == 4 else source[None]
    if tuple(source.shape[1:3]) != tuple(crop.source_size):
        raise ValueError(
            f"The picture has {source.shape[2]}x{source.shape[1]} pixels, the crop was cut out of "
            f"{crop.source_size[1]}x{crop.source_size[0]}. Give the picture that was cropped."
        )
    for name, count in (("squares", len(crop.side)), ("full pictures", len(source))):
        if count not in (1, len(frames)):
            raise ValueError(f"There are {len(frames)} new frames and {count} {name}, expected 1 or {len(frames)}.")
    result = source.expand(len(frames), -1, -1, -1).clone()
    for index, frame in enumerate(frames):
        square = min(index, len(crop.side) - 1)
        _paste(result[index], frame, crop, square, feather, None if mask is None else mask[index])
        progress(index + 1, len(frames), result[index])
    return result


def _paste(target: Tensor, frame: Tensor, crop: HeadCrop, index: int, feather: float, mask: Tensor | None) -> None:
    height, width = crop.source_size
    (left, top), side = crop.corner[index].tolist(), float(crop.side[index])
    x0, x1 = max(int(left), 0), min(int(left + side) + 1, width)
    y0, y1 = max(int(top), 0), min(int(top + side) + 1, height)
    if x0 >= x1 or y0 >= y1:
        return
    x = (torch.arange(x0, x1, device=target.device) + 0.5 - left) / side  # 0..1 in the square
    y = (torch.arange(y0, y1, device=target.device) + 0.5 - top) / side
    new = _sample(frame, x * frame.shape[1], y * frame.shape[0]).clamp(0, 1)
    weight = _ramp(y, feather)[:, None] * _ramp(x, feather)[None]
    if mask is not None:
        weight = weight * _sample(mask[..., None], x * frame.shape[1], y * frame.shape[0])[..., 0].clamp(0, 1)
    area = target[y0:y1, x0:x1]
    area.lerp_(new, weight[..., None])


def _ramp(position: Tensor, feather: float) -> Tensor:
    """0 outside 0..1, rising smoothly to 1 over `feather` from either end."""
    inward = torch.minimum(position, 1 - position) / max(feather, 1e-6)
    t = inward.clamp(0, 1)
    return t * t * (3 - 2 * t)


def _sample(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bicubic samples [len(y), len(x), C] of a picture [H, W, C] at pixel positions; edges repeat."""
    height, width = image.shape[:2]
    grid_y, grid_x = torch.meshgrid(y / height * 2 - 1, x / width * 2 - 1, indexing="ij")
    grid = torch.stack([grid_x, grid_y], -1)[None].to(image)
    channels = image.permute(2, 0, 1)[None]
    drawn = F.grid_sample(channels, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return drawn[0].permute(1, 2, 0)


def _face_boxes(fit: SMPLXFit, model: HeadModel | None) -> tuple[Tensor, Tensor]:
    """Corners [F, 2] of the face in every frame: of the tracker's landmarks, or of the mesh's."""
    if fit.landmarks is not None:
        points, seen = fit.landmarks[..., :2], fit.landmarks[..., 2:] > 0
    elif model is not None and model.landmarks:
        fit.require_space(model)
        coarse = with_level(model, 0)
        vertices = pose_vertices(coarse, fit.betas, fit.expression, fit.poses, fit.translation)
        embedding = next(coarse.landmarks[scheme] for scheme in SCHEMES if scheme in coarse.landmarks)
        projected = fit.camera.project(landmark_points(vertices, coarse.faces, embedding))
        points = projected[..., :2] / projected[..., 2:]
        seen = points.isfinite()
    else:
        raise ValueError(
            "The fit carries no landmarks, so nothing tells where the face is. Give the head model as well, or track "
            "the picture here."
        )
    low = torch.where(seen, points, torch.inf).amin(dim=1)
    high = torch.where(seen, points, -torch.inf).amax(dim=1)
    return torch.where(low.isfinite(), low, 0.0), torch.where(high.isfinite(), high, 0.0)


def _smooth(values: Tensor, seen: Tensor, deviation: float) -> Tensor:
    """Gaussian mean over the seen frames [F, C]; deviation in frames."""
    frames = torch.arange(len(values), device=values.device, dtype=values.dtype)
    # 1e-12 of everything keeps a frame far from any seen one defined
    weight = torch.exp(-0.5 * ((frames[:, None] - frames) / max(deviation, 1e-3)) ** 2) + 1e-12
    weight = weight * seen
    return (weight / weight.sum(1, keepdim=True)) @ values
