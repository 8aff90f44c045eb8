"""The shell scripts call what they say, with stand-ins for what they call; the README names every result."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "experiments"
needs_bash = pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="a script for bash")


def _stand_in(path: Path, text: str = 'printf "%s\\n" "$*"') -> Path:
    path.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def _call(script: str, folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    given = {**os.environ, "PATH": path, **environment}
    command = ["bash", str(FOLDER / script), *words]
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False, cwd=folder)


@needs_bash
def test_slurm_runs_one_training_on_all_gpus_and_a_benchmark_in_tasks_that_are_no_ranks(tmp_path: Path) -> None:
    _stand_in(tmp_path / "srun")
    tasks = {"SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2"}
    fit = _call("slurm/slurm.sh", tmp_path, "fit", "--config", "a.yaml", **tasks)
    options = "--trainer.accelerator gpu --trainer.devices 4 --trainer.num_nodes 2 --trainer.strategy ddp"
    assert fit.stdout == f"auformer fit --config a.yaml {options}\n"
    words = _call("slurm/slurm.sh", tmp_path, "benchmark", "suite", "s.yaml", **tasks).stdout.split()
    assert words[-4:] == ["auformer", "benchmark", "suite", "s.yaml"]
    unset = [words[i + 1] for i, word in enumerate(words) if word == "-u"]
    assert unset == ["SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"]
    other = _call("slurm/slurm.sh", tmp_path, "demo")
    assert (other.returncode, other.stdout) == (2, "")


@needs_bash
def test_the_job_array_gives_each_job_its_share(tmp_path: Path) -> None:
    _stand_in(tmp_path / "auformer")
    words, job = ("my videos", "runs/v", "--every", "2"), {"SLURM_ARRAY_TASK_ID": "3"}
    for count in ({"SLURM_ARRAY_TASK_COUNT": "8"}, {"SLURM_ARRAY_TASK_COUNT": "1", "SHARDS": "8"}):
        done = _call("slurm/slurm_predict.sh", tmp_path, *words, **job, **count)
        assert done.stdout == "predict my videos --out runs/v --shard 3/8 --every 2\n"
    assert _call("slurm/slurm_predict.sh", tmp_path, "videos").returncode == 2


@needs_bash
def test_the_ablations_on_a_gpu_run_both_suites(tmp_path: Path) -> None:
    _stand_in(tmp_path / "auformer")
    for words, tail in (([], "--jobs 8"), (["3", "--dry-run"], "--jobs 3 --dry-run")):
        called = _call("ablations/gpu_ablations.sh", tmp_path, *words).stdout.splitlines()
        suites = [f"experiments/suites/{name}.yaml" for name in ("ablations", "ablations-large")]
        assert called == [f"benchmark suite {suite} {tail}" for suite in suites]
        assert all((ROOT / suite).is_file() for suite in suites)


@needs_bash
@pytest.mark.parametrize("gpu", [True, False])
def test_the_speed_on_a_gpu(tmp_path: Path, gpu: bool) -> None:
    """Without a GPU nothing is measured."""
    log = tmp_path / "log"
    python = _stand_in(tmp_path / "python", f'printf "%s\\n" "$*" >> "{log}"\n[ "$1" != -c ] || exit {0 if gpu else 1}')
    done = _call("speed/gpu_speed.sh", tmp_path, "--rounds", "3", PYTHON=str(python))
    called = log.read_text(encoding="utf-8").splitlines()
    assert called[0].startswith("-c import") and done.returncode == (0 if gpu else 1)
    if gpu:
        assert called[1].startswith("-m pytest")
        assert called[2:] == ["-m experiments.speed.bench_speed --device cuda --rounds 3"]
        assert all((ROOT / word).exists() for word in called[1].split() if word.startswith("tests/"))
    else:
        assert len(called) == 1 and "Expected a GPU that torch can use" in done.stderr


def test_the_readme_names_every_result_and_scripts_that_are_there() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in (FOLDER / "results").iterdir():
        name = path.stem.split("_noise")[0].split("_parameters")[0] if path.suffix == ".png" else path.stem
        assert name in text, path
    modules = set(re.findall(r"python -m (experiments[\w.]+)", text))
    assert len(modules) > 15 and all(importlib.util.find_spec(name) for name in modules)


def test_no_script_or_page_names_a_place_that_is_gone() -> None:
    texts = [path for end in ("py", "sh", "md", "yaml") for path in FOLDER.rglob(f"*.{end}")]
    for path in texts:
        text = path.read_text(encoding="utf-8")
        for place in re.findall(r"experiments/[\w/.-]+\.(?:py|sh|yaml)", text):
            assert (ROOT / place).is_file(), f"{path}: {place}"
        for module in re.findall(r"python -m (experiments[\w.]+\w)", text):
            assert importlib.util.find_spec(module), f"{path}: {module}"
