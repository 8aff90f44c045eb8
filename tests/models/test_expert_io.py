"""Taking one action unit's expert out of a model and putting it into another."""

from __future__ import annotations

import pytest
import torch

from auformer.models import AUFormer
from tests.helpers import vits  # noqa: F401 (registers tiny ViTs)


def _model(seed: int, names: tuple[str, ...] = ("AU1", "AU2", "AU12"), **arguments: object) -> AUFormer:
    torch.manual_seed(seed)
    model = AUFormer("vit_tests_token", names, expert_width=2, **arguments)  # type: ignore[arg-type]
    with torch.no_grad():
        for group in model.groups:
            for parameter in group.parameters():
                parameter.normal_()
    return model


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        ({}, ()),
        ({"dilations": ()}, ("dilated", "fuse")),
        ({"window": 0}, ("query", "key", "value")),
        ({"dilations": (2, 7)}, ("dilated.2",)),
    ],
)
def test_names_and_shapes(arguments: dict[str, object], absent: tuple[str, ...]) -> None:
    count = len(arguments.get("dilations", (1, 3, 5)))  # type: ignore[arg-type]
    wanted = {"down": (2, 24), "conv": (2, 2, 3, 3), "query": (2, 2), "key": (2, 2), "value": (2, 2), "up": (24, 2)}
    wanted |= {f"dilated.{i}": (2, 2, 3, 3) for i in range(3)} | {"fuse": (2, 2 * count)}
    got = _model(0, **arguments).expert_weights(1, "AU2")
    shapes = {name: shape for name, shape in wanted.items() if not name.startswith(absent)} if absent else wanted
    assert {name: tuple(tensor.shape) for name, tensor in got.items()} == {
        **{f"{name}.weight": shape for name, shape in shapes.items()},
        **{f"{name}.bias": shape[:1] for name, shape in shapes.items()},
    }


def test_copies_are_detached_and_of_the_models_type() -> None:
    model = _model(0).bfloat16()
    weights = model.expert_weights(0, "AU1")
    assert all(not tensor.requires_grad and tensor.dtype == torch.bfloat16 for tensor in weights.values())
    before = model.expert_weights(0, "AU1")["down.weight"].clone()
    weights["down.weight"].zero_()
    assert torch.equal(model.expert_weights(0, "AU1")["down.weight"], before)


def test_round_trip_changes_nothing() -> None:
    model = _model(0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for g in range(4):
        for name in model.au_names:
            model.load_expert_weights(g, name, model.expert_weights(g, name))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_an_expert_moves_to_another_place_in_another_model() -> None:
    source, target = _model(0), _model(1, ("AU12", "AU4"))
    for g in range(4):
        target.load_expert_weights(g, "AU12", source.expert_weights(g, "AU12"))
    untouched = _model(1, ("AU12", "AU4"))
    for g in range(4):
        for key, tensor in source.expert_weights(g, "AU12").items():
            assert torch.equal(target.expert_weights(g, "AU12")[key], tensor)
        for key, tensor in untouched.expert_weights(g, "AU4").items():
            assert torch.equal(target.expert_weights(g, "AU4")[key], tensor)
    target.backbone.load_state_dict(source.backbone.state_dict())
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():  # the first group sees the same tokens, so the same expert does the same there
        first = []
        for model in (source, target):
            x = model.embed(images)
            first.append(model.groups[0](x, model.backbone.blocks[0].norm1(x), None, (2, 2))[1].g)
    assert torch.allclose(first[0][..., 4:6], first[1][..., :2], atol=1e-6)


def test_other_types_are_converted() -> None:
    model, weights = _model(0), _model(1).double().expert_weights(0, "AU1")
    model.load_expert_weights(0, "AU1", weights)
    assert model.expert_weights(0, "AU1")["up.weight"].dtype == torch.float32
    assert torch.allclose(model.expert_weights(0, "AU1")["up.weight"].double(), weights["up.weight"])


def test_what_does_not_fit_changes_nothing() -> None:
    model = _model(0)
    weights, before = (
        model.expert_weights(0, "AU1"),
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
    )
    changed = {name: tensor + 1 for name, tensor in weights.items()}
    for bad, match in (
        ({name: tensor for name, tensor in changed.items() if name != "up.bias"}, "up.bias"),
        ({**changed, "extra": torch.zeros(1)}, "extra"),
        ({**changed, "up.weight": torch.zeros(2, 24)}, "up.weight"),
        ({**changed, "up.weight": torch.zeros(24, 2, dtype=torch.int64)}, "up.weight"),
    ):
        with pytest.raises(ValueError, match=match):
            model.load_expert_weights(0, "AU1", bad)
    for g, name in ((4, "AU1"), (-1, "AU1"), ("0", "AU1"), (0, "AU4"), (0, "au1")):
        with pytest.raises(ValueError, match="Expected `(g|au_name)`"):
            model.expert_weights(g, name)  # type: ignore[arg-type]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
