"""The benchmark of speed and memory runs, and its counting is right where it can be worked out by hand."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench", ROOT / "experiments" / "bench.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_measures_every_target_and_writes_both_files(bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--backbone", "test_vit", "--img-size", "32", "--aus", "AU1,AU2,AU12", "--expert-width", "2", "--batch", "2", "--threads", "1"]
    bench.main([*words, "--rounds", "1", "--out", str(tmp_path)])
    result = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert result["ratios"].keys() == bench.TARGETS.keys()
    assert all(value is None or value > 0 for value in result["ratios"].values())
    assert result["ratios"]["activations"] < 1 < result["ratios"]["training"]
    written = (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert written in capsys.readouterr().out and written.count("\n|") == 2 + len(bench.TARGETS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench.json", "bench.md"]


def test_kept_bytes_by_hand(bench: ModuleType) -> None:
    """A linear map keeps its input for the gradient of the weight, an exponential its output; parameters do not count."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(10, 6)

        def forward_all(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
            return self.fc(images * 2).exp(), None

    assert bench.kept_bytes(Net(), torch.rand(3, 10)) == 4 * (3 * 10 + 3 * 6)


def test_ratios_are_taken_within_a_round(bench: ModuleType) -> None:
    assert bench.ratio({"a": [2.0, 40.0, 6.0], "b": [1.0, 10.0, 2.0]}, "a", "b") == 3.0


def test_verdicts(bench: ModuleType) -> None:
    assert [bench.verdict("forward", value) for value in (1.2, 1.21, None)] == ["met", "missed", ""]
    assert [bench.verdict("training", value) for value in (1.6, 1.59)] == ["met", "missed"]
    assert bench.verdict("peak_memory", 0.1) == ""
