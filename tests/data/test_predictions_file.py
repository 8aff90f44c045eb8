from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auformer.data.manifest import (
    predicted_aus,
    read_manifest,
    read_predictions,
    validate_predictions,
    write_manifest,
    write_predictions,
)
from auformer.errors import ManifestError
from tests.helpers.tables import predictions, table, text_file


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_predictions_are_read_as_written(tmp_path: Path, name: str) -> None:
    frame = predictions(
        AU1_prob=np.array([0.1, 0.7, np.nan], np.float32),
        AU1_active=[0, 1, None],
        status=["ok", "ok", "no_face"],
        file=["a", "b", "c"],
    )
    write_predictions(frame, tmp_path / name, {"au_names": ["AU1"]})
    back = read_predictions(tmp_path / name)
    assert predicted_aus(back) == back.attrs["au_names"] == ["AU1"]
    np.testing.assert_allclose(back["AU1_prob"], [0.1, 0.7, np.nan], rtol=1e-6)
    assert back["AU1_true"].tolist() == [0, 1, -1] and back["AU1_true"].dtype == np.int8
    assert back["AU1_active"].isna().tolist() == [False, False, True] and back["AU1_active"].tolist()[:2] == [0, 1]
    assert json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))["au_names"] == ["AU1"]


def test_a_bare_csv_is_a_predictions_file(tmp_path: Path) -> None:
    path = text_file(tmp_path, "dataset,subject,sequence,frame,AU1_prob\nd,s,v,0,0.5\n")
    assert read_predictions(path)["AU1_prob"].tolist() == [0.5]


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
def test_bad_predictions_say_what_and_where(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError, match="here.csv.*" + message):
        validate_predictions(predictions(**columns), "here.csv")


def test_a_manifest_and_a_predictions_file_are_never_confused(tmp_path: Path) -> None:
    write_manifest(table(), tmp_path / "m.csv", {})
    write_predictions(predictions(), tmp_path / "p.csv", {})
    with pytest.raises(ManifestError, match=r"p\.csv: expected a manifest"):
        read_manifest(tmp_path / "p.csv")
    with pytest.raises(ManifestError, match=r"m\.csv: expected a predictions file"):
        read_predictions(tmp_path / "m.csv")
