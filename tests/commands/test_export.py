"""`auformer export`, and `auformer evaluate` with the file that it writes."""

from __future__ import annotations

import pytest
import torch

import auformer.models
from auformer.cli import main
from auformer.commands.export import PARITY_INT8
from auformer.data.manifest import read_predictions
from auformer.models import OnnxDetector
from tests.helpers.photos import AUS, write_detector
from tests.helpers.predictions import write_faces_manifest

pytestmark = pytest.mark.slow  # exports to ONNX


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An adapter file, the frozen weights beside it, and the same exported."""
    folder = tmp_path_factory.mktemp("export")
    write_detector(folder)
    assert export(folder, "a.onnx") == 0
    return folder


def export(folder, name, *words):
    where = ["--out", str(folder / name), "--backbone-checkpoint", str(folder / "backbone.safetensors")]
    return main(["export", str(folder / "adapter.safetensors"), *where, *words])


def test_evaluate_gives_the_same_with_the_exported_file(folder, tmp_path):
    recipe = {"crop_recipe": "eyes", "image_size": [32, 32]}
    manifest = write_faces_manifest(tmp_path / "data", au_names=AUS, size=(32, 32), **recipe)
    frozen, tables = ["--backbone-checkpoint", str(folder / "backbone.safetensors")], []
    for name, words in (("adapter.safetensors", frozen), ("a.onnx", [])):
        out = tmp_path / f"{name}.csv"
        assert main(["evaluate", str(folder / name), str(manifest), "--out", str(out), "--device", "cpu", *words]) == 0
        tables.append(read_predictions(out))
    for au in AUS:
        assert (tables[0][f"{au}_prob"] - tables[1][f"{au}_prob"]).abs().max() < 1e-4
    side = tables[1].attrs["side"]
    assert side["adapter"]["file"] == "a.onnx" and side["crop_recipe"] == "eyes"


def test_info_describes_the_exported_file(folder, capsys):
    said = []
    for name in ("adapter.safetensors", "a.onnx"):
        assert main(["info", str(folder / name)]) == 0
        said.append([line for line in capsys.readouterr().out.splitlines() if line.split()[:1] != ["file"]][1:])
    assert said[0] == said[1]


def test_it_says_what_it_wrote(folder, capsys):
    assert export(folder, "a.pt2", "--format", "torch") == 0
    out = capsys.readouterr().out
    for words in ("3 action units", "(batch, 3, 32, 32)", "crop recipe eyes", "checked"):
        assert words in out


def test_in_8_bits(folder, capsys):
    """A smaller file that `evaluate` takes, whose probabilities are near, and not the same."""
    assert export(folder, "small.onnx", "--int8") == 0
    assert f"to within {PARITY_INT8:g} (largest difference" in capsys.readouterr().out
    networks = [OnnxDetector(folder / name) for name in ("a.onnx", "small.onnx")]
    assert [network.metadata["exported"]["int8"] for network in networks] == [False, True]
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain, small = (network.predict_probs(images) for network in networks)
    assert 1e-5 < (plain - small).abs().max() < PARITY_INT8
    assert export(folder, "b.pt2", "--format", "torch", "--int8") == 1
    assert "Expected `--int8` with the format onnx only" in capsys.readouterr().err and not (folder / "b.pt2").exists()


def test_nothing_is_replaced_or_left_half_written(folder, capsys, monkeypatch):
    (folder / "b.pt2").write_bytes(b"before")
    assert export(folder, "b.pt2", "--format", "torch") == 1 and "add --overwrite" in capsys.readouterr().err
    assert export(folder, "b.txt") == 1 and "a file that ends in .onnx" in capsys.readouterr().err
    assert export(folder, ".") == 1 and "but got the folder" in capsys.readouterr().err
    real = auformer.models.export_detector

    def damaged(network, *args, **options):
        """Exports other weights than the network has."""
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(1.0)
            real(network, *args, **options)
            for parameter in network.parameters():
                parameter.sub_(1.0)

    monkeypatch.setattr(auformer.models, "export_detector", damaged)
    assert export(folder, "b.pt2", "--format", "torch", "--overwrite") == 1
    assert "but they differ by" in capsys.readouterr().err
    assert (folder / "b.pt2").read_bytes() == b"before"
    assert {path.suffix for path in folder.iterdir()} <= {".onnx", ".pt2", ".safetensors"}
