"""Action units as coders write them in a cell: `4+L12`, `R14A`, `AU4+AU7(k)`, `1，2`, `R14A or 17A`.

A term is a number with an optional `AU`, side and intensity. `L` and `R`, before or after the number, are the person's
sides; `A` before it is FACS's mark of an asymmetric action (both sides); `A` to `E` after it are the FACS intensities 1
to 5. Terms are put together with `+` or a comma. Spellings met: tvaranka/meb:meb/datasets/datasets.py. Where meb keeps
only the digits of a term, so that `R14A or 17A` is read as 1417, this reader says which AUs are uncertain and which
terms it cannot read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from auformer.aus import ACTION_UNITS, canonical
from auformer.data.cells import level_of_letter

from ..release import Findings

_TERM = re.compile(
    r"(?:AU)?\s*(?P<before>[ALR])?\s*(?:AU)?\s*0*(?P<number>\d{1,2})\s*(?P<intensity>[A-E])?\s*(?P<after>[LR])?\s*(?P<kept>\(K\))?",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r"[+,;&、\n]+")
_OR = re.compile(r"\bor\b|/|\|", re.IGNORECASE)
_SIDES = {"L": "left", "R": "right"}
_NOTHING = ("", "null", "none", "nan", "n/a", "na", "/", "-", "nil")  # a cell that says nothing about any AU


@dataclass(frozen=True)
class Term:
    """One action unit of a text.

    Args:
        side: `""` for both sides, `left` or `right`: the person's own.
        intensity: 1 to 5 (A to E); None where no letter is given.
    """

    side: str = ""
    intensity: int | None = None


@dataclass(frozen=True)
class AUText:
    """What a text says.

    Args:
        aus: Canonical AU -> how it was coded, in the order of the text.
        ambiguous: Canonical AUs that may or may not be there: the alternatives of an "or", a term with a question mark.
        unread: Terms that cannot be read as an AU.
        complete: Whether every AU that is not named is absent; False for an empty text, `?`, `null`, and where a term
            was not read.
    """

    aus: dict[str, Term] = field(default_factory=dict)
    ambiguous: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    complete: bool = True


def parse_aus(text: str, *, keep_marked: bool = False) -> AUText:
    """Read the text of a cell.

    Args:
        text: As the release has it; full-width signs are read as their plain forms.
        keep_marked: Whether a term marked `(k)` counts; by default it is dropped, as tvaranka/meb does with 4DME's
            static actions.

    >>> parse_aus("4+L12").aus
    {'AU4': Term(side='', intensity=None), 'AU12': Term(side='left', intensity=None)}
    >>> parse_aus("R14A or 17A").ambiguous, parse_aus("AU4+AU7(k)").aus.keys(), parse_aus("?").complete
    (['AU14', 'AU17'], dict_keys(['AU4']), False)
    """
    plain = re.sub(r"[^\S\n]+", " ", unicodedata.normalize("NFKC", text)).strip()
    terms = _terms(plain)
    aus: dict[str, Term] = {}
    ambiguous: list[str] = []
    unread: list[str] = []
    complete = bool(terms)
    for part in terms:
        options = [option.strip(" ?") for option in _OR.split(part)]
        read = [_read_term(option, keep_marked) for option in options]
        if any(option is None for option in read):
            complete = False
            if part.strip(" ?").lower() not in _NOTHING:
                unread.append(part)
        elif len(options) > 1 or "?" in part:
            ambiguous += [au for option in read if option for au in option]
        else:
            for au, term in (read[0] or {}).items():
                aus[au] = _both(aus[au], term) if au in aus else term
    uncertain = [au for au in dict.fromkeys(ambiguous) if au not in aus]
    return AUText(aus, uncertain, unread, complete)


def _terms(plain: str) -> list[str]:
    """The terms of a text; blanks alone divide it too where each piece is a term by itself (`1 2 4`)."""
    if plain.lower() in _NOTHING:
        return [plain]
    terms: list[str] = []
    for part in (part.strip() for part in _BETWEEN.split(plain)):
        pieces = part.split()
        if len(pieces) > 1 and not _TERM.fullmatch(part) and all(_TERM.fullmatch(piece) for piece in pieces):
            terms += pieces
        elif part:
            terms.append(part)
    return terms


def _read_term(text: str, keep_marked: bool) -> dict[str, Term] | None:
    """AU -> term; empty for a dropped term and for `0`, the neutral face of FACS; None where the text is no term."""
    match = _TERM.fullmatch(text)
    if match is None or (match["before"] and match["after"]):
        return None
    number = int(match["number"])
    if f"AU{number}" not in ACTION_UNITS:
        return {} if number == 0 else None
    if match["kept"] and not keep_marked:
        return {}
    side = _SIDES.get((match["before"] or match["after"] or "").upper(), "")
    return {f"AU{number}": Term(side, level_of_letter(match["intensity"] or ""))}


def _both(first: Term, second: Term) -> Term:
    """Two terms of one AU: both sides where they differ, the higher intensity."""
    given = [term.intensity for term in (first, second) if term.intensity is not None]
    return Term(first.side if first.side == second.side else "", max(given) if given else None)


def label_columns(texts: Sequence[AUText], au_names: Iterable[str]) -> pd.DataFrame:
    """Labels in the columns of a manifest.

    Returns:
        A row per text. `AU12` is 1 where it is named, -1 where it is uncertain or the text is not complete, else 0.
        `AU12_left` and `AU12_right` (an AU without a side is on both) and `AU12_intensity` (0 where absent, nan where
        unknown) are there for the AUs of which some text gives a side or a letter.
    """
    named = {au for text in texts for au in (*text.aus, *text.ambiguous)}
    columns: dict[str, list[int] | list[float]] = {}
    for au in sorted({canonical(name) for name in au_names} | named, key=lambda au: int(au[2:])):
        labels = [_label(text, au) for text in texts]
        terms = [text.aus.get(au, Term()) for text in texts]
        columns[au] = labels
        if any(term.side for term in terms):
            for side in _SIDES.values():
                columns[f"{au}_{side}"] = [
                    min(label, int(term.side in ("", side))) for label, term in zip(labels, terms, strict=True)
                ]
        if any(term.intensity for term in terms):
            given = [float("nan") if term.intensity is None else float(term.intensity) for term in terms]
            columns[f"{au}_intensity"] = [
                0.0 if label == 0 else value for label, value in zip(labels, given, strict=True)
            ]
    return pd.DataFrame(columns)


def _label(text: AUText, au: str) -> int:
    if au in text.aus:
        return 1
    return 0 if text.complete and au not in text.ambiguous else -1


def note_terms(text: AUText, raw: str, where: str, findings: Findings) -> None:
    """Note the unread and the ambiguous terms of one text; `raw` is what the release has, `where` file and line."""
    if text.unread:
        unread = f"{raw}: {', '.join(text.unread)}; the AUs that it does not name are -1"
        findings.note("AU text not read", where, unread)
    if text.ambiguous:
        findings.note("ambiguous AU text", where, f"{raw}: {', '.join(text.ambiguous)} are -1")
