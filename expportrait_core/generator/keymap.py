"""Names of Wan's weights: diffusers' `WanTransformer3DModel` and the native ones of Wan-AI and ComfyUI, both ways."""

from __future__ import annotations

import re

from torch import Tensor

# diffusers, native; {} stands for a block's number. Longer names come before their prefixes.
PAIRS = (
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("condition_embedder.image_embedder.norm1", "img_emb.proj.0"),
    ("condition_embedder.image_embedder.ff.net.0.proj", "img_emb.proj.1"),
    ("condition_embedder.image_embedder.ff.net.2", "img_emb.proj.3"),
    ("condition_embedder.image_embedder.norm2", "img_emb.proj.4"),
    ("condition_embedder.image_embedder.pos_embed", "img_emb.emb_pos"),
    *(
        (f"blocks.{{}}.{ours}.{a}", f"blocks.{{}}.{native}.{b}")
        for ours, native in (("attn1", "self_attn"), ("attn2", "cross_attn"))
        for a, b in (
            ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "o"), ("norm_q", "norm_q"), ("norm_k", "norm_k"),
            ("add_k_proj", "k_img"), ("add_v_proj", "v_img"), ("norm_added_k", "norm_k_img"),
            ("norm_added_q", "norm_q_img"),
        )
    ),
    ("blocks.{}.norm2", "blocks.{}.norm3"),
    ("blocks.{}.ffn.net.0.proj", "blocks.{}.ffn.0"),
    ("blocks.{}.ffn.net.2", "blocks.{}.ffn.2"),
    ("blocks.{}.scale_shift_table", "blocks.{}.modulation"),
    ("scale_shift_table", "head.modulation"),
    ("proj_out", "head.head"),
    ("patch_embedding", "patch_embedding"),
)  # fmt: skip


def _rename(key: str, source: int) -> str:
    for pair in PAIRS:
        pattern = re.escape(pair[source]).replace(re.escape("{}"), r"(\d+)") + r"(\.[a-zA-Z_.]*)?"
        match = re.fullmatch(pattern, key)
        if match:
            *numbers, rest = match.groups()
            return pair[1 - source].format(*numbers) + (rest or "")
    raise ValueError(f"'{key}' is not a weight of a Wan transformer. Choose a Wan 2.1 or 2.2 model file.")


def to_native(key: str) -> str:
    """diffusers' name → native name. Works for LoRA keys (`….to_q.lora_A.weight`) too."""
    return _rename(key, 0)


def to_diffusers(key: str) -> str:
    """Native name → diffusers' name."""
    return _rename(key, 1)


def native_state_dict(diffusers_state: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """A diffusers state dict under native names, each with `prefix` (`diffusion_model.` for ComfyUI)."""
    return {prefix + to_native(key): value for key, value in diffusers_state.items()}


def diffusers_state_dict(native_state: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """The way back; keys without `prefix` are left out."""
    return {to_diffusers(key[len(prefix) :]): value for key, value in native_state.items() if key.startswith(prefix)}
