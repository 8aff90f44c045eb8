"""Videos, image sequences and cameras frame by frame: upright RGB images with their time stamps."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np

from auformer.data.images import read_image
from auformer.predict.sources import Source, sequence_files
from auformer.predict.types import Frame, Picker, Selection

_MISSING = 1.5  # mean frame lengths by which a video may end before its header says without counting as cut off [ours]
_ERRORS = (av.error.FFmpegError, OSError, ValueError, EOFError)


class VideoFacts(NamedTuple):
    """What a video's header says; None where it does not."""

    frames: int | None
    duration_s: float | None
    fps: float | None
    codec: str


def read_video(path: str | Path, selection: Selection, *, after: int = -1) -> Iterator[Frame]:
    """Frames of a video in presentation order.

    Frames are rotated and mirrored as the container asks; alpha is dropped, 16 bits become 8, grey becomes RGB. Times
    are those of the container, counted from the first frame, so that a variable frame rate is kept.

    Args:
        path: The video file.
        selection: Which frames.
        after: Frames up to this index are decoded and not yielded, for a resumed run.

    Yields:
        `Frame`; its `index` counts all decoded frames from 0, its `ordinal` those that the selection takes.

    Raises:
        ValueError: It is no video, or damaged; frames before the damage are yielded first.
    """
    picker, index, start, last = Picker(selection), -1, 0.0, 0.0
    with _opened(path) as (container, stream):
        frames = container.decode(stream)
        while True:
            try:
                frame = next(frames, None)
            except _ERRORS as error:
                if index < 0:
                    raise _not_opened(path, error) from error
                message = (
                    f"{path} is damaged after frame {index} ({last:.2f} s): {_reason(error)}; later frames are lost"
                )
                raise ValueError(message) from error
            if frame is None:
                break
            index += 1
            time = frame.time if frame.time is not None else index / float(stream.average_rate or 25)
            start = time if index == 0 else start
            last = time - start
            if picker.takes(last) and index > after:
                yield Frame(index, picker.taken - 1, last, _upright(frame))
            if picker.ended:
                return
        if index < 0:
            raise _not_opened(path, ValueError("not one frame of it can be decoded"))
        _check_end(path, container, stream, index, last, max(0.0, start))


def video_facts(path: str | Path) -> VideoFacts:
    """What the header of a video says; nothing is decoded.

    Raises:
        ValueError: It is no video.
    """
    with _opened(path) as (container, stream):
        rate = float(stream.average_rate) if stream.average_rate else None
        return VideoFacts(stream.frames or None, _duration(container, stream), rate, stream.codec_context.name)


def images_at(path: str | Path, times: Sequence[float]) -> list[np.ndarray | None]:
    """One image near each time, found from the key frame before it: cheap, and exact to a few frames at most.

    Args:
        path: The video file.
        times: Seconds from the beginning, rising.

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
    """The first frame at or after a time of the stream, else the last one."""
    frame = None
    for frame in container.decode(stream):
        if frame.time is None or frame.time >= time:
            break
    return None if frame is None else _upright(frame)


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """The container of a file and its video stream, which is decoded with several threads."""
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
    """Refuse a video that ends before its header says: fewer frames (where they are counted) and a shorter time.

    Containers differ in whether their length counts from zero or from `start`, the first frame's time; the longer
    reading is believed.
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


def _upright(frame: Any) -> np.ndarray:
    """A decoded frame as uint8 RGB (H, W, 3), turned by its display matrix (FFmpeg, libavutil/display.h)."""
    image = frame.to_ndarray(format="rgb24")
    side = frame.side_data.get("DISPLAYMATRIX")
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


def read_source(source: Source, selection: Selection, *, after: int = -1) -> Iterator[Frame]:
    """Frames of a source, one in memory at a time.

    Args:
        source: What to read.
        selection: Which frames; photos are always read.
        after: Index of the last frame that is not wanted, for a resumed run.

    Raises:
        ValueError: The source cannot be read, or not to its end; what comes before is yielded first.
    """
    if source.kind == "video":
        yield from read_video(source.file, selection, after=after)
    elif source.kind == "sequence":
        yield from _read_sequence(source.file, selection, after)
    elif source.kind == "camera":
        yield from _read_camera(int(re.sub(r"\D", "", source.file)), selection)
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
    """Numbered images, which have no time stamps; one that cannot be read is yielded without its image."""
    picker = Picker(selection)
    for number, file in sequence_files(pattern).items():
        if picker.takes(None) and number > after:
            try:
                yield Frame(number, picker.taken - 1, None, read_image(file))
            except ValueError as error:
                yield Frame(number, picker.taken - 1, None, None, str(error))
