"""One export or summary by the command, in a process that has loaded nothing else: `bench_exports` starts it.

python -m experiments.speed.one_export "bids --continuous" predictions.csv FOLDER
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path

from auformer.cli import main as auformer
from experiments.harness import resident

WAYS = {
    "elan": ["export-annotations", "--to", "elan"],
    "praat": ["export-annotations", "--to", "praat"],
    "bids": ["export-annotations", "--to", "bids"],
    "bids --continuous": ["export-annotations", "--to", "bids", "--continuous"],
    "mne": ["export-annotations", "--to", "mne"],
    "mne --text": ["export-annotations", "--to", "mne", "--text"],
    "boris": ["export-annotations", "--to", "boris"],
    "csv-episodes": ["export-annotations", "--to", "csv-episodes"],
    "summarise": ["summarise"],
}


def run_one(way: str, path: Path, folder: Path) -> str:
    """Wall seconds of a command, processor seconds and largest resident memory of this process so far, as JSON."""
    words, out = WAYS[way], str(folder / way.replace(" ", ""))
    target = ["--out", f"{out}.csv", "--pairs", f"{out}.pairs.csv"] if way == "summarise" else ["--out", out]
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        code = auformer([words[0], str(path), *words[1:], *target, "--overwrite"])
    seconds, spent = time.perf_counter() - start, os.times()
    if code:
        raise RuntimeError(f"{way}: exit code {code}")
    found = {"seconds": round(seconds, 2), "processor_seconds": round(spent.user + spent.system, 2)}
    return json.dumps({**found, "mib": round(resident(peak=True) / 2**20, 1) or None})


if __name__ == "__main__":
    print(run_one(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
