"""The page of `experiments.ablations.intensity`, from the lines of its runs alone.

Of every run a line holds the sums of `auformer.agreement` per subject, so that scores and their intervals are made
here: a score is that of all rows of a lab, averaged over seeds; in a bootstrap draw all ways and seeds are weighed by
the same subjects.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from auformer.aus import ACTION_UNITS
from auformer.report.table import Table
from auformer.scoring.bootstrap import difference, draw_subjects, everybody, interval, mean_of_defined, pooled
from auformer.scoring.intensity import DRAWS, SCORES
from auformer.scoring.tables import agreement_cell, interval_text, percent
from experiments.harness import Target, target_table

Line = Mapping[str, Any]
KEY = ("what", "seed", "form", "epochs", "images")  # what tells one run from another
LABS = ("lab_a", "lab_b")
NAMES = {"lab_a": "lab A", "lab_b": "lab B"}
WHATS = ("joint", "alone", "probe")
# name of a way -> the run and which of its intensities
WAYS = {"joint": ("joint", "head"), "probe": ("probe", "head"), "isotonic": ("alone", "isotonic")}
LABELS = {
    "joint": "AUFormer, intensity head, trained together",
    "probe": "linear probe, intensity head",
    "isotonic": "AUFormer of occurrence, its probability mapped",
}
BOUNDS = {"lab_a": 0.80, "lab_b": 0.60}  # of mean ICC
MARGIN = 0.05  # over the mapped probability
COST = -0.005  # of joint training, in F1 and AUROC
STEADY = 0.95  # of a ramp's rank correlation


def pack_sums(sums: np.ndarray) -> str:
    """Sums per subject `(S, 7, N)` as text: S, N, and float32 values, zlib in base 85.

    >>> unpack_sums(pack_sums(np.ones((2, 7, 3)))).shape
    (2, 7, 3)
    """
    packed = base64.b85encode(zlib.compress(sums.astype("<f4").tobytes(), 9)).decode()
    return f"{sums.shape[0]} {sums.shape[2]} {packed}"


def unpack_sums(text: str) -> np.ndarray:
    """What `pack_sums` has packed, `(S, 7, N)`."""
    subjects, aus, packed = text.split(" ")
    values = np.frombuffer(zlib.decompress(base64.b85decode(packed)), "<f4")
    return values.reshape(int(subjects), -1, int(aus)).astype(np.float64)


def read_lines(path: Path) -> list[Line]:
    """Finished runs, each once, the last of each; what a crash has torn is dropped."""
    found = {}
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            line = json.loads(text)
            found[tuple(line[name] for name in KEY)] = line
        except (ValueError, KeyError):
            continue
    return list(found.values())


def whole_seeds(lines: Sequence[Line]) -> list[int]:
    """Seeds of which every run is there."""
    seeds = sorted({line["seed"] for line in lines})
    return [seed for seed in seeds if {line["what"] for line in lines if line["seed"] == seed} >= {*WHATS}]


def summarise(lines: Sequence[Line]) -> dict[str, Any]:
    """Everything that the page shows, in plain JSON values; `lines` are those of the same seeds for every run."""
    by_what = {what: [line for line in lines if line["what"] == what] for what in WHATS}
    joint, seeds = by_what["joint"], sorted({line["seed"] for line in lines})
    same = {name: sorted({line[name] for line in lines}) for name in ("commit", "machine", "date")}
    return {
        "command": "python -m experiments.ablations.intensity",
        "seeds": seeds,
        "form": joint[0]["form"],
        "epochs": joint[0]["epochs"],
        "images": joint[0]["images"],
        "draws": DRAWS,
        "aus": joint[0]["aus"],
        "trainable_parameters": {what: found[0]["trainable_parameters"] for what, found in by_what.items()},
        "seconds": {
            what: round(float(np.mean([line["seconds"] for line in found]))) for what, found in by_what.items()
        },
        **same,
        "labs": {lab: _lab(by_what, lab) for lab in LABS},
        "occurrence": {lab: {name: _occurrence(by_what, lab, name, seeds) for name in ("f1", "auroc")} for lab in LABS},
        "ramp": _ramps(joint),
    }


def _lab(by_what: Mapping[str, Sequence[Line]], lab: str) -> dict[str, Any]:
    """Scores of every way on one lab, and what the joint training is ahead of the others in ICC."""
    sums = {way: [unpack_sums(line["sums"][part][lab]) for line in by_what[what]] for way, (what, part) in WAYS.items()}
    num = len(sums["joint"][0])
    subjects = {lab: tuple(f"{number:03d}" for number in range(num))}
    once, weights = everybody(subjects), draw_subjects(subjects, DRAWS)
    aus = by_what["joint"][0]["aus"]
    found: dict[str, Any] = {"subjects": num}
    icc = {}
    for way, seeds in sums.items():
        found[way] = {}
        for name, score in SCORES.items():
            values = mean_of_defined([pooled(score, {lab: one}, once)[0] for one in seeds])
            draws = mean_of_defined([pooled(score, {lab: one}, weights) for one in seeds])
            found[way][name] = _with_interval(values, draws, aus)
            if name == "icc":
                icc[way] = (values, draws)
    ahead = {}
    for way in ("isotonic", "probe"):
        apart = difference((icc["joint"][0], icc[way][0]), (icc["joint"][1], icc[way][1]))
        ahead[way] = {"value": round(apart.value, 6), "interval": [apart.interval.low, apart.interval.high]}
    return {**found, "ahead": ahead}


def _with_interval(values: np.ndarray, draws: np.ndarray, aus: Sequence[str]) -> dict[str, Any]:
    """A score's mean over AUs and per AU, each with its interval."""
    ends = [interval(draws[:, i]) for i in range(len(aus))]
    whole = interval(mean_of_defined(list(draws.T)))
    per_au = {
        au: [None if np.isnan(value) else round(float(value), 6), *map(_optional, (end.low, end.high))]
        for au, value, end in zip(aus, values, ends, strict=True)
    }
    mean = float(np.nanmean(values))
    return {"mean": round(mean, 6), "interval": [round(whole.low, 6), round(whole.high, 6)], "per_au": per_au}


def _optional(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)


def _occurrence(by_what: Mapping[str, Sequence[Line]], lab: str, name: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Mean score of occurrence, joint and alone, by seed."""
    found: dict[str, Any] = {}
    for what in ("joint", "alone", "probe"):
        of_seed = {line["seed"]: line["occurrence"][lab][name]["mean"] for line in by_what[what]}
        found[what] = [of_seed[seed] for seed in seeds]
    found["cost"] = float(np.mean(np.subtract(found["joint"], found["alone"])))
    return found


def _ramps(lines: Sequence[Line]) -> dict[str, Any]:
    """Rank correlation of the ramps, mean over seeds."""
    per_au = {au: round(float(np.mean([line["ramp"][au] for line in lines])), 4) for au in lines[0]["aus"]}
    return {"mean": round(float(np.mean(list(per_au.values()))), 4), "per_au": per_au}


def _targets(summary: Mapping[str, Any]) -> str:
    """What was asked for, and what came out."""
    targets, values = {}, {}
    for lab, name in NAMES.items():
        found, ahead = summary["labs"][lab]["joint"]["icc"]["mean"], summary["labs"][lab]["ahead"]
        asked = {
            f"mean ICC, {name}": (BOUNDS[lab], found),
            f"ICC ahead of the mapped probability, {name}": (MARGIN, ahead["isotonic"]["value"]),
            f"ICC ahead of the linear probe, {name}": (0.0, ahead["probe"]["value"]),
            f"F1 of joint training less that of occurrence alone, {name}": (
                COST, summary["occurrence"][lab]["f1"]["cost"],
            ),
            f"AUROC, likewise, {name}": (COST, summary["occurrence"][lab]["auroc"]["cost"]),
        }  # fmt: skip
        targets |= {what: Target(what, bound, below=False) for what, (bound, _) in asked.items()}
        values |= {what: value for what, (_, value) in asked.items()}
    what = "rank correlation of rendered ramps, mean over faces and AUs"
    targets[what], values[what] = Target(what, STEADY, below=False), summary["ramp"]["mean"]
    return target_table(targets, values, form=".3f")


def _means(summary: Mapping[str, Any]) -> str:
    """A row per way and lab: the mean of every score."""
    rows = []
    for lab in LABS:
        for way, label in LABELS.items():
            found = summary["labs"][lab][way]
            cells = [
                f"{agreement_cell(found[name]['mean'])} {interval_text(found[name]['interval'])}" for name in SCORES
            ]
            rows.append([NAMES[lab], label, *cells])
    return Table(["test", "way", *(name.upper() for name in SCORES)], rows, text_columns=2).markdown()


def _aus(summary: Mapping[str, Any], lab: str) -> str:
    """A row per AU: the scores of the joint training, and ICC of the other ways."""

    def cell(way: str, name: str, au: str, *, ends: bool = False) -> str:
        value, low, high = summary["labs"][lab][way][name]["per_au"][au]
        return agreement_cell(value) + (f" {interval_text([low, high])}" if ends and low is not None else "")

    rows = []
    for au in summary["aus"]:
        cells = [cell("joint", "icc", au, ends=True), *(cell("joint", name, au) for name in ("mae", "pcc", "ccc"))]
        others = [cell(way, "icc", au, ends=True) for way in ("probe", "isotonic")]
        rows.append([au, ACTION_UNITS[au].name, *cells, *others])
    header = ["AU", "FACS name", "ICC", "MAE", "PCC", "CCC", "ICC, linear probe", "ICC, probability mapped"]
    return Table(header, rows, text_columns=2).markdown()


def _occurrence_table(summary: Mapping[str, Any]) -> str:
    """F1 and AUROC of the joint training and of occurrence alone."""
    rows = []
    for lab in LABS:
        for name, label in (("f1", "F1 at 0.5"), ("auroc", "AUROC")):
            found = summary["occurrence"][lab][name]
            means = [percent(float(np.mean(found[what]))) for what in ("joint", "alone", "probe")]
            apart = 100 * np.subtract(found["joint"], found["alone"])
            spread = f" ± {apart.std(ddof=1):.1f}" if len(apart) > 1 else ""
            rows.append([f"{NAMES[lab]}, {label}", *means, f"{apart.mean():+.1f}{spread}"])
    return Table(["test", "joint", "alone", "linear probe", "joint less alone"], rows).markdown()


def page(summary: Mapping[str, Any]) -> str:
    """The page in Markdown."""
    ramps, seeds = summary["ramp"], ", ".join(map(str, summary["seeds"]))
    low = [f"{au} {value:.3f}" for au, value in ramps["per_au"].items() if value < STEADY]
    minutes = ", ".join(f"{what} {seconds / 60:.0f}" for what, seconds in summary["seconds"].items())
    people = " and ".join(f"{summary['labs'][lab]['subjects']} of {NAMES[lab]}" for lab in LABS)
    parameters = ", ".join(f"{what} {number:,}" for what, number in summary["trainable_parameters"].items())
    blocks = [
        "# Intensities on rendered faces of unseen subjects",
        f"""\
Rendered faces: these numbers say nothing about photographs. All ways were trained for {summary["epochs"]} epochs on the
same {summary["images"]:,} images of labs A and B together, and tested on {people}, whom no training has shown. The
intensity head is of the form `{summary["form"]}`. *Probability mapped* is what users do without one: the probability of
the AU detector that was trained on occurrence alone, mapped to levels by an isotonic regression per AU, fitted on the
validation subjects of both labs. Scores are those of all rows of a lab, mean over seeds {seeds}, then over
{len(summary["aus"])} AUs; in brackets the middle 95 % of {summary["draws"]:,} draws of the lab's subjects.""",
        "## What was asked for",
        _targets(summary),
        "## Means over AUs",
        _means(summary),
        "## What joint training costs occurrence",
        "In per cent; mean over seeds, the difference with its standard deviation over them.",
        _occurrence_table(summary),
        *(block for lab in LABS for block in (f"## Every AU, {NAMES[lab]}", _aus(summary, lab))),
        "## Ramps",
        f"""\
Every AU alone, from 0 to 5 in eleven steps, on unseen faces, everything else fixed: Spearman's correlation of rendered
and predicted intensity, mean over faces and seeds, {ramps["mean"]:.3f} over all AUs. Below {STEADY}: \
{", ".join(low) or "none"}.""",
        f"""\
Command: `{summary["command"]}`; minutes of a run: {minutes}; trained parameters: {parameters}; one thread a run,
bfloat16 autocast; {"; ".join(summary["machine"])}; commit {", ".join(summary["commit"])}.""",
    ]
    return "\n\n".join(blocks) + "\n"
