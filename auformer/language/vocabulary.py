"""Words as numbers: what a sentence decoder reads and writes, and what the small language model's tokenizer splits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from auformer.language.grammar import Grammar

PAD, BEGIN, END = "<pad>", "<s>", "</s>"
SPECIAL = (PAD, BEGIN, END)
#: An AU's name is one token, a digit is one, a run of other letters is one, and so is every other sign.
TOKEN = r"AU\d+|[^\W\d_]+|\d|[^\w\s]"


def split(text: str) -> list[str]:
    """A text as tokens.

    >>> split("AU12: yes; level 3, chin-boss.")
    ['AU12', ':', 'yes', ';', 'level', '3', ',', 'chin', '-', 'boss', '.']
    """
    return re.findall(TOKEN, text)


def join(tokens: Iterable[str]) -> str:
    """Tokens as a text: blanks between them, none before a sign and none around a hyphen.

    >>> join(["twenty", "-", "one", "movements", ":", "AU12"])
    'twenty-one movements: AU12'
    """
    text = re.sub(r" ([,;:.])", r"\1", " ".join(tokens))
    return text.replace(" - ", "-")


class Vocabulary:
    """A list of tokens and their numbers, the special ones first.

    Args:
        tokens: All others, in any order; they are sorted.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self.tokens = (*SPECIAL, *sorted(set(tokens) - set(SPECIAL)))
        self._numbers = {token: number for number, token in enumerate(self.tokens)}
        self.pad, self.begin, self.end = (self._numbers[token] for token in SPECIAL)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def digest(self) -> str:
        """First 12 hex digits of a SHA-256 of the list."""
        return hashlib.sha256("\n".join(self.tokens).encode()).hexdigest()[:12]

    def encode(self, text: str) -> list[int]:
        """Numbers of a text's tokens.

        Raises:
            ValueError: Names the tokens that are not in the list.
        """
        tokens = split(text)
        unknown = [token for token in tokens if token not in self._numbers]
        if unknown:
            raise ValueError(f"Expected a text of known words, but got {', '.join(map(repr, unknown[:5]))}")
        return [self._numbers[token] for token in tokens]

    def decode(self, numbers: Sequence[int]) -> str:
        """The text of numbers up to the first end; padding and beginnings are left out."""
        numbers = list(numbers)
        if self.end in numbers:
            numbers = numbers[: numbers.index(self.end)]
        return join(self.tokens[number] for number in numbers if number not in (self.pad, self.begin))


def sentence_tokens(grammar: Grammar) -> set[str]:
    """Every token that the grammar's sentences about AUs and about faces are made of."""
    texts = [text for fact in grammar.facts() for text in grammar.texts(fact)]
    texts += [*grammar.lexicon.rest, *grammar.lexicon.movement, *grammar.lexicon.numbers[: len(grammar.au_names)]]
    return {token for text in [*texts, ":", ";", ","] for token in split(text)}
