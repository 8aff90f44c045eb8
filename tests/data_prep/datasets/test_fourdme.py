"""4DME: static actions, AU texts against AU columns, two rows with each other's AUs."""

from __future__ import annotations

from pathlib import Path

from auformer.data_prep.datasets import fourdme
from auformer.data_prep.pipeline.prepare import prepare
from auformer.data_prep.release import Findings
from tests.helpers.trees.micro import assert_clips, write_fourdme


def test_the_miniature_tree(tmp_path: Path) -> None:
    clips, findings = write_fourdme(tmp_path), Findings()
    rows = fourdme.read(tmp_path, findings)
    assert_clips(rows, clips, tmp_path)
    assert {"AU45", "AU12_left", "AU12_right"} <= set(rows.columns)
    assert [(row, text.split(" (")[0]) for _, row, text in findings.corrections] == [
        ("144", "au AU12 -> AU4"),
        ("145", "au AU4 -> AU12"),
    ]
    assert [note for note in findings.notes if note[0] == "AU text and AU columns differ"] == [
        (
            "AU text and AU columns differ",
            "4DME_Labelling_Micro_release v1.xlsx row 3",
            "'L12+45': AU7; the text counts",
        )
    ]


def test_marked_actions_on_request(tmp_path: Path) -> None:
    clips = write_fourdme(tmp_path)
    clips[0].labels["AU7"] = 1
    assert_clips(fourdme.read(tmp_path, Findings(), keep_marked=True), clips, tmp_path)


def test_without_corrections(tmp_path: Path) -> None:
    clips, findings = write_fourdme(tmp_path), Findings()
    clips[2].labels, clips[3].labels = clips[3].labels, clips[2].labels
    assert_clips(fourdme.read(tmp_path, findings, corrections=False), clips, tmp_path)
    assert findings.corrections == []


def test_a_dry_run_with_the_option(tmp_path: Path) -> None:
    write_fourdme(tmp_path)
    prepared = prepare("fourdme", tmp_path, None, dry_run=True, options={"keep_marked": True, "corrections": False})
    assert prepared.table["AU7"].sum() == 3
