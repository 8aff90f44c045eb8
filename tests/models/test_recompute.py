"""Computing again instead of keeping: the same gradients from fewer bytes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from auformer.models import AUFormer, load_adapter, save_adapter
from tests.helpers.vits import images_for, network, shaken

WAYS = ("nothing", "experts", "blocks")


def _model(recompute: str, **options: Any) -> AUFormer:
    return shaken(network("token", ("AU1", "AU4", "AU12"), recompute=recompute, **options).double())


def _gradients(model: AUFormer) -> dict[str, Tensor]:
    logits, expert_logits = model.forward_all(images_for(model))
    (logits.sin().sum() + expert_logits.cos().sum()).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def _kept_bytes(model: AUFormer) -> int:
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    alive: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            alive[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.forward_all(images_for(model))
    return sum(tensor.untyped_storage().nbytes() for tensor in alive.values())


OPTIONS = [{}, {"carry": False}, {"experts_beside": "mlp", "blocks": "last_half"}, {"dilations": (), "window": 0}]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("recompute", WAYS[1:])
def test_gradients_are_the_same(recompute: str, options: dict[str, Any]) -> None:
    models = [_model(way, **options) for way in ("nothing", recompute)]
    wanted, got = (_gradients(model) for model in models)
    assert wanted.keys() == got.keys() and any(grad.abs().max() > 1e-3 for grad in wanted.values())
    for name, grad in wanted.items():
        assert torch.allclose(grad, got[name], atol=1e-12, rtol=1e-9), name


def test_attention_computed_again_takes_the_same_path_under_autocast() -> None:
    """The written-out attention is chosen inside of what is computed again: another one would keep other tensors,
    which is an error."""
    models = [_model(way).float() for way in ("nothing", "blocks")]
    with torch.autocast("cpu", torch.bfloat16):
        wanted, got = (_gradients(model) for model in models)
    for name, grad in wanted.items():
        assert torch.allclose(grad, got[name], atol=1e-6), name


def test_fewer_bytes_are_kept() -> None:
    sizes = [_kept_bytes(_model(way)) for way in WAYS]
    assert sizes[0] > 1.2 * sizes[1] and sizes[1] > 2 * sizes[2]


def test_nothing_is_computed_twice_without_gradients() -> None:
    model, calls = _model("blocks").eval(), []
    for group in model.groups:
        group.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        model(images_for(model))
    assert len(calls) == len(model.groups)


def test_files_do_not_depend_on_it(tmp_path: Any) -> None:
    source, target = _model("blocks"), _model("nothing")
    assert "recompute" not in source.arguments
    with torch.no_grad():
        target.groups[0].up.weight.zero_()
    save_adapter(tmp_path / "adapter.safetensors", source)
    load_adapter(tmp_path / "adapter.safetensors", target)
    assert target.recompute == "nothing"
    assert torch.equal(source.groups[0].up.weight.float(), target.groups[0].up.weight.float())
