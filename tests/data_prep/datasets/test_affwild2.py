"""Aff-Wild2: header by name, -1, lines and crops by number, both editions and spellings, damaged copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auformer.data_prep.datasets import affwild2
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.compare import assert_rows
from tests.helpers.trees.others import WILD_AUS, WILD_AUS_2020, write_affwild2, write_text

TRAIN = Path("annotations", "AU_Set", "Train_Set")
LEFT, RIGHT = "12-24-1920x1080_left", "12-24-1920x1080_right"


def read(root: Path) -> tuple:
    findings = Findings()
    return affwild2.read(root, findings), findings


@pytest.mark.parametrize(
    ("base", "train", "aus"),
    [
        ("annotations/AU_Set", "Train_Set", WILD_AUS),
        ("annotations/AU_Set", "Training_Set", WILD_AUS_2020),
        ("6th ABAW Annotations/AU_Detection_Challenge", "Train_Set", tuple(reversed(WILD_AUS))),
    ],
)
def test_rows(tmp_path: Path, base: str, train: str, aus: tuple[int, ...]) -> None:
    """The order of the header's names does not matter."""
    expected = write_affwild2(tmp_path, base=base, train=train, aus=aus)
    rows, findings = read(tmp_path)
    assert_rows(rows, expected)
    assert {name for name in rows.columns if name.startswith("AU")} == {f"AU{au}" for au in aus}
    assert rows["frame"].tolist() == [1, 2, 4, 1, 2, 1] and rows["status"].tolist() == [
        "ok",
        "no_image",
        "ok",
        "ok",
        "ok",
        "ok",
    ]
    assert findings.incomplete == []


def test_what_is_counted(tmp_path: Path) -> None:
    """A frame without a crop is no half-copied release; neither is a video of the test set."""
    write_affwild2(tmp_path)
    shutil.copytree(tmp_path / "cropped_aligned" / RIGHT, tmp_path / "cropped_aligned" / "video99")
    findings = read(tmp_path)[1]
    assert sorted(findings.notes) == [
        ("frames without any label", "cropped_aligned", "1 frames have -1 for every action unit and no row"),
        ("labels end before the crops", LEFT, "1 crops after frame 4 get no row"),
        ("labels without a crop", "cropped_aligned", "1 of 6 frames in 1 videos"),
    ]
    assert list(findings.absent.values()) == [["video99"]]


def test_two_editions_in_one_copy(tmp_path: Path) -> None:
    """AUs that one header does not have are unknown there."""
    write_affwild2(tmp_path)
    write_text(tmp_path / TRAIN / f"{RIGHT}.txt", "AU1,AU20,\n1,1,\n0,-1,\n\n\n")
    rows = read(tmp_path)[0]
    assert rows["AU20"].tolist() == [-1, -1, -1, 1, -1, -1] and rows["AU26"].tolist()[3:5] == [-1, -1]
    assert [name for name in rows.columns if name.startswith("AU")][:3] == ["AU1", "AU2", "AU4"]


def test_a_whole_video_without_crops_is_missing(tmp_path: Path) -> None:
    write_affwild2(tmp_path)
    shutil.rmtree(tmp_path / "cropped_aligned" / RIGHT)
    rows, findings = read(tmp_path)
    assert [where for where, _ in findings.incomplete] == [f"annotations/AU_Set/Train_Set/{RIGHT}.txt"]
    assert rows["status"].tolist() == ["ok", "no_image", "ok", "no_image", "no_image", "ok"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("AU1,AU2\n1,0\n1,9\n", r"_left\.txt, line 3: expected AU2 to be -1, 0 or 1, but got 9"),
        ("AU1,AU2\n1,0\n\n1,0\n", "line 3: expected AU1 to be -1, 0 or 1, but got nan"),
        ("AU1,AU2\n1,x\n", "line 2: expected AU2 to be -1, 0 or 1, but got x"),
        ("Neutral,Anger\n1,0\n", "expected a header of action units"),
        ("", "expected a header of action units"),
        ("AU1,AU2\n", "expected a header of action units"),
        ("AU1,AU2\n1\n", "2 names, 1 values in a line"),
        ("AU1,AU2\n1,0\n1,0,1\n", "Expected 2 fields in line 3, saw 3"),
        ("AU1,AU2\n1,0,1,1\n", "2 names, 4 values in a line"),
    ],
)
def test_damaged_files(tmp_path: Path, content: str, message: str) -> None:
    write_affwild2(tmp_path)
    write_text(tmp_path / TRAIN / f"{LEFT}.txt", content)
    with pytest.raises(DatasetLayoutError, match=message):
        read(tmp_path)


def test_two_files_for_one_frame_or_video(tmp_path: Path) -> None:
    write_affwild2(tmp_path)
    crops = tmp_path / "cropped_aligned" / LEFT
    shutil.copy(crops / "00001.jpg", crops / "1.jpg")
    with pytest.raises(DatasetLayoutError, match=r"00001\.jpg and 1\.jpg are both frame 1"):
        read(tmp_path)
    (crops / "1.jpg").unlink()
    shutil.copy(tmp_path / TRAIN / f"{LEFT}.txt", tmp_path / TRAIN.with_name("Validation_Set"))
    with pytest.raises(DatasetLayoutError, match="every video in one set"):
        read(tmp_path)
