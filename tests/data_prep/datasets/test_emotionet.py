"""EmotioNet: three forms of the labels, 999, photos by name, photos that are known by address only, damaged tables."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auformer.data_prep.datasets import emotionet
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.compare import assert_rows
from tests.helpers.trees.others import write_text
from tests.helpers.trees.photo_sets import write_emotionet

TABLES = {
    "xlsx": "EmotioNet_FACS_aws_2020_24600.xlsx",
    "csv": "EmotioNet_FACS_aws_2020_24600.csv",
    "txt": "dataFile_0001.txt",
    "list": "image_list_1.csv",
}


def read(root: Path, **options: str) -> tuple:
    findings = Findings()
    return emotionet.read(root, findings, **options), findings


@pytest.mark.parametrize("form", list(TABLES))
def test_rows(tmp_path: Path, form: str) -> None:
    """999 is unknown, not 0; 40 is no action unit; AU3 of the table neither."""
    expected = write_emotionet(tmp_path, form=form)
    rows, findings = read(tmp_path)
    assert_rows(rows, expected)
    assert {name for name in rows.columns if name.startswith("AU")} == set(emotionet.RELEASE.au_names)
    assert findings.notes == [
        ("labels without a picture", TABLES[form], "1 of 3 photos are known by their address only")
    ]
    assert findings.incomplete == []


def test_other_action_units_are_kept_where_they_are_annotated(tmp_path: Path) -> None:
    write_emotionet(tmp_path, form="csv")
    path = tmp_path / TABLES["csv"]
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    fields = lines[0].split(",")
    fields[2 + 13], fields[2 + 6] = "1.0", ""  # AU14, AU7
    write_text(path, "\n".join([header, ",".join(fields), *lines[1:]]) + "\n")
    rows = read(tmp_path)[0]
    assert rows["AU14"].tolist() == [1, -1, -1] and "AU7" not in rows.columns


def test_the_folder_of_the_pictures(tmp_path: Path) -> None:
    """Of two pictures of one name, the one in the folder that the address names is meant; else --images says which."""
    write_emotionet(tmp_path, form="list", images="flat")
    for folder in ("small", "flat/N_0000000001"):
        (tmp_path / folder).mkdir()
    shutil.copy(tmp_path / "flat" / "Ünal 7.jpg", tmp_path / "small" / "Ünal 7.png")
    with pytest.raises(DatasetLayoutError, match=r"one picture for Ünal 7\.jpg, but .*flat.*and .*small"):
        read(tmp_path)
    assert read(tmp_path, images="small")[0]["source"].tolist() == ["", "", "small/Ünal 7.png"]
    path = tmp_path / TABLES["list"]
    write_text(path, path.read_text(encoding="utf-8").replace("Ünal 7.jpg", "small/Ünal 7.jpg"))
    assert read(tmp_path)[0]["source"].tolist()[2] == "small/Ünal 7.png"
    with pytest.raises(DatasetLayoutError, match="the folder of --images"):
        read(tmp_path, images="nowhere")


def test_two_kinds_of_table(tmp_path: Path) -> None:
    expected = write_emotionet(tmp_path, form="txt")
    write_emotionet(tmp_path, form="list")
    with pytest.raises(
        DatasetLayoutError, match=r"one kind of table in .*, but got dataFile_0001\.txt, image_list_1\.csv"
    ):
        read(tmp_path)
    assert_rows(read(tmp_path, table="dataFile_*.txt")[0], expected)
    with pytest.raises(DatasetLayoutError, match=r"Expected the table of --table in"):
        read(tmp_path, table="other.csv")


def test_photos_named_twice(tmp_path: Path) -> None:
    write_emotionet(tmp_path, form="txt")
    path = tmp_path / TABLES["txt"]
    lines = path.read_text(encoding="utf-8").splitlines()
    write_text(path, "\n".join([*lines, lines[0].replace("\t1\t", "\t0\t", 1)]))
    rows, findings = read(tmp_path)
    assert rows["AU1"].tolist() == [1, -1, 0]
    assert (
        "photos named twice",
        "dataFile_0001.txt line 4",
        "1 rows in all; the labels of a photo's first row are kept",
    ) in findings.notes


def test_no_picture_at_all(tmp_path: Path) -> None:
    write_emotionet(tmp_path)
    shutil.rmtree(tmp_path / "imgs")
    rows, findings = read(tmp_path)
    assert rows["status"].tolist() == ["no_image"] * 3 and [where for where, _ in findings.incomplete] == [
        TABLES["xlsx"]
    ]


@pytest.mark.parametrize(
    ("form", "old", "new", "message"),
    [
        ("txt", ".jpg\t1\t", ".jpg\t7\t", r"dataFile_0001\.txt line 1: expected AU1 to be 0, 1 or 999, but got '7'"),
        ("txt", "\t999\r\n", "\r\n", r"dataFile_0001\.txt, line 1: expected 62 columns, but got 61"),
        ("csv", "'AU ", "'XY ", r"expected columns URL \(or path\) and 'AU 1'"),
        ("csv", '"URL"', '"Address"', r"expected columns URL \(or path\) and 'AU 1'"),
        ("list", "N_0000000001_00002.jpg", "", r"image_list_1\.csv line 3: expected the address or path of a photo"),
    ],
)
def test_damaged_tables(tmp_path: Path, form: str, old: str, new: str, message: str) -> None:
    write_emotionet(tmp_path, form=form)
    path = tmp_path / TABLES[form]
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new).encode())
    with pytest.raises(DatasetLayoutError, match=message):
        read(tmp_path)


def test_an_empty_table_and_a_sheet_without_addresses(tmp_path: Path) -> None:
    import openpyxl

    write_emotionet(tmp_path)
    book = openpyxl.Workbook()
    book.active.append(["'AU 1'", "'AU 2'"])
    book.save(tmp_path / TABLES["xlsx"])
    with pytest.raises(DatasetLayoutError, match=r"Expected a column 'URL'"):
        read(tmp_path)
    write_text(tmp_path / TABLES["csv"], "URL,AU1\n")
    with pytest.raises(DatasetLayoutError, match="expected a row per photo"):
        read(tmp_path, table=TABLES["csv"])
