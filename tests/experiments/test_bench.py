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


def test_it_measures_every_target_and_writes_both_files(
    bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--backbone",
        "test_vit",
        "--img-size",
        "32",
        "--aus",
        "AU1,AU2,AU12",
        "--expert-width",
        "2",
        "--batch",
        "2",
        "--threads",
        "1",
    ]
    assert bench.main([*words, "--rounds", "2", "--out", str(tmp_path)]) == 2  # nothing to compare this ViT with
    result = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert result["ratios"].keys() == bench.TARGETS.keys()
    assert all(value is None or value > 0 for value in result["ratios"].values())
    assert result["ratios"]["activations"] < 1 < result["ratios"]["training"]
    written = (tmp_path / "bench.md").read_text(encoding="utf-8")
    out = capsys.readouterr().out
    assert "not compared" in out and "backbone is test_vit, committed vit_base_patch16_224" in out
    assert all(0 <= value < 10 for value in result["spread"].values())
    assert written in out and written.count("\n|") == 2 + len(bench.TARGETS)
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


def test_spread_of_the_ratio_by_hand(bench: ModuleType) -> None:
    seconds = {"a": [1.0, 2.2, 1.2, 1.3, 2.8], "b": [1.0, 2.0, 1.0, 1.0, 2.0]}  # ratios 1.0, 1.1, 1.2, 1.3, 1.4
    assert bench.spread(seconds, "a", "b") == pytest.approx((1.3 - 1.1) / 1.2)


def test_worse_than_committed_fails_unless_it_is_accepted(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ratios = {"forward": 1.1, "training": 2.0, "activations": 0.4, "peak_memory": 0.2, "load_seconds": 0.05}
    committed, out = tmp_path / "committed", tmp_path / "out"
    monkeypatch.setattr(bench, "COMMITTED", committed)
    monkeypatch.setattr(bench, "measure", lambda args, argv: {"ratios": dict(ratios)})
    assert bench.main(["--accept", "--out", str(out)]) == 0 and not out.exists()
    before = (committed / "bench.json").read_bytes()
    assert bench.main(["--out", str(out)]) == 0
    ratios["training"] = 1.7
    assert bench.main(["--out", str(out)]) == 1 and "worse than committed: training" in capsys.readouterr().out
    assert (
        bench.main(["--out", str(out), "--tolerance", "0.2"]) == 0 and (committed / "bench.json").read_bytes() == before
    )
    assert bench.main(["--accept"]) == 0 and bench.main(["--out", str(out)]) == 0


def test_verdicts(bench: ModuleType) -> None:
    assert [bench.verdict("forward", value) for value in (1.2, 1.21, None)] == ["met", "missed", ""]
    assert [bench.verdict("training", value) for value in (1.6, 1.59)] == ["met", "missed"]
    assert bench.verdict("peak_memory", 0.1) == ""
