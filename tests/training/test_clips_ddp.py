"""Two processes (gloo, on the CPU) train on clips together and score as one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from auformer.cli import main
from tests.helpers.clips import CLIP, tiny_clips
from tests.helpers.runs import write_vit

ROOT = Path(__file__).resolve().parents[2]
VIT = "test_vit"  # of timm itself: a second process knows no models of the tests


@pytest.mark.slow
def test_two_processes_score_what_one_scores(tmp_path: Path) -> None:
    tiny_clips(tmp_path / "data", subjects=4)
    tiny_clips(tmp_path / "val", subjects=3, first_subject=50, seed=1)  # nine windows: five and four
    write_vit(tmp_path / "vit.safetensors", VIT)
    given = {
        "data.train": tmp_path / "data" / "manifest.csv", "data.val": tmp_path / "val" / "manifest.csv",
        "data.test": "null", "data.au_names": "AU1,AU4,AU12", "data.image_size": 32, "data.batch_size": 2,
        "data.clip_length": CLIP, "data.augment": "none", "trainer.max_epochs": 1, "trainer.accelerator": "cpu",
        "model.network.backbone": VIT, "model.network.pretrained": "false", "model.network.img_size": 32,
        "model.network.checkpoint_path": tmp_path / "vit.safetensors", "model.network.clip_length": CLIP,
        "model.network.dim": 8, "trainer.enable_progress_bar": "false", "out": tmp_path / "run",
    }  # fmt: skip
    config = ROOT / "experiments" / "configs" / "temporal" / "synthetic_vit_mdhr.yaml"
    words = ["--config", str(config), *(word for name, value in given.items() for word in (f"--{name}", str(value)))]
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    done = subprocess.run(
        [sys.executable, "-m", "auformer", "fit", *words, *two], cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert main(["validate", *words]) == 0
    together, alone = (pd.read_csv(tmp_path / "run" / f"{name}.csv").iloc[0] for name in ("metrics", "validate"))
    figures = [name for name in alone.index if name.startswith("val/")]
    assert len(figures) >= 6
    assert together[figures].to_numpy(float) == pytest.approx(alone[figures].to_numpy(float), rel=1e-5, abs=1e-7)
