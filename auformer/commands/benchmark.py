"""Run the protocols of the AUFormer paper on prepared manifests: runs, predictions, tables, figures, a report.

  auformer benchmark within --data bp4d.csv --config experiments/configs/bp4d.yaml --out runs/bp4d
  auformer benchmark cross --train bp4d.csv --test disfa.csv --config experiments/configs/bp4d.yaml --out runs/cross
  auformer benchmark efficiency --data bp4d.csv --sizes 100 1000 1.0 --config experiments/configs/bp4d.yaml
  auformer benchmark micro --data casme2.csv --protocol loso --config experiments/configs/casme2.yaml
  auformer benchmark suite experiments/suites/suite-synthetic.yaml --jobs 2     several protocols, data sets and methods
  auformer benchmark status runs/bp4d

Run the same command again to resume an interrupted benchmark: finished runs are kept, interrupted ones continue from
their last checkpoint. Runs whose training would be the same, as that of two test sets with the same AUs, train once:
one takes over the adapter file of the other. With --dry-run the runs are listed, one a line, and nothing is trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auformer.benchmark import Suite

PROTOCOLS = {
    "within": "train on all folds but one, test on that one, for each fold",
    "cross": "train on one data set, test on others, over the AUs that both have",
    "efficiency": "within, on random subsets of the training frames",
    "micro": "micro-expression clips, one prediction each",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer benchmark`."""
    words = parser.add_subparsers(
        dest="word", metavar="PROTOCOL", required=True, help=f"{', '.join(PROTOCOLS)}, suite or status"
    )
    for name, text in PROTOCOLS.items():
        one = words.add_parser(name, help=text, description=text, allow_abbrev=False)
        _add_protocol(one, name)
        _add_shared(one)
    text = "protocols, data sets and methods of a YAML file"
    suite = words.add_parser("suite", help=text, description=text, allow_abbrev=False)
    suite.add_argument("suite", type=Path, metavar="SUITE", help="YAML file; what it renders lies in DIR/data")
    fast = "the short form that the suite describes under `fast`, to see it work"
    suite.add_argument("--fast", action="store_true", help=fast)
    _add_shared(suite)
    text = "what is finished, running, interrupted and waiting in a folder"
    status = words.add_parser("status", help=text, description=text, allow_abbrev=False)
    status.add_argument("folder", type=Path, metavar="DIR", help="folder of a benchmark")


def _add_protocol(parser: argparse.ArgumentParser, name: str) -> None:
    """Options of one protocol."""
    add = parser.add_argument
    config = "YAML as `auformer fit` takes it; NAME=FILE names the method; several FILEs are several methods"
    add("--config", nargs="+", default=[], metavar="FILE", help=f"{config} (default: AUFormer on ViT-B)")
    settings = "settings over those of the files: trainer.max_epochs=5, network.rank=8"
    add("--set", nargs="+", default=[], metavar="NAME=VALUE", help=settings)
    seeds = "a run for each (default: the files' `seed_everything`, else 0)"
    add("--seeds", nargs="+", type=_at_least(0), metavar="N", help=seeds)
    on_test = "choose the epoch on the test split, as published code does: marked †"
    add("--select-on-test", action="store_true", help=on_test)
    manifests: Any = {"nargs": "+", "required": True, "type": Path, "metavar": "MANIFEST"}
    if name == "cross":
        add("--train", **manifests, help="trained on together")
        add("--test", **manifests, help="each tested on by itself")
        return
    add("--data", **manifests, help="manifests with clips" if name == "micro" else "its column `fold` gives the folds")
    if name == "micro":
        add("--protocol", dest="split", choices=("loso", "4fold", "lodo"), default="loso", help="default: loso")
        init = "start from the experts of this checkpoint for the AUs that it has"
        add("--init", metavar="CHECKPOINT", help=init)
        return
    folds = "folds of ours where there is no column `fold` (default: 3)"
    people = "" if name == "efficiency" else "; loso: each subject is one"
    add("--folds", type=_at_least(2) if name == "efficiency" else _folds, default=3, metavar="N", help=folds + people)
    if name == "efficiency":
        sizes = "frames, or 0.5 for half (default: 100 1000 5000 10000 1.0)"
        add("--sizes", nargs="+", type=_size, metavar="SIZE", help=sizes)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    """Options of everything that runs."""
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="folder of runs and results (default: runs/NAME)")
    add("--dry-run", action="store_true", help="list the runs, one a line; needs no data")
    only = "only runs whose line has each of these words: within P1 auformer"
    add("--only", nargs="+", default=[], metavar="WORD", help=only)
    jobs = "runs at a time, each in a process with its share of the cores (default: 1)"
    add("--jobs", type=_at_least(1), default=1, metavar="N", help=jobs)
    resume = "keep finished runs and resume interrupted ones (default), or begin anew"
    add("--resume", action=argparse.BooleanOptionalAction, default=True, help=resume)
    draws = "resamples of the subjects for the intervals (default: 1000)"
    add("--bootstraps", type=_at_least(1), default=1000, metavar="N", help=draws)
    ranks = "intervals of AUROC and average precision too, which take longer"
    add("--bootstrap-ranks", action="store_true", help=ranks)


def run(args: argparse.Namespace) -> int:
    """List, or train, test and write the results; raises what `run_suite` does."""
    if args.word == "status":
        from auformer.benchmark.store import status_text

        print(status_text(args.folder))
        return 0
    suite = _suite(args)
    if args.dry_run:
        print("\n".join(one.text() for one in suite.runs(suite.find_data(), only=args.only)))
        return 0
    from auformer.benchmark import run_suite

    run_suite(
        suite, jobs=args.jobs, resume=args.resume, only=args.only, bootstraps=args.bootstraps,
        bootstrap_ranks=args.bootstrap_ranks, say=partial(print, flush=True),
    )  # fmt: skip
    return 0


def _suite(args: argparse.Namespace) -> Suite:
    """What is to be run, from a file or from options."""
    from auformer.benchmark.suite import Suite, method_words, parse_entry, parse_settings, read_suite, sources

    if args.word == "suite":
        return read_suite(args.suite, fast=args.fast, out=args.out)
    entry: dict[str, Any] = {"protocol": args.word, "select_on_test": args.select_on_test}
    entry["set"] = parse_settings(args.set)
    # null counts as not given; what the protocol has no option for is not a key of its entry
    entry |= {key: getattr(args, key) for key in ("folds", "sizes", "split", "init") if hasattr(args, key)}
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
    return Suite(out, data, methods, [parse_entry(entry, f"`auformer benchmark {args.word}`")], tuple(seeds))


def _folds(text: str) -> int | str:
    """A number of folds, or the word that makes each subject one."""
    return text if text == "loso" else _at_least(2)(text)


def _size(text: str) -> int | float:
    """A number of frames, or a fraction: what is written with a dot."""
    try:
        return float(text) if "." in text else int(text)
    except ValueError as error:
        told = f"expected a number of frames like 1000, or a fraction like 0.5 or 1.0, but got {text!r}"
        raise argparse.ArgumentTypeError(told) from error


def _at_least(least: int) -> Callable[[str], int]:
    """A reader of whole numbers that are not below one."""

    def read(text: str) -> int:
        if not text.removeprefix("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number, at least {least}, but got {text!r}")
        return int(text)

    return read
