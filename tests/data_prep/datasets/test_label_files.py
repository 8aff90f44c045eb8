"""CK+, UNBC-McMaster and Aff-Wild2: label files per frame or per video, what they leave open, half copies."""

import shutil
from pathlib import Path

import pytest

from auformer.data_prep.datasets import ckplus, unbc
from auformer.errors import DatasetLayoutError
from tests.helpers.trees import assert_rows, kinds, read, write_text
from tests.helpers.trees.others import WILD_AUS, WILD_AUS_2020, write_affwild2, write_ckplus, write_unbc

FACS = Path("FACS", "S010", "002", "S010_002_00000014_facs.txt")
UNBC_LABELS = Path("Frame_Labels", "FACS", "042-ll042", "ll042t1aaaff")
TRAIN = Path("annotations", "AU_Set", "Train_Set")
LEFT, RIGHT = "12-24-1920x1080_left", "12-24-1920x1080_right"


@pytest.mark.parametrize("folder", ["FACS", "FACS_labels/FACS"])
def test_only_the_coded_frame_of_ckplus_has_a_row(tmp_path, folder):
    expected = write_ckplus(tmp_path, folder=folder)
    rows, findings = read("ckplus", tmp_path)
    assert_rows(rows, expected)
    assert set(ckplus.RELEASE.au_names) <= set(rows.columns) and len(ckplus.RELEASE.au_names) == 30
    assert rows["frame"].tolist() == [11, 14, 2] and findings.incomplete == []
    assert findings.notes == [("sequences that are not there", "FACS", "590 of 593")]


def test_codes_beyond_the_action_units_are_reported(tmp_path):
    """50 is speech; AU19 is an action unit outside the list of CK+; AU4 is there twice."""
    write_ckplus(tmp_path)
    write_text(tmp_path / FACS, "50 0\n19 0\n4 0\n4 2\n")
    rows, findings = read("ckplus", tmp_path)
    assert rows["AU19"].tolist() == [0, 1, 0] and rows["AU4_intensity"].tolist() == [0, 2, 3]
    assert "AU50" not in rows.columns
    assert set(kinds(findings)) >= {"codes that are no action unit", "action unit listed twice"}


def test_an_empty_file_is_a_face_without_action_units(tmp_path):
    write_ckplus(tmp_path)
    write_text(tmp_path / FACS, "")
    rows, findings = read("ckplus", tmp_path)
    aus = list(ckplus.RELEASE.au_names)
    assert not rows.loc[1, aus].any() and rows.loc[0, aus].any()
    assert ("FACS file without an action unit", FACS.name, "all are read as absent") in findings.notes


def test_half_a_copy_of_ckplus_is_reported(tmp_path):
    write_ckplus(tmp_path)
    shutil.rmtree(tmp_path / "cohn-kanade-images" / "S005")
    (tmp_path / "cohn-kanade-images" / "S132" / "008" / "S132_008_00000002.png").unlink()
    (tmp_path / FACS).unlink()
    rows, findings = read("ckplus", tmp_path)
    assert rows["status"].tolist() == ["no_image", "no_image"] and rows["source"].tolist() == ["", ""]
    lost = ["cohn-kanade-images/S010/002", "FACS/S005/001/S005_001_00000011_facs.txt"]
    assert [where for where, _ in findings.incomplete] == lost
    text = "frame 2 is not among the images of its sequence"
    assert ("labels without an image", "S132_008_00000002_facs.txt", text) in findings.notes


@pytest.mark.parametrize("threshold", [1, 2, 3])
def test_rows_of_unbc(tmp_path, threshold):
    """An empty file is a frame without action units; AU43 has no intensity."""
    expected = write_unbc(tmp_path, threshold=threshold)
    rows, findings = read("unbc", tmp_path, threshold=threshold)
    assert_rows(rows, expected)
    assert rows.loc[0, list(unbc.RELEASE.au_names)].tolist() == [0] * 10 and "AU43_intensity" not in rows.columns
    assert len(findings.absent["subjects"]) == 23 and findings.incomplete == [] and findings.notes == []


def test_images_in_a_folder_too_many(tmp_path):
    """As an archive `Images` leaves them that is unpacked into a folder of that name."""
    expected = write_unbc(tmp_path)
    (tmp_path / "Images").rename(tmp_path / "all")
    shutil.move(tmp_path / "all", tmp_path / "Images" / "Images")
    assert_rows(read("unbc", tmp_path)[0], expected.assign(source=("Images/" + expected["source"]).tolist()))


def test_what_the_list_leaves_open(tmp_path):
    """Intensity 0 of a listed action unit, and one outside the release's ten."""
    write_unbc(tmp_path)
    write_text(tmp_path / UNBC_LABELS / "ll042t1aaaff001_facs.txt", "4 0 0 0\n27 3 0 0\n43 0 0 0\n6 2 0 0\n")
    rows, findings = read("unbc", tmp_path)
    assert rows.loc[0, ["AU4", "AU43", "AU6", "AU7"]].tolist() == [-1, -1, 1, 0]
    assert rows["AU4_intensity"].isna().tolist()[:2] == [True, False]
    assert kinds(findings).count("action unit listed with intensity 0") == 2
    assert ("action units outside the release's list", "ll042t1aaaff001_facs.txt", "AU27 is left out") in findings.notes


def test_half_a_copy_of_unbc_is_reported(tmp_path):
    write_unbc(tmp_path)
    images = tmp_path / "Images"
    shutil.rmtree(images / "109-ib109")
    (images / "042-ll042" / "ll042t1aaaff" / "ll042t1aaaff003.png").unlink()
    shutil.copytree(images / "042-ll042" / "ll042t1aaaff", images / "124-dn124" / "dn124t1aaaff")
    rows, findings = read("unbc", tmp_path)
    assert rows["status"].tolist() == ["ok", "ok", "no_image", "no_image", "no_image"]
    lost = ["Images/124-dn124/dn124t1aaaff", "Frame_Labels/FACS/109-ib109/ib109t2aunaff"]
    assert [where for where, _ in findings.incomplete] == lost
    assert findings.notes == [("labels without an image", "042-ll042/ll042t1aaaff", "1 of 3 frames, the first is 3")]


@pytest.mark.parametrize(
    ("base", "train", "aus"),
    [
        ("annotations/AU_Set", "Train_Set", WILD_AUS),
        ("annotations/AU_Set", "Training_Set", WILD_AUS_2020),
        ("6th ABAW Annotations/AU_Detection_Challenge", "Train_Set", tuple(reversed(WILD_AUS))),
    ],
)
def test_rows_of_affwild2(tmp_path, base, train, aus):
    """The order of the header's names does not matter."""
    expected = write_affwild2(tmp_path, base=base, train=train, aus=aus)
    rows, findings = read("affwild2", tmp_path)
    assert_rows(rows, expected)
    assert {name for name in rows.columns if name.startswith("AU")} == {f"AU{au}" for au in aus}
    assert rows["frame"].tolist() == [1, 2, 4, 1, 2, 1] and findings.incomplete == []
    assert rows["status"].tolist() == ["ok", "no_image", "ok", "ok", "ok", "ok"]


def test_what_is_counted(tmp_path):
    """A frame without a crop is no half-copied release; neither is a video of the test set."""
    write_affwild2(tmp_path)
    shutil.copytree(tmp_path / "cropped_aligned" / RIGHT, tmp_path / "cropped_aligned" / "video99")
    findings = read("affwild2", tmp_path)[1]
    assert sorted(findings.notes) == [
        ("frames without any label", "cropped_aligned", "1 frames have -1 for every action unit and no row"),
        ("labels end before the crops", LEFT, "1 crops after frame 4 get no row"),
        ("labels without a crop", "cropped_aligned", "1 of 6 frames in 1 videos"),
    ]
    assert list(findings.absent.values()) == [["video99"]]


def test_two_editions_in_one_copy(tmp_path):
    """AUs that one header does not have are unknown there."""
    write_affwild2(tmp_path)
    write_text(tmp_path / TRAIN / f"{RIGHT}.txt", "AU1,AU20,\n1,1,\n0,-1,\n\n\n")
    rows = read("affwild2", tmp_path)[0]
    assert rows["AU20"].tolist() == [-1, -1, -1, 1, -1, -1] and rows["AU26"].tolist()[3:5] == [-1, -1]
    assert [name for name in rows.columns if name.startswith("AU")][:3] == ["AU1", "AU2", "AU4"]


def test_a_whole_video_without_crops_is_missing(tmp_path):
    write_affwild2(tmp_path)
    shutil.rmtree(tmp_path / "cropped_aligned" / RIGHT)
    rows, findings = read("affwild2", tmp_path)
    assert [where for where, _ in findings.incomplete] == [f"annotations/AU_Set/Train_Set/{RIGHT}.txt"]
    assert rows["status"].tolist() == ["ok", "no_image", "ok", "no_image", "no_image", "ok"]
    with pytest.raises(DatasetLayoutError, match="--partial"):
        findings.require_complete(partial=False)
