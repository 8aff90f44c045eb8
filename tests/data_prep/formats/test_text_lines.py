"""Label files in text: one per frame, numbers between blanks, whole numbers of a range."""

from __future__ import annotations

from pathlib import Path

import pytest

from auformer.data_prep.formats.text_lines import code, number_rows, read_lines
from auformer.errors import DatasetLayoutError
from tests.helpers.trees import write_text


def test_number_rows(tmp_path: Path) -> None:
    path = write_text(tmp_path / "é 1.txt", "\ufeffAU intensity\r\n\r\n   4.0000000e+00   2.0000000e+00\r\n-1 7\n")
    assert list(number_rows(path)) == [(3, [4.0, 2.0]), (4, [-1.0, 7.0])]
    assert list(number_rows(write_text(tmp_path / "empty.txt", ""))) == []


@pytest.mark.parametrize(("text", "line"), [("1 2\nAU\n", 2), ("1 inf\n", 1), ("1 two\n", 1), ("\n\nAU\nAU\n", 4)])
def test_only_the_first_line_may_be_a_header(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(DatasetLayoutError, match=rf"a\.txt, line {line}: expected numbers between blanks"):
        list(number_rows(write_text(tmp_path / "a.txt", text)))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="there is none; check the copy"):
        read_lines(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetLayoutError, match="expected text"):
        read_lines(tmp_path / "a.txt")


@pytest.mark.parametrize("value", [0.0, 6.0, 2.5, -1.0])
def test_codes_outside_the_range(value: float) -> None:
    wanted = rf"a\.txt, line 3: expected the intensity to be 1 to 5, but got {value:g}"
    with pytest.raises(DatasetLayoutError, match=wanted):
        code(value, range(1, 6), "intensity", Path("a.txt"), 3)
