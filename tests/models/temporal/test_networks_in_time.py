"""ViTMDHR and AUFormer in time: what they are at the start, what is trained, what they take over, bad arguments."""

from __future__ import annotations

import pytest
import torch

from auformer.errors import CheckpointError
from auformer.models import AUFormer
from auformer.models.temporal.auformer_in_time import AUFormerInTime
from auformer.models.temporal.regions import bits, regions_of
from auformer.models.temporal.relations import EDGES, edges_of
from auformer.models.temporal.transfer import transfer
from auformer.models.temporal.vit_mdhr import ViTMDHR
from tests.helpers.clips import CLIP, clip_network
from tests.helpers.runs import AUS, VIT, write_vit


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_vit(tmp_path_factory.mktemp("vit") / "vit.safetensors")


@pytest.fixture
def clips():
    torch.manual_seed(3)
    return torch.rand(2, CLIP, 3, 32, 32)


def test_sizes_on_the_demo_backbone_and_vit_b():
    with torch.device("meta"):
        assert ViTMDHR("vit_auformer_demo_112", "bp4d", dim=96).num_parameters()[0] == 263_013
        large = ViTMDHR("vit_base_patch16_224.augreg_in21k", "bp4d")
        assert large.num_parameters()[0] == 6_817_798 and large.taps == (3, 6, 9, 12)
        assert sum(one.numel() for one in large.head.dynamics.parameters()) == 1_875_908


@pytest.mark.parametrize("time", ["none", "dynamics", "convolution", "both"])
def test_auformer_in_time_is_auformer_beside_the_head_of_mdhr_on_its_tokens(weights, clips, time):
    network = clip_network(weights, AUFormerInTime, time=time, expert_width=2).eval()
    torch.manual_seed(1)
    plain = AUFormer(VIT, AUS, checkpoint_path=weights, img_size=32, expert_width=2).eval()
    network.load_state_dict(plain.state_dict(), strict=False)
    for group in network.groups:  # what the head sees has passed the experts
        group.up.weight.data.normal_()
    plain.load_state_dict({name: one for name, one in network.state_dict().items() if "time_head" not in name})
    images, tokens = clips.flatten(0, 1), []
    with torch.no_grad():
        found, want = network.outputs(clips), plain.outputs(images)
        for name in ("logits", "expert_logits"):
            torch.testing.assert_close(found[name], want[name])
        if time == "none":
            return torch.testing.assert_close(found["probs"], want["probs"])
        assert (network.time_head.dynamics is None) == (time == "convolution")
        assert (network.time_head.time is None) == (time == "dynamics")
        plain.eval()
        for block in range(1, len(plain.backbone.blocks) + 1):
            x, carried = plain.embed(images), None
            for steps in [*plain._blocks()][:block]:
                x, carried = plain._block(steps, x, carried, None)
            tokens.append(x[:, plain.backbone.num_prefix_tokens :])
        seen = [tokens[tap - 1] for tap in network.taps]
        maps = [one.transpose(1, 2).unflatten(2, plain.grid_size).unflatten(0, (2, CLIP)) for one in seen]
        alone = network.time_head(seen[-1], maps, plain.grid_size, CLIP)
        torch.testing.assert_close(found["time_logits"], alone["logits"])
        torch.testing.assert_close(found["probs"], (want["probs"] + alone["probs"]) / 2)


@pytest.mark.parametrize("kind", [ViTMDHR, AUFormerInTime])
def test_a_frame_depends_on_all_of_its_clip_and_on_no_other(weights, clips, kind):
    network = clip_network(weights, kind, ends="zeros").eval()
    other, moved = clips.clone(), clips.clone()
    other[1], moved[0, -1] = 1 - other[1], 1 - moved[0, -1]
    with torch.no_grad():
        said, beside, within = (network.predict_probs(images) for images in (clips, other, moved))
    torch.testing.assert_close(beside[:CLIP], said[:CLIP])
    assert not torch.allclose(beside[CLIP:], said[CLIP:]) and not torch.allclose(within[1], said[1])
    torch.testing.assert_close(within[CLIP:], said[CLIP:])


def test_what_was_kept_of_frames_gives_the_same(weights, clips):
    network = clip_network(weights, AUFormerInTime).eval()
    with torch.no_grad():
        each = network.frame_by_frame(clips.flatten(0, 1))
        torch.testing.assert_close(network.with_time(each, CLIP)["probs"], network.predict_probs(clips))
        alone = network.with_time(each, 1)["probs"]
    assert not torch.allclose(alone, network.predict_probs(clips))


def test_the_frozen_vit_gets_no_gradient_and_all_else_does(weights, clips):
    for kind in (ViTMDHR, AUFormerInTime):
        network = clip_network(weights, kind).train()
        found = network.outputs(clips)
        total = found["logits"].sum() + sum(found[name].sum() for name in found if name.endswith("_logits"))
        total.backward()
        missing = {name for name, one in network.named_parameters() if one.grad is None}
        assert {name for name in missing if not name.startswith("backbone.")} == set()
        assert all(one.grad is None for one in network.backbone.parameters())


def test_no_gradient_through_activity(weights, clips):
    network = clip_network(weights).train()
    network.outputs(clips)["logits"].sum().backward()
    assert all(head.weight.grad is None for head in network.head.local.heads)


@pytest.mark.parametrize("kind", EDGES)
def test_edges_against_a_double_loop(kind):
    aus = ["AU1", "AU4", "AU6", "AU9", "AU12", "AU17", "AU25"]
    regions = regions_of(aus)
    home = {au: place for place, region in enumerate(regions) for au in region.aus}
    every = torch.cartesian_prod(*[torch.tensor([0, 1])] * len(aus))
    found = edges_of(every, regions, kind)
    for active, edges in zip(every.tolist(), found.tolist(), strict=True):
        for n in range(len(aus)):
            for m in range(len(aus)):
                apart = home[n] != home[m]
                want = n == m or {"active": apart and active[m] == 1, "none": False, "all": True, "others": apart}[kind]
                assert edges[n][m] == want


def test_regions_of_all_action_units_have_few_classes():
    from auformer.aus import AU_SETS

    for name, aus in AU_SETS.items():
        if name == "emotionet23":  # has AUs of the head
            with pytest.raises(ValueError, match="AU51"):
                regions_of(aus)
            continue
        regions = regions_of(aus)
        assert sorted(au for region in regions for au in region.aus) == list(range(len(aus)))
        assert max(region.classes for region in regions) <= 32
        assert all(len(bits(region)) == region.classes for region in regions)


def test_one_frame_and_clips_of_any_length(weights):
    network = clip_network(weights, reach=9).eval()  # a step longer than the clip
    with torch.no_grad():
        for frames in (1, 2, 3, 7):
            assert torch.isfinite(network.outputs(torch.rand(2, frames, 3, 32, 32))["logits"]).all()


def test_a_head_is_taken_over(weights):
    source, target = clip_network(weights, seed=1), clip_network(weights, seed=2)
    other = ViTMDHR(VIT, ["AU12", "AU2", "AU1"], checkpoint_path=weights, img_size=32, clip_length=6, dim=8, reach=2)
    assert transfer(source, target) == AUS
    probed = torch.rand(1, CLIP, 3, 32, 32)
    heads = [f"head.local.heads.{number}.{kind}" for number in range(3) for kind in ("weight", "bias")]
    theirs, mine = source.state_dict(), target.state_dict()
    assert {name for name in mine if not torch.equal(mine[name], theirs[name])} <= set(heads)
    target.load_state_dict({**mine, **{name: theirs[name] for name in heads if name in mine}})
    with torch.no_grad():
        torch.testing.assert_close(target.eval().predict_probs(probed), source.eval().predict_probs(probed))
    assert transfer(source, other) == ["AU12", "AU1"]
    assert torch.equal(other.head.classifier.prototypes[0], source.head.classifier.prototypes[2])
    conv, theirs_conv = other.head.time.conv.weight.chunk(3), source.head.time.conv.weight.chunk(3)
    assert torch.equal(conv[2], theirs_conv[0]) and not torch.equal(conv[1], theirs_conv[1])


def test_what_cannot_be_taken_over(weights):
    target = clip_network(weights)
    with pytest.raises(CheckpointError, match="`reach` 2, but got 1"):
        transfer(clip_network(weights, reach=1), target)
    with pytest.raises(CheckpointError, match="two AUFormers"):
        transfer(AUFormer(VIT, AUS, checkpoint_path=weights, img_size=32, expert_width=2), target)


def test_experts_of_stills_start_an_auformer_in_time(weights):
    source = AUFormer(VIT, AUS, checkpoint_path=weights, img_size=32, expert_width=2)
    target = clip_network(weights, AUFormerInTime, expert_width=2)
    assert transfer(source, target) == AUS
    assert torch.equal(source.groups[0].down.weight, target.groups[0].down.weight)


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        (ViTMDHR, {"dim": 0}, "`dim` to be a number of channels"),
        (ViTMDHR, {"taps": [2, 1]}, "`taps` to be rising numbers of blocks from 1 to 2"),
        (ViTMDHR, {"taps": [3]}, "`taps` to be rising numbers of blocks from 1 to 2"),
        (ViTMDHR, {"dynamics": "some"}, "`dynamics` to be one of weights, sum, none"),
        (ViTMDHR, {"clip_length": 0}, "`clip_length` to be a number of frames"),
        (AUFormerInTime, {"time": "later"}, "`time` to be one of none, dynamics"),
        (AUFormerInTime, {"taps": [0]}, "`taps` to be numbers of blocks"),
    ],
)
def test_bad_arguments(weights, kind, arguments, said):
    with pytest.raises(ValueError, match=said):
        clip_network(weights, kind, **arguments)
