"""The predictions table cell by cell, its sidecar, the columns of OpenFace and Py-Feat; and all formats read back."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from auformer.data.manifest import write_predictions
from auformer.errors import ManifestError
from auformer.faces import Face
from auformer.predict import FacePrediction, ImagePrediction, Selection, Source, read_predictions
from auformer.predict.outputs import PYFEAT_COLUMNS, format_notes, openface_table, pyfeat_table
from auformer.predict.sidecar import Loaded, run_settings
from auformer.predict.table import predictions_table
from tests.helpers.predicting import make_checkpoint
from tests.helpers.videos import photo_source

AUS = ("AU12", "AU1", "AU24")
KEY = ["dataset", "subject", "sequence", "frame", "face"]
BOX = ["x", "y", "w", "h", "score"]
R = [f"AU{number:02d}_r" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)]
C = [f"AU{number:02d}_c" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 28, 45)]
TALK = Source("in/talk.mp4", "talk.mp4", "video")
CROP, LANDMARKS = np.zeros((8, 8, 3), np.uint8), np.zeros((5, 2))


def frame(number, *faces):
    """A frame whose faces have the given tracks and probabilities of AU12; AU1 has half of it, AU24 none."""
    face = Face((10.0, 20.0, 50.0, 51.0), 0.876, LANDMARKS, "eyes")
    found = [FacePrediction(face, CROP, np.array((prob, prob / 2, 0.0)), track) for track, prob in faces]
    return ImagePrediction(TALK, "ok" if found else "no_face", "", found, number, number / 10, (120, 160))


def photo(name, *probs, status="ok"):
    """A photo whose face number k has its box at 10 k."""
    faces = [Face((10.0 * k + 1 / 3, 2.0, 50.0, 51.0), 0.87654321, LANDMARKS, "eyes") for k in range(len(probs))]
    pairs = enumerate(zip(faces, probs, strict=True))
    found = [FacePrediction(face, CROP, np.array(row), k) for k, (face, row) in pairs]
    return ImagePrediction(photo_source(name), status, "", found)


PHOTOS = [
    photo("p/a.jpg", (0.5, 0.2), (0.499, 0.75)),
    *(photo(f"{s}.jpg", status=s) for s in ("no_face", "unreadable")),
]
FRAMES, CUTS = [frame(0, (0, 0.9)), frame(1), frame(2, (0, 0.4), (3, 0.8))], np.array([0.5, 0.3, 0.5])
TABLE = predictions_table(FRAMES, AUS, CUTS)
LEVELS = predictions_table(  # AU12 and AU24 have intensities: five times the probability, and 1.005
    [replace(one, faces=[replace(f, intensity=np.array((5 * f.probs[0], np.nan, 1.005))) for f in one.faces])
     for one in FRAMES], AUS, CUTS, ["AU12", "AU24"],
)  # fmt: skip


class TestOurs:
    def test_every_cell(self):
        table = predictions_table(PHOTOS, AUS[:2], np.array([0.5, 0.75]))
        probs = ["AU12_prob", "AU12_active", "AU1_prob", "AU1_active"]
        assert list(table) == [*KEY, "file", "time_s", *BOX, "quality", "status", *probs]
        names = ["p/a.jpg", "p/a.jpg", "no_face.jpg", "unreadable.jpg"]
        assert table["subject"].tolist() == table["sequence"].tolist() == names
        assert table[["dataset", "frame", "face"]].values.tolist() == [["user", 0, face] for face in (0, 1, 0, 0)]
        assert table["file"].tolist() == [f"in/{name}" for name in names]
        assert table["status"].tolist() == ["ok", "ok", "no_face", "unreadable"]
        assert table.loc[:1, BOX].values.tolist() == [[0.33, 2, 50, 51, 0.8765], [10.33, 2, 50, 51, 0.8765]]
        assert table.loc[:1, probs].values.tolist() == [[0.5, 1, 0.2, 0], [0.499, 0, 0.75, 1]]
        assert table.loc[2:, ["time_s", *BOX, *probs]].isna().all(axis=None) and (table["quality"] == "").all()

    def test_quality_is_joined(self, tmp_path):
        one = photo("a.jpg", (0.5, 0.2))
        spoilt = replace(one, faces=[replace(one.faces[0], quality=("small", "covered"))])
        table = predictions_table([spoilt, one], AUS[:2], np.array([0.5, 0.5]))
        assert table["quality"].tolist() == ["small;covered", ""] and table["status"].tolist() == ["ok", "ok"]

    def test_intensities_stand_behind_the_occurrence_of_their_au(self):
        aus = ["prob", "active", "intensity_pred"]
        columns = [*(f"AU12_{kind}" for kind in aus), "AU1_prob", "AU1_active", *(f"AU24_{kind}" for kind in aus)]
        assert list(LEVELS)[-8:] == columns
        assert LEVELS["AU12_intensity_pred"].tolist() == pytest.approx([4.5, np.nan, 2.0, 4.0], nan_ok=True)
        pd.testing.assert_frame_equal(LEVELS[list(TABLE)], TABLE)  # the rest is as without

    def test_times_and_numbers_of_a_video(self):
        frames = [
            replace(photo("a.mp4", (0.5, 0.2)), frame=3, time_s=0.1234567),
            replace(photo("a.mp4", status="no_face"), frame=4, time_s=0.2),
        ]
        table = predictions_table(frames, AUS[:2], np.array([0.5, 0.5]))
        assert table["frame"].tolist() == [3, 4] and table["time_s"].tolist() == [0.123457, 0.2]

    @pytest.mark.parametrize("images", [PHOTOS, PHOTOS[1:]])
    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    def test_it_is_a_predictions_file(self, tmp_path, images, suffix):
        table = predictions_table(images, AUS[:2], np.array([0.5, 0.75]))
        write_predictions(table, tmp_path / f"p{suffix}", {"mine": 1})
        back = read_predictions(tmp_path / f"p{suffix}")
        assert back.attrs["format"] == "native" and back.attrs["side"]["mine"] == 1
        assert back.attrs["au_names"] == ["AU1", "AU12"] and not set(back) & {"AU1", "AU12"}
        pd.testing.assert_frame_equal(back[list(table)], table, check_dtype=False)


@pytest.mark.parametrize("recipe", ["eyes", None])
def test_the_sidecar(tmp_path, recipe):
    folder = make_checkpoint(
        tmp_path,
        crop_recipe=recipe,
        thresholds={"AU12": 0.5, "AU1": 0.3, "AU25": 0.5},
        extra={"selection": {"epoch": 3}},
    )
    loaded = Loaded(folder, folder / "backbone.safetensors", "cpu", {})
    side = loaded.sidecar(run_settings(loaded.predictor, Selection(every=2), (1, 8)), {"sources": 1})
    assert json.loads(json.dumps(side)) == side
    assert side["checkpoint"] == str(folder) and side["adapter"]["file"] == "adapter.safetensors"
    assert side["adapter"]["revision"] is None and len(side["adapter"]["sha256"]) == 64
    assert side["au_names"] == ["AU12", "AU1", "AU25"] and side["thresholds"]["AU1"] == 0.3
    assert side["crop_recipe"] == "eyes" and side["image_size"] == [32, 32] and side["counts"] == {"sources": 1}
    assert side["epoch_selection"] == {"epoch": 3} and side["config"]["network"].endswith("AUFormer")
    settings = side["settings"]
    assert settings["frames"]["every"] == 2 and settings["shard"] == "1/8" and settings["probability_smoothing"] is None
    assert side["faces"]["detector"] == "cascade" and "OpenCV" in side["faces"]["version"] and side["notice"] is None
    unknown = [text for text in side["warnings"] if "does not say how its training images were cropped" in text]
    assert len(unknown) == (recipe is None)


def written(tmp_path, table) -> Path:
    table.to_csv(tmp_path / "talk.csv", index=False)
    return tmp_path / "talk.csv"


def cells(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class TestOpenFace:
    def test_header_and_cells_of_a_video(self, tmp_path):
        path, head = written(tmp_path, openface_table(TABLE, photo=False)), "frame face_id timestamp confidence success"
        assert path.read_text().splitlines()[0] == ",".join([*head.split(), *R, *C])
        table = cells(path)
        assert [" ".join(row[name] for name in head.split()) for row in table] == [
            "1 0 0.000 0.88 1",
            "2 0 0.100 0.00 0",
            "3 0 0.200 0.88 1",
            "3 3 0.200 0.88 1",
        ]
        for name in ("AU12_c", "AU01_c"):
            assert [row[name] for row in table] == ["1.0", "", "0.0", "1.0"]
        empty = [*R, *(name for name in C if name not in ("AU12_c", "AU01_c"))]
        assert {row[name] for row in table for name in empty} == {""}  # no invented intensity

    def test_intensities_have_two_decimals_and_presence_stays(self, tmp_path):
        table, plain = (cells(written(tmp_path, openface_table(one, photo=False))) for one in (LEVELS, TABLE))
        assert [row["AU12_r"] for row in table] == ["4.50", "", "2.00", "4.00"]
        assert {row[name] for row in table for name in R if name != "AU12_r"} == {""}
        for row, before in zip(table, plain, strict=True):
            assert {**row, "AU12_r": ""} == before

    def test_blinks_fill_their_columns(self, tmp_path):
        """AU28 has no `_r` in OpenFace, and AU45 no probability of its own."""
        blink = {"AU45_active": pd.array([1, None, 0, 0], "Int8"), "AU45_intensity_pred": [3.456, np.nan, 0.0, 0.0]}
        lips = {"AU28_active": pd.array([0, None, 1, 0], "Int8"), "AU28_intensity_pred": [0.0, np.nan, 2.0, 0.0]}
        table = cells(written(tmp_path, openface_table(LEVELS.assign(**blink, **lips), photo=False)))
        assert [row["AU45_r"] for row in table] == ["3.46", "", "0.00", "0.00"]
        assert [row["AU45_c"] for row in table] == ["1.0", "", "0.0", "0.0"]
        assert [row["AU28_c"] for row in table] == ["0.0", "", "1.0", "0.0"] and list(table[0])[5:] == [*R, *C]

    def test_a_photo_has_the_head_of_single_images(self):
        assert list(openface_table(TABLE.iloc[:1], photo=True))[:3] == ["face", "confidence", "AU01_r"]

    def test_read_back(self, tmp_path):
        back = read_predictions(written(tmp_path, openface_table(TABLE, photo=False)))
        assert back.attrs["format"] == "openface" and back["subject"].unique().tolist() == ["talk"]
        assert back["frame"].tolist() == [0, 1, 2, 2] and back["face"].tolist() == [0, 0, 0, 3]
        assert back["status"].tolist() == ["ok", "no_face", "ok", "ok"]
        assert back["AU12_active"].tolist() == [1, pd.NA, 0, 1] and back["time_s"].tolist() == [0, 0.1, 0.2, 0.2]
        assert not [name for name in back if name.endswith("_prob") or "_intensity" in name]

    def test_a_file_of_openface_two_point_zero(self, tmp_path):
        lines = [
            " frame, timestamp, confidence, success, x_0, AU01_r, AU12_r, AU12_c",
            "1, 0.000, 0.98, 1, 3.1, 0.50, 2.25, 1",
            "2, 0.033, 0.10, 0, 0.0, 0, 0, 0",
        ]
        (tmp_path / "old.csv").write_text("\n".join(lines) + "\n")
        back = read_predictions(tmp_path / "old.csv")
        assert back["frame"].tolist() == [0, 1] and back["face"].tolist() == [0, 0]
        assert back["status"].tolist() == ["ok", "no_face"]
        assert back.loc[0, ["AU1_intensity_pred", "AU12_intensity_pred", "AU12_active"]].tolist() == [0.5, 2.25, 1]
        assert back.loc[1, ["AU1_intensity_pred", "AU12_active"]].isna().all()  # OpenFace writes 0 where it failed


class TestTablesAsTheyCome:
    """OpenFace's and Py-Feat's tables that other programs have had in their hands."""

    def read(self, tmp_path, text, name="talk.csv", encoding="utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return read_predictions(tmp_path / name)

    @pytest.mark.parametrize(
        ("rows", "frames"),
        [
            (["0,0.000,1", "1,0.040,1"], [0, 1]),  # pyfaceau
            (["2,0.080,1", "3,0.120,1"], [2, 3]),  # the same, without its first frames
            (["2,0.040,1", "3,0.080,1"], [1, 2]),
            (["1,,1", "2,,1"], [0, 1]),
        ],
    )
    def test_where_frames_begin(self, tmp_path, rows, frames):
        back = self.read(tmp_path, "frame,timestamp,success,AU12_r\n" + "".join(f"{row},1.5\n" for row in rows))
        assert back["frame"].tolist() == frames and back["AU12_intensity_pred"].tolist() == [1.5, 1.5]

    def test_saved_by_a_european_spreadsheet(self, tmp_path):
        text = "sep=;\r\nframe;face_id;success;AU12_r;AU12_c\r\n1;0;1;2,25;1,0\r\n2;0;0;0;0\r\n3;0;1;-nan(ind);1\r\n"
        back = self.read(tmp_path, text, encoding="utf-16")
        assert back["AU12_active"].tolist() == [1, pd.NA, 1] and back["AU12_intensity_pred"].tolist()[0] == 2.25
        assert back["AU12_intensity_pred"].isna().tolist() == [False, True, True]
        assert back.attrs["notes"] == ["numbers have decimal commas", "`-nan(ind)` read as missing"]

    def test_landmarks_are_a_place(self, tmp_path):
        marks = {f"{axis}_{k}": float(k + 5 * (axis == "y")) for axis in "xy" for k in range(68)}
        table = pd.DataFrame([{"frame": 1, "face_id": k, "success": k, **marks, "AU12_c": 1} for k in (0, 1)])
        table.to_csv(tmp_path / "talk.csv", index=False)
        back = read_predictions(tmp_path / "talk.csv")
        assert back[["x", "y", "w", "h"]].iloc[1].tolist() == [0.5, 5.5, 67, 67] and back["x"].isna()[0]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("frame,success,AU12_c\n", "a header and no rows, as where nobody was seen"),
            ("frame,face_id,AU12_c\n1,0,1\n1,0,0\n", "line 3: frame 1, face_id 0 is in line 2 too"),
            ("frame,AU12_c\n1,0.5\n", "line 2: expected `AU12_c` to be 0, 1 or empty, but got 0.5"),
            ("frame,AU12_c\n,1\n", "line 2: expected `frame` to be a whole number, but got nothing"),
            ("frame,AU12_r\n1,2.5\n2,high\n", "line 3: expected `AU12_r` to be a number or empty, but got 'high'"),
        ],
    )
    def test_what_is_refused(self, tmp_path, text, message):
        with pytest.raises(ManifestError, match=message):
            self.read(tmp_path, text)

    def test_py_feat_of_several_images_and_faces(self, tmp_path):
        """Py-Feat numbers the images of a list; an image is frame 0 here, and two of one name are two."""
        head = "FaceRectX,FaceRectY,FaceRectWidth,FaceRectHeight,FaceScore,AU12,input,frame\n"
        rows = ["1,2,3,4,0.9,0.8,/d/p1/a.jpg,0", "5,2,3,4,0.9,0.1,/d/p1/a.jpg,0", "1,2,3,4,0.9,0.5,/d/p2/a.jpg,1"]
        rows += [",,,,,,/d/b.jpg,2", "1,2,3,4,0.9,0.7,C:\\films\\talk.mp4,7"]
        back = self.read(tmp_path, head + "\n".join(rows) + "\n")
        assert back["subject"].tolist() == ["/d/p1/a.jpg"] * 2 + ["/d/p2/a.jpg", "/d/b.jpg", "C:/films/talk.mp4"]
        assert back["frame"].tolist() == [0, 0, 0, 0, 7] and back["face"].tolist() == [0, 1, 0, 0, 0]
        assert back["status"].tolist() == ["ok", "ok", "ok", "no_face", "ok"] and back["AU12_prob"].isna()[3]


class TestPyFeat:
    def test_header_and_cells(self, tmp_path):
        table = cells(written(tmp_path, pyfeat_table(TABLE, size=(120, 160))))
        names = list(table[0])
        assert names == list(PYFEAT_COLUMNS) and len([name for name in names if name.startswith("AU")]) == 20
        assert names[:6] == ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore", "x_0"]
        assert names[-6:] == ["FrameHeight", "FrameWidth", "input", "frame", "approx_time", "Identity"]
        for name, column in {
            "AU12": ["0.9", "", "0.4", "0.8"],
            "AU24": ["0.0", "", "0.0", "0.0"],
            "frame": ["0", "1", "2", "2"],
            "Identity": ["Person_0", "", "Person_0", "Person_3"],
            "FaceRectX": ["10.0", "", "10.0", "10.0"],
        }.items():
            assert [row[name] for row in table] == column
        first = {"input": "in/talk.mp4", "FrameHeight": "120", "anger": "", "AU43": "", "approx_time": "00:00"}
        assert {name: table[0][name] for name in first} == first

    def test_read_back(self, tmp_path):
        back = read_predictions(written(tmp_path, pyfeat_table(TABLE, size=None)))
        assert back.attrs["format"] == "pyfeat" and back["subject"].unique().tolist() == ["in/talk.mp4"]
        assert back["frame"].tolist() == [0, 1, 2, 2] and back["face"].tolist() == [0, 0, 0, 3]
        assert back["status"].tolist() == ["ok", "no_face", "ok", "ok"]
        for name in ("AU12_prob", "x"):
            assert np.allclose(back[name], TABLE[name], equal_nan=True)
        assert [name for name in back if name.endswith("_prob")] == ["AU1_prob", "AU12_prob", "AU24_prob"]


def test_the_real_reader_of_py_feat(tmp_path):
    io = pytest.importorskip("feat.utils.io")
    fex = io.read_openface(str(written(tmp_path, openface_table(TABLE, photo=False))))
    assert fex.aus.shape == (4, 35) and fex["AU12_c"].tolist()[0] == 1
    assert io.read_feat(str(written(tmp_path, pyfeat_table(TABLE, size=(120, 160))))).aus.shape == (4, 20)


def test_notes_say_which_columns_are_real():
    notes = format_notes("openface", AUS, list(TABLE))
    assert notes["predicted"] == ["AU12", "AU1"] and notes["predicted_without_column"] == ["AU24"]
    assert {*R, "AU45_c"} <= set(notes["columns_without_values"]) and "AU12_c" not in notes["columns_without_values"]
    assert "AU.._r: empty" in notes["values"]
    notes = format_notes("openface", AUS, list(LEVELS))
    assert "AU12_r" not in notes["columns_without_values"] and "AU01_r" in notes["columns_without_values"]
    assert notes["values"].endswith("AU.._r: intensity, 0 to 5")
    assert "AU43" in format_notes("pyfeat", AUS, list(LEVELS))["columns_without_values"]


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ManifestError, match=r"OpenFace \(`AU12_c`\).*its columns are a, b"):
        read_predictions(tmp_path / "x.csv")
    with pytest.raises(ManifestError, match="no such file"):
        read_predictions(tmp_path / "missing.csv")
