"""`auformer verify`: tables or JSON, exit codes, a manifest as large as BP4D, no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from auformer.cli import main
from auformer.data.images import write_image
from auformer.data.manifest import write_manifest
from tests.helpers.published_rows import published_rows

ROOT = Path(__file__).resolve().parents[2]
KEYS = ["format_version", "manifest", "correct", "problems", "notes"]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BP4D's 146,847 published rows as a CSV file."""
    path = tmp_path_factory.mktemp("bp4d") / "manifest.csv"
    write_manifest(published_rows("bp4d"), path, {"dataset": "bp4d"})
    return path


def test_published_counts_side_by_side(large: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(large)]) == 0
    out = capsys.readouterr().out
    assert "P1 here        50,631   8,322" in out and "P1 published   50,631   8,322" in out and out.count("  =") == 39
    assert "FG-Net: 146,423 frames (frames without a detected face left out); here 146,847, +424" in out
    assert "bp4d as ME-GraphAU counts: P1 is fold 3, P2 is fold 2, P3 is fold 1" in out
    assert out.splitlines()[-1].endswith("nothing wrong was found")


def test_json_is_one_object_with_stable_keys(large: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(large), "--json", "--no-images"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {*KEYS, "rows", "ok", "status", "datasets", "aus", "subjects", "folds", "images", "published"}
    assert report["correct"] is True and report["rows"] == 146_847 and len(report["subjects"]) == 41
    assert set(report["aus"]["AU12"]) == {"positives", "negatives", "unknown", "positives_ok"}
    assert set(report["published"][0]) == {"dataset", "title", "frames", "clips", "by", "source", "parts", "totals"}
    assert set(report["published"][0]["parts"][0]) == {
        "name", "subjects", "expected", "complete", "frames", "positives", "published_frames", "published_positives",
    }  # fmt: skip


def small(folder: Path, **columns: object) -> Path:
    table = pd.DataFrame({"dataset": "disfa", "subject": "SN001", "sequence": "left", "frame": [1, 2], "AU12": [0, 1]})
    table["image"] = ["a.png", "b.png"]
    for number, name in enumerate(table["image"]):
        write_image(folder / name, np.full((4, 4, 3), number, np.uint8))
    write_manifest(table.assign(**columns), folder / "m.csv", {})
    return folder / "m.csv"


def test_exit_code_1_and_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(small(tmp_path))]) == 0
    capsys.readouterr()
    assert main(["verify", str(small(tmp_path, frame=[0, 1], sequence="right"))]) == 1
    out = capsys.readouterr().out
    assert (
        "frame_base (disfa)" in out and "camera (disfa)" in out and out.splitlines()[-1].endswith("2 things are wrong")
    )
    (tmp_path / "a.png").unlink()
    assert main(["verify", str(tmp_path / "m.csv"), "--json", "--workers", "1"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert sorted(entry["kind"] for entry in report["problems"]) == ["camera", "frame_base", "missing_image"]


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "dataset,subject,sequence,frame\nx,y,z,1\nx,y,z,1\n"])
def test_what_is_no_manifest(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.csv").write_text(content, encoding="utf-8")
    assert main(["verify", str(tmp_path / "m.csv"), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert list(report) == KEYS and report["problems"][0]["kind"] == "contract"
    assert main(["verify", str(tmp_path / "none.csv")]) == 1
    assert "no such file" in capsys.readouterr().out


def test_no_workers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(small(tmp_path)), "--workers", "0"]) == 1
    assert "`--workers` to be at least 1" in capsys.readouterr().err


def test_runs_without_torch(tmp_path: Path) -> None:
    code = "import sys; from auformer.cli import main; code = main(sys.argv[1:])\n"
    code += "print(code, *({'torch', 'av'} & {*sys.modules}))"
    words = [sys.executable, "-c", code, "verify", str(small(tmp_path))]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.stdout.splitlines()[-1] == "0", done.stderr


def test_every_kind_of_problem_is_in_the_help() -> None:
    """What `--json` calls things is documented."""
    import ast

    from auformer.commands import verify

    kinds = set()
    for path in sorted((ROOT / "data_prep").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Problem":
                assert isinstance(node.args[0], ast.Constant)
                kinds.add(node.args[0].value)
    words = set((verify.__doc__ or "").replace(",", " ").replace(".", " ").split())
    assert len(kinds) >= 20 and kinds <= words, kinds - words
