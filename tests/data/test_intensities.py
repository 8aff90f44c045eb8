"""Intensities of a manifest: how they are written, what they are made of and what is made of them, in batches."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from auformer.data.datamodule import AUDataModule
from auformer.data.dataset import AUDataset
from auformer.data.manifest import (
    join_manifests,
    read_manifest,
    read_predictions,
    sidecar_path,
    write_manifest,
    write_predictions,
)
from auformer.data.schema import check_intensity_scale
from auformer.errors import ManifestError
from tests.helpers.faces import tiny_manifest
from tests.helpers.tables import predictions, table


def written(path: Path, side: dict[str, Any] | None = None, **columns: Any) -> Path:
    """A manifest as other people's programs write one: a table, and a sidecar where there is something in it."""
    table(**columns).to_csv(path, index=False)
    if side is not None:
        sidecar_path(path).write_text(json.dumps(side), encoding="utf-8")
    return path


def test_letters_are_levels_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path / "m.csv", AU12_intensity=["A", "e", ""], AU1_intensity=["0", "C", "5"])
    with caplog.at_level(logging.WARNING):
        frame = read_manifest(path)
    assert frame["AU12_intensity"].tolist()[:2] == [1.0, 5.0] and np.isnan(frame["AU12_intensity"][2])
    assert frame["AU1_intensity"].tolist() == [0.0, 3.0, 5.0]
    note = "letters A to E were read as 1 to 5: intensities of AU1, AU12"
    assert note in frame.attrs["notes"] and f"{path}: {note}" in caplog.text
    for wrong in ("F", "AB", "low"):
        written(path, AU12_intensity=["A", wrong, "B"])
        said = rf"{re.escape(str(path))}.*row 2 .*`AU12_intensity`.* A to E.*'{wrong}'"
        with pytest.raises(ManifestError, match=said):
            read_manifest(path)


def test_a_scale_of_0_to_1_is_refused_until_the_sidecar_says_so(tmp_path: Path) -> None:
    fractions = {"AU1_intensity": [0, 0.2, 1], "AU12_intensity": [0, 0, 0]}
    path = written(tmp_path / "m.csv", **fractions)
    with pytest.raises(ManifestError, match='none is above 1 .`AU1_intensity`, 0.2..*multiply.*"intensity_scale": 1'):
        read_manifest(path)
    written(path, {"intensity_scale": 1}, **fractions)
    assert read_manifest(path)["AU1_intensity"].tolist() == [0.0, 1.0, 5.0]
    written(path, {"intensity_scale": 5}, **fractions)  # weak levels all the same
    assert read_manifest(path)["AU1_intensity"].tolist() == [0.0, 0.2, 1.0]
    written(path, {"intensity_scale": 1}, AU1_intensity=[0, 0.2, 2])
    with pytest.raises(ManifestError, match=r"row 3 .*should be in 0 to 1 .*`intensity_scale`: 1.*but is 2"):
        read_manifest(path)
    for wrong in (10, "5", True, None, [5]):
        written(path, {"intensity_scale": wrong}, AU1_intensity=[0, 1, 2])
        if wrong is None:
            read_manifest(path)  # as if it were not there
            continue
        with pytest.raises(ManifestError, match=r"m\.json: `intensity_scale` should be one of 1, 5"):
            read_manifest(path)


@pytest.mark.parametrize(
    "columns",
    [
        {"AU1_intensity": [0, 1, 1]},  # whole levels
        {"AU1_intensity": [0.1, 0.2, np.nan], "AU12_intensity": [0, 0, 4.5]},  # one weak column among others
        {"AU1_intensity": [np.nan] * 3},
        {},
    ],
)
def test_levels_are_no_fractions(columns: dict[str, list[float]]) -> None:
    check_intensity_scale(columns, "here")


def test_what_is_written_here_is_levels_however_weak(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    write_manifest(table(AU12_intensity=[0.2, 0.4, 0.0]), path, {})
    assert json.loads(sidecar_path(path).read_text(encoding="utf-8"))["intensity_scale"] == 5
    assert read_manifest(path)["AU12_intensity"].tolist() == [0.2, 0.4, 0.0]
    write_manifest(table(), path, {})
    assert "intensity_scale" not in json.loads(sidecar_path(path).read_text(encoding="utf-8"))


def test_labels_are_made_of_intensities_where_there_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    columns = {"AU12_intensity": [5, 0, 0], "AU17_intensity": [1, 2, np.nan]}  # AU12 has labels, AU17 has not
    path = written(tmp_path / "m.csv", **columns)
    with caplog.at_level(logging.WARNING):
        frame = read_manifest(path)
    assert frame["AU17"].dtype == np.int8 and frame["AU17"].tolist() == [1, 1, -1]
    assert frame["AU12"].tolist() == table()["AU12"].fillna(-1).tolist()  # those of the table stay
    assert "occurrence is an intensity of 1 or more for AU17, which have no labels" in caplog.text
    assert frame.attrs["au_names"] == ["AU1", "AU12", "AU17"]
    written(path, {"occurrence_threshold": 2}, **columns)
    frame = read_manifest(path)
    assert frame["AU17"].tolist() == [0, 1, -1]
    assert frame.attrs["notes"] == ["occurrence is an intensity of 2 or more for AU17, which have no labels"]
    for wrong in (0, 6, "2"):
        written(path, {"occurrence_threshold": wrong}, **columns)
        with pytest.raises(ManifestError, match=r"m\.json: `occurrence_threshold` should be above 0 and at most 5"):
            read_manifest(path)
    assert "notes" in frame.attrs and not read_manifest(written(tmp_path / "n.csv")).attrs["notes"]


def test_predictions_files_hold_both_intensities(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    frame = predictions().assign(AU12_intensity_pred=2.25, AU12_intensity_true=["3", "B", None])
    write_predictions(frame, path, {})
    found = read_predictions(path)
    assert found["AU12_intensity_pred"].tolist() == [2.25] * 3
    assert found["AU12_intensity_true"].tolist()[:2] == [3.0, 2.0] and np.isnan(found["AU12_intensity_true"][2])
    for name in ("AU12_intensity_pred", "AU12_intensity_true"):
        with pytest.raises(ManifestError, match=f"row 1 .*`{name}` should be in 0 to 5, but is 5.5"):
            write_predictions(frame.assign(**{name: [5.5, 0, 0]}), path, {})
    with pytest.raises(ManifestError, match="`AU12_intensity` of a manifest in a predictions file"):
        write_predictions(frame.assign(AU12_intensity=1), path, {})


# in batches
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    """Five people of three frames: AU1 coded everywhere, AU4 nowhere above 0, AU12 not at all."""
    path = tiny_manifest(tmp_path, subjects=5, frames=3)
    frame = read_manifest(path)
    frame["AU1_intensity"] = np.where(frame["AU1"] == 1, 2.5, 0.0)
    frame["AU4_intensity"] = [0.0, None, 0.0] * 5
    write_manifest(frame, path, {})
    return path


def test_an_item_has_the_intensities_of_its_row_by_name(coded: Path) -> None:
    frame = read_manifest(coded)
    flip = lambda image, rng: (image[:, ::-1].copy(), True)  # noqa: E731
    dataset = AUDataset(frame, coded.parent, ["AU12", "AU4", "AU1"], 32, flip)
    for row in range(len(dataset)):
        item = dataset[row]["intensity"]
        assert item.dtype == torch.float32 and torch.isnan(item[0])
        assert torch.isnan(item[1]) == (row % 3 == 1) and item[2] == 2.5 * frame["AU1"][row]
    assert "intensity" not in AUDataset(frame, coded.parent, ["AU12"], 32)[0]


def test_the_data_module_knows_whose_intensities_can_be_learned(coded: Path) -> None:
    data = AUDataModule(str(coded), image_size=32, batch_size=4, augment="none")
    assert data.au_names == ["AU1", "AU4", "AU12"] and data.intensity_aus == ["AU1"]
    batch = next(iter(data.train_dataloader()))
    assert batch["intensity"].shape == (4, 3)
    assert torch.equal(batch["intensity"][:, 0] > 0, batch["label"][:, 0] == 1)
    assert AUDataModule(test=str(coded), image_size=32).intensity_aus == []


def test_joined_manifests_keep_what_each_codes(coded: Path, tmp_path: Path) -> None:
    other = tiny_manifest(tmp_path / "other", subjects=2, frames=2, dataset="other")
    joined = join_manifests([coded, other])
    assert joined["AU1_intensity"].notna().tolist() == [True] * 15 + [False] * 4
    dataset = AUDataset(joined, None, ["AU1"], 32)
    assert torch.isnan(dataset[16]["intensity"]).all() and not torch.isnan(dataset[0]["intensity"]).any()


def test_action_units_with_intensities_only_are_trained(coded: Path) -> None:
    frame = pd.read_csv(coded).drop(columns=["AU1"])
    frame.to_csv(coded, index=False)
    data = AUDataModule(str(coded), image_size=32, augment="none")
    assert data.au_names == ["AU1", "AU4", "AU12"]
    item = data.train_dataset[0]
    assert int(item["label"][0]) == int(item["intensity"][0] >= 1)
