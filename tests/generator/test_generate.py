from __future__ import annotations

import pytest
import torch

from expportrait_core.generator.demo_model import PREVIEW
from expportrait_core.generator.generate import demo_size, generate, require_demo_size, windows
from expportrait_core.render import NORMALS_CONVENTION
from expportrait_core.types import RenderedHead

from .tiny import tiny


def maps(frames: int, height: int = 32, width: int = 32, convention: str = NORMALS_CONVENTION) -> RenderedHead:
    random = torch.Generator().manual_seed(5)
    return RenderedHead(
        torch.rand(frames, height, width, 3, generator=random),
        torch.rand(1, height, width, 3, generator=random),
        torch.ones(frames, height, width),
        torch.ones(frames, height, width),
        convention,
    )


PHOTO = torch.rand(40, 40, 3, generator=torch.Generator().manual_seed(6))


@pytest.mark.parametrize("frames", [1, 4, 5, 9, 17])
def test_windows_cover_every_frame_and_ramp_where_they_overlap(frames):
    spans, total = windows(frames, 4, 1), torch.zeros(frames)
    for start, stop, weight in spans:
        assert stop - start == min(4, frames) == len(weight)
        assert (weight > 0).all()
        total[start:stop] += weight
    assert (total > 0).all()
    assert spans[-1][1] == frames
    if frames > 4:
        assert spans[0][2].tolist() == [0.5, 1, 1, 0.5]  # each frame that two windows share is half of either
    assert windows(8, 5, 2)[0][2].tolist() == pytest.approx([1 / 3, 2 / 3, 1, 2 / 3, 1 / 3])
    with pytest.raises(ValueError, match="overlap is 4 frames, expected 0 to 3"):
        windows(frames, 4, 4)


def test_video_has_the_models_size_and_the_maps_length():
    video = generate(PHOTO, maps(6), tiny())
    assert video.shape == (6, 16, 16, 3)
    assert 0 <= video.min() <= video.max() <= 1
    assert demo_size(512, 512, tiny().config) == (16, 16)
    assert demo_size(512, 256, tiny().config) == (24, 12)


def test_sizes_far_from_the_trained_one_are_refused():
    config = tiny().config  # of 16 pixels
    for height, width in ((16, 16), (32, 32), (12, 24), (8, 8)):
        require_demo_size(height, width, config)
    for height, width in ((36, 36), (128, 128), (4, 4)):
        with pytest.raises(ValueError, match=f"The video is {width}x{height} pixels.*to 16x16 first"):
            require_demo_size(height, width, config)


def test_same_seed_same_video_and_another_seed_another():
    first, again, other = (generate(PHOTO, maps(6), tiny(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def without_time(model):
    """The same model, blind to other frames: predicts each frame by itself."""
    together = model.predict

    def predict(x, t, condition, features):
        parts = [
            together(x[:, :, i : i + 1], t, condition[:, :, i : i + 1], features.frames(i, i + 1))
            for i in range(x.shape[2])
        ]
        return torch.cat(parts, dim=2)

    model.predict = predict
    return model


@pytest.mark.parametrize("steps", [1, 2])
def test_windows_change_nothing_for_a_model_without_memory(steps):
    whole = generate(PHOTO, maps(10), without_time(tiny()), steps=steps, window=100)
    pieces = generate(PHOTO, maps(10), without_time(tiny()), steps=steps, window=4, overlap=1)
    assert torch.allclose(pieces, whole, atol=1e-4)


def test_clip_that_fits_one_window_is_one_forward():
    calls = []
    generate(PHOTO, maps(4), tiny(), steps=3, progress=lambda done, total, preview: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_as_many_pictures_as_normals_are_the_preview():
    model, modes = tiny(), []
    original = model.condition
    model.condition = lambda pictures, mode: modes.append(mode) or original(pictures, mode)
    frames = torch.rand(5, 32, 32, 3)
    generate(frames, maps(5), model)
    generate(PHOTO[None], maps(5), model)
    assert modes[0] == PREVIEW != modes[1]


def test_strength_zero_ignores_the_normals():
    one, other = maps(3), maps(3).replace(normals=torch.rand(3, 32, 32, 3))
    assert torch.equal(generate(PHOTO, one, tiny(), strength=0.0), generate(PHOTO, other, tiny(), strength=0.0))
    assert not torch.allclose(generate(PHOTO, one, tiny()), generate(PHOTO, other, tiny()), atol=1e-4)


def test_progress_shows_pictures_and_may_cancel():
    seen = []

    def cancel(done, total, preview):
        seen.append(preview)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        generate(PHOTO, maps(9), tiny(), progress=cancel)
    assert seen[0].shape == (16, 16, 3)


def test_bad_input_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="3 pictures and 5 normal maps"):
        generate(torch.rand(3, 8, 8, 3), maps(5), tiny())
    with pytest.raises(ValueError, match=r"shape \[8, 8, 4\], expected \[H, W, 3\]"):
        generate(torch.rand(8, 8, 4), maps(5), tiny())
    with pytest.raises(ValueError, match="convention 'object space'"):
        generate(PHOTO, maps(5, convention="object space"), tiny())
