"""The adapter inside diffusers' `WanTransformer3DModel`, by two hooks and no change of the model.

A pre-hook of the model adds the reference features to the channels of the image condition, a hook of its
`patch_embedding` adds the pose features to the tokens. Both live exactly as long as the `with` block.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .adapter import AdapterFeatures, ExpPortraitAdapter


@contextmanager
def attach(
    transformer: nn.Module,  # a WanTransformer3DModel
    adapter: ExpPortraitAdapter,
    normals: Tensor,  # [B, 3, F, H, W] pictures of N^D in -1..1
    reference_normals: Tensor,  # [B, 3, H, W] picture of N^R in -1..1
    strength: float | Tensor = 1.0,  # or [B], one per batch entry: 0 for a negative branch without pose
    chunk: int = 16,  # latent frames encoded at a time
) -> Iterator[AdapterFeatures]:
    """Encode the normals and let every call of `transformer` inside the block see them.

    Raises:
        ValueError: adapter and transformer do not fit, or a call has another grid than the normals.
    """
    adapter.config.require_base(transformer.patch_embedding.out_channels, transformer.patch_embedding.in_channels)
    features = adapter.encode(normals, reference_normals, chunk)
    with inject(transformer, features, adapter.config.latent_channels, strength):
        yield features


@contextmanager
def inject(
    transformer: nn.Module,
    features: AdapterFeatures,
    latent_channels: int,  # the image condition's channels come behind these
    strength: float | Tensor = 1.0,
) -> Iterator[None]:
    """Like `attach`, with features that are already there. Nested blocks add up."""
    if isinstance(strength, float | int) and strength == 0:
        yield  # exactly the base model
        return
    features = features.scaled(strength)
    call = threading.local()  # the same transformer may be called from several threads

    def add_reference(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        hidden = args[0] if args else kwargs["hidden_states"]
        _require_grid(module, hidden, features)
        call.pending = True
        if features.reference is None:
            return args, kwargs
        reference = features.reference.to(hidden)
        latent, condition = hidden[:, :latent_channels], hidden[:, latent_channels:]
        hidden = torch.cat([latent, condition + reference], dim=1)
        return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden})

    def add_pose(_module: nn.Module, _args: tuple, tokens: Tensor) -> Tensor | None:
        # Only the first call of a forward is the video's own grid; a host may embed context latents afterwards.
        first, call.pending = getattr(call, "pending", False), False
        if not first or tokens.shape[2:] != features.pose.shape[2:]:
            return None
        return tokens + features.pose.to(tokens)

    handles = [
        transformer.register_forward_pre_hook(add_reference, with_kwargs=True),
        transformer.patch_embedding.register_forward_hook(add_pose),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _require_grid(transformer: nn.Module, hidden: Tensor, features: AdapterFeatures) -> None:
    patch = transformer.patch_embedding.stride
    grid = tuple(n // p for n, p in zip(hidden.shape[2:], patch, strict=True))
    expected = tuple(features.pose.shape[2:])
    if grid != expected:
        raise ValueError(
            f"The video has {grid[0]} latent frames of {grid[2]}x{grid[1]} tokens, the normals "
            f"{expected[0]} of {expected[2]}x{expected[1]}. Render the normals in the video's size and length."
        )
    if len(features.pose) not in (1, len(hidden)):
        raise ValueError(
            f"The batch has {len(hidden)} entries, the normals {len(features.pose)}. Give one clip, or one per entry."
        )
