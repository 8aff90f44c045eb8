"""Known faults: the tables themselves, and that only cells change whose fault the table shows."""

import re
from pathlib import Path

import pandas as pd
import pytest

import auformer.data_prep
from auformer.data_prep.formats.au_text import parse_aus
from auformer.data_prep.formats.corrections import PENDING, apply_corrections, read_corrections
from auformer.data_prep.release import Findings

NAMES = ["casme", "casme2", "casme3", "fourdme", "mmew", "samm"]


def table(rows: int, cells: dict[int, dict[str, object]] | None = None, **all_rows: object) -> pd.DataFrame:
    """Rows of different clips, numbers 1 2 3, AU 4; `cells` by row and column, or of all rows."""
    columns = {"subject": "", "name": "", "onset": 1, "apex": 2, "offset": 3, "au": "4"} | all_rows
    frame = pd.DataFrame({name: [value] * rows for name, value in columns.items()}, dtype=object)
    frame["subject"], frame["name"] = [f"S{row // 10}" for row in range(rows)], [f"c{row}" for row in range(rows)]
    for row, values in (cells or {}).items():
        for name, value in values.items():
            frame.at[row, name] = value
    frame.attrs.update(file="t.xlsx", first_row=2)
    return frame


def changes(frame: pd.DataFrame, name: str) -> tuple[dict[tuple[int, str], object], list[tuple[str, str]]]:
    """The cells that change, and what is noted."""
    before, findings = frame.copy(), Findings()
    corrected = apply_corrections(frame, name, findings)
    pd.testing.assert_frame_equal(frame, before)
    cells = [(row, column) for column in frame.columns for row in frame.index]
    changed = {cell: corrected.at[cell] for cell in cells if frame.at[cell] != corrected.at[cell]}
    listed = {(int(row), text.split()[0]) for _, row, text in findings.corrections} | set(corrected.attrs[PENDING])
    assert set(changed) == listed
    return changed, [(kind, text) for kind, _, text in findings.notes]


def test_there_is_a_table_for_every_name_and_no_other():
    folder = Path(auformer.data_prep.__file__).parent / "assets" / "corrections"
    assert set(NAMES) <= {path.stem for path in folder.glob("*.csv")}
    assert read_corrections("casme_sq").empty


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_are_sound(name):
    corrections = read_corrections(name)
    assert not corrections.duplicated(["row", "column"]).any()
    assert set(corrections["column"]) <= {"onset", "apex", "offset", "au"}
    assert corrections["when"].str.fullmatch(r"|missing|ambiguous|\d+ rows in order").all()
    assert corrections["source"].str.startswith("tvaranka/meb:").all()
    for each in corrections.itertuples():
        if each.column == "au":
            assert each.value.startswith("row ") or not parse_aus(each.value).unread
        else:
            assert each.value.isdecimal()
    numbers = corrections[corrections["column"] != "au"].pivot(index="row", columns="column", values="value")
    for _, row in numbers.reindex(columns=["onset", "apex", "offset"]).astype(float).iterrows():
        assert row.dropna().is_monotonic_increasing


def test_numbers_that_fit_the_row_wait_for_the_images():
    row = {"onset": 90, "apex": 95, "offset": 99}
    changed, notes = changes(table(50, {40: row, 42: row}), "casme")
    expected = {(40, "onset"): 100, (40, "apex"): 120, (40, "offset"): 149}
    expected |= {(42, "onset"): 101, (42, "apex"): 110, (42, "offset"): 119}
    assert changed == expected | {(43, "onset"): 57, (43, "apex"): 65, (43, "offset"): 74} and notes == []


def test_a_number_that_the_row_contradicts_is_not_taken():
    changed, notes = changes(table(61, {60: {"onset": 200, "apex": 210, "offset": 220}}), "casme2")
    assert changed == {}
    assert notes == [("known fault that the table does not show", "offset 91 does not fit the row's other numbers")]


def test_an_estimated_apex_fills_a_missing_one_within_its_clip():
    missing = {29: {"onset": 270, "apex": "/", "offset": 290}, 35: {"onset": 60, "apex": None, "offset": 67}}
    changed, notes = changes(table(40, missing), "casme2")
    assert changed == {(29, "apex"): 279}
    assert notes == [("known fault that the table does not show", "apex 68 does not fit the row's other numbers")]


def test_a_missing_apex_that_is_not_listed_shows_another_edition():
    missing = {row: {"onset": 1, "apex": "/", "offset": 500} for row in (29, 30, 35)}
    changed, ((kind, text),) = changes(table(40, missing), "casme2")
    assert changed == {} and kind == "known faults of another edition are not corrected"
    assert text.startswith("apex is missing in rows that the list of known faults does not have (row 32)")


def test_alternatives_are_decided_where_the_table_leaves_them_open():
    cells = {row: {"au": "R14A or 17A"} for row in (41, 154)}
    changed, notes = changes(table(160, cells, onset=1, apex=2, offset=6000), "samm")
    assert changed == {(41, "au"): "L14", (154, "au"): "R14A", (56, "offset"): 5739} and notes == []
    others = {41: {"au": "1 or 2"}, 42: {"au": "14 or 17"}, 154: {"au": "14"}}  # other clips, or decided already
    assert not any(column == "au" for _, column in changes(table(160, others), "samm")[0])


def test_two_rows_are_swapped_in_the_release_s_own_table_only():
    cells = {144: {"au": "AU12"}, 145: {"au": "AU4"}}
    assert changes(table(267, cells), "fourdme") == ({(144, "au"): "AU4", (145, "au"): "AU12"}, [])
    for other in (table(266, cells), table(267, {**cells, 3: {"subject": "S99"}}), table(145)):
        changed, ((kind, text),) = changes(other, "fourdme")
        assert changed == {} and kind == "known faults of another edition are not corrected"
        assert re.search(
            r"267 rows by subject and clip, and this one has (266|267 in another order|145); 2 cells", text
        )


def test_columns_and_rows_that_are_not_there_are_skipped():
    frame = table(45).drop(index=42)
    assert {row for row, _ in changes(frame, "casme")[0]} == {40, 43}
    assert {column for _, column in changes(frame.drop(columns="apex"), "casme")[0]} == {"onset", "offset"}
    assert changes(table(5), "casme") == ({}, [])


def test_a_cell_that_is_right_is_not_listed():
    changed, _ = changes(table(45, {40: {"onset": 100.0, "apex": "120", "offset": 149}}), "casme")
    assert {row for row, _ in changed} == {42, 43}
