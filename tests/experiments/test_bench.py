"""The benchmark of speed and memory, what all scripts share, and the guard on numbers made by hand."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
import torch
from torch import nn

from experiments import harness
from experiments.speed import bench
from experiments.speed.bench import Change, compare, judge

BEFORE = {
    "forward": 1.10, "training": 2.0, "activations": 0.40, "peak_memory": 0.20, "intensity": 1.01,
    "intensity_activations": 1.01, "load_seconds": 0.05,
}  # fmt: skip
SETTINGS = {"backbone": "vit_base_patch16_224", "batch": 4, "machine": "a"}


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_it_measures_every_target_and_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--backbone test_vit --img-size 32 --aus AU1,AU2,AU12 --expert-width 2 --batch 2 --threads 1 --rounds 2"
    assert bench.main([*words.split(), "--out", str(tmp_path)]) == 2  # nothing to compare this ViT with
    result = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert result["ratios"].keys() == bench.TARGETS.keys()
    assert all(value is None or value > 0 for value in result["ratios"].values())
    assert result["ratios"]["activations"] < 1 < result["ratios"]["training"]
    assert all(0 <= value < 10 for value in result["spread"].values())
    page, out = (tmp_path / "bench.md").read_text(encoding="utf-8"), capsys.readouterr().out
    assert page in out and page.count("\n|") == 2 + len(bench.TARGETS)
    assert "not compared" in out and "backbone is test_vit, committed vit_base_patch16_224" in out


def test_worse_than_committed_fails_unless_it_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ratios, committed, out = dict(BEFORE), tmp_path / "committed", tmp_path / "out"
    monkeypatch.setattr(harness, "RESULTS", committed)
    monkeypatch.setattr(bench, "measure", lambda args, argv: {"ratios": dict(ratios)})
    assert bench.main(["--accept", "--out", str(out)]) == 0 and not out.exists()
    before = (committed / "bench.json").read_bytes()
    assert bench.main(["--out", str(out)]) == 0
    ratios["training"] = 1.7
    assert bench.main(["--out", str(out)]) == 1 and "worse than committed: training" in capsys.readouterr().out
    assert bench.main(["--out", str(out), "--tolerance", "0.2"]) == 0
    assert (committed / "bench.json").read_bytes() == before
    assert bench.main(["--accept"]) == 0 and bench.main(["--out", str(out)]) == 0


class TestHarness:
    def test_kept_bytes_by_hand(self) -> None:
        """A linear map keeps its input for the gradient of the weight, an exponential its output; no parameters."""

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc = nn.Linear(10, 6)

            def forward_all(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
                return self.fc(images * 2).exp(), None

        assert harness.kept_bytes(Net(), torch.rand(3, 10)) == 4 * (3 * 10 + 3 * 6)

    def test_ratios_are_taken_within_a_round(self) -> None:
        assert harness.ratio({"a": [2.0, 40.0, 6.0], "b": [1.0, 10.0, 2.0]}, "a", "b") == 3.0
        seconds = {"a": [1.0, 2.2, 1.2, 1.3, 2.8], "b": [1.0, 2.0, 1.0, 1.0, 2.0]}  # ratios 1.0, 1.1, 1.2, 1.3, 1.4
        assert harness.spread(seconds, "a", "b") == pytest.approx((1.3 - 1.1) / 1.2)

    def test_circumstances_are_plain_values(self) -> None:
        found = harness.circumstances("torch")
        assert json.loads(json.dumps(found)) == found and "cores" in found["machine"]
        assert torch.__version__.startswith(found["torch"])
        date.fromisoformat(found["date"])  # raises where it is no day
        assert found["load"] is None or found["load"] >= 0

    def test_targets(self) -> None:
        assert [bench.TARGETS["forward"].verdict(value) for value in (1.2, 1.21, None)] == ["met", "missed", ""]
        assert [bench.TARGETS["training"].verdict(value) for value in (1.6, 1.59)] == ["met", "missed"]
        target = harness.Target("one over the other", 1.1, reason="because")
        assert target.verdict(1.2) == "missed: because" and target._replace(bound=None).verdict(9.0) == ""
        rows = harness.target_table({"a": target, "b": target}, {"a": 1.0, "b": None}).splitlines()[2:]
        assert rows[0] == "| one over the other | 1 | at most 1.1 | met |" and "| not known here |" in rows[1]


class TestGuard:
    @pytest.mark.parametrize(
        ("name", "now", "worse", "failed"),
        [
            ("forward", 1.10, 0.0, False),
            ("forward", 1.20, 0.0909, False),
            ("forward", 1.22, 0.1091, True),
            ("forward", 0.50, -0.5455, False),
            ("training", 1.83, 0.0929, False),
            ("training", 1.80, 0.1111, True),  # here more is better
            ("training", 9.00, -0.7778, False),
            ("activations", 0.403, 0.0075, False),  # counted, not timed: narrower
            ("activations", 0.41, 0.0250, True),
            ("peak_memory", 0.23, 0.1500, True),
        ],
    )
    def test_worse_and_better(self, name: str, now: float, worse: float, failed: bool) -> None:
        changes = {change.name: change for change in compare({**BEFORE, name: now, "load_seconds": 0.5}, BEFORE)}
        assert list(changes) == [name for name in BEFORE if name != "load_seconds"]  # seconds are never compared
        assert changes[name].worse == pytest.approx(worse, abs=1e-4)
        assert [other for other, change in changes.items() if change.failed] == ([name] if failed else [])

    def test_another_tolerance_holds_for_all(self) -> None:
        worse = {**BEFORE, "forward": 1.22, "activations": 0.44}
        assert not any(change.failed for change in compare(worse, BEFORE, tolerance=0.2))
        assert compare({**BEFORE, "forward": 1.20}, BEFORE, tolerance=0.05)[0].failed

    def test_what_is_not_known_here_does_not_fail_and_what_is_gone_does(self) -> None:
        assert not compare({**BEFORE, "peak_memory": None}, BEFORE)[3].failed
        with pytest.raises(ValueError, match="none for training, peak_memory, intensity, intensity_activations"):
            compare({"forward": 1.1, "activations": 0.4}, BEFORE)
        assert [change.before for change in compare(BEFORE, {"forward": 1.1})] == [1.1, None, None, None, None, None]
        with pytest.raises(ValueError, match="'forward' to be above 0, but got nan"):
            compare({**BEFORE, "forward": float("nan")}, BEFORE)

    def test_changes_in_words(self) -> None:
        worse = str(Change("forward", 1.1, 1.32, 0.2, 0.1))
        assert worse == "forward: 1.100 -> 1.320, 20.0 % worse (10 % worse is allowed)  WORSE"
        same = str(Change("activations", 0.4, 0.4, 0.0, 0.01))
        assert same == "activations: 0.400 -> 0.400, the same (1 % worse is allowed)"

    def test_exit_codes_and_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "bench.json"
        path.write_text(json.dumps({"settings": SETTINGS, "ratios": BEFORE}), encoding="utf-8")

        def judged(change: dict[str, float], **other: object) -> tuple[int, list[str]]:
            return judge({"settings": {**SETTINGS, **other}, "ratios": {**BEFORE, **change}}, path)

        codes = [judged({})[0], judged({}, machine="b")[0], judged({"training": 1.0})[0], judged({}, batch=8)[0]]
        assert codes == [0, 0, 1, 2] and judge({"settings": SETTINGS, "ratios": BEFORE}, tmp_path / "none")[0] == 2
        assert judged({}, machine="b")[1][1].strip().startswith("committed on a, measured on b: ratios are compared")
        assert judged({})[1][-1] == "no ratio is worse than committed"
        assert judged({"forward": 1.32, "training": 1.6})[1][-1] == "worse than committed: forward, training"
