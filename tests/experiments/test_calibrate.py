"""Temperatures per action unit, found again and multiplied into both heads alone; averages of two trainings."""

from functools import partial

import numpy as np
import pytest
import torch

from auformer.models import load_detector
from auformer.models.adapter_file import save_adapter
from experiments.pretraining import average_detectors
from experiments.pretraining import calibrate as module
from tests.helpers.faces import tiny_manifest
from tests.helpers.photos import write_detector


@pytest.mark.parametrize("wanted", [0.5, 2.5])
def test_a_temperature_is_found_again(wanted):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    target = (rng.random(20_000) < 1 / (1 + np.exp(-logits))).astype(int)
    target[::3], logits[::3] = -1, 50  # not annotated, and wrong if they counted
    assert module.fit_temperature(np.stack([wanted * logits] * 2), target) == pytest.approx(wanted, rel=0.06)


def test_it_is_multiplied_into_both_heads(tmp_path, monkeypatch):
    network = write_detector(tmp_path, intensity="regression", training_data={"images": 7}, extra={"kept": 1})
    monkeypatch.setattr(
        module, "load_detector", partial(load_detector, backbone_checkpoint=tmp_path / "backbone.safetensors")
    )
    manifest = tiny_manifest(tmp_path / "val", au_names=network.au_names, size=network.image_size[0], frames=20)
    temperatures = module.calibrate(tmp_path / "adapter.safetensors", [str(manifest)])
    after = module.load_detector(tmp_path / "adapter.safetensors")
    images = torch.rand(4, 3, *network.image_size)
    with torch.no_grad():
        was, now = network.outputs(images), after.outputs(images)
    divided = torch.tensor([temperatures[au] for au in network.au_names])
    assert len(set(temperatures.values())) > 1 and all(0.25 <= one <= 4 for one in temperatures.values())
    for key in ("logits", "expert_logits"):
        assert torch.allclose(was[key] / divided, now[key], rtol=2e-3, atol=1e-5)  # they are written with 3 digits
    assert torch.equal(was["intensity"], now["intensity"])
    assert after.metadata["extra"] == {"kept": 1, module.KEY: temperatures}
    assert after.metadata["training_data"] == {"images": 7} and after.thresholds != network.thresholds


def test_averages_lie_between_and_know_no_temperature(tmp_path, monkeypatch):
    first = write_detector(tmp_path)
    load = partial(load_detector, backbone_checkpoint=tmp_path / "backbone.safetensors")
    monkeypatch.setattr(average_detectors, "load_detector", load)
    second = load(tmp_path / "adapter.safetensors")
    with torch.no_grad():
        for parameter in second.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
        wanted = [second.head.fc2.weight - 0.75, second.expert_heads.weight - 0.75]
        module.divide_heads(second, [2.0] * len(second.au_names))
    extra = {module.KEY: dict.fromkeys(second.au_names, 2.0), "kept": 1}
    save_adapter(tmp_path / "second.safetensors", second, extra=extra)
    average_detectors.average(tmp_path / "adapter.safetensors", tmp_path / "second.safetensors", 0.25, tmp_path / "m")
    mixed = load(tmp_path / "m")
    assert mixed.metadata["extra"] == {"kept": 1, "averaged": 0.25}
    for found, value in zip([mixed.head.fc2.weight, mixed.expert_heads.weight], wanted, strict=True):
        assert torch.allclose(found, value, atol=1e-5)
    assert torch.allclose(mixed.head.fc1.bias, first.head.fc1.bias + 0.25, atol=1e-5)
