"""A demo of a few small faces on an untrained ViT: everything that it writes, a second run, other settings, an
interruption.
"""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.metrics import f1_score, roc_auc_score

from auformer import cli
from auformer.aus import AU_SETS, SHARED_BP4D_DISFA
from auformer.data.manifest import read_manifest, read_predictions
from auformer.demo.run import Plan, run_demo
from auformer.models import load_detector
from tests.helpers.browser import console, measure
from tests.helpers.runs import write_vit

pytestmark = pytest.mark.slow  # a whole demo, if a tiny one

BP4D = AU_SETS["bp4d"]
TINY = Plan(train=(6, 8), val=(2, 8), test=(2, 8), epochs=2, probe_epochs=1, size=32)
METHODS = ["auformer", "linear_probe", "full_finetuning", "always_positive"]


def _committed():
    """Results of a committed run, made up."""

    def entry(f1, names, parameters):
        means = {"mean_f1": f1, "mean_auroc": 0.9, "spread": {"mean_f1": 0.004, "mean_auroc": 0.002}}
        return {**means, "f1": dict.fromkeys(names, f1), "trainable_parameters": parameters}

    parts = {"lab_a": (0.83, BP4D), "lab_b": (0.58, BP4D), "lab_b_shared": (0.68, SHARED_BP4D_DISFA)}
    methods = {"full_finetuning": 2_800_000, "auformer": 363_000, "auformer_both_heads": 363_000, "linear_probe": 2_316}
    results = {
        part: {name: entry(f1, aus, size) for name, size in methods.items()} for part, (f1, aus) in parts.items()
    }
    return {"seeds": [0, 1, 2], **results}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Weights of a small ViT, and committed results."""
    folder = tmp_path_factory.mktemp("inputs")
    write_vit(folder / "vit.safetensors", "vit_tests_gap")
    (folder / "committed.json").write_text(json.dumps(_committed()), encoding="utf-8")
    files = {"backbone_file": folder / "vit.safetensors", "committed_file": folder / "committed.json"}
    return {"backbone": "vit_tests_gap", **files}


@pytest.fixture(scope="module")
def done(inputs, tmp_path_factory):
    """A finished demo, not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "demo"
    run_demo(out, plan=TINY, fast=True, **inputs)
    return out


def test_metrics_are_scikit_learn_s_on_the_predictions_file(done):
    metrics = json.loads((done / "metrics.json").read_text(encoding="utf-8"))
    labs = ("lab_a", "lab_b", "lab_b_shared")
    assert {part: list(entries) for part, entries in metrics.items()} == dict.fromkeys(labs, METHODS)
    keys = {"mean_f1", "mean_auroc", "f1", "trainable_parameters"}
    assert all(set(entry) == keys for entries in metrics.values() for entry in entries.values())
    assert list(metrics["lab_b_shared"]["auformer"]["f1"]) == list(SHARED_BP4D_DISFA)
    predictions = read_predictions(done / "predictions.csv")
    for part, dataset, names in (("lab_a", "synthetic_a", BP4D), ("lab_b_shared", "synthetic_b", SHARED_BP4D_DISFA)):
        rows = predictions[predictions["dataset"] == dataset]
        assert len(rows) == 16
        seen = [au for au in names if rows[f"{au}_true"].any()]
        f1 = {au: f1_score(rows[f"{au}_true"], rows[f"{au}_prob"] >= 0.5, zero_division=0) for au in seen}
        both = [au for au in seen if not rows[f"{au}_true"].all()]
        auroc = np.mean([roc_auc_score(rows[f"{au}_true"], rows[f"{au}_prob"]) for au in both])
        found = metrics[part]["auformer"]
        assert {au: value for au, value in found["f1"].items() if value is not None} == pytest.approx(f1)
        assert (found["mean_f1"], found["mean_auroc"]) == pytest.approx((np.mean(list(f1.values())), auroc))
        rates = {au: rows[f"{au}_true"].mean() for au in seen}
        floor = metrics[part]["always_positive"]
        assert {au: floor["f1"][au] for au in seen} == pytest.approx({au: 2 * r / (1 + r) for au, r in rates.items()})
        assert (floor["mean_auroc"], floor["trainable_parameters"]) == (0.5, 0)


def test_what_is_not_trained_comes_from_the_committed_run_and_is_marked(done):
    metrics = json.loads((done / "metrics.json").read_text(encoding="utf-8"))
    for part, entries in metrics.items():
        expected = _committed()[part]["full_finetuning"]
        assert {**entries["full_finetuning"], "spread": expected["spread"]} == expected
    table = (done / "table.md").read_text(encoding="utf-8")
    marked = [line.split(" | ")[0] for line in table.splitlines() if "†" in line and line.startswith("| ")]
    assert marked[:3] == ["| Full fine-tuning †", "| AUFormer †", "| Linear probe †"]
    assert "means of 3 seeds" in table and "† not trained in this run" in table
    for text in (table, (done / "report.html").read_text(encoding="utf-8")):
        assert "AUFormer" in text and "fast form" in text and "rendered faces only" in text


def test_the_adapter_file_is_the_run_s_and_gives_the_predictions(done, inputs):
    assert (done / "adapter.safetensors").read_bytes() == (done / "auformer" / "adapter.safetensors").read_bytes()
    network = load_detector(done / "adapter.safetensors", backbone_checkpoint=inputs["backbone_file"])
    metrics = json.loads((done / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["lab_a"]["auformer"]["trainable_parameters"] == network.num_parameters()[0]
    assert network.crop_recipe == "eyes" and network.average_heads
    side = json.loads((done / "predictions.json").read_text(encoding="utf-8"))
    assert side["au_names"] == list(BP4D) and "rendered faces only" in side["notice"]


def test_faces_and_settings(done):
    """No face is in two splits, lab B is labelled in full, and the settings hold everything that made the result."""
    splits = ("train", "val", "test_a", "test_b")
    tables = {name: read_manifest(done / "faces" / name / "manifest.csv") for name in splits}
    people = [set(zip(table["dataset"], table["subject"], strict=True)) for table in tables.values()]
    assert sum(map(len, people)) == len(set.union(*people)) == 6 + 2 + 2 + 2
    assert tuple(tables["test_a"].attrs["au_names"]) == BP4D and len(tables["test_b"].attrs["au_names"]) == 24
    config = yaml.safe_load((done / "config.yaml").read_text(encoding="utf-8"))
    assert (config["command"], config["fast"], config["seed"]) == ("auformer demo", True, 0)
    assert config["faces"]["train"] == {"lab": "A", "first": 0, "faces": 6, "pictures_each": 8}
    assert config["methods"]["auformer"]["epochs"] == 2 and config["methods"]["auformer"]["expert_width"] == 4


@pytest.mark.browser
def test_the_page_opens_in_a_browser_on_a_phone_by_night(done, tmp_path):
    page = done / "report.html"
    assert console(page, tmp_path) == []
    seen = measure(page, tmp_path, width=390, dark=True)
    assert seen["scrollWidth"] <= 390 and seen["section"] == "rgb(26, 29, 35)"
    assert len(seen["pictures"]) == 4 and all(picture["loaded"] and picture["alt"] for picture in seen["pictures"])


def test_a_second_run_reuses_everything_and_prints_the_table_again(done, inputs, monkeypatch, tmp_path, capsys):
    out = tmp_path / "demo"
    shutil.copytree(done, out)
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    before = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def refuse(*args, **kwargs):
        raise AssertionError("done twice")

    monkeypatch.setattr("pytorch_lightning.Trainer.fit", refuse)
    monkeypatch.setattr("auformer.synthetic.writing.render_subject", refuse)
    monkeypatch.setattr("auformer.predict.manifest.predict_manifest", refuse)
    run_demo(out, plan=TINY, fast=True, say=print, **inputs)
    after = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert after == before
    printed = capsys.readouterr().out
    cells = re.findall(r"^\| AUFormer \| ([\d.]+) ", (out / "table.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert re.search(rf"^AUFormer +{re.escape(cells[0])} ", printed, flags=re.MULTILINE)
    assert [line[:3] for line in printed.splitlines() if re.match(r"\d/4", line)] == ["1/4", "2/4", "3/4", "4/4"]
    assert "report.html" in printed.splitlines()[-1]


def test_other_settings_lose_nothing_unless_told(done, inputs, tmp_path):
    out = tmp_path / "demo"
    shutil.copytree(done, out)
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match=r"seed was 0 and is now 7.*overwrite"):
        run_demo(out, plan=TINY, fast=True, seed=7, **inputs)
    assert (out / "metrics.json").read_bytes() == (done / "metrics.json").read_bytes()
    run_demo(out, plan=TINY._replace(epochs=1), fast=False, seed=7, overwrite=True, **inputs)
    assert (out / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert (out / "metrics.json").read_bytes() != (done / "metrics.json").read_bytes()
    assert "fast form" not in (out / "report.html").read_text(encoding="utf-8")


def test_a_folder_of_somebody_else_is_not_touched(inputs, tmp_path):
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "holiday.jpg").write_bytes(b"x")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="holds faces"):
            run_demo(tmp_path, plan=TINY, overwrite=overwrite, **inputs)
    assert [path.name for path in tmp_path.rglob("*")] == ["faces", "holiday.jpg"]


def test_an_interrupted_demo_goes_on_to_the_same_result(done, inputs, monkeypatch, tmp_path):
    out = tmp_path / "demo"
    shutil.copytree(done / "faces", out / "faces")
    shutil.copy(done / "config.yaml", out)
    with monkeypatch.context() as patch:
        epochs = []

        def stop(*args):
            epochs.append(1)
            if len(epochs) == 2:
                raise KeyboardInterrupt

        patch.setattr("auformer.training.module.AUModule.on_train_epoch_start", stop, raising=False)
        with pytest.raises(KeyboardInterrupt):
            run_demo(out, plan=TINY, fast=True, **inputs)
    assert not (out / "metrics.json").exists() and (out / "auformer" / "last.ckpt").exists()
    run_demo(out, plan=TINY, fast=True, **inputs)
    assert (out / "metrics.json").read_bytes() == (done / "metrics.json").read_bytes()


def test_the_command_passes_its_options_on(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr("auformer.demo.run_demo", lambda out, **options: calls.append((out, options)))
    assert cli.main(["demo", "--fast", "--out", str(tmp_path), "--seed", "3", "--workers", "2", "--overwrite"]) == 0
    assert cli.main(["demo"]) == 0
    given = {"fast": True, "seed": 3, "workers": 2, "overwrite": True}
    assert calls[0][0] == tmp_path and given.items() <= calls[0][1].items()
    assert calls[1][0] == Path("runs/demo") and not calls[1][1]["fast"] and calls[1][1]["workers"] >= 1


def test_bad_seed_and_bad_committed_results_stop_before_the_work(inputs, tmp_path):
    with pytest.raises(ValueError, match="--seed"):
        run_demo(tmp_path / "demo", plan=TINY, seed=-1, **inputs)
    bad = tmp_path / "bad.json"
    for content, message in (("{}", "KeyError"), ('{"lab_a": {"full_finetuning": {}}', "JSONDecodeError")):
        bad.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            run_demo(tmp_path / "demo", plan=TINY, **{**inputs, "committed_file": bad})
    assert not (tmp_path / "demo").exists()
