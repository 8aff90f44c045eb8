import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auformer.data.splits import (
    FOLD_VIEWS,
    PUBLISHED_FOLDS,
    check_disjoint,
    nested_subset,
    people,
    person,
    published_fold,
    subject_folds,
    subject_split,
    view_fold,
)
from auformer.errors import ManifestError


def rows(dataset: str, subjects: str, frames: int = 1) -> pd.DataFrame:
    keys = [(subject, frame) for subject in subjects.split() for frame in range(frames)]
    return pd.DataFrame(keys, columns=["subject", "frame"]).assign(dataset=dataset, sequence="v", face=0)


subjects = st.lists(st.text("abc01", min_size=1, max_size=3), min_size=1, max_size=40)
fractions = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5)
seeds = st.integers(0, 2**40)


@settings(deadline=None)
@given(subjects=subjects, fractions=fractions, seed=seeds)
def test_a_split_is_a_partition_of_the_subjects_whatever_their_order(subjects, fractions, seed):
    unique = set(subjects)
    if len(unique) < len(fractions):
        with pytest.raises(ValueError, match="at least"):
            subject_split(subjects, fractions, seed)
        return
    parts = subject_split(subjects, fractions, seed)
    assert len(parts) == len(fractions)
    assert sorted(name for part in parts for name in part) == sorted(unique)  # all of them, none twice
    assert all(part == sorted(part) and part for part in parts)
    assert subject_split([*reversed(subjects), *subjects[:3]], fractions, seed) == parts
    exact = [fraction / sum(fractions) * len(unique) for fraction in fractions]
    if all(size >= 1 for size in exact):
        assert all(abs(len(part) - size) < 1 + 1e-6 for part, size in zip(parts, exact, strict=True))


@settings(deadline=None)
@given(count=st.integers(2, 60), k=st.integers(2, 10), seed=seeds)
def test_folds_are_even(count, k, seed):
    if count < k:
        with pytest.raises(ValueError, match="at least"):
            subject_folds(range(count), k, seed)
        return
    sizes = [len(fold) for fold in subject_folds(range(count), k, seed)]
    assert sum(sizes) == count and max(sizes) - min(sizes) <= 1


def test_every_subject_is_held_out_equally_often():
    assert len({tuple(subject_split(range(30), [0.8, 0.2], seed)[1]) for seed in range(20)}) == 20
    count = [0] * 10
    for seed in range(500):
        for subject in subject_split(range(10), [0.8, 0.2], seed)[1]:
            count[subject] += 1
    assert min(count) >= 65 and max(count) <= 135  # 100 expected, standard deviation 9


@pytest.mark.parametrize("fractions", [[], [0.5, 0.0], [0.5, -0.1], [float("nan"), 1.0], [float("inf"), 1.0]])
def test_fractions_are_positive_and_one_fold_is_none(fractions):
    with pytest.raises(ValueError, match="fractions"):
        subject_split("abcdef", fractions)
    with pytest.raises(ValueError, match="`k`"):
        subject_folds("abc", 1)


@pytest.mark.parametrize(
    ("name", "subjects", "sizes"),
    [
        ("bp4d", [*(f"F{i:03d}" for i in range(1, 24)), *(f"M{i:03d}" for i in range(1, 19))], [14, 14, 13]),
        ("disfa", [f"SN{i:03d}" for i in [*range(1, 14), 16, 17, 18, 21, *range(23, 33)]], [9, 9, 9]),
    ],
)
def test_published_folds_hold_every_subject_once(name, subjects, sizes):
    folds = PUBLISHED_FOLDS[name].values()
    assert sorted(subject for fold in folds for subject in fold) == subjects and [len(fold) for fold in folds] == sizes


def test_published_folds_of_single_subjects():
    assert [published_fold("bp4d", name) for name in ("M014", "F022", "M015", "F024")] == ["P1", "P2", "P3", None]
    assert [published_fold("DISFA", name) for name in ("SN032", "SN031", "SN029", "SN014")] == ["D1", "D2", "D3", None]
    assert published_fold("bp4d+", "F001") is None


def test_views_number_the_same_folds_differently():
    assert [view_fold("megraphau", "bp4d", fold) for fold in (1, 2, 3)] == ["P3", "P2", "P1"]
    assert [view_fold("fgnet", "disfa", fold) for fold in (0, 1, 2)] == ["D1", "D2", "D3"]
    for view in FOLD_VIEWS.values():
        for dataset, folds in view.items():
            assert sorted(folds.values()) == sorted(PUBLISHED_FOLDS[dataset])


@pytest.mark.parametrize(
    ("view", "dataset", "fold", "message"),
    [
        ("openface", "bp4d", 1, "`view`"),
        ("fgnet", "samm", 0, "`dataset`"),
        ("fgnet", "bp4d", 3, "0, 1, 2"),
        ("megraphau", "bp4d", 0, "1, 2, 3"),
    ],
)
def test_views_that_do_not_exist(view, dataset, fold, message):
    with pytest.raises(ValueError, match=message):
        view_fold(view, dataset, fold)


# one person, one split
def test_the_same_name_in_two_data_sets_is_two_people():
    check_disjoint({"train": rows("bp4d", "F001 F002"), "test": rows("bp4d_plus", "F001 F002")})
    assert person("casme2", "sub01") != person("casme", "sub01")


@pytest.mark.parametrize("other", ["DISFA+", "disfaplus", "disfa_plus", "DISFA", "feafa", "FEAFA+"])
def test_data_sets_of_the_same_people(other):
    with pytest.raises(ManifestError, match=r"`train` and in `test`: SN003 of disfa"):
        check_disjoint({"train": rows("disfa", "SN001 SN003"), "test": rows(other, "SN003 SN004")})


def test_feafa_has_people_of_its_own_too():
    assert people(rows("feafa", "PV001 SN001")) == [("feafa", "PV001"), ("disfa", "SN001")]


def test_a_leak_between_any_two_splits_is_named():
    parts = {"train": rows("a", "s1 s2"), "val": rows("a", "s3"), "test": rows("a", "s4 s3", frames=3)}
    with pytest.raises(ManifestError, match="1 are in `val` and in `test`: s3 of a"):
        check_disjoint(parts)
    with pytest.raises(ManifestError, match="7 are in `x` and in `y`.*and others"):
        check_disjoint({"x": rows("a", "1 2 3 4 5 6 7"), "y": rows("a", "1 2 3 4 5 6 7 8")})


@settings(deadline=None, max_examples=50)
@given(subjects=st.lists(st.text("ab01", min_size=1, max_size=3), min_size=3, unique=True), seed=seeds)
def test_splits_pass_the_check_and_a_planted_leak_does_not(subjects, seed):
    train, test = subject_split(subjects, [0.6, 0.4], seed)
    check_disjoint({"train": rows("d", " ".join(train)), "test": rows("d", " ".join(test))})
    with pytest.raises(ManifestError, match=train[0]):
        check_disjoint({"train": rows("d", " ".join(train)), "test": rows("d", " ".join([*test, train[0]]))})


@settings(deadline=None, max_examples=50)
@given(frames=st.integers(1, 30), seed=seeds, data=st.data())
def test_subsets_are_nested_and_know_no_order(frames, seed, data):
    frame = rows("d", "a b", frames)
    small = data.draw(st.integers(1, len(frame)))
    large = data.draw(st.integers(small, len(frame)))
    one, other = nested_subset(frame, small, seed), nested_subset(frame, large, seed)
    assert (len(one), len(other)) == (small, large)
    assert set(one.index) <= set(other.index) and one.index.is_monotonic_increasing
    turned = nested_subset(frame.iloc[::-1], small, seed)
    assert set(turned.index) == set(one.index) and turned.index.is_monotonic_decreasing


def test_sizes_of_subsets():
    frame = rows("d", "a b c d", 25)
    assert [len(nested_subset(frame, size)) for size in (1, 100, 1.0, 0.5, 0.333, 0.001)] == [1, 100, 100, 50, 33, 1]
    assert nested_subset(frame, 1.0).equals(frame)
    assert set(nested_subset(frame, 50, 0).index) != set(nested_subset(frame, 50, 1).index)


@pytest.mark.parametrize("size", [0, -1, 0.0, 1.5, 101, True, "10", float("nan")])
def test_sizes_out_of_range(size):
    with pytest.raises(ValueError, match="`size`"):
        nested_subset(rows("d", "a b c d", 25), size)


def test_a_subset_is_spread_over_the_subjects():
    chosen = nested_subset(rows("d", "a b c d e", 200), 100)
    assert chosen["subject"].value_counts().between(8, 35).all()  # 20 expected, standard deviation 4
