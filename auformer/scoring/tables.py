"""The tables of scores, and how a score is written.

Rates are shown times 100 with one decimal, as the field does; scores of intensities as they are, with three. An
undefined score is `nan`, and a note names its AU; `(11/12)` behind a mean says that it rests on 11 of 12 AUs, `(2/3)`
behind an AU's mean over folds that the AU has positives (for intensities: different codes) in 2 of 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from auformer.aus import ACTION_UNITS
from auformer.report.table import Table

__all__ = [
    "FLOOR", "Table", "agreement_cell", "au_columns_table", "group_table", "intensity_group_table", "intensity_table",
    "interval_text", "percent", "score_table",
]  # fmt: skip

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


_INTENSITY = {"icc": "ICC", "icc_folds": "ICC, folds", "ccc": "CCC", "pcc": "PCC", "mae": "MAE", "mse": "MSE"}
INTENSITY_NOTE = (
    "Intensities from 0 to 5. ICC: ICC(3,1), consistency of a single rating between coder and AU detector; CCC: "
    "concordance correlation, which a constant error lowers too; PCC: Pearson's correlation; MAE, MSE: mean absolute "
    "and squared error, in levels."
)


def intensity_table(scores: Mapping[str, Any], *, title: str = "") -> Table:
    """A row per AU of `score_intensity`: every score, the interval of ICC, coded rows; the mean below, and PSPI."""
    per_au, mean = scores["per_au"], scores["mean"]
    names = [name for name in _INTENSITY if name in mean]
    num_folds = len(scores.get("folds", ()))

    def cells(values: Mapping[str, Any]) -> list[str]:
        shown = []
        for name in names:
            num, total = (values["num_folds"], num_folds) if name == "icc_folds" else (1, 1)
            shown.append(agreement_cell(values[name], num, total))
            shown += [interval_text(values["interval"]["icc"])] if name == "icc" else []
        return [*shown, f"{values['rows']:,}"]

    rows = [[au, ACTION_UNITS[au].name, *cells(values)] for au, values in per_au.items()]
    means = [agreement_cell(mean[name], mean["num_aus"][name], len(per_au)) for name in names]
    footer = [["mean", f"of {len(per_au)} AUs", means[0], interval_text(mean["interval"]["icc"]), *means[1:], ""]]
    footer += [["PSPI", "pain, 0 to 16", *cells(scores["pspi"])]] if "pspi" in scores else []
    headers = [_INTENSITY[name] for name in names]
    header = ["AU", "FACS name", headers[0], "95 % interval", *headers[1:], "coded rows"]
    return Table(header, rows, footer, title=title, notes=intensity_notes(scores), text_columns=2)


def intensity_group_table(scores: Mapping[str, Any], *, title: str = "") -> Table:
    """A row per group of `score_intensity(..., by=...)`: ICC per AU, mean ICC and MAE, rows."""
    au_names = list(scores["per_au"])
    rows = []
    for name, group in scores["groups"].items():
        means = [
            agreement_cell(group["mean"][score], group["mean"]["num_aus"][score], len(au_names))
            for score in ("icc", "mae")
        ]
        cells = [agreement_cell(group["per_au"][au]["icc"]) for au in au_names]
        rows.append([name, *cells, *means, f"{group['rows']:,}"])
    return Table([scores["by"], *au_names, f"mean of {len(au_names)}", "MAE", "rows"], rows, title=title)


def agreement_cell(value: float | None, num: int = 1, total: int = 1) -> str:
    """A score of intensities; behind it how many of the values it could rest on it does rest on, unless on all.

    Example:
        >>> agreement_cell(0.5123), agreement_cell(0.5123, 2, 3), agreement_cell(None)
        ('0.512', '0.512 (2/3)', 'nan')
    """
    if value is None or math.isnan(value):
        return "nan"
    return f"{value:.3f}" + (f" ({num}/{total})" if num < total else "")


def interval_text(ends: Sequence[float] | None) -> str:
    """An interval of a score of intensities, empty where there is none.

    >>> interval_text([0.5, 0.6123]), interval_text(None)
    ('[0.500, 0.612]', '')
    """
    return "" if ends is None else f"[{ends[0]:.3f}, {ends[1]:.3f}]"


def intensity_notes(scores: Mapping[str, Any]) -> list[str]:
    """What stands below a table of intensities: what the scores are, why some are nan, AUs that lack something."""
    notes = [INTENSITY_NOTE]
    if scores["draws"]:
        people = f"{scores['subjects']:,} subjects"
        notes.append(f"95 % interval: of ICC, {scores['draws']:,} bootstrap draws of {people}.")
    else:
        notes.append("One subject only: there is nothing to draw from, so no intervals.")
    reasons: dict[str, list[str]] = {}
    for au, values in scores["per_au"].items():
        if values["undefined"]:
            reasons.setdefault(values["undefined"], []).append(au)
    notes += [f"{reason[0].upper()}{reason[1:]}: {', '.join(aus)}." for reason, aus in reasons.items()]
    lacking = {
        "Predicted, but without coded intensity": scores["unscored"]["no_code"],
        "With coded intensity, but not predicted": scores["unscored"]["no_prediction"],
    }
    notes += [f"{text}: {', '.join(aus)}." for text, aus in lacking.items() if aus]
    if num_folds := len(scores.get("folds", ())):
        notes.append(
            f"ICC is of the rows of all {num_folds} folds together, as the field reports it; 'ICC, folds': mean over "
            "folds of the ICC in each; (k/n): of the k folds in which the codes of the AU differ."
        )
    if "pspi" in scores:
        notes.append(
            "PSPI = AU4 + max(AU6, AU7) + max(AU9, AU10) + AU43 (Prkachin and Solomon 2008), of the codes and of the "
            "predictions."
        )
    return notes
