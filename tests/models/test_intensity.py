"""The intensity head: what it computes, in every network and in one pass, and networks without it as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from auformer.errors import CheckpointError
from auformer.models import (
    SSF,
    AdaptFormer,
    AUFormer,
    BitFit,
    Convpass,
    FullFineTuning,
    HoulsbyAdapter,
    LastBlocks,
    LinearProbe,
    LoRA,
    VPTDeep,
    load_adapter,
    load_detector,
    read_adapter_header,
    save_adapter,
)
from auformer.models.auformer import transfer_experts
from auformer.models.intensity import LEVELS, IntensityHead
from tests.helpers import vits
from tests.helpers.runs import edit_header, write_vit
from tests.helpers.vits import images_for, moved, shaken, state_of

BASELINES = [
    LinearProbe, FullFineTuning, LastBlocks, BitFit, LoRA, HoulsbyAdapter, AdaptFormer, Convpass, VPTDeep, SSF
]  # fmt: skip
NETWORKS: list[Any] = [AUFormer, *BASELINES]
FORMS = ("regression", "ordinal")


def network(kind: Any = AUFormer, intensity: str = "ordinal", **arguments: Any) -> Any:
    return shaken(vits.network(kind=kind, intensity=intensity, **arguments)).eval()


# the head
# ---------------------------------------------------------------------------------------------------------------------


def filled(form: str) -> IntensityHead:
    """Two features, two AUs, experts of two channels: z1 = x1 + 2 m11, z2 = x2 - m21 + m22."""
    head = IntensityHead(form, 2, 2, expert_width=2, linear=True)
    with torch.no_grad():
        head.main.weight.copy_(torch.eye(2))  # type: ignore[union-attr]
        head.main.bias.zero_()  # type: ignore[union-attr]
        assert head.expert_weight is not None
        head.expert_weight.copy_(torch.tensor([[2.0, 0.0], [-1.0, 1.0]]))
    return head


FEATURES, MEANS = torch.tensor([[1.0, 3.0]]), torch.tensor([[[0.5, 9.0], [1.0, 2.0]]])  # so z = 2 and 4


def test_regression_by_hand() -> None:
    found = filled("regression")(FEATURES, MEANS)
    assert set(found) == {"intensity"}
    assert found["intensity"].tolist()[0] == pytest.approx([5 / (1 + 2.718281828**-2), 5 / (1 + 2.718281828**-4)])
    alone = filled("regression")(FEATURES, None)["intensity"]  # experts disabled
    assert alone.tolist()[0] == pytest.approx([5 / (1 + 2.718281828**-1), 5 / (1 + 2.718281828**-3)])


def test_ordinal_by_hand() -> None:
    head = filled("ordinal")
    assert head.thresholds().tolist()[0] == pytest.approx([0, 1, 2, 3, 4], abs=1e-6)
    found = head(FEATURES, MEANS)
    assert found["level_logits"][0].tolist() == [
        pytest.approx([2, 1, 0, -1, -2], abs=1e-6), pytest.approx([4, 3, 2, 1, 0], abs=1e-6)
    ]  # fmt: skip
    # sigmoids of opposite numbers add up to 1: two pairs and a half
    assert float(found["intensity"][0, 0].detach()) == pytest.approx(2.5)


def test_a_shared_expert_serves_all() -> None:
    both = filled("regression")(FEATURES, MEANS[:, :1].expand(-1, 2, -1))["intensity"]
    assert torch.equal(filled("regression")(FEATURES, MEANS[:, :1])["intensity"], both)
    model = network(shared_expert=True)
    assert model.outputs(images_for(model))["intensity"].shape == (2, 2)


@given(
    gaps=st.lists(st.floats(-120, 120, width=32), min_size=4, max_size=4), score=st.floats(-1e4, 1e4, width=32),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)  # fmt: skip
def test_higher_levels_are_never_likelier(gaps: list[float], score: float, dtype: torch.dtype) -> None:
    head = IntensityHead("ordinal", 1, 1, linear=True).to(dtype)
    with torch.no_grad():
        head.gap_bias.copy_(torch.tensor([gaps]))
        head.main.weight.fill_(0.0)  # type: ignore[union-attr]
        head.main.bias.fill_(score)  # type: ignore[union-attr]
        found = head(torch.zeros(1, 1, dtype=dtype), None)
    probs = found["level_logits"].sigmoid()
    assert bool((probs.diff(dim=-1) <= 0).all())
    assert 0 <= float(found["intensity"]) <= LEVELS


@pytest.mark.parametrize("form", FORMS)
def test_half_types_are_raised_and_float64_stays(form: str) -> None:
    for dtype, wanted in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        found = IntensityHead(form, 4, 2, expert_width=2).to(dtype)(torch.ones(3, 4, dtype=dtype), None)
        assert found["intensity"].dtype == wanted


# in a network
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_one_pass_gives_what_all_heads_say(kind: Any, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(kind, form)
    images, passes, embed = images_for(model, 3), [], model.embed
    monkeypatch.setattr(model, "embed", lambda given: passes.append(1) or embed(given))
    with torch.no_grad():
        found = model.outputs(images)
        assert len(passes) == 1
        logits, experts = model.forward_all(images)
        assert torch.equal(found["logits"], logits) and torch.equal(found["probs"], model.predict_probs(images))
    assert (experts is not None) == ("expert_logits" in found) == (kind is AUFormer)
    assert experts is None or torch.equal(found["expert_logits"], experts)
    assert found["intensity"].shape == (3, 2) and 0 <= found["intensity"].amin() <= found["intensity"].amax() <= 5
    assert found["intensity"].std() > 1e-3
    assert ("level_logits" in found) == (form == "ordinal")
    assert form == "regression" or found["level_logits"].shape == (3, 2, 5)
    assert model.intensity_aus == ("AU1", "AU12")


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_head_changes_nothing_else(kind: Any) -> None:
    """Same weights from the same seed, same next random number, same probabilities, and no key but its own."""
    plain = vits.network(kind=kind)
    after = torch.rand(())
    model = vits.network(kind=kind, intensity="ordinal")
    assert torch.equal(after, torch.rand(()))
    own = {name for name in model.state_dict() if name.startswith("intensity_head.")}
    assert own and set(model.state_dict()) - own == set(plain.state_dict())
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in plain.state_dict().items())
    images = images_for(plain)
    assert torch.equal(plain.eval()(images), model.eval()(images))
    assert set(model.outputs(images)) - set(plain.outputs(images)) == {"intensity", "level_logits"}
    assert plain.intensity_head is None and plain.intensity_aus == () and "intensity" not in plain.arguments


# Tensors of the adapter file, numbers in them, the next random number, and, of shaken weights, the sum of their sizes
# and probabilities: of commit d547d23, before there was an intensity head.
BEFORE: dict[Any, tuple[int, int, float, float, list[float]]] = {
    AUFormer: (89, 2711, 836.9052, 0.34739, [0.66284, 0.44638, 0.71361, 0.43832]),
    LinearProbe: (5, 99, 36.2522, 0.46712, [0.342, 0.24356, 0.401, 0.67374]),
    HoulsbyAdapter: (33, 13093, 3208.1236, 0.03373, [0.70101, 0.47483, 0.68147, 0.45319]),
    VPTDeep: (8, 693, 189.1264, 0.72906, [0.42939, 0.71904, 0.55052, 0.5248]),
}


@pytest.mark.parametrize("kind", BEFORE)
def test_a_network_without_the_head_is_what_it_was_before_there_was_one(kind: Any) -> None:
    tensors, numbers, size, drawn, probs = BEFORE[kind]
    model = vits.network("token", ["AU1", "AU12"], kind)
    state = model.adapter_state_dict()
    assert (len(state), sum(tensor.numel() for tensor in state.values())) == (tensors, numbers)
    assert float(torch.rand(())) == pytest.approx(drawn, abs=1e-5)
    with torch.no_grad():
        found = shaken(model).eval().predict_probs(images_for(model))
    assert float(sum(tensor.double().abs().sum() for tensor in state.values())) == pytest.approx(size, abs=2e-3)
    assert found.flatten().tolist() == pytest.approx(probs, abs=2e-5)


def test_a_probe_stays_linear() -> None:
    model = network(LinearProbe, "regression")
    assert isinstance(model.intensity_head.main, torch.nn.Linear) and model.intensity_head.expert_weight is None
    assert not isinstance(network(LoRA).intensity_head.main, torch.nn.Linear)


def test_without_experts_the_main_features_are_left() -> None:
    model = network()
    images = images_for(model)
    with torch.no_grad(), model.disable_experts():
        bare = model.outputs(images)
        features = model.head.standardise(model.pooled_features(images))
        assert torch.equal(bare["intensity"], model.intensity_head(features, None)["intensity"])
        assert "expert_logits" not in bare
    with torch.no_grad():
        assert not torch.allclose(model.outputs(images)["intensity"], bare["intensity"])


def test_the_head_sees_standardised_features() -> None:
    model = network(LinearProbe, "regression")
    model.set_feature_statistics(torch.full((24,), 0.3), torch.full((24,), 2.0))
    images = images_for(model)
    with torch.no_grad():
        wanted = model.intensity_head((model.pooled_features(images) - 0.3) / (2.0 + 1e-4), None)["intensity"]
        assert torch.allclose(model.outputs(images)["intensity"], wanted, atol=1e-6)


def test_every_trained_tensor_gets_a_gradient_also_from_a_batch_without_codes() -> None:
    """DDP waits for gradients that never come."""
    from auformer.intensity_losses import IntensityLoss

    for form in FORMS:
        model = network(intensity=form)
        found = model.outputs(images_for(model))
        loss = IntensityLoss(form)(found, torch.full((2, 2), torch.nan))["intensity"]
        assert loss.item() == 0.0
        (loss + found["logits"].sum() + found["expert_logits"].sum()).backward()
        own = dict(model.intensity_head.named_parameters())
        assert own and all(one.grad is not None and not one.grad.any() for one in own.values())


def test_a_form_that_there_is_not_is_refused() -> None:
    for kind in (AUFormer, LoRA):
        with pytest.raises(ValueError, match="`intensity` to be one of none, regression, ordinal, but got 'yes'"):
            kind("vit_tests_token", ["AU1"], intensity="yes")


# adapter files
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vit(tmp_path_factory.mktemp("weights") / "vit.safetensors")


def saved(weights: Path, path: Path, **arguments: Any) -> Any:
    model = network(checkpoint_path=weights, **arguments)
    save_adapter(path, model)
    return model


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [AUFormer, LinearProbe])
def test_round_trip(weights: Path, tmp_path: Path, kind: Any, form: str) -> None:
    path = tmp_path / "a.safetensors"
    source = network(kind, form, checkpoint_path=weights)
    source.intensity_aus = ("AU12",)
    save_adapter(path, source)
    header = read_adapter_header(path)
    assert header["arguments"]["intensity"] == form and header["intensity_aus"] == ["AU12"]
    found = load_detector(path, backbone_checkpoint=weights)
    images = images_for(source)
    with torch.no_grad():
        assert torch.equal(found.outputs(images)["intensity"], source.outputs(images)["intensity"])
    assert found.intensity == form and found.intensity_aus == ("AU12",)
    save_adapter(tmp_path / "b.safetensors", found)
    assert read_adapter_header(tmp_path / "b.safetensors") == header


def test_a_file_without_a_head_says_nothing_about_one_and_loads_where_there_is_none(
    weights: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    saved(weights, path, intensity="none")
    assert "intensity" not in path.read_bytes()[:4000].decode("latin1")
    assert load_detector(path, backbone_checkpoint=weights).intensity_aus == ()
    edit_header(path, lambda header: header["arguments"].update(intensity="none"))
    load_adapter(path, network(intensity="none", checkpoint_path=weights))


@pytest.mark.parametrize(("file", "given"), [("none", "ordinal"), ("ordinal", "none"), ("regression", "ordinal")])
def test_a_head_and_a_file_of_another_form_are_told_apart(weights: Path, tmp_path: Path, file: str, given: str) -> None:
    path, target = tmp_path / "a.safetensors", network(intensity=given, checkpoint_path=weights)
    saved(weights, path, intensity=file)
    before = state_of(target)
    with pytest.raises(CheckpointError, match=f"expected `intensity` '{given}', but got '{file}'"):
        load_adapter(path, target)
    assert not moved(target, before)


@pytest.mark.parametrize("wrong", ["AU12", ["AU4"], ["AU12", "AU1"], {"AU1": 1}, [["AU1"]]])
def test_action_units_that_the_file_cannot_mean_are_refused(weights: Path, tmp_path: Path, wrong: Any) -> None:
    path = tmp_path / "a.safetensors"
    saved(weights, path)
    edit_header(path, lambda header: header.update(intensity_aus=wrong))
    with pytest.raises(CheckpointError, match="intensity_aus"):
        read_adapter_header(path)


# moved experts
# ---------------------------------------------------------------------------------------------------------------------


def _start(seed: int, au_names: list[str], form: str) -> AUFormer:
    return shaken(vits.network("token", au_names, intensity=form), std=1.0, seed=seed)


def test_what_the_head_reads_of_an_expert_comes_over_with_it() -> None:
    source, target = _start(1, ["AU1", "AU4", "AU12"], "ordinal"), _start(2, ["AU12", "AU17", "AU1"], "ordinal")
    assert target.intensity_head is not None and source.intensity_head is not None
    before = state_of(target)
    assert transfer_experts(source, target) == ["AU12", "AU1"]
    mine, theirs = target.intensity_head.expert_weight, source.intensity_head.expert_weight
    assert isinstance(mine, Tensor) and isinstance(theirs, Tensor)
    assert torch.equal(mine[0], theirs[2]) and torch.equal(mine[2], theirs[0])
    assert torch.equal(mine[1], before["intensity_head.expert_weight"][1])
    changed = {name for name in moved(target, before) if name.startswith("intensity_head")}
    assert changed == {"intensity_head.expert_weight"}


@pytest.mark.parametrize(("there", "here"), [("none", "ordinal"), ("regression", "ordinal"), ("ordinal", "none")])
def test_experts_move_between_networks_of_other_forms(there: str, here: str) -> None:
    source, target = _start(1, ["AU1"], there), _start(2, ["AU1"], here)
    before = state_of(target)
    assert transfer_experts(source, target) == ["AU1"]
    assert not any(name.startswith("intensity_head") for name in moved(target, before))
