"""What the demo generator reaches on its fixed evaluation set, mode by mode and with conditions taken away."""

from __future__ import annotations

import torch
from torch import Tensor

from ..types import Progress, no_progress
from .clip_pool import ClipPool, evaluation_pool
from .demo_model import PHOTO, PREVIEW, DemoGenerator, load_demo, unfold_pixels
from .generate import STEPS
from .sampling import euler, flow_sigmas

CLIPS_AT_ONCE = 8


@torch.no_grad()
def evaluate_demo(
    model: DemoGenerator | None = None,
    pool: ClipPool | None = None,  # rendered here if not given
    steps: int = STEPS,
    seed: int = 0,
    progress: Progress = no_progress,
) -> dict[str, float]:
    """Mean PSNR over clips, dB, of whole frames; keys with `_person` count the head and hair only.

    `psnr`: photo mode; `psnr_copy`: the photo itself; `psnr_no_normals` and `psnr_no_reference`: photo mode without
    that condition; `psnr_preview`: the preview alone; `psnr_preview_mode`: the generator on the preview.
    """
    model = model or load_demo()
    pool = pool or evaluation_pool(model.config.size)
    truth, previews = _videos(pool.pictures[:, 1:]), _videos(pool.previews)
    photo = _videos(pool.pictures[:, :1]).expand_as(truth)
    normals, reference = _videos(pool.normals[:, 1:]), _videos(pool.normals[:, :1])[:, :, 0]
    person = (pool.person[:, None, 1:] > 127).float()
    runs = {
        "psnr_copy": None,
        "psnr_preview": None,
        "psnr": (photo, PHOTO, 1.0),
        "psnr_no_normals": (photo, PHOTO, 0.0),
        "psnr_no_reference": (torch.zeros_like(photo), PHOTO, 1.0),
        "psnr_preview_mode": (previews, PREVIEW, 1.0),
    }
    figures = {}
    for i, (name, run) in enumerate(runs.items()):
        if run is None:
            video = photo if name == "psnr_copy" else previews
        else:
            video = sample_clips(model, run[0], run[1], normals, reference, run[2], steps, seed)
        figures[name] = psnr(video, truth)
        figures[f"{name}_person"] = psnr(video, truth, person)
        progress(i + 1, len(runs), None)
    return figures


@torch.no_grad()
def sample_clips(
    model: DemoGenerator,
    pictures: Tensor,  # [N, 3, T, S, S] in -1..1
    mode: float,
    normals: Tensor,  # [N, 3, T, S, S] in -1..1
    reference_normals: Tensor,  # [N, 3, S, S]
    strength: float,
    steps: int,
    seed: int,
) -> Tensor:  # [N, 3, T, S, S] in -1..1
    """Generate many short clips, some at a time, each in one window."""
    random, videos = torch.Generator().manual_seed(seed), []
    for start in range(0, len(pictures), CLIPS_AT_ONCE):
        part = slice(start, start + CLIPS_AT_ONCE)
        condition = model.condition(pictures[part], mode)
        features = model.adapter.encode(normals[part], reference_normals[part]).scaled(strength)
        noise = torch.randn(condition[:, : model.config.latent_channels].shape, generator=random).to(condition)

        def predict(x: Tensor, t: float, condition: Tensor = condition, features=features) -> Tensor:
            return model.predict(x, t, condition, features)

        videos.append(unfold_pixels(euler(predict, noise, flow_sigmas(steps)), model.config.fold))
    return torch.cat(videos).clamp(-1, 1)


def psnr(
    video: Tensor,  # [N, 3, T, S, S] in -1..1
    truth: Tensor,
    weight: Tensor | None = None,  # [N, 1, T, S, S]
) -> float:
    """Mean over clips of the PSNR, dB."""
    error = ((video - truth) / 2) ** 2
    weight = torch.ones_like(error) if weight is None else weight.expand_as(error)
    mean = (error * weight).sum((1, 2, 3, 4)) / weight.sum((1, 2, 3, 4)).clamp(min=1)
    return float((-10 * torch.log10(mean.clamp(min=1e-10))).mean())


def _videos(pictures: Tensor) -> Tensor:
    """uint8 [N, T, S, S, 3] → [N, 3, T, S, S] in -1..1."""
    return (pictures.float() / 127.5 - 1).permute(0, 4, 1, 2, 3).contiguous()
