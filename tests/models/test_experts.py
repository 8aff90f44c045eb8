"""Expert groups: the fused form against one small module per expert, in float64, values and every gradient."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from auformer.models.experts import ExpertGroup, ExpertMap
from tests.helpers import vits
from tests.helpers.reference import compare
from tests.helpers.vits import shaken

NAMES = ("AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU9", "AU10", "AU12", "AU14", "AU15", "AU17")


def _compare(name: str, num_aus: int, silent: tuple[str, ...] = ("key.bias",), **options: Any) -> None:
    compare(shaken(vits.network(name, NAMES[:num_aus], **options).double(), std=0.1), silent)


@pytest.mark.parametrize(("dilations", "window"), list(product([(1, 3, 5), (2, 1), (3,), ()], [0, 1, 3, 5])))
def test_fused_equals_plain_over_branches(dilations: tuple[int, ...], window: int) -> None:
    one = ("query.weight", "query.bias", "key.weight", "key.bias")  # a softmax over one neighbour is 1
    silent = one if window == 1 else ("key.bias",)
    _compare("gap", 3, silent, img_size=(48, 64), dilations=dilations, window=window)


@pytest.mark.parametrize(("num_aus", "width"), [(1, 1), (1, 8), (12, 3), (12, 8), (2, 24)])
def test_fused_equals_plain_over_widths_and_numbers_of_experts(num_aus: int, width: int) -> None:
    _compare("token", num_aus, img_size=(64, 48), expert_width=width)


@pytest.mark.parametrize("name", [name for name in vits.FIT if name not in ("gap", "token")])
def test_fused_equals_plain_over_vits(name: str) -> None:
    """Prefix tokens, layer scale, pre-norm, norm after pooling: what the group meets in each kind of ViT."""
    _compare(name, 2)


def test_fused_equals_plain_with_the_class_token_and_without_expert_heads() -> None:
    never_heard = tuple(dict(ExpertGroup(1, 2, 2).named_parameters()))  # no attention follows the last group
    _compare("token", 2, never_heard, pool="token", expert_heads=False)


def test_start_of_an_expert_map() -> None:
    """Unit variance out for unit variance in; biases zero; gain 0 is a map of zeros."""
    torch.manual_seed(0)
    assert 0.9 < float((torch.randn(2000, 64) @ ExpertMap(1, 64, 400).weight.detach().T).var()) < 1.1
    conv = ExpertMap(8, 4, 40, kernel=3, gain=2.0)
    assert abs(float(conv.weight.detach().var()) * 4 * 9 - 2) < 0.2
    assert not conv.bias.any() and not ExpertMap(2, 3, 4, gain=0.0).weight.any()


def test_signals_keep_their_scale_inside_a_fresh_expert() -> None:
    """The reason for the start: torch's default shrinks the signal about 7 times on the way to `up`."""
    torch.manual_seed(0)
    group = ExpertGroup(12, 64, 8)
    x, y = torch.randn(2, 4, 49, 64)
    g = group(x, y, None, (7, 7))[1].g
    assert 0.5 < float(g.detach().std()) < 2


def test_prefix_tokens_get_nothing_and_give_nothing() -> None:
    torch.manual_seed(0)
    group = ExpertGroup(2, 6, 3)
    torch.nn.init.normal_(group.up.weight)
    torch.nn.init.normal_(group.up.bias)
    patches, prefix = torch.randn(2, 12, 6), torch.randn(2, 3, 6)
    stream = torch.randn(2, 15, 6)
    alone, carried = group(stream[:, 3:], patches, None, (3, 4))
    both, carried_both = group(stream, torch.cat([prefix, patches], 1), None, (3, 4))
    assert torch.equal(both[:, :3], stream[:, :3]) and torch.allclose(both[:, 3:], alone, atol=1e-6)
    assert (alone - stream[:, 3:]).abs().min() > 1e-4
    assert torch.allclose(carried.g, carried_both.g, atol=1e-6) and carried.group is group


def test_experts_do_not_see_each_other() -> None:
    """Collaboration is across sub-layers, through the ViT; within a group no expert reads another's channels."""
    torch.manual_seed(0)
    group, (x, y) = ExpertGroup(3, 6, 2), torch.randn(2, 1, 12, 6)
    before = group(x, y, None, (3, 4))[1].g.unflatten(2, (3, 2))
    with torch.no_grad():
        for parameter in group.parameters():
            parameter.unflatten(0, (3, -1))[1] += 1.0
    after = group(x, y, None, (3, 4))[1].g.unflatten(2, (3, 2))
    assert torch.equal(before[:, :, [0, 2]], after[:, :, [0, 2]])
    assert not torch.allclose(before[:, :, 1], after[:, :, 1])


def test_nothing_as_wide_as_the_vit_is_kept_per_expert() -> None:
    """Of the width of the ViT only the normed tokens are kept, once; all else is `N*R` wide, whatever the number of
    experts."""
    for num in (2, 12):
        group, sizes = ExpertGroup(num, 512, 2), {}

        def keep(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
            return tensor

        own = {parameter.untyped_storage().data_ptr() for parameter in group.parameters()}
        x, y = torch.randn(1, 49, 512), torch.randn(1, 49, 512)
        carried = group(x, y, None, (7, 7))[1]
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            group(x, y, carried, (7, 7))
        wide = [size for address, size in sizes.items() if address not in own and size >= 49 * 512]
        assert wide == [49 * 512]
        narrow = sum(size for address, size in sizes.items() if address not in own and size < 49 * 512)
        assert narrow <= 10 * 49 * num * 2 + 6 * 512 * num * 2
