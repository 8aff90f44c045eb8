"""ELAN: an `.eaf` file per video, a tier per action unit and person, the video linked by its relative path.

EAF 3.0 (https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf). Times are whole milliseconds. Written
here and not with pympi-ling 1.71, which writes EAF 2.8 and no link from an annotation to its word of the vocabulary.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from auformer.annotations.job import Item, Job, Writer
from auformer.annotations.tiers import ACTIVE, Tier, tiers
from auformer.data.cells import LETTERS

PER_SECOND = 1000
_WORDS = {
    **{
        letter: f"FACS intensity {letter}: {name}"
        for letter, name in zip(LETTERS, ("trace", "slight", "marked", "severe", "maximum"), strict=True)
    },
    ACTIVE: "the action unit is visible, its intensity is not known",
}
_VOCABULARY = "AU"
_NOT_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_LANGUAGE = "http://cdb.iso.org/lg/CDB-00130975-001"  # what ELAN calls undetermined


def files(job: Job) -> dict[str, Writer]:
    """File name -> what writes it.

    Raises:
        ValueError: An offset is asked for: ELAN's time line is that of the linked video.
    """
    if job.offset_s:
        raise ValueError(
            "Expected no --offset with ELAN, whose time line is that of the video; shift media in ELAN itself "
            "(Options, Media Synchronization Mode)"
        )
    return {f"{item.video.stem}.eaf": partial(_write, item=item, job=job) for item in job.items}


def _write(path: Path, item: Item, job: Job) -> str:
    found, note = tiers(item, PER_SECOND)
    slots, places = _slots(found)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(_head(item, job, sum(len(tier.begin) for tier in found)))
        file.write("    <TIME_ORDER>\n")
        file.writelines(
            f'        <TIME_SLOT TIME_SLOT_ID="ts{number}" TIME_VALUE="{value}"/>\n'
            for number, value in enumerate(slots.tolist(), start=1)
        )
        file.write("    </TIME_ORDER>\n")
        number = 0
        for tier in found:
            about = f"{_quoted(tier.person.label)} TIER_ID={_quoted(tier.name)}"
            file.write(f"    <TIER ANNOTATOR={_quoted('auformer')} LINGUISTIC_TYPE_REF={_quoted(_VOCABULARY)} ")
            file.write(f"PARTICIPANT={about}>\n")
            for value in tier.values:
                first, last = places[2 * number] + 1, places[2 * number + 1] + 1
                number += 1
                file.write(_annotation(number, first, last, value))
            file.write("    </TIER>\n")
        file.write(_foot())
    return note


def _slots(found: list[Tier]) -> tuple[np.ndarray, np.ndarray]:
    """Times (2 k,) of all annotations in rising order, and where begin and end of each stand there."""
    pairs = [np.column_stack((tier.begin, tier.end)).ravel() for tier in found]
    times = np.concatenate(pairs) if pairs else np.empty(0, np.int64)
    order = np.argsort(times, kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return times[order], places


def _head(item: Item, job: Job, annotations: int) -> str:
    link = _quoted(item.media.link(job.out))
    media = (
        f"        <MEDIA_DESCRIPTOR MEDIA_URL={link} MIME_TYPE={_quoted(item.media.kind)} RELATIVE_MEDIA_URL={link}/>\n"
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ANNOTATION_DOCUMENT AUTHOR="auformer" DATE={_quoted(job.date)} FORMAT="3.0" VERSION="3.0" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">\n'
        '    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">\n'
        f"{media if item.media.name else ''}"
        f"        <PROPERTY NAME={_quoted('auformer')}>{_text(job.note)}</PROPERTY>\n"
        f'        <PROPERTY NAME="lastUsedAnnotationId">{annotations}</PROPERTY>\n'
        "    </HEADER>\n"
    )


def _annotation(number: int, first: int, last: int, value: str) -> str:
    return (
        "        <ANNOTATION>\n"
        f'            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" CVE_REF="cve_{value}" TIME_SLOT_REF1="ts{first}" '
        f'TIME_SLOT_REF2="ts{last}">\n'
        f"                <ANNOTATION_VALUE>{value}</ANNOTATION_VALUE>\n"
        "            </ALIGNABLE_ANNOTATION>\n"
        "        </ANNOTATION>\n"
    )


def _foot() -> str:
    words = "".join(
        f'        <CV_ENTRY_ML CVE_ID="cve_{word}">\n'
        f'            <CVE_VALUE DESCRIPTION={_quoted(text)} LANG_REF="und">{word}</CVE_VALUE>\n'
        "        </CV_ENTRY_ML>\n"
        for word, text in _WORDS.items()
    )
    return (
        f'    <LINGUISTIC_TYPE CONTROLLED_VOCABULARY_REF="{_VOCABULARY}" GRAPHIC_REFERENCES="false" '
        f'LINGUISTIC_TYPE_ID="{_VOCABULARY}" TIME_ALIGNABLE="true"/>\n'
        f'    <LANGUAGE LANG_DEF="{_LANGUAGE}" LANG_ID="und" LANG_LABEL="undetermined (und)"/>\n'
        f'    <CONTROLLED_VOCABULARY CV_ID="{_VOCABULARY}">\n'
        '        <DESCRIPTION LANG_REF="und">Intensity of an action unit</DESCRIPTION>\n'
        f"{words}"
        "    </CONTROLLED_VOCABULARY>\n"
        "</ANNOTATION_DOCUMENT>\n"
    )


def _text(text: str) -> str:
    """Text between tags; what XML cannot hold is a question mark."""
    return escape(_NOT_XML.sub("?", text))


def _quoted(text: str) -> str:
    """An attribute's value with its quotes."""
    return quoteattr(_NOT_XML.sub("?", text))
