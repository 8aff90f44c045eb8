import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from auformer import metrics
from auformer.scoring.bootstrap import can_draw, difference, draw_subjects, everybody, fold_mean, interval, pooled

SUBJECTS = {"P1": ("a", "b", "c"), "P2": ("d", "e")}


def random_rows(seed=0, folds=SUBJECTS, rows=40):
    """Fold -> subject -> truth and predictions (rows, 3)."""
    rng = np.random.default_rng(seed)
    made = {}
    for fold, names in folds.items():
        made[fold] = {name: (rng.random((rows, 3)) < 0.4, rng.random((rows, 3)) < 0.5) for name in names}
    return made


def counted(rows):
    """Fold -> counts per subject (S, 4, N)."""
    count = metrics.confusion_counts
    return {
        fold: np.stack([count(true.astype(int), active.astype(float)) for true, active in people.values()])
        for fold, people in rows.items()
    }


@pytest.mark.parametrize("seed", range(3))
def test_a_draw_is_the_score_of_rows_that_are_really_repeated(seed):
    rows, weights = random_rows(seed), draw_subjects(SUBJECTS, 5, seed)
    counts = counted(rows)
    means, together = (how(metrics.f1_from_counts, counts, weights) for how in (fold_mean, pooled))
    for draw in range(5):
        repeated = {}
        for fold, people in rows.items():
            times = weights[fold][draw].astype(int)
            assert times.sum() == len(people)
            repeated[fold] = [
                np.concatenate([np.repeat(part[k], n, 0) for part, n in zip(people.values(), times, strict=True)])
                for k in (0, 1)
            ]
        for au in range(3):
            each = [sk.f1_score(true[:, au], active[:, au]) for true, active in repeated.values()]
            assert means[draw, au] == pytest.approx(np.mean(each), rel=1e-12)
            true, active = (np.concatenate([parts[k][:, au] for parts in repeated.values()]) for k in (0, 1))
            assert together[draw, au] == pytest.approx(sk.f1_score(true, active), rel=1e-12)


def test_everybody_once_is_the_score_itself_and_the_fold_mean_is_not_the_pooled_one():
    counts = {"P1": np.array([[[8], [2], [0], [10]]]), "P2": np.array([[[1], [9], [9], [81]]])}
    once = everybody({"P1": ("a",), "P2": ("b",)})
    assert fold_mean(metrics.f1_from_counts, counts, once)[0, 0] == pytest.approx((16 / 18 + 2 / 20) / 2)
    assert pooled(metrics.f1_from_counts, counts, once)[0, 0] == pytest.approx(18 / 38)


def test_draws_are_the_same_for_the_same_subjects_in_any_order():
    first, second = draw_subjects(SUBJECTS, 50, 1), draw_subjects(dict(reversed(SUBJECTS.items())), 50, 1)
    for fold in SUBJECTS:
        np.testing.assert_array_equal(first[fold], second[fold])
    assert any((draw_subjects(SUBJECTS, 50, 2)[fold] != first[fold]).any() for fold in SUBJECTS)


def test_with_one_subject_per_fold_the_folds_are_drawn():
    alone = {f"sub{i}": (f"s{i}",) for i in range(6)}
    weights = draw_subjects(alone, 200)
    assert (sum(weights.values()) == 6).all() and weights["sub0"].max() > 1
    counts = {fold: np.array([[[i + 1], [1], [1], [1]]]) for i, fold in enumerate(alone)}
    means = fold_mean(metrics.f1_from_counts, counts, weights)[:, 0]
    each = np.array([2 * (i + 1) / (2 * (i + 1) + 2) for i in range(6)])
    expected = [np.average(each, weights=[weights[fold][draw, 0] for fold in alone]) for draw in range(200)]
    np.testing.assert_allclose(means, expected, rtol=1e-12)


def test_one_subject_is_nothing_to_draw_from():
    assert not can_draw({"": ("a",)}) and can_draw({"": ("a", "b")}) and can_draw({"x": ("a",), "y": ("b",)})
    with pytest.raises(ValueError, match="at least 1"):
        draw_subjects(SUBJECTS, 0)


def test_interval_is_that_of_scipy():
    people = {"": tuple(f"s{i:02d}" for i in range(30))}
    counts = counted(random_rows(4, people, rows=15))[""]
    weights = draw_subjects(people, 6000)
    ours = interval(fold_mean(metrics.f1_from_counts, {"": counts}, weights)[:, 0])

    def f1(tp, fp, fn, axis):
        return 2 * tp.sum(axis) / (2 * tp.sum(axis) + fp.sum(axis) + fn.sum(axis))

    theirs = stats.bootstrap(
        tuple(counts[:, k, 0] for k in range(3)), f1, paired=True, vectorized=True, n_resamples=6000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.006)
    assert ours.high - ours.low > 0.05 and ours.num == 6000


def test_draws_without_positives_are_left_out_and_counted():
    people = {"": ("a", "b", "c")}
    counts = {"": np.array([[[1], [0], [0], [5]], [[0], [0], [0], [6]], [[0], [0], [0], [6]]])}
    values = fold_mean(metrics.f1_from_counts, counts, draw_subjects(people, 2000))[:, 0]
    assert interval(values).num == pytest.approx(2000 * (1 - (2 / 3) ** 3), abs=80)
    assert np.isnan(interval(np.full(5, np.nan)).low)


class TestDifference:
    def draws(self, seed):
        counts = counted(random_rows(seed))
        once, drawn = everybody(SUBJECTS), draw_subjects(SUBJECTS, 400)
        return fold_mean(metrics.f1_from_counts, counts, once)[0], fold_mean(metrics.f1_from_counts, counts, drawn)

    def test_of_a_method_and_itself(self):
        point, drawn = self.draws(0)
        found = difference((point, point), (drawn, drawn))
        assert found.value == 0 and (found.interval.low, found.interval.high) == (0, 0) and found.p == 1
        assert found.num_aus == 3

    def test_is_taken_draw_by_draw_and_changes_its_sign(self):
        (a, drawn_a), (b, drawn_b) = self.draws(0), self.draws(1)
        found, turned = difference((a, b), (drawn_a, drawn_b)), difference((b, a), (drawn_b, drawn_a))
        assert found.value == pytest.approx(a.mean() - b.mean()) == -turned.value
        apart = (drawn_a - drawn_b).mean(1)
        assert (found.interval.low, found.interval.high) == pytest.approx(np.quantile(apart, [0.025, 0.975]).tolist())
        sides = (1 + (apart <= 0).sum()) / 401, (1 + (apart >= 0).sum()) / 401
        assert found.p == turned.p == pytest.approx(min(1, 2 * min(sides)))

    def test_over_the_aus_that_both_have(self):
        (a, drawn_a), (b, drawn_b) = self.draws(0), self.draws(1)
        b, drawn_b = b.copy(), drawn_b.copy()
        b[1], drawn_b[:, 1] = np.nan, np.nan
        found = difference((a, b), (drawn_a, drawn_b))
        assert found.num_aus == 2 and found.value == pytest.approx((a - b)[[0, 2]].mean())

    def test_a_sure_difference_has_the_smallest_p_that_the_draws_allow(self):
        point, drawn = self.draws(0)
        assert difference((point + 0.1, point), (drawn + 0.1, drawn)).p == pytest.approx(2 / 401)

    def test_without_draws(self):
        none = np.empty((0, 2))
        found = difference((np.array([0.5, 0.6]), np.array([0.4, 0.4])), (none, none))
        assert found.value == pytest.approx(0.15) and np.isnan(found.p) and found.interval.num == 0
