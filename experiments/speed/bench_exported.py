"""A forward pass by onnxruntime: AUFormer beside the bare frozen ViT with one linear map, both as exported.

    python -m experiments.speed.bench_exported

ViT-B/16 at 224 px, 12 action units, expert width 8, random weights, one image at a time (`--batch`). The two are timed
in turn in one process; the ratio is the median over rounds of the ratio within a round, by processor time too, since
that depends less on what else the machine does. Where the time goes is onnxruntime's own profile, by kinds of
operators. Writes `exported.json` and `exported.md`.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as runtime
import torch

from auformer.aus import parse_au_names
from auformer.models import AUFormer, LinearProbe
from auformer.models.export import export_detector
from auformer.scoring.tables import Table
from experiments.harness import circumstances, new_parser, write_result

TARGET = 1.10
NAMES = {"vit": "bare ViT", "auformer": "AUFormer"}


def build(name: str, backbone: str) -> Any:
    """A network with random weights, up-projections that are not zero as after training."""
    torch.manual_seed(0)
    aus = parse_au_names("bp4d")
    if name == "vit":
        return LinearProbe(backbone, aus, pretrained=False)
    network = AUFormer(backbone, aus, pretrained=False)
    with torch.no_grad():
        for group in network.groups:
            group.up.weight.normal_(std=0.02)
    return network


def session(path: Path, threads: int, *, profile: Path | None = None) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def in_turn(sessions: dict[str, Any], images: np.ndarray, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds and processor seconds of each, in every round one after the other; a first round is not counted."""
    found: dict[str, dict[str, list[float]]] = {name: {"seconds": [], "cpu": []} for name in sessions}
    for turn in range(rounds + 1):
        for name, one in sessions.items():
            start, cpu = time.perf_counter(), time.process_time()
            one.run(None, {"images": images})
            if turn:
                found[name]["seconds"].append(time.perf_counter() - start)
                found[name]["cpu"].append(time.process_time() - cpu)
    return found


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Median of the ratios within rounds.

    >>> ratio([2.0, 40.0, 6.0], [1.0, 10.0, 2.0])
    3.0
    """
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def profile(path: Path, threads: int, images: np.ndarray, folder: Path, passes: int = 5) -> dict[str, float]:
    """Milliseconds per pass of each kind of operator."""
    one = session(path, threads, profile=folder / path.stem)
    for _ in range(passes + 1):
        one.run(None, {"images": images})
    events = json.loads(Path(one.end_profiling()).read_text(encoding="utf-8"))
    spent: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]].append(event["dur"] / 1e3)
    return {name: round(sum(each[len(each) // (passes + 1) :]) / passes, 2) for name, each in spent.items()}


def page(result: dict[str, Any]) -> str:
    met = result["ratio_cpu"] <= TARGET
    shares = result["profile"]
    extra = {name: shares["auformer"].get(name, 0) - shares["vit"].get(name, 0) for name in shares["auformer"]}
    total = sum(shares["vit"].values())
    rows = [
        [name, f"{shares['vit'].get(name, 0):.2f}", f"{shares['auformer'][name]:.2f}", f"{100 * more / total:.1f} %"]
        for name, more in sorted(extra.items(), key=lambda pair: -pair[1])
        if abs(more) >= 0.002 * total
    ]
    header = ["operators", "bare ViT, ms", "AUFormer, ms", "more, of the bare ViT"]
    return f"""# A forward pass by onnxruntime

`{result["command"]}`: {result["backbone"]}, batch {result["batch"]}, {result["threads"]} threads, {result["rounds"]}
rounds; onnxruntime {result["onnxruntime"]}, {result["machine"]}; commit {result["commit"]}, {result["date"]}, load
{result["load"]} when it began.

AUFormer takes {result["ratio_cpu"]:.3f} times the processor time of the bare ViT ({result["ratio_seconds"]:.3f} times
its time on this clock); target: at most {TARGET}, {"met" if met else "missed"}. Medians: bare ViT
{1e3 * result["vit_cpu"]:.0f} ms of processor time, AUFormer {1e3 * result["auformer_cpu"]:.0f} ms.

{Table(header, rows).markdown()}
"""


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = new_parser(__doc__)
    parser.add_argument("--backbone", default="vit_base_patch16_224", help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=1, help="images at once (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=20, help="default: %(default)s")
    args = parser.parse_args(argv)
    words = f"python -m experiments.speed.bench_exported --batch {args.batch} --threads {args.threads}"
    result: dict[str, Any] = {"command": words, **circumstances("onnxruntime", "torch"), **vars(args)}
    del result["out"]
    with tempfile.TemporaryDirectory() as name:
        folder, files = Path(name), dict[str, Path]()
        for way in NAMES:
            network = build(way, args.backbone)
            size = network.image_size
            files[way] = export_detector(network, folder / f"{way}.onnx")
            del network
        images = np.random.default_rng(0).random((args.batch, 3, *size), np.float32)
        found = in_turn({way: session(file, args.threads) for way, file in files.items()}, images, args.rounds)
        for what in ("seconds", "cpu"):
            result[f"ratio_{what}"] = round(ratio(found["auformer"][what], found["vit"][what]), 4)
            for way in NAMES:
                result[f"{way}_{what}"] = round(statistics.median(found[way][what]), 5)
        result["profile"] = {way: profile(file, args.threads, images, folder) for way, file in files.items()}
    write_result(args.out, "exported", result, page(result))
    print(page(result))
    return result


if __name__ == "__main__":
    main()
