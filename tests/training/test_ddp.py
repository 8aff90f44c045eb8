"""Two processes (gloo, on the CPU) train together and score as one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from auformer.cli import main
from auformer.models.heads import STD_FLOOR
from auformer.training.module import measure_features
from tests.helpers.runs import cli_words, make_data, make_module, write_workspace

ROOT = Path(__file__).resolve().parents[2]
VIT = "test_vit"  # of timm itself: a second process knows no models of the tests


@pytest.mark.slow
def test_two_processes_score_what_one_scores_on_the_same_predictions(tmp_path: Path) -> None:
    folder = write_workspace(tmp_path, VIT)
    config = ROOT / "experiments" / "configs" / "synthetic.yaml"

    def run_two(command: str, words: list[str]) -> None:
        two = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
        line = [sys.executable, "-m", "auformer", command, *words, *two]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
        assert done.returncode == 0, done.stderr

    # 15 rows of validation: 8 for one rank, 7 for the other
    options = {"trainer__max_epochs": 1, "data__val": folder / "test" / "manifest.csv", "data__test": "null"}
    words = cli_words(folder, config, "run", model__network__backbone=VIT, **options)
    run_two("fit", words)
    checkpoint = torch.load(folder / "run" / "best.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3  # 36 rows, 18 a rank, batches of 8
    assert main(["validate", *words]) == 0
    together, alone = (pd.read_csv(folder / "run" / f"{name}.csv").iloc[0] for name in ("metrics", "validate"))
    figures = [name for name in alone.index if name.startswith("val/")]
    assert len(figures) >= 11
    assert together[figures].to_numpy(float) == pytest.approx(alone[figures].to_numpy(float), rel=1e-5, abs=1e-7)
    # the same 15 rows, now as test split, and the same weights of the AUs
    run_two("test", cli_words(folder, config, "run", model__network__backbone=VIT, data__val_fraction=0))
    tested = pd.read_csv(folder / "run" / "test.csv").iloc[0]  # a row scored twice would move some of the figures
    again = tested[[name.replace("val/", "test/") for name in figures]].to_numpy(float)
    assert again == pytest.approx(alone[figures].to_numpy(float), rel=1e-5, abs=1e-7)
    network = make_module(folder, backbone=VIT).network
    mean, std = measure_features(network, make_data(folder, val_fraction=0).statistics_dataloader())
    found = {name: checkpoint["state_dict"][f"network.head.standardise.{name}"] for name in ("mean", "std")}
    torch.testing.assert_close(found, {"mean": mean, "std": std + STD_FLOOR})
