"""Scores of predicted intensities: ICC(3,1), MAE, MSE, PCC and CCC per action unit, with intervals over subjects.

Only `AU.._intensity_true`, `AU.._intensity_pred` and the key are read (and `fold` or a group column where there is
one). Where a file has folds, each score is given twice: of the rows of all folds together, as the field reports
intensities, and, with the ending `_folds`, as the mean over folds of the score in each. Intervals and their draws are
those of `auformer.scoring.bootstrap`. Where all six action units of PSPI are there (see `auformer.scoring.pain`), its
scores stand beside those of the action units, in no mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from auformer import agreement, metrics
from auformer.aus import ACTION_UNITS
from auformer.data.manifest import KEY
from auformer.scoring.bootstrap import (
    Interval,
    can_draw,
    draw_subjects,
    everybody,
    fold_mean,
    interval,
    mean_of_defined,
    pooled,
)
from auformer.scoring.pain import PSPI, pspi_columns
from auformer.scoring.scores import group_rows, optional, usable

DRAWS = 1000  # as of the benchmark: the ends of a 95 % interval then rest on 25 draws each [ours]
SCORES: dict[str, agreement.Score] = {
    "icc": agreement.icc_from_sums,
    "mae": agreement.mae_from_sums,
    "mse": agreement.mse_from_sums,
    "pcc": agreement.pcc_from_sums,
    "ccc": agreement.ccc_from_sums,
}
"""Names of the scores and how each is made of sums, in the order of the columns."""

ERRORS = ("mae", "mse")  # of which the lowest is best
WHOLE = ""  # the fold of rows without one


KINDS = ("true", "pred")


def intensity_aus(predictions: pd.DataFrame) -> tuple[list[str], dict[str, list[str]]]:
    """AUs with a coded and a predicted intensity, by number, and those that lack one of the two."""
    true, predicted = ([au for au in ACTION_UNITS if f"{au}_intensity_{kind}" in predictions] for kind in KINDS)
    scored = [au for au in true if au in predicted]
    lacking = {"no_code": predicted, "no_prediction": true}
    return scored, {what: [au for au in aus if au not in scored] for what, aus in lacking.items()}


def codes_and_predictions(rows: pd.DataFrame, au_names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Coded and predicted intensities `(n, N)` in [0, 5], nan where not coded; of `PSPI` the derived score."""
    columns: dict[str, tuple[pd.Series, pd.Series]] = {}
    for au in au_names:
        names = [f"{au}_intensity_{kind}" for kind in KINDS]
        derived = pspi_columns(rows) if au == PSPI else None
        columns[au] = (rows[names[0]], rows[names[1]]) if derived is None else derived
    tables = [
        np.stack([np.asarray(pair[k].to_numpy(np.float64, na_value=np.nan)) for pair in columns.values()], 1)
        for k in (0, 1)
    ]
    bad = ~np.isnan(tables[0]) & ~np.isfinite(tables[1])
    if bad.any():
        row, au = np.argwhere(bad)[0]
        where = ", ".join(f"{name} {rows[name].iloc[row]}" for name in KEY if name in rows)
        raise ValueError(
            f"Expected a number in `{au_names[au]}_intensity_pred` of every coded row, but it is empty in {where}"
            f"{f' and {int(bad.sum()) - 1:,} other cells' if bad.sum() > 1 else ''}; predict again."
        )
    return tables[0], tables[1]


def score_intensity(
    predictions: pd.DataFrame, *, by: str | None = None, draws: int = DRAWS, seed: int = 0
) -> dict[str, Any]:
    """Score predicted intensities against the codes beside them.

    Args:
        predictions: Table as `read_predictions` gives it.
        by: Also score each value of this column by itself: `subject`, or one called `group_...`.
        draws: Bootstrap draws of subjects for the intervals.
        seed: Of the draws.

    Returns:
        Plain JSON values, None where undefined:

        * `mean`: mean over AUs of `icc`, `mae`, `mse`, `pcc`, `ccc`; in `interval` the middle 95 % of each (low, high),
          and in `num_aus` how many AUs each mean rests on;
        * `per_au`: the same per AU, with the coded `rows` and, in `undefined`, why a score is None (empty where none
          is); where folds are, `..._folds` of each score in both, and `num_folds` per AU;
        * `pspi`: as an entry of `per_au`; only where its AUs are there;
        * `folds`: rows and every score per AU of each fold; only where there are folds;
        * `draws`, `subjects`: what intervals rest on; `unscored`: AUs without codes or without predictions;
        * with `by`, `by` and `groups`: `rows`, `mean` and `per_au` of each group, without intervals.

    Raises:
        ValueError: No AU has both, the column `by` is not there, or a prediction is missing in a coded row.
    """
    scored, unscored = intensity_aus(predictions)
    if not scored:
        raise ValueError(
            "Expected `predictions` to have a column AU.._intensity_true beside AU.._intensity_pred, but got none: "
            "intensities can only be scored where their manifest had codes and the network an intensity head."
        )
    ok = usable(predictions)
    names = [*scored, *([PSPI] if pspi_columns(ok) is not None else [])]
    sums, subjects = fold_sums(ok, names)
    once, chosen = everybody(subjects), draw_subjects(subjects, draws, seed) if can_draw(subjects) else None
    ways = {"": pooled, **({"_folds": fold_mean} if len(sums) > 1 else {})}
    values = {f"{name}{end}": how(score, sums, once)[0] for name, score in SCORES.items() for end, how in ways.items()}
    drawn = {
        f"{name}{end}": None if chosen is None else how(score, sums, chosen)
        for name, score in SCORES.items()
        for end, how in ways.items()
    }
    per_au = _per_au(names, sums, values, drawn)
    result: dict[str, Any] = {"mean": _mean(values, drawn, len(scored)), "per_au": {au: per_au[au] for au in scored}}
    result |= {"pspi": per_au[PSPI]} if PSPI in per_au else {}
    if len(sums) > 1:
        result["folds"] = {name: _fold(one, scored) for name, one in sums.items()}
    people = sum(map(len, subjects.values()))
    result |= {"draws": 0 if chosen is None else draws, "subjects": people, "unscored": unscored}
    if by is not None:
        result |= {"by": by, "groups": {name: _group(some, scored) for name, some in group_rows(ok, by)}}
    return result


def fold_sums(rows: pd.DataFrame, au_names: Sequence[str]) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]]]:
    """Fold -> sums per subject `(S, 7, N)`, and fold -> its subjects, `dataset/subject`, in alphabetical order."""
    true, pred = codes_and_predictions(rows, au_names)
    people = (rows["dataset"].astype(str) + "/" + rows["subject"].astype(str)).to_numpy(str)
    has_folds = "fold" in rows and rows["fold"].notna().any()
    folds = rows["fold"].fillna(WHOLE).astype(str).to_numpy() if has_folds else np.full(len(rows), WHOLE)
    sums, subjects = {}, {}
    for fold in np.unique(folds.astype(str)):
        here = folds == fold
        names, whose = np.unique(people[here], return_inverse=True)
        sums[str(fold)] = agreement.subject_sums(true[here], pred[here], whose, len(names))
        subjects[str(fold)] = tuple(names.tolist())
    return sums, subjects


def mean_interval(draws: np.ndarray | None, values: np.ndarray) -> Interval | None:
    """Of the mean over AUs, in every draw `(B, N)` over those that `values` `(N,)` are defined for."""
    defined = ~np.isnan(values)
    if draws is None or not defined.any():
        return None
    return interval(mean_of_defined(list(draws[:, defined].T)))


def _per_au(
    names: Sequence[str],
    sums: Mapping[str, np.ndarray],
    values: Mapping[str, np.ndarray],
    drawn: Mapping[str, np.ndarray | None],
) -> dict[str, Any]:
    """Entry of each AU."""
    together = np.sum([one.sum(0) for one in sums.values()], axis=0)
    reasons = agreement.undefined_reasons(together)
    num_folds = np.sum([~np.isnan(SCORES["icc"](one.sum(0))) for one in sums.values()], axis=0)
    entries: dict[str, Any] = {}
    for i, au in enumerate(names):
        entry: dict[str, Any] = {name: optional(one[i]) for name, one in values.items()}
        entry["interval"] = {
            name: None if draws is None or np.isnan(values[name][i]) else _plain(interval(draws[:, i]))
            for name, draws in drawn.items()
        }
        entry |= {"rows": int(together[0, i]), "undefined": reasons[i]}
        entry |= {"num_folds": int(num_folds[i])} if len(sums) > 1 else {}
        entries[au] = entry
    return entries


def _mean(values: Mapping[str, np.ndarray], drawn: Mapping[str, np.ndarray | None], num: int) -> dict[str, Any]:
    """Means over the first `num` AUs."""
    means = {name: metrics.mean_over_aus(one[:num]) for name, one in values.items()}
    draws = {name: None if one is None else one[:, :num] for name, one in drawn.items()}
    return {
        **{name: optional(one.value) for name, one in means.items()},
        "interval": {name: _plain(mean_interval(one, values[name][:num])) for name, one in draws.items()},
        "num_aus": {name: one.num for name, one in means.items()},
    }


def _plain(found: Interval | None) -> list[float] | None:
    return None if found is None or not found.num else [found.low, found.high]


def _fold(sums: np.ndarray, au_names: Sequence[str]) -> dict[str, Any]:
    """Rows and scores of one fold."""
    together = sums.sum(0)[:, : len(au_names)]
    scores = {name: score(together) for name, score in SCORES.items()}
    return {
        "rows": {au: int(together[0, i]) for i, au in enumerate(au_names)},
        **{name: {au: optional(one[i]) for i, au in enumerate(au_names)} for name, one in scores.items()},
    }


def _group(rows: pd.DataFrame, au_names: Sequence[str]) -> dict[str, Any]:
    """Scores of the rows of one group."""
    sums, subjects = fold_sums(rows.drop(columns="fold", errors="ignore"), au_names)
    values = {name: pooled(score, sums, everybody(subjects))[0] for name, score in SCORES.items()}
    nothing: dict[str, np.ndarray | None] = dict.fromkeys(values)
    entries = _per_au(au_names, sums, values, nothing)
    return {"rows": len(rows), "mean": _mean(values, nothing, len(au_names)), "per_au": entries}
