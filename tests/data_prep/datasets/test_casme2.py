"""CASME II: its tree and its crops, known faults, wrong roots, and the way to a manifest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auformer.data.manifest import read_manifest
from auformer.data_prep.datasets import casme2
from auformer.data_prep.pipeline.prepare import prepare
from auformer.data_prep.release import Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees.casme import CASME2_HEADER, write_casme2
from tests.helpers.trees.micro import assert_clips, write_table


@pytest.mark.parametrize("cropped", [False, True])
def test_the_miniature_tree(tmp_path: Path, cropped: bool) -> None:
    root, findings = tmp_path / "CASME 2 é", Findings()
    clips = write_casme2(root, cropped=cropped)
    rows = casme2.read(root, findings, cropped=cropped)
    assert_clips(rows, clips, root)
    assert rows["source"].iloc[0].endswith("/sub01/EP02_01f/reg_img46.jpg" if cropped else "/sub01/EP02_01f/img46.jpg")
    assert [(row, text.split(" (")[0]) for _, row, text in findings.corrections] == [
        ("29", "apex / -> 279"),
        ("60", "apex / -> 78"),
        ("60", "offset 51 -> 91"),
    ]
    assert set(rows.loc[rows["sequence"] == "EP02_02f", casme2.RELEASE.au_names].to_numpy().ravel()) == {-1}


def test_without_corrections(tmp_path: Path) -> None:
    clips, findings = write_casme2(tmp_path), Findings()
    rows = casme2.read(tmp_path, findings, corrections=False)
    clips[2].apex = clips[3].apex = None
    assert_clips(rows, clips, tmp_path)  # an offset before the onset: the folder's pictures
    assert findings.corrections == []
    assert [kind for kind, where, _ in findings.notes if where.endswith("row 62")] == [
        "clip without a range",
        "frames without a picture",
        "no apex",
    ]


@pytest.mark.parametrize("folder", ["CASME2_RAW_selected/CASME2_RAW_selected", "CASME II/CASME2_RAW_selected", "."])
def test_other_places_of_the_pictures(tmp_path: Path, folder: str) -> None:
    clips = write_casme2(tmp_path)
    shutil.move(tmp_path / "CASME2_RAW_selected", tmp_path / "moved")
    (tmp_path / folder).parent.mkdir(parents=True, exist_ok=True)
    for subject in (tmp_path / "moved").iterdir():
        shutil.copytree(subject, tmp_path / folder / subject.name)
    shutil.rmtree(tmp_path / "moved")
    for clip in clips:
        clip.folder = clip.folder.replace("CASME2_RAW_selected/", f"{folder}/" if folder != "." else "")
    assert_clips(casme2.read(tmp_path, Findings()), clips, tmp_path)


def test_wrong_roots_say_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="`--root` to be a folder"):
        casme2.read(tmp_path / "none", Findings())
    with pytest.raises(DatasetLayoutError, match="the table of CASME II in .* the folder holds nothing"):
        casme2.read(tmp_path, Findings())
    write_casme2(tmp_path, cropped=True)
    with pytest.raises(
        DatasetLayoutError, match=r"pictures of CASME II in .* the folder holds CASME2-coding-20140508.xlsx, Cropped/"
    ):
        casme2.read(tmp_path, Findings())


def test_another_table(tmp_path: Path) -> None:
    write_casme2(tmp_path)
    write_table(
        tmp_path / "CASME2-coding-20140508.xlsx", {"Sheet1": [[*CASME2_HEADER[:7], "Objective Class"], [1, "EP02_01f"]]}
    )
    with pytest.raises(DatasetLayoutError, match="a column 'Action Units' in row 1"):
        casme2.read(tmp_path, Findings())


def test_to_a_manifest(tmp_path: Path) -> None:
    clips = write_casme2(tmp_path / "release", faces=True)
    prepared = prepare("casme2", tmp_path / "release", tmp_path / "out", size=64)
    assert prepared.manifest is not None
    manifest = read_manifest(prepared.manifest)
    assert len(manifest) == sum(len(clip.frames) for clip in clips) and set(manifest["status"]) == {"ok"}
    assert set(manifest.loc[manifest["clip"] == "EP09_10", "apex"]) == {279}
    assert (
        len(manifest.attrs["side"]["corrected"]) == 3 and "from its onset frame" in manifest.attrs["side"]["transform"]
    )
    assert all((prepared.manifest.parent / image).is_file() for image in manifest["image"])
