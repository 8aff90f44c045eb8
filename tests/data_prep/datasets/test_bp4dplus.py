"""BP4D+: archives read in place, videos, the columns that are not contiguous, known faults, damaged copies."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from auformer.data.manifest import read_manifest
from auformer.data_prep.datasets import bp4dplus
from auformer.data_prep.pipeline.prepare import prepare
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.bp4d import PLUS, write_bp4dplus
from tests.helpers.trees.compare import assert_rows


def read(root: Path, **options: str | bool) -> tuple:
    findings = Findings()
    return bp4dplus.read(root, findings, **options), findings


@pytest.mark.parametrize("layout", [{}, {"base": "."}, {"named": False}, {"videos": True}])
def test_every_layout_gives_the_same_rows(tmp_path: Path, layout: dict) -> None:
    expected = write_bp4dplus(tmp_path / "BP4D+ é", **layout)
    rows, findings = read(tmp_path / "BP4D+ é", corrections=False)
    assert_rows(rows, expected)
    assert findings.incomplete == [] and findings.notes == [] and findings.corrections == []
    assert len(findings.absent["subjects"]) == 138


def test_a_picture_0_shifts_the_numbers_by_one(tmp_path: Path) -> None:
    """Label n is the n-th picture, whether the archive counts from 0 or from 1."""
    expected = write_bp4dplus(tmp_path, first_number=0)
    assert expected["source_member"].iloc[0] == "F041/T6/0002.jpg" and expected["frame"].iloc[0] == 3
    rows, findings = read(tmp_path, corrections=False)
    assert_rows(rows, expected)
    assert {kind for kind, _, _ in findings.notes} == {"pictures numbered from 0"} and len(findings.notes) == 3


def test_unpacked_archives(tmp_path: Path) -> None:
    expected = write_bp4dplus(tmp_path)
    for archive in sorted((tmp_path / "RawData" / "2D+3D").glob("*.zip")):
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(archive.parent)
        archive.unlink()
    rows, _ = read(tmp_path, corrections=False)
    assert rows["source"].tolist() == [f"RawData/2D+3D/{member}" for member in expected["source_member"]]
    assert rows["source_member"].isna().all() and rows["AU12"].tolist() == expected["AU12"].tolist()


def test_known_faults_are_marked_listed_and_switchable(tmp_path: Path) -> None:
    write_bp4dplus(tmp_path, phantom=True)
    rows, findings = read(tmp_path)
    t7 = rows["sequence"] == "T7"
    assert set(rows.loc[t7, "status"]) == {"misaligned"} and set(rows.loc[~t7, "status"]) == {"ok"} and t7.sum() == 3
    assert (rows.loc[t7, "AU12"] >= 0).all()  # the labels stay
    assert [row for _, row, _ in findings.corrections] == ["F042/T11", "F041/T7"] and findings.incomplete == []
    assert all("rPPG-Toolbox" in text for _, _, text in findings.corrections)

    rows, findings = read(tmp_path, corrections=False)
    assert findings.corrections == [] and findings.incomplete == [
        ("F042/T11", "the pictures of its label file are not there")
    ]
    assert set(rows["status"]) == {"ok", "no_image"} and rows["sequence"].tolist()[-2:] == ["T11", "T11"]


def test_folds_are_ours_and_do_not_depend_on_the_copy(tmp_path: Path) -> None:
    write_bp4dplus(tmp_path)
    folds = read(tmp_path)[0].drop_duplicates("subject").set_index("subject")["fold"]
    assert folds.str.fullmatch(r"ours[1-4]").all()
    (tmp_path / "RawData" / "2D+3D" / "F041.zip").unlink()
    for path in (tmp_path / "RawData" / "AUCoding" / "AU_OCC").glob("F041*"):
        path.unlink()
    assert read(tmp_path)[0]["fold"].iloc[0] == folds["F042"]


def test_a_header_that_contradicts_the_positions_is_refused() -> None:
    names = ["0", *map(str, PLUS)]
    by_hand = {"AU1": 1, "AU4": 3, "AU12": 10, "AU14": 12, "AU24": 21, "AU27": 22, "AU39": 34}
    for header in (
        names,
        [str(i) for i in range(35)],
        ["frame", *(f"AU{au:02d}" for au in PLUS)],
        ["a"] * 35,
        [*names, "occlusion"],
    ):
        columns = bp4dplus.columns_of(header, Path("F001_T1.csv"))
        assert {au: columns[au] for au in by_hand} == by_hand and len(columns) == 34
    names[10] = "13"
    with pytest.raises(
        DatasetLayoutError, match=r"F001_T1\.csv: expected column 10 after the frame to be AU12.*header calls it '13'"
    ):
        bp4dplus.columns_of(names, Path("F001_T1.csv"))
    with pytest.raises(DatasetLayoutError, match="34 columns of action units after the frame, but the header has 27"):
        bp4dplus.columns_of(["0", *map(str, range(1, 28))], Path("F001_T1.csv"))


def test_the_table_of_positions_is_that_of_both_sources() -> None:
    """The 12 AUs of papers are at positions 1, 2, 3, 5, 6, 8, 10, 12, 13, 15, 20, 21, as another code base has them."""
    papers = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
    assert [bp4dplus.COLUMNS.index(au) + 1 for au in papers] == [1, 2, 3, 5, 6, 8, 10, 12, 13, 15, 20, 21]
    assert bp4dplus.COLUMNS == PLUS


def test_archives_with_bad_members_are_refused(tmp_path: Path) -> None:
    write_bp4dplus(tmp_path / "raw")
    archive = tmp_path / "raw" / "RawData" / "2D+3D" / "F041.zip"
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("F041/T6/004.jpg", b"x")
    with pytest.raises(DatasetLayoutError, match="both frame 4"):
        read(tmp_path / "raw")
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("../F041/T6/0001.jpg", b"x")
    with pytest.raises(DatasetLayoutError, match="leads out of the archive"):
        read(tmp_path / "raw")


def test_half_a_copy_is_reported(tmp_path: Path) -> None:
    write_bp4dplus(tmp_path)
    (tmp_path / "RawData" / "2D+3D" / "F042.zip").unlink()
    (tmp_path / "RawData" / "AUCoding" / "AU_OCC" / "F041_T7.csv").unlink()
    rows, findings = read(tmp_path)
    assert findings.incomplete == [
        ("F042/T1", "the pictures of its label file are not there"),
        ("F041/T7", "the label file of its pictures is not there"),
    ]
    assert rows["status"].tolist() == ["ok"] * 3 + ["no_image"] * 3
    (tmp_path / "RawData" / "2D+3D" / "F041.zip").unlink()
    with pytest.raises(DatasetLayoutError, match="archives of pictures or videos"):
        read(tmp_path)


def test_from_the_release_to_a_manifest(tmp_path: Path) -> None:
    expected = write_bp4dplus(tmp_path / "raw", faces=True)
    manifest = read_manifest(prepare("bp4dplus", tmp_path / "raw", tmp_path / "out", size=48).manifest)
    assert manifest["status"].tolist() == ["ok"] * 3 + ["misaligned"] * 3 + ["ok"] * 3
    assert manifest["AU39"].tolist() == expected["AU39"].tolist()
    assert manifest["file"].iloc[0] == "RawData/2D+3D/F041.zip/F041/T6/0003.jpg"
