"""CASME: its tree with both spellings of file names, two apexes, known faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from auformer.data_prep.datasets import casme
from auformer.data_prep.pipeline.prepare import prepare
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.casme import write_casme
from tests.helpers.trees.micro import assert_clips


def test_the_miniature_tree(tmp_path: Path) -> None:
    clips, findings = write_casme(tmp_path), Findings()
    rows = casme.read(tmp_path, findings)
    assert_clips(rows, clips, tmp_path)
    assert rows["source"].tolist()[-1] == "CASME_raw_selected/sub04/EP19_1/EP19_1-149.jpg"
    assert [text.split(" (")[0] for _, _, text in findings.corrections] == [
        "apex 95 -> 120",
        "offset 99 -> 149",
        "onset 90 -> 100",
    ]


def test_without_corrections_a_wrong_row_has_no_pictures(tmp_path: Path) -> None:
    clips, findings = write_casme(tmp_path), Findings()
    assert_clips(casme.read(tmp_path, findings, corrections=False), clips[:2], tmp_path)
    assert findings.incomplete == [
        ("CASME_raw_selected/sub04/EP19_1", "no picture from 90 to 99; there are 100 to 149")
    ]


def test_cropped(tmp_path: Path) -> None:
    clips = write_casme(tmp_path)
    (tmp_path / "CASME_raw_selected").rename(tmp_path / "Cropped")
    for clip in clips:
        clip.folder = clip.folder.replace("CASME_raw_selected", "Cropped")
        for path in list((tmp_path / clip.folder).iterdir()):
            path.rename(path.with_name(f"reg_{path.name}"))
    with pytest.raises(DatasetLayoutError, match="pictures of CASME in"):
        casme.read(tmp_path, Findings())
    assert_clips(casme.read(tmp_path, Findings(), cropped=True), clips, tmp_path)


def test_a_dry_run(tmp_path: Path) -> None:
    clips = write_casme(tmp_path)
    prepared = prepare("casme", tmp_path, None, dry_run=True)
    assert len(prepared.table) == sum(len(clip.frames) for clip in clips) and not prepared.findings.incomplete
