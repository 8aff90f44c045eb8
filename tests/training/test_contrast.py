"""AUNCE in two runs: what each stage trains, draws, memory, interruption, and what does not fit."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from auformer.models import LinearProbe
from auformer.models.contrastive import ViTAUNCE
from auformer.training.contrast import AUNCEModule
from auformer.training.run import fit
from tests.helpers.runs import AUS, VIT, make_data, write_workspace


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_workspace(tmp_path_factory.mktemp("contrast"))


def module(folder: Path, seed: int = 1, network: Any = ViTAUNCE, **arguments: Any) -> AUNCEModule:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = partial(network, backbone=VIT, checkpoint_path=folder / "vit.safetensors", img_size=32)
        return AUNCEModule(made, AUS, [1.0, 1.2, 0.8], **arguments)


def contrast(folder: Path, out: str, **arguments: Any) -> Path:
    data = make_data(folder, views=2, val_fraction=0.0, augment="aunce")
    given = {"epochs": 3, "seed": 0, "progress": False, "select": "last"}
    return fit(module(folder, memory=10, **arguments), data, folder / out, **given)


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Path:
    return contrast(folder, "first")


def test_contrast_trains_the_encoder_alone(folder, adapter):
    fresh, trained = module(folder).network.state_dict(), load_file(adapter)
    assert torch.equal(trained["probe_weight"], fresh["probe_weight"])
    assert not torch.equal(trained["first.fc.weight"], fresh["first.fc.weight"])
    assert not [name for name in trained if name.startswith("backbone.")]


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_probe_trains_the_probe_alone(folder, adapter, mode):
    made = module(folder, stage="probe", start=str(adapter), encoder_mode=mode, seed=5)
    out = fit(made, make_data(folder), folder / f"probe-{mode}", epochs=2, seed=0, progress=False)
    before, after = load_file(adapter), load_file(out)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"probe_weight", "probe_bias"} <= changed
    rest = changed - {"probe_weight", "probe_bias"}
    assert all("running" in name or "num_batches" in name for name in rest) and bool(rest) == (mode == "train")


def test_an_interrupted_run_ends_the_same(folder, adapter, monkeypatch):
    before = AUNCEModule.on_train_epoch_start

    def stop(self: AUNCEModule) -> None:
        if self.current_epoch == 2:
            raise KeyboardInterrupt
        before(self)

    with monkeypatch.context() as patch:
        patch.setattr(AUNCEModule, "on_train_epoch_start", stop)
        with pytest.raises(KeyboardInterrupt):
            contrast(folder, "second")
    other = load_file(contrast(folder, "second"))
    assert all(torch.equal(one, other[name]) for name, one in load_file(adapter).items())


def test_memory_and_draws(folder):
    made = module(folder, memory=10)
    batch = {"image": torch.rand(8, 2, 3, 32, 32), "label": torch.randint(0, 2, (8, 3)), "index": torch.arange(8)}
    first = made.batch_terms(batch, 0)[1]["loss"]
    assert made._memory is not None and len(made._memory[0]) == 8
    second = made.batch_terms(batch, 0)[1]["loss"]
    assert second > first and len(made._memory[0]) == 10  # more negatives, the oldest gone
    assert torch.equal(made.draws(), made.draws()) and not torch.equal(made.draws(), module(folder, seed=1).draws() + 1)
    with pytest.raises(ValueError, match="two views of each image"):
        made.batch_terms({**batch, "image": batch["image"][:, 0]}, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"stage": "probe"}, "`start`, the adapter file of a contrast run"),
        ({"start": "x"}, "`start`, the adapter file of a contrast run"),
        ({"memory": -1}, "`memory` of 0 or more"),
        ({"network": LinearProbe}, "a network of auformer.models.contrastive, but got LinearProbe"),
    ],
)
def test_what_does_not_fit(folder, arguments, said):
    with pytest.raises(ValueError, match=said):
        module(folder, **arguments)
