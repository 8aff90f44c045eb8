"""The benchmark of the preparation runs, and says what it found."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_prepare", ROOT / "experiments" / "bench_prepare.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_measures_every_target_and_writes_both_files(
    bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "SIZE", (512, 384))
    monkeypatch.setattr(bench, "FACE", 128)
    words = ["--videos", "1", "--frames", "3", "--long", "10", "--rows", "50", "--rounds", "1", "--out", str(tmp_path)]
    bench.main(words)
    result = json.loads((tmp_path / "prepare.json").read_text(encoding="utf-8"))
    assert bench.TARGETS.keys() <= result["measured"].keys() and all(
        result["measured"][name] > 0 for name in bench.TARGETS
    )
    assert result["measured"]["runs_default"][0]["status"] == result["measured"]["runs_table"][0]["status"] == {"ok": 3}
    written = (tmp_path / "prepare.md").read_text(encoding="utf-8")
    assert written in capsys.readouterr().out and written.count("\n|") == 2 + len(bench.TARGETS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prepare.json", "prepare.md"]


def test_verdicts(bench: ModuleType) -> None:
    measured = {
        "default_fps": 14.9,
        "table_fps": 100.0,
        "long_mib": float("nan"),
        "read_seconds": 2.1,
        "validate_seconds": 2.9,
        "short_mib": 1.0,
    }
    run = [{"seconds": 1.0, "processor_seconds": 2.0, "status": {"ok": 8}}]
    measured |= {"stages_ms": {"decode": 1.0, "detect": 2.0}, "runs_default": run, "runs_table": run}  # type: ignore[dict-item]
    how = {
        "command": "c",
        "videos": 2,
        "frames": 4,
        "long": 10,
        "rows": 5,
        "machine": "m",
        "commit": "0",
        "date": "d",
        "load": 1.0,
    }
    said = bench.text({"settings": how, "measured": measured})
    assert [line.rsplit("| ", 1)[1] for line in said.splitlines()[6:11]] == [
        "missed |",
        "met |",
        "not known here |",
        "missed |",
        "met |",
    ]
    assert (
        "2 free cores would do 8.0 and 8.0 frames a second" in said and "What bounds the default run: detect." in said
    )
