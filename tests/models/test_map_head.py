"""The map head beside an adapter file: bound to weights and experts, no part of the network, and it points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from auformer.data.transforms import to_float
from auformer.models import AUFormer, load_detector
from auformer.models.adapter_file import save_adapter
from auformer.models.checkpoint_path import DEMO_DETECTOR
from auformer.models.map_head import MapHead, maps_path, read_map_head, save_map_head
from auformer.predict.predictor import CHANGE_MAPS, EXPERT_MAPS, AUPredictor
from auformer.synthetic.change import Pairs
from auformer.synthetic.parameters import DatasetParameters
from tests.helpers.vits import images_for, network, shaken

FIRST = 30_200  # rendered subjects that nothing is trained on


def head_for(model: AUFormer) -> MapHead:
    torch.manual_seed(1)
    features = model.patch_features(images_for(model, 1))
    return MapHead(
        torch.randn(len(model.au_names), features.shape[2]), torch.randn(len(model.au_names), features.shape[1])
    )


def test_maps_are_shares_of_the_grid_and_the_network_stays_as_it_was() -> None:
    model = shaken(network()).eval()
    images = images_for(model)
    before, names = model.outputs(images), set(model.state_dict())
    with pytest.raises(ValueError, match="expert_maps"):
        model.change_maps(images)
    model.map_head = head_for(model)
    maps = model.change_maps(images)
    assert maps.shape == (len(images), len(model.au_names), *model.grid_size)
    assert torch.allclose(maps.sum((2, 3)), torch.ones(maps.shape[:2])) and (maps >= 0).all()
    after = model.outputs(images)
    assert all(torch.equal(before[name], after[name]) for name in before) and set(model.state_dict()) == names
    # per AU a linear map of what each patch carries, and its place
    features, head = model.patch_features(images), model.map_head
    logits = features[1, 2] @ head.weight[0] + head.place[0, 2]
    others = features[1] @ head.weight[0] + head.place[0]
    assert maps[1, 0].flatten()[2] == pytest.approx(float((logits - others.logsumexp(0)).exp()), rel=1e-4)


def test_a_file_belongs_to_its_experts_and_survives_new_thresholds(tmp_path: Path) -> None:
    model, adapter = shaken(network()).eval(), tmp_path / "adapter.safetensors"
    save_adapter(adapter, model)
    assert read_map_head(adapter, model) is None
    head = head_for(model)
    assert save_map_head(adapter, model, head) == maps_path(adapter) == tmp_path / "adapter.maps.safetensors"
    model.thresholds = dict.fromkeys(model.au_names, 0.2)
    found = read_map_head(adapter, model)
    assert found is not None and torch.equal(found.weight, head.weight) and torch.equal(found.place, head.place)
    with torch.no_grad():
        next(iter(model.groups.parameters()))[0] += 1  # trained on
    assert read_map_head(adapter, model) is None


def test_predictions_say_which_maps_they_are() -> None:
    model = shaken(network()).eval()
    predictor = AUPredictor(model)
    crops = np.random.default_rng(0).integers(0, 256, (2, *model.image_size, 3), dtype=np.uint8)
    images = torch.from_numpy(np.stack([to_float(crop) for crop in crops]))
    assert predictor.map_words == EXPERT_MAPS
    assert np.allclose(predictor.evidence_maps(crops), model.expert_maps(images).numpy(), atol=1e-5)
    model.map_head = head_for(model)
    assert predictor.map_words == CHANGE_MAPS
    assert np.allclose(predictor.evidence_maps(crops), model.change_maps(images).numpy(), atol=1e-5)


def test_the_packaged_head_points_at_what_changes() -> None:
    """On faces that it never saw. No head for these experts? `python -m experiments.pretraining.fit_maps`."""
    model = load_detector("demo")
    assert isinstance(model, AUFormer) and maps_path(DEMO_DETECTOR).is_file() and model.map_head is not None
    parameters = DatasetParameters("A", 4, 5, 0, model.au_names, 112, 3, FIRST, 1.0, True, True)
    pairs, hits = Pairs(parameters), list[bool]()
    for number in parameters.numbers:
        face = pairs.bake(number)
        for frame in parameters.plan(number):
            image = pairs.draw(face, frame)
            maps = model.change_maps(torch.from_numpy(to_float(image))[None])[0].numpy()
            for au in ("AU1", "AU4", "AU12", "AU25"):
                changed = pairs.change(face, frame, au, image)
                if changed.max() > 0.02:
                    mine = maps[model.au_names.index(au)]
                    hits.append(bool(changed.flat[mine.argmax()] >= changed.max() / 2))
    assert len(hits) >= 15 and np.mean(hits) >= 0.75
