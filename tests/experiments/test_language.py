"""Configurations and suite of the networks that speak: each trains in a reduced form and builds what its name says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from auformer.benchmark.protocols import DataSet
from auformer.benchmark.suite import read_suite
from auformer.cli import main
from auformer.models import load_detector
from auformer.models.language.aullava import AULLaVA
from auformer.models.language.vlfau import VLFAU
from auformer.training.config import resolve_config
from experiments.ablations import language as scripts
from experiments.ablations import language_page as page
from experiments.ablations import language_scores as scores
from experiments.ablations import language_tables as tables
from tests.helpers.runs import AUS, VIT, cli_words, write_workspace

pytest.importorskip("transformers")
EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
CONFIGS = EXPERIMENTS / "configs" / "language"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_workspace(tmp_path_factory.mktemp("language"))
    for name in ("data", "test"):
        path = folder / name / "manifest.csv"
        frame = pd.read_csv(path)
        frame.assign(**{f"{au}_intensity": frame[au] * (1 + frame["frame"] % 5) for au in AUS}).to_csv(
            path, index=False
        )
    return folder


@pytest.mark.parametrize(
    ("name", "kind", "more"),
    [
        ("vlfau", VLFAU, {"model__network__expert_width": 2, "model__network__branch_width": 8}),
        ("aullava_tiny", AULLaVA, {}),
        ("aullava_7b", AULLaVA,
         {"model__network__lm": "tiny", "model__network__lm_lora": 0, "model__network__lm_bits": 32}),
    ],
)  # fmt: skip
def test_every_configuration_trains(name: str, kind: Any, more: dict[str, Any], workspace: Path) -> None:
    """The 7B configuration with the small model in the place of its language model."""
    small = {"trainer__max_epochs": 1, "trainer__check_val_every_n_epoch": 1, "trainer__precision": "32-true"}
    words = cli_words(workspace, CONFIGS / f"{name}.yaml", name, data__au_names="AU1,AU4,AU12", **small, **more)
    assert main(["fit", *words]) == 0
    network: Any = load_detector(
        workspace / name / "adapter.safetensors", backbone_checkpoint=workspace / "vit.safetensors"
    )
    assert type(network) is kind
    assert main(["test", *words]) == 0
    out = workspace / f"{name}.csv"
    given = ["--backbone-checkpoint", str(workspace / "vit.safetensors"), "--device", "cpu", "--out", str(out)]
    manifest = str(workspace / "test" / "manifest.csv")
    assert main(["evaluate", str(workspace / name / "adapter.safetensors"), manifest, *given]) == 0
    columns = set(pd.read_csv(out).columns)
    assert {"AU12_prob", "AU12_active"} <= columns
    assert ("AU12_intensity_pred" in columns) == (name == "aullava_tiny")
    assert json.loads(out.with_suffix(".json").read_text())["config"]["network"].endswith(kind.__name__)


def test_the_suite_builds_its_methods() -> None:
    suite = read_suite(EXPERIMENTS / "suites" / "language.yaml")
    sets = {name: DataSet(name, one.manifest, None, one.synth is not None) for name, one in suite.data.items()}
    runs = suite.runs(sets)
    assert len(runs) == 4 * 3
    kinds = {"vlfau": "VLFAU", "aullava": "AULLaVA", "auformer": "AUFormer", "linear_probe": "LinearProbe"}
    tiny = {"backbone": VIT, "pretrained": False, "checkpoint_path": None, "img_size": 32}
    data: Any = SimpleNamespace(au_names=["AU1", "AU4"], au_weights=[1.0, 1.0])
    for method, kind in kinds.items():
        config = resolve_config(suite.config_of(method, runs[0].name))
        network = {**config.network, "init_args": {**config.network["init_args"], **tiny}}
        assert type(replace(config, network=network).build(data).network).__name__ == kind


def _line(what: str, seed: int = 0, epochs: int = 6, f1: float = 0.8) -> dict[str, Any]:
    scores = {"readable": 1.0, "agreement": 0.97, "truth": 0.9, "f1": 0.79, "degree": 0.5, "degree_near": 0.9,
              "kappa": 0.4, "bleu4": 80.0, "cider": 3.0}  # fmt: skip
    maps = ("own", "another AU's", "fixed per AU", "the change itself")
    lab = {
        "occurrence": {"f1": f1, "auroc": 0.9, "ece": 0.1},
        "sentences": {**dict.fromkeys(tables.CONDITIONS, scores), "decisions_f1": 0.8},
        "where": {**{name: {"pointing": 0.5, "energy": 0.3, "deletion": 0.1} for name in maps}, "pairs": {}},
    }
    about = {"what": what, "seed": seed, "epochs": epochs, "commit": "abc", "machine": "m", "seconds": 60}
    return {**about, "trainable_parameters": 10, "lab_a": lab, "lab_b": lab}


def test_the_plan_begins_with_what_tells_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "read_lines", lambda: [{"what": "vlfau", "seed": 0, "epochs": 6}])
    jobs = scripts.plan([0, 1], None, 6, 20)
    assert jobs[:3] == [("probe", 0, 6), ("auformer", 0, 6), ("aullava", 0, 20)]
    rows = len(scripts.networks())
    assert {seed for _, seed, _ in jobs[: rows - 1]} == {0} and len(jobs) == 2 * rows - 1
    assert [what for what, _, _ in jobs[rows - 1 :]][:4] == list(scripts.MAIN)
    lines = scripts.plan_text(jobs).splitlines()
    assert len(lines) == len(jobs) and lines[0].startswith("probe") and float(lines[-1].split()[-3]) > 100


def test_no_run_begins_after_the_minutes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each takes ten minutes: of a quarter of an hour the second one is the last that begins."""
    clock, trained = [0.0], []

    def train(what: str, seed: int, *_: object) -> tuple[Path, dict[str, Any]]:
        clock[0] += 600
        trained.append((what, seed))
        return tmp_path, {}

    for split in scripts.FULL.sizes():
        (tmp_path / "faces" / split).mkdir(parents=True)
        for name in ("manifest.csv", "manifest.change.npz"):
            (tmp_path / "faces" / split / name).touch()
    monkeypatch.setattr(scripts, "read_lines", list)
    monkeypatch.setattr(scripts, "train", train)
    monkeypatch.setattr(scripts, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    threads = torch.get_num_threads()
    scripts.main(["--folder", str(tmp_path), "--train-only", "--minutes", "15"])
    torch.set_num_threads(threads)
    assert trained == [("probe", 0), ("vlfau", 0)]


def test_the_page_says_what_is_missing_and_what_is_not_reached() -> None:
    text = page.page([_line("vlfau"), _line("auformer", f1=0.82), _line("vlfau_unguided", epochs=3)])
    assert "**Not complete.**" in text and "vlfau (1, 2)" in text and "vlfau_unguided (0, 1, 2)" in text
    rows = {line.split(" | ")[1]: line for line in text.splitlines() if line.startswith("| VL-FAU on experts")}
    assert rows["sentences: agreement"].endswith("| 97.0 | yes |")
    assert rows["sentence F1, own minus swapped"].endswith("| 0.0 | no |")
    assert rows["F1 on lab A from AUFormer's of the same seed"].endswith("| -2.0 | no |")
    assert page.look_up(_line("x"), "sentences.own.f1 - sentences.decisions_f1") == pytest.approx(-0.01)
    assert page.look_up(_line("x"), "lab_b.occurrence.auroc") == 0.9
    several = tables.runs_table([_line("probe", seed, f1=value) for seed, value in ((0, 0.7), (1, 0.8))])
    assert "75.0 ± 7.1" in several
    whole = [_line(what, seed, 20) for what in scripts.networks() for seed in range(3)]
    assert page.missing(whole) == ""


def test_answers_heads_and_the_pair_are_on_the_page() -> None:
    """Each beside what it is to be read with; a bar is held against the run of the same seed."""
    lines = [
        _line(what, seed, 20, f1) for what, seed, f1 in (("aullava", 0, 0.80), ("probe", 0, 0.78), ("probe", 1, 0.9))
    ]
    for lab in ("lab_a", "lab_b"):
        own = lines[0][lab]
        own |= {kind: {"f1": 0.7, "auroc": 0.9, "ece": 0.02} for kind in ("list", "level", "swapped")}
        own |= {"temperature": 1.85, "ece_raw": 0.059, "free_list_readable": 0.5, "one_by_one": 0, "blank_apart": 0,
                "intensity": {"r": 0.82, "mae": 0.33, "mae_constant": 0.96, "icc": 0.8},
                "differ": {"reversed": 0.0, "list": 0.0, "level": 0.0}}  # fmt: skip
        lines[1][lab] |= {"pair": {"both": 0.44, "AU4": 0.5, "AU12": 0.6}}
        lines[1][lab] |= {"heads": {key: {"f1": 0.61, "auroc": 0.9} for key in ("logits", "branch_logits")}}
    text = page.page(lines)
    assert "| AU-LLaVA, small LM | all in a list | 70.0 | 90.0 | 0.020 |" in text
    assert "ECE 0.059 before the temperature of 1.85; levels: r 0.82, MAE 0.33 of 5" in text
    assert "| linear probe | 44.0 | 50.0 | 60.0 |" in text
    assert "| linear probe | branches | 61.0 |" in text
    assert "F1 on lab A from the linear probe's of the same seed | >= 0 | +2.0 | yes |" in text


def test_a_decision_falls_when_what_it_rests_on_is_wiped_out() -> None:
    """A network that sees one cell only: wiping that cell out moves it, wiping out others does not."""

    class OneCell:
        grid_size, image_size = (2, 2), (4, 4)

        def predict_probs(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, 0, :2, 2:].mean((1, 2), keepdim=True)[:, :, 0]

    images = torch.zeros(1, 3, 4, 4)
    images[:, :, :2, 2:] = 1.0
    order = np.array([[[[0.1, 0.4], [0.3, 0.2]]]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "BEST_CELLS", 1)
        assert scores.deletion(OneCell(), images, [(0, 0)], order) == pytest.approx(0.75)
        assert scores.deletion(OneCell(), images, [(0, 0)], -order) == 0.0


def test_partners_are_of_another_subject() -> None:
    subjects = np.repeat(["a", "b", "c", "d"], 5)
    assert (subjects[scores.partners(subjects)] != subjects).all()
