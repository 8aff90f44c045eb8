"""Sentences and facts: each the exact inverse of the other, and nothing else is read."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest

from auformer.aus import AU_SETS
from auformer.language.facts import Fact, degree_of, label_facts, predicted_facts
from auformer.language.grammar import Grammar, by_region, shown
from auformer.language.lexicon import LANGUAGES, load_lexicon, parse_lexicon
from auformer.language.vocabulary import Vocabulary, sentence_tokens

ALL = AU_SETS["all"]
KNOWN = (*ALL, "AU29", "AU30", "AU34")
# beginnings of words that name feelings, intentions, health or character; none may be in a sentence about muscles
FORBIDDEN = (
    "happ", "sad", "angr", "anger", "fear", "afraid", "disgust", "surpris", "contempt", "emotion", "feel", "smil",
    "joy", "pain", "sick", "ill", "depress", "anxi", "lie", "lying", "fake", "genuin", "want", "intend", "think",
    "glück", "traur", "wüt", "zorn", "furcht", "ekel", "freud", "schmerz", "lächel", "lach", "krank", "gefühl", "wein",
)  # fmt: skip
MUSCLES = {"lachmuskel", "depressor"}  # the German name of risorius; a part of Latin names


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_says_its_fact_and_no_other(language: str) -> None:
    grammar = Grammar(KNOWN, language)
    said: dict[str, Fact] = {}
    for fact in grammar.facts():
        for text in grammar.texts(fact):
            assert grammar.read(text) == grammar.read(shown(text)) == fact
            assert said.setdefault(text, fact) == fact
    assert len(said) > 700


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_about_faces_are_read_back(language: str, rng: np.random.Generator) -> None:
    grammar = Grammar(KNOWN, language)
    for number in range(28):
        chosen = rng.permutation(KNOWN)[:number]
        facts = [Fact(str(au), True, int(rng.integers(4))) for au in chosen]
        text = grammar.face([*facts, Fact("AU4", False)] if "AU4" not in chosen else facts, rng)
        found = grammar.read_face(shown(text))
        assert found is not None and set(found) == set(facts)
        assert [fact.au for fact in found] == by_region([fact.au for fact in facts])


@pytest.mark.parametrize("language", LANGUAGES)
def test_sides_are_said_and_read_where_asked_for(language: str, rng: np.random.Generator) -> None:
    grammar, without = Grammar(KNOWN, language, sides=True), Grammar(KNOWN, language)
    sided = [fact for fact in grammar.facts() if fact.side]
    assert len(sided) == len(KNOWN) * 4 * 2
    for fact in sided:
        for text in grammar.texts(fact):
            assert grammar.read(text) == fact and without.read(text) is None
    both = [Fact("AU4", True, 2, "left"), Fact("AU12", True, 0, "right"), Fact("AU17", True)]
    assert grammar.read_face(grammar.face(both, rng)) == tuple(both)
    cue = grammar.texts(both[2])[-1]
    assert grammar.read_face(f"{grammar.lexicon.numbers[0]} {grammar.lexicon.movement[0]}: {cue}") is None


def test_sides_come_from_labels_of_sides() -> None:
    row = {"AU4": 1, "AU4_left": 0, "AU4_right": 1, "AU12": 1, "AU12_left": 1, "AU12_right": 1, "AU17": 1, "AU25": 0}
    found = label_facts(row, ["AU4", "AU12", "AU17", "AU25"], sides=True)
    assert [fact.side for fact in found.values()] == ["right", "", "", ""]
    assert label_facts(row, ["AU4"])["AU4"].side == ""
    with pytest.raises(ValueError, match="empty at rest, but got 'left'"):
        Fact("AU4", False, 0, "left")


def test_other_texts_about_faces_are_not_read() -> None:
    grammar = Grammar(["AU4", "AU12", "AU17"])
    both = grammar.face([Fact("AU4", True), Fact("AU17", True)])
    assert both == "two movements: the brows are lowered and drawn together; the chin is raised"
    clauses = both.partition(": ")[2].split("; ")
    for wrong in (
        both.replace("two", "three"), both.replace("movements", "movement"),
        f"two movements: {'; '.join(clauses[::-1])}",
        f"two movements: {clauses[0]}; {clauses[0]}", "one movement: the chin is not raised", "", "two movements: ",
        f"{both}; and more",
    ):  # fmt: skip
        assert grammar.read_face(wrong) is None, wrong
    assert grammar.read_face("The whole face is at rest.") == ()


def test_rest_is_not_read_as_movement() -> None:
    grammar = Grammar(ALL)
    for au in ALL:
        for text in grammar.texts(Fact(au, False)):
            fact = grammar.read(text)
            assert fact is not None and not fact.active
    assert grammar.read("the chin is not raised") == Fact("AU17", False)
    assert grammar.read("the chin is raised") == Fact("AU17", True)
    assert grammar.read("the chin is not clearly raised") is None


def test_an_ambiguous_lexicon_fails_the_build() -> None:
    content = json.loads(files("auformer").joinpath("assets/lexicon.json").read_text("utf-8"))["en"]
    content["aus"]["AU15"]["rest"][0] = content["aus"]["AU12"]["rest"][0]
    with pytest.raises(ValueError, match=r"text of its own for .*AU1[25].*also says"):
        Grammar(ALL, lexicon=parse_lexicon(content, "en"))
    content["aus"]["AU15"]["rest"] = ["only one"]
    with pytest.raises(ValueError, match="at least 3 rest of AU15"):
        parse_lexicon(content, "en")


def test_words_are_about_muscles_only() -> None:
    for language in LANGUAGES:
        for token in sentence_tokens(Grammar(KNOWN, language, sides=True)):
            assert token.lower() in MUSCLES or not token.lower().startswith(FORBIDDEN), token


def test_both_languages_know_every_rendered_au_and_those_of_feafa() -> None:
    for language in LANGUAGES:
        assert tuple(load_lexicon(language).aus) == KNOWN
    assert Grammar(["AU30"], sides=True).read("the jaw is moved sideways, to the left") == Fact("AU30", True, 0, "left")
    with pytest.raises(ValueError, match="one of en, de, but got 'fr'"):
        load_lexicon("fr")
    with pytest.raises(ValueError, match="those with words .* but got AU13"):
        Grammar(["AU12", "AU13"])


def test_translation_keeps_the_facts() -> None:
    english, german = Grammar(KNOWN, sides=True), Grammar(KNOWN, "de", sides=True)
    for fact in english.facts():
        for text in english.texts(fact):
            translated = english.translate(text, german)
            assert translated is not None and german.read(translated) == fact
    assert english.translate("two movements: the chin is raised; the jaw is dropped", german) == (
        "zwei Bewegungen: das Kinn ist angehoben; der Kiefer ist gesenkt"
    )
    assert english.translate("nonsense", german) is None


def test_degrees_and_facts_of_tables() -> None:
    assert [degree_of(level) for level in (0.0, 1.0, 2.49, 2.5, 3.49, 3.5, 5.0)] == [1, 1, 1, 2, 2, 3, 3]
    row = {"AU4": 1, "AU4_intensity": 3.0, "AU12": 0, "AU12_intensity": 0.4, "AU17": -1, "AU25": 1}
    assert label_facts(row, ["AU4", "AU12", "AU17", "AU25"]) == {
        "AU4": Fact("AU4", True, 2), "AU12": Fact("AU12", False), "AU25": Fact("AU25", True, 0)
    }  # fmt: skip
    assert predicted_facts({"AU4_active": 1, "AU4_intensity_pred": 4.2, "AU12_active": None}, ["AU4", "AU12"]) == {
        "AU4": Fact("AU4", True, 3)
    }
    with pytest.raises(ValueError, match="0 at rest, but got 2 of at rest AU4"):
        Fact("AU4", False, 2)


def test_vocabulary_is_exact_for_every_sentence() -> None:
    grammar = Grammar(ALL)
    words = Vocabulary(sentence_tokens(grammar))
    for fact in grammar.facts():
        for text in grammar.texts(fact):
            numbers = words.encode(text)
            assert words.decode([words.begin, *numbers, words.end, words.pad, numbers[0]]) == text
    face = grammar.face([Fact(au, True, 1) for au in ALL])
    assert words.decode(words.encode(face)) == face
    with pytest.raises(ValueError, match="known words, but got 'smiles'"):
        words.encode("the chin smiles")
    assert Vocabulary([*words.tokens, "moreover"]).digest != words.digest
