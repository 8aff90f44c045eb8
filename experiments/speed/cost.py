"""What the prediction of a large collection costs, by arithmetic from the measured rates of `bench_predict.json`.

    python experiments/cost.py --out experiments/results

Nothing is measured here, and no provider's price is known here: the price of a core-hour is an assumption that the reader replaces.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from auformer.files import write_text

FRAMES = 10_000_000  # the scale of BP4D+ and Aff-Wild2
PRICE = 0.05  # dollars per core-hour: an assumption for the example
CORES = 2  # of the machine that `bench_predict.json` was measured on
WORKERS = 32  # of the example's cluster, two cores each
CASES = {
    "every_frame": "demo detector (ViT of 3 million parameters), faces detected in every frame",
    "every_5th": "demo detector, faces detected in every fifth frame and followed between",
    "vit_b": "ViT-B/16 at 224 pixels, 12 AUs, faces detected in every fifth frame",
}
RESULTS = Path(__file__).resolve().parent / "results"


def cost(fps: float, *, frames: int = FRAMES, cores: int = CORES, price: float = PRICE) -> dict[str, float]:
    """Hours and dollars.

    Args:
        fps: frames a second of one machine.
        frames: of the collection.
        cores: of the machine.
        price: dollars per core-hour.

    Returns:
        `hours` of that machine, `core_hours`, `dollars`.

    >>> cost(50.0, frames=360_000, cores=2, price=0.1)
    {'hours': 2.0, 'core_hours': 4.0, 'dollars': 0.4}
    """
    hours = frames / fps / 3600
    return {"hours": hours, "core_hours": hours * cores, "dollars": hours * cores * price}


def page(bench: dict) -> str:
    """The page, in Markdown."""
    rows = []
    for name, words in CASES.items():
        fps = bench[name]["fps"]
        found = cost(fps)
        numbers = (fps, found["hours"], found["core_hours"], found["hours"] / WORKERS, found["dollars"])
        rows.append(f"| {words} | " + " | ".join(f"{value:,.1f}" for value in numbers) + " |")
    first = cost(bench["every_frame"]["fps"])
    memory = max(bench[name]["memory_mib_at_the_end"] for name in CASES) / 1024
    return f"""# What {FRAMES:,} frames cost

`python experiments/cost.py --out experiments/results`, by arithmetic from `bench_predict.json` ({bench["machine"]}, commit
{bench["commit"]}). {FRAMES:,} frames are the scale of BP4D+ and Aff-Wild2.

    hours on the measured machine = frames / (frames a second) / 3600
    dollars = hours x {CORES} cores x price of a core-hour

| what is predicted | frames/s | hours on {CORES} cores | core-hours | hours with {WORKERS} workers | dollars at {PRICE} a core-hour |
|---|---:|---:|---:|---:|---:|
{chr(10).join(rows)}

The first line in full: {FRAMES:,} / {bench["every_frame"]["fps"]} / 3600 = {first["hours"]:.1f} hours on {CORES} cores,
{first["core_hours"]:.1f} core-hours, x {PRICE} = {first["dollars"]:.2f} dollars.

* **The price is an assumption.** {PRICE} dollars per core-hour is an example: multiply the core-hours by your own price, or by 0 on
  machines that you have.
* Measured: a 640 x 360 H.264 video with one face, from the file to the table, one process. Larger pictures and more faces cost more.
* The column of {WORKERS} workers divides by {WORKERS}. Sources do not depend on one another, and workers exchange nothing, but this
  division is not measured: the start of each process, videos of uneven length and a slow disk come on top. The last video ends the
  run, so a collection needs many more videos than workers.
* A worker held up to {memory:.1f} GiB: {WORKERS} of them need {WORKERS * memory:.0f} GiB. `--workers` makes them fewer.
* Not in it: storage, transfer, and GPUs, whose rate was not measured for whole videos.
"""


def main(args: list[str] | None = None) -> str:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, default=RESULTS / "bench_predict.json", help="measured rates")
    parser.add_argument("--out", type=Path, help="folder for cost.md")
    options = parser.parse_args(args)
    text = page(json.loads(options.bench.read_text(encoding="utf-8")))
    print(text)
    if options.out:
        write_text(options.out / "cost.md", text)
    return text


if __name__ == "__main__":
    main()
