"""The speed page: its ways are what they say, the script runs in small and keeps what it measured; the floor."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from auformer.models import AUFormer, AUNetwork
from experiments.harness import Target
from experiments.speed import bench_speed, parts
from experiments.speed.floor import VITS, ViT, Work, floor, group_stages, total, vit_stages
from experiments.speed.page import CPU, GPU, MEASURED, markdown, verdicts
from experiments.speed.ways import BiasBeforeBlocks, Rig, convolution_backward, counted, forward, in_turn, step
from tests.helpers import vits
from tests.helpers.reference import PlainExpert

assert vits.FIT  # registers the tiny ViTs
QUICK = ["--quick", "--threads", "1"]
HAND = ViT(depth=2, dim=4, patch=2)  # on 4 x 4 pixels: T = 4, S = 5


@pytest.fixture(scope="module")
def rig() -> Rig:
    return bench_speed.make_rig(bench_speed.parse_arguments(QUICK))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a short run without compiler and child processes wrote."""
    folder = tmp_path_factory.mktemp("speed")
    names = [part for part in bench_speed.PARTS if part not in ("compiled", "exported", "memory")]
    bench_speed.main([*QUICK, "--out", str(folder), "--parts", *names])
    return folder


def _parts(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "speed.json").read_text(encoding="utf-8"))["parts"]


@pytest.mark.slow
class TestWays:
    def test_the_bias_before_the_blocks(self, rig: Rig) -> None:
        """At zero, the bare ViT; the only gradient is the bias's, as a bias of the patch embedding would get it."""
        model = rig.build()
        bare, images = BiasBeforeBlocks(model), rig.images(model, 2)
        out = bare.forward_all(images)[0]
        assert torch.equal(out, model.pool_tokens(model.plain_tokens(images)) @ bare.weight)
        out.sum().backward()
        assert all(parameter.grad is None for parameter in model.parameters())
        positions = model.backbone.pos_embed.requires_grad_(True)
        (model.pool_tokens(model.plain_tokens(images)) @ bare.weight).sum().backward()
        wanted = positions.grad[0, model.backbone.num_prefix_tokens :].sum(0)
        assert torch.allclose(bare.bias.grad, wanted, atol=1e-5)

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

    def test_operations_add_up_to_the_groups(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parts, "SMALL", 0.0)  # at this size, products may be small
        model = rig.build().eval()
        hooks = len(model.groups[0]._forward_hooks)
        found = parts.forward_profile(model, rig.images(model, 2), repeats=2)
        *told, left, whole = found.items()
        assert (left[0], whole[0]) == ("what is left", "all groups") and whole[1] > 0
        assert sum(share for _, share in told) + left[1] == pytest.approx(whole[1])
        inner = len(rig.au_names) * rig.width
        assert {f"product {model.embed_dim} to {inner}", "conv2d", "gelu"} <= found.keys()
        assert all(before[1] >= after[1] for before, after in pairwise(told))
        assert len(model.groups[0]._forward_hooks) == hooks
        assert parts.label("aten::linear", [[4, 197, 768], [96, 768], [96]]) == "product 768 to 96"
        assert parts.label("aten::addmm", [[788, 768], [788, 97], [97, 768]]) == "product 97 to 768"

    def test_memory_in_a_process_of_its_own_and_of_every_network(self, rig: Rig) -> None:
        kept = {name: bench_speed.one_step(rig, name)[1] for name in parts.STEPS}
        assert 0 < kept["blocks"] < kept["experts"] < kept["nothing"] < kept["loop"]
        growth, again = bench_speed.memory_of(rig, QUICK)("experts")
        assert growth > 2**16 and again == kept["experts"]


@pytest.mark.slow
class TestParity:
    def test_on_this_device(self, written: Path) -> None:
        part = _parts(written)["parity"]
        compiled = {"compiled, outputs", "CUDA graphs, outputs"}
        assert part["beyond"] == [] and part["differences"].keys() == parts.BOUNDS.keys() - compiled
        assert parts.difference(torch.tensor([1.0, float("nan")]), torch.ones(2)) == float("inf")

    def test_what_is_beyond_its_bound_ends_the_run(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(parts, "BOUNDS", {**parts.BOUNDS, "float32, outputs": 1e-12})
        with pytest.raises(SystemExit, match="float32, outputs"):
            bench_speed.main([*QUICK, "--out", str(tmp_path), "--parts", "parity", "floor"])
        assert _parts(tmp_path).keys() == {"parity"}


class AsArrays:
    """A network that takes arrays."""

    def __init__(self, network: AUNetwork, threads: int) -> None:
        self.network = network

    def predict_probs(self, images: np.ndarray) -> np.ndarray:
        return self.network.predict_probs(torch.from_numpy(images)).detach().numpy()


@pytest.mark.slow
class TestPage:
    def test_every_figure_of_the_targets_is_measured(
        self, rig: Rig, written: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = _parts(written)
        monkeypatch.setattr(torch, "compile", lambda network, **options: network)
        monkeypatch.setattr(parts, "export_detector", lambda network, path: network)  # what it writes: test_export.py
        monkeypatch.setattr(parts, "OnnxDetector", AsArrays)
        found["compiled"], found["exported"] = parts.compiled(rig), parts.exported(rig)
        assert found["exported"]["difference"] < 1e-5
        found["memory"] = parts.memory(rig, lambda name: (50, 40) if name == "loop" else (10, 10))
        assert found["memory"]["ratios"]["peak lora/2"] == 0.2 and found["memory"]["ratios"]["kept nothing/2"] == 0.25
        assert all(value > 0 for part in found.values() for value in part.get("ratios", {}).values())
        kinds = {(part, name.rpartition("/")[0]) for part in found for name in found[part].get("ratios", {})}
        assert {(part, figure.rpartition("/")[0]) for part, figure in CPU} <= kinds

    def test_the_page_of_a_short_run(self, written: Path) -> None:
        page = (written / "speed.md").read_text(encoding="utf-8")
        assert "no figure means anything" in page and "gpu_speed.sh` is ready" in page
        assert page.count("\n## ") == 5 and all(f"| {target.what} |" in page for target in CPU.values())
        assert "| ViT-B/16 | 12 | 35.1 | 1.7 | 71.5 |" in page
        rows = (*MEASURED, "N = 2", "experts in blocks: first half", "64 px", "3x3 convolution")
        assert all(f"| {name} |" in page for name in rows)

    def test_parts_of_an_earlier_run_are_kept_if_the_settings_are_the_same(self, written: Path, tmp_path: Path) -> None:
        shutil.copy(written / "speed.json", tmp_path)
        before, words = _parts(tmp_path), ["--quick", "--out", str(tmp_path), "--parts", "floor", "--threads"]
        bench_speed.main([*words, "1"])
        after = _parts(tmp_path)
        assert after.keys() == before.keys() and after["slopes"] == before["slopes"]
        bench_speed.main([*words, "2"])
        torch.set_num_threads(1)
        assert _parts(tmp_path).keys() == {"floor"}

    def test_verdicts(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        found = {"forward": {"ratios": {"forward/1": 1.234}}, "compiled": {"ratios": {}, "failed": "no compiler"}}
        target = Target("one over the other", 1.1, reason="because")
        shown = {("forward", "forward/1"): target, ("compiled", "x"): target, ("memory", "x"): target}
        rows = [row.strip("| ").split(" | ") for row in verdicts({"parts": found}, shown).splitlines()[2:]]
        assert rows[0] == ["one over the other", "1.23", "at most 1.1", "missed: because"]
        assert [row[:2] for row in rows[1:]] == [
            ["one over the other (failed: no compiler)", "not measured"],
            ["one over the other", "not measured"],
        ]
        args = bench_speed.parse_arguments(["--quick"])
        settings = {**bench_speed.settings(args, rig), "device": "A GPU", "quick": False}
        page = markdown({"settings": settings, "parts": {}})
        assert "on A GPU" in page and all(f"| {one.what} | not measured |" in page for one in GPU.values())

        def fail(rig: Rig) -> None:
            raise RuntimeError("no working C++ compiler\nmore")

        monkeypatch.setattr(parts, "compiled", fail)
        told = bench_speed.measure("compiled", rig, [], compiled=True)["failed"]
        assert told == "RuntimeError: no working C++ compiler"

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_no_gpu(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            bench_speed.parse_arguments(["--device", "cuda"])
        assert "Expected a GPU for --device cuda" in capsys.readouterr().err


class TestFloor:
    @pytest.fixture
    def model(self) -> AUFormer:
        torch.manual_seed(0)
        return AUFormer("test_vit", ["AU1", "AU2", "AU12"], img_size=64, expert_width=2)

    @pytest.fixture
    def sizes(self, model: AUFormer) -> ViT:
        vit = model.backbone
        ratio = vit.blocks[0].mlp.fc1.out_features // vit.embed_dim
        return ViT(len(vit.blocks), vit.embed_dim, 16, vit.num_prefix_tokens, ratio)

    def test_a_vit_by_hand(self) -> None:
        embedding, first, second, *later = vit_stages(HAND, 4)
        assert later == [first, second]
        # 12 values per patch, 4 patches: 48 read, 5 * 4 written, 12 * 4 weights; no way back
        assert embedding[0].training == embedding[0].forward == Work(2 * 4 * 12 * 4, 0, 48 + 20 + 48)
        found = {stage.name: (stage.forward, stage.to_inputs) for stage in (*first, *second)}
        assert found["norm"] == (Work(0, 0, 40), Work(0, 0, 80))
        assert found["qkv"] == (Work(2 * 5 * 4 * 12, 0, 20 + 60 + 48),) * 2
        assert found["attention"] == (Work(2 * (2 * 5 * 5 * 4), 0, 80), Work(4 * (2 * 5 * 5 * 4), 0, 160))
        assert found["projection"] == (Work(2 * 5 * 4 * 4, 0, 20 + 20 + 20 + 16), Work(2 * 5 * 4 * 4, 0, 20 + 20 + 16))
        assert found["mlp 1"] == (Work(2 * 5 * 4 * 16, 0, 20 + 80 + 64), Work(2 * 5 * 4 * 16, 0, 20 + 80 + 64 + 160))
        assert found["mlp 2"] == (Work(2 * 5 * 16 * 4, 0, 80 + 20 + 20 + 64), Work(2 * 5 * 16 * 4, 0, 80 + 20 + 64))
        assert not any(any(stage.to_weights) for stage in (*first, *second))

    def test_a_group_by_hand(self) -> None:
        """N = 3 experts of R = 2 on 4 patches: M = 6, 24 narrow numbers, 16 wide ones."""
        found = {stage.name: stage for stage in group_stages(HAND, 3, 2, 4, training=True)}
        down = Work(2 * 16 * 6, 0, 16 + 24 + 4 * 6)
        assert found["down"][1:] == (down, down, down)
        own = Work(2 * 24 * 2, 0, 24 + 24 + 12)
        assert found["own"][1:] == (own.plus(Work(elements=24)), own, own)
        assert found["convolution"].forward == Work(2 * 24 * 2 * 9, 0, 24 + 24 + 12 * 9)
        assert found["fields"].training == Work(3 * 3 * 2 * 24 * 2 * 9, 0, 3 * (24 + 24 + 3 * 12 * 9))
        assert found["query, key, value"].forward == Work(3 * 2 * 24 * 2, 0, 24 + 72 + 36)
        assert found["context"][1:3] == (Work(0, 7 * 9 * 24, 96), Work(0, 8 * 9 * 24, 168))
        assert found["up"].forward == Work(2 * 24 * 4, 0, 24 + 16 + 16 + 24)
        assert found["sum and GELU"].forward.elements == 96  # m and two branches read, one written
        composing = 2 * (3 * 2 * 2 * 4) + 3 * 2 * (3 * 2 * 2 * 2 * 9)  # C U; fuse into three kernels
        assert found["composing"].training.matrix == 3 * composing

    def test_weights_are_read_once_per_batch_and_the_first_group_is_cheaper(self) -> None:
        one, four = (total(group_stages(HAND, 3, 2, 4, batch=batch, training=True)) for batch in (1, 4))
        assert four.matrix < one.matrix and four.elements < one.elements and four.pointwise == one.pointwise
        first, later = (group_stages(HAND, 3, 2, 4, first=first, training=True) for first in (True, False))
        assert {stage.name for stage in later} - {stage.name for stage in first} == {"own"}
        assert first[0].to_inputs == Work() and first[0].to_weights == later[0].to_weights
        whole, middle = floor(HAND, 3, 2, 4), total(later, training=True)
        assert whole.groups_training == total(first, training=True).plus(middle, middle, middle)
        assert whole.spared == Work().plus(*(stage.to_inputs for stage in vit_stages(HAND, 4)[1]))

    @pytest.mark.parametrize(("name", "gmacs"), [("ViT-S/16", 4.61), ("ViT-B/16", 17.58), ("ViT-L/16", 61.6)])
    def test_the_known_size_of_vits(self, name: str, gmacs: float) -> None:
        """Multiplications with additions at 224 px as timm's tables of results give them."""
        assert floor(VITS[name], 12).forward.flops / 2e9 == pytest.approx(gmacs, rel=0.01)

    def test_ratios_grow_with_experts_and_fall_with_the_width_of_the_vit(self) -> None:
        base, wide = VITS["ViT-B/16"], VITS["ViT-L/16"]
        few, many, large = floor(base, 8).ratios(), floor(base, 41).ratios(), floor(wide, 8).ratios()
        assert all(1 < large[key] < few[key] < many[key] for key in few)

    @pytest.mark.parametrize("training", [False, True])
    def test_a_bare_vit_and_what_is_run_by_torchs_counter(self, model: AUFormer, sizes: ViT, training: bool) -> None:
        stages = [stage for part in vit_stages(sizes, 64) for stage in part]
        found = counted(BiasBeforeBlocks(model), torch.rand(2, 3, 64, 64), training=training)
        assert found == 2 * total(stages, training=training).matrix
        paper = floor(sizes, 3, 2, 64)
        least = paper.forward.plus(paper.groups).matrix
        if training:
            least = paper.training.plus(paper.groups_training).matrix - paper.spared.matrix
        assert least <= counted(model, torch.rand(1, 3, 64, 64), training=training) < 2 * least
        assert all(block.attn.fused_attn for block in model.backbone.blocks)
        trained = sum(parameter.requires_grad for parameter in model.parameters())
        assert trained == len(list(model.groups.parameters())) + 6

    @pytest.mark.parametrize("training", [False, True])
    def test_experts_by_torchs_counter(self, training: bool) -> None:
        """N experts as the figure draws them, less the 1x1 `fuse`, which the floor has folded in."""
        experts = nn.ModuleList([PlainExpert(4, 2, (1, 3, 5), 3) for _ in range(3)])
        own = {torch.ops.aten.convolution_backward: convolution_backward}
        x = torch.rand(1, 4, 2, 2, requires_grad=True)
        with FlopCounterMode(display=False, custom_mapping=own) as counter:
            out = sum(expert(x).sum() for expert in experts)
            if training:
                out.backward()
        stages = [stage for stage in group_stages(HAND, 3, 2, 4) if stage.name != "own"]  # no map of a carried output
        fuse = (3 if training else 1) * 3 * 2 * 4 * 6 * 2
        assert counter.get_total_flops() - fuse == total(stages, training=training).matrix

    def test_gradients_of_a_grouped_convolution(self) -> None:
        """Each of the two takes as many operations as forward: 2 x 5 x 5 outputs of 6 channels, 2 x 9 inputs each."""
        shapes = [2, 6, 5, 5], [2, 6, 5, 5], [6, 2, 3, 3]
        rest = (None, [1, 1], [1, 1], [1, 1], False, [0, 0], 3)
        once = 2 * (2 * 5 * 5) * 6 * (2 * 9)
        assert convolution_backward(*shapes, *rest, [True, True, True]) == 2 * once
        assert convolution_backward(*shapes, *rest, [False, True, False]) == once
