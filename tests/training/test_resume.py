"""A run that is killed goes on to the weights, to the bit, of a run that was left alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from auformer.cli import main
from tests.helpers.runs import cli_words, write_workspace

ROOT = Path(__file__).resolve().parents[2]

# `auformer WORDS`, but the process kills itself in the second batch of the third epoch
KILLED = """
import json, os, signal, sys
import tests.helpers.vits
from auformer.cli import main
from auformer.training.module import AUModule
step = AUModule.training_step
def deadly(self, batch, batch_idx):
    if (self.current_epoch, batch_idx) == (2, 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)
AUModule.training_step = deadly
sys.exit(main(json.loads(sys.argv[1])))
"""


@pytest.mark.kill
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    folder, config = write_workspace(tmp_path), ROOT / "experiments" / "configs" / "synthetic.yaml"
    options = {"trainer__max_epochs": 4, "data__augment": "default", "patience": 3, "tune": "true"}
    killed = ["fit", *cli_words(folder, config, "killed", **options)]
    line = [sys.executable, "-c", KILLED, json.dumps(killed)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = torch.load(folder / "killed" / "last.ckpt", weights_only=True)
    assert before["epoch"] == 1 and not (folder / "killed" / "summary.json").exists()
    # with another number of workers and in another process it is still the same run; another learning rate is not
    assert main([*killed, "--model.lr", "1e-3"]) == 1
    assert main([*killed, "--data.num_workers", "1"]) == 0
    assert main(["fit", *cli_words(folder, config, "whole", **options)]) == 0
    states = [torch.load(folder / name / "last.ckpt", weights_only=True) for name in ("killed", "whole")]
    assert states[0]["epoch"] == states[1]["epoch"] == 3
    assert all(torch.equal(states[0]["state_dict"][name], tensor) for name, tensor in states[1]["state_dict"].items())
    assert any(not torch.equal(before["state_dict"][name], tensor) for name, tensor in states[1]["state_dict"].items())
    moments = [[one["exp_avg_sq"] for one in state["optimizer_states"][0]["state"].values()] for state in states]
    assert all(torch.equal(left, right) for left, right in zip(*moments, strict=True))
    adapters = [(folder / name / "adapter.safetensors").read_bytes() for name in ("killed", "whole")]
    assert adapters[0] == adapters[1]
    tables = [pd.read_csv(folder / name / "metrics.csv") for name in ("killed", "whole")]
    pd.testing.assert_frame_equal(*tables)
