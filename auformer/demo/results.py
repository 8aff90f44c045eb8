"""Results of `auformer demo`: what `metrics.json` holds, the rows of the committed run, and the tables on both.

    {"lab_a": {METHOD: {"mean_f1", "mean_auroc", "f1": {AU: ...}, "trainable_parameters"}}, "lab_b": ...,
    "lab_b_shared": ...}

Rates are 0 to 1, None where undefined. `lab_a` is the lab of the training faces, `lab_b` the unseen lab over the same
AUs, `lab_b_shared` the unseen lab over the AUs that BP4D and DISFA share. What does not fit into a demo's minutes, full
fine-tuning and further seeds, was trained once: those results come with the package, in the same form, with `spread`
(standard deviation over seeds) beside the means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd

from auformer.aus import SHARED_BP4D_DISFA
from auformer.data.manifest import KEY, predicted_aus
from auformer.report.table import Table
from auformer.scoring.scores import score_predictions
from auformer.scoring.tables import au_columns_table, percent

LABELS = {
    "auformer": "AUFormer",
    "linear_probe": "Linear probe",
    "full_finetuning": "Full fine-tuning",
    "always_positive": "Always positive",
}
METHODS = tuple(LABELS)
DATASETS = {"lab_a": "synthetic_a", "lab_b": "synthetic_b", "lab_b_shared": "synthetic_b"}
TITLES = {
    "lab_a": "Lab A: unseen faces of the lab that was trained on",
    "lab_b": "Lab B: a lab that was never trained on",
    "lab_b_shared": "Lab B, only the AUs that BP4D and DISFA share",
}
BOTH_HEADS = "auformer_both_heads"  # in the committed run also AUFormer's prediction by the mean of both heads
COMMITTED = "†"  # mark of rows that were not made in this run
KEYS = ("mean_f1", "mean_auroc", "f1", "trainable_parameters")
CHANCE = 0.5  # AUROC of a constant detector

Results = dict[str, dict[str, dict[str, Any]]]


def demo_results(
    predictions: Mapping[str, pd.DataFrame], trainable: Mapping[str, int], committed: Mapping[str, Any]
) -> Results:
    """What `metrics.json` holds.

    `predictions` and `trainable` are those of the methods trained in this run, on the test faces of both labs; the
    other methods come from `committed`, as `read_committed` gives it.
    """
    results: Results = {}
    for lab in DATASETS:
        pairs = {method: lab_entries(table, lab, trainable[method]) for method, table in predictions.items()}
        entries = {method: {key: entry[key] for key in KEYS} for method, entry in committed[lab].items()}
        entries |= {method: entry for method, (entry, _) in pairs.items()}
        entries["always_positive"] = next(iter(pairs.values()))[1]
        results[lab] = {method: entries[method] for method in METHODS}
    return results


def lab_entries(predictions: pd.DataFrame, lab: str, trainable: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Entries of a method, and of the always-positive floor, on one of `DATASETS`, from predictions on both labs."""
    names = [au for au in predicted_aus(predictions) if lab != "lab_b_shared" or au in SHARED_BP4D_DISFA]
    columns = [*KEY, *(f"{au}_{kind}" for au in names for kind in ("true", "prob"))]
    scores = score_predictions(predictions.loc[predictions["dataset"] == DATASETS[lab], columns])

    def entry(name: str, auroc: float | None, parameters: int) -> dict[str, Any]:
        f1 = {au: values[name] for au, values in scores["per_au"].items()}
        return {"mean_f1": scores["mean"][name], "mean_auroc": auroc, "f1": f1, "trainable_parameters": parameters}

    return entry("f1", scores["mean"]["auroc"], trainable), entry("always_positive_f1", CHANCE, 0)


def read_committed(path: str | Path | None = None) -> dict[str, Any]:
    """Read the results that come with the package, or another file of the same form.

    Raises:
        ValueError: The file is not of that form, or lacks what a demo does not train itself.
    """
    source = resources.files("auformer").joinpath("assets", "demo_results.json") if path is None else Path(path)
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
        given = {lab: content[lab]["full_finetuning"] for lab in DATASETS}
        missing = [f"{lab}.full_finetuning.{key}" for lab in DATASETS for key in KEYS if key not in given[lab]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected {source} to hold the results of the committed demo run, but got other content ({error!r})"
        ) from error
    if missing:
        raise ValueError(
            f"Expected {source} to hold the results of the committed demo run, but it lacks {', '.join(missing)}"
        )
    return content


def results_table(
    results: Results, committed: Mapping[str, Any], *, both_heads: bool, notes: Sequence[str] = ()
) -> Table:
    """The demo's one table: a row per method of this run, then those of the committed run, marked.

    Where AUFormer predicts by the mean of `both_heads`, its committed row is the one that does the same. `notes` stand
    below the table, before the note on the mark.
    """
    rows = [_row(LABELS[method], results, method) for method in METHODS if method != "full_finetuning"]
    sources = {name: name for name in ("full_finetuning", "auformer", "linear_probe")}
    sources |= {"auformer": BOTH_HEADS} if both_heads else {}
    found = {name: one for name, one in sources.items() if all(one in committed[lab] for lab in DATASETS)}
    marked = {LABELS[method]: source for method, source in found.items()}
    rows += [_row(f"{label} {COMMITTED}", committed, source) for label, source in marked.items()]
    header = ["method", "A F1", "A AUROC", "B F1", "B AUROC", "B shared F1", "trained"]
    return Table(header, rows, notes=[*notes, _committed_note(committed, marked)])


def _row(label: str, results: Mapping[str, Any], method: str) -> list[str]:
    """One row of `results_table`; a mean over fewer AUs than there are says so."""
    cells = []
    for lab in DATASETS:
        entry = results[lab][method]
        defined = sum(value is not None for value in entry["f1"].values())
        keys = ("mean_f1",) if lab == "lab_b_shared" else ("mean_f1", "mean_auroc")
        cells += [percent(entry[key], defined, len(entry["f1"])) for key in keys]
    return [label, *cells, f"{results['lab_a'][method]['trainable_parameters']:,}"]


def _committed_note(committed: Mapping[str, Any], marked: Mapping[str, str]) -> str:
    """What the mark means: how many seeds, how far apart they are; `marked`: label -> method of the committed run."""
    spreads = {
        label: (committed["lab_a"][source].get("spread") or {}).get("mean_f1") for label, source in marked.items()
    }
    apart = ", ".join(f"{label} {100 * spread:.1f}" for label, spread in spreads.items() if spread is not None)
    seeds, epochs = len(committed.get("seeds") or [0]), committed.get("epochs")
    return (
        f"{COMMITTED} not trained in this run: {f'means of {seeds} seeds' if seeds > 1 else 'results'} of a longer "
        f"training{f' ({epochs} epochs)' if epochs else ''} whose results come with the "
        f"package{f'; standard deviation of the mean F1 on lab A: {apart}' if apart else ''}."
    )


def lab_table(results: Results, lab: str) -> Table:
    """F1 per AU of every method on one lab, a row per method; arguments as of `demo_results` and `lab_entries`."""
    entries = {method_label(method): results[lab][method] for method in METHODS}
    extra = {
        "AUROC": {label: percent(entry["mean_auroc"]) for label, entry in entries.items()},
        "trainable": {label: f"{entry['trainable_parameters']:,}" for label, entry in entries.items()},
    }
    f1 = {label: entry["f1"] for label, entry in entries.items()}
    return au_columns_table("method", f1, list(results[lab]["auformer"]["f1"]), extra, title=TITLES[lab])


def method_label(method: str) -> str:
    """A method's name, marked where its numbers were not made in this run."""
    return f"{LABELS[method]} {COMMITTED}" if method == "full_finetuning" else LABELS[method]
