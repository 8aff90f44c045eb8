"""Answers of a language model: those that are allowed, as tokens, and what a text that it wrote freely says."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from auformer.errors import CheckpointError
from auformer.language.prompts import NO, YES, list_answer

Encode = Callable[[str], list[int]]


class Slot(NamedTuple):
    """One place in a text where a model chooses.

    Args:
        prompt: Tokens before the choice: those that the texts with every answer share.
        rests: Tokens of each answer from there on, in the order of the answers, the end of the text last.
    """

    prompt: tuple[int, ...]
    rests: tuple[tuple[int, ...], ...]

    @property
    def firsts(self) -> tuple[int, ...]:
        """The first token of each answer's rest."""
        return tuple(rest[0] for rest in self.rests)

    @property
    def settled_at_once(self) -> bool:
        """Whether the first token decides."""
        return len(set(self.firsts)) == len(self.rests)


def make_slot(encode: Encode, prompt: str, answers: Sequence[str], *, end: int, model: str, blank: str = " ") -> Slot:
    """Cut the texts of a prompt with each of its answers where they begin to differ.

    Prompt and answer are split into tokens together, so that a merge across the border between them cannot bite.

    Args:
        encode: Splits a text into tokens.
        prompt: The text before the answer.
        answers: At least two.
        end: The token that ends a text.
        model: Name of the language model, for messages.
        blank: What stands between prompt and answer.

    Raises:
        CheckpointError: Two answers have the same tokens: the model cannot tell them apart.
    """
    texts = [(*encode(f"{prompt}{blank}{answer}"), end) for answer in answers]
    if len(set(texts)) < len(texts):
        twice = [answer for answer, tokens in zip(answers, texts, strict=True) if texts.count(tokens) > 1]
        raise CheckpointError(
            f"The tokenizer of {model} has the same tokens for the answers {', '.join(map(repr, twice[:3]))}, which "
            "the model then cannot tell apart: use a language model whose tokenizer knows digits and letters"
        )
    shared = 0
    while len({tokens[shared] for tokens in texts}) == 1:
        shared += 1
    return Slot(texts[0][:shared], tuple(tokens[shared:] for tokens in texts))


@dataclass
class Node:
    """A place in a trie of answers.

    Args:
        next: Where each allowed token leads.
        answer: Number of the answer that ends here; -1 where none does.
    """

    next: dict[int, Node] = field(default_factory=dict)
    answer: int = -1


def build_trie(rests: Sequence[Sequence[int]]) -> Node:
    """The trie of the answers' tokens; every path from its root ends at an answer."""
    root = Node()
    for number, tokens in enumerate(rests):
        node = root
        for token in tokens:
            node = node.next.setdefault(token, Node())
        node.answer = number
    return root


class Reading(NamedTuple):
    """What a text says about action units (AUs).

    Args:
        states: Whether each AU that it speaks of is active.
        missing: AUs asked for that it does not speak of.
        unknown: AUs that it speaks of and that were not asked for.
    """

    states: dict[str, bool]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether it answers what was asked, no less and no more."""
        return not self.missing and not self.unknown


def read_strictly(text: str, au_names: Sequence[str]) -> dict[str, bool] | None:
    """The states in a text of exactly the fixed form, in the order asked; None for any other text.

    >>> read_strictly("AU1: no; AU2: yes", ["AU1", "AU2"])
    {'AU1': False, 'AU2': True}
    >>> read_strictly("AU2: yes; AU1: no", ["AU1", "AU2"]) is None
    True
    """
    parts = [part.partition(": ") for part in text.strip().split("; ")]
    states = {au: state == YES for au, _, state in parts if state in (YES, NO)}
    same = list(states) == list(au_names) and list_answer(states) == text.strip()
    return states if same else None


_AU = re.compile(r"\bAU\s*0*([1-9]\d*)\b", re.IGNORECASE)
_NOT = re.compile(r"\b(no|not|isn't|aren't|without|absent|inactive|none|neither|nor|never|lacks?|false)\b", re.I)
_CUT = re.compile(r"[;.\n]|,|\b(?:and|but|while)\b", re.I)


def read_leniently(text: str, au_names: Sequence[str]) -> Reading:
    """What a text says about each AU that it names, clause by clause; a negation in the clause makes the AU inactive.

    An AU that is named twice with different states counts as missing. Nothing that is missing is ever taken as absent.

    >>> read_leniently("no AU4, but AU12 is active; AU6: no", ["AU4", "AU6", "AU12"]).states
    {'AU4': False, 'AU12': True, 'AU6': False}
    """
    found: dict[str, set[bool]] = {}
    for clause in _CUT.split(text):
        for match in _AU.finditer(clause):
            found.setdefault(f"AU{match.group(1)}", set()).add(_NOT.search(clause) is None)
    states = {au: said == {True} for au, said in found.items() if len(said) == 1 and au in au_names}
    missing = tuple(au for au in au_names if au not in states)
    return Reading(states, missing, tuple(au for au in found if au not in au_names))
