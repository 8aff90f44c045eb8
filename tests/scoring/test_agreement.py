"""Agreement of intensities: parity with pingouin and scipy, numbers worked out by hand, and what is undefined."""

import numpy as np
import pandas as pd
import pingouin
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from auformer.agreement import (
    agreement_sums,
    ccc_from_sums,
    icc_from_sums,
    mae_from_sums,
    mse_from_sums,
    pcc_from_sums,
    subject_sums,
    undefined_reasons,
)

SCORES = (icc_from_sums, ccc_from_sums, pcc_from_sums, mae_from_sums, mse_from_sums)


def draw(seed, rows=80, aus=3, gaps=True):
    """Levels 0 to 5, some not coded, and predictions near them."""
    rng = np.random.default_rng(seed)
    true = rng.choice(6, size=(rows, aus), p=[0.5, 0.1, 0.15, 0.1, 0.1, 0.05]).astype(float)
    pred = np.clip(0.6 * true + rng.normal(0.5, 0.9, true.shape), 0, 5)
    if gaps:
        true[rng.random(true.shape) < 0.1] = np.nan
    return true, pred


def icc_of_pingouin(true, pred):
    """ICC(3,1): called `ICC3` in older versions of pingouin and `ICC(C,1)`, consistency of one rating, in 0.7."""
    rows = np.arange(len(true))
    long = pd.DataFrame({"row": [*rows, *rows], "rater": ["coder"] * len(rows) + ["detector"] * len(rows)})
    found = pingouin.intraclass_corr(long.assign(value=[*true, *pred]), "row", "rater", "value").set_index("Type")
    return float(found["ICC"][next(name for name in ("ICC3", "ICC(C,1)") if name in found.index)])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.filterwarnings("ignore")
def test_parity(seed):
    true, pred = draw(seed)
    icc, ccc, pcc, mae, mse = (score(agreement_sums(true, pred)) for score in SCORES)
    for au in range(true.shape[1]):
        known = ~np.isnan(true[:, au])
        t, p = true[known, au], pred[known, au]
        assert icc[au] == pytest.approx(icc_of_pingouin(t, p), abs=1e-9)
        assert pcc[au] == pytest.approx(stats.pearsonr(t, p).statistic, abs=1e-12)
        assert mae[au] == pytest.approx(np.abs(t - p).mean(), abs=1e-12)
        assert mse[au] == pytest.approx(np.square(t - p).mean(), abs=1e-12)
        # Lin's own form: correlation times a factor of bias
        factor = 2 / (t.std() / p.std() + p.std() / t.std() + (t.mean() - p.mean()) ** 2 / (t.std() * p.std()))
        assert ccc[au] == pytest.approx(pcc[au] * factor, abs=1e-12)


def test_icc_is_the_analysis_of_variance_of_shrout_and_fleiss():
    """Judges 1 and 2 of their table 2: mean squares by hand, (BMS - EMS) / (BMS + EMS)."""
    true, pred = np.array([9.0, 6, 8, 7, 10, 6]), np.array([2.0, 1, 4, 1, 5, 2])
    table = np.stack([true, pred])
    rows, raters, grand = table.mean(0), table.mean(1), table.mean()
    between = 2 * np.square(rows - grand).sum() / 5
    error = np.square(table - rows - raters[:, None] + grand).sum() / 5
    expected = (between - error) / (between + error)
    assert icc_from_sums(agreement_sums(true[:, None], pred[:, None]))[0] == pytest.approx(expected, abs=1e-12)
    assert 0.6 < expected < 0.9


def test_sums_of_subjects_add_up_to_those_of_all_rows():
    true, pred = draw(5)
    whose = np.arange(len(true)) % 4
    parts = subject_sums(true, pred, whose, 5)
    assert parts.shape == (5, 7, 3) and not parts[4].any()
    np.testing.assert_allclose(parts.sum(0), agreement_sums(true, pred), atol=1e-9)
    np.testing.assert_allclose(parts[2], agreement_sums(true[whose == 2], pred[whose == 2]), atol=1e-12)


@given(st.integers(0, 10_000), st.floats(-2, 2), st.floats(0.2, 3))
def test_what_a_shift_and_a_stretch_change(seed, shift, stretch):
    true, pred = draw(seed, rows=30, aus=1, gaps=False)
    icc, ccc, pcc, *_ = (score(agreement_sums(true, pred))[0] for score in SCORES)
    moved = agreement_sums(true, pred + shift)
    assert icc_from_sums(moved)[0] == pytest.approx(icc, abs=1e-9)  # consistency: a constant costs nothing
    assert pcc_from_sums(agreement_sums(true, stretch * pred))[0] == pytest.approx(pcc, abs=1e-9)
    assert abs(ccc) <= abs(icc) + 1e-9 and abs(icc) <= abs(pcc) + 1e-9  # each asks for more


def test_constants_are_undefined_with_their_reason_and_never_zero():
    """0.1 is no binary fraction: its sum of squares differs from the square of its sum in the last digits."""
    n = 997
    varied = np.arange(n) % 6.0
    true = np.stack([np.zeros(n), np.full(n, 0.1), varied, varied, np.full(n, np.nan)], 1)
    pred = np.stack([varied, varied, np.full(n, 1.1), varied[::-1], varied], 1)
    sums = agreement_sums(true, pred)
    icc, ccc, pcc, mae, _ = (score(sums) for score in SCORES)
    assert np.isnan(icc[[0, 1, 4]]).all() and np.isnan(ccc[[0, 1, 4]]).all() and np.isnan(pcc[[0, 1, 2, 4]]).all()
    assert icc[2] == ccc[2] == 0 and np.isfinite([icc[3], pcc[3]]).all()
    assert mae[0] == pytest.approx(varied.mean()) and np.isnan(mae[4])
    reasons = undefined_reasons(sums)
    assert reasons == ["always coded 0", "always coded 0.1", "always predicted 1.1", "", "not coded"]
    assert undefined_reasons(agreement_sums(true[:1], pred[:1]))[0] == "coded in one row only"


def test_refusals():
    with pytest.raises(ValueError, match=r"one shape .* \(2, 1\) and \(3, 1\)"):
        agreement_sums(np.zeros((2, 1)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="nan in row 1, column 0"):
        agreement_sums([[1.0], [2.0]], [[1.0], [np.nan]])
    with pytest.raises(ValueError, match=r"shape \(7, ...\)"):
        icc_from_sums(np.zeros((4, 2)))
