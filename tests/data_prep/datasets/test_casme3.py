"""CAS(ME)^3: part A as clips and as recordings, part C, several clips of one video, known faults."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auformer.data_prep.datasets import casme3
from auformer.data_prep.pipeline.prepare import prepare
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.casme import CASME3_HEADER, write_casme3, write_casme3_c
from tests.helpers.trees.micro import assert_clips, write_clips, write_table


@pytest.mark.parametrize("videos", [False, True])
def test_part_a(tmp_path: Path, videos: bool) -> None:
    clips, findings = write_casme3(tmp_path, videos=videos), Findings()
    rows = casme3.read(tmp_path, findings)
    assert_clips(rows, clips, tmp_path)
    assert set(rows.loc[rows["sequence"] == "e_138", "AU4"]) == {0}  # a text of 0 is a neutral face
    assert [(row, text.split(" (")[0]) for _, row, text in findings.corrections] == [
        ("128", "apex 300 -> 160"),
        ("708", "offset 3 -> 34"),
        ("749", "onset 1 -> 2647"),
        ("750", "apex 0 -> 1"),
        ("750", "onset 0 -> 1"),
    ]
    assert findings.incomplete == [] and findings.absent == {"subjects": ["spNO.999"]}


def test_folders_of_clips_in_meb_s_copy(tmp_path: Path) -> None:
    clips = write_casme3(tmp_path, videos=True)
    shutil.rmtree(tmp_path / "part_A")
    for clip, folder in zip(clips, ("spNO.1/a", "spNO.1/a2", "spNO.2/e", "spNO.39/b", "spNO.216/e"), strict=True):
        clip.folder = f"ME_A/{folder}/color"
    write_clips(tmp_path, clips, "{0}.jpg")
    assert_clips(casme3.read(tmp_path, Findings()), clips, tmp_path)


def test_without_corrections(tmp_path: Path) -> None:
    clips, findings = write_casme3(tmp_path), Findings()
    clips[3].apex = None  # 300, outside the clip
    clips[4].name, clips[4].onset, clips[4].apex = "e_0", 0, 0
    assert_clips(casme3.read(tmp_path, findings, corrections=False), clips, tmp_path)
    assert [kind for kind, _, _ in findings.notes] == ["apex outside the clip", "frames without a picture"]


def test_a_clip_without_a_range_in_a_recording_is_left_out(tmp_path: Path) -> None:
    clips, findings = write_casme3(tmp_path, videos=True), Findings()
    rows = [
        ["spNO.1", "a", 355, 356, 357, "4+7", "IV", "x"],
        ["spNO.1", "a", 402, 401, 400, "R12", "I", "x"],
        ["spNO.1", "a", None, 1, 2, "1", "I", "x"],
    ]
    write_table(
        tmp_path / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", {"label": [CASME3_HEADER, *rows]}
    )
    assert_clips(casme3.read(tmp_path, findings), clips[:1], tmp_path)
    assert [(kind, text) for kind, _, text in findings.notes] == [
        ("clip without a range", "onset 402, offset 400; it is left out"),
        ("clip without a range", "onset empty, offset 2; it is left out"),
    ]


def test_a_table_without_its_sheet(tmp_path: Path) -> None:
    write_casme3(tmp_path)
    write_table(tmp_path / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", {"Sheet1": [CASME3_HEADER]})
    with pytest.raises(DatasetLayoutError, match="a sheet 'label' in .* but it has 'Sheet1'"):
        casme3.read(tmp_path, Findings())


@pytest.mark.parametrize("videos", [True, False])
def test_part_c(tmp_path: Path, videos: bool) -> None:
    clips, findings = write_casme3_c(tmp_path, videos=videos), Findings()
    assert_clips(casme3.read(tmp_path, findings, part="C"), clips, tmp_path)
    assert findings.notes == [] and findings.corrections == []


def test_a_part_that_is_not_there(tmp_path: Path) -> None:
    write_casme3_c(tmp_path)
    with pytest.raises(DatasetLayoutError, match="the table of CAS.ME.\\^3, part A"):
        casme3.read(tmp_path, Findings())


@pytest.mark.parametrize("part", ["A", "C"])
def test_a_dry_run(tmp_path: Path, part: str) -> None:
    clips = write_casme3(tmp_path) if part == "A" else write_casme3_c(tmp_path)
    assert len(prepare("casme3", tmp_path, None, dry_run=True, options={"part": part}).table) == sum(
        len(clip.frames) for clip in clips
    )
