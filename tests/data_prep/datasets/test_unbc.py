"""UNBC-McMaster: a file per frame, empty files, AU43 without intensity, damaged copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auformer.data_prep.datasets import unbc
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.compare import assert_rows
from tests.helpers.trees.others import write_text, write_unbc

LABELS = Path("Frame_Labels", "FACS", "042-ll042", "ll042t1aaaff")


def read(root: Path, **options: int) -> tuple:
    findings = Findings()
    return unbc.read(root, findings, **options), findings


@pytest.mark.parametrize("threshold", [1, 2, 3])
def test_rows(tmp_path: Path, threshold: int) -> None:
    expected = write_unbc(tmp_path, threshold=threshold)
    rows, findings = read(tmp_path, threshold=threshold)
    assert_rows(rows, expected)
    assert "AU43_intensity" not in rows.columns
    assert len(findings.absent["subjects"]) == 23 and findings.incomplete == [] and findings.notes == []


def test_pictures_in_a_folder_too_many(tmp_path: Path) -> None:
    """As an archive `Images` leaves them that is unpacked into a folder of that name."""
    expected = write_unbc(tmp_path)
    (tmp_path / "Images").rename(tmp_path / "all")
    shutil.move(tmp_path / "all", tmp_path / "Images" / "Images")
    assert_rows(read(tmp_path)[0], expected.assign(source=("Images/" + expected["source"]).tolist()))


def test_an_empty_file_is_a_frame_without_action_units(tmp_path: Path) -> None:
    write_unbc(tmp_path)
    rows = read(tmp_path)[0]
    assert rows.loc[0, list(unbc.RELEASE.au_names)].tolist() == [0] * 10
    assert rows["AU43"].tolist() == [0, 1, 0, 0, 0] and rows["AU4"].tolist() == [0, 1, 1, 0, 0]


def test_what_the_list_leaves_open(tmp_path: Path) -> None:
    """Intensity 0 of a listed action unit, and one outside the release's ten."""
    write_unbc(tmp_path)
    write_text(tmp_path / LABELS / "ll042t1aaaff001_facs.txt", "4 0 0 0\n27 3 0 0\n43 0 0 0\n6 2 0 0\n")
    rows, findings = read(tmp_path)
    assert rows.loc[0, ["AU4", "AU43", "AU6", "AU7"]].tolist() == [-1, -1, 1, 0] and rows[
        "AU4_intensity"
    ].isna().tolist()[:2] == [True, False]
    assert [kind for kind, _, _ in findings.notes].count("action unit listed with intensity 0") == 2
    assert ("action units outside the release's list", "ll042t1aaaff001_facs.txt", "AU27 is left out") in findings.notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("4 7 0 0\n", r"ll042t1aaaff002_facs\.txt, line 1: expected the intensity to be 0 to 5, but got 7"),
        ("4 1 0 0 0\n", "line 1: expected an action unit, its intensity and two numbers, but got 5"),
        ("4 1 0 0\nnothing here\n", "line 2: expected numbers between blanks"),
        ("400 1 0 0\n", "line 1: expected the action unit to be 1 to 99, but got 400"),
    ],
)
def test_damaged_files(tmp_path: Path, content: str, message: str) -> None:
    write_unbc(tmp_path)
    write_text(tmp_path / LABELS / "ll042t1aaaff002_facs.txt", content)
    with pytest.raises(DatasetLayoutError, match=message):
        read(tmp_path)


def test_half_a_copy_is_reported(tmp_path: Path) -> None:
    write_unbc(tmp_path)
    shutil.rmtree(tmp_path / "Images" / "109-ib109")
    (tmp_path / "Images" / "042-ll042" / "ll042t1aaaff" / "ll042t1aaaff003.png").unlink()
    shutil.copytree(
        tmp_path / "Images" / "042-ll042" / "ll042t1aaaff", tmp_path / "Images" / "124-dn124" / "dn124t1aaaff"
    )
    rows, findings = read(tmp_path)
    assert rows["status"].tolist() == ["ok", "ok", "no_image", "no_image", "no_image"]
    assert [where for where, _ in findings.incomplete] == [
        "Images/124-dn124/dn124t1aaaff",
        "Frame_Labels/FACS/109-ib109/ib109t2aunaff",
    ]
    assert findings.notes == [("labels without a picture", "042-ll042/ll042t1aaaff", "1 of 3 frames, the first is 3")]
    with pytest.raises(DatasetLayoutError, match="--partial"):
        findings.require_complete(partial=False)


def test_two_files_for_one_frame(tmp_path: Path) -> None:
    write_unbc(tmp_path)
    write_text(tmp_path / LABELS / "ll042t1aaaff0002_facs.txt", "")
    with pytest.raises(
        DatasetLayoutError, match=r"ll042t1aaaff0002_facs\.txt and ll042t1aaaff002_facs\.txt are frame 2"
    ):
        read(tmp_path)
