"""The column `fold`: published folds by name, our own divisions that say so, nobody in two folds."""

from __future__ import annotations

import pandas as pd
import pytest

from auformer.data.splits import PUBLISHED_FOLDS, person, view_fold
from auformer.data_prep.formats.folds import ALL_SUBJECTS, fold_of, our_folds, with_folds


@pytest.mark.parametrize("name", ["bp4d", "disfa"])
def test_published_folds(name: str) -> None:
    expected = {subject: fold for fold, members in PUBLISHED_FOLDS[name].items() for subject in members}
    assert fold_of(name, expected) == expected
    assert fold_of(name, ["nobody", next(iter(expected))])["nobody"] is None


def test_views_of_others_name_the_same_subjects() -> None:
    folds = fold_of("bp4d", ["F001", "F003", "F004"])
    assert [folds["F004"], folds["F003"], folds["F001"]] == [view_fold("megraphau", "bp4d", fold) for fold in (1, 2, 3)]
    assert [folds["F001"], folds["F003"], folds["F004"]] == [view_fold("fgnet", "bp4d", fold) for fold in (0, 1, 2)]


def test_disfaplus_follows_disfa_so_that_no_person_is_in_two_folds() -> None:
    subjects = ["SN001", "SN003", "SN004", "SN007", "SN009", "SN010", "SN013", "SN025", "SN027"]
    assert fold_of("disfaplus", subjects) == fold_of("disfa", subjects)
    assert all(person("disfaplus", subject) == person("disfa", subject) for subject in subjects)


def test_bp4dplus_has_four_folds_of_35_whatever_is_there() -> None:
    everyone = ALL_SUBJECTS["bp4dplus"]
    folds = fold_of("bp4dplus", everyone)
    assert len(set(everyone)) == 140 and sorted(pd.Series(folds).value_counts()) == [35] * 4
    assert fold_of("bp4dplus", ["M058", "F001"]) == {"F001": folds["F001"], "M058": folds["M058"]}
    assert {"F001", "F900"} == set(fold_of("bp4dplus", ["F001", "F900"]))


def test_other_data_sets_are_divided_by_subject() -> None:
    subjects = [f"sub{i:02d}" for i in range(1, 27)]
    folds = our_folds(subjects)
    assert our_folds(reversed(subjects)) == folds and sorted(pd.Series(folds).value_counts()) == [6, 6, 7, 7]
    assert set(folds.values()) == {"ours1", "ours2", "ours3", "ours4"}
    assert our_folds([]) == {} and our_folds(["a"]) == {"a": "ours1"}


def test_the_column() -> None:
    rows = pd.DataFrame({"subject": ["sub01", "sub02", "sub01"], "frame": [1, 1, 2]})
    done = with_folds(rows, "casme2")
    assert done["fold"].iloc[0] == done["fold"].iloc[2] != done["fold"].iloc[1] and "fold" not in rows
