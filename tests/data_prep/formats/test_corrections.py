"""Known faults: the tables themselves, and that exactly the named cells change."""

from __future__ import annotations

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
    return pd.DataFrame(
        {name: [cells.get(name, f"{name} {row}") for row in range(rows)] for name in COLUMNS}, dtype=object
    )


def test_there_is_a_table_for_every_name_and_no_other() -> None:
    folder = Path(auformer.data_prep.__file__).parent / "assets" / "corrections"
    assert set(NAMES) <= {path.stem for path in folder.glob("*.csv")}
    assert read_corrections("casme_sq").empty


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_are_sound(name: str) -> None:
    corrections = read_corrections(name)
    assert not corrections.duplicated(["row", "column"]).any()
    assert set(corrections["column"]) <= {"onset", "apex", "offset", "au"} and set(corrections["when"]) <= {
        "",
        "missing",
        "ambiguous",
    }
    assert corrections["source"].str.startswith("tvaranka/meb:").all()
    for each in corrections.itertuples():
        if each.column == "au":
            assert each.value.startswith("row ") or not parse_aus(each.value).unread
        else:
            assert each.value.isdecimal()
    wide = (
        corrections[corrections["column"] != "au"]
        .pivot_table(index="row", columns="column", values="value", aggfunc="first")
        .astype(float)
    )
    wide = wide.reindex(columns=["onset", "apex", "offset"])
    assert not (wide["onset"] > wide["apex"]).any() and not (wide["apex"] > wide["offset"]).any()
    assert not (wide["onset"] > wide["offset"]).any()


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
def test_exactly_the_named_cells_change(name: str, count: int, row: int, column: str, value: object) -> None:
    frame, findings = table(800, **({"au": "R14A or 17A"} if name == "samm" else {})), Findings()
    before = frame.copy()
    corrected = apply_corrections(frame, name, findings)
    pd.testing.assert_frame_equal(frame, before)
    changed = {(at, each) for each in COLUMNS for at in frame.index if frame.at[at, each] != corrected.at[at, each]}
    assert changed == set(read_corrections(name)[["row", "column"]].itertuples(index=False, name=None))
    assert len(changed) == len(findings.corrections) == count and corrected.at[row, column] == value
    assert all(each[0] == name and "tvaranka/meb" in each[2] for each in findings.corrections)


def test_rows_that_are_not_there_are_skipped() -> None:
    frame, findings = table(45).drop(index=42), Findings()
    corrected = apply_corrections(frame, "casme", findings)
    assert {int(row) for _, row, _ in findings.corrections} == {
        40,
        43,
    } and corrected.index.tolist() == frame.index.tolist()
    assert apply_corrections(table(5), "casme", Findings()).equals(table(5))
    assert apply_corrections(frame.drop(columns="apex"), "casme", Findings()).columns.tolist() == [
        "subject", "onset", "offset", "au",
    ]  # fmt: skip


def test_a_cell_that_is_right_is_not_listed() -> None:
    findings = Findings()
    apply_corrections(table(800, onset=100.0, apex="120", offset=149), "casme", findings)
    all_three = {(row, name) for row in ("42", "43") for name in ("onset", "apex", "offset")}
    assert {(row, text.split()[0]) for _, row, text in findings.corrections} == all_three | {
        ("54", "offset"),
        ("140", "offset"),
    }


def test_an_estimated_apex_fills_empty_cells_only() -> None:
    findings = Findings()
    corrected = apply_corrections(table(300, apex=17), "casme2", findings)
    assert set(corrected["apex"]) == {17} and [row for _, row, _ in findings.corrections] == ["60"]
    for empty in (None, "/", ""):
        assert apply_corrections(table(300, apex=empty), "casme2", Findings()).at[29, "apex"] == 279


def test_an_au_text_that_is_clear_is_kept() -> None:
    corrected = apply_corrections(table(200, au="L12"), "samm", Findings())
    assert set(corrected["au"]) == {"L12"}


def test_a_swap_of_rows_of_which_one_is_missing() -> None:
    assert apply_corrections(table(145), "fourdme", Findings()).equals(table(145))
