"""AU-LLaVA: probabilities from answers, one by one or together, and files that only their own model reads."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from auformer.errors import CheckpointError
from auformer.language.prompts import KINDS, LEVELS
from auformer.models import export_detector
from auformer.models.adapter_file import read_adapter_header, save_adapter
from auformer.models.checkpoints import load_detector
from auformer.models.language import lm
from auformer.models.language.aullava import IGNORED, AULLaVA
from tests.helpers import runs, vits

transformers = pytest.importorskip("transformers")
AUS = ["AU4", "AU12", "AU17"]
ALL = ["occurrence", "list", "level", "describe", "value"]


def network(weights: Path | None = None, seed: int = 0, **given: Any) -> AULLaVA:
    given = {"questions": ALL, "intensity": "level", "img_size": 32, "checkpoint_path": weights, **given}
    return vits.shaken(vits.network("token", AUS, AULLaVA, seed, **given), 0.1).eval()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT in a file, and in `llama` a language model with its tokenizer as Hugging Face keeps them."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("aullava")
    runs.write_vit(folder / "vit.safetensors")
    words = sorted(set(_words()))
    vocabulary = {word: number for number, word in enumerate(["<s>", "</s>", "<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"AU\d+|[^\W\d_]+|\d|[^\w\s]"), "removed", invert=True)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(folder / "llama")
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=512, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        transformers.LlamaForCausalLM(config).save_pretrained(folder / "llama")
    return folder


def _words() -> list[str]:
    from auformer.language.grammar import Grammar
    from auformer.language.prompts import answers, question
    from auformer.language.vocabulary import split

    grammar = Grammar(AUS)
    texts = [question(kind, AUS if kind == "list" else [au]) for kind in KINDS for au in AUS]
    texts += [text for kind in KINDS for au in AUS for text in answers(kind, au, grammar)]
    return [token for text in texts for token in split(text)]


@pytest.fixture(scope="module")
def tiny(workplace: Path) -> AULLaVA:
    return network(workplace / "vit.safetensors")


@pytest.fixture(scope="module")
def images(tiny: AULLaVA) -> torch.Tensor:
    return vits.images_for(tiny, 4)


def test_a_batch_is_what_each_image_is_alone(tiny: AULLaVA, images: torch.Tensor) -> None:
    with torch.no_grad():
        together = tiny.outputs(images)
        for row, image in enumerate(images):
            alone = tiny.outputs(image[None])
            for name in ("probs", "intensity", "logits"):
                torch.testing.assert_close(together[name][row], alone[name][0], atol=1e-5, rtol=0)
        torch.testing.assert_close(tiny.predict_probs(images), together["probs"])
        assert (together["probs"][0] - together["probs"][1]).abs().max() > 1e-4
        assert together["intensity"].shape == (4, 3) and 0 < float(together["intensity"].min()) < 5


def test_blank_images_get_one_answer_for_all(tiny: AULLaVA, images: torch.Tensor) -> None:
    """Whatever stands beside them; to rounding, as some processors add up the last rows of a product otherwise."""
    blank = torch.full((5, 3, 32, 32), 0.5)
    with torch.no_grad():
        found, beside = (tiny.outputs(each)["probs"][:5] for each in (blank, torch.cat([blank, images])))
    torch.testing.assert_close(found, found[:1].expand(5, -1), atol=1e-6, rtol=0)
    torch.testing.assert_close(beside, found, atol=1e-6, rtol=0)


def test_each_au_has_its_own_answer(tiny: AULLaVA, images: torch.Tensor) -> None:
    """AUs asked for in another order give the same probabilities, each in its place."""
    with torch.no_grad():
        prefix = tiny.prefix(tiny.image_tokens(images))
        forward, back = (tiny.probabilities(prefix, "level", names) for names in (AUS, AUS[::-1]))
        torch.testing.assert_close(forward, back.flip(1), atol=1e-6, rtol=0)
        assert (forward[:, 0] - forward[:, 1]).abs().max() > 1e-4
        for place, au in enumerate(AUS):
            alone = tiny.probabilities(prefix, "level", [au])[:, 0]
            torch.testing.assert_close(forward[:, place], alone, atol=1e-5, rtol=0)
        with pytest.raises(ValueError, match="trained on .* but got 'mood'"):
            tiny.probabilities(prefix, "mood")


def test_the_intensity_is_the_expected_level(tiny: AULLaVA, images: torch.Tensor) -> None:
    with torch.no_grad():
        probs = tiny.probabilities(tiny.prefix(tiny.image_tokens(images)), "level")
        assert probs.shape == (4, 3, len(LEVELS))
        expected = sum(level * probs[..., level] for level in range(6))
        torch.testing.assert_close(tiny.outputs(images)["intensity"], expected)


def test_the_intensity_may_be_the_expected_value(workplace: Path, images: torch.Tensor) -> None:
    """Five times the value of 0.00 to 1.00: 0.40 is level 2."""
    valued = network(workplace / "vit.safetensors", intensity="value")
    with torch.no_grad():
        probs = valued.probabilities(valued.prefix(valued.image_tokens(images)), "value")
        expected = sum(5 * value / 100 * probs[..., value] for value in range(101))
        found = valued.outputs(images)["intensity"]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert valued.intensity_aus == tuple(AUS) and valued.arguments["intensity"] == "value"


def test_a_list_is_read_answer_after_answer(tiny: AULLaVA, images: torch.Tensor) -> None:
    """P(yes) in the list's last slot against a plain pass over the whole text before it."""
    tokens = tiny.image_tokens(images)
    with torch.no_grad():
        found = tiny.list_probs(tokens, ["AU17", "AU4", "AU12"])
        for row in range(len(images)):
            first = "yes" if found[row, AUS.index("AU17")] >= 0.5 else "no"
            second = "yes" if found[row, AUS.index("AU4")] >= 0.5 else "no"
            text = f"{tiny.ask('list', ['AU17', 'AU4', 'AU12'])} AU17: {first}; AU4: {second}; AU12:"
            embeds = torch.cat(
                [tiny.prefix(tokens[row : row + 1]), tiny.lm.embed(torch.tensor([tiny.lm.encode(text)]))], 1
            )
            logits = tiny.lm.model(inputs_embeds=embeds).logits[0, -1]
            pair = logits[[tiny.lm.encode("no")[0], tiny.lm.encode("yes")[0]]].softmax(-1)
            assert float(pair[1]) == pytest.approx(float(found[row, AUS.index("AU12")]), abs=1e-5)


def test_the_temperature_sharpens_without_turning_decisions(tiny: AULLaVA, images: torch.Tensor) -> None:
    with torch.no_grad():
        before = tiny.outputs(images)["logits"].clone()
        tiny.temperatures[KINDS.index("occurrence")] = 2.0
        after = tiny.outputs(images)["logits"]
        tiny.temperatures[KINDS.index("occurrence")] = 1.0
    torch.testing.assert_close(after, before / 2, atol=1e-5, rtol=1e-4)


def test_every_token_of_an_answer_is_supervised_and_none_of_the_question(tiny: AULLaVA) -> None:
    """Each target is the token that follows its place; numbers of supervised tokens are fixed by the forms."""
    counts = {
        ("occurrence AU4:", "yes"): 2, ("level AU12:", "3"): 2, ("value AU12:", "0.37"): 5,
        ("list AU4 AU12:", "AU4: yes; AU12: no"): 8, ("describe AU17:", "the chin is raised"): 5,
    }  # fmt: skip
    for (asked, answer), count in counts.items():
        tokens, targets = tiny.supervised((asked, answer))
        assert len(tokens) == len(targets)
        whole = [*tiny.lm.encode(f"{asked} {answer}"), tiny.lm.end]
        kept = [place for place, target in enumerate(targets) if target != IGNORED]
        assert len(kept) == count
        assert [targets[place] for place in kept] == whole[-count:]
        assert all(whole[place + 1] == targets[place] for place in kept)


def test_the_loss_is_what_each_text_has_alone(tiny: AULLaVA, images: torch.Tensor) -> None:
    """Packed behind one image, of unequal number and length, against plain passes."""
    tokens = tiny.image_tokens(images[:2])
    texts = [
        [(tiny.ask("occurrence", ["AU4"]), "yes"), (tiny.ask("describe", ["AU17"]), "the chin is raised")],
        [(tiny.ask("level", ["AU12"]), "3")],
    ]
    total, count = 0.0, 0
    with torch.no_grad():
        for row, mine in enumerate(texts):
            for text in mine:
                given, targets = tiny.supervised(text)
                embeds = torch.cat([tiny.prefix(tokens[row : row + 1]), tiny.lm.embed(torch.tensor([given]))], 1)
                logits = tiny.lm.model(inputs_embeds=embeds).logits[0, -len(given) :]
                for place, target in enumerate(targets):
                    if target != IGNORED:
                        total, count = total - float(logits[place].log_softmax(-1)[target]), count + 1
        assert float(tiny.answer_loss(tokens, texts)) == pytest.approx(total / count, abs=1e-5)


def test_the_projector_learns(tiny: AULLaVA, images: torch.Tensor) -> None:
    loss = tiny.answer_loss(tiny.image_tokens(images), [[(tiny.ask("occurrence", ["AU4"]), "yes")]] * 4)
    loss.backward()
    gradient = tiny.head.fc.weight.grad
    assert gradient is not None and float(gradient.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in tiny.backbone.parameters())
    tiny.zero_grad()


def test_every_sentence_is_one_of_the_grammar(tiny: AULLaVA, images: torch.Tensor) -> None:
    found = tiny.describe(images)
    with torch.no_grad():
        probs = tiny.predict_probs(images)
    for row, each in enumerate(found):
        for au in AUS:
            fact = tiny.grammar.read(each.sentences[au].text)
            assert fact is not None and fact.au == au
        torch.testing.assert_close(torch.from_numpy(each.probs), probs[row])
        assert each.intensity is not None and each.face is None
    turned = tiny.describe(images.flip(0))[::-1]  # nothing of the images before them is kept
    assert [each.sentences for each in turned] == [each.sentences for each in found]
    assert len({tuple(saying.log_prob for saying in each.sentences.values()) for each in found}) == len(found)
    free = tiny.free_answers(tiny.image_tokens(images), "occurrence", ["AU4"], 4)
    assert len(free) == 4


def test_a_file_brings_the_same_answers_back(workplace: Path, tmp_path: Path, images: torch.Tensor) -> None:
    weights = workplace / "vit.safetensors"
    tiny = network(weights)
    tiny.temperatures[0] = 1.7
    save_adapter(tmp_path / "a.safetensors", tiny)
    loaded: Any = load_detector(tmp_path / "a.safetensors", backbone_checkpoint=weights)
    with torch.no_grad():
        assert (loaded.outputs(images)["probs"] == tiny.outputs(images)["probs"]).all()
    assert loaded.intensity_aus == tuple(AUS) and loaded.questions == tuple(ALL)
    for name, value, told in (
        ("prompts", "0", "trained on version 0"), ("lm_digest", "0" * 12, "tokenizer and configuration of digest 000"),
        ("lexicon", "0" * 12, "learned with the lexicon 000"),
    ):  # fmt: skip
        path = tmp_path / f"{name}.safetensors"
        shutil.copy(tmp_path / "a.safetensors", path)
        runs.edit_header(path, lambda header, name=name, value=value: header["arguments"].update({name: value}))
        with pytest.raises(CheckpointError, match=told):
            load_detector(path, backbone_checkpoint=weights)


def test_a_model_of_hugging_face_stays_outside_of_the_file(
    workplace: Path, tmp_path: Path, images: torch.Tensor
) -> None:
    weights, folder = workplace / "vit.safetensors", tmp_path / "llama"
    shutil.copytree(workplace / "llama", folder)
    big = network(weights, lm=str(folder), lm_lora=4, questions=["occurrence", "level"])
    names = set(big.adapter_state_dict())
    assert {"head.fc.weight", "temperatures"} <= names and any("lora_A" in name for name in names)
    assert all("lora_" in name for name in names if name.startswith("lm."))
    trained = {name for name, parameter in big.named_parameters() if parameter.requires_grad}
    assert trained and trained <= names
    save_adapter(tmp_path / "a.safetensors", big)
    loaded: Any = load_detector(tmp_path / "a.safetensors", backbone_checkpoint=weights)
    with torch.no_grad():
        torch.testing.assert_close(loaded.outputs(images)["probs"], big.outputs(images)["probs"])
        assert "Question: Is AU4 active?" in big.ask("occurrence", ["AU4"])
    assert read_adapter_header(tmp_path / "a.safetensors")["arguments"]["lm_digest"] == big.lm.digest
    tokenizer, config = folder / "tokenizer.json", folder / "config.json"
    kept = tokenizer.read_text(encoding="utf-8")
    content = json.loads(kept)
    numbers = content["model"]["vocab"]
    numbers["yes"], numbers["no"] = numbers["no"], numbers["yes"]
    tokenizer.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot be built: .*one here has"):
        load_detector(tmp_path / "a.safetensors", backbone_checkpoint=weights)
    tokenizer.write_text(kept, encoding="utf-8")
    config.write_text(config.read_text().replace('"intermediate_size": 48', '"intermediate_size": 44'))
    with pytest.raises(CheckpointError, match="cannot be built: .*one here has"):
        load_detector(tmp_path / "a.safetensors", backbone_checkpoint=weights)


def test_what_is_no_usable_model_is_told(workplace: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="neither a folder here nor in the cache.*hf download nobody/nothing"):
        lm.pretrained_model("nobody/nothing")
    damaged = tmp_path / "llama"
    shutil.copytree(workplace / "llama", damaged)
    (damaged / "tokenizer.json").write_text("{damaged")
    with pytest.raises(CheckpointError, match=r"llama cannot be used \(.*download it again"):
        lm.pretrained_model(str(damaged))


def test_code_of_a_model_is_never_run(workplace: Path, tmp_path: Path) -> None:
    strange = tmp_path / "llama"
    shutil.copytree(workplace / "llama", strange)
    text = (strange / "config.json").read_text()
    start = text.replace('"model_type": "llama"', '"model_type": "stranger", "auto_map": {"AutoConfig": "code.Config"}')
    (strange / "config.json").write_text(start)
    (strange / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Config: ...\n")
    with pytest.raises(CheckpointError):
        lm.pretrained_model(str(strange))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"questions": ["level"]}, "with occurrence"), ({"questions": ["occurrence", "mood"]}, "some of occurrence"),
        ({"questions": ["occurrence"]}, "Expected `level` among `questions`"),
        ({"intensity": "ordinal"}, "'none', 'level' or 'value'"), ({"lm_lora": 4}, "0 with lm: tiny"),
        ({"lm_bits": 16}, "32 with lm: tiny"), ({"pool_tokens": 3}, "`pool_tokens` of 1 or 2"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        network(**given)


def test_it_is_not_exported(tiny: AULLaVA, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="AULLaVA answers with a language model: use its adapter file"):
        export_detector(tiny, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_pooled_tokens_are_fewer(workplace: Path, images: torch.Tensor) -> None:
    pooled = network(workplace / "vit.safetensors", pool_tokens=2)
    assert pooled.prefix(pooled.image_tokens(images)).shape[1] == 2  # one for the 2 x 2 grid, and the beginning


def test_one_module_alone_knows_the_libraries() -> None:
    """Whoever changes transformers' names changes them in one file."""
    package = Path(lm.__file__).parents[2]
    pattern = re.compile(r'(require\(|import_module\()"transformers|^\s*(import|from) transformers', re.M)
    texts = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    named = {str(path.relative_to(package)) for path, text in texts.items() if pattern.search(text)}
    assert named == {"models/language/lm.py"}
