"""Known faults: the tables themselves, and that exactly the named cells change."""

from pathlib import Path

import pandas as pd
import pytest

import auformer.data_prep
from auformer.data_prep.formats.au_text import parse_aus
from auformer.data_prep.formats.clips import apply_corrections, read_corrections
from auformer.data_prep.release import Findings

NAMES = ["casme", "casme2", "casme3", "fourdme", "mmew", "samm"]
COLUMNS = ["subject", "onset", "apex", "offset", "au"]


def table(rows: int, **cells: object) -> pd.DataFrame:
    columns = {name: [cells.get(name, f"{name} {row}") for row in range(rows)] for name in COLUMNS}
    return pd.DataFrame(columns, dtype=object)


def test_there_is_a_table_for_every_name_and_no_other():
    folder = Path(auformer.data_prep.__file__).parent / "assets" / "corrections"
    assert set(NAMES) <= {path.stem for path in folder.glob("*.csv")}
    assert read_corrections("casme_sq").empty


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_are_sound(name):
    corrections = read_corrections(name)
    assert not corrections.duplicated(["row", "column"]).any()
    assert set(corrections["column"]) <= {"onset", "apex", "offset", "au"}
    assert set(corrections["when"]) <= {"", "missing", "ambiguous"}
    assert corrections["source"].str.startswith("tvaranka/meb:").all()
    for each in corrections.itertuples():
        if each.column == "au":
            assert each.value.startswith("row ") or not parse_aus(each.value).unread
        else:
            assert each.value.isdecimal()
    numbers = corrections[corrections["column"] != "au"].pivot(index="row", columns="column", values="value")
    for _, row in numbers.reindex(columns=["onset", "apex", "offset"]).astype(float).iterrows():
        assert row.dropna().is_monotonic_increasing


@pytest.mark.parametrize(
    ("name", "count", "row", "column", "value"),
    [
        ("casme", 11, 43, "offset", 74),
        ("casme2", 22, 238, "apex", 98),
        ("casme3", 7, 798, "offset", 2403),
        ("fourdme", 2, 145, "au", "au 144"),
        ("mmew", 32, 156, "offset", 106),
        ("samm", 9, 154, "au", "R14A"),
    ],
)
def test_exactly_the_named_cells_change(name, count, row, column, value):
    frame, findings = table(800, **({"au": "R14A or 17A"} if name == "samm" else {})), Findings()
    before = frame.copy()
    corrected = apply_corrections(frame, name, findings)
    pd.testing.assert_frame_equal(frame, before)
    changed = {(at, each) for each in COLUMNS for at in frame.index if frame.at[at, each] != corrected.at[at, each]}
    assert changed == set(read_corrections(name)[["row", "column"]].itertuples(index=False, name=None))
    assert len(changed) == len(findings.corrections) == count and corrected.at[row, column] == value
    assert all(each[0] == name and "tvaranka/meb" in each[2] for each in findings.corrections)


def test_rows_that_are_not_there_are_skipped():
    frame, findings = table(45).drop(index=42), Findings()
    corrected = apply_corrections(frame, "casme", findings)
    assert {row for _, row, _ in findings.corrections} == {"40", "43"} and corrected.index.equals(frame.index)
    assert apply_corrections(table(5), "casme", Findings()).equals(table(5))
    assert "apex" not in apply_corrections(frame.drop(columns="apex"), "casme", Findings())
    assert apply_corrections(table(145), "fourdme", Findings()).equals(table(145))  # one of two rows to swap


def test_a_cell_that_is_right_is_not_listed():
    findings = Findings()
    apply_corrections(table(800, onset=100.0, apex="120", offset=149), "casme", findings)
    wanted = {(row, name) for row in ("42", "43") for name in ("onset", "apex", "offset")}
    wanted |= {("54", "offset"), ("140", "offset")}
    assert {(row, text.split()[0]) for _, row, text in findings.corrections} == wanted


def test_an_estimated_apex_fills_empty_cells_only():
    findings = Findings()
    corrected = apply_corrections(table(300, apex=17), "casme2", findings)
    assert set(corrected["apex"]) == {17} and [row for _, row, _ in findings.corrections] == ["60"]
    for empty in (None, "/", ""):
        assert apply_corrections(table(300, apex=empty), "casme2", Findings()).at[29, "apex"] == 279
    assert set(apply_corrections(table(200, au="L12"), "samm", Findings())["au"]) == {"L12"}  # a clear text too
