"""The demo generator: a tiny Wan transformer with the adapter, to prove that the whole pipeline works on any machine.

It is not the paper's generator. Its "VAE" folds 2×2 pixels into channels, its tokens are 4 pixels wide, it was trained
on rendered heads only, and it predicts x0. The picture stands on every frame of the image condition, in one of two
modes that the mask channels tell apart: the photo itself (mask 0, the paper's conditions), or the frames of the photo
preview (mask 1, the best picture). Everything is expressible in ComfyUI's own Wan class: head width 128, text width
4096, 4 mask channels, no image embedding; the text is ignored.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..assets import ASSETS
from ..portable import read_safetensors, write_safetensors
from . import keymap
from .adapter import MASK_CHANNELS, AdapterConfig, AdapterFeatures, ExpPortraitAdapter, adapter_from_tensors
from .diffusers_host import inject

FORMAT = "expportrait.demo_generator"
WEIGHTS = ASSETS / "demo_generator.safetensors"
NATIVE_PREFIX = "diffusion_model."
TEXT_DIM = 4096
PHOTO, PREVIEW = 0.0, 1.0  # value of the mask channels: Wan's 1 is "this frame is given"
ANCHOR = 40.0  # see initialise_as_copy
NEIGHBOURS = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (-1, -1), (0, 0))  # see look_nearby
SHARP_PAIRS, SHARPNESS = 5, 1.5  # rotary pairs fast enough to tell neighbours apart, and their weight


@dataclass(frozen=True)
class DemoConfig:
    """Sizes of the demo transformer; all are our choice."""

    size: int = 64  # side of the square pictures it was trained on, pixels
    fold: int = 2  # pixels per side of one latent
    heads: int = 2  # of width 128, which ComfyUI's loader assumes
    layers: int = 4
    ffn_dim: int = 768

    @property
    def latent_channels(self) -> int:
        return 3 * self.fold**2

    @property
    def dim(self) -> int:
        return 128 * self.heads

    @property
    def adapter(self) -> AdapterConfig:
        """No compression in time; the stride comes first because full resolution only adds cost."""
        return AdapterConfig(
            base="expportrait-demo",
            dim=self.dim,
            latent_channels=self.latent_channels,
            concat_channels=MASK_CHANNELS + self.latent_channels,
            width=32,
            pose_strides=((1, self.fold, self.fold), (1, 1, 1), (1, 1, 1)),
            reference_strides=(self.fold, 1, 1),
            prediction_type="x0",
        )


def fold_pixels(video: Tensor, fold: int = 2) -> Tensor:
    """[B, 3, T, H, W] → [B, 3·fold², T, H/fold, W/fold]: the demo's encoder."""
    batch, channels, frames, height, width = video.shape
    blocks = video.reshape(batch, channels, frames, height // fold, fold, width // fold, fold)
    return blocks.permute(0, 1, 4, 6, 2, 3, 5).reshape(batch, -1, frames, height // fold, width // fold).contiguous()


def unfold_pixels(latents: Tensor, fold: int = 2) -> Tensor:
    """The inverse of `fold_pixels`: the demo's decoder."""
    batch, channels, frames, height, width = latents.shape
    blocks = latents.reshape(batch, channels // fold**2, fold, fold, frames, height, width)
    return blocks.permute(0, 1, 4, 5, 2, 6, 3).reshape(batch, -1, frames, height * fold, width * fold).contiguous()


class DemoGenerator(nn.Module):
    """The transformer and its adapter. `transformer` is diffusers' own class, unchanged."""

    def __init__(self, config: DemoConfig | None = None):
        super().__init__()
        from diffusers import WanTransformer3DModel

        self.config = config = config or DemoConfig()
        self.transformer = WanTransformer3DModel(
            num_attention_heads=config.heads,
            attention_head_dim=128,
            in_channels=config.adapter.in_channels,
            out_channels=config.latent_channels,
            text_dim=TEXT_DIM,
            freq_dim=256,
            ffn_dim=config.ffn_dim,
            num_layers=config.layers,
        )
        self.adapter = ExpPortraitAdapter(config.adapter)
        initialise_as_copy(self.transformer, config)
        self._open_adapter()

    @torch.no_grad()
    def _open_adapter(self) -> None:
        """Random last layers: trained together with the transformer, the adapter need not start at zero.

        The normals enter beside the picture's values, not on top of them.
        """
        pose, reference = self.adapter.dwpose_embedding[-1], self.adapter.randomref_embedding_pose[-1]
        nn.init.normal_(pose.weight[8 * self.config.latent_channels : -2], std=0.05)
        nn.init.normal_(reference.weight[:MASK_CHANNELS], std=0.05)

    def condition(
        self,
        pictures: Tensor,  # [B, 3, T, H, W] in -1..1: the photo on every frame, or the preview's frames
        mode: float | Tensor,  # PHOTO or PREVIEW, or one of them per batch entry
    ) -> Tensor:  # [B, 4 + C, T, H/2, W/2]
        """The image condition: mask channels and picture latents."""
        latents = fold_pixels(pictures, self.config.fold)
        batch, _, frames, height, width = latents.shape
        mask = torch.as_tensor(mode, dtype=latents.dtype, device=latents.device).reshape(-1, 1, 1, 1, 1)
        return torch.cat([mask.expand(batch, MASK_CHANNELS, frames, height, width), latents], dim=1)

    def predict(
        self,
        x: Tensor,  # [B, C, T, h, w] noisy latents
        t: float | Tensor,  # time, 1 is noise; or [B]
        condition: Tensor,  # [B, 4 + C, T, h, w]
        features: AdapterFeatures,
    ) -> Tensor:  # [B, C, T, h, w]
        """The transformer's estimate of x0."""
        steps = torch.as_tensor(t, dtype=torch.float32, device=x.device).expand(len(x)) * 1000
        text = x.new_zeros(len(x), 1, TEXT_DIM)
        with inject(self.transformer, features, self.config.latent_channels):
            return self.transformer(torch.cat([x, condition], 1), steps, text, return_dict=False)[0]

    def save(self, path: str | Path, half: bool = True) -> Path:
        """Write the weights under ComfyUI's names beside the adapter's, float16 unless `half` is False.

        The zero matrices of `unread` are left out.
        """
        state = self.transformer.state_dict()
        if any(state.pop(name).any() for name in unread(self.config)):
            raise ValueError("The demo transformer reads its text. It must be trained without it.")
        tensors = {**keymap.native_state_dict(state, NATIVE_PREFIX), **self.adapter.state_dict()}
        dtype = torch.float16 if half else torch.float32
        tensors = {key: value.to(dtype) for key, value in tensors.items()}
        values = {"demo": asdict(self.config), "adapter": asdict(self.config.adapter)}
        note = "Demo weights trained on rendered heads: a proof that the pipeline works, not the paper's generator."
        return write_safetensors(path, FORMAT, tensors, values, note)


def load_demo(path: str | Path | None = None) -> DemoGenerator:
    """The shipped demo generator, or another file of its kind, in float32.

    Raises:
        ValueError: the file is missing, of another kind, or incomplete.
    """
    path = Path(path or WEIGHTS)
    tensors, values = read_safetensors(path, FORMAT)
    model = DemoGenerator(DemoConfig(**values["demo"]))
    state = keymap.diffusers_state_dict({k: v.float() for k, v in tensors.items()}, NATIVE_PREFIX)
    shapes = model.transformer.state_dict()
    state |= {name: torch.zeros_like(shapes[name]) for name in unread(model.config)}
    missing = model.transformer.load_state_dict(state, strict=False).missing_keys
    if missing:
        raise ValueError(f"{path.name} lacks {len(missing)} tensors of the demo transformer. Install the pack again.")
    adapter = {key: value for key, value in tensors.items() if not key.startswith(NATIVE_PREFIX)}
    model.adapter = adapter_from_tensors(AdapterConfig(**values["adapter"]), adapter, path.name)
    return model.eval().requires_grad_(False)


def unread(config: DemoConfig) -> list[str]:
    """Matrices that are zero, because the demo knows no text: the text's way in, and what would look at it.

    Whatever text a host gives, every cross-attention then adds the same constant.
    """
    layers = [f"blocks.{i}.attn2.to_{name}.weight" for i in range(config.layers) for name in "qk"]
    return ["condition_embedder.text_embedder.linear_1.weight", *layers]


@torch.no_grad()
def initialise_as_copy(transformer: nn.Module, config: DemoConfig) -> None:
    """Start from a transformer that returns its image condition, so that training only learns the change.

    The picture's values enter the token stream one by one and leave it one by one; every block's output starts at
    zero. Wan's last layer norm would take each token's mean away and divide by its spread. So every value enters a
    second time with the other sign, which keeps the mean at zero, and two more entries hold ±ANCHOR, far more than
    anything else: every token then has nearly the same spread. Layers that read the stream skip the anchors.
    """
    d, c = config.dim, config.latent_channels
    embed, head = transformer.patch_embedding, transformer.proj_out
    content = torch.arange(4 * c)
    embed.weight[: 8 * c] = 0
    embed.weight[:, :c] = 0  # blind to the noise, which says nothing where sampling starts, until training needs it
    for i in range(2):
        for j in range(2):
            rows = (i * 2 + j) * c + torch.arange(c)
            embed.weight[rows, c + MASK_CHANNELS + torch.arange(c), 0, i, j] = 1
            embed.weight[4 * c + rows, c + MASK_CHANNELS + torch.arange(c), 0, i, j] = -1
    embed.bias.zero_()
    embed.weight[-2:] = 0
    embed.bias[-2:] = torch.tensor([ANCHOR, -ANCHOR])
    spread = (2 * ANCHOR**2 / d) ** 0.5
    head.weight.zero_()
    head.weight[content, content] = spread / 2
    head.weight[content, 4 * c + content] = -spread / 2
    head.bias.zero_()
    transformer.scale_shift_table.zero_()
    embedder = transformer.condition_embedder
    for name in unread(config):
        transformer.get_parameter(name).zero_()
    for layer in (embedder.time_embedder.linear_2, embedder.time_proj):
        layer.weight.mul_(0.1)
        layer.bias.zero_()
    embedder.time_embedder.linear_2.weight.zero_()
    for number, block in enumerate(transformer.blocks):
        look_nearby(
            block.attn1, [NEIGHBOURS[(number * config.heads + h) % len(NEIGHBOURS)] for h in range(config.heads)]
        )
        block.scale_shift_table.zero_()
        block.scale_shift_table[:, [1, 4]] = spread - 1  # undo the anchors' part of the layer norm
        block.scale_shift_table[:, [2, 5]] = 1  # gates
        for layer in (block.attn1.to_q, block.attn1.to_k, block.attn1.to_v, block.ffn.net[0].proj):
            layer.weight[:, -2:] = 0
        for layer in (block.attn1.to_out[0], block.attn2.to_out[0], block.ffn.net[2]):
            layer.weight.zero_()
            layer.bias.zero_()


@torch.no_grad()
def look_nearby(attention: nn.Module, offsets: list[tuple[int, int]]) -> None:
    """Let each head begin by looking at the token that lies `offsets` (down, right) from its own.

    Moving a picture by some pixels is what the demo has to learn, and from attention to everything that takes long.
    Rotary embedding turns pair j of an axis by θ_j per token, so a constant query and key, the query turned by -θ_j
    times the offset, match best at that offset.
    """
    axes = (44, 42, 42)  # Wan's share of a head's 128 entries for time, height, width
    for h, offset in enumerate(offsets):
        for axis, shift in ((1, offset[0]), (2, offset[1])):
            first = 128 * h + sum(axes[:axis])
            theta = 10000 ** (-torch.arange(0, axes[axis], 2)[:SHARP_PAIRS] / axes[axis])
            even = first + 2 * torch.arange(SHARP_PAIRS)
            for layer, turn in ((attention.to_q, theta * shift), (attention.to_k, 0 * theta)):
                layer.bias[even] = 2 * turn.cos()
                layer.bias[even + 1] = 2 * turn.sin()
            for norm in (attention.norm_q, attention.norm_k):
                norm.weight[first : first + 2 * SHARP_PAIRS] = SHARPNESS


def resize_pictures(pictures: Tensor, height: int, width: int) -> Tensor:
    """[F, H, W, 3] → [F, height, width, 3], every new pixel the mean of what it covers."""
    if pictures.shape[1:3] == (height, width):
        return pictures
    return functional.interpolate(pictures.movedim(-1, 1), size=(height, width), mode="area").movedim(1, -1)
