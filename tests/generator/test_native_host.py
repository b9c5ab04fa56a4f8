"""The wrappers for ComfyUI's model, on stand-ins of it; tests/comfyui holds them to the real one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from expportrait_core.generator.adapter import AdapterConfig, ExpPortraitAdapter
from expportrait_core.generator.demo_model import resize_pictures
from expportrait_core.generator.native_host import AdapterWrapper, InWindows

LATENT, CONCAT, DIM = 2, 6, 8


@pytest.fixture
def adapter() -> ExpPortraitAdapter:
    strides = {"pose_strides": ((1, 2, 2), (1, 1, 1)), "reference_strides": (2, 1)}
    made = ExpPortraitAdapter(AdapterConfig("test", DIM, LATENT, CONCAT, width=4, **strides))
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made.requires_grad_(False)


class Model(nn.Module):
    """As much of a transformer as the wrapper touches."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv3d(LATENT + CONCAT, DIM, (1, 2, 2), (1, 2, 2))

    def executor(self):
        def call(x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options=None, **_):
            tokens = self.patch_embedding(x)
            return tokens + self.patch_embedding(x)  # newer cores embed again, for context latents

        call.class_obj = self
        return call


def run(wrapper: AdapterWrapper, model: Model, x: torch.Tensor, **options: object) -> torch.Tensor:
    with torch.no_grad():
        return wrapper(model.executor(), x, None, None, transformer_options=options)


@pytest.fixture
def given(adapter) -> SimpleNamespace:
    random = torch.Generator().manual_seed(0)
    normals, reference = torch.rand(5, 16, 16, 3, generator=random), torch.rand(1, 16, 16, 3, generator=random)
    x = torch.randn(2, LATENT + CONCAT, 5, 4, 4, generator=random)
    return SimpleNamespace(adapter=adapter, normals=normals, reference=reference, x=x, model=Model())


def test_features_are_added_to_the_first_embedding_only(given) -> None:
    wrapper = AdapterWrapper(given.adapter, given.normals, given.reference)
    video, reference = (resize_pictures(p, 8, 8).movedim(-1, 1) * 2 - 1 for p in (given.normals, given.reference))
    features = given.adapter.encode(video.movedim(0, 1)[None], reference)
    with torch.no_grad():
        behind = given.x[:, LATENT:] + features.reference
        expected = 2 * given.model.patch_embedding(torch.cat([given.x[:, :LATENT], behind], 1)) + features.pose
    assert torch.allclose(run(wrapper, given.model, given.x), expected, atol=1e-5)
    assert not given.model.patch_embedding._forward_hooks


def test_what_does_not_act_is_exactly_the_base_model(given) -> None:
    with torch.no_grad():
        base = 2 * given.model.patch_embedding(given.x)
    idle = AdapterWrapper(given.adapter, given.normals, given.reference, strength=0.0)
    assert torch.equal(run(idle, given.model, given.x), base)
    late = AdapterWrapper(given.adapter, given.normals, given.reference, sigmas=(0.5, 0.0))
    assert torch.equal(run(late, given.model, given.x, sigmas=torch.tensor([0.9])), base)
    assert not torch.equal(run(late, given.model, given.x, sigmas=torch.tensor([0.4])), base)


def test_the_negative_branch_does_not_see_the_normals(given) -> None:
    with torch.no_grad():
        base = 2 * given.model.patch_embedding(given.x)
    wrapper = AdapterWrapper(given.adapter, given.normals, given.reference)
    guided = run(wrapper, given.model, given.x, cond_or_uncond=[1, 0])
    assert torch.equal(guided[0], base[0]) and not torch.allclose(guided[1], base[1])


def test_a_failing_forward_leaves_no_hook(given) -> None:
    wrapper = AdapterWrapper(given.adapter, given.normals, given.reference)
    with pytest.raises(RuntimeError):
        run(wrapper, given.model, given.x[:, :-1])
    assert not given.model.patch_embedding._forward_hooks


def test_another_length_is_refused_and_a_window_takes_its_frames(given) -> None:
    wrapper = AdapterWrapper(given.adapter, given.normals, given.reference)
    with pytest.raises(ValueError, match="2 latent frames, the normals 5"):
        run(wrapper, given.model, given.x[:, :, :2])
    whole = run(wrapper, given.model, given.x)
    window = SimpleNamespace(index_list=[3, 4])
    assert torch.allclose(
        run(wrapper, given.model, given.x[:, :, 3:], context_window=window), whole[:, :, 3:], atol=1e-5
    )


def test_windows_of_a_model_that_sees_single_frames_change_nothing() -> None:
    x, condition = torch.randn(1, 3, 9, 2, 2), torch.randn(1, 4, 9, 2, 2)
    counted = []

    def executor(x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None):
        return x * 2 + c_concat[:, :3]

    in_windows = InWindows(4, 1, lambda done, total, picture: counted.append((done, total)))
    assert torch.allclose(in_windows(executor, x, None, condition), x * 2 + condition[:, :3], atol=1e-6)
    assert counted == [(1, 3), (2, 3), (3, 3)]
