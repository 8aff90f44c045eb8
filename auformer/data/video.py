"""The film reader: upright RGB images of a video file with their times, as the container means them to be seen."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np

from auformer.data.containers import Aperture, clean_aperture, is_cut_avi
from auformer.data.diagnosis import not_opened, reason
from auformer.data.joins import part_starts
from auformer.data.streams import choose_stream
from auformer.data.timeline import NOMINAL_FPS, Slots, Timeline

#: Suffixes of containers that FFmpeg reads, and of bare streams of images [ours].
VIDEOS = frozenset(
    {".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".f4v", ".insv", ".lrv", ".avi", ".divx", ".xvid", ".mkv"}
    | {".webm", ".ogv", ".wmv", ".asf", ".flv", ".mpg", ".mpeg", ".mpe", ".mod", ".tod", ".vob", ".ts", ".mts", ".m2ts"}
    | {".mxf", ".dv", ".rm", ".rmvb", ".ivf", ".y4m", ".nut", ".gif", ".m1v", ".m2v", ".h264", ".264", ".h265", ".265"}
    | {".hevc", ".mjpeg", ".mjpg"}
)
_NO_STAMPS, _DISCONT = 0x80, 0x200  # AVFMT_NOTIMESTAMPS, AVFMT_TS_DISCONT (libavformat/avformat.h)
_OUTPUT_CORRUPT = 1 << 3  # AV_CODEC_FLAG_OUTPUT_CORRUPT of libavcodec/avcodec.h; PyAV 13 and 14 name it differently
_WHOLE_LENGTH = ("matroska", "asf", "flv")  # containers whose length is that of their longest stream, sound or images
_NO_RATE = frozenset({"mjpeg", "mjpeg_2000"})  # bare streams of images without a number that says it
_MISSING = 1.5  # frame lengths by which a video may end before its header says without counting as cut off [ours]
_PIXEL = (0.25, 4.0)  # narrowest and widest pixel that is believed [ours]; DV and DVD have 0.9 to 1.43
ERRORS = (av.error.FFmpegError, OSError, ValueError, EOFError)
_log = logging.getLogger(__name__)


class VideoFacts(NamedTuple):
    """What a video's header says; None where it does not.

    `delay_s` is how long after the file's beginning, that of its sound included, the first frame comes: players count
    from the file's beginning, `time_s` from the first frame.
    """

    frames: int | None
    duration_s: float | None
    fps: float | None
    codec: str
    delay_s: float = 0.0


class VideoFrame:
    """One decoded frame; it becomes an image when that is asked for.

    Attributes:
        index: 0-based place among the frames that the video shows.
        time_s: Seconds from the first frame.
        is_key: Whether decoding can begin here.
    """

    __slots__ = ("_frame", "_video", "index", "is_key", "time_s")

    def __init__(self, index: int, time_s: float, frame: Any, video: Video) -> None:
        self.index, self.time_s, self.is_key = index, time_s, bool(frame.key_frame)
        self._frame, self._video = frame, video

    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, upright, with square pixels; colours by the stream's own matrix and range."""
        return self._video._image(self._frame)


class Video:
    """A video file that is open; a context manager.

    The stream is the default one of those that show moving images: covers, thumbnails and depth maps never count.

    Args:
        path: The file.
        threads: Of the decoder; 0 for as many as it likes.

    Attributes:
        facts: What the header says.
        others: Names the streams of moving images that are not read; empty where there is none.
        stamped: Whether the container has a time stamp for each frame; else they have equal distances.
        numbers_packets: Whether the place of a packet in the file is all that says its time, as in AVI.
        container: PyAV's container.
        stream: PyAV's stream.
        step: Seconds from frame to frame by the stream's rate.
        timed: Whether the time of a frame says which one it is, also behind damage; known from the first frame on.
        last_length: Seconds that the last frame is shown; 0 where that is unknown.

    Raises:
        ValueError: It is no video; the message says what it is and what to do.
    """

    def __init__(self, path: str | Path, *, threads: int = 0) -> None:
        self.path = Path(path)
        self._named = str(path)
        self.container = _opened(path)
        try:
            self.stream, others = choose_stream(self.container)
        except ValueError as error:
            self.container.close()
            raise not_opened(path, error) from error
        self.others = f"{path} {others}" if others else ""
        codec, stream = self.stream.codec_context, self.stream
        stream.thread_type = "AUTO"
        codec.thread_count = threads
        flags, kind = int(self.container.format.flags), self.container.format.name
        self._flags, self.numbers_packets = flags, kind == "avi"
        self.stamped = self.timed = not flags & _NO_STAMPS
        rate = stream.guessed_rate or stream.average_rate
        self.step = 1 / float(rate or NOMINAL_FPS)
        self._length = _duration(self.container, stream)
        fps = float(rate if not self.stamped and rate else stream.average_rate or 0) or None
        delay = _delay(self.container, stream) if self.stamped else 0.0
        self.facts = VideoFacts(stream.frames or None, self._length, fps, codec.name, delay)
        size = (codec.width, codec.height)
        self._aperture: Aperture | None = clean_aperture(
            self.path, kind, track=stream.id, index=stream.index, size=size
        )
        self._coded_size, self._pixel = size, float(stream.sample_aspect_ratio or 1)
        self._whole_length = any(name in kind for name in _WHOLE_LENGTH)
        self._hidden = 0  # packets of frames that an edit list hides
        self._end = self.last_length = 0.0  # `_end`: of all packets
        self._reached = 0  # byte at which the last packet begins

    def __enter__(self) -> Video:
        """The video itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def warn(self) -> None:
        """Log what a reader of the frames should know."""
        if self.others:
            _log.warning(self.others)
        if self.container.format.name in _NO_RATE:
            _log.warning(f"{self._named} says no frame rate: times are those of {NOMINAL_FPS:g} frames a second")

    def frames(self, *, warn: bool = True) -> Iterator[VideoFrame]:
        """All frames in presentation order, once; decoding is all that a frame costs until its image is asked for.

        Args:
            warn: Whether to log first what a reader should know.

        Raises:
            ValueError: The video is damaged or ends early; the frames before are yielded first.
        """
        if warn:
            self.warn()
        line, slots, index, last = Timeline(self.step), Slots(), -1, 0.0
        decoded = self._decoded(slots)
        while True:
            try:
                frame = next(decoded, None)
            except ERRORS as error:
                if index < 0:
                    raise not_opened(self._named, error) from error
                where = f"frame {index} ({last:.2f} s)"
                raise ValueError(
                    f"{self._named} is damaged after {where}: {reason(error)}; later frames are lost"
                ) from error
            if frame is None:
                break
            index += 1
            last = line.place(self._stamp(frame, slots))
            yield VideoFrame(index, last, frame, self)
        if index < 0:
            raise not_opened(self._named, ValueError("not one frame of it can be decoded"))
        if early := self.shortfall(index, last):
            raise ValueError(f"{self._named} {early}")

    def sound_frames(self) -> Iterator[VideoFrame | str]:
        """As `frames`, but past damage: what is spoilt is left out up to the next key frame that is sound.

        Yields:
            Frames; and, where there is damage or the video ends early, what it is. `index` counts what comes, so behind
            damage the place of a frame follows from its time alone, see `packets.frame_times` and `timed`.
        """
        self.stream.codec_context.flags |= _OUTPUT_CORRUPT  # what is left out in silence would shift what follows
        line, slots, index, waiting, time = Timeline(self.step), Slots(), -1, False, 0.0
        start, begun = self.opening(), False
        try:
            for packet in self.packets(slots):
                begun = begun or packet.is_keyframe
                spoilt = f"it is damaged at frame {index + 1}"
                if packet.is_corrupt:  # by the end of the file; decoders do not all notice
                    yield spoilt
                    return
                try:
                    decoded = packet.decode()
                except av.error.InvalidDataError:
                    if not begun:
                        continue
                    decoded, waiting = [], True
                    yield spoilt
                for frame in decoded:
                    if index < 0 and start is not None and frame.pts is not None and frame.pts < start:
                        continue
                    time = line.place(self._stamp(frame, slots))
                    if frame.is_corrupt:
                        waiting = True
                        yield spoilt
                    elif not waiting or frame.key_frame:
                        waiting, index = False, index + 1
                        yield VideoFrame(index, time, frame, self)
        except ERRORS as error:
            yield f"it cannot be read{f' beyond frame {index}' if index >= 0 else ''} ({reason(error)})"
            return
        if early := self.shortfall(index, time):
            yield early

    def nearest(self, times: Sequence[float]) -> list[np.ndarray | None]:
        """One image near each time, found from the key frame before it: cheap, and exact to a few frames at most.

        Args:
            times: Seconds from the beginning, rising.

        Returns:
            (H, W, 3) uint8 RGB for each time; None where there is none.
        """
        found: list[np.ndarray | None] = []
        offset = self.stream.start_time or 0
        for time in times:
            try:
                self.container.seek(offset + int(time / self.stream.time_base), stream=self.stream)
                frame, wanted = None, time + float(offset * self.stream.time_base)
                for frame in self.container.decode(self.stream):
                    if frame.time is None or frame.time >= wanted:
                        break
                found.append(None if frame is None else self._image(frame))
            except ERRORS:
                found.append(None)
        return found

    def _decoded(self, slots: Slots) -> Iterator[Any]:
        """Decoded frames; what cannot be decoded before the first key frame is no damage."""
        begun = False
        for packet in self.packets(slots):
            begun = begun or packet.is_keyframe
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                if begun:
                    raise

    def opening(self) -> int | None:
        """Stamp of the first frame that can be shown where a recording begins amid a group of images.

        Frames before its first key frame cannot be decoded, nor those that are shown before it and refer to what was
        cut off. None where the container has no stamps.
        """
        if not self.stamped or self.numbers_packets:
            return None
        with Video(self.path, threads=1) as other:
            key: int | None = None
            for packet in other.container.demux(other.stream):
                key = packet.pts if key is None and packet.is_keyframe else key
                with contextlib.suppress(av.error.InvalidDataError):
                    first = next((frame.pts for frame in packet.decode()), None)
                    if first is not None:
                        return first if key is None else min(first, key)
        return key

    def packets(self, slots: Slots) -> Iterator[Any]:
        """Packets of the stream; those of others are looked at only where they say how long the file is."""
        streams = [self.stream]
        if self._whole_length:
            streams += [one for one in self.container.streams if one.type == "audio"]
        for packet in self.container.demux(streams):
            self._note(packet, slots)
            if packet.stream.index == self.stream.index:  # `packet.stream_index` of the last one is always 0
                yield packet

    def _note(self, packet: Any, slots: Slots) -> None:
        """Keep what a packet says about places and lengths."""
        ours = packet.stream.index == self.stream.index
        if ours and packet.size and packet.is_discard:
            self._hidden += 1
        if ours and packet.pos is not None:
            self._reached = max(self._reached, packet.pos)
        if ours and self.numbers_packets and packet.dts is not None:
            slots.packet(packet.dts)
        if self._whole_length and packet.pts is not None:
            self._end = max(self._end, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    def _stamp(self, frame: Any, slots: Slots) -> float | None:
        """The time stamp of a frame in seconds, those of `Slots` where the container has none."""
        self.last_length = float((getattr(frame, "duration", 0) or 0) * (frame.time_base or 0))
        stamp = slots.frame(frame.dts) if self.numbers_packets else frame.pts if self.stamped else None
        self.timed = self.stamped and not slots.delay
        return None if stamp is None else float(stamp * self.stream.time_base)

    def shortfall(self, index: int, last: float) -> str:
        """What is missing behind the last frame that could be read, its place and time given; empty for nothing."""
        return self._parts_left(index, last) or self._ends_early(index, last)

    def _parts_left(self, index: int, last: float) -> str:
        """Words for files that were joined byte by byte where FFmpeg has read the first of them only."""
        kind = self.container.format.name
        starts = part_starts(self.path, kind)
        if len(starts) < 2 or ("mp4" not in kind and self._reached >= starts[-1]):
            return ""  # of a second MP4 file FFmpeg reads nothing, or a part of its fragments
        return (
            f"holds {len(starts)} videos that were joined byte by byte, which its format does not allow: only a part "
            f"of them is read, to frame {index} ({last:.2f} s); join the single videos by a video program, or give "
            "them one by one"
        )

    def _ends_early(self, index: int, last: float) -> str:
        """Words for a video that ends before its header says: fewer frames (where they are counted), a shorter time.

        Containers differ in whether their length counts from zero or from the first frame's time; the longer reading is
        believed. Where the length is that of the longest stream, the sound may reach it. Empty for a whole one.
        """
        declared, duration = self.facts.frames, self._length
        if duration is None or self._flags & (_NO_STAMPS | _DISCONT):
            return ""  # a length that FFmpeg estimated from the file as it is
        if self.numbers_packets and not is_cut_avi(self.path):
            return ""  # the last slots may be empty
        if declared is not None and index + 1 + self._hidden >= declared:
            return ""
        length = max(last / index if index > 0 else self.step, self.last_length)
        start = max(0.0, float((self.stream.start_time or 0) * self.stream.time_base))
        if not self.numbers_packets and max(start + last + length, self._end) >= duration - _MISSING * length:
            return ""
        of = f" of {declared}" if declared else ""
        whole = max(duration, (declared or 0) * self.step)
        return f"ends early: {index + 1}{of} frames, {last + length:.2f} of {whole:.2f} s; copy it again"

    def _image(self, frame: Any) -> np.ndarray:
        """A decoded frame as uint8 RGB (H, W, 3): cropped, with square pixels, turned."""
        image = frame.to_ndarray(format="rgb24")
        if self._aperture is not None and (frame.width, frame.height) == self._coded_size:
            left, top, right, bottom = self._aperture
            image = image[top : frame.height - bottom, left : frame.width - right]
        image = _square(image, self._pixel)
        side = frame.side_data.get("DISPLAYMATRIX")
        return np.ascontiguousarray(image if side is None else _turned(image, bytes(side)))


def read_video(path: str | Path, *, threads: int = 0) -> Iterator[VideoFrame]:
    """All frames of a video file in presentation order, see `Video.frames`.

    Raises:
        ValueError: It is no video, damaged, or ends early; frames before the damage are yielded first.
    """
    with Video(path, threads=threads) as video:
        yield from video.frames()


def video_facts(path: str | Path) -> VideoFacts:
    """What the header of a video says; nothing is decoded.

    Raises:
        ValueError: It is no video.
    """
    with Video(path) as video:
        return video.facts


def images_at(path: str | Path, times: Sequence[float]) -> list[np.ndarray | None]:
    """One image near each time (seconds, rising), see `Video.nearest`.

    Raises:
        ValueError: It is no video.
    """
    with Video(path) as video:
        return video.nearest(times)


def _opened(path: str | Path) -> Any:
    """The container of a file."""
    try:
        if not Path(path).is_file():
            raise ValueError("it is a folder" if Path(path).is_dir() else "there is no such file; check the path")
        if not Path(path).stat().st_size:
            raise ValueError("the file is empty; copy it again")
        return av.open(str(path), metadata_errors="replace")
    except ERRORS as error:
        raise not_opened(path, error) from error


def _duration(container: Any, stream: Any) -> float | None:
    """Length in seconds by the stream, else by the container."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _delay(container: Any, stream: Any) -> float:
    """Seconds from the file's beginning to that of a stream; 0 where either is unknown."""
    if stream.start_time is None or container.start_time is None:
        return 0.0
    return max(0.0, round(float(stream.start_time * stream.time_base) - container.start_time / av.time_base, 6))


def _square(image: np.ndarray, ratio: float) -> np.ndarray:
    """An image (H, W, 3) with square pixels: its sides grow, so that nothing is lost."""
    if not _PIXEL[0] <= ratio <= _PIXEL[1]:
        return image
    height, width = image.shape[:2]
    size = (round(width * ratio), height) if ratio >= 1 else (width, round(height / ratio))
    if size == (width, height):
        return image
    return cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_LINEAR)


def _turned(image: np.ndarray, matrix: bytes) -> np.ndarray:
    """An image (H, W, 3) turned and mirrored by a display matrix (FFmpeg, libavutil/display.h)."""
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].astype(float)  # x' = a x + c y, y' = b x + d y
    if abs(a) >= abs(b):
        return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return image.swapaxes(0, 1)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1]
