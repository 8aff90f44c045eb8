"""Configurations of `auformer fit` for programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from auformer.training.config import merged_config, resolve_config

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments" / "configs"


def test_defaults_are_filled_in_and_paths_stay_out_of_the_plain_form() -> None:
    content = merged_config(EXPERIMENTS / "synthetic_linear_probe.yaml")
    content["model"]["init_args"]["network"]["init_args"]["checkpoint_path"] = "mine/vit.safetensors"
    config = resolve_config(content)
    network, data = config.network, config.data
    assert network["class_path"] == "auformer.models.baselines.LinearProbe" and config.weights == "mine/vit.safetensors"
    assert (config.model["lr"], network["init_args"]["img_size"]) == (0.01, 112)
    assert (data["val_fraction"], data["image_size"]) == (0.2, 112)
    assert config.fit == {
        "epochs": 20, "gradient_clip": 1.0, "precision": "32-true", "validate_every": 1,
        "patience": None, "select": "best",
    }  # fmt: skip
    plain = config.plain()
    assert plain["model"]["init_args"]["network"]["init_args"]["checkpoint_path"] == "vit.safetensors"
    assert "mine" not in str(plain)
    assert "train" not in plain["data"] and "num_workers" not in plain["data"]


def test_numbers_as_yaml_reads_them() -> None:
    assert resolve_config({"model": {"init_args": {"lr": "1e-3"}}}).model["lr"] == 0.001
    assert resolve_config({}).class_path == "auformer.training.module.AUModule"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"trainer": {"devices": 2}}, "trainer.devices"),
        ({"model": {"init_args": {"lrr": 1}}}, "lrr"),
        ({"model": {"init_args": {"lr": "fast"}}}, "fast"),
        ({"model": {"class_path": "json.JSONDecoder"}}, "json.JSONDecoder"),
        ({"model": {"init_args": {"network": {"class_path": "os.system"}}}}, "network"),
        ({"model": {"init_args": {"network": {"init_args": {"rank": 4}}}}}, "rank"),
        ({"data": {"fold": "P1"}}, "leaves the splits to the protocol, but it sets data.fold"),
        ({"data": {"val": "x.csv"}}, "data.val"),
        ({"select": "first"}, "select"),
        ({"ckpt_path": "x"}, "ckpt_path"),
    ],
)
def test_what_a_protocol_cannot_run(content: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_config(content)


def test_merged_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("data: {image_size: 32, batch_size: 4}\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("base: a.yaml\ndata: {batch_size: 8}\n", encoding="utf-8")
    assert merged_config(tmp_path / "b.yaml") == {"data": {"image_size": 32, "batch_size": 8}}
    (tmp_path / "c.yaml").write_text("- 1\n", encoding="utf-8")
    for wrong, message in (("c.yaml", "mapping"), ("d.yaml", "cannot be read")):
        with pytest.raises(ValueError, match=message):
            merged_config(tmp_path / wrong)
