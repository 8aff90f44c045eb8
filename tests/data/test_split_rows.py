"""The rows that a run trains on: usable ones, folds and held-out subjects, label noise, draws that belong to a row."""

import numpy as np
import pandas as pd
import pytest

from auformer.data.manifest import validate_manifest
from auformer.data.splits import au_draws, count_labels, cut_fold, cut_validation, row_hashes, with_label_noise
from auformer.errors import ManifestError

AUS = ["AU1", "AU12"]


def rows(count: int = 200) -> pd.DataFrame:
    number = np.arange(count)
    frame = {
        "dataset": "d", "subject": [f"s{i % 10}" for i in number], "sequence": "v", "frame": number, "image": "a.png",
    }  # fmt: skip
    return validate_manifest(
        pd.DataFrame({**frame, "AU1": number % 2, "AU12": number % 3 - 1, "fold": [f"P{i % 10 % 3}" for i in number]})
    )


def test_a_row_without_a_fold_is_outside_of_every_fold():
    frame = rows(60)
    frame.loc[0, "fold"] = None
    rest, inside = cut_fold(frame, "P1")
    assert set(inside["fold"]) == {"P1"} and sorted([*rest.index, *inside.index]) == list(range(60))
    assert 0 in rest.index


def test_folds_that_cannot_be_cut_out():
    with pytest.raises(ManifestError, match="column `fold`"):
        cut_fold(rows(60).drop(columns="fold"), "P1")
    with pytest.raises(ManifestError, match="outside the fold 'P1'"):
        cut_fold(rows(60).query("fold == 'P1'"), "P1")


def test_validation_holds_out_subjects():
    train, held_out = cut_validation(rows(), 0.3, 0)
    assert held_out is not None and held_out["subject"].nunique() == 3 and train["subject"].nunique() == 7
    assert not set(train["subject"]) & set(held_out["subject"]) and len(train) + len(held_out) == 200
    assert set(cut_validation(rows().iloc[::-1], 0.3, 0)[1]["subject"]) == set(held_out["subject"])


def test_validation_of_none_and_of_too_few():
    with pytest.raises(ManifestError, match="at least 2 training subjects"):
        cut_validation(rows(200).query("subject == 's1'"), 0.2, 0)
    for fraction in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="`val_fraction`"):
            cut_validation(rows(), fraction, 0)


def test_people_of_two_names_are_held_out_together():
    """A subject of DISFA is held out in DISFA+ too."""
    frame = rows(40)
    frame["dataset"] = np.where(np.arange(40) < 20, "disfa", "DISFA+")
    train, held_out = cut_validation(frame, 0.3, 1)
    assert held_out is not None and not set(train["subject"]) & set(held_out["subject"])
    assert set(held_out["dataset"]) == {"disfa", "DISFA+"}


def test_counts():
    assert count_labels(rows(9), ["AU12", "AU1", "AU25"]) == ([3, 4, 0], [6, 9, 0])


def flipped(before: pd.DataFrame, after: pd.DataFrame, au: str) -> pd.Series:
    return before[au] != after.loc[before.index, au]


def test_noise_flips_that_share_of_the_known_labels():
    frame = rows(4000)
    noisy = with_label_noise(frame, AUS, 0.2, 0)
    assert 0.17 < flipped(frame, noisy, "AU1").mean() < 0.23
    known = frame["AU12"] >= 0
    assert 0.17 < flipped(frame, noisy, "AU12")[known].mean() < 0.23
    assert not flipped(frame, noisy, "AU12")[~known].any()
    assert set(noisy["AU1"]) == {0, 1} and noisy["AU1"].dtype == np.int8
    assert noisy.drop(columns=AUS).equals(frame.drop(columns=AUS))
    assert frame["AU1"].tolist() == rows(4000)["AU1"].tolist()  # the frame given is as it was


def test_noise_belongs_to_seed_row_and_au():
    frame = rows(400)
    noisy = with_label_noise(frame, AUS, 0.3, 0)
    some = frame.sample(100, random_state=1)
    pd.testing.assert_frame_equal(with_label_noise(some, ["AU12", "AU1"], 0.3, 0), noisy.loc[some.index])
    assert not with_label_noise(frame, AUS, 0.3, 1).equals(noisy)
    more = with_label_noise(frame, AUS, 0.5, 0)
    assert (flipped(frame, noisy, "AU1") <= flipped(frame, more, "AU1")).all()  # what 30 % flips, 50 % flips too
    agree = (flipped(frame, noisy, "AU1") == flipped(frame, noisy, "AU12"))[frame["AU12"] >= 0].mean()
    assert 0.45 < agree < 0.72  # 0.58 expected of unrelated flips


def test_noise_without_and_all():
    frame = rows(50)
    assert with_label_noise(frame, AUS, 0.0, 0) is frame
    assert (with_label_noise(frame, ["AU1", "AU9"], 1.0, 0)["AU1"] == 1 - frame["AU1"]).all()
    for probability in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="`label_noise`"):
            with_label_noise(frame, AUS, probability, 0)


def test_sides_of_a_flipped_label_become_unknown():
    frame = rows(50).assign(AU1_left=0, AU1_right=0).assign(AU1_left=lambda t: t["AU1"])
    frame = validate_manifest(frame)
    noisy = with_label_noise(frame, ["AU1"], 0.5, 0)
    changed = flipped(frame, noisy, "AU1")
    assert (noisy.loc[changed, ["AU1_left", "AU1_right"]] == -1).all(axis=None)
    assert noisy.loc[~changed, "AU1_left"].equals(frame.loc[~changed, "AU1_left"])
    validate_manifest(noisy)


def keys(count: int) -> pd.DataFrame:
    number = np.arange(count)
    return pd.DataFrame(
        {"dataset": "d", "subject": [f"s{i % 7}" for i in number], "sequence": "v", "frame": number, "face": 0}
    )


def test_values_do_not_change_between_machines_and_versions():
    """Written down once: other numbers would silently change every subset and every noisy label of earlier runs."""
    hashes = row_hashes(keys(2), 0)
    assert hashes.tolist() == [16774451306858766998, 9707230863393053389]
    want = [[0.7265550003325343, 0.8047996109491203], [0.5637809543678827, 0.6281207595570403]]
    assert au_draws(hashes, ["AU1", "AU12"]).tolist() == want


def test_each_part_of_the_key_counts():
    base = {"dataset": "d", "subject": "s", "sequence": "v", "frame": 1, "face": 0}
    others = [
        base | change
        for change in ({}, {"dataset": "e"}, {"subject": "t"}, {"sequence": "w"}, {"frame": 2}, {"face": 1})
    ]
    joined = base | {"dataset": "d', 's", "subject": ""}  # no other key reads the same
    assert len(set(row_hashes(pd.DataFrame([*others, joined]), 0))) == 7


def test_numpy_and_pandas_types_do_not_matter():
    frame = keys(5)
    other = frame.astype({"frame": np.int32, "face": np.int8, "subject": "category", "sequence": object})
    np.testing.assert_array_equal(row_hashes(frame, 3), row_hashes(other, 3))


def test_draws_of_an_au_do_not_depend_on_the_others_or_on_the_order():
    hashes = row_hashes(keys(50), 1)
    both = au_draws(hashes, ["AU1", "AU12"])
    np.testing.assert_array_equal(au_draws(hashes, ["AU12"])[:, 0], both[:, 1])
    np.testing.assert_array_equal(au_draws(hashes[::-1], ["AU12", "AU1"]), both[::-1, ::-1])


def test_draws_are_uniform_and_unrelated():
    draws = np.concatenate([au_draws(row_hashes(keys(4000), seed), ["AU1", "AU2", "AU12"]) for seed in (0, 1)], axis=1)
    assert draws.min() >= 0 and draws.max() < 1
    assert np.abs(draws.mean(0) - 0.5).max() < 0.02  # standard error 0.0046
    deciles = np.stack([np.bincount((column * 10).astype(int), minlength=10) for column in draws.T])
    assert np.abs(deciles - 400).max() < 100  # standard deviation 19
    assert np.abs(np.corrcoef(draws.T) - np.eye(6)).max() < 0.07  # standard error 0.016
