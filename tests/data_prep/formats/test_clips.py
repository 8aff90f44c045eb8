"""What the readers of clips share: folders by name, ranges, damaged tables and copies. On CASME II's miniature tree."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auformer.data.images import write_image
from auformer.data_prep.datasets import casme2, mmew
from auformer.data_prep.formats.clips import Folders
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.casme import write_casme2
from tests.helpers.trees.images import plain_image
from tests.helpers.trees.micro import assert_clips, write_mmew


def kinds(findings: Findings) -> dict[str, list[str]]:
    """Kind of finding -> where it was met and what it says."""
    found: dict[str, list[str]] = {}
    for kind, where, text in findings.notes:
        found.setdefault(kind, []).append(f"{where.rpartition(' ')[2]}: {text}")
    return found


def read_row(root: Path, row: list[object]) -> tuple:
    """The tree with another first row: that clip's rows, and the findings."""
    write_casme2(root, rows={0: row})
    findings = Findings()
    table = casme2.read(root, findings)
    return table[(table["subject"] == "sub01") & (table["sequence"] == "EP02_01f")], findings


# ranges -------------------------------------------------------------------------------------------


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
def test_numbers_of_a_clip(
    tmp_path: Path, onset: object, apex: object, offset: object, frames: list[int], numbers: tuple, kind: str | None
) -> None:
    rows, findings = read_row(tmp_path, [1, "EP02_01f", None, onset, apex, offset, None, "4+L12", "happiness"])
    assert (
        rows["frame"].tolist() == frames and set(rows["onset"]) == {numbers[0]} and set(rows["offset"]) == {numbers[2]}
    )
    assert set(rows["apex"].astype(object).where(rows["apex"].notna(), None)) == {numbers[1]}
    found = {name: [text for text in texts if text.startswith("2: ")] for name, texts in kinds(findings).items()}
    assert [name for name, texts in found.items() if texts] == ([kind] if kind else [])


def test_images_outside_the_range_are_missing_files(tmp_path: Path) -> None:
    rows, findings = read_row(tmp_path, [1, "EP02_01f", None, 5, 6, 7, None, "4", "happiness"])
    assert rows.empty and findings.incomplete == [
        ("CASME2_RAW_selected/sub01/EP02_01f", "no image from 5 to 7; there are 46 to 49")
    ]
    with pytest.raises(DatasetLayoutError, match="--partial"):
        findings.require_complete(partial=False)


def test_a_gap_is_noted_and_makes_no_row(tmp_path: Path) -> None:
    clips = write_casme2(tmp_path)
    (tmp_path / clips[0].folder / "img46.jpg").unlink()
    clips[0].frames.remove(46)
    findings = Findings()
    assert_clips(casme2.read(tmp_path, findings), clips, tmp_path)
    assert "2: 1 of 46 to 49, the first 46" in kinds(findings)["frames without an image"]


def test_a_correction_that_is_about_another_clip_is_not_taken(tmp_path: Path) -> None:
    """In another edition of the table row 60 may be another clip, whose offset is not 91."""
    clips = write_casme2(
        tmp_path,
        rows={60: [1, "EP02_01f", None, 46, 48, 49, None, "4+L12"], 0: [5, "EP12_03f", None, 76, 78, 91, None, "7"]},
    )
    findings = Findings()
    assert_clips(casme2.read(tmp_path, findings), clips, tmp_path)
    assert kinds(findings)["correction that does not fit the images"] == [
        "62: offset 91; the table's own numbers taken"
    ]


# damaged copies -----------------------------------------------------------------------------------


def test_absent_clips_and_subjects_are_counted(tmp_path: Path) -> None:
    clips = write_casme2(tmp_path)
    shutil.rmtree(tmp_path / clips[0].folder)
    shutil.rmtree(tmp_path / "CASME2_RAW_selected" / "sub05")
    findings = Findings()
    assert_clips(casme2.read(tmp_path, findings), clips[1:3], tmp_path)
    assert (
        findings.absent == {"subjects": ["sub26", "sub05"], "clips": ["sub01/EP02_01f"]} and findings.incomplete == []
    )


def test_an_empty_folder_is_a_missing_file(tmp_path: Path) -> None:
    clips = write_casme2(tmp_path)
    for path in (tmp_path / clips[0].folder).iterdir():
        path.unlink()
    (tmp_path / clips[0].folder / "Thumbs.db").write_bytes(b"x")
    (tmp_path / clips[0].folder / "Desktop - Shortcut.lnk").write_bytes(b"x")
    findings = Findings()
    assert_clips(casme2.read(tmp_path, findings), clips[1:], tmp_path)
    assert findings.incomplete == [(clips[0].folder, "no image")]


def test_no_clip_at_all(tmp_path: Path) -> None:
    write_casme2(tmp_path)
    for folder in list((tmp_path / "CASME2_RAW_selected").iterdir()):
        shutil.rmtree(folder)
    (tmp_path / "CASME2_RAW_selected" / "sub17" / "EP99_99").mkdir(parents=True)
    wanted = "for each clip of CASME2-coding-20140508.xlsx .* the first are sub01 EP02_01f"
    with pytest.raises(DatasetLayoutError, match=wanted):
        casme2.read(tmp_path, Findings())


def test_two_images_of_one_frame(tmp_path: Path) -> None:
    clips = write_casme2(tmp_path)
    write_image(tmp_path / clips[0].folder / "img0046.png", plain_image(0, (16, 12)))
    with pytest.raises(DatasetLayoutError, match="img0046.png and img46.jpg are both frame 46"):
        casme2.read(tmp_path, Findings())


def test_a_folder_that_no_row_names(tmp_path: Path) -> None:
    clips = write_casme2(tmp_path)
    shutil.copytree(tmp_path / clips[0].folder, tmp_path / "CASME2_RAW_selected" / "sub17" / "EP01_01")
    findings = Findings()
    assert_clips(casme2.read(tmp_path, findings), clips, tmp_path)
    assert kinds(findings)["folders that no row of the table names"] == ["CASME2_RAW_selected: 1: sub17/EP01_01"]


def test_a_clip_named_twice_is_taken_once(tmp_path: Path) -> None:
    clips = write_casme2(tmp_path, rows={2: [1, "EP02_01f", None, 47, 48, 49, None, "1", "happiness"]})
    findings = Findings()
    assert_clips(casme2.read(tmp_path, findings), clips, tmp_path)
    assert kinds(findings)["clip named twice"] == [
        "4: sub01 EP02_01f is in CASME2-coding-20140508.xlsx row 2 too; that one is taken"
    ]


def test_rows_without_a_clip_are_noted(tmp_path: Path) -> None:
    clips = write_casme2(
        tmp_path, rows={2: [None, "EP02_09", None, 1, 2, 3], 3: ["Total", None, None, 256], 4: [None] * 9}
    )
    findings = Findings()
    assert_clips(casme2.read(tmp_path, findings), clips, tmp_path)
    assert kinds(findings)["row without a subject or a clip"] == [
        "4: EP02_09, 1, 2, 3; it is left out",
        "5: Total, 256; it is left out",
    ]


@pytest.mark.parametrize("name", ["../../sub02/EP09_10", "..", ".", "/etc", "EP02_01f/..", "*", "EP02_0?f"])
def test_names_do_not_lead_out_of_the_release(tmp_path: Path, name: str) -> None:
    clips = write_casme2(tmp_path, rows={0: [1, name, None, 46, 48, 49, None, "4", "x"]})
    findings = Findings()
    assert_clips(casme2.read(tmp_path, findings), clips[1:], tmp_path)
    assert findings.absent["clips"] == [f"sub01/{name}"]


@pytest.mark.parametrize("text", ["4+L12", "14 or 17", "4+foo", "?", "", None, "4.7"])
def test_au_texts_that_leave_something_open_are_noted(tmp_path: Path, text: str | None) -> None:
    rows, findings = read_row(tmp_path, [1, "EP02_01f", None, 46, 48, 49, None, text, "x"])
    found = {
        kind: where
        for kind, texts in kinds(findings).items()
        for where in texts
        if where.startswith("2: ") and kind.lower().find("au text") >= 0
    }
    expected = {
        "4+L12": {},
        "14 or 17": {"ambiguous AU text": "2: '14 or 17': AU14, AU17 are -1"},
        "4+foo": {"AU text not read": "2: '4+foo': foo; the AUs that it does not name are -1"},
        "4.7": {"AU text not read": "2: '4.7': 4.7; the AUs that it does not name are -1"},
    }
    assert found == expected.get(
        text or "", {"AU text leaves AUs open": f"2: {text or ''!r}: the AUs that it does not name are -1"}
    )
    assert set(rows["AU1"]) == ({0} if text in ("4+L12", "14 or 17") else {-1})


def test_the_release_is_not_written_to(tmp_path: Path) -> None:
    write_casme2(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    casme2.read(tmp_path, Findings())
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


# folders ------------------------------------------------------------------------------------------


def test_folders_in_other_spellings(tmp_path: Path) -> None:
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


def test_a_clip_in_two_emotion_folders_is_not_guessed(tmp_path: Path) -> None:
    clips = write_mmew(tmp_path)
    shutil.copytree(tmp_path / clips[1].folder, tmp_path / "Micro_Expression" / "fear" / "S13-05-002")
    findings = Findings()
    assert_clips(mmew.read(tmp_path, findings), [clips[0], clips[2]], tmp_path)
    assert findings.absent["clips"] == ["S13/S13-05-002"]
