from __future__ import annotations

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import save_file

from expportrait_core.generator.adapter import AdapterConfig, ExpPortraitAdapter, load_adapter
from expportrait_core.generator.diffusers_host import attach, inject

WAN = AdapterConfig(base="tiny", dim=128, latent_channels=16, concat_channels=20)


def randomised(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=random) * 0.1)
    return module


def tiny_wan(in_channels: int = 36) -> WanTransformer3DModel:
    torch.manual_seed(0)
    return WanTransformer3DModel(
        num_attention_heads=1, attention_head_dim=128, in_channels=in_channels, out_channels=16, text_dim=16,
        freq_dim=32, ffn_dim=64, num_layers=2,
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def wan() -> WanTransformer3DModel:
    return tiny_wan()


@pytest.fixture
def inputs() -> dict:
    random = torch.Generator().manual_seed(1)
    return {
        "hidden_states": torch.randn(2, 36, 3, 4, 4, generator=random),
        "timestep": torch.tensor([500.0, 900.0]),
        "encoder_hidden_states": torch.randn(2, 8, 16, generator=random),
    }


@pytest.fixture
def normals() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(2)
    return torch.rand(1, 3, 9, 32, 32, generator=random) * 2 - 1, torch.rand(1, 3, 32, 32, generator=random) * 2 - 1


@torch.no_grad()
def run(wan: WanTransformer3DModel, inputs: dict) -> torch.Tensor:
    return wan(**inputs, return_dict=False)[0]


def hooks(wan: WanTransformer3DModel) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in wan.modules())


def test_untrained_adapter_and_strength_zero_equal_the_base(wan, inputs, normals):
    base = run(wan, inputs)
    with attach(wan, ExpPortraitAdapter(WAN), *normals):
        assert torch.equal(run(wan, inputs), base)
    trained = randomised(ExpPortraitAdapter(WAN))
    with attach(wan, trained, *normals, strength=0.0):
        assert torch.equal(run(wan, inputs), base)
    with attach(wan, trained, *normals):
        assert not torch.allclose(run(wan, inputs), base, atol=1e-3)


def test_each_batch_entry_has_its_own_strength(wan, inputs, normals):
    trained, base = randomised(ExpPortraitAdapter(WAN)), run(wan, inputs)
    with attach(wan, trained, *normals):
        full = run(wan, inputs)
    with attach(wan, trained, *normals, strength=torch.tensor([0.0, 1.0])):
        mixed = run(wan, inputs)
    assert torch.allclose(mixed[0], base[0], atol=1e-5)
    assert torch.allclose(mixed[1], full[1], atol=1e-5)


def test_two_half_strengths_add_up_to_one(wan, inputs, normals):
    trained = randomised(ExpPortraitAdapter(WAN))
    with attach(wan, trained, *normals):
        full = run(wan, inputs)
    with attach(wan, trained, *normals, strength=0.5), attach(wan, trained, *normals, strength=0.5):
        assert torch.allclose(run(wan, inputs), full, atol=1e-4)


def test_positional_and_keyword_input_are_the_same(wan, inputs, normals):
    with torch.no_grad(), attach(wan, randomised(ExpPortraitAdapter(WAN)), *normals):
        given = wan(inputs["hidden_states"], inputs["timestep"], inputs["encoder_hidden_states"], return_dict=False)[0]
        assert torch.equal(given, run(wan, inputs))


def test_no_hook_survives_an_exception(wan, inputs, normals):
    base, before = run(wan, inputs), hooks(wan)
    with pytest.raises(RuntimeError, match="cancelled"), attach(wan, randomised(ExpPortraitAdapter(WAN)), *normals):
        assert hooks(wan) == before + 2
        raise RuntimeError("cancelled")
    assert hooks(wan) == before
    with pytest.raises(ValueError), attach(wan, ExpPortraitAdapter(WAN), normals[0][..., :30], normals[1]):
        pass
    assert hooks(wan) == before
    assert torch.equal(run(wan, inputs), base)


def test_only_the_first_patch_embedding_of_a_forward_is_touched(wan, inputs, normals):
    adapter = randomised(ExpPortraitAdapter(WAN))
    video = inputs["hidden_states"]
    with torch.no_grad():
        plain = wan.patch_embedding(video)
        with attach(wan, adapter, *normals):
            assert torch.equal(wan.patch_embedding(video), plain)  # outside a forward
            run(wan, inputs)
            assert torch.equal(wan.patch_embedding(video), plain)  # the forward has used it up


def test_other_grid_and_batch_are_refused_in_a_sentence(wan, inputs, normals):
    adapter = ExpPortraitAdapter(WAN)
    short = attach(wan, adapter, normals[0][:, :, :5], normals[1])
    with pytest.raises(ValueError, match=r"3 latent frames.*2 of 2x2"), short:
        run(wan, inputs)
    features = adapter.encode(*(n.expand(3, *n.shape[1:]) for n in normals))
    with pytest.raises(ValueError, match="batch has 2 entries, the normals 3"), inject(wan, features, 16):
        run(wan, inputs)


def test_mismatched_transformer_names_both_numbers(normals):
    big = ExpPortraitAdapter(AdapterConfig("big", 5120, 16, 20))
    with pytest.raises(ValueError, match=r"width 5120 and 36.*width 128 and 36"), attach(tiny_wan(), big, *normals):
        pass
    with pytest.raises(ValueError, match="no image condition"):
        WAN.require_base(128, 16)


def test_frames_follow_wan(normals):
    assert WAN.latent_frames(81) == 21
    assert WAN.latent_frames(1) == 1
    with pytest.raises(ValueError, match=r"82 frames, expected 4k\+1. Cut it to 81 or extend it to 85"):
        WAN.latent_frames(82)
    features = ExpPortraitAdapter(WAN).encode(*normals)
    assert features.pose.shape == (1, 128, 3, 2, 2)
    assert features.reference.shape == (1, 20, 1, 4, 4)


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_encoding_in_chunks_changes_nothing(chunk):
    adapter = randomised(ExpPortraitAdapter(WAN))
    normals = torch.rand(1, 3, 29, 32, 32, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(adapter.pose_stem(normals, chunk), adapter.pose_stem(normals), atol=1e-5)


def test_base_without_image_condition_takes_the_reference_with_the_tokens(normals):
    config = AdapterConfig(
        "5b", 128, 48, 0, pose_strides=((1, 1, 1),) * 3 + ((1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2)),
        reference_strides=(1, 2, 2, 2, 2, 2),
    )  # fmt: skip
    features = randomised(ExpPortraitAdapter(config)).encode(*normals)
    assert features.reference is None
    assert features.pose.shape == (1, 128, 3, 1, 1)


def test_file_gives_the_same_adapter_back(tmp_path, normals):
    adapter = randomised(ExpPortraitAdapter(WAN))
    adapter.lora = {"diffusion_model.blocks.0.self_attn.q.lora_A.weight": torch.ones(2, 128)}
    loaded = load_adapter(adapter.save(tmp_path / "a.safetensors"))
    assert loaded.config == WAN
    assert loaded.lora.keys() == adapter.lora.keys()
    assert torch.equal(loaded.encode(*normals).pose, adapter.encode(*normals).pose)


def test_file_without_header_is_read_by_its_shapes(tmp_path):
    adapter = randomised(ExpPortraitAdapter(WAN))
    save_file(adapter.state_dict(), tmp_path / "plain.safetensors")
    loaded = load_adapter(tmp_path / "plain.safetensors")
    assert (loaded.config.dim, loaded.config.concat_channels, loaded.config.width) == (128, 20, 16)
    assert torch.equal(loaded.dwpose_embedding[12].weight, adapter.dwpose_embedding[12].weight)


def test_bad_files_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"other.safetensors has no format entry, expected 'expportrait.adapter'"):
        load_adapter(path)
    path.write_bytes(b"not a safetensors file")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        load_adapter(path)
    with pytest.raises(ValueError, match="There is no file"):
        load_adapter(tmp_path / "missing.safetensors")
    tensors = ExpPortraitAdapter(WAN).state_dict()
    tensors.pop("dwpose_embedding.12.bias")
    save_file(tensors, path)
    with pytest.raises(ValueError, match="lacks the tensor 'dwpose_embedding.12.bias'"):
        load_adapter(path)
