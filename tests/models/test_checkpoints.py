"""`load_detector`: every kind of checkpoint, and every way in which one can be wrong."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from auformer.errors import CheckpointError
from auformer.models import AUFormer, FullFineTuning, LinearProbe, baselines, load_detector, save_adapter
from auformer.models.adapter_file import read_adapter_header
from auformer.models.checkpoints import inspect_checkpoint, network_class
from auformer.training.module import AUModule
from tests.helpers import vits
from tests.helpers.runs import Payload, edit_header, write_run_checkpoint, write_vit
from tests.helpers.vits import images_for, shaken

NAMES = ["AU1", "AU12"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vit(tmp_path_factory.mktemp("weights") / "vit.safetensors")


def _network(weights: Path, kind: Any = AUFormer) -> Any:
    network = shaken(vits.network("token", NAMES, kind, checkpoint_path=weights), std=0.2)
    network.thresholds, network.crop_recipe = {"AU1": 0.3, "AU12": 0.6}, "eyes"
    return network


def _same(first: Any, second: Any) -> None:
    images = images_for(first)
    assert torch.equal(first.eval()(images), second(images)) and not second.training
    assert type(first) is type(second) and second.au_names == ("AU1", "AU12")


@pytest.mark.parametrize("kind", [AUFormer, LinearProbe, FullFineTuning])
def test_adapter_file_folder_and_run_checkpoint_whatever_the_suffix(weights: Path, tmp_path: Path, kind: Any) -> None:
    network, path = _network(weights, kind), tmp_path / "adapter.safetensors"
    save_adapter(path, network)
    run = write_run_checkpoint(network, tmp_path / "best.ckpt")
    for checkpoint in (path, str(tmp_path), run, shutil.copy(path, tmp_path / "a.ckpt")):
        detector = load_detector(checkpoint, backbone_checkpoint=weights)
        _same(network, detector)
        assert detector.thresholds == {"AU1": 0.3, "AU12": 0.6} and detector.crop_recipe == "eyes"
        assert detector.metadata["network"].endswith(kind.__name__)
    if kind is FullFineTuning:  # trained as a whole, it needs no frozen weights
        _same(network, load_detector(tmp_path))


def test_frozen_weights_are_found_where_training_found_them(weights: Path, tmp_path: Path) -> None:
    network = _network(weights)
    changes = {"hyper_parameters__network": _spec(checkpoint_path=str(weights))}
    changes["hyper_parameters___instantiator"] = "pytorch_lightning.cli.instantiate_module"
    _same(network, load_detector(write_run_checkpoint(network, tmp_path / "a.ckpt", **changes)))


def test_missing_checkpoints_say_what_was_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for checkpoint in (tmp_path / "absent.ckpt", tmp_path, "nowhere"):
        with pytest.raises(CheckpointError, match="'demo' or 'hf://owner/name'"):
            load_detector(checkpoint)
    monkeypatch.setattr("auformer.models.checkpoint_path.DEMO_DETECTOR", tmp_path / "demo.safetensors")
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
    for checkpoint in (tmp_path, write_run_checkpoint(network, tmp_path / "best.ckpt")):
        with pytest.raises(CheckpointError, match=r"vit_tests_token.*backbone_checkpoint="):
            load_detector(checkpoint)
        with pytest.raises(CheckpointError, match=r"other frozen weights"):
            load_detector(checkpoint, backbone_checkpoint=other)


def _spec(class_path: str = "auformer.models.auformer.AUFormer", **arguments: Any) -> dict[str, Any]:
    return {"class_path": class_path, "init_args": {"backbone": "vit_tests_token", "expert_width": 2, **arguments}}


def _refused(path: Path, weights: Path, match: str) -> None:
    """Whoever reads the file refuses it, and builds nothing that takes memory."""

    def built(*args: Any, **options: Any) -> None:
        raise AssertionError("something was built from a file that is refused")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auformer.models.checkpoints._build", built)
        patch.setattr("auformer.training.module._build", built)
        for read in (
            lambda: load_detector(path, backbone_checkpoint=weights),
            lambda: AUModule.load_from_checkpoint(path),
            lambda: inspect_checkpoint(path),
        ):
            with pytest.raises(CheckpointError, match=match):
                read()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"payload": Payload()}, "cannot be read"),
        ({"hyper_parameters___instantiator": "os.system"}, "os.system.*not safe"),
        ({"hyper_parameters___class_path": "os.system"}, "os.system.*not safe"),
        ({"hyper_parameters___class_path": "auformer.cli.main"}, "only modules of auformer.training"),
        ({"hyper_parameters": 3}, "not a run checkpoint"),
        ({"state_dict": [1]}, "not a run checkpoint"),
        ({"auformer": "{"}, "damaged"),
        ({"auformer": None}, "earlier build"),
        ({"hyper_parameters__network": None}, "earlier build"),
        ({"hyper_parameters": {"backbone": "a_vit", "_class_path": "auformer.lit.module.AUModule"}}, "earlier build"),
        ({"hyper_parameters__network": _spec("os.system")}, "not one of auformer.models"),
        ({"hyper_parameters__network": _spec("auformer.training.module.AUModule")}, "not one of auformer.models"),
        ({"hyper_parameters__network": _spec(backbone="no_such_vit")}, "cannot be built"),
        ({"hyper_parameters__network": _spec(backbone="hf-hub:someone/vit")}, "cannot be built"),
        ({"hyper_parameters__network": _spec(expert_width=10**9)}, "cannot be built"),
        ({"hyper_parameters__network": _spec(expert_width=999)}, "expected `expert_width` 999"),
        ({"hyper_parameters__network": _spec(command="rm")}, "command"),
        ({"hyper_parameters__au_names": ["AU1"]}, "expected action units AU1"),
    ],
)  # fmt: skip
def test_run_checkpoints_of_strangers(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], match: str
) -> None:
    monkeypatch.chdir(tmp_path)
    _refused(write_run_checkpoint(_network(weights), tmp_path / "best.ckpt", **changes), weights, match)
    assert not (tmp_path / "executed").exists()


def test_only_a_module_of_this_package_is_built(weights: Path, tmp_path: Path) -> None:
    for name in ("auformer.training.nothing", "auformer.training.callbacks.RunBar", "auformer.training.run.fit"):
        path = write_run_checkpoint(_network(weights), tmp_path / "a.ckpt", hyper_parameters___class_path=name)
        with pytest.raises(CheckpointError, match="not one of auformer.training"):
            AUModule.load_from_checkpoint(path)


def test_tensors_of_a_run_checkpoint_that_do_not_fit(weights: Path, tmp_path: Path) -> None:
    network = _network(weights)
    for name, value, match in (
        ("network.expert_heads.bias", torch.zeros(2).double(), "float64"),
        ("network.expert_heads.bias", torch.zeros(3), r"\(3,\)"),
        ("network.expert_heads.bias", torch.zeros(1).expand(10**9), "1000000000"),  # one number on disk
        ("network.expert_heads.bias", 5, r"missing keys network\.expert_heads\.bias"),
        ("network.backbone.cls_token", torch.zeros(1, 1, 24), r"unexpected keys network\.backbone\.cls_token"),
    ):
        path = write_run_checkpoint(network, tmp_path / "best.ckpt", **{f"state_dict__{name}": value})
        _refused(path, weights, match)
    for cut in (10, 1000, -30):
        path.write_bytes(write_run_checkpoint(network, tmp_path / "whole.ckpt").read_bytes()[:cut])
        _refused(path, weights, "best.ckpt")


def test_a_storage_that_claims_more_than_the_file_has(weights: Path, tmp_path: Path) -> None:
    """Sizes come from the pickle, bytes from the archive: a claim of 10^6 numbers on eight bytes is not believed."""
    path, bias = tmp_path / "best.ckpt", {"state_dict__network.expert_heads.bias": torch.zeros(10**6)}
    write_run_checkpoint(_network(weights), tmp_path / "whole.ckpt", **bias)
    with zipfile.ZipFile(tmp_path / "whole.ckpt") as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content[:8] if len(content) == 4 * 10**6 else content)
    with pytest.raises(CheckpointError, match=r"best\.ckpt"):
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
def test_adapter_files_that_ask_for_too_much(weights: Path, tmp_path: Path, change: dict[str, Any], match: str) -> None:
    path = tmp_path / "adapter.safetensors"
    save_adapter(path, _network(weights))
    edit_header(path, lambda header: header["arguments"].update(change))
    for read in (load_detector, inspect_checkpoint):
        with pytest.raises(CheckpointError, match=match):
            read(path)


@pytest.mark.parametrize(
    "name",
    [
        "os.system", "auformer.models.network.AUNetwork", "auformer.models.auformer.nn", "auformer.cli.main", "",
        "auformer.models.checkpoints.load_detector", "auformer.models.absent.Net", "auformer.models.AUFormer",
        "auformer.models..auformer.AUFormer",
    ],
)  # fmt: skip
def test_only_networks_of_this_package_are_looked_up(name: str) -> None:
    with pytest.raises(CheckpointError, match="not one of auformer.models|only the base"):
        network_class(name, "file")


@pytest.mark.parametrize("name", ["linear_probe.LinearProbe", "lora.LoRA", "houlsby_adapter.HoulsbyAdapter"])
def test_adapter_files_of_earlier_builds_name_the_baselines_elsewhere(weights: Path, tmp_path: Path, name: str) -> None:
    kind = name.partition(".")[2]
    network, path = _network(weights, getattr(baselines, kind)), tmp_path / "adapter.safetensors"
    save_adapter(path, network)
    edit_header(path, lambda header: header.update(network=f"auformer.models.rivals.{name}"))
    _same(network, load_detector(path, backbone_checkpoint=weights))
    assert read_adapter_header(path)["network"] == f"auformer.models.baselines.{kind}"
