"""How well predicted intensities agree with coded ones, from sums over rows, on plain arrays.

Scores of an action unit's intensities are functions of seven sums over its coded rows, so sums of parts of a test fold
may be added, and a bootstrap draw only weighs those of each subject. The scores:

* ICC(3,1), the intraclass correlation of Shrout and Fleiss ("Intraclass correlations: uses in assessing rater
  reliability", Psychological Bulletin 86, 1979, the third case: two-way, fixed raters, consistency of a single
  rating), which the field reports. With two raters, coder and detector, its mean squares are those of sum and
  difference, and it becomes `2 cov / (var + var)`: a detector that is off by a constant loses nothing.
* CCC, the concordance correlation (Lin, "A concordance correlation coefficient to evaluate reproducibility",
  Biometrics 45, 1989): as ICC, but a constant error costs: `2 cov / (var + var + (mean - mean)^2)`, moments over n.
* PCC, Pearson's correlation; MAE and MSE, mean absolute and mean squared error in units of the scale, 0 to 5.

What is undefined is nan, never 0 in silence: where the codes are all the same (an action unit that is always 0) there
is nothing to agree on, so ICC, CCC and PCC are nan and only the errors are defined. A prediction that is always the
same has ICC and CCC 0 on codes that vary, and no PCC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

SUMS = ("rows", "true", "pred", "true^2", "pred^2", "true*pred", "|pred-true|")
"""What is summed over the coded rows, in the order of the first axis."""

TINY = 1e-9  # of the mean square: a variance below it is rounding, and the values are all the same [ours]
Score = Callable[[Any], np.ndarray]
"""From sums `(7, ...)` to a score `(...)`, nan where undefined."""


def agreement_sums(true: Any, pred: Any) -> np.ndarray:
    """Sum over the rows in which an action unit is coded.

    Args:
        true: Coded intensities ``(n, N)``, nan where not coded.
        pred: Predicted intensities ``(n, N)``; anything where not coded.

    Returns:
        Sums ``(7, N)``, float64, in the order of `SUMS`.

    Raises:
        ValueError: If shapes differ, or a prediction of a coded entry is nan or infinite.

    Example:
        >>> agreement_sums([[0.0], [2.0], [float("nan")]], [[1.0], [2.5], [9.0]])[:, 0].tolist()
        [2.0, 2.0, 3.5, 4.0, 7.25, 5.0, 1.5]
    """
    return subject_sums(true, pred, np.zeros(len(np.atleast_1d(true)), dtype=np.int64), 1)[0]


def subject_sums(true: Any, pred: Any, whose: Any, num: int) -> np.ndarray:
    """`agreement_sums` of each subject ``(num, 7, N)``; `whose` ``(n,)`` is the number of each row's subject.

    Raises:
        ValueError: As `agreement_sums`.
    """
    true, pred = np.asarray(true, dtype=np.float64), np.asarray(pred, dtype=np.float64)
    if true.ndim != 2 or true.shape != pred.shape:
        raise ValueError(f"Expected `true` and `pred` to have one shape (n, N), but got {true.shape} and {pred.shape}.")
    known = ~np.isnan(true)
    bad = known & ~np.isfinite(pred)
    if bad.any():
        row, au = np.argwhere(bad)[0]
        raise ValueError(
            f"Expected `pred` to be a number where `true` is one, but got {pred[row, au]} in row {row}, column {au}."
        )
    true, pred = np.where(known, true, 0.0), np.where(known, pred, 0.0)
    parts = (known, true, pred, true * true, pred * pred, true * pred, np.abs(pred - true))
    sums = np.zeros((num, len(SUMS), true.shape[1]))
    for number in range(num):
        mine = np.asarray(whose) == number
        sums[number] = [part[mine].sum(0) for part in parts]
    return sums


def icc_from_sums(sums: Any) -> np.ndarray:
    """ICC(3,1) from sums ``(7, ...)`` to ``(...)``; nan below two rows and where the codes are all the same.

    Example:
        Off by one in every row, a detector is consistent, but not concordant:

        >>> sums = agreement_sums([[0.0], [1.0], [2.0], [3.0]], [[1.0], [2.0], [3.0], [4.0]])
        >>> icc_from_sums(sums).tolist(), ccc_from_sums(sums).round(4).tolist()
        ([1.0], [0.7143])
    """
    _, _, _, var_true, var_pred, cov = _moments(sums)
    return _ratio(2 * cov, np.where(var_true > 0, var_true + var_pred, 0))


def ccc_from_sums(sums: Any) -> np.ndarray:
    """Concordance correlation from sums ``(7, ...)`` to ``(...)``; undefined where ICC is."""
    _, mean_true, mean_pred, var_true, var_pred, cov = _moments(sums)
    return _ratio(2 * cov, np.where(var_true > 0, var_true + var_pred + (mean_true - mean_pred) ** 2, 0))


def pcc_from_sums(sums: Any) -> np.ndarray:
    """Pearson's correlation from sums ``(7, ...)`` to ``(...)``; nan where either side is always the same."""
    _, _, _, var_true, var_pred, cov = _moments(sums)
    return _ratio(cov, np.sqrt(var_true) * np.sqrt(var_pred))


def mae_from_sums(sums: Any) -> np.ndarray:
    """Mean absolute error from sums ``(7, ...)`` to ``(...)``; nan without rows."""
    sums = _checked(sums)
    return _ratio(sums[6], sums[0])


def mse_from_sums(sums: Any) -> np.ndarray:
    """Mean squared error from sums ``(7, ...)`` to ``(...)``; nan without rows."""
    sums = _checked(sums)
    return _ratio(np.maximum(sums[3] + sums[4] - 2 * sums[5], 0), sums[0])


def undefined_reasons(sums: Any) -> list[str]:
    """Why scores of each action unit are nan, from sums ``(7, N)``; empty where none is.

    >>> undefined_reasons(agreement_sums([[0.0, 1.0], [0.0, 2.0]], [[0.5, 0.0], [1.0, 3.0]]))
    ['always coded 0', '']
    """
    rows, mean_true, mean_pred, var_true, var_pred, _ = _moments(sums)
    reasons = []
    for au in range(rows.shape[0]):
        if rows[au] < 2:
            reasons.append("not coded" if rows[au] == 0 else "coded in one row only")
        elif var_true[au] == 0:
            reasons.append(f"always coded {mean_true[au]:.3g}")
        else:
            reasons.append(f"always predicted {mean_pred[au]:.3g}" if var_pred[au] == 0 else "")
    return reasons


def _checked(sums: Any) -> np.ndarray:
    sums = np.asarray(sums, dtype=np.float64)
    if sums.ndim == 0 or sums.shape[0] != len(SUMS):
        raise ValueError(f"Expected `sums` to have shape (7, ...): {', '.join(SUMS)}, but got {sums.shape}.")
    return sums


def _moments(sums: Any) -> Sequence[np.ndarray]:
    """Rows, means, variances and covariance over n; variances are 0 where they are rounding, or below two rows."""
    rows, true, pred, true2, pred2, product, _ = _checked(sums)
    safe = np.where(rows > 0, rows, 1)
    mean_true, mean_pred = true / safe, pred / safe
    variances = []
    for squares, mean in ((true2 / safe, mean_true), (pred2 / safe, mean_pred)):
        variance = squares - mean**2
        variances.append(np.where((rows > 1) & (variance > TINY * squares), variance, 0.0))
    cov = np.where((variances[0] > 0) & (variances[1] > 0), product / safe - mean_true * mean_pred, 0.0)
    return rows, mean_true, mean_pred, *variances, cov


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient as float64, nan where the denominator is 0."""
    return np.where(denominator == 0, np.nan, numerator / np.where(denominator == 0, 1, denominator))
