"""The fast way for plain CSV files: the same table as the opener of anybody's tables gives, or none at all."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from auformer.data import table_file
from auformer.data.plain_csv import read_plain
from auformer.data.table_file import read_table

HEADER = "dataset,subject,sequence,frame,face,file,time_s,status,AU1_prob,AU1_active,AU2_prob,note\n"
ROWS = (
    'user,talk.mp4,talk.mp4,0,0,"über, talk.mp4",0.04,ok,0.1234567,1,1e-05,007\n'
    "user,talk.mp4,talk.mp4,1,0,a, 0.08,no_face,,,, x \n"
    'user,"a ""b""",s,2,0,a,0.12,ok,1,0,nan,NA\n'
)


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "predictions.csv"
    path.write_bytes(text.encode(encoding))
    return path


def plain(path: Path) -> pd.DataFrame | None:
    return read_plain(path, table_file._is_ours, lambda name: table_file._kind(name) != "")


def slow(path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """The table without the fast way."""
    monkeypatch.setattr(table_file, "read_plain", lambda *words: None)
    table = read_table(path)
    monkeypatch.undo()
    return table


@pytest.mark.parametrize("rows", [ROWS, ROWS.replace("\n", "\r\n"), ROWS.replace("0.12,ok", "0.12,") + "\n\n"])
def test_the_same_as_the_opener(rows, tmp_path, monkeypatch):
    path = write(tmp_path, HEADER + rows)
    assert plain(path) is not None
    pd.testing.assert_frame_equal(read_table(path), slow(path, monkeypatch))


@pytest.mark.parametrize(
    "text",
    [
        (HEADER + ROWS).replace(",", ";"),
        HEADER + ROWS.replace("0.12", '"0,12"'),
        HEADER + ROWS.replace(",1e-05,", ",NA,"),
        HEADER + ROWS.replace(",1e-05,", ",inf,"),
        HEADER + HEADER + ROWS,
        HEADER + ROWS.replace(",007", ""),
        "sep=,\n" + HEADER + ROWS,
        HEADER.replace(",note", ", note") + ROWS,
        HEADER.replace(",note", ",") + ROWS,
        HEADER.replace(",note", ",face") + ROWS,
        HEADER.replace("subject", "who") + ROWS,
        HEADER,
        "",
    ],
    ids=["semicolons", "decimal comma", "a word", "infinite", "header twice", "short row", "sep line", "blank in name",
         "no name", "name twice", "no table of ours", "no rows", "empty"],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_the_opener(text, tmp_path):
    assert plain(write(tmp_path, text)) is None


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_other_encodings_are_left_to_the_opener(encoding, tmp_path):
    assert plain(write(tmp_path, HEADER + ROWS, encoding)) is None
