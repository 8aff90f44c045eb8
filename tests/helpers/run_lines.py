"""Lines of finished runs, made from random predictions, and lines with given counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from auformer.benchmark.record import record
from auformer.files import digest

FOLDS = {"P1": ("S1", "S2", "S3"), "P2": ("S4", "S5", "S6"), "P3": ("S7", "S8")}
AUS = ("AU1", "AU4", "AU12")


def some_predictions(
    fold: str,
    *,
    skill: float,
    seed: int = 0,
    rows: int = 60,
    subjects: Sequence[str] = (),
    dataset: str = "lab_a",
    aus: Sequence[str] = AUS,
) -> pd.DataFrame:
    """Predictions of one fold; the truth depends on fold and data set alone, so that methods can be compared on it."""
    names = f"{dataset}{fold}", f"{dataset}{fold}{skill}{seed}"
    given, own = (np.random.default_rng(list(name.encode())) for name in names)
    subjects = list(subjects or FOLDS[fold])
    drawn = given.choice(subjects, rows)
    drawn[: len(subjects)] = subjects  # everybody at least once
    table = pd.DataFrame({"dataset": dataset, "subject": drawn, "sequence": "a", "frame": range(rows), "fold": fold})
    columns: dict[str, Any] = {}
    for number, au in enumerate(aus):
        true = (given.random(rows) < 0.25 + 0.1 * number).astype(int)
        score = own.normal(size=rows) + skill * (2 * true - 1)
        columns[f"{au}_true"], columns[f"{au}_prob"] = true, (1 / (1 + np.exp(-1.5 * score))).round(3)
    return pd.concat([table, pd.DataFrame(columns)], axis=1)


def line_of(
    predictions: pd.DataFrame, *, thresholds: Mapping[str, float] | None = None, **given: Any
) -> dict[str, Any]:
    """A line from predictions; `given` replaces what the runner says about the run."""
    return meta(**given) | record(predictions, thresholds=thresholds)


def meta(**given: Any) -> dict[str, Any]:
    """What the runner says about a run."""
    base: dict[str, Any] = {
        "protocol": "within", "data": "lab_a", "method": "auformer", "fold": "", "subset": None, "seed": 0,
        "config": {}, "select": "validation", "init": None, "epochs": 3, "seconds": 60.0, "trainable_parameters": 1234,
        "total_parameters": 56789, "commit": "abc1234", "machine": "a machine", "warnings": [], "folder": "x",
    } | given  # fmt: skip
    base = {"name": base["protocol"], "test": base["data"], "config_hash": base["method"]} | base
    names = ("protocol", "name", "data", "test", "method", "fold", "subset", "seed", "config_hash", "select")
    return {"key": digest([base[name] for name in names]), **base}


def counted_line(counts: Mapping[str, Mapping[str, Sequence[int]]], **given: Any) -> dict[str, Any]:
    """A line with given counts (AU -> subject -> TP, FP, FN, TN), and nothing known of ranks and calibration."""
    aus = list(counts)
    plain = {
        au: {subject: [int(cell) for cell in cells] for subject, cells in table.items()} for au, table in counts.items()
    }
    rows = max(sum(sum(cells) for cells in table.values()) for table in plain.values())
    none = dict.fromkeys(aus)
    empty = {au: [[None, None, 0]] * 10 for au in aus}
    scores = {
        "aus": aus, "counts": plain, "thresholds": None, "counts_tuned": None, "auroc": none, "ap": none, "ece": none,
        "reliability": empty, "rows": rows, "unscored": {}, "unknown": dict.fromkeys(aus, 0),
    }  # fmt: skip
    return meta(**given) | scores


def three_fold_lines(
    methods: Mapping[str, float] | None = None, seeds: Sequence[int] = (0,), **given: Any
) -> list[dict[str, Any]]:
    """Lines of methods (name -> skill) on three folds."""
    skills = {"auformer": 1.0, "linear_probe": 0.5} if methods is None else methods
    return [
        line_of(some_predictions(fold, skill=skill, seed=seed), method=method, fold=fold, seed=seed, **given)
        for method, skill in skills.items()
        for seed in seeds
        for fold in FOLDS
    ]
