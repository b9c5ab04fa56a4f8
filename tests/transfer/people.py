"""Heads and drivers that the transfer tests share."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from expportrait_core.body import axis_angle_to_matrix, load_head_model
from expportrait_core.transfer.model import Networks, TransferConfig, TransferModel
from expportrait_core.transfer.neutral import choose_head_points
from expportrait_core.transfer.train import Run, TrainSettings, new_networks
from expportrait_core.types import HEAD, JAW, LEFT_EYE, NECK, Camera, HeadModel, PersonalizedHead, SMPLXFit

OPENCV_FROM_WORLD = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))


def camera(frames: int, random: torch.Generator) -> Camera:
    """Another one in every frame: turned, moved and with another lens."""
    intrinsics = torch.tensor([[900.0, 0, 256], [0, 900, 256], [0, 0, 1]]).repeat(frames, 1, 1)
    intrinsics[:, [0, 1], [0, 1]] += 50 * torch.randn(frames, 1, generator=random)
    view = OPENCV_FROM_WORLD.repeat(frames, 1, 1)
    view[:, :3, :3] = axis_angle_to_matrix(0.05 * torch.randn(frames, 3, generator=random)) @ view[:, :3, :3]
    view[:, :3, 3] += 0.03 * torch.randn(frames, 3, generator=random)
    return Camera(intrinsics, view, (512, 512))


def make_fit(model: HeadModel, frames: int, seed: int = 0, moving: float = 1.0) -> SMPLXFit:
    """A performance in the tracker's convention: the head's rotation in neck and head, 0.4 and 0.6 of it. Place, camera
    and rate differ from frame to frame and from one to another, so that none can be mistaken for another's."""
    random = torch.Generator().manual_seed(seed)
    rotation = torch.randn(frames, 3, generator=random) * 0.2 * moving
    poses = torch.zeros(frames, 55, 3)
    poses[:, NECK], poses[:, HEAD] = 0.4 * rotation, 0.6 * rotation
    poses[:, JAW, 0] = torch.rand(frames, generator=random) * 0.3 * moving
    poses[:, LEFT_EYE : LEFT_EYE + 2] = torch.randn(frames, 1, 3, generator=random) * 0.1 * moving
    expression = torch.zeros(frames, model.expression_basis.shape[2])
    expression[:, :49] = torch.rand(frames, 49, generator=random) ** 3 * moving
    return SMPLXFit(
        betas=torch.randn(20, generator=random) * 0.5,
        expression=expression,
        poses=poses,
        translation=torch.tensor([0.02, -0.7, -1.0]) + 0.03 * torch.randn(frames, 3, generator=random),
        camera=camera(frames, random),
        expression_space=model.expression_space,
        model_id=model.model_id,
        fps=24.0 + seed,  # no two alike
    )


def make_head(model: HeadModel, fit: SMPLXFit, betas: Tensor | None = None) -> PersonalizedHead:
    """A head without offsets of its own."""
    return PersonalizedHead(
        model=model,
        betas=fit.betas if betas is None else betas,
        static_offsets=torch.zeros(model.num_vertices, 3),
        dynamic_offsets=torch.zeros(fit.num_frames, model.num_vertices, 3),
        fit=fit,
        level=model.upsampling.level,
        model_id=model.model_id,
    )


@functools.lru_cache(maxsize=1)
def _networks() -> Networks:
    run = Run(TransferConfig(), TrainSettings(fitted_on=80), seed=3)
    return new_networks(run, load_head_model("default", 0)).eval().requires_grad_(False)


def untrained() -> TransferModel:
    """A model with random weights: what must hold, must hold before any training."""
    networks = _networks()
    torch.nn.init.normal_(networks.decoder.mix.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    return TransferModel(TransferConfig(), networks, "nothing")


def untrained_raw(space: str, size: int) -> TransferModel:
    """A model of the mode "raw" with random weights."""
    config = TransferConfig(mode="raw", expression_space=space, expression_size=size)
    networks = Networks(config)
    networks.decoder.head_points.copy_(choose_head_points(load_head_model("default", 0), 192))
    return TransferModel(config, networks.eval().requires_grad_(False), "nothing")
