"""Training the demo generator, in pieces: a run may stop after any step and goes on as if it had not.

Half of the samples are in photo mode (a random other frame is the picture: the normals must do the work), half in
preview mode. The network predicts x0; most samples start from pure noise, because one or two sampling steps are all
that is ever taken.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from ..portable import read_safetensors, write_safetensors
from ..types import Progress, no_progress
from .clip_pool import ClipPool
from .demo_model import PHOTO, PREVIEW, TEXT_DIM, DemoConfig, DemoGenerator, fold_pixels, load_demo, unread
from .fast_forward import fast_encode, fast_forward

log = logging.getLogger(__name__)

FORMAT = "expportrait.demo_training"


@dataclass(frozen=True)
class TrainConfig:
    """All our choice, not from the paper, except the dropouts' idea (see design of UniAnimate-DiT)."""

    steps: int = 4000  # of the whole training; may be raised on resuming
    frames_per_batch: int = 8  # clips × frames
    threads: int = 2  # batches of a step, one per thread; torch's own threads should then be one
    clip_lengths: tuple[int, ...] = (1, 1, 2, 2, 4, 4)  # one is drawn per step
    learning_rate: float = 1e-3
    warmup: int = 100
    decay: float = 0.4  # share of the steps over which the rate falls to 2 %
    weight_decay: float = 0.01
    ema: float = 0.998
    preview_share: float = 0.5
    drop_normals: float = 0.08
    drop_picture: float = 0.08
    pure_noise: float = 0.9  # share of steps at t = 1, the others are uniform from `lowest_time`
    lowest_time: float = 0.45
    person_weight: float = 0.3  # extra weight of the loss on head and hair
    good_enough: float = 2e-3  # squared error in -1..1 below which a clip stops to matter; 33 dB
    clip_gradient: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """One training step's data: videos in -1..1."""

    video: Tensor  # [B, 3, T, S, S]
    pictures: Tensor  # [B, 3, T, S, S] the photo on every frame, or the preview's frames
    mode: Tensor  # [B] PHOTO or PREVIEW
    normals: Tensor  # [B, 3, T, S, S]
    reference_normals: Tensor  # [B, 3, S, S]
    person: Tensor  # [B, 1, T, S, S] 0..1


def draw_batch(pool: ClipPool, config: TrainConfig, random: torch.Generator) -> Batch:
    """Random clips, frames, modes; mirrored and recoloured at random."""

    def chance(probability: float) -> bool:
        return bool(torch.rand((), generator=random) < probability)

    length = config.clip_lengths[int(torch.randint(len(config.clip_lengths), (), generator=random))]
    length = min(length, pool.previews.shape[1])
    rows = []
    for _ in range(max(1, config.frames_per_batch // length)):
        clip = int(torch.randint(len(pool), (), generator=random))
        preview = chance(config.preview_share)
        rows.append(_draw_clip(pool, clip, length, preview, random))
    columns = [torch.stack(column) for column in zip(*rows, strict=True)]
    video, pictures, mode, normals, reference_normals, person = columns
    if chance(0.5):
        colours = torch.randperm(3, generator=random)
        video, pictures = video[:, colours], pictures[:, colours]
    return Batch(video, pictures, mode, normals, reference_normals[:, :, 0], person)


def _draw_clip(pool: ClipPool, clip: int, length: int, preview: bool, random: torch.Generator) -> tuple[Tensor, ...]:
    frames = pool.pictures.shape[1]
    first = 1 + int(torch.randint(frames - length, (), generator=random))
    driven = torch.arange(first, first + length)
    if preview:
        reference, pictures = 0, pool.previews[clip, driven - 1]
    else:
        others = [i for i in range(frames) if not first <= i < first + length]
        reference = others[int(torch.randint(len(others), (), generator=random))]
        pictures = pool.pictures[clip, reference].expand(length, -1, -1, -1)
    mirrored = bool(torch.rand((), generator=random) < 0.5)
    both = torch.cat([driven, torch.tensor([reference])])
    normals, coverage = pool.normals[clip, both], pool.coverage[clip, both]
    columns = [
        _video(pool.pictures[clip, driven], mirrored),
        _video(pictures, mirrored),
        torch.tensor(PREVIEW if preview else PHOTO),
        _video(_mirror_x(normals, coverage) if mirrored else normals, mirrored),
        _video(pool.person[clip, driven][..., None], mirrored) * 0.5 + 0.5,
    ]
    video, pictures, mode, normals, person = columns
    return video, pictures, mode, normals[:, :-1], normals[:, -1:], person


def _mirror_x(normals: Tensor, coverage: Tensor) -> Tensor:
    """Encoded normals [T, S, S, 3] of the mirrored head, before the picture itself is mirrored."""
    x = coverage.int() - normals[..., 0].int()
    return torch.cat([x.clamp(0, 255).to(torch.uint8)[..., None], normals[..., 1:]], -1)


def _video(pictures: Tensor, mirrored: bool) -> Tensor:
    """uint8 [T, S, S, C] → [C, T, S, S] in -1..1."""
    pictures = pictures.flip(2) if mirrored else pictures
    return (pictures.float() / 127.5 - 1).permute(3, 0, 1, 2).contiguous()  # Conv3d is far slower on a permuted view


def loss_of(model: DemoGenerator, batch: Batch, config: TrainConfig, random: torch.Generator) -> Tensor:
    """Mean over clips of the logarithm of the weighted squared error of x0.

    The logarithm is what PSNR counts, and it keeps preview mode, whose errors are small, from being drowned.
    """

    def keep(drop: float) -> Tensor:  # [B] 0 or 1
        return (torch.rand(len(batch.video), generator=random) >= drop).float()

    device = next(model.parameters()).device
    target = fold_pixels(batch.video, model.config.fold)
    noise = torch.randn(target.shape, generator=random)
    # one time for the whole batch: fast_forward folds it into the weights
    at_noise, between = torch.rand(2, generator=random).tolist()
    time = 1.0 if at_noise < config.pure_noise else config.lowest_time + (1 - config.lowest_time) * between
    noisy = ((1 - time) * target + time * noise).to(device)
    pictures = batch.pictures * keep(config.drop_picture).reshape(-1, 1, 1, 1, 1)
    condition = model.condition(pictures, batch.mode).to(device)
    features = fast_encode(model.adapter, batch.normals.to(device), batch.reference_normals.to(device))
    features = features.scaled(keep(config.drop_normals).to(device))
    text = torch.zeros(1, 1, TEXT_DIM, device=device)
    x0 = fast_forward(model.transformer, noisy, time, condition, features, text)
    target = target.to(device)
    weight = 1 + config.person_weight * fold_pixels(batch.person.expand(-1, 3, -1, -1, -1), model.config.fold)
    error = (weight.to(device) * (x0.float() - target) ** 2).mean((1, 2, 3, 4))
    return (error + config.good_enough).log().mean()


class Training:
    """Model, optimiser, moving average and random numbers: everything that a checkpoint holds."""

    def __init__(self, model: DemoGenerator, config: TrainConfig):
        self.model, self.config, self.step, self.loss = model, config, 0, 0.0
        self.random = torch.Generator().manual_seed(config.seed)
        for name in unread(model.config):
            model.transformer.get_parameter(name).requires_grad_(False)
        self.named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimiser = torch.optim.AdamW(
            self.named.values(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98)
        )
        self.average = {name: p.detach().clone() for name, p in self.named.items()}

    def advance(self, batches: list[Batch]) -> float:
        """One optimiser step on the mean of the batches' losses, each computed in its own thread. Returns the loss."""
        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * rate_at(self.step, config)
        seeds = torch.randint(2**62, (len(batches),), generator=self.random).tolist()
        with ThreadPoolExecutor(len(batches)) as threads:
            results = list(threads.map(self._gradients, batches, seeds))
        loss = torch.stack([loss for loss, _ in results]).mean()
        if not torch.isfinite(loss):
            raise ValueError(f"The loss is {loss.item()} at step {self.step}. Resume with a lower learning rate.")
        for p, *parts in zip(self.named.values(), *(gradients for _, gradients in results), strict=True):
            p.grad = sum(parts) / len(parts)
        clip_grad_norm_(self.named.values(), config.clip_gradient)
        self.optimiser.step()
        self.step += 1
        keep = min(config.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in self.named.values()], 1 - keep)
        smoothing = max(0.01, 1 / self.step)
        self.loss += smoothing * (loss.item() - self.loss)
        return loss.item()

    def _gradients(self, batch: Batch, seed: int) -> tuple[Tensor, list[Tensor]]:
        loss = loss_of(self.model, batch, self.config, torch.Generator().manual_seed(seed))
        parameters = list(self.named.values())
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        return loss.detach(), [g if g is not None else torch.zeros_like(p) for g, p in zip(gradients, parameters)]

    def averaged(self) -> DemoGenerator:
        """A copy of the model with the moving average of its weights."""
        model = DemoGenerator(self.model.config)
        model.load_state_dict({**self.model.state_dict(), **self.average})
        return model.eval().requires_grad_(False)

    def save(self, path: str | Path) -> None:
        """Write the checkpoint."""
        tensors = {"random": self.random.get_state()}
        for name, p in self.named.items():
            state = self.optimiser.state.get(p) or {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
            tensors |= {f"weight:{name}": p.detach(), f"average:{name}": self.average[name]}
            tensors |= {f"first:{name}": state["exp_avg"], f"second:{name}": state["exp_avg_sq"]}
        values = {"step": self.step, "loss": self.loss, "demo": asdict(self.model.config)}
        write_safetensors(path, FORMAT, tensors, values)

    def load(self, path: str | Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: it is of another transformer.
        """
        tensors, values = read_safetensors(path, FORMAT)
        if DemoConfig(**values["demo"]) != self.model.config:
            raise ValueError(
                f"{Path(path).name} was trained as {DemoConfig(**values['demo'])}, this run is {self.model.config}. "
                f"Use the same sizes, or another output."
            )
        self.step, self.loss = values["step"], values["loss"]
        self.random.set_state(tensors["random"])
        with torch.no_grad():
            for name, p in self.named.items():
                p.copy_(tensors[f"weight:{name}"])
                self.average[name].copy_(tensors[f"average:{name}"])
                self.optimiser.state[p] = {
                    "step": torch.tensor(float(self.step)),
                    "exp_avg": tensors[f"first:{name}"].to(p),
                    "exp_avg_sq": tensors[f"second:{name}"].to(p),
                }


def rate_at(step: int, config: TrainConfig) -> float:
    """Share of the learning rate: a linear rise, a plateau, and a linear fall to 2 % at the end."""
    falling = (config.steps - step) / max(1, config.decay * config.steps)
    return max(0.02, min(1, (step + 1) / max(1, config.warmup), falling))


def train_demo(
    output: str | Path,  # the weights; the checkpoint lies beside it with `.training` in its name
    pool: ClipPool,
    minutes: float = 5.0,  # of this piece
    config: TrainConfig | None = None,
    demo: DemoConfig | None = None,
    start: str | Path | None = None,  # weights to begin from, of any training; a checkpoint wins over them
    progress: Progress = no_progress,
) -> Training:
    """Train for some minutes, or to the last step; go on where the last piece stopped. Writes `output` each time.

    Raises:
        ValueError: the clips have another size than the model, or the checkpoint or `start` is of another one.
    """
    config, demo, output = config or TrainConfig(), demo or DemoConfig(), Path(output)
    if pool.pictures.shape[2] != demo.size:
        raise ValueError(f"The clips are {pool.pictures.shape[2]} pixels wide, the model {demo.size}. Render others.")
    training = Training(_first_model(demo, config.seed, start), config)
    checkpoint = output.with_suffix(".training" + output.suffix)
    if checkpoint.is_file():
        training.load(checkpoint)
        log.info("Going on from step %d of %d.", training.step, config.steps)
    deadline = time.monotonic() + 60 * minutes
    training.model.train()
    try:
        while training.step < config.steps and time.monotonic() < deadline:
            training.advance([draw_batch(pool, config, training.random) for _ in range(config.threads)])
            progress(training.step, config.steps, None)
            if training.step % 100 == 0:
                log.info("Step %d of %d, loss %.4f", training.step, config.steps, training.loss)
    finally:
        training.save(checkpoint)
    training.averaged().save(output)
    return training


def _first_model(demo: DemoConfig, seed: int, start: str | Path | None) -> DemoGenerator:
    if start is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return DemoGenerator(demo)
    model = load_demo(start).requires_grad_(True)
    if model.config != demo:
        raise ValueError(f"{Path(start).name} is {model.config}, this run is {demo}. Start from weights of its sizes.")
    return model
