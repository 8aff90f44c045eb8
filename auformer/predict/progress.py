"""What a run reports while it works, and the lines that sum it up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from auformer.aus import ACTION_UNITS
from auformer.predict.predictor import AUPredictor
from auformer.predict.quality import WORDS
from auformer.predict.sources import Source
from auformer.predict.types import ImagePrediction
from auformer.report.inks import au_order

SHOWN = 10  # files that a line names [ours]
LANDMARKS = {"eyes": "both eyes found", "one_eye": "one eye found", "box": "eyes placed by the box"}


class Progress(Protocol):
    """What a run calls while it works."""

    def loaded(self, predictor: AUPredictor, notice: str | None) -> None:
        """The checkpoint is loaded; every output of it has to say `notice`."""
        return

    def begun(self, unit: str, total: int | None, done: int, *, finished: int, sources: int) -> None:
        """Work on frames, sources or a camera (the `unit`) begins: `done` of `total`, `finished` sources are done."""
        return

    def advanced(self, image: ImagePrediction | None) -> None:
        """One more frame (its prediction) or source (None) is done."""
        return


class Silent(Progress):
    """Ignores everything."""


@dataclass(frozen=True)
class Written:
    """What a run has written.

    Args:
        out: The output folder.
        sources: All sources of the run.
        tables: The tables; a joined one alone where there is one.
        counts: Of sources, images by status, and faces by where their landmarks come from and by words of quality.
        problems: Sources with a problem, and which.
        begun_again: Sources begun more than once on a cluster, because a process died.
        joined: Tables of a cluster that were joined.
        seconds: How long each stage has worked, on this machine.
        encoder: Of annotated videos; None where there are none.
        notes: What was asked for and could not be done, such as a resting level of photos; files that were not read.
        photos_read: How many photos could be read.
        descriptions: Tables of sentences, where they were asked for.
    """

    out: Path
    sources: list[Source]
    tables: list[Path]
    counts: dict[str, Any]
    problems: list[tuple[Source, str]]
    begun_again: int = 0
    joined: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    encoder: str | None = None
    notes: list[str] = field(default_factory=list)
    photos_read: int = 0
    descriptions: list[Path] = field(default_factory=list)


def about(file: str, message: str) -> str:
    """A message with its file in front, where it does not name it itself.

    >>> about("a.mp4", "no face"), about("a.mp4", "a.mp4 ends early")
    ('a.mp4: no face', 'a.mp4 ends early')
    """
    return message if file in message else f"{file}: {message}"


def left_out_note(files: Sequence[str]) -> list[str]:
    """A line about files that were not read, none where there are none.

    >>> left_out_note(["d/a.txt", "d/b.xmp"])
    ['not read, since their names are not those of images or videos: 2 files (d/a.txt, d/b.xmp)']
    """
    if not files:
        return []
    more = f" and {len(files) - SHOWN:,} more, see the sidecar" if len(files) > SHOWN else ""
    named = f"{_count(len(files), 'file')} ({', '.join(files[:SHOWN])}{more})"
    return [f"not read, since their names are not those of images or videos: {named}"]


def photo_lines(predictor: AUPredictor, image: ImagePrediction) -> list[str]:
    """Predictions of a photo: a line per face, and per AU."""
    lines = []
    for found in image.faces:
        x, y, w, h = (round(value) for value in found.face.box)
        points = found.face.points_source
        where = f"{image.file}: face {found.track} at ({x}, {y}), {w} x {h} pixels, score {found.face.score:.2f}"
        lines.append(f"{where}, {LANDMARKS.get(points, f'landmarks by {points}')}")
        if found.quality:
            lines.append(f"  {' and '.join(found.quality)}, so its values are less sure")
        probs = dict(zip(predictor.au_names, found.probs, strict=True))
        active = dict(zip(predictor.au_names, predictor.is_active(found.probs), strict=True))
        intensity = np.full(len(found.probs), np.nan) if found.intensity is None else found.intensity
        levels = dict(zip(predictor.au_names, intensity, strict=True))
        for au in au_order(predictor.au_names):
            name = ACTION_UNITS[au].name
            level = "" if np.isnan(levels[au]) else f"  {levels[au]:4.2f} of 5"
            lines.append(f"  {au:<5} {name:<26} {probs[au]:.3f}{level}{'  active' if active[au] else ''}")
    return lines


def summary_lines(written: Written) -> list[str]:
    """What was written, and where the time went."""
    counts = written.counts
    lost, photos = counts["pictures"].get("unreadable", 0), written.photos_read
    frames = sum(counts["pictures"].values()) - lost - photos
    read = [_count(number, name) for number, name in ((photos, "photo"), (frames, "frame")) if number]
    what = ", ".join(read) or "nothing that could be read"
    shown = f"{len(written.tables)} tables and their sidecars in {written.out}"
    if len(written.tables) == 1:
        shown = f"{written.tables[0]} and its sidecar"
    lines = [f"wrote {shown}: {what}, {_count(sum(counts['points_source'].values()), 'face')}"]
    if counts["pictures"].get("no_face"):
        lines.append(f"{_count(counts['pictures']['no_face'], 'image')} without a face: empty rows")
    if unsure := counts["quality"]:
        words = ", ".join(
            f"{number:,} {word}" for word, number in sorted(unsure.items(), key=lambda one: WORDS.index(one[0]))
        )
        lines.append(f"faces whose values are less sure (column quality): {words}")
    if lost:
        what = "a photo, a video or an image of a sequence" if lost == 1 else "photos, videos or images of sequences"
        lines.append(f"{lost:,} unreadable ({what}): an empty row each")
    if written.encoder == "mpeg4":
        lines.append("annotated videos are MPEG-4 Part 2, which browsers do not play: this FFmpeg has no H.264 encoder")
    total = sum(written.seconds.values())
    if frames and total:
        shares = ", ".join(f"{name} {100 * value / total:.0f} %" for name, value in written.seconds.items())
        lines.append(f"work of the threads: {shares}")
    return [*lines, *written.notes]


def _count(number: int, name: str) -> str:
    """A number of things.

    >>> _count(1, "face"), _count(1200, "face")
    ('1 face', '1,200 faces')
    """
    return f"{number:,} {name}{'' if number == 1 else 's'}"
