"""The scripts around `auformer predict` run, and give what they say they do."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from auformer.predict.predictor import AUPredictor
from auformer.report.timeline import intensity_curves
from tests.helpers.figures import cut_texts, texts

FOLDER = Path(__file__).resolve().parents[2] / "experiments"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_probability_and_intensity(tmp_path, capsys):
    result = load("probability_intensity").main(["--identities", "1", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "probability_intensity.json").read_text()) == result
    assert (tmp_path / "probability_intensity.png").stat().st_size > 20_000
    rises = [values[-1] - values[0] for values in result["mean_probability"].values()]
    assert len(rises) == 17 and np.mean(rises) > 0.4  # an AU that is shown is seen


def test_the_figure_says_what_it_shows():
    figure = intensity_curves(
        np.arange(6.0), {"AU12": np.ones((3, 6)) * 0.5, "AU1": np.zeros((3, 6))}, {"AU1": 0.5, "AU12": 0.4}, title="x"
    )
    assert {"AU12 Lip corner puller", "True intensity (0 to 5)", "x"} <= set(texts(figure)) and cut_texts(figure) == []
    with pytest.raises(ValueError, match=r"\(n, 6\)"):
        intensity_curves(np.arange(6.0), {"AU1": np.zeros((3, 5))}, {"AU1": 0.5})


def test_the_bench_of_speed(tmp_path, monkeypatch):
    bench = load("bench_predict")
    bench.write_clip(tmp_path / "clip.mp4", 3)
    found = bench.run(AUPredictor.from_checkpoint("demo", detect_every=3), tmp_path / "clip.mp4")
    assert (
        found["frames"] == 3
        and found["faces"] == 3
        and found["fps"] > 0
        and set(found["stage_seconds"]) == {"read", "detect", "follow", "network"}
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_job_array_gives_each_job_its_part(tmp_path):
    fake = tmp_path / "auformer"
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8"}
    words = ["bash", str(FOLDER / "slurm_predict.sh"), "my videos", "runs/v", "--every", "2"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "predict my videos --out runs/v --shard 3/8 --every 2\n"
    again = subprocess.run(
        words,
        env={**environment, "SLURM_ARRAY_TASK_COUNT": "1", "SHARDS": "8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout == done.stdout
    assert subprocess.run(words[:3], env=environment, capture_output=True, check=False).returncode == 2
