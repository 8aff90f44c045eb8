from __future__ import annotations

import doctest
import hashlib
import json

import pytest

import auformer
import auformer.scoring.provenance
from auformer.scoring.provenance import choose_aus, file_sha256, image_warnings, predictions_side, provenance_lines
from tests.helpers.predictions import StandIn, manifest_of

SELECTION = {
    "epoch": 7,
    "epochs": 16,
    "rule": "best",
    "monitor": "val/f1 on the validation part",
    "score": 0.8,
}  # as training writes it


class TestChoice:
    def test_asked_for(self):
        choice = choose_aus(["AU1", "AU4", "AU12"], ["AU12"], ["AU12", "AU4", "AU9"])
        assert choice == (["AU4", "AU12"], ["AU4"], ["AU9"])

    def test_labels_of_the_manifest_that_nobody_asked_for_are_not_missed(self):
        assert choose_aus(["AU1"], ["AU1", "AU9"], ["AU1"]).not_in_checkpoint == []

    def test_nothing_in_common_with_what_was_asked(self):
        with pytest.raises(ValueError, match=r"\(AU1, AU2\), but got AU9"):
            choose_aus(["AU1", "AU2"], ["AU1"], ["AU9"])


class TestImageWarnings:
    def test_equal_or_unknown(self):
        network = StandIn(image_size=(8, 6))
        assert image_warnings(network, {"crop_recipe": "eyes"}, [8, 6]) == []
        assert image_warnings(network, {}, None) == []
        network.crop_recipe = None
        assert image_warnings(network, {"crop_recipe": "box"}, (8, 6)) == []

    def test_other_recipe_and_size(self):
        recipe, size = image_warnings(StandIn(image_size=(8, 6)), {"crop_recipe": "box"}, [6, 8])
        assert "'eyes'" in recipe and "'box'" in recipe
        assert "6 x 8 pixels" in size and "takes 8 x 6" in size


class TestSide:
    @pytest.fixture
    def side(self, tmp_path):
        network = StandIn()
        network.thresholds["AU12"] = 0.3
        network.metadata = {
            "network": "auformer.X",
            "arguments": {"expert_width": 4},
            "extra": {"selection": SELECTION},
        }
        (tmp_path / "a.safetensors").write_bytes(b"weights")
        manifest = manifest_of(tmp_path, crop_recipe="box", image_size=[16, 16])
        choice = choose_aus(network.au_names, ["AU1", "AU12", "AU4"])
        file = tmp_path / "a.safetensors"
        return predictions_side(
            network,
            "folder",
            file,
            manifest[manifest["fold"] == "P1"],
            choice,
            fold="P1",
            warnings=["w"],
            notice="n\nm",
        )

    def test_holds_what_the_contract_names(self, side, tmp_path):
        assert side["checkpoint"] == "folder"
        assert side["adapter"] == {
            "file": "a.safetensors",
            "sha256": hashlib.sha256(b"weights").hexdigest(),
            "package_version": None,
        }
        assert side["au_names"] == ["AU1", "AU12", "AU25"] and side["thresholds"] == {
            "AU1": 0.5,
            "AU12": 0.3,
            "AU25": 0.5,
        }
        assert side["aus_without_truth"] == ["AU25"] and side["aus_not_in_checkpoint"] == ["AU4"]
        assert (side["crop_recipe"], side["image_size"]) == ("eyes", [8, 8])
        assert side["config"]["arguments"] == {"expert_width": 4} and side["config"]["training_data"] is None
        assert side["epoch_selection"] == SELECTION and side["package_version"] == auformer.__version__
        manifest = side["manifest"]
        assert manifest["sha256"] == file_sha256(tmp_path / "manifest.csv") and manifest["rows"] == {"ok": 8}
        assert (manifest["file"], manifest["fold"], manifest["crop_recipe"], manifest["dataset"]) == (
            "manifest.csv",
            "P1",
            "box",
            "d",
        )
        assert json.loads(json.dumps(side, allow_nan=False)) == side and str(tmp_path) not in json.dumps(side)

    def test_lines(self, side):
        lines = provenance_lines(side)
        assert lines[0].startswith("Checkpoint: folder, SHA-256 ") and lines[0].endswith(
            "epoch: 7 of 16 (best, val/f1 on the validation part)."
        )
        assert lines[1] == "Manifest: manifest.csv, fold P1; crop recipe: box (trained on: eyes)."
        assert lines[2:] == ["AUs that the checkpoint lacks: AU4.", "Warning: w", "n", "m"]

    @pytest.mark.parametrize(
        "selection, text",
        [({}, "unknown"), ("by hand", "by hand"), ({"epoch": 3, "rule": "last"}, "3 of unknown (last)")],
    )
    def test_selection_in_words(self, selection, text):
        assert provenance_lines({"epoch_selection": selection})[0] == f"Checkpoint: unknown; epoch: {text}."

    def test_what_is_missing_is_called_unknown(self):
        assert provenance_lines({}) == [
            "Checkpoint: unknown; epoch: unknown.",
            "Manifest: unknown; crop recipe: unknown (trained on: unknown).",
        ]


def test_doctests():
    result = doctest.testmod(auformer.scoring.provenance)
    assert result.attempted >= 1 and result.failed == 0
