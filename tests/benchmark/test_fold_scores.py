import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from auformer.benchmark.fold_scores import (
    GroupScorer,
    add_rank_draws,
    drawn_auroc,
    drawn_average_precision,
    not_comparable,
)  # fmt: skip
from auformer.benchmark.groups import group_lines
from auformer.data.manifest import write_predictions
from auformer.metrics import expected_calibration_error, reliability_bins
from auformer.scoring.bootstrap import draw_subjects
from tests.helpers.published_rows import BP4D_AUS, DISFA_AUS, PUBLISHED
from tests.helpers.run_lines import FOLDS, counted_line, line_of, some_predictions, three_fold_lines


def published_lines(data):
    """Lines of a detector that always says no, on the published occurrence rates."""
    aus = {"bp4d": BP4D_AUS, "disfa": DISFA_AUS}[data]
    lines = []
    for fold, (rows, positives) in PUBLISHED[data].items():
        counts = {  # two subjects: folds of one each are scored together
            f"AU{au}": {f"{data}/x": [0, 0, n, 0], f"{data}/y": [0, 0, 0, rows - n]}
            for au, n in zip(aus, positives, strict=True)
        }
        lines.append(counted_line(counts, data=data, fold=fold))
    return lines


def scored(lines, **options):
    (group,) = group_lines(lines)
    scorer = GroupScorer(group, draws=options.get("draws", 20))
    return scorer, [scorer.score(method) for method in group.methods]


@pytest.mark.parametrize("data, floor, num_aus", [("bp4d", 48.0, 12), ("disfa", 18.6, 8)])
def test_the_floor_on_the_published_rates(data, floor, num_aus):
    _, (scores,) = scored(published_lines(data))
    assert round(100 * scores.scores["floor"].mean.value, 1) == floor
    assert scores.f1.mean == (0.0, num_aus)


def test_against_scikit_learn():
    tables = {fold: some_predictions(fold, skill=0.7) for fold in FOLDS}
    cuts = {"AU1": 0.4, "AU4": 0.5, "AU12": 0.7}
    _, (scores,) = scored([line_of(table, fold=fold, thresholds=cuts) for fold, table in tables.items()])
    whole = {
        au: [np.concatenate([t[f"{au}_{kind}"] for t in tables.values()]) for kind in ("true", "prob")] for au in cuts
    }
    for i, au in enumerate(("AU1", "AU4", "AU12")):
        each = [(t[f"{au}_true"], t[f"{au}_prob"]) for t in tables.values()]
        expected = {
            "f1_folds": np.mean([sk.f1_score(true, prob >= 0.5) for true, prob in each]),
            "f1_pooled": sk.f1_score(whole[au][0], whole[au][1] >= 0.5),
            "f1_tuned": np.mean([sk.f1_score(true, prob >= cuts[au]) for true, prob in each]),
            "macro_f1": np.mean([sk.f1_score(true, prob >= 0.5, average="macro") for true, prob in each]),
            "accuracy": np.mean([sk.accuracy_score(true, prob >= 0.5) for true, prob in each]),
            "auroc": np.mean([sk.roc_auc_score(true, prob) for true, prob in each]),
            "ap": np.mean([sk.average_precision_score(true, prob) for true, prob in each]),
            "floor": np.mean([sk.f1_score(true, np.ones(len(true))) for true, _ in each]),
        }
        for name, value in expected.items():
            assert scores.scores[name].values[i] == pytest.approx(value, rel=1e-9), name
    assert scores.scores["f1_folds"].values[0] != pytest.approx(scores.scores["f1_pooled"].values[0], abs=1e-4)


def test_an_au_without_positives_in_a_fold_rests_on_the_others():
    lines = [
        counted_line({"AU1": {"d/a": [1, 1, 0, 8]}, "AU2": {"d/a": [0, 1, 0, 9]}}, fold="P1"),
        counted_line({"AU1": {"d/b": [0, 2, 0, 8]}, "AU2": {"d/b": [0, 0, 0, 9]}}, fold="P2"),
        counted_line({"AU1": {"d/c": [1, 0, 2, 8]}}, fold="P3"),
    ]
    _, (scores,) = scored(lines)
    f1 = scores.scores["f1_folds"]
    assert f1.values[0] == pytest.approx((2 / 3 + 2 / 4) / 2) and np.isnan(f1.values[1])
    assert f1.num_folds.tolist() == [2, 0] and f1.mean.num == 1
    assert scores.scores["accuracy"].num_folds.tolist() == [3, 2]
    assert scores.positives().tolist() == [4, 0] and scores.annotated().tolist() == [31, 19]
    assert f1.intervals()[1] is None


def test_seeds_are_averaged_and_their_means_kept():
    lines = three_fold_lines({"auformer": 0.8}, seeds=(0, 1, 2))
    _, (scores,) = scored(lines)
    alone = [scored([line for line in lines if line["seed"] == seed])[1][0] for seed in (0, 1, 2)]
    assert scores.seed_means == [one.f1.mean.value for one in alone] and len(set(scores.seed_means)) == 3
    assert scores.f1.mean.value == pytest.approx(np.mean(scores.seed_means))
    np.testing.assert_allclose(scores.f1.draws, np.mean([one.f1.draws for one in alone], 0), rtol=1e-12)
    assert scores.rows == alone[0].rows == 180


def test_predictions_together_count_where_folds_are_single_subjects_or_data_sets():
    lines = [counted_line({"AU1": {f"d/s{i}": [i, 1, 2, 5]}}, protocol="micro", fold=f"s{i}") for i in range(3)]
    scorer, (scores,) = scored(lines)
    assert scorer.single and scores.main == "f1_pooled" and scores.f1.values[0] == pytest.approx(6 / (6 + 3 + 6))
    assert scores.scores["f1_folds"].values[0] == pytest.approx(np.mean([0, 2 / 5, 4 / 7]))
    quarters = [
        counted_line({"AU1": {f"d/s{i}": [1, 1, 2, 5], f"d/t{i}": [1, 1, 2, 5]}}, protocol="micro", fold=f"ours{i}")
        for i in range(4)
    ]
    assert scored(quarters)[1][0].main == "f1_folds"
    counts = {a: {"AU1": {f"{a}/s": [1, 1, 2, 5], f"{a}/t": [1, 1, 2, 5]}} for a in ("samm", "mmew")}
    left_out = [
        counted_line(counts[a], protocol="micro", data=b, test=a, fold=a)
        for a, b in (("samm", "mmew"), ("mmew", "samm"))
    ]
    assert scored(left_out)[1][0].main == "f1_pooled"


def test_tuned_thresholds_only_where_every_run_has_them():
    lines = three_fold_lines({"auformer": 0.8}, thresholds={"AU1": 0.3, "AU4": 0.3, "AU12": 0.3})
    assert "f1_tuned" in scored(lines)[1][0].scores
    assert "f1_tuned" not in scored([*lines[:2], lines[2] | {"counts_tuned": None}])[1][0].scores


def test_calibration_of_runs_is_added_up():
    lines = three_fold_lines({"auformer": 0.8})
    _, (scores,) = scored(lines)
    assert scores.bins[..., 2].sum() == 180 * 3
    np.testing.assert_allclose(scores.scores["ece"].values, np.mean([list(line["ece"].values()) for line in lines], 0))


def test_what_cannot_be_compared_says_why():
    lines = three_fold_lines()
    assert not_comparable(*scored(lines)[1]) == ""
    assert not_comparable(*scored(lines[:-1])[1]) == "runs are missing"
    other = [line_of(some_predictions("P3", skill=0.5, rows=50), method="linear_probe", fold="P3")]
    assert not_comparable(*scored([*lines[:-1], *other])[1]) == "not on the same rows of the same subjects"


def test_calibration_error_of_predictions_together_is_that_of_all_rows():
    tables = {f"s{i}": some_predictions(f"s{i}", skill=0.8, subjects=[f"s{i}"]) for i in range(3)}
    _, (scores,) = scored([line_of(table, protocol="micro", fold=fold) for fold, table in tables.items()])
    whole = pd.concat(tables.values())
    bins = reliability_bins(whole[["AU1_true", "AU4_true", "AU12_true"]], whole[["AU1_prob", "AU4_prob", "AU12_prob"]])
    np.testing.assert_allclose(scores.scores["ece"].values, expected_calibration_error(bins), atol=1e-5)


@pytest.mark.parametrize("decimals", [1, 6])
def test_parity_with_weighted_rows_also_with_ties(decimals):
    rng = np.random.default_rng(decimals)
    true, prob, whose = rng.integers(0, 2, 150), rng.random(150).round(decimals), rng.integers(0, 5, 150)
    weights = draw_subjects({"": tuple("abcde")}, 12)[""]
    areas, precisions = drawn_auroc(true, prob, whose, weights), drawn_average_precision(true, prob, whose, weights)
    for draw, weight in enumerate(weights[:, whose]):
        area, precision = (
            score(true, prob, sample_weight=weight) for score in (sk.roc_auc_score, sk.average_precision_score)
        )
        assert (areas[draw], precisions[draw]) == pytest.approx((area, precision), rel=1e-12)


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
        """A group, and its predictions files."""
        lines, paths = [], {}
        for fold in FOLDS:
            table = some_predictions(fold, skill=0.8)
            lines.append(line_of(table, fold=fold))
            paths[lines[-1]["key"]] = tmp_path / f"{fold}.csv"
            write_predictions(table, paths[lines[-1]["key"]], {})
        return group_lines(lines)[0], paths

    def test_everybody_once_is_the_score_itself(self, saved):
        scorer = GroupScorer(saved[0], draws=30)
        scorer.weights = scorer.once
        add_rank_draws(scorer, saved[1])
        for name in ("auroc", "ap"):
            score = scorer.ranked[0].scores[name]
            np.testing.assert_allclose(score.draws[0], score.values, rtol=1e-12)

    def test_intervals_hold_the_score(self, saved):
        scorer = GroupScorer(saved[0], draws=200)
        (scores,) = scorer.ranked
        assert scores.scores["auroc"].mean_interval() is None
        add_rank_draws(scorer, saved[1])
        for name in ("auroc", "ap"):
            found = scores.scores[name].mean_interval()
            assert found.low < scores.scores[name].mean.value < found.high

    def test_predictions_of_another_run_are_refused(self, saved):
        (group, paths), (first, second, _) = saved, saved[1]
        scorer = GroupScorer(group, draws=10)
        with pytest.raises(ValueError, match="other counts"):
            add_rank_draws(scorer, paths | {first: paths[second]})
        add_rank_draws(scorer, {first: paths[first]})  # not all are there: no intervals
        assert scorer.ranked[0].scores["auroc"].draws is None
