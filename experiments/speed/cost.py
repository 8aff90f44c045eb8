"""What the prediction of a large collection costs, by arithmetic.

    python -m experiments.speed.cost

It goes by what `bench_predict.json` and `predict_before_after.json` say. Nothing is measured here; the price of a
core-hour is an assumption that the reader replaces. Writes `cost.md`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from auformer.files import write_text
from auformer.scoring.tables import Table
from experiments.harness import RESULTS, new_parser

FRAMES = 10_000_000  # the scale of BP4D+ and Aff-Wild2
PRICE = 0.05  # dollars per core-hour: an assumption for the example
CORES = 2  # of the machine that `bench_predict.json` was measured on
WORKERS = 32  # of the example's cluster, two cores each
CASES = {
    "followed": "demo AU detector (ViT of 3 million parameters), faces followed: the default",
    "every_frame": "demo AU detector, faces detected in every frame",
    "every_5th": "demo AU detector, faces detected in every fifth frame and followed between",
    "vit_b": "ViT-B/16 at 224 pixels, 12 AUs, faces detected in every fifth frame",
}
VIDEOS = {"video": "640 x 360, one face", "large_video": "1920 x 1080, two faces"}  # of `predict_before_after.json`
COLUMNS = [
    "what is predicted", "frames/s", f"hours on {CORES} cores", "core-hours", f"hours with {WORKERS} workers",
    f"dollars at {PRICE} a core-hour",
]  # fmt: skip


def cost(fps: float, *, frames: int = FRAMES, cores: int = CORES, price: float = PRICE) -> dict[str, float]:
    """Hours of a machine that does `fps` frames a second on `cores` cores, core-hours, and dollars at `price` each.

    >>> cost(50.0, frames=360_000, cores=2, price=0.1)
    {'hours': 2.0, 'core_hours': 4.0, 'dollars': 0.4}
    """
    hours = frames / fps / 3600
    return {"hours": hours, "core_hours": hours * cores, "dollars": hours * cores * price}


def beside(pairs: dict[str, Any]) -> str:
    """Core-hours by the processor time of whole runs of two builds, as far as videos were measured."""
    rows = []
    for name, words in VIDEOS.items():
        one = pairs["works"].get(name)
        frames = int(one["size"].split()[0]) if one else 0
        for build, which in (("before", pairs["before"]), ("after", one["commit"])) if one else ():
            spent = one[f"cpu_{build}"] / frames
            found = cost(1 / spent, cores=1)
            numbers = (f"{1e3 * spent:,.1f}", f"{found['core_hours']:,.1f}", f"{found['dollars']:,.1f}")
            rows.append([f"{words}, {frames} frames, build of {which}", *numbers])
    header = [
        "what is predicted, by which build",
        "processor ms a frame",
        "core-hours",
        f"dollars at {PRICE} a core-hour",
    ]
    return Table(header, rows).markdown()


def page(bench: dict[str, Any], pairs: dict[str, Any]) -> str:
    rows = []
    measured = {name: words for name, words in CASES.items() if name in bench}
    for name, words in measured.items():
        fps = bench[name]["fps"]
        found = cost(fps)
        numbers = (fps, found["hours"], found["core_hours"], found["hours"] / WORKERS, found["dollars"])
        rows.append([words, *(f"{value:,.1f}" for value in numbers)])
    start = bench[next(iter(measured))]["fps"]
    first = cost(start)
    memory = max(bench[name]["memory_mib_at_the_end"] for name in measured) / 1024
    return f"""# What {FRAMES:,} frames cost

`python -m experiments.speed.cost`, by arithmetic from `bench_predict.json` ({bench["machine"]}, commit
{bench["commit"]}). {FRAMES:,} frames are the scale of BP4D+ and Aff-Wild2.

    hours on the measured machine = frames / (frames a second) / 3600
    dollars = hours x {CORES} cores x price of a core-hour

{Table(COLUMNS, rows).markdown()}

The first line in full: {FRAMES:,} / {start} / 3600 = {first["hours"]:.1f} hours on {CORES} cores,
{first["core_hours"]:.1f} core-hours, x {PRICE} = {first["dollars"]:.2f} dollars.

By processor time of whole processes, starts included, of this package and an earlier one on the same files
(`predict_before_after.json`; faces followed by default in the later build):

{beside(pairs)}

* **The price is an assumption.** {PRICE} dollars per core-hour is an example: multiply the core-hours by your own
  price, or by 0 on machines that you have.
* Measured in the first table: a 640 x 360 H.264 video with one face, from the file to the table, one process. Larger
  images and more faces cost more.
* The column of {WORKERS} workers divides by {WORKERS}. Sources do not depend on one another, and workers exchange
  nothing, but this division is not measured: the start of each process, videos of uneven length and a slow disk come on
  top. The last video ends the run, so a collection needs many more videos than workers.
* A worker held up to {memory:.1f} GiB: {WORKERS} of them need {WORKERS * memory:.0f} GiB. `--workers` makes them fewer.
* `--shard` and `--cluster ray` run the same `AUPredictor.stream` with the same defaults, so they gain as much.
* Not in it: storage, transfer, and GPUs, whose rate was not measured for whole videos.
"""


def main(argv: list[str] | None = None) -> str:
    parser = new_parser(__doc__)
    parser.add_argument("--bench", type=Path, default=RESULTS / "bench_predict.json", help="measured rates")
    parser.add_argument("--pairs", type=Path, default=RESULTS / "predict_before_after.json", help="of two builds")
    args = parser.parse_args(argv)
    text = page(*(json.loads(path.read_text(encoding="utf-8")) for path in (args.bench, args.pairs)))
    write_text(args.out / "cost.md", text)
    print(text)
    return text


if __name__ == "__main__":
    main()
