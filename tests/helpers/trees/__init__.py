"""Miniature official releases: real names, headers, codes and faults, with small rendered images.

Each has `write_<name>(root, **faults)`, which writes the tree and returns what a reader should make of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from auformer.data_prep.datasets.catalogue import load
from auformer.data_prep.release import Findings


def read(name: str, root: Path, **options: Any) -> tuple[pd.DataFrame, Findings]:
    """What the reader of a data set gives, and what it found on the way."""
    findings = Findings()
    return load(name).read(root, findings, **options), findings


def kinds(findings: Findings) -> list[str]:
    """The kinds of its notes, in their order."""
    return [kind for kind, _, _ in findings.notes]


def assert_rows(rows: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Same rows in the same order, same values in every column that is expected; further columns may be there."""
    assert set(expected.columns) <= set(rows.columns), sorted(set(expected.columns) - set(rows.columns))
    assert rows.index.tolist() == list(range(len(rows))) and len(rows) == len(expected)
    for name in expected.columns:
        here, there = (
            table[name].astype(object).where(table[name].notna(), None).tolist() for table in (rows, expected)
        )
        assert here == there, name


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too, and what it holds."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def table(text: str) -> pd.DataFrame:
    """A table written in columns: names are text, `-` is nothing, all else a number."""
    header, *lines = (line.split() for line in text.split("\n") if line.strip())
    frame = pd.DataFrame(lines, columns=header, dtype=object).replace("-", None)
    numbers = [name for name in header if name not in ("subject", "sequence", "source")]
    return frame.assign(**{name: pd.to_numeric(frame[name]) for name in numbers})


def write_text(path: Path, text: str | bytes) -> Path:
    """A text file with the line ends as given; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path
