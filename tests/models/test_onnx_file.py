"""The packaged AU detector as ONNX: its adapter file's own numbers, and no torch to get them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from auformer.models import load_detector
from auformer.models.onnx_file import DEMO, MADE_FROM, open_demo, usual_threads

AGAIN = "made from another adapter file: run `python -m experiments.pretraining.export_demo_detector`"


def test_both_files_give_the_same_numbers():
    detector = open_demo(threads=1)
    assert detector is not None, f"{DEMO} is {AGAIN}"
    network = load_detector("demo")
    assert detector.au_names == tuple(network.au_names) and detector.thresholds == network.thresholds
    assert detector.intensity_aus == tuple(network.intensity_aus) and detector.crop_recipe == network.crop_recipe
    images = np.random.default_rng(0).random((3, 3, *network.image_size), np.float32)
    found = detector.outputs(images)
    with torch.inference_mode():
        wanted = network.outputs(torch.from_numpy(images))
    assert set(found) == {"probs", "intensity"}
    for name, values in found.items():
        assert isinstance(values, np.ndarray) and np.abs(values - wanted[name].numpy()).max() < 1e-5
    assert torch.equal(detector.predict_probs(torch.from_numpy(images)), torch.from_numpy(found["probs"]))


def test_a_file_that_was_made_from_another_adapter_file_is_not_used(tmp_path, monkeypatch):
    (tmp_path / "demo.onnx").write_bytes(DEMO.read_bytes())
    beside = json.loads(DEMO.with_suffix(".json").read_text(encoding="utf-8"))
    (tmp_path / "demo.json").write_text(json.dumps(beside | {MADE_FROM: "0" * 64}), encoding="utf-8")
    monkeypatch.setattr("auformer.models.onnx_file.DEMO", tmp_path / "demo.onnx")
    assert open_demo() is None
    monkeypatch.setattr("auformer.models.onnx_file.DEMO", tmp_path / "none.onnx")
    assert open_demo() is None


@pytest.mark.parametrize(("told", "threads"), [("3", 3), ("0", 1)])
def test_threads_are_those_that_the_environment_names(monkeypatch, told, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    monkeypatch.delitem(sys.modules, "torch")
    assert usual_threads() == threads


def test_a_prediction_imports_none_of_the_heavy_packages(tmp_path):
    """Of a photo, with its figure and its table."""
    code = (
        "import sys, numpy as np\n"
        "from auformer.cli import main\n"
        "from auformer.data.images import write_image\n"
        "from auformer.synthetic import AU_NAMES, Identity, Renderer\n"
        "renderer = Renderer(128)\n"
        "face = renderer.render(renderer.bake(Identity.sample(30_001)), np.zeros(len(AU_NAMES))).image\n"
        "write_image('a.png', face)\n"
        "assert main(['predict', 'a.png', '--out', 'out', '--device', 'cpu']) == 0\n"
        "heavy = ('torch', 'timm', 'pytorch_lightning', 'albumentations', 'sklearn', 'matplotlib', 'scipy')\n"
        "print('heavy:', [name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a_aus.png", "predictions.csv", "predictions.json"}
