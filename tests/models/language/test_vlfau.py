"""VL-FAU: branches whose evidence adds up, sentences that end, decisions of all heads, files with their own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from auformer.errors import CheckpointError
from auformer.language.facts import Fact
from auformer.models.adapter_file import save_adapter
from auformer.models.checkpoints import load_detector
from auformer.models.language.branches import Branches
from auformer.models.language.vlfau import VLFAU, PlainVLFAU
from tests.helpers import runs, vits

AUS = ["AU4", "AU12", "AU17"]


def network(kind: Any = VLFAU, name: str = "token", **given: Any) -> Any:
    given = {"branch_width": 8, **({"expert_width": 2} if kind is VLFAU else {}), **given}
    return vits.shaken(vits.network(name, AUS, kind, **given), 0.1).eval()


@pytest.fixture(scope="module")
def speaking() -> VLFAU:
    return network()


def test_evidence_adds_up_to_the_decision() -> None:
    branches = vits.shaken(Branches(3, 5, 4, 8))
    refined = branches(torch.randn(2, 3, 4, 5))
    torch.testing.assert_close(refined.evidence.sum(-1) + branches.bias, refined.logits)
    torch.testing.assert_close(refined.attention.sum(-1), torch.ones(2, 3))
    # one input for all branches is the same input for each
    one = torch.randn(2, 1, 4, 5)
    torch.testing.assert_close(branches(one).logits, branches(one.expand(2, 3, 4, 5)).logits)


@pytest.mark.parametrize("kind", [VLFAU, PlainVLFAU])
def test_the_prediction_is_the_mean_of_all_heads(kind: Any) -> None:
    speaking = network(kind, intensity="ordinal")
    images = vits.images_for(speaking)
    found = speaking.outputs(images)
    heads = [found[name].sigmoid() for name in ("logits", "expert_logits", "branch_logits") if name in found]
    assert len(heads) == (3 if kind is VLFAU else 2)
    torch.testing.assert_close(found["probs"], torch.stack(heads).mean(0))
    torch.testing.assert_close(speaking.predict_probs(images), found["probs"])
    assert found["intensity"].shape == (2, 3)
    main, experts = speaking.forward_all(images)
    torch.testing.assert_close(main, found["logits"])
    assert (experts is None) == (kind is PlainVLFAU)
    maps = speaking.attention_maps(images)
    assert maps.shape == (2, 3, 2, 2)
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(2, 3))


@pytest.mark.parametrize("per_au", [False, True])
def test_sentences_are_learned_and_end(per_au: bool) -> None:
    """Two images, other facts each: after some steps the network says of each what it was told, and stops."""
    speaking = network(per_au=per_au).train()
    grammar, speech = speaking.speech.grammar, speaking.speech
    images = torch.stack([torch.zeros(3, 32, 32), torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))])
    facts = [[Fact("AU4", True, 2), Fact("AU12", False), Fact("AU17", True, 1)],
             [Fact("AU4", False), Fact("AU12", True, 3), Fact("AU17", False)]]  # fmt: skip
    rows = torch.tensor([(image, au) for image in range(2) for au in range(3)])
    local = speech.encode([grammar.sentence(fact) for mine in facts for fact in mine], "cpu")
    whole = speech.encode([grammar.face(mine) for mine in facts], "cpu")
    optimizer = torch.optim.Adam(speech.parameters(), lr=0.02)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(60):
            parts = speaking.parts(images)
            loss = speech.local_loss(parts.refined, rows, local) + speech.face_loss(parts.stem, whole)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    found = speaking.eval().describe(images)
    for mine, each in zip(facts, found, strict=True):
        assert [grammar.read(each.sentences[au].text) for au in AUS] == mine
        assert each.face is not None and grammar.read_face(each.face.text) == tuple(f for f in mine if f.active)
        assert -1 < each.sentences["AU4"].log_prob <= 0


def test_nothing_of_one_image_reaches_the_sentences_of_another(speaking: VLFAU) -> None:
    images = vits.images_for(speaking, 3)
    together = speaking.describe(images)
    for image, each in zip(images, together, strict=True):
        (alone,) = speaking.describe(image[None])
        assert {au: one.text for au, one in alone.sentences.items()} == {
            au: one.text for au, one in each.sentences.items()
        }


def test_a_loss_without_sentences_is_nothing(speaking: VLFAU) -> None:
    parts = speaking.parts(vits.images_for(speaking))
    none = speaking.speech.local_loss(
        parts.refined, torch.zeros(0, 2, dtype=torch.long), speaking.speech.encode([], "cpu")
    )
    assert float(none.detach()) == 0.0


def test_padding_counts_for_nothing(speaking: VLFAU) -> None:
    parts, speech = speaking.parts(vits.images_for(speaking)), speaking.speech
    rows, texts = torch.tensor([[0, 0], [1, 2]]), ["the brows are not lowered", "the chin is raised"]
    short = speech.encode(texts, "cpu")
    padded = torch.nn.functional.pad(short, (0, 3), value=speech.vocabulary.pad)
    torch.testing.assert_close(
        speech.local_loss(parts.refined, rows, short), speech.local_loss(parts.refined, rows, padded)
    )
    assert int((short != speech.vocabulary.pad).sum()) == 5 + 1 + 4 + 1  # words and the ends


def test_a_file_brings_the_same_sentences_back(tmp_path: Path) -> None:
    weights = runs.write_vit(tmp_path / "vit.safetensors")
    speaking = network(checkpoint_path=weights, img_size=32)
    save_adapter(tmp_path / "a.safetensors", speaking)
    loaded = load_detector(tmp_path / "a.safetensors", backbone_checkpoint=weights)
    images = vits.images_for(speaking)
    first, second = speaking.describe(images)[0], loaded.describe(images)[0]
    assert first.sentences == second.sentences and first.face == second.face
    assert not any(name.startswith("backbone.") for name in speaking.adapter_state_dict())
    runs.edit_header(tmp_path / "a.safetensors", lambda header: header["arguments"].update(lexicon="0123456789ab"))
    with pytest.raises(CheckpointError, match="learned with the lexicon 0123456789ab"):
        load_detector(tmp_path / "a.safetensors", backbone_checkpoint=weights)


def test_what_cannot_speak_is_refused() -> None:
    with pytest.raises(ValueError, match="those with words .* but got AU13"):
        vits.network("token", ["AU12", "AU13"], VLFAU)
    with pytest.raises(ValueError, match="`branch_width` to be a whole number from 4"):
        network(branch_width=2)


def test_only_what_is_meant_is_trained() -> None:
    for kind in (VLFAU, PlainVLFAU):
        trained = {name for name, parameter in network(kind).named_parameters() if parameter.requires_grad}
        assert not any(name.startswith("backbone.") for name in trained)
        assert {"speech.branches.down", "speech.face_decoder.out.weight"} <= trained
