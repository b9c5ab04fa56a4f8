"""The transfer model: E and G with what they were trained on, as one file; and the offsets that it predicts."""

from __future__ import annotations

import copy
import functools
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ..assets import ASSETS
from ..portable import read_safetensors, write_safetensors
from ..types import HeadModel, PersonalizedHead
from .decoder import Decoder, DecoderConfig, PreparedHead
from .encoder import Encoder, point_displacements
from .neutral import face_layout, features_of_head

FORMAT = "expportrait.transfer"
BUILT_IN = ASSETS / "transfer_synthetic.safetensors"
BUILT_IN_NAMES = ("built-in", "built-in (synthetic)")
ANY_SPACE = "any"
VALUES_AT_ONCE = 1 << 22
"""Bounds the memory of one piece of G: frames times vertices times width. Our choice."""


@dataclass(frozen=True)
class TransferConfig:
    """How E reads expressions, and the sizes of E and G. Our choice where the paper is silent, except `code`'s role.

    mode "displacements": E sees where points of the coarse model go, so the checkpoint serves every head model.
    mode "raw": E sees ψ and ω themselves, as the paper has it, so it serves one expression space only.
    """

    mode: str = "displacements"
    expression_space: str = ANY_SPACE  # of mode "raw"
    expression_size: int = 0  # columns of ψ in mode "raw"
    num_points: int = 128  # of mode "displacements"
    expression_components: int = 64
    encoder_width: int = 256
    code: int = 128  # D
    decoder: DecoderConfig = field(default_factory=DecoderConfig)

    def __post_init__(self) -> None:
        if self.mode not in ("displacements", "raw"):
            raise ValueError(f"The transfer model's mode is '{self.mode}', expected 'displacements' or 'raw'.")
        if self.mode == "raw" and (self.expression_space == ANY_SPACE or self.expression_size < 1):
            raise ValueError("A transfer model in mode 'raw' must name its expression space and its size.")

    @property
    def encoder_inputs(self) -> int:
        return 3 * self.num_points if self.mode == "displacements" else self.expression_size + 3


class Networks(nn.Module):
    """E and G, and the points of the face that E looks at."""

    def __init__(self, config: TransferConfig) -> None:
        super().__init__()
        points = config.num_points if config.mode == "displacements" else 0
        self.register_buffer("points", torch.zeros(points, 2))
        components = min(config.expression_components, config.encoder_inputs)
        self.encoder = Encoder(config.encoder_inputs, components, config.encoder_width, config.code)
        self.decoder = Decoder(config.decoder, config.code)


@dataclass(frozen=True)
class TransferModel:
    """E and G, ready to use."""

    config: TransferConfig
    networks: Networks
    training: str  # what it was trained on, in words
    report: dict = field(default_factory=dict)  # held-out errors, JSON values

    def to(self, device: torch.device | str) -> TransferModel:
        """A copy on another device; modules move in place, and the built-in model is shared."""
        return TransferModel(self.config, copy.deepcopy(self.networks).to(device), self.training, self.report)

    def require(self, model: HeadModel) -> None:
        """Raise a sentence if this checkpoint cannot read the head model's expressions."""
        config = self.config
        if config.mode == "raw" and config.expression_space != model.expression_space:
            raise ValueError(
                f"The transfer model reads expressions of the space '{config.expression_space}' as they are, the head "
                f"model '{model.model_id}' has '{model.expression_space}'. Choose a transfer model of that space, or "
                f"the built-in one, which serves every head model."
            )

    @torch.no_grad()
    def encode(
        self,
        model: HeadModel,
        expression: Tensor,  # [F, E] ψ
        jaw_pose: Tensor,  # [F, 3] ω
    ) -> Tensor:
        """Q = E(ψ, ω), [F, D].

        Raises:
            ValueError: mode "raw", and the head model has another expression space.
        """
        self.require(model)
        return self.networks.encoder(seen_by_encoder(self.config, self.networks.points, model, expression, jaw_pose))

    @torch.no_grad()
    def predict(
        self,
        head: PersonalizedHead,
        expression: Tensor,  # [F, E] ψ
        jaw_pose: Tensor,  # [F, 3] ω
        gain: float = 1.0,
    ) -> PredictedOffsets:
        """Δf of the head for these frames, evaluated when they are asked for."""
        here = self.to(head.betas.device)
        decoder = here.networks.decoder
        layout = face_layout(head.model, decoder.head_points)
        return PredictedOffsets(
            decoder=decoder,
            prepared=decoder.prepare(features_of_head(head, layout)),
            vertices=layout.vertices,
            codes=here.encode(head.model, expression, jaw_pose),
            num_vertices=head.model.num_vertices,
            gain=gain,
        )

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file, numbers in half precision. Returns its path."""
        tensors = {k: v.half() for k, v in self.networks.state_dict().items()}
        values = {"config": asdict(self.config), "training": self.training, "report": self.report}
        return write_safetensors(path, FORMAT, tensors, values)


def seen_by_encoder(
    config: TransferConfig,
    points: Tensor,  # [P, 2]
    model: HeadModel,
    expression: Tensor,  # [F, E]
    jaw_pose: Tensor,  # [F, 3]
) -> Tensor:
    """What E sees of these frames [F, encoder_inputs]."""
    if config.mode == "displacements":
        return point_displacements(model, points, expression, jaw_pose).flatten(1)
    missing = config.expression_size - expression.shape[1]
    if missing < 0:
        raise ValueError(
            f"The expressions have {expression.shape[1]} values, the transfer model reads {config.expression_size}."
        )
    return torch.cat([nn.functional.pad(expression, (0, missing)), jaw_pose], 1)


def load_transfer_model(source: str | Path = "built-in") -> TransferModel:
    """A transfer model: "built-in" (trained on a synthetic population of the default head), or a file.

    Raises:
        ValueError: the file is missing, of another format, or its parts do not fit together.
    """
    return _built_in() if str(source) in BUILT_IN_NAMES else _load(Path(source))


@functools.lru_cache(maxsize=1)
def _built_in() -> TransferModel:
    return _load(BUILT_IN)


def _load(path: Path) -> TransferModel:
    tensors, values = read_safetensors(path, FORMAT)
    try:
        sizes = dict(values["config"])
        config = TransferConfig(**{**sizes, "decoder": DecoderConfig(**sizes["decoder"])})
        networks = Networks(config)
        networks.load_state_dict({k: v.float() for k, v in tensors.items()})
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{path.name} is a transfer model of another version of this package ({error}). Train it again, or use "
            f"'built-in'."
        ) from error
    return TransferModel(config, networks.eval().requires_grad_(False), values["training"], values.get("report", {}))


@dataclass(frozen=True)
class PredictedOffsets:
    """Δf as G predicts it, evaluated in pieces when frames are asked for. What HeadMotion carries."""

    decoder: Decoder = field(repr=False)
    prepared: PreparedHead = field(repr=False)  # of one head
    vertices: Tensor = field(repr=False)  # [n] numbers of the facial vertices
    codes: Tensor = field(repr=False)  # [F, D] Q
    num_vertices: int  # Vs
    gain: float = 1.0

    def to(self, device: torch.device | str) -> PredictedOffsets:
        """The same on another device."""
        return PredictedOffsets(
            decoder=copy.deepcopy(self.decoder).to(device),
            prepared=self.prepared.to(device),
            vertices=self.vertices.to(device),
            codes=self.codes.to(device),
            num_vertices=self.num_vertices,
            gain=self.gain,
        )

    @torch.no_grad()
    def __call__(self, start: int, stop: int) -> Tensor:
        """Δf of the frames [stop - start, Vs, 3], metres; exactly 0 where the facial weight is."""
        codes = self.codes[start:stop]
        full = codes.new_zeros(len(codes), self.num_vertices, 3)
        width = self.decoder.config.frame_width
        at_once = max(1, VALUES_AT_ONCE // (width * max(1, len(codes))))
        for first in range(0, len(self.vertices), at_once):
            piece = slice(first, first + at_once)
            full[:, self.vertices[piece]] = self.gain * self.decoder(self.prepared.at(piece), codes)[0]
        return full
