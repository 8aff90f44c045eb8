"""The page of the ablations from lines with known counts: every number by hand, what is missing, rates, figures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from auformer.benchmark.suite import read_suite
from experiments.ablations import ablation_report
from experiments.ablations.lines import find_lines, in_order
from experiments.ablations.scores import compare
from experiments.ablations.sections import Sections
from experiments.ablations.tables import at_edge, best_rate, sources_table, validation_scores
from tests.helpers.run_lines import counted_line

ROOT = Path(__file__).resolve().parents[2]
RIVALS = ["auformer", "lora", "bitfit"]
# two subjects, 4 + 6 and 5 + 5 rows with and without the AU: TP, FP, FN, TN
GOOD = {"S1": [4, 1, 0, 5], "S2": [4, 0, 1, 5]}  # F1 16 / 18; of S1 alone 8 / 9, of S2 alone 8 / 9
BEST = {"S1": [4, 0, 0, 6], "S2": [5, 0, 0, 5]}  # F1 1
POOR = {"S1": [3, 2, 1, 4], "S2": [2, 2, 3, 3]}  # F1 10 / 18; 6 / 9 and 4 / 9


def _line(method: str, counts: dict[str, list[int]], name: str = "rivals", **given: Any) -> dict[str, Any]:
    model = {"backbone": "demo", "checkpoint_path": given.pop("checkpoint", None), "lr": given.pop("lr", 0.005)}
    config = {"model": {"init_args": model}, "data": {"label_noise": given.pop("noise", 0.0)}}
    own = {
        "protocol": "cross",
        "data": "lab_a",
        "test": "unseen",
        "trainable_parameters": 1000,
        "config": config,
        "config_hash": method,
    }
    own |= {"test_subjects": None, "folder": f"runs/{name}/{method}"}
    known = {"ap": {"AU12": given.pop("ap", None)}}
    if tuned := given.pop("tuned", None):
        known |= {"thresholds": {"AU12": 0.3}, "counts_tuned": {"AU12": tuned}}
    return counted_line({"AU12": counts}, **{**own, "method": method, "name": name, **given}) | known


def _suite(folder: Path, extra: list[dict[str, Any]] | None = None) -> Path:
    config = str(ROOT / "experiments" / "synthetic.yaml")
    methods = {name: {"config": config} for name in RIVALS}
    methods |= {
        "no_ca": {"config": config, "set": {"model.window": 0}},
        "bce": {"config": config, "set": {"model.loss": "bce"}},
    }
    cross = {"protocol": "cross", "train": "lab_a", "test": "unseen"}
    runs = [
        {**cross, "name": "rivals", "methods": RIVALS, "set": {"model.backbone": "demo"}},
        {**cross, "name": "parts", "methods": ["no_ca"], "set": {"model.backbone": "demo"}},
        {**cross, "name": "noise-20", "methods": ["auformer", "bce"], "set": {"model.backbone": "demo"}},
        *(extra or []),
    ]
    data = {name: {"synth": {"lab": "A", "subjects": 2, "frames": 5}} for name in ("lab_a", "unseen", "lab_b", "large")}
    (folder / "suite.yaml").write_text(
        yaml.safe_dump({"data": data, "methods": methods, "runs": runs}), encoding="utf-8"
    )
    return folder / "suite.yaml"


def _write(lines: list[dict[str, Any]], folder: Path) -> Path:
    (folder / "runs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder / "runs.jsonl"


def _page(lines: list[dict[str, Any]], folder: Path, extra: list[dict[str, Any]] | None = None) -> str:
    out = folder / "results" / "ablations.md"
    ablation_report.main([str(_write(lines, folder)), "--suite", str(_suite(folder, extra)), "--out", str(out)])
    return out.read_text(encoding="utf-8")


def _rows(page: str, heading: str) -> list[list[str]]:
    """Cells of the tables of a section."""
    part = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| ")
    ]


SOME = [
    _line("auformer", GOOD, ap=0.9, tuned=BEST), _line("auformer", BEST, seed=1, ap=0.7, tuned=GOOD),
    _line("lora", POOR, trainable_parameters=2000, ap=0.5), _line("no_ca", POOR, "parts"), _line("bce", GOOD, "losses", tuned=POOR),
    _line("auformer", POOR, "noise-20", noise=0.2, ap=0.25),
]  # fmt: skip


def test_means_spreads_and_paired_intervals_by_hand(tmp_path: Path) -> None:
    page = _page(SOME, tmp_path)
    # (88.9 + 100) / 2, their deviation 11.11 / sqrt 2; LoRA on the seed that both have: 55.6 - 88.9, drawn subjects: -22.2 to -44.4
    assert _rows(page, "Rivals") == [
        ["method", "trained", "seeds", "F1 unseen", "less AUFormer [95 %]", "AP unseen"], ["---", *["---:"] * 5],
        ["auformer", "1,000", "2", "94.4 ± 7.9", "", "80.0"], ["lora", "2,000", "1", "55.6", "-33.3 [-44.4, -22.2]", "50.0"],
        ["bitfit", "", "", "not run", "not run", "not run"],
    ]  # fmt: skip
    assert _rows(page, "Rivals, per action unit")[2:] == [["auformer", "94.4", "94.4"], ["lora", "55.6", "55.6"]]
    assert _rows(page, "Parts of AUFormer")[2:] == [
        ["auformer", "", "1,000", "2", "94.4 ± 7.9", "", "80.0"], ["no_ca", "window 0", "1,000", "1", "55.6", "-33.3 [-44.4, -22.2]", ""],
    ]  # fmt: skip
    sources = _rows(page, "Where the numbers are from")[2:]
    assert ["rivals", "a machine", "abc1234", "0, 1", "3", "3", "0.1"] in sources  # three minutes
    assert "Backbone demo" in page and "nan" not in page


def test_flipped_labels_by_hand(tmp_path: Path) -> None:
    rows = _rows(_page(SOME, tmp_path), "Flipped training labels")
    assert rows[0] == ["loss", "0 % flipped", "20 % flipped"]
    assert rows[2:4] == [["auformer", "94.4 ± 7.9", "55.6"], ["bce", "88.9", "not run"]]
    assert rows[6:7] == [["bce", "+0.0 [+0.0, +0.0]", "not run"]]  # on seed 0, where AUFormer has the same counts
    assert rows[9:11] == [
        ["auformer", "94.4", ""],
        ["bce", "55.6", "not run"],
    ]  # with thresholds of its own, where it has any
    assert rows[13:] == [["auformer", "80.0", "25.0"], ["bce", "", "not run"]]


def test_sizes_by_hand(tmp_path: Path) -> None:
    extra = [
        {
            "protocol": "efficiency",
            "name": "sizes",
            "data": "large",
            "sizes": [100],
            "folds": 2,
            "methods": ["auformer", "lora"],
        }
    ]
    given: dict[str, Any] = {"protocol": "efficiency", "data": "large", "test": "large", "name": "sizes"}
    lines = [
        _line("auformer", GOOD, fold=fold, subset=size, **given) for size in (2000, 100) for fold in ("f1", "f2")
    ] + [_line("lora", POOR if fold == "f1" else BEST, fold=fold, subset=100, **given) for fold in ("f1", "f2")]  # fmt: skip
    rows = _rows(_page(lines, tmp_path, extra), "Training sizes")
    assert rows[0] == ["method", "100 frames", "2,000 frames"]
    # LoRA's mean over folds: (55.6 + 100) / 2 = 77.8, 11.1 below AUFormer
    assert rows[2:4] == [["auformer", "88.9", "88.9"], ["lora", "77.8", "not run"]]
    assert rows[6][0] == "lora" and rows[6][1].startswith("-11.1 [") and rows[6][2] == "not run"


def test_another_backbone_and_another_lab_have_places_of_their_own(tmp_path: Path) -> None:
    masks = {"checkpoint": "somewhere/masks.safetensors"}
    lines = [*SOME, _line("auformer", POOR, "rivals-masks", **masks), _line("lora", GOOD, "rivals-masks", **masks)]
    lines += [_line("auformer", BEST, test="lab_b"), _line("lora", POOR, test="lab_b")]
    page = _page(lines, tmp_path)
    assert page.index("Backbone demo") < page.index("Backbone masks")
    rows = _rows(page, "Rivals")
    columns = [text for test in ("unseen", "lab_b") for text in (f"F1 {test}", "less AUFormer [95 %]", f"AP {test}")]
    assert rows[0] == ["method", "trained", "seeds", *columns]
    assert rows[3] == ["lora", "2,000", "1", "55.6", "-33.3 [-44.4, -22.2]", "50.0", "55.6", "-44.4 [-55.6, -33.3]", ""]
    assert rows[7:] == [  # no line of lab B there
        ["auformer", "1,000", "1", "55.6", "", "", *["not run"] * 3],
        ["lora", "1,000", "1", "88.9", "+33.3 [+22.2, +44.4]", "", *["not run"] * 3],
    ]


def test_without_lines_everything_is_not_run(tmp_path: Path) -> None:
    """The suite as it is; nothing is invented."""
    (tmp_path / "runs.jsonl").touch()
    ablation_report.main([str(tmp_path), "--out", str(tmp_path / "page.md")])
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    for text in (
        "full_finetuning",
        "shared_expert",
        "exponent_2",
        "window 5",
        "not run",
        "The verdict is not written yet.",
    ):
        assert text in page
    assert "nan" not in page and "±" not in page.partition("## Rivals")[2] and not list(tmp_path.glob("*.png"))
    assert _rows(page, "Costs") == [] and "Not run." in page.partition("## Costs")[2]


def test_the_verdict_is_kept_and_costs_are_shown(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "ablations_verdict.md").write_text("It holds.\n", encoding="utf-8")
    settings = {
        "rounds": 3,
        "backbone": "demo",
        "image_size": 112,
        "aus": "bp4d",
        "batch": 16,
        "precision": "bf16-mixed",
        "threads": 1,
    }
    settings |= {"machine": "a machine", "torch": "2", "commit": "abc", "date": "2026-11-21"}
    one = {"trained": 1234, "forward": 1.251, "training": 0.5, "kept_bytes": 3 * 2**20}
    (results / "method_costs.json").write_text(
        json.dumps({"settings": settings, "methods": {"auformer": one}, "left_out": {}}), encoding="utf-8"
    )
    for _ in range(2):
        page = _page(SOME, tmp_path)
    assert page.count("It holds.") == 1
    assert _rows(page, "Costs")[2:] == [["auformer", "1,234", "1.25", "0.50", "3"]]


def test_methods_that_should_get_more_seeds(tmp_path: Path) -> None:
    lines = [*SOME, _line("bitfit", GOOD), _line("no_mrf", GOOD, "parts")]
    sections = Sections(lines, read_suite(_suite(tmp_path)))
    assert sections.seeds() == [
        "demo, unseen, bitfit: within one standard deviation of AUFormer with 1 seeds; five would tell more",
        "demo, unseen, no_ca: more than one standard deviation from AUFormer with 1 seeds; three would tell more",
    ]
    assert Sections(lines[2:], read_suite(_suite(tmp_path))).seeds() == []  # nobody knows AUFormer's deviation


def test_a_training_that_was_taken_over_is_counted_once() -> None:
    lines = [
        _line("lora", GOOD, seconds=7200.0),
        _line("lora", GOOD, test="lab_b", seconds=7200.0, trained_by="runs/rivals/lora"),
    ]
    assert sources_table(lines).rows == [["rivals", "a machine", "abc1234", "0", "2", "1", "2.0"]]


def test_other_rows_than_the_reference_are_not_compared() -> None:
    more = {"S1": [9, 1, 0, 5], "S2": [4, 0, 1, 5]}
    found = {
        one.method: one
        for one in compare([_line("auformer", GOOD), _line("lora", more), _line("bitfit", GOOD, seed=7)])
    }
    assert found["lora"].apart is None and found["bitfit"].apart is None  # other rows; no seed in common
    assert math.isnan(found["lora"].spread) and found["auformer"].apart is None
    with pytest.raises(ValueError, match="one data set and test"):
        compare([_line("auformer", GOOD), _line("auformer", GOOD, test="lab_b")])


def _rated(scores: dict[str, dict[float, float]]) -> list[dict[str, Any]]:
    return [
        _line(method, GOOD, f"rates-{rate:g}", lr=rate, validation_score=score)
        for method, rates in scores.items()
        for rate, score in rates.items()
    ]


def test_rates_are_chosen_on_validation_subjects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = _rated({"lora": {1e-3: 0.6, 3e-3: 0.71, 1e-2: 0.7}, "auformer": {1e-3: 0.5, 3e-3: 0.6, 1e-2: 0.8}})
    ablation_report.main([str(_write([*lines, *SOME], tmp_path)), "--rates", "--out", str(tmp_path / "page.md")])
    printed = capsys.readouterr().out.splitlines()
    assert printed[1] == "lora: {model.lr: 3.0e-03}  # F1 on validation subjects 71.0 (1e-03 60.0, 1e-02 70.0)"
    assert printed[0].startswith("auformer: {model.lr: 1.0e-02}") and printed[0].endswith(
        "EDGE OF THE GRID: try a rate beyond it"
    )
    assert yaml.safe_load(printed[1]) == {"lora": {"model.lr": 0.003}} and not (tmp_path / "page.md").exists()
    page = _page([*lines, *SOME], tmp_path)
    rows = _rows(page, "Learning rates")
    assert rows[0] == ["method", "1e-03", "3e-03", "1e-02", "trained with"]
    assert rows[2:4] == [["auformer", "50.0", "60.0", "80.0*", "5e-03"], ["lora", "60.0", "71.0*", "70.0", "5e-03"]]
    assert "a better rate may lie outside: auformer." in page
    assert "auformer | 1,000 | 2 | 94.4" in page  # runs of the grid are no runs of the rivals
    assert best_rate({0.1: 0.5, 0.01: 0.5}) == 0.01 and at_edge({0.1: 0.5, 0.01: 0.5})


@pytest.mark.parametrize("wrong", [{}, {"validation_score": None}, {"validation_score": 0.7, "select": "test"}])
def test_rates_need_scores_on_validation_subjects(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"run of lora in rates-0\.01 to hold `validation_score`"):
        validation_scores([_line("lora", GOOD, "rates-0.01", lr=0.01, **wrong)])


def test_files_of_another_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").touch()
    for path in (tmp_path, tmp_path / "other.jsonl"):
        with pytest.raises(ValueError, match=r"Expected a folder with runs\.jsonl"):
            find_lines(path)
    assert in_order(["b", "a", "c", "a"], ["c", "d"]) == ["c", "b", "a"]


def test_the_page_shows_its_figures(tmp_path: Path) -> None:
    page = _page(SOME, tmp_path)
    for name in ("ablations_parameters.png", "ablations_noise.png"):
        assert f"({name})" in page and (tmp_path / "results" / name).read_bytes()[:4] == b"\x89PNG"
