"""What all benchmarks write: both files, and where the numbers are from."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import torch

from experiments.speed.bench_files import circumstances, write_result


def test_both_files_hold_what_is_given(tmp_path: Path) -> None:
    write_result(tmp_path / "new", "speed", {"ratio": 1.5}, "# Speed\n")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["speed.json", "speed.md"]
    assert json.loads((tmp_path / "new" / "speed.json").read_text(encoding="utf-8")) == {"ratio": 1.5}
    assert (tmp_path / "new" / "speed.md").read_text(encoding="utf-8") == "# Speed\n"


def test_circumstances_are_plain_values() -> None:
    found = circumstances()
    assert (
        json.loads(json.dumps(found)) == found and found["torch"] == torch.__version__ and "cores" in found["machine"]
    )
    date.fromisoformat(found["date"])  # raises where it is no day
    assert found["load"] is None or found["load"] >= 0
