"""Finished runs of the ablation suite: which section of the page each belongs to, and what the suite had planned.

    python -m experiments.ablations.lines runs/ablations experiments/results/runs.jsonl

writes the form of `runs.jsonl` that is committed: of every run what the page needs, a tenth of what `auformer
benchmark` keeps. Counts per subject are packed (`pack_counts`), hashes have 12 digits, configurations only what the
page reads (`_KEPT`).
"""

from __future__ import annotations

import argparse
import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from auformer.benchmark.store import LINES, read_lines
from auformer.benchmark.suite import Suite
from auformer.files import write_text

Line = Mapping[str, Any]
REFERENCE = "auformer"
"""The method that all others are compared with."""

_KEPT = (
    "protocol", "name", "data", "test", "method", "fold", "subset", "seed", "select", "init", "validation_score",
    "rows", "trainable_parameters", "trained_by", "seconds", "commit", "machine",
)  # fmt: skip
_NOT_KEPT: Line = {"auroc": {}, "ece": {}, "unknown": {}, "unscored": {}}
_TUNED = ("losses", "noise")  # kinds whose tables show F1 at tuned thresholds, beside that of the reference


class Planned(NamedTuple):
    """A method in an entry of the suite; what the entry is about, and the backbone."""

    entry: str
    kind: str
    backbone: str
    method: str


def kind_of(entry: str) -> str:
    """What an entry is about: the first word of its name.

    >>> kind_of("noise-20"), kind_of("baselines")
    ('noise', 'baselines')
    """
    return entry.partition("-")[0]


def find_lines(path: Path) -> list[Line]:
    """Lines of a folder or its `runs.jsonl`, each run once, in full or as `compact` leaves them.

    Raises:
        ValueError: There is no such file, or it has another name.
    """
    folder = path if path.is_dir() else path.parent
    if not (folder / LINES).is_file() or (path != folder and path.name != LINES):
        raise ValueError(f"Expected a folder with {LINES}, or that file, but got {path}")
    return [expanded(line) for _, line in sorted(read_lines(folder).items())]


def compact(line: Line) -> dict[str, Any]:
    """What the page needs of a line; `expanded` turns it back.

    Runs of the grid of learning rates are known by their score on validation subjects alone: no counts.
    """
    network = _network(line["config"])
    arguments = {name: network["init_args"].get(name) for name in ("backbone", "checkpoint_path")}
    model = {"lr": setting(line, "lr"), "network": {"class_path": network["class_path"], "init_args": arguments}}
    kept = {name: line[name] for name in _KEPT if line.get(name) is not None or name in ("subset", "init")}
    kept |= {name: line[name][:12] for name in ("key", "config_hash")}
    kept["config"] = {"model": {"init_args": model}, "data": {"label_noise": label_noise(line)}}
    kept["data_sha256"] = {name: digest[:12] for name, digest in line["data_sha256"].items()}
    if kind_of(line["name"]) == "rates":
        return kept
    tuned = line["counts_tuned"] if line["method"] == REFERENCE or kind_of(line["name"]) in _TUNED else None
    kept["counts"] = pack_counts(line["counts"])
    kept["counts_tuned"] = None if tuned is None else pack_counts(tuned)
    kept["ap"] = [None if line["ap"][au] is None else round(line["ap"][au], 7) for au in line["aus"]]
    return kept


def expanded(line: Line) -> Line:
    """A line as the benchmark's tables read it; what `compact` has dropped is empty. One in full stays as it is."""
    if isinstance(line.get("counts"), Mapping):
        return line
    counts, tuned = (text and unpack_counts(text) for text in (line.get("counts"), line.get("counts_tuned")))
    aus = list(counts or ())
    ap = dict(zip(aus, line.get("ap", ()), strict=True))
    bins = {au: [[None, None, 0]] for au in aus}
    return {**line, **_NOT_KEPT, "aus": aus, "counts": counts, "counts_tuned": tuned, "ap": ap, "reliability": bins}


def pack_counts(counts: Mapping[str, Mapping[str, Sequence[int]]]) -> str:
    """AU -> subject -> [TP, FP, FN, TN] as text, zlib in base 85.

    Packed is a line of JSON with both lists of names, then the numbers `(4, AUs, subjects)`, unsigned 16-bit,
    little-endian.

    >>> counts = {"AU1": {"a": [1, 2, 3, 400], "b": [0, 0, 1, 9]}}
    >>> unpack_counts(pack_counts(counts)) == counts
    True
    """
    names = list(counts), list(next(iter(counts.values())))
    table = np.array([[counts[au][subject] for subject in names[1]] for au in names[0]]).transpose(2, 0, 1)
    packed = zlib.compress(json.dumps(names).encode() + b"\n" + table.astype("<u2").tobytes(), 9)
    return base64.b85encode(packed).decode()


def unpack_counts(text: str) -> dict[str, dict[str, list[int]]]:
    head, _, cells = zlib.decompress(base64.b85decode(text)).partition(b"\n")
    aus, subjects = json.loads(head)
    table = np.frombuffer(cells, "<u2").reshape(4, len(aus), len(subjects)).transpose(1, 2, 0).tolist()
    return {au: dict(zip(subjects, rows, strict=True)) for au, rows in zip(aus, table, strict=True)}


def setting(line: Line, name: str) -> Any:
    """A setting of the training that a line was made with, such as `lr`; None where it has none."""
    return line["config"].get("model", {}).get("init_args", {}).get(name)


def label_noise(line: Line) -> float:
    """Share of the training labels that were flipped, in [0, 1]."""
    return float(line["config"].get("data", {}).get("label_noise") or 0.0)


def backbone_of(line: Line) -> str:
    """The frozen ViT's name, or that of the file that its weights are from."""
    return _backbone(line["config"])


def _network(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return config.get("model", {}).get("init_args", {}).get("network", {})


def _backbone(config: Mapping[str, Any]) -> str:
    arguments = _network(config).get("init_args", {})
    return (
        Path(str(arguments["checkpoint_path"])).stem
        if arguments.get("checkpoint_path")
        else str(arguments.get("backbone"))
    )


def planned(suite: Suite) -> list[Planned]:
    """What a suite wants to be run, in its order."""
    return [
        Planned(entry.name, kind_of(entry.name), _backbone(suite.config_of(method, entry.name)), method)
        for entry in suite.entries
        for method in suite.methods_of(entry)
    ]


def planned_tests(suite: Suite) -> dict[str, list[str]]:
    """Kind of entry -> its test sets, in the order of the suite."""
    tests: dict[str, list[str]] = {}
    for entry in suite.entries:
        sources = entry.sources()
        known = tests.setdefault(kind_of(entry.name), [])
        known += [test for test in sources.get("test") or sources["data"] if test not in known]
    return tests


def chosen(
    lines: Iterable[Line], kinds: Sequence[str] | None = None, *, backbone: str | None = None, test: str | None = None
) -> list[Line]:
    """Lines of some kinds, on one backbone and one test set."""
    return [
        line
        for line in lines
        if (kinds is None or kind_of(str(line["name"])) in kinds)
        and (backbone is None or backbone_of(line) == backbone)
        and (test is None or line["test"] == test)
    ]


def in_order(values: Iterable[str], first: Iterable[str] = ()) -> list[str]:
    """Each value once: those of `first` that are among them, then the others as they come."""
    found, first = list(dict.fromkeys(values)), list(dict.fromkeys(first))
    return [*(one for one in first if one in found), *(one for one in found if one not in first)]


def differs(suite: Suite, method: str) -> str:
    """What a method of a suite sets, in words; empty for one that sets nothing but its network."""
    settings = suite.methods[method].set if method in suite.methods else {}
    return ", ".join(f"{name.partition('.')[2]} {_plain(value)}" for name, value in settings.items() if "." in name)


def _plain(value: Any) -> str:
    """A setting as it stands in a cell.

    >>> _plain([]), _plain([1, 3]), _plain(False), _plain(0.5)
    ('none', '1, 3', 'off', '0.5')
    """
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("runs", type=Path, help="folder of the benchmark, or its runs.jsonl")
    parser.add_argument("out", type=Path, help="file to write")
    args = parser.parse_args(argv)
    lines = [compact(line) for line in find_lines(args.runs)]
    write_text(args.out, "".join(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n" for line in lines))


if __name__ == "__main__":
    main()
