"""DISFA and DISFA+: threshold, cameras, frames, label files that end early, people of both, damaged copies."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from auformer.data.datamodule import AUDataModule
from auformer.data.manifest import read_manifest
from auformer.data.splits import published_fold
from auformer.data_prep import prepare, verify
from auformer.data_prep.datasets import disfaplus
from auformer.errors import DatasetLayoutError, ManifestError
from tests.helpers.trees import assert_rows, kinds, read, write_text
from tests.helpers.trees.disfa import write_disfa, write_disfaplus

LABELS = Path("ActionUnit_Labels")
PLUS_LABELS = Path("DISFAPlusDataset", "Labels", "SN010", "A1_AU1_TrailNo_1")


@pytest.mark.parametrize("threshold", [1, 2, 5])
def test_thresholds(tmp_path, threshold):
    expected = write_disfa(tmp_path, threshold=threshold)
    rows, findings = read("disfa", tmp_path, threshold=threshold)
    assert_rows(rows, expected)
    assert rows["fold"].tolist() == ["D1"] * 4 + ["D2"] * 4 and len(findings.absent["subjects"]) == 25
    assert rows["source_frame"].tolist() == [0, 1, 2, 3] * 2 and findings.incomplete == []
    text = "it kept 1,793; here all stay, so that its numbers are not ours"
    assert findings.notes == [("frames that JAA-Net left out", "SN021", text)]


def test_the_threshold_by_hand(tmp_path):
    write_disfa(tmp_path)
    write_text(tmp_path / LABELS / "SN001" / "SN001_au12.txt", "1,0\n2,1\n3,2\n4,5\n")
    rows = read("disfa", tmp_path)[0]
    assert rows["AU12"].tolist()[:4] == [0, 0, 1, 1] and rows["AU12_intensity"].tolist()[:4] == [0, 1, 2, 5]
    assert read("disfa", tmp_path, threshold=1)[0]["AU12"].tolist()[:4] == [0, 1, 1, 1]
    with pytest.raises(ValueError, match="`threshold` to be 1 to 5, but got 0"):
        read("disfa", tmp_path, threshold=0)


@pytest.mark.parametrize("camera", ["left", "right"])
@pytest.mark.parametrize("folder", ["Videos_{}Camera", "Video_{}Camera"])
def test_both_cameras_in_both_spellings(tmp_path, camera, folder):
    expected = write_disfa(tmp_path, camera=camera)
    there = next(path for path in tmp_path.iterdir() if path.name.startswith("Video"))
    folder = folder.format(camera.capitalize())
    there.rename(tmp_path / folder)
    expected["source"] = expected["source"].str.replace(there.name, folder)
    assert_rows(read("disfa", tmp_path, camera=camera)[0], expected)
    other = {"left": "right", "right": "left"}[camera]
    wanted = f"videos of the {other} camera such as {other.capitalize()}VideoSN001_comp.avi"
    with pytest.raises(DatasetLayoutError, match=wanted):
        read("disfa", tmp_path, camera=other)


def test_labels_and_videos_of_other_lengths(tmp_path):
    """Frames beyond the last label get no row, labels beyond the last frame keep theirs; both are reported."""
    write_disfa(tmp_path / "long", frames=6)
    rows, findings = read("disfa", tmp_path / "long")
    assert len(rows) == 8 and kinds(findings).count("labels end before the video") == 2
    assert "6 frames, the last label is for frame 4" in findings.notes[0][2]
    expected = write_disfa(tmp_path / "short", frames=3)
    rows, findings = read("disfa", tmp_path / "short")
    assert_rows(rows, expected)
    assert ("labels without an image", "SN001", "1 of 4 frames, the first is 4") in findings.notes


def test_half_a_copy_is_reported(tmp_path):
    write_disfa(tmp_path)
    videos = tmp_path / "Videos_LeftCamera"
    (videos / "LeftVideoSN001_comp.avi").rename(videos / "LeftVideoSN032_comp.avi")
    (tmp_path / LABELS / "SN021" / "SN021_au9.txt").unlink()
    write_text(tmp_path / LABELS / "SN021" / "SN021_au6.txt", "1,0\n2,3\n")
    rows, findings = read("disfa", tmp_path)
    assert findings.incomplete == [
        ("Videos_LeftCamera/LeftVideoSN032_comp.avi", "the label files of this video are not there"),
        ("ActionUnit_Labels/SN001", "the video of the left camera is not there"),
        ("ActionUnit_Labels/SN021/SN021_au9.txt", "the label file is not there"),
    ]
    assert rows["status"].tolist() == ["no_image"] * 4 + ["ok"] * 4 and rows["AU9"].tolist()[4:] == [-1] * 4
    assert rows["AU6"].tolist()[4:] == [0, 1, -1, -1] and np.isnan(rows["AU6_intensity"].iloc[-1])
    assert ("label file shorter than the others", "SN021 AU6", "2 of 4 frames have no label") in findings.notes
    with pytest.raises(DatasetLayoutError, match="3 files are missing"):
        findings.require_complete(partial=False)


def test_files_of_other_names(tmp_path):
    write_disfa(tmp_path)
    for path in sorted((tmp_path / LABELS).rglob("*.txt")):
        path.rename(path.with_name(path.name.replace("_au", "-")))
    with pytest.raises(DatasetLayoutError, match="no name there is like that"):
        read("disfa", tmp_path)


def test_options_reach_the_report_of_verify(tmp_path):
    expected = write_disfa(tmp_path / "raw", camera="right", faces=True)
    done = prepare("disfa", tmp_path / "raw", tmp_path / "out", size=48, options={"camera": "right", "threshold": 1})
    manifest = read_manifest(done.manifest)
    assert manifest["status"].tolist() == ["ok"] * 8 and manifest["image"].iloc[0] == "crops/SN001/right/1.jpg"
    assert manifest["AU26_intensity"].tolist() == expected["AU26_intensity"].tolist()
    assert sorted(entry["kind"] for entry in verify(done.manifest)["problems"]) == ["camera", "threshold"]


@pytest.mark.parametrize("base", ["DISFAPlusDataset", "."])
@pytest.mark.parametrize("threshold", [2, 3])
def test_rows_of_disfaplus(tmp_path, base, threshold):
    expected = write_disfaplus(tmp_path, base=base, threshold=threshold)
    rows, findings = read("disfaplus", tmp_path, threshold=threshold)
    assert_rows(rows, expected)
    assert rows["frame"].tolist() == [0, 1, 2] * 3 and rows["fold"].tolist() == ["D3"] * 6 + ["D1"] * 3
    assert findings.absent["label files"] == ["SN003/Y_a sad face é/AU20.txt"] and len(findings.absent["subjects"]) == 7
    assert findings.incomplete == [] and findings.notes == []
    assert all(published_fold("disfa", subject) for subject in disfaplus.SUBJECTS)


def test_half_a_copy_of_disfaplus_is_reported(tmp_path):
    write_disfaplus(tmp_path, base="")
    shutil.rmtree(tmp_path / "Images" / "SN003" / "A1_AU1_TrailNo_1")
    (tmp_path / "Labels" / "SN010").rename(tmp_path / "elsewhere")
    (tmp_path / "Images" / "SN003" / "Y_a sad face é" / "001.jpg").unlink()
    rows, findings = read("disfaplus", tmp_path)
    lost = ["Images/SN010/A1_AU1_TrailNo_1", "Labels/SN003/A1_AU1_TrailNo_1"]
    assert [where for where, _ in findings.incomplete] == lost
    assert rows["status"].tolist() == ["no_image"] * 3 + ["ok", "no_image", "ok"]
    assert kinds(findings) == ["labels without an image"]


def test_a_label_file_that_ends_early_or_is_empty(tmp_path):
    write_disfaplus(tmp_path)
    write_text(tmp_path / PLUS_LABELS / "AU4.txt", "000.jpg 3\n")
    write_text(tmp_path / PLUS_LABELS / "AU5.txt", "# nothing\n")
    rows, findings = read("disfaplus", tmp_path)
    assert rows["AU4"].tolist()[6:] == [1, -1, -1] and rows["AU5"].tolist()[6:] == [-1] * 3
    assert {where for _, where, _ in findings.notes} == {"SN010/A1_AU1_TrailNo_1 AU4", "SN010/A1_AU1_TrailNo_1 AU5"}


def test_trained_on_disfa_and_tested_on_disfaplus_is_refused(tmp_path):
    """Not another data set with other people: SN003 is in both."""
    write_disfa(tmp_path / "raw" / "disfa", faces=True, subjects=("SN001", "SN003"))
    write_disfaplus(tmp_path / "raw" / "disfaplus", faces=True)
    disfa, plus = (
        str(prepare(name, tmp_path / "raw" / name, tmp_path / name, size=48).manifest)
        for name in ("disfa", "disfaplus")
    )
    manifest = read_manifest(plus)
    assert set(manifest["status"]) == {"ok"}
    assert manifest["file"].iloc[0] == "DISFAPlusDataset/Images/SN003/A1_AU1_TrailNo_1/000.jpg"
    wanted = r"1 are in `train` and in `test`: SN003 of disfa \(DISFA\+ and FEAFA-B show people of DISFA\)"
    with pytest.raises(ManifestError, match=wanted):
        AUDataModule(disfa, test=plus, val_fraction=0, au_names="disfa", leave_out_missing=True)
