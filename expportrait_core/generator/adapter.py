"""The ExpPortrait adapter: two small encoders that put normal maps into a Wan transformer without changing it.

The pose encoder (3D convolutions over the driving normals N^D) is added to the transformer's patch tokens, the
reference encoder (2D convolutions over the portrait's normals N^R) to the channels of its image condition. Layout
and key names are UniAnimate-DiT's (`dwpose_embedding`, `randomref_embedding_pose`), so files can be exchanged; widths
and strides are read from the file, so the same class serves Wan 14B and the demo transformer. The last layers start
at zero: an untrained adapter changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ..portable import read_safetensors, write_safetensors
from ..render.normals import NORMALS_CONVENTION

FORMAT = "expportrait.adapter"
POSE, REFERENCE = "dwpose_embedding", "randomref_embedding_pose"
MASK_CHANNELS = 4  # Wan's image condition: 4 mask channels, then the image latent
PREDICTION_TYPES = ("flow", "epsilon", "x0")
CONVENTION = NORMALS_CONVENTION  # of the pictures; the encoders take 2·picture - 1


@dataclass(frozen=True)
class AdapterConfig:
    """What an adapter file is made for. Written into the file's header.

    Raises:
        ValueError: the numbers contradict each other.
    """

    base: str  # name of the transformer it was trained on, for people
    dim: int  # width of the transformer's tokens
    latent_channels: int
    concat_channels: int  # mask and image latent channels behind the latent; 0: the base has none
    width: int = 16  # channels inside both encoders
    pose_strides: tuple[tuple[int, int, int], ...] = ((1, 1, 1),) * 3 + ((1, 2, 2), (2, 2, 2), (2, 2, 2))
    patch: tuple[int, int, int] = (1, 2, 2)
    reference_strides: tuple[int, ...] = (1, 1, 1, 2, 2, 2)
    prediction_type: str = "flow"
    rank: int = 0  # of the LoRA part; 0: none
    alpha: float = 0.0
    convention: str = CONVENTION

    def __post_init__(self) -> None:
        as_triples = tuple(tuple(int(s) for s in stride) for stride in self.pose_strides)
        object.__setattr__(self, "pose_strides", as_triples)
        object.__setattr__(self, "patch", tuple(int(s) for s in self.patch))
        object.__setattr__(self, "reference_strides", tuple(int(s) for s in self.reference_strides))
        if self.prediction_type not in PREDICTION_TYPES:
            raise ValueError(f"prediction_type is '{self.prediction_type}', expected one of {PREDICTION_TYPES}.")
        pixels = math.prod(stride[1] for stride in self.pose_strides)
        target = pixels if self.concat_channels else pixels * self.patch[1]
        if math.prod(self.reference_strides) != target:
            raise ValueError(
                f"The reference encoder divides pictures by {math.prod(self.reference_strides)}, expected {target} to "
                f"meet the grid that the pose encoder's strides give. Correct the strides."
            )

    @property
    def frame_compression(self) -> int:
        """Video frames per latent frame."""
        return math.prod(stride[0] for stride in self.pose_strides)

    @property
    def pixel_compression(self) -> int:
        """Pixels per side of one token."""
        return math.prod(stride[1] for stride in self.pose_strides) * self.patch[1]

    @property
    def in_channels(self) -> int:
        """Input channels of the transformer that this adapter fits."""
        return self.latent_channels + self.concat_channels

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a clip: the first frame stands alone, then one per group of `frame_compression`.

        Raises:
            ValueError: the clip does not divide that way.
        """
        step = self.frame_compression
        if frames < 1 or (frames - 1) % step:
            lower = max(1, (frames - 1) // step * step + 1)
            raise ValueError(
                f"The clip has {frames} frames, expected {step}k+1. Cut it to {lower} or extend it to {lower + step}."
            )
        return (frames - 1) // step + 1

    def require_base(self, dim: int, in_channels: int) -> None:
        """Raise a sentence if a transformer of that width and number of input channels cannot take this adapter."""
        if self.concat_channels and in_channels == self.latent_channels:
            raise ValueError(
                f"This transformer takes {in_channels} channels and has no image condition, so the picture has no way "
                f"in. The adapter needs an image-to-video model with {self.in_channels} input channels."
            )
        if dim != self.dim or in_channels != self.in_channels:
            raise ValueError(
                f"The adapter was made for '{self.base}' with width {self.dim} and {self.in_channels} input channels, "
                f"this transformer has width {dim} and {in_channels} input channels. Choose the matching file."
            )


@dataclass(frozen=True)
class AdapterFeatures:
    """What the encoders give for one clip; cheap to slice per window and to add at every step."""

    pose: Tensor  # [B, dim, T, h, w] on the token grid
    reference: Tensor | None  # [B, concat, 1, H, W] on the latent grid, the same for all frames

    def frames(self, start: int, stop: int) -> AdapterFeatures:
        """Those of latent frames start..stop."""
        return replace(self, pose=self.pose[:, :, start:stop])

    def scaled(self, strength: float | Tensor) -> AdapterFeatures:
        """Times `strength`: one number, or [B], one per batch entry (0 for a negative branch without pose)."""
        factor = torch.as_tensor(strength, dtype=self.pose.dtype, device=self.pose.device).reshape(-1, 1, 1, 1, 1)
        return AdapterFeatures(self.pose * factor, None if self.reference is None else self.reference * factor)


class ExpPortraitAdapter(nn.Module):
    """Pose encoder, reference encoder and, where the file has one, a LoRA for the transformer.

    `lora` holds the LoRA's tensors under native names with the prefix `diffusion_model.`. They are read and kept; no
    host applies them yet.
    """

    def __init__(self, config: AdapterConfig):
        super().__init__()
        self.config = config
        self.lora: dict[str, Tensor] = {}
        w = config.width
        pose: list[nn.Module] = []
        for i, stride in enumerate(config.pose_strides):
            pose += [nn.Conv3d(w if i else 3, w, 3, stride, 1), nn.SiLU()]
        self.dwpose_embedding = nn.Sequential(*pose, nn.Conv3d(w, config.dim, config.patch, config.patch))
        reference: list[nn.Module] = []
        for i, stride in enumerate(config.reference_strides):
            last = i == len(config.reference_strides) - 1
            reference += [nn.Conv2d(w if i else 3, self._reference_width(last), 3, stride, 1), nn.SiLU()]
        self.randomref_embedding_pose = nn.Sequential(*reference[:-1])
        for layer in (self.dwpose_embedding[-1], self.randomref_embedding_pose[-1]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def _reference_width(self, last: bool) -> int:
        return (self.config.concat_channels or self.config.dim) if last else self.config.width

    def encode(
        self,
        normals: Tensor,  # [B, 3, F, H, W] pictures of N^D in -1..1
        reference_normals: Tensor,  # [B, 3, H, W] picture of N^R in -1..1
        chunk: int = 0,
    ) -> AdapterFeatures:
        """Features of a clip. `chunk` > 0 encodes that many latent frames at a time, with the same result.

        Raises:
            ValueError: the frames are not k·compression+1, or the sides do not divide into tokens.
        """
        pose = self.pose_tokens(self.pose_stem(normals, chunk))
        reference = self.randomref_embedding_pose(reference_normals.contiguous()).unsqueeze(2)
        if self.config.concat_channels:
            return AdapterFeatures(pose, reference)
        return AdapterFeatures(pose + reference, None)  # a base without image condition takes it with the tokens

    def pose_stem(
        self,
        normals: Tensor,  # [B, 3, F, H, W] in -1..1
        chunk: int = 0,
    ) -> Tensor:  # [B, width, T, h·2, w·2]
        """All but the last layer of the pose encoder: 16 channels, small enough to keep for a whole clip."""
        frames, height, width = normals.shape[2:]
        latent_frames, side = self.config.latent_frames(frames), self.config.pixel_compression
        if height % side or width % side:
            raise ValueError(f"The normals are {width}x{height} pixels, expected multiples of {side}. Resize them.")
        step, stem = self.config.frame_compression, self.dwpose_embedding[:-1]
        padded = torch.cat([normals[:, :, :1]] * (step - 1) + [normals], dim=2).contiguous()
        if chunk <= 0 or chunk >= latent_frames:
            return stem(padded)
        parts, halo = [], self._halo()
        for start in range(0, latent_frames, chunk):
            stop = min(start + chunk, latent_frames)
            first, last = max(0, start - halo), min(latent_frames, stop + halo)
            part = stem(padded[:, :, first * step : last * step].contiguous())
            parts.append(part[:, :, start - first : stop - first])
        return torch.cat(parts, dim=2)

    def pose_tokens(self, stem: Tensor) -> Tensor:  # [B, dim, T, h, w]
        """The last layer of the pose encoder: from `pose_stem` to what is added to the patch tokens."""
        return self.dwpose_embedding[-1](stem.contiguous())

    def _halo(self) -> int:
        """Latent frames beside a chunk that its convolutions look at."""
        reach = 0
        for stride in reversed(self.config.pose_strides):
            reach = reach * stride[0] + 1
        return -(-reach // self.config.frame_compression)

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file with the configuration in its header."""
        return write_safetensors(path, FORMAT, {**self.state_dict(), **self.lora}, asdict(self.config))


def load_adapter(path: str | Path) -> ExpPortraitAdapter:
    """Read an adapter file; one without our header but with UniAnimate-DiT's keys is read by its shapes.

    Raises:
        ValueError: the file is of another kind or lacks tensors.
    """
    if _has_our_header(Path(path)):
        tensors, values = read_safetensors(path, FORMAT)
        config = AdapterConfig(**values)
    else:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        config = _config_from_shapes(tensors, Path(path).name)
    return adapter_from_tensors(config, tensors, Path(path).name)


def adapter_from_tensors(config: AdapterConfig, tensors: dict[str, Tensor], name: str) -> ExpPortraitAdapter:
    """An adapter with these weights; tensors that belong to neither encoder are its LoRA. `name` is for errors."""
    adapter = ExpPortraitAdapter(config)
    expected = adapter.state_dict()
    for key, tensor in expected.items():
        if key not in tensors:
            raise ValueError(f"{name} lacks the tensor '{key}'. It is not a complete adapter; fetch it again.")
        if tensors[key].shape != tensor.shape:
            raise ValueError(
                f"{name}: '{key}' has shape {list(tensors[key].shape)}, its header promises {list(tensor.shape)}."
            )
    adapter.load_state_dict({key: tensors[key].float() for key in expected})
    adapter.lora = {key: value for key, value in tensors.items() if key not in expected}
    return adapter


def _has_our_header(path: Path) -> bool:
    if not path.is_file():
        raise ValueError(f"There is no file {path}. Choose an adapter file.")
    with path.open("rb") as file:  # a file that is no safetensors at all is reported by `read_safetensors`
        if file.read(9)[8:] != b"{":
            return True
    with safe_open(path, framework="pt") as file:
        return "format" in (file.metadata() or {}) or f"{POSE}.0.weight" not in file.keys()  # noqa: SIM118


def _config_from_shapes(tensors: dict[str, Tensor], name: str) -> AdapterConfig:
    """UniAnimate-DiT's files carry no header: Wan's strides, widths by shape."""
    convolutions = [key for key in tensors if key.startswith(POSE) and key.endswith(".weight")]
    references = [key for key in tensors if key.startswith(REFERENCE) and key.endswith(".weight")]
    if len(convolutions) != 7 or len(references) != 6:
        raise ValueError(
            f"{name} has {len(convolutions)} pose layers and {len(references)} reference layers and no header, "
            f"expected 7 and 6 as in UniAnimate-DiT. Choose another file."
        )
    concat = tensors[f"{REFERENCE}.10.weight"].shape[0]
    return AdapterConfig(
        base="by shape",
        dim=tensors[f"{POSE}.12.weight"].shape[0],
        latent_channels=concat - MASK_CHANNELS,
        concat_channels=concat,
        width=tensors[f"{POSE}.0.weight"].shape[0],
    )
