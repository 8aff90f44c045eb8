"""`load_detector`: every kind of checkpoint, and every way in which one can be wrong."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from auformer.errors import CheckpointError
from auformer.models import AUFormer, FullFineTuning, LinearProbe, load_detector, save_adapter
from auformer.models.adapter_file import describe, network_class
from tests.helpers import vits  # noqa: F401 (registers tiny ViTs)

NAMES = ["AU1", "AU12"]
SETTINGS = {"au_weights": [1.0, 1.0], "lr": 0.1, "expert_loss_weight": 1.0, "pretrained": True, "checkpoint_path": None}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    save_file(AUFormer("vit_tests_token", NAMES).backbone.state_dict(), path)
    return path


def _network(weights: Path, kind: Any = AUFormer) -> Any:
    torch.manual_seed(1)
    network = kind(
        "vit_tests_token", NAMES, checkpoint_path=weights, **({"expert_width": 2} if kind is AUFormer else {})
    )
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    network.thresholds, network.crop_recipe = {"AU1": 0.3, "AU12": 0.6}, "eyes"
    return network


def _run_checkpoint(network: Any, path: Path, **changes: Any) -> Path:
    """A file as Lightning writes it."""
    settings = {**network.arguments, **SETTINGS}
    content = {
        "state_dict": {f"network.{name}": tensor for name, tensor in network.adapter_state_dict().items()},
        "hyper_parameters": settings,
        "auformer": json.dumps(describe(network)),
        "optimizer_states": [{"state": {0: {"step": torch.zeros(1)}}}],
        "epoch": 3,
    }
    torch.save({**content, **changes}, path)
    return path


def _same(first: Any, second: Any) -> None:
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(first.eval()(images), second(images)) and not second.training
    assert type(first) is type(second) and second.au_names == ("AU1", "AU12")


@pytest.mark.parametrize("kind", [AUFormer, LinearProbe, FullFineTuning])
def test_adapter_file_folder_and_run_checkpoint(weights: Path, tmp_path: Path, kind: Any) -> None:
    network = _network(weights, kind)
    save_adapter(tmp_path / "adapter.safetensors", network)
    for checkpoint in (
        tmp_path / "adapter.safetensors",
        str(tmp_path),
        _run_checkpoint(network, tmp_path / "best.ckpt"),
    ):
        detector = load_detector(checkpoint, backbone_checkpoint=weights)
        _same(network, detector)
        assert detector.thresholds == {"AU1": 0.3, "AU12": 0.6} and detector.crop_recipe == "eyes"
        assert detector.metadata["network"].endswith(kind.__name__)


def test_a_network_trained_as_a_whole_needs_no_frozen_weights(weights: Path, tmp_path: Path) -> None:
    network = _network(weights, FullFineTuning)
    save_adapter(tmp_path / "adapter.safetensors", network)
    _same(network, load_detector(tmp_path))


def test_a_run_checkpoint_without_header_is_read_by_its_settings(weights: Path, tmp_path: Path) -> None:
    network = _network(weights)
    settings = {**network.arguments, **SETTINGS, "checkpoint_path": str(weights), "_class_path": "auformer.training.module.AUModule",
                "_instantiator": "pytorch_lightning.cli.instantiate_module"}  # fmt: skip
    settings.pop("expert_heads")
    path = _run_checkpoint(network, tmp_path / "best.ckpt", hyper_parameters=settings, auformer=None)
    _same(network, load_detector(path))  # the frozen weights are where training found them
    probe = _network(weights, LinearProbe)
    settings["_class_path"] = "auformer.training.baselines.LinearProbeModule"
    path = _run_checkpoint(probe, tmp_path / "probe.ckpt", hyper_parameters=settings, auformer=None)
    _same(probe, load_detector(path))


def test_missing_checkpoints_say_what_was_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for checkpoint in (tmp_path / "absent.ckpt", tmp_path, "nowhere"):
        with pytest.raises(CheckpointError, match="'demo' or 'hf://owner/name'"):
            load_detector(checkpoint)
    monkeypatch.setattr("auformer.models.checkpoints.DEMO_DETECTOR", tmp_path / "demo.safetensors")
    with pytest.raises(CheckpointError, match=r"demo\.safetensors does not exist"):
        load_detector("demo")


def test_a_hub_name_is_fetched_through_the_hub(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, asked = _network(weights), []
    save_adapter(tmp_path / "cached", network)

    def download(repo_id: str, filename: str, revision: str | None) -> str:
        asked.append((repo_id, filename, revision))
        return str(tmp_path / "cached")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    _same(network, load_detector("hf://owner/some-name.v1", backbone_checkpoint=weights))
    assert asked == [("owner/some-name.v1", name, None) for name in ("adapter.safetensors", "README.md")]
    for bad in ("hf://owner", "hf://../../passwd", "hf://a/b/c"):
        with pytest.raises(CheckpointError, match="hf://owner/name"):
            load_detector(bad)


def test_frozen_weights_that_are_not_to_be_had_or_differ(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    network = _network(weights)
    save_adapter(tmp_path / "adapter.safetensors", network)
    other = tmp_path / "other.safetensors"
    save_file({name: tensor + 1e-3 for name, tensor in load_file(weights).items()}, other)
    for checkpoint in (tmp_path, _run_checkpoint(network, tmp_path / "best.ckpt")):
        with pytest.raises(CheckpointError, match=r"vit_tests_token.*backbone_checkpoint="):
            load_detector(checkpoint)
        with pytest.raises(CheckpointError, match=r"other frozen weights"):
            load_detector(checkpoint, backbone_checkpoint=other)


# hostile files ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_network_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused must be refused before anything is allocated."""

    def build(*args: object) -> None:
        raise AssertionError("a network was built for a file that does not fit")

    monkeypatch.setattr("auformer.models.checkpoints._build", build)


class _Payload:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.system, ("touch executed",))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"payload": _Payload()}, "cannot be read"),
        ({"hyper_parameters": {**SETTINGS, "_instantiator": "os.system"}}, "os.system.*not safe"),
        ({"hyper_parameters": {**SETTINGS, "_class_path": "os.system"}}, "os.system.*not safe"),
        ({"hyper_parameters": {**SETTINGS, "_class_path": "auformer.training.NoModule"}, "auformer": None}, "NoModule"),
        ({"hyper_parameters": 3}, "not a run checkpoint"),
        ({"state_dict": [1]}, "not a run checkpoint"),
        (
            {
                "hyper_parameters": {"au_names": ["AU1"], "backbone": "vit_tests_token", "expert_width": 999},
                "auformer": None,
            },
            "does not fit",
        ),
        ({"hyper_parameters": {"au_names": ["AU1"], "backbone": "no_such_vit"}, "auformer": None}, "cannot be built"),
        ({"hyper_parameters": {"backbone": "vit_tests_token"}, "auformer": None}, "au_names"),
        ({"auformer": "{"}, "damaged"),
    ],
)
def test_hostile_run_checkpoints(
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_network_is_built: None,
    changes: dict[str, Any],
    match: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = _run_checkpoint(_network(weights), tmp_path / "best.ckpt", **changes)
    with pytest.raises(CheckpointError, match=match):
        load_detector(path, backbone_checkpoint=weights)
    assert not (tmp_path / "executed").exists()


def test_tensors_of_a_run_checkpoint_that_do_not_fit(weights: Path, tmp_path: Path, no_network_is_built: None) -> None:
    network = _network(weights)
    state = {f"network.{name}": tensor for name, tensor in network.adapter_state_dict().items()}
    billion = torch.zeros(1).expand(10**9)  # one number on disk
    for name, value, match in (
        ("network.expert_heads.bias", torch.zeros(2).double(), "float64"),
        ("network.expert_heads.bias", torch.zeros(3), r"\(3,\)"),
        ("network.expert_heads.bias", billion, "1000000000"),
        ("network.expert_heads.bias", 5, "missing keys expert_heads.bias"),
        ("network.backbone.cls_token", torch.zeros(1, 1, 24), r"unexpected keys backbone\.cls_token"),
    ):
        path = _run_checkpoint(network, tmp_path / "best.ckpt", state_dict={**state, name: value})
        with pytest.raises(CheckpointError, match=match):
            load_detector(path, backbone_checkpoint=weights)
    for cut in (10, 1000, -30):
        path.write_bytes(_run_checkpoint(network, tmp_path / "whole.ckpt").read_bytes()[:cut])
        with pytest.raises(CheckpointError, match="best.ckpt"):
            load_detector(path, backbone_checkpoint=weights)


def test_a_storage_that_claims_more_than_the_file_has(weights: Path, tmp_path: Path) -> None:
    """Sizes come from the pickle, bytes from the archive: a claim of 10^9 numbers on four bytes must not be believed."""
    network, path = _network(weights), tmp_path / "best.ckpt"
    state = {f"network.{name}": tensor for name, tensor in network.adapter_state_dict().items()}
    _run_checkpoint(
        network, tmp_path / "whole.ckpt", state_dict={**state, "network.expert_heads.bias": torch.zeros(10**6)}
    )
    with zipfile.ZipFile(tmp_path / "whole.ckpt") as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content[:8] if len(content) == 4 * 10**6 else content)
    with pytest.raises(CheckpointError, match="best.ckpt"):
        load_detector(path, backbone_checkpoint=weights)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"expert_width": 10**9}, "cannot be built: .*expert_width"),
        ({"expert_width": 999}, "does not fit"),
        ({"img_size": [10**9, 10**9]}, "img_size"),
        ({"window": 10**9 + 1}, "window"),
        ({"backbone": "hf-hub:someone/vit"}, "cannot be built"),
        ({"backbone": "swin_tiny_patch4_window7_224"}, "cannot be built"),
        ({"backbone": ["vit_tests_token"]}, "cannot be built"),
        ({"checkpoint_path": "evil.pth"}, "checkpoint_path"),
        ({"pretrained": True}, "pretrained"),
        ({"device": "cuda"}, "device"),
    ],
)
def test_adapter_files_that_ask_for_too_much(
    weights: Path, tmp_path: Path, no_network_is_built: None, change: dict[str, Any], match: str
) -> None:
    path, network = tmp_path / "adapter.safetensors", _network(weights)
    save_adapter(path, network)
    header = describe(network)
    header["arguments"].update(change)
    save_file(load_file(path), path, metadata={"auformer": json.dumps(header)})
    with pytest.raises(CheckpointError, match=match):
        load_detector(path, backbone_checkpoint=weights)


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "auformer.models.network.AUNetwork",
        "auformer.models.auformer.nn",
        "auformer.cli.main",
        "auformer.models.checkpoints.load_detector",
        "auformer.models.absent.Net",
        "auformer.models..auformer.AUFormer",
        "auformer.models.AUFormer",
        "",
    ],
)
def test_only_networks_of_this_package_are_looked_up(name: str) -> None:
    with pytest.raises(CheckpointError, match="not one of this package's networks"):
        network_class(name, "file")


def test_a_suffix_does_not_decide_what_a_file_is(weights: Path, tmp_path: Path) -> None:
    network = _network(weights)
    save_adapter(tmp_path / "a.safetensors", network)
    shutil.copy(tmp_path / "a.safetensors", tmp_path / "a.ckpt")
    _same(network, load_detector(tmp_path / "a.ckpt", backbone_checkpoint=weights))
