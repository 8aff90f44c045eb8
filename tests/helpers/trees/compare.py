"""Compare what a reader gives with what it should."""

from __future__ import annotations

import pandas as pd


def assert_rows(rows: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Same rows in the same order, same values in every column that is expected; further columns may be there."""
    assert set(expected.columns) <= set(rows.columns), sorted(set(expected.columns) - set(rows.columns))
    assert rows.index.tolist() == list(range(len(rows)))
    assert len(rows) == len(expected)
    for name in expected.columns:
        here, there = (
            table[name].astype(object).where(table[name].notna(), None).tolist() for table in (rows, expected)
        )
        assert here == there, name
