"""Train the landmark regressor of `auformer.faces` on rendered faces.

    python -m experiments.pretraining.train_points --out runs/points

Renders 40,000 images of 2,000 subjects (4 minutes on one core), trains (20 minutes) and writes
`auformer/assets/points.onnx`; then `measure_points` measures it. The same call resumes an interrupted run.

The network: convolutions down to an 8 x 8 grid and up again to 16 x 16; one map per landmark there, and the mean place
of each map. Its file is written by hand, batch norm folded into the convolutions, in operators that OpenCV runs.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from auformer.faces.regressor import MODEL, SIDE
from auformer.files import atomic_path, write_json
from auformer.training.run import fast_and_restored
from experiments.harness import new_parser
from experiments.pretraining.points_data import FIRST_TRAIN, FIRST_VAL, batch, render_shards

SUBJECTS, IMAGES, VAL_SUBJECTS, VAL_IMAGES = 2000, 20, 100, 10
STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY, SEED = 9000, 128, 3e-3, 0.01, 0
AVERAGE = 0.998  # weights used are a moving average over the last steps [ours]
ROUND = 0.01  # IPD below which the loss turns from distance to its square [ours]
CHECKS = 1000  # validation inputs
KEEP_EVERY = 250  # steps between two checkpoints


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


class Training:
    """Network, moving average, optimiser, schedule over so many steps and the step, as one thing to save."""

    def __init__(self, steps: int) -> None:
        torch.manual_seed(SEED)
        self.net = PointNet().to(memory_format=torch.channels_last)
        self.average = torch.optim.swa_utils.AveragedModel(
            self.net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGE), use_buffers=True
        )
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, LEARNING_RATE, total_steps=steps + 1, pct_start=0.1
        )
        self.step, self.seconds = 0, 0.0

    def save(self, path: Path) -> None:
        """Write everything that a killed run needs."""
        parts = {name: getattr(self, name).state_dict() for name in ("net", "average", "optimiser", "schedule")}
        with atomic_path(path) as temporary:
            torch.save({**parts, "step": self.step, "seconds": self.seconds}, temporary)

    def load(self, path: Path) -> None:
        """Read it back."""
        kept = torch.load(path, weights_only=True)
        for name in ("net", "average", "optimiser", "schedule"):
            getattr(self, name).load_state_dict(kept[name])
        self.step, self.seconds = kept["step"], kept["seconds"]

    def advance(self, inputs: np.ndarray, points: np.ndarray) -> float:
        """One step; the mean distance in inter-pupil distances of an upright face."""
        self.net.train()
        with torch.autocast("cpu", torch.bfloat16):
            maps = self.net.maps(torch.from_numpy(inputs).to(memory_format=torch.channels_last))
        away = (maps.float() @ self.net.cells - torch.from_numpy(points)) * SIDE
        square = away.square().sum(-1)
        loss = ((square + ROUND**2).sqrt() - ROUND).mean()
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.net)
        self.step += 1
        return float(square.detach().sqrt().mean())


@fast_and_restored()
def train(out: Path, steps: int, log: bool = True) -> tuple[PointNet, float]:
    """The averaged network in eval mode, and the seconds that training took."""
    images, points = render_shards(out / "data", FIRST_TRAIN, SUBJECTS, IMAGES)
    checks = [
        batch(*render_shards(out / "data", FIRST_VAL, VAL_SUBJECTS, VAL_IMAGES), np.arange(CHECKS), 10**6 + i)
        for i in range(2)
    ]
    training, path = Training(steps), out / "training.pt"
    if path.exists():
        training.load(path)
    recent: list[float] = []
    while training.step < steps:
        start = time.process_time()
        rng = np.random.default_rng([779, SEED, training.step])
        recent.append(training.advance(*batch(images, points, rng.integers(0, len(images), BATCH), training.step)))
        training.seconds += time.process_time() - start
        if training.step % KEEP_EVERY == 0 or training.step == steps:
            training.save(path)
            if log:
                errors = [validate(training.average.module, *check) for check in checks]
                told = f"{training.seconds:.0f} s, training {np.mean(recent):.4f}, validation"
                print(training.step, told, *errors, flush=True)
            recent = []
    return training.average.module.eval(), training.seconds


@torch.inference_mode()
def validate(net: PointNet, inputs: np.ndarray, points: np.ndarray) -> dict[str, float]:
    """Mean errors in IPD of an upright face: pupils by input, as boxes and as first landmarks leave them; all."""
    net.eval()
    away = np.linalg.norm(net(torch.from_numpy(inputs)).numpy() - points, axis=-1) * SIDE
    parts = {"wide": away[::2, :2], "near": away[1::2, :2], "all": away}
    return {name: round(float(part.mean()), 4) for name, part in parts.items()}


def main(argv: list[str] | None = None) -> None:
    parser = new_parser(__doc__, out=Path("runs/points"))
    parser.add_argument("--steps", type=int, default=STEPS, help="default: %(default)s")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    net, seconds = train(args.out, args.steps)
    write_onnx(net, MODEL, "auformer experiments.pretraining.train_points")
    write_json(args.out / "training.json", {"steps": args.steps, "seconds": round(seconds)})


if __name__ == "__main__":
    main()
