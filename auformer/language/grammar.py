"""From facts to every sentence that says them, and from a sentence to its facts: each the exact inverse of the other.

A sentence about an action unit (AU) is an action with or without a degree word, after commas the side where it acts on
one only and a cue or none, or a text for rest. A sentence about the face counts the movements and names them by region,
top to bottom: `two movements: the brows are lowered and drawn together; the chin is raised`. Two facts with the same
text are an error when the grammar is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from auformer.aus import ACTION_UNITS, REGIONS
from auformer.language.facts import UNKNOWN, Fact, in_order
from auformer.language.lexicon import SIDES, Lexicon, load_lexicon


def by_region(au_names: Iterable[str]) -> list[str]:
    """AUs from the brow to the jaw, within a region by number.

    >>> by_region(["AU12", "AU4", "AU17", "AU1"])
    ['AU1', 'AU4', 'AU12', 'AU17']
    """
    return sorted(au_names, key=lambda au: (REGIONS.index(ACTION_UNITS[au].region), ACTION_UNITS[au].number))


def plain(text: str) -> str:
    """A text as the grammar compares it: lower case, single blanks, none before a sign, no full stop.

    >>> plain(" The chin is  raised , and so on. ")
    'the chin is raised, and so on'
    """
    text = re.sub(r"\s+", " ", text).strip().rstrip(".").strip().lower()
    return re.sub(r" ([,;:.])", r"\1", text)


def shown(text: str) -> str:
    """A text as people read it: with a capital and a full stop.

    >>> shown("the chin is raised")
    'The chin is raised.'
    """
    return f"{text[:1].upper()}{text[1:]}." if text else ""


class Grammar:
    """All sentences about some AUs in one language.

    Args:
        au_names: The AUs, canonical names.
        language: `en` or `de`.
        lexicon: Other words than the package's.
        sides: Also of what acts on one side only.

    Raises:
        ValueError: An AU has no words, or two facts have the same text.
    """

    def __init__(
        self, au_names: Sequence[str], language: str = "en", *, lexicon: Lexicon | None = None, sides: bool = False
    ) -> None:
        self.lexicon = load_lexicon(language) if lexicon is None else lexicon
        missing = [au for au in au_names if au not in self.lexicon.aus]
        if missing:
            known = ", ".join(self.lexicon.aus)
            raise ValueError(
                f"Expected `au_names` to be among those with words ({known}), but got {', '.join(missing)}"
            )
        self.au_names, self.sides = tuple(by_region(au_names)), ("", *SIDES) if sides else ("",)
        self._facts: dict[str, Fact] = {}
        for fact in self.facts():
            for text in self.texts(fact):
                other = self._facts.setdefault(plain(text), fact)
                if other != fact:
                    raise ValueError(f"Expected a text of its own for {fact}, but {text!r} also says {other}")
        for text in self.lexicon.rest:
            if plain(text) in self._facts:
                raise ValueError(f"Expected {text!r} to be about the face, but it also says {self._facts[plain(text)]}")

    def facts(self) -> list[Fact]:
        """Every fact that there is about the AUs."""
        states = [(False, 0, ""), *((True, degree, side) for degree in range(4) for side in self.sides)]
        return [Fact(au, *state) for au in self.au_names for state in states]

    def texts(self, fact: Fact, *, cues: bool = True) -> list[str]:
        """Every sentence that says a fact, without capital and full stop; `cues` False: only those without a cue."""
        words = self.lexicon.aus[fact.au]
        if not fact.active:
            return list(words.rest)
        degrees = self.lexicon.degrees[fact.degree - 1] if fact.degree else ("",)
        clauses = [" ".join(action.replace("*", word).split()) for action in words.actions for word in degrees]
        if fact.side:
            clauses = [f"{clause}, {side}" for clause in clauses for side in words.sides[fact.side]]
        return [*clauses, *(f"{clause}, {cue}" for clause in clauses for cue in words.cues if cues)]

    def sentence(self, fact: Fact, rng: np.random.Generator | None = None) -> str:
        """One sentence that says a fact: drawn from all, or without `rng` always the first and plainest."""
        texts = self.texts(fact, cues=rng is not None)
        return texts[0] if rng is None else texts[int(rng.integers(len(texts)))]

    def read(self, text: str) -> Fact | None:
        """The fact that a sentence about an AU says; None for any other text."""
        return self._facts.get(plain(text))

    @cached_property
    def _rest(self) -> set[str]:
        return {plain(text) for text in self.lexicon.rest}

    @cached_property
    def _clauses(self) -> set[str]:
        """What a sentence about a face says of one AU."""
        return {plain(text) for fact in self.facts() if fact.active for text in self.texts(fact, cues=False)}

    def face(self, facts: Iterable[Fact], rng: np.random.Generator | None = None) -> str:
        """One sentence about a face: its active AUs by region, or that nothing moves; drawn, or the plainest."""
        active = in_order(facts, self.au_names)
        if not active:
            rest = self.lexicon.rest
            return rest[0 if rng is None else int(rng.integers(len(rest)))]
        clauses = []
        for fact in active:
            texts = self.texts(fact, cues=False)
            clauses.append(texts[0 if rng is None else int(rng.integers(len(texts)))])
        return f"{self._count(len(active))}: {'; '.join(clauses)}"

    def _count(self, number: int) -> str:
        return f"{self.lexicon.numbers[number - 1]} {self.lexicon.movement[number > 1]}"

    def read_face(self, text: str) -> tuple[Fact, ...] | None:
        """The active AUs that a sentence about a face names, `()` at rest; None for any other text.

        The count must hold, each AU comes once, and they come in the grammar's order.
        """
        text = plain(text)
        if text in self._rest:
            return ()
        head, _, body = text.partition(": ")
        found = [self._facts.get(clause) for clause in body.split("; ") if clause in self._clauses]
        facts = [fact for fact in found if fact is not None]
        if len(facts) != len(body.split("; ")) or head != plain(self._count(len(facts))):
            return None
        places = [self.au_names.index(fact.au) for fact in facts]
        return tuple(facts) if places == sorted(set(places)) else None

    def translate(self, text: str, other: Grammar) -> str | None:
        """The plainest sentence of another language with the same facts; None for a text that this one cannot read."""
        fact = self.read(text)
        if fact is not None:
            return other.sentence(fact)
        facts = self.read_face(text)
        return None if facts is None else other.face(facts)

    @cached_property
    def longest(self) -> int:
        """Words and signs of the longest sentence about an AU."""
        return max(len(re.findall(r"\w+|[^\w\s]", text)) for fact in self.facts() for text in self.texts(fact))


def rule_sentences(facts: Iterable[Fact], grammar: Grammar) -> dict[str, str]:
    """The plainest sentence per AU of some facts, by AU, in the grammar's order."""
    by_au = {fact.au: fact for fact in facts}
    return {au: grammar.sentence(by_au[au]) for au in grammar.au_names if au in by_au}


__all__ = ["UNKNOWN", "Grammar", "by_region", "plain", "rule_sentences", "shown"]
