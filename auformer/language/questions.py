"""A person's question about a face: mapped to what a network was trained to answer, or declined with the reason.

What is asked is data. Nothing in it changes what is done: it is searched for action units (AUs), for how much is asked,
and for what is never answered. FACS describes movements; what somebody feels, is, or is like cannot be read off a
movement, so questions about that are declined, also where they name an AU.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from auformer.aus import ACTION_UNITS

LONGEST = 500  # characters of a question [ours]
#: Beginnings of words that ask for what no movement says, English and German.
FEELINGS = (
    "feel", "felt", "emotion", "mood", "happy", "happi", "sad", "angr", "anger", "afraid", "fear", "disgust", "surpris",
    "contempt", "joy", "stress", "depress", "anxi", "pain", "suffer", "bored", "tired", "love", "hate", "sincer",
    "genuin", "fake", "mean by", "intend", "intent", "think", "want", "lying", "lie", "liar", "deceiv", "decept",
    "honest", "trust", "guilty", "gefühl", "fühl", "emotion", "stimmung", "glücklich", "traurig", "wütend", "wut",
    "angst", "ekel", "überrasch", "freude", "freut", "schmerz", "lüg", "ehrlich", "echt", "denkt", "will", "müde",
)  # fmt: skip
IDENTITY = (
    "who", "whose", "name", "identit", "recogni", "person is", "same person", "wer ", "wessen", "heißt", "identität",
    "erkenn",
)  # fmt: skip
TRAITS = (
    "age", "old", "young", "gender", "sex", "male", "female", "race", "ethnic", "skin",
    "nationalit", "religio", "politic", "attractiv", "beaut", "ugly", "pretty", "intelligen", "smart", "stupid",
    "personalit", "character", "criminal", "disease", "ill", "healthy", "autis", "diagnos", "alter", "alt", "jung",
    "geschlecht", "männlich", "weiblich", "herkunft", "hübsch", "hässlich", "klug", "dumm", "krank",
    "persönlichkeit",
)  # fmt: skip
WHOLE_WORDS = frozenset(
    {"age", "old", "sex", "man", "boy", "ill", "lie", "sad", "joy", "who", "name", "will", "alt", "mann", "echt",
     "race", "male", "alter", "jung", "wut"}
)  # fmt: skip
PEOPLE = ("man", "woman", "boy", "girl", "frau", "mann")  # a trait, unless the question is about a movement of theirs
SIDES = ("left", "right", "links", "rechts", "linke", "rechte")
BECAUSE = "FACS describes which muscles of the face move and how strongly, and nothing else"
#: Which words name an AU in everyday English or German: all beginnings of a group must be there; the first group that
#: fits wins a place, so that `lip corners pulled down` is not `lips ... pulled`.
NAMES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("inner", "brow", "rais|lift|up"), ("AU1",)),
    (("outer", "brow", "rais|lift|up"), ("AU2",)),
    (("brow", "rais|lift|up"), ("AU1", "AU2")),
    (("brow", "lower|down|frown|furrow|together|knit"), ("AU4",)),
    (("frown",), ("AU4",)),
    (("upper", "lid", "rais|lift|up"), ("AU5",)),
    (("eye", "wid"), ("AU5",)),
    (("cheek", "rais|lift|up"), ("AU6",)),
    (("lid", "tight"), ("AU7",)),
    (("eye", "narrow|squint"), ("AU7",)),
    (("nose", "wrinkl"), ("AU9",)),
    (("upper", "lip", "rais|lift|up"), ("AU10",)),
    (("nasolabial", "deep"), ("AU11",)),
    (("corner", "pull|up|rais|lift", "down|depress|lower"), ("AU15",)),
    (("corner", "down|depress|lower|drop"), ("AU15",)),
    (("corner", "tight|dimpl"), ("AU14",)),
    (("dimpl",), ("AU14",)),
    (("corner", "up|pull|rais|lift|back"), ("AU12",)),
    (("lower", "lip", "depress|down|pull"), ("AU16",)),
    (("chin", "rais|lift|up|push"), ("AU17",)),
    (("pucker",), ("AU18",)),
    (("lip", "stretch"), ("AU20",)),
    (("lip", "funnel"), ("AU22",)),
    (("lip", "tight"), ("AU23",)),
    (("lip", "press"), ("AU24",)),
    (("lip", "suck"), ("AU28",)),
    (("lip|mouth", "part|apart|open"), ("AU25",)),
    (("jaw", "drop|open|down"), ("AU26",)),
    (("mouth", "stretch"), ("AU27",)),
    (("eye", "clos|shut"), ("AU43",)),
    (("innere", "braue", "gehoben|hoch|angehoben"), ("AU1",)),
    (("äußere", "braue", "gehoben|hoch|angehoben"), ("AU2",)),
    (("braue", "gehoben|hoch|angehoben"), ("AU1", "AU2")),
    (("braue", "gesenkt|zusammen|herab"), ("AU4",)),
    (("wange", "gehoben|angehoben|hoch"), ("AU6",)),
    (("nase", "gerümpft|rümpf"), ("AU9",)),
    (("oberlippe", "gehoben|angehoben|hoch"), ("AU10",)),
    (("mundwinkel", "unten|herab"), ("AU15",)),
    (("mundwinkel", "oben|hoch"), ("AU12",)),
    (("kinn", "gehoben|angehoben|hoch"), ("AU17",)),
    (("lippen", "gepresst|zusammengepresst|press"), ("AU24",)),
    (("lippen", "geöffnet|offen|auseinander"), ("AU25",)),
    (("kiefer", "gesenkt|offen|herab"), ("AU26",)),
    (("augen", "geschlossen|zu"), ("AU43",)),
)
_STRENGTH = ("how strong", "how much", "how intens", "how far", "intensity", "level", "degree", "wie stark", "wie sehr")
_ALL = ("what moves", "which", "describe", "what does", "what do", "what is", "what happens", "welche", "was bewegt",
        "beschreib", "was macht", "anything", "action units")  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What is to be answered.

    Args:
        kind: `occurrence`, `level`, or `describe`, which is about the whole face where there are no AUs.
        au_names: The AUs asked about.
    """

    kind: str
    au_names: tuple[str, ...]


@dataclass(frozen=True)
class Declined:
    """Why a question is not answered.

    Args:
        reason: For people.
        never: Whether it is of a kind that is never answered; else another wording, or another network, may do.
    """

    reason: str
    never: bool


def understand(text: str, au_names: Sequence[str]) -> Question | Declined:
    """Map a question to a form that a network answers.

    Args:
        text: As a person typed it, English or German.
        au_names: AUs that the network knows.

    Raises:
        ValueError: It is empty or longer than 500 characters.

    >>> understand("Is the brow lowered?", ["AU4", "AU12"])
    Question(kind='occurrence', au_names=('AU4',))
    """
    asked = " ".join(text.lower().split())
    if not re.search(r"\w", asked):
        raise ValueError("Expected a question such as 'Is the brow lowered?', but got an empty one")
    if len(text) > LONGEST:
        raise ValueError(
            f"Expected a question of at most {LONGEST} characters, but got {len(text):,}; ask for one thing"
        )
    found = _action_units(asked)
    refusal = _refusal(asked, moves=bool(found))
    if refusal is not None:
        return refusal
    if found and any(re.search(rf"\b{side}", asked) for side in SIDES):
        return Declined("Left and right are not told apart: ask about the whole face.", False)
    unknown = [au for au in found if au not in au_names]
    if unknown:
        known = ", ".join(au_names)
        return Declined(f"This network was not trained on {', '.join(map(_named, unknown))}; it knows {known}.", False)
    if found:
        kind = "level" if any(word in asked for word in _STRENGTH) else "occurrence"
        return Question("describe" if asked.startswith(("describe", "beschreib")) else kind, tuple(found))
    if any(word in asked for word in _ALL):
        return Question("describe", ())
    return Declined(
        "No action unit is named in the question. Ask for instance 'Is AU12 active?', 'Are the lip corners pulled "
        "up?', 'How strong is AU4?' or 'What moves in this face?'.", False,
    )  # fmt: skip


def _named(au: str) -> str:
    return f"{au} ({ACTION_UNITS[au].name.lower()})" if au in ACTION_UNITS else au


def _refusal(asked: str, *, moves: bool) -> Declined | None:
    words = re.findall(r"[^\W\d_]+", asked)

    def speaks_of(stems: Sequence[str]) -> bool:
        for stem in stems:
            if " " in stem:
                if stem in f"{asked} ":
                    return True
            elif any(word == stem if stem in WHOLE_WORDS else word.startswith(stem) for word in words):
                return True
        return False

    topics = (
        (FEELINGS, "feelings, thoughts or intentions"),
        (IDENTITY, "who a person is"),
        (TRAITS if moves else (*TRAITS, *PEOPLE), "traits of a person"),
    )
    for stems, what in topics:
        if speaks_of(stems):
            return Declined(f"Questions about {what} are not answered: {BECAUSE}.", True)
    return None


def _action_units(asked: str) -> list[str]:
    """AUs that a question names, by number, by their FACS name, or in everyday words."""
    found = [f"AU{int(number)}" for number in re.findall(r"\bau\s*0*([1-9]\d*)", asked)]
    found += [au for au, unit in ACTION_UNITS.items() if unit.name.lower() in asked and " " in unit.name]
    if not found:
        words = re.findall(r"[^\W\d_]+", asked)
        for stems, names in NAMES:
            if all(any(word.startswith(tuple(stem.split("|"))) for word in words) for stem in stems):
                found += names
                break
    return list(dict.fromkeys(found))
