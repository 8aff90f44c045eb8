"""`auformer predict --cluster ray`: the order of steps, and what is said about them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auformer.predict.cluster.run import ClusterRun
    from auformer.predict.outputs import Plan
    from auformer.predict.predictor import AUPredictor
    from auformer.predict.selection import Selection
    from auformer.predict.sources import Source

DEVICES = ("auto", "cpu", "cuda")  # which of several GPUs is Ray's choice


def predict_on_cluster(
    args: argparse.Namespace,
    plan: Plan,
    sources: list[Source],
    selection: Selection,
    load: Callable[[argparse.Namespace], tuple[AUPredictor, dict[str, Any]]],
) -> int:
    """Spread the sources over a cluster, join the tables, say what was done.

    Args:
        args: options of `auformer predict`.
        plan: what to write where.
        sources: all of the collection.
        selection: which frames of recordings.
        load: gives the predictor, and what is known about its checkpoint.

    Returns:
        0, or 1 if something is wrong with a source.

    Raises:
        ValueError: an option does not go with a cluster, or an output exists that is none of this run's.
        ConnectionError: there is no cluster at the address.
        MissingExtraError: Ray is not installed.
    """
    from tqdm import tqdm

    from auformer.errors import require
    from auformer.predict.cluster.ray import check_address
    from auformer.predict.cluster.run import ClusterRun

    _check_options(args, sources)
    require("ray", "cluster")
    check_address(args.address)
    device, args.device = args.device, "cpu"  # here the network is only loaded to find mistakes before the work is spread
    predictor, facts = load(args)
    run = ClusterRun(predictor, plan, sources, selection, facts=facts, suffix=args.suffix, overwrite=args.overwrite)
    finished = len(sources) - len(run.pending)
    print(f"{finished} of {len(sources)} sources are done already\n" if finished else "", end="", flush=True)
    bar = tqdm(total=len(sources), initial=finished, unit=" sources", disable=None, smoothing=0.1, file=sys.stderr)
    with bar:
        for _ in run.results(address=args.address, workers=args.workers, device=device):
            bar.update()
    return _say(run)


def _check_options(args: argparse.Namespace, sources: list[Source]) -> None:
    """Refuse what does not go together.

    Raises:
        ValueError: it does not.
    """
    if args.shard is not None:
        raise ValueError("Expected one of --cluster and --shard, but got both: the cluster shares the sources out by itself.")
    if sources[0].kind == "camera":
        raise ValueError("Expected files with --cluster, but got a camera: predict that on the machine that it is plugged into.")
    if args.report:
        raise ValueError("Expected no --report with --cluster, but got it: make the page of the few files that you want to look at.")
    if args.device not in DEVICES:
        raise ValueError(f"Expected `--device` to be {', '.join(DEVICES)} with --cluster, but got {args.device!r}: Ray deals out the GPUs.")
    if args.workers is not None and args.workers < 1:
        raise ValueError(f"Expected `--workers` to be at least 1, but got {args.workers}.")


def _say(run: ClusterRun) -> int:
    """Join the tables and print what was written and what is wrong; the exit code."""
    from auformer.predict.progress import about

    joined, counts = run.join(), run.counts()
    pictures, faces = sum(counts["pictures"].values()), sum(counts["points_source"].values())
    what = f"{joined[0]} and its side file from {joined[1]} tables" if joined else f"a table per source in {run.plan.out}"
    print(f"wrote {what}: {pictures:,} pictures and frames, {faces:,} faces")
    if run.begun_again:
        print(f"begun more than once, because a process ended in the middle: {run.begun_again} of {len(run.sources)} sources")
    for source in run.sources:
        if problem := run.problems.get(source.name):
            print(f"auformer: {about(source.file, problem)}", file=sys.stderr)
    if run.problems:
        print(f"auformer: something is wrong with {len(run.problems)} of {len(run.sources)} sources", file=sys.stderr)
    return 1 if run.problems else 0
