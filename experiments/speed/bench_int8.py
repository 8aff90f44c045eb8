"""What 8-bit integers do to an exported network: speed beside the float32 file, and what is lost.

    python -m experiments.speed.bench_int8

Two files are made of one exported network by onnxruntime's own quantisation: `dynamic` (matrices in 8 bits with one
scale each, their inputs quantised while running; one scale per column does not run, onnxruntime refuses it for products
of stacked matrices) and `static` (one scale per column, inputs quantised by ranges seen on rendered calibration
images). Speed: onnxruntime on the CPU, the files in turn in one process, ratios within a round; the packaged demo AU
detector, and AUFormer on ViT-B/16 with random weights (how fast does not depend on the weights). Loss: the packaged AU
detector on rendered people whom neither its training nor the calibration shows, at the thresholds in its header. Writes
`int8.json` and `int8.md`.
"""

from __future__ import annotations

import argparse
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
from auformer.models.export import _in_int8, quiet
from auformer.predict.manifest import predict_manifest
from auformer.scoring.tables import Table
from auformer.synthetic.writing import render_dataset
from experiments.harness import circumstances, new_parser, ratio, spread, time_in_turn, write_result

FIRST_TEST, FIRST_CALIBRATION = 50_000, 51_000  # numbers of faces that nothing else here shows
CALIBRATION = 64  # images of each lab that the static ranges are taken from [ours]
KINDS = ("MatMul", "Gemm")  # where nearly all of the time goes
PAYS_SPEED, PAYS_LOSS = 1.3, 0.5  # worth it from this gain in speed, up to this loss of mean F1 in points [ours]
NETWORKS = ("detector", "large")
FORMS = {"dynamic": "int8, dynamic", "static": "int8, static"}


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--checkpoint", default="demo", help="AU detector whose loss is measured (default: demo)")
    add("--backbone-checkpoint", type=Path, help="its frozen weights, where they cannot be fetched")
    add("--large", default="vit_base_patch16_224", help="timm ViT for speed alone (default: %(default)s)")
    add("--subjects", type=int, default=12, help="test people of each lab (default: %(default)s)")
    add("--frames", type=int, default=50, help="images of each (default: %(default)s)")
    add("--batches", type=int, nargs=2, default=(16, 4), help="images at once: AU detector, large ViT (default: 16 4)")
    add("--threads", type=int, default=2, help="threads of onnxruntime (default: %(default)s)")
    add("--rounds", type=int, default=9, help="timed rounds after one for warming up (default: %(default)s)")
    add("--data", type=Path, help="folder that keeps the rendered images (default: none is kept)")
    return parser.parse_args(argv)


class _Batches(CalibrationDataReader):
    """Images for the static ranges, a few at once."""

    def __init__(self, images: np.ndarray) -> None:
        self.rest: Iterator[np.ndarray] = iter(np.array_split(images, max(1, len(images) // 8)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """One batch, or None at the end."""
        batch = next(self.rest, None)
        return None if batch is None else {"images": batch}


def make_forms(network: AUNetwork, folder: Path, calibration: np.ndarray) -> dict[str, Path]:
    """A network exported in every form, with the same header; `calibration` is `(n, 3, H, W)` float32 in [0, 1]."""
    folder.mkdir(parents=True)
    source, prepared = export_detector(network, folder / "float32.onnx"), folder / "prepared.onnx"
    paths = {"float32": source, **{name: folder / f"{name}.onnx" for name in FORMS}}
    onnx.save(_in_int8(onnx.load(source)), paths["dynamic"])  # what `auformer export --int8` does
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    with quiet():
        quantize_static(
            prepared, paths["static"], _Batches(calibration),
            quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            per_channel=True, op_types_to_quantize=list(KINDS),
            extra_options={"MatMulConstBOnly": True},  # products of two activations stay in float32, as when dynamic
        )  # fmt: skip
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
    """Mean F1 of each form, and the share of decisions other than the float32 file's, both in per cent."""
    rows, found, decisions = read_manifest(manifest), {}, {}
    for name, path in paths.items():
        detector = OnnxDetector(path)
        table = predict_manifest(detector, rows)
        prob, target = (table[[f"{au}_{kind}" for au in detector.au_names]].to_numpy() for kind in ("prob", "true"))
        limits = np.array([detector.thresholds[au] for au in detector.au_names])
        decisions[name] = prob >= limits
        f1 = mean_over_aus(f1_from_counts(confusion_counts(target, prob, limits))).value
        found[name] = {"f1": 100 * f1, "differ": 100 * float((decisions[name] != decisions["float32"]).mean())}
    return found


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything: speed of both networks, loss of the AU detector by lab."""
    torch.set_num_threads(args.threads)
    detector = load_detector(args.checkpoint, backbone_checkpoint=args.backbone_checkpoint)
    data, common = args.data or folder / "data", {"au_names": "all", "size": detector.image_size[0]}
    calibration, loss = [], {}
    for lab in "AB":
        seen = {"subjects": 4, "frames": CALIBRATION // 4, "first_subject": FIRST_CALIBRATION}
        path = render_dataset(data / f"calibration_{lab}", lab=lab, **seen, **common)
        dataset = AUDataset(read_manifest(path), path.parent, detector.au_names, detector.image_size)
        calibration += [dataset[row]["image"].numpy() for row in range(len(dataset))]
    files = make_forms(detector, folder / "detector", np.stack(calibration))
    speed = measure_speed(files, np.stack(calibration[: args.batches[0]]), args.threads, args.rounds)
    for lab in "AB":
        test = {"subjects": args.subjects, "frames": args.frames, "first_subject": FIRST_TEST}
        loss[lab] = measure_loss(files, render_dataset(data / f"test_{lab}", lab=lab, **test, **common))
    torch.manual_seed(0)
    large = AUFormer(args.large, AU_SETS["bp4d"])
    images = np.random.default_rng(0).random((max(8, args.batches[1]), 3, *large.image_size), dtype=np.float32)
    files = make_forms(large, folder / "large", images[:8])
    large_speed = measure_speed(files, images[: args.batches[1]], args.threads, args.rounds)
    return {"detector": speed, "loss": loss, "large": large_speed}


def verdict(result: dict[str, Any]) -> dict[str, list[str]]:
    """On which networks each form pays: fast enough there, and little enough lost by the AU detector in either lab."""
    loss = {name: max(one["float32"]["f1"] - one[name]["f1"] for one in result["loss"].values()) for name in FORMS}
    return {
        name: [one for one in NETWORKS if result[one]["faster"][name] >= PAYS_SPEED and loss[name] <= PAYS_LOSS]
        for name in FORMS
    }


def page(result: dict[str, Any]) -> str:
    how, pays = result["settings"], verdict(result)
    first, second = (result[network] for network in NETWORKS)
    titles = {"detector": "demo AU detector", "large": how["large"]}
    head = (
        f"`python -m experiments.speed.bench_int8`: onnxruntime {how['onnxruntime']} on the CPU, {how['threads']} "
        f"threads, {how['machine']}; commit {how['commit']}, {how['date']}. Speed: how many times as fast as the "
        f"float32 file, median over {how['rounds']} rounds in turn (in brackets the distance of the quartiles). Loss: "
        f"the AU detector on {how['images']} rendered images of each lab, of people whom it has not seen; it says "
        "nothing about photographs."
    )
    header = [
        "form", *(f"speed, {titles[name]}, batch {result[name]['batch']}" for name in NETWORKS),
        "MB, AU detector", "decisions that differ, A / B", "mean F1, A", "mean F1, B", "pays on",
    ]  # fmt: skip
    rows = []
    for name, what in {"float32": "float32", **FORMS}.items():
        plain = name == "float32"
        speed = ["1" if plain else f"{one['faster'][name]:.2f} ({one['spread'][name]:.2f})" for one in (first, second)]
        a, b = (result["loss"][lab][name] for lab in "AB")
        differ = f"{a['differ']:.2f} % / {b['differ']:.2f} %"
        said = "" if plain else " and ".join(titles[network] for network in pays[name]) or "nowhere"
        rows.append([what, *speed, f"{first['megabytes'][name]}", differ, f"{a['f1']:.2f}", f"{b['f1']:.2f}", said])
    rule = (
        f"A form pays on a network where it is at least {PAYS_SPEED:g} times as fast and the AU detector loses at most "
        f"{PAYS_LOSS:g} points of mean F1 in either lab. `auformer export --int8` writes the dynamic form."
    )
    return "\n\n".join(["# Exported networks in 8 bits", head, Table(header, rows).markdown(), rule]) + "\n"


def main(argv: list[str] | None = None) -> dict[str, Any]:
    args = parse_arguments(argv)
    how = {
        **{name: getattr(args, name) for name in ("checkpoint", "large", "threads", "rounds")},
        "images": args.subjects * args.frames, "calibration_images": 2 * CALIBRATION,
        **circumstances("onnxruntime", "torch"),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        result = {"settings": how, **measure(args, Path(folder))}
    result["pays"] = verdict(result)
    write_result(args.out, "int8", result, page(result))
    print(page(result), end="")
    return result


if __name__ == "__main__":
    main()
