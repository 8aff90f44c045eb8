from __future__ import annotations

import numpy as np
import pandas as pd

from auformer.data.splits import au_draws, row_hashes


def rows(count: int) -> pd.DataFrame:
    number = np.arange(count)
    return pd.DataFrame(
        {"dataset": "d", "subject": [f"s{i % 7}" for i in number], "sequence": "v", "frame": number, "face": 0}
    )


def test_values_do_not_change_between_machines_and_versions() -> None:
    """Written down once: other numbers would silently change every subset and every noisy label of earlier runs."""
    hashes = row_hashes(rows(2), 0)
    assert hashes.tolist() == [16774451306858766998, 9707230863393053389]
    want = [[0.7265550003325343, 0.8047996109491203], [0.5637809543678827, 0.6281207595570403]]
    assert au_draws(hashes, ["AU1", "AU12"]).tolist() == want


def test_each_part_of_the_key_counts() -> None:
    base = {"dataset": "d", "subject": "s", "sequence": "v", "frame": 1, "face": 0}
    others = [
        base | change
        for change in ({}, {"dataset": "e"}, {"subject": "t"}, {"sequence": "w"}, {"frame": 2}, {"face": 1})
    ]
    joined = base | {"dataset": "d', 's", "subject": ""}  # no other key reads the same
    assert len(set(row_hashes(pd.DataFrame([*others, joined]), 0))) == 7


def test_numpy_and_pandas_types_do_not_matter() -> None:
    frame = rows(5)
    other = frame.astype({"frame": np.int32, "face": np.int8, "subject": "category", "sequence": object})
    np.testing.assert_array_equal(row_hashes(frame, 3), row_hashes(other, 3))


def test_draws_of_an_au_do_not_depend_on_the_others_or_on_the_order() -> None:
    hashes = row_hashes(rows(50), 1)
    both = au_draws(hashes, ["AU1", "AU12"])
    np.testing.assert_array_equal(au_draws(hashes, ["AU12"])[:, 0], both[:, 1])
    np.testing.assert_array_equal(au_draws(hashes[::-1], ["AU12", "AU1"]), both[::-1, ::-1])


def test_draws_are_uniform_and_unrelated() -> None:
    draws = np.concatenate([au_draws(row_hashes(rows(4000), seed), ["AU1", "AU2", "AU12"]) for seed in (0, 1)], axis=1)
    assert draws.min() >= 0 and draws.max() < 1
    assert np.abs(draws.mean(0) - 0.5).max() < 0.02  # standard error 0.0046
    deciles = np.stack([np.bincount((column * 10).astype(int), minlength=10) for column in draws.T])
    assert np.abs(deciles - 400).max() < 100  # standard deviation 19
    assert np.abs(np.corrcoef(draws.T) - np.eye(6)).max() < 0.07  # standard error 0.016
