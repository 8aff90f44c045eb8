"""What 8-bit integers do to an exported network: speed beside the float32 file, and what is lost.

    python -m experiments.speed.bench_int8

Two files are made of one exported network by onnxruntime's own quantisation: `dynamic` (matrices in 8 bits with one
scale each, their inputs quantised while running; one scale per column does not run, onnxruntime refuses it for products of stacked
matrices) and `static` (one scale per column, inputs quantised by ranges seen on rendered calibration pictures). Speed: onnxruntime on the
CPU, the files in turn in one process, ratios within a round; the packaged demo detector, and AUFormer on ViT-B/16 with random weights (how
fast does not depend on the weights). Loss: the packaged detector on rendered people whom neither its training nor the calibration shows, at
the thresholds in its header. Writes `int8.json` and `int8.md`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from auformer.aus import AU_SETS
from auformer.data.dataset import AUDataset
from auformer.data.manifest import read_manifest
from auformer.metrics import confusion_counts, f1_from_counts, mean_over_aus
from auformer.models import AUFormer, AUNetwork, OnnxDetector, export_detector, load_detector
from auformer.models.export import _in_int8, _quiet
from auformer.predict.manifest import predict_manifest
from auformer.synthetic.writing import render_dataset
from experiments.speed.bench import ratio, spread, time_in_turn
from experiments.speed.bench_files import circumstances, write_result

ROOT = Path(__file__).resolve().parents[1]
FIRST_TEST, FIRST_CALIBRATION = 50_000, 51_000  # numbers of faces that nothing else here shows
CALIBRATION = 64  # pictures of each lab that the static ranges are taken from [ours]
KINDS = ("MatMul", "Gemm")  # where nearly all of the time goes
PAYS_SPEED, PAYS_LOSS = 1.3, 0.5  # worth it from this gain in speed on, and up to this loss of mean F1 in points [ours]
NETWORKS = ("detector", "large")
FORMS = {"dynamic": "int8, dynamic", "static": "int8, static"}


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--checkpoint", default="demo", help="detector whose loss is measured (default: demo)")
    parser.add_argument("--backbone-checkpoint", type=Path, help="its frozen weights, where they cannot be fetched")
    parser.add_argument(
        "--large", default="vit_base_patch16_224", help="timm ViT for speed alone (default: %(default)s)"
    )
    parser.add_argument("--subjects", type=int, default=12, help="test people of each lab (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=50, help="pictures of each (default: %(default)s)")
    parser.add_argument(
        "--batches", type=int, nargs=2, default=(16, 4), help="images at once: detector, large ViT (default: 16 4)"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of onnxruntime (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=9, help="timed rounds after one for warming up (default: %(default)s)"
    )
    parser.add_argument("--data", type=Path, help="folder that keeps the rendered pictures (default: none is kept)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "experiments" / "results", help="folder for int8.json and int8.md"
    )
    return parser.parse_args(argv)


class _Batches(CalibrationDataReader):
    """Pictures for the static ranges, a few at once."""

    def __init__(self, images: np.ndarray) -> None:
        self.rest: Iterator[np.ndarray] = iter(np.array_split(images, max(1, len(images) // 8)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """One batch, or None at the end."""
        batch = next(self.rest, None)
        return None if batch is None else {"images": batch}


def quantise(source: Path, folder: Path, calibration: np.ndarray) -> dict[str, Path]:
    """All forms of an exported file, metadata included.

    Args:
        source: What `auformer export` wrote.
        folder: Where to put them.
        calibration: Images `(n, 3, H, W)` float32 in [0, 1].
    """
    paths = {"float32": source, **{name: folder / f"{name}.onnx" for name in FORMS}}
    onnx.save(_in_int8(onnx.load(source)), paths["dynamic"])  # what `auformer export --int8` does
    prepared = folder / "prepared.onnx"
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    plain = {"weight_type": QuantType.QInt8, "op_types_to_quantize": list(KINDS)}
    options = {
        "MatMulConstBOnly": True
    }  # a product of two activations, as in attention, stays in float32, as it does when dynamic
    ranges = {
        "quant_format": QuantFormat.QDQ,
        "activation_type": QuantType.QUInt8,
        "per_channel": True,
        "extra_options": options,
    }
    with _quiet():
        quantize_static(prepared, paths["static"], _Batches(calibration), **ranges, **plain)
    header = onnx.load(source).metadata_props
    for name in FORMS:
        model = onnx.load(paths[name])
        del model.metadata_props[:]
        model.metadata_props.extend(header)
        onnx.save(model, paths[name])
    return paths


def measure_speed(paths: dict[str, Path], images: np.ndarray, threads: int, rounds: int) -> dict[str, Any]:
    """Ratios of the float32 file's time to each form's, how they spread, and the size of the files in MB."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    ways: dict[str, Callable[[], object]] = {}
    for name, path in paths.items():
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        ways[name] = lambda session=session: session.run(["probs"], {"images": images})
    seconds = time_in_turn(ways, rounds)
    return {
        "batch": len(images),
        "faster": {name: ratio(seconds, "float32", name) for name in FORMS},
        "spread": {name: spread(seconds, "float32", name) for name in FORMS},
        "megabytes": {name: round(path.stat().st_size / 1e6, 1) for name, path in paths.items()},
    }


def measure_loss(paths: dict[str, Path], manifest: Path) -> dict[str, dict[str, float]]:
    """Mean F1 of each form in per cent, and the share of decisions (image and AU) other than the float32 file's, in per cent."""
    rows, found, decisions = read_manifest(manifest), {}, {}
    for name, path in paths.items():
        detector = OnnxDetector(path)
        table = predict_manifest(detector, rows)
        prob = table[[f"{au}_prob" for au in detector.au_names]].to_numpy()
        limits = np.array([detector.thresholds[au] for au in detector.au_names])
        target = table[[f"{au}_true" for au in detector.au_names]].to_numpy()
        decisions[name] = prob >= limits
        f1 = mean_over_aus(f1_from_counts(confusion_counts(target, prob, limits))).value
        found[name] = {"f1": 100 * f1, "differ": 100 * float((decisions[name] != decisions["float32"]).mean())}
    return found


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything: speed of both networks, loss of the detector by lab."""
    torch.set_num_threads(args.threads)
    detector = load_detector(args.checkpoint, backbone_checkpoint=args.backbone_checkpoint)
    data, common = args.data or folder / "data", {"au_names": "all", "size": detector.image_size[0]}
    seen = {"subjects": 4, "frames": CALIBRATION // 4, "first_subject": FIRST_CALIBRATION}
    calibration = []
    for lab in "AB":
        path = render_dataset(data / f"calibration_{lab}", lab=lab, **seen, **common)
        dataset = AUDataset(read_manifest(path), path.parent, detector.au_names, detector.image_size)
        calibration += [dataset[row]["image"].numpy() for row in range(len(dataset))]
    files = _made(detector, folder / "detector", np.stack(calibration))
    result: dict[str, Any] = {
        "detector": measure_speed(files, np.stack(calibration[: args.batches[0]]), args.threads, args.rounds)
    }
    result["loss"] = {}
    for lab in "AB":
        test = {"subjects": args.subjects, "frames": args.frames, "first_subject": FIRST_TEST}
        result["loss"][lab] = measure_loss(files, render_dataset(data / f"test_{lab}", lab=lab, **test, **common))
    torch.manual_seed(0)
    large = AUFormer(args.large, AU_SETS["bp4d"])
    images = np.random.default_rng(0).random((max(8, args.batches[1]), 3, *large.image_size), dtype=np.float32)
    files = _made(large, folder / "large", images[:8])
    result["large"] = measure_speed(files, images[: args.batches[1]], args.threads, args.rounds)
    return result


def _made(network: AUNetwork, folder: Path, calibration: np.ndarray) -> dict[str, Path]:
    """A network exported in every form."""
    folder.mkdir(parents=True)
    return quantise(export_detector(network, folder / "float32.onnx"), folder, calibration)


def verdict(result: dict[str, Any]) -> dict[str, list[str]]:
    """On which of the two networks each form pays: fast enough there, and little enough lost by the detector in either lab."""
    loss = {name: max(one["float32"]["f1"] - one[name]["f1"] for one in result["loss"].values()) for name in FORMS}
    return {
        name: [
            network for network in NETWORKS if result[network]["faster"][name] >= PAYS_SPEED and loss[name] <= PAYS_LOSS
        ]
        for name in FORMS
    }


def text(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    how, pays = result["settings"], verdict(result)
    first, second = (result[network] for network in NETWORKS)
    titles = {"detector": "demo detector", "large": how["large"]}
    lines = [
        "# Exported networks in 8 bits",
        "",
        f"`python -m experiments.speed.bench_int8`: onnxruntime {how['onnxruntime']} on the CPU, {how['threads']} threads, {how['machine']}; "
        f"commit {how['commit']}, {how['date']}. Speed: how many times as fast as the float32 file, median over {how['rounds']} rounds in "
        f"turn (in brackets the distance of the quartiles). Loss: the detector on {how['pictures']} rendered pictures of each lab, of "
        "people whom it has not seen; it says nothing about photographs.",
        "",
        f"| form | speed, {titles['detector']}, batch {first['batch']} | speed, {titles['large']}, batch {second['batch']} | MB, detector "
        "| decisions that differ, A / B | mean F1, A | mean F1, B | pays on |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, what in {"float32": "float32", **FORMS}.items():
        speed = [
            "1" if name == "float32" else f"{one['faster'][name]:.2f} ({one['spread'][name]:.2f})"
            for one in (first, second)
        ]
        a, b = (result["loss"][lab][name] for lab in "AB")
        differ = f"{a['differ']:.2f} % / {b['differ']:.2f} %"
        said = "" if name == "float32" else " and ".join(titles[network] for network in pays[name]) or "nowhere"
        cells = [what, *speed, f"{first['megabytes'][name]}", differ, f"{a['f1']:.2f}", f"{b['f1']:.2f}", said]
        lines.append(f"| {' | '.join(cells)} |")
    rule = (
        f"A form pays on a network where it is at least {PAYS_SPEED:g} times as fast and the detector loses at most {PAYS_LOSS:g} points "
        "of mean F1 in either lab. `auformer export --int8` writes the dynamic form."
    )
    return "\n".join([*lines, "", rule, ""])


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, write both files."""
    args = parse_arguments(argv)
    how = {
        **{name: getattr(args, name) for name in ("checkpoint", "large", "threads", "rounds")},
        "pictures": args.subjects * args.frames, "calibration_pictures": 2 * CALIBRATION, "onnxruntime": onnxruntime.__version__,
        **circumstances(),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        result = {"settings": how, **measure(args, Path(folder))}
    result["pays"] = verdict(result)
    write_result(args.out, "int8", result, text(result))
    sys.stdout.write(text(result))
    return result


if __name__ == "__main__":
    main()
