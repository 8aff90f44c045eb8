"""The SLURM script calls what it says, with a stand-in for `srun`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "slurm.sh"
pytestmark = pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="a script for bash")


def called(folder: Path, *words: str) -> tuple[int, list[str]]:
    """Exit code and the words that reach `srun`."""
    stand_in = folder / "srun"
    stand_in.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    stand_in.chmod(0o755)
    given = {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "SLURM_NTASKS_PER_NODE": "4",
        "SLURM_NNODES": "2",
    }
    done = subprocess.run(["bash", str(SCRIPT), *words], env=given, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def test_one_training_on_all_gpus(tmp_path: Path) -> None:
    code, words = called(tmp_path, "fit", "--config", "a file.yaml")
    assert code == 0 and words[:4] == ["auformer", "fit", "--config", "a file.yaml"]
    options = "--trainer.accelerator gpu --trainer.devices 4 --trainer.num_nodes 2 --trainer.strategy ddp"
    assert " ".join(words[4:]) == options


def test_tasks_of_a_benchmark_are_not_ranks(tmp_path: Path) -> None:
    code, words = called(tmp_path, "benchmark", "suite", "s.yaml")
    assert code == 0 and words[-4:] == ["auformer", "benchmark", "suite", "s.yaml"]
    assert [words[i + 1] for i, word in enumerate(words) if word == "-u"] == [
        "SLURM_NTASKS",
        "SLURM_PROCID",
        "SLURM_LOCALID",
    ]


def test_other_words_are_refused(tmp_path: Path) -> None:
    assert called(tmp_path, "demo") == (2, [])
