"""The rivals' modules: each trains its own network, and its run folder brings it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from auformer.models import AUNetwork, load_detector
from auformer.models.adapter_file import network_class
from auformer.models.checkpoints import _MODULES
from auformer.training import baselines as lit_rivals
from auformer.training.module import AUModule
from auformer.training.run import fit
from tests.helpers.runs import make_data, make_module, state_of, write_workspace

RIVALS = [
    each for each in vars(lit_rivals).values()
    if isinstance(each, type) and issubclass(each, lit_rivals.RivalModule) and each is not lit_rivals.RivalModule
]  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_workspace(tmp_path_factory.mktemp("rivals"))


def test_every_module_is_known_to_load_detector_by_its_network() -> None:
    assert len(RIVALS) == 10
    for kind in RIVALS:
        assert network_class(_MODULES[kind.__name__], "here") is kind.network_class
    assert set(_MODULES) == {"AUModule", *(kind.__name__ for kind in RIVALS)}


@pytest.mark.parametrize("kind", RIVALS)
def test_it_builds_its_network_in_the_size_asked_for(workspace: Path, kind: Any) -> None:
    network = make_module(workspace, kind).network
    assert type(network) is kind.network_class
    if kind.size_argument is None:
        with pytest.raises(ValueError, match="no `adapter_size` for"):
            make_module(workspace, kind, adapter_size=2)
    else:
        other = make_module(workspace, kind, adapter_size=2).network
        assert other.arguments[kind.size_argument] == 2 and other.num_parameters()[0] != network.num_parameters()[0]


@pytest.mark.parametrize("name", ["BitFit", "LoRA", "Convpass", "SSF"])
def test_a_run_trains_it_and_its_files_bring_it_back(workspace: Path, tmp_path: Path, name: str) -> None:
    kind: type[AUModule] = getattr(lit_rivals, f"{name}Module")
    module = make_module(workspace, kind)
    before = state_of(module)
    fit(module, make_data(workspace), tmp_path / "run", epochs=1, seed=0, progress=False)
    frozen = {f"network.{key}" for key in module.network.frozen_names()}
    after = module.state_dict()
    assert frozen and {key for key in before if torch.equal(before[key], after[key])} >= frozen
    stored = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
    assert set(stored) == set(after) - frozen
    again = AUModule.load_from_checkpoint(tmp_path / "run" / "last.ckpt")
    images = torch.rand(2, 3, 32, 32)
    wanted = module.network.eval()(images)
    assert type(again) is kind and torch.equal(again.network.eval()(images), wanted)
    vit = workspace / "vit.safetensors"
    loaded: AUNetwork = load_detector(tmp_path / "run" / "last.ckpt", backbone_checkpoint=vit)
    assert torch.equal(loaded(images), wanted)
    assert type(load_detector(tmp_path / "run", backbone_checkpoint=vit)) is type(module.network)
