"""The floor on paper: numbers worked out by hand, the known size of ViTs, and torch's own counter on a tiny ViT and on the plain form."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from auformer.models import AUFormer
from experiments.speed.floor import VITS, ViT, Work, floor, group_stages, total, vit_stages
from experiments.speed.ways import BiasBeforeBlocks, convolution_backward, counted
from tests.helpers import vits
from tests.helpers.reference import PlainExpert

assert vits.FIT  # registers the ViTs
HAND = ViT(depth=2, dim=4, patch=2)  # on 4 x 4 pixels: T = 4, S = 5


@pytest.fixture
def model() -> AUFormer:
    torch.manual_seed(0)
    return AUFormer("test_vit", ["AU1", "AU2", "AU12"], img_size=64, expert_width=2)


def sizes(model: AUFormer) -> ViT:
    vit = model.backbone
    return ViT(
        len(vit.blocks), vit.embed_dim, 16, vit.num_prefix_tokens, vit.blocks[0].mlp.fc1.out_features // vit.embed_dim
    )


def test_a_vit_by_hand() -> None:
    embedding, first, second, *later = vit_stages(HAND, 4)
    assert later == [first, second]
    # 12 values per patch, 4 patches: 48 read, 5 * 4 written, 12 * 4 weights; no way back
    assert embedding[0].training == embedding[0].forward == Work(2 * 4 * 12 * 4, 0, 48 + 20 + 48)
    found = {stage.name: (stage.forward, stage.to_inputs) for stage in (*first, *second)}
    assert found["norm"] == (Work(0, 0, 40), Work(0, 0, 80))
    assert found["qkv"] == (Work(2 * 5 * 4 * 12, 0, 20 + 60 + 48), Work(2 * 5 * 4 * 12, 0, 20 + 60 + 48))
    assert found["attention"] == (Work(2 * (2 * 5 * 5 * 4), 0, 80), Work(4 * (2 * 5 * 5 * 4), 0, 160))
    assert found["projection"] == (Work(2 * 5 * 4 * 4, 0, 20 + 20 + 20 + 16), Work(2 * 5 * 4 * 4, 0, 20 + 20 + 16))
    assert found["mlp 1"] == (Work(2 * 5 * 4 * 16, 0, 20 + 80 + 64), Work(2 * 5 * 4 * 16, 0, 20 + 80 + 64 + 160))
    assert found["mlp 2"] == (Work(2 * 5 * 16 * 4, 0, 80 + 20 + 20 + 64), Work(2 * 5 * 16 * 4, 0, 80 + 20 + 64))
    assert not any(any(stage.to_weights) for stage in (*first, *second))


def test_a_group_by_hand() -> None:
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


def test_weights_are_read_once_per_batch() -> None:
    one, four = (total(group_stages(HAND, 3, 2, 4, batch=batch, training=True)) for batch in (1, 4))
    assert four.matrix < one.matrix and four.elements < one.elements and four.pointwise == one.pointwise
    assert total(vit_stages(HAND, 4, 4)[1]).matrix == total(vit_stages(HAND, 4, 1)[1]).matrix


def test_the_first_group_is_cheaper() -> None:
    first, later = (group_stages(HAND, 3, 2, 4, first=first, training=True) for first in (True, False))
    assert [stage.name for stage in later if stage.name not in {each.name for each in first}] == ["own"]
    assert first[0].to_inputs == Work() and first[0].to_weights == later[0].to_weights
    whole = floor(HAND, 3, 2, 4)
    middle = total(group_stages(HAND, 3, 2, 4, training=True), training=True)
    assert whole.groups_training == total(first, training=True).plus(middle, middle, middle)
    assert whole.spared == Work().plus(*(stage.to_inputs for stage in vit_stages(HAND, 4)[1]))


@pytest.mark.parametrize(("name", "gmacs"), [("ViT-S/16", 4.61), ("ViT-B/16", 17.58), ("ViT-L/16", 61.6)])
def test_the_known_size_of_vits(name: str, gmacs: float) -> None:
    """Multiplications with additions at 224 px as timm's tables of results give them."""
    assert floor(VITS[name], 12).forward.flops / 2e9 == pytest.approx(gmacs, rel=0.01)


def test_ratios_grow_with_experts_and_fall_with_the_width_of_the_vit() -> None:
    few, many, large = (
        floor(VITS[name], n).ratios() for name, n in (("ViT-B/16", 8), ("ViT-B/16", 41), ("ViT-L/16", 8))
    )
    assert all(1 < large[key] < few[key] < many[key] for key in few)
    work = floor(VITS["ViT-B/16"], 12)
    assert work.ratios()["forward, operations"] == (work.forward.flops + work.groups.flops) / work.forward.flops


@pytest.mark.parametrize("training", [False, True])
def test_a_bare_vit_by_torchs_counter(model: AUFormer, training: bool) -> None:
    stages = [stage for part in vit_stages(sizes(model), 64) for stage in part]
    found = counted(BiasBeforeBlocks(model), torch.rand(2, 3, 64, 64), training=training)
    assert found == 2 * total(stages, training=training).matrix


@pytest.mark.parametrize("training", [False, True])
def test_experts_by_torchs_counter(training: bool) -> None:
    """N experts as the figure draws them, less the 1x1 `fuse`, which the floor has folded in; they have no map of the carried output."""
    experts = nn.ModuleList([PlainExpert(4, 2, (1, 3, 5), 3) for _ in range(3)])
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: convolution_backward})
    x = torch.rand(1, 4, 2, 2, requires_grad=True)
    with counter:
        out = sum(expert(x).sum() for expert in experts)
        if training:
            out.backward()
    stages = [stage for stage in group_stages(HAND, 3, 2, 4) if stage.name != "own"]
    fuse = (3 if training else 1) * 3 * 2 * 4 * 6 * 2
    assert counter.get_total_flops() - fuse == total(stages, training=training).matrix


@pytest.mark.parametrize("training", [False, True])
def test_what_is_run_is_not_below_the_floor(model: AUFormer, training: bool) -> None:
    paper = floor(sizes(model), 3, 2, 64)
    least = (
        paper.training.plus(paper.groups_training).matrix - paper.spared.matrix
        if training
        else paper.forward.plus(paper.groups).matrix
    )
    assert least <= counted(model, torch.rand(1, 3, 64, 64), training=training) < 2 * least
    assert all(block.attn.fused_attn for block in model.backbone.blocks)
    assert sum(parameter.requires_grad for parameter in model.parameters()) == len(list(model.groups.parameters())) + 6


def test_gradients_of_a_grouped_convolution() -> None:
    """Each of the two takes as many operations as the forward pass: 2 x 5 x 5 outputs of 6 channels, 2 x 9 inputs each."""
    shapes = [2, 6, 5, 5], [2, 6, 5, 5], [6, 2, 3, 3]
    rest = (None, [1, 1], [1, 1], [1, 1], False, [0, 0], 3)
    once = 2 * (2 * 5 * 5) * 6 * (2 * 9)
    assert convolution_backward(*shapes, *rest, [True, True, True]) == 2 * once
    assert convolution_backward(*shapes, *rest, [False, True, False]) == once
