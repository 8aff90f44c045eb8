"""The costs of the methods on a tiny ViT: counts by hand, what is compared with what, the file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from auformer.benchmark.suite import read_suite
from auformer.models import AUFormer
from experiments.ablations import method_costs
from experiments.ablations.tables import costs_table

SUITE = Path(__file__).resolve().parents[2] / "experiments" / "ablations.yaml"
TINY = ["--backbone", "vit_tests_token", "--img-size", "32", "--aus", "AU1,AU12", "--batch", "2", "--rounds", "1"]


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_line_each_and_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results" / "costs.json"
    names = ["linear_probe", "full_finetuning", "auformer", "no_carry"]
    for file in method_costs.HERE.glob("*.yaml"):  # a suite names its files relative to itself
        shutil.copy(file, tmp_path)
    suite = tmp_path / "suite.yaml"
    entry = {"protocol": "cross", "train": "lab_a", "test": "unseen"}
    runs = [
        {**entry, "name": "rivals", "methods": names[:3]},
        {**entry, "name": "parts", "methods": [names[3], "pool_token"]},
    ]
    suite.write_text(json.dumps({"base": "ablations.yaml", "runs": runs}), encoding="utf-8")
    method_costs.main([*TINY, "--backbone", "vit_tests_gap", "--suite", str(suite), "--out", str(out)])
    content = json.loads(out.read_text(encoding="utf-8"))
    costs = content["methods"]
    assert set(costs) == set(names) and capsys.readouterr().out.count("trained, prediction") == 4
    assert "no class token" in content["left_out"]["pool_token"] and "pool_token" in costs_table(content).notes[1]
    assert costs["linear_probe"]["trained"] == 24 * 2 + 2
    assert costs["full_finetuning"]["trained"] == costs["full_finetuning"]["total"]
    assert (
        costs["auformer"]["trained"]
        == AUFormer("vit_tests_gap", ["AU1", "AU12"], img_size=32, expert_width=4).num_parameters()[0]
    )
    assert costs["linear_probe"]["kept_bytes"] < costs["auformer"]["kept_bytes"]
    assert all(one["forward"] > 0 and one["training"] > 0 for one in costs.values())
    assert content["settings"]["backbone"] == "vit_tests_gap" and content["settings"]["precision"] == "bf16-mixed"
    assert [row[0] for row in costs_table(content).rows] == list(costs)


def test_what_is_measured() -> None:
    names = method_costs.method_names(read_suite(SUITE))
    assert {"auformer", "ssf", "width_16", "last_half"} <= set(names) and not {"bce", "margin_0"} & set(names)
    assert names["lora"] == "rivals" and names["no_ca"] == "parts"
    with pytest.raises(ValueError, match="but got bce"):
        method_costs.chosen_names(read_suite(SUITE), ["auformer", "bce"])


def test_a_step_moves_what_is_trained_only() -> None:
    suite = read_suite(SUITE)
    args = method_costs.parse_arguments(TINY)
    module = method_costs.build(suite, "bitfit", "rivals", args)
    before = {name: parameter.detach().clone() for name, parameter in module.network.named_parameters()}
    images, target = torch.rand(2, 3, 32, 32), torch.tensor([[1, 0], [0, 1]])
    method_costs.trainer(module, images, target)()
    moved = {name for name, parameter in module.network.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved and moved <= {name for name, parameter in module.network.named_parameters() if parameter.requires_grad}
