"""DISFA: threshold, camera, frames from 1, label files that end early, damaged copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auformer.data.manifest import read_manifest
from auformer.data_prep.datasets import disfa
from auformer.data_prep.pipeline.prepare import prepare
from auformer.data_prep.release import Findings
from auformer.data_prep.verify.manifest import verify
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.compare import assert_rows
from tests.helpers.trees.disfa import write_disfa


def read(root: Path, **options: str | int) -> tuple:
    findings = Findings()
    return disfa.read(root, findings, **options), findings


@pytest.mark.parametrize("threshold", [1, 2, 5])
def test_thresholds(tmp_path: Path, threshold: int) -> None:
    expected = write_disfa(tmp_path, threshold=threshold)
    rows, findings = read(tmp_path, threshold=threshold)
    assert_rows(rows, expected)
    assert rows["fold"].tolist() == ["D1"] * 4 + ["D2"] * 4 and len(findings.absent["subjects"]) == 25
    assert findings.incomplete == []
    assert findings.notes == [
        ("frames that JAA-Net left out", "SN021", "it kept 1,793; here all stay, so that its numbers are not ours")
    ]


def test_the_threshold_by_hand(tmp_path: Path) -> None:
    write_disfa(tmp_path)
    (tmp_path / "ActionUnit_Labels" / "SN001" / "SN001_au12.txt").write_text("1,0\n2,1\n3,2\n4,5\n", encoding="utf-8")
    rows = read(tmp_path)[0]
    assert rows["AU12"].tolist()[:4] == [0, 0, 1, 1] and rows["AU12_intensity"].tolist()[:4] == [0, 1, 2, 5]
    assert read(tmp_path, threshold=1)[0]["AU12"].tolist()[:4] == [0, 1, 1, 1]
    with pytest.raises(ValueError, match="`threshold` to be 1 to 5, but got 0"):
        read(tmp_path, threshold=0)


@pytest.mark.parametrize(
    ("camera", "folder"),
    [
        ("left", "Videos_LeftCamera"),
        ("left", "Video_LeftCamera"),
        ("right", "Video_RightCamera"),
        ("right", "Videos_RightCamera"),
    ],
)
def test_both_cameras_in_both_spellings(tmp_path: Path, camera: str, folder: str) -> None:
    expected = write_disfa(tmp_path, camera=camera)
    there = next(path for path in tmp_path.iterdir() if path.name.startswith("Video"))
    there.rename(tmp_path / folder)
    expected["source"] = expected["source"].str.replace(there.name, folder)
    assert_rows(read(tmp_path, camera=camera)[0], expected)
    other = {"left": "right", "right": "left"}[camera]
    with pytest.raises(
        DatasetLayoutError, match=f"videos of the {other} camera such as {other.capitalize()}VideoSN001_comp.avi"
    ):
        read(tmp_path, camera=other)


def test_frame_n_is_position_n_minus_1(tmp_path: Path) -> None:
    write_disfa(tmp_path)
    rows = read(tmp_path)[0]
    assert rows["frame"].tolist() == [1, 2, 3, 4] * 2 and rows["source_frame"].tolist() == [0, 1, 2, 3] * 2


def test_labels_and_videos_of_other_lengths(tmp_path: Path) -> None:
    """Frames beyond the last label get no row, labels beyond the last frame keep theirs; both are reported."""
    write_disfa(tmp_path / "long", frames=6)
    rows, findings = read(tmp_path / "long")
    assert len(rows) == 8 and [kind for kind, _, _ in findings.notes].count("labels end before the video") == 2
    assert "6 frames, the last label is for frame 4" in findings.notes[0][2]
    expected = write_disfa(tmp_path / "short", frames=3)
    rows, findings = read(tmp_path / "short")
    assert_rows(rows, expected)
    assert ("labels without a picture", "SN001", "1 of 4 frames, the first is 4") in findings.notes


def test_one_label_file_that_ends_early(tmp_path: Path) -> None:
    write_disfa(tmp_path)
    (tmp_path / "ActionUnit_Labels" / "SN021" / "SN021_au6.txt").write_text("1,0\n2,3\n", encoding="utf-8")
    rows, findings = read(tmp_path)
    assert (
        rows["AU6"].tolist()[4:] == [0, 1, -1, -1]
        and np.isnan(rows["AU6_intensity"].iloc[-1])
        and (rows["AU12"] >= 0).all()
    )
    assert ("label file shorter than the others", "SN021 AU6", "2 of 4 frames have no label") in findings.notes


def test_half_a_copy_is_reported(tmp_path: Path) -> None:
    write_disfa(tmp_path)
    (tmp_path / "Videos_LeftCamera" / "LeftVideoSN001_comp.avi").rename(
        tmp_path / "Videos_LeftCamera" / "LeftVideoSN032_comp.avi"
    )
    (tmp_path / "ActionUnit_Labels" / "SN021" / "SN021_au9.txt").unlink()
    rows, findings = read(tmp_path)
    assert findings.incomplete == [
        ("Videos_LeftCamera/LeftVideoSN032_comp.avi", "the label files of this video are not there"),
        ("ActionUnit_Labels/SN001", "the video of the left camera is not there"),
        ("ActionUnit_Labels/SN021/SN021_au9.txt", "the label file is not there"),
    ]
    assert rows["status"].tolist() == ["no_image"] * 4 + ["ok"] * 4 and rows["AU9"].tolist()[4:] == [-1] * 4
    with pytest.raises(DatasetLayoutError, match="3 files are missing"):
        findings.require_complete(partial=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "1,0\n2,6\n",
            r"SN001_au12\.txt, line 2: expected intensity to be one of the codes 0, 1, 2, 3, 4, 5, but got 6",
        ),
        ("1,0\n2,9\n", "got 9"),
        ("1,0\n2,\n", "line 2: .* but got ''"),
        ("1,0\n1,0\n", "frame 1 is there for the second time"),
        ("1 0\n2 0\n", "cannot be read as one"),
        ("", "cannot be read as one"),
    ],
)
def test_damaged_label_files(tmp_path: Path, content: str, message: str) -> None:
    write_disfa(tmp_path)
    (tmp_path / "ActionUnit_Labels" / "SN001" / "SN001_au12.txt").write_text(content, encoding="utf-8")
    with pytest.raises(DatasetLayoutError, match=message):
        read(tmp_path)


def test_a_wrong_root(tmp_path: Path) -> None:
    write_disfa(tmp_path / "DISFA")
    with pytest.raises(DatasetLayoutError, match=r"SN001_au1\.txt in .*holds DISFA/"):
        read(tmp_path)


def test_from_the_release_to_a_manifest(tmp_path: Path) -> None:
    expected = write_disfa(tmp_path / "raw", faces=True)
    done = prepare("disfa", tmp_path / "raw", tmp_path / "out", size=48)
    manifest = read_manifest(done.manifest)
    assert manifest["status"].tolist() == ["ok"] * 8 and manifest["sequence"].tolist() == ["left"] * 8
    assert manifest["AU26_intensity"].tolist() == expected["AU26_intensity"].tolist()
    assert manifest["image"].iloc[0] == "crops/SN001/left/1.jpg" and verify(done.manifest)["correct"]


def test_options_reach_the_report_of_verify(tmp_path: Path) -> None:
    write_disfa(tmp_path / "raw", camera="right", faces=True)
    done = prepare("disfa", tmp_path / "raw", tmp_path / "out", size=48, options={"camera": "right", "threshold": 1})
    assert sorted(entry["kind"] for entry in verify(done.manifest)["problems"]) == ["camera", "threshold"]


def test_files_of_other_names(tmp_path: Path) -> None:
    write_disfa(tmp_path)
    for path in sorted((tmp_path / "ActionUnit_Labels").rglob("*.txt")):
        path.rename(path.with_name(path.name.replace("_au", "-")))
    with pytest.raises(DatasetLayoutError, match="no name there is like that"):
        read(tmp_path)
