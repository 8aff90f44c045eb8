"""The speed page: its ways are what they say, the script runs in small and keeps what it measured, and the script for a GPU calls it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.speed import bench_speed
from experiments.speed import forms as speed_forms
from experiments.speed import parity as speed_parity
from experiments.speed import parts as speed_parts
from experiments.speed.page import MEASURED, markdown, table, verdicts
from experiments.speed.profile import forward_profile, label
from experiments.speed.targets import CPU, GPU, Target, verdict
from experiments.speed.ways import BiasBeforeBlocks, Rig, forward, in_turn, step

SCRIPT = Path(bench_speed.__file__).with_name("gpu_speed.sh")


@pytest.fixture(scope="module")
def rig() -> Rig:
    return bench_speed.make_rig(bench_speed.parse_arguments(["--quick", "--threads", "1"]))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a short run without compiler and child processes wrote."""
    folder = tmp_path_factory.mktemp("speed")
    parts = [part for part in bench_speed.PARTS if part not in ("compiled", "memory")]
    bench_speed.main(["--quick", "--threads", "1", "--out", str(folder), "--parts", *parts])
    return folder


def kinds(names: Any) -> set[str]:
    """Names of figures without their batch."""
    return {name.rpartition("/")[0] for name in names}


class TestWays:
    @pytest.mark.parametrize("dilations", [(1,), (1, 3, 5), (2,)])
    def test_the_ways_to_write_convolutions_agree(self, dilations: tuple[int, ...]) -> None:
        x, kernels = speed_forms.example(2, 6, 3, 2, len(dilations), "cpu", torch.float64)
        wanted = speed_forms.grouped(x, kernels, dilations)
        assert wanted.shape == x.shape and wanted.abs().max() > 1
        for name, form in speed_forms.FORMS.items():
            assert torch.allclose(form(x, kernels, dilations), wanted, atol=1e-12, rtol=0), name

    def test_the_bias_before_the_blocks(self, rig: Rig) -> None:
        """At zero, the bare ViT; the only gradient is the bias's, the one that a bias of the patch embedding would get from the patches."""
        model = rig.build()
        bare, images = BiasBeforeBlocks(model), rig.images(model, 2)
        out = bare.forward_all(images)[0]
        assert torch.equal(out, model.pool_tokens(model.plain_tokens(images)) @ bare.weight)
        out.sum().backward()
        assert all(parameter.grad is None for parameter in model.parameters())
        model.backbone.pos_embed.requires_grad_(True)
        (model.pool_tokens(model.plain_tokens(images)) @ bare.weight).sum().backward()
        assert torch.allclose(
            bare.bias.grad, model.backbone.pos_embed.grad[0, model.backbone.num_prefix_tokens :].sum(0), atol=1e-5
        )

    def test_a_forward_records_nothing_and_a_step_leaves_gradients(self, rig: Rig) -> None:
        model = rig.build()
        images, seen = rig.images(model, 2), []
        forward(lambda x: seen.append((torch.is_grad_enabled(), x.shape)), images)()
        assert seen == [(False, (2, 3, 32, 32))]
        step(rig, model.eval(), images)()
        assert model.training and all(group.up.weight.grad.abs().sum() > 0 for group in model.groups)

    def test_repeats_and_rounds(self, rig: Rig) -> None:
        calls: list[str] = []
        seconds = in_turn(rig, {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, repeats=3)
        assert "".join(calls) == "aaabbb" * 3 and [len(each) for each in seconds.values()] == [2, 2]


class TestProfile:
    def test_operations_add_up_to_the_groups(self, rig: Rig) -> None:
        model = rig.build().eval()
        hooks = len(model.groups[0]._forward_hooks)
        found = forward_profile(model, rig.images(model, 2), repeats=2)
        *told, left, whole = found.items()
        assert (left[0], whole[0]) == ("what is left", "all groups") and whole[1] > 0
        assert sum(share for _, share in told) + left[1] == pytest.approx(whole[1])
        inner = len(rig.au_names) * rig.width
        assert {f"product {model.embed_dim} to {inner}", "conv2d", "gelu"} <= found.keys()
        assert all(before[1] >= after[1] >= 0.01 * whole[1] for before, after in pairwise(told))
        assert len(model.groups[0]._forward_hooks) == hooks

    def test_labels(self) -> None:
        assert label("aten::linear", [[4, 197, 768], [96, 768], [96]]) == "product 768 to 96"
        assert (
            label("aten::addmm", [[788, 768], [788, 97], [97, 768]]) == "product 97 to 768"
            and label("aten::gelu_", [[4]]) == "gelu"
        )

    def test_shares_by_hand(self) -> None:
        given = {"auformer": 1.5, "own": 1.375, "fields": 1.375, "context": 1.25, "all three": 1.125}
        parts = {"own": 0.125, "fields": 0.125, "context": 0.25, "down, convolution, up": 0.125, "whole": 0.5}
        assert speed_parts._shares(given) == parts


class TestParity:
    def test_on_this_device(self, written: Path) -> None:
        part = json.loads((written / "speed.json").read_text(encoding="utf-8"))["parts"]["parity"]
        assert part["beyond"] == [] and part["differences"].keys() == speed_parity.BOUNDS.keys() - {
            "compiled, outputs",
            "CUDA graphs, outputs",
        }

    def test_a_wrong_way_is_found_and_ends_the_run(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        wrong = {**speed_forms.FORMS, "shifted": lambda *given: 1.001 * speed_forms.grouped(*given)}
        monkeypatch.setattr(speed_parity, "FORMS", wrong)
        with pytest.raises(SystemExit, match="ways to write the convolutions"):
            bench_speed.main(["--quick", "--threads", "1", "--out", str(tmp_path), "--parts", "parity", "floor"])
        assert json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))["parts"].keys() == {"parity"}

    def test_no_number_is_no_parity(self) -> None:
        assert speed_parity.difference(torch.tensor([1.0, float("nan")]), torch.ones(2)) == float("inf")


class TestPage:
    def test_every_figure_of_the_targets_is_measured(
        self, rig: Rig, written: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parts = json.loads((written / "speed.json").read_text(encoding="utf-8"))["parts"]
        monkeypatch.setattr(torch, "compile", lambda network, **options: network)
        parts["compiled"] = speed_parts.compiled(rig)
        parts["memory"] = speed_parts.memory(rig, lambda name: (50, 40) if name == "loop" else (10, 10))
        assert parts["memory"]["ratios"]["peak lora/2"] == 0.2 and parts["memory"]["ratios"]["kept nothing/2"] == 0.25
        assert all(value > 0 for part in parts.values() for value in part.get("ratios", {}).values())
        for target in CPU:
            assert target.figure.rpartition("/")[0] in kinds(parts[target.part]["ratios"]), target

    def test_the_page_of_a_short_run(self, written: Path) -> None:
        page = (written / "speed.md").read_text(encoding="utf-8")
        assert "no figure means anything" in page and "gpu_speed.sh` is ready" in page
        assert page.count("\n## ") == 6 and all(f"| {target.what} |" in page for target in CPU)
        assert "| ViT-B/16 | 12 | 35.1 | 1.7 | 71.5 |" in page
        assert all(
            f"| {name} |" in page
            for name in (*MEASURED, *speed_forms.FORMS, "N = 2", "experts in blocks: first half", "64 px")
        )
        assert sorted(path.name for path in written.iterdir()) == ["speed.json", "speed.md"]

    def test_parts_of_an_earlier_run_are_kept_if_the_settings_are_the_same(self, written: Path, tmp_path: Path) -> None:
        for path in written.iterdir():
            shutil.copy(path, tmp_path)
        before = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
        words = ["--quick", "--out", str(tmp_path), "--parts", "floor", "--threads"]
        bench_speed.main([*words, "1"])
        after = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
        assert after["parts"].keys() == before["parts"].keys() and after["parts"]["slopes"] == before["parts"]["slopes"]
        bench_speed.main([*words, "2"])
        torch.set_num_threads(1)
        assert json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))["parts"].keys() == {"floor"}

    def test_verdicts(self) -> None:
        target = Target("forward", "forward/1", "one over the other", 1.1, "because")
        assert [verdict(target, value) for value in (1.1, 1.11, None)] == ["met", "missed: because", ""]
        assert verdict(target._replace(bound=None), 9.0) == ""
        result = {
            "parts": {"forward": {"ratios": {"forward/1": 1.234}}, "compiled": {"ratios": {}, "failed": "no compiler"}}
        }
        rows = verdicts(
            result, [target, target._replace(part="compiled"), target._replace(part="memory")]
        ).splitlines()[2:]
        assert [row.split(" | ")[1] for row in rows] == ["1.23", "not measured: no compiler", "not measured"]

    def test_a_compiler_that_fails_is_told(self, monkeypatch: pytest.MonkeyPatch, rig: Rig) -> None:
        def fail(rig: Rig) -> None:
            raise RuntimeError("no working C++ compiler\nmore")

        monkeypatch.setattr(speed_parts, "compiled", fail)
        assert (
            bench_speed.measure("compiled", rig, [], compiled=True)["failed"] == "RuntimeError: no working C++ compiler"
        )

    def test_a_page_without_measurements(self, rig: Rig) -> None:
        args = bench_speed.parse_arguments(["--quick"])
        settings = {**bench_speed.settings(args, rig), "device": "A GPU", "quick": False}
        page = markdown({"settings": settings, "parts": {}})
        assert "on A GPU" in page and all(f"| {target.what} | not measured |" in page for target in GPU)

    def test_a_table(self) -> None:
        assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


class TestScript:
    def test_memory_in_a_process_of_its_own(self, rig: Rig) -> None:
        growth, kept = bench_speed.memory_of(rig, ["--quick", "--threads", "1"])("experts")
        assert growth > 2**16 and kept == bench_speed.one_step(rig, "experts")[1]

    def test_memory_of_every_network(self, rig: Rig) -> None:
        kept = {name: bench_speed.one_step(rig, name)[1] for name in speed_parts.STEPS}
        assert 0 < kept["blocks"] < kept["experts"] < kept["nothing"] < kept["loop"]

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_no_gpu(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            bench_speed.parse_arguments(["--device", "cuda"])
        assert "Expected a GPU for --device cuda" in capsys.readouterr().err

    @pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="a script for bash")
    @pytest.mark.parametrize("gpu", [True, False])
    def test_the_script_for_a_gpu(self, tmp_path: Path, gpu: bool) -> None:
        """With a stand-in for Python that writes down its words; without a GPU nothing is measured."""
        log, stand_in = tmp_path / "log", tmp_path / "python"
        stand_in.write_text(
            f'#!/bin/bash\nprintf "%s\\n" "$*" >> "{log}"\n[ "$1" != -c ] || exit {0 if gpu else 1}\n', encoding="utf-8"
        )
        stand_in.chmod(0o755)
        done = subprocess.run(
            ["bash", str(SCRIPT), "--rounds", "3"],
            env={**os.environ, "PYTHON": str(stand_in)},
            capture_output=True,
            text=True,
            check=False,
        )
        called = log.read_text(encoding="utf-8").splitlines()
        assert called[0].startswith("-c import") and done.returncode == (0 if gpu else 1)
        if not gpu:
            assert len(called) == 1 and "Expected a GPU that torch can use" in done.stderr
            return
        assert called[1].startswith("-m pytest") and called[2:] == [
            "experiments/bench_speed.py --device cuda --rounds 3"
        ]
        tests = [word for word in called[1].split() if word.startswith("tests/")]
        assert len(tests) == 4 and all((SCRIPT.parents[1] / path).is_file() for path in tests)
