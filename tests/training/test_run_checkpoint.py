"""Run checkpoints: what is in them, and that nothing of a stranger's is executed or allocated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from auformer.cli import main
from auformer.errors import CheckpointError
from auformer.models import AUFormer, AUNetwork, FullFineTuning, LinearProbe, load_detector, read_adapter_header
from auformer.training.module import AUModule
from auformer.training.run import fit
from tests.helpers.runs import Payload, cli_words, make_data, make_module, write_vit, write_workspace
from tests.helpers.vits import shaken, state_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a finished run of each kind."""
    folder = write_workspace(tmp_path_factory.mktemp("checkpoint"))
    for name, kind in (("run", AUFormer), ("probe", LinearProbe), ("full", FullFineTuning)):
        fit(make_module(folder, kind), make_data(folder), folder / name, epochs=1, seed=0, progress=False)
    return folder


def _read(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def _changed(workspace: Path, tmp_path: Path, change: Any, name: str = "run") -> Path:
    """The best checkpoint of a run after `change(checkpoint)`."""
    checkpoint = _read(workspace / name / "best.ckpt")
    change(checkpoint)
    torch.save(checkpoint, tmp_path / "changed.ckpt")
    return tmp_path / "changed.ckpt"


def test_a_checkpoint_holds_everything_but_the_frozen_weights(workspace: Path) -> None:
    checkpoint, module = _read(workspace / "run" / "best.ckpt"), make_module(workspace)
    assert set(checkpoint["state_dict"]) == {f"network.{name}" for name in module.network.adapter_state_dict()}
    assert not any("backbone" in name for name in checkpoint["state_dict"])
    states = checkpoint["optimizer_states"][0]["state"]
    assert sum(one["exp_avg"].numel() for one in states.values()) == module.network.num_parameters()[0]
    assert any("backbone" in name for name in _read(workspace / "full" / "best.ckpt")["state_dict"])
    assert json.loads(checkpoint["auformer"])["backbone"]["fingerprint"] == module.network.fingerprint
    assert checkpoint["hyper_parameters"]["_class_path"] == "auformer.training.module.AUModule"
    settings = checkpoint["hyper_parameters"]
    assert json.loads(json.dumps(settings)) == settings  # plain values, so that nothing else has to be trusted


@pytest.mark.parametrize(("name", "kind"), [("run", AUFormer), ("probe", LinearProbe), ("full", FullFineTuning)])
def test_a_module_comes_back_as_it_was(workspace: Path, name: str, kind: type[AUNetwork]) -> None:
    path, images = workspace / name / "best.ckpt", torch.rand(2, 3, 32, 32)
    module = AUModule.load_from_checkpoint(path, weights_only=True).eval()
    assert type(module) is AUModule and type(module.network) is kind
    assert module.hparams == make_module(workspace, kind).hparams
    assert all(torch.equal(module.state_dict()[key], value) for key, value in _read(path)["state_dict"].items())
    adapter = workspace / name / "adapter.safetensors"
    detector = load_detector(adapter, backbone_checkpoint=workspace / "vit.safetensors")
    assert torch.equal(module(images), detector.predict_probs(images))
    assert module.network.crop_recipe == detector.crop_recipe == "eyes"
    assert AUModule.load_from_checkpoint(path, lr=1e-4).hparams["lr"] == 1e-4


def test_the_adapter_file_says_how_it_came_about(workspace: Path) -> None:
    header = read_adapter_header(workspace / "run" / "adapter.safetensors")
    assert header["training_data"]["train"]["subjects"] == 5 and header["training_data"]["val"]["rows"] == 6
    assert header["extra"]["selection"]["epoch"] == 1 and "validation" in header["extra"]["selection"]["monitor"]
    assert header["extra"]["config"]["model"]["lr"] == 2e-3 and header["extra"]["config"]["fit"]["seed"] == 0
    assert str(workspace) not in json.dumps(header)  # people share these files


def test_another_class_than_asked_for_is_refused(workspace: Path) -> None:
    class Mine(AUModule):
        pass

    with pytest.raises(CheckpointError, match="auformer.training.module.AUModule"):
        Mine.load_from_checkpoint(workspace / "run" / "best.ckpt")
    with pytest.raises(ValueError, match="`weights_only` to be True"):
        AUModule.load_from_checkpoint(workspace / "run" / "best.ckpt", weights_only=False)


def test_other_frozen_weights_are_refused(workspace: Path, tmp_path: Path) -> None:
    other = write_vit(tmp_path / "other.safetensors", seed=1)
    with pytest.raises(CheckpointError, match="other frozen weights"):
        AUModule.load_from_checkpoint(workspace / "run" / "best.ckpt", backbone_checkpoint=str(other))
    # full fine-tuning has all weights in the file
    AUModule.load_from_checkpoint(workspace / "full" / "best.ckpt", backbone_checkpoint=str(other))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c: c["hyper_parameters"].update(_instantiator="os.system"), "not safe"),
        (lambda c: c["hyper_parameters"].update(_class_path="auformer.cli.main"), "only modules of auformer.training"),
        (lambda c: c["hyper_parameters"]["network"].update(class_path="os.system"), "not one of auformer.models"),
        (lambda c: c["hyper_parameters"]["network"]["init_args"].update(expert_width=10**9), "cannot be built"),
        (lambda c: c["hyper_parameters"].pop("network"), "earlier build"),
        (lambda c: c["state_dict"].update({"network.head.fc1.weight": torch.zeros(1).expand(10**5, 10**4)}), "fit"),
        (lambda c: c.update(payload=Payload()), "cannot be read"),
    ],
    ids=["maker", "module", "network", "huge network", "no network", "huge tensor", "callable"],
)
def test_no_command_reads_a_planted_file(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], change: Any,
    match: str,
) -> None:  # fmt: skip
    path = str(_changed(workspace, tmp_path, change))
    monkeypatch.chdir(tmp_path)
    words = cli_words(workspace, ROOT / "experiments" / "configs" / "synthetic.yaml", str(tmp_path / "out"))
    manifest = str(workspace / "test" / "manifest.csv")
    for command in (
        ["info", path],
        ["evaluate", path, manifest, "--out", "p.csv", "--device", "cpu"],
        ["validate", *words, "--ckpt_path", path],
        ["fit", *words, "--ckpt_path", path],
    ):
        assert main(command) == 1, command
        assert match in capfd.readouterr().err, command
    assert not (tmp_path / "executed").exists() and not (tmp_path / "p.csv").exists()


def test_an_unknown_argument_and_a_file_cut_short_are_refused(workspace: Path, tmp_path: Path) -> None:
    path = _changed(workspace, tmp_path, lambda c: c["hyper_parameters"].update(command="rm"))
    with pytest.raises(CheckpointError, match="arguments of AUModule, but got command"):
        AUModule.load_from_checkpoint(path)
    path.write_bytes(path.read_bytes()[:1000])
    for name in (path, tmp_path / "absent.ckpt"):
        with pytest.raises(CheckpointError, match=name.name):
            AUModule.load_from_checkpoint(name)


def test_only_a_frozen_backbone_may_be_missing_and_only_as_a_whole(workspace: Path) -> None:
    module = make_module(workspace)
    whole = state_of(module)
    backbone = [name for name in whole if name.startswith("network.backbone.")]
    without = {name: tensor for name, tensor in state_of(shaken(module)).items() if name not in backbone}
    module.load_state_dict(whole)
    result = module.load_state_dict(without)
    assert sorted(result.missing_keys) == sorted(backbone) and not result.unexpected_keys
    assert not torch.equal(module.network.head.fc1.bias, whole["network.head.fc1.bias"])
    part = {name: tensor for name, tensor in whole.items() if name != backbone[0]}
    with pytest.raises(CheckpointError, match="missing keys network.backbone"):
        module.load_state_dict(part)
    full = make_module(workspace, FullFineTuning)
    before = full.network.head.fc1.bias.clone()
    with pytest.raises(CheckpointError, match="missing keys network.backbone"):
        full.load_state_dict({name: tensor for name, tensor in full.state_dict().items() if "backbone" not in name})
    assert torch.equal(full.network.head.fc1.bias, before)


def test_a_user_s_own_subclass_loads_its_own_files(workspace: Path, tmp_path: Path) -> None:
    class Mine(AUModule):
        pass

    fit(make_module(workspace, kind=Mine), make_data(workspace), tmp_path / "mine", epochs=1, seed=0, progress=False)
    assert "_class_path" not in _read(tmp_path / "mine" / "last.ckpt")["hyper_parameters"]
    assert type(Mine.load_from_checkpoint(tmp_path / "mine" / "last.ckpt")) is Mine
