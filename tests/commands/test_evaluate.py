import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import auformer.predict.manifest as module
from auformer import __version__
from auformer.cli import main
from auformer.data.dataset import AUDataset
from auformer.data.manifest import read_manifest, read_predictions
from auformer.files import sha256
from auformer.models import AUFormer, FullFineTuning, save_adapter
from tests.helpers import vits
from tests.helpers.predictions import StandIn, write_faces_manifest

BACKBONE = f"vit_tests_{vits.FIT[0]}"
AUS = ("AU1", "AU12", "AU25")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An AUFormer with random experts, its adapter file, and a file with the frozen weights."""
    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(0)
    network = AUFormer(BACKBONE, AUS, expert_width=2, average_heads=True).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    save_file(network.backbone.state_dict(), folder / "backbone.safetensors")
    extra = {"selection": {"epoch": 2, "epochs": 3, "rule": "best", "monitor": "val/f1"}}
    cuts = {"AU1": 0.4, "AU12": 0.5, "AU25": 0.6}
    save_adapter(folder / "adapter.safetensors", network, thresholds=cuts, crop_recipe="eyes", extra=extra)
    return network, folder


@pytest.fixture
def manifest(tmp_path):
    given = {"au_names": ("AU1", "AU12", "AU4"), "size": (32, 32), "crop_recipe": "eyes", "image_size": [32, 32]}
    return write_faces_manifest(tmp_path / "data", **given)


@pytest.fixture
def stand_in(monkeypatch):
    """Let every checkpoint be a `StandIn`; the test may replace it."""
    networks = [StandIn(AUS)]
    monkeypatch.setattr(module, "open_detector", lambda *args, **options: networks[-1])
    monkeypatch.setattr(module, "resolve_checkpoint", lambda checkpoint: Path(__file__))
    return networks


def evaluate(*words):
    return main(["evaluate", *map(str, words), "--device", "cpu"])


class TestEndToEnd:
    def test_real_network(self, trained, manifest, tmp_path, capsys):
        network, folder = trained
        out = tmp_path / "runs" / "p.csv"
        weights = folder / "backbone.safetensors"
        assert evaluate(folder, manifest, "--out", out, "--backbone-checkpoint", weights, "--batch-size", 4) == 0
        table = read_predictions(out)
        ok = read_manifest(manifest).query("status == 'ok'")
        images = torch.stack([item["image"] for item in AUDataset(ok, manifest.parent, AUS, 32)])
        with torch.no_grad():
            expected = network.predict_probs(images).numpy()
        faces = table["status"] == "ok"
        np.testing.assert_allclose(table.loc[faces, [f"{au}_prob" for au in AUS]], expected, atol=1e-6)
        assert table.loc[faces, "AU25_active"].tolist() == (expected[:, 2] >= 0.6).astype(int).tolist()
        side = table.attrs["side"]
        adapter = {"file": "adapter.safetensors", "sha256": sha256(folder / "adapter.safetensors")}
        assert side["adapter"] == {**adapter, "package_version": __version__}
        assert side["config"]["arguments"]["expert_width"] == 2
        assert side["thresholds"] == {"AU1": 0.4, "AU12": 0.5, "AU25": 0.6}
        assert side["warnings"] == [] and side["notice"] is None and side["epoch_selection"]["epoch"] == 2
        text = capsys.readouterr().out
        assert "AUs that the checkpoint lacks: AU4." in text and "Predicted, but without truth: AU25." in text
        assert "epoch: 2 of 3" in text and f"wrote {out}" in text and "of 2 AUs" in text

    def test_network_trained_as_a_whole_needs_no_other_file(self, manifest, tmp_path, capsys):
        save_adapter(tmp_path / "adapter.safetensors", FullFineTuning(BACKBONE, ["AU12"]))
        assert evaluate(tmp_path / "adapter.safetensors", manifest, "--out", tmp_path / "p.parquet") == 0
        columns = [name for name in read_predictions(tmp_path / "p.parquet") if "AU" in name]
        assert columns == ["AU12_true", "AU12_prob", "AU12_active"]

    def test_table_is_that_of_score(self, stand_in, manifest, tmp_path, capsys):
        assert evaluate("c", manifest, "--out", tmp_path / "p.csv") == 0
        printed = capsys.readouterr().out
        assert main(["score", str(tmp_path / "p.csv")]) == 0
        assert printed.startswith(capsys.readouterr().out)


class TestChoices:
    @pytest.mark.parametrize("words", [["AU25,AU12"], ["AU12", "AU25"], ["12,", "au25"]])
    def test_aus(self, stand_in, manifest, tmp_path, words):
        assert evaluate("c", manifest, "--out", tmp_path / "p.csv", "--aus", *words) == 0
        assert read_predictions(tmp_path / "p.csv").attrs["au_names"] == ["AU12", "AU25"]

    def test_aus_that_the_checkpoint_lacks(self, stand_in, manifest, tmp_path, capsys):
        assert evaluate("c", manifest, "--out", tmp_path / "p.csv", "--aus", "disfa") == 0
        assert "AUs that the checkpoint lacks: AU2, AU4, AU6, AU9, AU26." in capsys.readouterr().out
        assert evaluate("c", manifest, "--out", tmp_path / "q.csv", "--aus", "AU9") == 1
        assert "AU1, AU12, AU25" in capsys.readouterr().err and not (tmp_path / "q.csv").exists()

    def test_fold(self, stand_in, manifest, tmp_path, capsys):
        assert evaluate("c", manifest, "--out", tmp_path / "p.csv", "--fold", "P2") == 0
        table = read_predictions(tmp_path / "p.csv")
        assert set(table["fold"]) == {"P2"} and len(table) == 4 and table.attrs["side"]["manifest"]["fold"] == "P2"
        assert evaluate("c", manifest, "--out", tmp_path / "q.csv", "--fold", "P9") == 1
        assert "P1, P2" in capsys.readouterr().err
        assert evaluate("c", manifest, "--out", tmp_path / "q.csv", "--workers", "-1") == 1
        assert "`--workers` to be at least 0" in capsys.readouterr().err

    def test_manifest_without_labels(self, stand_in, manifest, tmp_path, capsys):
        bare = manifest.with_name("bare.csv")
        pd.read_csv(manifest).drop(columns=["AU1", "AU12", "AU4", "fold"]).to_csv(bare, index=False)
        assert evaluate("c", bare, "--out", tmp_path / "p.csv") == 0
        assert "Nothing to score: the manifest has no labels for AU1, AU12, AU25." in capsys.readouterr().out
        assert len(read_predictions(tmp_path / "p.csv")) == 12
        assert evaluate("c", bare, "--out", tmp_path / "q.csv", "--fold", "P1") == 1
        assert "`--fold P1`: the manifest has no folds" in capsys.readouterr().err

    def test_warnings_are_printed_and_kept(self, stand_in, manifest, tmp_path, capsys):
        stand_in[-1].crop_recipe = "box"
        assert evaluate("c", manifest, "--out", tmp_path / "p.csv") == 0
        warnings = read_predictions(tmp_path / "p.csv").attrs["side"]["warnings"]
        assert len(warnings) == 2 and "'box'" in warnings[0] and "32 x 32" in warnings[1]
        text = capsys.readouterr().out
        assert all(f"Warning: {warning}" in text for warning in warnings)

    def test_image_size_is_measured_where_nobody_says_it(self, stand_in, manifest, tmp_path):
        manifest.with_suffix(".json").unlink()
        assert evaluate("c", manifest, "--out", tmp_path / "p.csv") == 0
        side = read_predictions(tmp_path / "p.csv").attrs["side"]
        assert len(side["warnings"]) == 1 and "32 x 32" in side["warnings"][0]
        assert side["manifest"]["crop_recipe"] is None

    def test_demo_says_what_it_is(self, stand_in, manifest, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(module, "resolve_checkpoint", lambda checkpoint: module.DEMO_DETECTOR)
        assert evaluate("demo", manifest, "--out", tmp_path / "p.csv") == 0
        notice = read_predictions(tmp_path / "p.csv").attrs["side"]["notice"]
        assert (
            "rendered faces only" in notice
            and "AUROC of .90" in notice
            and "not intensities" in notice
            and notice in capsys.readouterr().out
        )
        assert main(["score", str(tmp_path / "p.csv"), "--json", str(tmp_path / "s.json")]) == 0
        assert notice in capsys.readouterr().out
        assert json.loads((tmp_path / "s.json").read_text())["predictions"]["notice"] == notice


class TestOutput:
    def test_existing_file_is_kept(self, stand_in, manifest, tmp_path, capsys):
        out = tmp_path / "p.csv"
        assert evaluate("c", manifest, "--out", out) == 0
        before = out.read_bytes()
        stand_in.append(StandIn(("AU12",)))
        assert evaluate("c", manifest, "--out", out) == 1
        assert "--overwrite" in capsys.readouterr().err and out.read_bytes() == before and stand_in[-1].batches == []
        assert evaluate("c", manifest, "--out", out, "--overwrite") == 0 and out.read_bytes() != before

    def test_side_file_of_something_else_is_kept(self, stand_in, manifest, tmp_path, capsys):
        (tmp_path / "p.json").write_text("{}", encoding="utf-8")
        assert evaluate("c", manifest, "--out", tmp_path / "p.csv") == 1
        assert "p.json" in capsys.readouterr().err
        assert evaluate("c", manifest, "--out", manifest, "--overwrite") == 1
        assert evaluate("c", manifest, "--out", manifest.with_suffix(".parquet"), "--overwrite") == 1

    @pytest.mark.parametrize("name", ["p.txt", "p", "data/manifest.csv/p.csv"])
    def test_what_cannot_be_written_is_found_before_the_work(self, stand_in, manifest, tmp_path, capsys, name):
        assert evaluate("c", manifest, "--out", tmp_path / name) == 1
        assert capsys.readouterr().err.startswith("auformer: error:") and stand_in[-1].batches == []

    def test_interrupted_run_goes_on(self, stand_in, manifest, tmp_path, capsys):
        out, words = tmp_path / "p.csv", ["c", manifest, "--out", tmp_path / "p.csv", "--batch-size", 3]
        stand_in.append(StandIn(AUS, fail_after=2))
        assert evaluate(*words) == 130 and not out.exists()
        assert "the same command again" in capsys.readouterr().err
        stand_in.append(StandIn(AUS))
        assert evaluate(*words) == 0 and sum(stand_in[-1].batches) == 11 - 6
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "p.csv", "p.json"]
        assert evaluate(*words[:3], tmp_path / "q.csv") == 0
        pd.testing.assert_frame_equal(read_predictions(out), read_predictions(tmp_path / "q.csv"))


class TestErrors:
    def test_files(self, manifest, tmp_path, capsys):
        for words, message in [
            ((tmp_path / "no", manifest), "does not exist"),
            ((tmp_path, manifest), "adapter.safetensors"),
            (("demo", tmp_path / "no.csv"), "no such file"),
        ]:
            assert evaluate(*words, "--out", tmp_path / "p.csv") == 1
            assert message in capsys.readouterr().err

    def test_damaged_image(self, stand_in, manifest, tmp_path, capsys):
        image = manifest.parent / "images" / "6.png"
        image.write_bytes(image.read_bytes()[:90])
        assert evaluate("c", manifest, "--out", tmp_path / "p.csv", "--batch-size", 3) == 1
        assert "row 7" in capsys.readouterr().err and not (tmp_path / "p.csv").exists()

    @pytest.mark.parametrize("device", ["cuda:99", "abacus"])
    def test_device_that_is_not_there(self, stand_in, manifest, tmp_path, capsys, device):
        assert main(["evaluate", "c", str(manifest), "--out", str(tmp_path / "p.csv"), "--device", device]) == 1
        assert "`--device`" in capsys.readouterr().err

    def test_other_frozen_weights(self, trained, manifest, tmp_path, capsys):
        folder = trained[1]
        torch.manual_seed(1)
        save_file(AUFormer(BACKBONE, AUS, expert_width=2).backbone.state_dict(), tmp_path / "other.safetensors")
        other = ("--backbone-checkpoint", tmp_path / "other.safetensors")
        assert evaluate(folder, manifest, "--out", tmp_path / "p.csv", *other) == 1
        assert "frozen weights" in capsys.readouterr().err
