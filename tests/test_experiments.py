"""Every configuration in `experiments/` trains in a reduced form, and the command line keeps what it should."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import yaml

from auformer.benchmark.protocols import DataSet
from auformer.benchmark.suite import read_suite
from auformer.cli import main
from auformer.models import AUFormer, FullFineTuning, LinearProbe
from auformer.training.config import merged_config, resolve_config, with_bases
from auformer.training.module import AUModule
from tests.helpers.runs import cli_words, write_workspace

ROOT = Path(__file__).resolve().parents[1]
SUITES = sorted((ROOT / "experiments").glob("suite-*.yaml"))
CONFIGS = sorted(
    set((ROOT / "experiments").glob("*.yaml")) - set(SUITES) - set((ROOT / "experiments").glob("ablations*.yaml"))
)
SYNTHETIC = ROOT / "experiments" / "synthetic.yaml"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_workspace(tmp_path_factory.mktemp("experiments"))


@pytest.fixture(scope="module")
def run(workspace: Path) -> list[str]:
    """Words of a finished run into `workspace/run`."""
    words = cli_words(workspace, SYNTHETIC, "run")
    assert main(["fit", *words]) == 0
    return words


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_trains(workspace: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = {
        "data__au_names": "AU1,AU4,AU12",
        "data__num_workers": 0,
        "data__clip_input": "frames",
    }  # the workspace has stills
    words = cli_words(workspace, config, config.stem, trainer__max_epochs=1, **small)
    assert main(["fit", *words]) == 0
    chosen = r", mean F1 0\.\d+ on the validation part" if merged_config(config)["select"] == "best" else ""
    assert re.search(rf"adapter.safetensors: epoch 1 of 1{chosen}\n", capsys.readouterr().out)
    network = AUModule.load_from_checkpoint(workspace / config.stem / "last.ckpt").network
    kinds = {"synthetic_linear_probe": LinearProbe, "synthetic_full_finetuning": FullFineTuning}
    assert type(network) is kinds.get(config.stem, AUFormer)
    stored = yaml.safe_load((workspace / config.stem / "config.yaml").read_text(encoding="utf-8"))
    given = [
        yaml.safe_load(Path(path).read_text(encoding="utf-8")) for path in with_bases(["--config", str(config)])[1::2]
    ]
    rates = [one["model"]["init_args"]["lr"] for one in given if "lr" in one.get("model", {}).get("init_args", {})]
    assert stored["model"]["init_args"]["lr"] == rates[-1] and stored["model"]["init_args"]["warmup_fraction"] == 0.08


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_suite_lists_its_runs_and_builds_its_methods(workspace: Path, path: Path) -> None:
    """With a tiny ViT; what they need in data is not here."""
    suite = read_suite(path)
    runs = suite.runs(
        {name: DataSet(name, source.manifest, None, source.synth is not None) for name, source in suite.data.items()}
    )
    assert runs and {run.protocol for run in runs} == {entry.protocol for entry in suite.entries}
    tiny = {
        "backbone": "vit_tests_token",
        "pretrained": False,
        "checkpoint_path": str(workspace / "vit.safetensors"),
        "img_size": 32,
    }
    for method, entry in sorted({(run.method, run.name) for run in runs}):
        config = resolve_config(suite.config_of(method, entry))
        data = SimpleNamespace(au_names=["AU1", "AU4"], au_weights=[1.0, 1.0])
        network = replace(config, model={**config.model, **tiny}).build(data).network  # type: ignore[arg-type]
        assert type(network) is (LinearProbe if method == "linear_probe" else AUFormer)


def test_the_paper_s_protocols_are_four_suites_of_known_size() -> None:
    numbers = {}
    for path in SUITES:
        suite = read_suite(path)
        runs = suite.runs(
            {
                name: DataSet(name, source.manifest, None, source.synth is not None)
                for name, source in suite.data.items()
            }
        )
        numbers[path.stem] = len(runs)
    assert numbers == {
        "suite-within": 12,
        "suite-cross": 4,
        "suite-efficiency": 30,
        "suite-micro": 24,
        "suite-synthetic": 61,
    }


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_value_has_its_source(config: Path) -> None:
    """Values that the sources do not fix say `[ours]`; those of base.yaml each say where they are from."""
    lines = [line for line in config.read_text(encoding="utf-8").splitlines() if re.match(r" +[a-z_]+: *[^ #{]", line)]
    named = r"class_path|train:|test:|image_size|pretrained|deterministic"  # not numbers of a method
    assert [line for line in lines if "#" not in line and not re.search(named, line)] == []


def test_a_finished_run_is_scored_on_both_parts(workspace: Path, run: list[str]) -> None:
    for word, part in (("validate", "val"), ("test", "test")):
        assert main([word, *run]) == 0
        figures = pd.read_csv(workspace / "run" / f"{word}.csv").iloc[0]
        assert 0 <= figures[f"{part}/f1"] <= 1
    table, best = (
        pd.read_csv(workspace / "run" / "metrics.csv"),
        torch.load(workspace / "run" / "best.ckpt", weights_only=True),
    )
    again = pd.read_csv(workspace / "run" / "validate.csv").iloc[0]
    assert again["val/loss"] == pytest.approx(table.set_index("epoch").loc[best["epoch"], "val/loss"], rel=1e-5)


def test_a_finished_run_is_not_overwritten_without_being_told(
    workspace: Path, run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (workspace / "run" / "adapter.safetensors").stat().st_mtime_ns
    assert main(["fit", *run]) == 1
    assert "without a finished run" in capsys.readouterr().err
    assert (workspace / "run" / "adapter.safetensors").stat().st_mtime_ns == before
    again = ["fit", "--config", str(workspace / "run" / "config.yaml"), "--out", str(workspace / "again")]
    assert main(again) == 0
    assert main([*again, "--overwrite", "true", "--trainer.max_epochs", "1"]) == 0
    assert len(pd.read_csv(workspace / "again" / "metrics.csv")) == 1


def test_a_stranger_s_checkpoint_names_no_class(
    workspace: Path, run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """LightningCLI by itself imports the class that a checkpoint names."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')", encoding="utf-8")
    checkpoint = torch.load(workspace / "run" / "best.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["_class_path"] = "evil.Module"
    torch.save(checkpoint, tmp_path / "evil.ckpt")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        for word in ("validate", "test", "fit"):
            assert (
                main(
                    [
                        word,
                        *run,
                        "--ckpt_path",
                        str(tmp_path / "evil.ckpt"),
                        *(["--overwrite", "true"] if word == "fit" else []),
                    ]
                )
                == 1
            )
            assert "only classes of auformer" in capsys.readouterr().err
    assert not (tmp_path / "imported").exists()


def test_help_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--help"]) == 0
    text = capsys.readouterr().out
    options = "out patience select tune trainer.precision data.train data.label_noise model.margin model.checkpoint_path ckpt_path"
    assert [option for option in options.split() if f"--{option} " not in text] == []


def test_files_that_build_on_others_come_after_them(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x: 1\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n", encoding="utf-8")
    (tmp_path / "c.yaml").write_text("base: b.yaml\n", encoding="utf-8")
    a, b, c = (str(tmp_path / f"{name}.yaml") for name in "abc")
    assert with_bases(["fit", "--config", c, "--x", "2"]) == [
        "fit",
        "--config",
        a,
        "--config",
        b,
        "--config",
        c,
        "--x",
        "2",
    ]
    assert with_bases([f"--config={b}", "-c", a]) == ["--config", a, "--config", b, "--config", a]
    (tmp_path / "a.yaml").write_text("base: c.yaml\n", encoding="utf-8")
    for wrong in (c, a):
        with pytest.raises(ValueError, match="does not build on it"):
            with_bases(["--config", wrong])
    (tmp_path / "d.yaml").write_text("base: nowhere.yaml\n", encoding="utf-8")
    with pytest.raises(ValueError, match="nowhere"):
        with_bases(["--config", str(tmp_path / "d.yaml")])
