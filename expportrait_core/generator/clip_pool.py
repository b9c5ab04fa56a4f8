"""Clips on disk: rendered once, in shards, by as many processes as wanted, and read as one set of uint8 tensors."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from ..portable import read_safetensors, require_writable, write_safetensors
from ..types import Progress, no_progress
from .clips import EVALUATION_SEED, FRAMES, ClipSource, random_clip

FORMAT = "expportrait.clips"
SHARD = 20  # clips per file: a killed run loses at most this many


@dataclass(frozen=True)
class ClipPool:
    """N clips of 1 + F frames, all uint8. Frame 0 is the reference."""

    pictures: Tensor  # [N, 1 + F, S, S, 3]
    normals: Tensor  # [N, 1 + F, S, S, 3] encoded
    coverage: Tensor  # [N, 1 + F, S, S] of the normals
    person: Tensor  # [N, 1 + F, S, S] coverage with hair
    previews: Tensor  # [N, F, S, S, 3] of the driving frames

    def __len__(self) -> int:
        return len(self.pictures)


def render_clips(seeds: range, size: int, held_out: bool, frames: int = FRAMES) -> ClipPool:
    """The clips of these seeds, one after the other."""
    source = ClipSource.load(size, held_out)
    clips = [random_clip(seed, source, frames) for seed in seeds]
    parts = [(c.pictures, c.normals, c.coverage, c.person, c.preview()) for c in clips]
    return ClipPool(*(_to_bytes(torch.stack(column)) for column in zip(*parts, strict=True)))


def render_pool(
    folder: str | Path,
    clips: int,
    size: int,
    workers: int = 1,
    progress: Progress = no_progress,
) -> None:
    """Fill `folder` with training clips; shards that are there already are kept.

    Raises:
        ValueError: `clips` would reach into the evaluation seeds, or nothing can be written to `folder`.
    """
    if not 0 < clips <= EVALUATION_SEED:
        raise ValueError(f"{clips} clips were asked for, expected 1 to {EVALUATION_SEED}.")
    require_writable(folder, folder=True)
    folder = Path(folder)
    starts = range(0, clips, SHARD)
    missing = [s for s in starts if not _shard_path(folder, s).is_file()]
    done = len(starts) - len(missing)
    progress(done, len(starts), None)
    context = multiprocessing.get_context("spawn")  # forking a process that has used torch's threads can hang
    with ProcessPoolExecutor(workers, mp_context=context) as executor:
        futures = [executor.submit(_render_shard, folder, start, size) for start in missing]
        try:
            for future in as_completed(futures):
                future.result()
                done += 1
                progress(done, len(starts), None)
        finally:
            for future in futures:
                future.cancel()


def _render_shard(folder: Path, start: int, size: int) -> None:
    torch.set_num_threads(1)
    pool = render_clips(range(start, start + SHARD), size, held_out=False)
    tensors = {f.name: getattr(pool, f.name) for f in fields(pool)}
    write_safetensors(_shard_path(folder, start), FORMAT, tensors, {"size": size, "start": start})


def load_pool(folder: str | Path, size: int) -> ClipPool:
    """All shards of a folder.

    Raises:
        ValueError: there are none, or they are of another picture size.
    """
    paths = sorted(Path(folder).glob("clips-*.safetensors"))
    if not paths:
        raise ValueError(f"There are no rendered clips in {folder}. Render some with render_pool first.")
    shards = []
    for path in paths:
        tensors, values = read_safetensors(path, FORMAT)
        if values["size"] != size:
            raise ValueError(f"{path.name} holds {values['size']} pixel clips, expected {size}. Render another folder.")
        shards.append(tensors)
    return ClipPool(**{f.name: torch.cat([shard[f.name] for shard in shards]) for f in fields(ClipPool)})


def evaluation_pool(size: int, clips: int = 24, frames: int = 4) -> ClipPool:
    """The fixed evaluation set: seeds and textures that training never sees."""
    return render_clips(range(EVALUATION_SEED, EVALUATION_SEED + clips), size, held_out=True, frames=frames)


def _shard_path(folder: Path, start: int) -> Path:
    return folder / f"clips-{start:08d}.safetensors"


def _to_bytes(values: Tensor) -> Tensor:
    return (values.clamp(0, 1) * 255 + 0.5).to(torch.uint8)
