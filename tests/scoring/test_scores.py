import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from auformer.scoring.scores import score_predictions
from tests.helpers.predictions import random_predictions

AUS = ("AU1", "AU2", "AU12")


def of_scikit_learn(rows, au):
    """F1, AUROC and macro-F1 of the annotated rows that have a face."""
    rows = rows[(rows["status"] == "ok") & (rows[f"{au}_true"] >= 0)]
    true, prob = rows[f"{au}_true"], rows[f"{au}_prob"]
    return sk.f1_score(true, prob >= 0.5), sk.roc_auc_score(true, prob), sk.f1_score(true, prob >= 0.5, average="macro")


def one_au(true, prob, **columns):
    table = pd.DataFrame({"dataset": "d", "subject": "S", "sequence": "a", "frame": range(len(true))})
    return table.assign(status="ok", AU1_true=true, AU1_prob=prob, **columns)


class TestWholeFile:
    @pytest.mark.parametrize("seed", range(4))
    def test_parity(self, seed):
        table = random_predictions(seed)
        scores = score_predictions(table)
        assert list(scores["per_au"]) == list(AUS)
        expected = {au: of_scikit_learn(table, au) for au in AUS}
        for au in AUS:
            values = scores["per_au"][au]
            assert (values["f1"], values["auroc"], values["macro_f1"]) == pytest.approx(expected[au], rel=1e-12)
            true = table.loc[table["status"] == "ok", f"{au}_true"]
            assert (values["positives"], values["annotated"]) == ((true == 1).sum(), (true >= 0).sum())
        means = np.mean(list(expected.values()), axis=0)
        assert [scores["mean"][name] for name in ("f1", "auroc", "macro_f1")] == pytest.approx(means, rel=1e-12)

    def test_order_of_rows_and_active_columns_do_not_matter(self):
        table = random_predictions(1)
        shuffled = table.sample(frac=1, random_state=2).assign(AU1_active=1, AU2_active=0)
        assert score_predictions(shuffled, by="subject") == score_predictions(table, by="subject")

    def test_half_is_active(self):
        assert score_predictions(one_au([1, 0], [0.5, 0.4999999]))["per_au"]["AU1"]["f1"] == 1.0

    def test_rows_without_a_face_are_counted_not_scored(self):
        table = random_predictions(2)
        scores = score_predictions(table)
        assert scores["rows"] == {"total": 300, "scored": 270, "left_out": {"no_face": 30}}
        assert scores["mean"] == score_predictions(table[table["status"] == "ok"])["mean"]

    def test_bare_table_without_status(self):
        scores = score_predictions(one_au([1, 0], [0.9, 0.1]).drop(columns="status"))
        assert scores["mean"]["f1"] == 1.0 and scores["rows"] == {"total": 2, "scored": 2, "left_out": {}}

    def test_is_plain_json(self):
        table = random_predictions(3).assign(AU15_true=0, AU15_prob=0.2)
        scores = score_predictions(table, by="group_sex")
        assert json.loads(json.dumps(scores, allow_nan=False)) == scores
        assert scores["per_au"]["AU15"]["f1"] is None and scores["per_au"]["AU15"]["auroc"] is None


class TestUndefined:
    def test_au_without_positives_is_in_no_mean(self):
        table = random_predictions(0)
        with_gap = score_predictions(table.assign(AU15_true=0, AU15_prob=0.9))
        assert with_gap["mean"]["f1"] == score_predictions(table)["mean"]["f1"]
        of_three = ("f1", "auroc", "average_precision", "always_positive_f1", "macro_f1", "f1_folds")
        assert with_gap["mean"]["num_aus"] == {**dict.fromkeys(of_three, 3), "accuracy": 4, "ece": 4}

    def test_aus_without_truth_or_probability_are_named(self):
        table = random_predictions(0).assign(AU25_prob=0.5, AU4_true=1)
        scores = score_predictions(table)
        assert scores["unscored"] == {"no_truth": ["AU25"], "no_probability": ["AU4"]}
        assert list(scores["per_au"]) == list(AUS)

    def test_nothing_to_score(self):
        with pytest.raises(ValueError, match="no truth"):
            score_predictions(random_predictions().drop(columns=[f"{au}_true" for au in AUS]))


class TestFolds:
    def test_mean_over_folds_is_not_pooled(self):
        true = [1] * 10 + [0] * 10 + [1] * 4 + [0] * 16
        prob = [0.9] * 8 + [0.1] * 2 + [0.9] * 2 + [0.1] * 8 + [0.9] + [0.1] * 3 + [0.9] * 7 + [0.1] * 9
        scores = score_predictions(one_au(true, prob, fold=["P1"] * 20 + ["P2"] * 20))
        first, second = 16 / (16 + 2 + 2), 2 / (2 + 7 + 3)
        assert scores["per_au"]["AU1"]["f1_folds"] == pytest.approx((first + second) / 2)
        assert scores["mean"]["f1_folds"] == pytest.approx((first + second) / 2)
        assert scores["mean"]["f1"] == pytest.approx(18 / (18 + 9 + 5))
        assert scores["folds"]["P2"] == {"rows": 20, "f1": {"AU1": pytest.approx(second)}}

    def test_mean_is_over_folds_with_positives(self):
        table = random_predictions(5)
        table.loc[(table["fold"] == "P2") & (table["AU2_true"] == 1), "AU2_true"] = 0
        table.loc[table["AU12_true"] == 1, "AU12_true"] = 0
        scores = score_predictions(table)
        folds = {name: of_scikit_learn(table[table["fold"] == name], "AU2")[0] for name in ("P1", "P3")}
        assert scores["per_au"]["AU2"]["f1_folds"] == pytest.approx(np.mean(list(folds.values())))
        assert [scores["per_au"][au]["num_folds"] for au in AUS] == [3, 2, 0]
        assert scores["per_au"]["AU12"]["f1_folds"] is None and scores["folds"]["P2"]["f1"]["AU2"] is None
        assert scores["mean"]["num_aus"]["f1_folds"] == 2
        means = [scores["per_au"][au]["f1_folds"] for au in AUS[:2]]
        assert scores["mean"]["f1_folds"] == pytest.approx(np.mean(means))

    def test_no_folds_no_keys(self):
        for table in (random_predictions().drop(columns="fold"), random_predictions().assign(fold=None)):
            scores = score_predictions(table)
            assert "folds" not in scores
            assert "f1_folds" not in scores["mean"] and "f1_folds" not in scores["per_au"]["AU1"]


class TestGroups:
    def test_each_value_is_scored_by_itself(self):
        table = random_predictions(6)
        scores = score_predictions(table, by="subject")
        assert scores["by"] == "subject" and list(scores["groups"]) == ["S0", "S1", "S2", "S3", "S4"]
        for name, group in scores["groups"].items():
            alone = score_predictions(table[table["subject"] == name].drop(columns="fold"))
            assert group == {"rows": alone["rows"]["scored"], "mean": alone["mean"], "per_au": alone["per_au"]}

    def test_empty_values_are_a_group_of_their_own(self):
        assert list(score_predictions(random_predictions(), by="group_sex")["groups"]) == ["(unknown)", "f", "m"]

    def test_subjects_of_two_data_sets_are_two_subjects(self):
        table = pd.concat([random_predictions(0), random_predictions(1).assign(dataset="e")])
        assert list(score_predictions(table, by="subject")["groups"])[::5] == ["d/S0", "e/S0"]

    @pytest.mark.parametrize("by", ["group_age", "fold", "frame", "AU1_prob"])
    def test_other_columns_are_refused(self, by):
        with pytest.raises(ValueError, match="subject, group_sex"):
            score_predictions(random_predictions(), by=by)
