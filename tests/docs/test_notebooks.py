"""The notebooks of the documentation run from the first cell to the last; `make docs` runs them in a kernel besides.

Their cells run here in one process, which has the packages loaded already.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def _code(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_there_are_the_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["add_a_baseline", "fine_tune", "video_to_statistics"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_results_are_kept_in_the_file(notebook: Path) -> None:
    """They are made when the documentation is built, so that they are never those of an older version."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, code in enumerate(_code(notebook)):
        exec(compile(code, f"{notebook.name}, code cell {number}", "exec"), names)
    _CHECKS[notebook.stem](names)


def _statistics(names: dict[str, Any]) -> None:
    assert len(names["table"]) >= 75 and (names["table"]["status"] == "ok").mean() > 0.9
    assert names["summary"]["active_share"].between(0, 1).all()
    assert names["agreement"]["AU12"] > 0.6
    assert Path("elan").is_dir() and len(list(Path("elan").glob("*.eaf"))) == 1


def _fine_tune(names: dict[str, Any]) -> None:
    people = {name: set(rows["subject"]) for name, rows in names["data"].splits.items()}
    assert not people["train"] & people["val"]
    assert sum(len(rows) for rows in names["data"].splits.values()) == 200
    scores = names["auroc"]
    assert all(0.5 < value <= 1 for method in scores.values() for value in method.values())
    assert scores["packaged"] != scores["fine-tuned"]


def _baseline(names: dict[str, Any]) -> None:
    scales = names["network"].scales
    assert any((scale != 1).any() for scale in scales)
    assert not any(parameter.requires_grad for parameter in names["network"].backbone.parameters())


_CHECKS = {"video_to_statistics": _statistics, "fine_tune": _fine_tune, "add_a_baseline": _baseline}
