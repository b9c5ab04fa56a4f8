"""`generate(picture, maps)`: the last of the five calls, on the demo generator."""

from __future__ import annotations

import torch
from torch import Tensor

from ..types import Progress, RenderedHead, no_progress
from .demo_model import PHOTO, PREVIEW, DemoConfig, DemoGenerator, load_demo, resize_pictures, unfold_pixels
from .sampling import SHIFT, euler, flow_sigmas

STEPS = 1  # our choice: an x0 network is at its best from pure noise
WINDOW, OVERLAP = 4, 1  # frames, our choice: the demo was trained on clips of up to four
FAR_OFF = 2.0  # times the side that the demo was trained at; our choice


@torch.no_grad()
def generate(
    picture: Tensor,  # [H, W, 3] in 0..1 the photo, or [F, H, W, 3] the photo preview's frames
    maps: RenderedHead,  # F frames
    model: DemoGenerator | None = None,
    steps: int = STEPS,
    seed: int = 0,
    strength: float = 1.0,
    window: int = WINDOW,  # frames per forward
    overlap: int = OVERLAP,  # frames that neighbouring windows share
    progress: Progress = no_progress,
    shift: float = SHIFT,  # bends the steps towards noise, as ComfyUI's ModelSamplingSD3
) -> Tensor:  # [F, h, w, 3] in 0..1, about 64 pixels wide with the shipped demo
    """A portrait video from a picture and the normals that drive it (§ "DiT video generator").

    Long clips pass through the transformer in overlapping windows that share one noise and are blended at every step.

    Raises:
        ValueError: the picture's frames are neither 1 nor F, or the normals are in another convention.
    """
    frames = len(maps.normals)
    pictures, mode = _pictures_and_mode(picture, frames)
    model = model or load_demo()
    _require_convention(maps, model.adapter.config.convention)
    config, device = model.config, maps.normals.device
    height, width = demo_size(maps.normals.shape[1], maps.normals.shape[2], config)
    model.to(device)

    reference = _to_video(maps.reference_normals, height, width)[:, :, 0]
    features = model.adapter.encode(_to_video(maps.normals, height, width), reference, chunk=8 * window)
    features = features.scaled(strength)
    video = _to_video(pictures.to(device), height, width)
    condition = model.condition(video.expand(-1, -1, frames, -1, -1), mode)  # the photo stands on every frame
    spans = windows(frames, window, overlap)
    random = torch.Generator().manual_seed(seed)
    shape = (1, config.latent_channels, frames, height // config.fold, width // config.fold)
    noise = torch.randn(shape, generator=random).to(device)
    done, total = 0, steps * len(spans)

    def predict(x: Tensor, t: float) -> Tensor:
        nonlocal done
        summed, weights = torch.zeros_like(x), x.new_zeros(frames)
        for start, stop, weight in spans:
            part = slice(start, stop)
            x0 = model.predict(x[:, :, part], t, condition[:, :, part], features.frames(start, stop)).float()
            weight = weight.to(x)
            summed[:, :, part] += x0 * weight.reshape(1, 1, -1, 1, 1)
            weights[part] += weight
            done += 1
            progress(done, total, to_pictures(x0[:, :, -1:], config.fold)[0])
        return summed / weights.reshape(1, 1, -1, 1, 1)

    return to_pictures(euler(predict, noise, flow_sigmas(steps, shift)), config.fold)


def windows(frames: int, window: int, overlap: int) -> list[tuple[int, int, Tensor]]:
    """Spans (start, stop, weight [stop - start]) that cover a clip; weights ramp up and down where spans overlap."""
    if not 0 <= overlap < window:
        raise ValueError(f"The overlap is {overlap} frames, expected 0 to {window - 1} for windows of {window}.")
    if frames <= window:
        return [(0, frames, torch.ones(frames))]
    starts = list(range(0, frames - window, window - overlap)) + [frames - window]
    ramp = torch.arange(1, window + 1, dtype=torch.float32).clamp(max=overlap + 1) / (overlap + 1)
    return [(s, s + window, torch.minimum(ramp, ramp.flip(0))) for s in starts]


def demo_size(height: int, width: int, config: DemoConfig) -> tuple[int, int]:
    """Height and width that the demo works at: the area it was trained on in the maps' shape, in whole tokens."""
    side, scale = config.adapter.pixel_compression, config.size / (height * width) ** 0.5
    rounded = [max(side, round(n * scale / side) * side) for n in (height, width)]
    return rounded[0], rounded[1]


def require_demo_size(height: int, width: int, config: DemoConfig) -> None:
    """Refuse pictures that the demo would take minutes for and make nothing of.

    Raises:
        ValueError: their sides are more than FAR_OFF times that of its training, or less than that share of it.
    """
    good = demo_size(height, width, config)
    if not 1 / FAR_OFF <= (height * width / (good[0] * good[1])) ** 0.5 <= FAR_OFF:
        raise ValueError(
            f"The video is {width}x{height} pixels, and the demo generator was trained at about {config.size}. Bring "
            f"the picture to {good[1]}x{good[0]} first (Upscale Image), or use ExpPortrait DiT Sampler, which does."
        )


def _pictures_and_mode(picture: Tensor, frames: int) -> tuple[Tensor, float]:
    pictures = picture[None] if picture.dim() == 3 else picture
    if pictures.dim() != 4 or pictures.shape[-1] != 3:
        raise ValueError(f"The picture has shape {list(picture.shape)}, expected [H, W, 3] or [F, H, W, 3] in 0..1.")
    if len(pictures) == 1:
        return pictures, PHOTO
    require_pictures(len(pictures), frames)
    return pictures, PREVIEW


def require_pictures(pictures: int, frames: int) -> None:
    """Raise a sentence unless there is one picture, or one for each of the normal maps."""
    if pictures not in (1, frames):
        raise ValueError(
            f"There are {pictures} pictures and {frames} normal maps. Give one photo, or one preview frame for "
            f"every normal map."
        )


def _require_convention(maps: RenderedHead, expected: str) -> None:
    if maps.convention != expected:
        raise ValueError(
            f"The normals are in the convention '{maps.convention}', the generator was trained on '{expected}'. "
            f"Render them with Render Normals in camera space."
        )


def _to_video(pictures: Tensor, height: int, width: int) -> Tensor:
    """[F, H, W, 3] in 0..1 → [1, 3, F, height, width] in -1..1."""
    resized = resize_pictures(pictures.float(), height, width)
    return (resized * 2 - 1).permute(3, 0, 1, 2)[None].contiguous()


def to_pictures(latents: Tensor, fold: int) -> Tensor:
    """[1, C, F, h, w] → [F, H, W, 3] in 0..1."""
    return (unfold_pixels(latents.float(), fold)[0] * 0.5 + 0.5).clamp(0, 1).permute(1, 2, 3, 0).contiguous()
