import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auformer.data.manifest import (
    KEY,
    au_columns,
    predicted_aus,
    read_manifest,
    read_predictions,
    sidecar_path,
    validate_manifest,
    validate_predictions,
    write_faces,
    write_manifest,
    write_predictions,
)
from auformer.errors import ManifestError
from tests.helpers.tables import predictions, table, text_file


@pytest.mark.parametrize("name", ["m.csv", "m.parquet", "größe.v2.csv"])
def test_what_is_written_is_read(tmp_path, name):
    columns = {"AU12_intensity": [2.5, None, 0.1], "time_s": [0.1, 0.2, 1 / 3]}
    frame = table(fold=["P1", "P1", None], note=["007", "x,y", 'quote "it"'], **columns)
    path = tmp_path / name
    write_manifest(frame, path, {"data_set": "BP4D", "crop_recipe": "eyes"})
    back = read_manifest(path)

    assert back["sequence"].tolist() == ["001", "001", "002"]
    assert back["note"].tolist() == ["007", "x,y", 'quote "it"']
    assert back["AU1"].dtype == np.int8 and back["AU1"].tolist() == [0, 1, -1]
    assert back["AU12_intensity"].tolist()[::2] == [2.5, 0.1] and np.isnan(back["AU12_intensity"][1])
    assert back["time_s"].tolist() == [0.1, 0.2, 1 / 3]
    assert back["fold"].isna().tolist() == [False, False, True]
    assert back["face"].tolist() == [0, 0, 0] and back["status"].tolist() == ["ok"] * 3
    assert back.attrs["path"] == str(path) and back.attrs["au_names"] == ["AU1", "AU12"]
    assert back.attrs["side"] == {"format_version": 1, "data_set": "BP4D", "crop_recipe": "eyes", "intensity_scale": 5}
    pd.testing.assert_frame_equal(validate_manifest(frame), back, check_dtype=False)


def test_a_second_round_changes_no_byte(tmp_path):
    write_manifest(table(note=["1.0", None, "NA"], AU12_intensity=[0.1, None, 4.9]), tmp_path / "a.csv", {"n": 1})
    frame = read_manifest(tmp_path / "a.csv")
    write_manifest(frame, tmp_path / "b.csv", frame.attrs["side"])
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert sidecar_path(tmp_path / "a.csv").read_bytes() == sidecar_path(tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_no_folder_of_this_machine_is_written(tmp_path, name):
    write_manifest(table(), tmp_path / name, {})
    write_manifest(read_manifest(tmp_path / name), tmp_path / f"again_{name}", {})
    assert str(tmp_path).encode() not in (tmp_path / f"again_{name}").read_bytes()


def test_text_that_looks_like_something_else_stays_text(tmp_path):
    path = text_file(tmp_path, "dataset,subject,sequence,frame,AU1,fold\nNA,001,1e3,5,,1\nNA,nan,None,5,1.0,01\n")
    frame = read_manifest(path)
    texts = frame[["dataset", "subject", "sequence", "fold"]].to_numpy().tolist()
    assert texts == [["NA", "001", "1e3", "1"], ["NA", "nan", "None", "01"]] and frame["AU1"].tolist() == [-1, 1]


def test_a_bare_csv_is_a_manifest_or_a_predictions_file(tmp_path):
    frame = read_manifest(text_file(tmp_path, "\ufeffdataset,subject,sequence,frame,AU1\nd,s,v,0,1\n"))
    assert au_columns(frame) == ["AU1"] and frame.attrs["side"] == {} and "image" not in frame
    path = text_file(tmp_path, "dataset,subject,sequence,frame,AU1_prob\nd,s,v,0,0.5\n")
    assert read_predictions(path)["AU1_prob"].tolist() == [0.5]


def test_whole_numbers_as_names_become_text(tmp_path):
    table(subject=[1, 2, 3], sequence=pd.Categorical(["a", "b", "c"])).to_parquet(tmp_path / "m.parquet")
    frame = read_manifest(tmp_path / "m.parquet")
    assert frame["subject"].tolist() == ["1", "2", "3"] and frame["sequence"].tolist() == ["a", "b", "c"]


def test_au_columns_are_found_by_name_and_sorted_by_number():
    frame = table(AU1=[0.0, None, 1.0], AU4=[0] * 3, AU12_left=[1, 0, -1], AU12_right=[0] * 3, AU_count=[1] * 3)
    before = frame.copy()
    assert au_columns(validate_manifest(frame)) == ["AU1", "AU4", "AU12"]
    pd.testing.assert_frame_equal(frame, before)  # the frame given is not changed


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.csv"
    write_manifest(table(), path, {})
    before = path.read_bytes()

    def full(self, target, **options):
        Path(target).write_text("half of", encoding="utf-8")
        raise OSError("No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(OSError, match="No space"):
        write_manifest(table(AU1=[1, 1, 1]), path, {})
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.csv", "m.json"]


def test_a_bad_table_is_not_written(tmp_path):
    with pytest.raises(ManifestError, match="row 1"):
        write_manifest(table(AU1=[2, 0, 0]), tmp_path / "m.csv", {})
    with pytest.raises(ValueError, match="plain JSON"):
        write_manifest(table(), tmp_path / "m.csv", {"rate": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_faces_lie_beside_the_manifest(tmp_path):
    faces = table(AU1=None, AU12=None, image=None, x=[1.0, 2.0, 3.0], score=[0.9, 0.8, 0.7])
    write_faces(faces, tmp_path / "m.csv")
    back = pd.read_parquet(tmp_path / "m.faces.parquet")
    assert back.columns.tolist() == [*KEY, "x", "score"] and back["score"].tolist() == [0.9, 0.8, 0.7]


label = st.sampled_from([0, 1, -1])
names = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x24F, exclude_characters="\x7f\x85\xa0\xad"), min_size=1, max_size=5
)


row = st.tuples(names, names, st.integers(0, 9), label, label)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(row, min_size=1, max_size=8, unique_by=lambda row: row[:3]))
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_any_names_and_labels_survive(tmp_path, suffix, rows):
    frame = pd.DataFrame(rows, columns=["subject", "sequence", "frame", "AU1", "AU12"]).assign(dataset="d")
    write_manifest(frame, tmp_path / f"m.{suffix}", {})
    back = read_manifest(tmp_path / f"m.{suffix}")
    for name in frame.columns:
        assert back[name].tolist() == frame[name].tolist()


CLIP = {"AU1": [0] * 3, "AU12": [0] * 3, "clip": ["k"] * 3}
BAD = [
    ({"subject": None}, "missing column `subject`"),
    ({"frame": None}, "missing column `frame`"),
    ({"AU99": [0, 0, 0]}, "column `AU99` names an unknown action unit"),
    ({"AU99_left": [0, 0, 0]}, "column `AU99_left` names an unknown action unit"),
    ({"AU04": [0, 0, 0]}, "column `AU04` should be spelled `AU4`"),
    ({"au4_Left": [0, 0, 0]}, "should be spelled `AU4_left`"),
    ({"AU12": [0, 9, 2]}, r"row 2 \(line 3 of a CSV\): `AU12` should be 0, 1, -1 or empty, but is 9 .*not annotated"),
    ({"AU12": ["0", "yes", "1"]}, r"row 2 .*`AU12` .* but is 'yes'"),
    ({"AU12": [0.5, 1, 0]}, r"row 1 .*`AU12` .* but is 0.5"),
    ({"AU12": [0, 2, 2]}, r"`AU12`.*and 1 more row\)"),
    ({"sequence": ["001", "001", "001"]}, r"row 3 .*same key as row 1 .*sequence 001, frame 7, face 0"),
    ({"face": [0, 0, 0], "frame": [7, 7, 7]}, r"row 2 .*same key as row 1 "),
    ({"image": ["a.png", "../b.png", "c.png"]}, r"row 2 .*`image` .* but is '../b.png'"),
    ({"image": ["a.png", "b.png", "x/../../c.png"]}, r"row 3 .*`image`"),
    ({"image": ["/a.png", "b.png", "c.png"]}, r"row 1 .*`image`"),
    ({"image": ["C:/a.png", "b.png", "c.png"]}, r"row 1 .*`image`"),
    ({"image": ["crops\\a.png", "b.png", "c.png"]}, r"row 1 .*with `/`"),
    ({"image": ["x/..", "b.png", "c.png"]}, r"row 1 .*`image`"),
    ({"image": ["a.png", None, "c.png"]}, r"row 2 .*`image` is empty"),
    ({"image": ["a.png", "", "c.png"], "status": ["ok", "", "no_face"]}, r"row 2 .*`image` is empty"),
    ({"subject": ["F001", None, "F001"]}, r"row 2 .*`subject` is empty"),
    ({"subject": ["F001", "", "F001"]}, r"row 2 .*`subject` is empty"),
    ({"subject": [1.5, 2.5, 3.5]}, "decimal numbers where text is expected"),
    ({"frame": [1, 2.5, 3]}, r"row 2 .*`frame` should be a whole number, but is 2.5"),
    ({"frame": [1, None, 3]}, r"row 2 .*`frame` should be a whole number"),
    ({"frame": [1, "two", 3]}, r"row 2 .*`frame` should be a number, but is 'two'"),
    ({"AU12_intensity": [0, 5.5, 1]}, r"row 2 .*`AU12_intensity` should be in 0 to 5, but is 5.5"),
    ({"AU12_intensity": [0, -1, 1]}, r"row 2 .*`AU12_intensity`"),
    ({"AU12_intensity": [0, float("inf"), 1]}, r"row 2 .*`AU12_intensity`"),
    ({"time_s": [0, "x", 1]}, r"row 2 .*`time_s` should be a number"),
    (
        {"AU12_left": [0] * 3, "AU12_right": [0] * 3},
        r"row 1 .*`AU12` is not the maximum of `AU12_left` and `AU12_right`",
    ),
    ({"AU12_left": [1, 0, 1], "AU12_right": [0, 0, -1]}, r"row 3 .*`AU12` is not the maximum"),
    ({"AU12_left": [1, 0, 0]}, "missing column `AU12_right`"),
    ({"AU4_left": [1, 0, 0], "AU4_right": [1, 0, 0]}, "missing column `AU4`"),
    ({"sequence": ["v"] * 3, "frame": [1, 2, 3], "clip": ["k"] * 3}, r"row 2 .*differ from those of the clip"),
    ({**CLIP, "sequence": ["v"] * 3, "frame": [1, 2, 3], "onset": [1, 1, 2]}, r"row 3 .*differ from"),
    ({**CLIP, "onset": [5] * 3, "apex": [None] * 3, "offset": [4] * 3}, "`onset` comes after `offset`"),
    ({**CLIP, "onset": [5] * 3, "apex": [3] * 3}, "`onset` comes after `apex`"),
    ({"AU1_prob": [0.1, 0.2, 0.3]}, "expected a manifest, but got a predictions file"),
]


@pytest.mark.parametrize(("columns", "message"), BAD, ids=[message for _, message in BAD])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_bad_manifest_says_what_and_where(tmp_path, suffix, columns, message):
    frame, path = table(**columns), tmp_path / f"bad.{suffix}"
    if suffix == "csv":
        frame.to_csv(path, index=False)
    else:
        # Parquet refuses these
        mixed = [name for name in frame.columns if len({type(value) for value in frame[name].dropna()}) > 1]
        frame.astype(dict.fromkeys(mixed, str)).to_parquet(path, index=False)
    if suffix == "parquet" or "decimal numbers" not in message:  # a CSV file knows no types: its subjects are text
        with pytest.raises(ManifestError, match=re.escape(str(path)) + ".*" + message):
            read_manifest(path)


def test_a_correct_manifest_with_everything_passes():
    clip = {"clip": ["k", "k", None], "onset": [7, 7, None], "apex": [None] * 3, "offset": [8, 8, None]}
    labels = {"AU1": [1, 1, 0], "AU12": [1, 1, -1], "AU12_left": [1, 1, 0], "AU12_right": [-1, 0, 1]}
    frame = table(**clip, **labels, sequence=["v"] * 3, frame=[7, 8, 9], status=["ok", "no_face", ""])
    checked = validate_manifest(frame.assign(image=["a.png", None, "..b/c..png"]))
    assert checked["status"].tolist() == ["ok", "no_face", "ok"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("dataset,subject,sequence,frame,AU1\n", "no rows"),
        ("dataset,subject,sequence,frame,AU1,AU1\nd,s,v,0,1,0\n", "AU1 more than once"),
        ("dataset,subject,sequence,frame\nd,s,v,0\nd,s,v,1,extra,cells\n", "line 3: 6 cells .* more than the header"),
    ],
)
def test_a_broken_csv_is_named(tmp_path, text, message):
    path = text_file(tmp_path, text)
    with pytest.raises(ManifestError, match=message) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_tables(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for read, name in ((read_manifest, "none"), (read_predictions, "none"), (read_manifest, "folder")):
        with pytest.raises(ManifestError, match="no such file"):
            read(tmp_path / f"{name}.csv")
    with pytest.raises(ManifestError, match=r"\.csv or \.parquet"):
        write_manifest(table(), tmp_path / "m.xlsx", {})
    (tmp_path / "cut.csv").write_bytes("dataset,subject,sequence,frame\nd,é,v,1\nd,".encode() + b"\xc3")
    with pytest.raises(ManifestError, match=r"cut\.csv, line 3: the file is UTF-8 text, but byte 0xc3"):
        read_manifest(tmp_path / "cut.csv")
    write_manifest(table(), tmp_path / "m.parquet", {})
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "m.parquet").read_bytes()[:300])
    with pytest.raises(ManifestError, match=r"cut\.parquet: cannot be read as a parquet"):
        read_manifest(tmp_path / "cut.parquet")


@pytest.mark.parametrize("content", ["{", "[1]", "\x00"])
def test_a_broken_sidecar_is_named(tmp_path, content):
    write_manifest(table(), tmp_path / "m.csv", {})
    (tmp_path / "m.json").write_text(content, encoding="utf-8")
    with pytest.raises(ManifestError, match=r"m\.json"):
        read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_predictions_are_read_as_written(tmp_path, name):
    columns = {"AU1_active": [0, 1, None], "status": ["ok", "ok", "no_face"], "file": ["a", "b", "c"]}
    frame = predictions(AU1_prob=np.array([0.1, 0.7, np.nan], np.float32), **columns)
    write_predictions(frame, tmp_path / name, {"au_names": ["AU1"]})
    back = read_predictions(tmp_path / name)
    assert predicted_aus(back) == back.attrs["au_names"] == ["AU1"]
    np.testing.assert_allclose(back["AU1_prob"], [0.1, 0.7, np.nan], rtol=1e-6)
    assert back["AU1_true"].tolist() == [0, 1, -1] and back["AU1_true"].dtype == np.int8
    assert back["AU1_active"].isna().tolist() == [False, False, True] and back["AU1_active"].tolist()[:2] == [0, 1]
    assert json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))["au_names"] == ["AU1"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"AU1_prob": None}, "missing column `AU.._prob`"),
        ({"AU1_prob": None, "AU1": [0, 1, 0]}, "expected a predictions file, but got a manifest"),
        ({"AU4": [0, 1, 0]}, "column `AU4` of a manifest"),
        ({"AU1_prob": [0.1, 1.2, 0.3]}, r"row 2 .*`AU1_prob` should be in 0 to 1, but is 1.2"),
        ({"AU1_prob": [0.1, None, 0.3]}, r"row 2 .*`AU1_prob` is empty"),
        ({"AU1_true": [0, 1, 9]}, r"row 3 .*`AU1_true`"),
        ({"AU1_active": [0, 1, -1]}, r"row 3 .*`AU1_active` should be 0, 1 or empty"),
        ({"AU77_prob": [0.1, 0.1, 0.1]}, "`AU77_prob` names an unknown action unit"),
        ({"sequence": ["v"] * 3}, r"row 3 .*same key as row 1"),
        ({"dataset": None}, "missing column `dataset`"),
    ],
)
def test_bad_predictions_say_what_and_where(columns, message):
    with pytest.raises(ManifestError, match="here.csv.*" + message):
        validate_predictions(predictions(**columns), "here.csv")
