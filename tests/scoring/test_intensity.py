"""Scores of intensities: parity per AU, folds, draws that are really repeated, pain by hand, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from auformer.data.manifest import write_predictions
from auformer.scoring import score
from auformer.scoring.bootstrap import draw_subjects
from auformer.scoring.intensity import fold_sums, score_intensity
from auformer.scoring.pain import pspi_columns
from auformer.scoring.tables import intensity_group_table, intensity_table
from tests.helpers.predictions import random_intensities, random_predictions


def by_hand(rows, au):
    """ICC, MAE, MSE, PCC, CCC of the coded rows that have a face, from numpy's covariance and scipy."""
    rows = rows[(rows["status"] == "ok") & rows[f"{au}_intensity_true"].notna()]
    t, p = (rows[f"{au}_intensity_{kind}"].to_numpy() for kind in ("true", "pred"))
    cov = np.cov(t, p)
    biased = np.cov(t, p, ddof=0)
    return {
        "icc": 2 * cov[0, 1] / (cov[0, 0] + cov[1, 1]),
        "mae": np.abs(t - p).mean(),
        "mse": np.square(t - p).mean(),
        "pcc": stats.pearsonr(t, p).statistic,
        "ccc": 2 * biased[0, 1] / (biased[0, 0] + biased[1, 1] + (t.mean() - p.mean()) ** 2),
    }


@pytest.mark.parametrize("seed", range(3))
def test_parity_pooled_and_per_fold(seed):
    table = random_intensities(seed)
    scores = score_intensity(table, draws=20)
    folds = sorted(table["fold"].unique())
    assert list(scores["folds"]) == folds
    for au in ("AU1", "AU2"):
        values, each = scores["per_au"][au], [by_hand(table[table["fold"] == fold], au) for fold in folds]
        for name, expected in by_hand(table, au).items():
            assert values[name] == pytest.approx(expected, abs=1e-9)
            assert values[f"{name}_folds"] == pytest.approx(np.mean([one[name] for one in each]), abs=1e-9)
            assert [scores["folds"][fold][name][au] for fold in folds] == pytest.approx([one[name] for one in each])
        assert values["num_folds"] == 3 and values["undefined"] == ""
    mean = np.mean([scores["per_au"][au]["icc"] for au in ("AU1", "AU2")])
    assert scores["mean"]["icc"] == pytest.approx(mean) and scores["mean"]["num_aus"]["icc"] == 2


def test_an_au_that_is_always_zero_is_none_with_its_reason():
    scores = score_intensity(random_intensities(), draws=20)
    values = scores["per_au"]["AU12"]
    assert [values[name] for name in ("icc", "pcc", "ccc", "icc_folds")] == [None] * 4
    assert values["undefined"] == "always coded 0" and values["num_folds"] == 0
    assert values["mae"] > 0 and scores["mean"]["num_aus"]["mae"] == 3
    assert values["interval"]["icc"] is None and values["interval"]["mae"][0] < values["mae"]
    text = intensity_table(scores).text()
    assert "Always coded 0: AU12." in text and "(2/3)" in text
    json.dumps(scores, allow_nan=False)


def test_an_interval_is_that_of_subjects_that_are_really_repeated():
    """Draws of one fold: the rows of every drawn subject are put into a table as often as it was drawn."""
    table = random_intensities(1).drop(columns="fold")
    table = table[table["status"] == "ok"]
    scores = score_intensity(table, draws=40, seed=3)
    subjects = fold_sums(table, ["AU1"])[1]
    weights = draw_subjects(subjects, 40, 3)[""].astype(int)
    drawn = []
    for times in weights:
        parts = [
            table[table["subject"] == name.partition("/")[2]]
            for name, n in zip(subjects[""], times, strict=True)
            for _ in range(n)
        ]
        drawn.append(by_hand(pd.concat(parts), "AU1")["icc"])
    expected = np.quantile(drawn, [0.025, 0.975])
    assert scores["per_au"]["AU1"]["interval"]["icc"] == pytest.approx(expected, abs=1e-9)
    assert scores["draws"] == 40 and scores["subjects"] == 5 and "folds" not in scores


def test_one_subject_has_no_interval():
    table = random_intensities(2).assign(subject="S0").drop(columns="fold")
    scores = score_intensity(table)
    assert scores["draws"] == 0 and scores["mean"]["interval"]["icc"] is None
    assert "One subject only" in intensity_table(scores).text()


def test_groups_are_scored_by_themselves():
    table = random_intensities(3)
    scores = score_intensity(table, by="subject", draws=5)
    for name, group in scores["groups"].items():
        part = table[table["subject"] == name]
        assert group["per_au"]["AU2"]["icc"] == pytest.approx(by_hand(part, "AU2")["icc"])
    assert intensity_group_table(scores).header[0] == "subject" and len(intensity_group_table(scores).rows) == 5
    with pytest.raises(ValueError, match="subject, group_sex"):
        score_intensity(table, by="group_age")


def test_pain_is_derived_from_codes_and_predictions():
    """Row 0: 2 + max(1, 3) + max(0, 1) + closed = 7; row 1 has an unknown part."""
    table = pd.DataFrame({"dataset": "u", "subject": ["a", "b"], "sequence": "s", "frame": [1, 2]})
    coded = {"AU4": [2, 1], "AU6": [1, np.nan], "AU7": [3, 0], "AU9": [0, 0], "AU10": [1, 0]}
    for au, values in coded.items():
        table[f"{au}_intensity_true"], table[f"{au}_intensity_pred"] = values, 0.5
    assert pspi_columns(table) is None
    table["AU43_true"], table["AU43_prob"] = [1, 0], [0.25, 0.75]
    true, pred = pspi_columns(table)
    assert true[0] == 7 and np.isnan(true[1]) and pred.tolist() == [1.75, 2.25]
    assert np.isnan(pspi_columns(table.assign(AU43_true=-1))[0]).all()  # not annotated


def test_pain_is_scored_beside_the_aus_and_in_no_mean():
    aus = ("AU4", "AU6", "AU7", "AU9", "AU10", "AU43", "AU12")
    table = random_intensities(4, au_names=aus).drop(columns=["AU43_intensity_true", "AU43_intensity_pred"])
    with_pain, without = score_intensity(table, draws=5), score_intensity(table.drop(columns="AU43_prob"), draws=5)
    assert with_pain["pspi"]["rows"] > 50 and with_pain["pspi"]["icc"] > 0.3 and "pspi" not in without
    assert with_pain["mean"] == without["mean"]
    assert "PSPI  pain, 0 to 16" in intensity_table(with_pain).text()


class TestFiles:
    def test_a_file_with_both_has_both(self, tmp_path):
        write_predictions(random_intensities(), tmp_path / "p.csv", {"checkpoint": "demo"})
        scores = score(tmp_path / "p.csv", out=tmp_path / "s.json")
        assert scores["mean"]["f1"] > 0 and scores["intensity"]["mean"]["icc"] > 0
        assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8")) == scores
        assert scores["unscored"] == {"no_truth": [], "no_probability": []}

    def test_a_file_with_intensities_only(self, tmp_path):
        table = random_intensities().drop(columns=[f"{au}_true" for au in ("AU1", "AU2", "AU12")])
        scores = score(table, out=tmp_path / "s.json")
        assert "mean" not in scores and scores["intensity"]["per_au"].keys() == {"AU1", "AU2", "AU12"}
        score(table, out=tmp_path / "s.json")  # replaces itself

    def test_a_file_without_intensities_is_scored_as_ever(self):
        assert "intensity" not in score(random_predictions())

    def test_aus_that_lack_a_column_are_named(self):
        table = random_intensities().drop(columns=["AU2_intensity_true", "AU1_intensity_pred"])
        with pytest.raises(ValueError, match="beside AU.._intensity_pred, but got none"):
            score_intensity(table.drop(columns="AU12_intensity_true"))
        scores = score_intensity(table, draws=5)
        assert scores["unscored"] == {"no_code": ["AU2"], "no_prediction": ["AU1"]}
        text = intensity_table(scores).text()
        assert "without coded intensity: AU2." in text and "but not predicted: AU1." in text

    def test_a_lost_prediction_is_refused_with_its_place(self):
        table = random_intensities()
        coded = (table["status"] == "ok") & table["AU1_intensity_true"].notna()
        row = int(np.flatnonzero(coded)[7])
        table.loc[row, "AU1_intensity_pred"] = np.nan
        with pytest.raises(
            ValueError, match=rf"`AU1_intensity_pred` of every coded row, .* frame {row}, face 0; predict"
        ):
            score_intensity(table)
