"""The Lightning module: what is trained, what a step computes, how parts are scored."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from auformer.losses import MDWALoss, bce_loss
from auformer.models import AUFormer, AUNetwork, FullFineTuning, LinearProbe
from auformer.models.heads import STD_FLOOR
from auformer.training.module import measure_features
from auformer.training.optimiser import WarmupCosine, parameter_groups
from auformer.training.run import fit
from auformer.training.scores import OutputCollector, Outputs, blame, split_scores
from tests.helpers.runs import AUS, make_data, make_module, write_workspace
from tests.helpers.vits import moved, state_of


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_workspace(tmp_path_factory.mktemp("lit"))


def _names(module: torch.nn.Module, parameters: list[torch.nn.Parameter]) -> set[str]:
    return {name for name, parameter in module.named_parameters() if any(parameter is one for one in parameters)}


def test_only_trainable_matrices_and_kernels_decay(workspace: Path) -> None:
    network = make_module(workspace).network
    decayed, plain = parameter_groups(network, 0.05)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.05, 0.0)
    trainable = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert _names(network, decayed["params"]) == {name for name in trainable if name.endswith("weight")}
    assert _names(network, plain["params"]) == {name for name in trainable if name.endswith("bias")}
    assert not any(name.startswith("backbone") for name in trainable)


def test_full_fine_tuning_spares_norms_and_embeddings(workspace: Path) -> None:
    network = make_module(workspace, FullFineTuning).network
    decayed, plain = (_names(network, group["params"]) for group in parameter_groups(network, 0.05))
    assert {f"backbone.{name}" for name in ("pos_embed", "cls_token", "norm.weight", "blocks.0.norm1.weight")} <= plain
    assert {"backbone.patch_embed.proj.weight", "backbone.blocks.1.attn.qkv.weight", "head.fc1.weight"} <= decayed
    assert decayed | plain == {name for name, _ in network.named_parameters()}


def test_warm_up_rises_linearly_and_the_cosine_ends_at_zero() -> None:
    factor = WarmupCosine(steps=100, warmup_fraction=0.08)
    assert factor(0) == pytest.approx(1 / 8)
    assert factor(3) == pytest.approx(4 / 8 * 0.5 * (1 + math.cos(0.03 * math.pi)))
    assert factor(75) == pytest.approx(0.5 * (1 - math.sqrt(0.5)))
    assert factor(100) == factor(1000) == 0.0
    assert WarmupCosine(steps=10, warmup_fraction=0.0)(0) == 1.0
    for wrong in ({"steps": 0, "warmup_fraction": 0.1}, {"steps": 5, "warmup_fraction": 1.1}):
        with pytest.raises(ValueError, match="Expected `"):
            WarmupCosine(**wrong)


@pytest.mark.parametrize("batch_size", [5, 30])
def test_features_are_measured_on_the_plain_vit_whatever_the_batch(workspace: Path, batch_size: int) -> None:
    data, network = make_data(workspace, batch_size=batch_size), make_module(workspace).network
    images = torch.cat([batch["image"] for batch in data.statistics_dataloader()])
    with torch.no_grad():
        features = network.pooled_features(images).double()
    mean, std = measure_features(network, data.statistics_dataloader())
    assert len(images) == 30 and network.training and not network.backbone.training
    torch.testing.assert_close(mean.double(), features.mean(0), rtol=0, atol=1e-6)
    torch.testing.assert_close(std.double(), features.std(0), rtol=1e-5, atol=1e-7)


def test_measuring_teaches_batchnorm_nothing_and_needs_two_images(workspace: Path) -> None:
    network = FullFineTuning("vit_tests_stem", AUS)
    before = state_of(network)
    mean, _ = measure_features(network, [{"image": torch.rand(4, 3, 32, 32)}])
    assert not moved(network, before)
    assert network.backbone.training and not torch.equal(mean, torch.zeros_like(mean))
    with pytest.raises(ValueError, match="at least two training images"):
        measure_features(network, [{"image": torch.rand(1, 3, 32, 32)}])


def test_statistics_that_are_there_are_kept(workspace: Path, tmp_path: Path) -> None:
    """A resumed run of full fine-tuning would measure another ViT than the plain one."""
    module = make_module(workspace)
    module.network.set_feature_statistics(torch.full((24,), 0.5), torch.full((24,), 2.0))
    fit(module, make_data(workspace), tmp_path, epochs=1, seed=0, progress=False)
    assert torch.equal(module.network.head.standardise.mean, torch.full((24,), 0.5))


def test_rows_that_come_twice_count_once() -> None:
    outputs = OutputCollector(2, experts=True)
    logits, target = torch.randn(5, 2), torch.randint(-1, 2, (5, 2))
    outputs.start()
    for rows in ([3, 0], [1, 4, 2]):
        found = {"logits": logits[rows], "expert_logits": -logits[rows]}
        outputs.update(torch.tensor(rows), target[rows], found)
    padding = torch.full((2, 2), 9.0)  # the first count
    outputs.update(torch.tensor([0, 1]), target[[0, 1]], {"logits": padding, "expert_logits": padding})
    part = outputs.compute()
    assert part.rows.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(part.target, target.to(torch.int8)) and torch.equal(part.logits, logits)
    assert part.experts is not None and torch.equal(part.experts, -logits)
    outputs.start()
    empty = outputs.compute()
    assert empty.logits.shape == (0, 2) and empty.target.shape == (0, 2)


def test_scores_of_a_part_are_sklearns(rng: np.random.Generator) -> None:
    target = rng.integers(-1, 2, (40, 3))
    target[:, 2] = np.minimum(target[:, 2], 0)  # never active
    logits, experts = (torch.from_numpy(rng.normal(size=(40, 3))) for _ in range(2))
    part = Outputs(torch.arange(40), torch.from_numpy(target), logits, experts)
    for average, prob in ((False, logits.sigmoid()), (True, (logits.sigmoid() + experts.sigmoid()) / 2)):
        scores = split_scores(part, AUS, average)
        known = [target[:, i] >= 0 for i in range(3)]
        expected = [f1_score(target[known[i], i], prob[known[i], i].numpy() >= 0.5) for i in range(2)]
        assert [scores["f1_AU1"], scores["f1_AU4"]] == pytest.approx(expected)
        assert math.isnan(scores["f1_AU12"]) and scores["num_aus"] == 2
        assert scores["f1"] == scores["f1_both" if average else "f1_main"] == pytest.approx(np.mean(expected))
    with pytest.raises(ValueError, match="at least one active action unit"):
        split_scores(part._replace(target=torch.zeros(40, 3)), AUS, False)


def test_the_loss_is_the_one_asked_for(workspace: Path) -> None:
    logits, experts, target = torch.randn(6, 3), torch.randn(6, 3), torch.randint(-1, 2, (6, 3))
    options = {"margin": 0.1, "gamma_low": 1.0, "gamma_high": 3.0, "dice_weight": 0.5}
    module = make_module(workspace, expert_loss_weight=2.0, **options)
    expected = MDWALoss(torch.tensor([1.0, 1.2, 0.8]), expert_weight=2.0, **options)(logits, target, experts)
    torch.testing.assert_close(module.loss_terms(logits, target, experts), expected)
    module = make_module(workspace, loss="bce", expert_loss_weight=2.0, dice_weight=0.0)
    plain = module.loss_terms(logits, target, experts)["loss"]
    torch.testing.assert_close(plain, bce_loss(logits, target) + 2 * bce_loss(experts, target))


def test_without_their_loss_there_are_no_expert_heads(workspace: Path) -> None:
    network = make_module(workspace, expert_loss_weight=0.0).network
    assert network.forward_all(torch.rand(1, 3, 32, 32))[1] is None and not network.average_heads
    for wrong in ({"loss": "hinge"}, {"au_weights": [1.0]}, {"lr": 0.0}, {"betas": [0.9]}):
        with pytest.raises(ValueError, match="Expected `"):
            make_module(workspace, **wrong)


@pytest.mark.parametrize(("kind", "frozen"), [(AUFormer, True), (LinearProbe, True), (FullFineTuning, False)])
def test_training_moves_what_is_trainable_and_not_a_bit_of_the_rest(
    workspace: Path, tmp_path: Path, kind: type[AUNetwork], frozen: bool
) -> None:
    module = make_module(workspace, kind)
    before, data = state_of(module), make_data(workspace)
    fit(module, data, tmp_path / "run", epochs=1, seed=0, progress=False)
    trainable = {f"network.{name}" for name, one in module.network.named_parameters() if one.requires_grad}
    assert {name for name in moved(module, before) if "standardise" not in name} == trainable
    assert any("backbone" in name for name in trainable) is not frozen
    mean, std = measure_features(make_module(workspace).network, data.statistics_dataloader())
    standardise = module.network.head.standardise
    assert torch.equal(standardise.mean, mean) and torch.equal(standardise.std, std + STD_FLOOR)


def test_gradients_are_clipped_to_the_norm(workspace: Path) -> None:
    module = make_module(workspace)
    optimizer = torch.optim.AdamW(parameter_groups(module.network, 0.0), fused=True)
    for parameter in module.network.parameters():
        parameter.grad = torch.full_like(parameter, 3.0) if parameter.requires_grad else None
    module.configure_gradient_clipping(optimizer, 0.5, "norm")
    grads = [parameter.grad for parameter in module.network.parameters() if parameter.grad is not None]
    assert float(torch.stack([grad.square().sum() for grad in grads]).sum().sqrt()) == pytest.approx(0.5, rel=1e-4)


def test_blame_names_action_units_and_rows() -> None:
    logits = torch.zeros(4, 3)
    logits[2, 1] = float("nan")
    batch = {"index": torch.tensor([7, 8, 9, 10]), "image": torch.zeros(4, 3, 2, 2)}
    text = blame("epoch 3, batch 5", torch.tensor(float("nan")), logits, None, batch, AUS)
    assert "epoch 3, batch 5" in text and "action units AU4;" in text and "rows [9]" in text
    experts = torch.zeros(4, 3)
    experts[0, 2] = 1e30
    text = blame("epoch 1, batch 1", torch.tensor(float("inf")), torch.zeros(4, 3), experts, batch, AUS)
    assert "inf" in text and "action units AU12)" in text
