"""DISFA+: label files with remarks, numbers by file name, folds of DISFA, and the refusal of DISFA as its training set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auformer.data.datamodule import AUDataModule
from auformer.data.manifest import read_manifest
from auformer.data.splits import published_fold
from auformer.data_prep.datasets import disfaplus
from auformer.data_prep.pipeline.prepare import prepare
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError, ManifestError
from tests.helpers.trees.compare import assert_rows
from tests.helpers.trees.disfa import write_disfa, write_disfaplus


def read(root: Path, **options: int) -> tuple:
    findings = Findings()
    return disfaplus.read(root, findings, **options), findings


@pytest.mark.parametrize("base", ["DISFAPlusDataset", "."])
@pytest.mark.parametrize("threshold", [2, 3])
def test_rows(tmp_path: Path, base: str, threshold: int) -> None:
    expected = write_disfaplus(tmp_path, base=base, threshold=threshold)
    rows, findings = read(tmp_path, threshold=threshold)
    assert_rows(rows, expected)
    assert rows["frame"].tolist() == [0, 1, 2] * 3
    assert findings.absent["label files"] == ["SN003/Y_a sad face é/AU20.txt"] and len(findings.absent["subjects"]) == 7
    assert findings.incomplete == [] and findings.notes == []


def test_every_person_is_in_the_part_that_disfa_has_them_in(tmp_path: Path) -> None:
    write_disfaplus(tmp_path)
    rows = read(tmp_path)[0]
    assert rows["fold"].tolist() == ["D3"] * 6 + ["D1"] * 3
    assert all(published_fold("disfa", subject) for subject in disfaplus.SUBJECTS)


def test_half_a_copy_is_reported(tmp_path: Path) -> None:
    write_disfaplus(tmp_path, base="")
    shutil.rmtree(tmp_path / "Images" / "SN003" / "A1_AU1_TrailNo_1")
    (tmp_path / "Labels" / "SN010").rename(tmp_path / "elsewhere")
    (tmp_path / "Images" / "SN003" / "Y_a sad face é" / "001.jpg").unlink()
    rows, findings = read(tmp_path)
    assert [where for where, _ in findings.incomplete] == [
        "Images/SN010/A1_AU1_TrailNo_1",
        "Labels/SN003/A1_AU1_TrailNo_1",
    ]
    assert rows["status"].tolist() == ["no_image"] * 3 + ["ok", "no_image", "ok"]
    assert [note[0] for note in findings.notes] == ["labels without a picture"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("000.jpg 6\n", r"AU4\.txt, line 1: expected an intensity of 0 to 5, but got '6'"),
        ("# a\n000.jpg 1\n0.jpg 2\n", "line 3: frame 0 is there for the second time"),
        ("000.jpg\n", "line 1: expected a picture and its intensity"),
        ("cover.jpg 1\n", "line 1: expected a picture and its intensity"),
    ],
)
def test_damaged_label_files(tmp_path: Path, content: str, message: str) -> None:
    write_disfaplus(tmp_path)
    (tmp_path / "DISFAPlusDataset" / "Labels" / "SN010" / "A1_AU1_TrailNo_1" / "AU4.txt").write_text(
        content, encoding="utf-8"
    )
    with pytest.raises(DatasetLayoutError, match=message):
        read(tmp_path)


def test_a_label_file_that_ends_early_or_is_empty(tmp_path: Path) -> None:
    write_disfaplus(tmp_path)
    labels = tmp_path / "DISFAPlusDataset" / "Labels" / "SN010" / "A1_AU1_TrailNo_1"
    (labels / "AU4.txt").write_text("000.jpg 3\n", encoding="utf-8")
    (labels / "AU5.txt").write_text("# nothing\n", encoding="utf-8")
    rows, findings = read(tmp_path)
    assert rows["AU4"].tolist()[6:] == [1, -1, -1] and rows["AU5"].tolist()[6:] == [-1] * 3
    assert {where for _, where, _ in findings.notes} == {"SN010/A1_AU1_TrailNo_1 AU4", "SN010/A1_AU1_TrailNo_1 AU5"}
    with pytest.raises(DatasetLayoutError, match=r"label files such as AU1\.txt"):
        read(tmp_path / "DISFAPlusDataset" / "Images")


def test_trained_on_disfa_and_tested_on_disfaplus_is_refused(tmp_path: Path) -> None:
    """Not another data set with other people: SN003 is in both."""
    write_disfa(tmp_path / "raw" / "disfa", faces=True, subjects=("SN001", "SN003"))
    write_disfaplus(tmp_path / "raw" / "disfaplus", faces=True)
    paths = {
        name: prepare(name, tmp_path / "raw" / name, tmp_path / name, size=48).manifest
        for name in ("disfa", "disfaplus")
    }
    plus = read_manifest(paths["disfaplus"])
    assert (
        set(plus["status"]) == {"ok"}
        and plus["file"].iloc[0] == "DISFAPlusDataset/Images/SN003/A1_AU1_TrailNo_1/000.jpg"
    )
    with pytest.raises(
        ManifestError,
        match=r"1 are in `train` and in `test`: SN003 of disfa \(DISFA\+ and FEAFA-B show people of DISFA\)",
    ):
        AUDataModule(
            str(paths["disfa"]), test=str(paths["disfaplus"]), val_fraction=0, au_names="disfa", leave_out_missing=True
        )
