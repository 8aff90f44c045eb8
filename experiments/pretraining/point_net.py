"""The network that finds a face's five landmarks, and its ONNX file.

Convolutions down to an 8 x 8 grid and up again to 16 x 16; one map per landmark there, and the mean place of each map.
The file is written by hand, batch norm folded into the convolutions, in operators that OpenCV's `dnn` runs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from auformer.files import atomic_path

INPUT, MAP, POINTS = 64, 16, 5
WIDTHS = (16, 32, 64)  # channels at 32, 16 and 8 cells per side [ours]
REACH = 1.3  # the map's cells span this many sides of the input, to find landmarks near and beyond its edge [ours]
OPSET = 13


class Layer(nn.Module):
    """Convolution from and to `channels`, and batch norm; with `skip`, the input is added; then ReLU."""

    def __init__(self, channels: tuple[int, int], kernel: int = 3, stride: int = 1, *, skip: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(*channels, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels[1])
        self.skip = skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        y = self.norm(self.conv(x))
        return torch.relu(y + x if self.skip else y)

    def folded(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias of one convolution that does the same as convolution and norm."""
        scale = self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)
        weight, bias = self.conv.weight * scale[:, None, None, None], self.norm.bias - self.norm.running_mean * scale
        return weight.detach().numpy(), bias.detach().numpy()


class PointNet(nn.Module):
    """Five landmarks (B, 5, 2) in parts of the input's side, from normalised crops (B, 1, 64, 64)."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.stem = Layer((1, a), 5, 2)
        self.down = nn.ModuleList([Layer((a, b), stride=2), Layer((b, b), skip=True)])
        self.deep = nn.ModuleList([Layer((b, c), stride=2), *(Layer((c, c), skip=True) for _ in range(4))])
        self.back = Layer((c, b), 1)
        self.join = Layer((b, b))
        self.head = nn.Conv2d(b, POINTS, 1)
        self.register_buffer("cells", torch.from_numpy(cells()))

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """One map per landmark, a distribution over cells: (B, 5, 256)."""
        x = self.stem(x)
        for layer in self.down:
            x = layer(x)
        y = x
        for layer in self.deep:
            y = layer(y)
        y = nn.functional.interpolate(self.back(y), scale_factor=2, mode="nearest")
        return torch.softmax(self.head(self.join(x + y)).flatten(2).float(), -1)  # (B, 5, 16, 16) -> (B, 5, 256)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mean place of each map: (B, 5, 2)."""
        return self.maps(x) @ self.cells


def cells() -> np.ndarray:
    """Centres (256, 2) of the map's cells, x and y, in parts of the input's side."""
    line = ((np.arange(MAP, dtype=np.float32) + 0.5) / MAP - 0.5) * np.float32(REACH) + np.float32(0.5)
    return np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)


def write_onnx(net: PointNet, path: Path, producer: str) -> None:
    """Write the network as ONNX: input `crop` (1, 1, 64, 64), output `points` (1, 5, 2)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def convolve(name: str, x: str, weight: np.ndarray, bias: np.ndarray, stride: int) -> str:
        names = [constant(f"{name}.weight", weight), constant(f"{name}.bias", bias)]
        side = weight.shape[-1]
        places = {"kernel_shape": [side] * 2, "strides": [stride] * 2, "pads": [side // 2] * 4}
        nodes.append(helper.make_node("Conv", [x, *names], [name], name, **places))
        return name

    def node(kind: str, inputs: list[str], name: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def layer(name: str, module: nn.Module, x: str) -> str:
        assert isinstance(module, Layer)
        y = convolve(name, x, *module.folded(), module.conv.stride[0])
        return node("Relu", [node("Add", [y, x], f"{name}.sum") if module.skip else y], f"{name}.out")

    x = layer("stem", net.stem, "crop")
    for i, module in enumerate(net.down):
        x = layer(f"down{i}", module, x)
    y = x
    for i, module in enumerate(net.deep):
        y = layer(f"deep{i}", module, y)
    y = layer("back", net.back, y)
    empty, twice = constant("roi", np.zeros(0, np.float32)), constant("twice", np.array([1, 1, 2, 2], np.float32))
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    x = layer("join", net.join, node("Add", [x, node("Resize", [y, empty, twice], "up", **nearest)], "met"))
    x = convolve("head", x, net.head.weight.detach().numpy(), net.head.bias.detach().numpy(), 1)
    x = node("Reshape", [x, constant("flat", np.array([1, POINTS, MAP * MAP]))], "rows")
    node("MatMul", [node("Softmax", [x], "share", axis=2), constant("cells", cells())], "points")
    sides = [("crop", [1, 1, INPUT, INPUT]), ("points", [1, POINTS, 2])]
    taken, given = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in sides)
    graph = helper.make_graph(nodes, "points", [taken], [given], constants)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, producer_name=producer, ir_version=8)
    onnx.checker.check_model(model)
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
