"""The column `fold`: published folds by name, our own divisions that say so, nobody in two folds."""

import pandas as pd

from auformer.data.splits import person
from auformer.data_prep.formats.folds import ALL_SUBJECTS, fold_of, our_folds


def test_disfaplus_follows_disfa_so_that_no_person_is_in_two_folds():
    subjects = ["SN001", "SN003", "SN004", "SN007", "SN009", "SN010", "SN013", "SN025", "SN027"]
    assert fold_of("disfaplus", subjects) == fold_of("disfa", subjects)
    assert all(person("disfaplus", subject) == person("disfa", subject) for subject in subjects)


def test_bp4dplus_has_four_folds_of_35_whatever_is_there():
    everyone = ALL_SUBJECTS["bp4dplus"]
    folds = fold_of("bp4dplus", everyone)
    assert len(set(everyone)) == 140 and sorted(pd.Series(folds).value_counts()) == [35] * 4
    assert fold_of("bp4dplus", ["M058", "F001"]) == {"F001": folds["F001"], "M058": folds["M058"]}
    assert {"F001", "F900"} == set(fold_of("bp4dplus", ["F001", "F900"]))


def test_other_data_sets_are_divided_by_subject():
    subjects = [f"sub{i:02d}" for i in range(1, 27)]
    folds = our_folds(subjects)
    assert our_folds(reversed(subjects)) == folds and sorted(pd.Series(folds).value_counts()) == [6, 6, 7, 7]
    assert set(folds.values()) == {"ours1", "ours2", "ours3", "ours4"}
    assert our_folds([]) == {} and our_folds(["a"]) == {"a": "ours1"}
