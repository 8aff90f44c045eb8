"""What the readers of clips share: folders by name, ranges, damaged tables and copies. On CASME II's miniature tree."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from auformer.data_prep.formats.clips import Folders
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees import read
from tests.helpers.trees.casme import write_casme2
from tests.helpers.trees.micro import Clip, assert_clips, write_mmew


def kinds(findings: Findings) -> dict[str, list[str]]:
    """Kind of finding -> where it was met and what it says."""
    found: dict[str, list[str]] = {}
    for kind, where, text in findings.notes:
        found.setdefault(kind, []).append(f"{where.rpartition(' ')[2]}: {text}")
    return found


def check(root: Path, clips: list[Clip], name: str = "casme2") -> Findings:
    """The reader gives these clips and no others; its findings."""
    rows, findings = read(name, root)
    assert_clips(rows, clips, root)
    return findings


def read_row(root: Path, onset: object, apex: object, offset: object, text: str | None = "4+L12") -> tuple:
    """The tree with another first row: that clip's rows, the findings, and the kinds of those about the row."""
    write_casme2(root, rows={0: [1, "EP02_01f", None, onset, apex, offset, None, text, "happiness"]})
    table, findings = read("casme2", root)
    found = {kind: text for kind, texts in kinds(findings).items() for text in texts if text.startswith("2: ")}
    return table[(table["subject"] == "sub01") & (table["sequence"] == "EP02_01f")], findings, found


@pytest.mark.parametrize(
    ("onset", "apex", "offset", "frames", "numbers", "kind"),
    [
        (46, 48, 49, [46, 47, 48, 49], (46, 48, 49), None),
        (47, 48, 48, [47, 48], (47, 48, 48), None),
        ("47", 48.0, " 48 ", [47, 48], (47, 48, 48), None),
        (46, "/", 49, [46, 47, 48, 49], (46, None, 49), "no apex"),
        (46, None, 49, [46, 47, 48, 49], (46, None, 49), "no apex"),
        (46, 45, 49, [46, 47, 48, 49], (46, None, 49), "apex outside the clip"),
        (46, 50, 49, [46, 47, 48, 49], (46, None, 49), "apex outside the clip"),
        (49, 48, 46, [46, 47, 48, 49], (46, 48, 49), "clip without a range"),
        ("?", 48, 49, [46, 47, 48, 49], (46, 48, 49), "clip without a range"),
        (46, 48, None, [46, 47, 48, 49], (46, 48, 49), "clip without a range"),
        (46.5, 48, 49, [46, 47, 48, 49], (46, 48, 49), "clip without a range"),
        (44, 48, 999_999_999, [46, 47, 48, 49], (44, 48, 999_999_999), "frames without an image"),
        (-5, 48, 49, [46, 47, 48, 49], (-5, 48, 49), "frames without an image"),
    ],
)
def test_numbers_of_a_clip(tmp_path, onset, apex, offset, frames, numbers, kind):
    rows, _, found = read_row(tmp_path, onset, apex, offset)
    course = rows[["onset", "apex", "offset"]].astype(object).replace({np.nan: None})
    assert rows["frame"].tolist() == frames and set(course.itertuples(index=False, name=None)) == {numbers}
    assert list(found) == ([kind] if kind else [])


def test_images_outside_the_range_are_missing_files(tmp_path):
    rows, findings, _ = read_row(tmp_path, 5, 6, 7)
    text = "no image from 5 to 7; there are 46 to 49"
    assert rows.empty and findings.incomplete == [("CASME2_RAW_selected/sub01/EP02_01f", text)]
    with pytest.raises(DatasetLayoutError, match="--partial"):
        findings.require_complete(partial=False)


def test_a_gap_is_noted_and_makes_no_row(tmp_path):
    clips = write_casme2(tmp_path)
    (tmp_path / clips[0].folder / "img46.jpg").unlink()
    clips[0].frames.remove(46)
    assert "2: 1 of 46 to 49, the first 46" in kinds(check(tmp_path, clips))["frames without an image"]


def test_a_correction_that_is_about_another_clip_is_not_taken(tmp_path):
    """In another edition of the table row 60 may be another clip, whose offset is not 91."""
    rows = {60: [1, "EP02_01f", None, 46, 48, 49, None, "4+L12"], 0: [5, "EP12_03f", None, 76, 78, 91, None, "7"]}
    found = kinds(check(tmp_path, write_casme2(tmp_path, rows=rows)))
    text = "62: offset 91; the table's own numbers taken, which fit the images"
    assert found["known fault that the table does not show"] == [text]


def test_absent_clips_and_subjects_are_counted(tmp_path):
    clips = write_casme2(tmp_path)
    shutil.rmtree(tmp_path / clips[0].folder)
    shutil.rmtree(tmp_path / "CASME2_RAW_selected" / "sub05")
    findings = check(tmp_path, clips[1:3])
    assert findings.absent == {"subjects": ["sub26", "sub05"], "clips": ["sub01/EP02_01f"]}
    assert findings.incomplete == []


def test_an_empty_folder_is_a_missing_file(tmp_path):
    clips = write_casme2(tmp_path)
    for path in (tmp_path / clips[0].folder).iterdir():
        path.unlink()
    (tmp_path / clips[0].folder / "Thumbs.db").write_bytes(b"x")
    (tmp_path / clips[0].folder / "Desktop - Shortcut.lnk").write_bytes(b"x")
    assert check(tmp_path, clips[1:]).incomplete == [(clips[0].folder, "no image")]


def test_no_clip_at_all(tmp_path):
    write_casme2(tmp_path)
    for folder in list((tmp_path / "CASME2_RAW_selected").iterdir()):
        shutil.rmtree(folder)
    (tmp_path / "CASME2_RAW_selected" / "sub17" / "EP99_99").mkdir(parents=True)
    wanted = "for each clip of CASME2-coding-20140508.xlsx .* the first are sub01 EP02_01f"
    with pytest.raises(DatasetLayoutError, match=wanted):
        read("casme2", tmp_path)


def test_a_folder_that_no_row_names(tmp_path):
    clips = write_casme2(tmp_path)
    shutil.copytree(tmp_path / clips[0].folder, tmp_path / "CASME2_RAW_selected" / "sub17" / "EP01_01")
    found = kinds(check(tmp_path, clips))
    assert found["folders that no row of the table names"] == ["CASME2_RAW_selected: 1: sub17/EP01_01"]


def test_rows_without_a_clip_of_their_own_are_noted(tmp_path):
    rows = {2: [None, "EP02_09", None, 1, 2, 3], 3: ["Total", None, None, 256], 4: [None] * 9}
    clips = write_casme2(tmp_path, rows={**rows, 5: [1, "EP02_01f", None, 47, 48, 49, None, "1", "happiness"]})
    found = kinds(check(tmp_path, clips))
    left_out = ["4: EP02_09, 1, 2, 3; it is left out", "5: Total, 256; it is left out"]
    assert found["row without a subject or a clip"] == left_out
    (twice,) = found["clip named twice"]
    assert twice.startswith("7: sub01 EP02_01f is in") and twice.endswith("row 2 too; that one is taken")


@pytest.mark.parametrize("name", ["../../sub02/EP09_10", "..", ".", "/etc", "EP02_01f/..", "*", "EP02_0?f"])
def test_names_do_not_lead_out_of_the_release(tmp_path, name):
    clips = write_casme2(tmp_path, rows={0: [1, name, None, 46, 48, 49, None, "4", "x"]})
    assert check(tmp_path, clips[1:]).absent["clips"] == [f"sub01/{name}"]


@pytest.mark.parametrize(
    ("text", "other", "found"),
    [
        ("4+L12", 0, {}),
        ("14 or 17", 0, {"ambiguous AU text": "2: '14 or 17': AU14, AU17 are -1"}),
        ("4+foo", -1, {"AU text not read": "2: '4+foo': foo; the AUs that it does not name are -1"}),
        ("4.7", -1, {"AU text not read": "2: '4.7': 4.7; the AUs that it does not name are -1"}),
        ("?", -1, {"AU text leaves AUs open": "2: '?': the AUs that it does not name are -1"}),
        ("", -1, {"AU text leaves AUs open": "2: '': the AUs that it does not name are -1"}),
        (None, -1, {"AU text leaves AUs open": "2: '': the AUs that it does not name are -1"}),
    ],
)
def test_au_texts_that_leave_something_open_are_noted(tmp_path, text, other, found):
    rows, _, noted = read_row(tmp_path, 46, 48, 49, text)
    assert noted == found and set(rows["AU1"]) == {other}


def test_folders_in_other_spellings(tmp_path):
    for name in ("sub1/EP02_01f", "SUB02/ep01", "S1/x", "S01/x", "a7/x", "a07/x", ".hidden/x"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "file").touch()
    folders = Folders(tmp_path)
    assert folders.find("sub01", "EP02_01f") == tmp_path / "sub1" / "EP02_01f"
    assert folders.find("sub02", "EP01") == tmp_path / "SUB02" / "ep01"
    assert folders.find("S01", "x") == tmp_path / "S01" / "x" and folders.find("S1", "x") == tmp_path / "S1" / "x"
    assert folders.find("A007", "x") is None  # two would do
    assert [folders.find(name) for name in (".hidden", "file", "..", "sub3", "")] == [None] * 5
    assert Folders(tmp_path / "nowhere").find("sub1") is None


def test_a_clip_in_two_emotion_folders_is_not_guessed(tmp_path):
    clips = write_mmew(tmp_path)
    shutil.copytree(tmp_path / clips[1].folder, tmp_path / "Micro_Expression" / "fear" / "S13-05-002")
    assert check(tmp_path, [clips[0], clips[2]], "mmew").absent["clips"] == ["S13/S13-05-002"]
