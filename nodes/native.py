"""The demo generator as core's own MODEL, VAE and CONDITIONING, and the adapter as a patch of any native Wan MODEL."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import comfy.latent_formats
import comfy.ldm.wan.model
import comfy.model_base
import comfy.model_management as management
import comfy.model_patcher
import comfy.patcher_extension
import comfy.sd
import comfy.supported_models
import torch
from comfy.patcher_extension import WrappersMP

if TYPE_CHECKING:
    from ..expportrait_core.generator.demo_model import DemoConfig
    from ..expportrait_core.generator.native_host import AdapterWrapper, InWindows

__all__ = ["DemoVAE", "DemoWan", "adapter_patcher", "apply_adapter", "demo_model", "empty_text", "with_windows"]

WINDOWS, ADAPTER = "expportrait_windows", "expportrait_adapter"
TEXT_TOKENS = 1  # the demo ignores its text
TIMESTEPS = 1000  # at pure noise
SMALLEST_SIGMA = 1e-6  # the velocity at 0 has no value, and none is needed there


class DemoLatents(comfy.latent_formats.LatentFormat):
    """Folded pixels: nothing to scale, and a preview is the mean of each fold."""

    latent_dimensions = 3

    def __init__(self, channels: int) -> None:
        self.latent_channels = channels
        share = 3 / channels
        self.latent_rgb_factors = [[share * (i * 3 // channels == c) for c in range(3)] for i in range(channels)]


class VelocityWan(comfy.ldm.wan.model.WanModel):
    """Core's transformer, whose weights say x0, saying the velocity (x - x0) / sigma as every Wan does.

    So the MODEL keeps core's own flow sampling, and nodes that replace it (shift) work as they do on Wan.
    """

    def forward(self, x, timestep, *args, **kwargs):
        x0 = super().forward(x, timestep, *args, **kwargs)
        sigma = (timestep / TIMESTEPS).clamp(min=SMALLEST_SIGMA).to(x0).view(-1, 1, 1, 1, 1)
        return (x[:, : x0.shape[1]] - x0) / sigma


class DemoWan(comfy.model_base.WAN21):
    """Core's Wan, with the picture on every frame of its image condition.

    The picture comes as a reference latent (core's ReferenceLatent, or the DiT Sampler): one frame is the photo, as
    many as the video has are the photo preview's.
    """

    def __init__(self, model_config, demo: DemoConfig, device=None) -> None:
        # past WAN21's own constructor, as core's other Wans: it would build another transformer
        super(comfy.model_base.WAN21, self).__init__(
            model_config, comfy.model_base.ModelType.FLOW, device=device, unet_model=VelocityWan
        )
        self.image_to_video, self.demo = True, demo

    def process_timestep(self, timestep, **kwargs):
        """What the transformer was trained with, also under a sampling node that counts from 0 to 1."""
        return timestep * (TIMESTEPS / float(self.model_sampling.timestep(torch.ones(1))))

    def concat_cond(self, **kwargs):
        from ..expportrait_core.generator.demo_model import MASK_CHANNELS, PHOTO, PREVIEW
        from ..expportrait_core.generator.generate import require_demo_size

        noise, given = kwargs["noise"], kwargs.get("reference_latents") or [kwargs.get("concat_latent_image")]
        if given[-1] is None:
            raise ValueError(
                "The demo generator needs the picture: use ExpPortrait DiT Sampler, or encode the picture with VAE "
                "Encode and give it to Reference Latent for both the positive and the negative."
            )
        picture = given[-1].to(kwargs["device"])
        frames, (height, width) = noise.shape[2], noise.shape[3:]
        if picture.ndim != 5 or picture.shape[2] not in (1, frames) or picture.shape[3:] != (height, width):
            raise ValueError(
                f"The picture's latent has the shape {list(picture.shape)}, the video's {list(noise.shape)}. Give one "
                f"picture, or one for every frame, in the video's size."
            )
        require_demo_size(height * self.demo.fold, width * self.demo.fold, self.demo)
        mode = PHOTO if picture.shape[2] == 1 else PREVIEW
        latents = picture.expand(len(noise), -1, frames, -1, -1)
        mask = latents.new_full((len(noise), MASK_CHANNELS, frames, height, width), mode)
        return torch.cat([mask, latents], dim=1)

    def extra_conds(self, **kwargs):
        out = super().extra_conds(**kwargs)
        out.pop("reference_latent", None)  # it has gone into the image condition
        return out


class FoldPixels(torch.nn.Module):
    """The demo's "VAE": pixels folded into channels."""

    def __init__(self, fold: int) -> None:
        super().__init__()
        self.fold = fold
        self.pixel_space_vae = torch.nn.Parameter(torch.tensor(1.0))  # core asks for parameters to find the device

    def encode(self, pixels: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        from ..expportrait_core.generator.demo_model import fold_pixels

        return fold_pixels(pixels, self.fold)

    def decode(self, samples: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        from ..expportrait_core.generator.demo_model import unfold_pixels

        return unfold_pixels(samples, self.fold)


class DemoVAE(comfy.sd.VAE):
    """Core's VAE around FoldPixels, so that VAE Encode and VAE Decode work as always."""

    def __init__(self, demo: DemoConfig) -> None:
        # core's own road for a VAE without weights; what differs from it is set below
        super().__init__(sd={"pixel_space_vae": torch.tensor(1.0)}, dtype=torch.float32)
        self.first_stage_model = FoldPixels(demo.fold).eval()
        self.patcher = comfy.model_patcher.ModelPatcher(
            self.first_stage_model, load_device=self.device, offload_device=management.vae_offload_device()
        )
        self.latent_channels, self.latent_dim = demo.latent_channels, 3
        self.downscale_ratio = self.upscale_ratio = (lambda frames: frames, demo.fold, demo.fold)
        self.downscale_index_formula = self.upscale_index_formula = (1, demo.fold, demo.fold)
        self.memory_used_encode = self.memory_used_decode = lambda shape, dtype: 4 * 8 * math.prod(shape)


def demo_model(demo: DemoConfig, state: dict[str, torch.Tensor]) -> comfy.model_patcher.ModelPatcher:
    """The demo's transformer as core's MODEL, in float32. `state` holds its weights under native names."""
    from ..expportrait_core.generator.adapter import MASK_CHANNELS
    from ..expportrait_core.generator.demo_model import TEXT_DIM
    from ..expportrait_core.generator.sampling import SHIFT

    config = comfy.supported_models.WAN21_T2V(
        {
            "image_model": "wan2.1", "model_type": "t2v", "dim": demo.dim, "num_heads": demo.heads,
            "num_layers": demo.layers, "ffn_dim": demo.ffn_dim, "text_dim": TEXT_DIM, "freq_dim": 256,
            "in_dim": 2 * demo.latent_channels + MASK_CHANNELS, "out_dim": demo.latent_channels,
        }
    )  # fmt: skip
    config.latent_format = DemoLatents(demo.latent_channels)
    config.sampling_settings = {"shift": SHIFT}
    config.set_inference_dtype(torch.float32, None)
    model = DemoWan(config, demo, device=torch.device("cpu"))
    model.diffusion_model.load_state_dict(state)
    model.eval().requires_grad_(False)
    return comfy.model_patcher.ModelPatcher(
        model, load_device=management.get_torch_device(), offload_device=management.unet_offload_device()
    )


def adapter_patcher(adapter: torch.nn.Module) -> comfy.model_patcher.ModelPatcher:
    """The adapter as a MODEL_PATCH, which core loads and frees."""
    return comfy.model_patcher.ModelPatcher(
        adapter, load_device=management.get_torch_device(), offload_device=management.unet_offload_device()
    )


def empty_text() -> list:
    """A CONDITIONING without words."""
    from ..expportrait_core.generator.demo_model import TEXT_DIM

    return [[torch.zeros(1, TEXT_TOKENS, TEXT_DIM), {}]]


def with_adapter(model, patch, wrapper: AdapterWrapper):
    """The MODEL with the adapter in it; several add up."""
    model = model.clone()
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, ADAPTER, wrapper)
    others = model.get_additional_models_with_key(ADAPTER)
    model.set_additional_models(ADAPTER, [*others, patch])
    return model


def with_windows(model, windows: InWindows):
    """The MODEL seeing the clip in these windows, instead of those that it had."""
    model = model.clone()
    model.remove_wrappers_with_key(WrappersMP.APPLY_MODEL, WINDOWS)
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, WINDOWS, windows)
    return model


def apply_adapter(
    model, patch, normals, reference_normals, strength: float, start: float = 0.0, end: float = 1.0,
    on_negative: bool = False,
):  # fmt: skip
    """The MODEL with the adapter in it, after checking that the two fit."""
    from ..expportrait_core.generator.adapter import ExpPortraitAdapter
    from ..expportrait_core.generator.native_host import AdapterWrapper

    adapter = patch.model
    if not isinstance(adapter, ExpPortraitAdapter):
        raise ValueError(
            f"This model patch is a {type(adapter).__name__}, not an ExpPortrait adapter. Use the one of Load Demo "
            f"Generator."
        )
    embedding = getattr(model.model.diffusion_model, "patch_embedding", None)
    if embedding is None or embedding.weight.ndim != 5:
        raise ValueError(
            f"The model is a {type(model.model).__name__}, and the adapter was made for Wan video models. Load the "
            f"model that it belongs to."
        )
    adapter.config.require_base(embedding.weight.shape[0], embedding.weight.shape[1])
    sigmas = tuple(float(model.get_model_object("model_sampling").percent_to_sigma(share)) for share in (start, end))
    wrapper = AdapterWrapper(adapter, normals[..., :3], reference_normals[:1, ..., :3], strength, on_negative, sigmas)
    return with_adapter(model, patch, wrapper)
