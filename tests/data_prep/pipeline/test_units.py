"""Places of crops that are safe on every system, and units of whole sequences."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auformer.data_prep.pipeline import units
from auformer.data_prep.pipeline.units import cut_units, make_rows, safe_names


@given(st.lists(st.text(min_size=1, max_size=100), min_size=1, max_size=8))
def test_names_are_safe_and_different_in_whatever_case(names):
    safe = safe_names(names)
    assert set(safe) == set(names)
    assert len({name.lower() for name in safe.values()}) == len(set(names))
    for name in safe.values():
        assert name.isascii() and not set(name) & set('/\\:*?"<>| \n') and name[0] not in "." and name[-1] != "."
        assert len(name) < 100


@pytest.mark.parametrize("name", ["CON", "nul", "com1.x", "..", ".", "-", ".hidden", "a.", "é" * 300, "a/../b"])
def test_names_that_would_do_harm_are_changed(name):
    safe = safe_names([name])[name]
    assert (
        safe != name and safe.rpartition("-")[2].isalnum() and "/" not in safe and not safe.lower().startswith("con.")
    )


def test_names_of_the_releases_stay():
    names = ["F001", "SN001", "spNO.1", "sub01", "EP02_01f", "006_1_2", "S005", "anger1_1"]
    assert safe_names(names) == {name: name for name in names}
    assert len({name.lower() for name in safe_names(["spNO.1", "spNo.1"]).values()}) == 2


def frame(sequences: dict[str, int], **columns: object) -> pd.DataFrame:
    rows = [
        {"sequence": name, "frame": k, "source": f"{name}/{k}.png"} for name, n in sequences.items() for k in range(n)
    ]
    return pd.DataFrame(rows).assign(subject="S", status="ok", **columns)


def sizes(table: pd.DataFrame, *, per_clip: bool = False) -> list[int]:
    pieces = cut_units(make_rows(table, per_clip=per_clip), table)
    assert [piece.number for piece in pieces] == list(range(len(pieces)))
    assert [row.number for piece in pieces for row in piece.rows] == list(range(len(table)))
    return [len(piece.rows) for piece in pieces]


def test_units(monkeypatch):
    """Short sequences share a unit of at most 10 rows, folders are cut, videos and clips are not."""
    monkeypatch.setattr(units, "UNIT_ROWS", 10)
    assert sizes(frame({"a": 4, "b": 5, "c": 2, "d": 8})) == [9, 10]
    assert sizes(frame({"a": 25, "b": 5})) == [10, 10, 10]
    assert sizes(frame({"a": 25, "b": 5}, source_frame=range(30))) == [25, 5]
    assert sizes(frame({"a": 12, "b": 5, "c": 5}), per_clip=True) == [12, 10]
