"""Every action unit of the Facial Action Coding System, and the lists that data sets code.

Names and muscles: Ekman, Friesen and Hager, "Facial Action Coding System", 2002 (AU41, AU42 and AU44 as in the 1978
edition, since data sets still carry those numbers). Regions are where an AU detector should look [ours]. Canonical
names have no leading zero: `AU1`, `AU12`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class ActionUnit:
    """One action unit.

    Args:
        number: FACS number.
        name: FACS name.
        muscle: What moves the face; empty for movements of the head and the eyes as a whole.
        region: One of `REGIONS`.
    """

    number: int
    name: str
    muscle: str
    region: str

    @property
    def key(self) -> str:
        """Canonical name, for example `AU12`."""
        return f"AU{self.number}"


MAX_INTENSITY = 5.0  # level E of FACS, the maximum; 0 is absent

REGIONS = ("brow", "eyes", "nose", "cheeks", "mouth", "chin", "jaw", "neck", "head", "gaze")

_TABLE = (
    ActionUnit(1, "Inner brow raiser", "frontalis, medial part", "brow"),
    ActionUnit(2, "Outer brow raiser", "frontalis, lateral part", "brow"),
    ActionUnit(4, "Brow lowerer", "corrugator supercilii, depressor supercilii, procerus", "brow"),
    ActionUnit(5, "Upper lid raiser", "levator palpebrae superioris", "eyes"),
    ActionUnit(6, "Cheek raiser", "orbicularis oculi, orbital part", "cheeks"),
    ActionUnit(7, "Lid tightener", "orbicularis oculi, palpebral part", "eyes"),
    ActionUnit(8, "Lips toward each other", "orbicularis oris", "mouth"),
    ActionUnit(9, "Nose wrinkler", "levator labii superioris alaeque nasi", "nose"),
    ActionUnit(10, "Upper lip raiser", "levator labii superioris", "mouth"),
    ActionUnit(11, "Nasolabial deepener", "zygomaticus minor", "cheeks"),
    ActionUnit(12, "Lip corner puller", "zygomaticus major", "mouth"),
    ActionUnit(13, "Sharp lip puller", "levator anguli oris", "mouth"),
    ActionUnit(14, "Dimpler", "buccinator", "mouth"),
    ActionUnit(15, "Lip corner depressor", "depressor anguli oris", "mouth"),
    ActionUnit(16, "Lower lip depressor", "depressor labii inferioris", "mouth"),
    ActionUnit(17, "Chin raiser", "mentalis", "chin"),
    ActionUnit(18, "Lip pucker", "incisivii labii superioris and inferioris", "mouth"),
    ActionUnit(19, "Tongue show", "genioglossus", "mouth"),
    ActionUnit(20, "Lip stretcher", "risorius, platysma", "mouth"),
    ActionUnit(21, "Neck tightener", "platysma", "neck"),
    ActionUnit(22, "Lip funneler", "orbicularis oris", "mouth"),
    ActionUnit(23, "Lip tightener", "orbicularis oris", "mouth"),
    ActionUnit(24, "Lip pressor", "orbicularis oris", "mouth"),
    ActionUnit(25, "Lips part", "depressor labii inferioris, or relaxed mentalis or orbicularis oris", "mouth"),
    ActionUnit(26, "Jaw drop", "relaxed masseter, temporalis and internal pterygoid", "jaw"),
    ActionUnit(27, "Mouth stretch", "pterygoids, digastric", "jaw"),
    ActionUnit(28, "Lip suck", "orbicularis oris", "mouth"),
    ActionUnit(29, "Jaw thrust", "pterygoids", "jaw"),
    ActionUnit(30, "Jaw sideways", "pterygoids", "jaw"),
    ActionUnit(31, "Jaw clencher", "masseter", "jaw"),
    ActionUnit(32, "Lip bite", "masseter, orbicularis oris", "mouth"),
    ActionUnit(33, "Cheek blow", "orbicularis oris, buccinator", "cheeks"),
    ActionUnit(34, "Cheek puff", "orbicularis oris, relaxed buccinator", "cheeks"),
    ActionUnit(35, "Cheek suck", "buccinator", "cheeks"),
    ActionUnit(36, "Tongue bulge", "tongue", "cheeks"),
    ActionUnit(37, "Lip wipe", "tongue", "mouth"),
    ActionUnit(38, "Nostril dilator", "nasalis, alar part", "nose"),
    ActionUnit(39, "Nostril compressor", "nasalis, transverse part, depressor septi nasi", "nose"),
    ActionUnit(41, "Lid droop", "relaxed levator palpebrae superioris", "eyes"),
    ActionUnit(42, "Slit", "orbicularis oculi", "eyes"),
    ActionUnit(43, "Eyes closed", "relaxed levator palpebrae superioris, orbicularis oculi, palpebral part", "eyes"),
    ActionUnit(44, "Squint", "orbicularis oculi, palpebral part", "eyes"),
    ActionUnit(45, "Blink", "relaxed levator palpebrae superioris, orbicularis oculi, palpebral part", "eyes"),
    ActionUnit(46, "Wink", "orbicularis oculi", "eyes"),
    ActionUnit(51, "Head turn left", "", "head"),
    ActionUnit(52, "Head turn right", "", "head"),
    ActionUnit(53, "Head up", "", "head"),
    ActionUnit(54, "Head down", "", "head"),
    ActionUnit(55, "Head tilt left", "", "head"),
    ActionUnit(56, "Head tilt right", "", "head"),
    ActionUnit(57, "Head forward", "", "head"),
    ActionUnit(58, "Head back", "", "head"),
    ActionUnit(61, "Eyes turn left", "", "gaze"),
    ActionUnit(62, "Eyes turn right", "", "gaze"),
    ActionUnit(63, "Eyes up", "", "gaze"),
    ActionUnit(64, "Eyes down", "", "gaze"),
    ActionUnit(65, "Walleye", "", "gaze"),
    ActionUnit(66, "Cross-eye", "", "gaze"),
)

ACTION_UNITS: dict[str, ActionUnit] = {unit.key: unit for unit in _TABLE}


def _names(numbers: str) -> tuple[str, ...]:
    """Canonical names of action units given as numbers between blanks."""
    return tuple(f"AU{int(number)}" for number in numbers.split())


_BP4D = _names("1 2 4 6 7 10 12 14 15 17 23 24")
_DISFA12 = _names("1 2 4 5 6 9 12 15 17 20 25 26")
_RENDERED = _names("1 2 4 5 6 7 9 10 11 12 14 15 16 17 18 20 22 23 24 25 26 27 28 43")

AU_SETS: dict[str, tuple[str, ...]] = {
    # what the renderer draws; `all` is what a user writes
    "all": _RENDERED,
    "synthetic": _RENDERED,
    # spontaneous expressions: the lists that papers report, then everything that is coded
    "bp4d": _BP4D,
    "bp4d_plus": _BP4D,
    "bp4d_coded": _names("1 2 4 5 6 7 9 10 11 12 13 14 15 16 17 18 19 20 22 23 24 25 26 27 32 38 39"),
    "bp4d_intensity": _names("6 10 12 14 17"),
    "disfa": _names("1 2 4 6 9 12 25 26"),
    "disfa12": _DISFA12,
    "disfa_plus": _DISFA12,
    "unbc": _names("4 6 7 9 10 12 20 25 26 43"),
    # in the wild
    "affwild2": _names("1 2 4 6 7 10 12 15 23 24 25 26"),
    "affwild2_2020": _names("1 2 4 6 12 15 20 25"),
    "emotionet": _names("1 2 4 5 6 9 12 17 20 25 26 43"),
    "emotionet23": _names("1 2 4 5 6 9 10 12 15 17 18 20 24 25 26 28 43 51 52 53 54 55 56"),
    # micro-expressions: the lists of within-dataset protocols, and of leave-one-dataset-out (CD6ME)
    "casme": _names("1 4 9 14"),
    "casme2": _names("1 2 4 7 12 14 15 17"),
    "samm": _names("2 4 7 12"),
    "mmew": _names("1 2 4 5 7 10 12 14"),
    "fourdme": _names("1 2 4 6 7 12 17 45"),
    "cd6me": _names("1 2 4 5 6 7 9 10 12 14 15 17"),
}

# What both BP4D and DISFA report: the AUs of cross-domain evaluation between the two.
SHARED_BP4D_DISFA = _names("1 2 4 6 12")

_NAME = re.compile(r"(?:AU)?\s*0*([1-9]\d*)", re.IGNORECASE)


def canonical(name: str | int) -> str:
    """Canonical name of an action unit.

    Args:
        name: A number, or text such as `AU12`, `au12`, `AU01`, `12`.

    Returns:
        The key of the action unit in `ACTION_UNITS`.

    Raises:
        ValueError: No such action unit is known.

    >>> canonical("au01"), canonical(12)
    ('AU1', 'AU12')
    """
    if isinstance(name, str):
        match = _NAME.fullmatch(name.strip())
        key = f"AU{match.group(1)}" if match else ""
    elif isinstance(name, bool):
        key = ""
    else:
        try:
            key = f"AU{operator.index(name)}"
        except TypeError:
            key = ""
    if key not in ACTION_UNITS:
        raise ValueError(f"Expected `name` to be an action unit such as 'AU12', 'AU01' or 12, but got {name!r}")
    return key


def parse_au_names(spec: str | Iterable[str | int]) -> tuple[str, ...]:
    """Read a list of action units from what a user writes.

    Args:
        spec: Name of a set of `AU_SETS`, names with commas between them, or a sequence of names or numbers.

    Returns:
        Canonical names in the order given.

    Raises:
        ValueError: Nothing is named, a name is unknown, or an action unit is named twice.

    >>> parse_au_names("AU12, 4")
    ('AU12', 'AU4')
    >>> len(parse_au_names("bp4d"))
    12
    """
    if isinstance(spec, str):
        text = spec.strip()
        if text.lower() in AU_SETS:
            return AU_SETS[text.lower()]
        items: list[str | int] = [part for part in text.split(",") if part.strip()]
        if len(items) == 1 and _NAME.fullmatch(text) is None:
            known = ", ".join(sorted(AU_SETS))
            raise ValueError(f"Expected `spec` to be one of {known}, or names such as 'AU1,AU12', but got {spec!r}")
    else:
        items = list(spec)
    if not items:
        raise ValueError(f"Expected `spec` to name at least one action unit, but got {spec!r}")
    names = tuple(canonical(item) for item in items)
    twice = sorted({name for name in names if names.count(name) > 1}, key=names.index)
    if twice:
        raise ValueError(
            f"Expected `spec` to name each action unit once, but got {', '.join(twice)} more than once in {spec!r}"
        )
    return names
