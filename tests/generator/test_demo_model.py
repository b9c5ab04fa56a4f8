from __future__ import annotations

import pytest
import torch

from expportrait_core.generator import keymap
from expportrait_core.generator.demo_model import (
    NATIVE_PREFIX,
    PHOTO,
    PREVIEW,
    TEXT_DIM,
    WEIGHTS,
    DemoGenerator,
    fold_pixels,
    load_demo,
    resize_pictures,
    unfold_pixels,
    unread,
)  # fmt: skip
from expportrait_core.generator.fast_forward import fast_encode, fast_forward

from .tiny import TINY, tiny


def example(batch: int = 2, frames: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    video, normals = (torch.rand(batch, 3, frames, 16, 16, generator=random) * 2 - 1 for _ in range(2))
    return video, normals, torch.randn(batch, 12, frames, 8, 8, generator=random)


def test_folding_pixels_is_undone_by_unfolding():
    video = torch.rand(2, 3, 5, 8, 12)
    latents = fold_pixels(video)
    assert latents.shape == (2, 12, 5, 4, 6)
    assert torch.equal(unfold_pixels(latents), video)
    corner = latents[:, :, :, 0, 0].reshape(2, 3, 4, 5)
    assert torch.equal(corner[:, :, 1], video[:, :, :, 0, 1])


def test_new_transformer_returns_its_picture_whatever_the_noise():
    torch.manual_seed(0)
    model = DemoGenerator(TINY).eval()
    video, normals, noise = example()
    with torch.no_grad():
        condition = model.condition(video, PHOTO)
        features = model.adapter.encode(normals, normals[:, :, 0])
        x0 = model.predict(noise, 1.0, condition, features)
        assert (unfold_pixels(x0) - video).abs().max() < 0.1
        assert torch.allclose(model.predict(noise * 0, 0.5, condition, features), x0, atol=0.1)


def test_mask_channels_tell_the_mode_and_wan_has_four():
    video, _, _ = example()
    condition = tiny().condition(video, torch.tensor([PHOTO, PREVIEW]))
    assert condition.shape == (2, 16, 3, 8, 8)
    assert (condition[0, :4] == 0).all()
    assert (condition[1, :4] == 1).all()
    assert torch.equal(condition[:, 4:], fold_pixels(video))


def test_fast_forward_is_diffusers_forward():
    model, (video, normals, noise) = tiny(), example()
    condition = model.condition(video, torch.tensor([PHOTO, PREVIEW]))
    features = model.adapter.encode(normals, normals[:, :, 0])
    fast = fast_encode(model.adapter, normals, normals[:, :, 0], torch.float32)
    assert torch.allclose(fast.pose, features.pose, atol=1e-5)
    assert torch.allclose(fast.reference, features.reference, atol=1e-5)
    text = torch.zeros(1, 1, TEXT_DIM)
    for t in (1.0, 0.6):
        expected = model.predict(noise, t, condition, features)
        found = fast_forward(model.transformer, noise, t, condition, features, text, torch.float32)
        assert torch.allclose(found, expected, atol=2e-5)


def test_text_is_ignored():
    model, (video, _, noise) = tiny(), example()
    hidden = torch.cat([noise, model.condition(video, PHOTO)], 1)
    time, texts = torch.full((2,), 700.0), (torch.zeros(2, 1, TEXT_DIM), torch.randn(2, 5, TEXT_DIM))
    first, second = (model.transformer(hidden, time, text, return_dict=False)[0] for text in texts)
    assert torch.allclose(first, second, atol=1e-5)


def test_file_gives_the_same_generator_back_and_has_native_names(tmp_path):
    from safetensors import safe_open

    model, (video, normals, noise) = tiny(), example()
    path = model.save(tmp_path / "demo.safetensors", half=False)
    loaded = load_demo(path)
    condition = model.condition(video, PHOTO)

    def x0(m: DemoGenerator) -> torch.Tensor:
        return m.predict(noise, 1.0, condition, m.adapter.encode(normals, normals[:, :, 0]))

    assert loaded.config == TINY
    assert torch.equal(x0(loaded), x0(model))
    with safe_open(path, framework="pt") as file:
        keys = list(file.keys())
        assert "not the paper's generator" in file.metadata()["description"]
    assert NATIVE_PREFIX + "blocks.1.self_attn.q.weight" in keys
    assert NATIVE_PREFIX + "head.modulation" in keys
    assert "dwpose_embedding.0.weight" in keys
    assert not [name for name in unread(TINY) if NATIVE_PREFIX + keymap.to_native(name) in keys]


def test_transformer_that_reads_text_is_not_saved(tmp_path):
    model = tiny()
    model.transformer.get_parameter(unread(TINY)[0])[0, 0] = 1
    with pytest.raises(ValueError, match="trained without it"):
        model.save(tmp_path / "demo.safetensors")


def test_resizing_keeps_the_mean():
    pictures = torch.rand(2, 32, 48, 3)
    assert torch.allclose(resize_pictures(pictures, 8, 12).mean((1, 2)), pictures.mean((1, 2)), atol=1e-5)


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="the demo weights are not there")
def test_shipped_weights_are_small_and_what_comfyui_expects():
    assert WEIGHTS.stat().st_size <= 16 * 2**20
    model = load_demo()
    config = model.transformer.config
    assert (config.attention_head_dim, config.text_dim, config.freq_dim) == (128, TEXT_DIM, 256)
    assert tuple(config.patch_size) == (1, 2, 2)
    assert config.in_channels == 4 + 2 * config.out_channels
    assert config.out_channels != 48  # ComfyUI would take it for Wan 2.2's latent
