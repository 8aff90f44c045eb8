"""A trained network as one file that runs without this package: ONNX, `torch.export`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from auformer.errors import require
from auformer.files import atomic_path
from auformer.models.adapter_file import describe
from auformer.models.header import HEADER
from auformer.models.network import AUNetwork
from auformer.models.onnx_file import ONNX, output_names
from auformer.models.quiet import quiet

FORMATS = {"onnx": ONNX, "torch": ".pt2"}  # and the suffix that each tool expects
_OPSET = 20  # first with GELU as one operator
_INT8 = ("MatMul", "Gemm")  # where nearly all of the time goes; convolutions and softmax stay in float32


class _Predictions(nn.Module):
    """From images to probabilities and intensities: normalisation and sigmoid are inside the network already."""

    def __init__(self, network: AUNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.network.clip_length > 1:
            return self.network.predict_probs(images).unflatten(0, (-1, self.network.clip_length))
        if self.network.intensity == "none":
            return self.network.predict_probs(images)
        found = self.network.outputs(images)
        return found["probs"], found["intensity"]


def export_detector(
    network: AUNetwork,
    out: str | Path,
    *,
    kind: str = "onnx",
    int8: bool = False,
    source: Mapping[str, Any] | None = None,
) -> Path:
    """Write a network as one file.

    Args:
        network: As `load_detector` gives it; computed on the CPU in float32.
        out: The file; its suffix is `.onnx` or, for a program of torch, `.pt2`.
        kind: `onnx` or `torch`.
        int8: Store matrices as 8-bit integers and quantise their inputs while running (ONNX only).
        source: Where the network comes from, kept in the file.

    Returns:
        The file. Input `images (B, 3, H, W)` float32 RGB in [0, 1], any `B`; output `probs (B, N)`, and with an
        intensity head `intensity (B, N)` in [0, 5], which counts for the `intensity_aus` of the metadata. Of a network
        that sees clips, `images (B, T, 3, H, W)` and `probs (B, T, N)` with a fixed `T`. Action units,
        thresholds, crop recipe and all else that an adapter file says about itself are in its metadata, as JSON.

    Raises:
        ValueError: Another kind or suffix, 8 bits for a program of torch, or a network with a language model.
        MissingExtraError: The packages for ONNX are not installed.
    """
    out = Path(out)
    if kind not in FORMATS:
        raise ValueError(f"Expected `kind` to be one of {', '.join(FORMATS)}, but got {kind!r}")
    if out.suffix.lower() != FORMATS[kind]:
        raise ValueError(f"Expected `out` to end in {FORMATS[kind]} for the format {kind}, but got {out.name}")
    if int8 and kind != "onnx":
        raise ValueError("Expected `int8` for the format onnx only, but got it for torch")
    if not network.exportable:
        raise ValueError(
            f"Expected a network that can be exported, but {type(network).__name__} answers with a language model: use "
            "its adapter file"
        )
    header = json.dumps(describe(network) | {"exported": {"kind": kind, "int8": int8, "source": dict(source or {})}})
    if kind == "onnx":
        require("onnxscript", "export")
    program, names = _program(network), output_names(network.intensity)
    with atomic_path(out) as temporary:
        if kind == "torch":
            torch.export.save(program, temporary, extra_files={HEADER: header})
        else:
            _write_onnx(program, temporary, header, names, int8)
    return out


def _program(network: AUNetwork) -> torch.export.ExportedProgram:
    """The network as a graph whose first dimension is free."""
    network = network.to("cpu", torch.float32).eval()
    frames = () if network.clip_length == 1 else (network.clip_length,)
    example = torch.rand(2, *frames, 3, *network.image_size)
    with torch.no_grad(), _maps_as_they_are(network, example):
        return torch.export.export(
            _Predictions(network), (example,), dynamic_shapes={"images": {0: torch.export.Dim("batch")}}
        )


@contextmanager
def _maps_as_they_are(network: AUNetwork, example: Tensor) -> Iterator[None]:
    """Inside, the composed maps of expert groups are constants, so that the file does not compose them anew."""
    groups: list[Any] = list(getattr(network, "groups", ()))
    network(example)
    for group in groups:
        maps = group._kept.result
        assert maps is not None
        group._composed = lambda previous, maps=maps: maps
    try:
        yield
    finally:
        for group in groups:
            del group._composed


def _write_onnx(program: torch.export.ExportedProgram, path: Path, header: str, names: list[str], int8: bool) -> None:
    """Translate a program to ONNX, with its metadata."""
    onnx = require("onnx", "export")
    with quiet():
        made = torch.onnx.export(
            program, dynamo=True, opset_version=_OPSET, input_names=["images"], output_names=names,
            optimize=False, verbose=False,
        )  # fmt: skip
    assert made is not None
    model = _simplified(made.model_proto)
    del model.graph.value_info[:]  # shapes inside, which later tools infer anew
    if int8:
        model = _in_int8(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = HEADER, header
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _simplified(model: Any) -> Any:
    """Constants folded by onnxruntime, in operators of ONNX alone; what it leaves, by the exporter's own rules.

    Those do both, and fold with a reference in Python: 82 seconds instead of 21 for the packaged one (12,000 nodes
    before, 1,600 after).
    """
    import onnxruntime as runtime

    onnx = require("onnx", "export")
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3  # errors only
    with tempfile.TemporaryDirectory() as folder, quiet():
        folded = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(folded)
        runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        model = require("onnxscript.optimizer", "export").optimize(onnx.load(folded))
    used = {node.domain for node in model.graph.node}
    kept = [each for each in model.opset_import if each.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def _in_int8(model: Any) -> Any:
    """Matrices as 8-bit integers, by onnxruntime's dynamic quantisation, which works on files."""
    onnx, quantization = require("onnx", "export"), require("onnxruntime.quantization", "export")
    with tempfile.TemporaryDirectory() as folder, quiet():
        before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, before)
        quantization.quantize_dynamic(
            before, after, weight_type=quantization.QuantType.QInt8, op_types_to_quantize=list(_INT8)
        )
        return onnx.load(after)
