"""Adapter files: what lies in them, what is refused, and that nothing is executed, allocated or changed meanwhile."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from auformer import __version__
from auformer.errors import CheckpointError
from auformer.models import AUFormer, FullFineTuning, LinearProbe, load_adapter, read_adapter_header, save_adapter
from tests.helpers import vits
from tests.helpers.runs import Payload, edit_header, write_vit
from tests.helpers.vits import images_for, moved, shaken, state_of

NAMES = ["AU1", "AU12"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frozen weights that two networks can share."""
    return write_vit(tmp_path_factory.mktemp("weights") / "vit.safetensors", "vit_tests_stem", seed=3)


def _network(weights: Path | None, kind: Any = AUFormer, seed: int = 1, **arguments: Any) -> Any:
    given = {"name": "stem", "au_names": NAMES, **arguments}
    return shaken(vits.network(kind=kind, checkpoint_path=weights, **given), seed=seed)


def test_the_header_says_everything(weights: Path, tmp_path: Path) -> None:
    network, path = _network(weights, window=5, dilations=(1, 2)), tmp_path / "deep" / "adapter.safetensors"
    thresholds = {"AU1": 0.25, "AU12": 0.75}
    said = {"thresholds": thresholds, "crop_recipe": "eyes", "training_data": {"images": 7}, "extra": {"seed": 3}}
    save_adapter(path, network, **said)
    assert read_adapter_header(path) == {
        "format_version": 1,
        "network": "auformer.models.auformer.AUFormer",
        "arguments": {
            "backbone": "vit_tests_stem", "au_names": NAMES, "img_size": [32, 32], "expert_width": 2,
            "dilations": [1, 2], "window": 5, "pool": "avg", "expert_heads": True, "average_heads": True,
            "experts_beside": "both", "carry": True, "shared_expert": False, "blocks": "all",
        },
        "au_names": NAMES,
        **said,
        "backbone": {
            "name": "vit_tests_stem", "tag": "random", "fingerprint": network.fingerprint, "pos_embed": [1, 5, 24]
        },
        "image_size": [32, 32],
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.25, 0.3],
        "package_version": __version__,
    }  # fmt: skip
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", [AUFormer, LinearProbe, FullFineTuning])
def test_round_trip(weights: Path, tmp_path: Path, kind: Any) -> None:
    source, target = _network(weights, kind), _network(weights, kind, seed=2)
    source.set_feature_statistics(torch.ones(24), torch.ones(24))
    save_adapter(tmp_path / "a.safetensors", source, thresholds={"AU1": 0.1, "AU12": 0.9}, crop_recipe="eyes")
    load_adapter(tmp_path / "a.safetensors", target)
    images = images_for(source)
    assert torch.equal(source.eval()(images), target.eval()(images)) and target.has_feature_statistics
    assert target.thresholds == {"AU1": 0.1, "AU12": 0.9} and target.crop_recipe == "eyes"
    assert target.metadata == read_adapter_header(tmp_path / "a.safetensors")
    save_adapter(tmp_path / "b.safetensors", target)  # what a file says is passed on
    assert read_adapter_header(tmp_path / "b.safetensors") == target.metadata


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_exact_tensors_are_in_the_file_in_float32(weights: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    source, path = _network(weights), tmp_path / "a.safetensors"
    state = {name: tensor.clone() for name, tensor in source.adapter_state_dict().items()}
    save_adapter(path, source.to(dtype))
    stored = load_file(path)
    assert stored.keys() == state.keys() and not any(name.startswith("backbone") for name in stored)
    assert {one.dtype for name, one in stored.items() if name != "head.standardise.measured"} == {torch.float32}
    assert all(torch.allclose(tensor.float(), state[name].float(), rtol=1e-2) for name, tensor in stored.items())
    target = _network(weights, seed=2, img_size=(48, 64)).to(dtype)  # the image size may differ
    load_adapter(path, target)
    assert all(torch.equal(one, stored[name].to(one.dtype)) for name, one in target.adapter_state_dict().items())
    assert target.head.fc1.weight.dtype == dtype


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"au_names": ["AU1", "AU4"]}, "action units AU1, AU4, but got AU1, AU12"),
        ({"au_names": ["AU12", "AU1"]}, "action units"),
        ({"au_names": ["AU1"]}, "action units"),
        ({"name": "token", "checkpoint_path": None}, "backbone 'vit_tests_token', but got 'vit_tests_stem'"),
        ({"checkpoint_path": None}, r"other frozen weights of vit_tests_stem.*checkpoint_path=.*backbone_checkpoint="),
        ({"window": 5}, "`window` 5, but got 3"),
        ({"dilations": (1, 2, 3)}, "`dilations`"),
        ({"expert_width": 3}, "`expert_width` 3, but got 2"),
        ({"pool": "token"}, "`pool`"),
        ({"expert_heads": False}, "`expert_heads`"),
    ],
)
def test_a_file_of_something_else_is_refused(
    weights: Path, tmp_path: Path, arguments: dict[str, Any], match: str
) -> None:
    save_adapter(tmp_path / "a.safetensors", _network(weights))
    target = _network(arguments.pop("checkpoint_path", weights), seed=2, **arguments)
    before = state_of(target)
    with pytest.raises(CheckpointError, match=match):
        load_adapter(tmp_path / "a.safetensors", target)
    assert not moved(target, before) and target.metadata == {}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda state: state.pop("groups.1.up.bias"), r"missing keys groups\.1\.up\.bias"),
        (lambda state: state.clear() or state.update(x=torch.zeros(1)), r"and [0-9]+ more"),
        (lambda state: state.update({"groups.4.up.bias": torch.zeros(48)}), r"unexpected keys groups\.4\.up\.bias"),
        (lambda state: state.update({"expert_heads.bias": torch.zeros(3)}), r"`expert_heads\.bias`.*\(2,\).*\(3,\)"),
        (lambda state: state.update({"expert_heads.bias": torch.zeros(2).half()}), "float32.*another type"),
        (lambda state: state.update({"expert_heads.bias": torch.zeros(2).double()}), "float32.*another type"),
        (lambda state: state.update({"expert_heads.bias": torch.zeros(2, dtype=torch.int64)}), "float32.*int64"),
        (lambda state: state.update({"head.standardise.measured": torch.zeros(())}), "bool.*float32"),
    ],
)
def test_other_tensors_are_refused_and_change_nothing(weights: Path, tmp_path: Path, change: Any, match: str) -> None:
    path, network = tmp_path / "a.safetensors", _network(weights)
    save_adapter(path, network)
    metadata, state = safe_open(path, "pt").metadata(), load_file(path)
    change(state)
    save_file(state, path, metadata=metadata)
    target = _network(weights, seed=2)
    before = state_of(target)
    with pytest.raises(CheckpointError, match=match):
        load_adapter(path, target)
    assert not moved(target, before)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda h: h.update(format_version=2), "format 2, and this version"),
        (lambda h: h.pop("format_version"), "format None"),
        (lambda h: h.update(network=7), "`network`.*str"),
        (lambda h: h.pop("arguments"), "`arguments`.*dict"),
        (lambda h: h.update(au_names=["AU1", "AU99"]), "AU99"),
        (lambda h: h.update(au_names=["AU1", "AU01"]), "AU1"),
        (lambda h: h["arguments"].update(au_names=["AU1"]), "au_names"),
        (lambda h: h["thresholds"].pop("AU1"), "thresholds"),
        (lambda h: h["thresholds"].update(AU1="high"), "threshold of AU1"),
        (lambda h: h["thresholds"].update(AU1=float("nan")), "NaN|threshold of AU1"),
        (lambda h: h["backbone"].pop("fingerprint"), "fingerprint"),
        (lambda h: h.update(mean="bright"), "`mean`"),
    ],
)
def test_a_header_with_a_fault_is_refused(weights: Path, tmp_path: Path, change: Any, match: str) -> None:
    save_adapter(tmp_path / "a.safetensors", _network(weights))
    edit_header(tmp_path / "a.safetensors", change)
    with pytest.raises(CheckpointError, match=match):
        read_adapter_header(tmp_path / "a.safetensors")


def test_damaged_and_hostile_files_are_refused(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good, network = tmp_path / "good.safetensors", _network(weights)
    save_adapter(good, network)
    whole = good.read_bytes()
    huge = json.dumps({"x": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}).encode()
    bad = {
        "cut_in_data": whole[:-7], "cut_in_header": whole[:40], "longer": whole + b"0", "empty": b"",
        "text": b"not a checkpoint", "pickle": pickle.dumps(Payload()),
        "header_length": struct.pack("<Q", 2**40) + whole[8:], "billion": struct.pack("<Q", len(huge)) + huge,
    }  # fmt: skip
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        for read in (read_adapter_header, lambda path: load_adapter(path, network)):
            with pytest.raises(CheckpointError, match=name):
                read(tmp_path / name)
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "deep.safetensors", metadata={"auformer": "[" * 100_000})
    for name, match in (("foreign", "no key `auformer`"), ("deep", "damaged"), ("absent", "does not exist")):
        with pytest.raises(CheckpointError, match=match):
            read_adapter_header(tmp_path / f"{name}.safetensors")
    assert not (tmp_path / "executed").exists()


def test_writing_is_atomic_and_bad_thresholds_write_nothing(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, network = tmp_path / "a.safetensors", _network(weights)
    for wrong in ({}, {"AU12": 1.5}, {"AU12": True}, {"AU12": 0.5, "AU4": 0.5}):
        with pytest.raises(ValueError, match="threshold"):
            save_adapter(path, network, thresholds={"AU1": 0.5, **wrong})
    with pytest.raises(ValueError, match="JSON"):
        save_adapter(path, network, extra={"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []
    save_adapter(path, network)
    before = path.read_bytes()

    def fail(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        save_adapter(path, network)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="permissions of this kind exist on POSIX systems only")
def test_the_file_has_the_permissions_of_any_other(weights: Path, tmp_path: Path) -> None:
    save_adapter(tmp_path / "a.safetensors", _network(weights))
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode
