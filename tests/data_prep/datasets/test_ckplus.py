"""CK+: the peak's codes, intensity 0 as present and not scored, blank lines and headings, damaged copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auformer.data_prep.datasets import ckplus
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.compare import assert_rows
from tests.helpers.trees.others import write_ckplus, write_text

FACS = Path("FACS", "S010", "002", "S010_002_00000014_facs.txt")


def read(root: Path) -> tuple:
    findings = Findings()
    return ckplus.read(root, findings), findings


@pytest.mark.parametrize("folder", ["FACS", "FACS_labels/FACS"])
def test_rows(tmp_path: Path, folder: str) -> None:
    expected = write_ckplus(tmp_path, folder=folder)
    rows, findings = read(tmp_path)
    assert_rows(rows, expected)
    assert set(ckplus.RELEASE.au_names) <= set(rows.columns) and len(ckplus.RELEASE.au_names) == 30
    assert [note[0] for note in findings.notes] == ["sequences that are not there"] and "590 of 593" in findings.notes[
        0
    ][2]
    assert findings.incomplete == []


def test_only_the_coded_frame_has_a_row(tmp_path: Path) -> None:
    write_ckplus(tmp_path)
    assert read(tmp_path)[0]["frame"].tolist() == [11, 14, 2]


def test_codes_beyond_the_action_units_are_reported(tmp_path: Path) -> None:
    """50 is speech; AU19 is an action unit outside the list of CK+; AU4 is there twice."""
    write_ckplus(tmp_path)
    write_text(tmp_path / FACS, "50 0\n19 0\n4 0\n4 2\n")
    rows, findings = read(tmp_path)
    assert (
        rows["AU19"].tolist() == [0, 1, 0]
        and rows["AU4_intensity"].tolist() == [0, 2, 3]
        and "AU50" not in rows.columns
    )
    assert {kind for kind, _, _ in findings.notes} >= {"codes that are no action unit", "action unit listed twice"}


def test_an_empty_file_is_a_face_without_action_units(tmp_path: Path) -> None:
    write_ckplus(tmp_path)
    write_text(tmp_path / FACS, "")
    rows, findings = read(tmp_path)
    aus = list(ckplus.RELEASE.au_names)
    assert not rows.loc[1, aus].any() and rows.loc[0, aus].any()
    assert ("FACS file without an action unit", FACS.name, "all are read as absent") in findings.notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("4 6\n", r"S010_002_00000014_facs\.txt, line 1: expected the intensity to be 0 to 5, but got 6"),
        ("4 1.5\n", "line 1: expected the intensity to be 0 to 5, but got 1.5"),
        ("1 2\n\n0 1\n", "line 3: expected the action unit to be 1 to 99, but got 0"),
        ("4\n", "line 1: expected an action unit and its intensity, but got 1 numbers"),
        ("4 1\nAU five\n", "line 2: expected numbers between blanks, but got 'AU five'"),
        ("4 nan\n", "line 1: expected numbers between blanks"),
    ],
)
def test_damaged_files(tmp_path: Path, content: str, message: str) -> None:
    write_ckplus(tmp_path)
    write_text(tmp_path / FACS, content)
    with pytest.raises(DatasetLayoutError, match=message):
        read(tmp_path)


def test_half_a_copy_is_reported(tmp_path: Path) -> None:
    write_ckplus(tmp_path)
    images = tmp_path / "cohn-kanade-images"
    shutil.rmtree(images / "S005")
    (images / "S132" / "008" / "S132_008_00000002.png").unlink()
    (tmp_path / FACS).unlink()
    rows, findings = read(tmp_path)
    assert rows["status"].tolist() == ["no_image", "no_image"] and rows["source"].tolist() == ["", ""]
    assert [where for where, _ in findings.incomplete] == [
        "cohn-kanade-images/S010/002",
        "FACS/S005/001/S005_001_00000011_facs.txt",
    ]
    assert (
        "labels without a picture",
        "S132_008_00000002_facs.txt",
        "frame 2 is not among the pictures of its sequence",
    ) in findings.notes


def test_two_files_for_one_frame(tmp_path: Path) -> None:
    write_ckplus(tmp_path)
    images = tmp_path / "cohn-kanade-images" / "S010" / "002"
    shutil.copy(images / "S010_002_00000014.png", images / "S010_002_014.png")
    with pytest.raises(DatasetLayoutError, match=r"S010_002_00000014\.png and S010_002_014\.png are both frame 14"):
        read(tmp_path)
    (images / "S010_002_014.png").unlink()
    write_text(tmp_path / FACS.with_name("S010_002_014_facs.txt"), "4 1\n")
    with pytest.raises(DatasetLayoutError, match="one FACS file per frame"):
        read(tmp_path)
