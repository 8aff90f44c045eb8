from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from auformer.metrics import (
    accuracy_from_counts,
    always_positive_f1,
    auroc,
    average_precision,
    confusion_counts,
    f1_from_counts,
    macro_f1_from_counts,
    mean_f1,
    mean_over_aus,
    mean_over_folds,
    positives,
)

# Published counts of BP4D (146,847 frames in three subject parts), AUs 1 2 4 6 7 10 12 14 15 17 23 24.
BP4D_FRAMES = [46034, 50182, 50631]
BP4D_POSITIVES = [
    [12497, 10370, 9800, 23309, 23103, 30133, 28066, 22339, 7181, 15947, 7608, 7286],
    [10223, 6568, 9870, 23312, 27651, 27954, 26187, 25762, 10024, 18379, 8657, 7867],
    [8322, 8172, 10085, 21055, 29862, 29183, 28277, 20274, 7664, 16080, 8023, 7076],
]


def random_predictions(seed, rows=200, aus=4, decimals=2):
    """Labels with unknown ones, and probabilities with many ties and some at the threshold itself."""
    rng = np.random.default_rng(seed)
    target = rng.choice([1, 0, -1], size=(rows, aus), p=[0.3, 0.5, 0.2])
    return target, np.round(rng.random((rows, aus)) * 0.6 + 0.2 * target.clip(0), decimals)


class TestParityWithScikitLearn:
    @pytest.mark.parametrize("seed", range(8))
    @pytest.mark.parametrize("threshold", [0.5, 0.37])
    def test_counts_f1_accuracy(self, seed, threshold):
        target, prob = random_predictions(seed)
        counts = confusion_counts(target, prob, threshold)
        assert counts.shape == (4, 4) and counts.dtype == np.int64
        for au in range(4):
            known = target[:, au] >= 0
            truth, active = target[known, au], prob[known, au] >= threshold
            tn, fp, fn, tp = sk.confusion_matrix(truth, active, labels=[0, 1]).ravel()
            assert counts[:, au].tolist() == [tp, fp, fn, tn]
            assert f1_from_counts(counts)[au] == pytest.approx(sk.f1_score(truth, active), rel=1e-12)
            assert accuracy_from_counts(counts)[au] == pytest.approx(sk.accuracy_score(truth, active), rel=1e-12)
            macro = sk.f1_score(truth, active, average="macro")
            assert macro_f1_from_counts(counts)[au] == pytest.approx(macro, rel=1e-12)
            assert always_positive_f1(counts)[au] == pytest.approx(sk.f1_score(truth, np.ones_like(truth)), rel=1e-12)
            assert positives(counts)[au] == truth.sum()

    @pytest.mark.parametrize("seed", range(8))
    def test_ranks(self, seed):
        target, prob = random_predictions(seed)
        for au in range(4):
            known = target[:, au] >= 0
            assert auroc(target, prob)[au] == sk.roc_auc_score(target[known, au], prob[known, au])
            assert average_precision(target, prob)[au] == sk.average_precision_score(target[known, au], prob[known, au])

    def test_ranks_by_hand(self):
        target, prob = np.array([[1], [0], [1], [0], [-1]]), np.array([[0.9], [0.8], [0.7], [0.7], [1.0]])
        assert auroc(target, prob)[0] == pytest.approx((2 + 0.5) / 4)  # 4 pairs: 2 right, 1 tie, 1 wrong
        assert average_precision(target, prob)[0] == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)


class TestThreshold:
    def test_is_reached_by_equality(self):
        assert confusion_counts([[1]], [[0.5]])[:, 0].tolist() == [1, 0, 0, 0]
        assert confusion_counts([[1]], [[np.nextafter(0.5, 0)]])[:, 0].tolist() == [0, 0, 1, 0]

    def test_one_per_au(self):
        target, prob = random_predictions(3)
        together = confusion_counts(target, prob, np.array([0.2, 0.4, 0.6, 0.8]))
        for au, threshold in enumerate([0.2, 0.4, 0.6, 0.8]):
            assert together[:, au].tolist() == confusion_counts(target, prob, threshold)[:, au].tolist()


class TestUnknown:
    @settings(max_examples=25)
    @given(seed=st.integers(0, 10_000), filler=st.sampled_from([np.nan, 0.0, 1.0, 7.0]))
    def test_contributes_nothing(self, seed, filler):
        target, prob = random_predictions(seed, rows=60)
        polluted = np.where(target < 0, filler, prob)
        empty = np.where(target < 0, np.nan, target)
        for score in (confusion_counts, auroc, average_precision):
            np.testing.assert_array_equal(score(target, polluted), score(target, prob))
            np.testing.assert_array_equal(score(empty, prob), score(target, prob))

    def test_nothing_annotated(self):
        target, prob = np.full((5, 2), -1), np.full((5, 2), np.nan)
        counts = confusion_counts(target, prob)
        assert counts.sum() == 0
        of_counts = [score(counts) for score in (f1_from_counts, accuracy_from_counts, macro_f1_from_counts)]
        assert np.isnan([*of_counts, auroc(target, prob), average_precision(target, prob)]).all()

    def test_no_rows(self):
        assert confusion_counts(np.empty((0, 3)), np.empty((0, 3))).tolist() == [[0, 0, 0]] * 4
        assert np.isnan(auroc(np.empty((0, 3)), np.empty((0, 3)))).all()


class TestUndefined:
    def test_no_positives_is_nan_whatever_is_predicted(self):
        target = np.zeros((4, 2))
        prob = np.array([[0.0, 1.0]] * 4)
        counts = confusion_counts(target, prob)
        assert np.isnan(f1_from_counts(counts)).all() and np.isnan(always_positive_f1(counts)).all()
        assert np.isnan(auroc(target, prob)).all() and np.isnan(average_precision(target, prob)).all()
        assert accuracy_from_counts(counts).tolist() == [1.0, 0.0]

    def test_positives_that_are_all_missed_are_zero(self):
        assert f1_from_counts(confusion_counts([[1], [0]], [[0.1], [0.2]])).tolist() == [0.0]

    def test_only_positives(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # scikit-learn is not asked for what it could only warn about
            assert np.isnan(auroc([[1], [1]], [[0.1], [0.9]])[0])
        assert average_precision([[1], [1]], [[0.1], [0.9]])[0] == 1.0

    def test_macro_f1_is_higher_than_f1_of_a_rare_au_and_undefined_without_one_of_both(self):
        rare = [[1], [2], [3], [94]]
        assert macro_f1_from_counts(rare)[0] > 0.6 > 0.3 > f1_from_counts(rare)[0]
        assert np.isnan(macro_f1_from_counts([[0, 3], [2, 0], [0, 1], [9, 0]])).all()


class TestMeans:
    def test_over_aus_says_how_many(self):
        assert mean_over_aus([0.2, np.nan, 0.4]) == (pytest.approx(0.3), 2)
        value, count = mean_over_aus([np.nan, np.nan])
        assert np.isnan(value) and count == 0

    def test_mean_f1_leaves_out_aus_without_positives(self):
        target, prob = np.array([[1, 0], [1, 0]]), np.array([[0.9, 0.9], [0.1, 0.9]])
        assert mean_f1(confusion_counts(target, prob)) == (pytest.approx(2 / 3), 1)

    def test_over_folds_is_not_the_pooled_score(self):
        folds = [np.array([[8], [2], [0], [10]]), np.array([[1], [9], [9], [81]])]
        mean, count = mean_over_folds([f1_from_counts(fold) for fold in folds])
        assert mean.tolist() == [pytest.approx((16 / 18 + 2 / 20) / 2)] and count.tolist() == [2]
        assert f1_from_counts(folds[0] + folds[1])[0] == pytest.approx(18 / 38)

    def test_over_folds_where_defined(self):
        mean, count = mean_over_folds([[0.1, np.nan, np.nan], [0.5, 0.4, np.nan]])
        np.testing.assert_allclose(mean, [0.3, 0.4, np.nan])
        assert count.tolist() == [2, 1, 0]

    def test_always_positive_floor_of_bp4d(self):
        present, frames = np.array(BP4D_POSITIVES), np.array(BP4D_FRAMES)[:, None]
        zeros = np.zeros_like(present)
        folds = np.stack([zeros, zeros, present, frames - present], axis=1)
        floor, _ = mean_over_folds([always_positive_f1(fold) for fold in folds])
        assert round(100 * mean_over_aus(floor).value, 1) == 48.0


class TestRefused:
    def test_shapes(self):
        for score in (confusion_counts, auroc, average_precision):
            for target, prob in (([1, 0], [0.1, 0.2]), ([[1, 0]], [[0.1]])):
                with pytest.raises(ValueError, match="one shape"):
                    score(target, prob)
        with pytest.raises(ValueError, match="`counts`"):
            f1_from_counts([1, 2, 3])

    @pytest.mark.parametrize("label", [9, 2, -2, 0.5])
    def test_labels(self, label):
        with pytest.raises(ValueError, match=f"but got {label}"):
            confusion_counts([[1], [label]], [[0.1], [0.2]])

    @pytest.mark.parametrize("value", [np.nan, -0.01, 1.01, np.inf])
    def test_probabilities(self, value):
        with pytest.raises(ValueError, match="row 1, column 0"):
            auroc([[1], [0]], [[0.1], [value]])
