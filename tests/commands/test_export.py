"""`auformer export`, and `auformer evaluate` with what it wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import auformer.commands.export as command
from auformer.cli import main
from auformer.data.manifest import read_predictions
from auformer.models import AUFormer, OnnxDetector, save_adapter
from tests.helpers import vits
from tests.helpers.predictions import write_faces_manifest

AUS = ("AU1", "AU12")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter file, the frozen weights beside it, and the same exported."""
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    network = AUFormer(f"vit_tests_{vits.FIT[0]}", AUS, expert_width=2)
    with torch.no_grad():
        network.groups[0].up.weight.normal_(std=0.5)
        network.head.fc2.weight.normal_()
    save_file(network.backbone.state_dict(), folder / "backbone.safetensors")
    save_adapter(folder / "adapter.safetensors", network, crop_recipe="eyes")
    assert _export(folder, "a.onnx") == 0
    return folder


def _export(folder: Path, name: str, *words: str) -> int:
    where = ["--out", str(folder / name), "--backbone-checkpoint", str(folder / "backbone.safetensors")]
    return main(["export", str(folder / "adapter.safetensors"), *where, *words])


def test_evaluate_gives_the_same_with_the_exported_file(folder: Path, tmp_path: Path) -> None:
    manifest = write_faces_manifest(
        tmp_path / "data", au_names=AUS, size=(32, 32), crop_recipe="eyes", image_size=[32, 32]
    )
    tables = []
    for name, words in (
        ("adapter.safetensors", ["--backbone-checkpoint", str(folder / "backbone.safetensors")]),
        ("a.onnx", []),
    ):
        out = tmp_path / f"{name}.csv"
        assert main(["evaluate", str(folder / name), str(manifest), "--out", str(out), "--device", "cpu", *words]) == 0
        tables.append(read_predictions(out))
    for au in AUS:
        assert (tables[0][f"{au}_prob"] - tables[1][f"{au}_prob"]).abs().max() < 1e-4
    assert tables[1].attrs["side"]["adapter"]["file"] == "a.onnx" and tables[1].attrs["side"]["crop_recipe"] == "eyes"


def test_says_what_it_wrote(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _export(folder, "a.pt2", "--format", "torch") == 0
    out = capsys.readouterr().out
    assert "2 action units" in out and "(batch, 3, 32, 32)" in out and "crop recipe eyes" in out and "checked" in out


def test_in_8_bits(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A smaller file that `evaluate` takes, whose probabilities are near, and not the same."""
    assert _export(folder, "small.onnx", "--int8") == 0
    assert f"to within {command.PARITY_INT8:g} (largest difference" in capsys.readouterr().out
    detectors = [OnnxDetector(folder / name) for name in ("a.onnx", "small.onnx")]
    assert [each.metadata["exported"]["int8"] for each in detectors] == [False, True]
    plain, small = (
        each.predict_probs(torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))) for each in detectors
    )
    assert 1e-5 < (plain - small).abs().max() < command.PARITY_INT8
    assert _export(folder, "b.pt2", "--format", "torch", "--int8") == 1
    assert "Expected `--int8` with the format onnx only" in capsys.readouterr().err and not (folder / "b.pt2").exists()


def test_nothing_is_replaced_or_left_half_written(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "b.pt2").write_bytes(b"before")
    assert _export(folder, "b.pt2", "--format", "torch") == 1
    assert "add --overwrite" in capsys.readouterr().err
    assert _export(folder, "b.txt") == 1
    assert "Expected `--out` to end in .onnx" in capsys.readouterr().err
    monkeypatch.setattr(command, "_difference", lambda *args: float("nan"))
    assert _export(folder, "b.pt2", "--format", "torch", "--overwrite") == 1
    assert "but they differ by nan" in capsys.readouterr().err
    assert (folder / "b.pt2").read_bytes() == b"before" and {path.suffix for path in folder.iterdir()} <= {
        ".onnx",
        ".pt2",
        ".safetensors",
    }
