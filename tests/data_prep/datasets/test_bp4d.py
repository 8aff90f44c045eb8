"""BP4D: both layouts, pictures and videos, codes, intensities, folds, damaged copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auformer.data.manifest import read_manifest
from auformer.data_prep.datasets import bp4d
from auformer.data_prep.pipeline.prepare import prepare
from auformer.data_prep.release import Findings
from auformer.data_prep.verify.manifest import verify
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.bp4d import write_bp4d
from tests.helpers.trees.compare import assert_rows


def read(root: Path, **options: str) -> tuple:
    findings = Findings()
    return bp4d.read(root, findings, **options), findings


# what is read -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"pictures": "BP4D-training", "occurrence": "AUCoding", "intensity": "AUCoding/AU_INT"},
        {"pictures": "2D+3D", "intensity": "AU Intensity Codes3.0"},
        {"intensity": ""},
    ],
)
def test_every_layout_gives_the_same_rows(tmp_path: Path, layout: dict[str, str]) -> None:
    expected = write_bp4d(tmp_path / "BP4D é 1", **layout)
    rows, findings = read(tmp_path / "BP4D é 1")
    assert_rows(rows, expected)
    assert rows["fold"].tolist() == ["P1"] * 8 + ["P2"] * 6
    assert findings.incomplete == [] and findings.notes == []
    assert len(findings.absent["subjects"]) == 39 and len(findings.absent["sequences"]) == 12
    assert ("kinds of labels" in findings.absent) == (layout.get("intensity") == "")


def test_labels_and_codes_by_hand(tmp_path: Path) -> None:
    write_bp4d(tmp_path)
    table = tmp_path / "AUCoding" / "AU_OCC" / "M018_T1.csv"
    table.write_text("0,1,2,4,5,6,7,9,10,11,12,13,14,15,16,17,18,19,20,22,23,24,25,26,27,32,38,39\n"
                     "2," + ",".join(["1"] * 9 + ["0"] + ["9"] * 17) + "\n1," + ",".join(["0"] * 27) + "\n", encoding="utf-8")  # fmt: skip
    rows, _ = read(tmp_path)
    rows = rows[(rows["subject"] == "M018") & (rows["sequence"] == "T1")].set_index("frame")
    assert rows.index.tolist() == [1, 2]
    assert (
        rows.loc[2, ["AU1", "AU11", "AU12", "AU13", "AU39"]].tolist() == [1, 1, 0, -1, -1] and rows.loc[1, "AU1"] == 0
    )
    assert rows.loc[2, "source"] == "M018/T1/2.jpg"


def test_videos_count_from_the_first_frame(tmp_path: Path) -> None:
    expected = write_bp4d(tmp_path, videos="2DVideos")
    assert expected["source"].iloc[0] == "2DVideos/2F01_T1.avi" and expected["source_frame"].iloc[0] == 7
    for source in ("auto", "videos"):
        assert_rows(read(tmp_path, source=source)[0], expected)
    with pytest.raises(DatasetLayoutError, match="folders of pictures"):
        read(tmp_path, source="images")


def test_pictures_come_before_videos_unless_asked_otherwise(tmp_path: Path) -> None:
    write_bp4d(tmp_path, videos="")
    expected = write_bp4d(tmp_path)
    assert_rows(read(tmp_path)[0], expected)
    assert read(tmp_path, source="videos")[0]["source"].iloc[0] == "2F01_T1.avi"


def test_from_the_release_to_a_manifest(tmp_path: Path) -> None:
    expected = write_bp4d(tmp_path / "raw", faces=True)
    done = prepare("bp4d", tmp_path / "raw", tmp_path / "out", size=48, options={"source": "images"})
    manifest = read_manifest(done.manifest)
    assert manifest["status"].tolist() == ["ok"] * 14 and manifest["fold"].tolist() == ["P1"] * 8 + ["P2"] * 6
    assert (
        manifest["file"].tolist() == expected["source"].tolist()
        and manifest["AU12"].tolist() == expected["AU12"].tolist()
    )
    assert manifest["AU12_intensity"].isna().tolist() == expected["AU12_intensity"].isna().tolist()
    report = verify(done.manifest)
    assert report["correct"] and report["images"]["checked"] == 14 and report["images"]["missing"] == []
    assert [entry["kind"] for entry in report["notes"]] == ["partial"]


# what is not there ------------------------------------------------------------------------------------------------------------------


def test_half_a_copy_is_reported_and_whole_subjects_are_counted(tmp_path: Path) -> None:
    write_bp4d(tmp_path)
    shutil.rmtree(tmp_path / "F001" / "T5")
    (tmp_path / "AUCoding" / "AU_OCC" / "M018_T1.csv").unlink()
    (tmp_path / "F001" / "T1" / "0009.jpg").unlink()
    (tmp_path / "AU-Intensity-Codes3.0" / "AU12" / "F001_T1_AU12.csv").unlink()
    rows, findings = read(tmp_path)
    assert [where for where, _ in findings.incomplete] == ["F001/T5", "M018/T1"]
    assert (
        "pictures of its label file" in findings.incomplete[0][1]
        and "label file of its pictures" in findings.incomplete[1][1]
    )
    assert rows.loc[rows["sequence"] == "T5", "status"].tolist()[:4] == ["no_image"] * 4
    lost = rows[rows["status"] == "no_image"]
    assert (
        lost["source"].tolist() == [""] * 5
        and lost["frame"].tolist() == [9, 98, 99, 100, 101]
        and (lost["AU12"] >= 0).all()
    )
    assert [note[:2] for note in findings.notes] == [("labels without a picture", "F001/T1")]
    assert findings.absent["intensity files"] == ["F001_T1_AU12.csv"] and rows["AU12_intensity"].head(4).isna().all()


def test_intensity_of_other_frames_is_noted(tmp_path: Path) -> None:
    write_bp4d(tmp_path)
    path = tmp_path / "AU-Intensity-Codes3.0" / "AU06" / "F001_T1_AU06.csv"
    path.write_text("8,1\n9,2\n12,3\n", encoding="utf-8")
    rows, findings = read(tmp_path)
    assert rows["AU6_intensity"].head(4).fillna(-1).tolist() == [1, 2, -1, -1]
    assert findings.notes[0][1:] == ("F001_T1_AU06.csv", "3 frames are in one of the two files only")


def damage(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


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
def test_damaged_tables_name_file_line_and_value(tmp_path: Path, old: str, new: str, message: str) -> None:
    write_bp4d(tmp_path)
    damage(tmp_path / "AUCoding" / "AU_OCC" / "F001_T1.csv", old, new)
    with pytest.raises(DatasetLayoutError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"0,1,2\n", b"\xff\xfe\x00\x00", b"0,1\n1,0\n"])
def test_broken_files_are_refused(tmp_path: Path, content: bytes) -> None:
    write_bp4d(tmp_path)
    (tmp_path / "AUCoding" / "AU_OCC" / "F001_T1.csv").write_bytes(content)
    with pytest.raises(DatasetLayoutError, match=r"F001_T1\.csv"):
        read(tmp_path)
    (tmp_path / "AUCoding" / "AU_OCC" / "F001_T1.csv").unlink()
    (tmp_path / "AU-Intensity-Codes3.0" / "AU10" / "M018_T5_AU10.csv").write_bytes(content)
    with pytest.raises(DatasetLayoutError, match=r"M018_T5_AU10\.csv"):
        read(tmp_path)


def test_two_pictures_of_one_frame_and_a_wrong_root_are_refused(tmp_path: Path) -> None:
    write_bp4d(tmp_path / "raw")
    shutil.copy(tmp_path / "raw" / "F001" / "T1" / "0009.jpg", tmp_path / "raw" / "F001" / "T1" / "9.jpg")
    with pytest.raises(DatasetLayoutError, match=r"0009\.jpg and 9\.jpg are both frame 9"):
        read(tmp_path / "raw")
    with pytest.raises(
        DatasetLayoutError, match=r"occurrence tables such as F001_T1\.csv.*AUCoding/AU_OCC.*holds raw/"
    ):
        read(tmp_path)
    with pytest.raises(DatasetLayoutError, match="there is none at"):
        read(tmp_path / "nowhere")


def test_a_subject_that_bp4d_does_not_have_is_noted(tmp_path: Path) -> None:
    write_bp4d(tmp_path)
    codes = tmp_path / "AUCoding" / "AU_OCC"
    (codes / "F001_T1.csv").rename(codes / "F077_T1.csv")
    (tmp_path / "F001" / "T1").rename(tmp_path / "F077_T1")
    (tmp_path / "F077").mkdir()
    (tmp_path / "F077_T1").rename(tmp_path / "F077" / "T1")
    rows, findings = read(tmp_path)
    assert ("subjects that BP4D does not have", "labels", "F077") in findings.notes
    assert rows.loc[rows["subject"] == "F077", "fold"].isna().all()
