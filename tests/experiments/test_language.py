"""Configurations and suite of the networks that speak: each trains in a reduced form and builds what its name says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from auformer.benchmark.protocols import DataSet
from auformer.benchmark.suite import read_suite
from auformer.cli import main
from auformer.models import load_detector
from auformer.models.language.aullava import AULLaVA
from auformer.models.language.vlfau import VLFAU
from auformer.training.config import resolve_config
from tests.helpers.runs import AUS, VIT, cli_words, write_workspace

pytest.importorskip("transformers")
EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
CONFIGS = EXPERIMENTS / "configs" / "language"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_workspace(tmp_path_factory.mktemp("language"))
    for name in ("data", "test"):
        path = folder / name / "manifest.csv"
        frame = pd.read_csv(path)
        frame.assign(**{f"{au}_intensity": frame[au] * (1 + frame["frame"] % 5) for au in AUS}).to_csv(
            path, index=False
        )
    return folder


@pytest.mark.parametrize(
    ("name", "kind", "more"),
    [
        ("vlfau", VLFAU, {"model__network__expert_width": 2, "model__network__branch_width": 8}),
        ("aullava_tiny", AULLaVA, {}),
        ("aullava_7b", AULLaVA,
         {"model__network__lm": "tiny", "model__network__lm_lora": 0, "model__network__lm_bits": 32}),
    ],
)  # fmt: skip
def test_every_configuration_trains(name: str, kind: Any, more: dict[str, Any], workspace: Path) -> None:
    """The 7B configuration with the small model in the place of its language model."""
    small = {"trainer__max_epochs": 1, "trainer__check_val_every_n_epoch": 1, "trainer__precision": "32-true"}
    words = cli_words(workspace, CONFIGS / f"{name}.yaml", name, data__au_names="AU1,AU4,AU12", **small, **more)
    assert main(["fit", *words]) == 0
    network: Any = load_detector(
        workspace / name / "adapter.safetensors", backbone_checkpoint=workspace / "vit.safetensors"
    )
    assert type(network) is kind
    assert main(["test", *words]) == 0
    out = workspace / f"{name}.csv"
    given = ["--backbone-checkpoint", str(workspace / "vit.safetensors"), "--device", "cpu", "--out", str(out)]
    manifest = str(workspace / "test" / "manifest.csv")
    assert main(["evaluate", str(workspace / name / "adapter.safetensors"), manifest, *given]) == 0
    columns = set(pd.read_csv(out).columns)
    assert {"AU12_prob", "AU12_active"} <= columns
    assert ("AU12_intensity_pred" in columns) == (name == "aullava_tiny")
    assert json.loads(out.with_suffix(".json").read_text())["config"]["network"].endswith(kind.__name__)


def test_the_suite_builds_its_methods() -> None:
    suite = read_suite(EXPERIMENTS / "suites" / "language.yaml")
    sets = {name: DataSet(name, one.manifest, None, one.synth is not None) for name, one in suite.data.items()}
    runs = suite.runs(sets)
    assert len(runs) == 4 * 3
    kinds = {"vlfau": "VLFAU", "aullava": "AULLaVA", "auformer": "AUFormer", "linear_probe": "LinearProbe"}
    tiny = {"backbone": VIT, "pretrained": False, "checkpoint_path": None, "img_size": 32}
    data: Any = SimpleNamespace(au_names=["AU1", "AU4"], au_weights=[1.0, 1.0])
    for method, kind in kinds.items():
        config = resolve_config(suite.config_of(method, runs[0].name))
        network = {**config.network, "init_args": {**config.network["init_args"], **tiny}}
        assert type(replace(config, network=network).build(data).network).__name__ == kind
