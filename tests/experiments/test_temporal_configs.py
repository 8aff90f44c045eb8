"""Every configuration in `experiments/configs/temporal` trains in a reduced form through `auformer fit`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from auformer.cli import main
from auformer.models import read_adapter_header
from auformer.training.config import merged_config, resolve_config
from tests.helpers.clips import CLIP, tiny_clips
from tests.helpers.runs import VIT, write_vit

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "configs" / "temporal"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
NETWORKS = {
    "mdhr_bp4d": "MDHR", "mdhr_disfa": "MDHR", "mdhr_released": "MDHR", "vit_mdhr_bp4d": "ViTMDHR",
    "synthetic_vit_mdhr": "ViTMDHR", "synthetic_in_time": "AUFormerInTime", "aunce_bp4d": "AUNCE",
    "aunce_bp4d_probe": "AUNCE", "bp4d_in_time": "AUFormerInTime", "casme2_in_time": "AUFormerInTime",
    "casme2_vit_mdhr": "ViTMDHR",
}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("temporal")
    tiny_clips(folder / "data")
    tiny_clips(folder / "test", subjects=2, first_subject=50, seed=1)
    write_vit(folder / "vit.safetensors")
    return folder


def words(workspace: Path, name: str) -> list[str]:
    """Options that shrink a configuration."""
    config = merged_config(FOLDER / f"{name}.yaml")
    class_path = config["model"]["init_args"]["network"]["class_path"]
    network: dict[str, Any] = {"pretrained": "false", "img_size": 32}
    if "clip_length" in config["model"]["init_args"]["network"]["init_args"]:
        network |= {"clip_length": CLIP}
    if class_path.endswith((".MDHR", ".AUNCE")):
        network |= {"backbone": "resnet10t"}
    else:
        network |= {"backbone": VIT, "checkpoint_path": workspace / "vit.safetensors", "dim": 8}
    given: dict[str, Any] = {f"model.network.{key}": value for key, value in network.items()}
    given |= {"data.train": workspace / "data" / "manifest.csv", "data.test": workspace / "test" / "manifest.csv"}
    given |= {"data.au_names": "AU1,AU4,AU12", "data.image_size": 32, "data.batch_size": 4, "data.num_workers": 0}
    given |= {"data.clip_length": CLIP} if "clip_length" in config["data"] else {}
    given |= {"trainer.max_epochs": 1, "trainer.check_val_every_n_epoch": 1, "trainer.accelerator": "cpu"}
    given |= {"trainer.precision": "32-true", "trainer.enable_progress_bar": "false", "out": workspace / name}
    given |= {"model.start": workspace / "aunce_bp4d"} if name.endswith("probe") else {}
    return ["--config", str(FOLDER / f"{name}.yaml"), *(w for k, v in given.items() for w in (f"--{k}", str(v)))]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_configuration_trains(workspace: Path, name: str) -> None:
    assert sorted(NETWORKS) == [path.stem for path in CONFIGS]
    assert main(["fit", *words(workspace, name)]) == 0
    header = read_adapter_header(workspace / name / "adapter.safetensors")
    assert header["network"].rpartition(".")[2] == NETWORKS[name]
    kept = yaml.safe_load((workspace / name / "config.yaml").read_text(encoding="utf-8"))["model"]["init_args"]
    assert kept["lr"] == merged_config(FOLDER / f"{name}.yaml")["model"]["init_args"]["lr"]


@pytest.mark.parametrize("name", ["vit_mdhr_bp4d", "aunce_bp4d"])
def test_a_run_is_scored_and_said(workspace: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if not (workspace / name).is_dir():
        assert main(["fit", *words(workspace, name)]) == 0
    assert main(["test", *words(workspace, name)]) == 0
    assert (workspace / name / "test.csv").is_file()
    assert main(["info", str(workspace / name / "adapter.safetensors")]) == 0
    said = capsys.readouterr().out
    assert NETWORKS[name] in said and (f"clip_length={CLIP}" in said) == name.startswith("vit")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_benchmarks_take_it_and_every_value_has_its_source(config: Path) -> None:
    content = merged_config(config)
    content["data"] = {key: value for key, value in content["data"].items() if key not in ("train", "test")}
    resolve_config(content)
    lines = [
        line for line in config.read_text(encoding="utf-8").splitlines() if re.match(r" +[a-z_0-9]+: *[^ #{]", line)
    ]
    named = r"class_path|train:|test:|pretrained|deterministic"
    assert [line for line in lines if "#" not in line and not re.search(named, line)] == []
