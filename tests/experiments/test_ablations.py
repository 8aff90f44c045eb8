"""The suites of rivals and ablations: how many runs, that each method builds what its name says, and what the script for a GPU calls."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from auformer import models
from auformer.benchmark.protocols import DataSet, Run
from auformer.benchmark.suite import Suite, read_suite
from auformer.models import AUFormer
from auformer.synthetic import CHANNELS
from auformer.training.config import resolve_config
from auformer.training.module import AUModule

FOLDER = Path(__file__).resolve().parents[2] / "experiments"
RIVALS = {
    "linear_probe": "LinearProbe", "full_finetuning": "FullFineTuning", "last_blocks": "LastBlocks", "bitfit": "BitFit", "lora": "LoRA",
    "houlsby": "HoulsbyAdapter", "adaptformer": "AdaptFormer", "convpass": "Convpass", "vpt_deep": "VPTDeep", "ssf": "SSF",
}  # fmt: skip
PLAIN = {
    "dilations": [1, 3, 5], "window": 3, "expert_width": 4, "experts_beside": "both", "carry": True, "shared_expert": False,
    "blocks": "all", "pool": "avg", "expert_loss_weight": 1.0, "average_heads": False, "loss": "mdwa", "margin": 0.05,
    "gamma_low": 1.0, "gamma_high": 2.0, "dice_weight": 1.0,
}  # fmt: skip


def _runs(suite: Suite) -> list[Run]:
    return suite.runs(
        {name: DataSet(name, source.manifest, None, source.synth is not None) for name, source in suite.data.items()}
    )


def _build(suite: Suite, method: str, entry: str) -> AUModule:
    tiny = {"backbone": "vit_tests_token", "pretrained": False, "checkpoint_path": None, "img_size": 32}
    config = resolve_config(suite.config_of(method, entry))
    data: Any = SimpleNamespace(au_names=["AU1", "AU4"], au_weights=[1.0, 1.0])
    network = {**config.network, "init_args": {**config.network["init_args"], **tiny}}
    return replace(config, network=network).build(data)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("ablations", {"rates": 48, "rivals": 92 + 120, "longer": 22, "larger": 12, "clips": 48, "parts": 41, "losses": 28, "noise": 18,
                       "sizes": 24}),
        ("ablations-large", {"rivals": 120 + 72, "clips": 144, "parts": 57, "losses": 36, "noise": 54, "sizes": 96}),
    ],
)  # fmt: skip
def test_numbers_of_runs(name: str, numbers: dict[str, int]) -> None:
    runs = _runs(read_suite(FOLDER / f"{name}.yaml"))
    assert Counter(run.name.partition("-")[0] for run in runs) == numbers
    assert len({(run.name, run.text()) for run in runs}) == len(runs)


def test_each_method_differs_from_auformer_as_its_name_says() -> None:
    suite = read_suite(FOLDER / "ablations.yaml")
    entries = {run.method: run.name for run in _runs(suite)}
    assert set(suite.methods) - set(entries) == {"pool_token"}  # the demo ViT has no class token
    seen = {}
    for method, entry in entries.items():
        module = _build(suite, method, entry)
        if method in RIVALS:
            assert type(module.network) is getattr(models, RIVALS[method])
            continue
        assert type(module.network) is AUFormer and module.hparams["lr"] == 3e-3  # one rate for all of them
        settings = {**module.hparams["network"]["init_args"], **module.hparams}
        seen[method] = {name: settings[name] for name, value in PLAIN.items() if settings[name] != value}
    assert seen.pop("auformer") == {} and all(seen.values()) and len({str(each) for each in seen.values()}) == len(seen)
    assert seen["no_carry"] == {"carry": False} and seen["neither"] == {"dilations": [], "window": 0}
    assert seen["bce"] == {"loss": "bce", "dice_weight": 0.0} and seen["exponent_2"] == {"gamma_low": 2.0}
    assert seen["width_16"] == {"expert_width": 16} and seen["last_half"] == {"blocks": "last_half"}


def test_people_are_in_one_data_set_only() -> None:
    for name in ("ablations", "ablations-large"):
        suite = read_suite(FOLDER / f"{name}.yaml")
        ranges = sorted(
            (each.synth["first-subject"], each.synth["subjects"]) for each in suite.data.values() if each.synth
        )
        assert len(ranges) == 6 and all(first + number <= after for (first, number), (after, _) in pairwise(ranges))


def test_both_backbones_have_the_same_rivals_and_a_missing_one_is_named_with_its_command() -> None:
    suite = read_suite(FOLDER / "ablations.yaml")
    runs = _runs(suite)
    first, second = ({run.method: set() for run in runs if run.name == name} for name in ("rivals", "rivals-masks"))
    for run in runs:
        for name, found in (("rivals", first), ("rivals-masks", second)):
            if run.name == name:
                found[run.method].add((run.seed, run.test.data))
    assert set(first) == set(second) == {"auformer", "both_heads", *RIVALS}
    close = {"auformer", "full_finetuning", "lora", "houlsby", "convpass"}  # to AUFormer: five seeds
    assert {name: len(each) for name, each in first.items()} == {name: 10 if name in close else 6 for name in first}
    assert {len(each) for each in second.values()} == {10}
    (name,) = suite.needs
    config = resolve_config(suite.config_of("lora", "rivals-masks"))
    assert (
        config.weights == str(FOLDER / name)
        and config.plain()["model"]["init_args"]["network"]["init_args"]["checkpoint_path"] == Path(name).name
    )
    assert resolve_config(suite.config_of("lora", "rivals")).weights is None
    elsewhere = replace(suite, folder=FOLDER / "nowhere")
    with pytest.raises(
        ValueError,
        match="pretrain_demo_backbone runs/pretrain --out runs/pretrain_masks --images 550000 --channels face hair",
    ):
        elsewhere.check_weights(
            "lora", elsewhere.config_of("lora", "rivals-masks")["model"]["init_args"]["network"]["init_args"]["checkpoint_path"]
        )
    channels = suite.needs[name].partition("--channels ")[2].partition(" &&")[0].split()
    assert channels == [one for one in CHANNELS if not one.startswith(("move_", "bulge", "furrow"))]


@pytest.mark.parametrize("name", ["ablations", "ablations-large"])
def test_training_parts_hold_the_largest_size(name: str) -> None:
    suite = read_suite(FOLDER / f"{name}.yaml")
    (entry,) = (entry for entry in suite.entries if entry.protocol == "efficiency")
    rendered = suite.data[entry.data].synth
    assert rendered is not None
    subjects = rendered["subjects"] // entry.folds
    held_out = resolve_config(suite.config_of("auformer", entry.name)).data["val_fraction"] * subjects
    assert (subjects - held_out) * rendered["frames"] >= max(entry.sizes)


def test_rates_keep_their_configurations() -> None:
    suite = read_suite(FOLDER / "ablations.yaml")
    entries = [entry for entry in suite.entries if str(entry.name).startswith("rates")]
    assert [entry.set["model.lr"] for entry in entries] == [
        3e-4,
        1e-3,
        3e-3,
        1e-2,
        1e-4,
        3e-2,
        1e-1,
    ]  # the last: beyond the edges
    for entry in entries:
        config = resolve_config(suite.config_of(entry.methods[0], entry.name))
        assert (config.fit["epochs"], config.fit["precision"], config.fit["select"]) == (3, "bf16-mixed", "best")
        assert (config.data["val_fraction"], config.data["batch_size"]) == (0.2, 16)


def test_the_short_form_has_a_run_of_each_kind() -> None:
    runs = _runs(read_suite(FOLDER / "ablations.yaml", fast=True))
    assert [run.method for run in runs] == [
        "linear_probe",
        "bitfit",
        "lora",
        "no_carry",
        "shared_expert",
        "wa",
        *["linear_probe"] * 2,
    ]


@pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="a script for bash")
def test_the_script_for_a_gpu_runs_both_suites(tmp_path: Path) -> None:
    stand_in = tmp_path / "auformer"
    stand_in.write_text('#!/bin/bash\necho "$@"\n', encoding="utf-8")
    stand_in.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    for words, tail in (([], "--jobs 8"), (["3", "--dry-run"], "--jobs 3 --dry-run")):
        done = subprocess.run(
            ["bash", str(FOLDER / "gpu_ablations.sh"), *words],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        assert done.stdout.splitlines() == [
            f"benchmark suite experiments/{name}.yaml {tail}" for name in ("ablations", "ablations-large")
        ]
