import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from auformer.cli import main
from auformer.data.manifest import write_manifest, write_predictions
from auformer.scoring.scores import score_predictions
from tests.helpers.predictions import random_predictions

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "predictions.parquet"
    side = {"checkpoint": "demo", "warnings": ["sizes differ"], "notice": "rendered faces only"}
    write_predictions(random_predictions(), path, side)
    return path


def bare(tmp_path, **columns):
    path = tmp_path / "bare.csv"
    table = pd.DataFrame({"dataset": "d", "subject": ["a", "b", "c"], "sequence": "s", "frame": [0, 0, 0]})
    table.assign(AU12_prob=[0.5, 0.2, 0.7], **columns).to_csv(path, index=False)
    return path


class TestOutput:
    def test_table_source_warnings_and_notice(self, file, capsys):
        assert main(["score", str(file)]) == 0
        out = capsys.readouterr().out
        assert "Checkpoint: demo; epoch: unknown." in out and "Warning: sizes differ" in out
        assert "rendered faces only" in out
        assert "Lip corner puller" in out and "\nmean  of 3 AUs" in out and "left out: no_face 30" in out

    def test_json(self, file, tmp_path, capsys):
        assert main(["score", str(file), "--by", "subject", "--json", str(tmp_path / "new" / "s.json")]) == 0
        scores = json.loads((tmp_path / "new" / "s.json").read_text(encoding="utf-8"))
        expected = score_predictions(random_predictions(), by="subject")
        assert {name: scores[name] for name in expected} == expected
        assert scores["predictions"]["notice"] == "rendered faces only"
        assert scores["predictions"]["warnings"] == ["sizes differ"]
        assert "by subject" in capsys.readouterr().out

    def test_bare_table(self, tmp_path, capsys):
        path = bare(tmp_path, AU12_true=[1, 0, ""], group_age=["young", "old", "old"])
        assert main(["score", str(path), "--by", "group_age"]) == 0
        out = capsys.readouterr().out
        assert "Checkpoint: unknown" in out and "100.0" in out and "1 / 2" in out and "\nyoung" in out


class TestErrors:
    def said(self, capsys, *words):
        assert main(["score", *map(str, words)]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        return captured.err

    def test_what_cannot_be_scored(self, file, tmp_path, capsys):
        table = random_predictions()[["dataset", "subject", "sequence", "frame"]].assign(AU1=1)
        write_manifest(table, tmp_path / "m.csv", {})
        assert "got a manifest" in self.said(capsys, tmp_path / "m.csv")
        assert "no such file" in self.said(capsys, tmp_path / "no.csv")
        assert "no truth" in self.said(capsys, bare(tmp_path))
        assert "subject, group_sex" in self.said(capsys, file, "--by", "group_age")

    def test_nothing_but_scores_is_replaced(self, file, capsys):
        before = file.read_bytes()
        assert "something else" in self.said(capsys, file, "--json", file)
        assert "something else" in self.said(capsys, file, "--json", file.with_suffix(".json"))
        assert file.read_bytes() == before
        scores = str(file.with_name("scores.json"))
        assert [main(["score", str(file), "--json", scores]) for _ in range(2)] == [0, 0]

    def test_unwritable_json(self, file, capsys):
        assert "auformer: error:" in self.said(capsys, file, "--json", file / "s.json")


def test_runs_without_torch(file):
    code = "import sys; from auformer.cli import main; code = main(sys.argv[1:]); print(code, 'torch' in sys.modules)"
    words = ["score", str(file), "--by", "subject", "--json", str(file.with_name("s.json"))]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr
