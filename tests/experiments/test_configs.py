"""Every configuration in `experiments/configs` trains in a reduced form, and the command line keeps what it should."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from auformer.cli import main
from auformer.models import AUFormer, FullFineTuning, LinearProbe, load_detector, read_adapter_header
from auformer.training.config import merged_config, with_bases
from auformer.training.module import AUModule
from tests.helpers.runs import AUS, cli_words, write_workspace

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_workspace(tmp_path_factory.mktemp("experiments"))
    for name in ("data", "test"):  # intensities, for the configuration that asks for them
        path = folder / name / "manifest.csv"
        frame = pd.read_csv(path)
        coded = {f"{au}_intensity": frame[au] * (1 + frame["frame"] % 5) for au in AUS}
        frame.assign(**coded).to_csv(path, index=False)
    return folder


@pytest.fixture(scope="module")
def run(workspace: Path) -> list[str]:
    """Words of a finished run into `workspace/run`."""
    words = cli_words(workspace, FOLDER / "synthetic.yaml", "run")
    assert main(["fit", *words]) == 0
    return words


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_trains(workspace: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = {"data__au_names": "AU1,AU4,AU12", "data__num_workers": 0, "data__clip_input": "frames"}  # there are stills
    if config.stem == "own_coding":  # begins with a checkpoint that the small ViT does not fit, see below
        small["model__start"] = "null"
    assert main(["fit", *cli_words(workspace, config, config.stem, trainer__max_epochs=1, **small)]) == 0
    chosen = r", mean F1 0\.\d+ on .*validation" if merged_config(config)["select"] == "best" else ""
    assert re.search(rf"adapter.safetensors: epoch 1 of 1{chosen}", capsys.readouterr().out)
    network = AUModule.load_from_checkpoint(workspace / config.stem / "last.ckpt").network
    kinds = {"synthetic_linear_probe": LinearProbe, "synthetic_full_finetuning": FullFineTuning}
    assert type(network) is kinds.get(config.stem, AUFormer)
    assert network.intensity == ("ordinal" if config.stem in ("synthetic_intensity", "own_coding") else "none")
    stored = yaml.safe_load((workspace / config.stem / "config.yaml").read_text(encoding="utf-8"))["model"]["init_args"]
    assert stored["lr"] == merged_config(config)["model"]["init_args"]["lr"] and stored["warmup_fraction"] == 0.08


def test_own_coding_begins_with_the_packaged_detector() -> None:
    given = merged_config(FOLDER / "own_coding.yaml")["model"]["init_args"]
    network = given.pop("network")
    module = AUModule(partial(AUFormer, **network["init_args"]), ["AU12", "AU46"], [1.0, 1.0], **given)
    packaged, mine = load_detector("demo"), module.network
    assert given["start"] == "demo" and mine.backbone_name == packaged.backbone_name and mine.has_feature_statistics
    assert torch.equal(mine.head.fc1.weight, packaged.head.fc1.weight)
    assert torch.equal(mine.head.fc2.weight[0], packaged.head.fc2.weight[packaged.au_names.index("AU12")])


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"model__network__intensity": "yes"}, "`intensity` to be one of none, regression, ordinal, but got 'yes'"),
        ({"model__intensity_weight": -1}, "`intensity_weight` to be 0 or more, but got -1"),
    ],
)
def test_a_wrong_value_of_the_model_is_one_line(
    workspace: Path, option: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *cli_words(workspace, FOLDER / "synthetic_intensity.yaml", "wrong", **option)]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"auformer: error: Expected {said}")
    assert not (workspace / "wrong").exists()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_value_has_its_source(config: Path) -> None:
    """Values that the sources do not fix say `[ours]`; those of base.yaml each say where they are from."""
    lines = [line for line in config.read_text(encoding="utf-8").splitlines() if re.match(r" +[a-z_]+: *[^ #{]", line)]
    named = r"class_path|train:|test:|image_size|pretrained|deterministic"  # not numbers of a method
    assert [line for line in lines if "#" not in line and not re.search(named, line)] == []


def test_a_finished_run_is_scored_on_both_splits(workspace: Path, run: list[str]) -> None:
    for word, split in (("validate", "val"), ("test", "test")):
        assert main([word, *run]) == 0
        assert 0 <= pd.read_csv(workspace / "run" / f"{word}.csv").iloc[0][f"{split}/f1"] <= 1
    table = pd.read_csv(workspace / "run" / "metrics.csv").set_index("epoch")
    best = torch.load(workspace / "run" / "best.ckpt", weights_only=True)["epoch"]
    again = pd.read_csv(workspace / "run" / "validate.csv").iloc[0]
    assert again["val/loss"] == pytest.approx(table.loc[best, "val/loss"], rel=1e-5)


def test_a_finished_run_is_not_overwritten_without_being_told(
    workspace: Path, run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (workspace / "run" / "adapter.safetensors").stat().st_mtime_ns
    assert main(["fit", *run]) == 1 and "finished" in capsys.readouterr().err
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
            more = ["--overwrite", "true"] if word == "fit" else []
            assert main([word, *run, "--ckpt_path", str(tmp_path / "evil.ckpt"), *more]) == 1
            assert re.search("evil.Module.* the file is not safe", capsys.readouterr().err)
    assert not (tmp_path / "imported").exists()
    assert (workspace / "run" / "best.ckpt").is_file()


def test_no_run_is_lost_to_a_start_from_its_own_checkpoint(
    workspace: Path, run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = workspace / "run"
    for name, said in (("last.ckpt", "outside of the run folder"), ("none.ckpt", "there is no such file")):
        assert main(["fit", *run, "--ckpt_path", str(folder / name), "--overwrite", "true"]) == 1
        assert said in capsys.readouterr().err and (folder / "last.ckpt").is_file()


def test_a_finished_run_goes_on_in_another_folder(workspace: Path, run: list[str], tmp_path: Path) -> None:
    """Also where no further epoch is better than those before."""
    checkpoint = torch.load(workspace / "run" / "last.ckpt", weights_only=True)
    (state,) = [state for state in checkpoint["callbacks"].values() if "score" in state]
    state["score"] = 2.0
    torch.save(checkpoint, tmp_path / "start.ckpt")
    more = ["--ckpt_path", str(tmp_path / "start.ckpt"), "--out", str(tmp_path / "on"), "--trainer.max_epochs", "3"]
    assert main(["fit", *run, *more]) == 0
    assert read_adapter_header(tmp_path / "on" / "adapter.safetensors")["extra"]["selection"]["epoch"] == 3


def test_help_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--help"]) == 0
    text = capsys.readouterr().out
    options = (
        "out patience select tune trainer.precision data.train data.label_noise model.margin model.network ckpt_path"
    )
    assert [option for option in options.split() if f"--{option} " not in text] == []


def test_files_that_build_on_others_come_after_them(tmp_path: Path) -> None:
    a, b, c, d = (str(tmp_path / f"{name}.yaml") for name in "abcd")
    for path, text in ((a, "x: 1"), (b, "base: a.yaml"), (c, "base: b.yaml"), (d, "base: nowhere.yaml")):
        Path(path).write_text(text + "\n", encoding="utf-8")
    built = ["fit", "--config", a, "--config", b, "--config", c, "--x", "2"]
    assert with_bases(["fit", "--config", c, "--x", "2"]) == built
    assert with_bases([f"--config={b}", "-c", a]) == ["--config", a, "--config", b, "--config", a]
    Path(a).write_text("base: c.yaml\n", encoding="utf-8")
    for wrong in (c, a):
        with pytest.raises(ValueError, match="does not build on it"):
            with_bases(["--config", wrong])
    with pytest.raises(ValueError, match="nowhere"):
        with_bases(["--config", d])
