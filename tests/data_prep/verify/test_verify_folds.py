"""`verify` and folds: swapped parts are named, other numbers are translated, another division is said to be one."""

from __future__ import annotations

import pandas as pd
import pytest

from auformer.data.splits import PUBLISHED_FOLDS
from tests.helpers.published_rows import notes, problems, published_rows


@pytest.fixture(scope="module", params=["bp4d", "disfa"])
def either(request: pytest.FixtureRequest) -> pd.DataFrame:
    return published_rows(request.param)


def test_swapped_parts(either: pd.DataFrame) -> None:
    first, _, last = PUBLISHED_FOLDS[either["dataset"].iloc[0]]
    swapped = either.assign(fold=either["fold"].replace({first: last, last: first}))
    wrong = problems(swapped)
    assert set(wrong) == {"fold_naming"} and f"fold {first} holds the subjects of {last}" in wrong["fold_naming"]
    unnamed = swapped.assign(subject="person " + either["subject"])  # the counts tell, where names do not
    wrong = problems(unnamed)
    assert set(wrong) == {"fold_naming"}
    assert f"fold {first} has the counts of the published fold {last}" in wrong["fold_naming"]
    assert problems(unnamed.assign(fold=either["fold"])) == {}


def test_folds_numbered_as_others_do(either: pd.DataFrame) -> None:
    first, second, last = PUBLISHED_FOLDS[either["dataset"].iloc[0]]
    for numbers, text in (
        ({first: "fold3", second: "fold2", last: "fold1"}, "as ME-GraphAU does"),
        ({first: "0", second: "1", last: "2"}, "as FG-Net does"),
        ({first: "1", second: "2", last: "3"}, "neither as ME-GraphAU does nor as FG-Net does"),
    ):
        frame = either.assign(fold=either["fold"].replace(numbers))
        assert problems(frame) == {} and text in notes(frame)["fold_naming"]


def test_another_division(either: pd.DataFrame) -> None:
    parts = PUBLISHED_FOLDS[either["dataset"].iloc[0]]
    first, second = list(parts)[:2]
    someone = parts[first][0]
    moved = either.assign(fold=either["fold"].mask(either["subject"] == someone, second))
    assert f"but {someone} are in other ones" in problems(moved)["other_partition"]
    own = moved.assign(fold=moved["fold"].replace({name: f"mine {name}" for name in parts}))
    assert problems(own) == {} and "not comparable with others fold by fold" in notes(own)["other_partition"]
