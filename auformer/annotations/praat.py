"""Praat: a TextGrid per video, an interval tier per action unit and person, every tier as long as the video.

The long text format (https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html), seconds with six decimals.
Intervals without text lie between the episodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from auformer.annotations.job import Item, Job, Writer
from auformer.annotations.tiers import Tier, tiers

PER_SECOND = 1_000_000


def files(job: Job) -> dict[str, Writer]:
    """File name -> what writes it.

    Raises:
        ValueError: The offset is negative: a TextGrid begins at 0.
    """
    if job.offset_s < 0:
        raise ValueError(
            f"Expected --offset to be at least 0 with Praat, whose files begin at 0, but got {job.offset_s:g}"
        )
    return {f"{item.video.stem}.TextGrid": partial(_write, item=item, job=job) for item in job.items}


def _write(path: Path, item: Item, job: Job) -> str:
    found, note = tiers(item, PER_SECOND, job.offset_s)
    end = max(
        [
            round((item.media.length + job.offset_s) * PER_SECOND),
            *(int(tier.end[-1]) for tier in found if len(tier.end)),
        ]
    )
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write('File type = "ooTextFile"\nObject class = "TextGrid"\n\n')
        file.write(f"xmin = 0 \nxmax = {_seconds(end)} \ntiers? <exists> \nsize = {len(found)} \nitem []: \n")
        for number, tier in enumerate(found, start=1):
            spans = list(_filled(tier, end))
            file.write(f'    item [{number}]:\n        class = "IntervalTier" \n        name = {_quoted(tier.name)} \n')
            file.write(f"        xmin = 0 \n        xmax = {_seconds(end)} \n")
            file.write(f"        intervals: size = {len(spans)} \n")
            file.writelines(_interval(place, *span) for place, span in enumerate(spans, start=1))
    return note


def _filled(tier: Tier, end: int) -> Iterator[tuple[int, int, str]]:
    """Begin, end and text of the intervals of a tier, with empty ones between the episodes, from 0 to the end."""
    at = 0
    for begin, stop, value in zip(tier.begin.tolist(), tier.end.tolist(), tier.values, strict=True):
        if begin > at:
            yield at, begin, ""
        yield begin, stop, value
        at = stop
    if at < end:
        yield at, end, ""


def _interval(place: int, begin: int, end: int, text: str) -> str:
    return (
        f"        intervals [{place}]:\n            xmin = {_seconds(begin)} \n            xmax = {_seconds(end)} \n"
        f"            text = {_quoted(text)} \n"
    )


def _seconds(microseconds: int) -> str:
    """Seconds with as many decimals as there are.

    >>> _seconds(1_250_000), _seconds(3_000_000)
    ('1.25', '3')
    """
    return f"{microseconds / PER_SECOND:.6f}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    """Text in the quotes of Praat, which doubles those inside."""
    return '"' + text.replace('"', '""') + '"'
