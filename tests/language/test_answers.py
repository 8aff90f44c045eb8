"""What may be answered, as tokens, and what a freely written text says."""

from __future__ import annotations

import re

import pytest

from auformer.errors import CheckpointError
from auformer.language.answers import build_trie, make_slot, read_leniently, read_strictly
from auformer.language.grammar import Grammar
from auformer.language.prompts import KINDS, LEVELS, VALUES, answers, definition, list_answer, question
from auformer.language.vocabulary import Vocabulary, split

END = 0


def merging(text: str) -> list[int]:
    """A tokenizer that merges across the border of prompt and answer: `: y` is one token, every other sign one."""
    return [ord(part[0]) + 1000 * (len(part) - 1) for part in re.findall(r": y|.", text)]


def test_a_merge_across_the_border_does_not_bite() -> None:
    slot = make_slot(merging, "AU1:", ("no", "yes"), end=END, model="toy")
    assert slot.prompt == tuple(merging("AU1"))  # the colon belongs to the choice
    assert slot.rests == ((*tuple(merging(": no")), END), (*tuple(merging(": yes")), END))
    assert slot.settled_at_once


def test_answers_that_a_tokenizer_cannot_tell_apart_are_refused() -> None:
    def blind(text: str) -> list[int]:
        return [ord(sign) for sign in text if not sign.isdigit()]

    with pytest.raises(CheckpointError, match=r"tokenizer of toy has the same tokens for the answers '0', '1'"):
        make_slot(blind, "level AU12:", LEVELS, end=END, model="toy")


def test_a_trie_holds_all_answers_and_no_other() -> None:
    grammar = Grammar(["AU12"])
    texts = answers("describe", "AU12", grammar)
    words = Vocabulary(token for text in texts for token in split(text))
    slot = make_slot(words.encode, "", texts, end=words.end, model="toy")
    found = []

    def walk(node: object, tokens: tuple[int, ...]) -> None:
        if node.answer >= 0:  # type: ignore[attr-defined]
            assert not node.next  # type: ignore[attr-defined]
            found.append(words.decode(tokens))
        for token, child in node.next.items():  # type: ignore[attr-defined]
            walk(child, (*tokens, token))

    walk(build_trie(slot.rests), slot.prompt)
    assert sorted(found) == sorted(texts)


def test_questions_and_answers_have_fixed_forms() -> None:
    assert question("occurrence", ["AU4"], "short") == "occurrence AU4:"
    assert question("list", ["AU4", "AU12"], "short") == "list AU4 AU12:"
    full = question("occurrence", ["AU4"])
    assert "AU4, brow lowerer (corrugator supercilii" in full and full.endswith("Is AU4 active?\nAnswer:")
    assert definition("AU13").startswith("AU13, sharp lip puller")
    assert answers("value", "AU4") == VALUES and len(set(VALUES)) == 101 and VALUES[7] == "0.07"
    for kind, aus in (("occurrence", ["AU4", "AU12"]), ("list", []), ("mood", ["AU4"])):
        with pytest.raises(ValueError, match="Expected"):
            question(kind, aus)
    assert "occurrence" in KINDS


def test_strict_reading_takes_the_fixed_form_only() -> None:
    states = {"AU4": True, "AU12": False}
    assert read_strictly(list_answer(states), list(states)) == states
    for text in ("AU12: no; AU4: yes", "AU4: yes", "AU4: yes; AU12: perhaps", "AU4: yes; AU12: no; AU6: no", "",
                 "AU4: yes;AU12: no", "AU4: yes; AU12: no."):  # fmt: skip
        assert read_strictly(text, list(states)) is None, text


@pytest.mark.parametrize(
    ("text", "states", "missing", "unknown"),
    [
        ("no AU4", {"AU4": False}, ("AU12",), ()),
        ("AU4 is not raised, but AU12 is active.", {"AU4": False, "AU12": True}, (), ()),
        ("AU04 and AU12 without AU4", {"AU12": False}, ("AU4",), ()),  # said both ways: missing, never a guess
        ("AU4: yes; AU99: yes", {"AU4": True}, ("AU12",), ("AU99",)),
        ("There is no movement.", {}, ("AU4", "AU12"), ()),
    ],
)
def test_lenient_reading_knows_negation_and_reports_what_is_missing(
    text: str, states: dict[str, bool], missing: tuple[str, ...], unknown: tuple[str, ...]
) -> None:
    found = read_leniently(text, ["AU4", "AU12"])
    assert (found.states, found.missing, found.unknown) == (states, missing, unknown)
    assert not found.complete or not (missing or unknown)
