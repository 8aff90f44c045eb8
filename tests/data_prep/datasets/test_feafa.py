"""FEAFA+: nothing without the names of the 24 values; sides, threshold, DISFA's videos, damaged copies."""

import argparse
import shutil
from pathlib import Path
from typing import Any

import pytest

from auformer.data.splits import person
from auformer.data_prep.datasets import feafa
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees import assert_rows, write_text
from tests.helpers.trees.photo_sets import FEAFA_COLUMNS, write_feafa


def read(root: Path, columns: str | None = FEAFA_COLUMNS, **options: Any) -> tuple:
    findings = Findings()
    names = None if columns is None else feafa.names_in(str(write_text(root.parent / "columns.txt", columns)))
    return feafa.read(root, findings, columns=names, **options), findings


def test_the_order_is_not_guessed(tmp_path):
    write_feafa(tmp_path / "feafa")
    wanted = r"Expected `--columns FILE` .* no public source says in which order the values stand"
    with pytest.raises(DatasetLayoutError, match=wanted):
        read(tmp_path / "feafa", columns=None)


def test_rows(tmp_path):
    expected = write_feafa(tmp_path / "feafa")
    rows, findings = read(tmp_path / "feafa")
    assert_rows(rows, expected)
    assert {name for name in rows.columns if name.startswith("AU")} == {
        name for name in expected.columns if name.startswith("AU")
    }
    assert findings.notes == [] and findings.incomplete == []


def test_people_of_disfa_are_known_as_that(tmp_path):
    write_feafa(tmp_path / "feafa")
    rows = read(tmp_path / "feafa")[0]
    assert rows.groupby("subject")["fold"].unique().map(list).to_dict() == {"PV057": ["ours1"], "SN001": ["D1"]}
    assert person("feafa", "SN001") == person("disfa", "SN001") != person("feafa", "PV057")


@pytest.mark.parametrize(
    ("threshold", "expected"), [(0.15, [1] * 6), (0.4, [1, 1, 0, 0, 1, 1]), (0.6, [0, 1, 0, 0, 0, 1]), (1, [0] * 6)]
)
def test_thresholds(tmp_path, threshold, expected):
    """The right side's value is 0.15 times the frame."""
    write_feafa(tmp_path / "feafa")
    assert read(tmp_path / "feafa", threshold=threshold)[0]["AU43_right"].tolist() == expected
    with pytest.raises(ValueError, match="`threshold` to be above 0"):
        read(tmp_path / "feafa", threshold=0)


def test_the_first_frame_of_a_video_is_seen_or_told(tmp_path):
    root = tmp_path / "feafa"
    write_feafa(root)
    folder = root / "FEAFA-B" / "SN001.output"
    (folder / "00000004.auw").unlink()
    wanted = r"LeftVideoSN001_comp\.avi to show if frames count from 0 or 1 .*, but they are 1 to 3"
    with pytest.raises(DatasetLayoutError, match=wanted):
        read(root)
    positions = {first: read(root, first=first)[0]["source_frame"].tolist()[2:] for first in (0, 1)}
    assert positions == {0: [1, 2, 3], 1: [0, 1, 2]}
    shutil.copy(folder / "00000001.auw", folder / "00000000.auw")
    rows = read(root)[0]
    assert rows["frame"].tolist()[2:] == [0, 1, 2, 3] and rows["source_frame"].tolist()[2:] == [0, 1, 2, 3]


def test_images_beside_the_labels_of_disfa(tmp_path):
    root = tmp_path / "feafa"
    write_feafa(root)
    shutil.rmtree(root / "Videos_LeftCamera")
    image, crops = root / "FEAFA-A" / "PV057.output" / "00000004.jpg", root / "FEAFA-B" / "SN001.output"
    for frame in (1, 2, 4):
        shutil.copy(image, crops / f"{frame:08d}_crop.jpg")
    rows, findings = read(root)
    assert rows["status"].tolist() == ["ok"] * 4 + ["no_image", "ok"]
    assert rows["source"][2].endswith("SN001.output/00000001_crop.jpg")
    assert findings.notes == [("labels without an image", "SN001", "1 of 4 frames, the first is 3")]


def test_half_a_copy_is_reported(tmp_path):
    root = tmp_path / "feafa"
    write_feafa(root)
    shutil.rmtree(root / "Videos_LeftCamera")
    (root / "FEAFA-A" / "PV057.output" / "00000003.jpg").unlink()
    rows, findings = read(root)
    assert rows["status"].tolist() == ["no_image", "ok"] + ["no_image"] * 4
    assert [where for where, _ in findings.incomplete] == ["FEAFA-B/SN001.output"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("AU1\n", "expected 24 names, one per value, but got 1"),
        ("AU1\n" + "-\n" * 22 + "smile\n", "expected AU12, AU12_left, AU12_right or -, but got 'smile'"),
        ("AU1\nAU1_left\n" + "-\n" * 22, "expected AU1 once, or as AU1_left and AU1_right, but got 2 of it"),
        ("AU1_left\n" + "-\n" * 23, "expected AU1 once, or as AU1_left and AU1_right, but got 1 of it"),
        ("-\n" * 24, "expected at least one action unit"),
    ],
)
def test_wrong_columns(tmp_path, columns, message):
    write_feafa(tmp_path / "feafa")
    with pytest.raises(DatasetLayoutError, match=message):
        read(tmp_path / "feafa", columns=columns)


def test_the_command_reads_the_names_from_a_file(tmp_path):
    path = write_text(tmp_path / "columns.txt", "# made up\n\nAU1\n  AU2 \n")
    assert feafa.names_in(str(path)) == "AU1,AU2"
    with pytest.raises(argparse.ArgumentTypeError, match=r"Expected a text file at .*nothing\.txt"):
        feafa.names_in(str(tmp_path / "nothing.txt"))


def test_the_inferred_order_comes_with_a_warning(tmp_path, monkeypatch):
    """Both sides of what has them, and a note in the sidecar that nobody knows; a file of that name comes first."""
    write_feafa(tmp_path / "feafa")
    monkeypatch.chdir(tmp_path)
    findings, names = Findings(), feafa.names_in("expllm")
    rows = feafa.read(tmp_path / "feafa", findings, columns=names)
    assert {"AU12_left", "AU12_right", "AU30_right", "AU17", "AU26_intensity"} <= set(rows.columns)
    assert [kind for kind, _, _ in findings.notes] == ["order of values"]
    assert "is an inference" in findings.notes[0][2]
    write_text(tmp_path / "expllm", "AU1\n")
    assert feafa.names_in("expllm") == "AU1"
