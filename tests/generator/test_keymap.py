from __future__ import annotations

import pytest
import torch
from diffusers import WanTransformer3DModel

from expportrait_core.generator import keymap


def image_to_video_wan() -> WanTransformer3DModel:
    return WanTransformer3DModel(
        num_attention_heads=1, attention_head_dim=128, in_channels=36, text_dim=16, freq_dim=32, ffn_dim=64,
        num_layers=12, image_dim=32, added_kv_proj_dim=128, pos_embed_seq_len=10,
    )  # fmt: skip


def test_every_weight_has_one_native_name_and_comes_back():
    state = image_to_video_wan().state_dict()
    native = keymap.native_state_dict(state, "diffusion_model.")
    assert len(native) == len(state)
    back = keymap.diffusers_state_dict(native, "diffusion_model.")
    assert back.keys() == state.keys()
    assert all(back[key] is value for key, value in state.items())


@pytest.mark.parametrize(
    ("diffusers", "native"),
    [
        ("blocks.10.attn1.to_out.0.weight", "blocks.10.self_attn.o.weight"),
        ("blocks.3.attn2.norm_added_k.weight", "blocks.3.cross_attn.norm_k_img.weight"),
        ("blocks.3.norm2.bias", "blocks.3.norm3.bias"),
        ("blocks.0.scale_shift_table", "blocks.0.modulation"),
        ("scale_shift_table", "head.modulation"),
        ("condition_embedder.time_proj.weight", "time_projection.1.weight"),
        ("condition_embedder.image_embedder.pos_embed", "img_emb.emb_pos"),
        ("blocks.1.ffn.net.0.proj.lora_A.weight", "blocks.1.ffn.0.lora_A.weight"),
    ],
)
def test_names_of_the_published_files(diffusers, native):
    assert keymap.to_native(diffusers) == native
    assert keymap.to_diffusers(native) == diffusers


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="'blocks.0.norm9.weight' is not a weight of a Wan transformer"):
        keymap.to_native("blocks.0.norm9.weight")


def test_keys_without_the_prefix_are_left_out():
    state = {"diffusion_model.head.head.weight": torch.zeros(1), "dwpose_embedding.0.weight": torch.zeros(1)}
    assert list(keymap.diffusers_state_dict(state, "diffusion_model.")) == ["proj_out.weight"]
