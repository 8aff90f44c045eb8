"""How far the intensities of two predictions files agree on the faces that both have.

Neither file is the truth: `A` and `B` are two readings of one thing. ICC(3,1) says whether they order and space the
faces alike, the mean absolute error how far apart they lie, and the limits of agreement within what distance of one
another 95 % of the readings are expected: mean difference (bias) plus and minus 1.96 standard deviations of the
differences (Bland and Altman, "Statistical methods for assessing agreement between two methods of clinical
measurement", Lancet 327, 1986, 307-310). Frames of one video resemble each other, so the limits describe these files;
for a claim about people, take the mean of each person first.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from auformer.agreement import agreement_sums, icc_from_sums, mae_from_sums
from auformer.data.schema import aus_with
from auformer.predict.agreement import Pairs

COLUMNS = ["au", "intensity_faces", "icc", "mae", "bias", "low", "high", "undefined"]
LIMITS = 1.96  # standard deviations that hold 95 % of normal differences, as in the paper


def intensity_pairs(pairs: Pairs) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By AU that has an intensity in both files, by number: the intensities (n,) of A and of B, where both have one."""
    found = {}
    shared = set(aus_with(pairs.second.columns, "intensity_pred"))
    for au in aus_with(pairs.first.columns, "intensity_pred"):
        if au in shared:
            a, b = (rows[f"{au}_intensity_pred"].to_numpy(float) for rows in (pairs.first, pairs.second))
            known = ~(np.isnan(a) | np.isnan(b))
            found[au] = a[known], b[known]
    return found


def intensity_agreement(pairs: Pairs) -> pd.DataFrame:
    """How far two files agree on the intensity of each AU.

    Returns:
        By AU: `intensity_faces` (with an intensity in both), `icc` (nan where one file says the same throughout, with
        the reason in `undefined`), `mae`, `bias` (mean of A - B) and the limits of agreement `low` and `high` (nan
        below two faces), all but `icc` in levels of 0 to 5.
    """
    rows = []
    for au, (a, b) in intensity_pairs(pairs).items():
        sums, reason = agreement_sums(a[:, None], b[:, None]), _undefined(a, b)
        bias, low, high = limits_of_agreement(a, b)
        icc = float("nan") if reason else float(icc_from_sums(sums)[0])
        rows.append([au, len(a), icc, float(mae_from_sums(sums)[0]), bias, low, high, reason])
    return pd.DataFrame(rows, columns=COLUMNS)


def limits_of_agreement(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Bias, the mean of `a - b`, and the limits of agreement below and above it; nan where undefined.

    >>> [round(value, 3) for value in limits_of_agreement(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 1.0]))]
    [1.0, -0.96, 2.96]
    """
    differences = np.asarray(a, float) - np.asarray(b, float)
    if not len(differences):
        return float("nan"), float("nan"), float("nan")
    bias = float(differences.mean())
    spread = LIMITS * float(differences.std(ddof=1)) if len(differences) > 1 else float("nan")
    return bias, bias - spread, bias + spread


def _undefined(a: np.ndarray, b: np.ndarray) -> str:
    """Why there is no ICC; empty where there is one."""
    if len(a) < 2:
        return "fewer than two faces"
    constant = [f"{name} is always {values[0]:.3g}" for name, values in (("A", a), ("B", b)) if np.ptp(values) == 0]
    return " and ".join(constant)
