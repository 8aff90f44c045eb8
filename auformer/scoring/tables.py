"""The tables of scores, and how a score is written.

Rates are shown times 100 with one decimal, as the field does. An undefined score is `nan`, and a note names its AU;
`(11/12)` behind a mean says that it rests on 11 of 12 AUs, `(2/3)` behind an AU's mean over folds that the AU has
positives in 2 of 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from auformer.aus import ACTION_UNITS
from auformer.report.table import Table

__all__ = ["FLOOR", "Table", "au_columns_table", "group_table", "percent", "score_table"]

FLOOR = "always yes"
"""Header of the floor: F1 of a detector that calls every AU active in every row."""

_PER_AU = {
    "f1": "F1", "f1_folds": "F1, folds", "auroc": "AUROC", "average_precision": "AP", "accuracy": "accuracy",
    "always_positive_f1": FLOOR,
}  # fmt: skip


def score_table(scores: Mapping[str, Any], *, title: str = "") -> Table:
    """A row per AU: every score, positives and annotated rows, and the floor; the mean below."""
    per_au, mean = scores["per_au"], scores["mean"]
    names = [name for name in _PER_AU if name in mean]
    num_folds = len(scores.get("folds", ()))
    rows = []
    for au, values in per_au.items():
        cells = {name: percent(values[name]) for name in names}
        if num_folds:
            cells["f1_folds"] = percent(values["f1_folds"], values["num_folds"], num_folds)
        rows.append([au, ACTION_UNITS[au].name, *cells.values(), f"{values['positives']:,} / {values['annotated']:,}"])
    means = [percent(mean[name], mean["num_aus"][name], len(per_au)) for name in names]
    footer = [["mean", f"of {len(per_au)} AUs", *means, ""]]
    header = ["AU", "FACS name", *(_PER_AU[name] for name in names), "positives"]
    return Table(header, rows, footer, title=title, notes=score_notes(scores), text_columns=2)


def group_table(scores: Mapping[str, Any], *, title: str = "") -> Table:
    """A row per group of `score_predictions(..., by=...)`: F1 per AU, mean F1 and AUROC, rows."""
    groups, au_names = scores["groups"], list(scores["per_au"])
    f1 = {name: {au: values["f1"] for au, values in group["per_au"].items()} for name, group in groups.items()}
    means = {name: group["mean"] for name, group in groups.items()}
    auroc = {name: percent(mean["auroc"], mean["num_aus"]["auroc"], len(au_names)) for name, mean in means.items()}
    rows = {name: f"{group['rows']:,}" for name, group in groups.items()}
    return au_columns_table(scores["by"], f1, au_names, {"AUROC": auroc, "rows": rows}, title=title)


def au_columns_table(
    first: str,
    f1: Mapping[str, Mapping[str, float | None]],
    au_names: Sequence[str],
    extra: Mapping[str, Mapping[str, str]] | None = None,
    *,
    title: str = "",
    notes: Sequence[str] = (),
) -> Table:
    """F1 with AUs as columns, the mean behind them, then further columns.

    `first` is the header of the labels; `f1` is label -> AU -> F1 in [0, 1], with None, nan or no entry where
    undefined; `extra` is header -> label -> finished text.
    """
    rows = []
    for label, values in f1.items():
        known = [value for au in au_names if (value := values.get(au)) is not None and not math.isnan(value)]
        mean = percent(sum(known) / len(known) if known else None, len(known), len(au_names))
        more = [column[label] for column in (extra or {}).values()]
        rows.append([label, *(percent(values.get(au)) for au in au_names), mean, *more])
    return Table([first, *au_names, f"mean of {len(au_names)}", *(extra or {})], rows, title=title, notes=notes)


def percent(value: float | None, num: int = 1, total: int = 1) -> str:
    """A rate in [0, 1] times 100; behind it how many of the values it could rest on it does rest on, unless on all.

    Example:
        >>> percent(0.5123), percent(0.5123, 2, 3), percent(None)
        ('51.2', '51.2 (2/3)', 'nan')
    """
    if value is None or math.isnan(value):
        return "nan"
    return f"{100 * value:.1f}" + (f" ({num}/{total})" if num < total else "")


def score_notes(scores: Mapping[str, Any]) -> list[str]:
    """What stands below a table of scores: the rule, rows left out, AUs without positives or truth, all by name."""
    per_au, rows = scores["per_au"], scores["rows"]
    notes = [
        f"Rates x 100; active from a probability of {scores['threshold']} on; '{FLOOR}': F1 of a detector that always "
        "says yes."
    ]
    left_out = ", ".join(f"{status} {num:,}" for status, num in rows["left_out"].items())
    notes.append(f"{rows['scored']:,} of {rows['total']:,} rows scored{f'; left out: {left_out}' if left_out else ''}.")
    lacking = {
        "Without annotated rows, in no mean": [au for au, v in per_au.items() if not v["annotated"]],
        "Without positives, in no mean but that of accuracy": [
            au for au, v in per_au.items() if v["annotated"] and not v["positives"]
        ],
        "Without negatives, so without AUROC": [
            au for au, v in per_au.items() if v["annotated"] and v["positives"] == v["annotated"]
        ],
        "Predicted, but without truth": scores["unscored"]["no_truth"],
        "With truth, but not predicted": scores["unscored"]["no_probability"],
    }
    notes += [f"{text}: {', '.join(au_names)}." for text, au_names in lacking.items() if au_names]
    if num_folds := len(scores.get("folds", ())):
        number = f"{num_folds} fold{'' if num_folds == 1 else 's'}"
        notes.append(
            f"'F1, folds': mean over {number} of the F1 in each; (k/{num_folds}): the AU has positives in k of them."
        )
    return notes
