"""Every suite in `experiments/suites`: its runs, that each method builds what its name says, who is in which data."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from auformer import models
from auformer.benchmark.protocols import DataSet, Run
from auformer.benchmark.suite import Suite, as_list, read_suite
from auformer.models import AUFormer, LinearProbe
from auformer.models.temporal.auformer_in_time import AUFormerInTime
from auformer.models.temporal.vit_mdhr import ViTMDHR
from auformer.synthetic import CHANNELS
from auformer.training.config import resolve_config
from auformer.training.module import AUModule
from tests.helpers import vits

assert vits.FIT  # registers the tiny ViTs
FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "suites"
SUITES = sorted(FOLDER.glob("suite-*.yaml"))
ABLATIONS = ["ablations", "ablations-large"]
BASELINES = {
    "linear_probe": "LinearProbe", "full_finetuning": "FullFineTuning", "last_blocks": "LastBlocks", "bitfit": "BitFit",
    "lora": "LoRA", "houlsby": "HoulsbyAdapter", "adaptformer": "AdaptFormer", "convpass": "Convpass",
    "vpt_deep": "VPTDeep", "ssf": "SSF",
}  # fmt: skip
PLAIN = {
    "dilations": [1, 3, 5], "window": 3, "expert_width": 4, "experts_beside": "both", "carry": True,
    "shared_expert": False, "blocks": "all", "pool": "avg", "expert_loss_weight": 1.0, "average_heads": False,
    "loss": "mdwa", "margin": 0.05, "gamma_low": 1.0, "gamma_high": 2.0, "dice_weight": 1.0,
}  # fmt: skip


def _runs(suite: Suite) -> list[Run]:
    """All runs, without the data."""
    sets = {name: DataSet(name, one.manifest, None, one.synth is not None) for name, one in suite.data.items()}
    return suite.runs(sets)


def _build(suite: Suite, method: str, entry: str) -> tuple[AUModule, dict[str, Any]]:
    """A method's module on a tiny ViT, and what its network is given."""
    config = resolve_config(suite.config_of(method, entry))
    tiny = {"backbone": "vit_tests_token", "pretrained": False, "checkpoint_path": None, "img_size": 32}
    network = {**config.network, "init_args": {**config.network["init_args"], **tiny}}
    data: Any = SimpleNamespace(au_names=["AU1", "AU4"], au_weights=[1.0, 1.0])
    return replace(config, network=network).build(data), config.network["init_args"]


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_suite_lists_its_runs_and_builds_its_methods(path: Path) -> None:
    suite = read_suite(path)
    runs = _runs(suite)
    numbers = {
        "within": 12, "cross": 4, "efficiency": 30, "micro": 24, "synthetic": 61, "intensity": 29,
        "intensity-synthetic": 13, "time": 99, "time-synthetic": 126,
    }  # fmt: skip
    assert len(runs) == numbers[path.stem.removeprefix("suite-")]
    assert {run.protocol for run in runs} == {entry.protocol for entry in suite.entries}
    for method, entry in sorted({(run.method, run.name) for run in runs}):
        if method == "mdhr":  # on no ViT
            assert suite.config_of(method, entry)["model"]["init_args"]["network"]["class_path"].endswith(".MDHR")
            continue
        network = _build(suite, method, entry)[0].network
        kinds = {"linear_probe": LinearProbe, "vit_mdhr": ViTMDHR, "auformer_in_time": AUFormerInTime}
        kinds["auformer_frames"] = AUFormerInTime
        assert type(network) is kinds.get(method, AUFormer)
        form = "regression" if method.endswith("regression") else "ordinal"
        assert network.intensity == (form if "intensity" in path.stem else "none")


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("ablations", {"rates": 48, "baselines": 92 + 120, "longer": 22, "larger": 12, "clips": 48, "parts": 41,
                       "losses": 28, "noise": 18, "sizes": 24}),
        ("ablations-large", {"baselines": 120 + 72, "clips": 144, "parts": 57, "losses": 36, "noise": 54, "sizes": 96}),
    ],
)  # fmt: skip
def test_numbers_of_runs(name: str, numbers: dict[str, int]) -> None:
    runs = _runs(read_suite(FOLDER / f"{name}.yaml"))
    assert Counter(run.name.partition("-")[0] for run in runs) == numbers
    assert len({(run.name, run.text()) for run in runs}) == len(runs)


@pytest.mark.slow
def test_each_method_differs_from_auformer_as_its_name_says() -> None:
    suite = read_suite(FOLDER / "ablations.yaml")
    entries = {run.method: run.name for run in _runs(suite)}
    assert set(suite.methods) - set(entries) == {"pool_token"}  # the demo ViT has no class token
    seen = {}
    for method, entry in entries.items():
        module, arguments = _build(suite, method, entry)
        if method in BASELINES:
            assert type(module.network) is getattr(models, BASELINES[method])
            continue
        assert type(module.network) is AUFormer and module.hparams["lr"] == 3e-3  # one rate for all of them
        given = {**module.hparams, **arguments}
        seen[method] = {name: given[name] for name, value in PLAIN.items() if given[name] != value}
    assert seen.pop("auformer") == {} and all(seen.values()) and len(set(map(str, seen.values()))) == len(seen)
    assert seen["no_carry"] == {"carry": False} and seen["neither"] == {"dilations": [], "window": 0}
    assert seen["bce"] == {"loss": "bce", "dice_weight": 0.0} and seen["exponent_2"] == {"gamma_low": 2.0}
    assert seen["width_16"] == {"expert_width": 16} and seen["last_half"] == {"blocks": "last_half"}


@pytest.mark.parametrize("name", ABLATIONS)
def test_people_are_in_one_data_set_only(name: str) -> None:
    sets = [each.synth for each in read_suite(FOLDER / f"{name}.yaml").data.values() if each.synth]
    ranges = sorted((synth["first-subject"], synth["subjects"]) for synth in sets)
    assert len(ranges) == 6 and all(first + number <= after for (first, number), (after, _) in pairwise(ranges))


@pytest.mark.slow
def test_both_backbones_have_the_same_baselines_and_a_missing_one_is_named_with_its_command() -> None:
    suite = read_suite(FOLDER / "ablations.yaml")
    seeds: dict[str, dict[str, set[Any]]] = {"baselines": {}, "baselines-masks": {}}
    for run in _runs(suite):
        if run.name in seeds:
            seeds[run.name].setdefault(run.method, set()).add((run.seed, run.test.data))
    first, second = seeds.values()
    assert set(first) == set(second) == {"auformer", "both_heads", *BASELINES}
    close = {"auformer", "full_finetuning", "lora", "houlsby", "convpass"}  # to AUFormer: five seeds
    assert {name: len(each) for name, each in first.items()} == {name: 10 if name in close else 6 for name in first}
    assert {len(each) for each in second.values()} == {10}
    (name,) = suite.needs
    config = resolve_config(suite.config_of("lora", "baselines-masks"))
    assert Path(config.weights).resolve() == FOLDER.parents[1] / "runs" / "backbones" / "demo_masks.safetensors"
    assert resolve_config(suite.config_of("lora", "baselines")).weights is None
    elsewhere = replace(suite, folder=FOLDER / "nowhere" / "else")
    command = "pretrain_demo_backbone runs/pretrain --out runs/pretrain_masks --images 550000 --channels face hair"
    weights = resolve_config(elsewhere.config_of("lora", "baselines-masks")).weights
    with pytest.raises(ValueError, match=command):
        elsewhere.check_weights("lora", weights)
    channels = suite.needs[name].partition("--channels ")[2].partition(" &&")[0].split()
    assert channels == [one for one in CHANNELS if not one.startswith(("move_", "bulge", "furrow"))]


@pytest.mark.parametrize("name", ABLATIONS)
def test_training_splits_hold_the_largest_size(name: str) -> None:
    suite = read_suite(FOLDER / f"{name}.yaml")
    (entry,) = (entry for entry in suite.entries if entry.protocol == "efficiency")
    (data,) = as_list(entry.data)
    rendered = suite.data[data].synth
    assert rendered is not None
    subjects = rendered["subjects"] // entry.folds
    held_out = resolve_config(suite.config_of("auformer", entry.name)).data["val_fraction"] * subjects
    assert (subjects - held_out) * rendered["frames"] >= max(as_list(entry.sizes))


def test_rates_keep_their_configurations() -> None:
    suite = read_suite(FOLDER / "ablations.yaml")
    entries = [entry for entry in suite.entries if entry.name.startswith("rates")]
    rates = [3e-4, 1e-3, 3e-3, 1e-2, 1e-4, 3e-2, 1e-1]  # the last three: beyond the edges
    assert [entry.set["model.lr"] for entry in entries] == rates
    for entry in entries:
        config = resolve_config(suite.config_of(as_list(entry.methods)[0], entry.name))
        assert (config.fit["epochs"], config.fit["precision"], config.fit["select"]) == (3, "bf16-mixed", "best")
        assert (config.data["val_fraction"], config.data["batch_size"]) == (0.2, 16)


def test_the_short_form_has_a_run_of_each_kind() -> None:
    methods = [run.method for run in _runs(read_suite(FOLDER / "ablations.yaml", fast=True))]
    assert methods == ["linear_probe", "bitfit", "lora", "no_carry", "shared_expert", "wa", *["linear_probe"] * 2]
