"""How long `auformer export-annotations` and `summarise` take for an hour of video with two people, and their memory.

    python -m experiments.speed.bench_exports

A made-up predictions file: 90,000 frames at 25 a second, two faces, 18 AUs with probability, activity and intensity,
episodes of a second or so (half as many as frames between changes, seeded). Every format is written by the command in a
process of its own, the start of Python and the reading of the CSV file included; the best of the rounds counts. Wall
time beside processor time, which other work on the machine disturbs less. Writes `exports.json` and `exports.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from auformer.aus import AU_SETS
from auformer.data.manifest import write_predictions
from experiments.harness import Target, circumstances, in_child, new_parser, target_table, write_result
from experiments.speed.one_export import WAYS

FPS, SWITCH = 25, 0.02  # frames a second; probability that an AU changes from one frame to the next
READING = (
    "one format took 450 to 527 from process to process, by how the file is read; of three rounds the least counts"
)
TARGETS = {
    "seconds": Target("slowest format, processor seconds", 10.0),
    "mib": Target("largest resident memory of any, MiB", 500.0, reason=READING),
}


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--frames", type=int, default=90_000, help="frames of the video (default: %(default)s)")
    add("--people", type=int, default=2, help="faces in each (default: %(default)s)")
    add("--rounds", type=int, default=3, help="the best of so many runs counts (default: %(default)s)")
    return parser.parse_args(argv)


def predictions(frames: int, people: int, seed: int = 0) -> pd.DataFrame:
    """A predictions table of one video, AUs that switch on and off at random."""
    rng = np.random.default_rng(seed)
    number = np.arange(frames)
    key = {"dataset": "user", "subject": "talk.mp4", "sequence": "talk.mp4"}
    parts = []
    for face in range(people):
        columns: dict[str, Any] = {**key, "frame": number, "face": face, "file": "talk.mp4", "time_s": number / FPS}
        columns |= {"x": 10.0, "y": 10.0, "w": 90.0, "h": 90.0, "score": 0.9, "status": "ok"}
        for au in AU_SETS["synthetic"][:18]:
            on = np.cumsum(rng.random(frames) < SWITCH) % 2 == 1
            columns[f"{au}_prob"] = (0.5 * on + 0.4999 * rng.random(frames)).round(7)
            columns[f"{au}_active"] = on.astype(int)
            columns[f"{au}_intensity_pred"] = (on + 4 * on * rng.random(frames)).round(4)
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True).sort_values(["frame", "face"], ignore_index=True)


def count_episodes(table: pd.DataFrame, people: int) -> int:
    """How often an AU of a person switches on."""
    active = table.filter(regex="_active$").astype(int)
    return int((active.diff(people).fillna(active) == 1).to_numpy().sum())


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The best round of each way."""
    path = folder / "predictions.csv"
    table = predictions(args.frames, args.people)
    write_predictions(table, path, {})
    changes = count_episodes(table, args.people)
    rounds: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(args.rounds):
        for way, found in rounds.items():
            found.append(json.loads(in_child("experiments.speed.one_export", way, path, folder)))
    best = {way: {name: min(one[name] for one in found) for name in found[0]} for way, found in rounds.items()}
    return {
        "seconds": max(one["processor_seconds"] for one in best.values()),
        "mib": max((one["mib"] for one in best.values() if one["mib"]), default=None),
        "ways": best,
        "file_mib": round(path.stat().st_size / 2**20, 1),
        "episodes": changes,
    }


def page(result: dict[str, Any]) -> str:
    how, found = result["settings"], result["measured"]
    lines = [
        f"| {way} | {one['processor_seconds']:.1f} | {one['seconds']:.1f} | {one['mib'] or 0:.0f} |"
        for way, one in found["ways"].items()
    ]
    rows = "\n".join(lines)
    return f"""# Exports and statistics

`{how["command"]}`: {how["frames"]:,} frames at {FPS} a second, {how["people"]} people, 18 AUs with probability,
activity and intensity, {found["episodes"]:,} episodes; a CSV file of {found["file_mib"]:.0f} MiB;
pandas {how["pandas"]}, MNE {how["mne"]}; {how["machine"]}; commit {how["commit"]}, {how["date"]}.

{target_table(TARGETS, found, form=",.4g")}

Best of {how["rounds"]}; the start of Python and the reading of the file included. When the benchmark began, the
machine's load was {how["load"]}: wall time is that of a busy machine.

| what | processor, s | wall, s | memory, MiB |
| --- | ---: | ---: | ---: |
{rows}
"""


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    plain = vars(parse_arguments([]))
    sizes = {key: getattr(args, key) for key in ("frames", "people", "rounds")}
    words = "".join(f" --{key} {value}" for key, value in sizes.items() if value != plain[key])
    how = {**sizes, "command": f"python -m experiments.speed.bench_exports{words}", **circumstances("pandas", "mne")}
    with tempfile.TemporaryDirectory() as folder:
        result = {"settings": how, "measured": measure(args, Path(folder))}
    write_result(args.out, "exports", result, page(result))
    print(page(result))


if __name__ == "__main__":
    main()
