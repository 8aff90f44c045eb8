"""Run the protocols of the AUFormer paper on prepared manifests: runs, predictions, tables, figures, a report.

  auformer benchmark within --data bp4d.csv --config experiments/bp4d.yaml --out runs/bp4d
  auformer benchmark cross --train bp4d.csv --test disfa.csv --config experiments/bp4d.yaml --out runs/cross
  auformer benchmark efficiency --data bp4d.csv --sizes 100 1000 1.0 --config experiments/bp4d.yaml --out runs/efficiency
  auformer benchmark micro --data casme2.csv --protocol loso --config experiments/casme2.yaml --out runs/casme2
  auformer benchmark suite experiments/suite-synthetic.yaml --jobs 2     several protocols, data sets and methods at once
  auformer benchmark status runs/bp4d

The same command again goes on where it stopped: finished runs are kept, interrupted ones continue from their last checkpoint. Runs whose
training would be the same, as that of two test sets with the same AUs, train once: one takes over the adapter file of the other. With
--dry-run the runs are listed, one a line, and nothing is read that is not there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auformer.benchmark.protocols import Run
    from auformer.benchmark.store import Line
    from auformer.benchmark.suite import Suite

CONFIG = "NAME=FILE names the method; several FILEs are several methods (default: AUFormer on ViT-B)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer benchmark`."""
    words = parser.add_subparsers(
        dest="word", metavar="WORD", required=True, help="within, cross, efficiency, micro, suite or status"
    )
    within = _protocol(words, "within", "train on all folds but one, test on that one, for each fold")
    cross = _protocol(words, "cross", "train on one data set, test on others, over the AUs that both have")
    efficiency = _protocol(words, "efficiency", "within, on random subsets of the training frames")
    micro = _protocol(words, "micro", "micro-expression clips, one prediction each")
    for one in (within, efficiency):
        one.add_argument(
            "--data", nargs="+", required=True, type=Path, metavar="MANIFEST", help="its column `fold` gives the folds"
        )
        one.add_argument(
            "--folds",
            type=_at_least(2),
            default=3,
            metavar="N",
            help="folds of ours where there is no column `fold` (default: 3)",
        )
    cross.add_argument("--train", nargs="+", required=True, type=Path, metavar="MANIFEST", help="trained on together")
    cross.add_argument(
        "--test", nargs="+", required=True, type=Path, metavar="MANIFEST", help="each tested on by itself"
    )
    efficiency.add_argument(
        "--sizes",
        nargs="+",
        type=_size,
        metavar="SIZE",
        help="frames, or 0.5 for half (default: 100 1000 5000 10000 1.0)",
    )
    micro.add_argument("--data", nargs="+", required=True, type=Path, metavar="MANIFEST", help="manifests with clips")
    micro.add_argument(
        "--protocol", dest="split", choices=("loso", "4fold", "lodo"), default="loso", help="default: loso"
    )
    micro.add_argument(
        "--init", metavar="CHECKPOINT", help="start from the experts of this checkpoint for the AUs that it has"
    )
    suite = words.add_parser("suite", help="protocols, data sets and methods of a YAML file", allow_abbrev=False)
    suite.add_argument("suite", type=Path, metavar="SUITE", help="YAML file; what it renders lies in DIR/data")
    suite.add_argument(
        "--fast", action="store_true", help="the short form that the suite describes under `fast`, to see it work"
    )
    _shared(suite)
    status = words.add_parser(
        "status", help="what is finished, running, interrupted and waiting in a folder", allow_abbrev=False
    )
    status.add_argument("folder", type=Path, metavar="DIR", help="folder of a benchmark")


def _protocol(words: Any, name: str, text: str) -> argparse.ArgumentParser:
    """A word for one protocol."""
    parser = words.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.add_argument(
        "--config", nargs="+", default=[], metavar="FILE", help=f"YAML as `auformer fit` takes it; {CONFIG}"
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="settings over those of the files: trainer.max_epochs=5",
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=_at_least(0),
        metavar="N",
        help="a run for each (default: the files' `seed_everything`, else 0)",
    )
    parser.add_argument(
        "--select-on-test",
        action="store_true",
        help="choose the epoch on the test part, as published code does: marked †",
    )
    _shared(parser)
    return parser


def _shared(parser: argparse.ArgumentParser) -> None:
    """Options of everything that runs."""
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="folder of runs and results (default: runs/NAME)")
    add("--dry-run", action="store_true", help="list the runs, one a line; needs no data")
    add(
        "--only",
        nargs="+",
        default=[],
        metavar="WORD",
        help="only runs whose line has each of these words: within P1 auformer",
    )
    add(
        "--jobs",
        type=_at_least(1),
        default=1,
        metavar="N",
        help="runs at a time, each in a process with its share of the cores (default: 1)",
    )
    add(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep finished runs and go on with interrupted ones",
    )
    add(
        "--bootstraps",
        type=_at_least(1),
        default=1000,
        metavar="N",
        help="resamples of the subjects for the intervals (default: 1000)",
    )
    add(
        "--bootstrap-ranks", action="store_true", help="intervals of AUROC and average precision too, which take longer"
    )


def run(args: argparse.Namespace) -> int:
    """List, or train, test and write the results.

    Raises:
        ValueError: The options, the suite or the data contradict themselves, or a run failed.
        OSError: The folder cannot be written.
    """
    if args.word == "status":
        from auformer.benchmark.store import status_text

        print(status_text(args.folder))
        return 0
    suite = _suite(args)
    if args.dry_run:
        runs = _chosen(suite.runs(suite.find_data()), args.only)
        print("\n".join(one.text() for one in runs))
        return 0
    return _benchmark(suite, args)


def _suite(args: argparse.Namespace) -> Suite:
    """What is to be run, from a file or from options."""
    from auformer.benchmark.suite import Suite, method_words, parse_settings, read_suite, sources

    if args.word == "suite":
        return read_suite(args.suite, fast=args.fast, out=args.out)
    entry: dict[str, Any] = {
        "protocol": args.word,
        "set": parse_settings(args.set),
        "select_on_test": args.select_on_test,
    }
    for key in ("folds", "sizes", "split", "init"):
        entry |= {key: getattr(args, key)} if getattr(args, key, None) is not None else {}
    data = {}
    for key in ("data", "train", "test"):
        found = sources(getattr(args, key, None) or [])
        entry |= {key: list(found)} if found else {}
        data.update(found)
    methods = method_words(args.config)
    seeds = list(dict.fromkeys(args.seeds or ())) or sorted(
        {int(one.plain().get("seed_everything") or 0) for one in methods.values()}
    )
    out = args.out or Path("runs") / f"{args.word}-{'-'.join(data)}"
    return Suite(out, data, methods, [entry], tuple(seeds))


def _chosen(runs: list[Run], words: list[str]) -> list[Run]:
    """The runs whose line has every word."""
    chosen = [one for one in runs if set(words) <= {*one.text().split(), one.name}]
    if not chosen:
        raise ValueError(
            f"Expected `--only` to name words of one line of --dry-run, but none of {len(runs)} has {' '.join(words)}"
        )
    return chosen


def _size(text: str) -> int | float:
    """A number of frames, or a fraction: what is written with a dot."""
    try:
        return float(text) if "." in text else int(text)
    except ValueError as error:
        told = f"expected a number of frames like 1000, or a fraction like 0.5 or 1.0, but got {text!r}"
        raise argparse.ArgumentTypeError(told) from error


def _at_least(least: int) -> Callable[[str], int]:
    """A reader of whole numbers that are not below one; what is wrong is told before anything is trained."""

    def read(text: str) -> int:
        if not text.removeprefix("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number, at least {least}, but got {text!r}")
        return int(text)

    return read


def _benchmark(suite: Suite, args: argparse.Namespace) -> int:
    """Render what is missing, run, write the results."""
    _render(suite, args.jobs)
    from auformer.benchmark.jobs import make_jobs
    from auformer.benchmark.older_lines import renew_lines
    from auformer.benchmark.runner import claim, finished_line
    from auformer.benchmark.store import check_claims, forget, read_lines, restore_lines
    from auformer.benchmark.workers import Progress, number_of, run_jobs
    from auformer.scoring.provenance import commit, machine

    data = suite.find_data()
    jobs = make_jobs(suite, _chosen(suite.runs(data), args.only), data, {"commit": commit(), "machine": machine()})
    claims = [job.claim for job in jobs]
    if args.resume:
        renewed = renew_lines(suite.out, claims)
        if renewed:
            print(
                f"kept: {number_of(renewed)} of an earlier version, which lacked options that have their defaults here",
                flush=True,
            )
        check_claims(suite.out, claims)
        restore_lines(suite.out)
    else:
        forget(suite.out, claims)
    if args.bootstrap_ranks:  # before anything is trained
        _rank_predictions(suite.out, read_lines(suite.out).values())
    for job in jobs:
        claim(job, resume=args.resume)
    todo = [job for job in jobs if finished_line(job) is None]
    print(f"{number_of(len(jobs))}, {len(jobs) - len(todo):,} of them finished; {suite.out}", flush=True)
    for text in dict.fromkeys(text for job in jobs for text in job.warnings):
        print(f"note: {text}", flush=True)
    progress = Progress(len(todo), partial(print, flush=True))
    run_jobs(todo, args.jobs, progress.report)
    _write(suite.out, args)
    progress.close()
    return 0


def _render(suite: Suite, workers: int) -> None:
    """Render the data sets of a suite that are to be rendered and are not there yet."""
    for name, source in suite.data.items():
        if source.synth is None or not suite.uses(name):
            continue
        from auformer.synthetic.writing import render_options

        print(f"data set {name}: {render_options(source.manifest.parent, source.synth, workers=workers)}", flush=True)


def _rank_predictions(out: Path, lines: Iterable[Line]) -> dict[str, Path]:
    """Key of each finished run -> its predictions."""
    from auformer.benchmark.store import folder_of

    paths = {line["key"]: folder_of(out, line) / "predictions.csv" for line in lines}
    lost = [str(path) for path in paths.values() if not path.is_file()]
    if lost:
        told = f"but {lost[0]} is not: leave the option out, or do that run again with --no-resume"
        raise ValueError(f"Expected the predictions of all runs to be there for `--bootstrap-ranks`, {told}")
    return paths


def _write(out: Path, args: argparse.Namespace) -> None:
    """Tables, figures and report of all finished runs of the folder."""
    from auformer.benchmark.report import write_results
    from auformer.benchmark.store import read_lines

    lines = [line for _, line in sorted(read_lines(out).items())]  # not in the order in which they were finished
    if not lines:
        return
    predictions = _rank_predictions(out, lines) if args.bootstrap_ranks else None
    page = write_results(lines, out / "results", bootstraps=args.bootstraps, rank_predictions=predictions)
    print(f"\n{(page.parent / 'tables' / 'summary.txt').read_text(encoding='utf-8')}\n{page}")
