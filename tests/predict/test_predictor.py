"""The predictor: the network's own numbers, on the crops that the recipe gives, whatever the batch."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from auformer.data.images import write_image
from auformer.errors import CheckpointError, FaceNotFoundError
from auformer.faces import Face, align, detect
from auformer.models import LinearProbe, load_detector
from auformer.predict.pipeline import SMALL, share_cores
from auformer.predict.predictor import AUPredictor
from auformer.predict.sources import find_sources
from auformer.predict.types import ImagePrediction, SourceEnd
from tests.helpers import vits
from tests.helpers.photos import AUS, face_image, several, wall, write_photos
from tests.helpers.predicting import make_checkpoint
from tests.helpers.predictions import StandIn


def predicted(predictor, paths, **options):
    """What a predictor yields of each image, without the ends."""
    return [item for item in predictor.stream(find_sources(paths), **options) if isinstance(item, ImagePrediction)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"), thresholds={"AU12": 0.5, "AU1": 0.3, "AU25": 0.7})


@pytest.fixture(scope="module")
def network(checkpoint):
    return load_detector(checkpoint, backbone_checkpoint=checkpoint / "backbone.safetensors")


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path)


class Graded(StandIn):
    """A stand-in with an intensity head that has learned the intensities of AU12 and AU25 only."""

    intensity_aus = ("AU12", "AU25")
    highest = 5.0

    def outputs(self, images):
        probs = self.predict_probs(images)
        return {"logits": probs.logit(), "probs": probs, "intensity": self.highest * probs}


class TestIntensities:
    CROPS = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)

    def test_both_in_one_pass_and_nothing_of_what_was_not_learned(self):
        network = Graded(("AU1", "AU12", "AU25"))
        predictor = AUPredictor(network, batch_size=2)
        found = predictor.outputs(self.CROPS)
        assert network.batches == [2, 2, 1] and predictor.intensity_aus == ("AU12", "AU25")
        means = self.CROPS.mean((1, 2)) / 255
        assert np.allclose(found["probs"], means, atol=1e-6)
        assert np.isnan(found["intensity"][:, 0]).all()
        assert np.allclose(found["intensity"][:, 1:], 5 * means[:, 1:], atol=1e-5)
        assert np.array_equal(found["probs"], predictor.predict_proba(self.CROPS))
        assert [values.shape for values in predictor.outputs([]).values()] == [(0, 3), (0, 3)]

    def test_a_network_without_the_head_has_probabilities_only(self):
        predictor = AUPredictor(StandIn())
        assert list(predictor.outputs(self.CROPS)) == ["probs"] and predictor.intensity_aus == ()
        assert predictor.predict_image(face_image())[0].intensity is None

    def test_damaged_weights(self):
        network = Graded(("AU1", "AU12", "AU25"))
        network.highest = 5.5
        white = np.full((1, 8, 8, 3), 255, np.uint8)
        with pytest.raises(ValueError, match=r"intensities in \[0, 5\].*damaged"):
            AUPredictor(network).outputs(white)

    def test_smoothing_follows_both_alike(self, tmp_path):
        """The second frame is black: both fall to the same share of what they were."""
        for k, value in enumerate((200, 0)):
            image = np.full((60, 60, 3), value, np.uint8)
            write_image(tmp_path / f"{k}.png", image)
        face = Face(
            (10.0, 10.0, 40.0, 40.0), 0.9, np.array([[20, 25], [40, 25], [30, 35], [24, 42], [36, 42.0]]), "eyes", 1.0
        )
        predictor = AUPredictor(Graded(("AU1", "AU12", "AU25")), smooth=0.1, detector=lambda image, **_: [face])
        one, two = (image.faces[0] for image in predicted(predictor, [tmp_path / "%d.png"]))
        share = two.probs / one.probs
        assert 0.5 < share[1] < 0.9 and np.allclose(two.intensity[1:] / one.intensity[1:], share[1:])


class TestOneImage:
    def test_crop_and_probabilities_are_those_of_the_parts(self, network):
        image = several(30_001, 30_002)
        predicted = AUPredictor(network).predict_image(image)
        faces = detect(image)
        assert len(predicted) == len(faces) == 2
        for found, face in zip(predicted, faces, strict=True):
            crop, _ = align(image, face.points, "eyes", 32)
            assert np.array_equal(found.crop, crop) and np.array_equal(found.face.points, face.points)
            tensor = torch.from_numpy(crop.astype(np.float32) / 255).permute(2, 0, 1)[None]
            with torch.no_grad():
                main, experts = network.forward_all(tensor)
            assert np.allclose(found.probs, (main.sigmoid() + experts.sigmoid())[0].numpy() / 2, atol=1e-6)

    def test_no_face(self, network):
        with pytest.raises(FaceNotFoundError, match="no face found in 120 x 90 pixels"):
            AUPredictor(network).predict_image(wall())

    def test_thresholds_are_the_checkpoints_in_the_networks_order(self, network):
        predictor = AUPredictor(network)
        assert predictor.au_names == AUS and np.allclose(predictor.thresholds, [0.5, 0.3, 0.7])
        assert predictor.is_active(np.array([[0.5, 0.29, 0.7], [0.49, 0.3, 0.69]])).tolist() == [
            [True, False, True],
            [False, True, False],
        ]


class TestCrops:
    def test_the_batch_size_changes_nothing(self, network, rng):
        crops = rng.integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
        whole = AUPredictor(network, batch_size=16).predict_proba(crops)
        assert whole.shape == (7, 3)
        for batch_size in (1, 3):
            assert np.allclose(AUPredictor(network, batch_size=batch_size).predict_proba(crops), whole, atol=1e-5)

    def test_a_batch_that_does_not_fit_is_halved_for_good(self, network, rng, monkeypatch, caplog):
        crops = rng.integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
        whole, tried, plain = AUPredictor(network).predict_proba(crops), [], network.predict_probs

        def crowded(images):
            tried.append(len(images))
            if len(images) > 2:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
            return plain(images)

        monkeypatch.setattr(network, "predict_probs", crowded)
        predictor = AUPredictor(network, batch_size=8)
        assert np.allclose(predictor.predict_proba(crops), whole, atol=1e-5)
        assert tried == [8, 4, 2, 2, 2, 2, 1] and predictor.batch_size == 2 and len(caplog.records) == 2
        assert predictor.predict_proba(crops[:3]).shape == (3, 3) and tried[7:] == [2, 1] and len(caplog.records) == 2

    def test_maps_are_the_networks(self, network, rng):
        crops = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
        images = torch.from_numpy(crops.astype(np.float32) / 255).permute(0, 3, 1, 2)
        maps = AUPredictor(network, batch_size=2).evidence_maps(crops)
        assert maps.shape == (3, 3, 2, 2) and np.allclose(maps, network.expert_maps(images).numpy(), atol=1e-5)

    def test_networks_without_experts_have_no_maps(self, rng):
        network = LinearProbe(f"vit_tests_{vits.FIT[0]}", AUS).eval()
        assert AUPredictor(network).evidence_maps(rng.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)) is None

    def test_other_sizes_are_resized_and_oblong_networks_served(self, rng):
        crops = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
        predictor = AUPredictor(StandIn(AUS, image_size=(16, 8)))
        means = crops.mean((1, 2)) / 255
        assert np.allclose(predictor.predict_proba(crops), means, atol=0.01)
        assert predictor.predict_image(face_image())[0].crop.shape == (16, 8, 3)

    def test_no_crops(self, network):
        assert AUPredictor(network).predict_proba([]).shape == (0, 3)
        assert AUPredictor(network).evidence_maps([]) is None

    @pytest.mark.parametrize(
        "crops", [np.zeros((1, 32, 32, 3)), np.zeros((2, 32, 32), np.uint8), np.zeros((1, 3, 32, 32), np.uint8)]
    )
    def test_crops_of_another_form(self, network, crops):
        with pytest.raises(ValueError, match=r"uint8 RGB of shape \(n, H, W, 3\)"):
            AUPredictor(network).predict_proba(crops)

    def test_damaged_weights_are_an_error_and_not_an_empty_cell(self):
        stand_in = StandIn(AUS)
        stand_in.predict_probs = lambda images: torch.full((len(images), 3), torch.nan)
        with pytest.raises(ValueError, match="weights are damaged"):
            AUPredictor(stand_in).predict_proba(np.zeros((1, 8, 8, 3), np.uint8))


class TestPhotos:
    def test_one_after_the_other_and_bad_ones_do_not_stop_the_rest(self, photos):
        order = [photos[name] for name in ("none", "two", "damaged", "one")] + [photos["one"].parent / "missing.jpg"]
        for batch_size in (1, 2, 16):
            found = predicted(AUPredictor(StandIn(AUS), batch_size=batch_size), order)
            assert [photo.status for photo in found] == ["no_face", "ok", "unreadable", "ok", "unreadable"]
            assert [len(photo.faces) for photo in found] == [0, 2, 0, 1, 0]
            assert [photo.file for photo in found] == [str(path) for path in order]
            assert found[0].name == "none.png"
            assert "no face found" in found[0].message
            assert "damaged.png" in found[2].message
            means = [face.crop.mean((0, 1)) / 255 for photo in found for face in photo.faces]
            assert np.allclose([face.probs for photo in found for face in photo.faces], means, atol=1e-5)

    def test_photos_are_given_back_while_others_wait(self, photos):
        """So that a long list shows what is done: after as many faces as fit into a batch."""
        stand_in = StandIn(AUS)
        walk = AUPredictor(stand_in, batch_size=1).stream(find_sources([photos["one"], photos["two"]]))
        assert next(walk).faces and stand_in.batches == [1]
        assert isinstance(next(walk), SourceEnd) and next(walk).faces and stand_in.batches == [1, 1, 1]

    def test_the_table_of_one_photo(self, photos):
        table = AUPredictor(StandIn(AUS)).predict(photos["one"])
        assert len(table) == 1 and table.loc[0, "subject"] == "one.png" and 0 < table.loc[0, "AU12_prob"] < 1


class TestCheckpoints:
    def test_from_checkpoint(self, checkpoint, network, monkeypatch):
        import auformer.predict.predictor as module

        asked = []
        monkeypatch.setattr(module, "open_network", lambda path, device, **_: asked.append((path, device)) or network)
        predictor = AUPredictor.from_checkpoint(checkpoint, batch_size=3)
        assert asked == [(checkpoint, "cpu")] and predictor.batch_size == 3 and predictor.network is network

    def test_the_recipe(self):
        stand_in = StandIn(AUS)
        assert AUPredictor(stand_in).recipe == "eyes"
        stand_in.crop_recipe = None
        assert AUPredictor(stand_in).recipe == "eyes"
        stand_in.crop_recipe = "of_tomorrow"
        with pytest.raises(CheckpointError, match="'of_tomorrow', and this version of auformer knows .*eyes"):
            AUPredictor(stand_in)

    def test_a_batch_has_at_least_one_face(self):
        with pytest.raises(ValueError, match="at least 1, but got 0"):
            AUPredictor(StandIn(AUS), batch_size=0)

    @pytest.mark.parametrize("given", [0.4, {"AU1": 0.4}])
    def test_thresholds_given(self, network, given):
        expected = [0.4] * 3 if given == 0.4 else [0.5, 0.4, 0.7]
        assert AUPredictor(network, thresholds=given).thresholds.tolist() == pytest.approx(expected)

    def test_a_second_operating_point(self, tmp_path):
        lower = {"AU12": 0.2, "AU1": 0.1, "AU25": 0.3}
        path = make_checkpoint(
            tmp_path, thresholds={"AU12": 0.5, "AU1": 0.3, "AU25": 0.7}, extra={"sensitive_thresholds": lower}
        )
        network = load_detector(path, backbone_checkpoint=path / "backbone.safetensors")
        predictor = AUPredictor(network, thresholds="sensitive")
        assert dict(zip(predictor.au_names, predictor.thresholds, strict=True)) == lower
        with pytest.raises(ValueError, match="numbers or 'sensitive', but got 'low'"):
            AUPredictor(network, thresholds="low")

    def test_a_checkpoint_without_a_second_operating_point(self, network):
        with pytest.raises(ValueError, match="this one has none: pass your own with --threshold"):
            AUPredictor(network, thresholds="sensitive")

    @pytest.mark.parametrize("given", [1.5, {"AU1": -0.1}, {"AU4": 0.5}])
    def test_thresholds_refused(self, network, given):
        with pytest.raises(ValueError, match="threshold"):
            AUPredictor(network, thresholds=given)


def test_small_networks_leave_half_of_the_cores_and_large_ones_none(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    before, small = torch.get_num_threads(), torch.nn.Linear(2, 2)
    with torch.device("meta"):
        large = torch.nn.Linear(SMALL, 1)
    try:
        torch.set_num_threads(4)
        assert [share_cores(large), share_cores(small), share_cores(small)] == [4, 2, 2]
        torch.set_num_threads(1)
        assert share_cores(small) == 1
    finally:
        torch.set_num_threads(before)
