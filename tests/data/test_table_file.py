"""The opener of anybody's tables, kind by kind; `tests/fuzz` mixes them."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from auformer.data.cells import INTENSITY, LABEL, NUMBER
from auformer.data.table_file import open_table, place_of, table_names
from auformer.errors import ManifestError

KINDS = {"frame": NUMBER, "x": NUMBER, "on": LABEL, "level": INTENSITY}


def opened(path, text, *, encoding="utf-8", **options):
    path = path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    options = {"header": lambda names: "frame" in names, "kinds": lambda name: KINDS.get(name, ""), **options}
    return open_table(path, **options)


def values(table):
    return [[None if cell != cell else cell for cell in row] for row in table.to_numpy(object).tolist()]


@pytest.mark.parametrize(
    ("text", "expected", "notes"),
    [
        ("frame,x\n1,2.5\n", [[1, 2.5]], []),
        ("frame;x\n1;2,5\n", [[1, 2.5]], ["numbers have decimal commas"]),
        ('frame,x\n"1","2,5"\n', [[1, 2.5]], ["numbers have decimal commas"]),
        ("sep=;\nframe;x\n1;2.5\n", [[1, 2.5]], []),
        ('"sep=|"\nframe|x\n1|2.5\n', [[1, 2.5]], []),
        ("My study, 2020\n\nframe;x\n1;2.5\n", [[1, 2.5]], ["1 line above the header passed over"]),
        ("frame\tx\n1\t2.5\nframe\tx\n2\t3\n", [[1, 2.5], [2, 3]],
         ["the header stands 1 more time among the rows and is passed over"]),
        ("frame,x\nframe,x\n1,2\n", [[1, 2]], ["the header stands 1 more time among the rows and is passed over"]),
        (" frame, x \n 1, 2.5 \n,\n\n2,3", [[1, 2.5], [2, 3]], []),
        ("frame,x,,\n1,2.5,,\n", [[1, 2.5]], []),
        ("frame,x\n1,2.5,\n", [[1, 2.5]], []),
        ("frame;x\n1;1.234,5\n2;0,5\n", [[1, 1234.5], [2, 0.5]], ["numbers have decimal commas"]),
        ("frame;x\n1;1,234\n2;0.5\n", [[1, 1234], [2, 0.5]], ["commas between the thousands of numbers"]),
        ("frame;x\n1;1\u202f234,5\n", [[1, 1234.5]], ["numbers have decimal commas"]),
        ("frame,on\n1,TRUE\n2,False\n", [[1, 1], [2, 0]], ["TRUE and FALSE read as 1 and 0 (2 cells)"]),
        ("frame,level\n1,A\n2,e\n3,0\n", [[1, 1], [2, 5], [3, 0]],
         ["the letters A to E read as the FACS intensities 1 to 5 (2 cells)"]),
        ("frame,x\n1,NA\n2,-nan(ind)\n3,-1.#J\n4,7\n", [[1, None], [2, None], [3, None], [4, 7]],
         ["`NA` read as missing", "`-nan(ind)` read as missing", "`-1.#J` read as missing"]),
        ('"frame"\t"x"\n"1"\t3\t4.5\n"2"\t5\t6.5\n', [[3, 4.5], [5, 6.5]],
         ["the first cell of each row has no name in the header (names of rows, as R writes them)"]),
        ("frame,x\n1\n2,3\n", [[1, None], [2, 3]],
         ["1 row with fewer cells than the header: the missing ones are empty"]),
        ("frame,x\n1,2e-3\n", [[1, 0.002]], []),
    ],
)  # fmt: skip
def test_what_a_table_says(tmp_path, text, expected, notes):
    table = opened(tmp_path, text)
    assert values(table) == expected and table.attrs["notes"] == notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame;x\n1;1,234\n", r"line 2: `1,234` in x may be 1.234 or 1234, and the table does not say which"),
        ("frame;x\n1;1.234\n2;0,5\n", r"line 2: `1.234` in x may be 1.234 or 1234"),
        ("frame;x\n1;1,234\n2;1.234\n", r"may be 1.234 or 1234"),
        (
            "frame;x\n1;0,5\n2;0.5\n",
            r"line 2: `0,5` in x has a decimal comma and `0.5` \(.*line 3, x\) a decimal point",
        ),
        ("frame,x\n1,0,5\n", r"line 2: 3 cells with commas between them, more than the header, which has 2"),
        ("frame,x\n1,5-Apr\n", r"line 2: expected `x` to be a number or empty, but got '5-Apr'; a spreadsheet program"),
        ("frame,x\n1,1_000\n", r"but got '1_000'"),
        ("frame,x\n1,inf\n", r"but got 'inf'"),
        ("frame,x\n1,#DIV/0!\n", r"but got '#DIV/0!'"),
        ("frame,x\n1,TRUE\n", r"TRUE and FALSE are labels"),
        ("frame,on\n1,B\n", r"letters are intensities: call the column `AU.._intensity`"),
        ("frame,x,x\n1,2,3\n", r"every column once, but got x more than once"),
        ('frame,x\n1,"2\n3,4\n', r"line 2: the cells cannot be told apart .*a quotation mark is not closed"),
        ("frame,x\n1,2\n3", r"line 3: the last line has 1 of 2 cells and no end"),
        ("frame;x\n1;2;3\n1;4;5\n", r"line 3: 3 cells with semicolons between them, more than the header, which has 2"),
        ("", r"the file is empty"),
        ("\n\n", r"the file is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", r"this is no text and no table that is known"),
        (b"\x1f\x8b\x08\0", r"this is compressed \(gzip\): unpack it"),
        ("frame,x\n1,é\n".encode() + b"2,\xe9\n", r"line 3: the file is UTF-8 text, but byte 0xe9 there is not"),
        ("frame,имя\n1,2\n".encode("cp1251"), r"line 1: the text is neither UTF-8 nor Windows-1252"),
    ],
)
def test_what_is_refused(tmp_path, text, message):
    with pytest.raises(ManifestError, match=re.escape(str(tmp_path / "t.csv")) + ".*" + message):
        opened(tmp_path, text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_ends_of_lines(tmp_path, encoding, end):
    table = opened(tmp_path, end.join(["frame;name", "1;Müller – ß", "2;b", ""]), encoding=encoding)
    assert table["name"].tolist() == ["Müller – ß", "b"] and table.index.tolist() == [2, 3]
    assert bool(table.attrs["notes"]) == (encoding == "cp1252")


def test_text_stays_text_and_rows_know_their_place(tmp_path):
    table = opened(tmp_path, "note\nframe,id\n1,007\n\n2,NA\n", keep=lambda name: name != "x")
    assert table["id"].tolist() == ["007", "NA"] and place_of(table, 1) == f"{tmp_path / 't.csv'}, line 5"
    assert table_names(tmp_path / "t.csv", lambda names: "frame" in names) == ["frame", "id"]


def test_words_of_one_s_own(tmp_path):
    assert values(opened(tmp_path, "frame,x\n1,Unknown\n", missing=("unknown",))) == [[1, None]]
    table = opened(tmp_path, "frame,x\n1,Unknown\n", strict=False)
    assert table["x"].tolist() == ["Unknown"]


def test_numbers_are_exact(tmp_path):
    numbers = np.random.default_rng(0).normal(size=2000) * 10.0 ** np.arange(-8, 12).repeat(100)
    table = opened(tmp_path, "frame,x\n" + "".join(f"0,{number!r}\n" for number in numbers.tolist()))
    assert table["x"].tolist() == numbers.tolist()


def test_parquet_whatever_its_name(tmp_path):
    pd.DataFrame({"frame": [1, 2], "x": [0.5, None], "id": ["a", None]}).to_parquet(tmp_path / "t.csv")
    table = open_table(tmp_path / "t.csv", kinds=lambda name: KINDS.get(name, ""))
    assert values(table) == [[1, 0.5, "a"], [2, None, ""]]


def test_no_file(tmp_path):
    for read in (open_table, lambda path: table_names(path, bool)):
        with pytest.raises(ManifestError, match="there is no such file"):
            read(tmp_path / "none.csv")
