"""Photographs with expression labels: scores by hand, and thresholds that neutral faces allow."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from auformer.models import load_detector
from auformer.predict.predictor import SENSITIVE
from experiments.ablations import photographs
from experiments.ablations.photographs import cross_fitted, score, smallest_threshold, thresholds_for
from tests.helpers.predicting import make_checkpoint


def labelled(expressions: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {"file": map(str, range(len(expressions))), "person": range(len(expressions)), "expression": expressions}
    )


def test_both_rulers_by_hand() -> None:
    labels = labelled(["neutral"] * 4 + ["happiness"] * 2 + ["surprise", "anger", "sadness"] * 2)
    labels["AU12_read"] = [0, 0, 0, 0, 1, 1, 1, 1, 1, -1, -1, -1]
    rng = np.random.default_rng(0)
    probs = {f"AU{number}": rng.random(12) for number in (1, 2, 4, 5, 6, 7, 15, 25, 26)}
    probs["AU12"] = np.array([0.1, 0.2, 0.3, 0.6, 0.5, 0.9, 0.8, 0.7, 0.05, 0, 0, 0])
    found = score(labels, probs, dict.fromkeys(probs, 0.55))
    assert found["expressions"]["happiness AU12"] == pytest.approx(7 / 8)  # one of eight pairs is the wrong way round
    assert found["read"] == {"AU12": {"auroc": pytest.approx(15 / 20), "n": 5}}  # the unclear ones do not count
    assert found["neutral_active"]["AU12"] == 0.25 and found["smiles_AU12_active"] == 0.5
    assert found["expressions_mean"] == pytest.approx(np.mean(list(found["expressions"].values())))
    quiet = [share for au, share in found["neutral_active"].items() if au not in ("AU25", "AU26")]
    assert len(quiet) == 8 and found["neutral_active_mean"] == pytest.approx(np.mean(quiet))


def test_thirds_by_size_and_pose() -> None:
    """The smallest faces are read the wrong way round, the others right; the turn follows another order."""
    labels = labelled((["neutral"] * 5 + ["happiness", "surprise", "anger", "sadness"] * 5) * 3)
    labels["AU12_read"] = (labels["expression"] == "happiness").astype(int)
    width, turn = np.repeat([50.0, 100.0, 150.0], 25), np.random.default_rng(0).permutation(75)
    right = np.where(labels["expression"] == "neutral", 0.1, 0.9)
    probs = {f"AU{number}": np.where(width == 50, 1 - right, right) for number in (1, 2, 4, 5, 6, 7, 12, 15, 25, 26)}
    found = photographs.by_thirds(labels, probs, pd.DataFrame({"width": width, "turn": turn}))
    assert [one["what"] for one in found] == ["width"] * 3 + ["turn"] * 3
    assert [one["photographs"] for one in found[:3]] == [25] * 3 and sum(one["photographs"] for one in found[3:]) == 75
    assert [one["expressions_mean"] for one in found[:3]] == [0, 1, 1] and found[0]["read_aus"] == ["AU12"]
    assert "| width of the face, pixels | 50 to 83.3 | 25 | 0.000 | " in photographs.thirds_table(found)


@pytest.mark.parametrize("seed", range(5))
def test_the_smallest_threshold_lets_through_as_many_as_allowed(seed: int) -> None:
    values = np.random.default_rng(seed).random(237)
    threshold = smallest_threshold(values)
    assert (values >= threshold).mean() <= 0.1 < (values >= threshold - 1e-9).mean()


def test_thresholds_never_fall_below_their_floor_and_speech_keeps_its_own() -> None:
    labels = labelled(["neutral"] * 50 + ["happiness"] * 50)
    values = np.linspace(0, 1, 100)
    probs = {"AU12": values, "AU4": 0.2 * values, "AU25": values}
    floor = {"AU12": 0.3, "AU4": 0.4, "AU25": 0.1}
    chosen = thresholds_for(labels, probs, floor)
    assert chosen["AU4"] == 0.4 and chosen["AU25"] == 0.1 and 0.43 < chosen["AU12"] < 0.46
    quiet, smiles = cross_fitted(labels, probs, floor)
    assert 0.04 <= quiet <= 0.06 and smiles == 1.0


def test_thresholds_are_written_and_a_second_call_begins_with_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"AU1": 0.001, "AU12": 0.002, "AU25": 0.003}
    (tmp_path / "detector").mkdir()
    checkpoint = make_checkpoint(tmp_path / "detector", thresholds=given, extra={"selection": {"epoch": 2}})
    network = load_detector(checkpoint, backbone_checkpoint=checkpoint / "backbone.safetensors")
    monkeypatch.setattr(photographs, "load_detector", lambda path: network)
    photos = tmp_path / "photos"
    photos.mkdir()
    labelled(["neutral"] * 20).to_csv(photos / "labels.csv", index=False)
    cache, rng = tmp_path / "crops.npz", np.random.default_rng(0)
    images = [cv2.GaussianBlur(rng.integers(0, 256, (32, 32, 3), np.uint8), (0, 0), 3) for _ in range(20)]
    np.savez(cache, names=np.array([str(number) for number in range(20)]), crops=np.stack(images))
    adapter = checkpoint / "adapter.safetensors"
    photographs.main([str(photos), "--set-thresholds", str(adapter), "--cache", str(cache)])
    first = load_detector(checkpoint, backbone_checkpoint=checkpoint / "backbone.safetensors")
    assert first.thresholds["AU12"] > 0.002 and first.thresholds["AU25"] == 0.003
    assert first.metadata["extra"] == {"selection": {"epoch": 2}, SENSITIVE: given}
    monkeypatch.setattr(photographs, "load_detector", lambda path: first)
    photographs.main([str(photos), "--set-thresholds", str(adapter), "--cache", str(cache)])
    second = load_detector(checkpoint, backbone_checkpoint=checkpoint / "backbone.safetensors")
    assert second.thresholds == pytest.approx(first.thresholds) and second.metadata["extra"] == first.metadata["extra"]
