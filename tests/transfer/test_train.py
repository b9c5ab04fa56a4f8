"""Training: it learns, it can stop and go on, and it says what it reached."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open

from expportrait_core.body import load_head_model
from expportrait_core.transfer import TrainSettings, TransferConfig, load_transfer_model, train_transfer
from expportrait_core.transfer.decoder import DecoderConfig
from expportrait_core.transfer.neutral import choose_head_points
from expportrait_core.transfer.population import make_population
from expportrait_core.transfer.train import Run, batch_loss, draw_batch, draw_pool, facial_edges, new_networks

TINY = TransferConfig(
    num_points=16, expression_components=8, encoder_width=16, code=8,
    decoder=DecoderConfig(width=16, vertex_layers=2, frame_width=8, frame_layers=2, basis=4, head_points=16,
                          person_components=8, person_width=8, person_code=4),
)  # fmt: skip
QUICK = TrainSettings(
    people_per_step=2, expressions_per_step=2, edges_per_step=16, pool=6, steps_per_pool=4, fitted_on=24
)


def weights(path) -> dict[str, torch.Tensor]:
    return load_transfer_model(path).networks.state_dict()


def test_training_on_one_batch_reduces_its_loss() -> None:
    run = Run(TINY, QUICK, seed=0)
    model = load_head_model("default", 1)
    networks = new_networks(run, model)
    population = make_population(model, choose_head_points(model, 16))
    pool = draw_pool(population, facial_edges(population), networks, run, 0)
    batch = draw_batch(pool, run, 0)
    optimizer = torch.optim.Adam(networks.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = batch_loss(networks, population, batch, softness=0.3, detail_weight=0.5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    assert losses[-1] < 0.7 * losses[0]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in networks.parameters())


def test_batches_are_drawn_where_skin_creases() -> None:
    run = Run(TINY, TrainSettings(pool=16, edges_per_step=200, fitted_on=24), seed=0)
    model = load_head_model("default", 1)
    population = make_population(model, choose_head_points(model, 16))
    pool = draw_pool(population, facial_edges(population), new_networks(run, model), run, 0)
    batch = draw_batch(pool, run, 1)
    assert batch.height.shape == (8, 8, 400)
    # drawn evenly over the face it would be a few percent
    assert (batch.height.abs().amax((0, 1)) > 5e-5).float().mean() > 0.2


def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(tmp_path) -> None:
    seen = []
    options = {"steps": 6, "seed": 4, "config": TINY, "settings": QUICK}
    train_transfer(tmp_path / "straight.safetensors", **options, progress=lambda *done: seen.append(done[:2]))
    assert seen == [(k, 6) for k in range(1, 7)]

    def stop_after_five(done: int, total: int, preview: object) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_transfer(tmp_path / "broken.safetensors", **options, progress=stop_after_five)
    assert not (tmp_path / "broken.safetensors").exists()
    train_transfer(tmp_path / "broken.safetensors", **options, resume=True)
    straight, broken = weights(tmp_path / "straight.safetensors"), weights(tmp_path / "broken.safetensors")
    for key, value in straight.items():
        assert torch.equal(broken[key], value), key


def test_a_training_of_another_kind_is_not_resumed(tmp_path) -> None:
    output = tmp_path / "model.safetensors"
    with pytest.raises(ValueError, match="There is no file"):
        train_transfer(output, steps=1, resume=True, config=TINY, settings=QUICK)
    train_transfer(output, steps=1, config=TINY, settings=QUICK)
    with pytest.raises(ValueError, match="another seed"):
        train_transfer(output, steps=1, resume=True, seed=1, config=TINY, settings=QUICK)


def test_no_time_still_writes_a_checkpoint_that_says_what_it_is(tmp_path) -> None:
    output = tmp_path / "model.safetensors"
    trained = train_transfer(output, minutes=0, config=TINY, settings=QUICK)
    assert trained.report["steps"] == 0
    assert trained.report["zero"] > 0 < trained.report["copied"]
    with safe_open(output, framework="pt") as file:
        assert "synthetic population of the default head" in file.metadata()["values"]
    assert load_transfer_model(output).report == trained.report
