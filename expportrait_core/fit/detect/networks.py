"""Small convolutional networks that are read from a file: layers in the header, weights beside it.

A network is a list of layers, each a JSON object that names its operation, the values it reads and the value it
makes; `run_layer` below is the whole vocabulary. So three networks need one executor of a page and no class each, and
`build_networks` writes what the source file says, layer for layer. The source is TensorFlow: its padding of strided
convolutions is one-sided ("pad"), which `torch.nn.Conv2d` cannot express.

Shipped: `face_detector`, `face_landmarks`, `person_segmentation`, all from MediaPipe 0.10.14 (Apache-2.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ...assets import ASSETS
from ...portable import read_safetensors

__all__ = ["NETWORK_FORMAT", "Network", "load_network"]

NETWORK_FORMAT = "expportrait.network"


@dataclass(frozen=True)
class Network:
    """Layers and weights. Call it with pictures [N, 3, S, S]; it gives one tensor per name in `outputs`.

    A layer is {"op", "in": [value names], "out": value name} and, as the operation needs, "stride", "pad" (left,
    right, top, bottom), "groups", "activation". Its weights are `weights[out + ".weight"]`, `".bias"` and `".slope"`.
    """

    layers: tuple[dict, ...]
    outputs: tuple[str, ...]
    input_size: int  # S
    weights: dict[str, Tensor]

    @torch.no_grad()
    def __call__(
        self,
        pictures: Tensor,  # [N, 3, S, S], in the range that the network was trained on
    ) -> tuple[Tensor, ...]:
        if tuple(pictures.shape[1:]) != (3, self.input_size, self.input_size):
            raise ValueError(
                f"The network reads pictures [N, 3, {self.input_size}, {self.input_size}], got {list(pictures.shape)}. "
                f"Resize them first."
            )
        # twice as fast as planar on a CPU, where most layers are 1x1 convolutions
        values = {"picture": pictures.contiguous(memory_format=torch.channels_last)}
        for layer, finished in zip(self.layers, self._finished_values(), strict=True):
            inputs = [values[name] for name in layer["in"]]
            values[layer["out"]] = run_layer(layer, inputs, self.weights)
            for name in finished:
                del values[name]
        return tuple(values[name] for name in self.outputs)

    def _finished_values(self) -> list[list[str]]:
        """Per layer, the values that nothing after it reads: dropping them keeps a batch's memory small."""
        last_reader = {name: index for index, layer in enumerate(self.layers) for name in layer["in"]}
        finished: list[list[str]] = [[] for _ in self.layers]
        for name, index in last_reader.items():
            if name not in self.outputs:
                finished[index].append(name)
        return finished


def run_layer(
    layer: dict,
    inputs: list[Tensor],  # each [N, C, H, W]
    weights: dict[str, Tensor],
) -> Tensor:
    """One layer's value. Raises ValueError for an operation that this release does not know."""
    first, name = inputs[0], layer["out"]
    if "pad" in layer:
        first = F.pad(first, layer["pad"])
    match layer["op"]:
        case "conv":
            weight, bias = weights[name + ".weight"], weights[name + ".bias"]
            value = F.conv2d(first, weight, bias, stride=layer["stride"], groups=layer["groups"])
        case "transposed_conv":
            weight, bias = weights[name + ".weight"], weights[name + ".bias"]
            value = F.conv_transpose2d(first, weight, bias, stride=layer["stride"])
        case "max_pool":
            value = F.max_pool2d(first, layer["stride"])
        case "mean":  # over the whole picture
            value = first.mean(dim=(2, 3), keepdim=True)
        case "add":
            value = first + inputs[1]
        case "add_channels":  # the first input has fewer channels; the missing ones count as zero
            value = inputs[1].clone()
            value[:, : first.shape[1]] += first
        case "multiply":
            value = first * (inputs[1] if len(inputs) > 1 else weights[name + ".weight"])
        case "upsample":
            value = F.interpolate(first, scale_factor=layer["stride"], mode="bilinear", align_corners=False)
        case "rows":  # [N, C, H, W] to [N, rows, columns], rows in the order y, x, channel group
            value = first.permute(0, 2, 3, 1).reshape(len(first), -1, layer["columns"])
        case "concatenate":
            value = torch.cat(inputs, dim=1)
        case "region":
            value = region_around(first[:, layer["points"], :2], first[:, layer["level"], :2], layer)
        case "cut":  # a region of a value, [N, C, side, side]
            value = cut_region(first, inputs[1], layer["side"])
        case "place":  # points in a region, [N, P, 2], to where they are in the whole
            value = first @ inputs[1][:, :2, :2].transpose(1, 2) + inputs[1][:, None, :2, 3]
        case unknown:
            raise ValueError(f"The network has a layer '{unknown}' that this release does not know. Update the pack.")
    match layer.get("activation"):
        case None:
            return value
        case "relu":
            return value.relu_()
        case "hard_swish":
            return F.hardswish(value, inplace=True)
        case "sigmoid":
            return value.sigmoid_()
        case "prelu":
            return F.prelu(value, weights[name + ".slope"])
        case unknown:
            raise ValueError(f"The network has an activation '{unknown}' that this release does not know.")


def region_around(
    points: Tensor,  # [N, P, 2] what it surrounds, in cells of the value that it is cut from
    level: Tensor,  # [N, 2, 2] two points whose line its rows are parallel to
    layer: dict,
) -> Tensor:
    """A turned rectangle as the matrix [N, 4, 4] from its own coordinates, 0..side, to the value's."""
    across = F.normalize(level[:, 1] - level[:, 0], dim=1)
    axes = torch.stack([across, across.flip(1) * across.new_tensor([-1.0, 1.0])], dim=2)  # columns
    turned = points @ axes
    low, high = turned.amin(dim=1), turned.amax(dim=1)
    matrix = torch.eye(4, device=points.device).repeat(len(points), 1, 1)
    matrix[:, :2, :2] = axes * ((high - low) * (layer["scale"] / layer["side"]))[:, None]
    centre = (axes @ ((low + high) / 2)[..., None])[..., 0]
    matrix[:, :2, 3] = centre - matrix[:, :2, :2].sum(dim=2) * layer["side"] / 2
    return matrix


def cut_region(
    value: Tensor,  # [N, C, H, W]
    matrix: Tensor,  # [N, 4, 4] from the region's coordinates to the value's, both counted from the first cell's corner
    side: int,
) -> Tensor:  # [N, C, side, side]
    steps = torch.arange(side, device=value.device) + 0.5
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    cells = torch.stack([x, y], dim=-1).reshape(-1, 2)
    cells = cells @ matrix[:, :2, :2].transpose(1, 2) + matrix[:, None, :2, 3]
    grid = cells / cells.new_tensor([value.shape[3], value.shape[2]]) * 2 - 1
    return F.grid_sample(value, grid.unflatten(1, (side, side)), mode="bilinear", align_corners=False)


@cache
def load_network(
    name: str,  # file name in `assets` without ".safetensors"
    device: torch.device | str = "cpu",
) -> Network:
    """One of the shipped networks, read once per device. Weights are float16 in the file and float32 in memory.

    Raises:
        ValueError: no such file, or not a network.
    """
    stored, header = read_safetensors(ASSETS / f"{name}.safetensors", NETWORK_FORMAT)
    weights = {key: value.to(device, torch.float32) for key, value in stored.items()}
    weights = {k: v.contiguous(memory_format=torch.channels_last) if v.ndim == 4 else v for k, v in weights.items()}
    return Network(tuple(header["layers"]), tuple(header["outputs"]), header["input_size"], weights)
