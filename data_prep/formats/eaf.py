"""ELAN's `.eaf` files: tiers, participants, linked videos (EAF 2.x and 3.0)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from auformer.errors import DatasetLayoutError, require

from ..release import Findings
from .marks import Coding, Mark


def read_eaf(path: Path, findings: Findings) -> Coding:
    """The annotations of an ELAN file; those that refer to others get their times.

    Raises:
        DatasetLayoutError: It is no ELAN file, or its times are not milliseconds.
        MissingExtraError: defusedxml is not installed.
    """
    parser = require("defusedxml.ElementTree", "annotations")
    try:
        root = parser.parse(path).getroot()
    except (parser.ParseError, ValueError, OSError) as error:  # what could do harm is a ValueError
        raise DatasetLayoutError(f"{path.name}: cannot be read as XML ({error}); save it again in ELAN") from error
    if root.tag != "ANNOTATION_DOCUMENT":
        raise DatasetLayoutError(f"{path.name}: expected an ELAN file, but its first element is {root.tag}")
    header = root.find("HEADER")
    units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise DatasetLayoutError(f"{path.name}: expected times in milliseconds, but they are in {units}; save it again")
    slots = {
        slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE")) / 1000
        for slot in root.iter("TIME_SLOT")
        if slot.get("TIME_VALUE") is not None
    }
    aligned, refers = _annotations(root)
    marks, lost = [], 0
    for tier in root.iter("TIER"):
        name, person = tier.get("TIER_ID", ""), (tier.get("PARTICIPANT") or "").strip()
        for annotation in tier.iter():
            number = annotation.get("ANNOTATION_ID")
            if number is None:
                continue
            begin, end = _times(number, aligned, refers, slots)
            if begin is None or end is None:
                lost += 1
                continue
            text = (annotation.findtext("ANNOTATION_VALUE") or "").strip()
            marks.append(Mark(name, person, text, begin, end, f"tier {name}, {begin:.3f} s"))
    if lost:
        findings.note("annotations without a time are left out", path.name, f"{lost:,}")
    tiers = [(tier.get("TIER_ID", ""), (tier.get("PARTICIPANT") or "").strip()) for tier in root.iter("TIER")]
    media, shift = _media(root)
    return Coding(marks, tiers, media, shift)


def _annotations(root: Any) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Time slots of annotations that have their own, and what the others refer to."""
    aligned = {
        each.get("ANNOTATION_ID"): (each.get("TIME_SLOT_REF1"), each.get("TIME_SLOT_REF2"))
        for each in root.iter("ALIGNABLE_ANNOTATION")
    }
    return aligned, {each.get("ANNOTATION_ID"): each.get("ANNOTATION_REF") for each in root.iter("REF_ANNOTATION")}


def _times(
    number: str, aligned: Mapping[str, tuple[str, str]], refers: Mapping[str, str], slots: Mapping[str, float]
) -> tuple[float | None, float | None]:
    """Begin and end of an annotation in seconds, None where there is none; references are followed."""
    seen: set[str] = set()
    while number in refers and number not in seen:
        seen.add(number)
        number = refers[number]
    first, last = aligned.get(number, ("", ""))
    return slots.get(first), slots.get(last)


def _media(root: Any) -> tuple[list[str], float]:
    """Linked files, and seconds from the time line's zero to the first one's (`TIME_ORIGIN`)."""
    links, shift = [], 0.0
    for place, each in enumerate(root.iter("MEDIA_DESCRIPTOR")):
        links += [each.get(name, "") for name in ("RELATIVE_MEDIA_URL", "MEDIA_URL")]
        if place == 0:
            shift = int(each.get("TIME_ORIGIN") or 0) / 1000
    plain = (unquote(link).replace("\\", "/").removeprefix("file:///").removeprefix("file://") for link in links)
    return [link for link in dict.fromkeys(plain) if link], shift
