"""What a run says about itself, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from auformer.aus import ACTION_UNITS
from auformer.predict.predictor import AUPredictor
from auformer.predict.recorder import Recorder
from auformer.predict.types import ImagePrediction
from auformer.report.style import au_order

POINTS = {"eyes": "both eyes found", "one_eye": "one eye found", "box": "eyes placed by the box"}


def about(file: str, message: str) -> str:
    """A message with the file that it is about in front, where it does not name it itself.

    >>> about("a.mp4", "no face"), about("a.mp4", "a.mp4 ends early")
    ('a.mp4: no face', 'a.mp4 ends early')
    """
    return message if file in message else f"{file}: {message}"


def photo_lines(predictor: AUPredictor, image: ImagePrediction) -> list[str]:
    """What was found in a photo: a line per face, and per AU."""
    lines = []
    for found in image.faces:
        x, y, w, h = (round(value) for value in found.face.box)
        points = POINTS.get(found.face.points_source, f"points by {found.face.points_source}")
        lines.append(
            f"{image.file}: face {found.identity} at ({x}, {y}), {w} x {h} pixels, score {found.face.score:.2f}, {points}"
        )
        values = dict(
            zip(predictor.au_names, zip(found.probs, predictor.is_active(found.probs), strict=True), strict=True)
        )
        for au in au_order(predictor.au_names):
            prob, active = values[au]
            lines.append(f"  {au:<5} {ACTION_UNITS[au].name:<26} {prob:.3f}{'  active' if active else ''}")
    return lines


def summary_lines(recorder: Recorder, tables: Sequence[Path]) -> list[str]:
    """What was written, and where the time went."""
    counts = recorder.counts()
    photos = sum(source.kind == "photo" for source in recorder.sources)
    frames = sum(counts["pictures"].values()) - photos
    what = ", ".join(_count(number, name) for number, name in ((photos, "photo"), (frames, "frame")) if number)
    shown = (
        f"{tables[0]} and its side file"
        if len(tables) == 1
        else f"{len(tables)} tables and their side files in {recorder.plan.out}"
    )
    lines = [f"wrote {shown}: {what}, {_count(sum(counts['points_source'].values()), 'face')}"]
    for status, words in (("no_face", "without a face"), ("unreadable", "unreadable")):
        if counts["pictures"].get(status):
            lines.append(f"{_count(counts['pictures'][status], 'picture')} {words}: empty rows")
    if recorder.encoder == "mpeg4":
        lines.append("annotated videos are MPEG-4 Part 2, which browsers do not play: this FFmpeg has no H.264 encoder")
    seconds = recorder.predictor.clock.seconds
    if frames and sum(seconds.values()):
        shares = ", ".join(f"{name} {100 * value / sum(seconds.values()):.0f} %" for name, value in seconds.items())
        lines.append(f"work of the threads: {shares}")
    return lines


def _count(number: int, name: str) -> str:
    """A number of things.

    >>> _count(1, "face"), _count(1200, "face")
    ('1 face', '1,200 faces')
    """
    return f"{number:,} {name}{'' if number == 1 else 's'}"
