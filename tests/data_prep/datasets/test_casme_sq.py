"""CAS(ME)^2: three sheets without headers, expressions cut out and in recordings, zeros that mean nothing."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from auformer.data_prep.datasets import casme_sq
from auformer.data_prep.pipeline.prepare import prepare
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.casme import write_casme_sq
from tests.helpers.trees.micro import assert_clips


@pytest.mark.parametrize("recordings", [False, True])
@pytest.mark.parametrize(("expressions", "some"), [("micro", slice(3)), ("macro", slice(3, 4)), ("both", slice(4))])
def test_the_miniature_tree(tmp_path: Path, recordings: bool, expressions: str, some: slice) -> None:
    clips, findings = write_casme_sq(tmp_path, recordings=recordings), Findings()
    assert_clips(casme_sq.read(tmp_path, findings, expressions=expressions), clips[some], tmp_path)
    assert [kind for kind, _, _ in findings.notes] == ([] if expressions == "macro" else ["no offset", "no apex"])
    assert findings.incomplete == [] and findings.absent == {}


def _edit(root: Path, sheet: str, cell: str, value: object) -> None:
    book = openpyxl.load_workbook(root / "CAS(ME)^2code_final.xlsx")
    book[sheet][cell] = value
    book.save(root / "CAS(ME)^2code_final.xlsx")


def test_a_participant_without_a_folder(tmp_path: Path) -> None:
    write_casme_sq(tmp_path)
    _edit(tmp_path, "CASFEcode_final", "A3", 9)
    with pytest.raises(
        DatasetLayoutError,
        match="row 3 to be about a participant of the sheet `naming rule1`, but got '9'; that sheet has 1, 3",
    ):
        casme_sq.read(tmp_path, Findings())


def test_a_missing_sheet(tmp_path: Path) -> None:
    write_casme_sq(tmp_path)
    book = openpyxl.load_workbook(tmp_path / "CAS(ME)^2code_final.xlsx")
    del book["naming rule2"]
    book.save(tmp_path / "CAS(ME)^2code_final.xlsx")
    with pytest.raises(
        DatasetLayoutError, match="a sheet 'naming rule2' in .* but it has 'CASFEcode_final', 'naming rule1'"
    ):
        casme_sq.read(tmp_path, Findings())


def test_an_unknown_type_is_noted(tmp_path: Path) -> None:
    clips, findings = write_casme_sq(tmp_path), Findings()
    _edit(tmp_path, "CASFEcode_final", "H1", "expression")
    assert_clips(casme_sq.read(tmp_path, findings), clips[1:3], tmp_path)
    assert findings.notes[0][:2] == ("type of expression not read", "CAS(ME)^2code_final.xlsx row 1")
    _edit(tmp_path, "CASFEcode_final", "H4", None)
    with pytest.raises(DatasetLayoutError, match="rows of the type macro-expression"):
        casme_sq.read(tmp_path, Findings(), expressions="macro")


def test_a_video_that_the_naming_rules_lack(tmp_path: Path) -> None:
    clips, findings = write_casme_sq(tmp_path, recordings=True), Findings()
    _edit(tmp_path, "naming rule2", "B1", "anger9")
    assert_clips(casme_sq.read(tmp_path, findings), clips[2:3], tmp_path)
    assert findings.absent == {"subjects": ["s15"]}


def test_a_dry_run(tmp_path: Path) -> None:
    write_casme_sq(tmp_path)
    assert len(prepare("casme_sq", tmp_path, None, dry_run=True, options={"expressions": "both"}).table) == 11
