"""Videos, image sequences and cameras frame by frame: upright RGB images with their time stamps."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from auformer.data.images import read_image
from auformer.predict.sources import Source, sequence_files
from auformer.predict.types import Frame, Picker, Selection

_MISSING = 1.5  # mean frame lengths by which a video may end before its header says without counting as cut off [ours]
_ERRORS = (av.error.FFmpegError, OSError, ValueError, EOFError)


@dataclass(frozen=True)
class VideoFacts:
    """What a video's header says.

    Args:
        frames: number of frames; None where the container does not say.
        duration_s: length in seconds; None where it does not say.
        fps: mean frames per second; None where it does not say.
        codec: name of the codec.
    """

    frames: int | None
    duration_s: float | None
    fps: float | None
    codec: str


def read_video(path: str | Path, selection: Selection, *, after: int = -1) -> Iterator[Frame]:
    """Frames of a video in the order of their showing.

    The picture is turned and mirrored as the container asks; alpha is dropped, 16 bits become 8, grey becomes RGB. Times are those of the
    container, from the first frame on, so that a variable frame rate stays true.

    Args:
        path: the video file.
        selection: which frames to give.
        after: frames up to this index are decoded and not given, for a run that goes on where it stopped.

    Yields:
        `Frame`; its `index` counts all decoded frames from 0, its `ordinal` those that the selection takes.

    Raises:
        ValueError: it is no video, or damaged; what comes before the damage is given first.
    """
    picker, index, start, last = Picker(selection), -1, 0.0, 0.0
    with _opened(path) as (container, stream):
        frames = container.decode(stream)
        while True:
            try:
                picture = next(frames, None)
            except _ERRORS as error:
                if index < 0:
                    raise _not_opened(path, error) from error
                message = (
                    f"{path} is damaged after frame {index} ({last:.2f} s): {_reason(error)}; later frames are lost"
                )
                raise ValueError(message) from error
            if picture is None:
                break
            index += 1
            time = picture.time if picture.time is not None else index / float(stream.average_rate or 25)
            start = time if index == 0 else start
            last = time - start
            if picker.takes(last) and index > after:
                yield Frame(index, picker.taken - 1, last, _upright(picture))
            if picker.ended:
                return
        if index < 0:
            raise _not_opened(path, ValueError("not one frame of it can be decoded"))
        _check_end(path, container, stream, index, last, max(0.0, start))


def video_facts(path: str | Path) -> VideoFacts:
    """What the header of a video says; nothing is decoded.

    Raises:
        ValueError: it is no video.
    """
    with _opened(path) as (container, stream):
        rate = float(stream.average_rate) if stream.average_rate else None
        return VideoFacts(stream.frames or None, _duration(container, stream), rate, stream.codec_context.name)


def pictures_at(path: str | Path, times: Sequence[float]) -> list[np.ndarray | None]:
    """One picture near each time, found by jumping to the key frame before it: cheap, and exact to a few frames at most.

    Args:
        path: the video file.
        times: seconds from the beginning, rising.

    Returns:
        (H, W, 3) uint8 RGB for each time; None where there is none.
    """
    found: list[np.ndarray | None] = []
    with _opened(path) as (container, stream):
        offset = stream.start_time or 0
        for time in times:
            try:
                container.seek(offset + int(time / stream.time_base), stream=stream)
                found.append(_near(container, stream, time + float(offset * stream.time_base)))
            except _ERRORS:
                found.append(None)
    return found


def _near(container: Any, stream: Any, time: float) -> np.ndarray | None:
    """The first picture at or after a time of the stream, else the last one."""
    picture = None
    for picture in container.decode(stream):
        if picture.time is None or picture.time >= time:
            break
    return None if picture is None else _upright(picture)


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """The container of a file and its video stream, which is decoded with several threads.

    Raises:
        ValueError: there is no such file, or it is no video.
    """
    try:
        if not Path(path).is_file():
            raise ValueError("it is a folder" if Path(path).is_dir() else "there is no such file; check the path")
        if not Path(path).stat().st_size:
            raise ValueError("the file is empty; copy it again")
        container = av.open(str(path), metadata_errors="replace")
    except _ERRORS as error:
        raise _not_opened(path, error) from error
    with container:
        stream = next(
            (one for one in container.streams.video if "attached_pic" not in str(one.disposition).lower()), None
        )
        if stream is None:  # a sound file; its cover is no video
            kinds = ", ".join(sorted({str(one.type) for one in container.streams})) or "nothing"
            raise _not_opened(path, ValueError(f"it has no moving pictures, only {kinds}"))
        stream.thread_type = "AUTO"
        yield container, stream


def _duration(container: Any, stream: Any) -> float | None:
    """Length in seconds by the stream, else by the container."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _check_end(path: str | Path, container: Any, stream: Any, index: int, last: float, start: float) -> None:
    """Notice a video that ends before its header says: fewer frames (where they are counted) and a shorter time.

    Containers differ in whether their length counts from zero or from `start`, the first frame's time; the longer reading is believed.

    Raises:
        ValueError: it does.
    """
    duration, declared = _duration(container, stream), stream.frames or None
    if duration is None or (declared is not None and index + 1 >= declared):
        return
    length = last / index if index else (1 / float(stream.average_rate) if stream.average_rate else duration)
    if start + last + length < duration - _MISSING * length:
        of = f" of {declared}" if declared else ""
        raise ValueError(
            f"{path} ends early: {index + 1}{of} frames, {last + length:.2f} of {duration:.2f} s; copy it again"
        )


def _upright(picture: Any) -> np.ndarray:
    """A decoded frame as uint8 RGB (H, W, 3), turned and mirrored by its display matrix (FFmpeg, libavutil/display.h)."""
    image = picture.to_ndarray(format="rgb24")
    side = picture.side_data.get("DISPLAYMATRIX")
    if side is None:
        return image
    a, b, _, c, d = np.frombuffer(bytes(side), np.int32)[:5].astype(float)  # x' = a x + c y, y' = b x + d y
    if abs(a) >= abs(b):
        return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
    return np.ascontiguousarray(image.swapaxes(0, 1)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1])


def _not_opened(path: str | Path, error: BaseException) -> ValueError:
    """The error for a file that is no video."""
    return ValueError(f"Expected a video at {path}, but it cannot be read as one: {_reason(error)}")


def _reason(error: BaseException) -> str:
    """What FFmpeg or the system says, without its numbers."""
    return str(getattr(error, "strerror", None) or error).rstrip(".") or type(error).__name__


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
            raise ValueError(
                f"Expected a camera at camera:{target}, but it cannot be opened: is it plugged in, and free?"
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
                f"Expected pictures from camera:{target}, but it gives none: another program may be using it."
            )
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
