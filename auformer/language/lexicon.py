"""The words: what moves, how it looks, and how far, per action unit (AU) and language, from `assets/lexicon.json`.

Written for this package from its tables of muscles (`auformer.aus`, `assets/muscles.json`) [ours]. A `*` marks where a
degree word goes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGES = ("en", "de")
SIDES = ("left", "right")  # the person's own, as in FACS
FEWEST = {"actions": 2, "cues": 1, "rest": 3}  # texts of each kind that an AU has at least


@dataclass(frozen=True)
class Words:
    """What can be said about one AU.

    Args:
        actions: What the muscle does, with a `*` for the degree word.
        cues: What else shows then, said after an action.
        rest: That the muscle does nothing.
        sides: Texts for `left` and `right`, the person's own, of what acts on that side only, or goes there (AU30).
    """

    actions: tuple[str, ...]
    cues: tuple[str, ...]
    rest: tuple[str, ...]
    sides: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Lexicon:
    """The words of one language.

    Args:
        language: `en` or `de`.
        degrees: Words for slight, clear and strong.
        numbers: Words for 1, 2, 3, ...
        movement: Singular and plural of what is counted.
        rest: Texts for a face of which nothing moves.
        aus: The words per AU.
    """

    language: str
    degrees: tuple[tuple[str, ...], ...]
    numbers: tuple[str, ...]
    movement: tuple[str, str]
    rest: tuple[str, ...]
    aus: dict[str, Words]


@cache
def _content() -> bytes:
    return files("auformer").joinpath("assets/lexicon.json").read_bytes().replace(b"\r\n", b"\n")


@cache
def lexicon_version() -> str:
    """First 12 hex digits of the SHA-256 of all words: it travels with whatever was trained on them."""
    return hashlib.sha256(_content()).hexdigest()[:12]


@cache
def load_lexicon(language: str = "en") -> Lexicon:
    """The words of a language.

    Raises:
        ValueError: There is no such language, or an AU has fewer words than it must have.
    """
    if language not in LANGUAGES:
        raise ValueError(f"Expected `language` to be one of {', '.join(LANGUAGES)}, but got {language!r}")
    return parse_lexicon(json.loads(_content())[language], language)


def parse_lexicon(content: dict[str, Any], language: str) -> Lexicon:
    """Check plain values as in the file, and take them over.

    Raises:
        ValueError: Says which AU lacks what.
    """
    aus: dict[str, Words] = {}
    for au, kinds in content["aus"].items():
        for kind, fewest in FEWEST.items():
            if len(set(kinds[kind])) < fewest:
                raise ValueError(f"Expected at least {fewest} {kind} of {au} ({language}), but got {kinds[kind]}")
        odd = [text for text in kinds["actions"] if text.split().count("*") != 1]
        odd += [text for text in (*kinds["cues"], *kinds["rest"]) if "*" in text]
        sides = {side: tuple(kinds.get("sides", content["sides"])[side]) for side in SIDES}
        every = [text for kind in FEWEST for text in kinds[kind]] + [*sides["left"], *sides["right"]]
        odd += [text for text in every if any(sign in text for sign in ",;:.")]
        if odd:
            raise ValueError(f"Expected one `*` in each action, none elsewhere, no , ; : . in {au}, but got {odd[0]!r}")
        actions, cues, rest = (tuple(kinds[kind]) for kind in FEWEST)
        aus[au] = Words(actions, cues, rest, sides)
    degrees = tuple(tuple(words) for words in content["degrees"])
    if len(degrees) != 3 or any(len(words) < 2 or any(" " in word for word in words) for words in degrees):
        raise ValueError(f"Expected three degrees of two or more single words each ({language}), but got {degrees}")
    single, plural = content["movement"]
    numbers, nothing = tuple(content["numbers"]), tuple(content["rest"])
    return Lexicon(language, degrees, numbers, (single, plural), nothing, aus)
