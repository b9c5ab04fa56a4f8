from __future__ import annotations

import pytest
import torch

from expportrait_core.generator import clip_pool, clips
from expportrait_core.generator.clip_looks import HELD_OUT_PICTURES, TRAINING_PICTURES, natural_pictures
from expportrait_core.generator.clips import EVALUATION_SEED, Clip, ClipSource, random_clip
from expportrait_core.render import NORMALS_CONVENTION, render_normals


@pytest.fixture(scope="module")
def source() -> ClipSource:
    return ClipSource.load(32)


@pytest.fixture(scope="module")
def clip(source) -> Clip:
    return random_clip(3, source, frames=3)


def test_a_seed_is_a_clip(source, clip):
    again = random_clip(3, source, frames=3)
    assert torch.equal(again.pictures, clip.pictures)
    assert torch.equal(again.normals, clip.normals)
    other = random_clip(4, source, frames=3)
    assert (other.pictures - clip.pictures).abs().mean() > 0.02


def test_shapes_and_ranges(clip):
    assert clip.pictures.shape == clip.normals.shape == (4, 32, 32, 3)
    assert clip.coverage.shape == clip.person.shape == (4, 32, 32)
    for values in (clip.pictures, clip.normals, clip.coverage, clip.person):
        assert 0 <= values.min() <= values.max() <= 1
    assert 0.1 < clip.coverage.mean() < 0.9


def test_normals_are_the_pipelines_own(clip):
    maps = render_normals(clip.motion, 32)
    assert maps.convention == NORMALS_CONVENTION
    assert torch.allclose(maps.normals, clip.normals[1:], atol=1e-6)
    assert torch.allclose(maps.reference_normals, clip.normals[:1], atol=1e-6)


def test_hair_is_in_the_picture_and_not_in_the_normals(source):
    clips = [random_clip(seed, source, frames=1) for seed in range(10, 18)]
    outside = [float(((c.person > 0.9) & (c.coverage < 0.1)).float().mean()) for c in clips]
    missing = [float(((c.person < 0.1) & (c.coverage > 0.9)).float().mean()) for c in clips]
    assert max(outside) > 0.01
    assert max(missing) < 0.01


def test_the_astronaut_is_never_a_texture_and_evaluation_has_its_own():
    names = TRAINING_PICTURES + HELD_OUT_PICTURES
    assert not [name for name in names if "astronaut" in name]
    assert not set(TRAINING_PICTURES) & set(HELD_OUT_PICTURES)
    assert len(natural_pictures()) == len(TRAINING_PICTURES) >= 10
    for picture in natural_pictures(held_out=True):
        assert 0 <= picture.min() <= picture.max() <= 1
        assert min(picture.shape[:2]) == 420


def test_pool_is_rendered_in_shards_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(clip_pool, "SHARD", 1)
    monkeypatch.setattr(clip_pool, "ProcessPoolExecutor", lambda workers, mp_context: InThisProcess())
    monkeypatch.setattr(clip_pool.random_clip, "__defaults__", (2,))
    steps = []
    clip_pool.render_pool(tmp_path, 2, 16, progress=lambda done, total, preview: steps.append((done, total)))
    assert steps == [(0, 2), (1, 2), (2, 2)]
    first = min(tmp_path.iterdir())
    written = first.stat().st_mtime_ns
    clip_pool.render_pool(tmp_path, 3, 16)
    assert first.stat().st_mtime_ns == written
    pool = clip_pool.load_pool(tmp_path, 16)
    assert len(pool) == 3
    assert pool.previews.shape[1] == pool.pictures.shape[1] - 1
    with pytest.raises(ValueError, match="holds 16 pixel clips, expected 64"):
        clip_pool.load_pool(tmp_path, 64)
    with pytest.raises(ValueError, match="no rendered clips"):
        clip_pool.load_pool(tmp_path / "empty", 64)
    with pytest.raises(ValueError, match="expected 1 to"):
        clip_pool.render_pool(tmp_path, EVALUATION_SEED + 1, 16)


class InThisProcess:
    """A ProcessPoolExecutor without processes."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def submit(self, function, *args):
        from concurrent.futures import Future

        future = Future()
        future.set_result(function(*args))
        return future


def test_evaluation_set_is_fixed_and_made_of_its_own_textures(monkeypatch):
    asked = []

    def pictures(held_out: bool) -> list:
        asked.append(held_out)
        return natural_pictures(held_out)

    monkeypatch.setattr(clips, "natural_pictures", pictures)
    first, again = (clip_pool.evaluation_pool(16, clips=1, frames=1) for _ in range(2))
    assert torch.equal(first.pictures, again.pictures) and asked == [True, True]
    training = clip_pool.render_clips(range(EVALUATION_SEED, EVALUATION_SEED + 1), 16, held_out=False, frames=1)
    assert asked[-1] is False and not torch.equal(first.pictures, training.pictures)
