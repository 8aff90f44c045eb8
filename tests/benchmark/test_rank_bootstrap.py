"""AUROC and average precision of draws against scikit-learn's with weights."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from auformer.benchmark.fold_scores import GroupScorer, add_rank_draws, drawn_auroc, drawn_average_precision
from auformer.benchmark.groups import group_lines
from auformer.data.manifest import write_predictions
from auformer.scoring.bootstrap import draw_subjects
from tests.helpers.run_lines import FOLDS, line_of, some_predictions


@pytest.mark.parametrize("decimals", [1, 6])
def test_parity_with_weighted_rows_also_with_ties(decimals):
    rng = np.random.default_rng(decimals)
    true, prob, whose = rng.integers(0, 2, 150), rng.random(150).round(decimals), rng.integers(0, 5, 150)
    weights = draw_subjects({"": tuple("abcde")}, 12)[""]
    areas, precisions = drawn_auroc(true, prob, whose, weights), drawn_average_precision(true, prob, whose, weights)
    for draw, weight in enumerate(weights[:, whose]):
        assert areas[draw] == pytest.approx(sk.roc_auc_score(true, prob, sample_weight=weight), rel=1e-12)
        assert precisions[draw] == pytest.approx(
            sk.average_precision_score(true, prob, sample_weight=weight), rel=1e-12
        )


def test_undefined():
    rows = np.array([0, 0, 1]), np.array([0.1, 0.2, 0.3]), np.array([0, 0, 1])
    weights = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    assert np.isnan(drawn_auroc(*rows, weights)).tolist() == [True, True, False]
    assert np.isnan(drawn_average_precision(*rows, weights)).tolist() == [True, False, False]
    none = np.empty(0)
    assert np.isnan(drawn_average_precision(none, none, none.astype(int), weights)).all()


class TestOfAGroup:
    @pytest.fixture
    def saved(self, tmp_path):
        lines, paths = [], {}
        for fold in FOLDS:
            table = some_predictions(fold, skill=0.8)
            lines.append(line_of(table, fold=fold))
            paths[lines[-1]["key"]] = tmp_path / f"{fold}.csv"
            write_predictions(table, paths[lines[-1]["key"]], {})
        return lines, paths

    def test_everybody_once_is_the_score_itself(self, saved):
        lines, paths = saved
        group = group_lines(lines)[0]
        scorer = GroupScorer(group, draws=30)
        scorer.weights = scorer.once
        scores = scorer.score(group.methods[0])
        add_rank_draws(scorer, [scores], paths)
        for name in ("auroc", "ap"):
            np.testing.assert_allclose(scores.scores[name].draws[0], scores.scores[name].values, rtol=1e-12)

    def test_intervals_hold_the_score(self, saved):
        lines, paths = saved
        group = group_lines(lines)[0]
        scorer = GroupScorer(group, draws=200)
        scores = scorer.score(group.methods[0])
        assert scores.scores["auroc"].mean_interval() is None
        add_rank_draws(scorer, [scores], paths)
        for name in ("auroc", "ap"):
            found = scores.scores[name].mean_interval()
            assert found.low < scores.scores[name].mean.value < found.high

    def test_predictions_of_another_run_are_refused(self, saved):
        lines, paths = saved
        group = group_lines(lines)[0]
        scorer = GroupScorer(group, draws=10)
        keys = list(paths)
        with pytest.raises(ValueError, match="other counts"):
            add_rank_draws(scorer, [scorer.score(group.methods[0])], paths | {keys[0]: paths[keys[1]]})
        scores = scorer.score(group.methods[0])
        add_rank_draws(scorer, [scores], {keys[0]: paths[keys[0]]})  # not all are there: no intervals
        assert scores.scores["auroc"].draws is None
