"""Write the packaged AU detector as ONNX, by which `auformer predict` runs it without torch.

    python -m experiments.pretraining.export_demo_detector

To be run whenever `auformer/assets/demo_detector.safetensors` is trained anew (a minute); until then predictions come
from torch, as the file says from which adapter file it was made. Writes `auformer/assets/demo_detector.onnx`, without
the frozen weights, which the package has in `scanned_backbone.safetensors`, and `demo_detector.json` beside it: where
each of those belongs, and the SHA-256 of the adapter file. Checks that both give the same numbers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auformer.files import atomic_path, sha256, write_json
from auformer.models import export_detector, load_detector
from auformer.models.checkpoint_path import DEMO_DETECTOR
from auformer.models.onnx_file import DEMO, DEMO_FROZEN, FROZEN, MADE_FROM, open_demo
from experiments.harness import new_parser

SMALLEST = 64  # numbers of a weight that is left out; smaller ones stay in the file [ours]
CLOSE = 1e-5  # difference of outputs that is rounding


def without_frozen(path: Path, frozen: dict[str, np.ndarray]) -> tuple[bytes, dict[str, tuple[str, bool]]]:
    """An exported network without the weights that `frozen` holds by name, and where each of those belongs."""
    import onnx
    from onnx import TensorProto, numpy_helper

    model, places = onnx.load(path), dict[str, tuple[str, bool]]()
    for one in model.graph.initializer:
        value = numpy_helper.to_array(one)
        place = _place_of(value, frozen) if value.size >= SMALLEST else None
        if place is None:
            continue
        places[one.name] = place
        one.ClearField("raw_data")
        one.ClearField("float_data")
        one.data_location = TensorProto.EXTERNAL
        entry = one.external_data.add()
        entry.key, entry.value = "location", DEMO_FROZEN.name
    return model.SerializeToString(), places


def _place_of(value: np.ndarray, frozen: dict[str, np.ndarray]) -> tuple[str, bool] | None:
    """The name of an equal weight, and whether it is turned; None where there is none."""
    for name, weight in frozen.items():
        for turned in (False, True):
            other = weight.T if turned else weight
            if other.shape == value.shape and np.array_equal(other, value):
                return name, turned
    return None


def largest_difference(images: torch.Tensor) -> float:
    """Between the outputs of both files."""
    made = open_demo(threads=1)
    assert made is not None
    with torch.inference_mode():
        wanted = load_detector("demo").outputs(images)
    return max(float((wanted[name] - value).abs().max()) for name, value in made.outputs(images).items())


def main(argv: list[str] | None = None) -> dict[str, Any]:
    new_parser(__doc__, out=DEMO.parent).parse_args(argv)
    from safetensors.numpy import load_file

    torch.set_num_threads(1)
    kept = load_file(DEMO_FROZEN)
    frozen = {name: value.astype(np.float32) for name, value in kept.items() if value.dtype == np.float16}
    with tempfile.TemporaryDirectory() as folder:
        whole = export_detector(load_detector("demo"), Path(folder, "demo.onnx"))
        content, places = without_frozen(whole, frozen)
    with atomic_path(DEMO) as temporary:
        temporary.write_bytes(content)
    write_json(DEMO.with_suffix(".json"), {MADE_FROM: sha256(DEMO_DETECTOR), FROZEN: places})
    difference = largest_difference(torch.rand(8, 3, *load_detector("demo").image_size))
    if difference > CLOSE:
        raise SystemExit(f"{DEMO} differs from {DEMO_DETECTOR} by {difference:g}")
    result = {"bytes": len(content), "left_out": len(places), "largest_difference": difference}
    print(result)
    return result


if __name__ == "__main__":
    main()
