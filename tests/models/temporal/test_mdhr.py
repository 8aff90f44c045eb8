"""MDHR with its backbones: sizes, values of the whole network, what is trained, what a file holds."""

from __future__ import annotations

import pytest
import torch

from auformer.models.adapter_file import save_adapter
from auformer.models.checkpoints import load_detector
from auformer.models.temporal.mdhr import MDHR
from tests.helpers import formula
from tests.helpers.formula import Named, u

SWIN = "swin_base_patch4_window7_224"


@pytest.mark.parametrize(
    ("backbone", "aus", "parts"),
    [
        ("resnet50", "bp4d", (23_508_032, 1_050_112, 64_120_772, 4_240_426, 263_680, 36_888, 6_144)),
        (SWIN, "bp4d", (86_743_224, 525_824, 16_332_740, 4_240_426, 263_680, 36_888, 6_144)),
        ("resnet50", "disfa", (23_508_032, 1_050_112, 64_120_772, 2_119_700, 263_680, 24_592, 4_096)),
        (SWIN, "disfa", (86_743_224, 525_824, 16_332_740, 2_119_700, 263_680, 24_592, 4_096)),
    ],
)
def test_parameters(backbone, aus, parts):
    with torch.device("meta"):
        network = MDHR(backbone, aus)
    head = network.head
    modules = network.backbone, head.static, head.dynamics, head.local, head.cross, head.time, head.classifier
    assert tuple(sum(one.numel() for one in module.parameters()) for module in modules) == parts
    assert network.num_parameters() == (sum(parts), sum(parts))


def _backbone(network: MDHR) -> list[Named]:
    """Tensors of the backbone in the order of the files they come from: torchvision's, Microsoft's."""
    kinds = {"running_mean": "mean", "running_var": "variance", "bias": "bias"}
    found, merging = [], []
    for name, tensor in network.backbone.model.state_dict().items():
        last = name.rpartition(".")[2]
        if last in ("num_batches_tracked", "relative_position_index", "attn_mask"):
            continue
        norm = last == "weight" and tensor.ndim == 1
        found.append((name, "norm" if norm else kinds.get(last, "weight"), tensor))
    if not network.backbone.swin:
        return [(kind, tensor) for _, kind, tensor in found]
    # Microsoft has a merging at the end of the stage before, its reduction before its norm, and a table before qkv
    ordered: list[tuple[str, str, torch.Tensor]] = []
    for name, kind, tensor in found:
        if ".downsample." in name:
            merging.append((name, kind, tensor))
        else:
            ordered.append((name, kind, tensor))
    for stage in (1, 2, 3):
        own = [one for one in merging if one[0].startswith(f"layers.{stage}.")]
        own.sort(key=lambda one: "norm" in one[0])
        place = max(at for at, one in enumerate(ordered) if one[0].startswith(f"layers.{stage - 1}.")) + 1
        ordered[place:place] = own
    return [(kind, tensor) for _, kind, tensor in ordered]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "aus", "tensors", "whole", "corners", "row", "tokens", "moved"),
    [
        ("resnet50", "bp4d", 464, (31.2272182, 7.51770035), (0.1747214594, 0.2214445073),
         (0.1859808181, 0.1818030465, 0.2405055546), 47509727.78, 4694440.078),
        (SWIN, "bp4d", 526, (34.79080541, 9.354626796), (0.2261155949, 0.2215791494),
         (0.224392628, 0.303972071, 0.2289958772), -1647.950219, 157775.305),
        ("resnet50", "disfa", 406, (19.47734245, 4.370162908), (0.2146171976, 0.3016019611),
         (0.2244740942, 0.1839046915, 0.1935519737), 47509727.78, 4694440.078),
    ],
)  # fmt: skip
def test_whole_network(backbone, aus, tensors, whole, corners, row, tokens, moved):
    """Section 3.5 of the design: a clip of 11 frames in float64, values of an independent implementation."""
    network = MDHR(backbone, aus, clip_length=11).double().eval()
    named = _backbone(network) + formula.head(network.head, len(network.au_names))
    assert formula.fill(named) == tensors
    with torch.no_grad():
        maps, found = network.backbone(u((11, 3, 224, 224), 900))
        assert float(found.sum()) == pytest.approx(tokens, rel=1e-6)
        clips = [each.unflatten(0, (1, 11)) for each in maps]
        assert float(network.head.dynamics(clips).sum()) == pytest.approx(moved, rel=1e-6)
        p = network.head(found, clips, (7, 7), 11)["probs"]
    assert (float(p.sum()), float(p.square().sum())) == pytest.approx(whole, rel=1e-6)
    assert (float(p[0, 0]), float(p[10, -1])) == pytest.approx(corners, rel=1e-6)
    assert tuple(p[5, :3].tolist()) == pytest.approx(row, rel=1e-6)


def test_shapes_of_the_maps():
    with torch.device("meta"):
        for backbone, channels, dim in ((SWIN, 128, 1024), ("resnet50", 256, 2048)):
            maps, tokens = MDHR(backbone, "disfa").backbone(torch.rand(1, 3, 224, 224))
            assert [tuple(each.shape[1:]) for each in maps] == [(channels * 2**i, 56 >> i, 56 >> i) for i in range(4)]
            assert tuple(tokens.shape) == (1, 49, dim)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return MDHR("resnet10t", ["AU1", "AU6", "AU12", "AU25"], img_size=32, clip_length=4, reach=2)


def test_everything_is_trained_and_kept(small, tmp_path):
    network = small.train()
    found = network.outputs(torch.rand(2, 4, 3, 32, 32))
    assert found["logits"].shape == (8, 4) and found["region_logits"].shape == (8, 2 + 2 + 2 + 2)
    found["logits"].sum().backward()
    still = [name for name, one in network.named_parameters() if one.grad is None]
    assert all(".heads." in name for name in still)  # the region heads learn from their own loss alone
    save_adapter(tmp_path / "adapter.safetensors", network)
    again = load_detector(tmp_path / "adapter.safetensors")
    images = torch.rand(1, 4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(again.predict_probs(images), network.eval().predict_probs(images), rtol=0, atol=0)
    assert again.clip_length == 4 and again.arguments["reach"] == 2


def test_a_clip_depends_on_itself_alone(small):
    images = torch.rand(2, 4, 3, 32, 32)
    with torch.no_grad():
        both = small.eval().predict_probs(images)
        torch.testing.assert_close(both[:4], small.predict_probs(images[:1]))
    with pytest.raises(ValueError, match=r"clips \(B, T, 3, H, W\), but got \(2, 3, 32, 32\)"):
        small.predict_probs(images[:, 0])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"backbone": "vit_tiny_patch16_224"}, "the name of a ResNet or Swin"),
        ({"backbone": "resnet99"}, "the name of a ResNet or Swin"),
        ({"img_size": 100}, "a multiple of 32"),
        ({"clip_length": 1}, "`clip_length` to be a number of frames from 2"),
        ({"reach": 0}, "`reach` to be a whole number of frames from 1"),
        ({"ends": "mirror"}, "words of `ends`"),
        ({"edges": "some"}, "`edges` to be one of"),
    ],
)
def test_bad_arguments(arguments, said):
    with pytest.raises(ValueError, match=said), torch.device("meta"):
        MDHR(**{"backbone": "resnet10t", "au_names": "disfa", "img_size": 32, **arguments})
