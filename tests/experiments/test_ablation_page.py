"""The page of the ablations from lines with known counts: numbers by hand, what is missing, rates, figures, costs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from matplotlib.text import Annotation

from auformer.benchmark.suite import read_suite
from auformer.demo.results import BOTH_HEADS, DATASETS
from auformer.demo.run import FULL, render_splits
from auformer.files import read_json, write_text
from auformer.models import AUFormer
from auformer.report.timeline import intensity_curves
from experiments.ablations import demo_grid, lines, method_costs, probability_intensity, report
from experiments.ablations.figures import noise_figure, parameters_figure
from experiments.ablations.lines import find_lines, in_order
from experiments.ablations.tables import at_edge, best_rate, compare, costs_table, sources_table, validation_scores
from experiments.harness import RESULTS, ROOT
from tests.helpers import vits
from tests.helpers.figures import cut_texts, texts, visible_texts
from tests.helpers.run_lines import counted_line

assert vits.FIT  # registers the tiny ViTs
BASELINES = ["auformer", "lora", "bitfit"]
# two subjects, 4 + 6 and 5 + 5 rows with and without the AU: TP, FP, FN, TN
GOOD = {"S1": [4, 1, 0, 5], "S2": [4, 0, 1, 5]}  # F1 16 / 18; of S1 alone 8 / 9, of S2 alone 8 / 9
BEST = {"S1": [4, 0, 0, 6], "S2": [5, 0, 0, 5]}  # F1 1
POOR = {"S1": [3, 2, 1, 4], "S2": [2, 2, 3, 3]}  # F1 10 / 18; 6 / 9 and 4 / 9
Line = dict[str, Any]


def _line(method: str, counts: dict[str, list[int]], name: str = "baselines", **given: Any) -> Line:
    arguments = {"backbone": "demo", "checkpoint_path": given.pop("checkpoint", None)}
    network = {"class_path": "auformer.models.auformer.AUFormer", "init_args": arguments}
    model = {"init_args": {"network": network, "lr": given.pop("lr", 0.005)}}
    config = {"model": model, "data": {"label_noise": given.pop("noise", 0.0)}}
    known: Line = {"ap": {"AU12": given.pop("ap", None)}, "data_sha256": {"lab_a": 64 * "a"}}
    if tuned := given.pop("tuned", None):
        known |= {"thresholds": {"AU12": 0.3}, "counts_tuned": {"AU12": tuned}}
    own = {"protocol": "cross", "data": "lab_a", "test": "unseen", "trainable_parameters": 1000, "config": config}
    own |= {"config_hash": method, "test_subjects": None, "folder": f"runs/{name}/{method}"}
    return counted_line({"AU12": counts}, **{**own, "method": method, "name": name, **given}) | known


def _suite(folder: Path, extra: Sequence[Line] = ()) -> Path:
    config = str(ROOT / "experiments" / "configs" / "synthetic.yaml")
    methods: Line = {name: {"config": config} for name in BASELINES}
    methods |= {"no_ca": {"config": config, "set": {"network.window": 0}}}
    methods |= {"bce": {"config": config, "set": {"model.loss": "bce"}}}
    cross = {"protocol": "cross", "train": "lab_a", "test": "unseen", "set": {"network.backbone": "demo"}}
    entries = (("baselines", BASELINES), ("parts", ["no_ca"]), ("noise-20", ["auformer", "bce"]))
    runs = [*({**cross, "name": name, "methods": some} for name, some in entries), *extra]
    data = {name: {"synth": {"lab": "A", "subjects": 2, "frames": 5}} for name in ("lab_a", "unseen", "lab_b", "large")}
    write_text(folder / "suite.yaml", yaml.safe_dump({"data": data, "methods": methods, "runs": runs}))
    return folder / "suite.yaml"


def _write(found: Sequence[Line], folder: Path) -> Path:
    write_text(folder / "runs.jsonl", "".join(json.dumps(line) + "\n" for line in found))
    return folder / "runs.jsonl"


def _page(found: Sequence[Line], folder: Path, extra: Sequence[Line] = ()) -> str:
    out = folder / "results"
    report.main([str(_write(found, folder)), "--suite", str(_suite(folder, extra)), "--out", str(out)])
    return (out / "ablations.md").read_text(encoding="utf-8")


def _rows(page: str, heading: str) -> list[list[str]]:
    """Cells of the tables of a section."""
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


SOME = [
    _line("auformer", GOOD, ap=0.9, tuned=BEST), _line("auformer", BEST, seed=1, ap=0.7, tuned=GOOD),
    _line("lora", POOR, trainable_parameters=2000, ap=0.5), _line("no_ca", POOR, "parts"),
    _line("bce", GOOD, "losses", tuned=POOR), _line("auformer", POOR, "noise-20", noise=0.2, ap=0.25),
]  # fmt: skip


class TestPage:
    def test_means_spreads_and_paired_intervals_by_hand(self, tmp_path: Path) -> None:
        page = _page(SOME, tmp_path)
        # (88.9 + 100) / 2, their deviation 11.11 / sqrt 2; LoRA on the seed that both have: 55.6 - 88.9
        auformer, apart = ["94.4 ± 7.9", "", "80.0"], "-33.3 [-44.4, -22.2]"
        assert _rows(page, "Baselines") == [
            ["method", "trained", "seeds", "F1 unseen", "less AUFormer [95 %]", "AP unseen"], ["---", *["---:"] * 5],
            ["auformer", "1,000", "2", *auformer], ["lora", "2,000", "1", "55.6", apart, "50.0"],
            ["bitfit", "", "", *["not run"] * 3],
        ]  # fmt: skip
        found = _rows(page, "Baselines, per action unit")[2:]
        assert found == [["auformer", "94.4", "94.4"], ["lora", "55.6", "55.6"]]
        found = _rows(page, "Parts of AUFormer")[2:]
        assert found == [
            ["auformer", "", "1,000", "2", *auformer],
            ["no_ca", "window 0", "1,000", "1", "55.6", apart, ""],
        ]
        sources = _rows(page, "Where the numbers are from")[2:]
        assert ["baselines", "a machine", "abc1234", "0, 1", "3", "3", "0.1"] in sources  # three minutes
        assert "Backbone demo" in page and "nan" not in page
        for name in ("ablations_parameters.png", "ablations_noise.png"):
            assert f"({name})" in page and (tmp_path / "results" / name).read_bytes()[:4] == b"\x89PNG"

    def test_flipped_labels_by_hand(self, tmp_path: Path) -> None:
        rows = _rows(_page(SOME, tmp_path), "Flipped training labels")
        assert rows[0] == ["loss", "0 % flipped", "20 % flipped"]
        assert rows[2:4] == [["auformer", "94.4 ± 7.9", "55.6"], ["bce", "88.9", "not run"]]
        assert rows[6:7] == [["bce", "+0.0 [+0.0, +0.0]", "not run"]]  # on seed 0, where AUFormer has the same counts
        assert rows[9:11] == [["auformer", "94.4", ""], ["bce", "55.6", "not run"]]  # with thresholds of its own
        assert rows[13:] == [["auformer", "80.0", "25.0"], ["bce", "", "not run"]]

    def test_sizes_by_hand(self, tmp_path: Path) -> None:
        methods = ["auformer", "lora"]
        entry = {
            "protocol": "efficiency",
            "name": "sizes",
            "data": "large",
            "sizes": [100],
            "folds": 2,
            "methods": methods,
        }
        given: Line = {"protocol": "efficiency", "data": "large", "test": "large", "name": "sizes"}
        folds = [("f1", POOR), ("f2", BEST)]
        found = [_line("auformer", GOOD, fold=fold, subset=size, **given) for size in (2000, 100) for fold, _ in folds]
        found += [_line("lora", counts, fold=fold, subset=100, **given) for fold, counts in folds]
        rows = _rows(_page(found, tmp_path, [entry]), "Training sizes")
        assert rows[0] == ["method", "100 frames", "2,000 frames"]
        # LoRA's mean over folds: (55.6 + 100) / 2 = 77.8, 11.1 below AUFormer
        assert rows[2:4] == [["auformer", "88.9", "88.9"], ["lora", "77.8", "not run"]]
        assert rows[6][0] == "lora" and rows[6][1].startswith("-11.1 [") and rows[6][2] == "not run"

    def test_another_backbone_and_another_lab_have_places_of_their_own(self, tmp_path: Path) -> None:
        masks = {"name": "baselines-masks", "checkpoint": "somewhere/masks.safetensors"}
        found = [*SOME, _line("auformer", POOR, **masks), _line("lora", GOOD, **masks)]
        found += [_line("auformer", BEST, test="lab_b"), _line("lora", POOR, test="lab_b")]
        page = _page(found, tmp_path)
        assert page.index("Backbone demo") < page.index("Backbone masks")
        rows = _rows(page, "Baselines")
        both = [("-33.3 [-44.4, -22.2]", "50.0"), ("-44.4 [-55.6, -33.3]", "")]
        assert rows[3] == ["lora", "2,000", "1", *(cell for pair in both for cell in ("55.6", *pair))]
        assert rows[7:] == [  # no line of lab B there
            ["auformer", "1,000", "1", "55.6", "", "", *["not run"] * 3],
            ["lora", "1,000", "1", "88.9", "+33.3 [+22.2, +44.4]", "", *["not run"] * 3],
        ]

    def test_without_lines_everything_is_not_run(self, tmp_path: Path) -> None:
        """The suite as it is; nothing is invented."""
        (tmp_path / "runs.jsonl").touch()
        report.main([str(tmp_path), "--out", str(tmp_path)])
        page = (tmp_path / "ablations.md").read_text(encoding="utf-8")
        for text in (
            "full_finetuning",
            "shared_expert",
            "exponent_2",
            "window 5",
            "not run",
            "verdict is not written yet",
        ):
            assert text in page
        assert "nan" not in page and "±" not in page.partition("## Baselines")[2] and not list(tmp_path.glob("*.png"))
        assert _rows(page, "Costs") == [] and "Not run." in page.partition("## Costs")[2]

    def test_the_verdict_is_kept_and_costs_are_shown(self, tmp_path: Path) -> None:
        write_text(tmp_path / "results" / "ablations_verdict.md", "It holds.\n")
        settings = dict.fromkeys(
            [
                "rounds",
                "backbone",
                "image_size",
                "aus",
                "batch",
                "precision",
                "threads",
                "machine",
                "torch",
                "commit",
                "date",
            ]
        )
        one = {"trained": 1234, "forward": 1.251, "training": 0.5, "kept_bytes": 3 * 2**20}
        content = {"settings": settings, "methods": {"auformer": one}, "left_out": {}}
        write_text(tmp_path / "results" / "method_costs.json", json.dumps(content))
        page = _page(SOME, tmp_path)
        assert page.count("It holds.") == 1
        assert _rows(page, "Costs")[2:] == [["auformer", "1,234", "1.25", "0.50", "3"]]

    def test_rates_are_chosen_on_validation_subjects(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        grid = {"lora": {1e-3: 0.6, 3e-3: 0.71, 1e-2: 0.7}, "auformer": {1e-3: 0.5, 3e-3: 0.6, 1e-2: 0.8}}
        found = [
            _line(method, GOOD, f"rates-{rate:g}", lr=rate, validation_score=score)
            for method, rates in grid.items()
            for rate, score in rates.items()
        ] + SOME
        report.main([str(_write(found, tmp_path)), "--rates", "--out", str(tmp_path)])
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith("auformer: {model.lr: 1.0e-02}")
        assert first.endswith("EDGE OF THE GRID: try a rate beyond it")
        assert second == "lora: {model.lr: 3.0e-03}  # F1 on validation subjects 71.0 (1e-03 60.0, 1e-02 70.0)"
        assert yaml.safe_load(second) == {"lora": {"model.lr": 0.003}} and not (tmp_path / "ablations.md").exists()
        page = _page(found, tmp_path)
        rows = _rows(page, "Learning rates")
        assert rows[0] == ["method", "1e-03", "3e-03", "1e-02", "trained with"]
        assert rows[2:4] == [["auformer", "50.0", "60.0", "80.0*", "5e-03"], ["lora", "60.0", "71.0*", "70.0", "5e-03"]]
        assert "a better rate may lie outside: auformer." in page
        assert "auformer | 1,000 | 2 | 94.4" in page  # runs of the grid are no runs of the baselines
        assert best_rate({0.1: 0.5, 0.01: 0.5}) == 0.01 and at_edge({0.1: 0.5, 0.01: 0.5})
        for wrong in ({}, {"validation_score": None}, {"validation_score": 0.7, "select": "test"}):
            with pytest.raises(ValueError, match=r"run of lora in rates-0\.01 to hold `validation_score`"):
                validation_scores([_line("lora", GOOD, "rates-0.01", lr=0.01, **wrong)])


class TestLines:
    def test_the_committed_form_gives_the_same_page(self, tmp_path: Path) -> None:
        rate = _line("lora", GOOD, "rates-0.01", lr=0.01, validation_score=0.123456789)
        page = _page([*SOME, rate], tmp_path)
        lines.main([str(tmp_path / "runs.jsonl"), str(tmp_path / "small" / "runs.jsonl")])
        small = [json.loads(text) for text in (tmp_path / "small" / "runs.jsonl").read_text().splitlines()]
        assert _page(small, tmp_path / "small") == page and all("reliability" not in line for line in small)

    def test_the_committed_page_has_the_numbers_of_the_committed_lines(self) -> None:
        found = [line for line in find_lines(RESULTS / "runs.jsonl") if line["name"] == "clips"]
        page = (RESULTS / "ablations.md").read_text(encoding="utf-8")
        for one in compare(found, draws=2):
            assert f"| {one.label} | {one.trained:,} | {len(one.seeds)} | {100 * one.mean:.1f} |" in page

    def test_a_training_that_was_taken_over_is_counted_once(self) -> None:
        taken = _line("lora", GOOD, test="lab_b", seconds=7200.0, trained_by="runs/baselines/lora")
        table = sources_table([_line("lora", GOOD, seconds=7200.0), taken])
        assert table.rows == [["baselines", "a machine", "abc1234", "0", "2", "1", "2.0"]]

    def test_other_rows_than_the_reference_are_not_compared(self) -> None:
        more = {"S1": [9, 1, 0, 5], "S2": [4, 0, 1, 5]}
        some = [_line("auformer", GOOD), _line("lora", more), _line("bitfit", GOOD, seed=7)]
        found = {one.method: one for one in compare(some)}
        assert found["lora"].apart is None and found["bitfit"].apart is None  # other rows; no seed in common
        assert math.isnan(found["lora"].spread) and found["auformer"].apart is None
        with pytest.raises(ValueError, match="one data set and test"):
            compare([_line("auformer", GOOD), _line("auformer", GOOD, test="lab_b")])

    def test_files_of_another_name_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "other.jsonl").touch()
        for path in (tmp_path, tmp_path / "other.jsonl"):
            with pytest.raises(ValueError, match=r"Expected a folder with runs\.jsonl"):
                find_lines(path)
        assert in_order(["b", "a", "c", "a"], ["c", "d"]) == ["c", "b", "a"]


HIGH = {
    "adaptformer": (158_844, 0.7285, 0.0148), "auformer": (362_952, 0.7600, 0.0059), "bitfit": (23_076, 0.7268, 0.0055),
    "both_heads": (362_952, 0.7892, 0.0014), "convpass": (56_124, 0.7548, 0.0091), "houlsby": (312_828, 0.7704, 0.0032),
    "full_finetuning": (2_815_572, 0.7588, 0.0024), "last_blocks": (455_100, 0.7647, 0.0048),
    "linear_probe": (2_316, 0.7417, 0.0073), "lora": (157_308, 0.7706, 0.0026), "ssf": (35_964, 0.7462, 0.0055),
    "vpt_deep": (21_372, 0.7304, math.nan),
}  # fmt: skip
LOW_MEANS = (0.4939, 0.5067, 0.4952, 0.4882, 0.4884, 0.5198, 0.5348, 0.4902, 0.5030, 0.5394, 0.5008, 0.4927)
LOW = {name: (HIGH[name][0], mean, 0.012) for name, mean in zip(HIGH, LOW_MEANS, strict=True)}


class TestFigures:
    def test_every_method_has_a_label_that_covers_nothing_and_no_line_runs_over_another_mark(self) -> None:
        """With these values AUFormer's line ran over the mark of Houlsby's adapters once."""
        figure = parameters_figure(
            {"unseen": {"demo": HIGH, "masks": LOW}, "lab_b": {"demo": HIGH}}, reference="auformer"
        )
        assert not cut_texts(figure) and {"demo", "masks"} <= {text.get_text() for text in visible_texts(figure)}
        for axes in figure.axes:
            boxes = {text.get_text(): text.get_window_extent() for text in axes.texts if text.get_text()}
            assert set(boxes) == {name.replace("_", " ") for name in HIGH}
            names = list(boxes)
            assert not [(a, b) for i, a in enumerate(names) for b in names[:i] if boxes[a].overlaps(boxes[b])]
        axes, scale = figure.axes[0], figure.dpi / 72
        where = [(size, 100 * mean) for spots in (HIGH, LOW) for size, mean, _ in spots.values()]
        marks = axes.transData.transform(where)
        ways = [text for text in axes.texts if isinstance(text, Annotation) and not text.get_text()]
        assert ways
        for line in ways:
            end = axes.transData.transform(line.xy)
            way = np.linspace(end, end + scale * np.array(line.get_position()), 200)
            others = marks[np.abs(marks - end).max(axis=1) > 5 * scale]  # marks that touch share their surroundings
            away = np.linalg.norm(way[:, None] - others, axis=2).min()
            assert away > 3.25 * scale  # half of a mark, which is 6.5 points wide
        with pytest.raises(ValueError, match="at least one point"):
            parameters_figure({"unseen": {"demo": {}}}, reference="auformer")

    def test_a_line_per_loss(self) -> None:
        curves = {
            name: [(0.0, 0.7 - i / 50, 0.01), (0.05, 0.69 - i / 40, math.nan), (0.2, 0.6 - i / 30, 0.02)]
            for i, name in enumerate("abcd")
        }
        figure = noise_figure(curves)
        shown = {text.get_text() for text in visible_texts(figure)}
        assert not cut_texts(figure) and {"a", "b", "c", "d", "0", "5", "20"} <= shown
        assert figure.axes[0].lines[0].get_xydata().round(6).tolist()[2] == [20, 60]
        for wrong in ({}, {str(i): curves["a"] for i in range(7)}):
            with pytest.raises(ValueError, match="1 to 6 losses"):
                noise_figure(wrong)


class TestCosts:
    @pytest.fixture(autouse=True)
    def _threads(self):
        before = torch.get_num_threads()
        yield
        torch.set_num_threads(before)

    def test_a_line_each_and_the_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        names = ["linear_probe", "full_finetuning", "auformer", "no_carry"]
        cross = {"protocol": "cross", "train": "lab_a", "test": "unseen"}
        runs = [{**cross, "name": "baselines", "methods": names[:3]}]
        runs += [{**cross, "name": "parts", "methods": [names[3], "pool_token"]}]
        suite = report.SUITE.read_text(encoding="utf-8").replace("../configs", str(ROOT / "experiments" / "configs"))
        write_text(tmp_path / "ablations.yaml", suite)
        write_text(tmp_path / "suite.yaml", json.dumps({"base": "ablations.yaml", "runs": runs}))
        words = "--backbone vit_tests_gap --img-size 32 --aus AU1,AU12 --batch 2 --rounds 1 --suite"
        method_costs.main([*words.split(), str(tmp_path / "suite.yaml"), "--out", str(tmp_path)])
        content = read_json(tmp_path / "method_costs.json")
        assert content is not None
        costs, table = content["methods"], costs_table(content)
        assert set(costs) == set(names) and capsys.readouterr().out.count("trained, prediction") == 4
        assert "no class token" in content["left_out"]["pool_token"] and "pool_token" in table.notes[1]
        assert costs["linear_probe"]["trained"] == 24 * 2 + 2
        assert costs["full_finetuning"]["trained"] == costs["full_finetuning"]["total"]
        plain = AUFormer("vit_tests_gap", ["AU1", "AU12"], img_size=32, expert_width=4)
        assert costs["auformer"]["trained"] == plain.num_parameters()[0]
        assert costs["linear_probe"]["kept_bytes"] < costs["auformer"]["kept_bytes"]
        assert all(one["forward"] > 0 and one["training"] > 0 for one in costs.values())
        assert content["settings"]["precision"] == "bf16-mixed" and [row[0] for row in table.rows] == list(costs)

    def test_what_is_measured(self) -> None:
        suite = read_suite(report.SUITE)
        names = method_costs.method_names(suite)
        assert {"auformer", "ssf", "width_16", "last_half"} <= set(names) and not {"bce", "margin_0"} & set(names)
        assert names["lora"] == "baselines" and names["no_ca"] == "parts"
        with pytest.raises(ValueError, match="but got bce"):
            method_costs.chosen_names(suite, ["auformer", "bce"])

    def test_a_step_moves_what_is_trained_only(self) -> None:
        words = ["--backbone", "vit_tests_token", "--img-size", "32", "--aus", "AU1,AU12"]
        args = method_costs.parse_arguments(words)
        network = (module := method_costs.build(read_suite(report.SUITE), "bitfit", "baselines", args)).network
        before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
        method_costs.trainer(module, torch.rand(2, 3, 32, 32), torch.tensor([[1, 0], [0, 1]]))()
        moved = {name for name, one in network.named_parameters() if not torch.equal(one, before[name])}
        assert moved and moved <= {name for name, one in network.named_parameters() if one.requires_grad}


def test_the_demo_s_comparison_follows_from_its_lines() -> None:
    summary = demo_grid.summarise()
    assert summary == read_json(RESULTS / "demo.json") == read_json(demo_grid.PACKAGED)
    assert demo_grid.page(summary) == (RESULTS / "demo.md").read_text(encoding="utf-8")


def test_a_run_of_the_demo_s_comparison(tmp_path: Path) -> None:
    plan = FULL._replace(train=(2, 30), val=(2, 4), test=(2, 4))
    data = {split: str(path) for split, path in render_splits(tmp_path, plan).items()}
    job = {"stage": "full", "method": "auformer", "lr": 1e-3, "seed": 0, "epochs": 1, "data": data}
    line = demo_grid.train({**job, "folder": str(tmp_path / "run")})
    assert (
        set(line["scores"]) == {"auformer", BOTH_HEADS, "always_positive"} and line["trainable_parameters"] == 362_952
    )
    assert all(set(entries) == set(DATASETS) for entries in line["scores"].values())


def test_probability_and_intensity(tmp_path: Path) -> None:
    result = probability_intensity.main(["--identities", "1", "--out", str(tmp_path)])
    assert read_json(tmp_path / "probability_intensity.json") == result
    assert (tmp_path / "probability_intensity.png").stat().st_size > 20_000
    rises = [values[-1] - values[0] for values in result["mean_probability"].values()]
    assert len(rises) == 24 and np.mean(rises) > 0.4  # an AU that is shown is seen
    rows = {"AU12": np.ones((3, 6)) * 0.5, "AU1": np.zeros((3, 6))}
    figure = intensity_curves(np.arange(6.0), rows, {"AU1": 0.5, "AU12": 0.4}, title="x")
    assert {"AU12 Lip corner puller", "True intensity (0 to 5)", "x"} <= set(texts(figure)) and cut_texts(figure) == []
    with pytest.raises(ValueError, match=r"\(n, 6\)"):
        intensity_curves(np.arange(6.0), {"AU1": np.zeros((3, 5))}, {"AU1": 0.5})
