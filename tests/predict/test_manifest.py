import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch

import auformer.predict.manifest as module
from auformer import __version__
from auformer.data.images import read_image
from auformer.data.manifest import read_manifest, read_predictions, validate_predictions
from auformer.errors import ManifestError
from auformer.files import sha256
from auformer.predict.manifest import (
    DECIMALS,
    PartialPredictions,
    choose_aus,
    image_warnings,
    predict_manifest,
    write_manifest_predictions,
)  # fmt: skip
from tests.helpers.predictions import StandIn, manifest_of, write_faces_manifest


@pytest.fixture
def manifest(tmp_path):
    return manifest_of(tmp_path)


class Crowded(StandIn):
    """A `StandIn` that has room for so many rows at once, and after `forget_after` batches for none."""

    def __init__(self, room):
        super().__init__()
        self.room, self.forget_after, self.tried = room, 1000, []

    def predict_probs(self, images):
        self.tried.append(len(images))
        if len(images) > (self.room if len(self.batches) < self.forget_after else 0):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return super().predict_probs(images)


def channel_means(manifest, channel):
    """What `StandIn` should say, from the files themselves (8 x 8 of 16 x 16 by area averaging keeps the mean, up to
    rounding).
    """
    root = manifest.attrs["path"].removesuffix("manifest.csv")
    return np.array([read_image(root + name)[:, :, channel].mean() / 255 for name in manifest["image"]])


class TestTable:
    def test_columns_of_the_contract(self, manifest):
        manifest = manifest.assign(time_s=0.5, file="a.mp4", clip="c1", x=1, y=2, w=3, h=4, score=0.9)
        table = predict_manifest(StandIn(), manifest)
        key = ["dataset", "subject", "sequence", "frame", "face"]
        carried = ["file", "time_s", "x", "y", "w", "h", "score", "fold", "clip", "group_skin", "status"]
        per_au = [f"{au}_{kind}" for au in ("AU1", "AU12") for kind in ("true", "prob", "active")]
        per_au += ["AU25_prob", "AU25_active"]
        assert list(table) == [*key, *carried, *per_au]
        checked = validate_predictions(table)
        pd.testing.assert_frame_equal(checked[key], manifest[key])
        assert checked["AU12_true"].tolist() == manifest["AU12"].tolist()

    def test_probabilities_belong_to_their_rows(self, manifest):
        table = predict_manifest(StandIn(), manifest, batch_size=5)
        faces = (manifest["status"] == "ok").to_numpy()
        for channel, au in enumerate(("AU1", "AU12", "AU25")):
            expected = channel_means(manifest, channel)[faces]
            np.testing.assert_allclose(table[f"{au}_prob"][faces], expected, atol=2 / 255)
            assert (table[f"{au}_prob"] == table[f"{au}_prob"].round(DECIMALS))[faces].all()
            assert table[f"{au}_prob"][~faces].isna().all() and table[f"{au}_active"][~faces].isna().all()
        assert table["status"].tolist() == manifest["status"].tolist() and (~faces).sum() == 1

    def test_selected_rows_keep_their_own(self, manifest):
        whole = predict_manifest(StandIn(), manifest)
        part = predict_manifest(StandIn(), manifest[manifest["fold"] == "P2"])
        pd.testing.assert_frame_equal(part, whole[whole["fold"] == "P2"].reset_index(drop=True))

    def test_active_is_at_least_the_threshold(self, manifest):
        network = StandIn()
        plain = predict_manifest(network, manifest)
        network.thresholds["AU12"] = float(plain["AU12_prob"].iloc[3])  # exactly the probability of one row
        table = predict_manifest(network, manifest)
        ok = table["status"] == "ok"
        assert (table["AU12_active"][ok] == (plain["AU12_prob"][ok] >= plain["AU12_prob"].iloc[3])).all()
        assert table["AU12_active"].iloc[3] == 1 and 0 < table["AU12_active"].sum() < ok.sum()
        pd.testing.assert_frame_equal(table.drop(columns="AU12_active"), plain.drop(columns="AU12_active"))

    def test_chosen_aus(self, manifest):
        table = predict_manifest(StandIn(), manifest, au_names=["AU25", "AU1"])
        assert [name for name in table if name.endswith("_prob")] == ["AU25_prob", "AU1_prob"]
        np.testing.assert_array_equal(table["AU25_prob"], predict_manifest(StandIn(), manifest)["AU25_prob"])

    def test_no_row_with_a_face(self, manifest):
        network = StandIn()
        table = predict_manifest(network, manifest.assign(status="no_face"))
        assert table["AU1_prob"].isna().all() and network.batches == []


class Grader(StandIn):
    """Five times the mean of colour channel k is the intensity of AU number k; that of AU25 was never learned."""

    intensity_aus = ("AU1", "AU12")

    def outputs(self, images):
        probs = self.predict_probs(images)
        return {"probs": probs, "intensity": 5 * probs, "logits": probs}


class TestIntensities:
    def test_beside_the_codes_of_those_that_were_learned(self, manifest):
        coded = manifest.assign(AU12_intensity=np.arange(len(manifest)) % 6.0, AU25_intensity=1.0)
        coded.attrs = manifest.attrs
        table, faces = predict_manifest(Grader(), coded, batch_size=5), (manifest["status"] == "ok").to_numpy()
        named = [name for name in table if "intensity" in name]
        assert named == ["AU1_intensity_pred", "AU12_intensity_pred", "AU12_intensity_true"]
        for channel, au in enumerate(("AU1", "AU12")):
            expected = 5 * channel_means(manifest, channel)[faces]
            np.testing.assert_allclose(table[f"{au}_intensity_pred"][faces], expected, atol=10 / 255)
        assert table["AU1_intensity_pred"][~faces].isna().all()
        assert table["AU12_intensity_true"].tolist() == coded["AU12_intensity"].tolist()
        plain = predict_manifest(StandIn(), coded)
        pd.testing.assert_frame_equal(table.drop(columns=named), plain)  # a network without them writes none
        validate_predictions(table)

    def test_an_interrupted_job_goes_on_with_them(self, manifest, tmp_path):
        partial = tmp_path / "partial.npz"
        with pytest.raises(KeyboardInterrupt):
            predict_manifest(Grader(fail_after=2), manifest, batch_size=4, partial=partial)
        network = Grader()
        table = predict_manifest(network, manifest, batch_size=4, partial=partial)
        assert sum(network.batches) == 3  # of eleven faces, eight were there
        pd.testing.assert_frame_equal(table, predict_manifest(Grader(), manifest))

    def test_what_is_no_intensity_is_refused(self, manifest):
        class Wild(Grader):
            def outputs(self, images):
                return {**super().outputs(images), "intensity": images.mean((2, 3)) + 5.5}

        with pytest.raises(ValueError, match=r"intensities in \[0, 5\]"):
            predict_manifest(Wild(), manifest)


class TestBatches:
    @pytest.mark.parametrize("batch_size", [1, 4, 100])
    def test_size_changes_nothing(self, manifest, batch_size):
        network = StandIn()
        table = predict_manifest(network, manifest, batch_size=batch_size)
        assert sum(network.batches) == 11 and max(network.batches) == min(batch_size, 11)
        pd.testing.assert_frame_equal(table, predict_manifest(StandIn(), manifest))

    def test_images_may_be_read_by_another_process(self, manifest):
        pd.testing.assert_frame_equal(
            predict_manifest(StandIn(), manifest, num_workers=1), predict_manifest(StandIn(), manifest)
        )

    def test_one_that_does_not_fit_into_memory_is_halved(self, manifest, caplog):
        network = Crowded(room=3)
        table = predict_manifest(network, manifest, batch_size=8)
        pd.testing.assert_frame_equal(table, predict_manifest(StandIn(), manifest))
        assert network.tried == [8, 4, 2, 2, 2, 2, 2, 1] and sum(network.batches) == 11
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == 2 and "with 4 at once" in told[0] and "with 2 at once" in told[1]

    def test_one_image_that_does_not_fit_is_an_error_and_keeps_what_is_done(self, manifest, tmp_path):
        network = Crowded(room=2)
        network.forget_after = 3
        with pytest.raises(ValueError, match=r"Expected one image of 8 x 8 pixels to fit into memory.*--device cpu"):
            predict_manifest(network, manifest, batch_size=2, partial=tmp_path / ".p.npz")
        rest = StandIn()
        predict_manifest(rest, manifest, partial=tmp_path / ".p.npz")
        assert sum(rest.batches) == 11 - 2 * 3

    def test_global_random_state_is_left_alone(self, manifest):
        before = torch.get_rng_state()
        predict_manifest(StandIn(), manifest)
        assert torch.equal(torch.get_rng_state(), before)


class TestResume:
    def test_interrupted_job_goes_on(self, manifest, tmp_path):
        expected, partial = predict_manifest(StandIn(), manifest, batch_size=2), tmp_path / ".p.npz"
        with pytest.raises(KeyboardInterrupt):
            predict_manifest(StandIn(fail_after=3), manifest, batch_size=2, partial=partial, identity="a")
        network = StandIn()
        table = predict_manifest(network, manifest, batch_size=2, partial=partial, identity="a")
        assert sum(network.batches) == 11 - 3 * 2
        pd.testing.assert_frame_equal(table, expected)

    def test_finished_job_is_kept_until_the_caller_has_written_it(self, manifest, tmp_path):
        first = predict_manifest(StandIn(), manifest, partial=tmp_path / ".p.npz")
        network = StandIn()
        pd.testing.assert_frame_equal(predict_manifest(network, manifest, partial=tmp_path / ".p.npz"), first)
        assert network.batches == []

    @pytest.mark.parametrize("change", ["identity", "rows", "aus", "damaged"])
    def test_another_job_is_not_gone_on_with(self, manifest, tmp_path, change):
        partial = tmp_path / ".p.npz"
        with pytest.raises(KeyboardInterrupt):
            predict_manifest(StandIn(fail_after=1), manifest, batch_size=2, partial=partial, identity="a")
        if change == "damaged":
            partial.write_bytes(partial.read_bytes()[:40])
        network = StandIn(("AU1", "AU12")) if change == "aus" else StandIn()
        rows = manifest.iloc[::-1] if change == "rows" else manifest
        predict_manifest(network, rows, batch_size=2, partial=partial, identity="b" if change == "identity" else "a")
        assert sum(network.batches) == 11

    def test_is_saved_at_intervals(self, manifest, tmp_path, monkeypatch):
        saved = []
        monkeypatch.setattr(module, "SAVE_SECONDS", 0.0)
        monkeypatch.setattr(PartialPredictions, "save", lambda self, probs: saved.append(len(probs)))
        predict_manifest(StandIn(), manifest, batch_size=4, partial=tmp_path / ".p.npz")
        assert saved == [4, 8, 11, 11]


class TestRefused:
    @pytest.mark.parametrize("options", [{"au_names": ["AU9"]}, {"au_names": []}, {"batch_size": 0}])
    def test_arguments(self, manifest, options):
        with pytest.raises(ValueError, match=f"Expected `{next(iter(options))}`"):
            predict_manifest(StandIn(), manifest, **options)

    def test_missing_image_is_named(self, tmp_path):
        path = write_faces_manifest(tmp_path)
        (tmp_path / "images" / "4.png").unlink()
        with pytest.raises(ManifestError, match=r"row 5.*4\.png"):
            predict_manifest(StandIn(), read_manifest(path))

    def test_a_network_that_gives_nan(self, manifest):
        network = StandIn()
        network.predict_probs = lambda images: torch.full((len(images), 3), torch.nan)
        with pytest.raises(ValueError, match="or nan"):
            predict_manifest(network, manifest)


def test_aus_that_were_asked_for():
    choice = choose_aus(["AU1", "AU4", "AU12"], ["AU12"], ["AU12", "AU4", "AU9"])
    assert choice == (["AU4", "AU12"], ["AU4"], ["AU9"])
    assert choose_aus(["AU1"], ["AU1", "AU9"], ["AU1"]).not_in_checkpoint == []  # a label that nobody asked for


def test_image_warnings():
    network = StandIn(image_size=(8, 6))
    recipe, size = image_warnings(network, {"crop_recipe": "box"}, [6, 8])
    assert "'eyes'" in recipe and "'box'" in recipe and "6 x 8 pixels" in size and "takes 8 x 6" in size
    assert image_warnings(network, {"crop_recipe": "eyes"}, [8, 6]) == image_warnings(network, {}, None) == []
    network.crop_recipe = None
    assert image_warnings(network, {"crop_recipe": "box"}, (8, 6)) == []


class TestSidecar:
    @pytest.fixture
    def side(self, tmp_path):
        network = StandIn()
        network.thresholds["AU12"] = 0.3
        extra = {"selection": {"epoch": 7}}
        network.metadata = {"network": "auformer.X", "arguments": {"expert_width": 4}, "extra": extra}
        (tmp_path / "a.safetensors").write_bytes(b"weights")
        manifest = manifest_of(tmp_path, crop_recipe="box", image_size=[16, 16])
        rows = manifest[manifest["fold"] == "P1"].assign(AU4=0)
        told = {"checkpoint": "folder", "fold": "P1", "warnings": ["w"], "notice": "n"}
        write_manifest_predictions(network, tmp_path / "a.safetensors", [rows], tmp_path / "p.csv", **told)
        return read_predictions(tmp_path / "p.csv").attrs["side"]

    def test_holds_what_the_contract_names(self, side, tmp_path):
        own = {name: side[name] for name in ("checkpoint", "au_names", "aus_without_truth", "aus_not_in_checkpoint")}
        assert list(own.values()) == ["folder", ["AU1", "AU12", "AU25"], ["AU25"], ["AU4"]]
        digest = hashlib.sha256(b"weights").hexdigest()
        assert side["adapter"] == {"file": "a.safetensors", "sha256": digest, "package_version": None}
        assert side["thresholds"] == {"AU1": 0.5, "AU12": 0.3, "AU25": 0.5}
        assert (side["crop_recipe"], side["image_size"]) == ("eyes", [8, 8])
        assert side["config"]["arguments"] == {"expert_width": 4} and side["config"]["training_data"] is None
        assert side["epoch_selection"] == {"epoch": 7} and side["package_version"] == __version__
        facts = {"file": "manifest.csv", "fold": "P1", "crop_recipe": "box", "dataset": "d", "rows": {"ok": 8}}
        assert facts.items() <= side["manifest"].items()
        assert side["manifest"]["sha256"] == sha256(tmp_path / "manifest.csv")
        assert json.loads(json.dumps(side, allow_nan=False)) == side and str(tmp_path) not in json.dumps(side)
