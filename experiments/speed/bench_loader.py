"""Does the loader keep up with the network? Images per second of loading beside what training takes.

    python -m experiments.speed.bench_loader

On rendered JPEG images at 112 and 224 px: the processor time of each stage of one item, the images per second of the
training loader alone with 0, 1, 2 and 4 worker processes, and the images per second of a training step on images that
are there already (demo ViT at 112 px, ViT-B/16 at 224 px). For the demo ViT also both together: training on what the
loader gives, relative to training on images that are there already. Stages are in processor time, which other programs
on the machine do not change; the rates are wall-clock. Writes `loader.json` and `loader.md`.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from auformer.data.datamodule import AUDataModule
from auformer.data.dataset import AUDataset
from auformer.data.images import decode_image
from auformer.data.transforms import resize, to_float
from auformer.models import AUFormer
from auformer.scoring.tables import Table
from auformer.synthetic.writing import render_dataset
from experiments.harness import circumstances, new_parser, write_result

SETS = {112: ("vit_auformer_demo_112", 4, 64), 224: ("vit_base_patch16_224", 8, 8)}  # by size: ViT, width, batch
TINY = {32: ("test_vit", 2, 8), 64: ("test_vit", 2, 8)}
WORKERS = (0, 1, 2, 4)
TOGETHER = (0, 1, 2)  # workers with which the small network is also trained


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--images", type=int, default=128, help="rendered images of each size (default: %(default)s)")
    add("--seconds", type=float, default=1.5, help="least time to measure each rate for (default: %(default)s)")
    add("--threads", type=int, default=os.cpu_count(), help="threads of the network (default: all cores)")
    add("--tiny", action="store_true", help="tiny ViTs at 32 and 64 px, to see that it runs")
    add("--data", type=Path, help="folder that keeps the rendered images (default: none is kept)")
    return parser.parse_args(argv)


def processor_ms(work: Callable[[int], object], times: int) -> float:
    """Milliseconds of processor time of one call, all threads counted; a first call is not counted."""
    work(0)
    start = time.process_time()
    for index in range(times):
        work(index)
    return 1000 * (time.process_time() - start) / times


def stage_ms(dataset: AUDataset, batch: int) -> dict[str, float]:
    """Milliseconds per image of each stage of an item, and of the rest of it; one thread, as in a worker."""
    assert dataset.transform is not None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows, transform = len(dataset), dataset.transform
    paths = [dataset.path(row) for row in range(rows)]
    contents = [np.fromfile(path, np.uint8).tobytes() for path in paths]
    images = [resize(decode_image(content, ""), dataset.image_size) for content in contents]
    items = [dataset[(row, 0)] for row in range(min(batch, rows))]
    found = {
        "read the file": processor_ms(lambda row: np.fromfile(paths[row], np.uint8).tobytes(), rows),
        "decode": processor_ms(lambda row: decode_image(contents[row], ""), rows),
        "resize": processor_ms(lambda row: resize(images[row], dataset.image_size), rows),
        "seed": processor_ms(lambda row: np.random.default_rng([0, 0, row]), rows),
        "augment": processor_ms(lambda row: transform(images[row], np.random.default_rng([0, 0, row])), rows),
        "to float": processor_ms(lambda row: torch.from_numpy(to_float(images[row])), rows),
        "collate": processor_ms(lambda _: default_collate(items), 20) / len(items),
    }
    found["augment"] -= found["seed"]
    whole = processor_ms(lambda row: dataset[(row, 0)], rows) + found["collate"]
    torch.set_num_threads(threads)
    return {**found, "labels and the rest": whole - sum(found.values()), "all": whole}


def rate(batches: Iterator[int], seconds: float, warm_up: int = 1) -> float:
    """Images per second: the numbers of images that an iterator gives, over the time that it takes."""
    for _ in range(warm_up):
        next(batches)
    count, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds or not count:
        count += next(batches)
    return count / passed


def endless(data: AUDataModule) -> Iterator[dict[str, Tensor]]:
    """Training batches, epoch after epoch, from one loader, as a run has it."""
    loader: Any = data.train_dataloader()
    for epoch in itertools.count():
        loader.sampler.set_epoch(epoch)
        yield from loader


def stepper(network: AUFormer) -> Callable[[Tensor], int]:
    """Forward and backward on images; gives their number."""

    def step(images: Tensor) -> int:
        network.zero_grad(set_to_none=True)
        logits, experts = network.forward_all(images)
        (logits.sum() + (0.0 if experts is None else experts.sum())).backward()
        return len(images)

    return step


def measure_size(size: int, manifest: Path, args: argparse.Namespace) -> dict[str, Any]:
    """All figures of one image size."""
    backbone, width, batch = args.sets[size]

    def data(workers: int) -> AUDataModule:
        return AUDataModule(str(manifest), val_fraction=0.0, image_size=size, batch_size=batch, num_workers=workers)

    def loaded(workers: int) -> Iterator[int]:
        return (len(one["image"]) for one in endless(data(workers)))

    plain = data(0)
    found: dict[str, Any] = {"backbone": backbone, "batch": batch, "stages_ms": stage_ms(plain.train_dataset, batch)}
    whole = len(plain.train_dataset) // batch  # the first epoch starts the workers and fills the system's file cache
    found["loader"] = {str(n): rate(loaded(n), args.seconds, whole) for n in WORKERS}
    torch.manual_seed(0)
    network = AUFormer(backbone, plain.au_names, img_size=size, expert_width=width).train()
    step, images = stepper(network), next(endless(plain))["image"]
    found["training"] = rate((step(images) for _ in itertools.count()), 2 * args.seconds)
    if size == min(args.sets):
        ways = {str(n): (step(batch["image"]) for batch in endless(data(n))) for n in TOGETHER}
        ratios: dict[str, list[float]] = {name: [] for name in ways}
        for index in range(3):  # in turn; the first round starts workers
            there = rate((step(images) for _ in itertools.count()), args.seconds / 2, 0)
            for name, way in ways.items():
                given = rate(way, args.seconds, 1)
                if index:
                    ratios[name].append(given / there)
        found["together"] = {name: statistics.median(values) for name, values in ratios.items()}
    return found


def cores_needed(stages_ms: float, training: float) -> float:
    """Number of cores that the loader keeps busy while training takes so many images per second.

    >>> cores_needed(2.0, 100.0)
    0.2
    """
    return stages_ms * training / 1000


def workers_needed(loader: dict[str, float], training: float) -> int | None:
    """The smallest number of workers that was measured and keeps up with training; None where none did.

    >>> workers_needed({"0": 90.0, "1": 80.0, "2": 160.0}, 100.0)
    2
    """
    return min((int(workers) for workers, rate in loader.items() if rate >= training), default=None)


def page(result: dict[str, Any]) -> str:
    how, sizes = result["settings"], result["sizes"]
    head = (
        f"`python -m experiments.speed.bench_loader`: {how['images']} rendered JPEG images of each size, training "
        f"augmentation, {how['threads']} threads for the network, torch {how['torch']}, {how['machine']}; commit "
        f"{how['commit']}, {how['date']}. Load of the machine before the start: {how['load']}; other programs lower "
        "the rates, least those of the stages, which are in processor time."
    )
    return "\n\n".join([
        "# Does the loader keep up?", head, rates_table(sizes),
        "\n".join(verdict(size, one) for size, one in sizes.items()),
        "## Where the time of one image goes", "Milliseconds of processor time per image, and share of the whole.",
        stages_table({size: one["stages_ms"] for size, one in sizes.items()}),
    ]) + "\n"  # fmt: skip


def rates_table(sizes: dict[str, Any]) -> str:
    workers = list(next(iter(sizes.values()))["loader"])
    rows = [
        [f"{size} px", *(f"{one['loader'][n]:.0f}/s" for n in workers), f"{one['training']:.1f}/s",
         f"{one['backbone']}, batch {one['batch']}"]
        for size, one in sizes.items()
    ]  # fmt: skip
    header = ["size", *(f"loader, {n} workers" for n in workers), "training step alone", "what trains"]
    return Table(header, rows).markdown()


def verdict(size: str, one: dict[str, Any]) -> str:
    stages, training = one["stages_ms"], one["training"]
    bound = max((name for name in stages if name != "all"), key=stages.__getitem__)
    needed = workers_needed(one["loader"], training)
    enough = "no number of workers that was measured keeps up" if needed is None else f"{needed} workers keep up"
    share = 100 * stages[bound] / stages["all"]
    busy, faster = 100 * cores_needed(stages["all"], training), math.floor(1000 / stages["all"])
    said = (
        f"* {size} px: {enough} on this machine; loading takes {busy:.1f} % of one core while it trains. One core "
        f"loads {faster} images a second; what bounds it is `{bound}`, {share:.0f} % of its time. A GPU that trains on "
        f"1,000 images a second would keep {cores_needed(stages['all'], 1000.0):.1f} cores busy with loading."
    )
    if "together" in one:
        shares = ", ".join(f"{100 * share:.0f} % with {workers} workers" for workers, share in one["together"].items())
        said += f" Training on what the loader gives, relative to training on images that are there already: {shares}."
    return said


def stages_table(sizes: dict[str, dict[str, float]]) -> str:
    """Milliseconds of stages by size, with their share."""
    rows = []
    for name in next(iter(sizes.values())):
        row = [name]
        for stages in sizes.values():
            time, whole = stages.get(name, 0.0), stages.get("all", sum(stages.values()))
            row.append(f"{time:.3f} ({100 * time / whole:.0f} %)")
        rows.append(row)
    return Table(["", *(f"{size} px" for size in sizes)], rows).markdown()


def main(argv: list[str] | None = None) -> dict[str, Any]:
    args = parse_arguments(argv)
    args.sets = TINY if args.tiny else SETS
    torch.set_num_threads(args.threads)
    how = {**{name: getattr(args, name) for name in ("images", "seconds", "threads")}, **circumstances("torch")}
    result: dict[str, Any] = {"settings": how, "sizes": {}}
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sets:
            people = {"subjects": 8, "frames": -(-args.images // 8), "au_names": "all", "size": size}
            manifest = render_dataset((args.data or Path(folder)) / str(size), lab="A", **people)
            result["sizes"][str(size)] = measure_size(size, manifest, args)
    write_result(args.out, "loader", result, page(result))
    print(page(result), end="")
    return result


if __name__ == "__main__":
    main()
