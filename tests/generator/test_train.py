from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from expportrait_core.generator.clip_pool import ClipPool
from expportrait_core.generator.demo_model import PHOTO, PREVIEW, DemoGenerator, load_demo
from expportrait_core.generator.evaluate import evaluate_demo, psnr
from expportrait_core.generator.train import TrainConfig, Training, draw_batch, loss_of, rate_at, train_demo

from .tiny import TINY

CONFIG = TrainConfig(steps=6, frames_per_batch=4, clip_lengths=(2,), warmup=1, learning_rate=3e-3)


def pool(clips: int = 3, size: int = 16) -> ClipPool:
    """Clips whose pictures can be told from each other: frame f of clip n is lit in column f + 1 and row n."""
    random = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 80, (clips, 5, size, size, 3), generator=random, dtype=torch.uint8)
    for frame in range(5):
        pictures[:, frame, :, frame + 1] = 255
    normals = torch.randint(0, 256, pictures.shape, generator=random, dtype=torch.uint8)
    coverage = torch.full(pictures.shape[:-1], 255, dtype=torch.uint8)
    return ClipPool(pictures, normals, coverage, coverage.clone(), pictures[:, 1:] // 2)


def test_batch_pairs_pictures_with_their_own_normals_and_masks():
    random, clips = torch.Generator().manual_seed(1), pool()
    for _ in range(10):
        batch = draw_batch(clips, CONFIG, random)
        assert batch.video.shape == batch.pictures.shape == batch.normals.shape == (2, 3, 2, 16, 16)
        assert batch.video.is_contiguous()
        lit = (batch.video.amin(1) > 0.99).all(dim=2)  # [B, T, W] columns that are white
        for b in range(2):
            columns = [int(row.nonzero()[0]) for row in lit[b]]
            assert abs(columns[0] - columns[1]) == 1  # neighbours in time, mirrored or not
            if batch.mode[b] == PREVIEW:
                assert (batch.pictures[b] < batch.video[b] + 1e-6).all()
            else:
                assert batch.mode[b] == PHOTO
                assert torch.equal(batch.pictures[b, :, 0], batch.pictures[b, :, 1])
                assert not torch.equal(batch.pictures[b, :, 0], batch.video[b, :, 0])


def test_mirroring_turns_the_normals_x_only_where_there_is_a_head():
    clips = pool(1)
    clips = replace(clips, coverage=torch.zeros_like(clips.coverage))
    clips.normals.zero_()
    random = torch.Generator().manual_seed(0)
    for _ in range(8):
        assert (draw_batch(clips, CONFIG, random).normals == -1).all()
    clips = pool(1)
    clips.normals[..., 0], clips.normals[..., 1] = 200, 90
    seen = {round(float(draw_batch(clips, CONFIG, random).normals[0, 0, 0, 0, 0]), 2) for _ in range(16)}
    assert seen == {round(200 / 127.5 - 1, 2), round(55 / 127.5 - 1, 2)}


def test_steps_lower_the_loss_on_one_batch():
    torch.manual_seed(0)
    training = Training(DemoGenerator(TINY), replace(CONFIG, steps=1000, drop_normals=0, drop_picture=0, pure_noise=1))
    batch = draw_batch(pool(), CONFIG, training.random)
    losses = [training.advance([batch]) for _ in range(25)]
    assert losses[-1] < losses[0] - 0.2


def test_gradients_are_those_of_diffusers_forward():
    """fast_forward in training against autograd through the model as it is shipped."""
    torch.manual_seed(0)
    model = DemoGenerator(TINY)
    batch = draw_batch(pool(), CONFIG, torch.Generator().manual_seed(0))
    quiet = replace(CONFIG, drop_normals=0, drop_picture=0, pure_noise=1, person_weight=0)
    loss_of(model, batch, quiet, torch.Generator().manual_seed(2)).backward()
    found = model.transformer.proj_out.weight.grad.clone()
    model.zero_grad()
    from expportrait_core.generator.demo_model import fold_pixels

    target = fold_pixels(batch.video)
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(2))
    features = model.adapter.encode(batch.normals, batch.reference_normals)
    x0 = model.predict(noise, 1.0, model.condition(batch.pictures, batch.mode), features)
    (((x0 - target) ** 2).mean((1, 2, 3, 4)) + CONFIG.good_enough).log().mean().backward()
    expected = model.transformer.proj_out.weight.grad
    assert (found - expected).norm() < 0.05 * expected.norm()  # bfloat16 against float32


def test_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path):
    whole = train_demo(tmp_path / "whole.safetensors", pool(), 1, CONFIG, TINY)

    def stop(done, total, preview):
        if done == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train_demo(tmp_path / "parts.safetensors", pool(), 1, CONFIG, TINY, progress=stop)
    parts = train_demo(tmp_path / "parts.safetensors", pool(), 1, CONFIG, TINY)
    assert parts.step == whole.step == CONFIG.steps
    assert all(torch.equal(parts.named[name], p) for name, p in whole.named.items())
    assert all(torch.equal(parts.average[name], p) for name, p in whole.average.items())
    assert load_demo(tmp_path / "parts.safetensors").config == TINY


def test_a_piece_ends_in_time_and_leaves_weights(tmp_path):
    training = train_demo(tmp_path / "demo.safetensors", pool(), 0.0, CONFIG, TINY)
    assert training.step == 0
    assert (tmp_path / "demo.safetensors").is_file()


def test_checkpoint_and_clips_of_another_size_are_refused(tmp_path):
    train_demo(tmp_path / "demo.safetensors", pool(), 0.0, CONFIG, TINY)
    with pytest.raises(ValueError, match="was trained as DemoConfig"):
        train_demo(tmp_path / "demo.safetensors", pool(), 0.0, CONFIG, replace(TINY, layers=1))
    with pytest.raises(ValueError, match="8 pixels wide, the model 16"):
        train_demo(tmp_path / "other.safetensors", pool(size=8), 0.0, CONFIG, TINY)


def test_training_starts_from_given_weights_of_its_own_sizes(tmp_path):
    torch.manual_seed(3)
    given = DemoGenerator(TINY)
    given.save(tmp_path / "given.safetensors")
    started = train_demo(tmp_path / "a.safetensors", pool(), 0.0, CONFIG, TINY, tmp_path / "given.safetensors")
    expected = dict(given.named_parameters())
    assert all(torch.allclose(p, expected[name], atol=2e-3, rtol=1e-3) for name, p in started.named.items())
    assert not torch.equal(started.named["transformer.blocks.0.attn1.to_q.weight"],
                           train_demo(tmp_path / "b.safetensors", pool(), 0.0, CONFIG, TINY).named[
                               "transformer.blocks.0.attn1.to_q.weight"])  # fmt: skip
    with pytest.raises(ValueError, match=r"given.safetensors is DemoConfig.*Start from weights of its sizes"):
        train_demo(tmp_path / "c.safetensors", pool(), 0.0, CONFIG, replace(TINY, layers=1),
                   tmp_path / "given.safetensors")  # fmt: skip


def test_rate_rises_stays_and_falls():
    config = TrainConfig(steps=1000, warmup=100, decay=0.5)
    rates = [rate_at(step, config) for step in (0, 50, 99, 300, 499, 750, 999)]
    assert rates[0] == 0.02
    assert rates[2:5] == [1, 1, 1]
    assert rates[5] == 0.5
    assert rates[6] == 0.02


def test_evaluation_of_a_copying_model_is_copying():
    torch.manual_seed(0)
    figures = evaluate_demo(DemoGenerator(TINY).eval(), pool())
    assert abs(figures["psnr"] - figures["psnr_copy"]) < 0.5
    assert abs(figures["psnr_preview_mode"] - figures["psnr_preview"]) < 0.5
    assert abs(figures["psnr_no_normals"] - figures["psnr"]) < 0.5
    assert figures["psnr_no_reference"] < figures["psnr"]


def test_psnr_is_in_decibels_and_counts_the_mask_only():
    truth = torch.zeros(1, 3, 1, 4, 4)
    video = truth.clone()
    video[..., :2] = 0.2  # a tenth of the range
    assert psnr(truth + 0.2, truth) == pytest.approx(20, abs=1e-3)
    assert psnr(video, truth, (video[:, :1] > 0).float()) == pytest.approx(20, abs=1e-3)
