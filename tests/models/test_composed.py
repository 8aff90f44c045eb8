"""The kept composed maps: what a model predicts is what a model built anew with its weights predicts, whatever was
done in between."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from auformer.models import AUFormer
from auformer.models.composed import Kept
from tests.helpers.vits import images_for, network, shaken


def _model(seed: int = 0) -> AUFormer:
    return shaken(network(), seed=seed).eval()


def _kept(model: AUFormer) -> list[Any]:
    return [group._kept.result for group in model.groups]


def _predict(model: AUFormer) -> Tensor:
    with torch.no_grad():
        return model(images_for(model))


def _afresh(model: AUFormer) -> Tensor:
    """What the weights of the model give where nothing is kept."""
    with torch.enable_grad():
        return model(images_for(model)).detach()


def _step(model: AUFormer) -> None:
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(images_for(model)).sum().backward()
    optimiser.step()


def _fused_step(model: AUFormer) -> None:
    """Torch does not count what this optimiser writes."""
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1, fused=True)
    loss = model(images_for(model)).sum()
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


CHANGES: dict[str, Callable[[AUFormer], object]] = {
    "load": lambda model: model.load_state_dict(_model(1).state_dict()),
    "assign": lambda model: model.load_state_dict(_model(1).state_dict(), assign=True),
    "step": _step,
    "fused step": _fused_step,
    "edit": _edit,
    "load an expert": lambda model: model.load_expert_weights(1, "AU12", _model(1).expert_weights(1, "AU12")),
    "round": lambda model: model.bfloat16().float(),  # the same types again, but rounded numbers
    "round one": lambda model: model.groups[0].up.bfloat16().float(),
    "replace": lambda model: model.groups.__setitem__(2, _model(1).groups[2].eval()),
    "type": AUFormer.bfloat16,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
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
    kept = _kept(model)
    _predict(model)
    with torch.inference_mode():
        model(images_for(model))
    assert None not in kept and all(now is then for now, then in zip(_kept(model), kept, strict=True))


def test_training_keeps_nothing_and_reads_nothing_kept() -> None:
    model = _model()
    _predict(model)
    with torch.no_grad():
        model.groups[1].conv.weight.zero_()
        model.groups[1].up.weight.data.mul_(3.0)  # through `.data`, which torch does not count
    model.train()
    assert torch.equal(_predict(model), _afresh(model))
    fresh = _model().train()
    _predict(fresh)
    assert not any(_kept(fresh))


def test_first_composed_in_inference_mode_serves_recorded_gradients_afterwards() -> None:
    model = _model()
    with torch.inference_mode():
        model(images_for(model))
    assert not any(tensor.is_inference() for kept in _kept(model) for tensor in kept.fields)
    assert torch.allclose(_predict(model), _afresh(model), atol=1e-6)
    images = images_for(model).requires_grad_()
    model(images).sum().backward()
    assert images.grad is not None


def test_a_model_made_in_inference_mode_composes_anew() -> None:
    """Its parameters do not count what is written to them."""
    with torch.inference_mode():
        model = _model()
        before = model(images_for(model)).clone()
        model.groups[0].up.weight.mul_(-2)
        assert not torch.allclose(model(images_for(model)), before, atol=1e-4)
        assert not any(_kept(model))


def test_composed_without_autocast() -> None:
    model = _model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _predict(model)
    assert all(kept.up.dtype == torch.float32 for kept in _kept(model))
    assert torch.allclose(_predict(model), _afresh(model), atol=1e-6)


def test_absent_from_state_copies_and_pickles() -> None:
    model = _model()
    names, size = set(model.state_dict()), _pickled(model)
    _predict(model)
    assert set(model.state_dict()) == names and set(dict(model.named_buffers())) == set(dict(_model().named_buffers()))
    assert _pickled(model) == size
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert not any(_kept(other))
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
