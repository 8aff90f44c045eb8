"""Bosphorus: sides and intensities, turned heads left out, damaged copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auformer.data_prep.datasets import bosphorus
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.compare import assert_rows
from tests.helpers.trees.others import write_text
from tests.helpers.trees.photo_sets import BOSPHORUS, write_bosphorus

LIST = Path("facscodes", "facscodes.lst")


def read(root: Path) -> tuple:
    findings = Findings()
    return bosphorus.read(root, findings), findings


@pytest.mark.parametrize("base", ["BosphorusDB/BosphorusDB", "BosphorusDB", "."])
def test_rows(tmp_path: Path, base: str) -> None:
    expected = write_bosphorus(tmp_path, base=base)
    rows, findings = read(tmp_path)
    assert_rows(rows, expected.assign(source=expected["source"].str.removeprefix("./")))
    assert (
        rows["AU4_intensity"].isna().tolist() == [False, False, True, False]
        if "AU4_intensity" in rows
        else rows["AU4"].sum() == 1
    )
    assert findings.notes == [
        ("pictures of turned or tilted heads", "facscodes.lst", "3 are left out (CR, YR, PR_U, PR_D in the name)")
    ]
    assert findings.incomplete == [] and len(findings.absent["subjects"]) == 103


def test_the_list_may_come_without_header(tmp_path: Path) -> None:
    expected = write_bosphorus(tmp_path)
    write_text(tmp_path / LIST, "".join(BOSPHORUS.splitlines(keepends=True)[2:]))
    assert_rows(read(tmp_path)[0], expected)


def test_unknown_codes_are_reported_and_open(tmp_path: Path) -> None:
    write_bosphorus(tmp_path)
    write_text(
        tmp_path / LIST, BOSPHORUS.replace("-> 12C+R6B", "-> 12C+Q9").replace("bs000_N_N_0 -> 0", "bs000_N_N_0 -> ")
    )
    rows, findings = read(tmp_path)
    assert rows["AU12"].tolist() == [1, -1, 0, 1] and rows["AU6"].tolist()[0] == -1
    kinds = {kind: (where, text) for kind, where, text in findings.notes}
    assert kinds["AU text not read"] == ("facscodes.lst line 3", "12C+Q9: Q9; what it does not name is -1")
    assert kinds["pictures without codes"] == ("facscodes.lst line 4", "bs000_N_N_0: all action units unknown")


def test_half_a_copy_is_reported(tmp_path: Path) -> None:
    write_bosphorus(tmp_path)
    base = tmp_path / "BosphorusDB" / "BosphorusDB"
    (base / "bs000" / "bs000_N_N_0.png").unlink()
    (base / "bs011").rename(base / "bs012")
    for path in (base / "bs012").iterdir():
        path.rename(path.with_name(path.name.replace("bs011", "bs012")))
    rows, findings = read(tmp_path)
    assert rows["status"].tolist() == ["ok", "no_image", "no_image", "no_image"]
    assert [where for where, _ in findings.incomplete] == ["bs011", "bs012"]
    assert ("labels without a picture", "bs000", "1 of 2, the first is bs000_N_N_0") in findings.notes


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("bs011_LFAU_12LW_0 -> 1\n", "line 10: bs011_LFAU_12LW_0 is there for the second time, as in line 9"),
        ("bs011_LFAU_15_0 12C\n", "line 10: expected `bs000_LFAU_12_0 -> 12C` or the like"),
        ("somebody -> 12C\n", "line 10: expected `bs000_LFAU_12_0 -> 12C` or the like"),
    ],
)
def test_damaged_list(tmp_path: Path, added: str, message: str) -> None:
    write_bosphorus(tmp_path)
    write_text(tmp_path / LIST, BOSPHORUS + added)
    with pytest.raises(DatasetLayoutError, match=message):
        read(tmp_path)


def test_two_files_for_one_picture(tmp_path: Path) -> None:
    write_bosphorus(tmp_path)
    folder = tmp_path / "BosphorusDB" / "BosphorusDB" / "bs000"
    shutil.copy(folder / "bs000_N_N_0.png", folder / "bs000_N_N_0.jpg")
    with pytest.raises(DatasetLayoutError, match=r"bs000_N_N_0\.jpg and .*bs000_N_N_0\.png may both be it"):
        read(tmp_path)
