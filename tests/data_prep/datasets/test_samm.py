"""SAMM: a header below notes, sides and intensities, "or", known faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from auformer.data_prep.datasets import samm
from auformer.data_prep.pipeline.prepare import prepare
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.micro import assert_clips, write_samm


@pytest.mark.parametrize("notes", [13, 0])
def test_the_miniature_tree(tmp_path: Path, notes: int) -> None:
    clips, findings = write_samm(tmp_path, notes=notes), Findings()
    rows = samm.read(tmp_path, findings)
    assert_clips(rows, clips, tmp_path)
    assert rows["source"].iloc[0] == "SAMM/006/006_1_2/006_05562.jpg"
    assert [(row, text.split(" (")[0]) for _, row, text in findings.corrections] == [
        ("15", "au R12 or R15 -> R12 + R15"),
        ("56", "offset 5000 -> 5739"),
        ("125", "apex / -> 1105"),
    ]
    assert [(where, text) for kind, where, text in findings.notes if kind == "ambiguous AU text"] == [
        (f"SAMM_Micro_FACS_Codes_v2.xlsx row {5 + notes}", "'4 + R14A or 17A': AU14, AU17 are -1")
    ]


def test_intensities(tmp_path: Path) -> None:
    write_samm(tmp_path)
    first = samm.read(tmp_path, Findings()).drop_duplicates("sequence").set_index("sequence")
    assert first.loc["006_1_2", ["AU1_intensity", "AU14_intensity", "AU12_intensity"]].tolist() == [2, 1, 0]
    assert first["AU14_intensity"].isna().tolist() == [False, True, False, False, False]  # -1 in the second clip
    assert first.loc["014_1_1", "AU12_intensity"] == 3 and first["AU12_intensity"].isna().tolist() == [
        False,
        False,
        True,
        False,
        False,
    ]


def test_without_corrections_an_or_leaves_both_open(tmp_path: Path) -> None:
    clips, findings = write_samm(tmp_path), Findings()
    clips[2].labels = {"AU12": -1, "AU15": -1}
    clips[4].apex = None
    assert_clips(samm.read(tmp_path, findings, corrections=False), clips, tmp_path)
    assert findings.corrections == [] and sum(kind == "ambiguous AU text" for kind, _, _ in findings.notes) == 2


def test_the_root_may_be_the_folder_of_subjects(tmp_path: Path) -> None:
    clips = write_samm(tmp_path)
    (tmp_path / "SAMM_Micro_FACS_Codes_v2.xlsx").rename(tmp_path / "SAMM" / "SAMM_Micro_FACS_Codes_v2.xlsx")
    for clip in clips:
        clip.folder = clip.folder.removeprefix("SAMM/")
    assert_clips(samm.read(tmp_path / "SAMM", Findings()), clips, tmp_path / "SAMM")


def test_a_table_without_pictures(tmp_path: Path) -> None:
    write_samm(tmp_path)
    (tmp_path / "SAMM").rename(tmp_path / "elsewhere")
    with pytest.raises(
        DatasetLayoutError, match="pictures of SAMM in .* the folder holds SAMM_Micro_FACS_Codes_v2.xlsx, elsewhere/"
    ):
        samm.read(tmp_path, Findings())


def test_a_dry_run(tmp_path: Path) -> None:
    clips = write_samm(tmp_path)
    assert len(prepare("samm", tmp_path, None, dry_run=True).table) == sum(len(clip.frames) for clip in clips)
