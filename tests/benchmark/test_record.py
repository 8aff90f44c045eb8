import json

import numpy as np
import pytest
from sklearn import metrics as sk

from auformer.benchmark.record import record
from auformer.errors import ManifestError
from tests.helpers.predictions import random_predictions

AUS = ["AU1", "AU2", "AU12"]
CUTS = {"AU1": 0.3, "AU2": 0.5, "AU12": 0.71}


def annotated(table, au, subject=None):
    """Truth and probability of the annotated rows with a face, of one subject or of all."""
    rows = table[(table["status"] == "ok") & (table[f"{au}_true"] >= 0)]
    rows = rows if subject is None else rows[rows["subject"] == subject]
    return rows[f"{au}_true"].to_numpy(), rows[f"{au}_prob"].to_numpy()


@pytest.mark.parametrize("seed", range(3))
def test_counts_by_subject_and_ranks_are_those_of_scikit_learn(seed):
    table = random_predictions(seed)
    line = record(table, thresholds=CUTS)
    assert line["aus"] == AUS and line["thresholds"] == CUTS
    for au in AUS:
        assert list(line["counts"][au]) == [f"d/S{i}" for i in range(5)]
        for name, cut in (("counts", 0.5), ("counts_tuned", CUTS[au])):
            for subject, counts in line[name][au].items():
                true, prob = annotated(table, au, subject.removeprefix("d/"))
                tn, fp, fn, tp = sk.confusion_matrix(true, prob >= cut, labels=[0, 1]).ravel()
                assert counts == [tp, fp, fn, tn]
        true, prob = annotated(table, au)
        assert line["auroc"][au] == sk.roc_auc_score(true, prob)
        assert line["ap"][au] == sk.average_precision_score(true, prob)
        ok = table[table["status"] == "ok"]
        assert line["unknown"][au] == (ok[f"{au}_true"] == -1).sum() > 0
        assert line["unknown"][au] + sum(map(sum, line["counts"][au].values())) == line["rows"] == 270


def test_calibration_is_that_of_the_annotated_rows():
    table = random_predictions(1)
    line = record(table, thresholds=None)
    true, prob = annotated(table, "AU12")
    error = 0.0
    for place, (mean, rate, rows) in enumerate(line["reliability"]["AU12"]):
        inside = (prob >= place / 10) & (prob < (place + 1) / 10)
        assert rows == inside.sum() > 0
        assert (mean, rate) == pytest.approx((prob[inside].mean(), true[inside].mean()), abs=1e-6)
        error += abs(prob[inside].mean() - true[inside].mean()) * rows / len(true)
    assert line["ece"]["AU12"] == pytest.approx(error, rel=1e-9)


def test_is_plain_json_and_order_of_rows_does_not_matter():
    table = random_predictions(2).assign(AU15_true=0, AU15_prob=0.9, AU25_prob=0.5, AU4_true=1)
    line = record(table, thresholds=None)
    assert json.loads(json.dumps(line, allow_nan=False)) == line
    assert record(table.sample(frac=1, random_state=3), thresholds=None) == line
    assert line["auroc"]["AU15"] is None and line["ap"]["AU15"] is None and line["ece"]["AU15"] == pytest.approx(0.9)
    assert line["not_scored"] == {"no_truth": ["AU25"], "no_probability": ["AU4"]}
    assert line["unscored"] == {"no_face": 30} and line["counts_tuned"] is None


def test_subjects_of_one_name_in_two_data_sets_are_two_people():
    table = random_predictions(0, rows=40)
    table["dataset"] = np.where(table["frame"] < 20, "samm", "casme2")
    assert list(record(table, thresholds=None)["counts"]["AU1"])[:6] == [*(f"casme2/S{i}" for i in range(5)), "samm/S0"]


class TestBadInput:
    @pytest.mark.parametrize("value", [np.nan, 1.5, -0.1])
    def test_nan_and_outside(self, value):
        table = random_predictions(0)
        table.loc[4, "AU1_prob"] = value
        with pytest.raises(ManifestError, match="AU1_prob"):
            record(table, thresholds=None)

    def test_the_same_row_twice(self):
        table = random_predictions(0)
        table.loc[5, ["subject", "frame"]] = table.loc[4, ["subject", "frame"]]
        with pytest.raises(ManifestError, match="S4"):
            record(table, thresholds=None)

    def test_missing_and_foreign_rows(self):
        table = random_predictions(0)
        assert record(table, thresholds=None, expected=table)["rows"] == 270
        with pytest.raises(ManifestError, match=r"lacks 2, the first d/S1/a/1/0"):
            record(table.drop(index=[1, 7]), thresholds=None, expected=table)
        with pytest.raises(ManifestError, match=r"has beyond them 1, the first d/S3/a/3/0"):
            record(table, thresholds=None, expected=table.drop(index=3))

    def test_nothing_to_score(self):
        with pytest.raises(ValueError, match="nothing can be scored"):
            record(random_predictions(0).drop(columns=[f"{au}_true" for au in AUS]), thresholds=None)
