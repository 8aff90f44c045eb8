"""Intensities on rendered faces: the mapped probability, ramps, the page's numbers, and a small run from end to end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from auformer.agreement import agreement_sums, icc_from_sums
from auformer.aus import AU_SETS
from experiments.ablations import intensity
from experiments.ablations.intensity_page import KEY, pack_sums, page, read_lines, summarise, unpack_sums, whole_seeds

AUS = ["AU1", "AU12"]


def _rows(seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Coded and predicted intensities of three subjects `(3, 30, 2)`; the codes are those of every run."""
    true = np.random.default_rng(0).choice(6, size=(3, 30, 2)).astype(float)
    wrong = np.random.default_rng(seed).normal(0, noise, true.shape)
    return true, np.clip(true + wrong, 0, 5)


def _sums(seed: int, noise: float) -> str:
    return pack_sums(np.stack([agreement_sums(*pair) for pair in zip(*_rows(seed, noise), strict=True)]))


def _line(what: str, seed: int) -> dict[str, Any]:
    noise = {"joint": 0.5, "probe": 1.0, "alone": 2.0}[what]
    line: dict[str, Any] = {"what": what, "seed": seed, "form": "ordinal", "epochs": 3, "images": 8000, "aus": AUS}
    line |= {"seconds": 600.0, "trainable_parameters": 1000, "validation_f1": 0.5, "commit": "abc", "machine": "m"}
    scores = {"mean": 0.7 + 0.01 * seed - 0.004 * (what == "joint"), "AU1": 0.7, "AU12": 0.7}
    line |= {"date": "2026-11-29", "occurrence": {lab: {"f1": scores, "auroc": scores} for lab in ("lab_a", "lab_b")}}
    way = "isotonic" if what == "alone" else "head"
    line["sums"] = {way: {"lab_a": _sums(seed, noise), "lab_b": _sums(seed + 10, noise)}}
    return line | ({} if what == "alone" else {"ramp": {"AU1": 0.99, "AU12": 0.9 - 0.1 * seed}})


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    return summarise([_line(what, seed) for what in ("joint", "alone", "probe") for seed in (0, 1)])


class TestPage:
    def test_a_score_is_that_of_all_rows_and_the_mean_over_seeds(self, summary: dict[str, Any]) -> None:
        each = []
        for seed in (10, 11):
            true, pred = (part.reshape(-1, 2) for part in _rows(seed, 0.5))
            each.append(icc_from_sums(agreement_sums(true, pred)))
        found = summary["labs"]["lab_b"]["joint"]["icc"]
        assert [found["per_au"][au][0] for au in AUS] == pytest.approx(np.mean(each, axis=0), abs=1e-6)
        assert found["mean"] == pytest.approx(np.mean(each), abs=1e-6)
        low, high = found["interval"]
        assert low < found["mean"] < high and summary["labs"]["lab_b"]["subjects"] == 3

    def test_verdicts_ramps_and_costs(self, summary: dict[str, Any]) -> None:
        ahead = summary["labs"]["lab_a"]["ahead"]["isotonic"]["value"]
        assert ahead == pytest.approx(
            summary["labs"]["lab_a"]["joint"]["icc"]["mean"] - summary["labs"]["lab_a"]["isotonic"]["icc"]["mean"],
            abs=1e-5,
        )
        assert summary["occurrence"]["lab_a"]["f1"]["cost"] == pytest.approx(-0.004)
        assert summary["ramp"] == {"mean": 0.92, "per_au": {"AU1": 0.99, "AU12": 0.85}}
        text = page(summary)
        assert "Below 0.95: AU12 0.850." in text and "| 0.920 | at least 0.95 | missed |" in text
        assert text.count("| met |") == 10  # both labs: ICC, two margins, two costs
        assert json.loads(json.dumps(summary, allow_nan=False)) == summary

    def test_a_lost_margin_is_missed(self, summary: dict[str, Any]) -> None:
        worse = json.loads(json.dumps(summary))
        worse["labs"]["lab_a"]["ahead"]["isotonic"]["value"] = 0.049
        assert page(worse).count("| met |") == 9

    def test_only_whole_seeds_count(self) -> None:
        lines = [_line("joint", 0), _line("alone", 0), _line("probe", 0), _line("joint", 1)]
        assert whole_seeds(lines) == [0] and whole_seeds(lines[1:]) == []


def test_sums_are_packed_to_the_last_digit_that_counts() -> None:
    sums = np.stack([agreement_sums(*pair) for pair in zip(*_rows(3, 1.0), strict=True)])
    np.testing.assert_allclose(unpack_sums(pack_sums(sums)), sums, rtol=1e-7)


def test_torn_and_repeated_lines(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    first, second = _line("joint", 0), {**_line("joint", 0), "seconds": 1.0}
    path.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n" + '{"what": "jo', encoding="utf-8")
    assert [line["seconds"] for line in read_lines(path)] == [1.0] and read_lines(tmp_path / "none") == []


def test_the_probability_is_mapped_per_au_and_rises() -> None:
    """A probability that is a rising function of the level is mapped back to it; a falling one becomes the mean."""
    level = np.arange(60) % 6.0
    table = pd.DataFrame({"AU1_prob": 1 / (1 + np.exp(2.5 - level)), "AU12_prob": 0.9 - level / 10})
    table["AU1_intensity_true"], table["AU12_intensity_true"] = level, level
    (mapped,) = intensity.isotonic([table], [table], AUS)
    assert mapped["AU1_intensity_pred"].tolist() == pytest.approx(level.tolist())
    assert mapped["AU12_intensity_pred"].tolist() == pytest.approx([2.5] * 60)
    assert "AU1_intensity_pred" not in table  # what was given stays
    beyond = intensity.isotonic([table], [pd.DataFrame({"AU1_prob": [0.0, 1.0], "AU12_prob": 0.5})], AUS)[0]
    assert beyond["AU1_intensity_pred"].tolist() == [0.0, 5.0]


def test_a_ramp_that_is_seen_is_one() -> None:
    """A network that gives the mean brightness of each image for every AU: it moves with AU43, the eyes' closing."""

    class Brightness:
        image_size, au_names = (112, 112), ("AU43", "AU12")

        def outputs(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            eyes = images[:, :, 30:48].mean((1, 2, 3))
            return {"intensity": torch.stack([eyes, torch.zeros_like(eyes)], 1)}

    found = intensity.ramp(Brightness(), identities=2)  # type: ignore[arg-type]
    assert abs(found["AU43"]) > 0.9 and found["AU12"] == 0  # what does not move counts as 0


@pytest.mark.slow
def test_a_small_run_resumes_and_makes_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--folder", str(tmp_path), "--small", "--epochs", "1", "--identities", "1", "--seed", "0"]
    intensity.main([*words, "--what", "joint"])
    assert "no page yet" in capsys.readouterr().out and not (tmp_path / "intensity.md").exists()
    intensity.main(words)
    lines = (tmp_path / "intensity_runs.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["what"] for line in lines.splitlines()] == ["joint", "alone", "probe"]
    page_before = (tmp_path / "intensity.md").read_text(encoding="utf-8")
    intensity.main(words)  # nothing runs twice
    assert (tmp_path / "intensity_runs.jsonl").read_text(encoding="utf-8") == lines
    assert (tmp_path / "intensity.md").read_text(encoding="utf-8") == page_before
    joint = json.loads(lines.splitlines()[0])
    assert joint["aus"] == list(AU_SETS["synthetic"]) and set(KEY) <= set(joint)
    assert set(joint["ramp"]) == set(joint["aus"]) and {"head", "isotonic"} == set(joint["sums"])
    assert len(re.findall(r"^\| AU\d+ \|", page_before, re.MULTILINE)) == 2 * len(joint["aus"])  # both labs
