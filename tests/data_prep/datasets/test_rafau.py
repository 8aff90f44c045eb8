"""RAF-AU: sides, `null` as unknown, ambiguous and unread texts, damaged copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auformer.data_prep.datasets import rafau
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.compare import assert_rows
from tests.helpers.trees.others import write_text
from tests.helpers.trees.photo_sets import write_rafau


def read(root: Path) -> tuple:
    findings = Findings()
    return rafau.read(root, findings), findings


def test_rows(tmp_path: Path) -> None:
    expected = write_rafau(tmp_path)
    rows, findings = read(tmp_path)
    assert_rows(rows, expected)
    assert findings.notes == [
        ("ambiguous AU text", "RAFAU_label.txt line 5", "14 or 17: AU14, AU17 are -1"),
        ("photos without labels", "RAFAU_label.txt", "1 of 4 lines say `null` or nothing"),
    ]
    assert findings.incomplete == [] and findings.absent == {}


def test_unknown_codes_are_reported_and_open(tmp_path: Path) -> None:
    write_rafau(tmp_path)
    write_text(tmp_path / "RAFAU_label.txt", "0001.jpg 4+XY\n0002.jpg 12\n0003.jpg\n0010.jpg 40+1\n")
    rows, findings = read(tmp_path)
    assert (
        rows["AU4"].tolist() == [1, 0, -1, -1]
        and rows["AU12"].tolist() == [-1, 1, -1, -1]
        and rows["AU1"].tolist()[3] == 1
    )
    assert [(where, text.split(":")[0]) for kind, where, text in findings.notes if kind == "AU text not read"] == [
        ("RAFAU_label.txt line 1", "4+XY"),
        ("RAFAU_label.txt line 4", "40+1"),
    ]


def test_half_a_copy_is_reported(tmp_path: Path) -> None:
    write_rafau(tmp_path)
    (tmp_path / "aligned" / "0003_aligned.jpg").rename(tmp_path / "aligned" / "0004_aligned.jpg")
    rows, findings = read(tmp_path)
    assert rows["status"].tolist() == ["ok", "ok", "no_image", "ok"] and findings.absent == {
        "lines for pictures that are there": ["0004"]
    }
    assert ("labels without a picture", "aligned", "1 of 4, the first is 0003.jpg") in findings.notes
    for path in (tmp_path / "aligned").iterdir():
        path.unlink()
    assert [where for where, _ in read(tmp_path)[1].incomplete] == ["aligned"]


def test_two_files_for_one_photo(tmp_path: Path) -> None:
    write_rafau(tmp_path)
    shutil.copy(tmp_path / "aligned" / "0001_aligned.jpg", tmp_path / "aligned" / "0001_aligned.png")
    with pytest.raises(
        DatasetLayoutError, match=r"one picture for 0001_aligned\.jpg, but .*0001_aligned\.jpg and .*0001_aligned\.png"
    ):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0001.jpg 4\n0001.jpg 12\n", "line 2: 0001.jpg is there for the second time, as in line 1"),
        ("0001.jpg 4\n12+4\n", "line 2: expected a picture and its codes"),
        (b"\xff\xfe\x00", "expected text, but it cannot be read"),
    ],
)
def test_damaged_labels(tmp_path: Path, content: str | bytes, message: str) -> None:
    write_rafau(tmp_path)
    (tmp_path / "RAFAU_label.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetLayoutError, match=message):
        read(tmp_path)
