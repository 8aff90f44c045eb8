"""The columns of OpenFace and Py-Feat, cell by cell, by readers written from their documentation; and all formats read back."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from auformer.data.manifest import write_predictions
from auformer.errors import ManifestError
from auformer.faces import Face
from auformer.predict.compare import read_predictions
from auformer.predict.outputs import PYFEAT_COLUMNS, format_notes, openface_table, pyfeat_table
from auformer.predict.sources import Source
from auformer.predict.table import predictions_table
from auformer.predict.types import FacePrediction, ImagePrediction

AUS = ("AU12", "AU1", "AU24")
R = "AU01_r,AU02_r,AU04_r,AU05_r,AU06_r,AU07_r,AU09_r,AU10_r,AU12_r,AU14_r,AU15_r,AU17_r,AU20_r,AU23_r,AU25_r,AU26_r,AU45_r"
C = "AU01_c,AU02_c,AU04_c,AU05_c,AU06_c,AU07_c,AU09_c,AU10_c,AU12_c,AU14_c,AU15_c,AU17_c,AU20_c,AU23_c,AU25_c,AU26_c,AU28_c,AU45_c"
TALK = Source("in/talk.mp4", "talk.mp4", "video")


def frame(number, *faces, source=TALK):
    """A frame whose faces have the given identities and probabilities of AU12; AU1 has half of it, AU24 none."""
    found = [
        FacePrediction(
            Face((10.0, 20.0, 50.0, 51.0), 0.876, np.zeros((5, 2)), "eyes"),
            np.zeros((8, 8, 3), np.uint8),
            np.array(probs),
            who,
        )
        for who, probs in ((who, (prob, prob / 2, 0.0)) for who, prob in faces)
    ]
    return ImagePrediction(source, "ok" if found else "no_face", "", found, number, number / 10, (120, 160))


TABLE = predictions_table([frame(0, (0, 0.9)), frame(1), frame(2, (0, 0.4), (3, 0.8))], AUS, np.array([0.5, 0.3, 0.5]))


def written(tmp_path, table, name="talk.csv"):
    path = tmp_path / name
    table.to_csv(path, index=False)
    return path


def cells(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class TestOpenFace:
    def test_header_and_cells_of_a_video(self, tmp_path):
        path = written(tmp_path, openface_table(TABLE, photo=False))
        assert path.read_text().splitlines()[0] == f"frame,face_id,timestamp,confidence,success,{R},{C}"
        rows = cells(path)
        head = [[row[name] for name in ("frame", "face_id", "timestamp", "confidence", "success")] for row in rows]
        assert head == [
            ["1", "0", "0.000", "0.88", "1"],
            ["2", "0", "0.100", "0.00", "0"],
            ["3", "0", "0.200", "0.88", "1"],
            ["3", "3", "0.200", "0.88", "1"],
        ]
        assert [row["AU12_c"] for row in rows] == ["1.0", "", "0.0", "1.0"] and [row["AU01_c"] for row in rows] == [
            "1.0",
            "",
            "0.0",
            "1.0",
        ]
        assert {row[name] for row in rows for name in R.split(",")} == {""}  # no invented intensity
        assert {row[name] for row in rows for name in C.split(",") if name not in ("AU12_c", "AU01_c")} == {""}

    def test_a_photo_has_the_head_of_single_images(self):
        assert list(openface_table(TABLE.iloc[:1], photo=True))[:3] == ["face", "confidence", "AU01_r"]

    def test_read_back(self, tmp_path):
        back = read_predictions(written(tmp_path, openface_table(TABLE, photo=False)))
        assert (
            back.attrs["format"] == "openface"
            and back["frame"].tolist() == [0, 1, 2, 2]
            and back["face"].tolist() == [0, 0, 0, 3]
        )
        assert back["status"].tolist() == ["ok", "no_face", "ok", "ok"] and back["subject"].unique().tolist() == [
            "talk"
        ]
        assert back["AU12_active"].tolist() == [1, pd.NA, 0, 1] and back["time_s"].tolist() == [0, 0.1, 0.2, 0.2]
        assert not [name for name in back if name.endswith(("_prob", "_intensity"))]

    def test_a_file_of_openface_two_point_zero(self, tmp_path):
        path = tmp_path / "old.csv"
        lines = [
            " frame, timestamp, confidence, success, x_0, AU01_r, AU12_r, AU12_c",
            "1, 0.000, 0.98, 1, 3.1, 0.50, 2.25, 1",
            "2, 0.033, 0.10, 0, 0.0, 0, 0, 0",
        ]
        path.write_text("\n".join(lines) + "\n")
        back = read_predictions(path)
        assert (
            back["frame"].tolist() == [0, 1]
            and back["face"].tolist() == [0, 0]
            and back["status"].tolist() == ["ok", "no_face"]
        )
        assert back.loc[0, ["AU1_intensity", "AU12_intensity", "AU12_active"]].tolist() == [0.5, 2.25, 1]
        assert back.loc[1, ["AU1_intensity", "AU12_active"]].isna().all()  # OpenFace writes 0 where it failed


class TestPyFeat:
    def test_header_and_cells(self, tmp_path):
        rows = cells(written(tmp_path, pyfeat_table(TABLE, size=(120, 160))))
        names = list(rows[0])
        assert names == list(PYFEAT_COLUMNS) and len([name for name in names if name.startswith("AU")]) == 20
        assert names[:6] == ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore", "x_0"]
        assert names[-6:] == ["FrameHeight", "FrameWidth", "input", "frame", "approx_time", "Identity"]
        assert [row["AU12"] for row in rows] == ["0.9", "", "0.4", "0.8"] and [row["AU24"] for row in rows] == [
            "0.0",
            "",
            "0.0",
            "0.0",
        ]
        assert [row["frame"] for row in rows] == ["0", "1", "2", "2"] and rows[0]["approx_time"] == "00:00"
        assert [row["Identity"] for row in rows] == ["Person_0", "", "Person_0", "Person_3"] and rows[1][
            "FaceRectX"
        ] == ""
        assert rows[0]["input"] == "in/talk.mp4" and (rows[0]["FrameHeight"], rows[0]["anger"], rows[0]["AU43"]) == (
            "120",
            "",
            "",
        )

    def test_read_back(self, tmp_path):
        back = read_predictions(written(tmp_path, pyfeat_table(TABLE, size=None)))
        assert (
            back.attrs["format"] == "pyfeat"
            and back["face"].tolist() == [0, 0, 0, 3]
            and back["frame"].tolist() == [0, 1, 2, 2]
        )
        assert back["status"].tolist() == ["ok", "no_face", "ok", "ok"] and back["subject"].unique().tolist() == [
            "talk"
        ]
        assert np.allclose(back["AU12_prob"], TABLE["AU12_prob"], equal_nan=True) and np.allclose(
            back["x"], TABLE["x"], equal_nan=True
        )
        assert [name for name in back if name.endswith("_prob")] == ["AU1_prob", "AU12_prob", "AU24_prob"]


def test_the_real_reader_of_py_feat(tmp_path):
    io = pytest.importorskip("feat.utils.io")
    fex = io.read_openface(str(written(tmp_path, openface_table(TABLE, photo=False))))
    assert fex.aus.shape == (4, 35) and fex["AU12_c"].tolist()[0] == 1
    fex = io.read_feat(str(written(tmp_path, pyfeat_table(TABLE, size=(120, 160)), "feat.csv")))
    assert fex.aus.shape == (4, 20)


def test_notes_say_which_columns_are_real():
    notes = format_notes("openface", AUS)
    assert notes["predicted"] == ["AU12", "AU1"] and notes["predicted_without_column"] == ["AU24"]
    assert (
        "AU45" in notes["columns_without_values"]
        and "AU12" not in notes["columns_without_values"]
        and "_r" in notes["values"]
    )


def test_native_files_and_others(tmp_path):
    write_predictions(TABLE, tmp_path / "p.csv", {"mine": 1})
    back = read_predictions(tmp_path / "p.csv")
    assert back.attrs["format"] == "native" and back.attrs["side"]["mine"] == 1 and back["AU12_prob"].tolist()[0] == 0.9
    write_predictions(TABLE, tmp_path / "p.parquet", {})
    assert read_predictions(tmp_path / "p.parquet").attrs["format"] == "native"
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ManifestError, match=r"OpenFace \(`AU12_c`\).*its columns are a, b"):
        read_predictions(tmp_path / "x.csv")
    with pytest.raises(ManifestError, match="no such file"):
        read_predictions(tmp_path / "missing.csv")
