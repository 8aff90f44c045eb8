"""Any source as frames: photos, videos, image sequences and cameras behind one function."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import cv2

from auformer.data.images import read_image
from auformer.predict.frame import Frame
from auformer.predict.selection import Picker, Selection
from auformer.predict.sources import Source, sequence_files
from auformer.predict.video import read_video, video_facts

NOMINAL_FPS = 25.0  # of image sequences, for following faces only; no time stamps are made from it [ours]


def read_source(source: Source, selection: Selection, *, after: int = -1) -> Iterator[Frame]:
    """Frames of a source, one in memory at a time.

    Args:
        source: what to read.
        selection: which frames; photos are always read.
        after: index of the last frame that is not wanted, for a run that goes on where it stopped.

    Raises:
        ValueError: the source cannot be read, or not to its end; what comes before is given first.
    """
    if source.kind == "video":
        yield from read_video(source.file, selection, after=after)
    elif source.kind == "sequence":
        yield from _read_sequence(source.file, selection, after)
    elif source.kind == "camera":
        yield from read_capture(int(re.sub(r"\D", "", source.file)), selection)
    else:
        yield Frame(0, 0, None, read_image(source.file))


def count_frames(source: Source, selection: Selection) -> int | None:
    """About how many frames will come, by headers and names alone; None where nobody knows. For progress bars."""
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


def read_capture(target: int | str, selection: Selection) -> Iterator[Frame]:
    """Frames of a camera as they come, until it is gone or the reader stops.

    Args:
        target: number of the camera; or a video file, which goes through the same loop.
        selection: which frames; times count from the first one by this computer's clock.

    Raises:
        ValueError: there is no such camera, or it gives no picture.
    """
    capture = cv2.VideoCapture(target)
    try:
        if not capture.isOpened():
            raise ValueError(f"Expected a camera at camera:{target}, but it cannot be opened: is it plugged in, and free?")
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
            raise ValueError(f"Expected pictures from camera:{target}, but it gives none: another program may be using it.")
    finally:
        capture.release()


def _read_sequence(pattern: str, selection: Selection, after: int) -> Iterator[Frame]:
    """Numbered pictures of one recording, which have no time stamps; one that cannot be read is given as such, and the others follow."""
    picker = Picker(selection)
    for number, file in sequence_files(pattern).items():
        if picker.takes(None) and number > after:
            try:
                yield Frame(number, picker.taken - 1, None, read_image(file))
            except ValueError as error:
                yield Frame(number, picker.taken - 1, None, None, str(error))
