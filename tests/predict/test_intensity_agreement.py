"""Agreement of two files' intensities: by hand, and what is undefined."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from auformer.predict.agreement import Pairs
from auformer.predict.intensity_agreement import intensity_agreement, intensity_pairs
from auformer.report.bland_altman import bland_altman_plot
from tests.helpers.figures import cut_texts, texts

NAN = np.nan


def pairs(first, second):
    """Pairs of rows with the intensities given per AU; an AU may be in one file only."""
    tables = [pd.DataFrame({f"{au}_intensity_pred": values for au, values in one.items()}) for one in (first, second)]
    return Pairs(*tables, {})


def test_by_hand():
    """A 1 2 3 4, B 0 2 2 4; faces without a value in one of them are left out.

    Their differences are 1 0 1 0: mean .5, standard deviation sqrt(1/3). ICC(3,1) from the mean squares of two raters,
    which are half the variances of sums and of differences.
    """
    both = pairs(
        {"AU12": [1.0, 2.0, 3.0, 4.0, NAN, 5.0], "AU1": [1.0] * 6},
        {"AU12": [0.0, 2.0, 2.0, 4.0, 3.0, NAN], "AU4": [1.0] * 6},
    )
    found = intensity_agreement(both).set_index("au")
    assert list(found.index) == ["AU12"]  # the only one with an intensity in both
    row = found.loc["AU12"]
    sums = np.array([1.0, 4.0, 5.0, 8.0])
    differences = np.array([1.0, 0.0, 1.0, 0.0])
    between, residual = sums.var(ddof=1) / 2, differences.var(ddof=1) / 2  # mean squares of two raters
    assert row["intensity_faces"] == 4 and row["undefined"] == ""
    assert row["icc"] == pytest.approx((between - residual) / (between + residual))
    assert row["mae"] == 0.5 and row["bias"] == 0.5
    assert (row["low"], row["high"]) == pytest.approx((0.5 - 1.96 / 3**0.5, 0.5 + 1.96 / 3**0.5))


def test_it_does_not_matter_which_file_is_first_but_for_the_sign():
    rng = np.random.default_rng(0)
    a, b = ({"AU1": rng.uniform(0, 5, 50), "AU12": rng.uniform(0, 5, 50)} for _ in range(2))
    one, two = intensity_agreement(pairs(a, b)), intensity_agreement(pairs(b, a))
    assert one[["icc", "mae"]].to_numpy() == pytest.approx(two[["icc", "mae"]].to_numpy())
    assert one["bias"].tolist() == pytest.approx((-two["bias"]).tolist())
    assert one["low"].tolist() == pytest.approx((-two["high"]).tolist())


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ([0.0, 0.0, 0.0], [1.0, 2.0, 3.0], "A is always 0"),
        ([1.0, 2.0, 3.0], [0.5, 0.5, 0.5], "B is always 0.5"),
        ([2.0, 2.0, 2.0], [1.0, 1.0, 1.0], "A is always 2 and B is always 1"),
        ([2.0, NAN, NAN], [1.0, 1.0, 1.0], "fewer than two faces"),
    ],
)
def test_what_is_undefined_says_why(a, b, reason):
    row = intensity_agreement(pairs({"AU1": a}, {"AU1": b})).iloc[0]
    assert np.isnan(row["icc"]) and row["undefined"] == reason
    assert row["mae"] == pytest.approx(np.nanmean(np.abs(np.subtract(a, b))))


def test_the_figure_shows_each_au_with_its_lines():
    readings = intensity_pairs(pairs({"AU12": [1.0, 2.0], "AU1": [0.0, 0.0]}, {"AU12": [1.5, 2.0], "AU1": [0.0, 1.0]}))
    limits = {"AU12": (-0.25, -1.0, 0.5), "AU1": (NAN, NAN, NAN)}
    figure = bland_altman_plot(readings, limits, title="a.csv and b.csv")
    said = texts(figure)
    assert {"AU1 Inner brow raiser", "AU12 Lip corner puller", "a.csv and b.csv", "A - B"} <= set(said)
    assert cut_texts(figure) == []
    places = [[line.get_ydata()[0] for line in axes.lines] for axes in figure.axes if axes.get_visible()]
    assert places == [[0], [0, -0.25, -1.0, 0.5]]  # AU1 first; its limits are undefined
    figure.canvas.draw()
    shades = [float(part.get_facecolor()[:, :3].mean()) for axes in figure.axes for part in axes.collections]
    assert len(shades) == 2 and max(shades) < 0.8  # a single face stands out from the white page
    with pytest.raises(ValueError, match="at least one action unit"):
        bland_altman_plot({}, {})
