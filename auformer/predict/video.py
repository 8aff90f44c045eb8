"""Frames of a source: photos, videos, numbered images and cameras, chosen by a selection."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import cv2

from auformer.data.chosen import read_chosen
from auformer.data.images import read_image, read_reduced
from auformer.data.video import read_video, video_facts
from auformer.predict.sources import Source, sequence_files
from auformer.predict.types import Frame, Picker, Selection


def read_source(source: Source, selection: Selection, *, after: int = -1, enough: int | None = None) -> Iterator[Frame]:
    """Frames of a source, one in memory at a time.

    Args:
        source: What to read.
        selection: Which frames; photos are always read.
        after: Index of the last frame that is not wanted, for a resumed run.
        enough: Pixels of the longer side that do for a photo, which may then come smaller; None for all.

    Raises:
        ValueError: The source cannot be read, or not to its end; what comes before is yielded first.
    """
    if source.kind == "video":
        yield from _read_video(source.file, selection, after)
    elif source.kind == "sequence":
        yield from _read_sequence(source.file, selection, after)
    elif source.kind == "camera":
        yield from _read_camera(int(re.sub(r"\D", "", source.file)), selection)
    elif enough is not None:
        image, factor = read_reduced(source.file, enough)
        yield Frame(0, 0, None, image, reduced=factor)
    else:
        yield Frame(0, 0, None, read_image(source.file))


def count_frames(source: Source, selection: Selection) -> int | None:
    """About how many frames there are, by headers and names alone, for progress bars; None where it is unknown."""
    try:
        if source.kind == "photo":
            return 1
        if source.kind == "sequence":
            return -(-len(sequence_files(source.file)) // selection.every)
        if source.kind == "camera":
            return None
        facts = video_facts(source.file)
    except (ValueError, OSError):
        return 1
    fps = facts.fps or (facts.frames / facts.duration_s if facts.frames and facts.duration_s else None)
    length = facts.duration_s or (facts.frames / fps if facts.frames and fps else None)
    if length is None or fps is None:
        return None
    shown = min(length, selection.end or length) - min(selection.start, length)
    return max(1, round(shown * (min(fps, selection.fps) if selection.fps else fps / selection.every)))


def _read_video(path: str, selection: Selection, after: int) -> Iterator[Frame]:
    """Frames of a video; those that are not taken never become images, and are decoded only where others need them."""
    picker, ordinals = Picker(selection), deque[int]()
    if selection == Selection(end=selection.end) and after < 0:  # nothing to leave out
        for frame in read_video(path):
            if not picker.takes(frame.time_s):
                return
            yield Frame(frame.index, frame.index, frame.time_s, frame.image())
        return

    def keep(index: int, time: float) -> bool | None:
        taken = picker.takes(time) and index > after
        if taken:
            ordinals.append(picker.taken - 1)
        return None if picker.ended else taken

    for frame in read_chosen(path, keep):
        yield Frame(frame.index, ordinals.popleft(), frame.time_s, frame.image())


def _read_camera(number: int, selection: Selection) -> Iterator[Frame]:
    """Frames of a camera as they come, until it is gone or the reader stops; times are by the computer's clock."""
    capture = cv2.VideoCapture(number)
    try:
        if not capture.isOpened():
            raise ValueError(
                f"Expected a camera at camera:{number}, but it cannot be opened: is it plugged in, and free?"
            )
        picker, start, index = Picker(selection), None, 0
        while not picker.ended:
            there, image = capture.read()
            if not there:
                break
            now = time.monotonic()
            start = now if start is None else start
            if picker.takes(now - start):
                yield Frame(index, picker.taken - 1, now - start, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            index += 1
        if not index:
            raise ValueError(
                f"Expected images from camera:{number}, but it gives none: another program may be using it."
            )
    finally:
        capture.release()


def _read_sequence(pattern: str, selection: Selection, after: int) -> Iterator[Frame]:
    """Numbered images; one that cannot be read is yielded without its image.

    They have no time stamps but those that `fps` gives them: the distance of their numbers from the first.
    """
    files, rate = sequence_files(pattern), selection.fps
    picker = Picker(selection if rate is None else replace(selection, fps=None))
    first = next(iter(files))
    for number, file in files.items():
        time_s = None if rate is None else (number - first) / rate
        if picker.takes(time_s) and number > after:
            try:
                yield Frame(number, picker.taken - 1, time_s, read_image(file))
            except ValueError as error:
                yield Frame(number, picker.taken - 1, time_s, None, str(error))
        if picker.ended:
            return
