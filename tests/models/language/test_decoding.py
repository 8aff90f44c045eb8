"""Many questions in one pass are what each is by itself; what is answered is always one of the allowed texts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from auformer.errors import CheckpointError
from auformer.language.answers import make_slot
from auformer.language.grammar import Grammar
from auformer.language.prompts import answers, question
from auformer.models.language.decoding import Reader, answer_probs, choose_answers, free_texts, packed_logits
from auformer.models.language.lm import LanguageModel, tiny_model

pytest.importorskip("transformers")
AUS = ["AU4", "AU12", "AU17"]
GRAMMAR = Grammar(AUS)


def _shaken(model: LanguageModel) -> LanguageModel:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.15 * torch.randn(parameter.shape)
    return model.double().eval()


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _shaken(tiny_model(GRAMMAR))


@pytest.fixture(scope="module")
def gpt2() -> LanguageModel:
    """A model with learned absolute positions, around which a wrong position shows most."""
    import transformers

    with torch.random.fork_rng():
        torch.manual_seed(1)
        words = tiny_model(GRAMMAR)
        config = transformers.GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=256)
        return _shaken(
            LanguageModel("gpt2", transformers.GPT2LMHeadModel(config), encode=words.encode, decode=words.decode,
                          end=words.end)
        )  # fmt: skip


@pytest.fixture
def image(model: LanguageModel) -> torch.Tensor:
    return torch.randn(3, 5, model.width, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def slots(model: LanguageModel, kind: str) -> list[Any]:
    return [
        make_slot(model.encode, question(kind, [au], "short"), answers(kind, au, GRAMMAR), end=model.end, model="tiny")
        for au in AUS
    ]


def alone(model: LanguageModel, image: torch.Tensor, prompt: Any) -> torch.Tensor:
    """Logits after one text, in a plain forward pass of its own without mask, cache or packing."""
    text = torch.tensor([list(prompt)]).expand(len(image), -1)
    embeds = torch.cat([image, model.embed(text)], 1)
    return model.model(inputs_embeds=embeds).logits[:, -1]


@pytest.mark.parametrize("name", ["model", "gpt2"])
@pytest.mark.parametrize("kind", ["occurrence", "level"])
def test_packed_questions_are_what_each_is_by_itself(name: str, kind: str, request: pytest.FixtureRequest) -> None:
    found_model = request.getfixturevalue(name)
    generator = torch.Generator().manual_seed(2)
    image = torch.randn(3, 5, found_model.width, dtype=torch.float64, generator=generator)
    asked = slots(found_model, kind)
    with torch.no_grad():
        packed = answer_probs(found_model, image, asked)
        for slot, probs in zip(asked, packed, strict=True):
            own = alone(found_model, image, slot.prompt)[:, list(slot.firsts)].softmax(-1)
            torch.testing.assert_close(probs.double(), own, atol=1e-5, rtol=0)
            assert not torch.allclose(own, torch.full_like(own, 1 / own.shape[1]), atol=1e-3)


def test_numbers_are_read_digit_by_digit(model: LanguageModel, image: torch.Tensor) -> None:
    """The probability of each of 101 answers against the product of the choices along its tokens."""
    (slot,) = slots(model, "value")[:1]
    with torch.no_grad():
        (found,) = answer_probs(model, image, [slot])
        for number in (0, 37, 99, 100):
            total = torch.ones(len(image), dtype=torch.float64)
            for place, token in enumerate(slot.rests[number]):
                path = slot.rests[number][:place]
                allowed = sorted({rest[place] for rest in slot.rests if rest[:place] == path})
                logits = alone(model, image, (*slot.prompt, *path))[:, allowed]
                total *= logits.softmax(-1)[:, allowed.index(token)]
            torch.testing.assert_close(found[:, number].double(), total, atol=2e-3, rtol=0.02)
    torch.testing.assert_close(found.sum(1), torch.ones(len(image)))


def test_a_cache_reads_what_a_pass_without_one_reads(model: LanguageModel, image: torch.Tensor) -> None:
    """Longer, shorter and other texts one after the other: what is left of the last text must not show."""
    reader, generator = Reader(model, image), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for length in (4, 7, 7, 3, 5):
            texts = torch.randint(0, 100, (3, length), generator=generator)
            own = model.model(inputs_embeds=torch.cat([image, model.embed(texts)], 1)).logits[:, -1].float()
            torch.testing.assert_close(reader.read(texts), own, atol=1e-5, rtol=0)
            torch.testing.assert_close(reader.read(texts), own, atol=1e-5, rtol=0)


def test_constrained_answers_are_always_allowed(model: LanguageModel, image: torch.Tensor) -> None:
    """With random weights, too; and each row is what it is alone."""
    reader = Reader(model, image)
    with torch.no_grad():
        for au, slot in zip(AUS, slots(model, "describe"), strict=True):
            numbers, log_probs = choose_answers(reader, slot)
            for row, number in enumerate(numbers):
                fact = GRAMMAR.read(answers("describe", au, GRAMMAR)[number])
                assert fact is not None and fact.au == au
                single, one_log = choose_answers(Reader(model, image[row : row + 1]), slot)
                assert single == [number] and one_log[0] == pytest.approx(log_probs[row], abs=1e-6)
                assert log_probs[row] < 0
    free = free_texts(reader, model.encode(question("occurrence", ["AU4"], "short")), 12)
    assert len(free) == 3 and all(isinstance(text, str) for text in free)


def test_images_matter_and_stay_in_their_rows(model: LanguageModel, image: torch.Tensor) -> None:
    asked = slots(model, "occurrence")
    with torch.no_grad():
        found, turned = (torch.stack(answer_probs(model, each, asked), 1) for each in (image, image.flip(0)))
    torch.testing.assert_close(found, turned.flip(0), atol=1e-6, rtol=0)
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_an_argument_that_a_model_does_not_name_is_refused(model: LanguageModel, image: torch.Tensor) -> None:
    """transformers itself swallows it and computes something else."""
    model.model(inputs_embeds=image, num_logits_to_keep=1)
    with pytest.raises(CheckpointError, match="tiny takes no num_logits_to_keep"):
        model.call({"inputs_embeds": image, "num_logits_to_keep": 1})


def test_places_to_keep_are_counted_behind_the_image(model: LanguageModel, image: torch.Tensor) -> None:
    text = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        everything = packed_logits(model, image, text, [2, 3], torch.arange(5))
        some = packed_logits(model, image, text, [2, 3], torch.tensor([1, 4]))
        own = alone(model, image, [7, 8, 9]).float()
    torch.testing.assert_close(everything[:, [1, 4]], some)
    torch.testing.assert_close(some[:, 1], own, atol=1e-5, rtol=0)
