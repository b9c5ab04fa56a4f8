"""Makes the three shipped networks from the MediaPipe wheel.

    python -m expportrait_core.fit.detect.build_networks WHEEL

A build tool, not needed at run time. It wants the `tflite` package (the reader of the file format, nothing that runs
it) and the wheel `mediapipe-0.10.14-*.whl`, from which it reads three files; the result is the same byte for byte
whenever it is run. MediaPipe's code and these models are Apache-2.0, (c) The MediaPipe Authors; the model cards are
"MediaPipe BlazeFace Short Range", "MediaPipe Attention Mesh" and "MediaPipe Selfie Segmentation".

The source is channels-last (N, H, W, C); ours is channels-first, so weights are permuted and nothing else changes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from ...assets import ASSETS
from ...portable import VERSION, atomic_path
from .networks import NETWORK_FORMAT

logger = logging.getLogger(__name__)

SOURCES = {
    "face_detector": "mediapipe/modules/face_detection/face_detection_short_range.tflite",
    "face_landmarks": "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite",
    "person_segmentation": "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
}
ACTIVATIONS = {"RELU": "relu", "HARD_SWISH": "hard_swish", "LOGISTIC": "sigmoid", "PRELU": "prelu"}


class TFLiteReader:
    """The first graph of a .tflite file: operations, tensor shapes, constants and options."""

    def __init__(self, data: bytes) -> None:
        try:
            import tflite
        except ImportError as error:
            raise ImportError("Building the networks needs the package 'tflite' (pip install tflite).") from error
        self.api = tflite
        self.model = tflite.Model.GetRootAsModel(data, 0)
        self.graph = self.model.Subgraphs(0)
        self.operator_names = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}

    def operators(self) -> list[tuple[str, list[int], int, Any]]:
        """(name, input tensors, output tensor, operator) in the order of execution."""
        found = []
        for index in range(self.graph.OperatorsLength()):
            operator = self.graph.Operators(index)
            code = self.model.OperatorCodes(operator.OpcodeIndex())
            name = self.operator_names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            if name == "CUSTOM":
                name = code.CustomCode().decode()
            found.append((name, operator.InputsAsNumpy().tolist(), int(operator.Outputs(0)), operator))
        return found

    def shape(self, tensor: int) -> list[int]:
        return self.graph.Tensors(tensor).ShapeAsNumpy().tolist()

    def name(self, tensor: int) -> str:
        return self.graph.Tensors(tensor).Name().decode()

    def constant(self, tensor: int) -> np.ndarray:
        kinds = self.api.TensorType
        types = {kinds.FLOAT16: "<f2", kinds.FLOAT32: "<f4", kinds.INT32: "<i4"}
        entry = self.graph.Tensors(tensor)
        data = self.model.Buffers(entry.Buffer()).DataAsNumpy()
        return np.frombuffer(data.tobytes(), types[entry.Type()]).reshape(self.shape(tensor))

    def options(self, operator: Any, kind: str) -> Any:
        """The options table of an operator; `kind` is its class in the `tflite` package."""
        table, options = operator.BuiltinOptions(), getattr(self.api, kind)()
        options.Init(table.Bytes, table.Pos)
        return options


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's "SAME" rule: as many outputs as size / stride, the odd pixel of padding at the end."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class Converter:
    """Turns operators into layers (see `networks.Network`), one method per family of operators."""

    def __init__(self, reader: TFLiteReader) -> None:
        self.reader = reader
        self.layers: list[dict] = []
        self.weights: dict[str, np.ndarray] = {}
        self.float16: dict[int, int] = {}  # tensor after DEQUANTIZE -> the float16 constant before it
        self.narrow: dict[int, int] = {}  # tensor after PAD -> the tensor with fewer channels before it
        self.names = {int(reader.graph.Inputs(0)): "picture"}
        self.readers: dict[int, int] = {}  # how many operators read a tensor
        for _, inputs, _, _ in reader.operators():
            for tensor in inputs:
                self.readers[tensor] = self.readers.get(tensor, 0) + 1

    def convert(self) -> tuple[list[dict], dict[str, np.ndarray], list[str]]:
        """Layers, weights and the names of the outputs."""
        for name, inputs, output, operator in self.reader.operators():
            if name == "DEQUANTIZE":
                self.float16[output] = inputs[0]
            elif name == "PAD":
                self.remember_channel_padding(inputs, output)
            elif name in ACTIVATIONS:
                self.fold_activation(name, inputs, output)
            elif name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                self.add_convolution(name, inputs, output, operator)
            else:
                self.add_other(name, inputs, output, operator)
        graph = self.reader.graph
        return self.layers, self.weights, [self.names[int(t)] for t in graph.OutputsAsNumpy()]

    def add(self, op: str, inputs: list[int], output: int, **values: Any) -> str:
        name = f"{op}{len(self.layers)}"
        self.layers.append({"op": op, "in": [self.names[t] for t in inputs], "out": name, **values})
        self.names[output] = name
        return name

    def weight(self, tensor: int) -> np.ndarray:
        return self.reader.constant(self.float16.get(tensor, tensor))

    def add_convolution(self, name: str, inputs: list[int], output: int, operator: Any) -> None:
        depthwise = name == "DEPTHWISE_CONV_2D"
        options = self.reader.options(operator, "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions")
        require(options.StrideH() == options.StrideW(), "square strides")
        require(options.DilationHFactor() == options.DilationWFactor() == 1, "no dilation")
        require(options.FusedActivationFunction() == 0, "no fused activation")
        require(not depthwise or options.DepthMultiplier() == 1, "depth multiplier 1")
        weight = self.weight(inputs[1])  # [O, kh, kw, I], or [1, kh, kw, C] if depthwise
        weight = weight.transpose(3, 0, 1, 2) if depthwise else weight.transpose(0, 3, 1, 2)
        stride = options.StrideH()
        values: dict[str, Any] = {"stride": stride, "groups": len(weight) if depthwise else 1}
        if options.Padding() == self.reader.api.Padding.SAME:
            _, height, width, _ = self.reader.shape(inputs[0])
            pad = [*same_padding(width, weight.shape[3], stride), *same_padding(height, weight.shape[2], stride)]
            if any(pad):
                values["pad"] = pad
        layer = self.add("conv", inputs[:1], output, **values)
        self.weights[layer + ".weight"] = np.ascontiguousarray(weight)
        self.weights[layer + ".bias"] = self.weight(inputs[2])

    def remember_channel_padding(self, inputs: list[int], output: int) -> None:
        before_after = self.reader.constant(inputs[1])
        require(not before_after[:3].any() and before_after[3, 0] == 0, "padding of the last channels only")
        self.narrow[output] = inputs[0]

    def fold_activation(self, name: str, inputs: list[int], output: int) -> None:
        """Write the activation into the layer whose value it changes; nothing else may read that value."""
        producer = next(layer for layer in self.layers if layer["out"] == self.names[inputs[0]])
        require(self.readers[inputs[0]] == 1 and "activation" not in producer, "one reader before an activation")
        producer["activation"] = ACTIVATIONS[name]
        if name == "PRELU":
            self.weights[producer["out"] + ".slope"] = self.weight(inputs[1]).reshape(-1)
        self.names[output] = producer["out"]

    def add_other(self, name: str, inputs: list[int], output: int, operator: Any) -> None:
        shape, result = self.reader.shape(inputs[0]), self.reader.shape(output)
        if name == "ADD" and any(t in self.narrow for t in inputs):
            narrow = next(t for t in inputs if t in self.narrow)
            wide = next(t for t in inputs if t != narrow)
            self.add("add_channels", [self.narrow[narrow], wide], output)
        elif name == "MUL" and inputs[1] in self.float16:
            layer = self.add("multiply", inputs[:1], output)
            self.weights[layer + ".weight"] = self.weight(inputs[1])
        elif name in ("ADD", "MUL"):
            self.add("add" if name == "ADD" else "multiply", inputs, output)
        elif name == "MAX_POOL_2D":
            options = self.reader.options(operator, "Pool2DOptions")
            stride = options.StrideH()
            sizes = {options.StrideW(), options.FilterHeight(), options.FilterWidth()}
            require(sizes == {stride} and shape[1] % stride == 0 == shape[2] % stride, "pooling of whole blocks")
            self.add("max_pool", inputs, output, stride=stride)
        elif name == "AVERAGE_POOL_2D":
            require(result[1:3] == [1, 1], "averages over the whole picture")
            self.add("mean", inputs, output)
        elif name == "RESIZE_BILINEAR":
            options = self.reader.options(operator, "ResizeBilinearOptions")
            require(options.HalfPixelCenters() and not options.AlignCorners(), "half-pixel centres")
            self.add("upsample", inputs[:1], output, stride=result[1] // shape[1])
        elif name == "Convolution2DTransposeBias":  # MediaPipe's own; options: padding, stride, stride as int32
            stride = int(operator.CustomOptionsAsNumpy()[4])
            weight = self.weight(inputs[1]).transpose(3, 0, 1, 2)  # [O, kh, kw, I] to [I, O, kh, kw]
            require(weight.shape[2:] == (stride, stride), "a kernel as wide as the stride")
            layer = self.add("transposed_conv", inputs[:1], output, stride=stride)
            self.weights[layer + ".weight"] = np.ascontiguousarray(weight)
            self.weights[layer + ".bias"] = self.weight(inputs[2])
        elif name in ("Landmarks2TransformMatrix", "TransformTensorBilinear", "TransformLandmarks"):
            self.add_attention(name, inputs, output, operator)
        elif name == "STRIDED_SLICE" or (name == "RESHAPE" and result[1:3] == [1, 1]):
            require(int(np.prod(shape)) == int(np.prod(result)), "reshaped outputs")
            self.names[output] = self.names[inputs[0]]
        elif name == "RESHAPE":
            require(len(result) == 3 and result[1] * result[2] == int(np.prod(shape[1:])), "[1, rows, columns]")
            self.add("rows", inputs[:1], output, columns=result[2])
        elif name == "CONCATENATION":
            self.add("concatenate", inputs, output)
        else:
            raise ValueError(f"The source has the operation {name}, which the converter does not know.")

    def add_attention(self, name: str, inputs: list[int], output: int, operator: Any) -> None:
        """MediaPipe's own operations that look at lips and eyes again, in regions that the mesh gives."""
        if name == "TransformLandmarks":
            self.add("place", inputs, output)
            return
        options = self.flexible_options(operator)
        require(options["output_height"] == options["output_width"], "square regions")
        if name == "TransformTensorBilinear":
            self.add("cut", inputs, output, side=options["output_height"])
            return
        require(options["scale_x"] == options["scale_y"] and options["target_rotation_radians"] == 0, "level regions")
        level = [options["left_rotation_idx"], options["right_rotation_idx"]]
        self.add("region", inputs, output, points=options["subset_idxs"], level=level, scale=options["scale_x"],
                 side=options["output_height"])  # fmt: skip

    def flexible_options(self, operator: Any) -> dict:
        from flatbuffers import flexbuffers  # comes with tflite

        return flexbuffers.Loads(operator.CustomOptionsAsNumpy().tobytes())


def require(holds: bool, expected: str) -> None:
    if not holds:
        raise ValueError(f"The source file is not as expected ({expected}). Use the wheel of mediapipe 0.10.14.")


def network_file(
    source: str,  # path inside the wheel, for the header
    data: bytes,  # the .tflite file
) -> bytes:
    """The bytes of our safetensors file for one .tflite file."""
    reader = TFLiteReader(data)
    layers, weights, outputs = Converter(reader).convert()
    values = {
        "input_size": reader.shape(int(reader.graph.Inputs(0)))[1],
        "layers": layers,
        "licence": "Apache-2.0, The MediaPipe Authors",
        "outputs": outputs,
        "source": f"mediapipe 0.10.14, {source}, sha256 {hashlib.sha256(data).hexdigest()}",
    }
    header = {"format": NETWORK_FORMAT, "version": str(VERSION), "values": json.dumps(values, sort_keys=True)}
    return with_sorted_header(save(weights, metadata=header))


def with_sorted_header(data: bytes) -> bytes:
    """The same safetensors file with its header in one fixed order: the library's own order is random."""
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors start at a multiple of 8 bytes
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def build(
    wheel: Path,  # mediapipe-0.10.14-*.whl
    folder: Path,  # where the three files go
) -> list[Path]:
    """Write the three networks. Returns their paths."""
    written = []
    with zipfile.ZipFile(wheel) as archive:
        for name, source in SOURCES.items():
            path = folder / (name + ".safetensors")
            with atomic_path(path) as temporary:
                temporary.write_bytes(network_file(source, archive.read(source)))
            logger.info("%s: %d bytes", path, path.stat().st_size)
            written.append(path)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the three shipped networks from the MediaPipe wheel.")
    parser.add_argument("wheel", type=Path, help="mediapipe-0.10.14-*.whl")
    parser.add_argument("--folder", type=Path, default=ASSETS)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    build(arguments.wheel, arguments.folder)


if __name__ == "__main__":
    main()
