"""Spans that a person has marked in a video, and which action unit each means.

A tier's name says the AU (`AU12`, `12`, `L12`, `AU12_left`, `Lip corner puller`, `AU12@Anna`), its annotations how it
was coded (`C`, `3`, `12C`, `active`, nothing at all); or the name says nothing (`FACS`) and each annotation names AUs
(`1+2+5B`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from auformer.aus import ACTION_UNITS, canonical
from auformer.data.cells import level_of_letter

from ..release import Findings
from .au_text import parse_aus

SIDES = {"l": "left", "r": "right", "left": "left", "right": "right"}
_ABSENT = frozenset({"0", "absent", "no", "none", "off"})
_UNKNOWN = frozenset({"?", "9", "x?", "n/a", "na", "uncodable", "unscorable", "not codable"})
_PLAIN = frozenset({"", "active", "present", "yes", "on", "x", "+"})  # words of an AU that is there, without intensity
_NAMED = re.compile(r"AU\s*_?\s*0*(\d{1,2})(?![\d])\s*(?:[_\- ]*\(?(left|right|l|r)\b\)?)?(?P<rest>.*)", re.IGNORECASE)


@dataclass(frozen=True)
class Mark:
    """One annotation.

    Args:
        tier: Name of the tier, or of the behaviour.
        person: Who shows it, as the file says; empty where it does not.
        text: Its value.
        begin: Seconds.
        end: Seconds, the same for an event without a length.
        where: How a message names it.
    """

    tier: str
    person: str
    text: str
    begin: float
    end: float
    where: str


@dataclass
class Coding:
    """The content of an annotation file.

    Args:
        marks: Its annotations.
        tiers: Name and person of every tier, also of empty ones.
        media: The videos that it names, by relative path or name, the likeliest first.
        shift: Seconds to add to its times for those on a player's time line.
        player: Whether its times are those of a player, which begins with the sound; else they begin with the first
            frame.
    """

    marks: list[Mark]
    tiers: list[tuple[str, str]]
    media: list[str] = field(default_factory=list)
    shift: float = 0.0
    player: bool = True


@dataclass(frozen=True)
class AUMark:
    """An annotation of one action unit.

    Args:
        au: Canonical name.
        side: `left`, `right`, or `""` for both.
        state: 1 there, 0 coded as absent, -1 not to be coded.
        intensity: 1 to 5; None where no letter or number says it.
        mark: The annotation.
    """

    au: str
    side: str
    state: int
    intensity: float | None
    mark: Mark


@dataclass
class AUTiers:
    """The action units of an annotation file.

    Args:
        marks: Annotations by person and AU.
        coded: Person -> AU and side -> names of the tiers that code it.
        left_out: Names of tiers that say nothing about AUs.
    """

    marks: list[AUMark] = field(default_factory=list)
    coded: dict[str, dict[tuple[str, str], list[str]]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def tier_au(name: str) -> tuple[str, str] | None:
    """Action unit and side of a tier's name without its person; None where it names none.

    >>> tier_au("AU12"), tier_au("L12"), tier_au("Lip corner puller"), tier_au("AU 4 (brows)"), tier_au("speech 12")
    (('AU12', ''), ('AU12', 'left'), ('AU12', ''), ('AU4', ''), None)
    """
    plain = " ".join(unicodedata.normalize("NFKC", name).replace("_", " ").split())
    for side in ("left", "right"):
        if plain.lower().startswith(f"{side} ") or plain.lower().endswith(f" {side}"):
            found = tier_au(plain[len(side) :] if plain.lower().startswith(f"{side} ") else plain[: -len(side)])
            return (found[0], side) if found is not None and not found[1] else None
    known = next((unit.key for unit in ACTION_UNITS.values() if unit.name.lower() == plain.lower()), None)
    if known is not None:
        return known, ""
    named = _NAMED.fullmatch(plain)
    if named is not None and f"AU{int(named[1])}" in ACTION_UNITS:
        return canonical(named[1]), SIDES[named[2].lower()] if named[2] else ""
    read = parse_aus(plain)
    if len(read.aus) == 1 and not read.unread and not read.ambiguous:
        ((au, term),) = read.aus.items()
        return au, term.side
    return None


def split_person(name: str) -> tuple[str, str]:
    """A tier's name and the person behind its last `@`, as ELAN corpora write it.

    >>> split_person("AU12@Anna"), split_person("AU12")
    (('AU12', 'Anna'), ('AU12', ''))
    """
    bare, sign, person = name.rpartition("@")
    return (bare.strip(), person.strip()) if sign and bare.strip() else (name.strip(), "")


def find_aus(coding: Coding, names: Mapping[str, tuple[str, str] | None], findings: Findings, where: str) -> AUTiers:
    """Which action units the tiers of a file are about, and what its annotations say of them.

    Args:
        coding: The file's content.
        names: AU and side of tiers whose names do not say it, None for those that are left out; by tier.
        findings: Takes what is not plain.
        where: What messages call the file.
    """
    found = AUTiers()
    scale = _has_levels(coding)
    for name, given in dict.fromkeys(coding.tiers):
        own = [mark for mark in coding.marks if (mark.tier, mark.person) == (name, given)]
        bare, behind = split_person(name)
        person, texts = given or behind, [mark.text for mark in own]
        target = names[name] if name in names else names[bare] if bare in names else tier_au(bare)
        if (name in names or bare in names) and target is None:
            found.left_out.append(name)
        elif target is not None:
            found.coded.setdefault(person, {}).setdefault(target, []).append(name)
            found.marks += [_one(*target, mark, person, scale, findings, where) for mark in own]
        elif texts and all(_is_codes(text) for text in texts):
            for mark in own:
                for au, term in parse_aus(mark.text).aus.items():
                    tiers = found.coded.setdefault(person, {}).setdefault((au, term.side), [])
                    if name not in tiers:
                        tiers.append(name)
                    level = None if term.intensity is None else float(term.intensity)
                    found.marks.append(AUMark(au, term.side, 1, level, _of(mark, person)))
        else:
            found.left_out.append(name)
    if found.left_out:
        findings.note("tiers that are about no action unit", where, ", ".join(found.left_out))
    return found


def _has_levels(coding: Coding) -> bool:
    """Whether numbers are intensities: some annotation says 2, 3, 4 or 5; a file of ones marks what is there."""
    return any(re.fullmatch(r"[2-5]([.,]\d+)?", mark.text.strip()) for mark in coding.marks)


def _is_codes(text: str) -> bool:
    """Whether a text is nothing but AUs; a lone number or letter may be an intensity."""
    read = parse_aus(text)
    return bool(read.aus) and not read.unread and not read.ambiguous


def _of(mark: Mark, person: str) -> Mark:
    return Mark(mark.tier, person, mark.text, mark.begin, mark.end, mark.where)


def _one(au: str, side: str, mark: Mark, person: str, scale: bool, findings: Findings, where: str) -> AUMark:
    """What an annotation on the tier of an AU says."""
    text, mark = mark.text.strip(), _of(mark, person)
    word = text.lower()
    if word in _UNKNOWN:
        return AUMark(au, side, -1, None, mark)
    if word in _ABSENT:
        return AUMark(au, side, 0, None, mark)
    if word in _PLAIN:
        return AUMark(au, side, 1, None, mark)
    if (letter := level_of_letter(word)) is not None:
        return AUMark(au, side, 1, float(letter), mark)
    if re.fullmatch(r"[0-5](?:[.,]\d+)?", word):
        level = float(word.replace(",", "."))
        return AUMark(au, side, int(level > 0), level if scale and level > 0 else None, mark)
    read = parse_aus(text).aus
    if list(read) == [au]:
        said = read[au].intensity
        return AUMark(au, read[au].side or side, 1, None if said is None else float(said), mark)
    if tier_au(text) == (au, side):
        return AUMark(au, side, 1, None, mark)
    findings.note("texts that are no codes: the AU counts as present", where, f"{mark.where}: {text[:40]}")
    return AUMark(au, side, 1, None, mark)


def people(tiers: AUTiers) -> Sequence[str]:
    """Who is coded; tiers without a person belong to the only one that there is."""
    named = sorted(person for person in tiers.coded if person)
    return named if len(named) > 0 else [""]
