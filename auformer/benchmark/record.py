"""What the line of a finished run holds about its scores: enough to make every table again without the predictions.

Counts are kept per subject, so that folds can be pooled and subjects resampled later; what rests on the order of
probabilities (AUROC, AP) and on their size (reliability, ECE) is kept per AU. Of intensities the sums per subject are
kept that every score of them is made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from auformer import agreement, metrics
from auformer.benchmark.protocols import subject_names
from auformer.data.manifest import KEY, validate_predictions
from auformer.errors import ManifestError
from auformer.metrics import expected_calibration_error, plain_bins, reliability_bins
from auformer.scoring.intensity import codes_and_predictions, intensity_aus
from auformer.scoring.pain import PSPI, pspi_columns
from auformer.scoring.scores import optional, scored_aus, truth_and_probs

DIGITS = 6  # of sums in a line: a score then differs by less than the last digit that a table shows


def record(
    predictions: pd.DataFrame, *, thresholds: Mapping[str, float] | None, expected: pd.DataFrame | None = None
) -> dict[str, Any]:
    """Score the predictions of one run.

    Args:
        predictions: Table of the predictions contract; for clips one row per clip.
        thresholds: AU -> threshold in [0, 1] tuned on validation rows; None where none were.
        expected: The rows that should have been predicted, as a table with the key; None to take those that are there.

    Returns:
        Plain JSON values, rates in [0, 1], None where undefined; `AU -> ...` over the AUs with truth and probabilities,
        by number:

        * `aus`; `not_scored`: AUs without truth, and without probabilities;
        * `rows`: rows scored; `unscored`: the others by status; `unknown`: AU -> scored rows in which it is not
          annotated;
        * `counts`: AU -> `dataset/subject` -> [TP, FP, FN, TN] at 0.5; `thresholds`, and `counts_tuned` at those, or
          None;
        * `auroc`, `ap`, `ece`: AU -> value; `reliability`: AU -> ten bins of [mean probability, rate of positives,
          rows];
        * `intensity`: as `record_intensity` gives it, None without coded and predicted intensities.

    Raises:
        ManifestError: The table breaks the contract (nan or a probability outside [0, 1] in a row that is `ok`, a key
            twice), or has not the rows of `expected`.
        ValueError: No AU has both truth and probabilities.
    """
    table = validate_predictions(predictions)
    if expected is not None:
        _check_rows(table, expected)
    aus, not_scored = scored_aus(table)
    if not aus:
        raise ValueError(
            "Expected `predictions` to have an AU with both `AU.._true` and `AU.._prob`, but got none: nothing can be "
            "scored."
        )
    ok = table[table["status"] == "ok"]
    true, prob = truth_and_probs(ok, aus)
    subjects = subject_names(ok).to_numpy()
    bins = reliability_bins(true, prob)
    left_out = table.loc[table["status"] != "ok", "status"].value_counts().sort_index()
    cuts = None if thresholds is None else {au: float(thresholds[au]) for au in aus}
    tuned = cuts and counts_by_subject(true, prob, subjects, aus, list(cuts.values()))
    return {
        "aus": aus,
        "not_scored": not_scored,
        "rows": len(ok),
        "unscored": {str(status): int(num) for status, num in left_out.items()},
        "unknown": _by_au(aus, ((true != 0) & (true != 1)).sum(0), int),
        "counts": counts_by_subject(true, prob, subjects, aus),
        "thresholds": cuts,
        "counts_tuned": tuned,
        "auroc": _by_au(aus, metrics.auroc(true, prob), optional),
        "ap": _by_au(aus, metrics.average_precision(true, prob), optional),
        "ece": _by_au(aus, expected_calibration_error(bins), optional),
        "reliability": _by_au(aus, bins, plain_bins),
        "intensity": record_intensity(ok),
    }


def record_intensity(rows: pd.DataFrame) -> dict[str, Any] | None:
    """What a line holds of intensities, from the rows of a predictions file that count; None without any.

    Plain JSON: `aus`, those with coded and predicted intensities; `sums`: AU -> `dataset/subject` -> seven sums, see
    `auformer.agreement.SUMS`; PSPI is among them where its AUs are there.

    Raises:
        ValueError: A prediction is missing in a coded row.
    """
    aus, _ = intensity_aus(rows)
    if not aus:
        return None
    names = [*aus, *([PSPI] if pspi_columns(rows) is not None else [])]
    people, whose = np.unique(subject_names(rows).to_numpy(str), return_inverse=True)
    sums = agreement.subject_sums(*codes_and_predictions(rows, names), whose, len(people)).round(DIGITS)
    by_au = {au: dict(zip(people.tolist(), sums[:, :, i].tolist(), strict=True)) for i, au in enumerate(names)}
    return {"aus": aus, "sums": by_au}


def counts_by_subject(
    true: np.ndarray,
    prob: np.ndarray,
    subjects: np.ndarray,
    au_names: Sequence[str],
    threshold: Any = metrics.THRESHOLD,
) -> dict[str, dict[str, list[int]]]:
    """AU -> subject -> [TP, FP, FN, TN], the subjects in alphabetical order.

    Labels `true` `(n, N)` are 1, 0, and -1 or nan where not annotated; `subjects` `(n,)` says whose each row is; an AU
    is predicted where its probability is at least the threshold, one number or one per AU `(N,)`.
    """
    names, whose = np.unique(subjects.astype(str), return_inverse=True)
    active, present, known = prob >= np.asarray(threshold), true == 1, (true == 0) | (true == 1)
    cells = np.where(present, np.where(active, 0, 2), np.where(active, 1, 3))  # TP 0, FP 1, FN 2, TN 3
    counts = {}
    for i, au in enumerate(au_names):
        place = 4 * whose[known[:, i]] + cells[known[:, i], i]
        table = np.bincount(place, minlength=4 * len(names)).reshape(-1, 4)
        counts[au] = dict(zip(names.tolist(), table.tolist(), strict=True))
    return counts


def _check_rows(table: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Refuse predictions that are not of the rows that were to be predicted."""
    keys = [name for name in KEY if name in expected]
    sets = [set(zip(*(rows[name].astype(str) for name in keys), strict=True)) for rows in (expected, table)]
    for text, keys_apart in (("lacks", sets[0] - sets[1]), ("has beyond them", sets[1] - sets[0])):
        if keys_apart:
            first = "/".join(min(keys_apart))
            raise ManifestError(
                f"predictions: expected a row for each of the {len(sets[0]):,} rows of the test split, but the table "
                f"{text} {len(keys_apart):,}, the first {first} ({', '.join(keys)}); predict again"
            )


def _by_au(au_names: Sequence[str], values: Any, plain: Any) -> dict[str, Any]:
    """AU -> value as plain JSON."""
    return {au: plain(value) for au, value in zip(au_names, values, strict=True)}
