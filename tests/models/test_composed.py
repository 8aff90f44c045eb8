"""The kept composed maps: what a model predicts is what a model built anew with its weights predicts, whatever was
done in between."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from auformer.models import AUFormer
from auformer.models.composed import Kept
from tests.helpers import vits

assert vits.FIT  # registers the ViTs


def _model(seed: int = 0) -> AUFormer:
    torch.manual_seed(seed)
    model = AUFormer("vit_tests_token", ["AU1", "AU12"], expert_width=2)
    with torch.no_grad():
        for parameter in model.groups.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


def _images(model: AUFormer) -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)).to(model.dtype)


def _predict(model: AUFormer) -> Tensor:
    with torch.no_grad():
        return model(_images(model))


def _afresh(model: AUFormer) -> Tensor:
    """What the weights of the model give where nothing is kept."""
    with torch.enable_grad():
        return model(_images(model)).detach()


def _load(model: AUFormer) -> None:
    model.load_state_dict(_model(1).state_dict())


def _assign(model: AUFormer) -> None:
    model.load_state_dict(_model(1).state_dict(), assign=True)


def _step(model: AUFormer) -> None:
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(_images(model)).sum().backward()
    optimiser.step()


def _fused_step(model: AUFormer) -> None:
    """Torch does not count what this optimiser writes."""
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1, fused=True)
    loss = model(_images(model)).sum()
    _predict(model)  # between forward and backward
    loss.backward()
    model.eval()
    _predict(model)  # between backward and step
    optimiser.step()
    assert torch.allclose(_predict(model), _afresh(model), atol=1e-6, rtol=0)
    optimiser.zero_grad()


def _edit(model: AUFormer) -> None:
    with torch.no_grad():
        model.groups[0].up.weight.mul_(-2)  # the second group's `own` is made of it too


def _load_expert(model: AUFormer) -> None:
    model.load_expert_weights(1, "AU12", _model(1).expert_weights(1, "AU12"))


def _round(model: AUFormer) -> None:
    model.bfloat16().float()  # the same types again, but rounded numbers


def _round_one(model: AUFormer) -> None:
    model.groups[0].up.bfloat16().float()


def _replace(model: AUFormer) -> None:
    model.groups[2] = _model(1).groups[2].eval()


@pytest.mark.parametrize(
    "change", [_load, _assign, _step, _fused_step, _edit, _load_expert, _round, _round_one, _replace, AUFormer.bfloat16]
)
def test_no_change_of_the_weights_is_missed(change: Callable[[AUFormer], object]) -> None:
    model = _model()
    before = _predict(model).clone()
    assert torch.equal(_predict(model), before)
    change(model)
    after = _predict(model)
    assert torch.allclose(after, _afresh(model), atol=1e-6, rtol=0)
    assert (after - before).abs().max() > 1e-5
    for sub in model.modules():
        assert not any(isinstance(value, Tensor) for value in vars(sub).values())


def test_each_group_composes_once() -> None:
    model = _model()
    _predict(model)
    kept = [group._kept.result for group in model.groups]
    _predict(model)
    with torch.inference_mode():
        model(_images(model))
    assert (
        all(group._kept.result is result for group, result in zip(model.groups, kept, strict=True)) and None not in kept
    )


def test_training_keeps_nothing_and_reads_nothing_kept() -> None:
    model = _model()
    _predict(model)
    with torch.no_grad():
        model.groups[1].conv.weight.zero_()
        model.groups[1].up.weight.data.mul_(3.0)  # through `.data`, which torch does not count
    model.train()
    assert torch.equal(_predict(model), _afresh(model))
    _predict_in_training = _model().train()
    _predict(_predict_in_training)
    assert all(group._kept.result is None for group in _predict_in_training.groups)


def test_first_composed_in_inference_mode_serves_recorded_gradients_afterwards() -> None:
    model = _model()
    with torch.inference_mode():
        model(_images(model))
    images = _images(model).requires_grad_()
    with torch.no_grad():
        wanted = model(_images(model))
    assert not any(tensor.is_inference() for group in model.groups for tensor in group._kept.result.fields)
    assert torch.allclose(wanted, _afresh(model), atol=1e-6)
    model(images).sum().backward()
    assert images.grad is not None


def test_a_model_made_in_inference_mode_composes_anew() -> None:
    """Its parameters do not count what is written to them."""
    with torch.inference_mode():
        model = _model()
        before = model(_images(model)).clone()
        model.groups[0].up.weight.mul_(-2)
        assert not torch.allclose(model(_images(model)), before, atol=1e-4)
        assert all(group._kept.result is None for group in model.groups)


def test_composed_without_autocast() -> None:
    model = _model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _predict(model)
    assert all(group._kept.result.up.dtype == torch.float32 for group in model.groups)
    assert torch.allclose(_predict(model), _afresh(model), atol=1e-6)


def test_absent_from_state_copies_and_pickles() -> None:
    model = _model()
    names, size = set(model.state_dict()), _pickled(model)
    _predict(model)
    assert set(model.state_dict()) == names and set(dict(model.named_buffers())) == set(dict(_model().named_buffers()))
    assert _pickled(model) == size
    twin = copy.deepcopy(model)
    again = pickle.loads(pickle.dumps(model))
    for other in (twin, again):
        assert all(group._kept.result is None for group in other.groups)
        _edit(other)
        assert torch.allclose(_predict(other), _afresh(other), atol=1e-6)
        assert not torch.allclose(_predict(other), _predict(model), atol=1e-4)


def _pickled(model: AUFormer) -> int:
    file = io.BytesIO()
    torch.save(model, file)
    return len(file.getvalue())


def test_kept_holds_its_sources_until_it_is_dropped() -> None:
    """Else another tensor could come to lie where an old one was, and be taken for it."""
    kept = Kept()
    kept.open()
    source = torch.ones(3)
    assert kept.get([source], source.sum) == 3
    place = source.data_ptr()
    del source
    others = [torch.full((3,), 2.0) for _ in range(20)]
    assert place not in [other.data_ptr() for other in others]
    assert kept.get([others[0]], others[0].sum) == 6
    kept.forget()
    assert kept.get([others[0]], lambda: others[0].sum() + 1) == 7
