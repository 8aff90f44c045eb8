"""Faces that are given: the table of an earlier run gives the same crops again; one that does not fit is an error."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from auformer.cli import main
from auformer.data.images import write_image
from auformer.data_prep.pipeline import prepare as pipeline
from auformer.data_prep.pipeline.prepare import prepare
from auformer.errors import DatasetLayoutError
from auformer.faces import POINT_COLUMNS
from tests.helpers.trees import files
from tests.helpers.trees.images import face_image, face_points, write_video
from tests.helpers.trees.tiny import TinyReader


def test_the_table_of_a_run_gives_its_crops_again(tree, tmp_path, monkeypatch):
    """From files, a video and an archive, with the default detector first."""
    monkeypatch.setattr(pipeline, "load", lambda name: TinyReader())
    first = prepare("tiny", tree, tmp_path / "first", size=64)
    spec = f"table:{tmp_path / 'first' / 'manifest.faces.parquet'}"
    given = prepare("tiny", tree, tmp_path / "again", size=64, detector=spec, workers=2)
    assert given.table["status"].tolist() == first.table["status"].tolist()
    crops = files(tmp_path / "first" / "crops")
    assert files(tmp_path / "again" / "crops") == crops and len(crops) == 12
    faces = pd.read_parquet(tmp_path / "again" / "manifest.faces.parquet")
    assert (faces["points_source"] == "table").all()


def openface(path: Path, frames: int) -> Path:
    """A table as OpenFace writes it, all eye landmarks on the pupil."""
    rows = []
    for k in range(frames):
        points = face_points(0, k) - 0.5
        where = {
            **dict.fromkeys(range(68), 2), **dict.fromkeys(range(36, 42), 0),
            **dict.fromkeys(range(42, 48), 1), 48: 3, 54: 4,
        }  # fmt: skip
        rows.append({"frame": k + 1, " face_id": 0, " timestamp": 0.0, " confidence": 0.98, " success": 1})
        rows[-1] |= {f" {axis}_{i}": points[where[i], column] for column, axis in enumerate("xy") for i in range(68)}
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_landmarks_of_openface(tmp_path, capsys):
    """Their frame 1 is the video's frame 0; a table that is too short stops the work with a message."""
    root = tmp_path / "mine"
    write_video(root / "film.mkv", [face_image(0, k) for k in range(3)])
    write_image(root / "photo.png", face_image(0, 0))
    (root / "labels.csv").write_text("video,frame,AU12\nfilm.mkv,0,1\nfilm.mkv,1,0\nfilm.mkv,2,0\n", encoding="utf-8")
    table = openface(tmp_path / "film.csv", 3)
    prepare("csv", root, tmp_path / "out", size=64, detector=f"table:{table}", options={"table": "labels.csv"})
    faces = pd.read_parquet(tmp_path / "out" / "manifest.faces.parquet")
    for k in range(3):
        found = faces.loc[k, POINT_COLUMNS[:6]].to_numpy(float)
        assert np.allclose(found.reshape(3, 2), face_points(0, k)[:3], atol=1e-6)
    (tmp_path / "short").mkdir()
    table = openface(tmp_path / "short" / "film.csv", 2)
    for workers in ("1", "2"):
        words = ["prepare", "csv", "--root", str(root), "--table", "labels.csv", "--workers", workers, "--size", "64"]
        assert main([*words, "--out", str(tmp_path / f"short{workers}"), "--detector", f"table:{table}"]) == 1
        said = capsys.readouterr().err
        assert "film.mkv, frame 2: Expected a frame of" in said and "Traceback" not in said


def test_an_unusable_table_stops_before_anything_is_written(tmp_path):
    write_image(tmp_path / "mine" / "photo.png", face_image(0, 0))
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    for spec in (f"table:{tmp_path / 'odd.csv'}", f"table:{tmp_path / 'gone.csv'}", "yolo"):
        with pytest.raises((ValueError, OSError)) as error:
            prepare("csv", tmp_path / "mine", tmp_path / "out", detector=spec)
        assert not isinstance(error.value, DatasetLayoutError) and not (tmp_path / "out").exists()
