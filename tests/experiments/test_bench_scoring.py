"""The benchmark of scores and tables runs, and its committed result meets what was asked for."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMES = {"seconds", "wall_seconds", "import_seconds"}


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_scoring", ROOT / "experiments" / "bench_scoring.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_hundred_runs_that_differ(bench: ModuleType, tmp_path: Path) -> None:
    lines = bench.hundred_lines(20)
    assert len(lines) == len({line["key"] for line in lines}) == 102
    path = tmp_path / "lines.json"
    path.write_text(
        json.dumps([line for line in lines if line["protocol"] == "efficiency" and line["fold"] == "P1"][:2]),
        encoding="utf-8",
    )
    assert set(bench.time_results(path, 3)) == TIMES
    assert set(bench.time_scoring(300, 3)) == TIMES


def test_the_result_is_written(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "measure", lambda rows, draws, rounds: {"rows": rows, "draws": draws, "rounds": rounds})
    made = bench.main(["--rows", "30", "--rounds", "1", "--out", str(tmp_path / "x.json")])
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == made == json.loads(capsys.readouterr().out)
    assert (made["rows"], made["draws"], made["rounds"]) == (30, 1000, 1) and made["machine"]


def test_the_committed_result_is_of_the_full_size_and_meets_its_targets(bench: ModuleType) -> None:
    result = json.loads((ROOT / "experiments" / "results" / "bench_scoring.json").read_text(encoding="utf-8"))
    assert (result["rows"], result["draws"], result["runs"]) == (150_000, 1000, 102)
    for name, target in bench.TARGETS.items():
        assert result[name]["seconds"] < target == result[name]["target_seconds"]
