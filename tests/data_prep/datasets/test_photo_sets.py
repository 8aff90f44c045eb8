"""EmotioNet, RAF-AU and Bosphorus: photos by name, texts and tables of labels, what they leave open, half copies."""

import shutil
from pathlib import Path

import openpyxl
import pytest

from auformer.data_prep.datasets import emotionet
from auformer.errors import DatasetLayoutError
from tests.helpers.trees import assert_rows, kinds, read, write_text
from tests.helpers.trees.photo_sets import BOSPHORUS, write_bosphorus, write_emotionet, write_rafau

TABLES = {
    "xlsx": "EmotioNet_FACS_aws_2020_24600.xlsx", "csv": "EmotioNet_FACS_aws_2020_24600.csv",
    "txt": "dataFile_0001.txt", "list": "image_list_1.csv",
}  # fmt: skip
LIST = Path("facscodes", "facscodes.lst")


@pytest.mark.parametrize("form", list(TABLES))
def test_rows_of_emotionet(tmp_path, form):
    """999 is unknown, not 0; 40 is no action unit; AU3 of the table neither."""
    expected = write_emotionet(tmp_path, form=form)
    rows, findings = read("emotionet", tmp_path)
    assert_rows(rows, expected)
    assert {name for name in rows.columns if name.startswith("AU")} == set(emotionet.RELEASE.au_names)
    text = "1 of 3 photos are known by their address only"
    assert findings.notes == [("labels without an image", TABLES[form], text)] and findings.incomplete == []


def test_other_action_units_are_kept_where_they_are_annotated(tmp_path):
    write_emotionet(tmp_path, form="csv")
    path = tmp_path / TABLES["csv"]
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    fields = lines[0].split(",")
    fields[2 + 13], fields[2 + 6] = "1.0", ""  # AU14, AU7
    write_text(path, "\n".join([header, ",".join(fields), *lines[1:]]) + "\n")
    rows = read("emotionet", tmp_path)[0]
    assert rows["AU14"].tolist() == [1, -1, -1] and "AU7" not in rows.columns


def test_the_folder_of_the_images(tmp_path):
    """Of two images of one name, the one in the folder that the address names is meant; else --images says which."""
    write_emotionet(tmp_path, form="list", images="flat")
    for folder in ("small", "flat/N_0000000001"):
        (tmp_path / folder).mkdir()
    shutil.copy(tmp_path / "flat" / "Ünal 7.jpg", tmp_path / "small" / "Ünal 7.png")
    with pytest.raises(DatasetLayoutError, match=r"one image for Ünal 7\.jpg, but .*flat.*and .*small"):
        read("emotionet", tmp_path)
    assert read("emotionet", tmp_path, images="small")[0]["source"].tolist() == ["", "", "small/Ünal 7.png"]
    path = tmp_path / TABLES["list"]
    write_text(path, path.read_text(encoding="utf-8").replace("Ünal 7.jpg", "small/Ünal 7.jpg"))
    assert read("emotionet", tmp_path)[0]["source"].tolist()[2] == "small/Ünal 7.png"
    with pytest.raises(DatasetLayoutError, match="the folder of --images"):
        read("emotionet", tmp_path, images="nowhere")
    for folder in ("flat", "small"):
        shutil.rmtree(tmp_path / folder)
    rows, findings = read("emotionet", tmp_path)
    assert rows["status"].tolist() == ["no_image"] * 3
    assert [where for where, _ in findings.incomplete] == [TABLES["list"]]


def test_two_kinds_of_table(tmp_path):
    expected = write_emotionet(tmp_path, form="txt")
    write_emotionet(tmp_path, form="list")
    wanted = r"one kind of table in .*, but got dataFile_0001\.txt, image_list_1\.csv"
    with pytest.raises(DatasetLayoutError, match=wanted):
        read("emotionet", tmp_path)
    assert_rows(read("emotionet", tmp_path, table="dataFile_*.txt")[0], expected)
    with pytest.raises(DatasetLayoutError, match=r"Expected the table of --table in"):
        read("emotionet", tmp_path, table="other.csv")


def test_photos_named_twice(tmp_path):
    write_emotionet(tmp_path, form="txt")
    path = tmp_path / TABLES["txt"]
    lines = path.read_text(encoding="utf-8").splitlines()
    write_text(path, "\n".join([*lines, lines[0].replace("\t1\t", "\t0\t", 1)]))
    rows, findings = read("emotionet", tmp_path)
    assert rows["AU1"].tolist() == [1, -1, 0]
    text = "1 rows in all; the labels of a photo's first row are kept"
    assert ("photos named twice", "dataFile_0001.txt line 4", text) in findings.notes


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
def test_damaged_tables_of_emotionet(tmp_path, form, old, new, message):
    write_emotionet(tmp_path, form=form)
    path = tmp_path / TABLES[form]
    text = path.read_bytes().decode()
    assert old in text
    write_text(path, text.replace(old, new))
    with pytest.raises(DatasetLayoutError, match=message):
        read("emotionet", tmp_path)


def test_an_empty_table_and_a_sheet_without_addresses(tmp_path):
    write_emotionet(tmp_path)
    book = openpyxl.Workbook()
    book.active.append(["'AU 1'", "'AU 2'"])
    book.save(tmp_path / TABLES["xlsx"])
    with pytest.raises(DatasetLayoutError, match=r"Expected a column 'URL'"):
        read("emotionet", tmp_path)
    write_text(tmp_path / TABLES["csv"], "URL,AU1\n")
    with pytest.raises(DatasetLayoutError, match="expected a row per photo"):
        read("emotionet", tmp_path, table=TABLES["csv"])


def test_rows_of_rafau(tmp_path):
    expected = write_rafau(tmp_path)
    rows, findings = read("rafau", tmp_path)
    assert_rows(rows, expected)
    assert findings.notes == [
        ("ambiguous AU text", "RAFAU_label.txt line 5", "'14 or 17': AU14, AU17 are -1"),
        ("photos without labels", "RAFAU_label.txt", "1 of 4 lines say `null` or nothing"),
    ]
    assert findings.incomplete == [] and findings.absent == {}


def test_unknown_codes_are_reported_and_open(tmp_path):
    write_rafau(tmp_path)
    write_text(tmp_path / "RAFAU_label.txt", "0001.jpg 4+XY\n0002.jpg 12\n0003.jpg\n0010.jpg 40+1\n")
    rows, findings = read("rafau", tmp_path)
    assert rows["AU4"].tolist() == [1, 0, -1, -1] and rows["AU12"].tolist() == [-1, 1, -1, -1]
    assert rows["AU1"].tolist()[3] == 1
    unread = [(where, text.split(":")[0]) for kind, where, text in findings.notes if kind == "AU text not read"]
    assert unread == [("RAFAU_label.txt line 1", "'4+XY'"), ("RAFAU_label.txt line 4", "'40+1'")]


def test_half_a_copy_of_rafau_is_reported(tmp_path):
    write_rafau(tmp_path)
    (tmp_path / "aligned" / "0003_aligned.jpg").rename(tmp_path / "aligned" / "0004_aligned.jpg")
    rows, findings = read("rafau", tmp_path)
    assert rows["status"].tolist() == ["ok", "ok", "no_image", "ok"]
    assert findings.absent == {"lines for images that are there": ["0004"]}
    assert ("labels without an image", "aligned", "1 of 4, the first is 0003.jpg") in findings.notes
    for path in (tmp_path / "aligned").iterdir():
        path.unlink()
    assert [where for where, _ in read("rafau", tmp_path)[1].incomplete] == ["aligned"]


@pytest.mark.parametrize("base", ["BosphorusDB/BosphorusDB", "BosphorusDB", "."])
@pytest.mark.parametrize("header", [2, 0])
def test_rows_of_bosphorus(tmp_path, base, header):
    """The list may come without header; turned heads are left out; AU4 without a letter has no intensity."""
    expected = write_bosphorus(tmp_path, base=base)
    write_text(tmp_path / LIST, "".join(BOSPHORUS.splitlines(keepends=True)[2 - header :]))
    rows, findings = read("bosphorus", tmp_path)
    assert_rows(rows, expected.assign(source=expected["source"].str.removeprefix("./")))
    text = "3 are left out (CR, YR, PR_U, PR_D in the name)"
    assert findings.notes == [("images of turned or tilted heads", "facscodes.lst", text)]
    assert findings.incomplete == [] and len(findings.absent["subjects"]) == 103


def test_unknown_codes_of_bosphorus_are_reported_and_open(tmp_path):
    write_bosphorus(tmp_path)
    text = BOSPHORUS.replace("-> 12C+R6B", "-> 12C+Q9").replace("bs000_N_N_0 -> 0", "bs000_N_N_0 -> ")
    write_text(tmp_path / LIST, text)
    rows, findings = read("bosphorus", tmp_path)
    assert rows["AU12"].tolist() == [1, -1, 0, 1] and rows["AU6"].tolist()[0] == -1
    found = {kind: (where, text) for kind, where, text in findings.notes}
    assert found["AU text not read"][0] == "facscodes.lst line 3" and "'12C+Q9': Q9;" in found["AU text not read"][1]
    assert found["images without codes"] == ("facscodes.lst line 4", "bs000_N_N_0: all action units unknown")


def test_half_a_copy_of_bosphorus_is_reported(tmp_path):
    write_bosphorus(tmp_path)
    base = tmp_path / "BosphorusDB" / "BosphorusDB"
    (base / "bs000" / "bs000_N_N_0.png").unlink()
    (base / "bs011").rename(base / "bs012")
    for path in (base / "bs012").iterdir():
        path.rename(path.with_name(path.name.replace("bs011", "bs012")))
    rows, findings = read("bosphorus", tmp_path)
    assert rows["status"].tolist() == ["ok", "no_image", "no_image", "no_image"]
    assert [where for where, _ in findings.incomplete] == ["bs011", "bs012"]
    assert ("labels without an image", "bs000", "1 of 2, the first is bs000_N_N_0") in findings.notes
    assert "images of turned or tilted heads" in kinds(findings)
