"""Render faces with known action units, train AUFormer and a linear probe, test both on unseen faces, write a report.

  auformer demo               about six minutes on two cores
  auformer demo --fast        under a minute, to see it work: far fewer faces and epochs, so lower scores

Nothing is downloaded and no person is shown. Run the same command again to resume an interrupted demo; a finished one
is left as it is. Full fine-tuning and further seeds would take longer: their rows come from the results in the package,
and are marked.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

OUT = Path("runs/demo")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer demo`."""
    add = parser.add_argument
    fast = "under a minute: far fewer faces and epochs, so lower scores; every output says so"
    seed = "seed of initial weights, order and augmentation; the faces stay the same (default: 0)"
    add("--out", type=Path, default=OUT, metavar="DIR", help=f"folder of everything (default: {OUT.as_posix()})")
    add("--fast", action="store_true", help=fast)
    add("--seed", type=int, default=0, metavar="N", help=seed)
    add("--workers", type=int, metavar="N", help="processes that render (default: one per core, at most 8)")
    add("--overwrite", action="store_true", help="remove what an earlier demo left in DIR and begin anew")


def run(args: argparse.Namespace) -> int:
    """Run the demo and print its table; raises what `run_demo` does."""
    from auformer.demo import run_demo

    workers = args.workers if args.workers is not None else min(os.cpu_count() or 1, 8)
    say = partial(print, flush=True)
    run_demo(args.out, fast=args.fast, seed=args.seed, workers=workers, overwrite=args.overwrite, say=say)
    return 0
