"""The predictions file of photos, cell by cell."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd

from auformer.data.manifest import read_predictions, write_predictions
from auformer.faces import Face
from auformer.predict.predictor import AUPredictor
from auformer.predict.table import predictions_side, predictions_table, run_settings
from auformer.predict.types import FacePrediction, ImagePrediction, Selection
from tests.helpers.predictions import StandIn
from tests.helpers.videos import photo_source

AUS = ("AU12", "AU1")


def photo(name, *probs, status="ok", source="eyes"):
    """A photo whose face number k has its box at 10 k."""
    faces = [Face((10.0 * k + 1 / 3, 2.0, 50.0, 51.0), 0.87654321, np.zeros((5, 2)), source) for k in range(len(probs))]
    crop = np.zeros((8, 8, 3), np.uint8)
    found = [
        FacePrediction(face, crop, np.array(row), k) for k, (face, row) in enumerate(zip(faces, probs, strict=True))
    ]
    return ImagePrediction(photo_source(name), status, "", found)


PHOTOS = [
    photo("p/a.jpg", (0.5, 0.2), (0.499, 0.75)),
    photo("b.jpg", status="no_face"),
    photo("c.jpg", status="unreadable"),
]


def test_every_cell():
    table = predictions_table(PHOTOS, AUS, np.array([0.5, 0.75]))
    key = ["dataset", "subject", "sequence", "frame", "face"]
    assert list(table) == [
        *key,
        "file",
        "time_s",
        "x",
        "y",
        "w",
        "h",
        "score",
        "status",
        "AU12_prob",
        "AU12_active",
        "AU1_prob",
        "AU1_active",
    ]
    a, b, c = "p/a.jpg", "b.jpg", "c.jpg"
    assert table[key].values.tolist() == [
        ["user", a, a, 0, 0],
        ["user", a, a, 0, 1],
        ["user", b, b, 0, 0],
        ["user", c, c, 0, 0],
    ]
    assert table["file"].tolist() == ["in/p/a.jpg", "in/p/a.jpg", "in/b.jpg", "in/c.jpg"]
    assert table["status"].tolist() == ["ok", "ok", "no_face", "unreadable"]
    assert table.loc[:1, ["x", "y", "w", "h", "score"]].values.tolist() == [
        [0.33, 2, 50, 51, 0.8765],
        [10.33, 2, 50, 51, 0.8765],
    ]
    assert table.loc[:1, ["AU12_prob", "AU1_prob"]].values.tolist() == [[0.5, 0.2], [0.499, 0.75]]
    assert table.loc[:1, "AU12_active"].tolist() == [1, 0] and table.loc[:1, "AU1_active"].tolist() == [0, 1]
    assert (
        table.loc[2:, [name for name in table if name in "xywh" or name == "time_s" or "AU" in name or name == "score"]]
        .isna()
        .all(axis=None)
    )


def test_it_is_a_predictions_file(tmp_path):
    table = predictions_table(PHOTOS, AUS, np.array([0.5, 0.75]))
    write_predictions(table, tmp_path / "predictions.csv", {})
    back = read_predictions(tmp_path / "predictions.csv")
    assert back.attrs["au_names"] == ["AU1", "AU12"] and not [name for name in back if name in ("AU1", "AU12")]
    pd.testing.assert_frame_equal(back[list(table)], table, check_dtype=False)


def test_photos_without_any_face(tmp_path):
    write_predictions(predictions_table(PHOTOS[1:], AUS, np.array([0.5, 0.5])), tmp_path / "p.csv", {})
    assert read_predictions(tmp_path / "p.csv")["status"].tolist() == ["no_face", "unreadable"]


def test_times_and_numbers_of_a_recording():
    frames = [
        replace(photo("a.mp4", (0.5, 0.2)), frame=3, time_s=0.1234567),
        replace(photo("a.mp4", status="no_face"), frame=4, time_s=0.2),
    ]
    table = predictions_table(frames, AUS, np.array([0.5, 0.5]))
    assert table["frame"].tolist() == [3, 4] and table["time_s"].tolist() == [0.123457, 0.2]


class TestSide:
    def side(self, network, **options):
        predictor = AUPredictor(network)
        checkpoint = {"given": "runs/x", "file": "runs/x/adapter.safetensors", "sha256": "ab", "revision": None}
        settings = run_settings(predictor, Selection(every=2), shard=None)
        plain = {"checkpoint": checkpoint, "settings": settings, "counts": {"sources": 1}, "notice": None}
        return predictions_side(predictor, **{**plain, **options})

    def test_what_it_says(self):
        network = StandIn(AUS)
        network.metadata = {
            "package_version": "0.1",
            "training_data": {"dataset": "x"},
            "extra": {"selection": {"epoch": 3}},
        }
        side = self.side(network, notice="Rendered only.")
        assert json.loads(json.dumps(side)) == side
        adapter = {"file": "adapter.safetensors", "sha256": "ab", "revision": None, "package_version": "0.1"}
        assert side["checkpoint"] == "runs/x" and side["adapter"] == adapter
        assert side["au_names"] == list(AUS) and side["thresholds"] == {"AU12": 0.5, "AU1": 0.5}
        assert (
            side["crop_recipe"] == "eyes" and side["image_size"] == [8, 8] and side["epoch_selection"] == {"epoch": 3}
        )
        assert side["config"]["training_data"] == {"dataset": "x"} and side["config"]["backbone"] is None
        assert side["settings"]["frames"]["every"] == 2 and side["settings"]["probability_smoothing"] is None
        assert side["faces"]["detector"] == "cascade" and "OpenCV" in side["faces"]["version"]
        assert side["notice"] == "Rendered only." and side["warnings"] == []

    def test_an_unknown_recipe_is_a_warning(self):
        network = StandIn(AUS)
        network.crop_recipe = None
        assert "does not say how its training images were cropped" in self.side(network)["warnings"][0]
