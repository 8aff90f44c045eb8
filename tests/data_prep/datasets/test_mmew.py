"""MMEW: folders by emotion, subjects by the names of clips, known faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from auformer.data_prep.datasets import mmew
from auformer.data_prep.pipeline.prepare import prepare
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.micro import assert_clips, write_mmew


def test_the_miniature_tree(tmp_path: Path) -> None:
    clips, findings = write_mmew(tmp_path), Findings()
    assert_clips(mmew.read(tmp_path, findings), clips, tmp_path)
    assert [text.split(" (")[0] for _, _, text in findings.corrections] == ["apex 90 -> 40", "offset 95 -> 75"]


def test_without_corrections(tmp_path: Path) -> None:
    clips, findings = write_mmew(tmp_path), Findings()
    clips[2].apex, clips[2].offset = 90, 95
    assert_clips(mmew.read(tmp_path, findings, corrections=False), clips, tmp_path)


@pytest.mark.parametrize(
    ("value", "clip", "subject"),
    [(13, "x", "S13"), ("S4", "x", "S4"), (5, "s07-01-001", "S07"), (2.0, "02-01-001", "S02")],
)
def test_subjects(value: object, clip: str, subject: str) -> None:
    assert mmew._subject(value, clip) == subject


def test_a_wrong_root(tmp_path: Path) -> None:
    write_mmew(tmp_path)
    with pytest.raises(DatasetLayoutError, match="the table of MMEW"):
        mmew.read(tmp_path / "Micro_Expression", Findings())


def test_a_dry_run(tmp_path: Path) -> None:
    clips = write_mmew(tmp_path)
    assert len(prepare("mmew", tmp_path, None, dry_run=True).table) == sum(len(clip.frames) for clip in clips)
