import numpy as np
import pytest

from auformer.metrics import add_bins, expected_calibration_error, plain_bins, read_bins, reliability_bins


def rows(seed, n=200):
    rng = np.random.default_rng(seed)
    return rng.choice([1.0, 0.0, -1.0, np.nan], (n, 3), p=[0.3, 0.5, 0.1, 0.1]), rng.random((n, 3))


def test_by_hand():
    bins = reliability_bins([[1], [0], [1], [0]], [[1.0], [0.9], [0.1], [0.0]])[0]
    assert bins[:, 2].tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 2]  # an edge belongs to the bin above, 1 to the last
    assert bins[9].tolist() == [pytest.approx(0.95), 0.5, 2]
    assert np.isnan(bins[4, :2]).all()
    assert expected_calibration_error(bins) == pytest.approx((0 + 0.9 + 2 * 0.45) / 4)
    # perfect and worst
    assert expected_calibration_error(reliability_bins([[1], [0]], [[1.0], [0.0]])).tolist() == [0.0]
    assert expected_calibration_error(reliability_bins([[1], [0]], [[0.0], [1.0]])).tolist() == [1.0]


def test_without_rows():
    bins = reliability_bins(np.full((4, 1), -1), np.full((4, 1), np.nan))
    assert np.isnan(expected_calibration_error(bins)).all() and bins[0, :, 2].sum() == 0


@pytest.mark.parametrize("seed", range(3))
def test_bins_of_parts_add_up_to_those_of_all(seed):
    target, prob = rows(seed)
    parts = [reliability_bins(target[part], prob[part]) for part in (slice(0, 7), slice(7, 60), slice(60, 200))]
    whole = reliability_bins(target, prob)
    np.testing.assert_allclose(add_bins(parts), whole, rtol=1e-12)
    written = np.stack([read_bins(plain_bins(au)) for au in whole])
    np.testing.assert_allclose(written, whole, atol=1e-6)
    empty = np.concatenate([np.full((3, 10, 2), np.nan), np.zeros((3, 10, 1))], -1)
    np.testing.assert_allclose(add_bins([empty, whole]), whole, rtol=1e-12)
    assert np.isnan(add_bins([empty, empty])[..., :2]).all()


def test_bad_arguments():
    with pytest.raises(ValueError, match="one shape"):
        reliability_bins([[1]], [[0.5, 0.5]])
    with pytest.raises(ValueError, match="num_bins"):
        reliability_bins([[1]], [[0.5]], 0)
