"""Scores of predicted occurrence: F1 and the others per action unit.

Only `AU.._true`, `AU.._prob` and the key are read (and `fold` or a group column where there is one): an AU counts as
active from a probability of 0.5 on. Undefined scores are None, so that the result is plain JSON.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from auformer import metrics
from auformer.aus import ACTION_UNITS
from auformer.data.manifest import predicted_aus
from auformer.metrics import expected_calibration_error, reliability_bins

UNKNOWN_GROUP = "(unknown)"


def score_predictions(predictions: pd.DataFrame, *, by: str | None = None) -> dict[str, Any]:
    """Score predictions against the truth beside them.

    Args:
        predictions: Table as `read_predictions` gives it.
        by: Also score each value of this column by itself: `subject`, or one called `group_...`.

    Returns:
        Rates in [0, 1], None where undefined:

        * `mean`: mean over AUs of `f1`, `auroc`, `average_precision`, `accuracy`, `always_positive_f1`, `macro_f1`
          (mean of the F1 of "present" and of "absent"), `ece` (expected calibration error), and in `num_aus` how many
          AUs each mean rests on;
        * `per_au`: the same per AU, with `positives` and `annotated` rows;
        * where there are folds, `f1_folds` (mean over the folds in which the AU has positives) in both, `num_folds` per
          AU, and `folds`: rows and F1 of each;
        * `threshold`; `rows`: `total`, `scored`, and under `left_out` the others by status;
        * `unscored`: AUs without truth or without probabilities;
        * with `by`, `by` and `groups`: `rows`, `mean` and `per_au` of each group.

    Raises:
        ValueError: No AU has both a truth and a probability, or the column `by` is not there.
    """
    scored, unscored = scored_aus(predictions)
    if not scored:
        raise ValueError(
            "Expected `predictions` to have a column AU.._true beside AU.._prob, but got no truth: predictions can "
            "only be scored where their manifest had labels."
        )
    ok = usable(predictions)
    others = predictions.drop(ok.index)["status"].value_counts() if len(ok) < len(predictions) else {}
    left_out = {str(status): int(num) for status, num in others.items()}
    rows = {"total": len(predictions), "scored": len(ok), "left_out": left_out}
    result = {**_scores(ok, scored), "threshold": metrics.THRESHOLD, "rows": rows, "unscored": unscored}
    if "fold" in ok and ok["fold"].notna().any():
        _add_folds(result, ok, scored)
    if by is not None:
        result["by"] = by
        result["groups"] = {name: {"rows": len(some), **_scores(some, scored)} for name, some in group_rows(ok, by)}
    return result


def scored_aus(predictions: pd.DataFrame) -> tuple[list[str], dict[str, list[str]]]:
    """AUs with truth and probability, and those that lack one of them."""
    predicted = predicted_aus(predictions)
    scored = [au for au in predicted if f"{au}_true" in predictions]
    true = [au for au in ACTION_UNITS if f"{au}_true" in predictions]
    lacking = {"no_truth": predicted, "no_probability": true}
    return scored, {what: [au for au in aus if au not in scored] for what, aus in lacking.items()}


def truth_and_probs(rows: pd.DataFrame, au_names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Truth and probabilities `(n, N)`."""
    true = rows[[f"{au}_true" for au in au_names]].to_numpy(np.float64, na_value=np.nan)
    return true, rows[[f"{au}_prob" for au in au_names]].to_numpy(np.float64, na_value=np.nan)


def _scores(rows: pd.DataFrame, au_names: Sequence[str]) -> dict[str, Any]:
    """`mean` and `per_au` of some rows."""
    true, prob = truth_and_probs(rows, au_names)
    counts = metrics.confusion_counts(true, prob)
    values = {
        "f1": metrics.f1_from_counts(counts),
        "auroc": metrics.auroc(true, prob),
        "average_precision": metrics.average_precision(true, prob),
        "accuracy": metrics.accuracy_from_counts(counts),
        "always_positive_f1": metrics.always_positive_f1(counts),
        "macro_f1": metrics.macro_f1_from_counts(counts),
        "ece": expected_calibration_error(reliability_bins(true, prob)),
    }
    means = {name: metrics.mean_over_aus(value) for name, value in values.items()}
    rows_of = {"positives": metrics.positives(counts), "annotated": counts.sum(0)}
    per_au: dict[str, Any] = {}
    for i, au in enumerate(au_names):
        per_au[au] = {name: optional(value[i]) for name, value in values.items()}
        per_au[au] |= {name: int(numbers[i]) for name, numbers in rows_of.items()}
    mean: dict[str, Any] = {name: optional(one.value) for name, one in means.items()}
    return {"mean": mean | {"num_aus": {name: one.num for name, one in means.items()}}, "per_au": per_au}


def _add_folds(result: dict[str, Any], rows: pd.DataFrame, au_names: Sequence[str]) -> None:
    """Add the field's number: F1 of each fold, its mean over folds per AU, and the mean of those over AUs."""
    folds_f1 = []
    result["folds"] = {}
    for name, some in rows.groupby("fold", sort=True):
        f1 = metrics.f1_from_counts(metrics.confusion_counts(*truth_and_probs(some, au_names)))
        by_au = {au: optional(value) for au, value in zip(au_names, f1, strict=True)}
        result["folds"][str(name)] = {"rows": len(some), "f1": by_au}
        folds_f1.append(f1)
    values, folds = metrics.mean_over_folds(folds_f1)
    mean = metrics.mean_over_aus(values)
    for au, value, num in zip(au_names, values, folds, strict=True):
        result["per_au"][au] |= {"f1_folds": optional(value), "num_folds": int(num)}
    result["mean"]["f1_folds"] = optional(mean.value)
    result["mean"]["num_aus"]["f1_folds"] = mean.num


def usable(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows that count: those whose `status` is `ok`, all where there is no such column."""
    return predictions[predictions["status"] == "ok"] if "status" in predictions else predictions


def group_rows(rows: pd.DataFrame, by: str) -> list[tuple[str, pd.DataFrame]]:
    """Rows by the value of a column, in its order; subjects of several data sets keep the data set's name.

    Raises:
        ValueError: The column is neither `subject` nor one called `group_...`.
    """
    allowed = ["subject", *(str(name) for name in rows if str(name).startswith("group_"))]
    if by not in allowed:
        raise ValueError(f"Expected `by` to be one of {', '.join(allowed)}, the columns of this file, but got {by!r}.")
    keys = rows[by].astype(object).where(rows[by].notna(), UNKNOWN_GROUP).astype(str)
    if by == "subject" and rows["dataset"].nunique() > 1:
        keys = rows["dataset"].astype(str) + "/" + keys
    return [(str(name), part) for name, part in rows.groupby(keys.to_numpy(), sort=True)]


def optional(value: float) -> float | None:
    """A number that JSON can hold, and that may compete for the best: None for nan."""
    return None if math.isnan(value) else float(value)
