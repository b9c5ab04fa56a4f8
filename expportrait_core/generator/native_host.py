"""The adapter inside ComfyUI's own Wan model: two wrappers for its model patcher, without importing ComfyUI.

`AdapterWrapper` goes around every forward of the transformer, `InWindows` around the whole model. Neither keeps
anything of one call for the next but the encoded normals, so both may be called from several threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..types import Progress, no_progress
from .adapter import ExpPortraitAdapter
from .demo_model import resize_pictures
from .generate import windows

FRAMES_KEY = "expportrait_frames"
"""In the transformer options: the numbers of the clip's latent frames that this call sees, and how many there are in
all, if that is known."""

STEM_CHUNK = 32  # latent frames encoded at a time


@dataclass(frozen=True)
class AdapterWrapper:
    """Adds the reference features to the image condition, and the pose features to the patch tokens, of every forward.

    The normals may have any size: they are brought to the grid of the latents. All but the last layer of the pose
    encoder is computed once and kept on the CPU; the last one runs each time.
    """

    adapter: ExpPortraitAdapter
    normals: Tensor  # [F, H, W, 3] pictures of N^D in 0..1
    reference_normals: Tensor  # [1, H, W, 3] picture of N^R
    strength: float = 1.0
    on_negative: bool = False  # whether the negative branch sees the normals too
    sigmas: tuple[float, float] = (float("inf"), -1.0)  # active from the first, the larger one, down to the second
    _encoded: dict[tuple[int, int], tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def __call__(
        self,
        executor: Callable[..., Tensor],
        x: Tensor,  # [B, latent + concat, T, h, w]
        timestep: Tensor,
        context: Tensor,
        clip_fea: Tensor | None = None,
        time_dim_concat: Tensor | None = None,
        transformer_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """ComfyUI's signature of a wrapper of kind DIFFUSION_MODEL.

        Raises:
            ValueError: the video has another length than the normals.
        """
        options = transformer_options or {}
        factors = self._factors(x, options)

        def forward(hidden: Tensor) -> Tensor:
            return executor(hidden, timestep, context, clip_fea, time_dim_concat, options, **kwargs)

        if not factors.any():
            return forward(x)
        embedding, config = executor.class_obj.patch_embedding, self.adapter.config
        grid = tuple(-(-n // p) for n, p in zip(x.shape[3:], config.patch[1:], strict=True))
        stem, reference = self._features(grid)
        stem = stem[:, :, self._frames(x.shape[2], stem.shape[2], options)]
        weight = next(self.adapter.parameters())
        pose = self.adapter.pose_tokens(stem.to(weight)).to(x) * factors
        reference = reference.to(x) * factors
        if config.concat_channels:
            behind = x[:, config.latent_channels :] + _cut(reference, x)
            x = torch.cat([x[:, : config.latent_channels], behind], 1)
        else:
            pose = pose + reference
        with _added_once(embedding, pose):
            return forward(x)

    def _factors(self, x: Tensor, options: dict[str, Any]) -> Tensor:  # [B, 1, 1, 1, 1]
        """The strength of every entry of the batch; 0 where it does not act."""
        now = options.get("sigmas")
        first, last = self.sigmas
        active = now is None or last <= float(now[0]) <= first
        branches = options.get("cond_or_uncond") or [0]
        of_branch = [self.strength * active * (branch == 0 or self.on_negative) for branch in branches]
        return x.new_tensor(of_branch).repeat_interleave(len(x) // len(branches)).view(-1, 1, 1, 1, 1)

    def _features(self, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Stem of the driving normals and features of the reference, for latents of so many tokens, on the CPU."""
        if grid not in self._encoded:
            height, width = (n * self.adapter.config.pixel_compression for n in grid)
            weight = next(self.adapter.parameters())
            video, reference = (
                (resize_pictures(pictures.float(), height, width) * 2 - 1).movedim(-1, 0)[None].contiguous().to(weight)
                for pictures in (self.normals, self.reference_normals)
            )
            stem = self.adapter.pose_stem(video, STEM_CHUNK)
            features = self.adapter.randomref_embedding_pose(reference[:, :, 0].contiguous()).unsqueeze(2)
            self._encoded[grid] = stem.cpu(), features.cpu()
        return self._encoded[grid]

    def _frames(self, found: int, there: int, options: dict[str, Any]) -> list[int]:
        """The latent frames of this call: all, or those of a window, ours or one of core's."""
        whole_clip = _window_of(options), None if _window_of(options) else found
        frames, total = options.get(FRAMES_KEY, whole_clip)
        frames = frames or list(range(found))
        if len(frames) != found or max(frames) >= there or total not in (None, there):
            compression = self.adapter.config.frame_compression
            raise ValueError(
                f"The video has {total or found} latent frames, the normals {there} ({len(self.normals)} pictures, "
                f"{compression} to a latent frame). Give video and normals the same length."
            )
        return frames


@dataclass(frozen=True)
class InWindows:
    """Lets the model see a long clip a few latent frames at a time, and blends what it says at every step.

    The windows are those of `generate`, so that both give the same video.
    """

    window: int
    overlap: int
    progress: Progress = no_progress  # counts windows; may raise to cancel
    preview: Callable[[Tensor], Tensor] | None = None  # latents [1, C, T, h, w] to pictures [T, H, W, 3]
    steps: int = 1  # for the progress
    _done: list[int] = field(default_factory=lambda: [0], repr=False)

    def __call__(
        self,
        executor: Callable[..., Tensor],
        x: Tensor,  # [B, C, T, h, w]
        t: Tensor,
        c_concat: Tensor | None = None,  # [B, 4 + C, T, h, w]
        c_crossattn: Tensor | None = None,
        control: Any = None,
        transformer_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """ComfyUI's signature of a wrapper of kind APPLY_MODEL: the estimate of x0."""
        options = transformer_options or {}
        numbers, total = _window_of(options), None
        if numbers is None:
            numbers, total = list(range(x.shape[2])), x.shape[2]
        spans = windows(x.shape[2], self.window, self.overlap)
        summed, weights = torch.zeros_like(x), x.new_zeros(x.shape[2])
        for start, stop, weight in spans:
            part, weight = slice(start, stop), weight.to(x)
            concat = None if c_concat is None else c_concat[:, :, part]
            seen = {**options, FRAMES_KEY: (numbers[part], total)}
            x0 = executor(x[:, :, part], t, concat, c_crossattn, control, seen, **kwargs)
            summed[:, :, part] += x0 * weight.view(1, 1, -1, 1, 1)
            weights[part] += weight
            self._done[0] += 1
            picture = self.preview(x0[:1, :, -1:])[0] if self.preview else None
            self.progress(self._done[0], max(self._done[0], self.steps * len(spans)), picture)
        return summed / weights.view(1, 1, -1, 1, 1)


def _window_of(options: dict[str, Any]) -> list[int] | None:
    """The latent frames of core's own context window, if there is one."""
    window = options.get("context_window")
    return None if window is None else list(window.index_list)


def _cut(features: Tensor, x: Tensor) -> Tensor:
    """The features in the latents' size, which may end in the middle of a token."""
    return features[..., : x.shape[-2], : x.shape[-1]]


class _added_once:
    """For the length of the block, the first call of a module has `value` added to its result where the grids agree:
    a host may embed context latents in later calls."""

    def __init__(self, module: nn.Module, value: Tensor) -> None:
        self.module, self.value, self.pending = module, value, True

    def __enter__(self) -> None:
        self.handle = self.module.register_forward_hook(self._add)

    def __exit__(self, *_: object) -> None:
        self.handle.remove()

    def _add(self, _module: nn.Module, _args: tuple, tokens: Tensor) -> Tensor | None:
        first, self.pending = self.pending, False
        if not first or tokens.shape[2:] != self.value.shape[2:]:
            return None
        return tokens + self.value.to(tokens)
