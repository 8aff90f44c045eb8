"""BP4D and BP4D+: layouts, images, archives and videos, codes, intensities, folds, known faults, damaged copies."""

import shutil
import zipfile
from pathlib import Path

import pytest

from auformer.data_prep.datasets import bp4dplus
from auformer.errors import DatasetLayoutError
from tests.helpers.trees import assert_rows, kinds, read
from tests.helpers.trees.bp4d import PLUS, write_bp4d, write_bp4dplus

CODES = Path("AUCoding", "AU_OCC")
ARCHIVES = Path("RawData", "2D+3D")


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"images": "BP4D-training", "occurrence": "AUCoding", "intensity": "AUCoding/AU_INT"},
        {"images": "2D+3D", "intensity": "AU Intensity Codes3.0"},
        {"intensity": ""},
    ],
)
def test_every_layout_gives_the_same_rows(tmp_path, layout):
    expected = write_bp4d(tmp_path / "BP4D é 1", **layout)
    rows, findings = read("bp4d", tmp_path / "BP4D é 1")
    assert_rows(rows, expected)
    assert rows["fold"].tolist() == ["P1"] * 8 + ["P2"] * 6
    assert findings.incomplete == [] and findings.notes == []
    assert len(findings.absent["subjects"]) == 39 and len(findings.absent["sequences"]) == 12
    assert ("kinds of labels" in findings.absent) == (layout.get("intensity") == "")


def test_labels_and_codes_by_hand(tmp_path):
    write_bp4d(tmp_path)
    header = "0,1,2,4,5,6,7,9,10,11,12,13,14,15,16,17,18,19,20,22,23,24,25,26,27,32,38,39"
    lines = [header, "2," + ",".join("1" * 9 + "0" + "9" * 17), "1," + ",".join("0" * 27)]
    (tmp_path / CODES / "M018_T1.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = read("bp4d", tmp_path)[0]
    rows = rows[(rows["subject"] == "M018") & (rows["sequence"] == "T1")].set_index("frame")
    assert rows.index.tolist() == [1, 2] and rows.loc[2, "source"] == "M018/T1/2.jpg" and rows.loc[1, "AU1"] == 0
    assert rows.loc[2, ["AU1", "AU11", "AU12", "AU13", "AU39"]].tolist() == [1, 1, 0, -1, -1]


def test_videos_count_from_the_first_frame(tmp_path):
    expected = write_bp4d(tmp_path, videos="2DVideos")
    assert expected["source"].iloc[0] == "2DVideos/2F01_T1.avi" and expected["source_frame"].iloc[0] == 7
    for source in ("auto", "videos"):
        assert_rows(read("bp4d", tmp_path, source=source)[0], expected)
    with pytest.raises(DatasetLayoutError, match="folders of images"):
        read("bp4d", tmp_path, source="images")


def test_images_come_before_videos_unless_asked_otherwise(tmp_path):
    write_bp4d(tmp_path, videos="")
    expected = write_bp4d(tmp_path)
    assert_rows(read("bp4d", tmp_path)[0], expected)
    assert read("bp4d", tmp_path, source="videos")[0]["source"].iloc[0] == "2F01_T1.avi"


def test_half_a_copy_is_reported_and_whole_subjects_are_counted(tmp_path):
    write_bp4d(tmp_path)
    shutil.rmtree(tmp_path / "F001" / "T5")
    for name in (CODES / "M018_T1.csv", "F001/T1/0009.jpg", "AU-Intensity-Codes3.0/AU12/F001_T1_AU12.csv"):
        (tmp_path / name).unlink()
    rows, findings = read("bp4d", tmp_path)
    assert findings.incomplete == [
        ("F001/T5", "the images of its label file are not there"),
        ("M018/T1", "the label file of its images is not there"),
    ]
    lost = rows[rows["status"] == "no_image"]
    assert lost["source"].tolist() == [""] * 5 and lost["frame"].tolist() == [9, 98, 99, 100, 101]
    assert (lost["AU12"] >= 0).all()
    assert [note[:2] for note in findings.notes] == [("labels without an image", "F001/T1")]
    assert findings.absent["intensity files"] == ["F001_T1_AU12.csv"] and rows["AU12_intensity"].head(4).isna().all()


def test_intensity_of_other_frames_is_noted(tmp_path):
    write_bp4d(tmp_path)
    path = tmp_path / "AU-Intensity-Codes3.0" / "AU06" / "F001_T1_AU06.csv"
    path.write_text("8,1\n9,2\n12,3\n", encoding="utf-8")
    rows, findings = read("bp4d", tmp_path)
    assert rows["AU6_intensity"].head(4).fillna(-1).tolist() == [1, 2, -1, -1]
    assert findings.notes[0][1:] == ("F001_T1_AU06.csv", "3 frames are in one of the two files only")
    path.write_bytes(b"\xff\xfe\x00\x00")
    with pytest.raises(DatasetLayoutError, match=r"F001_T1_AU06\.csv"):
        read("bp4d", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n9,", "\n9,3", r"F001_T1\.csv, line 3: expected AU1 to be one of the codes 0, 1, 9, but got (30|31)"),
        ("\n10,", "\n10,x", r"line 4: expected AU1 .* but got 'x[01]'"),
        ("\n10,", "\n10,,", r"line 4"),
        ("\n9,", "\n8,", "line 3: frame 8 is there for the second time"),
        ("\n8,", "\n0,", "line 2: expected a frame number from 1 on, but got 0"),
        ("\n8,", "\n8.5,", "line 2: expected a frame number from 1 on, but got 8.5"),
        (",12,", ",120,", "AU12 has no column"),
        ("0,1,2,", "frame,AU1,AU2,", "AU1, AU2 have no column; the header is frame, AU1, AU2"),
    ],
)
def test_damaged_tables_name_file_line_and_value(tmp_path, old, new, message):
    write_bp4d(tmp_path)
    path = tmp_path / CODES / "F001_T1.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DatasetLayoutError, match=message):
        read("bp4d", tmp_path)


def test_a_subject_that_bp4d_does_not_have_is_noted(tmp_path):
    write_bp4d(tmp_path)
    (tmp_path / CODES / "F001_T1.csv").rename(tmp_path / CODES / "F077_T1.csv")
    (tmp_path / "F077").mkdir()
    (tmp_path / "F001" / "T1").rename(tmp_path / "F077" / "T1")
    rows, findings = read("bp4d", tmp_path)
    assert ("subjects that BP4D does not have", "labels", "F077") in findings.notes
    assert rows.loc[rows["subject"] == "F077", "fold"].isna().all()


@pytest.mark.parametrize("layout", [{}, {"base": "."}, {"named": False}, {"videos": True}])
def test_every_layout_of_bp4dplus_gives_the_same_rows(tmp_path, layout):
    expected = write_bp4dplus(tmp_path / "BP4D+ é", **layout)
    rows, findings = read("bp4dplus", tmp_path / "BP4D+ é", corrections=False)
    assert_rows(rows, expected)
    assert findings.incomplete == [] and findings.notes == [] and findings.corrections == []
    assert len(findings.absent["subjects"]) == 138


def test_an_image_0_shifts_the_numbers_by_one(tmp_path):
    """Label n is the n-th image, whether the archive counts from 0 or from 1."""
    expected = write_bp4dplus(tmp_path, first_number=0)
    assert expected["source_member"].iloc[0] == "F041/T6/0002.jpg" and expected["frame"].iloc[0] == 3
    rows, findings = read("bp4dplus", tmp_path, corrections=False)
    assert_rows(rows, expected)
    assert kinds(findings) == ["images numbered from 0"] * 3


def test_unpacked_archives(tmp_path):
    expected = write_bp4dplus(tmp_path)
    for archive in sorted((tmp_path / ARCHIVES).glob("*.zip")):
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(archive.parent)
        archive.unlink()
    rows, _ = read("bp4dplus", tmp_path, corrections=False)
    assert rows["source"].tolist() == [f"RawData/2D+3D/{member}" for member in expected["source_member"]]
    assert rows["source_member"].isna().all() and rows["AU12"].tolist() == expected["AU12"].tolist()


def test_known_faults_are_marked_listed_and_switchable(tmp_path):
    write_bp4dplus(tmp_path, phantom=True)
    rows, findings = read("bp4dplus", tmp_path)
    t7 = rows["sequence"] == "T7"
    assert set(rows.loc[t7, "status"]) == {"misaligned"} and set(rows.loc[~t7, "status"]) == {"ok"} and t7.sum() == 3
    assert (rows.loc[t7, "AU12"] >= 0).all()  # the labels stay
    assert [row for _, row, _ in findings.corrections] == ["F042/T11", "F041/T7"] and findings.incomplete == []
    assert all("rPPG-Toolbox" in text for _, _, text in findings.corrections)
    rows, findings = read("bp4dplus", tmp_path, corrections=False)
    assert findings.corrections == []
    assert findings.incomplete == [("F042/T11", "the images of its label file are not there")]
    assert set(rows["status"]) == {"ok", "no_image"} and rows["sequence"].tolist()[-2:] == ["T11", "T11"]


def test_folds_are_ours_and_do_not_depend_on_the_copy(tmp_path):
    write_bp4dplus(tmp_path)
    folds = read("bp4dplus", tmp_path)[0].drop_duplicates("subject").set_index("subject")["fold"]
    assert folds.str.fullmatch(r"ours[1-4]").all()
    (tmp_path / ARCHIVES / "F041.zip").unlink()
    for path in (tmp_path / "RawData" / CODES).glob("F041*"):
        path.unlink()
    assert read("bp4dplus", tmp_path)[0]["fold"].iloc[0] == folds["F042"]


def test_a_header_that_contradicts_the_positions_is_refused():
    """The 12 AUs of papers are at positions 1, 2, 3, 5, 6, 8, 10, 12, 13, 15, 20, 21, as another code base has them."""
    names = ["0", *map(str, PLUS)]
    by_hand = {"AU1": 1, "AU4": 3, "AU12": 10, "AU14": 12, "AU24": 21, "AU27": 22, "AU39": 34}
    positions = [str(i) for i in range(35)]
    by_name = ["frame", *(f"AU{au:02d}" for au in PLUS)]
    for header in (names, positions, by_name, ["a"] * 35, [*names, "occlusion"]):
        columns = bp4dplus.columns_of(header, Path("F001_T1.csv"))
        assert {au: columns[au] for au in by_hand} == by_hand and len(columns) == 34
        papers = [columns[f"AU{au}"] for au in (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)]
        assert papers == [1, 2, 3, 5, 6, 8, 10, 12, 13, 15, 20, 21]
    names[10] = "13"
    wanted = r"F001_T1\.csv: expected column 10 after the frame to be AU12.*header calls it '13'"
    with pytest.raises(DatasetLayoutError, match=wanted):
        bp4dplus.columns_of(names, Path("F001_T1.csv"))
    with pytest.raises(DatasetLayoutError, match="34 columns of action units after the frame, but the header has 27"):
        bp4dplus.columns_of(["0", *map(str, range(1, 28))], Path("F001_T1.csv"))


def test_archives_with_bad_members_are_refused(tmp_path):
    write_bp4dplus(tmp_path)
    for mode, name, message in (("a", "F041/T6/004.jpg", "both frame 4"), ("w", "../F041/T6/1.jpg", "leads out of")):
        with zipfile.ZipFile(tmp_path / ARCHIVES / "F041.zip", mode) as opened:
            opened.writestr(name, b"x")
        with pytest.raises(DatasetLayoutError, match=message):
            read("bp4dplus", tmp_path)


def test_half_a_copy_of_bp4dplus_is_reported(tmp_path):
    write_bp4dplus(tmp_path)
    (tmp_path / ARCHIVES / "F042.zip").unlink()
    (tmp_path / "RawData" / CODES / "F041_T7.csv").unlink()
    rows, findings = read("bp4dplus", tmp_path)
    assert findings.incomplete == [
        ("F042/T1", "the images of its label file are not there"),
        ("F041/T7", "the label file of its images is not there"),
    ]
    assert rows["status"].tolist() == ["ok"] * 3 + ["no_image"] * 3
    (tmp_path / ARCHIVES / "F041.zip").unlink()
    with pytest.raises(DatasetLayoutError, match="archives of images or videos"):
        read("bp4dplus", tmp_path)
