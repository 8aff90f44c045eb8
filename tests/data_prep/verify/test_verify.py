"""`verify` on any manifest: counts against plain Python, images, duplicates, folds, the text for people."""

import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest

from auformer.data.images import write_image
from auformer.data.manifest import write_manifest
from auformer.data_prep.verify import images as image_check
from auformer.data_prep.verify.manifest import verify
from auformer.data_prep.verify.text import report_lines

KINDS = {"positives": 1, "negatives": 0, "unknown": -1}


@pytest.fixture
def frame():
    """Two people of data sets that nothing is published about, and one of CASME II; two rows are not ok."""
    rng = np.random.default_rng(7)
    table = pd.DataFrame({"dataset": ["mine"] * 8 + ["casme2"] * 4, "subject": ["a"] * 4 + ["b"] * 4 + ["sub01"] * 4})
    table["sequence"], table["frame"] = (["s1"] * 2 + ["s2"] * 2) * 3, [1, 2] * 6
    table["status"] = ["ok"] * 5 + ["no_face", "unreadable"] + ["ok"] * 5
    table["fold"] = ["x"] * 4 + ["y"] * 4 + [None] * 4
    table["AU1"], table["AU12"] = rng.integers(-1, 2, 12), rng.integers(-1, 2, 12)
    table.loc[8:, ["AU1", "AU12"]] = 1
    table["clip"] = [None] * 8 + ["1"] * 4
    table["image"] = [f"crops/{i}.png" if status == "ok" else None for i, status in enumerate(table["status"])]
    return table


@pytest.fixture
def manifest(frame, tmp_path):
    rng = np.random.default_rng(8)
    for image in frame["image"].dropna():
        write_image(tmp_path / image, rng.integers(0, 256, (16, 12, 3), dtype=np.uint8))
    write_manifest(frame, tmp_path / "m.csv", {})
    return tmp_path / "m.csv"


def kinds(report: dict[str, Any], key: str = "problems") -> list[str]:
    return [entry["kind"] for entry in report[key]]


def test_counts_are_those_of_a_plain_loop(frame, manifest):
    report = verify(manifest)
    assert report["correct"] and report["rows"] == 12 and report["ok"] == 10
    assert report["status"] == {"ok": 10, "no_face": 1, "unreadable": 1}
    assert report["datasets"] == {"mine": 8, "casme2": 4}
    rows = frame.to_dict("records")
    for au in ("AU1", "AU12"):
        counts = {name: sum(row[au] == value for row in rows) for name, value in KINDS.items()}
        positives_ok = sum(row[au] == 1 and row["status"] == "ok" for row in rows)
        assert report["aus"][au] == counts | {"positives_ok": positives_ok}
    by_subject = {(entry["dataset"], entry["subject"]): entry for entry in report["subjects"]}
    assert list(by_subject) == [("casme2", "sub01"), ("mine", "a"), ("mine", "b")]
    assert by_subject["mine", "b"]["rows"] == 4 and by_subject["mine", "b"]["ok"] == 2
    assert by_subject["mine", "a"]["positives"] == {
        au: sum(row[au] == 1 for row in rows if row["subject"] == "a") for au in ("AU1", "AU12")
    }
    folds = [(entry["fold"], entry["subjects"], entry["rows"], entry["ok"]) for entry in report["folds"]]
    assert folds == [("x", 1, 4, 4), ("y", 1, 4, 2)]
    images = {"checked": 10, "sizes": {"12 x 16": 10}, "missing": [], "unreadable": [], "duplicates": []}
    assert report["images"] == images


def test_clips_beside_the_published_number(manifest):
    report = verify(manifest)
    assert [(entry["dataset"], entry["clips"], entry["parts"]) for entry in report["published"]] == [("casme2", 2, [])]
    assert kinds(report, "notes") == ["total"] and "CD6ME has 256 clips" in report["notes"][0]["text"]


def test_columns_may_be_missing(frame, tmp_path):
    frame.drop(columns=["image", "status", "fold", "clip"]).to_csv(tmp_path / "bare.csv", index=False)
    report = verify(tmp_path / "bare.csv")
    assert report["correct"] and report["images"] is None and report["folds"] == []
    assert "no_images" in kinds(report, "notes")
    frame[["dataset", "subject", "sequence", "frame"]].to_csv(tmp_path / "keys.csv", index=False)
    assert verify(tmp_path / "keys.csv")["aus"] == {} and report_lines(verify(tmp_path / "keys.csv"))


@pytest.mark.parametrize("workers", [1, 3])
def test_missing_and_unreadable_images(manifest, workers):
    crops = manifest.parent / "crops"
    (crops / "0.png").unlink()
    (crops / "9.png").unlink()
    (crops / "1.png").write_bytes((crops / "1.png").read_bytes()[:60])
    (crops / "2.png").write_bytes(b"no image")
    report = verify(manifest, workers=workers)
    assert kinds(report) == ["missing_image", "unreadable_image"] and not report["correct"]
    assert report["images"]["missing"] == ["crops/0.png", "crops/9.png"] and report["images"]["checked"] == 10
    assert [text.split(":")[0] for text in report["images"]["unreadable"]] == ["crops/1.png", "crops/2.png"]
    assert "the file ends early" in report["images"]["unreadable"][0]
    report = verify(manifest, images=False)
    assert report["correct"] and report["images"] is None


def test_batches_do_not_change_the_result(manifest, monkeypatch):
    (manifest.parent / "crops" / "7.png").unlink()
    shutil.copy(manifest.parent / "crops" / "0.png", manifest.parent / "crops" / "11.png")
    whole = verify(manifest)
    monkeypatch.setattr(image_check, "_BATCH", 3)
    assert verify(manifest) == whole and whole["images"]["duplicates"]


@pytest.mark.parametrize(
    ("first", "second", "wrong", "text"),
    [
        (0, 4, True, "under several people: 1 (crops/0.png = crops/4.png)"),
        (0, 2, True, "different labels: 1 (crops/0.png = crops/2.png)"),
        (0, 1, False, "in neighbouring frames"),
        (2, 3, True, "different labels"),
        (8, 10, False, "with one label"),
    ],
)
def test_the_same_bytes_twice(frame, manifest, first, second, wrong, text):
    frame["AU1"], frame["frame"] = [0, 1, 1, 0, 0, 1, 1, 0, 1, 1, 1, 1], [1, 2, 1, 3] * 3
    write_manifest(frame, manifest, {})
    shutil.copy(manifest.parent / f"crops/{first}.png", manifest.parent / f"crops/{second}.png")
    report = verify(manifest)
    found = [entry["text"] for entry in report["problems" if wrong else "notes"] if entry["kind"] == "duplicate_image"]
    assert len(found) == 1 and text in found[0] and report["correct"] is not wrong
    assert [key["frame"] for key in report["images"]["duplicates"][0]] == frame["frame"].iloc[[first, second]].tolist()


def test_one_file_named_twice_is_a_duplicate_too(frame, manifest):
    frame.loc[4, "image"] = "crops/0.png"
    write_manifest(frame, manifest, {})
    assert kinds(verify(manifest)) == ["duplicate_image"]


def test_people_of_disfa_in_disfaplus_are_the_same_person(frame, manifest):
    """Equal images of SN001 in DISFA and in DISFA+ are of one person."""
    frame["dataset"] = ["disfa"] * 4 + ["disfaplus"] * 8
    frame["subject"], frame["AU1"], frame["AU12"], frame["frame"] = "SN001", 0, 0, range(1, 13)
    write_manifest(frame.drop(columns=["fold", "clip"]), manifest, {})
    shutil.copy(manifest.parent / "crops/0.png", manifest.parent / "crops/4.png")
    assert kinds(verify(manifest)) == []


def test_images_of_several_sizes_are_noted(manifest):
    write_image(manifest.parent / "crops" / "3.png", np.zeros((8, 8, 3), np.uint8))
    report = verify(manifest)
    assert report["correct"] and "image_sizes" in kinds(report, "notes")
    assert report["images"]["sizes"] == {"12 x 16": 9, "8 x 8": 1}


def test_a_person_in_two_folds(frame, manifest):
    write_manifest(frame.assign(fold=["x"] * 3 + ["y"] * 5 + ["z"] * 4), manifest, {})
    report = verify(manifest)
    assert kinds(report) == ["person_in_two_folds"] and "a of mine (x, y)" in report["problems"][0]["text"]
    both = frame.assign(dataset=["disfa"] * 4 + ["disfaplus"] * 8, fold=["D3"] * 4 + ["D1"] * 8)
    both = both.assign(subject="SN003", frame=range(12))
    write_manifest(both.drop(columns="clip"), manifest, {})
    assert "SN003 of disfa (D1, D3)" in verify(manifest)["problems"][0]["text"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"frame": [1] * 12}, "same key as"),
        ({"AU12": [9] * 12}, "AU12"),
        ({"AU12_intensity": [9.0] * 12}, "0 to 5"),
        ({"image": ["../a.png"] * 12}, "inside the manifest's folder"),
        ({"AU12_prob": [0.5] * 12}, "predictions file"),
    ],
)
def test_what_breaks_the_contract_is_a_problem_and_no_exception(frame, tmp_path, change, text):
    frame.assign(**change).to_csv(tmp_path / "bad.csv", index=False)
    report = verify(tmp_path / "bad.csv")
    assert list(report) == ["format_version", "manifest", "correct", "problems", "notes"] and not report["correct"]
    assert kinds(report) == ["contract"] and text in report["problems"][0]["text"]


def test_nothing_usable(frame, manifest):
    write_manifest(frame.assign(status="no_face"), manifest, {})
    assert kinds(verify(manifest)) == ["nothing_usable"]


def test_bp4dplus_in_which_no_label_is_unknown(tmp_path):
    rows = {"dataset": "bp4dplus", "subject": "F001", "sequence": "T1", "frame": np.arange(1, 6001)}
    frame = pd.DataFrame(rows | {f"AU{au}": 0 for au in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15)})
    write_manifest(frame, tmp_path / "m.parquet", {})
    assert kinds(verify(tmp_path / "m.parquet")) == ["unknown_as_negative"]
    frame.loc[5, "AU13"] = -1
    write_manifest(frame, tmp_path / "m.parquet", {})
    assert kinds(verify(tmp_path / "m.parquet")) == []


def test_the_text_holds_what_the_report_holds(manifest):
    (manifest.parent / "crops" / "0.png").unlink()
    report = verify(manifest)
    lines = report_lines(report)
    text = "\n".join(lines)
    assert lines[0] == str(manifest) and lines[-1] == f"{manifest}: 1 thing is wrong"
    assert "rows: 12 (mine 8, casme2 4); status: ok 10, no_face 1, unreadable 1" in text
    assert "missing_image (images): images that are not there: 1 (crops/0.png)" in text
    assert "Published counts of CASME II" in text
    assert "mine a" in text and "mine x" in text
    assert "CD6ME: 256 clips (clips with action units); here 2, -254" in text
    assert all(len(line) == len(line.rstrip()) for line in lines)
